"""Receiving one body: from the first byte to a blob that a command can name.

What it is not: it knows no command, no key and no metadata; the process that receives bodies may
be another one than the one that commits (DESIGN D5). It hands over a `StagedBody`: bytes in memory
(small) or the extents where they lie (large), and which lanes hold them.

A body starts in memory. While it is at most `small_bytes_max` it stays there, and the commit
appends it together with the other small ones. Beyond that it moves to a lane of its own: pieces
of 1 MiB are written by threads while the next one is being received, at most two at a time, so a
large body holds 3 MiB of memory whatever its size. When too many bodies hold so much, a further one
is lean: it takes steps of 128 KiB, one at a time, and is a little slower, but it is not refused.
Every 8 MiB a sync is begun beside the writing,
so that the last sync finds little left to do.

Left without a commit, the lanes are given back and the bytes in them written over.
"""

from __future__ import annotations

from collections import deque
from enum import Enum
from functools import partial
from types import TracebackType

import trio

from rs3gwd.base.memory import FREE_BYTES, MemoryPool
from rs3gwd.base.ports import Buffer
from rs3gwd.base.records import BlobRef, Durability
from rs3gwd.engine.blobs import BlobIds, Extent
from rs3gwd.engine.health import DiskHealth, SpaceGuard
from rs3gwd.engine.lanes import Lanes, SmallBody
from rs3gwd.engine.segment_format import (
    RECORD_HEADER_BYTES,
    BlockChecksums,
    RecordHeader,
    extent_checksum,
    footprint,
    pack_record_header,
    pack_table,
    payload_bytes_that_fit,
)
from rs3gwd.engine.segments import Segment, SegmentWriter
from rs3gwd.engine.workers import Job, Workers

PIECE_BYTES = 1 << 20
"""Bytes written by one thread hop: a hop costs 82 us, writing 1 MiB into the page cache about
300. More would only hold more memory."""

PIECES_IN_FLIGHT_MAX = 2
PIECE_BUFFERS_MAX = 512
"""Buffers in a piece before they are joined: a body may come in chunks of one byte."""

LARGE_BODY_MEMORY_BYTES = (PIECES_IN_FLIGHT_MAX + 1) * PIECE_BYTES
LEAN_PIECE_BYTES = FREE_BYTES

SYNC_STRIDE_BYTES = 8 << 20
"""Bytes between two syncs begun while a strict body streams. Measured with 64 MiB: the sync at the
end takes 8 ms, without these 27, a third of the time that MD5 needs for the whole."""

CLEANUP_TIMEOUT_S = 30
"""How long an aborted body waits for its own writes before it gives its lane up for good."""


class StagedState(Enum):
    """What has become of a staged body."""

    STAGED = "staged"
    SUBMITTED = "submitted"
    COMMITTED = "committed"


class StagedBody:
    """A received body, waiting for its command. `small` or `extents` is filled, or neither (empty).

    `synced` says that the extents are on stable storage. `state` is kept by the pipeline.
    """

    __slots__ = ("durability", "extents", "ref", "small", "state", "synced")

    def __init__(
        self,
        ref: BlobRef | None,
        durability: Durability,
        *,
        small: SmallBody | None = None,
        extents: list[Extent] | None = None,
        synced: bool = False,
    ) -> None:
        self.ref = ref
        self.durability = durability
        self.small = small
        self.extents = extents or []
        self.synced = synced
        self.state = StagedState.STAGED


class StageParts:
    """What every stage needs of the engine, in one value."""

    __slots__ = (
        "blob_ids", "health", "memory", "pool", "small_bytes_max", "space", "store", "workers",
    )  # fmt: skip

    def __init__(
        self,
        *,
        blob_ids: BlobIds,
        health: DiskHealth,
        memory: MemoryPool,
        pool: Lanes,
        small_bytes_max: int,
        space: SpaceGuard,
        store: SegmentWriter,
        workers: Workers,
    ) -> None:
        self.blob_ids = blob_ids
        self.health = health
        self.memory = memory
        self.pool = pool
        self.small_bytes_max = small_bytes_max
        self.space = space
        self.store = store
        self.workers = workers


