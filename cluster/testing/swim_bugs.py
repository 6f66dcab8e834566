"""Bugs planted into the detector, to see whether the simulation finds them.

Each is one that an implementation of SWIM has had, or that ours could have: a subclass that
replaces a method. `seeds_max` is the budget within which the simulation must notice it, several
times what it needed when it was planted.
"""

from dataclasses import dataclass
from typing import Final

import msgspec

from cluster.base.ids import NodeId
from cluster.base.ports import MemberState, NodeMetadata, Random
from cluster.swim.core import Swim
from cluster.swim.endpoint import GossipEndpoint
from cluster.swim.messages import Claim, PushPull
from cluster.swim.sealing import Offer, ReplayWindow, Sealer


@dataclass(frozen=True, slots=True)
class Bug:
    """A planted bug: a mutated detector or endpoint."""

    name: str
    swim: type[Swim] = Swim
    endpoint: type[GossipEndpoint] = GossipEndpoint
    seeds_max: int = 60
    """Within so many seeds, from 0 on, the simulation must find it."""


NO_BUG: Final = Bug("none")


# Incarnations and refutation.


class _RefuteWithoutRaising(Swim):
    def _raise_incarnation(self, above: int, now_s: float) -> None:
        super()._raise_incarnation(self._own_member.claim.incarnation - 1, now_s)


class _AccuserRaisesIncarnation(Swim):
    def _accuse(self, node: NodeId, state: MemberState, now_s: float) -> None:
        member = self.members.get(node)
        if member is not None:
            incarnation = member.claim.incarnation + 1
            self.on_claim(Claim(node, incarnation, state, self.own), now_s)


class _EarlierLifeIgnored(Swim):
    def _refute(self, claim: Claim, now_s: float) -> None:
        if claim.incarnation == self._own_member.claim.incarnation:
            super()._refute(claim, now_s)


class _MetadataWithoutIncarnation(Swim):
    def set_metadata(self, metadata: NodeMetadata) -> None:
        claim = self._own_member.claim
        self._own_member.take(msgspec.structs.replace(claim, metadata=metadata), 0.0)
        self.broadcasts.add(self._own_member.claim)


class _LeaverRefutes(Swim):
    def _refute(self, claim: Claim, now_s: float) -> None:
        if self.is_leaving:
            self._raise_incarnation(claim.incarnation, now_s)
        else:
            super()._refute(claim, now_s)


# Beliefs.


class _DeadOverridesNewer(Swim):
    def on_claim(self, claim: Claim, now_s: float) -> Claim | None:
        member = self.members.get(claim.node)
        is_dead = claim.state is MemberState.DEAD and claim.node != self.own
        if member is not None and is_dead and member.is_present:
            self._believe(member, claim, now_s)
            return None
        return super().on_claim(claim, now_s)


class _SuspicionNeverEnds(Swim):
    def _tick_suspicions(self, now_s: float) -> None:
        pass


class _DeadNeverTried(Swim):
    def _tick_exchanges(self, now_s: float) -> None:
        self._reconnect_at_s = now_s + 1
        super()._tick_exchanges(now_s)


class _ExchangeRevivesLeft(GossipEndpoint):
    def _join(self, sender: NodeId, message: PushPull, now_s: float) -> None:
        super()._join(sender, message, now_s)
        for claim in message.claims:
            member = self.swim.members.get(claim.node)
            if member is not None and member.state is MemberState.LEFT and claim.metadata:
                member.take(claim, now_s)


# Probes and news.


class _ClaimsSentOnce(Swim):
    def _take_claims(self, room: int) -> list[Claim]:
        claims = super()._take_claims(room)
        for claim in claims:
            self.broadcasts.drop(claim.node)
        return claims


class _HelperAckIgnored(Swim):
    def _on_ack(self, sender: NodeId, number: int, now_s: float) -> None:
        probe = self._probe
        if probe is None or number != probe.number or sender == probe.target:
            super()._on_ack(sender, number, now_s)


class _ProbeForgottenByHelper(Swim):
    def _on_ack(self, sender: NodeId, number: int, now_s: float) -> None:
        self._relays.pop(number, None)
        super()._on_ack(sender, number, now_s)


# Seals.


class _OpenWindow(ReplayWindow):
    def accept(self, counter: int) -> bool:
        return True


class _SealerWithoutWindow(Sealer):
    def accept(self, sender: NodeId, offer: Offer) -> None:
        super().accept(sender, offer)
        for key in self._receiving[sender]:
            key.window = _OpenWindow()


class _ReplayAccepted(GossipEndpoint):
    def __init__(self, swim: Swim, cluster: str, random: Random) -> None:
        super().__init__(swim, cluster, random)
        self.sealer = _SealerWithoutWindow(cluster, swim.own, random)


class _NeverIntroduced(GossipEndpoint):
    def _introduce(self, node: NodeId) -> None:
        pass


BUGS: Final = {
    bug.name: bug
    for bug in (
        Bug("accuser_raises_incarnation", swim=_AccuserRaisesIncarnation),
        Bug("claims_sent_once", swim=_ClaimsSentOnce),
        Bug("dead_never_tried", swim=_DeadNeverTried),
        Bug("dead_overrides_newer", swim=_DeadOverridesNewer),
        Bug("earlier_life_ignored", swim=_EarlierLifeIgnored, seeds_max=200),
        Bug("exchange_revives_left", endpoint=_ExchangeRevivesLeft),
        Bug("helper_ack_ignored", swim=_HelperAckIgnored),
        Bug("helper_forgets_asker", swim=_ProbeForgottenByHelper),
        Bug("leaver_refutes", swim=_LeaverRefutes),
        Bug("metadata_without_incarnation", swim=_MetadataWithoutIncarnation),
        Bug("never_introduced", endpoint=_NeverIntroduced, seeds_max=600),
        Bug("refute_without_raising", swim=_RefuteWithoutRaising),
        Bug("replay_accepted", endpoint=_ReplayAccepted),
        Bug("suspicion_never_ends", swim=_SuspicionNeverEnds),
    )
}
