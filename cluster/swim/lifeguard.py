"""What Lifeguard adds to SWIM: a node that doubts itself, and suspicions that others shorten.

A slow node misses answers that were sent in time and so suspects healthy ones. `LocalHealth` counts
the signs of that and stretches the node's own times. `Suspicion` starts long and shrinks by the
logarithm as independent nodes confirm it, so that one slow accuser gives the accused much time,
and many accusers little.

Source: Dadgar, Phillips, Currey, Lifeguard (2018), sections 4.1 (local health) and 4.2 (suspicion).
"""

import math

from cluster.base.ids import NodeId
from cluster.swim.settings import SwimSettings


class LocalHealth:
    """The local health multiplier: 0 when all is well, at most `most`."""

    def __init__(self, most: int) -> None:
        self.score = 0
        self._most = most

    def note(self, delta: int) -> None:
        """A sign of bad (+) or good (-) health."""
        self.score = min(self._most, max(0, self.score + delta))

    def scaled(self, seconds: float) -> float:
        """A time as it is for a node of this health."""
        return seconds * (self.score + 1)


class Suspicion:
    """A node suspected since `since_s`; `accusers` are those who did so independently."""

    def __init__(
        self, accuser: NodeId, *, nodes: int, since_s: float, settings: SwimSettings
    ) -> None:
        least_s = settings.suspicion_multiplier * settings.probe_interval_s
        self.since_s = since_s
        self.accusers = {accuser}
        self._least_s = least_s * max(1.0, math.log10(max(1, nodes)))
        self._most_s = self._least_s * settings.suspicion_max_ratio
        # Of n nodes neither the accused nor the first accuser can confirm.
        self._wanted = max(0, min(settings.confirmations, nodes - 2))

    def confirm(self, accuser: NodeId) -> bool:
        """One more accuser; whether that is news worth telling on."""
        if accuser in self.accusers or len(self.accusers) > self._wanted:
            return False
        self.accusers.add(accuser)
        return True

    @property
    def deadline_s(self) -> float:
        """When it becomes a death."""
        if not self._wanted:
            return self.since_s + self._least_s
        share = math.log(len(self.accusers)) / math.log(self._wanted + 1)
        span_s = self._most_s - (self._most_s - self._least_s) * share
        return self.since_s + max(self._least_s, span_s)
