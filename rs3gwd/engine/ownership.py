"""Which record owns which blob: a walk over every row that names bytes.

Each blob has exactly one owner: a version, a part of a version's manifest, or a part of an
unfinished upload. `rs3gwd.engine.check` compares this with the blobs that are stored. What it is
not: it reads no bytes of objects. Memory is bounded by one manifest.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from struct import unpack
from typing import TypeVar

from msgspec import Struct

from rs3gwd.base.codec import RecordCodec
from rs3gwd.base.errors import DataCorrupt, FormatError
from rs3gwd.base.records import BucketRecord, ManifestRecord, VersionRecord
from rs3gwd.engine.apply_state import EMPTY_BLOB_ID, read_manifest
from rs3gwd.engine.environment import Transaction
from rs3gwd.engine.tables import (
    BUCKET_CODEC,
    GROUP_BUCKET_CODEC,
    PART_CODEC,
    VERSION_CODEC,
    Table,
    unescape_key,
)
from rs3gwd.engine.tree import Tree, TreeCursor

R = TypeVar("R", bound=Struct)
DamageReport = Callable[[DataCorrupt | FormatError], None]


class OwnedBlob(Struct, frozen=True):
    """A blob that a record names: `owner` says which record, for people."""

    owner: str
    blob_id: bytes
    size_bytes: int


def owned_blobs(txn: Transaction, *, on_damage: DamageReport | None = None) -> Iterator[OwnedBlob]:
    """Every blob that a record names, with its owner and its size in bytes.

    A row that cannot be read is given to `on_damage` and passed over; without it the error is
    raised. Hold the transaction no longer than needed: its pages cannot be used again meanwhile.
    """
    report = on_damage or _raise
    for bucket in iterate_buckets(txn, report):
        for table in (Table.LIVE, Table.HISTORY):
            for key, version in iterate_versions(txn, table, bucket.bucket_id, report):
                owner = f"version {version.version_id} of {bucket.name}/{_shown(key)}"
                yield from _version_blobs(txn, owner, version, report)
    for row, part in iterate_table(txn, Table.PARTS, PART_CODEC, report):
        if part.blob is not None:
            seq = int.from_bytes(row[:8], "big")
            owner = f"part {part.number} of upload {seq}"
            yield OwnedBlob(owner, part.blob.blob_id, part.blob.size_bytes)


def iterate_buckets(txn: Transaction, report: DamageReport) -> Iterator[BucketRecord]:
    """Every bucket, by name; then those that only index groups of a cluster know: deleted ones
    that they have still to drop, or new ones where they are ahead."""
    for _, record in iterate_table(txn, Table.BUCKETS, BUCKET_CODEC, report):
        yield record
    seen: set[int] = set()
    for _, row in iterate_table(txn, Table.GROUP_BUCKETS, GROUP_BUCKET_CODEC, report):
        bucket = row.bucket
        if bucket is None or bucket.bucket_id in seen or is_listed(txn, bucket):
            continue
        seen.add(bucket.bucket_id)
        yield bucket


def is_listed(txn: Transaction, bucket: BucketRecord) -> bool:
    """Whether BUCKETS has this bucket, or a row of its name that cannot be read."""
    key = bucket.name.encode()
    value = txn.get(Table.BUCKETS, key)
    if value is None:
        return False
    try:
        return BUCKET_CODEC.open(key, value).bucket_id == bucket.bucket_id
    except (DataCorrupt, FormatError):
        return False  # its keys are found by what the groups know


def iterate_table(
    txn: Transaction, table: Table, codec: RecordCodec[R], report: DamageReport
) -> Iterator[tuple[bytes, R]]:
    """The rows of a table that is no tree."""
    for row, value in txn.cursor(table):
        try:
            record = codec.open(row, value)
        except (DataCorrupt, FormatError) as error:
            report(error)
            continue
        yield row, record


def iterate_versions(
    txn: Transaction, table: Table, bucket_id: int, report: DamageReport
) -> Iterator[tuple[bytes, VersionRecord]]:
    """The object keys and records of LIVE or HISTORY."""
    for key, record in iterate_tree(txn, table, bucket_id, VERSION_CODEC, report):
        yield (key if table is Table.LIVE else unescape_key(key[:-8])), record


def iterate_tree(
    txn: Transaction, table: Table, root_id: int, codec: RecordCodec[R], report: DamageReport
) -> Iterator[tuple[bytes, R]]:
    """The logical keys and records of a tree; what lies behind a damaged pointer is passed over."""
    cursor = Tree(txn, table, root_id).cursor()
    found = _advance(lambda: cursor.seek(b""), cursor, report)
    while found:
        try:
            record = codec.open(cursor.row_key, cursor.value)
        except (DataCorrupt, FormatError) as error:
            report(error)
        else:
            yield cursor.key, record
        found = _advance(cursor.next, cursor, report)


def _advance(move: Callable[[], bool], cursor: TreeCursor, report: DamageReport) -> bool:
    """Moves the cursor, and on past each damaged pointer; ends since every move goes upwards."""
    while True:
        try:
            return move()
        except (DataCorrupt, FormatError) as error:
            report(error)
            move = cursor.next


def _version_blobs(
    txn: Transaction, owner: str, version: VersionRecord, report: DamageReport
) -> Iterator[OwnedBlob]:
    if version.blob is not None:
        yield OwnedBlob(owner, version.blob.blob_id, version.blob.size_bytes)
    if version.manifest_id is None:
        return
    try:
        manifest = read_manifest(txn, version.manifest_id)
    except (DataCorrupt, FormatError) as error:
        report(error)
        return
    yield from _manifest_blobs(owner, manifest)


def _manifest_blobs(owner: str, manifest: ManifestRecord) -> Iterator[OwnedBlob]:
    count = len(manifest.numbers) // 2
    numbers = unpack(f">{count}H", manifest.numbers)
    start = 0
    for index, end in enumerate(unpack(f">{count}Q", manifest.blob_end_offsets)):
        blob_id = manifest.blob_ids[16 * index : 16 * index + 16]
        if blob_id != EMPTY_BLOB_ID:
            yield OwnedBlob(f"part {numbers[index]} of {owner}", blob_id, end - start)
        start = end


def _shown(key: bytes) -> str:
    return key.decode("utf-8", errors="backslashreplace")


def _raise(error: DataCorrupt | FormatError) -> None:
    raise error
