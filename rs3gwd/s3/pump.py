"""A ring of buffers between the network, the digests and the stage.

The everyday picture is a sushi belt: plates are filled at one end, every guest takes from every
plate in order and at their own pace, and a plate that all have finished goes back to be filled.
Guests are the lanes of digests, each in a worker thread, and the stage. While there is a filled
plate waiting, a lane's thread goes on to it by itself: coming back to the event loop between two
pieces costs 0.1 to 0.3 ms, a fifth of what MD5 needs for one. So MD5, the slowest guest, sets the
pace and never waits.

Memory: PIECES times PIECE_BYTES per body, whatever its length.
"""

from collections import deque
from collections.abc import Awaitable, Callable
from functools import partial

import trio

from rs3gwd.base.ports import Stage, Threads
from rs3gwd.s3.hashing import BodyDigests, Lane
from rs3gwd.s3.together import leading_error

PIECE_BYTES = 1024 * 1024
"""Bytes of one buffer: MD5 takes 1.4 ms for it."""

PIECES = 3
"""Buffers of one body: one is filled, one is worked on, one waits for whoever is ready first."""

Fill = Callable[[memoryview], Awaitable[int]]
"""Fills a buffer as far as there are bytes and gives their count; 0 at the end."""


class _Piece:
    """A filled buffer on the belt; `pending` counts the guests that have not finished it."""

    __slots__ = ("buffer", "data", "pending")

    def __init__(self, buffer: memoryview, filled: int, pending: int) -> None:
        self.buffer = buffer
        self.data = buffer[:filled]
        self.pending = pending


class _Guest:
    """What waits for one consumer, in order."""

    __slots__ = ("_arrived", "_closed", "waiting")

    def __init__(self) -> None:
        # A deque, since its popleft is safe from another thread.
        self.waiting: deque[_Piece] = deque()
        self._arrived = trio.Event()
        self._closed = False

    def serve(self, piece: _Piece) -> None:
        self.waiting.append(piece)
        self._arrived.set()

    def close(self) -> None:
        self._closed = True
        self._arrived.set()

    async def wait_served(self) -> bool:
        """Waits for a piece; False when there will be none."""
        while not self.waiting:
            if self._closed:
                return False
            self._arrived = trio.Event()
            await self._arrived.wait()
        return True


async def pump(
    fill: Fill,
    digests: BodyDigests,
    stage: Stage,
    threads: Threads,
    *,
    size_bytes: int | None,
) -> None:
    """Moves all that `fill` gives past every lane of `digests` and into `stage`.

    `size_bytes` is the size of the body where it is known, so that a smaller one gets a buffer of
    its own size. Raises what `fill` and `stage` raise, bare; other work on the body has ended then.
    """
    piece_bytes = PIECE_BYTES if size_bytes is None else max(1, min(PIECE_BYTES, size_bytes))
    pieces = PIECES if size_bytes is None else min(PIECES, -(-size_bytes // piece_bytes))
    give_back, free = trio.open_memory_channel[memoryview](PIECES)
    for _ in range(pieces):
        give_back.send_nowait(memoryview(bytearray(piece_bytes)))
    guests = [_Guest() for _ in range(len(digests.lanes) + 1)]

    def finish(piece: _Piece) -> None:
        piece.pending -= 1
        if not piece.pending:
            give_back.send_nowait(piece.buffer)

    try:
        async with trio.open_nursery() as nursery:
            for lane, guest in zip(digests.lanes, guests, strict=False):
                nursery.start_soon(_run_lane, threads, lane, guest, finish)
            nursery.start_soon(_run_stage, stage, guests[-1], finish)
            buffer = await free.receive()
            while filled := await fill(buffer):
                piece = _Piece(buffer, filled, len(guests))
                for guest in guests:
                    guest.serve(piece)
                buffer = await free.receive()
            for guest in guests:
                guest.close()
    except BaseExceptionGroup as group:
        raise leading_error(group) from group.__cause__


async def _run_lane(
    threads: Threads, lane: Lane, guest: _Guest, finish: Callable[[_Piece], None]
) -> None:
    token = trio.lowlevel.current_trio_token()
    while await guest.wait_served():
        await threads.run(partial(_drain, token, lane, guest, finish))


def _drain(
    token: trio.lowlevel.TrioToken,
    lane: Lane,
    guest: _Guest,
    finish: Callable[[_Piece], None],
) -> None:
    """In a thread: feeds the lane whatever waits, and what is served meanwhile."""
    while guest.waiting:
        piece = guest.waiting.popleft()
        lane(piece.data)
        token.run_sync_soon(finish, piece)


async def _run_stage(stage: Stage, guest: _Guest, finish: Callable[[_Piece], None]) -> None:
    while await guest.wait_served():
        piece = guest.waiting.popleft()
        await stage.write(piece.data)
        finish(piece)
