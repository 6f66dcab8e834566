"""One node of a cluster: its engine, its groups, its bytes and their upkeep, joined.

What it is not: it opens no socket, no engine and no log; whoever builds it gives them, so that
whole nodes run in a test over a network in memory.

    engine -> GroupStateMachine -> GroupHost <- log, peers
           -> BlobDepot -> BlobParts
    all    -> ClusterStore, the port `ObjectStore`

A node begins in one of three ways: as one of the first members of a new cluster, on an empty
store or, alone, on the store of a single node, which so becomes a cluster of one; as a node that
joins, whose groups come by snapshots once the leaders have been told to add it; or again, from
what it has.
"""

from __future__ import annotations

import trio
from msgspec import Struct, field

from cluster.base.errors import IdentityError
from cluster.base.ports import Applied, Handlers, Liveness, Peers
from cluster.drivers.groups import GroupHost
from cluster.drivers.groups_frames import encode_members
from cluster.drivers.groups_log import Wal
from cluster.drivers.groups_settings import GroupSettings, Leaders
from cluster.raft.identity import NodeIdentity
from cluster.raft.messages import ConfState
from rs3gwd.base.ports import Clock, Random, Threads
from rs3gwd.engine.blob_depot import BlobDepot
from rs3gwd.engine.engine import Engine
from rs3gwd.engine.groups import GROUPS_DEFAULT, SYSTEM_GROUP, read_cluster
from rs3gwd.engine.tables import Table
from rs3gwd.node.blob_parts import BlobParts, BlobPorts, BlobSettings
from rs3gwd.node.bucket_coordinator import BucketCoordinator
from rs3gwd.node.cluster_store import ClusterParts, ClusterStore
from rs3gwd.node.hybrid_clock import HybridClock
from rs3gwd.node.layout_parts import LayoutParts, LayoutSettings
from rs3gwd.node.local import LocalDirectory
from rs3gwd.node.log_thread import LogThread
from rs3gwd.node.placement import COPIES_DEFAULT, LayoutPlacement
from rs3gwd.node.proposing import Proposer, ProposingSettings
from rs3gwd.node.state_machine import open_state_machine
from rs3gwd.node.upload_forgetter import UploadForgetter

FIRST_INDEX = FIRST_TERM = 1
"""Where the logs of all groups of a new cluster begin."""


def make_host_settings(leaders: Leaders = Leaders.TOGETHER) -> GroupSettings:
    """How the host of the groups of a node is set up."""
    return GroupSettings(proposal_bytes_max=4 << 20, pace_interval_s=0.4, leaders=leaders)


class ClusterSettings(Struct, frozen=True):
    """How a node of a cluster works. `groups` counts the index groups, and is fixed when the
    cluster is made; `copies` is on how many nodes the bytes of a blob are kept as soon as there are
    so many; `zone` is that of this node."""

    groups: int = GROUPS_DEFAULT
    copies: int = COPIES_DEFAULT
    zone: str = ""
    host: GroupSettings = field(default_factory=make_host_settings)
    proposing: ProposingSettings = ProposingSettings()
    blobs: BlobSettings = BlobSettings()
    layout: LayoutSettings = LayoutSettings()
    bucket_repair_interval_s: float = 5.0
    bucket_repair_patience_s: float = 30.0


class NodePorts(Struct, frozen=True):
    """The world of a node, beside its engine and its log. Without `liveness` every node is taken
    to be there."""

    peers: Peers
    handlers: Handlers
    clock: Clock
    random: Random
    threads: Threads
    liveness: Liveness | None = None

    def is_alive(self, node: int) -> bool:
        """Whether a node seems to be there."""
        return self.liveness is None or self.liveness.is_alive(node)


