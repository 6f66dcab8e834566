"""The belt between the network, the digests and the stage.

The everyday picture is a sushi belt: plates (slabs) are filled at one end, every guest takes from
every plate in order and at their own pace, a plate comes back when the last guest is done with it,
and there are only so many plates. Guests are the lanes of digests, each in a worker thread, and the
stage. MD5 is the slowest guest and sets the pace, so everything is arranged for it never to wait:

- Bytes are received into the slab that the guests then read: nothing is allocated, joined or
  copied on the way. Freshly allocated pages and copies took a fifth of the processor time.
- A guest gets what there is when it is hungry, and else a whole slab: the less often a thread has
  to ask for the GIL beside a busy event loop (0.05 to 0.5 ms each time), the better.
- A guest's thread lingers for the next serving. Coming back to the event loop between two costs
  0.1 to 0.3 ms.
- At the end of the body the stage begins to bring it to stable storage while MD5 still has a few
  MiB to go.

Memory: SLABS times SLAB_BYTES per body, whatever its length and the client's chunks; before a lean
stage (memory is short) only LEAN_SLABS times LEAN_SLAB_BYTES.
"""

from __future__ import annotations

import traceback
from collections import deque
from collections.abc import Awaitable, Callable
from functools import partial
from queue import Empty, SimpleQueue

import trio

from rs3gwd.base.ports import Bell, Stage, Threads
from rs3gwd.s3.hashing import BodyDigests, Lane
from rs3gwd.s3.together import raise_bare

SLAB_BYTES = 1 << 20
"""Bytes of one slab; MD5 takes 1.3 ms for it, a write to the page cache 0.3."""

SLABS = 4
"""Slabs of one body: one being filled, one being hashed, two between them. What the engine counts
for a large body (`LARGE_BODY_MEMORY_BYTES`)."""

LEAN_SLAB_BYTES = 64 << 10
LEAN_SLABS = 2

SERVING_BYTES_MIN = 256 << 10
"""What a hungry guest is given before the slab is full: MD5 takes 0.34 ms for it, so that even a
body of 1 MiB is hashed while it comes."""

Fill = Callable[[memoryview], Awaitable[int]]
"""Puts the next bytes of a body into a buffer: how many, 0 at the end."""


async def pump(
    fill: Fill, digests: BodyDigests, stage: Stage, threads: Threads, *, size_bytes: int | None
) -> None:
    """Moves all that `fill` gives past every lane of `digests` and into `stage`.

    `size_bytes` is the length of the body where it is known. Raises what `fill` and `stage` raise,
    bare; all other work on the body has ended then.
    """
    lanes = digests.lanes()
    bell = threads.bell()
    belt = _Belt(len(lanes), bell, is_lean=stage.is_lean, size_bytes=size_bytes)
    try:
        async with trio.open_nursery() as nursery:
            for lane, guest in zip(lanes, belt.guests, strict=True):
                nursery.start_soon(_run_lane, threads, lane, guest, belt)
            while await _fill_slab(fill, belt, stage):
                pass
            belt.close()
            await stage.end()
    except BaseExceptionGroup as group:
        # The trace of an error can outlive it by much (see `together`): it must not hold slabs.
        belt.clear()
        for error in _leaves(group):
            traceback.clear_frames(error.__traceback__)
        raise_bare(group)
    finally:
        bell.close()


async def _fill_slab(fill: Fill, belt: _Belt, stage: Stage) -> bool:
    """Fills one slab and serves it; False at the end of the body."""
    slab = await belt.take()
    view = slab.view
    filled = served = 0
    count = 1
    while filled < len(view) and (count := await fill(view[filled:] if filled else view)):
        filled += count
        if filled - served >= SERVING_BYTES_MIN and belt.is_hungry:
            await _serve(belt, stage, slab, view[served:filled])
            served = filled
            # The guests get up from their wait only when we let them.
            await trio.lowlevel.checkpoint()
    if filled > served:
        await _serve(belt, stage, slab, view[served:filled])
    belt.put_back(slab)
    return count != 0


async def _serve(belt: _Belt, stage: Stage, slab: _Slab, data: memoryview) -> None:
    serving = belt.serve(slab, data)
    await stage.write_behind(data, partial(belt.finish, serving))


class _Slab:
    """A buffer; `users` counts the filler and the servings not finished."""

    __slots__ = ("users", "view")

    def __init__(self, size_bytes: int) -> None:
        self.view = memoryview(bytearray(size_bytes))
        self.users = 0


