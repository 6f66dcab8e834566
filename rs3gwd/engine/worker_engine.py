"""The engine of a frontend process: reads by itself, writes bytes itself, lets the core commit.

What it is not: it never writes LMDB and makes, seals or removes no segment; the core process does.

    look_up, open_body, read_small   LMDB and segment files, read here         (view, bodies)
    stage                            small bodies in memory, large ones to lanes lent by the core
    submit                           to the core in batches, over the channel  (remote_commit)

The parts are those of `engine`; where a part of the core would write, a part that asks the core
stands in its place (`remote_commit`, `remote_lanes`). The core says on a shared page how far the
store has come (`shared_state`), so that reading needs no message.

When the core is gone this process has no ground: `run` raises, and the process must end. Whatever
it had handed over has an unknown outcome, and whoever waits for it is told so.
"""

from __future__ import annotations

import os
import socket
from contextlib import ExitStack
from functools import partial
from types import TracebackType
from typing import ParamSpec, TypeVar

import trio
from msgspec import Struct

from rs3gwd.base.commands import AnyCommand, CommandResult
from rs3gwd.base.errors import (
    CoreGone,
    DiskFailed,
    FormatError,
    Overloaded,
)
from rs3gwd.base.memory import MemoryPool
from rs3gwd.base.ports import Clock, Disk, Random, StagedBlob, Threads
from rs3gwd.engine.blobs import BlobIds
from rs3gwd.engine.bodies import Bodies
from rs3gwd.engine.channel import Channel
from rs3gwd.engine.engine import ENVIRONMENT_DIRECTORY, EngineSettings
from rs3gwd.engine.environment import Environment
from rs3gwd.engine.events import EngineEvent, Observer, SilentObserver
from rs3gwd.engine.health import DiskHealth, SpaceGuard
from rs3gwd.engine.remote_commit import RemoteCommit
from rs3gwd.engine.remote_lanes import RemoteLanes
from rs3gwd.engine.segment_access import SegmentAccess
from rs3gwd.engine.segments import SegmentWriter
from rs3gwd.engine.shared_state import SharedState
from rs3gwd.engine.stage import StagedBody, StageParts
from rs3gwd.engine.store_reads import StoreReads
from rs3gwd.engine.tables import Table, u64
from rs3gwd.engine.view import View
from rs3gwd.engine.wire import (
    PROTOCOL_VERSION,
    DiskBroken,
    EventSeen,
    Forget,
    FromCore,
    Hello,
    LaneGranted,
    LaneRefused,
    Message,
    Released,
    Results,
    Retire,
    Welcome,
    decode_from_core,
)
from rs3gwd.engine.workers import Workers

P = ParamSpec("P")
T = TypeVar("T")

VIEW_SECONDS = 0.1
"""How long after a look-up a worker may pin the pages of an old state. A worker that nobody asks
anything wakes up for nothing."""


class WorkerStatistics(Struct, frozen=True):
    """Figures of a worker's engine at one moment; counts are since its start."""

    commands: int
    batches: int
    batch_max: int
    queue_count: int
    lanes_busy: int
    stage_memory_bytes: int
    free_bytes: int
    disk_failed: str | None


class _Reporter:
    """Takes events and failures from any thread; tells the core and this process's observer."""

    def __init__(self, channel: Channel, observer: Observer) -> None:
        self._channel = channel
        self._observer = observer
        self._token: trio.lowlevel.TrioToken | None = None

    def start(self) -> None:
        """The event loop runs now and the core listens."""
        self._token = trio.lowlevel.current_trio_token()

    def on_event(self, event: EngineEvent) -> None:
        """An event of this engine."""
        self._observer.on_event(event)
        self._tell(EventSeen(event.kind, event.detail, event.segment_id))

    def on_failure(self, reason: str) -> None:
        """The disk failed here: it has failed for every process."""
        self._tell(DiskBroken(reason))

    def _tell(self, message: Message) -> None:
        if self._token is not None:
            self._token.run_sync_soon(self._send, message)

    def _send(self, message: Message) -> None:
        try:
            self._channel.send(message)
        except Overloaded:
            self._channel.abort()  # a core that reads nothing cannot be told: it is as good as gone


