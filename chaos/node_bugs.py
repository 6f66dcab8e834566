"""Bugs to be planted into whole nodes, each of which `chaos.node_seeds` must find.

They are of the layers above the groups: how a node proves what it shows, what it tells a client,
where a condition is checked, what a restart and a snapshot keep. Each is a change of one method for
the length of a run; bugs of Raft and of its host are in `cluster.testing`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any
from unittest.mock import patch

import msgspec

from rs3gwd.base.commands import UNCONDITIONAL, AnyCommand, CommandResult, PutObject
from rs3gwd.base.errors import NoSuchKey, OutcomeUnknown, Overloaded
from rs3gwd.engine import queries
from rs3gwd.engine.apply import Applied, Applier
from rs3gwd.engine.apply_state import ApplyState
from rs3gwd.engine.conditions import check_conditions
from rs3gwd.engine.environment import Transaction
from rs3gwd.engine.group_rows import Row
from rs3gwd.engine.group_snapshots import SnapshotInstaller
from rs3gwd.engine.groups import SYSTEM_GROUP
from rs3gwd.engine.segments import Ledger
from rs3gwd.engine.versions import KeyVersions
from rs3gwd.node.cluster_store import StoreSession
from rs3gwd.node.layout_sweep import LayoutSweep
from rs3gwd.node.proposing import Proposer

Patch = tuple[type, str, Any]


def _read_without_proof() -> Patch:
    """A look-up shows what this node has, current or not."""

    async def at_once(self: StoreSession, bucket: str, key: bytes) -> None:
        return None

    return StoreSession, "_prove_key", at_once


def _read_proves_system_only() -> Patch:
    """A look-up proves that the bucket is current, and forgets the key's group."""

    async def system(self: StoreSession, bucket: str, key: bytes) -> None:
        await self._prove({SYSTEM_GROUP})

    return StoreSession, "_prove_key", system


def _at_once_without_proof() -> Patch:
    """A request that could be answered at once is, current or not."""

    def at_once(self: StoreSession) -> bool:
        self._proved = self._own_groups()
        self._was_proved_at_once = True
        return True

    return StoreSession, "prove_now", at_once


def _listing_without_proof() -> Patch:
    """A listing shows what this node has, current or not."""

    async def at_once(self: StoreSession) -> None:
        return None

    return StoreSession, "_prove_all", at_once


def _listing_misses_a_group() -> Patch:
    """A listing merges all groups and proves all but the last."""

    async def but_one(self: StoreSession) -> None:
        await self._prove(set(self._parts.proposer.all_groups[:-1]))

    return StoreSession, "_prove_all", but_one


def _unknown_told_as_refused() -> Patch:
    """A write without an answer in time is told to have had no effect."""
    propose = Proposer.propose

    async def refuse(
        self: Proposer, group: int, command: AnyCommand, data: bytes | None = None
    ) -> CommandResult:
        try:
            return await propose(self, group, command, data)
        except OutcomeUnknown as unknown:
            raise Overloaded("no answer in time") from unknown

    return Proposer, "propose", refuse


def _condition_checked_before() -> Patch:
    """A condition is checked where the request came in, and the command goes without it."""
    propose = Proposer.propose

    async def check_first(
        self: Proposer, group: int, command: AnyCommand, data: bytes | None = None
    ) -> CommandResult:
        if isinstance(command, PutObject) and command.conditions != UNCONDITIONAL:
            await self.wait_current((group,))
            current = None
            try:
                current = self._engine.look_up(
                    queries.get_version, command.bucket, command.key, None
                )
            except NoSuchKey:
                current = None
            check_conditions(command.conditions, current)
            command = msgspec.structs.replace(command, conditions=UNCONDITIONAL)
        return await propose(self, group, command, data)

    return Proposer, "propose", check_first


def _last_writer_by_clock() -> Patch:
    """Of two writes the one with the later time of day stays, whichever came later."""
    apply = Applier.apply

    def by_clock(self: Applier, command: AnyCommand) -> Applied:
        if isinstance(command, PutObject):
            state: ApplyState = self.state
            bucket = state.bucket(command.bucket)
            live = KeyVersions(state.txn, bucket.bucket_id, command.key).live()
            if live is not None and live.last_modified_ms > command.now_ms:
                return Applied(live, [])
        return apply(self, command)

    return Applier, "apply", by_clock


def _rows_kept_under_a_snapshot() -> Patch:
    """A snapshot is laid upon the rows that are there: what was deleted meanwhile is back."""

    def keep(self: SnapshotInstaller, txn: Transaction, ledger: Ledger, rows: list[Row]) -> None:
        return None

    return SnapshotInstaller, "_remove", keep


def _bodies_never_dropped() -> Patch:
    """A node keeps what the layout gives to others."""

    async def nothing(self: LayoutSweep) -> bool:
        return True

    return LayoutSweep, "sweep", nothing


BUGS: Mapping[str, Callable[[], Patch]] = {
    "bodies_never_dropped": _bodies_never_dropped,
    "condition_checked_before": _condition_checked_before,
    "last_writer_by_clock": _last_writer_by_clock,
    "listing_misses_a_group": _listing_misses_a_group,
    "at_once_without_proof": _at_once_without_proof,
    "listing_without_proof": _listing_without_proof,
    "read_proves_system_only": _read_proves_system_only,
    "read_without_proof": _read_without_proof,
    "rows_kept_under_a_snapshot": _rows_kept_under_a_snapshot,
    "unknown_told_as_refused": _unknown_told_as_refused,
}


@contextmanager
def planted(bug: str) -> Iterator[None]:
    """The bug is in the code for the length of the block; none for an empty name."""
    if not bug:
        yield
        return
    owner, name, method = BUGS[bug]()
    with patch.object(owner, name, method):
        yield
