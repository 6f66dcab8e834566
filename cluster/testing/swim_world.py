"""Nodes that gossip over a network that one seed makes unreliable: a heap of events, no threads.

Datagrams are lost, delayed (and so overtaken), doubled, played again long after, and cut off in one
direction or both; exchanges stand for the transport's connections, which need both directions.
Nodes stop for a while, are slow, crash, leave and come back with a clock that may have gone back.
Datagrams are sealed and opened as in the driver.

After every step of a node it is checked that no belief goes back, that nobody is believed to be in
an incarnation that it never had, and that no datagram was taken twice or from another cluster.
"""

import heapq
import random
from collections.abc import Callable
from typing import Final

from cluster.base.ids import NodeId
from cluster.base.ports import MemberState, NodeMetadata
from cluster.swim.core import Swim
from cluster.swim.endpoint import GossipEndpoint
from cluster.swim.sealing import Offer
from cluster.swim.settings import SwimSettings

TICK_S: Final = 0.1
CLUSTER: Final = "simulated"
REPLAYS_KEPT: Final = 200
EXCHANGE_TIMEOUT_S: Final = 1.0

SwimType = type[Swim]
EndpointType = type[GossipEndpoint]


class Violation(AssertionError):
    """A promise was broken; the text says which."""


class SeededBytes:
    """The port `Random`, by a seed."""

    def __init__(self, source: random.Random) -> None:
        self._source = source

    def token_bytes(self, count: int) -> bytes:
        """Bytes by the seed."""
        return self._source.randbytes(count)


class SimNode:
    """One node: its life now, and what outlives it."""

    def __init__(self, world: "SwimWorld", number: NodeId) -> None:
        self.world = world
        self.number = number
        self.life = 0
        self.is_up = False
        self.has_left = False
        self.is_paused = False
        self.slow_s = 0.0
        self.load = 0
        self.clock_ms = 1_000_000
        self.endpoint: GossipEndpoint
        self.taken: set[bytes] = set()
        self.orders: dict[NodeId, tuple[int, int]] = {}
        self.waiting: list[Callable[[], None]] = []

    @property
    def swim(self) -> Swim:
        """The detector of this life."""
        return self.endpoint.swim

    def state_of(self, node: NodeId) -> MemberState | None:
        """What this node believes of another."""
        member = self.swim.members.get(node)
        return None if member is None else member.state

    def metadata_of(self, node: NodeId) -> NodeMetadata | None:
        """What this node last heard from another."""
        member = self.swim.members.get(node)
        return None if member is None else member.metadata