class WorkerParts:
    """Everything that `WorkerEngine.open` joins, built in a thread."""

    def __init__(
        self,
        path: str,
        *,
        channel: socket.socket,
        shared: SharedState,
        disk: Disk,
        clock: Clock,
        random: Random,
        threads: Threads,
        settings: EngineSettings,
        observer: Observer,
    ) -> None:
        self.released: set[int] = set()
        self.shared = shared
        self.channel = Channel(channel)
        self.threads = threads
        self.reporter = _Reporter(self.channel, observer)
        with ExitStack() as undo:
            undo.callback(shared.close)
            undo.callback(channel.close)
            self.environment = Environment.open(
                os.path.join(path, ENVIRONMENT_DIRECTORY),
                map_bytes=settings.map_bytes,
                read_only=True,
            )
            undo.pop_all()
        self.health = DiskHealth(
            self.reporter,
            on_failure=self.reporter.on_failure,
            failed_elsewhere=lambda: shared.failed,
        )
        self.space = SpaceGuard(
            disk,
            clock,
            threads,
            self.reporter,
            reserve_bytes=settings.free_bytes_reserve,
            ballast_bytes=0,
        )
        self.view = View(self.environment, shared)
        self.memory = MemoryPool(settings.stage_memory_bytes_max)
        self.workers = Workers(threads)
        self._join_reading(disk, settings)
        self._join_writing(disk, clock, random, settings)

    def _join_reading(self, disk: Disk, settings: EngineSettings) -> None:
        self.access = SegmentAccess(
            disk,
            self.threads,
            descriptors_max=settings.descriptors_max,
            exists=self._has_segment,
            on_unread=self.release,
        )
        self.bodies = Bodies(
            self.environment,
            self.view,
            disk,
            self.access,
            self.workers,
            self.threads,
            self.reporter,
        )

    def _join_writing(
        self, disk: Disk, clock: Clock, random: Random, settings: EngineSettings
    ) -> None:
        writer = SegmentWriter(
            disk,
            self.health,
            self.space,
            segment_bytes=settings.segment_bytes,
            allocate_bytes=settings.allocate_bytes,
        )
        self.lanes = RemoteLanes(self.channel, writer)
        self.commit = RemoteCommit(self.channel, self.health)
        self.stage_parts = StageParts(
            blob_ids=BlobIds(clock, random, node=settings.node),
            health=self.health,
            memory=self.memory,
            pool=self.lanes,
            small_bytes_max=settings.small_bytes_max,
            space=self.space,
            store=writer,
            workers=self.workers,
        )

    def _has_segment(self, segment_id: int) -> bool:
        """Whether the state of the last commit has a row for a segment."""
        return self.view.transaction().get(Table.SEGMENTS, u64(segment_id)) is not None

    def release(self) -> None:
        """Tells the core which segments that are going nobody reads here."""
        for segment_id in self.access.removable():
            if segment_id not in self.released:
                self.released.add(segment_id)
                self.channel.send(Released(segment_id))

    def close(self) -> None:
        """Closes what is open."""
        self.access.close()
        self.environment.close()
        self.shared.close()


