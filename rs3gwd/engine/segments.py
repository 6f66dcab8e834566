"""The segment files of one store: made, written, synced, sealed; and their accounts in memory.

What it is not: it does not decide who writes where (`lanes`, `small_lane`), keeps no placement of
blobs (`blobs`), and never touches LMDB except through the `Ledger` that the commit hands it.

A segment is written by one writer at a time, at its `position`. What lies before the record's
`committed_end` was acknowledged and is never written again; what lies behind it is scratch: when a
body is aborted or its commit fails, `position` goes back to `committed_end` and the next body is
written over it.

Order, which makes recovery short (FORMAT.md, "Write order"):
1. a new file gets its header and is synced, then its directory;
2. bodies are written and synced;
3. one LMDB transaction names them, and holds the row of every segment made so far.
So a file without a row whose id is above those of all rows was made since the last commit, and no
acknowledged byte lies in it. A row is removed only after its file (state DROPPED in between).

Threads: `segments` and the fields of a Segment change under the commit (one at a time) or by the
segment's one writer; everything else only reads them.
"""

from __future__ import annotations

import itertools
import threading
from collections.abc import Sequence

from rs3gwd.base.errors import DiskFull
from rs3gwd.base.ports import Buffer, Clock, Disk
from rs3gwd.engine.blobs import (
    Extent,
    SegmentRecord,
    SegmentState,
    delete_segment,
    put_segment,
)
from rs3gwd.engine.environment import Transaction, translate_error
from rs3gwd.engine.health import DiskHealth, SpaceGuard
from rs3gwd.engine.segment_format import (
    BLOCK_BYTES,
    SEGMENT_HEADER_BYTES,
    SegmentHeader,
    pack_segment_header,
)

SEGMENT_DIRECTORY = "segments"
_SUFFIX = ".seg"


def segment_path(segment_id: int) -> str:
    """The path of a segment file in the data directory."""
    return f"{SEGMENT_DIRECTORY}/{segment_id:016x}{_SUFFIX}"


def segment_id_of(name: str) -> int | None:
    """The id in a file name, or None when it is not the name of a segment."""
    digits = name.removesuffix(_SUFFIX)
    if len(digits) != 16 or digits == name:
        return None
    try:
        return int(digits, 16)
    except ValueError:
        return None


class Segment:
    """One segment in memory: its account, and the state of its writer."""

    __slots__ = ("allocated_end", "descriptor", "id", "position", "record")

    def __init__(self, segment_id: int, record: SegmentRecord) -> None:
        self.id = segment_id
        self.record = record
        self.descriptor: int | None = None
        self.position = record.committed_end
        self.allocated_end = record.committed_end


