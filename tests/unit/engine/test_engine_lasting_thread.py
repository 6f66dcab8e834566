"""The thread that stays: one for all calls, whose results and errors come back to the caller."""

import threading

import pytest
import trio

from rs3gwd.base.ports import Threads
from rs3gwd.engine.system import TrioThreads
from rs3gwd.testing.threads import InlineThreads


def _fail() -> None:
    raise ValueError("from the thread")


@pytest.mark.parametrize("threads", [TrioThreads(), InlineThreads()])
async def test_results_and_errors_come_back(threads: Threads) -> None:
    """A call gives its function's result or raises its error; the next call works all the same."""
    with threads.lasting("test") as thread:
        assert await thread.run(lambda: 42) == 42
        with pytest.raises(ValueError, match="from the thread"):
            await thread.run(_fail)
        assert await thread.run(lambda: 43) == 43


async def test_all_calls_meet_one_thread_that_ends() -> None:
    """It is the same thread each time, not the event loop's, and gone after the context."""
    with TrioThreads().lasting("rs3gw-test") as thread:
        seen = {await thread.run(threading.current_thread) for _ in range(5)}
    (worker,) = seen
    assert worker is not threading.current_thread()
    assert worker.name == "rs3gw-test"
    assert not worker.is_alive()


async def test_cancellation_waits_for_the_work() -> None:
    """A call that has begun ends with its result; one that has not never begins."""
    begun, go_on = threading.Event(), threading.Event()
    results: list[int] = []

    def work() -> int:
        begun.set()
        assert go_on.wait(20)
        return 7

    with TrioThreads().lasting("test") as thread:
        with trio.CancelScope() as scope:
            async with trio.open_nursery() as nursery:

                async def call() -> None:
                    results.append(await thread.run(work))

                nursery.start_soon(call)
                assert await trio.to_thread.run_sync(begun.wait, 20)
                scope.cancel()
                go_on.set()
        assert results == [7]
        with trio.CancelScope() as scope:
            scope.cancel()
            await thread.run(_fail)
        assert scope.cancelled_caught
