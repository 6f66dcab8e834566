"""Proves that the metadata agrees with itself: every row is readable, reachable and expected.

The other half, that every blob named is stored and every stored byte is owned, is
`rs3gwd.engine.check` with `rs3gwd.engine.ownership`. What it is not: it repairs nothing.

Each rule is one that the apply keeps in every transaction, so a finding means damage below us or a
bug. Memory is bounded: tables are compared by walking one and looking up in the other.
"""

from __future__ import annotations

from collections.abc import Iterator

import msgspec

from rs3gwd.base.errors import DataCorrupt, FormatError
from rs3gwd.base.identities import IdentityKind, policy_name_of
from rs3gwd.base.records import (
    NULL_VERSION_ID,
    BucketRecord,
    Versioning,
    VersionKind,
    VersionRecord,
)
from rs3gwd.engine import uploads
from rs3gwd.engine.apply_state import read_manifest
from rs3gwd.engine.environment import Transaction
from rs3gwd.engine.group_state import TreeIds
from rs3gwd.engine.groups import (
    GROUP_STRIDE,
    TREE_ID_MIN,
    is_cluster,
    read_cluster,
    read_counters,
)
from rs3gwd.engine.ownership import (
    is_listed,
    iterate_buckets,
    iterate_table,
    iterate_tree,
    iterate_versions,
)
from rs3gwd.engine.tables import (
    ACCESS_KEY_CODEC,
    ACCOUNT_CODEC,
    COMPLETED_CODEC,
    CONFIGURATION_CODEC,
    COUNTERS_CODEC,
    EMAIL_CODEC,
    IDENTITY_CODEC,
    INDEX_CODEC,
    KMS_KEY_CODEC,
    KMS_NAME_CODEC,
    META_COUNTERS_KEY,
    POLICY_CODEC,
    SEQUENCE_CODEC,
    UPLOAD_CODEC,
    UPLOAD_PLACE_CODEC,
    CountersRecord,
    Table,
    configuration_key,
    identity_key,
    owner_key,
    u64,
    unescape_key,
    upload_key,
)
from rs3gwd.engine.tree import POINTER_CODEC, POINTER_KEY_BYTES, Tree
from rs3gwd.engine.versions import KeyVersions

DAMAGE_MAX = 1000
"""Damaged rows told one by one; more are only counted."""

TREES = (Table.LIVE, Table.HISTORY, Table.NULLS, Table.UPLOADS)


def verify_metadata(txn: Transaction) -> Iterator[str]:
    """Findings in words, one per broken rule and place; nothing when all is well."""
    verifier = _Verifier(txn)
    yield from verifier.run()


