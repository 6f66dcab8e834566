"""The caretaker of the layout: takes the steps that need no operator.

What it is not: it decides on none of them (`cluster.layout.keeping`). It runs on every node and
works on the one that leads the system group; two that take themselves for it do no harm, since a
change is agreed only from the history it was made from.
"""

from __future__ import annotations

import structlog
import trio
from msgspec import Struct

from cluster.base.ports import Liveness
from cluster.drivers.groups import GroupHost
from cluster.layout.errors import LayoutError
from cluster.layout.keeping import next_step
from cluster.layout.layout import LayoutHistory, NodeRole
from rs3gwd.base.cluster_nodes import NodeState
from rs3gwd.base.errors import DiskError, OutcomeUnknown, Overloaded
from rs3gwd.engine.cluster_nodes import list_nodes
from rs3gwd.engine.face import EngineFace
from rs3gwd.engine.groups import SYSTEM_GROUP
from rs3gwd.node.layout_changes import LayoutChanges

UNTOLD_CAPACITY_BYTES = 1 << 40
"""Of each node alike where nobody tells capacities."""


class KeepingSettings(Struct, frozen=True):
    """Seconds between two looks."""

    interval_s: float = 1.0


class LayoutKeeper:
    """Belongs to the event loop; `run` must be active."""

    def __init__(
        self,
        host: GroupHost,
        engine: EngineFace,
        changes: LayoutChanges,
        *,
        liveness: Liveness | None,
        copies: int,
        voters_max: int,
        settings: KeepingSettings,
    ) -> None:
        self._host = host
        self._engine = engine
        self._changes = changes
        self._liveness = liveness
        self._copies = copies
        self._voters_max = voters_max
        self._settings = settings
        self._log = structlog.get_logger()

    async def run(self) -> None:
        """Keeps until cancelled."""
        while True:
            await trio.sleep(self._settings.interval_s)
            if not self._host.leads(SYSTEM_GROUP):
                continue
            try:
                if await self._changes.change(self._step):
                    self._log.info("the layout was changed for the members that there are")
            except (Overloaded, OutcomeUnknown, DiskError) as error:
                self._log.info("the layout is kept later", reason=str(error))
            except LayoutError as error:
                self._log.warning("the layout cannot follow the members", reason=str(error))

    def told(self, node: int) -> NodeRole | None:
        """What a node tells of itself; None where nothing was heard yet."""
        if self._liveness is None:
            return NodeRole("", UNTOLD_CAPACITY_BYTES)
        for view in self._liveness.members():
            if view.node == node and view.metadata.capacity_bytes > 0:
                return NodeRole(view.metadata.zone, view.metadata.capacity_bytes)
        return None

    def members(self) -> tuple[int, ...]:
        """Those of the system group who have caught up with it: its voters and, once there are as
        many voters as there are to be, those who only learn."""
        status = next((each for each in self._host.status() if each.group == SYSTEM_GROUP), None)
        if status is None:
            return ()
        voters, learners = tuple(status.members.voters), tuple(status.members.learners)
        return voters if len(voters) < self._voters_max else tuple(sorted(voters + learners))

    def _step(self, history: LayoutHistory | None) -> LayoutHistory | None:
        records = self._engine.look_up(list_nodes)
        going = {each.number for each in records if each.state is not NodeState.MEMBER}
        return next_step(
            history,
            members=[node for node in self.members() if node not in going],
            removed={each.number for each in records if each.state is NodeState.REMOVED},
            told=self.told,
            copies=self._copies,
        )
