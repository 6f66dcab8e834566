"""Bugs planted into the decisions about object bytes, to see whether the checks find them.

Each is one that somebody's store has had or ours could have: a subclass that replaces one method,
or a driver told to do wrong. `seeds_max` bounds the seeds within which `quorum_checks` must notice.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Final

from cluster.base.ids import NodeId
from cluster.quorum.hedging import HedgeBudget
from cluster.quorum.hints import Admission, HintBook
from cluster.quorum.latencies import Latencies
from cluster.quorum.reading import Close, Fault, Open, ReadPlan
from cluster.quorum.writing import Replica, ReplicaSets, Verdict, WriteQuorum
from cluster.testing.quorum_checks import ReadRules, check_hints, check_reads, check_write


@dataclass(frozen=True, slots=True)
class Bug:
    """A planted bug and the check that must find it, seed by seed."""

    name: str
    check: Callable[[int], None]
    seeds_max: int = 200


# Writes.


class _AckBeforeSync(WriteQuorum):
    """An open stream counts as a sync."""

    def on_opened(self, node: NodeId) -> None:
        self.on_synced(node, 0.0)


class _CountedTwice(WriteQuorum):
    """Reports are counted, not nodes."""

    def __init__(
        self, sets: ReplicaSets, *, sync_patience_s: float, straggler_patience_s: float
    ) -> None:
        super().__init__(
            sets, sync_patience_s=sync_patience_s, straggler_patience_s=straggler_patience_s
        )
        self._reports: list[NodeId] = []

    def on_synced(self, node: NodeId, now_s: float) -> None:
        self._reports.append(node)
        if self._states[node] in (Replica.ASKED, Replica.OPENED, Replica.SYNCED):
            self._states[node] = Replica.SYNCED
            self._judge(now_s)

    def _satisfied(self, nodes: Iterable[NodeId]) -> bool:
        counted = [*nodes, *self._reports]
        return all(
            sum(node in members for node in counted) >= needed for members, needed in self._sets
        )


class _OnlyNewSet(WriteQuorum):
    """During a change of the layout the former set is not asked."""

    def _satisfied(self, nodes: Iterable[NodeId]) -> bool:
        members, needed = self._sets[0]
        return len(set(nodes).intersection(members)) >= needed


class _AnySet(WriteQuorum):
    """One of the sets is enough."""

    def _satisfied(self, nodes: Iterable[NodeId]) -> bool:
        have = set(nodes)
        return any(len(have.intersection(members)) >= needed for members, needed in self._sets)


class _StragglerForgotten(WriteQuorum):
    """What fails after the acknowledgement is nobody's affair."""

    def on_failed(self, node: NodeId, now_s: float) -> None:
        was_enough = self.verdict is Verdict.ENOUGH
        super().on_failed(node, now_s)
        if was_enough:
            self._hinted.add(node)


class _StragglerForever(WriteQuorum):
    """Whoever is late after the acknowledgement is waited for without end."""

    def _judge(self, now_s: float) -> None:
        was = self._verdict
        super()._judge(now_s)
        if was is Verdict.WAITING and self._verdict is Verdict.ENOUGH:
            self._deadline_s = float("inf")


class _EarlyHint(WriteQuorum):
    """Hints for a write that may yet fail."""

    def take_hints(self) -> tuple[NodeId, ...]:
        return tuple(self._in((Replica.FAILED,)))


class _SlowIsLeft(WriteQuorum):
    """A slow replica is left behind even when the write needs it."""

    def on_slow(self, node: NodeId, now_s: float) -> bool:
        self.on_failed(node, now_s)
        return True


class _LateSyncRevives(WriteQuorum):
    """A sync after the refusal turns it into an acknowledgement."""

    def on_synced(self, node: NodeId, now_s: float) -> None:
        if self._verdict is Verdict.HOPELESS:
            self._verdict = Verdict.WAITING
            self._states[node] = Replica.SYNCED
        super().on_synced(node, now_s)
        self._judge(now_s)


# Reads.


class _FromByteZero(ReadPlan):
    """Whoever takes over begins at the beginning."""

    def __init__(
        self,
        nodes: Sequence[NodeId],
        *,
        start: int,
        end: int,
        latencies: Latencies,
        budget: HedgeBudget,
        now_s: float,
    ) -> None:
        super().__init__(
            nodes, start=start, end=end, latencies=latencies, budget=budget, now_s=now_s
        )
        self._first = start

    def _open(self, now_s: float) -> Open:
        return replace(super()._open(now_s), start=self._first)


