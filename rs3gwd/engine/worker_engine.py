"""The engine of a frontend process: reads by itself, writes bytes itself, lets the core commit.

What it is not: it never writes LMDB and makes, seals or removes no segment; the core process does.
"""

from __future__ import annotations

import socket
from collections.abc import Callable
from typing import Concatenate, ParamSpec, TypeVar

import trio
from msgspec import Struct

from rs3gwd.base.commands import AnyCommand, CommandResult
from rs3gwd.base.errors import Rs3gwError
from rs3gwd.base.memory import MemoryPool
from rs3gwd.base.ports import Clock, Disk, Random, StagedBlob, Threads
from rs3gwd.base.records import Durability, VersionRecord
from rs3gwd.engine.bodies import OpenBody
from rs3gwd.engine.engine import EngineSettings
from rs3gwd.engine.environment import Transaction
from rs3gwd.engine.events import Observer
from rs3gwd.engine.shared_state import SharedState
from rs3gwd.engine.stage import BodyStage

P = ParamSpec("P")
T = TypeVar("T")


class CoreGone(Rs3gwError):
    """The core process is gone: whether it committed what was handed to it is not known."""


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


class WorkerEngine:
    """An open store in a worker process; see `rs3gwd.engine.face.EngineFace`."""

    memory: MemoryPool
    disk_failure: str | None

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
        `descriptors_max` and `lanes_max` count per process. Events go to `observer` here and, with
        the worker's number, to the core's observer: where the core logs and counts them, give
        none. Raises DiskFailed, DataCorrupt, FormatError. `close` it at the end.
        """
        raise NotImplementedError

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Runs the engine's tasks until cancelled; started once the core has answered.

        Raises `CoreGone` when the core's end of the channel closes: the process must end then,
        whatever waits is told that its outcome is unknown.
        """
        raise NotImplementedError

    def stage(self, *, size_hint: int | None, durability: Durability) -> BodyStage:
        """A place for one body, an async context manager; see `rs3gwd.base.ports.Stage`."""
        raise NotImplementedError

    async def submit(self, command: AnyCommand, staged: StagedBlob | None = None) -> CommandResult:
        """Commits a command and the body it names; see `rs3gwd.base.ports.ObjectStore.submit`."""
        raise NotImplementedError

    def open_body(self, version: VersionRecord, start: int, end: int) -> OpenBody:
        """Verified bytes of a version, an async context manager giving a BodyReader."""
        raise NotImplementedError

    def read_small(self, version: VersionRecord) -> bytes | None:
        """A small body that is in the page cache, verified; None where `open_body` must be used."""
        raise NotImplementedError

    def look_up(
        self, query: Callable[Concatenate[Transaction, P], T], *args: P.args, **options: P.kwargs
    ) -> T:
        """`query` over the state of the last commit: it sees all that was acknowledged before."""
        raise NotImplementedError

    def statistics(self) -> WorkerStatistics:
        """The figures of this moment."""
        raise NotImplementedError

    async def close(self) -> None:
        """Closes everything, after `run` has ended."""
        raise NotImplementedError
