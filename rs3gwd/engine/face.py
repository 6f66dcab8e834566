"""What everything above the engine sees of it, whichever process it is in.

What it is not: no code. `Engine` (the core process, or a node without workers) and `WorkerEngine`
(a frontend process) both have this face, so that `rs3gwd.node.local` and all above are the same in
both.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from typing import Concatenate, ParamSpec, Protocol, TypeVar

import trio

from rs3gwd.base.commands import AnyCommand, CommandResult
from rs3gwd.base.memory import MemoryPool
from rs3gwd.base.ports import BodyReader, Stage, StagedBlob
from rs3gwd.base.records import Durability, VersionRecord
from rs3gwd.engine.environment import Transaction

P = ParamSpec("P")
T = TypeVar("T")


class EngineFace(Protocol):
    """An open store; `run` must be active while it is used."""

    @property
    def memory(self) -> MemoryPool:
        """The memory that the bodies of this process share."""
        ...

    @property
    def disk_failure(self) -> str | None:
        """Why the disk takes no more writes, or None while it does."""
        ...

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Runs the engine's tasks until cancelled. What is queued then is refused, unchanged."""
        ...

    def look_up(
        self, query: Callable[Concatenate[Transaction, P], T], *args: P.args, **options: P.kwargs
    ) -> T:
        """`query` over the state of the last commit: it sees all that was acknowledged before."""
        ...

    def stage(
        self, *, size_hint: int | None, durability: Durability
    ) -> AbstractAsyncContextManager[Stage]:
        """A place for one body; see `rs3gwd.base.ports.Stage`."""
        ...

    async def submit(self, command: AnyCommand, staged: StagedBlob | None = None) -> CommandResult:
        """Commits a command and the body it names; see `ObjectStore.submit`."""
        ...

    def open_body(
        self, version: VersionRecord, start: int, end: int
    ) -> AbstractAsyncContextManager[BodyReader]:
        """Verified bytes of a version. Raises (on entry) VersionGone, DataCorrupt."""
        ...

    def read_small(self, version: VersionRecord) -> bytes | None:
        """A small body that is at hand, verified; None where `open_body` must be used."""
        ...

    async def close(self) -> None:
        """Closes everything, after `run` has ended."""
        ...
