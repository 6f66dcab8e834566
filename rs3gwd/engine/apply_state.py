"""What the commands of one write transaction share: counters, decoded buckets, freed blobs.

What it is not: it applies nothing. The counters are read once and written once per transaction,
so that a batch of a thousand commands costs one row, and the buckets that the batch touches are
decoded once. Memory is bounded by the batch.

A command that is refused must leave no trace, so `next_seq` and `next_node_id` are called only
when every check of a command has passed.
"""

from __future__ import annotations

from typing import TypeVar

from msgspec import Struct

from rs3gwd.base.codec import RecordCodec
from rs3gwd.base.errors import DataCorrupt, InvalidRequest, NoSuchBucket
from rs3gwd.base.records import BlobRef, BucketRecord, ManifestRecord, VersionRecord
from rs3gwd.engine.environment import Transaction
from rs3gwd.engine.tables import (
    BUCKET_CODEC,
    COUNTERS_CODEC,
    MANIFEST_CODEC,
    META_COUNTERS_KEY,
    CountersRecord,
    Table,
    u64,
)

NAME_BYTES_MAX = 255
"""Bytes of any name that is a row key or half of one (bucket, account, access key, email); two
of them and a separator fit LMDB's 511. S3's own bounds are far below."""

KEPT_RECORDS_MAX = 1024
"""Buckets, accounts and access keys that are kept decoded for reads, about 1 KiB each. When there
are more, all are dropped: the few that every request reads are back at once."""

R = TypeVar("R", bound=Struct)

EMPTY_BLOB_ID = bytes(16)
"""In a manifest: the part has no bytes."""


class ApplyState:
    """The state of an `Applier`, given to every command function."""

    def __init__(self, txn: Transaction) -> None:
        self.txn = txn
        self.freed: list[bytes] = []
        self._buckets: dict[str, BucketRecord] = {}
        self._seq = 0
        self._node_id = 0
        self._stored = CountersRecord()
        self._load()

    def _load(self) -> None:
        value = self.txn.get(Table.META, META_COUNTERS_KEY)
        if value is not None:
            self._stored = COUNTERS_CODEC.open(META_COUNTERS_KEY, value)
            self._seq, self._node_id = self._stored.seq, self._stored.node_id

    def next_seq(self) -> int:
        """The next number in the order of writes; from 1."""
        self._seq += 1
        return self._seq

    def next_node_id(self) -> int:
        """The next id of a bucket or a manifest; from 1, never given out twice."""
        self._node_id += 1
        return self._node_id

    def next_tree_id(self) -> int:
        """The next id of a tree node: of the same numbers, unless replicas must share those."""
        return self.next_node_id()

    def owns_key(self, bucket_id: int, key: bytes) -> bool:
        """Whether the commands of this state may see what belongs to a key."""
        return True

    def bucket(self, name: str) -> BucketRecord:
        """Raises NoSuchBucket."""
        record = self.find_bucket(name)
        if record is None:
            raise NoSuchBucket(f"no bucket {name!r}")
        return record

    def find_bucket(self, name: str) -> BucketRecord | None:
        """The bucket as the commands so far have left it, or None."""
        record = self._buckets.get(name)
        if record is None:
            record = read_bucket(self.txn, name)
            if record is not None:
                self._buckets[name] = record
        return record

    def put_bucket(self, record: BucketRecord) -> None:
        """Writes a bucket's row."""
        key = record.name.encode()
        self.txn.put(Table.BUCKETS, key, BUCKET_CODEC.seal(key, record))
        self._buckets[record.name] = record

    def delete_bucket(self, name: str) -> None:
        """Removes a bucket's row."""
        self.txn.delete(Table.BUCKETS, name.encode())
        self._buckets.pop(name, None)

    def free_blob(self, blob: BlobRef | None) -> None:
        """Notes that no record owns `blob` any more."""
        if blob is not None:
            self.freed.append(blob.blob_id)

    def free_version(self, record: VersionRecord) -> None:
        """Notes that the bytes of a version have no owner; removes its manifest."""
        self.free_blob(record.blob)
        if record.manifest_id is None:
            return
        self.freed.extend(manifest_blob_ids(read_manifest(self.txn, record.manifest_id)))
        self.txn.delete(Table.MANIFESTS, u64(record.manifest_id))

    def finish(self) -> None:
        """Writes the counters, if they have moved."""
        counters = CountersRecord(self._seq, self._node_id)
        if counters != self._stored:
            sealed = COUNTERS_CODEC.seal(META_COUNTERS_KEY, counters)
            self.txn.put(Table.META, META_COUNTERS_KEY, sealed)
            self._stored = counters


def name_key(name: str) -> bytes:
    """A name as a row key. Raises InvalidRequest when it is empty or too long for one."""
    key = name.encode()
    if not 0 < len(key) <= NAME_BYTES_MAX:
        raise InvalidRequest(f"a name must have 1 to {NAME_BYTES_MAX} bytes, not {len(key)}")
    return key


def read_bucket(txn: Transaction, name: str) -> BucketRecord | None:
    """The bucket of this name, or None; any text is a name."""
    return read_named(txn, Table.BUCKETS, BUCKET_CODEC, name)


def read_named(txn: Transaction, table: Table, codec: RecordCodec[R], name: str) -> R | None:
    """The record of the row that `name` is the key of, or None; any text is a name.

    A read transaction keeps up to KEPT_RECORDS_MAX of them: every request reads the same few.
    """
    kept = txn.kept
    if kept is not None and (found := kept.get((codec, name))) is not None:
        record: R = found
        return record
    key = name.encode()
    if not 0 < len(key) <= NAME_BYTES_MAX:
        return None
    value = txn.get(table, key)
    if value is None:
        return None
    record = codec.open(key, value)
    keep(txn, (codec, name), record)
    return record


def keep(txn: Transaction, place: tuple[object, str], found: object) -> None:
    """What a read transaction found, to be found again while nothing but objects changes."""
    kept = txn.kept
    if kept is None:
        return
    if len(kept) >= KEPT_RECORDS_MAX:
        kept.clear()
    kept[place] = found


def read_manifest(txn: Transaction, manifest_id: int) -> ManifestRecord:
    """The manifest that a version names. Raises DataCorrupt when it is missing."""
    key = u64(manifest_id)
    value = txn.get(Table.MANIFESTS, key)
    if value is None:
        raise DataCorrupt(f"manifest {manifest_id} is named by a version but missing")
    return MANIFEST_CODEC.open(key, value)


def manifest_blob_ids(manifest: ManifestRecord) -> list[bytes]:
    """The blobs that a manifest owns, in the order of the parts."""
    packed = manifest.blob_ids
    ids = (packed[start : start + 16] for start in range(0, len(packed), 16))
    return [blob_id for blob_id in ids if blob_id != EMPTY_BLOB_ID]
