"""What is done at the start, before the first request: bounded by the last sync, not by the data.

What it is not: it does not scan segments; `check` does. It compares the names of the segment
files with their rows (one per 256 MiB), finishes what a crash interrupted, and proves the bytes of
the blobs that a power cut may have taken (rows of UNSYNCED).

    file  row       meaning                                    what is done
    yes   ACTIVE    in use; bytes behind committed_end are     written over by the next body
                    scratch
    yes   SEALED    full                                       nothing
    yes   DROPPED   crash between commit and unlink            unlinked, then the row is removed
    no    DROPPED   crash between unlink and commit            the row is removed
    yes   empty,    another batch's commit recorded it, and    unlinked, then the row is removed
          no header the power went before its header was
                    synced
    no    empty     crash before the file was made             the row is removed
    no    other     damage                                     event; reads answer DataCorrupt
    yes   none      id above all rows: crash before the        unlinked: nothing in it was ever
                    first commit                               acknowledged
    yes   none      other id, or another store's header        event; left alone for `repair`
"""

from __future__ import annotations

from msgspec import Struct

from rs3gwd.base.errors import DataCorrupt, FormatError
from rs3gwd.base.ports import Clock, Disk, Random
from rs3gwd.engine.apply import Applier
from rs3gwd.engine.blobs import (
    BlobRecord,
    SegmentRecord,
    SegmentState,
    StoreRecord,
    UnsyncedRecord,
    all_segments,
    all_unsynced,
    delete_segment,
    find_blob,
    get_store,
    put_store,
)
from rs3gwd.engine.damage import Owner, drop_owner, find_owners, owner_by_hint
from rs3gwd.engine.environment import Environment, Transaction
from rs3gwd.engine.events import EngineEvent, EventKind, Observer
from rs3gwd.engine.group_blobs import lose_blob
from rs3gwd.engine.groups import is_cluster
from rs3gwd.engine.segment_files import SegmentFiles, verify_extent
from rs3gwd.engine.segment_format import (
    SEGMENT_HEADER_BYTES,
    SegmentHeader,
    unpack_segment_header,
)
from rs3gwd.engine.segments import (
    SEGMENT_DIRECTORY,
    Ledger,
    SegmentStore,
    segment_id_of,
    segment_path,
)
from rs3gwd.engine.tables import Table

UNSYNCED_ROWS_PER_STEP = 1000


class FoundStore(Struct, frozen=True):
    """A store as it stands after the files were compared with the rows.

    `missing` are segments whose file is gone, `next_id` the id of the next segment to be made.
    """

    store_id: bytes
    rows: dict[int, SegmentRecord]
    missing: list[int]
    next_id: int


def find_store(
    environment: Environment, disk: Disk, clock: Clock, random: Random, observer: Observer
) -> FoundStore:
    """Identifies the store, or makes its identity, and settles its segment files.

    Raises FormatError (segment files without metadata: `repair` must decide), DataCorrupt.
    """
    disk.make_directory(SEGMENT_DIRECTORY)
    disk.sync_directory("")
    files = {
        segment_id
        for name in disk.list(SEGMENT_DIRECTORY)
        if (segment_id := segment_id_of(name)) is not None
    }
    store_id = _identify(environment, clock, random, files)
    with environment.read() as txn:
        rows = all_segments(txn)
    next_id = max([*rows, *files], default=0) + 1
    missing = _settle_rows(environment, disk, rows, files, observer)
    _settle_files(disk, store_id, rows, files, observer)
    return FoundStore(store_id, rows, missing, next_id)


def _identify(environment: Environment, clock: Clock, random: Random, files: set[int]) -> bytes:
    with environment.read() as txn:
        found = get_store(txn)
    if found is not None:
        return found.store_id
    if files:
        raise FormatError(
            f"{len(files)} segment files but no metadata: is the metadata directory missing?"
        )
    made = StoreRecord(store_id=random.token_bytes(16), created_ms=clock.now_ms())
    with environment.write() as txn:
        put_store(txn, made)
    return made.store_id


def _settle_rows(
    environment: Environment,
    disk: Disk,
    rows: dict[int, SegmentRecord],
    files: set[int],
    observer: Observer,
) -> list[int]:
    """Finishes interrupted removals; gives the segments whose file is missing."""
    gone, missing = [], []
    for segment_id, row in rows.items():
        if row.state is SegmentState.DROPPED:
            if segment_id in files:
                disk.unlink(segment_path(segment_id))
            gone.append(segment_id)
        elif segment_id in files and _is_unfinished(disk, segment_id, row):
            disk.unlink(segment_path(segment_id))
            gone.append(segment_id)
        elif segment_id not in files:
            if row.live_bytes == 0:
                gone.append(segment_id)
            else:
                missing.append(segment_id)
                detail = f"{segment_path(segment_id)} is missing, {row.live_bytes} bytes live in it"
                observer.on_event(EngineEvent(EventKind.SEGMENT_MISSING, detail, segment_id))
    if gone:
        disk.sync_directory(SEGMENT_DIRECTORY)
        with environment.write() as txn:
            for segment_id in gone:
                delete_segment(txn, segment_id)
        for segment_id in gone:
            del rows[segment_id]
            files.discard(segment_id)
    return missing


