"""SWIM with Lifeguard for one node: probes, suspicion, refutation, dissemination.

In everyday words: every second each node taps another one on the shoulder. Who does not answer is
tapped by some others as well; who answers none of them is suspected aloud. A suspect that hears of
it says "I am here" with a higher number than the accusation; one that says nothing for a while is
held for dead. News rides on the tapping. Lifeguard adds modesty: a node whose own affairs go badly
takes more time before it accuses anybody.

What it is not: it sends nothing, has no clock and no randomness of its own, knows no addresses and
no keys (`endpoint` joins it with `sealing`). It decides nothing but what this node believes.

Sources: Das, Gupta, Motivala, SWIM (DSN 2002); Dadgar, Phillips, Currey, Lifeguard (2018).

Invariants: claims about a node only go forward in their order (`messages.Claim.order`); only a node
itself raises its incarnation, always above what is said against it; a packet from nobody known is
answered and believed only as far as its claims are newer; all tables and queues are bounded.
"""

from collections.abc import Sequence
from typing import NamedTuple

import msgspec

from cluster.base.ids import NodeId
from cluster.base.ports import MemberState, MemberView, NodeMetadata, Random
from cluster.swim.chance import index_below, sample
from cluster.swim.dissemination import Broadcasts
from cluster.swim.lifeguard import LocalHealth, Suspicion
from cluster.swim.members import Member, Members
from cluster.swim.messages import (
    INCARNATION_MAX,
    Claim,
    Kind,
    Packet,
    check_metadata,
    encode,
    own_claim,
)
from cluster.swim.probing import Probe, Relay, Rotation
from cluster.swim.settings import SwimSettings

PACKET_BYTES = 40
"""Of a packet without its claims, at most."""


class SwimCounts(msgspec.Struct):
    """What happened since the start."""

    probes: int = 0
    probes_failed: int = 0
    suspicions: int = 0
    deaths: int = 0
    refutations: int = 0
    members_refused: int = 0
    relays_dropped: int = 0


class Outgoing(NamedTuple):
    """A packet for a node."""

    to: NodeId
    packet: Packet


