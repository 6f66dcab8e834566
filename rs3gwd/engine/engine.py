"""The engine of one node: what the rest of the daemon sees of this package.

What it is not: it has no logic of its own. It opens and joins the parts, runs their tasks, and
passes calls on:

    stage  -> BodyStage         receives a body into memory or a lane       (stage)
    submit -> Pipeline          group commit of commands and bodies         (pipeline, commit)
    open_body, read_small       verified bytes                              (bodies, reader)
    look_up                     a query over a read transaction             (environment)

The boundary of DESIGN D5 runs between the first line and the others: stages know no command.
"""

from __future__ import annotations

import os
from contextlib import ExitStack
from functools import partial
from types import TracebackType
from typing import ParamSpec, TypeVar

import trio
from msgspec import Struct

from rs3gwd.base.commands import AnyCommand, CommandResult
from rs3gwd.base.errors import DiskFailed
from rs3gwd.base.memory import MemoryPool
from rs3gwd.base.ports import Clock, Disk, Random, StagedBlob, Threads
from rs3gwd.engine.blobs import BlobIds, SegmentState
from rs3gwd.engine.bodies import Bodies
from rs3gwd.engine.commit import Committer
from rs3gwd.engine.compaction import Compactor
from rs3gwd.engine.environment import (
    MAP_BYTES_DEFAULT,
    Environment,
    translate_error,
)
from rs3gwd.engine.events import Observer, SilentObserver
from rs3gwd.engine.health import DiskHealth, SpaceGuard
from rs3gwd.engine.housekeeping import Housekeeper
from rs3gwd.engine.lanes import LanePool, SmallLane
from rs3gwd.engine.pipeline import Pipeline
from rs3gwd.engine.recovery import find_store, recover_unsynced
from rs3gwd.engine.segment_access import SegmentAccess
from rs3gwd.engine.segments import SegmentStore
from rs3gwd.engine.shared_state import SharedState
from rs3gwd.engine.stage import StagedBody, StageParts
from rs3gwd.engine.store_reads import StoreReads
from rs3gwd.engine.unsynced import UnsyncedBlobs
from rs3gwd.engine.view import View
from rs3gwd.engine.workers import Workers

P = ParamSpec("P")
T = TypeVar("T")

LOCK_PATH = "LOCK"
ENVIRONMENT_DIRECTORY = "meta"


class EngineSettings(Struct, frozen=True):
    """The bounds and intervals of an engine. Bytes, seconds, milliseconds as the names say.

    `small_bytes_max`: bodies up to it stay in memory and are appended by the commit together.
    Measured per body of 256 KiB with 16 writers: 0.38 ms so, 0.77 in a lane of its own; with
    512 KiB the lane is as fast. `lanes_max`: large bodies received at one moment.
    `inline_bytes_max`: bodies up to it go into their rows when few are committed together; 0: none.
    `stage_memory_bytes_max`: the pool of `rs3gwd.base.memory`, which others may share.
    `upload_retention_ms` None keeps unfinished uploads for ever.
    """

    segment_bytes: int = 256 << 20
    allocate_bytes: int = 64 << 20
    small_bytes_max: int = 256 << 10
    inline_bytes_max: int = 4096
    lanes_max: int = 256
    stage_memory_bytes_max: int = 1 << 30
    descriptors_max: int = 512
    free_bytes_reserve: int = 256 << 20
    ballast_bytes: int = 16 << 20
    map_bytes: int = MAP_BYTES_DEFAULT
    compaction_dead_ratio: float = 0.5
    compaction_interval_s: float = 60.0
    compaction_bytes_per_s: int = 64 << 20
    upload_retention_ms: int | None = 7 * 24 * 3600 * 1000
    node: int = 0


class EngineStatistics(Struct, frozen=True):
    """Figures of an engine at one moment; counts are since the start."""

    commands: int
    batches: int
    batch_max: int
    syncs: int
    small_bodies: int
    queue_count: int
    lanes_busy: int
    lanes_idle: int
    stage_memory_bytes: int
    unsynced_blobs: int
    segments_active: int
    segments_sealed: int
    segments_missing: int
    live_bytes: int
    dead_bytes: int
    free_bytes: int
    metadata_bytes: int
    segments_compacted: int
    versions_lost_at_start: int
    disk_failed: str | None


