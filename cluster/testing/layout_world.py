"""Nodes that write, fetch and drop bytes while the layout changes under them, from one seed.

Every node goes by the history that it knows, which may be an older one; whatever it does, no
blob may ever have too few copies. The world is harsher than a cluster: a write reaches no node more
than it must, a node that learns of a version fetches as late as it may, and drops at once what it
need not hold.

`BUGS` names what is left out of the rules on purpose; a search over seeds must notice each.

What it is not: a cluster. There are no messages here, and what a node knows of the history it
knows at one moment.

Invariant (`check`): of every blob the oldest version in force has a quorum of copies in its set,
less those of its nodes that were lost.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from random import Random
from typing import Final

from cluster.base.ids import NodeId
from cluster.layout.errors import LayoutError
from cluster.layout.layout import LayoutHistory, NodeRole, first_layout, plan

PARTITIONS: Final = 4
NODES: Final = range(1, 7)
TIB: Final = 1 << 40

BUGS: Final = (
    "written_to_the_newest_set_alone",
    "synced_before_all_obey",
    "dropped_at_the_first_word",
    "acknowledged_without_obeying",
    "retreats_to_the_newest_sets",
    "retreat_waits_for_no_new_node",
    "gives_up_a_node_that_writes",
)
"""Rules that can be left out, by name."""


class TooFewCopies(AssertionError):
    """A blob has fewer copies than the layout promises."""


@dataclass(frozen=True, slots=True)
class Blob:
    """What was written: its partition, and the nodes that hold it."""

    number: int
    partition: int
    holders: set[NodeId]


class LayoutWorld:
    """One walk: `step` does something by chance, `check` looks at every blob."""

    def __init__(self, seed: int, *, bug: str = "") -> None:
        assert not bug or bug in BUGS
        self._random = Random(seed)
        self._bug = bug
        roles = {NodeId(node): NodeRole(f"z{node % 3}", TIB) for node in NODES[:4]}
        self.truth = first_layout(roles, replicas=3, zone_copies_max=2, partitions=PARTITIONS)
        self._views: dict[NodeId, LayoutHistory] = dict.fromkeys(roles, self.truth)
        self._lost: set[NodeId] = set()
        self._slow = NodeId(self._random.choice(NODES))
        self.blobs: list[Blob] = []

    def step(self) -> None:
        """One act of a node or of an operator; one that is refused changes nothing."""
        acts = [
            self._write_slow,
            self._drop,
            self._change,
            self._retreat,
            self._give_up,
            self._round,
        ]
        acts += [self._write_any, self._learn_any, self._sync_any] * 2
        act = self._random.choice(acts)
        try:
            act()
        except LayoutError:
            return

    def check(self) -> None:
        """Raises TooFewCopies."""
        oldest = self.truth.versions[0]
        for blob in self.blobs:
            replica_set = oldest.replicas_of(blob.partition)
            wanted = oldest.quorum - len(self._lost.intersection(replica_set))
            if len(blob.holders.intersection(replica_set)) < wanted:
                raise TooFewCopies(f"blob {blob.number}: {blob.holders} of {replica_set}")

    # Nodes.

    def _any_node(self) -> NodeId:
        return self._random.choice(sorted(self._views))

    def _write_any(self) -> None:
        self._write(self._any_node())

    def _write_slow(self) -> None:
        if self._slow in self._views:
            self._write(self._slow)

    def _learn_any(self) -> None:
        self._learn(self._any_node())

    def _sync_any(self) -> None:
        self._sync(self._any_node())

    def _round(self) -> None:
        """All learn of the newest version and fetch, but for one that is slow to learn."""
        for act in (self._learn, self._sync):
            for node in sorted(self._views):
                if node != self._slow or act == self._sync:
                    act(node)

    def _write(self, node: NodeId) -> None:
        view = self._views[node]
        partition = self._random.randrange(PARTITIONS)
        sets = view.write_sets(partition)
        if self._bug == "written_to_the_newest_set_alone":
            sets = sets[:1]
        holders: set[NodeId] = set()
        for replica_set, syncs in sets:
            alive = [node for node in replica_set if node not in self._lost]
            if len(alive) < syncs:
                return
            holders.update(self._random.sample(alive, syncs))
        self.blobs.append(Blob(len(self.blobs), partition, holders))

    def _learn(self, node: NodeId) -> None:
        """The node obeys the newest version from now on, and says so."""
        if self._bug != "acknowledged_without_obeying":
            self._views[node] = self.truth
        self.truth = self.truth.acknowledge(node, self.truth.current.version)

    def _sync(self, node: NodeId) -> None:
        """The node fetches what the newest version gives it, and says so."""
        version = self.truth.current.version
        if self._bug == "synced_before_all_obey":
            everybody = dict.fromkeys(self.truth.participants(), version)
            self.truth = replace(self.truth, acknowledged=everybody)
        after = self.truth.report_synced(node, version)
        for blob in self.blobs:
            if blob.holders and node in self.truth.replicas_of(blob.partition):
                blob.holders.add(node)
        if self._bug == "dropped_at_the_first_word":
            after = LayoutHistory((self.truth.current,), after.acknowledged, after.synced)
        self.truth = after

    def _drop(self) -> None:
        """The node drops what no version gives it; it has asked which are in force."""
        node = self._any_node()
        self._views[node] = self.truth
        if len(self.truth.versions) > 1:
            return
        for blob in self.blobs:
            if node not in self.truth.replicas_of(blob.partition):
                blob.holders.discard(node)

    # Operators.

    def _change(self) -> None:
        node = NodeId(self._random.choice(NODES))
        if node in self._lost:
            return
        role: NodeRole | None = NodeRole(f"z{node % 3}", self._random.choice((0, TIB, 2 * TIB)))
        if node in self.truth.current.roles and self._random.random() < 0.4:
            role = None
        self.truth = self.truth.apply(plan(self.truth.current, {node: role}))
        self._views.setdefault(node, self.truth)

    def _retreat(self) -> None:
        newest = self.truth.current
        former = self.truth.versions[0]
        self.truth = self.truth.retreat()
        sets, roles = self.truth.current.sets, self.truth.current.roles
        if self._bug == "retreats_to_the_newest_sets":
            sets, roles = newest.sets, newest.roles
        elif self._bug == "retreat_waits_for_no_new_node":
            roles = former.roles
        current = replace(self.truth.current, sets=sets, roles=roles)
        self.truth = replace(self.truth, versions=(current,))

    def _give_up(self) -> None:
        """A node is lost with all it holds, and given up; one at a time, the others being whole."""
        node = self._any_node()
        if self._bug == "gives_up_a_node_that_writes":
            version = self.truth.current.version
            everybody = {**self.truth.acknowledged, node: version}
            self.truth = replace(self.truth, acknowledged=everybody)
            return
        held = {each for layout in self.truth.versions for each in self._lost & {*layout.roles}}
        if held:
            return
        self.truth = self.truth.forget(node)
        self._lost.add(node)
        del self._views[node]
        for blob in self.blobs:
            blob.holders.discard(node)
