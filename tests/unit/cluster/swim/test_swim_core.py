"""Single steps of the detector, with their places in the papers."""

import random

import pytest

from cluster.base.errors import BadFrame
from cluster.base.ports import MemberState, NodeMetadata
from cluster.swim.core import Swim
from cluster.swim.dissemination import Broadcasts
from cluster.swim.lifeguard import LocalHealth, Suspicion
from cluster.swim.messages import (
    METADATA_BYTES_MAX,
    Claim,
    Kind,
    Packet,
    PushPull,
    decode,
    encode,
    own_claim,
)
from cluster.swim.settings import SwimSettings
from cluster.testing.swim_world import SeededBytes

SETTINGS = SwimSettings()


def _swim(settings: SwimSettings = SETTINGS, others: tuple[int, ...] = (2, 3)) -> Swim:
    swim = Swim(
        1,
        NodeMetadata(zone="a"),
        incarnation=10,
        random=SeededBytes(random.Random(1)),
        now_s=0.0,
        settings=settings,
    )
    for node in others:
        swim.on_claim(own_claim(node, 5, NodeMetadata()), 0.0)
    swim.take()
    return swim


def _state(swim: Swim, node: int) -> MemberState:
    member = swim.members.get(node)
    assert member is not None
    return member.state


def _claims(swim: Swim) -> list[Claim]:
    return [claim for sent in swim.take()[0] for claim in sent.packet.claims]


def test_a_suspicion_of_oneself_is_refuted_by_a_greater_incarnation():
    """SWIM, section 4.2: only the accused raises its number, above the accusation."""
    swim = _swim()
    swim.on_packet(2, Packet(Kind.PING, 7, 1, (Claim(1, 14, MemberState.SUSPECT, 3),)), 0.1)
    (sent,) = swim.take()[0]
    assert (sent.to, sent.packet.kind, sent.packet.number) == (2, Kind.ACK, 7)
    assert own_claim(1, 15, NodeMetadata(zone="a")) in sent.packet.claims
    assert swim.health.score == 1


@pytest.mark.parametrize(
    ("incarnation", "state", "held"),
    [
        (5, MemberState.SUSPECT, MemberState.SUSPECT),
        (4, MemberState.DEAD, MemberState.ALIVE),
        (5, MemberState.DEAD, MemberState.DEAD),
        (5, MemberState.LEFT, MemberState.LEFT),
    ],
)
def test_a_claim_wins_by_incarnation_and_then_by_state(incarnation, state, held):
    """SWIM, section 4.2: an older incarnation says nothing any more."""
    swim = _swim()
    swim.on_claim(Claim(2, incarnation, state, 3), 0.1)
    assert _state(swim, 2) is held


def test_whoever_left_does_not_come_back_by_old_news():
    """The same incarnation, alive, is older than the leaving; the next one is a new life."""
    swim = _swim()
    swim.on_claim(Claim(2, 5, MemberState.LEFT, 2), 0.1)
    swim.on_claim(own_claim(2, 5, NodeMetadata()), 0.2)
    assert _state(swim, 2) is MemberState.LEFT
    swim.on_claim(own_claim(2, 6, NodeMetadata()), 0.3)
    assert _state(swim, 2) is MemberState.ALIVE


def test_a_sender_with_old_news_is_told_the_newer():
    """Whoever missed a claim gets it with the next answer, and not by chance."""
    swim = _swim(SwimSettings(retransmit_multiplier=1))
    swim.on_claim(own_claim(3, 6, NodeMetadata(zone="b")), 0.1)
    swim.on_tick(0.1)
    swim.take()
    assert len(swim.broadcasts) == 0
    swim.on_packet(2, Packet(Kind.GOSSIP, 0, 0, (Claim(3, 5, MemberState.SUSPECT, 2),)), 0.2)
    assert own_claim(3, 6, NodeMetadata(zone="b")) in _claims(swim)


