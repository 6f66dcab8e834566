"""The driver of gossip over a network in memory, and over UDP on the loopback."""

import random

import pytest
import trio

from cluster.base.errors import ClusterError
from cluster.base.ports import MemberState, NodeMetadata
from cluster.drivers.gossip import DESCRIBE_INTERVAL_S, METHOD, Gossip
from cluster.drivers.gossip_udp import UdpSocket
from cluster.swim.core import Swim
from cluster.swim.endpoint import GossipEndpoint
from cluster.swim.sealing import Reason
from cluster.testing.memory_peers import MemoryNetwork, MemoryPeers
from cluster.testing.seeded_trio import run_seeded
from cluster.testing.swim_world import SeededBytes


class _Clock:
    def now_ms(self):
        return int(trio.current_time() * 1000)

    def monotonic(self):
        return trio.current_time()


class _Wire:
    """Datagrams between nodes of a network in memory; an address is the node's number."""

    def __init__(self):
        self.inboxes = {}
        self.down = set()
        self.no_route = False


class _WireSocket:
    def __init__(self, wire, node):
        self._wire = wire
        self._node = node
        self._send, self._receive = trio.open_memory_channel(1000)
        wire.inboxes[node] = self._send

    async def send_to(self, datagram, address):
        if self._wire.no_route:
            raise OSError("no route to host")
        if not {self._node, address[1]} & self._wire.down:
            self._wire.inboxes[address[1]].send_nowait(datagram)

    async def receive(self):
        return await self._receive.receive()


class _World:
    def __init__(self, nursery, count, describe=None):
        self.wire = _Wire()
        self.network = MemoryNetwork(random.Random(1))
        self.nodes = {}
        nursery.start_soon(self.network.run)
        for node in range(1, count + 1):
            peers = MemoryPeers(self.network, node, nursery)
            chance = SeededBytes(random.Random(node))
            swim = Swim(node, NodeMetadata(zone="a"), incarnation=1, random=chance, now_s=0.0)
            swim.set_seeds(tuple(range(1, count + 1)))
            self.nodes[node] = Gossip(
                GossipEndpoint(swim, "c", chance),
                socket=_WireSocket(self.wire, node),
                peers=peers,
                handlers=peers,
                clock=_Clock(),
                address_of=lambda node: ("", node),
                describe=describe,
            )
            nursery.start_soon(self.nodes[node].run)

    def states(self, at):
        return [view.state for view in self.nodes[at].members()]


def _play(scene, count=3, **options):
    async def whole():
        async with trio.open_nursery() as nursery:
            await scene(_World(nursery, count, **options))
            nursery.cancel_scope.cancel()

    run_seeded(1, whole)


ALIVE, DEAD, LEFT = MemberState.ALIVE, MemberState.DEAD, MemberState.LEFT


def test_nodes_find_each_other_lose_one_and_get_it_back():
    """Alive within a second, dead within ten after the wire is cut, alive again after it."""

    async def scene(world):
        await trio.sleep(1)
        assert all(world.states(node) == [ALIVE] * 3 for node in (1, 2, 3))
        assert world.nodes[1].members()[1].metadata.zone == "a"
        world.wire.down.add(3)
        world.network.isolate(3)
        await trio.sleep(10)
        assert all(world.states(node) == [ALIVE, ALIVE, DEAD] for node in (1, 2))
        assert [world.nodes[1].is_alive(node) for node in (1, 2, 3, 99)] == [
            True,
            True,
            False,
            True,
        ]
        world.wire.down.clear()
        world.network.heal()
        await trio.sleep(10)
        assert all(world.states(node) == [ALIVE] * 3 for node in (1, 2, 3))
        assert world.nodes[1].members()[1].round_trip_s is not None
        assert world.nodes[1].statistics().exchanges_failed > 0

    _play(scene)


def test_a_node_that_leaves_is_held_gone_at_once():
    """The farewell reaches the others before it ends; it is not taken for alive any more."""

    async def scene(world):
        await trio.sleep(1)
        await world.nodes[2].leave()
        assert all(world.states(node) == [ALIVE, LEFT, ALIVE] for node in (1, 3))
        assert not world.nodes[1].is_alive(2)

    _play(scene)


def test_what_a_node_says_of_itself_is_told_anew():
    """`describe` is asked every ten seconds, and news reaches the others."""

    async def scene(world):
        await trio.sleep(DESCRIBE_INTERVAL_S + 2)
        assert [view.metadata.zone for view in world.nodes[1].members()] == ["b", "b", "b"]

    _play(scene, describe=lambda: NodeMetadata(zone="b"))


def test_what_the_system_refuses_to_send_is_counted():
    """An unreachable network ends nothing: the nodes hold each other dead and go on."""

    async def scene(world):
        await trio.sleep(1)
        world.wire.no_route = True
        await trio.sleep(1)
        assert world.nodes[1].statistics().sends_failed > 0
        world.wire.no_route = False
        await trio.sleep(10)
        assert world.states(1) == [ALIVE] * 3

    _play(scene)


def test_an_exchange_that_makes_no_sense_is_refused():
    """The caller hears of it as a remote failure; nothing else happens."""

    async def scene(world):
        with pytest.raises(ClusterError):
            await world.network.nodes[1].call(2, METHOD, b"\xc1", timeout_s=1)
        await trio.sleep(1)
        assert world.states(2) == [ALIVE] * 3

    _play(scene)


async def test_datagrams_go_over_udp():
    """What one socket sends the other receives; too long ones are cut off above the limit."""
    one = await UdpSocket.open(("127.0.0.1", 0))
    other = await UdpSocket.open(("127.0.0.1", 0))
    try:
        for datagram in (b"tap", b"x" * 1400, b"y" * 2000):
            await one.send_to(datagram, other.address)
            with trio.fail_after(5):
                assert await other.receive() == datagram[:1401]
    finally:
        one.close()
        other.close()


def test_noise_from_anywhere_is_counted_and_harms_nobody():
    """Random bytes on the port of a node."""

    async def scene(world):
        await trio.sleep(1)
        noise = random.Random(3)
        for _ in range(300):
            world.wire.inboxes[1].send_nowait(noise.randbytes(noise.randrange(1500)))
        await trio.sleep(1)
        dropped = world.nodes[1].statistics().dropped
        assert dropped[Reason.MALFORMED] + dropped[Reason.FOREIGN] == 300
        assert world.states(1) == [ALIVE] * 3

    _play(scene)