class SwimWorld:
    """The nodes, the network and the time."""

    def __init__(
        self,
        seed: int,
        nodes: int,
        *,
        settings: SwimSettings,
        swim_type: SwimType,
        endpoint_type: EndpointType,
        trace: bool = False,
    ) -> None:
        self.random = random.Random(seed)
        self.now_s = 0.0
        self.loss = 0.0
        self.doubling = 0.0
        self.delay_s = (0.001, 0.02)
        self.cuts: set[tuple[NodeId, NodeId]] = set()
        self.events = 0
        self.trace: list[str] = []
        self.incarnations: dict[NodeId, int] = {}
        self.false_deaths = 0
        self.false_suspicions = 0
        self._settings = settings
        self._types = swim_type, endpoint_type
        self._is_traced = trace
        self._heap: list[tuple[float, int, Callable[[], None]]] = []
        self._recorded: list[tuple[NodeId, bytes]] = []
        self.nodes = {number: SimNode(self, number) for number in range(1, nodes + 1)}

    # Time.

    def after(self, delay_s: float, do: Callable[[], None]) -> None:
        """Does something later."""
        self.events += 1
        heapq.heappush(self._heap, (self.now_s + delay_s, self.events, do))

    def run_until(self, end_s: float) -> None:
        """Lets time pass."""
        while self._heap and self._heap[0][0] <= end_s:
            self.now_s, _, do = heapq.heappop(self._heap)
            do()
        self.now_s = end_s

    def note(self, text: str) -> None:
        """A line of the trace."""
        if self._is_traced:
            self.trace.append(f"{self.now_s:8.3f} {text}")

    # Lives.

    def start(self, number: NodeId) -> None:
        """A new life, which knows the numbers of all and nothing else."""
        node = self.nodes[number]
        node.life += 1
        node.is_up, node.has_left, node.is_paused = True, False, False
        node.taken, node.orders, node.waiting = set(), {}, []
        chance = SeededBytes(random.Random(self.random.getrandbits(64)))
        swim_type, endpoint_type = self._types
        swim = swim_type(
            number,
            metadata_of(node),
            incarnation=max(0, node.clock_ms + int(self.now_s * 1000)),
            random=chance,
            now_s=self.now_s,
            settings=self._settings,
        )
        swim.set_seeds(tuple(self.nodes))
        node.endpoint = endpoint_type(swim, CLUSTER, chance)
        self.note(f"node {number} starts")
        self._tick(node, node.life)

    def crash(self, number: NodeId) -> None:
        """The life ends, without a word."""
        self.nodes[number].is_up = False
        self.note(f"node {number} crashes")

    def leave(self, number: NodeId) -> None:
        """The node says that it goes, and is gone a second later."""
        node, life = self.nodes[number], self.nodes[number].life
        node.has_left = True
        self.note(f"node {number} leaves")
        node.swim.leave()

        def end() -> None:
            if node.life == life:
                node.is_up = False

        self.after(1.0, end)

    def pause(self, number: NodeId, seconds: float) -> None:
        """The process stands still; what comes waits for it."""
        node, life = self.nodes[number], self.nodes[number].life
        node.is_paused = True
        self.note(f"node {number} stands still for {seconds:.1f} s")
        self.after(seconds, lambda: self.resume(number, life))

    def resume(self, number: NodeId, life: int) -> None:
        """It goes on."""
        node = self.nodes[number]
        if node.life != life or not node.is_paused:
            return
        node.is_paused = False
        waiting, node.waiting = node.waiting, []
        for do in waiting:
            do()

    def set_load(self, number: NodeId, load: int) -> None:
        """The node has something new to say of itself."""
        node = self.nodes[number]
        node.load = load
        node.swim.set_metadata(metadata_of(node))

    def alive(self) -> list[SimNode]:
        """The nodes that run and have not said goodbye."""
        return [node for node in self.nodes.values() if node.is_up and not node.has_left]

    def _tick(self, node: SimNode, life: int) -> None:
        if not node.is_up or node.life != life:
            return
        if not node.is_paused:
            node.endpoint.on_tick(self.now_s)
            self._flush(node)
        pace = TICK_S + node.slow_s * self.random.random()
        self.after(pace, lambda: self._tick(node, life))

    def _flush(self, node: SimNode) -> None:
        self._check(node)
        output = node.endpoint.take()
        for to, datagram in output.datagrams:
            self._send(node.number, to, datagram)
        for to in output.exchanges:
            self._begin_exchange(node, to)

    # The network.

    def _send(self, sender: NodeId, to: NodeId, datagram: bytes) -> None:
        if to not in self.nodes:
            raise Violation(f"a datagram for {to}, who does not exist")
        self._recorded = [*self._recorded[-REPLAYS_KEPT:], (to, datagram)]
        copies = 2 if self.random.random() < self.doubling else 1
        for _ in range(copies):
            if (sender, to) not in self.cuts and self.random.random() >= self.loss:
                self.after(self._delay(), lambda: self._arrive(to, datagram))

    def inject(self, to: NodeId, datagram: bytes) -> None:
        """Somebody from elsewhere sends a datagram; nobody must take it."""
        node = self.nodes[to]
        if node.is_up:
            before = sum(node.endpoint.dropped.values())
            node.endpoint.on_datagram(datagram, self.now_s)
            if sum(node.endpoint.dropped.values()) == before:
                raise Violation(f"node {to} took a datagram of another cluster")

    def replay(self) -> None:
        """Somebody plays a recorded datagram again."""
        if self._recorded:
            to, datagram = self.random.choice(self._recorded)
            self._arrive(to, datagram)

    def _arrive(self, to: NodeId, datagram: bytes) -> None:
        self._at(self.nodes[to], lambda node: self._take(node, datagram))

    def _take(self, node: SimNode, datagram: bytes) -> None:
        before = sum(node.endpoint.dropped.values())
        node.endpoint.on_datagram(datagram, self.now_s)
        output_drops = sum(node.endpoint.dropped.values()) - before
        if not output_drops:
            if datagram in node.taken:
                raise Violation(f"node {node.number} took a datagram twice")
            node.taken.add(datagram)
        self._flush(node)

    def _at(self, node: SimNode, do: Callable[[SimNode], None]) -> None:
        """Does something at a node, if it runs, and as soon as it does anything."""
        life = node.life

        def act() -> None:
            if not node.is_up or node.life != life:
                return
            if node.is_paused:
                node.waiting.append(act)
            else:
                do(node)

        if node.slow_s:
            self.after(node.slow_s * self.random.random(), act)
        else:
            act()

    def _begin_exchange(self, node: SimNode, to: NodeId) -> None:
        request, offer = node.endpoint.begin_exchange()
        life, ends_s = node.life, self.now_s + EXCHANGE_TIMEOUT_S

        def answer(other: SimNode) -> None:
            if not self._is_linked(node.number, to) or self.now_s > ends_s:
                return
            data = other.endpoint.answer_exchange(node.number, request, self.now_s)
            self._flush(other)
            self.after(self._delay(), lambda: self._at(node, lambda _: end(data)))

        def end(data: bytes) -> None:
            if node.life == life and self._is_linked(node.number, to) and self.now_s <= ends_s:
                self._end_exchange(node, to, offer, data)

        self.after(self._delay(), lambda: self._at(self.nodes[to], answer))

    def _end_exchange(self, node: SimNode, to: NodeId, offer: Offer, data: bytes) -> None:
        node.endpoint.end_exchange(to, offer, data, self.now_s)
        self._flush(node)

    def _is_linked(self, one: NodeId, other: NodeId) -> bool:
        return (one, other) not in self.cuts and (other, one) not in self.cuts

    def _delay(self) -> float:
        return self.random.uniform(*self.delay_s)

    # Checks.

    def _check(self, node: SimNode) -> None:
        own = node.swim.members.get(node.number)
        assert own is not None, "a node knows itself"
        highest = max(own.claim.incarnation, self.incarnations.get(node.number, 0))
        self.incarnations[node.number] = highest
        for member in node.swim.members:
            about, order = member.claim.node, member.claim.order
            before = node.orders.get(about)
            if before == order:
                continue
            if before is not None and order < before:
                raise Violation(f"node {node.number} went back about node {about}")
            if order[0] > self.incarnations[about]:
                raise Violation(f"node {about} was never in the incarnation {order[0]}")
            node.orders[about] = order
            self.note(f"node {node.number} holds node {about} {member.state.name} {order[0]}")
            if self._is_healthy(about):
                self.false_deaths += member.state is MemberState.DEAD
                self.false_suspicions += member.state is MemberState.SUSPECT

    def _is_healthy(self, number: NodeId) -> bool:
        node = self.nodes[number]
        return node.is_up and not node.has_left and not node.is_paused and not node.slow_s


def metadata_of(node: SimNode) -> NodeMetadata:
    """What a node says of itself."""
    return NodeMetadata(
        cluster_address=f"10.0.0.{node.number}:9001", zone="a", load_percent=node.load
    )