class EngineParts:
    """Everything that `Engine.open` joins, built in a thread; `core_service` uses some of it."""

    def __init__(
        self,
        path: str,
        *,
        disk: Disk,
        clock: Clock,
        random: Random,
        threads: Threads,
        settings: EngineSettings,
        observer: Observer,
    ) -> None:
        self.disk = disk
        self.observer = observer
        self.threads = threads
        self.settings = settings
        self.shared = SharedState.create()
        self.health = DiskHealth(observer, on_failure=lambda _: self.shared.set_failed())
        self.space = SpaceGuard(
            disk,
            clock,
            threads,
            observer,
            reserve_bytes=settings.free_bytes_reserve,
            ballast_bytes=settings.ballast_bytes,
        )
        with ExitStack() as undo:
            undo.callback(self.shared.close)
            self.lock = _take_lock(disk)
            undo.callback(disk.close, self.lock)
            self.environment = Environment.open(
                os.path.join(path, ENVIRONMENT_DIRECTORY), map_bytes=settings.map_bytes
            )
            undo.callback(self.environment.close)
            self._recover(disk, clock, random, observer)
            undo.pop_all()
        self._join(clock, random, observer)

    def _recover(self, disk: Disk, clock: Clock, random: Random, observer: Observer) -> None:
        try:
            found = find_store(self.environment, disk, clock, random, observer)
            self.space.refresh()
            self.space.restore_ballast()
        except OSError as error:
            raise translate_error(error) from error
        self.missing = found.missing
        self.store = SegmentStore(
            disk,
            clock,
            self.health,
            self.space,
            store_id=found.store_id,
            segment_bytes=self.settings.segment_bytes,
            allocate_bytes=self.settings.allocate_bytes,
            rows=found.rows,
            next_id=found.next_id,
        )
        self.lost = recover_unsynced(self.environment, self.store, clock, observer)

    def _open_lanes(self) -> None:
        self.pool = LanePool(self.store, self.threads, lanes_max=self.settings.lanes_max)
        for segment in self.store.segments.values():
            if segment.record.state is SegmentState.ACTIVE and segment.id not in self.missing:
                self.pool.file(segment)
        self.small_lane = SmallLane(self.store, segment=self.pool.take_idle())

    def _join(self, clock: Clock, random: Random, observer: Observer) -> None:
        settings, store, threads = self.settings, self.store, self.threads
        self._open_lanes()
        self.unsynced = UnsyncedBlobs()
        self.workers = Workers(threads)
        self.memory = MemoryPool(settings.stage_memory_bytes_max)
        self.committer = Committer(
            self.environment,
            store,
            self.small_lane,
            self.unsynced,
            health=self.health,
            space=self.space,
            observer=observer,
            shared=self.shared,
            inline_bytes_max=settings.inline_bytes_max,
        )
        self.view = View(self.environment, self.shared)
        self.pipeline = Pipeline(self.committer, self.view, threads, self.health)
        self.access = SegmentAccess(
            store.disk,
            threads,
            descriptors_max=settings.descriptors_max,
            exists=store.segments.__contains__,
        )
        self.bodies = Bodies(
            self.environment, self.view, store.disk, self.access, self.workers, threads, observer
        )
        self.stage_parts = StageParts(
            blob_ids=BlobIds(clock, random, node=settings.node),
            health=self.health,
            memory=self.memory,
            pool=self.pool,
            small_bytes_max=settings.small_bytes_max,
            space=self.space,
            store=store,
            workers=self.workers,
        )
        self.housekeeper = Housekeeper(
            store,
            self.environment,
            self.pipeline,
            access=self.access,
            clock=clock,
            health=self.health,
            pool=self.pool,
            small_lane=self.small_lane,
            space=self.space,
            threads=threads,
            unsynced=self.unsynced,
            upload_retention_ms=settings.upload_retention_ms,
        )
        self.compactor = Compactor(
            store,
            self.environment,
            self.pipeline,
            access=self.access,
            health=self.health,
            observer=observer,
            pool=self.pool,
            space=self.space,
            threads=threads,
            dead_ratio=settings.compaction_dead_ratio,
            interval_s=settings.compaction_interval_s,
            bytes_per_s=settings.compaction_bytes_per_s,
            unlink_retired=self.housekeeper.unlink_retired,
        )


