"""Jobs in line: in order, in one thread, and nobody waits for ever whatever goes wrong."""

from collections.abc import Callable
from functools import partial

import pytest
import trio

from rs3gwd.base.errors import DiskFull, Overloaded
from rs3gwd.base.ports import Threads
from rs3gwd.engine.system import EventBell, TrioThreads
from rs3gwd.engine.workers import Line, Workers
from rs3gwd.testing.threads import InlineThreads

EACH = pytest.mark.parametrize("threads", [TrioThreads(2), InlineThreads()])


def refuse() -> None:
    """A job that fails."""
    raise DiskFull("no room")


@EACH
async def test_jobs_are_done_in_order_however_they_come(threads: Threads) -> None:
    """With pauses longer than a thread lingers, and without."""
    seen: list[int] = []
    async with trio.open_nursery() as nursery:
        workers = Workers(threads)
        await nursery.start(workers.run)
        line = Line(workers)
        for number in range(300):
            line.put(partial(seen.append, number))
            if number % 100 == 0:
                await line.wait()
                await line.wait_end()
        await line.wait()
        nursery.cancel_scope.cancel()
    assert seen == list(range(300))


@EACH
async def test_behind_an_error_nothing_is_done_and_everybody_is_told(threads: Threads) -> None:
    """`done` is called for each job, and each wait raises."""
    done: list[int] = []
    undone: list[int] = []
    async with trio.open_nursery() as nursery:
        workers = Workers(threads)
        await nursery.start(workers.run)
        line = Line(workers)
        line.put(refuse, partial(done.append, 0))
        for number in range(1, 20):
            line.put(partial(undone.append, number), partial(done.append, number))
        await line.wait_end()
        for _ in range(2):
            with pytest.raises(DiskFull):
                await line.wait()
        with pytest.raises(DiskFull):
            await line.wait(None)
        nursery.cancel_scope.cancel()
    assert done == list(range(20))
    assert undone == []


async def test_a_line_of_an_engine_that_stops_ends_with_an_error() -> None:
    """Jobs that no thread was found for are given back undone."""
    done: list[int] = []
    line: Line | None = None
    async with trio.open_nursery() as nursery:
        workers = Workers(TrioThreads())
        await nursery.start(workers.run)
        line = Line(workers)
        line.put(lambda: None, partial(done.append, 1))
        nursery.cancel_scope.cancel()
    with pytest.raises(Overloaded):
        await line.wait()
    await line.wait_end()
    assert done == [1]
    with pytest.raises(Overloaded):
        line.put(lambda: None)


def ring_until(bell: EventBell, is_enough: Callable[[], bool]) -> None:
    """In a thread."""
    while not is_enough():
        bell.ring()


async def test_a_bell_wakes_once_for_all_rings_before() -> None:
    """From another thread; a late ring of a closed bell touches no other file."""
    bell = TrioThreads().bell()
    heard = 0
    async with trio.open_nursery() as nursery:
        nursery.start_soon(trio.to_thread.run_sync, ring_until, bell, lambda: heard == 20)
        for _ in range(20):
            await bell.wait()
            heard += 1
    bell.ring()
    bell.ring()
    await bell.wait()
    with trio.move_on_after(0) as scope:
        await bell.wait()
    assert scope.cancelled_caught
    bell.close()
    bell.ring()
