"""Probes: whose turn it is, the probe under way, and those made for others.

Each node is probed once in a round, in an order drawn anew for each round, so that the time until
a crash is noticed has a bound (SWIM, section 4.3). One probe is under way at a time.
"""

from collections.abc import Sequence

from cluster.base.ids import NodeId
from cluster.base.ports import Random
from cluster.swim.chance import shuffled


class Rotation:
    """Who is probed next."""

    def __init__(self, random: Random) -> None:
        self._random = random
        self._turns: list[NodeId] = []

    def next(self, candidates: Sequence[NodeId]) -> NodeId | None:
        """One of the candidates; whoever came since the round began has his turn in the next."""
        there = set(candidates)
        self._turns = [node for node in self._turns if node in there]
        if not self._turns:
            self._turns = shuffled(self._random, candidates)
        return self._turns.pop() if self._turns else None


class Probe:
    """The probe under way. `helpers` were asked to probe, too, and `nacks` answered for want of
    an answer."""

    __slots__ = (
        "helpers",
        "helps_at_s",
        "is_answered",
        "nacks",
        "number",
        "sent_at_s",
        "target",
    )

    def __init__(self, number: int, target: NodeId, *, sent_at_s: float, helps_at_s: float) -> None:
        self.number = number
        self.target = target
        self.sent_at_s = sent_at_s
        self.helps_at_s = helps_at_s
        self.helpers: frozenset[NodeId] | None = None
        self.nacks: set[NodeId] = set()
        self.is_answered = False

    def accepts(self, sender: NodeId, number: int) -> bool:
        """Whether an answer is to this probe: by the target, or by one who was asked."""
        asked = self.helpers or ()
        return number == self.number and (sender == self.target or sender in asked)

    def sign_of_health(self) -> int:
        """What the end of the probe says about this node itself (Lifeguard, section 4.1): helpers
        that are silent altogether hint that the fault is here."""
        if self.is_answered:
            return -1
        if not self.helpers:
            return 1
        return len(self.helpers - self.nacks)


class Relay:
    """A probe for another: `asker` waits for an answer to its `number`."""

    __slots__ = ("asker", "ends_at_s", "nack_at_s", "number", "target")

    def __init__(
        self, asker: NodeId, number: int, target: NodeId, *, nack_at_s: float, ends_at_s: float
    ) -> None:
        self.asker = asker
        self.number = number
        self.target = target
        self.nack_at_s: float | None = nack_at_s
        self.ends_at_s = ends_at_s
