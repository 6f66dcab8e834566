"""What the cluster does to its layout by itself, one step at a time.

Picture: a caretaker who sets chairs for guests and takes away those of guests who will not return,
but moves nobody who sits. He makes the first layout; gives every member a role, since whoever
writes must be waited for; lets new members hold copies while fewer nodes than copies do; takes out
nodes that were removed. All else is for the operator.

What it is not: it does not know who is alive, and waits for nobody. `next_step` is asked again and
again, by one node at a time or by several: a step is made from one history and is void for another.
"""

from collections.abc import Callable, Collection, Mapping
from dataclasses import replace

from cluster.base.ids import NodeId
from cluster.layout.errors import NotEnoughNodes, NotEnoughZones
from cluster.layout.layout import (
    PARTITIONS,
    Layout,
    LayoutHistory,
    NodeRole,
    Plan,
    first_layout,
    plan,
)

Told = Callable[[NodeId], NodeRole | None]
"""What a node tells of itself; None where nothing was heard yet."""


def next_step(
    history: LayoutHistory | None,
    *,
    members: Collection[NodeId],
    removed: Collection[NodeId],
    told: Told,
    copies: int,
    partitions: int = PARTITIONS,
) -> LayoutHistory | None:
    """The history after the next step; None when there is nothing to do, or not yet.

    `members` are those who have caught up with the system group, `removed` the nodes that nobody
    talks to any more, `copies` as many as there are to be once there are nodes enough.
    """
    present = sorted({*members} - {*removed})
    if history is None:
        return _first(present, told, copies, partitions)
    gone = [node for node in history.participants() if node in removed]
    if gone:
        return _without(history, gone)
    if len(history.versions) > 1:
        return None
    return _with_new(history, present, told, copies)


def fit(
    before: Layout, changes: Mapping[NodeId, NodeRole | None], *, copies: int | None = None
) -> Plan:
    """A plan with as few copies in one zone as the zones allow. Raises NotEnoughNodes."""
    wanted = before.replicas if copies is None else copies
    for zone_copies_max in range(1, wanted):
        try:
            return plan(before, changes, replicas=wanted, zone_copies_max=zone_copies_max)
        except NotEnoughZones:
            continue
    return plan(before, changes, replicas=wanted, zone_copies_max=wanted)


def _first(present: list[NodeId], told: Told, copies: int, partitions: int) -> LayoutHistory | None:
    roles = {node: told(node) for node in present}
    known = {node: role for node, role in roles.items() if role is not None}
    holders = [node for node, role in known.items() if role.capacity_bytes > 0]
    if not holders or len(known) < len(roles):
        return None
    wanted = min(copies, len(holders))
    empty = Layout(0, wanted, wanted, {}, ((),) * partitions)
    layout = fit(empty, known).layout
    return first_layout(
        known, replicas=wanted, zone_copies_max=layout.zone_copies_max, partitions=partitions
    )


def _without(history: LayoutHistory, gone: list[NodeId]) -> LayoutHistory | None:
    """A step towards a layout without nodes that are gone."""
    current = history.current
    if not any(node in current.roles for node in gone):
        waited = [node for node in gone if history.acknowledged.get(node, 0) < current.version]
        return history.forget(waited[0]) if waited else None
    if len(history.versions) > 1:
        return history.retreat()
    left = [
        node for node, role in current.roles.items() if node not in gone and role.capacity_bytes > 0
    ]
    if not left:
        return None
    wanted = min(current.replicas, len(left))
    return history.apply(fit(current, dict.fromkeys(gone), copies=wanted))


def _with_new(
    history: LayoutHistory, present: list[NodeId], told: Told, copies: int
) -> LayoutHistory | None:
    """New members: as holders while there are fewer than copies, else with a role alone."""
    current = history.current
    new = {node: role for node in present if (role := _role_of(node, current, told)) is not None}
    if not new:
        return None
    holders = sum(role.capacity_bytes > 0 for role in current.roles.values())
    if holders >= copies:
        new = {node: replace(role, capacity_bytes=0) for node, role in new.items()}
    gained = sum(role.capacity_bytes > 0 for role in new.values())
    wanted = max(current.replicas, min(copies, holders + gained))
    try:
        return history.apply(fit(current, new, copies=wanted))
    except NotEnoughNodes:
        return None


def _role_of(node: NodeId, current: Layout, told: Told) -> NodeRole | None:
    """The role to give to a node that has none."""
    return None if node in current.roles else told(node)