def test_a_silent_node_is_probed_by_others_and_then_suspected_and_dead():
    """SWIM, sections 3 and 4.2, and the times of Lifeguard with nobody to confirm."""
    swim = _swim(others=(2,))
    now_s, kinds, states = 0.0, [], []
    while now_s < 6.0:
        now_s += 0.1
        swim.on_tick(now_s)
        kinds += [sent.packet.kind for sent in swim.take()[0]]
        if not states or states[-1] is not _state(swim, 2):
            states.append(_state(swim, 2))
    assert states == [MemberState.ALIVE, MemberState.SUSPECT, MemberState.DEAD]
    assert Kind.PING_REQ not in kinds, "there is nobody else to ask"


def test_a_helper_passes_the_answer_on_or_says_that_there_is_none():
    """SWIM, section 3 (ping-req), and the nack of Lifeguard, section 4.1."""
    swim = _swim()
    swim.on_packet(2, Packet(Kind.PING_REQ, 77, 3), 0.0)
    (ping,) = swim.take()[0]
    assert (ping.to, ping.packet.kind, ping.packet.target) == (3, Kind.PING, 3)
    swim.on_tick(0.17)
    nacks = [sent for sent in swim.take()[0] if sent.packet.kind is Kind.NACK]
    assert [(sent.to, sent.packet.number) for sent in nacks] == [(2, 77)]
    swim.on_packet(2, Packet(Kind.ACK, ping.packet.number, 0), 0.2)
    assert not swim.take()[0], "node 2 was not asked"
    swim.on_packet(3, Packet(Kind.ACK, ping.packet.number, 0), 0.2)
    (ack,) = swim.take()[0]
    assert (ack.to, ack.packet.kind, ack.packet.number) == (2, Kind.ACK, 77)


def test_helping_is_bounded():
    """Further indirect probes are dropped and counted."""
    swim = _swim(SwimSettings(relays_max=1))
    for number in (1, 2):
        swim.on_packet(2, Packet(Kind.PING_REQ, number, 3), 0.0)
    assert swim.counts.relays_dropped == 1


def test_the_table_of_members_is_bounded_and_forgets_the_dead_first():
    """Beyond `members_max` a stranger is refused unless one of the dead can go."""
    swim = _swim(SwimSettings(members_max=3))
    swim.on_claim(own_claim(4, 1, NodeMetadata()), 1.0)
    assert swim.members.get(4) is None
    assert swim.counts.members_refused == 1
    swim.on_claim(Claim(2, 5, MemberState.DEAD, 3), 2.0)
    swim.on_claim(own_claim(4, 1, NodeMetadata()), 3.0)
    assert [view.node for view in swim.views()] == [1, 3, 4]


def test_the_dead_are_forgotten_in_the_end_and_not_by_hearsay_recalled():
    """A death of somebody unknown is no news, else nodes would remind each other for ever."""
    swim = _swim(SwimSettings(dead_kept_s=100.0))
    swim.on_claim(Claim(2, 5, MemberState.DEAD, 3), 1.0)
    swim.on_tick(90.0)
    assert swim.members.get(2) is not None
    swim.on_tick(200.0)
    assert swim.members.get(2) is None
    swim.on_claim(Claim(2, 5, MemberState.DEAD, 3), 201.0)
    assert swim.members.get(2) is None


def test_a_node_that_was_away_blames_nobody_for_it():
    """After a gap between ticks the deadline of a suspicion moves by the gap."""
    swim = _swim()
    swim.on_tick(0.1)
    swim.on_claim(Claim(2, 5, MemberState.SUSPECT, 3), 0.1)
    swim.on_tick(60.0)
    assert _state(swim, 2) is MemberState.SUSPECT
    assert swim.health.score == 1


def test_news_of_a_node_costs_an_incarnation():
    """Metadata is versioned by it; the same metadata again costs nothing."""
    swim = _swim()
    swim.set_metadata(NodeMetadata(zone="b"))
    swim.set_metadata(NodeMetadata(zone="b"))
    assert swim.views()[0].incarnation == 11
    assert swim.views()[0].metadata.zone == "b"


