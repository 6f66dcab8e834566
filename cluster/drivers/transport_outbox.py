"""What waits to be written on one connection, bounded in bytes.

Frames of one turn of the event loop leave in one write. What can be refused (messages, calls) is
refused when the queue is full, what can wait (streams, replies) waits for room. Answers that the
protocol itself owes (windows, resets, pongs) always get in: they are few and small for a peer that
reads, and a peer that makes us owe it more without reading loses its connection.

A frame that nothing waits in front of is offered to the connection at once (`send_now`): what it
takes never was in the queue.

Invariant: bytes held never exceed the bound by more than one frame and `_OWED_BYTES_MAX`.
"""

from collections import deque
from collections.abc import Callable
from typing import Final

import trio

from cluster.base.errors import PeerUnreachable

_OWED_BYTES_MAX: Final = 1024 * 1024
"""Room beyond the bound for what the protocol owes: some 40,000 windows."""


class Outbox:
    """A queue of whole frames, read by one writer."""

    def __init__(self, bytes_max: int, send_now: Callable[[bytes], bool]) -> None:
        self._bytes_max = bytes_max
        self._send_now = send_now
        self._rung = False
        self._frames: deque[bytes] = deque()
        self._closed = False
        self._filled = trio.lowlevel.ParkingLot()
        self._drained = trio.lowlevel.ParkingLot()
        self.held = 0
        self.put_count = 0
        self.taken_count = 0

    def offer(self, frame: bytes) -> bool:
        """Queues the frame, or says that there is no room."""
        if self._closed or self.held + len(frame) > self._bytes_max:
            return False
        self._put(frame)
        return True

    def owe(self, frame: bytes) -> None:
        """Queues what the protocol owes. Raises PeerUnreachable when the peer reads none of it."""
        if self.held + len(frame) > self._bytes_max + _OWED_BYTES_MAX:
            raise PeerUnreachable("the peer asks and does not read")
        if not self._closed:
            self._put(frame)

    async def put(self, frame: bytes) -> None:
        """Queues the frame when there is room. Raises PeerUnreachable once closed."""
        while not self._closed and self.held and self.held + len(frame) > self._bytes_max:
            await self._drained.park()
        if self._closed:
            raise PeerUnreachable("the connection is gone")
        self._put(frame)

    def ring(self) -> None:
        """Wakes the writer although nothing may be queued."""
        self._rung = True
        self._filled.unpark()

    async def wait(self) -> bool:
        """Until there are frames, or it was rung for; False once closed."""
        while not self._frames and not self._closed and not self._rung:
            await self._filled.park()
        self._rung = False
        return not self._closed

    def take(self, about: int) -> bytes:
        """The next frames together, about so many bytes or one frame."""
        taken: list[bytes] = []
        size = 0
        while self._frames and (not taken or size + len(self._frames[0]) <= about):
            frame = self._frames.popleft()
            taken.append(frame)
            size += len(frame)
        self.taken_count += len(taken)
        self.held -= size
        if taken:
            self._drained.unpark_all()
        return taken[0] if len(taken) == 1 else b"".join(taken)

    def close(self) -> None:
        """Wakes everybody; what is queued is dropped."""
        self._closed = True
        self._frames.clear()
        self.held = 0
        self._filled.unpark_all()
        self._drained.unpark_all()

    def _put(self, frame: bytes) -> None:
        self.put_count += 1
        if not self._frames and self._send_now(frame):
            self.taken_count += 1
            return
        self._frames.append(frame)
        self.held += len(frame)
        self._filled.unpark()
