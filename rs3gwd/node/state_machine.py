"""The engine's groups behind the port `StateMachine` of the cluster library, and their bytes.

What it is not: no logic; the engine knows nothing of the cluster library, so that what crosses is
turned from one's values into the other's here.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager

from cluster.base.ports import Applied, GroupEntry
from rs3gwd.base.ports import Clock, Threads
from rs3gwd.engine.become_cluster import become_cluster
from rs3gwd.engine.blob_depot import BlobDepot
from rs3gwd.engine.engine import Engine
from rs3gwd.engine.group_machine import GroupMachine
from rs3gwd.engine.groups import GroupMarkRecord


class GroupStateMachine:
    """The port `cluster.base.ports.StateMachine` over one engine; see the port."""

    def __init__(self, machine: GroupMachine) -> None:
        self._machine = machine

    def applied(self, group: int) -> Applied | None:
        found = self._machine.applied(group)
        return None if found is None else Applied(found.index, found.term, found.members)

    async def apply(self, entries: Sequence[GroupEntry]) -> Sequence[bytes]:
        return await self._machine.apply(entries)

    def lacks_room(self) -> bool:
        return self._machine.lacks_room

    @asynccontextmanager
    async def snapshot(self, group: int) -> AsyncIterator[tuple[Applied, AsyncIterator[bytes]]]:
        async with self._machine.snapshot(group) as (mark, chunks):
            yield Applied(mark.index, mark.term, mark.members), chunks

    async def install(self, group: int, mark: Applied, chunks: AsyncIterator[bytes]) -> None:
        given = GroupMarkRecord(mark.index, mark.term, mark.members)
        await self._machine.install(group, given, chunks)


async def open_state_machine(
    engine: Engine,
    *,
    groups: int,
    mark: Applied | None,
    clock: Clock,
    threads: Threads,
    wants: Callable[[bytes], bool] = lambda _: True,
) -> tuple[GroupStateMachine, BlobDepot]:
    """The state machine of a running engine and the depot of its bytes.

    A single node's store becomes one of a cluster first: with `mark` where the logs of all groups
    begin, or None on a node that gets its groups by snapshots and whose store has no bucket.
    `wants` says whether the layout wants a blob kept here. Raises DiskFull, DiskFailed.
    """
    parts = engine.parts
    given = None if mark is None else GroupMarkRecord(mark.index, mark.term, mark.members)
    await become_cluster(parts.environment, parts.pipeline, groups, given)
    machine = GroupMachine(parts.environment, parts.pipeline, threads, clock, wants=wants)
    return GroupStateMachine(machine), BlobDepot(parts.stage_parts, parts.pipeline, clock)