def test_a_suspicion_shrinks_by_the_logarithm_of_its_confirmations():
    """Lifeguard, section 4.2: max - (max - min) log(C + 1) / log(K + 1), each accuser once."""
    suspicion = Suspicion(2, nodes=8, since_s=100.0, settings=SETTINGS)
    deadlines = [suspicion.deadline_s]
    for accuser in (3, 3, 4, 5, 6):
        suspicion.confirm(accuser)
        deadlines.append(suspicion.deadline_s)
    assert deadlines == pytest.approx([115.0, 108.75, 108.75, 105.094, 102.5, 102.5], abs=0.001)
    assert Suspicion(2, nodes=2, since_s=0.0, settings=SETTINGS).deadline_s == 2.5


def test_the_health_multiplier_stays_within_its_bounds():
    """Lifeguard, section 4.1: from 0 to S, and times grow by the score plus one."""
    health = LocalHealth(8)
    health.note(-1)
    assert health.scaled(0.5) == 0.5
    health.note(20)
    assert health.scaled(0.5) == 4.5


def test_a_claim_goes_out_a_bounded_number_of_times():
    """SWIM, section 4.1: lambda log n; what was sent least goes first."""
    broadcasts = Broadcasts(2)
    broadcasts.add(Claim(5, 1, MemberState.DEAD, 1))
    assert [len(broadcasts.take(1000, nodes=20)) for _ in range(6)] == [1, 1, 1, 1, 0, 0]
    for node in (6, 7):
        broadcasts.add(Claim(node, 1, MemberState.DEAD, 1))
    one = len(encode(Claim(6, 1, MemberState.DEAD, 1)))
    turns = [broadcasts.take(one, nodes=20)[0].node for _ in range(4)]
    assert sorted(turns[:2]) == sorted(turns[2:]) == [6, 7]


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\xc1",
        encode(Packet(Kind.PING, 1, 1)) + b"x",
        encode(Packet(Kind.GOSSIP, 0, 0, (Claim(1, 2**63, MemberState.DEAD, 1),))),
        encode(Packet(Kind.GOSSIP, 0, 0, (Claim(0, 1, MemberState.DEAD, 1),))),
        encode(Packet(Kind.GOSSIP, 0, 0, (Claim(1, 1, MemberState.ALIVE, 1),))),
        encode(
            Packet(
                Kind.GOSSIP, 0, 0, (own_claim(1, 1, NodeMetadata(zone="z" * METADATA_BYTES_MAX)),)
            )
        ),
    ],
)
def test_bytes_that_are_no_packet_are_refused(data):
    """BadFrame, whatever they are."""
    with pytest.raises(BadFrame):
        decode(data, Packet)


def test_any_damage_to_a_packet_is_refused_or_another_packet():
    """Each byte of a packet set to each of some values: never another error than BadFrame."""
    whole = encode(Packet(Kind.PING, 300, 2, (own_claim(1, 7, NodeMetadata("a:1", zone="z")),)))
    for at in range(len(whole)):
        for value in (0, 1, 0x7F, 0x80, 0x93, 0xC0, 0xC4, 0xCF, 0xDD, 0xFF):
            try:
                decode(whole[:at] + bytes([value]) + whole[at + 1 :], Packet)
            except BadFrame:
                continue
        with pytest.raises(BadFrame):
            decode(whole[:at], Packet)


def test_the_bytes_of_version_1_stay_as_they_are():
    """Nodes of two releases understand each other."""
    claim = own_claim(7, 9, NodeMetadata("a:1", "b:2", "c:3", "z", "1", 5, 6))
    assert encode(Packet(Kind.ACK, 3, 0, (claim, Claim(8, 1, MemberState.LEFT, 8)))).hex() == (
        "9403030092950709000797a3613a31a3623a32a3633a33a17aa13105069508010308c0"
    )
    message = PushPull(1, bytes(32), (claim,))
    assert decode(encode(message), PushPull) == message
    assert "claims" in repr(message)
