"""Claims that wait to ride on datagrams: the newest of each node, each a bounded number of times.

Those that were sent least go first, and among them the newest, so that news overtakes what nearly
everybody has heard. A claim about a node replaces an older one about it: the queue is no longer
than the table of members.

Source: SWIM, section 4.1 (piggyback); memberlist's `TransmitLimitedQueue`.
"""

import math

from cluster.base.ids import NodeId
from cluster.swim.messages import Claim, encode


class _Waiting:
    __slots__ = ("birth", "claim", "sent", "size")

    def __init__(self, claim: Claim, birth: int) -> None:
        self.claim = claim
        self.birth = birth
        self.size = len(encode(claim))
        self.sent = 0


class Broadcasts:
    """Claims to be passed on; `multiplier` is SWIM's lambda."""

    def __init__(self, multiplier: int) -> None:
        self._multiplier = multiplier
        self._waiting: dict[NodeId, _Waiting] = {}
        self._births = 0

    def __len__(self) -> int:
        return len(self._waiting)

    def add(self, claim: Claim) -> None:
        """Passes a claim on, instead of what waits about the same node."""
        self._births += 1
        self._waiting[claim.node] = _Waiting(claim, self._births)

    def drop(self, node: NodeId) -> None:
        """Nothing more is told about a node."""
        self._waiting.pop(node, None)

    def limit(self, nodes: int) -> int:
        """How often one claim goes out among `nodes` nodes."""
        return self._multiplier * math.ceil(math.log10(nodes + 1))

    def take(self, bytes_max: int, *, nodes: int) -> list[Claim]:
        """Claims for one datagram, of at most `bytes_max` bytes together."""
        taken: list[Claim] = []
        limit = self.limit(nodes)
        for waiting in sorted(self._waiting.values(), key=lambda each: (each.sent, -each.birth)):
            if waiting.size > bytes_max:
                continue
            bytes_max -= waiting.size
            taken.append(waiting.claim)
            waiting.sent += 1
            if waiting.sent >= limit:
                del self._waiting[waiting.claim.node]
        return taken
