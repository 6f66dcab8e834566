"""How long each node takes to give its first bytes, from the last answers.

What it is not: no prediction. Of each node the last SAMPLES_MAX times are kept; what is older than
FRESH_S says nothing any more, so that a node which was slow is tried again. A node that did not
answer before another one which was asked later has no time; it is enough that it lost.

Source for quantiles as the measure: Dean and Barroso, "The Tail at Scale" (CACM 2013).
"""

from collections import OrderedDict, deque
from typing import Final

from cluster.base.ids import NodeId

SAMPLES_MAX: Final = 64
"""Times kept of a node: enough for a 95th percentile of which three samples lie above."""

SAMPLES_MIN: Final = 8
"""Fewer samples give no quantile of the tail."""

RECENT: Final = 5
"""Samples whose median says how a node is now: three slow answers are a slow node."""

LOSSES_MAX: Final = 2
"""So many hedges lost in a row are a slow node."""

FRESH_S: Final = 30.0
"""Unit: seconds. A slow node is tried again, by one read, about as often."""

NODES_MAX: Final = 1024


class _Node:
    """What is known of one node: (when, how long) of its answers, and the hedges it lost."""

    __slots__ = ("lost", "lost_at_s", "samples")

    def __init__(self) -> None:
        self.samples: deque[tuple[float, float]] = deque(maxlen=SAMPLES_MAX)
        self.lost = 0
        self.lost_at_s = 0.0


class Latencies:
    """Times by node, in seconds."""

    def __init__(self) -> None:
        self._nodes: OrderedDict[NodeId, _Node] = OrderedDict()

    def note(self, node: NodeId, took_s: float, now_s: float) -> None:
        """A node has answered after `took_s` seconds."""
        known = self._touch(node)
        known.samples.append((now_s, took_s))
        known.lost = 0

    def note_lost(self, node: NodeId, now_s: float) -> None:
        """Another node that was asked later answered first."""
        known = self._touch(node)
        known.lost += 1
        known.lost_at_s = now_s

    def note_failed(self, node: NodeId, now_s: float) -> None:
        """The node is not there, or gave up: it counts as slow until it answers, or for a while."""
        known = self._touch(node)
        known.lost = LOSSES_MAX
        known.lost_at_s = now_s

    def typical(self, node: NodeId, now_s: float) -> float | None:
        """The median of the last few times, or None when nothing fresh is known."""
        recent = sorted(self._fresh(node, now_s)[-RECENT:])
        return recent[(len(recent) - 1) // 2] if recent else None

    def is_behind(self, node: NodeId, now_s: float) -> bool:
        """Whether the node has lost its last hedges or failed, not long ago."""
        known = self._nodes.get(node)
        if known is None or known.lost < LOSSES_MAX:
            return False
        return now_s - known.lost_at_s <= FRESH_S

    def quantile(self, node: NodeId, share: float, now_s: float) -> float | None:
        """The time within which `share` (0 to 1) of the answers came; None of too few answers."""
        fresh = sorted(self._fresh(node, now_s))
        if len(fresh) < SAMPLES_MIN:
            return None
        return fresh[min(int(share * len(fresh)), len(fresh) - 1)]

    def _touch(self, node: NodeId) -> _Node:
        known = self._nodes.setdefault(node, _Node())
        self._nodes.move_to_end(node)
        if len(self._nodes) > NODES_MAX:
            self._nodes.popitem(last=False)
        return known

    def _fresh(self, node: NodeId, now_s: float) -> list[float]:
        """The times that still say something, the last one last."""
        known = self._nodes.get(node)
        if known is None:
            return []
        return [took for at, took in known.samples if now_s - at <= FRESH_S]
