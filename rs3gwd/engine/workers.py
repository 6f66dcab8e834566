"""Blocking work started now and awaited later, so that receiving and writing overlap.

What it is not: a thread pool; the threads are the port's. This is the nursery beside it: a stage
or a reader starts a job, goes on, and asks for the result when it needs it. Jobs end before the
nursery does, whatever happens to those who started them; their errors stay in the job.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Generic, TypeVar

import trio

from rs3gwd.base.errors import Overloaded, Rs3gwError
from rs3gwd.base.ports import Threads

T = TypeVar("T")

JOBS_AT_WORK_MAX = 32
"""Jobs in threads at one moment, half of the threads there are: however many large bodies stream,
the commit finds a thread at once."""


class Job(Generic[T]):
    """One piece of blocking work; `wait` gives its result."""

    __slots__ = ("_done", "_error", "_function", "_result")

    def __init__(self, function: Callable[[], T]) -> None:
        self._function: Callable[[], T] | None = function
        self._done = trio.Event()
        self._error: BaseException | None = Overloaded("the engine is stopping")
        self._result: T | None = None

    async def wait(self) -> T:
        """The result; raises what the work raised, or Overloaded when the engine stopped first."""
        await self._done.wait()
        if self._error is not None:
            # A copy stays: an error that the job keeps would keep, in its trace, the job's bytes.
            error, self._error = self._error, type(self._error)(*self._error.args)
            try:
                raise error
            finally:
                del error
        return self._result  # type: ignore[return-value]  # no error: the function returned a T

    async def wait_end(self) -> None:
        """Waits until the work has ended, in whatever way."""
        await self._done.wait()

    @property
    def is_done(self) -> bool:
        """Whether `wait` would return at once."""
        return self._done.is_set()

    async def run(self, threads: Threads, turns: trio.CapacityLimiter) -> None:
        """Does the work in a thread, once."""
        function, self._function = self._function, None
        assert function is not None, "a job is run once"
        try:
            async with turns:
                self._result = await threads.run(function)
            self._error = None
        except (OSError, Rs3gwError) as error:
            self._error = error.with_traceback(None)
        finally:
            self._done.set()


class Workers:
    """Starts jobs. `run` must be active; without it a job waits for ever."""

    def __init__(self, threads: Threads) -> None:
        self._threads = threads
        self._turns = trio.CapacityLimiter(JOBS_AT_WORK_MAX)
        self._nursery: trio.Nursery | None = None

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Carries the jobs until cancelled."""
        async with trio.open_nursery() as nursery:
            self._nursery = nursery
            try:
                task_status.started()
                await trio.sleep_forever()
            finally:
                self._nursery = None

    def start(self, function: Callable[[], T]) -> Job[T]:
        """Starts a job. Raises Overloaded when the engine is not running."""
        if self._nursery is None:
            raise Overloaded("the engine is not running")
        job = Job(function)
        self._nursery.start_soon(job.run, self._threads, self._turns)
        return job