class _Serving:
    """Part of a slab for all guests and the stage. `others` has an item for each of them but the
    last: a list, since its pop is safe in any thread."""

    __slots__ = ("data", "others", "slab")

    def __init__(self, slab: _Slab, data: memoryview, users: int) -> None:
        self.slab = slab
        self.data = data
        self.others = [None] * (users - 1)


class _Guest:
    """What waits for one lane, in order. Its queue is emptied in another thread."""

    __slots__ = ("_arrived", "queue")

    def __init__(self) -> None:
        self.queue: SimpleQueue[_Serving | None] = SimpleQueue()
        self._arrived = trio.Event()

    def serve(self, serving: _Serving | None) -> None:
        """Puts a serving into the queue, or None, its end; so a thread that lingers goes home."""
        self.queue.put(serving)
        self._arrived.set()

    async def wait_served(self) -> None:
        """Waits for something in the queue."""
        while self.queue.empty():
            self._arrived = trio.Event()
            await self._arrived.wait()


class _Belt:
    """The slabs and the guests of one body. Belongs to the event loop but for `finish`."""

    def __init__(self, guests: int, bell: Bell, *, is_lean: bool, size_bytes: int | None) -> None:
        self.guests = [_Guest() for _ in range(guests)]
        self._bell = bell
        self._slab_bytes = LEAN_SLAB_BYTES if is_lean else SLAB_BYTES
        if size_bytes is not None:
            self._slab_bytes = min(self._slab_bytes, size_bytes)
        self._left_to_make = LEAN_SLABS if is_lean else SLABS
        self._free: list[_Slab] = []
        # A deque, since its append and popleft are safe in any thread.
        self._finished: deque[_Slab] = deque()
        self._is_waiting = False

    async def take(self) -> _Slab:
        """A slab to fill."""
        self._collect()
        if not self._free and self._left_to_make:
            self._left_to_make -= 1
            self._free.append(_Slab(self._slab_bytes))
        while not self._free:
            await self._wait_finished()
        slab = self._free.pop()
        slab.users = 1
        return slab

    def serve(self, slab: _Slab, data: memoryview) -> _Serving:
        """Gives every guest a part of a slab; the stage is yet to be given it."""
        slab.users += 1
        serving = _Serving(slab, data, len(self.guests) + 1)
        for guest in self.guests:
            guest.serve(serving)
        return serving

    def finish(self, serving: _Serving) -> None:
        """In any thread: a guest or the stage is done with a serving."""
        try:
            serving.others.pop()
        except IndexError:
            self._finished.append(serving.slab)
            if self._is_waiting:
                self._bell.ring()

    def put_back(self, slab: _Slab) -> None:
        """One user of a slab is done with it."""
        slab.users -= 1
        if not slab.users:
            self._free.append(slab)

    @property
    def is_hungry(self) -> bool:
        """Whether nothing waits for the slowest guest, which is the first one."""
        return self.guests[0].queue.empty()

    def close(self) -> None:
        """No more will be served."""
        for guest in self.guests:
            guest.serve(None)

    def clear(self) -> None:
        """Lets all memory go; nobody uses it any more."""
        self.guests.clear()
        self._free.clear()
        self._finished.clear()

    def _collect(self) -> None:
        finished = self._finished
        while finished:
            self.put_back(finished.popleft())

    async def _wait_finished(self) -> None:
        self._is_waiting = True
        try:
            # A look first: what was finished before the flag was up has rung no bell.
            if not self._finished:
                await self._bell.wait()
        finally:
            self._is_waiting = False
        self._collect()


async def _run_lane(threads: Threads, lane: Lane, guest: _Guest, belt: _Belt) -> None:
    drain = partial(_drain, lane, guest, belt, threads.linger_seconds)
    more = True
    while more:
        await guest.wait_served()
        more = await threads.run(drain)


def _drain(lane: Lane, guest: _Guest, belt: _Belt, linger_seconds: float) -> bool:
    """In a thread: feeds the lane whatever waits, and what is served meanwhile; False at the end
    of the body."""
    queue = guest.queue
    while True:
        try:
            serving = queue.get(timeout=linger_seconds)
        except Empty:
            return True
        if serving is None:
            return False
        lane(serving.data)
        belt.finish(serving)


def _leaves(group: BaseExceptionGroup[BaseException]) -> list[BaseException]:
    """The errors inside nested groups."""
    found: list[BaseException] = []
    for error in group.exceptions:
        found += _leaves(error) if isinstance(error, BaseExceptionGroup) else [error]
    return found
