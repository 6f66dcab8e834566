"""The commands of multipart uploads, all but Complete (`rs3gwd.engine.apply_complete`).

Source: Amazon S3 API Reference, CreateMultipartUpload, UploadPart, AbortMultipartUpload; Amazon S3
User Guide, "Checking object integrity in Amazon S3".
"""

from __future__ import annotations

from rs3gwd.base.codec import make_sequenced_id
from rs3gwd.base.commands import AbortUpload, CreateUpload, ForgetUploads, PutPart
from rs3gwd.base.errors import DataCorrupt, InvalidRequest, NoSuchUpload
from rs3gwd.base.limits import PART_NUMBER_MAX
from rs3gwd.base.records import (
    ChecksumAlgorithm,
    ChecksumType,
    PartRecord,
    UploadRecord,
)
from rs3gwd.engine import uploads
from rs3gwd.engine.apply_state import ApplyState
from rs3gwd.engine.locks import require_lock
from rs3gwd.engine.tables import (
    COMPLETED_CODEC,
    UPLOAD_CODEC,
    UPLOAD_PLACE_CODEC,
    Table,
    UploadPlaceRecord,
    u64,
    unescape_key,
    upload_key,
)
from rs3gwd.engine.tree import Tree

CHECKSUM_TYPES = {
    ChecksumAlgorithm.CRC32: (ChecksumType.COMPOSITE, ChecksumType.FULL_OBJECT),
    ChecksumAlgorithm.CRC32C: (ChecksumType.COMPOSITE, ChecksumType.FULL_OBJECT),
    ChecksumAlgorithm.CRC64NVME: (ChecksumType.FULL_OBJECT,),
    ChecksumAlgorithm.SHA1: (ChecksumType.COMPOSITE,),
    ChecksumAlgorithm.SHA256: (ChecksumType.COMPOSITE,),
}
"""The types that an upload with this algorithm may have, the default first."""

FORGOTTEN_PARTS_MAX = 1000
"""Parts after which ForgetUploads stops: freeing one takes about 15 us, and the whole commit waits.
One upload alone may have ten times as many."""

_UPLOADS_PER_STEP = 100
"""Uploads gathered before they are dropped: a cursor must not outlive a write to its table."""


def create_upload(state: ApplyState, command: CreateUpload) -> UploadRecord:
    """Starts an upload; an algorithm without a type gets the default type."""
    bucket = state.bucket(command.bucket)
    checksum_type = _checked_type(command.checksum_algorithm, command.checksum_type)
    if command.attributes.lock is not None:
        require_lock(bucket)
    seq = state.next_seq()
    record = UploadRecord(
        upload_id=make_sequenced_id(seq, command.nonce),
        seq=seq,
        initiated_ms=command.now_ms,
        attributes=command.attributes,
        checksum_algorithm=command.checksum_algorithm,
        checksum_type=checksum_type,
    )
    uploads.put_upload(state.txn, bucket.bucket_id, command.key, record, state.next_tree_id)
    return record


def put_part(state: ApplyState, command: PutPart) -> PartRecord:
    """Stores a part; the bytes of an earlier one of its number are freed."""
    bucket = state.bucket(command.bucket)
    upload = uploads.find_upload(state.txn, bucket.bucket_id, command.key, command.upload_id)
    if upload is None:
        raise no_such_upload()
    if not 1 <= command.number <= PART_NUMBER_MAX:
        raise InvalidRequest(f"part numbers go from 1 to {PART_NUMBER_MAX}")
    wanted = upload.checksum_algorithm
    given = command.checksum.algorithm if command.checksum else None
    if wanted is not None and given is not wanted:
        raise InvalidRequest(
            f"Checksum Type mismatch occurred, expected checksum Type: {wanted.lower()}, "
            f"actual checksum Type: {given.lower() if given else 'null'}"
        )
    earlier = uploads.get_part(state.txn, upload.seq, command.number)
    record = PartRecord(
        number=command.number,
        size_bytes=command.size_bytes,
        etag=command.etag,
        last_modified_ms=command.now_ms,
        blob=command.blob,
        checksum=command.checksum,
        salt=command.salt,
    )
    uploads.put_part(state.txn, upload.seq, record)
    if earlier is not None:
        state.free_blob(earlier.blob)
    return record


def abort_upload(state: ApplyState, command: AbortUpload) -> None:
    """Drops an unfinished upload and frees its parts."""
    bucket = state.bucket(command.bucket)
    upload = uploads.find_upload(state.txn, bucket.bucket_id, command.key, command.upload_id)
    if upload is None:
        raise no_such_upload()
    drop_upload(state, bucket.bucket_id, command.key, upload)


