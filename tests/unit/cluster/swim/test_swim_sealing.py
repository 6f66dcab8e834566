"""Datagrams are opened once, by whom they are for, and only from whom they say."""

import random

import pytest

from cluster.base.errors import BadFrame
from cluster.base.ports import NodeMetadata
from cluster.swim.core import Swim
from cluster.swim.endpoint import Dropped, GossipEndpoint
from cluster.swim.sealing import (
    DATAGRAM_BYTES_MAX,
    WINDOW,
    Opened,
    Reason,
    Refusal,
    ReplayWindow,
    Sealer,
)
from cluster.testing.swim_world import SeededBytes


def _pair(cluster: str = "c") -> tuple[Sealer, Sealer]:
    one = Sealer(cluster, 1, SeededBytes(random.Random(1)))
    other = Sealer("c", 2, SeededBytes(random.Random(2)))
    _hand_over(one, other)
    return one, other


def _hand_over(one: Sealer, other: Sealer) -> None:
    offer = one.offer()
    one.use(2, offer)
    other.accept(1, offer)


def _sealed(sealer: Sealer, payload: bytes = b"tap") -> bytes:
    datagram = sealer.seal(2, payload)
    assert datagram is not None
    return datagram


def test_a_datagram_is_opened_once():
    """The second time it is a replay, also after others came in between."""
    one, other = _pair()
    first, second = _sealed(one), _sealed(one)
    assert other.open(second) == Opened(1, b"tap")
    assert other.open(first) == Opened(1, b"tap")
    assert other.open(first) == Refusal(Reason.REPLAYED, 1)
    assert other.open(second) == Refusal(Reason.REPLAYED, 1)


def test_every_changed_byte_is_noticed():
    """Head, counter, payload and tag are all authenticated; nothing raises."""
    one, other = _pair()
    datagram = _sealed(one)
    for at in range(len(datagram)):
        changed = datagram[:at] + bytes([datagram[at] ^ 1]) + datagram[at + 1 :]
        assert isinstance(other.open(changed), Refusal)
    for size in (0, 10, len(datagram) - 1):
        assert isinstance(other.open(datagram[:size]), Refusal)
    assert other.open(datagram) == Opened(1, b"tap"), "forgeries moved no window"


def test_a_datagram_of_another_cluster_or_for_another_node_is_refused():
    """The receiver and the whole id of the cluster are authenticated."""
    stranger, other = _pair("another")
    assert other.open(_sealed(stranger)) == Refusal(Reason.FOREIGN, 0)
    one, _ = _pair()
    third = Sealer("c", 3, SeededBytes(random.Random(3)))
    offer = one.offer()
    third.accept(1, offer)
    one.use(2, offer)
    assert third.open(_sealed(one)) == Refusal(Reason.FORGED, 1)


def test_the_two_newest_keys_of_a_sender_hold():
    """What was sent under the old key before a rotation still comes in; older ones do not."""
    one, other = _pair()
    oldest, old = _sealed(one), _sealed(one)
    _hand_over(one, other)
    assert other.open(old) == Opened(1, b"tap")
    assert other.open(_sealed(one)) == Opened(1, b"tap")
    _hand_over(one, other)
    assert other.open(oldest) == Refusal(Reason.UNKNOWN_KEY, 1)


def test_an_older_key_does_not_replace_a_newer_one():
    """Exchanges that cross leave the newest key in use."""
    one, other = _pair()
    slow, fast = one.offer(), one.offer()
    other.accept(1, slow)
    other.accept(1, fast)
    one.use(2, fast)
    before = _sealed(one)
    one.use(2, slow)
    assert _sealed(one)[13:17] == before[13:17]


def test_a_node_that_was_forgotten_is_not_spoken_to():
    """Without a key there is no datagram, and none is taken."""
    one, other = _pair()
    datagram = _sealed(one)
    one.forget(2)
    other.forget(1)
    assert one.seal(2, b"tap") is None
    assert other.open(datagram) == Refusal(Reason.UNKNOWN_KEY, 1)


def test_the_window_takes_each_counter_once_and_none_behind_it():
    """RFC 4303, section 3.4.3, against a set of what came."""
    window, came = ReplayWindow(), set()
    chance = random.Random(7)
    highest = 0
    for _ in range(5000):
        counter = max(0, highest + chance.randrange(-WINDOW - 50, 40))
        wanted = counter > 0 and counter not in came and counter > highest - WINDOW
        assert window.accept(counter) is wanted
        if wanted:
            came.add(counter)
            highest = max(highest, counter)


def _endpoint(node: int) -> GossipEndpoint:
    chance = SeededBytes(random.Random(node))
    swim = Swim(node, NodeMetadata(zone="z" * 400), incarnation=1, random=chance, now_s=0.0)
    return GossipEndpoint(swim, "c", chance)


def _exchange(one: GossipEndpoint, other: GossipEndpoint) -> None:
    request, offer = one.begin_exchange()
    answer = other.answer_exchange(one.swim.own, request, 0.0)
    one.end_exchange(other.swim.own, offer, answer, 0.0)


def test_an_unknown_key_of_somebody_known_asks_for_an_exchange_once_a_second():
    """A node that started anew is understood again; strangers cannot make anybody talk."""
    one, other = _endpoint(1), _endpoint(2)
    _exchange(one, other)
    other.take()
    other.sealer.forget(1)
    datagrams = [_sealed(one.sealer) for _ in range(3)]
    for datagram in datagrams:
        other.on_datagram(datagram, 1.0)
    assert other.take().exchanges == (1,)
    other.on_datagram(datagrams[0], 1.5)
    assert other.take().exchanges == ()
    other.on_datagram(datagrams[0], 2.0)
    assert other.take().exchanges == (1,)
    assert other.dropped[Reason.UNKNOWN_KEY] == 5


def test_datagrams_keep_to_their_size_however_much_there_is_to_tell():
    """Many nodes with long metadata: every datagram fits, and some claims wait."""
    one, other = _endpoint(1), _endpoint(2)
    for node in range(3, 60):
        _exchange(one, _endpoint(node))
    _exchange(one, other)
    sizes = []
    for turn in range(1, 200):
        one.on_tick(turn * 0.1)
        sizes += [len(datagram) for _, datagram in one.take().datagrams]
    assert 1200 < max(sizes) <= DATAGRAM_BYTES_MAX


def test_a_sealed_payload_that_is_no_packet_is_counted():
    """A node of another version cannot hurt."""
    one, other = _endpoint(1), _endpoint(2)
    _exchange(one, other)
    other.on_datagram(_sealed(one.sealer, b"\xc1"), 0.1)
    assert other.dropped[Dropped.BAD_PACKET] == 1
    with pytest.raises(BadFrame):
        other.answer_exchange(1, b"\xc1", 0.1)