class ClusterNode:
    """Made by `open`; `run` must be active, and the peers', for the store to answer."""

    def __init__(self, engine: Engine, host: GroupHost, parts: ClusterParts, tasks: _Tasks) -> None:
        self.engine = engine
        self.host = host
        self.parts = parts
        self.blobs = tasks.blobs
        self.layout = tasks.layout
        self.clock = tasks.clock
        self.store = ClusterStore(parts)
        self.directory = LocalDirectory(engine)
        self._tasks = tasks

    @classmethod
    async def open(
        cls,
        engine: Engine,
        *,
        identity: NodeIdentity,
        members: tuple[int, ...],
        wal: Wal,
        ports: NodePorts,
        settings: ClusterSettings | None = None,
    ) -> ClusterNode:
        """A node over a running engine, before the transport runs.

        At its first start it is one of the first `members`, or joins where there are none; later
        they say nothing. Raises IdentityError (the disk is another node's, or has data of its own
        that the others would not have), DiskFull, DiskFailed.
        """
        settings = settings or ClusterSettings()
        is_new = await ports.threads.run(wal.identity) is None
        if is_new:
            _check_store(engine, members)
        names = _Members(identity.node, members)
        log = LogThread(ports.threads)
        placement = LayoutPlacement(names.all, zone=settings.zone, is_founder=bool(members))
        machine, depot = await open_state_machine(
            engine,
            groups=settings.groups,
            mark=_first_mark(members) if is_new and members else None,
            clock=ports.clock,
            threads=ports.threads,
            wants=lambda blob_id: placement.holds(blob_id, identity.node),
        )
        host = names.host = GroupHost(
            identity=identity,
            wal=wal,
            peers=ports.peers,
            handlers=ports.handlers,
            machine=machine,
            clock=ports.clock,
            random=ports.random,
            threads=log,
            settings=settings.host,
        )
        if is_new and members:
            await host.bootstrap(range(_count_groups(engine) + 1), members)
        elif is_new:
            await host.join()
        return _Builder(engine, depot, host, log, ports, settings).build(placement, names)

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Runs the node until cancelled; started once its groups take questions.

        Raises (in a group) IdentityError and LogWriteFailed.
        """
        with self._tasks.log.lasting():
            await self._run(task_status)

    async def _run(self, task_status: trio.TaskStatus[None]) -> None:
        async with trio.open_nursery() as nursery:
            await nursery.start(self.blobs.run)
            await nursery.start(self.host.run)
            await nursery.start(self.layout.run)
            nursery.start_soon(self.parts.buckets.run)
            nursery.start_soon(self._tasks.forgetter.run)
            nursery.start_soon(self.clock.run)
            task_status.started()


class _Tasks(Struct, frozen=True):
    """What works in the background."""

    blobs: BlobParts
    layout: LayoutParts
    forgetter: UploadForgetter
    clock: HybridClock
    log: LogThread


class _Builder(Struct, frozen=True):
    """Joins the parts of a node over its host."""

    engine: Engine
    depot: BlobDepot
    host: GroupHost
    log: LogThread
    ports: NodePorts
    settings: ClusterSettings

    def build(self, placement: LayoutPlacement, names: _Members) -> ClusterNode:
        """The node; registers what it answers about bytes."""
        engine, ports, settings = self.engine, self.ports, self.settings
        clock = HybridClock(
            ports.clock, node=self.host.identity.node, members=names.all, peers=ports.peers
        )
        clock.register(ports.handlers)
        proposer = Proposer(engine, self.host, _count_groups(engine), settings.proposing)
        blob_ports = BlobPorts(
            node=self.host.identity.node,
            engine=engine,
            depot=self.depot,
            proposer=proposer,
            placement=placement,
            nodes=names.all,
            is_alive=ports.is_alive,
            peers=ports.peers,
            handlers=ports.handlers,
            clock=ports.clock,
            random=ports.random,
            threads=ports.threads,
        )
        blobs = BlobParts(blob_ports, settings.blobs)
        layout = LayoutParts(
            blob_ports,
            blobs,
            placement,
            self.host,
            liveness=ports.liveness,
            copies=settings.copies,
            voters_max=settings.host.voters_max,
            settings=settings.layout,
        )
        buckets = BucketCoordinator(
            engine,
            proposer,
            clock=ports.clock,
            random=ports.random,
            threads=ports.threads,
            interval_s=settings.bucket_repair_interval_s,
            patience_s=settings.bucket_repair_patience_s,
        )
        parts = ClusterParts(engine, proposer, buckets, blobs.fanout, blobs.sources)
        tasks = _Tasks(
            blobs=blobs,
            layout=layout,
            forgetter=UploadForgetter(
                proposer,
                clock=clock,
                retention_ms=engine.parts.settings.upload_retention_ms,
            ),
            clock=clock,
            log=self.log,
        )
        return ClusterNode(engine, self.host, parts, tasks)


class _Members:
    """The nodes of the cluster as this one knows them; at first those that it began with."""

    def __init__(self, node: int, first: tuple[int, ...]) -> None:
        self.host: GroupHost | None = None
        self._first = first or (node,)

    def all(self) -> tuple[int, ...]:
        """Everyone who has the system group."""
        members = self.host.members(SYSTEM_GROUP) if self.host is not None else ()
        return tuple(members) or self._first


def _first_mark(members: tuple[int, ...]) -> Applied:
    state = ConfState(voters=tuple(sorted(members)))
    return Applied(FIRST_INDEX, FIRST_TERM, encode_members(state))


def _check_store(engine: Engine, members: tuple[int, ...]) -> None:
    """A store with data may begin a cluster alone; others would have to be given its rows.

    Raises IdentityError.
    """
    if len(members) == 1:
        return
    with engine.environment.read() as txn:
        for table in (Table.BUCKETS, Table.ACCOUNTS):
            if any(True for _ in txn.cursor(table).iternext(values=False)):
                raise IdentityError(
                    "this node has data already: begin the cluster with it alone, "
                    "then let the others join"
                )


def _count_groups(engine: Engine) -> int:
    with engine.environment.read() as txn:
        cluster = read_cluster(txn)
    assert cluster is not None, "the store was made one of a cluster"
    return cluster.groups