class Engine(StoreReads):
    """An open store. Made by `open`; `run` must be active for anything but `environment` reads."""

    def __init__(self, parts: EngineParts) -> None:
        self.parts = parts
        super().__init__(parts.view, parts.bodies, parts.stage_parts)
        self.environment = parts.environment
        self.memory = parts.memory
        self.shared = parts.shared

    @classmethod
    async def open(
        cls,
        path: str,
        *,
        disk: Disk,
        clock: Clock,
        random: Random,
        threads: Threads,
        settings: EngineSettings | None = None,
        observer: Observer | None = None,
    ) -> Engine:
        """Opens the data directory `path`, which `disk` also stands for, and recovers it.

        The cost grows with the number of segments and with what was unsynced at a crash, not with
        the data. Raises DiskFailed (the directory is in use, or cannot be read), DiskFull,
        DataCorrupt, FormatError. `close` it at the end.
        """
        build = partial(
            EngineParts,
            path,
            disk=disk,
            clock=clock,
            random=random,
            threads=threads,
            settings=settings or EngineSettings(),
            observer=observer or SilentObserver(),
        )
        return cls(await threads.run(build))

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Runs the engine's tasks until cancelled. What is queued then is refused, unchanged."""
        parts = self.parts
        async with trio.open_nursery() as nursery:
            await nursery.start(parts.workers.run)
            await nursery.start(parts.pipeline.run)
            nursery.start_soon(parts.housekeeper.run)
            nursery.start_soon(parts.compactor.run)
            task_status.started()

    async def submit(self, command: AnyCommand, staged: StagedBlob | None = None) -> CommandResult:
        """Commits a command and the body it names; see `rs3gwd.base.ports.ObjectStore.submit`."""
        assert staged is None or isinstance(staged, StagedBody)
        result: CommandResult = await self.parts.pipeline.submit(command, staged)
        return result

    async def tick(self) -> None:
        """One round of housekeeping now; for tests and tools."""
        await self.parts.housekeeper.tick()

    async def forget_uploads(self) -> int:
        """Drops uploads past their retention now; gives their number."""
        return await self.parts.housekeeper.forget_uploads()

    async def compact(self, *, dead_ratio: float | None = None) -> int:
        """Compacts every segment that is worth it now; gives their number."""
        return await self.parts.compactor.compact_all(dead_ratio=dead_ratio)

    @property
    def disk_failure(self) -> str | None:
        """Why the disk takes no more writes, or None while it does."""
        return self.parts.health.failure

    def statistics(self) -> EngineStatistics:
        """The figures of this moment."""
        parts = self.parts
        segments = [segment.record for segment in list(parts.store.segments.values())]
        committed = parts.committer.statistics
        return EngineStatistics(
            commands=committed.commands,
            batches=committed.batches,
            batch_max=committed.batch_max,
            syncs=committed.syncs,
            small_bodies=committed.small_bodies,
            queue_count=parts.pipeline.queue_count,
            lanes_busy=parts.pool.busy,
            lanes_idle=len(parts.pool.idle),
            stage_memory_bytes=parts.memory.bytes_held,
            unsynced_blobs=len(parts.unsynced),
            segments_active=sum(row.state is SegmentState.ACTIVE for row in segments),
            segments_sealed=sum(row.state is SegmentState.SEALED for row in segments),
            segments_missing=len(parts.missing),
            live_bytes=sum(row.live_bytes for row in segments),
            dead_bytes=sum(row.dead_bytes for row in segments),
            free_bytes=parts.space.free_bytes,
            metadata_bytes=parts.environment.statistics().used_bytes,
            segments_compacted=parts.compactor.compacted,
            versions_lost_at_start=parts.lost,
            disk_failed=parts.health.failure,
        )

    async def close(self) -> None:
        """Closes everything, after `run` has ended. Raises DiskFailed, DiskFull."""
        with trio.CancelScope(shield=True):  # bounded: no request is left, only a few closes
            self._view.drop()
            await self.parts.threads.run(self._close)

    async def __aenter__(self) -> Engine:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.close()

    def _close(self) -> None:
        parts = self.parts
        parts.access.close()
        try:
            if parts.health.failure is None:
                for segment in parts.store.segments.values():
                    parts.store.shrink(segment)
        finally:
            for segment in parts.store.segments.values():
                parts.store.close(segment)
            parts.environment.close()
            parts.disk.close(parts.lock)
            parts.shared.close()


def _take_lock(disk: Disk) -> int:
    try:
        return disk.lock(LOCK_PATH)
    except BlockingIOError as error:
        raise DiskFailed("the data directory is in use by another process") from error
    except OSError as error:
        raise translate_error(error) from error