class WorkerEngine(StoreReads):
    """An open store in a worker process; see `rs3gwd.engine.face.EngineFace`."""

    def __init__(self, parts: WorkerParts) -> None:
        self.parts = parts
        super().__init__(parts.view, parts.bodies, parts.stage_parts)
        self._is_core_gone = False
        self.memory = parts.memory

    @classmethod
    async def open(
        cls,
        path: str,
        *,
        channel: socket.socket,
        shared: SharedState,
        disk: Disk,
        clock: Clock,
        random: Random,
        threads: Threads,
        settings: EngineSettings | None = None,
        observer: Observer | None = None,
    ) -> WorkerEngine:
        """Opens the data directory `path` of a running core, which serves `channel`.

        Owns `channel` and `shared` from now on, whether it succeeds or not. `settings` are the
        core's (sizes of segments and bodies must agree); `stage_memory_bytes_max`,
        `descriptors_max` count per process. Events go to `observer` here and, with the worker's
        number, to the core's observer: where the core logs and counts them, give none. Raises
        DiskFailed, DataCorrupt, FormatError. `close` it at the end.
        """
        build = partial(
            WorkerParts,
            path,
            channel=channel,
            shared=shared,
            disk=disk,
            clock=clock,
            random=random,
            threads=threads,
            settings=settings or EngineSettings(),
            observer=observer or SilentObserver(),
        )
        return cls(await threads.run(build))

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Runs the engine's tasks until cancelled; started once the core has answered.

        Raises `CoreGone` when the core's end of the channel closes: the process must end then,
        whatever waits is told that its outcome is unknown.
        """
        parts = self.parts
        welcome = trio.Event()
        try:
            async with trio.open_nursery() as nursery:
                await nursery.start(parts.workers.run)
                nursery.start_soon(parts.channel.run)
                nursery.start_soon(self._listen, welcome, nursery.cancel_scope)
                parts.channel.send(Hello(PROTOCOL_VERSION))
                await welcome.wait()
                # What was looked up before the welcome may lie in segments that nobody keeps.
                self._view.drop()
                parts.reporter.start()
                nursery.start_soon(parts.commit.run)
                nursery.start_soon(self._sweep)
                task_status.started()
            if self._is_core_gone:
                raise CoreGone("the core has closed the channel")
        finally:
            gone = CoreGone("the channel to the core is closed; the outcome is unknown")
            parts.commit.stop(gone)
            parts.lanes.fail_all(gone)

    async def submit(self, command: AnyCommand, staged: StagedBlob | None = None) -> CommandResult:
        """Commits a command and the body it names; see `rs3gwd.base.ports.ObjectStore.submit`."""
        assert staged is None or isinstance(staged, StagedBody)
        return await self.parts.commit.submit(command, staged)

    @property
    def disk_failure(self) -> str | None:
        """Why the disk takes no more writes, or None while it does."""
        return self.parts.health.failure

    def statistics(self) -> WorkerStatistics:
        """The figures of this moment."""
        parts = self.parts
        return WorkerStatistics(
            commands=parts.commit.commands,
            batches=parts.commit.batches,
            batch_max=parts.commit.batch_max,
            queue_count=parts.commit.queue_count,
            lanes_busy=parts.lanes.busy,
            stage_memory_bytes=parts.memory.bytes_held,
            free_bytes=parts.space.free_bytes,
            disk_failed=parts.health.failure,
        )

    async def close(self) -> None:
        """Closes everything, after `run` has ended. The core reads the end of the channel."""
        with trio.CancelScope(shield=True):  # bounded: no request is left, only a few closes
            self._view.drop()
            self.parts.channel.close()
            await self.parts.threads.run(self.parts.close)

    async def __aenter__(self) -> WorkerEngine:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.close()

    async def _listen(self, welcome: trio.Event, scope: trio.CancelScope) -> None:
        channel = self.parts.channel
        while frames := await channel.receive():
            for frame in frames:
                self._handle(decode_from_core(frame), welcome)
        self._is_core_gone = True
        scope.cancel()

    def _handle(self, message: FromCore, welcome: trio.Event) -> None:
        parts = self.parts
        match message:
            case Results():
                parts.commit.on_results(message)
            case LaneGranted() | LaneRefused():
                parts.lanes.on_answer(message)
            case Retire():
                parts.access.retire(message.segment_id)
                parts.release()
            case Forget():
                parts.access.forget(message.segment_id)
                parts.released.discard(message.segment_id)
            case Welcome():
                if message.version != PROTOCOL_VERSION:
                    raise FormatError(f"the core speaks version {message.version}")
                welcome.set()

    async def _sweep(self) -> None:
        while True:
            if self.parts.lanes.busy:
                await self.parts.threads.run(self._read_space)
            else:
                await self._view.wait_begun()
            await trio.sleep(VIEW_SECONDS)
            self._view.drop()
            self.parts.release()  # where a read that hung has ended after its pin

    def _read_space(self) -> None:
        """While large bodies stream, what they may allocate ahead follows from how much is free."""
        try:
            self.parts.space.refresh_when_old()
        except DiskFailed as error:
            self.parts.health.latch(str(error))
