"""One node's gossip, whole but for the sockets: the detector behind sealed datagrams.

A driver hands in datagrams and the bytes of exchanges, calls `on_tick`, and does what `take` says.
Exchanges go over a connection on which both sides have proved who they are. They join what both
know, and hand each side a fresh key for the datagrams of the other: without one nothing can be
sent, and a datagram under an unknown key makes this node ask its sender for an exchange, at most
one a second and only if it is somebody known.
"""

from enum import StrEnum
from typing import NamedTuple

from cluster.base.errors import BadFrame
from cluster.base.ids import NodeId
from cluster.base.ports import Random
from cluster.swim.core import Swim
from cluster.swim.messages import Packet, PushPull, decode, encode
from cluster.swim.sealing import Offer, Reason, Refusal, Sealer


class Dropped(StrEnum):
    """Why a datagram was not sent or not taken, beside what `Reason` names."""

    NO_KEY = "no_key"
    BAD_PACKET = "bad_packet"


class Output(NamedTuple):
    """What a driver is to do: datagrams to send, nodes to exchange everything with."""

    datagrams: tuple[tuple[NodeId, bytes], ...]
    exchanges: tuple[NodeId, ...]


class GossipEndpoint:
    """The detector of one node with its keys."""

    def __init__(self, swim: Swim, cluster: str, random: Random) -> None:
        self.swim = swim
        self.sealer = Sealer(cluster, swim.own, random)
        self.dropped: dict[str, int] = {str(why): 0 for why in (*Reason, *Dropped)}
        self._introduced_s: dict[NodeId, float] = {}
        self._introductions: list[NodeId] = []
        self._now_s = 0.0

    def on_tick(self, now_s: float) -> None:
        """Does what is due."""
        self._now_s = now_s
        self.swim.on_tick(now_s)

    def on_datagram(self, datagram: bytes, now_s: float) -> None:
        """Takes a datagram from anywhere; what is not sealed by a known node is counted."""
        self._now_s = now_s
        opened = self.sealer.open(datagram)
        if isinstance(opened, Refusal):
            self.dropped[opened.reason] += 1
            if opened.reason is Reason.UNKNOWN_KEY:
                self._introduce(opened.sender)
            return
        try:
            packet = decode(opened.payload, Packet)
        except BadFrame:
            self.dropped[Dropped.BAD_PACKET] += 1
        else:
            self.swim.on_packet(opened.sender, packet, now_s)

    def take(self) -> Output:
        """What is to be done now."""
        outgoing, exchanges = self.swim.take()
        datagrams = []
        for to, packet in outgoing:
            datagram = self.sealer.seal(to, encode(packet))
            if datagram is None:
                self.dropped[Dropped.NO_KEY] += 1
                self._introduce(to)
            else:
                datagrams.append((to, datagram))
        introductions, self._introductions = self._introductions, []
        return Output(tuple(datagrams), tuple(dict.fromkeys([*exchanges, *introductions])))

    def begin_exchange(self) -> tuple[bytes, Offer]:
        """What to send to a node for an exchange; the offer goes to `end_exchange` again."""
        offer = self.sealer.offer()
        return encode(PushPull(*offer, self.swim.claims())), offer

    def answer_exchange(self, sender: NodeId, request: bytes, now_s: float) -> bytes:
        """Takes what `sender` knows, and gives what this node knows. Raises BadFrame."""
        self._join(sender, decode(request, PushPull), now_s)
        answer, offer = self.begin_exchange()
        self.sealer.use(sender, offer)
        return answer

    def end_exchange(self, to: NodeId, offer: Offer, answer: bytes, now_s: float) -> None:
        """Takes the answer of `to`, which has the key now. Raises BadFrame."""
        message = decode(answer, PushPull)
        self.sealer.use(to, offer)
        self._join(to, message, now_s)

    def _join(self, sender: NodeId, message: PushPull, now_s: float) -> None:
        self.sealer.accept(sender, Offer(message.key_id, message.key))
        for claim in message.claims:
            self.swim.on_claim(claim, now_s)

    def _introduce(self, node: NodeId) -> None:
        """Asks for an exchange with a node that is known, unless that was done just now."""
        if self.swim.members.get(node) is None or node == self.swim.own:
            return
        last_s = self._introduced_s.get(node)
        pause_s = self.swim.settings.introduce_interval_s
        if last_s is None or self._now_s - last_s >= pause_s:
            self._introduced_s = {
                each: at_s
                for each, at_s in self._introduced_s.items()
                if self._now_s - at_s < pause_s
            }
            self._introduced_s[node] = self._now_s
            self._introductions.append(node)
