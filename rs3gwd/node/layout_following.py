"""This node on its way from one version of the layout to the next.

What it is not: it decides on no layout (`cluster.layout`, `layout_keeping`). A task looks at the
row of the layout, and goes through its part of a change in the order that `cluster.layout.layout`
asks for:

    a new row             bodies that begin now go by it
    older bodies ended    this node says that it obeys the version
    all obey it           it compares what it was given with what it has: what it lacks becomes
                          MISSING rows (`blob_hints`), which are fetched (`blob_upkeep`)
    nothing of that is    it says that it has all of the version; once all have, the one before is
    missing any more      dropped, and `layout_sweep` frees what is not its own any more

What it said is in the row; what it does in between is begun anew after a restart.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import structlog
import trio
from msgspec import Struct

from cluster.layout.errors import LayoutError
from cluster.layout.layout import LayoutHistory, partition_of
from rs3gwd.base.errors import DiskError, OutcomeUnknown, Overloaded
from rs3gwd.engine import hints as hint_rows
from rs3gwd.engine.engine import Engine
from rs3gwd.engine.group_blobs import list_missing
from rs3gwd.engine.tables import Table
from rs3gwd.node.blob_fanout import Fanout
from rs3gwd.node.blob_hints import BlobHints
from rs3gwd.node.layout_changes import LayoutChanges
from rs3gwd.node.placement import LayoutPlacement

ROWS_MAX: Final = 1000
"""Missing blobs looked at in one step; each takes some microseconds."""

COUNTED_MAX: Final = 100_000
"""Missing blobs whose bytes are added up for people; more are estimated."""


Word = Callable[[LayoutHistory], LayoutHistory]


class FollowingSettings(Struct, frozen=True):
    """Seconds between two looks at the row."""

    interval_s: float = 0.5


class Lacking(Struct, frozen=True):
    """How far this node is with a change: whether it knows what it lacks, and that."""

    is_compared: bool
    blobs: int
    bytes: int


class LayoutFollower:
    """Belongs to the event loop; `run` must be active."""

    def __init__(
        self,
        node: int,
        engine: Engine,
        *,
        placement: LayoutPlacement,
        fanout: Fanout,
        hints: BlobHints,
        changes: LayoutChanges,
        settings: FollowingSettings,
    ) -> None:
        self._node = node
        self._engine = engine
        self._placement = placement
        self._fanout = fanout
        self._hints = hints
        self._changes = changes
        self._settings = settings
        self._asked_version = 0
        self._last_lacking: bytes | None = None
        """Up to this id, blobs that were missing when the comparison had ended."""
        self._log = structlog.get_logger()

    async def run(self) -> None:
        """Follows until cancelled. Raises LayoutDamaged, DataCorrupt, FormatError."""
        while True:
            try:
                await self._step()
            except (Overloaded, OutcomeUnknown, DiskError) as error:
                self._log.info("the layout is followed later", reason=str(error))
            await trio.sleep(self._settings.interval_s)

    def look(self) -> LayoutHistory | None:
        """Goes by the row as it is now."""
        record = self._changes.record()
        if record is not None and record.revision != self._placement.revision:
            version = self._placement.version
            history = self._placement.take(record)
            if history.current.version != version:
                self._log.info("the layout has changed", version=history.current.version)
        return self._placement.history

    def lacking(self) -> Lacking:
        """For people: what is yet to be fetched."""
        with self._engine.environment.read() as txn:
            blobs = txn.count(Table.MISSING)
            sizes = [row.size_bytes for _, row in list_missing(txn, limit=COUNTED_MAX)]
        counted = max(1, len(sizes))
        return Lacking(self._is_compared(), blobs, sum(sizes) * max(blobs, counted) // counted)

    async def _step(self) -> None:
        history = self.look()
        if history is None:
            return
        version = history.current.version
        node = self._node
        is_asked = node in history.participants()
        if is_asked and history.acknowledged.get(node, 0) < version:
            if self._fanout.obeyed_version >= version:
                await self._say(lambda known: known.acknowledge(node, version))
        elif len(history.versions) > 1 and history.all_acknowledged(version):
            await self._fill(history)

    async def _fill(self, history: LayoutHistory) -> None:
        """Gets what the newest version gives this node, and says when it has it."""
        node, version = self._node, history.current.version
        if node not in history.current.roles or history.synced.get(node, 0) >= version:
            return
        if self._asked_version != version:
            gained = _gained(history, node)
            if gained:
                await self._hints.compare_later(gained)
            self._asked_version = version
            self._last_lacking = None
        if not self._is_compared():
            return
        if self._last_lacking is None:
            self._last_lacking = self._newest_missing()
        if not self._lacks_something(history):
            await self._say(lambda known: known.report_synced(node, version))

    def _is_compared(self) -> bool:
        return not self._engine.look_up(hint_rows.list_own_partitions)

    def _newest_missing(self) -> bytes:
        with self._engine.environment.read() as txn, txn.cursor(Table.MISSING) as cursor:
            return cursor.key() if cursor.last() else b""

    def _lacks_something(self, history: LayoutHistory) -> bool:
        """Whether one of the blobs is missing that were so when the comparison had ended, and that
        the newest version gives this node."""
        assert self._last_lacking is not None, "the comparison has ended"
        after, current = b"", history.current
        while True:
            rows = self._engine.look_up(list_missing, after=after, limit=ROWS_MAX)
            for blob_id, _ in rows:
                if blob_id > self._last_lacking:
                    return False
                if self._node in current.replicas_of(partition_of(blob_id, len(current.sets))):
                    return True
            if len(rows) < ROWS_MAX:
                return False
            after = rows[-1][0]

    async def _say(self, word: Word) -> None:
        """Says a word; one that does not fit the history any more is not said."""

        def step(known: LayoutHistory | None) -> LayoutHistory | None:
            return None if known is None else word(known)

        try:
            await self._changes.change(step)
        except LayoutError as error:
            self._log.info("the layout has moved on", reason=str(error))


def _gained(history: LayoutHistory, node: int) -> list[int]:
    """The partitions that the newest version gives a node and the one before does not."""
    before, after = history.versions[0].sets, history.current.sets
    return [
        partition
        for partition, (old, new) in enumerate(zip(before, after, strict=True))
        if node in new and node not in old
    ]
