"""The driver of gossip: datagrams over UDP, exchanges over the transport, and the port `Liveness`.

What it is not: it decides nothing (`cluster.swim` does) and is no proof of anything; others ask it
whom to try first. Exchanges of everything known go over the authenticated transport as calls of the
method `gossip.exchange`. Sockets, time and names of addresses come in by ports.

Invariants: at most `EXCHANGES_MAX` exchanges at one time; what cannot be sent is counted and
dropped, as the network does anyway.
"""

from collections.abc import Callable
from typing import Final, Protocol

import msgspec
import trio

from cluster.base.errors import BadFrame, PeerError
from cluster.base.ids import NodeId
from cluster.base.ports import (
    Clock,
    Handlers,
    MemberState,
    MemberView,
    NodeMetadata,
    Peers,
)
from cluster.swim.core import SwimCounts
from cluster.swim.endpoint import GossipEndpoint

METHOD: Final = "gossip.exchange"
EXCHANGES_MAX: Final = 8
EXCHANGE_TIMEOUT_S: Final = 2.0
TICK_S: Final = 0.05
DESCRIBE_INTERVAL_S: Final = 10.0
FAREWELL_S: Final = 0.6
"""Three rounds of gossip: who leaves has told at least some of the others."""

Address = tuple[str, int]


class DatagramSocket(Protocol):
    """Where datagrams come from and go to."""

    async def send_to(self, datagram: bytes, address: Address) -> None:
        """Sends or drops; raises OSError when the system says why it cannot."""
        ...

    async def receive(self) -> bytes:
        """The next datagram, from anywhere."""
        ...


class GossipStatistics(msgspec.Struct, frozen=True):
    """What gossip did since the start. `dropped` counts datagrams by reason."""

    swim: SwimCounts
    health: int
    datagrams_sent: int
    datagrams_received: int
    sends_failed: int
    exchanges: int
    exchanges_failed: int
    dropped: dict[str, int]


class Gossip:
    """The gossip of one node; the port `Liveness`. Made before the transport runs."""

    def __init__(
        self,
        endpoint: GossipEndpoint,
        *,
        socket: DatagramSocket,
        peers: Peers,
        handlers: Handlers,
        clock: Clock,
        address_of: Callable[[NodeId], Address | None],
        describe: Callable[[], NodeMetadata] | None = None,
    ) -> None:
        self._endpoint = endpoint
        self._socket = socket
        self._peers = peers
        self._clock = clock
        self._address_of = address_of
        self._describe = describe
        self._busy: set[NodeId] = set()
        self._sent = self._received = self._sends_failed = 0
        self._exchanges = self._exchanges_failed = 0
        handlers.on_call(METHOD, self._on_exchange)

    def members(self) -> tuple[MemberView, ...]:
        """Every node known here, this one among them, by number."""
        return self._endpoint.swim.views()

    def look_for(self, nodes: tuple[NodeId, ...]) -> None:
        """Nodes that belong to the cluster, whether or not they were ever heard of."""
        self._endpoint.swim.set_seeds(nodes)

    def is_alive(self, node: NodeId) -> bool:
        """False for a node believed dead or gone; a suspect and an unknown one count as alive."""
        member = self._endpoint.swim.members.get(node)
        return member is None or member.state <= MemberState.SUSPECT

    def statistics(self) -> GossipStatistics:
        """The counts as they are now."""
        return GossipStatistics(
            swim=msgspec.structs.replace(self._endpoint.swim.counts),
            health=self._endpoint.swim.health.score,
            datagrams_sent=self._sent,
            datagrams_received=self._received,
            sends_failed=self._sends_failed,
            exchanges=self._exchanges,
            exchanges_failed=self._exchanges_failed,
            dropped=dict(self._endpoint.dropped),
        )

    async def run(self) -> None:
        """Gossips until cancelled. Raises OSError when nothing can be received any more."""
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._receive)
            if self._describe is not None:
                nursery.start_soon(self._tell_news, self._describe)
            while True:
                self._endpoint.on_tick(self._clock.monotonic())
                await self._flush(nursery)
                await trio.sleep(TICK_S)

    async def leave(self) -> None:
        """Tells the others that this node goes on purpose; `run` must be active."""
        self._endpoint.swim.leave()
        await trio.sleep(FAREWELL_S)

    async def _receive(self) -> None:
        """Takes datagrams and answers at once: the round trip is measured by it."""
        async with trio.open_nursery() as nursery:
            while True:
                datagram = await self._socket.receive()
                self._received += 1
                self._endpoint.on_datagram(datagram, self._clock.monotonic())
                await self._flush(nursery)

    async def _flush(self, nursery: trio.Nursery) -> None:
        output = self._endpoint.take()
        for to in output.exchanges:
            if to not in self._busy and len(self._busy) < EXCHANGES_MAX:
                self._busy.add(to)
                nursery.start_soon(self._exchange, to)
        for to, datagram in output.datagrams:
            await self._send(to, datagram)

    async def _send(self, to: NodeId, datagram: bytes) -> None:
        address = self._address_of(to) or self._told_address(to)
        if address is None:
            self._sends_failed += 1
            return
        try:
            await self._socket.send_to(datagram, address)
        except OSError:
            self._sends_failed += 1
        else:
            self._sent += 1

    def _told_address(self, node: NodeId) -> Address | None:
        """Where a node that is in no configuration says that it listens."""
        member = self._endpoint.swim.members.get(node)
        if member is None:
            return None
        host, _, port = member.metadata.cluster_address.rpartition(":")
        return (host.strip("[]"), int(port)) if host and port.isdecimal() else None

    async def _exchange(self, to: NodeId) -> None:
        """Exchanges everything known with one node; failures are as common as dead nodes."""
        request, offer = self._endpoint.begin_exchange()
        self._exchanges += 1
        try:
            answer = await self._peers.call(to, METHOD, request, timeout_s=EXCHANGE_TIMEOUT_S)
            self._endpoint.end_exchange(to, offer, answer, self._clock.monotonic())
        except (PeerError, BadFrame):
            self._exchanges_failed += 1
        finally:
            self._busy.discard(to)

    async def _on_exchange(self, sender: NodeId, request: bytes) -> bytes:
        return self._endpoint.answer_exchange(sender, request, self._clock.monotonic())

    async def _tell_news(self, describe: Callable[[], NodeMetadata]) -> None:
        while True:
            await trio.sleep(DESCRIBE_INTERVAL_S)
            self._endpoint.swim.set_metadata(describe())