class BodyStage:
    """One body being received: an async context manager; see the head note.

    `size_hint` is the exact size in bytes where it is known.
    """

    __slots__ = (
        "_durability", "_held_bytes", "_parts", "_pieces", "_size_bytes", "_size_hint", "_staged",
        "_writer", "is_lean",
    )  # fmt: skip

    def __init__(self, parts: StageParts, *, size_hint: int | None, durability: Durability) -> None:
        self._parts = parts
        self._size_hint = size_hint
        self._durability = durability
        self._pieces: list[bytes] = []
        self._size_bytes = 0
        self._held_bytes = 0
        self._writer: LaneWriter | None = None
        self._staged: StagedBody | None = None
        self.is_lean = False

    async def __aenter__(self) -> BodyStage:
        parts = self._parts
        parts.health.check()
        size = self._size_hint
        if not parts.space.admit_nowait(size or 0):
            await parts.space.admit(size or 0)
        if size is None or size > parts.small_bytes_max:
            self.is_lean = not parts.memory.take_spare(LARGE_BODY_MEMORY_BYTES)
            self._held_bytes = 0 if self.is_lean else LARGE_BODY_MEMORY_BYTES
        elif size > FREE_BYTES:
            parts.memory.take(size - FREE_BYTES)
            self._held_bytes = size - FREE_BYTES
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._parts.memory.give_back(self._held_bytes)
        if self._writer is not None:
            await self._writer.close()

    async def write(self, data: Buffer) -> None:
        """Appends. Raises DiskFull, DiskFailed, Overloaded, ValueError (more than the hint)."""
        assert self._staged is None, "write after finish"
        if not isinstance(data, bytes):
            data = bytes(data)
        size = self._size_bytes + len(data)
        if self._size_hint is not None and size > self._size_hint:
            raise ValueError(f"{size} bytes in a body announced with {self._size_hint}")
        self._size_bytes = size
        if self._writer is None:
            if size <= self._parts.small_bytes_max and not (self.is_lean and size > FREE_BYTES):
                self._pieces.append(data)
                if len(self._pieces) >= PIECE_BUFFERS_MAX:
                    self._pieces = [b"".join(self._pieces)]
                return
            await self._spill()
        assert self._writer is not None
        await self._writer.write(data)

    async def finish(self) -> StagedBody:
        """No more bytes will come. Those of a large strict body are on stable storage now."""
        assert self._staged is None, "finish called twice"
        if self._size_bytes == 0:
            self._staged = StagedBody(None, self._durability)
        elif self._writer is None:
            self._staged = self._finish_small()
        else:
            ref = BlobRef(self._writer.blob_id, self._size_bytes)
            extents = await self._writer.finish()
            synced = self._durability is Durability.STRICT
            self._staged = StagedBody(ref, self._durability, extents=extents, synced=synced)
        return self._staged

    def _finish_small(self) -> StagedBody:
        blob_id = self._parts.blob_ids.make()
        blocks = BlockChecksums()
        for piece in self._pieces:
            blocks.update(piece)
        crcs = blocks.finish()
        table = pack_table(crcs)
        small = SmallBody(
            blob_id,
            self._pieces,
            size_bytes=self._size_bytes,
            checksum=extent_checksum(crcs, table),
            table=table,
        )
        return StagedBody(BlobRef(blob_id, self._size_bytes), self._durability, small=small)

    async def _spill(self) -> None:
        """Moves from memory to a lane."""
        self._writer = LaneWriter(
            self._parts,
            self._parts.blob_ids.make(),
            sync=self._durability is Durability.STRICT,
            size_hint=self._size_hint,
            is_lean=self.is_lean,
        )
        pieces, self._pieces = self._pieces, []
        for piece in pieces:
            await self._writer.write(piece)


