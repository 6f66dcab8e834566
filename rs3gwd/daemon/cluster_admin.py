"""The cluster as operators have it, on one of its nodes: what it says of itself, and what it knows.

    cluster.report   nothing  ->  a NodeReport, as msgpack

Whoever is asked for a picture asks every member for its report, all at once, and waits at most
`REPORT_SECONDS_MAX`; a node that says nothing is shown as gossip believes it to be. No majority is
needed for that: it is wanted most when there is none. What is kept in the meantime: nothing.
"""

from __future__ import annotations

import msgspec
import trio

from cluster.base.errors import (
    ConfChangeRefused,
    HostStopped,
    IdentityError,
    NoLeader,
    PeerError,
)
from cluster.base.ports import Handlers, Liveness, Peers
from rs3gwd import __version__
from rs3gwd.base.admin import (
    AdminAnswer,
    AnyAdminRequest,
    ClusterAuthorityRevoke,
    ClusterAuthorityRotate,
    ClusterAuthorityShow,
    ClusterLayoutApply,
    ClusterLayoutPlan,
    ClusterLayoutRetreat,
    ClusterLayoutShow,
    ClusterPictureShow,
    ClusterRemove,
    ClusterTransfer,
)
from rs3gwd.base.cluster_admin import (
    TRANSFER_SECONDS_MAX,
    ClusterAdmin,
    ClusterPicture,
    GroupReport,
    LayoutChange,
    LayoutPicture,
    LayoutPlan,
    NodeReport,
    NoSuchGroup,
    NotAVoter,
    NotHandedOver,
    NotRemoved,
)
from rs3gwd.base.cluster_authority import AuthorityControl
from rs3gwd.base.errors import Rs3gwError
from rs3gwd.base.ports import Clock, Threads
from rs3gwd.config import Config
from rs3gwd.daemon.administering import AdminHandler
from rs3gwd.daemon.cluster_admin_picture import draw
from rs3gwd.daemon.cluster_layout import LayoutAdmin
from rs3gwd.daemon.cluster_nodes import ClusterNodes
from rs3gwd.engine.groups import SYSTEM_GROUP
from rs3gwd.node.cluster_node import ClusterNode

REPORT_METHOD = "cluster.report"
REPORT_SECONDS_MAX = 2.0


