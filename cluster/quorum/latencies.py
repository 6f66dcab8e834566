"""How long each node takes to give its first bytes, from the last answers.

What it is not: no prediction. Of each node the last SAMPLES_MAX times are kept; what is older than
FRESH_S says nothing any more, so that a node which was slow is tried again.

Source for quantiles as the measure: Dean and Barroso, "The Tail at Scale" (CACM 2013).
"""

from collections import OrderedDict, deque
from typing import Final

from cluster.base.ids import NodeId

SAMPLES_MAX: Final = 64
"""Times kept of a node: enough for a 95th percentile of which three samples lie above."""

SAMPLES_MIN: Final = 8
"""Fewer samples give no quantile of the tail."""

FRESH_S: Final = 30.0
"""Unit: seconds. A slow node is tried again, by one read, about as often."""

NODES_MAX: Final = 1024


class Latencies:
    """Times by node, in seconds."""

    def __init__(self) -> None:
        self._samples: OrderedDict[NodeId, deque[tuple[float, float]]] = OrderedDict()

    def note(self, node: NodeId, took_s: float, now_s: float) -> None:
        """A node has answered after `took_s` seconds."""
        samples = self._samples.setdefault(node, deque(maxlen=SAMPLES_MAX))
        samples.append((now_s, took_s))
        self._samples.move_to_end(node)
        if len(self._samples) > NODES_MAX:
            self._samples.popitem(last=False)

    def typical(self, node: NodeId, now_s: float) -> float | None:
        """The median, or None when nothing fresh is known."""
        fresh = self._fresh(node, now_s)
        return fresh[(len(fresh) - 1) // 2] if fresh else None

    def quantile(self, node: NodeId, share: float, now_s: float) -> float | None:
        """The time within which `share` (0 to 1) of the answers came; None of too few answers."""
        fresh = self._fresh(node, now_s)
        if len(fresh) < SAMPLES_MIN:
            return None
        return fresh[min(int(share * len(fresh)), len(fresh) - 1)]

    def _fresh(self, node: NodeId, now_s: float) -> list[float]:
        samples = self._samples.get(node, ())
        return sorted(took for at, took in samples if now_s - at <= FRESH_S)
