"""The table of members: what this node believes of each, joined from claims.

Pure bookkeeping: which claim wins, who is how old, who is forgotten. Invariants: what is believed
of a node never goes back in the order of its claims while it is remembered; never more than
`members_max` nodes; the dead are forgotten after `dead_kept_s`, and a death or departure
of somebody unknown is no reason to remember him (else two nodes would remind each other for ever).
"""

from collections.abc import Iterator

from cluster.base.ids import NodeId
from cluster.base.ports import MemberState, MemberView, NodeMetadata
from cluster.swim.lifeguard import Suspicion
from cluster.swim.messages import Claim
from cluster.swim.settings import SwimSettings

ROUND_TRIP_WEIGHT = 0.25
"""Of the newest measurement in the smoothed round trip."""


class Member:
    """What is believed of one node. `metadata` outlives states that come without."""

    __slots__ = ("claim", "heard_s", "metadata", "round_trip_s", "since_s", "suspicion")

    def __init__(self, claim: Claim, now_s: float) -> None:
        self.claim = claim
        self.metadata = claim.metadata or NodeMetadata()
        self.since_s = now_s
        self.suspicion: Suspicion | None = None
        self.round_trip_s: float | None = None
        self.heard_s: float | None = None
        """When a packet of the node itself came last."""

    @property
    def state(self) -> MemberState:
        """Of the claim that holds."""
        return self.claim.state

    @property
    def is_present(self) -> bool:
        """Alive as far as anybody has shown: suspects are."""
        return self.claim.state <= MemberState.SUSPECT

    def take(self, claim: Claim, now_s: float) -> None:
        """Believes another claim."""
        self.claim = claim
        self.since_s = now_s
        self.suspicion = None
        if claim.metadata is not None:
            self.metadata = claim.metadata

    def note_round_trip(self, seconds: float) -> None:
        """One more measurement."""
        if self.round_trip_s is None:
            self.round_trip_s = seconds
        else:
            self.round_trip_s += ROUND_TRIP_WEIGHT * (seconds - self.round_trip_s)

    def view(self) -> MemberView:
        """As others may look at it."""
        return MemberView(
            self.claim.node,
            self.state,
            self.claim.incarnation,
            self.metadata,
            self.round_trip_s,
            self.heard_s,
        )


class Members:
    """Every node known, this one among them."""

    def __init__(self, settings: SwimSettings) -> None:
        self._settings = settings
        self._members: dict[NodeId, Member] = {}

    def __iter__(self) -> Iterator[Member]:
        return iter(self._members.values())

    def __len__(self) -> int:
        return len(self._members)

    def get(self, node: NodeId) -> Member | None:
        """What is believed of a node."""
        return self._members.get(node)

    def present(self, *, but: tuple[NodeId, ...] = ()) -> list[NodeId]:
        """The nodes that are alive or suspected, in order of their numbers."""
        return sorted(
            node for node, member in self._members.items() if member.is_present and node not in but
        )

    def add(self, claim: Claim, now_s: float) -> Member | None:
        """Remembers a node not known so far; None when there is no room."""
        if len(self._members) >= self._settings.members_max and not self._forget_oldest():
            return None
        member = self._members[claim.node] = Member(claim, now_s)
        return member

    def reap(self, now_s: float) -> list[NodeId]:
        """Forgets those who are dead or gone for long enough."""
        old = [
            node
            for node, member in self._members.items()
            if not member.is_present and now_s - member.since_s >= self._settings.dead_kept_s
        ]
        for node in old:
            del self._members[node]
        return old

    def _forget_oldest(self) -> bool:
        gone = [member for member in self._members.values() if not member.is_present]
        if not gone:
            return False
        del self._members[min(gone, key=lambda member: member.since_s).claim.node]
        return True
