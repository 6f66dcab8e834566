"""Writing one large body into lanes, extent by extent, beside the network and the hashing.

What it is not: it knows neither commands nor the index; `stage` decides what is large, `lanes` who
may write where, `segment_format` what the bytes are.

The event loop only reckons: which lane, which offset, where an extent ends. Everything that costs
is done in order by one thread (`workers.Line`): the block checksums, the write into the page
cache, the block table and the header. Bytes that may not change (`bytes`) are gathered and written
a MiB at a time behind the caller's back; any other buffer is written before `write` returns, which
costs no copy.

Every SYNC_STRIDE_BYTES a sync is begun in a further thread, so that the last one finds little left.
Once all bytes are there (`end`) table, header and that last sync are put in line without a wait, so
that they are done while whoever feeds us is still hashing.

Invariant: a lane is given back only when no thread writes to it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

import trio

from rs3gwd.base.memory import FREE_BYTES
from rs3gwd.base.ports import Buffer
from rs3gwd.engine.blobs import Extent
from rs3gwd.engine.health import SpaceGuard
from rs3gwd.engine.lanes import Lanes
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
from rs3gwd.engine.workers import Job, Line, Workers

PIECE_BYTES = 1 << 20
"""Bytes written at once, in 0.3 ms, into the page cache. More would only hold more memory."""

LEAN_PIECE_BYTES = FREE_BYTES

PIECES_IN_LINE_MAX = 2
PIECE_BUFFERS_MAX = 512
"""Buffers in a piece before they are joined: a body may come in chunks of one byte."""

SYNC_STRIDE_BYTES = 4 << 20
"""Bytes between two syncs begun while a strict body streams. Measured with 64 MiB: the sync at the
end takes 27 ms without these, a third of the time that MD5 needs for the whole, 5 to 7 with every 8
MiB and 4 to 6 with every 4, which is about what MD5 takes for the slabs that it is behind."""

CLEANUP_TIMEOUT_S = 30
"""How long an aborted body waits for its own writes before it gives its lane up for good."""


class LaneWriter:
    """One large body. `size_hint` is its exact size where it is known."""

    def __init__(
        self,
        blob_id: bytes,
        *,
        store: SegmentWriter,
        pool: Lanes,
        space: SpaceGuard,
        workers: Workers,
        sync: bool,
        size_hint: int | None,
        is_lean: bool,
    ) -> None:
        self.blob_id = blob_id
        self._store = store
        self._pool = pool
        self._space = space
        self._workers = workers
        self._line = Line(workers)
        self._piece_bytes_max = LEAN_PIECE_BYTES if is_lean else PIECE_BYTES
        self._in_line_max = 1 if is_lean else PIECES_IN_LINE_MAX
        self._sync = sync
        self._size_hint = size_hint
        self._lane: Segment | None = None
        self._held: list[Segment] = []
        self._unsynced: list[Segment] = []
        self._sync_job: Job[None] | None = None
        self._since_sync = 0
        self._size_bytes = 0
        self._piece: list[Buffer] = []
        self._piece_bytes = 0
        self._extent_count = 0
        self._extent_offset = 0
        self._extent_room = 0
        self._extent_bytes = 0
        self._ended = False
        # Of the thread in line, until it has nothing left to do:
        self._extents: list[Extent] = []
        self._blocks = BlockChecksums()

    async def write(self, data: Buffer) -> None:
        """Takes bytes. A buffer that may change has been written when this returns."""
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
            self._piece.append(part)
            self._piece_bytes += take
            self._extent_bytes += take
            self._size_bytes += take
            if len(self._piece) >= PIECE_BUFFERS_MAX:
                self._piece = [b"".join(self._piece)]
            if self._piece_bytes == self._piece_bytes_max:
                await self._line.wait(self._in_line_max - 1)
                self._flush_piece()
        if not isinstance(data, bytes):
            self._flush_piece()
            await self._line.wait()

    async def write_behind(self, data: memoryview, done: Callable[[], None]) -> None:
        """Takes a buffer that will not change before `done` is called, by the thread."""
        position, end = 0, len(data)
        await self._line.wait(None)
        self._flush_piece()
        while position < end:
            if self._extent_bytes == self._extent_room:
                await self._next_extent()
            take = min(end - position, self._extent_room - self._extent_bytes)
            self._piece.append(data[position : position + take])
            self._piece_bytes = take
            self._extent_bytes += take
            self._size_bytes += take
            position += take
            self._flush_piece(done if position == end else None)

    async def end(self) -> None:
        """No more bytes will come: puts the rest in line and does not wait for it."""
        if self._ended:
            return
        self._ended = True
        self._end_extent(last=True)
        if self._sync:
            self._line.put(partial(self._sync_lanes, self._unsynced))

    async def finish(self) -> list[Extent]:
        """Waits until all is written, and synced if asked to; gives the extents in order."""
        await self.end()
        await self._line.wait()
        if self._sync_job is not None:
            await self._sync_job.wait()
        return self._extents

    async def close(self) -> None:
        """Gives the lanes back, after every write of this body has ended."""
        with trio.CancelScope(shield=True, deadline=trio.current_time() + CLEANUP_TIMEOUT_S):
            await self._line.wait_end()
            if self._sync_job is not None:
                await self._sync_job.wait_end()
            if self._lane is not None:
                self._pool.leave()
            for lane in self._held:
                self._pool.file(lane)
            return
        if self._lane is not None:
            self._pool.leave()

    async def _next_extent(self) -> None:
        """Ends the extent that is full, and finds room for the next one."""
        if self._extent_bytes:
            self._end_extent(last=False)
        pool = self._pool
        if self._lane is None or self._store.room(self._lane) < pool.room_min():
            await self._space.admit(self._missing_bytes())
            self._lane = await (pool.take() if self._lane is None else pool.take_next())
            self._held.append(self._lane)
            self._unsynced.append(self._lane)
        self._extent_offset = self._lane.position
        self._extent_room = payload_bytes_that_fit(self._store.room(self._lane))
        self._extent_bytes = 0

    def _missing_bytes(self) -> int:
        """How much of the body is still to come, or a lane's worth where that is not known."""
        if self._size_hint is None:
            return self._store.allocate_bytes
        return min(self._size_hint - self._size_bytes, self._store.segment_bytes)

    def _flush_piece(self, done: Callable[[], None] | None = None) -> None:
        """Puts the bytes gathered so far in line; `done` is called when they are written."""
        lane, piece = self._lane, self._piece
        if not piece:
            return
        assert lane is not None
        end = self._extent_offset + RECORD_HEADER_BYTES + self._extent_bytes
        offset = end - self._piece_bytes
        self._since_sync += self._piece_bytes
        self._piece = []
        self._piece_bytes = 0
        job = partial(self._write_piece, lane, piece, offset=offset, end=end)
        if done is None:
            self._line.put(job)
        else:
            self._line.put(job, done)
        if self._sync and self._since_sync >= SYNC_STRIDE_BYTES:
            self._sync_beside(lane)

    def _end_extent(self, *, last: bool) -> None:
        """Puts in line what ends an extent: its last bytes, the block table behind the payload and
        the header in front of it."""
        lane = self._lane
        assert lane is not None
        self._flush_piece()
        offset, payload_bytes = self._extent_offset, self._extent_bytes
        lane.position = offset + footprint(payload_bytes)
        frame = partial(
            self._write_frame,
            lane,
            index=self._extent_count,
            offset=offset,
            payload_bytes=payload_bytes,
            last=last,
        )
        self._extent_count += 1
        self._line.put(frame)

    def _write_piece(
        self, lane: Segment, piece: Sequence[Buffer], *, offset: int, end: int
    ) -> None:
        """In the thread."""
        for part in piece:
            self._blocks.update(part)
        self._store.write(lane, piece, offset=offset, end=end)

    def _write_frame(
        self, lane: Segment, *, index: int, offset: int, payload_bytes: int, last: bool
    ) -> None:
        """In the thread."""
        crcs = self._blocks.finish()
        self._blocks = BlockChecksums()
        table = pack_table(crcs)
        checksum = extent_checksum(crcs, table)
        payload_end = offset + RECORD_HEADER_BYTES + payload_bytes
        tail = table + bytes(lane_padding(payload_end + len(table)))
        if tail:
            self._store.write(lane, [tail], offset=payload_end, end=payload_end + len(tail))
        header = RecordHeader(self.blob_id, index, payload_bytes, checksum, last=last)
        packed = pack_record_header(header, segment_id=lane.id, offset=offset)
        self._store.write(lane, [packed], offset=offset, end=offset + len(packed))
        self._extents.append(Extent(lane.id, offset, payload_bytes, checksum))

    def _sync_beside(self, lane: Segment) -> None:
        """Begins a sync that nobody waits for, unless the one before it is still at work."""
        if self._sync_job is not None and not self._sync_job.is_done:
            return
        self._since_sync = 0
        # A sync that failed has latched the disk, so the error of the one before is not lost.
        self._sync_job = self._workers.start(partial(self._store.sync, lane))

    def _sync_lanes(self, lanes: Sequence[Segment]) -> None:
        """In the thread."""
        for lane in lanes:
            self._store.sync(lane)


def lane_padding(end: int) -> int:
    """Bytes between `end` and the next multiple of 8, where the next record begins."""
    return -end % 8
