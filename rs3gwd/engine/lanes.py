"""Who writes to which segment: the pool of lanes for large bodies, and the one for small ones.

What it is not: it writes no record's content of its own; `segments` does the writing.

A lane is an active segment with one writer. A large body checks one out for as long as it streams,
so that bodies never wait for each other; small bodies, which stay in memory until the commit, are
all appended by the commit to one lane, so that one write and one sync serve all of them.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from typing import Protocol

from rs3gwd.base.errors import Overloaded
from rs3gwd.base.ports import Buffer, Threads
from rs3gwd.engine.blobs import Extent
from rs3gwd.engine.segment_format import (
    ALIGNMENT,
    RECORD_HEADER_BYTES,
    RecordHeader,
    footprint,
    pack_record_header,
)
from rs3gwd.engine.segments import Segment, SegmentStore

ROOM_BYTES_MIN = 1 << 20
"""A lane with less room than this is sealed: pieces of a body shorter than a read are not worth
an extent of their own. With segments of 256 MiB at most 0.4% stays unused."""

_PADDING = bytes(ALIGNMENT)

ZEROS_AHEAD_BYTES = 256 << 10
"""Zeros written behind a small batch, once in 60 bodies of 4 KiB. A sync over blocks that are only
allocated must also note in the file system's journal that they now hold data: 220 us, over blocks
that were written before 150."""

ZEROS_BATCH_BYTES_MAX = 64 << 10
"""Bytes of the greatest batch that gets them: in a larger one they cost more than they save."""

_ZEROS = memoryview(bytes(ZEROS_AHEAD_BYTES))


def room_min(segment_bytes: int) -> int:
    """The least room with which a lane is still used, where segments have `segment_bytes`."""
    return min(ROOM_BYTES_MIN, segment_bytes // 16)


class Lanes(Protocol):
    """Where a large body gets its lanes: the core's `LanePool`, or a worker's `RemoteLanes`."""

    @property
    def busy(self) -> int: ...

    def room_min(self) -> int: ...

    async def take(self, *, room_bytes: int = 0) -> Segment: ...

    async def take_next(self, *, room_bytes: int = 0) -> Segment: ...

    def leave(self) -> None: ...

    def file(self, segment: Segment) -> None: ...


class LanePool:
    """The lanes of large bodies. Belongs to the event loop."""

    def __init__(self, store: SegmentStore, threads: Threads, *, lanes_max: int) -> None:
        self._store = store
        self._threads = threads
        self._lanes_max = lanes_max
        self._idle: list[Segment] = []
        self._busy = 0
        self._full: list[Segment] = []

    @property
    def busy(self) -> int:
        """Lanes that are checked out."""
        return self._busy

    @property
    def idle(self) -> Sequence[Segment]:
        """Lanes that wait for a body."""
        return self._idle

    def room_min(self) -> int:
        """The least room with which a lane is still used."""
        return room_min(self._store.segment_bytes)

    async def take(self, *, room_bytes: int = 0) -> Segment:
        """Checks a lane out, the fullest first that has `room_bytes`, or a new one.

        Raises Overloaded, DiskFull, DiskFailed. The caller must `leave` when it writes no more, and
        `file` the lane at the end.
        """
        if self._busy >= self._lanes_max:
            raise Overloaded(f"{self._busy} large bodies are being received")
        self._busy += 1
        try:
            return await self.take_next(room_bytes=room_bytes)
        except BaseException:
            self._busy -= 1
            raise

    async def take_next(self, *, room_bytes: int = 0) -> Segment:
        """One more lane for a writer whose lane is full: never Overloaded in mid-body.

        Raises DiskFull, DiskFailed. The writer still leaves once, and files each lane.
        """
        for index in range(len(self._idle) - 1, -1, -1):
            if self._store.room(self._idle[index]) >= room_bytes:
                return self._idle.pop(index)
        return await self._threads.run(self._store.create)

    def take_idle(self) -> Segment | None:
        """Takes an idle lane for good, if there is one: the small lane's, at start."""
        return self._idle.pop() if self._idle else None

    def leave(self) -> None:
        """A writer is done with the lanes that it took, and keeps them until `file`.

        A lane that is never filed (its disk hangs) is not used again until a restart.
        """
        self._busy -= 1

    def file(self, segment: Segment) -> None:
        """Takes a lane back. What was written and not committed will be written over."""
        segment.position = segment.record.committed_end
        if self._store.room(segment) < self.room_min():
            self._full.append(segment)
        else:
            self._idle.append(segment)
            self._idle.sort(key=lambda lane: lane.position)

    def take_untrimmed(self) -> list[Segment]:
        """Takes idle lanes with much scratch out; `file` each after `SegmentStore.shrink`."""
        bound = 2 * self._store.allocate_bytes
        untrimmed = [lane for lane in self._idle if self._store.scratch(lane) > bound]
        self._idle = [lane for lane in self._idle if lane not in untrimmed]
        return untrimmed

    def take_full(self) -> list[Segment]:
        """The lanes that are to be sealed; each is given out once."""
        full, self._full = self._full, []
        return full


