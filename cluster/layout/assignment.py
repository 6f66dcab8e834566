"""How partitions are given to nodes: quotas by capacity, then a flow that moves the least.

Picture: a pigeon-hole wall with one row for each partition. Each row takes `replicas` letters, no
two at one node and at most `zone_copies_max` in one zone; each node takes as many as its quota.

Quotas. A node may take one copy of each partition, a zone `zone_copies_max`. The greatest sizes
are found by filling: all take in proportion to capacity, whoever is at a bound stays there, the
rest share what is left. Such quotas can always be met: giving each partition quota/partitions of
each node breaks no bound, the bounds are nested (node within zone), so a whole solution exists
(integrality of flows).

Movement. Copies that stay cost 0, all others 1. What can stay under the quotas is kept first;
a flow of cost 0 is cheapest for its amount, and adding shortest augmenting paths keeps it the
cheapest (successive shortest paths), so the result moves the fewest copies that these quotas
allow. Direct gifts of cost 1 are shortest paths once no more can stay, so most need no search.

Source: Auvolat, Deleuil, "An algorithm for geo-distributed and redundant storage in Garage"
(2022); Ahuja, Magnanti, Orlin, "Network Flows" section 9.7. Unlike Garage's, the bound is on the
copies in a zone, which is nested and spares the search for the size of partitions.

Invariants: the same arguments give the same answer, in any process (no hash order is used).
"""

from collections import deque
from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Final

from cluster.base.ids import NodeId
from cluster.layout.errors import NotEnoughNodes, NotEnoughZones

ReplicaSet = tuple[NodeId, ...]
Place = tuple[str, int, int]
"""A vertex: ("partition", p, 0), ("zone", p, zone) or ("node", n, 0)."""

NODE: Final = "node"
ZONE: Final = "zone"
PARTITION: Final = "partition"


def assign(
    capacities: Mapping[NodeId, int],
    zones: Mapping[NodeId, str],
    before: Sequence[ReplicaSet],
    *,
    partitions: int,
    replicas: int,
    zone_copies_max: int,
) -> tuple[ReplicaSet, ...]:
    """The replica set of each partition, each sorted; `before` is empty or one set for each.

    Capacities in bytes, 0 for a node that stores nothing. Raises NotEnoughNodes, NotEnoughZones.
    """
    able = {node: capacities[node] for node in sorted(capacities) if capacities[node] > 0}
    names = sorted({zones[node] for node in able})
    zone_of = {node: names.index(zones[node]) for node in able}
    if len(able) < replicas:
        raise NotEnoughNodes(f"{replicas} copies need as many nodes, {len(able)} have capacity")
    room = [sum(zone == index for zone in zone_of.values()) for index in range(len(names))]
    if sum(min(count, zone_copies_max) for count in room) < replicas:
        raise NotEnoughZones(
            f"{replicas} copies, at most {zone_copies_max} in a zone, do not fit in "
            f"{len(names)} zones"
        )
    sets = before or [()] * partitions
    held = dict.fromkeys(able, 0)
    for replica_set in sets:
        for node in replica_set:
            if node in held:
                held[node] += 1
    quota = _quotas(able, zone_of, held, partitions, replicas, zone_copies_max)
    flow = _Flow(zone_of, quota, sets, replicas, zone_copies_max)
    flow.keep()
    flow.fill(held_only=True)
    flow.give()
    flow.fill(held_only=False)
    return tuple(tuple(sorted(replica_set)) for replica_set in flow.sets)


def _quotas(
    capacities: Mapping[NodeId, int],
    zone_of: Mapping[NodeId, int],
    held: Mapping[NodeId, int],
    partitions: int,
    replicas: int,
    zone_copies_max: int,
) -> dict[NodeId, int]:
    """How many copies each node takes; the rounding favours who holds more already."""
    members = {
        zone: {node: capacities[node] for node in capacities if zone_of[node] == zone}
        for zone in sorted(set(zone_of.values()))
    }
    bounds = {
        zone: partitions * min(zone_copies_max, len(nodes)) for zone, nodes in members.items()
    }
    weights = {zone: sum(nodes.values()) for zone, nodes in members.items()}
    holds = {zone: sum(held[node] for node in nodes) for zone, nodes in members.items()}
    shares = _fill(weights, bounds, holds, partitions * replicas)
    quotas: dict[NodeId, int] = {}
    for zone, nodes in members.items():
        quotas |= _fill(nodes, dict.fromkeys(nodes, partitions), held, shares[zone])
    return quotas