class Swim:
    """The detector of one node. `now_s` never goes back and is of any beginning; `incarnation` of
    a new life should be above that of the last one (the wall clock is good enough)."""

    def __init__(
        self,
        own: NodeId,
        metadata: NodeMetadata,
        *,
        incarnation: int,
        random: Random,
        now_s: float,
        settings: SwimSettings | None = None,
    ) -> None:
        check_metadata(metadata)
        self.own = own
        self.settings = settings or SwimSettings()
        self.counts = SwimCounts()
        self.health = LocalHealth(self.settings.health_max)
        self.members = Members(self.settings)
        self.broadcasts = Broadcasts(self.settings.retransmit_multiplier)
        self.is_leaving = False
        self._random = random
        self._rotation = Rotation(random)
        self._outgoing: list[Outgoing] = []
        self._exchanges: list[NodeId] = []
        self._probe: Probe | None = None
        self._relays: dict[int, Relay] = {}
        self._number = 0
        self._last_tick_s = now_s
        self._probe_at_s = now_s + self._jitter(self.settings.probe_interval_s)
        self._gossip_at_s = now_s
        self._exchange_at_s = now_s + self._jitter(self.settings.push_pull_interval_s)
        self._reconnect_at_s = now_s
        self._seeds: tuple[NodeId, ...] = ()
        self._own_member = self._admit(own_claim(own, incarnation, metadata), now_s)

    # What a driver calls.

    def set_seeds(self, nodes: tuple[NodeId, ...]) -> None:
        """Nodes to look for although nothing was heard of them."""
        self._seeds = tuple(sorted(set(nodes) - {self.own}))
        self._exchanges += self._seeds

    def set_metadata(self, metadata: NodeMetadata) -> None:
        """What this node says of itself from now on; costs an incarnation when it is new.

        Raises BadFrame for what is too long.
        """
        check_metadata(metadata)
        if metadata != self._own_member.metadata and not self.is_leaving:
            self._own_member.metadata = metadata
            self._raise_incarnation(self._own_member.claim.incarnation, self._last_tick_s)

    def leave(self) -> None:
        """Tells the others that this node goes on purpose: nobody will suspect it."""
        self.is_leaving = True
        claim = Claim(self.own, self._own_member.claim.incarnation, MemberState.LEFT, self.own)
        self._own_member.take(claim, self._last_tick_s)
        self.broadcasts.add(claim)

    def take(self) -> tuple[list[Outgoing], list[NodeId]]:
        """The packets to send, and the nodes to exchange everything with."""
        outgoing, self._outgoing = self._outgoing, []
        exchanges, self._exchanges = self._exchanges, []
        return outgoing, exchanges

    def views(self) -> tuple[MemberView, ...]:
        """Every node known, by number."""
        return tuple(member.view() for member in sorted(self.members, key=_node_of))

    def claims(self) -> tuple[Claim, ...]:
        """Everything known, for an exchange."""
        return tuple(member.claim for member in self.members)

    def on_tick(self, now_s: float) -> None:
        """Does what is due; called at least every tenth of a second."""
        away_s = now_s - self._last_tick_s
        self._last_tick_s = now_s
        if away_s > self.settings.asleep_s:
            self._excuse(away_s)
        if not self.is_leaving:
            self._tick_probe(now_s)
            self._tick_suspicions(now_s)
        self._tick_relays(now_s)
        self._tick_gossip(now_s)
        self._tick_exchanges(now_s)

    def on_packet(self, sender: NodeId, packet: Packet, now_s: float) -> None:
        """Takes a packet that `sender` is proved to have sent."""
        newer = [newer for claim in packet.claims if (newer := self.on_claim(claim, now_s))]
        member = self.members.get(sender)
        if member is not None:
            member.heard_s = now_s
        if packet.kind is Kind.PING and packet.target == self.own:
            self._answer(sender, Kind.ACK, packet.number, claims=newer)
        elif newer:
            self._answer(sender, Kind.GOSSIP, 0, claims=newer)
        if packet.kind is Kind.PING_REQ:
            self._help(sender, packet, now_s)
        elif packet.kind is Kind.ACK:
            self._on_ack(sender, packet.number, now_s)
        elif packet.kind is Kind.NACK:
            self._on_nack(sender, packet.number)

    def on_claim(self, claim: Claim, now_s: float) -> Claim | None:
        """Joins what somebody says into what is believed; what overrides it, if he should hear."""
        member = self.members.get(claim.node)
        if claim.node == self.own:
            self._refute(claim, now_s)
        elif member is None:
            if claim.state <= MemberState.SUSPECT:
                self._admit(claim, now_s)
        elif claim.order > member.claim.order:
            self._believe(member, claim, now_s)
        elif claim.order == member.claim.order and member.suspicion is not None:
            self._confirm(member.suspicion, claim)
        return member.claim if member is not None and member.claim.order > claim.order else None

    # Beliefs.

    def _confirm(self, suspicion: Suspicion, claim: Claim) -> None:
        if suspicion.confirm(claim.by):
            self.broadcasts.add(claim)

    def _admit(self, claim: Claim, now_s: float) -> Member:
        member = self.members.add(claim, now_s)
        if member is None:
            self.counts.members_refused += 1
            return Member(claim, now_s)
        self._note(member, claim, now_s)
        if claim.node != self.own:
            self._exchanges.append(claim.node)
        return member

    def _believe(self, member: Member, claim: Claim, now_s: float) -> None:
        member.take(claim, now_s)
        self._note(member, claim, now_s)

    def _note(self, member: Member, claim: Claim, now_s: float) -> None:
        if claim.state is MemberState.SUSPECT:
            self.counts.suspicions += 1
            member.suspicion = Suspicion(
                claim.by,
                nodes=len(self.members.present()),
                since_s=now_s,
                settings=self.settings,
            )
        elif claim.state is MemberState.DEAD:
            self.counts.deaths += 1
        self.broadcasts.add(claim)

    def _refute(self, claim: Claim, now_s: float) -> None:
        """Somebody speaks of this node: stands unless it is what this node said itself."""
        mine = self._own_member.claim
        is_mine = claim.order == mine.order and claim.metadata == mine.metadata
        if self.is_leaving or is_mine or claim.incarnation < mine.incarnation:
            return
        if claim.state is not MemberState.ALIVE:
            self.health.note(1)
        self.counts.refutations += 1
        self._raise_incarnation(claim.incarnation, now_s)

    def _raise_incarnation(self, above: int, now_s: float) -> None:
        incarnation = min(INCARNATION_MAX, above + 1)
        claim = own_claim(self.own, incarnation, self._own_member.metadata)
        self._own_member.take(claim, now_s)
        self.broadcasts.add(claim)

    def _accuse(self, node: NodeId, state: MemberState, now_s: float) -> None:
        member = self.members.get(node)
        if member is not None:
            self.on_claim(Claim(node, member.claim.incarnation, state, self.own), now_s)

    # Probes.

    def _tick_probe(self, now_s: float) -> None:
        probe = self._probe
        if probe is not None and probe.helpers is None and now_s >= probe.helps_at_s:
            self._ask_others(probe)
        if now_s >= self._probe_at_s:
            if probe is not None:
                self._end_probe(probe, now_s)
            self._begin_probe(now_s)

    def _begin_probe(self, now_s: float) -> None:
        self._probe_at_s = now_s + self.health.scaled(self.settings.probe_interval_s)
        target = self._rotation.next(self.members.present(but=(self.own,)))
        if target is None:
            self._probe = None
            return
        self.counts.probes += 1
        self._probe = Probe(
            self._next_number(),
            target,
            sent_at_s=now_s,
            helps_at_s=now_s + self.health.scaled(self.settings.probe_timeout_s),
        )
        self._answer(target, Kind.PING, self._probe.number)

    def _ask_others(self, probe: Probe) -> None:
        if probe.is_answered:
            probe.helpers = frozenset()
            return
        others = self.members.present(but=(self.own, probe.target))
        helpers = sample(self._random, others, self.settings.indirect_probes)
        probe.helpers = frozenset(helpers)
        for helper in helpers:
            self._answer(helper, Kind.PING_REQ, probe.number, target=probe.target)

    def _end_probe(self, probe: Probe, now_s: float) -> None:
        self.health.note(probe.sign_of_health())
        if not probe.is_answered:
            self.counts.probes_failed += 1
            self._accuse(probe.target, MemberState.SUSPECT, now_s)

    def _on_ack(self, sender: NodeId, number: int, now_s: float) -> None:
        relay = self._relays.get(number)
        if relay is not None and relay.target == sender:
            del self._relays[number]
            self._answer(relay.asker, Kind.ACK, relay.number)
            return
        probe = self._probe
        if probe is None or not probe.accepts(sender, number) or probe.is_answered:
            return
        probe.is_answered = True
        member = self.members.get(sender)
        if sender == probe.target and member is not None:
            member.note_round_trip(now_s - probe.sent_at_s)

    def _on_nack(self, sender: NodeId, number: int) -> None:
        probe = self._probe
        if probe is not None and sender != probe.target and probe.accepts(sender, number):
            probe.nacks.add(sender)

    def _help(self, asker: NodeId, packet: Packet, now_s: float) -> None:
        if len(self._relays) >= self.settings.relays_max or not packet.target:
            self.counts.relays_dropped += 1
            return
        timeout_s = self.settings.probe_timeout_s
        number = self._next_number()
        self._relays[number] = Relay(
            asker,
            packet.number,
            packet.target,
            nack_at_s=now_s + timeout_s * self.settings.nack_ratio,
            ends_at_s=now_s + self.settings.probe_interval_s * (self.settings.health_max + 1),
        )
        self._answer(packet.target, Kind.PING, number)

    def _tick_relays(self, now_s: float) -> None:
        for number, relay in list(self._relays.items()):
            if relay.nack_at_s is not None and now_s >= relay.nack_at_s:
                relay.nack_at_s = None
                self._answer(relay.asker, Kind.NACK, relay.number)
            if now_s >= relay.ends_at_s:
                del self._relays[number]

    def _tick_suspicions(self, now_s: float) -> None:
        for member in list(self.members):
            if member.suspicion is not None and now_s >= member.suspicion.deadline_s:
                self._accuse(member.claim.node, MemberState.DEAD, now_s)

    def _excuse(self, away_s: float) -> None:
        """This node was away itself: who could not answer meanwhile is not to blame."""
        self.health.note(1)
        self._probe = None
        for member in self.members:
            if member.suspicion is not None:
                member.suspicion.since_s += away_s

    # News.

    def _tick_gossip(self, now_s: float) -> None:
        if now_s < self._gossip_at_s:
            return
        self._gossip_at_s = now_s + self.settings.gossip_interval_s
        others = self.members.present(but=(self.own,))
        for to in sample(self._random, others, self.settings.gossip_fanout):
            claims = self._take_claims(self.settings.payload_bytes_max - PACKET_BYTES)
            if not claims:
                return
            self._outgoing.append(Outgoing(to, Packet(Kind.GOSSIP, 0, 0, tuple(claims))))

    def _tick_exchanges(self, now_s: float) -> None:
        if now_s >= self._exchange_at_s:
            for node in self.members.reap(now_s):
                self.broadcasts.drop(node)
            interval_s = self.settings.push_pull_interval_s
            self._exchange_at_s = now_s + interval_s / 2 + self._jitter(interval_s)
            self._exchange_with_one(self.members.present(but=(self.own,)))
        if now_s >= self._reconnect_at_s:
            self._reconnect_at_s = now_s + self.settings.reconnect_interval_s
            absent = {seed for seed in self._seeds if self.members.get(seed) is None}
            dead = {m.claim.node for m in self.members if m.state is MemberState.DEAD}
            self._exchange_with_one(sorted(absent | dead))

    def _exchange_with_one(self, nodes: list[NodeId]) -> None:
        if nodes:
            self._exchanges.append(nodes[index_below(self._random, len(nodes))])

    def _answer(
        self,
        to: NodeId,
        kind: Kind,
        number: int,
        *,
        target: NodeId = 0,
        claims: Sequence[Claim] = (),
    ) -> None:
        """Sends a packet, with what others say of its receiver first (the buddy system of
        Lifeguard, section 4.3), so that it can refute; then `claims`, then news."""
        room = self.settings.payload_bytes_max - PACKET_BYTES
        member = self.members.get(to)
        if member is not None and member.state is not MemberState.ALIVE:
            claims = [member.claim, *claims]
        packed: list[Claim] = []
        for claim in claims:
            size = len(encode(claim))
            if size <= room:
                packed.append(claim)
                room -= size
        packed += self._take_claims(room)
        target = target or (to if kind is Kind.PING else 0)
        self._outgoing.append(Outgoing(to, Packet(kind, number, target, tuple(packed))))

    def _take_claims(self, room: int) -> list[Claim]:
        return self.broadcasts.take(room, nodes=len(self.members))

    def _next_number(self) -> int:
        self._number += 1
        return self._number

    def _jitter(self, seconds: float) -> float:
        return seconds * index_below(self._random, 1024) / 1024


def _node_of(member: Member) -> NodeId:
    return member.claim.node
