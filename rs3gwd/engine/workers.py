"""Blocking work started now and awaited later, so that receiving and writing overlap.

What it is not: a thread pool; the threads are the port's. This is the nursery beside it: a stage
or a reader starts a job, goes on, and asks for the result when it needs it. Jobs end before the
nursery does, whatever happens to those who started them; their errors stay in the job.

A `Line` is for whoever has many small jobs that must be done in order: one thread does them and
waits a little for the next one, since a thread hop for each would cost more than the job.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from queue import Empty, SimpleQueue
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


class Line:
    """Jobs that are done one after the other. After an error the rest is left undone.

    Belongs to the event loop; the jobs run in a thread.
    """

    __slots__ = (
        "_changed", "_error", "_is_waiting", "_put", "_queue", "_running", "_taken", "_workers",
    )  # fmt: skip

    def __init__(self, workers: Workers) -> None:
        self._workers = workers
        self._queue: SimpleQueue[tuple[Callable[[], None], Callable[[], None]]] = SimpleQueue()
        self._running = False
        self._put = 0
        self._changed = trio.Event()
        # Written by the thread; the waiting flag by the event loop, which looks again behind it.
        self._taken = 0
        self._error: BaseException | None = None
        self._is_waiting = False

    def put(self, function: Callable[[], None], done: Callable[[], None] = lambda: None) -> None:
        """Adds a job. `done` is called behind it, in its thread, also when it was left undone.

        Raises Overloaded when the engine is not running.
        """
        if not self._running:
            self._workers.start_line(self)
            self._running = True
        self._put += 1
        self._queue.put((function, done))

    async def wait(self, left_max: int | None = 0) -> None:
        """Waits until at most so many jobs are left, not at all for None; raises what one of them
        raised."""
        while left_max is not None and self._put - self._taken > left_max and self._error is None:
            await self._wait_change(left_max)
        if self._error is not None:
            # A copy stays: an error that is kept would keep, in its trace, the bytes of the body.
            error, self._error = self._error, type(self._error)(*self._error.args)
            try:
                raise error
            finally:
                del error

    async def wait_end(self) -> None:
        """Waits until the thread has left, in whatever way the jobs ended."""
        while self._running:
            self._changed = trio.Event()
            await self._changed.wait()

    async def _wait_change(self, left_max: int) -> None:
        self._changed = trio.Event()
        self._is_waiting = True
        try:
            if self._put - self._taken > left_max and self._error is None:
                await self._changed.wait()
        finally:
            self._is_waiting = False

    async def run(self, threads: Threads, turns: trio.CapacityLimiter) -> None:
        """Does what is put in, until there is nothing left."""
        token = trio.lowlevel.current_trio_token()
        work = partial(self._work, token, threads.linger_seconds)
        try:
            while not self._queue.empty():
                async with turns:
                    await threads.run(work)
        finally:
            if not self._queue.empty():
                self._error = self._error or Overloaded("the engine is stopping")
                self._work(token, 0)
            self._running = False
            self._changed.set()

    def _work(self, token: trio.lowlevel.TrioToken, linger_seconds: float) -> None:
        """In a thread."""
        queue = self._queue
        while True:
            try:
                function, done = queue.get(timeout=linger_seconds)
            except Empty:
                return
            try:
                if self._error is None:
                    function()
            except (OSError, Rs3gwError) as error:
                self._error = error.with_traceback(None)
            finally:
                done()
            del function, done
            self._taken += 1
            if self._is_waiting:
                token.run_sync_soon(self._changed.set)


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

    def start_line(self, line: Line) -> None:
        """Starts the thread of a line. Raises Overloaded when the engine is not running."""
        if self._nursery is None:
            raise Overloaded("the engine is not running")
        self._nursery.start_soon(line.run, self._threads, self._turns)
