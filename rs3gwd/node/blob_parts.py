"""Everything on a node that moves the bytes of objects, joined.

What it is not: no logic. `rs3gwd.node.cluster_node` builds it and runs it; whoever reads, writes or
watches takes the part it needs.
"""

from __future__ import annotations

from collections.abc import Callable

import trio
from msgspec import Struct

from cluster.base.ports import Handlers, Peers
from cluster.quorum.reading import Fault
from rs3gwd.base.ports import Clock, Random, Threads
from rs3gwd.base.records import BlobRef
from rs3gwd.engine.blob_depot import BlobDepot
from rs3gwd.engine.engine import Engine
from rs3gwd.node.blob_counts import BlobCounts
from rs3gwd.node.blob_fanout import Fanout, FanoutSettings
from rs3gwd.node.blob_hints import BlobHints, HintSettings
from rs3gwd.node.blob_mending import BlobMender, MendingSettings
from rs3gwd.node.blob_reading import BlobSources
from rs3gwd.node.blob_service import BlobService
from rs3gwd.node.blob_sources import RemoteSources, SourceSettings
from rs3gwd.node.blob_upkeep import BlobUpkeep, UpkeepSettings
from rs3gwd.node.placement import Placement
from rs3gwd.node.proposing import Proposer


class BlobSettings(Struct, frozen=True):
    """How the bytes of a node are moved and looked after."""

    fanout: FanoutSettings = FanoutSettings()
    sources: SourceSettings = SourceSettings()
    hints: HintSettings = HintSettings()
    mending: MendingSettings = MendingSettings()
    upkeep: UpkeepSettings = UpkeepSettings()


class BlobPorts(Struct, frozen=True):
    """What the parts need of the node: where bytes lie, who the others are, and the world."""

    node: int
    engine: Engine
    depot: BlobDepot
    proposer: Proposer
    placement: Placement
    nodes: Callable[[], tuple[int, ...]]
    is_alive: Callable[[int], bool]
    peers: Peers
    handlers: Handlers
    clock: Clock
    random: Random
    threads: Threads


class BlobParts:
    """The parts; `run` must be active."""

    def __init__(self, ports: BlobPorts, settings: BlobSettings) -> None:
        self.counts = BlobCounts()
        self.hints = _hints(ports, self.counts, settings)
        self.remote = RemoteSources(
            node=ports.node,
            store=ports.engine,
            peers=ports.peers,
            placement=ports.placement,
            nodes=ports.nodes,
            is_alive=ports.is_alive,
            on_fault=self._on_fault,
            counts=self.counts,
            settings=settings.sources,
        )
        self.mender = BlobMender(
            ports.engine,
            ports.depot,
            self.remote,
            random=ports.random,
            threads=ports.threads,
            counts=self.counts,
            settings=settings.mending,
        )
        suspect = self.mender.suspect
        self.service = BlobService(
            ports.engine, ports.depot, idle_s=settings.fanout.idle_s, suspect=suspect
        )
        self.fanout = Fanout(
            node=ports.node,
            depot=ports.depot,
            blob_ids=ports.engine.parts.stage_parts.blob_ids,
            peers=ports.peers,
            placement=ports.placement,
            settings=settings.fanout,
            is_alive=ports.is_alive,
            counts=self.counts,
            owe=self.hints.owe,
        )
        self.sources = BlobSources(
            ports.engine,
            self.remote,
            random=ports.random,
            suspect=suspect,
            missed=self.hints.lacks,
        )
        self.upkeep = BlobUpkeep(
            ports.engine,
            ports.depot,
            self.service,
            self.remote,
            ports.proposer,
            clock=ports.clock,
            threads=ports.threads,
            counts=self.counts,
            settings=settings.upkeep,
        )
        self.service.register(ports.handlers)
        self.hints.register(ports.handlers, self.upkeep.hurry)

    def _on_fault(self, node: int, blob: BlobRef, fault: Fault) -> None:
        """A node that lacks a blob is told; one whose blob is damaged has found it out itself."""
        if fault is Fault.UNKNOWN:
            self.hints.owe(node, blob)

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Runs streams to other nodes, and the work in the background, until cancelled."""
        async with trio.open_nursery() as nursery:
            await nursery.start(self.fanout.run)
            await nursery.start(self.remote.run)
            await self.hints.load()
            task_status.started()
            nursery.start_soon(self.hints.run)
            nursery.start_soon(self.mender.run)
            nursery.start_soon(self.mender.run_scrubbing)
            nursery.start_soon(self.upkeep.run_fetching)
            nursery.start_soon(self.upkeep.run_reclaiming)


def _hints(ports: BlobPorts, counts: BlobCounts, settings: BlobSettings) -> BlobHints:
    return BlobHints(
        ports.engine,
        ports.peers,
        ports.proposer,
        ports.placement,
        node=ports.node,
        is_alive=ports.is_alive,
        nodes=ports.nodes,
        clock=ports.clock,
        threads=ports.threads,
        counts=counts,
        settings=settings.hints,
    )