class SmallBody:
    """A body in memory, ready to be appended: its pieces and what vouches for them."""

    __slots__ = ("blob_id", "checksum", "pieces", "size_bytes", "table")

    def __init__(
        self,
        blob_id: bytes,
        pieces: Sequence[Buffer],
        *,
        size_bytes: int,
        checksum: int,
        table: bytes,
    ) -> None:
        self.blob_id = blob_id
        self.pieces = pieces
        self.size_bytes = size_bytes
        self.checksum = checksum
        self.table = table


class SmallLane:
    """The lane to which the commit appends small bodies. Belongs to the thread of the commit.

    A body must fit an empty segment.
    """

    def __init__(self, store: SegmentStore, *, segment: Segment | None = None) -> None:
        self._store = store
        self._segment = segment
        self._written_end = 0
        self._replaced: list[Segment] = []
        self._sealable: deque[Segment] = deque()

    @property
    def segment(self) -> Segment | None:
        """The segment in use."""
        return self._segment

    def append(self, bodies: Sequence[SmallBody]) -> list[Extent]:
        """Writes bodies with one call per segment; gives their extents, in order.

        Call `end_batch` when the batch was committed or has failed.
        Raises DiskFull, DiskFailed.
        """
        extents: list[Extent] = []
        buffers: list[Buffer] = []
        segment = self._segment
        start = position = segment.position if segment is not None else 0
        for body in bodies:
            size = footprint(body.size_bytes)
            if segment is None or self._store.segment_bytes - position < size:
                self._flush(segment, buffers, start=start, end=position)
                segment = self._replace()
                start = position = segment.position
                buffers = []
            header = RecordHeader(body.blob_id, 0, body.size_bytes, body.checksum, last=True)
            buffers.append(pack_record_header(header, segment_id=segment.id, offset=position))
            buffers.extend(body.pieces)
            if body.table:
                buffers.append(body.table)
            unpadded = RECORD_HEADER_BYTES + body.size_bytes + len(body.table)
            if unpadded != size:
                buffers.append(_PADDING[: size - unpadded])
            extents.append(Extent(segment.id, position, body.size_bytes, body.checksum))
            position += size
        self._flush(segment, buffers, start=start, end=position)
        return extents

    def end_batch(self) -> None:
        """The batch was committed or has failed: what is not committed will be written over."""
        if self._segment is not None:
            self._segment.position = self._segment.record.committed_end
        # Not before now: sealing cuts a segment off behind its last committed byte.
        self._sealable.extend(self._replaced)
        self._replaced.clear()

    def take_sealable(self) -> list[Segment]:
        """Segments that are full and have no writer any more; each is given out once."""
        return [self._sealable.popleft() for _ in range(len(self._sealable))]

    def _flush(
        self, segment: Segment | None, buffers: Sequence[Buffer], *, start: int, end: int
    ) -> None:
        if segment is None or not buffers:
            return
        written_end = end
        if self._written_end < end and end - start <= ZEROS_BATCH_BYTES_MAX:
            # Only where it is allocated: zeros must not be what fills a disk.
            written_end = max(end, min(end + ZEROS_AHEAD_BYTES, segment.allocated_end))
            buffers = [*buffers, _ZEROS[: written_end - end]]
        self._store.write(segment, buffers, offset=start, end=written_end)
        self._written_end = max(self._written_end, written_end)
        segment.position = end

    def _replace(self) -> Segment:
        created = self._store.create()
        if self._segment is not None:
            self._replaced.append(self._segment)
        self._segment = created
        self._written_end = 0
        return created
