"""The commit as a worker has it: a queue, and batches that the core commits.

What it is not: it writes no byte to disk. Small bodies travel with their commands, and the core
appends those of all workers with one write and one sync (docs/decisions/0008 has the figures).

The same lift as `pipeline`: whoever waits when it leaves rides together, nobody waits for a timer.
While a batch is at the core the next one gathers, so batches grow with the load. And the same
promise: a submitter that is cancelled while it queues leaves and nothing has happened; once its
batch was sent it waits for the answer. One batch is at the core at a time: with two, each is half
as large, and all costs of a batch are paid twice.
"""

from __future__ import annotations

from collections import deque
from functools import partial

import trio
from msgspec import Raw

from rs3gwd.base.codec import encode_command
from rs3gwd.base.commands import AnyCommand, CommandResult
from rs3gwd.base.errors import FormatError, Overloaded, Rs3gwError
from rs3gwd.engine.channel import Channel
from rs3gwd.engine.health import DiskHealth
from rs3gwd.engine.pipeline import (
    BATCH_BYTES_MAX,
    BATCH_COUNT_MAX,
    QUEUE_BYTES_MAX,
    QUEUE_COUNT_MAX,
)
from rs3gwd.engine.stage import StagedBody, StagedState
from rs3gwd.engine.wire import (
    Results,
    Submit,
    WireBody,
    WireEntry,
    WireError,
    WireResult,
    decode_result,
    unpack_error,
)

ENTRY_BYTES_MAX = 16 << 20
"""Bytes of one command with its small body; S3's greatest have 2 MiB. With BATCH_BYTES_MAX it
keeps every batch below the length of a frame."""


class _Waiter:
    """A submitter in the queue or at the core."""

    __slots__ = ("entry", "outcome", "size_bytes", "task")

    def __init__(self, entry: WireEntry, size_bytes: int, task: trio.lowlevel.Task) -> None:
        self.entry = entry
        self.size_bytes = size_bytes
        self.task = task
        self.outcome: WireResult | WireError | Rs3gwError | None = None


