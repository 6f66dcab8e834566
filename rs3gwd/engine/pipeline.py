"""The queue in front of the commit: many submitters, one batch at a time.

What it is not: it knows neither commands nor bytes; `commit` does.

Like a lift: whoever waits when the doors open rides together, nobody waits for a timer, and a lone
rider leaves at once. While others still get in at each turn of the event loop, the doors stay open:
a large batch costs less, and the commit's thread finds the interpreter free. While a batch is in
its thread the next one gathers, so batches grow with the load by themselves. A submitter is a
parked trio task, woken by its own reschedule: the cheapest wait that trio has.

A submitter that is cancelled while it queues leaves the queue and nothing has happened. Once its
batch has begun it waits for the end: what was handed to the log is not undone by cancellation.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, NoReturn

import trio

from rs3gwd.base.commands import AnyCommand
from rs3gwd.base.errors import Overloaded, Rs3gwError
from rs3gwd.base.ports import Threads
from rs3gwd.engine.commit import Change, Committer, Entry
from rs3gwd.engine.health import DiskHealth
from rs3gwd.engine.stage import StagedBody, StagedState
from rs3gwd.engine.view import View

QUEUE_COUNT_MAX = 4096
"""Submitters that may wait: at 8,000 commits a second half a second of work."""

QUEUE_BYTES_MAX = 128 << 20
BATCH_COUNT_MAX = 512
"""Entries in a batch: bounds how long the first of them waits, about 30 ms."""

BATCH_BYTES_MAX = 8 << 20

GATHER_TURNS_MAX = 8
"""Turns of the event loop for which a batch waits while each brings more of it. A turn is as long
as the work that is ready: 8 ms with 64 small writes."""


class _Waiter:
    """A submitter in the queue: a parked task with one entry, or a group and whom to tell."""

    __slots__ = ("entries", "on_done", "size_bytes", "task")

    def __init__(
        self,
        entries: Sequence[Entry],
        *,
        task: trio.lowlevel.Task | None = None,
        on_done: Callable[[], None] | None = None,
    ) -> None:
        self.entries = entries
        self.size_bytes = sum(entry.size_bytes for entry in entries)
        self.task = task
        self.on_done = on_done


class Pipeline:
    """Gathers entries into batches and commits them. Belongs to the event loop; `run` drives it."""

    def __init__(
        self, committer: Committer, view: View, threads: Threads, health: DiskHealth
    ) -> None:
        self._committer = committer
        self._view = view
        self._threads = threads
        self._health = health
        self._queue: deque[_Waiter] = deque()
        self._queue_count = 0
        self._queue_bytes = 0
        self._batch: list[_Waiter] = []
        self._driver: trio.lowlevel.Task | None = None
        self._running = False

    @property
    def queue_count(self) -> int:
        """Entries that wait for the next batch."""
        return self._queue_count

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Commits until cancelled; then whoever waits gets Overloaded, with nothing changed."""
        self._running = True
        try:
            with self._threads.lasting("commit") as thread:
                task_status.started()
                await self._commit_batches(thread)
        finally:
            self._running = False
            self._refuse_all()

    async def _commit_batches(self, thread: Threads) -> NoReturn:
        while True:
            if not self._queue:
                await self._wait_entry()
            await self._gather()
            self._batch = self._take_batch()
            entries = [entry for waiter in self._batch for entry in waiter.entries]
            if entries:
                await thread.run(partial(self._committer.commit, entries))
                self._wake_batch()

    async def submit(self, command: AnyCommand, staged: StagedBody | None = None) -> Any:
        """Commits a command, and with it the bytes of `staged`; gives the command's result.

        Raises what the command's class says, DiskFull, DiskFailed, Overloaded, DataCorrupt; then
        nothing has changed and `staged` may be submitted again.
        """
        assert getattr(command, "blob", None) == (staged.ref if staged is not None else None)
        if staged is None:
            return await self.enter(Entry(command=command))
        assert staged.state is StagedState.STAGED, "a body is submitted once"
        staged.state = StagedState.SUBMITTED
        try:
            return await self.enter(Entry(command=command, staged=staged))
        finally:
            if staged.state is StagedState.SUBMITTED:
                staged.state = StagedState.STAGED

    async def change(self, change: Change, *, configures: bool = False) -> Any:
        """Commits a change of the node's own tables; gives what it returns. Raises as `submit`.

        `configures`: it also changes buckets, accounts or keys.
        """
        entry = Entry(change=change)
        entry.configures = configures
        return await self.enter(entry)

    async def enter(self, entry: Entry) -> Any:
        """Commits one entry; gives its result or raises its error."""
        waiter = _Waiter((entry,), task=trio.lowlevel.current_task())
        if (
            self._queue_count >= QUEUE_COUNT_MAX
            or self._queue_bytes + waiter.size_bytes > QUEUE_BYTES_MAX
        ):
            raise Overloaded(f"{self._queue_count} writes wait for the disk")
        self._append(waiter)
        await trio.lowlevel.wait_task_rescheduled(partial(self._withdraw, waiter))
        if entry.error is not None:
            # Taken out: an error that the entry keeps would keep, in its trace, the entry's bytes.
            error, entry.error = entry.error, None
            try:
                raise error
            finally:
                del error
        return entry.result

    def enter_group(self, entries: Sequence[Entry], on_done: Callable[[], None]) -> None:
        """Queues entries that go into one batch together; `on_done` is called when each has its
        result or error, on the event loop, and must not raise.

        Whoever enters groups bounds them. Raises DiskFailed, Overloaded; `on_done` is then not
        called.
        """
        self._append(_Waiter(entries, on_done=on_done))

    def _append(self, waiter: _Waiter) -> None:
        self._health.check()
        if not self._running:
            raise Overloaded("the engine is not running")
        self._queue.append(waiter)
        self._queue_count += len(waiter.entries)
        self._queue_bytes += waiter.size_bytes
        if self._driver is not None:
            driver, self._driver = self._driver, None
            trio.lowlevel.reschedule(driver)

    def _withdraw(self, waiter: _Waiter, _: object) -> trio.lowlevel.Abort:
        """Cancellation: out of the queue, but not out of a batch that has begun."""
        try:
            self._queue.remove(waiter)
        except ValueError:
            return trio.lowlevel.Abort.FAILED
        self._leave_queue(waiter)
        return trio.lowlevel.Abort.SUCCEEDED

    async def _wait_entry(self) -> None:
        self._driver = trio.lowlevel.current_task()

        def stop(_: object) -> trio.lowlevel.Abort:
            self._driver = None
            return trio.lowlevel.Abort.SUCCEEDED

        await trio.lowlevel.wait_task_rescheduled(stop)

    async def _gather(self) -> None:
        count = 1
        for _ in range(GATHER_TURNS_MAX):
            if self._queue_count <= count:
                return
            count = self._queue_count
            await trio.lowlevel.checkpoint()

    def _take_batch(self) -> list[_Waiter]:
        batch: list[_Waiter] = []
        count = size_bytes = 0
        queue = self._queue
        while queue and count < BATCH_COUNT_MAX and size_bytes < BATCH_BYTES_MAX:
            waiter = queue.popleft()
            self._leave_queue(waiter)
            count += len(waiter.entries)
            size_bytes += waiter.size_bytes
            batch.append(waiter)
        return batch

    def _leave_queue(self, waiter: _Waiter) -> None:
        self._queue_count -= len(waiter.entries)
        self._queue_bytes -= waiter.size_bytes

    def _wake_batch(self) -> None:
        # Before anyone learns of the commit: what they look up next must show it.
        self._view.drop()
        batch, self._batch = self._batch, []
        for waiter in batch:
            if waiter.task is not None:
                trio.lowlevel.reschedule(waiter.task)
            if waiter.on_done is not None:
                waiter.on_done()

    def _refuse_all(self) -> None:
        """The driver ends: a batch that never began is refused, one that broke has no answer."""
        for waiter in self._batch:
            for entry in waiter.entries:
                if entry.error is None:
                    entry.error = Rs3gwError("the commit was broken off; the outcome is unknown")
        self._wake_batch()
        while self._queue:
            self._batch = self._take_batch()
            for waiter in self._batch:
                for entry in waiter.entries:
                    entry.error = Overloaded("the engine is stopping")
            self._wake_batch()
