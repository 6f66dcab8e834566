"""The rows of multipart uploads: where they lie and how they are found.

An unfinished upload is a row of the UPLOADS tree of its bucket, where a listing walks it, and its
parts are rows of PARTS. When it is completed its row moves to COMPLETED, so that kept results
never stand in the way of a listing. Each upload, finished or not, has one row in UPLOAD_TIMES
under the time at which it began or was completed: the sweep of old uploads reads only what it
drops. What it is not: it decides nothing; the apply does.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import msgspec

from rs3gwd.base.codec import sequence_of_id
from rs3gwd.base.records import PartRecord, UploadRecord, VersionRecord
from rs3gwd.engine.environment import Transaction
from rs3gwd.engine.tables import (
    COMPLETED_CODEC,
    PART_CODEC,
    SEQ_MAX,
    UPLOAD_CODEC,
    UPLOAD_PLACE_CODEC,
    CompletedRecord,
    Table,
    UploadPlaceRecord,
    part_key,
    u64,
    upload_key,
)
from rs3gwd.engine.tree import Tree


def find_upload(
    txn: Transaction, bucket_id: int, key: bytes, upload_id: str
) -> UploadRecord | None:
    """The unfinished upload of `key` with this id, or None."""
    seq = sequence_of_id(upload_id)
    if seq is None:
        return None
    tree = Tree(txn, Table.UPLOADS, bucket_id)
    row = upload_key(key, seq)
    value = tree.get(row)
    if value is None:
        return None
    record = UPLOAD_CODEC.open(tree.row_key(row), value)
    return record if record.upload_id == upload_id else None


def find_completed(
    txn: Transaction, bucket_id: int, key: bytes, upload_id: str
) -> VersionRecord | None:
    """The kept result of the upload of `key` with this id, or None."""
    seq = sequence_of_id(upload_id)
    if seq is None:
        return None
    row = u64(bucket_id) + u64(seq)
    value = txn.get(Table.COMPLETED, row)
    if value is None:
        return None
    record = COMPLETED_CODEC.open(row, value)
    matches = record.key == key and record.upload.upload_id == upload_id
    return record.upload.completed if matches else None


def put_upload(
    txn: Transaction,
    bucket_id: int,
    key: bytes,
    record: UploadRecord,
    allocate: Callable[[], int],
) -> None:
    """Writes the rows of a new upload."""
    tree = Tree(txn, Table.UPLOADS, bucket_id)
    row = upload_key(key, record.seq)
    tree.put(row, UPLOAD_CODEC.seal(tree.row_key(row), record), allocate)
    place = UploadPlaceRecord(bucket_id, key, completed=False)
    _put_time(txn, record.initiated_ms, record.seq, place)


def complete_upload_rows(
    txn: Transaction, bucket_id: int, key: bytes, record: UploadRecord, result: VersionRecord
) -> None:
    """Moves an upload to COMPLETED with its result and drops its part rows."""
    delete_upload_rows(txn, bucket_id, key, record)
    row = u64(bucket_id) + u64(record.seq)
    kept = CompletedRecord(key, msgspec.structs.replace(record, completed=result))
    txn.put(Table.COMPLETED, row, COMPLETED_CODEC.seal(row, kept))
    place = UploadPlaceRecord(bucket_id, key, completed=True)
    _put_time(txn, result.last_modified_ms, record.seq, place)


def delete_upload_rows(txn: Transaction, bucket_id: int, key: bytes, record: UploadRecord) -> None:
    """Removes the rows of an unfinished upload and of its parts."""
    Tree(txn, Table.UPLOADS, bucket_id).delete(upload_key(key, record.seq))
    txn.delete(Table.UPLOAD_TIMES, time_key(record.initiated_ms, record.seq))
    txn.delete_prefix(Table.PARTS, u64(record.seq))


def get_part(txn: Transaction, upload_seq: int, number: int) -> PartRecord | None:
    """One part, or None."""
    row = part_key(upload_seq, number)
    value = txn.get(Table.PARTS, row)
    return None if value is None else PART_CODEC.open(row, value)


def put_part(txn: Transaction, upload_seq: int, record: PartRecord) -> None:
    """Writes a part in place of an earlier one of its number."""
    row = part_key(upload_seq, record.number)
    txn.put(Table.PARTS, row, PART_CODEC.seal(row, record))


def iterate_parts(
    txn: Transaction, upload_seq: int, *, after_number: int = 0
) -> Iterator[PartRecord]:
    """The parts of an upload by number, those behind `after_number`."""
    prefix = u64(upload_seq)
    cursor = txn.cursor(Table.PARTS)
    found = cursor.set_range(prefix + min(after_number + 1, 0xFFFF).to_bytes(2, "big"))
    while found:
        row, value = cursor.item()
        if not row.startswith(prefix):
            return
        yield PART_CODEC.open(row, value)
        found = cursor.next()


def time_key(milliseconds: int, seq: int) -> bytes:
    """UPLOAD_TIMES: the key of an upload's row; times out of range count as the nearest one."""
    return u64(min(max(milliseconds, 0), SEQ_MAX)) + u64(seq)


def _put_time(txn: Transaction, milliseconds: int, seq: int, place: UploadPlaceRecord) -> None:
    row = time_key(milliseconds, seq)
    txn.put(Table.UPLOAD_TIMES, row, UPLOAD_PLACE_CODEC.seal(row, place))