class RemoteCommit:
    """Gathers commands into batches and has the core commit them; `run` drives it."""

    def __init__(self, channel: Channel, health: DiskHealth) -> None:
        self._channel = channel
        self._health = health
        self._queue: deque[_Waiter] = deque()
        self._queue_bytes = 0
        self._at_core: list[_Waiter] = []
        self._driver: trio.lowlevel.Task | None = None
        self._refusal: Rs3gwError | None = Overloaded("the engine is not running")
        self.commands = 0
        self.batches = 0
        self.batch_max = 0

    @property
    def queue_count(self) -> int:
        """Commands that wait for the next batch."""
        return len(self._queue)

    async def run(self) -> None:
        """Sends batches until cancelled; `stop` must be called then."""
        self._refusal = None
        while True:
            if self._at_core or not self._queue:
                await self._wait()
            else:
                self._send(self._take_batch())

    def stop(self, error: Rs3gwError) -> None:
        """No answer will come any more: what is at the core has no known outcome, `error` says so;
        what waits here is refused with nothing changed."""
        self._refusal = Overloaded("the engine is stopping")
        batch, self._at_core = self._at_core, []
        self._fail(batch, error)
        while batch := self._take_batch():
            self._fail(batch, self._refusal)

    async def submit(self, command: AnyCommand, staged: StagedBody | None = None) -> CommandResult:
        """Commits a command, and with it the bytes of `staged`; gives the command's result.

        Raises what the command's class says, DiskFull, DiskFailed, Overloaded, DataCorrupt; then
        nothing has changed and `staged` may be submitted again. Raises CoreGone when the outcome
        is not known.
        """
        assert getattr(command, "blob", None) == (staged.ref if staged is not None else None)
        if staged is None:
            return await self._enter(command, None)
        assert staged.state is StagedState.STAGED, "a body is submitted once"
        staged.state = StagedState.SUBMITTED
        try:
            result = await self._enter(command, staged)
        except BaseException:
            staged.state = StagedState.STAGED
            raise
        staged.state = StagedState.COMMITTED
        return result

    def on_results(self, message: Results) -> None:
        """The core has settled a batch. Raises FormatError."""
        batch = self._at_core
        if not batch or message.batch != self.batches or len(batch) != len(message.outcomes):
            raise FormatError("results of a batch that is not at the core")
        self._at_core = []
        for waiter, outcome in zip(batch, message.outcomes, strict=True):
            waiter.outcome = outcome
            trio.lowlevel.reschedule(waiter.task)
        self._wake()

    async def _enter(self, command: AnyCommand, staged: StagedBody | None) -> CommandResult:
        self._health.check()
        if self._refusal is not None:
            raise Overloaded(str(self._refusal))
        encoded = encode_command(command)
        entry = _wire_entry(Raw(encoded), staged)
        size_bytes = len(encoded) + (len(entry.body.data) if entry.body is not None else 0)
        if size_bytes > ENTRY_BYTES_MAX:
            raise Overloaded(f"{size_bytes} bytes in one command")
        if len(self._queue) >= QUEUE_COUNT_MAX or self._queue_bytes + size_bytes > QUEUE_BYTES_MAX:
            raise Overloaded(f"{len(self._queue)} writes wait for the disk")
        waiter = _Waiter(entry, size_bytes, trio.lowlevel.current_task())
        self._queue.append(waiter)
        self._queue_bytes += size_bytes
        self._wake()
        await trio.lowlevel.wait_task_rescheduled(partial(self._withdraw, waiter))
        outcome, waiter.outcome = waiter.outcome, None
        if isinstance(outcome, WireResult):
            return decode_result(outcome)
        if isinstance(outcome, WireError):
            raise unpack_error(outcome)
        assert outcome is not None, "whoever wakes a submitter says why"
        raise type(outcome)(*outcome.args)

    def _withdraw(self, waiter: _Waiter, _: object) -> trio.lowlevel.Abort:
        """Cancellation: out of the queue, but not out of a batch that was sent."""
        try:
            self._queue.remove(waiter)
        except ValueError:
            return trio.lowlevel.Abort.FAILED
        self._queue_bytes -= waiter.size_bytes
        return trio.lowlevel.Abort.SUCCEEDED

    async def _wait(self) -> None:
        """Until something waits that may be sent, perhaps."""
        self._driver = trio.lowlevel.current_task()

        def stop(_: object) -> trio.lowlevel.Abort:
            self._driver = None
            return trio.lowlevel.Abort.SUCCEEDED

        await trio.lowlevel.wait_task_rescheduled(stop)

    def _wake(self) -> None:
        if self._driver is not None:
            driver, self._driver = self._driver, None
            trio.lowlevel.reschedule(driver)

    def _take_batch(self) -> list[_Waiter]:
        batch: list[_Waiter] = []
        size_bytes = 0
        queue = self._queue
        while queue and len(batch) < BATCH_COUNT_MAX and size_bytes < BATCH_BYTES_MAX:
            waiter = queue.popleft()
            size_bytes += waiter.size_bytes
            batch.append(waiter)
        self._queue_bytes -= size_bytes
        return batch

    def _send(self, batch: list[_Waiter]) -> None:
        self.batches += 1
        self.commands += len(batch)
        self.batch_max = max(self.batch_max, len(batch))
        try:
            self._channel.send(Submit(self.batches, [waiter.entry for waiter in batch]))
        except (FormatError, Overloaded) as error:
            self._fail(batch, error)
        else:
            self._at_core = batch

    def _fail(self, batch: list[_Waiter], error: Rs3gwError) -> None:
        for waiter in batch:
            waiter.outcome = error
            trio.lowlevel.reschedule(waiter.task)


def _wire_entry(command: Raw, staged: StagedBody | None) -> WireEntry:
    if staged is None:
        return WireEntry(command)
    small = staged.small
    body = None
    if small is not None:
        pieces = small.pieces
        data = pieces[0] if len(pieces) == 1 else b"".join(pieces)
        body = WireBody(small.checksum, small.table, memoryview(data))
    return WireEntry(command, staged.durability, body, staged.extents, staged.synced)
