"""One write to the replicas of a blob: when it is enough, hopeless, and who is owed the bytes.

What it is not: it sends nothing and knows no clock. The driver tells it what happened to each
replica's stream, and asks what to do.

The theory: a write is acknowledged when in every set of replicas that is in force as many nodes as
the set needs have the bytes on stable storage. During a change of the layout there are two sets,
and a node of both counts in both; otherwise whoever reads by the other set could miss the write
(Dynamo section 4.5; the quorums are strict here, no node stands in for another). What a replica
lacks when the write is acknowledged it is owed: a hint.

Everyday picture: a contract in several copies. It is in force when enough partners have signed in
each chamber; who had not signed by then gets a reminder, and one reminder only.

Invariants:
- ENOUGH and HOPELESS are final, and ENOUGH was never said without the syncs;
- a node counts once, however often it reports;
- after ENOUGH every replica is, in the end, synced or hinted, once; before it nobody is hinted.
"""

from collections.abc import Iterable
from enum import StrEnum
from typing import Final

from cluster.base.ids import NodeId

ReplicaSets = tuple[tuple[tuple[NodeId, ...], int], ...]
"""The sets that a write must reach, each with the syncs that it needs."""

NEVER: Final = float("inf")


class Verdict(StrEnum):
    """What is known of a write."""

    WAITING = "waiting"
    ENOUGH = "enough"
    HOPELESS = "hopeless"


class Replica(StrEnum):
    """What is known of one replica."""

    ASKED = "asked"
    OPENED = "opened"
    SYNCED = "synced"
    FAILED = "failed"


_PENDING: Final = (Replica.ASKED, Replica.OPENED)


class WriteQuorum:
    """The decisions about one write.

    `sync_patience_s` is how long after `on_sealed` replicas may take to sync, and
    `straggler_patience_s` how long after ENOUGH the others are still waited for, both in seconds.
    """

    def __init__(
        self, sets: ReplicaSets, *, sync_patience_s: float, straggler_patience_s: float
    ) -> None:
        assert sets, "a write goes somewhere"
        for nodes, needed in sets:
            assert len(set(nodes)) == len(nodes), "a replica set names each node once"
            assert 1 <= needed <= len(nodes), "a set can be satisfied"
        self._sets = sets
        self._sync_patience_s = sync_patience_s
        self._straggler_patience_s = straggler_patience_s
        self._states = {node: Replica.ASKED for nodes, _ in sets for node in nodes}
        self._verdict = Verdict.WAITING
        self._deadline_s = NEVER
        self._hinted: set[NodeId] = set()

    @property
    def nodes(self) -> tuple[NodeId, ...]:
        """Every replica of any set, once, in the order of the sets."""
        return tuple(self._states)

    @property
    def verdict(self) -> Verdict:
        """What is known by now."""
        return self._verdict

    @property
    def pending(self) -> tuple[NodeId, ...]:
        """The replicas that are waited for; nobody once it is hopeless."""
        return tuple(node for node, state in self._states.items() if state in _PENDING)

    @property
    def wake_at_s(self) -> float:
        """When `on_time` is due; NEVER where only events can change anything."""
        return self._deadline_s if self.pending else NEVER

    # What happens.

    def on_opened(self, node: NodeId) -> None:
        """The replica takes bytes."""
        if self._states[node] is Replica.ASKED:
            self._states[node] = Replica.OPENED

    def on_synced(self, node: NodeId, now_s: float) -> None:
        """The replica has the whole body on stable storage."""
        if self._states[node] in _PENDING:
            self._states[node] = Replica.SYNCED
            self._judge(now_s)

    def on_failed(self, node: NodeId, now_s: float) -> None:
        """The replica does not have the body, and nothing more comes of its stream."""
        if self._states[node] in _PENDING:
            self._states[node] = Replica.FAILED
            self._judge(now_s)

    def on_slow(self, node: NodeId, now_s: float) -> bool:
        """The replica takes no bytes: whether it is left behind, and has failed so.

        Not when the others, as far as their streams are open, would be too few without it: then
        the write waits for it.
        """
        if self._states[node] not in _PENDING:
            return True
        others = (Replica.OPENED, Replica.SYNCED)
        if not self._satisfied(each for each in self._in(others) if each != node):
            return False
        self.on_failed(node, now_s)
        return True

    def on_sealed(self, now_s: float) -> None:
        """All bytes are on their way, and the replicas were asked to sync them."""
        if self._verdict is Verdict.WAITING:
            self._deadline_s = now_s + self._sync_patience_s

    def on_time(self, now_s: float) -> None:
        """Whoever is pending at the deadline has failed."""
        if now_s < self._deadline_s:
            return
        for node in self.pending:
            self.on_failed(node, now_s)

    # What to do.

    def take_hints(self) -> tuple[NodeId, ...]:
        """The replicas that are owed the bytes and were not named before."""
        if self._verdict is not Verdict.ENOUGH:
            return ()
        owed = tuple(node for node in self._in((Replica.FAILED,)) if node not in self._hinted)
        self._hinted.update(owed)
        return owed

    def _judge(self, now_s: float) -> None:
        if self._verdict is not Verdict.WAITING:
            return
        if self._satisfied(self._in((Replica.SYNCED,))):
            self._verdict = Verdict.ENOUGH
            self._deadline_s = now_s + self._straggler_patience_s
        elif not self._satisfied(self._in((*_PENDING, Replica.SYNCED))):
            self._verdict = Verdict.HOPELESS
            for node in self.pending:
                self._states[node] = Replica.FAILED

    def _in(self, states: tuple[Replica, ...]) -> list[NodeId]:
        return [node for node, state in self._states.items() if state in states]

    def _satisfied(self, nodes: Iterable[NodeId]) -> bool:
        """Whether these nodes are enough in every set."""
        have = set(nodes)
        return all(len(have.intersection(members)) >= needed for members, needed in self._sets)
