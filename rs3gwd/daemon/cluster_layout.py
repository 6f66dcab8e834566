"""The layout as operators have it: what it is, what a change would do, and the change.

What it is not: it moves nothing; each node goes its own way to the version that was agreed
(`rs3gwd.node.layout_following`). The pictures are made of the history and of what the nodes say of
themselves, and are pure.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Final

from msgspec import structs

from cluster.layout.errors import LayoutError, TransitionUnderWay
from cluster.layout.keeping import fit
from cluster.layout.layout import Layout, LayoutHistory, NodeRole, Plan, plan
from rs3gwd.base.cluster_admin import (
    LayoutBusy,
    LayoutChange,
    LayoutNode,
    LayoutPicture,
    LayoutPlan,
    LayoutPlanNode,
    LayoutRefused,
    NodeReport,
    RoleWanted,
)
from rs3gwd.node.layout_parts import LayoutParts

ZONE_CHARACTERS_MAX: Final = 64

Told = Callable[[int], NodeRole | None]


class LayoutAdmin:
    """What a node answers about the layout and does to it."""

    def __init__(self, layout: LayoutParts) -> None:
        self._layout = layout

    def picture(self, reports: Sequence[NodeReport]) -> LayoutPicture:
        """The layout as this node has it, with what the nodes said."""
        return draw_layout(self._layout.placement.history, reports)

    async def plan(self, change: LayoutChange) -> LayoutPlan:
        """What a change would do. Raises LayoutRefused, LayoutBusy, Overloaded."""
        history = await self._layout.changes.current()
        if history is None:
            raise LayoutBusy("there is no layout yet: wait until the nodes have found each other")
        return draw_plan(history.current, self._plan(history, change))

    async def apply(self, change: LayoutChange, version: int) -> None:
        """Agrees on it. Raises LayoutRefused, LayoutBusy, Overloaded, OutcomeUnknown."""

        def step(history: LayoutHistory | None) -> LayoutHistory:
            if history is None or history.current.version != version - 1:
                raise TransitionUnderWay(f"version {version} is not the next one any more")
            made = self._plan(history, change)
            if made.layout == _with_version(history.current, version):
                raise LayoutRefused("nothing would change")
            return history.apply(made)

        await self._change(step)

    async def retreat(self) -> None:
        """Goes back. Raises LayoutRefused, Overloaded, OutcomeUnknown."""

        def step(history: LayoutHistory | None) -> LayoutHistory | None:
            return None if history is None else history.retreat()

        await self._change(step)

    async def _change(self, step: Callable[[LayoutHistory | None], LayoutHistory | None]) -> None:
        try:
            await self._layout.changes.change(step)
        except TransitionUnderWay as error:
            raise LayoutBusy(str(error)) from error
        except LayoutError as error:
            raise LayoutRefused(str(error)) from error

    def _plan(self, history: LayoutHistory, change: LayoutChange) -> Plan:
        keeper = self._layout.keeper
        try:
            return make_plan(history, change, members=keeper.members(), told=keeper.told)
        except TransitionUnderWay as error:
            raise LayoutBusy(str(error)) from error
        except LayoutError as error:
            raise LayoutRefused(str(error)) from error


def make_plan(
    history: LayoutHistory, change: LayoutChange, *, members: Sequence[int], told: Told
) -> Plan:
    """The plan of a change. Raises LayoutRefused, LayoutError."""
    current = history.current
    if len(history.versions) > 1:
        raise TransitionUnderWay(f"nodes still move to version {current.version}")
    roles: dict[int, NodeRole | None] = {
        node: told(node) for node in members if node not in current.roles
    }
    for wanted in change.nodes:
        roles[wanted.node] = _role(wanted, current, members, told)
    roles = {node: role for node, role in roles.items() if role is not None}
    copies = current.replicas if change.copies is None else change.copies
    if change.zone_copies_max is None:
        return fit(current, roles, copies=copies)
    return plan(current, roles, replicas=copies, zone_copies_max=change.zone_copies_max)


def draw_layout(history: LayoutHistory | None, reports: Sequence[NodeReport]) -> LayoutPicture:
    """The picture of a history; of none that of version 0."""
    if history is None:
        return LayoutPicture(0, [], 0, 0, 0, 0, False, [])
    said = {report.node: report for report in reports}
    current = history.current
    return LayoutPicture(
        version=current.version,
        versions=[layout.version for layout in history.versions],
        copies=current.replicas,
        zone_copies_max=current.zone_copies_max,
        partitions=len(current.sets),
        usable_bytes=_usable_bytes(current),
        is_changing=len(history.versions) > 1,
        nodes=[_node(node, history, said.get(node)) for node in history.participants()],
    )


def draw_plan(before: Layout, made: Plan) -> LayoutPlan:
    """What a plan does to each node."""
    after = made.layout
    counts_before, counts = before.counts(), after.counts()
    nodes = [
        LayoutPlanNode(
            node=node,
            zone=_role_in(after, before, node).zone,
            capacity_bytes=after.roles[node].capacity_bytes if node in after.roles else 0,
            partitions_before=counts_before.get(node, 0),
            partitions_after=counts.get(node, 0),
            gains=sum(node in gain for _, gain, _ in made.moves),
            loses=sum(node in loss for _, _, loss in made.moves),
        )
        for node in sorted({*before.roles, *after.roles})
    ]
    return LayoutPlan(
        version=after.version,
        copies=after.replicas,
        zone_copies_max=after.zone_copies_max,
        partitions=len(after.sets),
        copies_moved=sum(len(gain) for _, gain, _ in made.moves),
        usable_bytes_before=_usable_bytes(before),
        usable_bytes=made.usable_bytes,
        nodes=nodes,
    )


def _role(wanted: RoleWanted, current: Layout, members: Sequence[int], told: Told) -> NodeRole:
    """The role that is asked for. Raises LayoutRefused."""
    node = wanted.node
    known, tells = current.roles.get(node), told(node)
    if node not in members and known is None:
        names = ", ".join(map(str, sorted(members)))
        raise LayoutRefused(f"there is no node {node}; the members are {names}")
    if wanted.zone is not None and len(wanted.zone) > ZONE_CHARACTERS_MAX:
        raise LayoutRefused(f"the name of a zone has at most {ZONE_CHARACTERS_MAX} characters")
    held = known.capacity_bytes if known is not None else 0
    capacity = wanted.capacity_bytes
    if capacity is None:
        capacity = held or (tells.capacity_bytes if tells is not None else 0)
        if not capacity:
            raise LayoutRefused(f"node {node} has not told its capacity: say one")
    base = known or tells
    zone = wanted.zone if wanted.zone is not None else base.zone if base is not None else ""
    return NodeRole(zone, capacity)


def _node(node: int, history: LayoutHistory, report: NodeReport | None) -> LayoutNode:
    current, former = history.current, history.versions[0]
    version = current.version
    obeys, synced = history.acknowledged.get(node, 0), history.synced.get(node, 0)
    is_behind = obeys < version or (node in current.roles and synced < version)
    role = _role_in(current, former, node)
    picture = LayoutNode(
        node=node,
        zone=role.zone,
        capacity_bytes=current.roles[node].capacity_bytes if node in current.roles else 0,
        partitions=current.counts().get(node, 0),
        partitions_before=former.counts().get(node, 0),
        obeys_version=obeys,
        synced_version=synced,
        is_waited_for=len(history.versions) > 1 and is_behind,
    )
    return picture if report is None else _with_report(picture, report)


def _with_report(picture: LayoutNode, report: NodeReport) -> LayoutNode:
    return structs.replace(
        picture,
        is_compared=report.layout_compared,
        blobs_lacking=report.blobs_lacking,
        bytes_lacking=report.bytes_lacking,
    )


def _role_in(newest: Layout, former: Layout, node: int) -> NodeRole:
    roles: Mapping[int, NodeRole] = {**former.roles, **newest.roles}
    return roles[node]


def _usable_bytes(layout: Layout) -> int:
    return layout.partition_bytes() * len(layout.sets)


def _with_version(layout: Layout, version: int) -> Layout:
    return replace(layout, version=version)
