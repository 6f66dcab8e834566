"""Reading a range of a blob from its replicas: whom to ask, when to ask another, where to go on.

What it is not: it opens no stream and checks no checksum. The driver opens what it is told to, and
hands in what was verified, what failed and what time it is.

The theory. Blobs are immutable, so any replica's verified bytes are right: one answer is enough,
and the reader may change its source at any byte. It asks the best node; when nothing has come after
a time in which answers nearly always come, it asks a second one for the same bytes, and goes on
with whichever is first (Dean and Barroso, "The Tail at Scale", "Hedged requests"). When a source
fails, the next one is asked from the byte that was reached, never from the beginning.

The order: the living before the silent, the usual before the slow, then as the layout says. Slow is
whoever typically takes SLOW_FACTOR times as long as the fastest of the others, has lost its last
hedges or was not to be had.

A node whose bytes were damaged at some place may have good ones behind it: it is asked again once
the reader is past that place. So a blob is read whole as long as each of its blocks is good
somewhere.

Invariants:
- bytes are taken in order, each once: what is taken begins at the byte reached;
- at most two sources are open, and the second one was paid for from the budget;
- a node is asked again only past the byte at which it failed, so that the plan ends.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from cluster.base.ids import NodeId
from cluster.quorum.hedging import HedgeBudget
from cluster.quorum.latencies import Latencies

SLOW_FACTOR: Final = 3.0
SLOW_FLOOR_S: Final = 0.005
"""Unit: seconds. Differences below it are not worth another order."""

HEDGE_QUANTILE: Final = 0.95
HEDGE_FACTOR: Final = 1.5
"""Patience beyond the quantile: without it one healthy read in twenty is asked twice for nothing,
and the budget is gone when a node really stalls (seen in simulation: 59 hedges of 60 allowed)."""

HEDGE_DEFAULT_S: Final = 0.05
"""Unit: seconds. The patience with a node of which too little is known."""

HEDGE_MIN_S: Final = 0.001
HEDGE_MAX_S: Final = 2.0

NEVER: Final = float("inf")


class Fault(StrEnum):
    """Why a source failed."""

    UNKNOWN = "unknown"
    """It does not have the blob."""
    DAMAGED = "damaged"
    """It has the blob and cannot read it here."""
    BROKEN = "broken"
    """It is not there, too slow, or what it sent is not what was asked for."""


class Outcome(StrEnum):
    """How far a read is."""

    READING = "reading"
    DONE = "done"
    NOBODY = "nobody"


@dataclass(frozen=True, slots=True)
class Open:
    """Ask `node` for the bytes from `start` to the end of the range, as source `source`."""

    source: int
    node: NodeId
    start: int


@dataclass(frozen=True, slots=True)
class Close:
    """The source is not needed any more."""

    source: int


class _Source:
    """One stream that was asked for."""

    __slots__ = ("has_answered", "node", "opened_s")

    def __init__(self, node: NodeId, opened_s: float) -> None:
        self.node = node
        self.opened_s = opened_s
        self.has_answered = False


def order_nodes(
    nodes: Sequence[NodeId],
    *,
    is_alive: Callable[[NodeId], bool],
    latencies: Latencies,
    now_s: float,
) -> tuple[NodeId, ...]:
    """The nodes in the order in which to ask them; `nodes` come as the layout prefers them."""
    typical = {node: latencies.typical(node, now_s) for node in nodes}
    known = [took for node, took in typical.items() if took is not None and is_alive(node)]
    limit = max(min(known, default=0.0) * SLOW_FACTOR, SLOW_FLOOR_S)

    def rank(node: NodeId) -> tuple[bool, bool]:
        took = typical[node]
        is_slow = latencies.is_behind(node, now_s) or (took is not None and took > limit)
        return not is_alive(node), is_slow

    return tuple(sorted(nodes, key=rank))


def hedge_delay(
    node: NodeId, others: Sequence[NodeId], latencies: Latencies, now_s: float
) -> float:
    """After how many seconds without an answer of `node` another is asked.

    HEDGE_FACTOR times the time within which HEDGE_QUANTILE of its answers come. Where one of the
    others would have answered before that, theirs: who has become slow must not set the pace.
    """
    times = [
        took
        for each in (node, *others)
        if (took := latencies.quantile(each, HEDGE_QUANTILE, now_s)) is not None
    ]
    delay_s = HEDGE_FACTOR * min(times) if times else HEDGE_DEFAULT_S
    return min(max(delay_s, HEDGE_MIN_S), HEDGE_MAX_S)


class ReadPlan:
    """The decisions about one range, `start` to `end`, of one blob. `nodes` are in the order in
    which to ask them, each once."""

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
        assert 0 <= start <= end
        self._nodes = tuple(dict.fromkeys(nodes))
        self._position = start
        self._end = end
        self._latencies = latencies
        self._budget = budget
        self._failed_at: dict[NodeId, int] = {}
        self._unknown: set[NodeId] = set()
        self._sources: dict[int, _Source] = {}
        self._next_source = 0
        self._hedge_at_s = NEVER
        self.hedges = 0
        self.fall_backs = 0
        self.faults: list[tuple[NodeId, Fault]] = []
        budget.earn()

    @property
    def position(self) -> int:
        """The byte reached: the next one to be taken."""
        return self._position

    @property
    def outcome(self) -> Outcome:
        """How far the read is."""
        if self._position == self._end:
            return Outcome.DONE
        if self._sources or self._choose() is not None:
            return Outcome.READING
        return Outcome.NOBODY

    @property
    def is_unknown(self) -> bool:
        """Whether every node said that it does not have the blob."""
        return self._unknown == set(self._nodes)

    @property
    def wake_at_s(self) -> float:
        """When `on_time` is due."""
        return self._hedge_at_s

    # What happens; each gives what is to be done.

    def on_wanted(self, now_s: float) -> list[Open | Close]:
        """The reader waits for the next bytes, and none are at hand."""
        if self.outcome is not Outcome.READING:
            return []
        if not self._sources:
            return [self._open(now_s)]
        if len(self._sources) == 1:
            self._set_hedge(now_s)
        return []

    def on_bytes(self, source: int, count: int, now_s: float) -> list[Open | Close]:
        """Verified bytes of a source that is open, from the byte reached on: they are taken, and
        the other source is not needed."""
        taken = self._sources[source]
        assert 0 < count <= self._end - self._position, "bytes of the range"
        if not taken.has_answered:
            taken.has_answered = True
            self._latencies.note(taken.node, now_s - taken.opened_s, now_s)
        self._position += count
        self._hedge_at_s = NEVER
        losers = [number for number in self._sources if number != source]
        for number in losers:
            loser = self._sources.pop(number)
            if not loser.has_answered and loser.opened_s < taken.opened_s:
                self._latencies.note_lost(loser.node, now_s)
        if self._position == self._end:
            self._sources.clear()
        return [Close(number) for number in losers]

    def on_failed(self, source: int, fault: Fault, now_s: float) -> list[Open | Close]:
        """A source gives nothing more."""
        node = self._sources.pop(source).node
        self.faults.append((node, fault))
        self._failed_at[node] = self._position
        if fault is Fault.UNKNOWN:
            self._unknown.add(node)
        elif fault is Fault.BROKEN:
            self._latencies.note_failed(node, now_s)
        if self._sources or self.outcome is not Outcome.READING:
            return []
        self.fall_backs += 1
        return [self._open(now_s)]

    def on_time(self, now_s: float) -> list[Open | Close]:
        """Asks a second node when the first one has taken too long."""
        if now_s < self._hedge_at_s:
            return []
        self._hedge_at_s = NEVER
        if len(self._sources) != 1 or self._choose() is None or not self._budget.take():
            return []
        self.hedges += 1
        return [self._open(now_s)]

    def _open(self, now_s: float) -> Open:
        node = self._choose()
        assert node is not None
        source = self._next_source
        self._next_source += 1
        self._sources[source] = _Source(node, now_s)
        if len(self._sources) == 1:
            self._set_hedge(now_s)
        return Open(source, node, self._position)

    def _set_hedge(self, now_s: float) -> None:
        (source,) = self._sources.values()
        others = [node for node in self._nodes if node != source.node and self._may_ask(node)]
        delay = hedge_delay(source.node, others, self._latencies, now_s)
        self._hedge_at_s = now_s + delay if others else NEVER

    def _choose(self) -> NodeId | None:
        """The best node that may be asked now: those that have not failed come first."""
        free = [node for node in self._nodes if self._may_ask(node)]
        return min(free, key=lambda node: self._failed_at.get(node, -1), default=None)

    def _may_ask(self, node: NodeId) -> bool:
        if node in self._unknown or any(node == each.node for each in self._sources.values()):
            return False
        return self._position > self._failed_at.get(node, -1)