class _Verifier:
    """One pass over all tables; counts what it reaches, so that what no walk reaches shows."""

    def __init__(self, txn: Transaction) -> None:
        self.txn = txn
        self.damage: list[str] = []
        self.damage_count = 0
        self.reached = dict.fromkeys(TREES, 0)
        self.manifest_count = 0
        self.part_count = 0
        self.configuration_count = 0
        self.seq_max = 0
        self.node_id_max = 0
        self.tree_id_max = 0

    def run(self) -> Iterator[str]:
        for bucket in iterate_buckets(self.txn, self.report):
            yield from self.bucket(bucket)
        yield from self.totals()
        yield from self.counters()
        yield from self.upload_times()
        yield from self.bucket_owners()
        yield from self.accounts()
        yield from self.access_keys()
        yield from self.identities()
        yield from self.kms_keys()
        yield from self.damage
        if self.damage_count > len(self.damage):
            yield f"{self.damage_count - len(self.damage)} further damaged rows"

    def report(self, error: DataCorrupt | FormatError) -> None:
        self.damage_count += 1
        if len(self.damage) < DAMAGE_MAX:
            self.damage.append(str(error))

    def bucket(self, bucket: BucketRecord) -> Iterator[str]:
        name, bucket_id = bucket.name, bucket.bucket_id
        self.node_id_max = max(self.node_id_max, bucket_id)
        if not is_listed(self.txn, bucket):
            bucket = msgspec.structs.replace(bucket, configurations={})
        elif self.txn.get(Table.BUCKET_OWNERS, owner_key(bucket.owner_id, name)) is None:
            yield f"bucket {name} is missing in the index of its owner"
        for key, version in iterate_versions(self.txn, Table.LIVE, bucket_id, self.report):
            self.reached[Table.LIVE] += 1
            yield from self.manifest_of(f"{name}/{key!r}", version)
            if version.kind is not VersionKind.OBJECT:
                yield f"{name}/{key!r}: a delete marker lies in LIVE"
        yield from self.history(bucket)
        nulls = iterate_tree(self.txn, Table.NULLS, bucket_id, SEQUENCE_CODEC, self.report)
        for key, place in nulls:
            self.reached[Table.NULLS] += 1
            try:
                null = KeyVersions(self.txn, bucket_id, key).in_history(place.seq)
            except (DataCorrupt, FormatError) as error:
                self.report(error)
                continue
            if null is None or null.version_id != NULL_VERSION_ID:
                yield f"{name}/{key!r}: the NULLS row names no null version"
        yield from self.uploads(bucket)
        yield from self.configurations(bucket)

    def configurations(self, bucket: BucketRecord) -> Iterator[str]:
        if bucket.object_lock and bucket.versioning is not Versioning.ENABLED:
            yield f"bucket {bucket.name} has Object Lock and no versioning"
        for kind, stamp in bucket.configurations.items():
            key = configuration_key(bucket.bucket_id, kind)
            value = self.txn.get(Table.CONFIGURATIONS, key)
            if value is None:
                yield f"bucket {bucket.name}: its configuration {kind} is missing"
                continue
            self.configuration_count += 1
            self.seq_max = max(self.seq_max, stamp)
            try:
                found = CONFIGURATION_CODEC.open(key, value)
            except (DataCorrupt, FormatError) as error:
                self.report(error)
                continue
            if found.stamp != stamp:
                yield f"bucket {bucket.name}: its configuration {kind} is another than it says"

    def history(self, bucket: BucketRecord) -> Iterator[str]:
        before: tuple[bytes, int] | None = None
        name, bucket_id = bucket.name, bucket.bucket_id
        for key, version in iterate_versions(self.txn, Table.HISTORY, bucket_id, self.report):
            self.reached[Table.HISTORY] += 1
            where = f"{name}/{key!r}"
            yield from self.manifest_of(where, version)
            try:
                if before is None or before[0] != key:
                    yield from self.newest_of_key(where, bucket_id, key, version)
                elif before[1] <= version.seq:
                    yield f"{where}: the rows of HISTORY are not newest first"
                if version.version_id == NULL_VERSION_ID:
                    null = KeyVersions(self.txn, bucket_id, key).null_in_history()
                    if null is None or null.seq != version.seq:
                        yield f"{where}: the null version in HISTORY has no NULLS row"
            except (DataCorrupt, FormatError) as error:
                self.report(error)
            before = key, version.seq

    def newest_of_key(
        self, where: str, bucket_id: int, key: bytes, newest: VersionRecord
    ) -> Iterator[str]:
        live = KeyVersions(self.txn, bucket_id, key).live()
        if live is None and newest.kind is VersionKind.OBJECT:
            yield f"{where}: nothing is current although an object is the newest"
        if live is not None and live.seq <= newest.seq:
            yield f"{where}: a row of HISTORY is newer than the LIVE row"

    def manifest_of(self, where: str, version: VersionRecord) -> Iterator[str]:
        self.seq_max = max(self.seq_max, version.seq)
        self.node_id_max = max(self.node_id_max, version.manifest_id or 0)
        if version.manifest_id is None:
            return
        self.manifest_count += 1
        try:
            manifest = read_manifest(self.txn, version.manifest_id)
        except (DataCorrupt, FormatError) as error:
            yield f"{where}: {error}"
            return
        count = version.part_count
        lengths = (len(manifest.end_offsets), len(manifest.blob_ids), len(manifest.numbers))
        if lengths != (8 * count, 16 * count, 2 * count):
            yield f"{where}: the manifest does not have {count} parts"
        elif len(manifest.blob_end_offsets) != 8 * count or len(manifest.salts) not in (
            0,
            16 * count,
        ):
            yield f"{where}: the manifest does not say how {count} parts are stored"
        elif int.from_bytes(manifest.end_offsets[-8:], "big") != version.size_bytes:
            yield f"{where}: the manifest does not have {version.size_bytes} bytes"

    def uploads(self, bucket: BucketRecord) -> Iterator[str]:
        rows = iterate_tree(self.txn, Table.UPLOADS, bucket.bucket_id, UPLOAD_CODEC, self.report)
        for row, upload in rows:
            self.reached[Table.UPLOADS] += 1
            self.seq_max = max(self.seq_max, upload.seq)
            key = unescape_key(row[:-8])
            time_row = uploads.time_key(upload.initiated_ms, upload.seq)
            if self.txn.get(Table.UPLOAD_TIMES, time_row) is None:
                yield f"{bucket.name}/{key!r}: upload {upload.seq} is missing in UPLOAD_TIMES"
            try:
                self.part_count += sum(1 for _ in uploads.iterate_parts(self.txn, upload.seq))
            except (DataCorrupt, FormatError) as error:
                self.report(error)

    def totals(self) -> Iterator[str]:
        """Rows that no walk has reached belong to nothing."""
        for table in TREES:
            pointer_count = 0
            for row, value in self.txn.cursor(table):
                if len(row) == POINTER_KEY_BYTES:
                    pointer_count += 1
                    self.count_node(row, value)
            yield from self.compare(table, self.reached[table] + pointer_count)
        yield from self.compare(Table.MANIFESTS, self.manifest_count)
        yield from self.compare(Table.PARTS, self.part_count)
        yield from self.compare(Table.CONFIGURATIONS, self.configuration_count)
        upload_count = self.reached[Table.UPLOADS] + self.txn.count(Table.COMPLETED)
        yield from self.compare(Table.UPLOAD_TIMES, upload_count)

    def count_node(self, row: bytes, value: bytes) -> None:
        try:
            node_id = POINTER_CODEC.open(row, value).node_id
        except (DataCorrupt, FormatError) as error:
            self.report(error)
            return
        if node_id >= TREE_ID_MIN:
            self.tree_id_max = max(self.tree_id_max, node_id - TREE_ID_MIN)
        else:
            self.node_id_max = max(self.node_id_max, node_id)

    def counters(self) -> Iterator[str]:
        """A counter that has fallen back would give out a number a second time."""
        if is_cluster(self.txn):
            yield from self.group_counters()
            return
        value = self.txn.get(Table.META, META_COUNTERS_KEY)
        record = CountersRecord()
        if value is not None:
            try:
                record = COUNTERS_CODEC.open(META_COUNTERS_KEY, value)
            except (DataCorrupt, FormatError) as error:
                self.report(error)
                return
        if record.seq < self.seq_max or record.node_id < self.node_id_max:
            yield f"META: the counters {record} are behind {self.seq_max}, {self.node_id_max}"

    def group_counters(self) -> Iterator[str]:
        """In a cluster each group counts for itself, and this node its tree nodes."""
        try:
            cluster = read_cluster(self.txn)
            assert cluster is not None
            all_counters = [read_counters(self.txn, number) for number in range(cluster.groups + 1)]
            tree_last = TreeIds(self.txn).last
        except (DataCorrupt, FormatError) as error:
            self.report(error)
            return
        seq = max(counters.seq for counters in all_counters) + 1
        node_id = max(counters.node_id for counters in all_counters) + 1
        if seq * GROUP_STRIDE <= self.seq_max or node_id * GROUP_STRIDE <= self.node_id_max:
            yield f"META: the groups' counters are behind {self.seq_max}, {self.node_id_max}"
        if self.tree_id_max > tree_last:
            yield f"META: the tree ids are behind {self.tree_id_max}"

    def compare(self, table: Table, expected: int) -> Iterator[str]:
        found = self.txn.count(table)
        if found != expected:
            yield f"{table.name}: {found} rows, of which {expected} belong to something"

    def upload_times(self) -> Iterator[str]:
        places = iterate_table(self.txn, Table.UPLOAD_TIMES, UPLOAD_PLACE_CODEC, self.report)
        for row, place in places:
            if place.completed:
                found = self.txn.get(Table.COMPLETED, u64(place.bucket_id) + row[8:])
            else:
                tree = Tree(self.txn, Table.UPLOADS, place.bucket_id)
                found = tree.get(upload_key(place.key, int.from_bytes(row[8:], "big")))
            if found is None:
                yield f"UPLOAD_TIMES: row {row.hex()} names an upload that is missing"
        for row, kept in iterate_table(self.txn, Table.COMPLETED, COMPLETED_CODEC, self.report):
            if kept.upload.completed is None:
                yield f"COMPLETED: row {row.hex()} has no result"

    def bucket_owners(self) -> Iterator[str]:
        for row, _ in iterate_table(self.txn, Table.BUCKET_OWNERS, INDEX_CODEC, self.report):
            owner_id, _, name = row.decode().partition("\0")
            if self.txn.get(Table.BUCKETS, name.encode()) is None:
                yield f"BUCKET_OWNERS: {owner_id} has no bucket {name}"

    def accounts(self) -> Iterator[str]:
        for _, account in iterate_table(self.txn, Table.ACCOUNTS, ACCOUNT_CODEC, self.report):
            email = account.email.lower().encode()
            if email and self.txn.get(Table.EMAILS, email) is None:
                yield f"account {account.canonical_id} is missing in EMAILS"
        for row, place in iterate_table(self.txn, Table.EMAILS, EMAIL_CODEC, self.report):
            if self.txn.get(Table.ACCOUNTS, place.canonical_id.encode()) is None:
                yield f"EMAILS: {row!r} names account {place.canonical_id}, which is missing"

    def access_keys(self) -> Iterator[str]:
        for _, key in iterate_table(self.txn, Table.ACCESS_KEYS, ACCESS_KEY_CODEC, self.report):
            index = owner_key(key.canonical_id, key.access_key_id)
            if self.txn.get(Table.ACCOUNT_KEYS, index) is None:
                yield f"access key {key.access_key_id} is missing in ACCOUNT_KEYS"
            if self.txn.get(Table.ACCOUNTS, key.canonical_id.encode()) is None:
                yield f"access key {key.access_key_id} has no account"
        for row, _ in iterate_table(self.txn, Table.ACCOUNT_KEYS, INDEX_CODEC, self.report):
            canonical_id, _, access_key_id = row.decode().partition("\0")
            if self.txn.get(Table.ACCESS_KEYS, access_key_id.encode()) is None:
                yield f"ACCOUNT_KEYS: {canonical_id} has no access key {access_key_id}"

    def identities(self) -> Iterator[str]:
        for _, one in iterate_table(self.txn, Table.IDENTITIES, IDENTITY_CODEC, self.report):
            what = f"{one.kind} {one.name} of {one.canonical_id}"
            if self.txn.get(Table.ACCOUNTS, one.canonical_id.encode()) is None:
                yield f"{what} has no account"
            for group in one.groups:
                key = identity_key(one.canonical_id, IdentityKind.GROUP, group)
                if self.txn.get(Table.IDENTITIES, key) is None:
                    yield f"{what} is in group {group}, which is missing"
            for arn in filter(None, (*one.attached, one.boundary)):
                name = policy_name_of(arn)
                key = owner_key(one.canonical_id, (name or "").lower())
                if name is not None and self.txn.get(Table.POLICIES, key) is None:
                    yield f"{what} has policy {arn}, which is missing"
        for _, policy in iterate_table(self.txn, Table.POLICIES, POLICY_CODEC, self.report):
            if self.txn.get(Table.ACCOUNTS, policy.canonical_id.encode()) is None:
                yield f"policy {policy.name} of {policy.canonical_id} has no account"

    def kms_keys(self) -> Iterator[str]:
        for _, one in iterate_table(self.txn, Table.KMS_KEYS, KMS_KEY_CODEC, self.report):
            if self.txn.get(Table.KMS_NAMES, one.name.encode()) is None:
                yield f"key {one.key_id} is missing in KMS_NAMES"
        for row, name in iterate_table(self.txn, Table.KMS_NAMES, KMS_NAME_CODEC, self.report):
            if self.txn.get(Table.KMS_KEYS, name.key_id.encode()) is None:
                yield f"KMS_NAMES: {row.decode()} has no key {name.key_id}"