class SegmentWriter:
    """Writes to segments that others made. Its methods block: call them in threads.

    What a worker process has of the store: it is lent lanes and writes to them. `segment_bytes` is
    where a segment is full; `allocate_bytes` how much is preallocated at a time (a sync on a
    growing file costs 258 us, on a preallocated one 107).
    """

    def __init__(
        self,
        disk: Disk,
        health: DiskHealth,
        space: SpaceGuard,
        *,
        segment_bytes: int,
        allocate_bytes: int,
    ) -> None:
        self.disk = disk
        self._health = health
        self._space = space
        self.segment_bytes = segment_bytes
        self.allocate_bytes = allocate_bytes
        self._lock = threading.Lock()

    def room(self, segment: Segment) -> int:
        """Bytes between the position of a segment and its end."""
        return self.segment_bytes - segment.position

    def write(self, segment: Segment, buffers: Sequence[Buffer], *, offset: int, end: int) -> None:
        """Writes `buffers`, `end - offset` bytes in all. Raises DiskFull, DiskFailed."""
        with self._health.writing(f"write {segment_path(segment.id)}"):
            descriptor = self._descriptor(segment)
            if end > segment.allocated_end:
                with self._lock:
                    self._allocate(segment, end)
            self.disk.pwrite(descriptor, buffers, offset)

    def sync(self, segment: Segment) -> None:
        """Everything written to the segment so far is on stable storage. Raises DiskFailed."""
        with self._health.syncing(f"sync {segment_path(segment.id)}"):
            self.disk.sync_data(self._descriptor(segment))

    def close(self, segment: Segment) -> None:
        """Closes the writer's descriptor; a later write opens it anew."""
        descriptor, segment.descriptor = segment.descriptor, None
        segment.allocated_end = segment.record.committed_end
        if descriptor is not None:
            self.disk.close(descriptor)

    def _descriptor(self, segment: Segment) -> int:
        if segment.descriptor is None:
            with self._lock:
                if segment.descriptor is None:
                    segment.descriptor = self.disk.open(segment_path(segment.id))
        return segment.descriptor

    def _allocate(self, segment: Segment, end: int) -> None:
        """Preallocates up to `end` and, where there is room to spare, a step further."""
        start = segment.allocated_end
        if end <= start:
            return
        assert segment.descriptor is not None
        ahead = max(end, min(start + self.allocate_bytes, self.segment_bytes))
        if self._space.allows(ahead - start):
            try:
                self.disk.allocate(segment.descriptor, start, ahead - start)
            except OSError as error:
                if not isinstance(translate_error(error), DiskFull):
                    raise
            else:
                segment.allocated_end = ahead
                return
        near = -(-end // BLOCK_BYTES) * BLOCK_BYTES
        self.disk.allocate(segment.descriptor, start, near - start)
        segment.allocated_end = near


class SegmentStore(SegmentWriter):
    """The segments of a store, as the core has them. Its methods block: call them in threads."""

    def __init__(
        self,
        disk: Disk,
        clock: Clock,
        health: DiskHealth,
        space: SpaceGuard,
        *,
        store_id: bytes,
        segment_bytes: int,
        allocate_bytes: int,
        rows: dict[int, SegmentRecord],
        next_id: int,
    ) -> None:
        super().__init__(
            disk, health, space, segment_bytes=segment_bytes, allocate_bytes=allocate_bytes
        )
        self._clock = clock
        self._store_id = store_id
        self.segments = {segment_id: Segment(segment_id, row) for segment_id, row in rows.items()}
        self.unrecorded: dict[int, Segment] = {}
        self._ids = itertools.count(next_id)

    def scratch(self, segment: Segment) -> int:
        """Bytes of disk behind the last acknowledged byte of a segment."""
        return segment.allocated_end - segment.record.committed_end

    def create(self) -> Segment:
        """Makes a segment file, durably. Raises DiskFull, DiskFailed."""
        segment_id = next(self._ids)
        now_ms = self._clock.now_ms()
        segment = Segment(segment_id, SegmentRecord(SegmentState.ACTIVE, now_ms))
        segment.allocated_end = 0
        # Known before the file is made: a later segment's commit then records this one too, which
        # keeps the rule of the head note (no file without a row below the highest row).
        self.segments[segment_id] = segment
        self.unrecorded[segment_id] = segment
        try:
            self._make_file(segment, now_ms)
        except BaseException:
            self.segments.pop(segment_id, None)
            self.unrecorded.pop(segment_id, None)
            self.close(segment)
            raise
        return segment

    def _make_file(self, segment: Segment, now_ms: int) -> None:
        path = segment_path(segment.id)
        header = SegmentHeader(self._store_id, segment.id, now_ms)
        with self._health.writing(f"make {path}"):
            segment.descriptor = self.disk.open(path, create=True)
            try:
                self._allocate(segment, SEGMENT_HEADER_BYTES)
                self.disk.pwrite(segment.descriptor, [pack_segment_header(header)], 0)
            except OSError:
                self.disk.unlink(path)
                raise
        with self._health.syncing(f"sync {path}"):
            self.disk.sync_data(segment.descriptor)
            self.disk.sync_directory(SEGMENT_DIRECTORY)

    def seal(self, segment: Segment) -> None:
        """Gives the unused end of a full segment back and syncs it; it has no writer any more.

        The caller then records the state and `synced_end` = `committed_end` in a commit.
        """
        path = segment_path(segment.id)
        with self._health.writing(f"seal {path}"):
            self.disk.truncate(self._descriptor(segment), segment.record.committed_end)
        self.sync(segment)
        self.close(segment)

    def shrink(self, segment: Segment) -> None:
        """Gives back the disk behind the last acknowledged byte; the segment has no writer now."""
        if segment.descriptor is not None and self.scratch(segment) > 0:
            with self._health.writing(f"shrink {segment_path(segment.id)}"):
                self.disk.truncate(segment.descriptor, segment.record.committed_end)
            segment.allocated_end = segment.record.committed_end

    def unlink(self, segment_id: int) -> None:
        """Removes the file of a dropped segment, durably; no error when it is gone already."""
        with self._health.writing(f"unlink {segment_path(segment_id)}"):
            try:
                self.disk.unlink(segment_path(segment_id))
            except FileNotFoundError:
                return
        with self._health.syncing(f"sync {SEGMENT_DIRECTORY}"):
            self.disk.sync_directory(SEGMENT_DIRECTORY)


class _Change:
    """What one commit does to one segment."""

    __slots__ = ("dead", "end", "live", "state", "synced_end")

    def __init__(self) -> None:
        self.live = 0
        self.dead = 0
        self.end = 0
        self.synced_end = 0
        self.state: SegmentState | None = None


class Ledger:
    """The changes of one commit to the accounts of segments.

    `write` puts them into the transaction, `apply` into memory once it is committed. Dropped
    without `apply`, nothing has changed. Belongs to the thread of the commit.
    """

    def __init__(self, store: SegmentStore) -> None:
        self._store = store
        self._changes: dict[int, _Change] = {}
        self._removed: list[int] = []
        self._written: dict[int, SegmentRecord] = {}

    def place(self, extents: Sequence[Extent], *, synced: bool) -> None:
        """Extents that BLOBS names from now on; `synced` when they are on stable storage."""
        for extent in extents:
            change = self._change(extent.segment_id)
            size = extent.footprint
            end = extent.offset + size
            change.live += size
            change.end = max(change.end, end)
            if synced:
                change.synced_end = max(change.synced_end, end)

    def waste(self, extents: Sequence[Extent]) -> None:
        """Extents that were written in this batch and that nothing names."""
        for extent in extents:
            change = self._change(extent.segment_id)
            change.dead += extent.footprint
            change.end = max(change.end, extent.end)

    def free(self, extents: Sequence[Extent]) -> list[Extent]:
        """Extents that BLOBS named until now; gives those whose segment has no account."""
        unknown = []
        for extent in extents:
            if extent.segment_id not in self._store.segments:
                unknown.append(extent)
                continue
            change = self._change(extent.segment_id)
            size = extent.footprint
            change.live -= size
            change.dead += size
        return unknown

    def synced(self, segment_id: int, end: int) -> None:
        """All bytes of a segment before `end` are on stable storage."""
        change = self._change(segment_id)
        change.synced_end = max(change.synced_end, end)

    def set_state(self, segment_id: int, state: SegmentState) -> None:
        """Seals or drops a segment."""
        self._change(segment_id).state = state

    def remove(self, segment_id: int) -> None:
        """Removes the row of a segment whose file is gone."""
        self._removed.append(segment_id)

    def record(self, segment_id: int) -> SegmentRecord:
        """The account of a segment as it will be after this commit."""
        return self._record_after(segment_id, self._change(segment_id))

    def write(self, txn: Transaction) -> None:
        """Puts the changed rows, and those of all new segments, into the transaction."""
        for segment_id, segment in list(self._store.unrecorded.items()):
            if segment_id not in self._changes:
                self._written[segment_id] = segment.record
        for segment_id, change in self._changes.items():
            self._written[segment_id] = self._record_after(segment_id, change)
        for segment_id, record in self._written.items():
            put_segment(txn, segment_id, record)
        for segment_id in self._removed:
            delete_segment(txn, segment_id)

    def apply(self) -> None:
        """Takes the changes over into memory: the transaction is committed."""
        for segment_id, record in self._written.items():
            segment = self._store.segments.get(segment_id)
            if segment is not None:
                segment.record = record
            self._store.unrecorded.pop(segment_id, None)
        for segment_id in self._removed:
            self._store.segments.pop(segment_id, None)

    def _change(self, segment_id: int) -> _Change:
        change = self._changes.get(segment_id)
        if change is None:
            change = self._changes[segment_id] = _Change()
        return change

    def _record_after(self, segment_id: int, change: _Change) -> SegmentRecord:
        old = self._store.segments[segment_id].record
        committed_end = max(old.committed_end, change.end)
        return SegmentRecord(
            state=old.state if change.state is None else change.state,
            created_ms=old.created_ms,
            committed_end=committed_end,
            synced_end=min(max(old.synced_end, change.synced_end), committed_end),
            live_bytes=old.live_bytes + change.live,
            dead_bytes=old.dead_bytes + change.dead,
        )
