"""The belt between the network, the digests and the stage.

The everyday picture is a sushi belt: plates are filled at one end, every guest takes from every
plate in order and at their own pace, and there are only so many plates. Guests are the lanes of
digests, each in a worker thread, and the stage. While there is a filled plate waiting, a lane's
thread goes on to it by itself: coming back to the event loop between two pieces costs 0.1 to
0.3 ms, about what MD5 needs for one. So MD5, the slowest guest, sets the pace and
hardly ever waits.

Nothing is copied on the way where the network gives pieces of this size; smaller chunks are joined,
so that a lane asks for the GIL once per piece and not once per chunk. Memory: PIECES times
PIECE_BYTES per body (and at most a chunk of the network more in each), whatever its length; before
a lean stage (memory is short) only LEAN_PIECES times LEAN_PIECE_BYTES.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from functools import partial

import trio

from rs3gwd.base.ports import Stage, Threads
from rs3gwd.s3.hashing import BodyDigests, Lane
from rs3gwd.s3.together import raise_bare

PIECE_BYTES = 256 * 1024
"""Bytes of one piece, rounded up to a whole chunk: one read of the gateway. MD5 takes 0.36 ms for
it. Pieces of 1 MiB, which must be joined, cost a tenth more CPU and were no faster."""

PIECES = 12
"""Pieces of one body on the belt, 3 MiB: enough that a lane finds the next one whenever it is done
and that a stage, which writes 1 MiB at a time, has one to gather while another is written."""

LEAN_PIECE_BYTES = 64 * 1024
LEAN_PIECES = 2

CHUNKS_MAX = 512
"""Chunks held before they are joined: a client may send two bytes at a time, and a bytes object of
two costs 35."""

Receive = Callable[[], Awaitable[bytes]]
"""The next bytes of a body; empty at the end."""


async def gather(receive: Receive, bytes_min: int) -> bytes:
    """Joins chunks until there are `bytes_min` bytes or the body is at its end."""
    first = await receive()
    size = len(first)
    if size >= bytes_min or not first:
        return first
    chunks = [first]
    try:
        while size < bytes_min and (chunk := await receive()):
            chunks.append(chunk)
            size += len(chunk)
            if len(chunks) >= CHUNKS_MAX:
                chunks = [b"".join(chunks)]
    except BaseException:
        # The trace of an error can outlive it by much (see `together`): it must not hold bytes.
        chunks.clear()
        first = b""
        raise
    return chunks[0] if len(chunks) == 1 else b"".join(chunks)


async def pump(receive: Receive, digests: BodyDigests, stage: Stage, threads: Threads) -> None:
    """Moves all that `receive` gives past every lane of `digests` and into `stage`.

    Raises what `receive` and `stage` raise, bare; all other work on the body has ended then.
    """
    piece_bytes = LEAN_PIECE_BYTES if stage.is_lean else PIECE_BYTES
    plates = trio.Semaphore(LEAN_PIECES if stage.is_lean else PIECES)
    lanes = digests.lanes()
    guests = [_Guest() for _ in range(len(lanes) + 1)]

    def finish(piece: _Piece) -> None:
        piece.pending -= 1
        if not piece.pending:
            plates.release()

    try:
        async with trio.open_nursery() as nursery:
            for lane, guest in zip(lanes, guests, strict=False):
                nursery.start_soon(_run_lane, threads, lane, guest, finish)
            nursery.start_soon(_run_stage, stage, guests[-1], finish)
            await plates.acquire()
            while data := await gather(receive, piece_bytes):
                _serve(data, guests)
                await plates.acquire()
            for guest in guests:
                guest.close()
    except BaseExceptionGroup as group:
        for guest in guests:
            guest.waiting.clear()
        data = b""
        raise_bare(group)


def _serve(data: bytes, guests: Sequence[_Guest]) -> None:
    piece = _Piece(data, len(guests))
    for guest in guests:
        guest.serve(piece)


class _Piece:
    """Bytes on the belt; `pending` counts the guests that have not finished them."""

    __slots__ = ("data", "pending")

    def __init__(self, data: bytes, pending: int) -> None:
        self.data = data
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