def _settle_files(
    disk: Disk,
    store_id: bytes,
    rows: dict[int, SegmentRecord],
    files: set[int],
    observer: Observer,
) -> None:
    """Removes files that were made and never committed; reports the other unknown ones."""
    highest = max(rows, default=0)
    for segment_id in sorted(files - rows.keys()):
        if segment_id > highest and not _is_foreign(disk, segment_id, store_id):
            disk.unlink(segment_path(segment_id))
        else:
            detail = f"{segment_path(segment_id)} is not in the index"
            observer.on_event(EngineEvent(EventKind.SEGMENT_UNKNOWN, detail, segment_id))
    disk.sync_directory(SEGMENT_DIRECTORY)


def _is_unfinished(disk: Disk, segment_id: int, row: SegmentRecord) -> bool:
    """Whether a segment in which nothing was ever committed has no header of its own.

    Its row may have been committed, with others, while the file was still being made.
    """
    if row.committed_end > SEGMENT_HEADER_BYTES:
        return False
    header = _read_header(disk, segment_id)
    return header is None or header.segment_id != segment_id


def _is_foreign(disk: Disk, segment_id: int, store_id: bytes) -> bool:
    """Whether the header says that a segment belongs to another store."""
    header = _read_header(disk, segment_id)
    return header is not None and header.store_id != store_id


def _read_header(disk: Disk, segment_id: int) -> SegmentHeader | None:
    """The header of a segment; None where the crash came before it was written."""
    descriptor = disk.open(segment_path(segment_id))
    try:
        return unpack_segment_header(disk.pread(descriptor, SEGMENT_HEADER_BYTES, 0))
    except (DataCorrupt, FormatError):
        return None
    finally:
        disk.close(descriptor)


def recover_unsynced(
    environment: Environment, store: SegmentStore, clock: Clock, observer: Observer
) -> int:
    """Proves the unsynced blobs, syncs those that are whole and drops the versions of the others.

    Gives the number of versions and parts dropped. Afterwards UNSYNCED is empty. In a cluster, into
    which the store went while it had unsynced blobs, none is dropped: the bytes are missing.
    """
    dropped = 0
    with SegmentFiles(store.disk) as files:
        while True:
            with environment.read() as txn:
                rows = all_unsynced(txn, limit=UNSYNCED_ROWS_PER_STEP)
                blobs = {blob_id: find_blob(txn, blob_id) for blob_id in rows}
            if not rows:
                return dropped
            lost = [
                blob_id for blob_id, blob in blobs.items() if not _is_whole(files, blob_id, blob)
            ]
            for segment_id in _segments_of(blobs, lost) & store.segments.keys():
                store.sync(store.segments[segment_id])
                store.close(store.segments[segment_id])
            dropped += _finish_step(environment, store, clock, observer, rows, lost)


def _is_whole(files: SegmentFiles, blob_id: bytes, blob: BlobRecord | None) -> bool:
    if blob is None:
        return True  # freed since; only its row in UNSYNCED was left
    try:
        for index, extent in enumerate(blob.extents):
            verify_extent(files, extent, blob_id=blob_id, index=index)
    except DataCorrupt:
        return False
    return True


def _segments_of(blobs: dict[bytes, BlobRecord | None], lost: list[bytes]) -> set[int]:
    return {
        extent.segment_id
        for blob_id, blob in blobs.items()
        if blob is not None and blob_id not in lost
        for extent in blob.extents
    }


def _finish_step(
    environment: Environment,
    store: SegmentStore,
    clock: Clock,
    observer: Observer,
    rows: dict[bytes, UnsyncedRecord],
    lost: list[bytes],
) -> int:
    with environment.read() as txn:
        in_cluster = is_cluster(txn)
        owners = [] if in_cluster else _owners_of(txn, rows, lost)
    with environment.write() as txn:
        ledger = Ledger(store)
        applier = Applier(txn)
        for blob_id in rows:
            txn.delete(Table.UNSYNCED, blob_id)
        for blob_id in lost if in_cluster else ():
            lose_blob(txn, ledger, blob_id)
        for owner in owners:
            drop_owner(txn, applier, ledger, owner, now_ms=clock.now_ms())
        applier.finish()
        ledger.write(txn)
    ledger.apply()
    for owner in owners:
        detail = f"{owner.describe()} did not outlive the power cut"
        observer.on_event(EngineEvent(EventKind.UNSYNCED_LOST, detail))
    return len(lost) if in_cluster else len(owners)


def _owners_of(
    txn: Transaction, rows: dict[bytes, UnsyncedRecord], lost: list[bytes]
) -> list[Owner]:
    """The owners of lost blobs: by their hints, and for the rest by a walk over all metadata."""
    owners: list[Owner] = []
    unplaced: set[bytes] = set()
    for blob_id in lost:
        owner = owner_by_hint(txn, blob_id, rows[blob_id])
        if owner is None:
            unplaced.add(blob_id)
        else:
            owners.append(owner)
    if unplaced:
        seen: set[Owner] = set()
        for _, owner in find_owners(txn, unplaced, _raise):
            if owner not in seen:  # a version of many parts is dropped once
                seen.add(owner)
                owners.append(owner)
    return owners


def _raise(error: DataCorrupt | FormatError) -> None:
    raise error