class NodeAdmin:
    """The port `ClusterAdmin` of one node; made before the transport runs."""

    def __init__(
        self,
        node: ClusterNode,
        *,
        config: Config,
        peers: Peers,
        handlers: Handlers,
        liveness: Liveness,
        clock: Clock,
        nodes: ClusterNodes,
        threads: Threads,
        authority: AuthorityControl,
    ) -> None:
        self.authority = authority
        self._threads = threads
        self._node = node
        self._nodes = nodes
        self._layout = LayoutAdmin(node.layout)
        self._config = config
        self._peers = peers
        self._liveness = liveness
        self._clock = clock
        self._begun_s = clock.monotonic()
        self._number = node.host.identity.node
        handlers.on_call(REPORT_METHOD, self._on_report)

    async def picture(self) -> ClusterPicture:
        """As the port says."""
        reports = await self._reports()
        return draw(
            reports,
            self._liveness.members(),
            cluster=self._node.host.identity.cluster,
            seen_by=self._number,
            at_ms=self._clock.now_ms(),
            layout=self._layout.picture(reports),
            copies_wanted=self._config.replication_factor,
            monotonic_s=self._clock.monotonic(),
        )

    async def _reports(self) -> list[NodeReport]:
        """What every member says of itself that answers in time, this one first."""
        reports = [await self._report()]

        async def ask(member: int) -> None:
            try:
                answer = await self._peers.call(
                    member, REPORT_METHOD, b"", timeout_s=REPORT_SECONDS_MAX
                )
                report = msgspec.msgpack.decode(answer, type=NodeReport)
            except (PeerError, msgspec.DecodeError):
                return  # the picture shows that it did not answer
            if report.node == member:
                reports.append(report)

        members = self._node.host.members(SYSTEM_GROUP)
        async with trio.open_nursery() as nursery:
            for member in sorted(members - {self._number}):
                nursery.start_soon(ask, member)
        return reports

    async def transfer_leader(self, group: int, node: int) -> None:
        """As the port says."""
        host = self._node.host
        known = next((each for each in host.status() if each.group == group), None)
        if known is None:
            raise NoSuchGroup(f"there is no group {group}")
        if node not in known.members.voters:
            raise NotAVoter(f"node {node} is no voter of group {group}")
        try:
            await host.transfer_leadership(group, node, TRANSFER_SECONDS_MAX)
        except NoLeader as error:
            raise NotHandedOver(str(error)) from error

    async def layout(self) -> LayoutPicture:
        """As the port says."""
        return self._layout.picture(await self._reports())

    async def plan_layout(self, change: LayoutChange) -> LayoutPlan:
        """As the port says."""
        return await self._layout.plan(change)

    async def apply_layout(self, change: LayoutChange, version: int) -> None:
        """As the port says."""
        await self._layout.apply(change, version)

    async def retreat_layout(self) -> None:
        """As the port says."""
        await self._layout.retreat()

    async def remove_node(self, node: int, *, is_lost: bool) -> None:
        """As the port says."""
        try:
            await self._nodes.remove(node, is_lost=is_lost)
        except (ConfChangeRefused, IdentityError, NoLeader, HostStopped) as error:
            raise NotRemoved(str(error)) from error

    async def _on_report(self, sender: int, payload: bytes) -> bytes:
        return msgspec.msgpack.encode(await self._report())

    async def _report(self) -> NodeReport:
        node, clock = self._node, self._node.clock
        lacking = await self._threads.run(node.layout.follower.lacking)
        engine = node.engine.statistics()
        return NodeReport(
            node=self._number,
            version=__version__,
            groups=[
                GroupReport(
                    group=each.group,
                    role=each.role,
                    leader=each.leader,
                    term=each.term,
                    commit_index=each.commit,
                    applied_index=each.applied,
                    voters=sorted(each.members.voters),
                    learners=sorted(each.members.learners),
                    lag=each.lag,
                )
                for each in node.host.status()
            ],
            hints_waiting=node.blobs.hints.waiting,
            partitions_waiting=node.blobs.hints.marked,
            blobs_missing=node.blobs.upkeep.overdue,
            blobs_suspect=node.blobs.mender.waiting,
            clock_proved=clock.is_proved,
            clock_held_back_ms=clock.held_back_ms,
            free_bytes=engine.free_bytes,
            free_bytes_reserve=self._config.free_bytes_reserve,
            disk_failed=engine.disk_failed or "",
            uptime_s=int(self._clock.monotonic() - self._begun_s),
            layout_compared=lacking.is_compared,
            blobs_lacking=lacking.blobs,
            bytes_lacking=lacking.bytes,
        )


def with_cluster(cluster: ClusterAdmin | None, handle: AdminHandler) -> AdminHandler:
    """A handler that knows the cluster, in front of one that knows the store; the same one for a
    node without a cluster."""
    if cluster is None:
        return handle

    async def handle_request(request: AnyAdminRequest) -> AdminAnswer:
        try:
            match request:
                case ClusterPictureShow():
                    return AdminAnswer(cluster=await cluster.picture())
                case ClusterTransfer():
                    await cluster.transfer_leader(request.group, request.node)
                    return AdminAnswer()
                case ClusterRemove():
                    await cluster.remove_node(request.node, is_lost=request.is_lost)
                    return AdminAnswer()
                case ClusterAuthorityShow():
                    return AdminAnswer(authority=await cluster.authority.show())
                case ClusterAuthorityRotate():
                    picture = await cluster.authority.rotate(
                        here=request.here, without=request.without
                    )
                    return AdminAnswer(authority=picture)
                case ClusterAuthorityRevoke():
                    return AdminAnswer(revoked=await cluster.authority.revoke(request.what))
                case ClusterLayoutShow():
                    return AdminAnswer(layout=await cluster.layout())
                case ClusterLayoutPlan():
                    return AdminAnswer(layout_plan=await cluster.plan_layout(request.change))
                case ClusterLayoutApply():
                    await cluster.apply_layout(request.change, request.version)
                    return AdminAnswer()
                case ClusterLayoutRetreat():
                    await cluster.retreat_layout()
                    return AdminAnswer()
        except Rs3gwError as error:
            return AdminAnswer(error=error.code, message=str(error))
        return await handle(request)

    return handle_request
