"""Everything on a node that has to do with the layout, joined. No logic."""

from __future__ import annotations

import trio
from msgspec import Struct

from cluster.base.ports import Liveness
from cluster.drivers.groups import GroupHost
from rs3gwd.node.blob_parts import BlobParts, BlobPorts
from rs3gwd.node.layout_changes import LayoutChanges
from rs3gwd.node.layout_following import FollowingSettings, LayoutFollower
from rs3gwd.node.layout_keeping import KeepingSettings, LayoutKeeper
from rs3gwd.node.layout_sweep import LayoutSweep, SweepSettings
from rs3gwd.node.placement import LayoutPlacement


class LayoutSettings(Struct, frozen=True):
    """How a node looks after the layout and goes by it."""

    following: FollowingSettings = FollowingSettings()
    keeping: KeepingSettings = KeepingSettings()
    sweep: SweepSettings = SweepSettings()


class LayoutParts:
    """The parts; `run` must be active."""

    def __init__(
        self,
        ports: BlobPorts,
        blobs: BlobParts,
        placement: LayoutPlacement,
        host: GroupHost,
        *,
        liveness: Liveness | None,
        copies: int,
        voters_max: int,
        settings: LayoutSettings,
    ) -> None:
        self.placement = placement
        self.changes = LayoutChanges(ports.engine, ports.proposer)
        self.follower = LayoutFollower(
            ports.node,
            ports.engine,
            placement=placement,
            fanout=blobs.fanout,
            hints=blobs.hints,
            changes=self.changes,
            settings=settings.following,
        )
        self.keeper = LayoutKeeper(
            host,
            ports.engine,
            self.changes,
            liveness=liveness,
            copies=copies,
            voters_max=voters_max,
            settings=settings.keeping,
        )
        self.sweep = LayoutSweep(
            ports.node,
            ports.engine,
            ports.peers,
            placement=placement,
            changes=self.changes,
            proposer=ports.proposer,
            threads=ports.threads,
            counts=blobs.counts,
            settings=settings.sweep,
        )
        self.sweep.register(ports.handlers)

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Goes by the layout, and looks after it, until cancelled."""
        self.follower.look()
        async with trio.open_nursery() as nursery:
            task_status.started()
            nursery.start_soon(self.follower.run)
            nursery.start_soon(self.keeper.run)
            nursery.start_soon(self.sweep.run)