def forget_uploads(state: ApplyState, command: ForgetUploads) -> int:
    """Drops the oldest uploads, finished or not, that are older than a time; at most `limit`, and
    no further one once FORGOTTEN_PARTS_MAX parts have gone."""
    rows = _oldest_uploads(state, before_ms=command.before_ms, limit=command.limit)
    for count, (row, place) in enumerate(rows):
        if len(state.freed) >= FORGOTTEN_PARTS_MAX:
            return count
        if place.completed:
            state.txn.delete(Table.COMPLETED, u64(place.bucket_id) + row[8:])
            state.txn.delete(Table.UPLOAD_TIMES, row)
            continue
        tree = Tree(state.txn, Table.UPLOADS, place.bucket_id)
        upload_row = upload_key(place.key, int.from_bytes(row[8:], "big"))
        stored = tree.get(upload_row)
        if stored is None:
            raise DataCorrupt(f"upload time row {row!r} names an upload that is missing")
        upload = UPLOAD_CODEC.open(tree.row_key(upload_row), stored)
        drop_upload(state, place.bucket_id, place.key, upload)
    return len(rows)


def drop_upload(state: ApplyState, bucket_id: int, key: bytes, upload: UploadRecord) -> None:
    """Removes an unfinished upload and frees the bytes of its parts."""
    for part in uploads.iterate_parts(state.txn, upload.seq):
        state.free_blob(part.blob)
    uploads.delete_upload_rows(state.txn, bucket_id, key, upload)


def drop_all_uploads(state: ApplyState, bucket_id: int) -> None:
    """Removes every upload of a bucket that the state owns, finished or not."""
    tree = Tree(state.txn, Table.UPLOADS, bucket_id)
    start: bytes | None = b""
    while start is not None:
        batch: list[tuple[bytes, UploadRecord]] = []
        cursor = tree.cursor()
        found = cursor.seek(start)
        while found and len(batch) < _UPLOADS_PER_STEP:
            key = unescape_key(cursor.key[:-8])
            if state.owns_key(bucket_id, key):
                batch.append((key, UPLOAD_CODEC.open(cursor.row_key, cursor.value)))
            found = cursor.next()
        start = cursor.key if found else None
        for key, upload in batch:
            drop_upload(state, bucket_id, key, upload)
    _drop_completed(state, bucket_id)


def no_such_upload() -> NoSuchUpload:
    """The error in S3's words."""
    return NoSuchUpload(
        "The specified upload does not exist. The upload ID may be invalid, or the upload may "
        "have been aborted or completed."
    )


def _checked_type(
    algorithm: ChecksumAlgorithm | None, checksum_type: ChecksumType | None
) -> ChecksumType | None:
    if algorithm is None:
        if checksum_type is not None:
            raise InvalidRequest("a checksum type needs a checksum algorithm")
        return None
    allowed = CHECKSUM_TYPES[algorithm]
    if checksum_type is None:
        return allowed[0]
    if checksum_type not in allowed:
        raise InvalidRequest(
            f"The {checksum_type} checksum type cannot be used with the "
            f"{algorithm.lower()} checksum algorithm."
        )
    return checksum_type


def _oldest_uploads(
    state: ApplyState, *, before_ms: int, limit: int
) -> list[tuple[bytes, UploadPlaceRecord]]:
    end = uploads.time_key(before_ms, 0)
    rows: list[tuple[bytes, UploadPlaceRecord]] = []
    cursor = state.txn.cursor(Table.UPLOAD_TIMES)
    found = cursor.first()
    while found and len(rows) < limit and cursor.key() < end:
        row, value = cursor.item()
        place = UPLOAD_PLACE_CODEC.open(row, value)
        if state.owns_key(place.bucket_id, place.key):
            rows.append((row, place))
        found = cursor.next()
    return rows


def _drop_completed(state: ApplyState, bucket_id: int) -> None:
    prefix = u64(bucket_id)
    owned: list[bytes] = []
    cursor = state.txn.cursor(Table.COMPLETED)
    found = cursor.set_range(prefix)
    while found and cursor.key().startswith(prefix):
        row, value = cursor.item()
        found = cursor.next()
        kept = COMPLETED_CODEC.open(row, value)
        if not state.owns_key(bucket_id, kept.key):
            continue
        result = kept.upload.completed
        if result is None:
            raise DataCorrupt(f"completed upload row {row!r} has no result")
        time_row = uploads.time_key(result.last_modified_ms, int.from_bytes(row[8:], "big"))
        state.txn.delete(Table.UPLOAD_TIMES, time_row)
        owned.append(row)
    for row in owned:
        state.txn.delete(Table.COMPLETED, row)
