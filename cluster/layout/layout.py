"""A version of the layout, and the history that nodes obey while they go from one to the next.

It is a value: kept in the system group, changed only by commands there. It does not know who is
alive (`D8`: gossip never decides placement) and moves no byte itself.

The way of a change: `plan` shows what would move; `apply` makes it the newest version beside the
former one. From then on a write needs a quorum in each of both sets and a read tries the new one,
then the old. Each node acknowledges the version once it obeys it; when all have, no writer knows
the old set alone, so a node can fetch what it lacks and report itself synced; when all have, the
old version is dropped. A node whose view lags obeys both sets for longer, which harms nothing.

The way back: until the old version is dropped every write has a quorum in its sets, so `retreat`
puts them in force alone, at once and without moving a byte. So a change never sticks, whoever dies
in the middle of it. Every node that writes has a role, be it without capacity: a writer that nobody
waits for could miss a change.

Source: Garage's layout history (book, "Design: cluster layout"); Dynamo section 4.3.
Invariants: one or two versions are held; every quorum of a write meets, in each version in force,
every set of readers that could miss it; acknowledgements never go back.
"""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Final

from cluster.base.ids import NodeId
from cluster.layout.assignment import ReplicaSet, assign
from cluster.layout.errors import NoTransition, TransitionUnderWay, TransitionUnfinished

PARTITIONS: Final = 1024
"""Unit: partitions. At 100 nodes and 3 copies each node has 30, so one weighs 3 % of a node."""


def partition_of(blob_id: bytes, partitions: int = PARTITIONS) -> int:
    """The partition of a blob: the first 8 bytes of its BLAKE2b, big-endian, modulo."""
    digest = hashlib.blake2b(blob_id, digest_size=8, usedforsecurity=False).digest()
    return int.from_bytes(digest, "big") % partitions


@dataclass(frozen=True, slots=True)
class NodeRole:
    """What a node brings: a failure zone, and bytes of capacity (0: it stores no objects)."""

    zone: str
    capacity_bytes: int


