"""Compaction: giving the space of dead bytes back, without ever standing in the way of a write.

What it is not: it never changes a byte in place and never trusts a count where it removes data.

A sealed segment of which enough is dead is walked record by record. What the index still names is
read, checked, copied to a lane of compaction's own and synced; then one entry in the commit turns
the index to the copies, each by compare-and-set: a blob that was deleted meanwhile just leaves its
copy dead. When a second look at the index finds nothing more in the segment it is DROPPED, and its
file goes once no reader holds it.

A record that fails its checksum stays where it is, and so does its segment: it is reported, never
copied and never dropped.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator
from functools import partial
from itertools import islice

import trio
from msgspec import Struct

from rs3gwd.base.errors import DataCorrupt, DiskFailed, DiskFull, FormatError, Overloaded
from rs3gwd.base.ports import Threads
from rs3gwd.engine.blobs import BlobRecord, Extent, SegmentState
from rs3gwd.engine.environment import Environment, Transaction
from rs3gwd.engine.events import EngineEvent, EventKind, Observer
from rs3gwd.engine.group_blobs import find_place, move_place
from rs3gwd.engine.health import DiskHealth, SpaceGuard
from rs3gwd.engine.lanes import LanePool
from rs3gwd.engine.pipeline import Pipeline
from rs3gwd.engine.segment_access import SegmentAccess
from rs3gwd.engine.segment_files import SegmentFiles, iterate_payload, read_header
from rs3gwd.engine.segment_format import (
    SEGMENT_HEADER_BYTES,
    FoundRecord,
    RecordHeader,
    checksums_of,
    footprint,
    pack_record_header,
    pack_table,
    scan_segment,
    table_bytes,
)
from rs3gwd.engine.segments import Ledger, Segment, SegmentStore

BATCH_BYTES = 8 << 20
"""Bytes copied by one thread hop and turned over by one entry in the commit."""

BATCH_RECORDS_MAX = 1000

RELEASE_WAIT_S = 1.0
"""How long a dropped segment is waited for before the next one is compacted. Workers that do not
read it let go of it in a millisecond; for one that does the housekeeping looks again."""


class LiveRecord(Struct, frozen=True):
    """A record that the index names: extent `index` of a blob."""

    blob_id: bytes
    index: int
    extent: Extent


class MovedRecord(Struct, frozen=True):
    """A live record and where its copy lies."""

    live: LiveRecord
    copy: Extent


class Compactor:
    """Compacts segments, one at a time. Belongs to the event loop; `run` drives it."""

    def __init__(
        self,
        store: SegmentStore,
        environment: Environment,
        pipeline: Pipeline,
        *,
        access: SegmentAccess,
        health: DiskHealth,
        observer: Observer,
        pool: LanePool,
        space: SpaceGuard,
        threads: Threads,
        dead_ratio: float,
        interval_s: float,
        bytes_per_s: int,
        unlink_retired: Callable[[], Awaitable[None]],
    ) -> None:
        self._store = store
        self._environment = environment
        self._pipeline = pipeline
        self._access = access
        self._health = health
        self._observer = observer
        self._pool = pool
        self._space = space
        self._threads = threads
        self._dead_ratio = dead_ratio
        self._interval_s = interval_s
        self._bytes_per_s = bytes_per_s
        self._unlink_retired = unlink_retired
        self._damaged: set[int] = set()
        self._lock = trio.Lock()
        self.compacted = 0

    async def run(self) -> None:
        """Looks for work at every interval until cancelled, or until the disk has failed."""
        while self._health.failure is None:
            await trio.sleep(self._interval_s)
            try:
                await self.compact_all()
            except (DiskFull, Overloaded):
                continue  # the next round tries again
            except DiskFailed as error:
                self._health.latch(str(error))

    async def compact_all(self, *, dead_ratio: float | None = None) -> int:
        """Compacts every sealed segment at or above the ratio, the deadest first; gives how many.

        Raises DiskFull, DiskFailed, Overloaded.
        """
        ratio = self._dead_ratio if dead_ratio is None else dead_ratio
        count = 0
        async with self._lock:
            for segment in self._candidates(ratio):
                count += await self._compact(segment)
        return count

    def _candidates(self, ratio: float) -> list[Segment]:
        worth: list[tuple[float, Segment]] = []
        for segment in list(self._store.segments.values()):
            row = segment.record
            if row.state is not SegmentState.SEALED or segment.id in self._damaged:
                continue
            used = row.committed_end - SEGMENT_HEADER_BYTES
            dead = row.dead_bytes / used if used else 1.0
            if dead >= ratio:
                worth.append((dead, segment))
        worth.sort(key=lambda pair: -pair[0])
        return [segment for _, segment in worth]

    async def _compact(self, segment: Segment) -> bool:
        """Moves what lives in a segment and drops it; False where damage kept it."""
        try:
            live = await self._threads.run(partial(self._find_live, segment))
            whole = await self._move(live)
            if whole:
                whole = not await self._threads.run(partial(self._find_live, segment))
        except (DataCorrupt, FormatError) as error:
            self._report(segment, str(error))
            whole = False
        if not whole or segment.record.live_bytes:
            if whole:
                detail = f"{segment.record.live_bytes} bytes counted live and not found"
                self._report(segment, detail)
            self._damaged.add(segment.id)
            return False
        await self._pipeline.change(partial(_drop, segment.id))
        self._access.retire(segment.id)
        with trio.move_on_after(RELEASE_WAIT_S):
            await self._access.remote.wait_released(segment.id)
        await self._unlink_retired()  # at once: on a full disk the next segment needs the room
        self.compacted += 1
        self._observer.on_event(
            EngineEvent(EventKind.SEGMENT_COMPACTED, f"{len(live)} records moved", segment.id)
        )
        return True

    def _find_live(self, segment: Segment) -> list[LiveRecord]:
        """The records of a segment that the index names, by a scan of their headers."""
        live: list[LiveRecord] = []
        with SegmentFiles(self._store.disk) as files:
            records = scan_segment(
                partial(files.pread, segment.id),
                segment_id=segment.id,
                start=SEGMENT_HEADER_BYTES,
                end=segment.record.committed_end,
            )
            # In short transactions: a long one keeps LMDB from using freed pages again.
            while chunk := list(islice(records, BATCH_RECORDS_MAX)):
                live.extend(self._still_named(segment.id, chunk))
        return live

    def _still_named(self, segment_id: int, records: list[FoundRecord]) -> Iterator[LiveRecord]:
        with self._environment.read() as txn:
            for found in records:
                header = found.header
                blob = find_place(txn, header.blob_id)
                index = header.extent_index
                if blob is None or index >= len(blob.extents):
                    continue
                extent = blob.extents[index]
                if (extent.segment_id, extent.offset) == (segment_id, found.offset):
                    yield LiveRecord(header.blob_id, index, extent)

    async def _move(self, live: list[LiveRecord]) -> bool:
        """Copies records batch by batch and turns the index over; False if one was damaged."""
        whole = True
        position = 0
        while position < len(live):
            batch = _take_batch(live, position)
            position += len(batch)
            size = sum(record.extent.footprint for record in batch)
            await self._space.admit_compaction(size)
            whole = await self._move_batch(batch) and whole
            await trio.sleep(size / self._bytes_per_s)
        return whole

    async def _move_batch(self, batch: list[LiveRecord]) -> bool:
        whole = True
        while batch:
            lane = await self._pool.take(room_bytes=batch[0].extent.footprint)
            try:
                count, moved = await self._threads.run(partial(self._copy, batch, lane))
                if moved:
                    await self._pipeline.change(partial(_turn_over, moved))
            finally:
                self._pool.leave()
                self._pool.file(lane)
            whole = whole and len(moved) == count
            batch = batch[count:]
        return whole

    def _copy(self, batch: list[LiveRecord], lane: Segment) -> tuple[int, list[MovedRecord]]:
        """Copies what fits the lane, checked and synced: how many records it took, and the copies.

        A damaged record is counted, reported and not copied. An empty lane takes any record.
        """
        moved: list[MovedRecord] = []
        count = 0
        with SegmentFiles(self._store.disk) as files:
            for record in batch:
                fits = record.extent.footprint <= self._store.room(lane)
                if not fits and lane.position > SEGMENT_HEADER_BYTES:
                    break
                count += 1
                try:
                    copy = self._copy_record(files, record, lane)
                except DataCorrupt as error:
                    detail = f"not moved: {error}"
                    self._observer.on_event(
                        EngineEvent(EventKind.DATA_CORRUPT, detail, record.extent.segment_id)
                    )
                    continue
                moved.append(MovedRecord(record, copy))
                lane.position = copy.end
        self._store.sync(lane)
        return count, moved

    def _copy_record(self, files: SegmentFiles, record: LiveRecord, lane: Segment) -> Extent:
        """Writes one record anew at the lane's position: the payload is checked as it is read."""
        extent = record.extent
        old = read_header(files, extent)
        offset = lane.position
        position = offset + len(pack_header(record, old.last, lane.id, offset))
        crcs: list[int] = []
        for data in iterate_payload(files, extent):
            crcs.extend(checksums_of(data))
            self._store.write(lane, [data], offset=position, end=position + len(data))
            position += len(data)
        tail = pack_table(crcs)
        assert len(tail) == table_bytes(extent.payload_bytes)
        tail += bytes(offset + footprint(extent.payload_bytes) - position - len(tail))
        if tail:
            self._store.write(lane, [tail], offset=position, end=position + len(tail))
        header = pack_header(record, old.last, lane.id, offset)
        self._store.write(lane, [header], offset=offset, end=offset + len(header))
        return Extent(lane.id, offset, extent.payload_bytes, extent.checksum)

    def _report(self, segment: Segment, detail: str) -> None:
        self._observer.on_event(
            EngineEvent(EventKind.DATA_CORRUPT, f"not compacted: {detail}", segment.id)
        )


