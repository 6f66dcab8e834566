"""What is owed to which node: how many hints are kept, and when their delivery is tried again.

What it is not: it does not hold the hints; they are rows on the disk of the node that owes them,
which its driver writes and reads. Here are the bounds and the timetable.

A hint says that a replica may lack a blob although its write was acknowledged. Hints are bounded:
of a node that stays away for a week there would be millions. When the bound is reached no hint is
forgotten; it becomes a mark on the blob's partition, of which there is a fixed number, and the node
then goes through that whole partition. Dynamo keeps hints without a bound (section 4.6) and
Cassandra drops them after three hours; neither is wanted here.

Invariant: every hint that was offered is counted as stored, or its partition is marked, until the
node has settled it.
"""

from enum import StrEnum
from typing import Final

from cluster.base.ids import NodeId

BACKOFF_FIRST_S: Final = 1.0
BACKOFF_MAX_S: Final = 60.0


class Admission(StrEnum):
    """What is to be written for an offered hint."""

    STORE = "store"
    MARK = "mark"
    MARKED = "marked"
    """The partition is marked already: nothing is to be written."""


class _Debt:
    """What is owed to one node."""

    __slots__ = ("due_s", "failures", "is_served", "late", "marks", "stored")

    def __init__(self) -> None:
        self.stored = 0
        self.marks: set[int] = set()
        self.late: set[int] = set()
        """Marks that were made anew during a delivery, which may have carried them."""
        self.due_s = 0.0
        self.failures = 0
        self.is_served = False


class HintBook:
    """The debts of one node. `per_node_max` and `total_max` bound the hints that are stored."""

    def __init__(self, *, per_node_max: int, total_max: int) -> None:
        assert per_node_max >= 0
        self._per_node_max = per_node_max
        self._total_max = total_max
        self._debts: dict[NodeId, _Debt] = {}

    @property
    def stored(self) -> int:
        """The hints that are kept, for all nodes."""
        return sum(debt.stored for debt in self._debts.values())

    @property
    def marked(self) -> int:
        """The partitions that are marked, counted for each node."""
        return sum(len(debt.marks) for debt in self._debts.values())

    def load(self, node: NodeId, *, stored: int, marks: frozenset[int]) -> None:
        """What the disk holds at the start."""
        debt = self._debt(node)
        debt.stored, debt.marks = stored, set(marks)

    def offer(self, node: NodeId, partition: int) -> Admission:
        """A replica is owed a blob of this partition: what to write. It counts as written."""
        debt = self._debt(node)
        if partition in debt.marks and not debt.is_served:
            return Admission.MARKED
        if debt.stored < self._per_node_max and self.stored < self._total_max:
            debt.stored += 1
            return Admission.STORE
        debt.marks.add(partition)
        if debt.is_served:
            debt.late.add(partition)
        return Admission.MARK

    def repeated(self, node: NodeId, count: int) -> None:
        """So many hints that were offered were on the disk already."""
        self._debts[node].stored -= count

    def due(self, now_s: float) -> tuple[NodeId, ...]:
        """The nodes to which delivery is to be tried now."""
        return tuple(
            node
            for node, debt in self._debts.items()
            if (debt.stored or debt.marks) and not debt.is_served and debt.due_s <= now_s
        )

    def begin(self, node: NodeId) -> None:
        """A delivery begins; one at a time for each node."""
        debt = self._debts[node]
        assert not debt.is_served, "one delivery at a time"
        debt.is_served = True
        debt.late.clear()

    def removable(self, node: NodeId, marks: frozenset[int]) -> frozenset[int]:
        """Of the marks that were delivered, those that were not made anew meanwhile."""
        return marks - self._debts[node].late

    def settled(self, node: NodeId, *, stored: int, marks: frozenset[int]) -> None:
        """The node has taken over so many hints and these marks, and they are off the disk.

        A mark that was made anew during the delivery stays, and is written anew.
        """
        debt = self._debts[node]
        assert stored <= debt.stored, "what was stored is settled once"
        debt.stored -= stored
        debt.marks -= marks - debt.late
        debt.is_served = False
        debt.failures = 0
        debt.due_s = 0.0

    def waiting(self, node: NodeId, now_s: float) -> None:
        """The node did not answer, or settled nothing: it is tried later, and later."""
        debt = self._debts[node]
        debt.is_served = False
        debt.due_s = now_s + min(BACKOFF_FIRST_S * 2.0**debt.failures, BACKOFF_MAX_S)
        debt.failures = min(debt.failures + 1, 16)

    def came_back(self, node: NodeId) -> None:
        """The node is alive again: delivery is due at once."""
        debt = self._debts.get(node)
        if debt is not None:
            debt.due_s = 0.0
            debt.failures = 0

    def forget(self, node: NodeId) -> None:
        """The node is no member any more: nothing is owed to it."""
        self._debts.pop(node, None)

    def _debt(self, node: NodeId) -> _Debt:
        return self._debts.setdefault(node, _Debt())