class LaneWriter:
    """Writes one large body into lanes, extent by extent."""

    def __init__(
        self,
        parts: StageParts,
        blob_id: bytes,
        *,
        sync: bool,
        size_hint: int | None,
        is_lean: bool,
    ) -> None:
        self.blob_id = blob_id
        self._parts = parts
        self._piece_bytes_max = LEAN_PIECE_BYTES if is_lean else PIECE_BYTES
        self._in_flight_max = 1 if is_lean else PIECES_IN_FLIGHT_MAX
        self._store = parts.store
        self._sync = sync
        self._size_hint = size_hint
        self._lane: Segment | None = None
        self._held: list[Segment] = []
        self._dirty: set[int] = set()
        self._jobs: deque[Job[None]] = deque()
        self._sync_job: Job[None] | None = None
        self._since_sync = 0
        self._size_bytes = 0
        self._extents: list[Extent] = []
        self._extent_offset = 0
        self._extent_room = 0
        self._extent_bytes = 0
        self._blocks = BlockChecksums()
        self._piece: list[Buffer] = []
        self._piece_bytes = 0

    async def write(self, data: bytes) -> None:
        """Takes bytes; returns when at most two pieces are being written."""
        view: Buffer = data
        while view:
            if self._extent_bytes == self._extent_room:
                await self._next_extent()
            take = min(
                len(view),
                self._extent_room - self._extent_bytes,
                self._piece_bytes_max - self._piece_bytes,
            )
            part = view if take == len(view) else memoryview(view)[:take]
            view = b"" if take == len(view) else memoryview(view)[take:]
            self._blocks.update(part)
            self._piece.append(part)
            self._piece_bytes += take
            self._extent_bytes += take
            self._size_bytes += take
            if len(self._piece) >= PIECE_BUFFERS_MAX:
                self._piece = [b"".join(self._piece)]
            if self._piece_bytes == self._piece_bytes_max:
                await self._flush_piece()

    async def finish(self) -> list[Extent]:
        """Writes what is left, syncs if asked to; gives the extents in order."""
        steps = self._end_extent(last=True)
        await self._wait_jobs(0)
        if self._sync_job is not None:
            await self._sync_job.wait()
        if self._sync:
            dirty = [lane for lane in self._held if lane.id in self._dirty]
            steps.append(partial(self._sync_lanes, dirty))
        await self._start(partial(_run_all, steps))
        await self._wait_jobs(0)
        return self._extents

    async def close(self) -> None:
        """Gives the lanes back, after every write of this body has ended."""
        with trio.CancelScope(shield=True, deadline=trio.current_time() + CLEANUP_TIMEOUT_S):
            for job in self._jobs:
                await job.wait_end()
            if self._sync_job is not None:
                await self._sync_job.wait_end()
            if self._lane is not None:
                self._parts.pool.leave()
            for lane in self._held:
                self._parts.pool.file(lane)
            return
        if self._lane is not None:
            self._parts.pool.leave()

    def _start_extent(self, offset: int, room: int) -> None:
        self._extent_offset = offset
        self._extent_room = room
        self._extent_bytes = 0
        self._blocks = BlockChecksums()

    async def _next_extent(self) -> None:
        """Ends the extent that is full, and finds room for the next one."""
        if self._extent_bytes:
            await self._start(partial(_run_all, self._end_extent(last=False)))
        pool = self._parts.pool
        if self._lane is None or self._store.room(self._lane) < pool.room_min():
            await self._parts.space.admit(self._missing_bytes())
            self._lane = await (pool.take() if self._lane is None else pool.take_next())
            self._held.append(self._lane)
        room = payload_bytes_that_fit(self._store.room(self._lane))
        self._start_extent(self._lane.position, room)

    def _missing_bytes(self) -> int:
        """How much of the body is still to come, or a lane's worth where that is not known."""
        if self._size_hint is None:
            return self._store.allocate_bytes
        return min(self._size_hint - self._size_bytes, self._store.segment_bytes)

    async def _flush_piece(self) -> None:
        lane = self._lane
        assert lane is not None
        await self._start(self._take_piece(lane))
        if self._sync and self._since_sync >= SYNC_STRIDE_BYTES:
            await self._sync_beside(lane)

    def _take_piece(self, lane: Segment) -> partial[None]:
        """The write of the bytes gathered so far."""
        end = self._extent_offset + RECORD_HEADER_BYTES + self._extent_bytes
        offset = end - self._piece_bytes
        piece, self._piece = self._piece, []
        self._piece_bytes = 0
        self._dirty.add(lane.id)
        self._since_sync += end - offset
        return partial(self._store.write, lane, piece, offset=offset, end=end)

    def _end_extent(self, *, last: bool) -> list[partial[None]]:
        """The writes that end an extent: its last bytes, the block table behind the payload and
        the header in front of it."""
        lane = self._lane
        assert lane is not None
        steps = [self._take_piece(lane)] if self._piece else []
        crcs = self._blocks.finish()
        table = pack_table(crcs)
        checksum = extent_checksum(crcs, table)
        offset, payload_bytes = self._extent_offset, self._extent_bytes
        header = RecordHeader(self.blob_id, len(self._extents), payload_bytes, checksum, last=last)
        packed = pack_record_header(header, segment_id=lane.id, offset=offset)
        self._extents.append(Extent(lane.id, offset, payload_bytes, checksum))
        payload_end = offset + RECORD_HEADER_BYTES + payload_bytes
        lane.position = offset + footprint(payload_bytes)
        self._dirty.add(lane.id)
        steps.append(
            partial(self._write_frame, lane, packed, table, offset=offset, payload_end=payload_end)
        )
        return steps

    def _write_frame(
        self, lane: Segment, header: bytes, table: bytes, *, offset: int, payload_end: int
    ) -> None:
        tail = table + bytes(lane_padding(payload_end + len(table)))
        if tail:
            self._store.write(lane, [tail], offset=payload_end, end=payload_end + len(tail))
        self._store.write(lane, [header], offset=offset, end=offset + len(header))

    async def _start(self, function: partial[None]) -> None:
        await self._wait_jobs(self._in_flight_max - 1)
        self._jobs.append(self._parts.workers.start(function))

    async def _wait_jobs(self, count_max: int) -> None:
        """Waits until at most so many are at work; a job stays listed until it has ended."""
        while len(self._jobs) > count_max:
            await self._jobs[0].wait()
            self._jobs.popleft()

    async def _sync_beside(self, lane: Segment) -> None:
        """Begins a sync that nobody waits for, unless the one before it is still at work."""
        if self._sync_job is not None:
            if not self._sync_job.is_done:
                return
            await self._sync_job.wait()
        self._since_sync = 0
        self._sync_job = self._parts.workers.start(partial(self._store.sync, lane))

    def _sync_lanes(self, lanes: list[Segment]) -> None:
        for lane in lanes:
            self._store.sync(lane)


def _run_all(steps: list[partial[None]]) -> None:
    """Several steps in one thread hop."""
    for step in steps:
        step()


def lane_padding(end: int) -> int:
    """Bytes between `end` and the next multiple of 8, where the next record begins."""
    return -end % 8