def _fill(
    weights: Mapping[int, int], bounds: Mapping[int, int], held: Mapping[int, int], amount: int
) -> dict[int, int]:
    """`amount` in whole units, in proportion to the weights, nobody above its bound."""
    fixed: dict[int, int] = {}
    while True:
        free = [key for key in weights if key not in fixed]
        rest = amount - sum(fixed.values())
        weight = sum(weights[key] for key in free)
        full = [key for key in free if rest * weights[key] >= bounds[key] * weight]
        if not full:
            break
        fixed |= {key: bounds[key] for key in full}
    result = fixed | {key: rest * weights[key] // weight for key in free}
    over = amount - sum(result.values())
    wish = sorted(
        free,
        key=lambda key: (held[key] <= result[key], -(rest * weights[key] % weight), key),
    )
    for key in wish[:over]:
        result[key] += 1
    return result


class _Flow:
    """The copies given so far, and the searches that give more of them."""

    def __init__(
        self,
        zone_of: Mapping[NodeId, int],
        quota: Mapping[NodeId, int],
        before: Sequence[ReplicaSet],
        replicas: int,
        zone_copies_max: int,
    ) -> None:
        self.zone_of = zone_of
        self.room = dict(quota)
        self.before = [frozenset(node for node in old if node in zone_of) for old in before]
        self.replicas = replicas
        self.zone_copies_max = zone_copies_max
        self.sets: list[set[NodeId]] = [set() for _ in before]
        self.members: dict[int, list[NodeId]] = {}
        for node, zone in zone_of.items():
            self.members.setdefault(zone, []).append(node)

    def copies(self, partition: int, zone: int) -> int:
        """Copies of a partition in a zone."""
        return sum(self.zone_of[node] == zone for node in self.sets[partition])

    def takes(self, partition: int, node: NodeId) -> bool:
        """Whether this copy could be given without moving another."""
        chosen = self.sets[partition]
        return (
            self.room[node] > 0
            and node not in chosen
            and len(chosen) < self.replicas
            and self.copies(partition, self.zone_of[node]) < self.zone_copies_max
        )

    def place(self, partition: int, node: NodeId) -> None:
        self.sets[partition].add(node)
        self.room[node] -= 1

    def keep(self) -> None:
        """Leaves copies where they are, taking away from different partitions where it must."""
        lacking = [self.replicas - len(old) for old in self.before]
        excess = {node: -self.room[node] for node in self.room}
        for old in self.before:
            for node in old:
                excess[node] += 1
        dropped: set[tuple[int, NodeId]] = set()
        for node in sorted(excess, key=lambda name: (-excess[name], name)):
            holders = [index for index, old in enumerate(self.before) if node in old]
            holders.sort(key=lambda index: (lacking[index], index))
            for index in holders[: max(0, excess[node])]:
                dropped.add((index, node))
                lacking[index] += 1
        for index, old in enumerate(self.before):
            for node in sorted(old):
                if (index, node) not in dropped and self.takes(index, node):
                    self.place(index, node)

    def give(self) -> None:
        """Direct gifts, to whoever has most room in the zone that has most room."""
        zone_room = {
            zone: sum(self.room[node] for node in nodes) for zone, nodes in self.members.items()
        }
        for index, chosen in enumerate(self.sets):
            while len(chosen) < self.replicas:
                fit = [node for node in self.zone_of if self.takes(index, node)]
                if not fit:
                    break
                node = max(
                    fit,
                    key=lambda name: (zone_room[self.zone_of[name]], self.room[name], -name),
                )
                self.place(index, node)
                zone_room[self.zone_of[node]] -= 1

    def fill(self, *, held_only: bool) -> None:
        """Adds shortest paths until none is left; `held_only` looks at copies that can stay."""
        while any(len(chosen) < self.replicas for chosen in self.sets):
            path = self._search(held_only)
            if path is None:
                break
            for start, end in pairwise(path):
                if end[0] == NODE:
                    self.sets[start[1]].add(end[1])
                elif start[0] == NODE:
                    self.sets[end[1]].discard(start[1])
            self.room[path[-1][1]] -= 1
        assert held_only or all(len(chosen) == self.replicas for chosen in self.sets)

    def _search(self, held_only: bool) -> list[Place] | None:
        """The cheapest path from a partition that lacks a copy to a node with room."""
        distance: dict[Place, int] = {}
        parent: dict[Place, Place] = {}
        queue: deque[Place] = deque()
        for index, chosen in enumerate(self.sets):
            if len(chosen) < self.replicas:
                distance[(PARTITION, index, 0)] = 0
                queue.append((PARTITION, index, 0))
        waiting = set(queue)
        while queue:
            place = queue.popleft()
            waiting.discard(place)
            for cost, following in self._arcs(place, held_only):
                total = distance[place] + cost
                if following not in distance or total < distance[following]:
                    distance[following] = total
                    parent[following] = place
                    if following not in waiting:
                        waiting.add(following)
                        queue.append(following)
        ends = [(distance[p], p) for p in distance if p[0] == NODE and self.room[p[1]] > 0]
        if not ends:
            return None
        path = [min(ends)[1]]
        while path[-1] in parent:
            path.append(parent[path[-1]])
        return path[::-1]

    def _arcs(self, place: Place, held_only: bool) -> list[tuple[int, Place]]:
        """The residual arcs out of a place, with what each costs."""
        kind, first, zone = place
        if kind == PARTITION:
            return [
                (0, (ZONE, first, other))
                for other in self.members
                if self.copies(first, other) < self.zone_copies_max
            ]
        if kind == NODE:
            zone = self.zone_of[first]
            return [
                (-self._cost(index, first), (ZONE, index, zone))
                for index, chosen in enumerate(self.sets)
                if first in chosen
            ]
        arcs = [
            (self._cost(first, node), (NODE, node, 0))
            for node in self.members[zone]
            if node not in self.sets[first] and (not held_only or node in self.before[first])
        ]
        if self.copies(first, zone):
            arcs.append((0, (PARTITION, first, 0)))
        return arcs

    def _cost(self, partition: int, node: NodeId) -> int:
        return 0 if node in self.before[partition] else 1