class _LoserGoesOn(ReadPlan):
    """The source that was slower is not closed."""

    def on_bytes(self, source: int, count: int, now_s: float) -> list[Open | Close]:
        super().on_bytes(source, count, now_s)
        return []


class _AskedAgain(ReadPlan):
    """A node that failed is asked for the same byte again."""

    def on_failed(self, source: int, fault: Fault, now_s: float) -> list[Open | Close]:
        actions = super().on_failed(source, fault, now_s)
        self._failed_at.clear()
        return actions


class _GivesUp(ReadPlan):
    """A node that failed once is never asked again."""

    def _may_ask(self, node: NodeId) -> bool:
        return super()._may_ask(node) and node not in self._failed_at


class _GoneTooSoon(ReadPlan):
    """One node without the blob means that nobody has it."""

    @property
    def is_unknown(self) -> bool:
        return bool(self._unknown)


class _Unbounded(HedgeBudget):
    """Every slow read is asked twice."""

    def take(self) -> bool:
        return True


class _SavedWithoutEarning(HedgeBudget):
    """The budget begins full."""

    def __init__(self, share: float) -> None:
        super().__init__(share)
        self._saved = float(self._burst)


# Hints.


class _DroppedWhenFull(HintBook):
    """A full queue forgets what comes."""

    def offer(self, node: NodeId, partition: int) -> Admission:
        admission = super().offer(node, partition)
        if admission is Admission.MARK:
            self._debts[node].marks.discard(partition)
            return Admission.MARKED
        return admission


class _NoBoundPerNode(HintBook):
    """One node that is away takes the whole queue."""

    def offer(self, node: NodeId, partition: int) -> Admission:
        bound, self._per_node_max = self._per_node_max, 1 << 30
        try:
            return super().offer(node, partition)
        finally:
            self._per_node_max = bound


class _LateMarkLost(HintBook):
    """A mark made while the node answered is taken for an old one."""

    def removable(self, node: NodeId, marks: frozenset[int]) -> frozenset[int]:
        self._debts[node].late.clear()
        return super().removable(node, marks)


class _MarkedUnderWay(HintBook):
    """A mark that is being delivered is thought to cover what comes after it."""

    def offer(self, node: NodeId, partition: int) -> Admission:
        if partition in self._debt(node).marks:
            return Admission.MARKED
        return super().offer(node, partition)


class _NotLoaded(HintBook):
    """A restart begins with an empty book."""

    def load(self, node: NodeId, *, stored: int, marks: frozenset[int]) -> None:
        return None


class _NeverAgain(HintBook):
    """A node that was away once is not tried again."""

    def waiting(self, node: NodeId, now_s: float) -> None:
        super().waiting(node, now_s)
        self._debts[node].due_s = float("inf")


def _write(name: str, core: type[WriteQuorum]) -> Bug:
    return Bug(name, partial(check_write, core))


def _read(name: str, rules: ReadRules) -> Bug:
    return Bug(name, partial(check_reads, rules))


def _hints(name: str, core: type[HintBook]) -> Bug:
    return Bug(name, partial(check_hints, core))


BUGS: Final = (
    _write("ack before quorum of syncs", _AckBeforeSync),
    _write("one node counted twice", _CountedTwice),
    _write("only the new set counted", _OnlyNewSet),
    _write("any set is enough", _AnySet),
    _write("straggler's failure not hinted", _StragglerForgotten),
    _write("straggler waited for without end", _StragglerForever),
    _write("hint before the acknowledgement", _EarlyHint),
    _write("needed replica left behind", _SlowIsLeft),
    _write("late sync after a refusal", _LateSyncRevives),
    _read("fall-back from byte 0", ReadRules(plan=_FromByteZero)),
    _read("damaged bytes given out", ReadRules(checks_blocks=False)),
    _read("loser of a hedge goes on", ReadRules(plan=_LoserGoesOn)),
    _read("failed node asked again at once", ReadRules(plan=_AskedAgain)),
    _read("node with one bad block given up", ReadRules(plan=_GivesUp)),
    _read("gone although somebody has it", ReadRules(plan=_GoneTooSoon)),
    _read("hedges without a bound", ReadRules(budget=_Unbounded)),
    _read("hedges before they are earned", ReadRules(budget=_SavedWithoutEarning)),
    _hints("hint dropped when full", _DroppedWhenFull),
    _hints("no bound for one node", _NoBoundPerNode),
    _hints("mark during a delivery lost", _LateMarkLost),
    _hints("mark under way covers what comes later", _MarkedUnderWay),
    _hints("hints forgotten at a restart", _NotLoaded),
    _hints("node never tried again", _NeverAgain),
)