def pack_header(record: LiveRecord, last: bool, segment_id: int, offset: int) -> bytes:
    """The header of a record's copy."""
    header = RecordHeader(
        record.blob_id,
        record.index,
        record.extent.payload_bytes,
        record.extent.checksum,
        last=last,
    )
    return pack_record_header(header, segment_id=segment_id, offset=offset)


def _take_batch(live: list[LiveRecord], position: int) -> list[LiveRecord]:
    batch: list[LiveRecord] = []
    size = 0
    while position < len(live) and size < BATCH_BYTES and len(batch) < BATCH_RECORDS_MAX:
        size += live[position].extent.footprint
        batch.append(live[position])
        position += 1
    return batch


def _turn_over(moved: list[MovedRecord], txn: Transaction, ledger: Ledger) -> None:
    """Names the copies in the place of the records, where these are still named."""
    for record in moved:
        live = record.live
        blob = find_place(txn, live.blob_id)
        if blob is None or blob.extents[live.index : live.index + 1] != [live.extent]:
            ledger.waste([record.copy])
            continue
        extents = list(blob.extents)
        extents[live.index] = record.copy
        move_place(txn, live.blob_id, BlobRecord(blob.size_bytes, extents))
        ledger.free([live.extent])
        ledger.place([record.copy], synced=True)


def _drop(segment_id: int, _: Transaction, ledger: Ledger) -> None:
    ledger.set_state(segment_id, SegmentState.DROPPED)