@dataclass(frozen=True, slots=True)
class Layout:
    """One version: roles by node, and the sorted replica set of each partition."""

    version: int
    replicas: int
    zone_copies_max: int
    roles: Mapping[NodeId, NodeRole]
    sets: tuple[ReplicaSet, ...]

    def partition_of(self, blob_id: bytes) -> int:
        """The partition of a blob."""
        return partition_of(blob_id, len(self.sets))

    def replicas_of(self, partition: int) -> ReplicaSet:
        """The nodes that hold the partition, by id."""
        return self.sets[partition]

    @property
    def quorum(self) -> int:
        """Syncs a write needs of one replica set: a majority."""
        return self.replicas // 2 + 1

    def partition_bytes(self) -> int:
        """The size a partition can have before the first node is full."""
        counts = self.counts()
        return min(self.roles[node].capacity_bytes // count for node, count in counts.items())

    def counts(self) -> dict[NodeId, int]:
        """Copies held by each node that holds any."""
        counts: dict[NodeId, int] = {}
        for replica_set in self.sets:
            for node in replica_set:
                counts[node] = counts.get(node, 0) + 1
        return counts


@dataclass(frozen=True, slots=True)
class Plan:
    """What a change would do. `moves` holds (partition, nodes that gain it, nodes that lose it);
    `usable_bytes` is what can be stored once (all copies of it included in the capacity)."""

    layout: Layout
    moves: tuple[tuple[int, ReplicaSet, ReplicaSet], ...]
    usable_bytes: int


@dataclass(frozen=True, slots=True)
class LayoutHistory:
    """The versions in force, oldest first, and how far each node has come."""

    versions: tuple[Layout, ...]
    acknowledged: Mapping[NodeId, int] = field(default_factory=dict)
    synced: Mapping[NodeId, int] = field(default_factory=dict)

    @property
    def current(self) -> Layout:
        """The newest version."""
        return self.versions[-1]

    def partition_of(self, blob_id: bytes) -> int:
        """As in every version: the number of partitions never changes."""
        return self.current.partition_of(blob_id)

    def replicas_of(self, partition: int) -> ReplicaSet:
        """The set of the newest version."""
        return self.current.replicas_of(partition)

    def write_sets(self, partition: int) -> tuple[tuple[ReplicaSet, int], ...]:
        """Each set a write must reach, newest first, with the syncs needed of it."""
        sets: list[tuple[ReplicaSet, int]] = []
        for layout in reversed(self.versions):
            entry = (layout.replicas_of(partition), layout.quorum)
            if entry not in sets:
                sets.append(entry)
        return tuple(sets)

    def read_order(self, partition: int, local_zone: str) -> ReplicaSet:
        """Whom to ask for bytes: the new set, then the old, in each the near ones first."""
        order: list[NodeId] = []
        for layout in reversed(self.versions):
            near = sorted(
                layout.replicas_of(partition),
                key=lambda node: (layout.roles[node].zone != local_zone, node),
            )
            order += [node for node in near if node not in order]
        return tuple(order)

    def participants(self) -> tuple[NodeId, ...]:
        """Every node of a version in force: those whose word is waited for."""
        return tuple(sorted({node for layout in self.versions for node in layout.roles}))

    def apply(self, plan: Plan) -> "LayoutHistory":
        """The plan as the newest version. Raises TransitionUnderWay (also for a stale plan)."""
        if len(self.versions) > 1 or plan.layout.version != self.current.version + 1:
            raise TransitionUnderWay(f"version {self.current.version} is newest")
        return replace(self, versions=(self.current, plan.layout))

    def acknowledge(self, node: NodeId, version: int) -> "LayoutHistory":
        """The node writes by this version and all in force. Raises TransitionUnfinished."""
        if version > self.current.version:
            raise TransitionUnfinished(f"there is no version {version}")
        newest = max(version, self.acknowledged.get(node, 0))
        return replace(self, acknowledged={**self.acknowledged, node: newest})

    def report_synced(self, node: NodeId, version: int) -> "LayoutHistory":
        """The node holds all that the version gives it; the last one drops the old version.

        Raises TransitionUnfinished before all have acknowledged: a writer that knows the old set
        alone could still put bytes there after this node looked.
        """
        if version > self.current.version or not self.all_acknowledged(version):
            raise TransitionUnfinished(f"not every node obeys version {version}")
        newest = max(version, self.synced.get(node, 0))
        moved = replace(self, synced={**self.synced, node: newest})
        return moved._trimmed()

    def retreat(self) -> "LayoutHistory":
        """The sets of the former version again, as a version of its own; nobody is waited for.

        Nodes that the change had brought keep a role without capacity, since they may write by it
        for a while. Raises NoTransition.
        """
        if len(self.versions) == 1:
            raise NoTransition(f"version {self.current.version} is alone in force")
        former, newest = self.versions
        roles = {
            **{node: replace(role, capacity_bytes=0) for node, role in newest.roles.items()},
            **former.roles,
        }
        again = replace(former, version=newest.version + 1, roles=dict(sorted(roles.items())))
        return LayoutHistory((again,), self.acknowledged, {})

    def forget(self, node: NodeId) -> "LayoutHistory":
        """Waits no longer for a node that the newest version leaves out and that is lost: it writes
        nothing any more. Raises TransitionUnfinished, NoTransition (nobody waits for it)."""
        if node in self.current.roles:
            raise TransitionUnfinished(f"node {node} is in the newest version: remove it first")
        if node not in self.participants():
            raise NoTransition(f"nobody waits for node {node}")
        newest = self.current.version
        moved = replace(
            self,
            acknowledged={**self.acknowledged, node: newest},
            synced={**self.synced, node: newest},
        )
        return moved._trimmed()

    def all_acknowledged(self, version: int) -> bool:
        """Whether no node knows only versions before this one."""
        return all(self.acknowledged.get(node, 0) >= version for node in self.participants())

    def _trimmed(self) -> "LayoutHistory":
        newest = self.current.version
        done = all(self.synced.get(node, 0) >= newest for node in self.current.roles)
        if not done or not self.all_acknowledged(newest):
            return self
        roles = self.current.roles
        return LayoutHistory(
            (self.current,),
            {node: mark for node, mark in sorted(self.acknowledged.items()) if node in roles},
            {node: mark for node, mark in sorted(self.synced.items()) if node in roles},
        )


def first_layout(
    roles: Mapping[NodeId, NodeRole],
    *,
    replicas: int,
    zone_copies_max: int,
    partitions: int = PARTITIONS,
) -> LayoutHistory:
    """Version 1. Raises NotEnoughNodes, NotEnoughZones."""
    empty = Layout(0, replicas, zone_copies_max, {}, ((),) * partitions)
    return LayoutHistory((plan(empty, roles).layout,))


def plan(
    before: Layout,
    changes: Mapping[NodeId, NodeRole | None],
    *,
    replicas: int | None = None,
    zone_copies_max: int | None = None,
) -> Plan:
    """What staged changes do: a role adds or changes a node, None removes it.

    Moves the fewest copies that the new quotas allow. Raises NotEnoughNodes, NotEnoughZones.
    """
    merged = {**before.roles, **changes}
    roles = {node: role for node, role in sorted(merged.items()) if role is not None}
    copies = before.replicas if replicas is None else replicas
    zone_max = before.zone_copies_max if zone_copies_max is None else zone_copies_max
    sets = assign(
        {node: role.capacity_bytes for node, role in roles.items()},
        {node: role.zone for node, role in roles.items()},
        before.sets,
        partitions=len(before.sets),
        replicas=copies,
        zone_copies_max=zone_max,
    )
    layout = Layout(before.version + 1, copies, zone_max, roles, sets)
    moves = tuple(
        (index, tuple(sorted({*new} - {*old})), tuple(sorted({*old} - {*new})))
        for index, (old, new) in enumerate(zip(before.sets, sets, strict=True))
        if old != new
    )
    return Plan(layout, moves, layout.partition_bytes() * len(sets))
