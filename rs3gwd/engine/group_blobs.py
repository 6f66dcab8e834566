"""Bytes of a cluster on this node: received before their command, bound by it, or still missing.

On a single node bytes and command come together. In a cluster each replica receives the bytes of a
large body by itself, and the command later through a group's log, or the other way round. What it
is not: it moves no bytes between nodes. Everything here is this node's own and never replicated.

    bytes   command   row         what it is
    kept    none yet  STAGED      as luggage that came before its passenger
    kept    applied   BLOBS       the blob, as on a single node
    none    applied   MISSING     to be fetched from another node; unless this node need not keep it
    none    freed     none

Extents of STAGED rows count as live in the accounts of the segments, and compaction moves them.

Invariant: a blob id has at most one of the three rows, and BLOBS and MISSING rows are of blobs that
some record of the metadata names.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress

from msgspec import Struct

from rs3gwd.base.codec import RecordCodec
from rs3gwd.base.commands import AnyCommand
from rs3gwd.base.errors import DataCorrupt, FormatError
from rs3gwd.base.records import BlobRef, Checksum
from rs3gwd.engine.blobs import BlobRecord, find_blob, put_blob
from rs3gwd.engine.environment import Transaction
from rs3gwd.engine.segments import Ledger
from rs3gwd.engine.tables import Table


class StagedOwner(Struct, array_like=True, frozen=True):
    """For which command bytes were received: PutObject has a nonce, PutPart none."""

    bucket: str
    key: bytes
    nonce: bytes = b""


class StagedRecord(Struct, array_like=True, frozen=True):
    """STAGED: where the bytes are, for whom, and since when (milliseconds since 1970)."""

    place: BlobRecord
    owner: StagedOwner
    staged_ms: int


class MissingRecord(Struct, array_like=True, frozen=True):
    """MISSING: how many bytes are to be fetched, and what the command said of them.

    `etag` and `checksum` are those of the command: of the object or part, which is what is stored
    unless it is encrypted. Both are empty where a snapshot or a lost disk was the cause.
    """

    size_bytes: int
    etag: str = ""
    checksum: Checksum | None = None


STAGED_CODEC = RecordCodec(StagedRecord, name="staged blob")
MISSING_CODEC = RecordCodec(MissingRecord, name="missing blob")


def find_staged(txn: Transaction, blob_id: bytes) -> StagedRecord | None:
    """The row of a staged blob, or None."""
    value = txn.get(Table.STAGED, blob_id)
    return None if value is None else STAGED_CODEC.open(blob_id, value)


def put_staged(txn: Transaction, blob_id: bytes, record: StagedRecord) -> None:
    """Writes the row of a staged blob."""
    txn.put(Table.STAGED, blob_id, STAGED_CODEC.seal(blob_id, record))


def find_missing(txn: Transaction, blob_id: bytes) -> MissingRecord | None:
    """The row of a missing blob, or None."""
    value = txn.get(Table.MISSING, blob_id)
    return None if value is None else MISSING_CODEC.open(blob_id, value)


def put_missing(txn: Transaction, blob_id: bytes, record: MissingRecord) -> None:
    """Notes that bytes are to be fetched."""
    txn.put(Table.MISSING, blob_id, MISSING_CODEC.seal(blob_id, record))


def list_missing(
    txn: Transaction, *, after: bytes = b"", limit: int = 1000
) -> list[tuple[bytes, MissingRecord]]:
    """The missing blobs behind a blob id, by blob id: oldest first. A damaged row is passed over:
    it must not keep the others from being fetched, and the check finds it."""
    rows: list[tuple[bytes, MissingRecord]] = []
    with txn.cursor(Table.MISSING) as cursor:
        found = cursor.set_range(after + b"\0")
        while found and len(rows) < limit:
            with suppress(DataCorrupt, FormatError):
                rows.append((cursor.key(), MISSING_CODEC.open(cursor.key(), cursor.value())))
            found = cursor.next()
    return rows


def list_staged(
    txn: Transaction, *, before_ms: int, after: bytes = b"", limit: int = 1000
) -> list[tuple[bytes, StagedRecord]]:
    """Blobs staged before a time, behind a blob id, by blob id."""
    rows: list[tuple[bytes, StagedRecord]] = []
    with txn.cursor(Table.STAGED) as cursor:
        found = cursor.set_range(after + b"\0")
        while found and len(rows) < limit:
            record = STAGED_CODEC.open(cursor.key(), cursor.value())
            if record.staged_ms < before_ms:
                rows.append((cursor.key(), record))
            found = cursor.next()
    return rows


def has_blob(txn: Transaction, blob_id: bytes) -> bool:
    """Whether the bytes of a blob are kept here, for a command that was applied."""
    return txn.get(Table.BLOBS, blob_id) is not None


def find_place(txn: Transaction, blob_id: bytes) -> BlobRecord | None:
    """Where the bytes of a blob lie, whether a command has named it yet or not."""
    record = find_blob(txn, blob_id)
    if record is None:
        staged = find_staged(txn, blob_id)
        record = None if staged is None else staged.place
    return record


def move_place(txn: Transaction, blob_id: bytes, place: BlobRecord) -> None:
    """Writes a new place into the row that has the old one."""
    staged = find_staged(txn, blob_id)
    if staged is None:
        put_blob(txn, blob_id, place)
    else:
        put_staged(txn, blob_id, StagedRecord(place, staged.owner, staged.staged_ms))


def bind_blob(txn: Transaction, blob: BlobRef, missing: MissingRecord | None) -> bool:
    """A record names this blob from now on: binds the staged bytes, or notes what is missing.

    Without `missing` nothing is noted. Whether the bytes are here.
    """
    staged = find_staged(txn, blob.blob_id)
    if staged is not None:
        txn.delete(Table.STAGED, blob.blob_id)
        put_blob(txn, blob.blob_id, staged.place)
        return True
    if missing is not None:
        put_missing(txn, blob.blob_id, missing)
    return False


def release_blob(
    txn: Transaction, ledger: Ledger, blob_id: bytes, *, keep_ms: int | None = None
) -> None:
    """No record names this blob any more: its bytes are dead, or nobody need fetch them.

    With `keep_ms` the bytes are kept as staged at that time, since a record may soon name them.
    """
    record = find_blob(txn, blob_id)
    if record is None:
        txn.delete(Table.MISSING, blob_id)
        return
    txn.delete(Table.BLOBS, blob_id)
    txn.delete(Table.UNSYNCED, blob_id)
    if keep_ms is None:
        ledger.free(record.extents)
    else:
        put_staged(txn, blob_id, StagedRecord(record, StagedOwner("", b""), keep_ms))


def lose_blob(txn: Transaction, ledger: Ledger, blob_id: bytes) -> None:
    """The bytes of a blob that a record names are lost here: they are to be fetched."""
    record = find_blob(txn, blob_id)
    if record is not None:
        txn.delete(Table.BLOBS, blob_id)
        ledger.free(record.extents)
        put_missing(txn, blob_id, MissingRecord(record.size_bytes))


def reclaim_staged(txn: Transaction, ledger: Ledger, blob_ids: Iterator[bytes]) -> int:
    """Frees staged bytes that no command will name; how many blobs there were."""
    count = 0
    for blob_id in blob_ids:
        staged = find_staged(txn, blob_id)
        if staged is not None:
            txn.delete(Table.STAGED, blob_id)
            ledger.free(staged.place.extents)
            count += 1
    return count


def missing_of(command: AnyCommand, blob: BlobRef) -> MissingRecord:
    """What a command says of its bytes, for the node that has to fetch them."""
    etag: str = getattr(command, "etag", "")
    checksum: Checksum | None = getattr(command, "checksum", None)
    return MissingRecord(blob.size_bytes, etag, checksum)
