"""A cluster with a real layout and nodes that move a little at each look, for commands about it.

What it is not: nothing runs and no byte is moved. The history, the plans and the pictures are those
of the daemon; what nodes say of themselves is made up here.
"""

from __future__ import annotations

from pathlib import Path

from cluster.layout.errors import LayoutError, TransitionUnderWay
from cluster.layout.keeping import next_step
from cluster.layout.layout import LayoutHistory, NodeRole
from rs3gwd.base.admin import (
    AdminAnswer,
    AnyAdminRequest,
    ClusterLayoutApply,
    ClusterLayoutPlan,
    ClusterLayoutRetreat,
    ClusterLayoutShow,
    ClusterPictureShow,
    ClusterRemove,
)
from rs3gwd.base.cluster_admin import (
    ClusterPicture,
    Health,
    LayoutBusy,
    LayoutRefused,
    NodeHoldsCopies,
    NodePicture,
    NodeReport,
    NoSuchNode,
    NotRemoved,
)
from rs3gwd.base.errors import Rs3gwError
from rs3gwd.daemon.cluster_layout import draw_layout, draw_plan, make_plan
from tools.rs3gwctl.session import SessionError

TERABYTE = 10**12
LACKING_BYTES = 64 << 20
"""What a node that was given something lacks at first; a quarter is there by each look."""


class LayoutCluster:
    """Nodes 1 to `count`, of a terabyte each and in no zone; node 1 is the one that is asked.

    `asked` are the requests that were to change something; `down` do not answer and do nothing.
    """

    def __init__(self, count: int, *, holders: int = 3) -> None:
        self.roles = {node: NodeRole("", TERABYTE) for node in range(1, holders + 1)}
        self.removed: set[int] = set()
        self.down: set[int] = set()
        self.asked: list[AnyAdminRequest] = []
        self.silence: list[SessionError] = []
        self.lacking: dict[int, int] = {}
        self.history: LayoutHistory | None = None
        while not self.is_settled():
            self.move()
        for node in range(holders + 1, count + 1):
            self.roles[node] = NodeRole("", TERABYTE)
            while not self.is_settled():
                self.move()

    def is_settled(self) -> bool:
        """Whether the cluster has nothing to do."""
        history = self.history
        return history is not None and self._step() is None and len(history.versions) == 1

    def members(self) -> list[int]:
        """Who belongs to the cluster."""
        return sorted(set(self.roles) - self.removed)

    def administer(self, data: Path, request: AnyAdminRequest) -> AdminAnswer:
        """As `session.administer`. Raises SessionError."""
        if self.silence:
            raise self.silence.pop(0)
        try:
            return self._answer(request)
        except Rs3gwError as error:
            raise SessionError(f"{error.code}: {error}", code=error.code) from error

    def move(self) -> None:
        """What happens within a second."""
        step = self._step()
        if step is not None:
            self.history = step
            return
        history = self.history
        if history is None:
            return
        version = history.current.version
        for node in sorted(set(history.participants()) - self.down - self.removed):
            self.history = history = self._said(history, node, version)

    def _step(self) -> LayoutHistory | None:
        step = next_step(
            self.history,
            members=self.members(),
            removed=self.removed,
            told=self.roles.get,
            copies=3,
        )
        return None if step == self.history else step

    def _said(self, history: LayoutHistory, node: int, version: int) -> LayoutHistory:
        """The history with the next word of a node."""
        if history.acknowledged.get(node, 0) < version:
            self.lacking[node] = LACKING_BYTES if _gains(history, node) else 0
            return history.acknowledge(node, version)
        if len(history.versions) == 1 or not history.all_acknowledged(version):
            return history
        left = self.lacking.get(node, 0) - LACKING_BYTES // 4
        self.lacking[node] = max(0, left)
        is_here = left <= 0 and history.synced.get(node, 0) < version
        return history.report_synced(node, version) if is_here else history

    def _answer(self, request: AnyAdminRequest) -> AdminAnswer:
        match request:
            case ClusterLayoutShow():
                picture = draw_layout(self.history, self._reports())
                self.move()
                return AdminAnswer(layout=picture)
            case ClusterLayoutPlan():
                return AdminAnswer(layout_plan=self._plan(request))
            case ClusterPictureShow():
                return AdminAnswer(cluster=self._picture())
            case ClusterLayoutApply():
                self._apply(request)
            case ClusterLayoutRetreat():
                self._retreat()
            case ClusterRemove():
                self._remove(request)
        self.asked.append(request)
        return AdminAnswer()

    def _reports(self) -> list[NodeReport]:
        up = set(self.members()) - self.down
        return [
            NodeReport(
                node, "1", [], 0, 0, 0, 0, True, 0, 0, 0,
                layout_compared=True, bytes_lacking=self.lacking.get(node, 0),
            )
            for node in sorted(up)
        ]  # fmt: skip

    def _picture(self) -> ClusterPicture:
        nodes = [
            NodePicture(
                node, "dead" if node in self.down else "alive", node not in self.down,
                "", "", "", "1", TERABYTE, 0, 0, None,
            )
            for node in self.members()
        ]  # fmt: skip
        return ClusterPicture("c", 1, 0, Health.HEALTHY, "go on", "go on", [], nodes, [])

    def _plan(self, request: ClusterLayoutPlan | ClusterLayoutApply):  # type: ignore[no-untyped-def]
        assert self.history is not None
        try:
            made = make_plan(
                self.history, request.change, members=self.members(), told=self.roles.get
            )
        except TransitionUnderWay as error:
            raise LayoutBusy(str(error)) from error
        except LayoutError as error:
            raise LayoutRefused(str(error)) from error
        if isinstance(request, ClusterLayoutPlan):
            return draw_plan(self.history.current, made)
        return made

    def _apply(self, request: ClusterLayoutApply) -> None:
        assert self.history is not None
        if request.version != self.history.current.version + 1:
            raise LayoutBusy(f"version {request.version} is not the next one any more")
        self.history = self.history.apply(self._plan(request))

    def _retreat(self) -> None:
        assert self.history is not None
        try:
            self.history = self.history.retreat()
        except LayoutError as error:
            raise LayoutRefused(str(error)) from error

    def _remove(self, request: ClusterRemove) -> None:
        assert self.history is not None
        if request.node == 1:
            raise NotRemoved("a node does not remove itself: say it on another one")
        if request.node not in self.roles:
            raise NoSuchNode(f"there is no node {request.node}")
        held = any(request.node in each for one in self.history.versions for each in one.sets)
        if held and not request.is_lost:
            raise NodeHoldsCopies(f"node {request.node} holds copies")
        self.removed.add(request.node)


def _gains(history: LayoutHistory, node: int) -> bool:
    if len(history.versions) == 1:
        return False
    former, current = history.versions
    return any(
        node in new and node not in old for old, new in zip(former.sets, current.sets, strict=True)
    )
