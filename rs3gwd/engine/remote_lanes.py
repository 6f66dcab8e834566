"""The lanes of a worker: lent by the core, which makes and owns them.

What it is not: it writes nothing (`segments.SegmentWriter` does). To `stage` it is a pool of lanes
like the core's own (`lanes.LanePool`), with a message in the place of each step.
"""

from __future__ import annotations

import itertools

import trio

from rs3gwd.base.errors import Rs3gwError
from rs3gwd.engine.blobs import SegmentRecord, SegmentState
from rs3gwd.engine.channel import Channel
from rs3gwd.engine.lanes import room_min
from rs3gwd.engine.segments import Segment, SegmentWriter
from rs3gwd.engine.wire import (
    FileLane,
    LaneGranted,
    LaneRefused,
    LeaveLane,
    TakeLane,
    WireError,
    unpack_error,
)


class _Request:
    """A request for a lane that the core has not answered."""

    __slots__ = ("answer", "answered", "is_first", "is_wanted")

    def __init__(self, *, is_first: bool) -> None:
        self.is_first = is_first
        self.is_wanted = True
        self.answered = trio.Event()
        self.answer: Segment | WireError | Rs3gwError | None = None


class RemoteLanes:
    """The lanes of large bodies in a worker. Belongs to the event loop."""

    def __init__(self, channel: Channel, writer: SegmentWriter) -> None:
        self._channel = channel
        self._writer = writer
        self._requests: dict[int, _Request] = {}
        self._numbers = itertools.count()
        self._busy = 0
        self._failure: Rs3gwError | None = None

    @property
    def busy(self) -> int:
        """Bodies that have lanes."""
        return self._busy

    def room_min(self) -> int:
        """The least room with which a lane is still used."""
        return room_min(self._writer.segment_bytes)

    async def take(self, *, room_bytes: int = 0) -> Segment:
        """As `LanePool.take`. Raises Overloaded, DiskFull, DiskFailed, CoreGone."""
        segment = await self._request(room_bytes, is_first=True)
        self._busy += 1
        return segment

    async def take_next(self, *, room_bytes: int = 0) -> Segment:
        """As `LanePool.take_next`. Raises DiskFull, DiskFailed, CoreGone."""
        return await self._request(room_bytes, is_first=False)

    def leave(self) -> None:
        """As `LanePool.leave`."""
        self._busy -= 1
        self._channel.send(LeaveLane())

    def file(self, segment: Segment) -> None:
        """Gives a lane back; every write of this process to it has ended."""
        allocated_end = segment.allocated_end
        self._writer.close(segment)
        self._channel.send(FileLane(segment.id, allocated_end))

    def on_answer(self, message: LaneGranted | LaneRefused) -> None:
        """The core has answered a request."""
        request = self._requests.pop(message.request)
        answer = _to_segment(message) if isinstance(message, LaneGranted) else message.error
        if request.is_wanted:
            request.answer = answer
            request.answered.set()
        elif isinstance(answer, Segment):
            self._give_back(answer, is_first=request.is_first)

    def fail_all(self, error: Rs3gwError) -> None:
        """The core will not answer any more."""
        self._failure = error
        requests = list(self._requests.values())
        self._requests.clear()
        for request in requests:
            request.answer = error
            request.answered.set()

    async def _request(self, room_bytes: int, *, is_first: bool) -> Segment:
        if self._failure is not None:
            raise type(self._failure)(*self._failure.args)
        number = next(self._numbers)
        request = self._requests[number] = _Request(is_first=is_first)
        self._channel.send(TakeLane(number, room_bytes, is_first))
        try:
            await request.answered.wait()
        except trio.Cancelled:
            request.is_wanted = False
            raise
        answer = request.answer
        if isinstance(answer, Segment):
            return answer
        if isinstance(answer, WireError):
            raise unpack_error(answer)
        assert answer is not None, "an answered request has an answer"
        raise type(answer)(*answer.args)

    def _give_back(self, segment: Segment, *, is_first: bool) -> None:
        """A lane came for a body that has been cancelled."""
        self._channel.send(FileLane(segment.id, segment.allocated_end))
        if is_first:
            self._channel.send(LeaveLane())


def _to_segment(message: LaneGranted) -> Segment:
    record = SegmentRecord(SegmentState.ACTIVE, 0, committed_end=message.position)
    segment = Segment(message.segment_id, record)
    segment.allocated_end = message.allocated_end
    return segment
