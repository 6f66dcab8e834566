"""A network in memory for whole hosts: delays, losses and cuts, all from one seed.

Messages are delayed each for itself, so they overtake one another, and may be lost or doubled.
Calls and streams keep their order, as on a connection; a cut breaks them. A node that has crashed
is `cut_off`: whatever its tasks still try comes to nothing, for trio cancels a task only at its
next checkpoint.
"""

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from functools import partial
from heapq import heappop, heappush
from random import Random
from typing import Final

import trio

from cluster.base.errors import ClusterError, PeerTimeout, PeerUnreachable, RemoteFailure
from cluster.base.ids import NodeId
from cluster.base.ports import Buffer, OnCall, OnMessage, OnStream, PeerStream

_STREAM_PIECES_MAX: Final = 16


class MemoryNetwork:
    """What lies between the nodes. `run` delivers messages; a seed's `random` decides."""

    def __init__(self, random: Random, *, delay_s: tuple[float, float] = (0.0002, 0.002)) -> None:
        self.random = random
        self.delay_s = delay_s
        self.loss = 0.0
        self.doubled = 0.0
        self.broken_streams = 0.0
        """The chance that a piece of a stream breaks it."""
        self.slow_s: dict[NodeId, float] = {}
        """What each way to or from a node takes longer for calls and streams, in seconds."""
        self.late_s: dict[NodeId, float] = {}
        """The same for messages."""
        self.blocked: set[tuple[NodeId, NodeId]] = set()
        """Directed links that are cut."""
        self.nodes: dict[NodeId, MemoryPeers] = {}
        self.note: Callable[[str], None] = lambda text: None
        self._heap: list[tuple[float, int, Callable[[], None]]] = []
        self._order = 0
        self._bell = trio.Event()

    def delay(self) -> float:
        """One delay, in seconds."""
        return self.random.uniform(*self.delay_s)

    def delay_between(self, one: NodeId, other: NodeId) -> float:
        """One delay of a call or stream, in seconds."""
        return self.delay() + self.slow_s.get(one, 0.0) + self.slow_s.get(other, 0.0)

    def reaches(self, sender: NodeId, to: NodeId) -> bool:
        """Whether anything gets from one node to another now."""
        node = self.nodes.get(to)
        return (sender, to) not in self.blocked and node is not None and node.alive

    def later(self, call: Callable[[], None], extra_s: float = 0.0) -> None:
        """Have something arrive after a delay, and `extra_s` more."""
        self._order += 1
        heappush(self._heap, (trio.current_time() + self.delay() + extra_s, self._order, call))
        self._bell.set()

    async def run(self) -> None:
        """Delivers messages."""
        while True:
            self._bell = trio.Event()
            if self._heap and self._heap[0][0] <= trio.current_time():
                heappop(self._heap)[2]()
                continue
            until = self._heap[0][0] if self._heap else trio.current_time() + 3600
            with trio.move_on_at(until):
                await self._bell.wait()

    def cut(self, sender: NodeId, to: NodeId) -> None:
        """Nothing gets from `sender` to `to`."""
        self.blocked.add((sender, to))

    def isolate(self, node: NodeId) -> None:
        """Nothing gets from or to a node."""
        for other in self.nodes:
            if other != node:
                self.blocked |= {(node, other), (other, node)}

    def heal(self) -> None:
        """Every link works."""
        self.blocked.clear()


class MemoryPeers:
    """One node's life on the network: `Peers` and `Handlers`."""

    def __init__(self, network: MemoryNetwork, node: NodeId, nursery: trio.Nursery) -> None:
        self.network = network
        self.node = node
        self.alive = True
        self._nursery = nursery
        self._messages: dict[str, OnMessage] = {}
        self._calls: dict[str, OnCall] = {}
        self._streams: dict[str, OnStream] = {}
        self.sent = 0
        network.nodes[node] = self

    def cut_off(self) -> None:
        """The node is dead."""
        self.alive = False

    # Handlers.

    def on_message(self, channel: str, handler: OnMessage) -> None:
        """As `Handlers.on_message`."""
        self._messages[channel] = handler

    def on_call(self, method: str, handler: OnCall) -> None:
        """As `Handlers.on_call`."""
        self._calls[method] = handler

    def on_stream(self, method: str, handler: OnStream) -> None:
        """As `Handlers.on_stream`."""
        self._streams[method] = handler

    # Peers.

    def send(self, to: NodeId, channel: str, payload: bytes) -> bool:
        """As `Peers.send`."""
        network = self.network
        if not self.alive or to not in network.nodes:
            return False
        self.sent += 1
        copies = 2 if network.doubled and network.random.random() < network.doubled else 1
        for _ in range(copies):
            if not network.loss or network.random.random() >= network.loss:
                extra_s = network.late_s.get(self.node, 0.0) + network.late_s.get(to, 0.0)
                network.later(partial(self._deliver, to, channel, payload), extra_s)
        return True

    def _deliver(self, to: NodeId, channel: str, payload: bytes) -> None:
        network = self.network
        if not network.reaches(self.node, to):
            return
        network.note(f"{self.node}->{to} {channel} {payload.hex()}")
        network.nodes[to]._messages[channel](self.node, payload)

    async def call(self, to: NodeId, method: str, payload: bytes, *, timeout_s: float) -> bytes:
        """As `Peers.call`."""
        network = self.network
        if not self.alive:
            await trio.sleep_forever()
        with trio.move_on_after(timeout_s):
            await trio.sleep(network.delay_between(self.node, to))
            if not network.reaches(self.node, to):
                raise PeerUnreachable(f"node {to}")
            network.note(f"{self.node}->{to} {method} {payload.hex()}")
            answer = _Answer()
            other = network.nodes[to]
            other._nursery.start_soon(other._answer, self.node, method, payload, answer)
            await answer.done.wait()
            await trio.sleep(network.delay_between(self.node, to))
            if not network.reaches(to, self.node):
                await trio.sleep_forever()
            return answer.unwrap()
        raise PeerTimeout(f"node {to}")

    async def _answer(self, sender: NodeId, method: str, payload: bytes, answer: "_Answer") -> None:
        try:
            answer.payload = await self._calls[method](sender, payload)
        except ClusterError as failure:
            answer.failure = failure
        answer.done.set()

    def open(
        self, to: NodeId, method: str, header: bytes
    ) -> AbstractAsyncContextManager[PeerStream]:
        """As `Peers.open`."""
        return self._open(to, method, header)

    @asynccontextmanager
    async def _open(self, to: NodeId, method: str, header: bytes) -> AsyncIterator[PeerStream]:
        network = self.network
        if not self.alive:
            await trio.sleep_forever()
        await trio.sleep(network.delay_between(self.node, to))
        if not network.reaches(self.node, to):
            raise PeerUnreachable(f"node {to}")
        network.note(f"{self.node}->{to} opens {method} {header.hex()}")
        here, there = _stream_pair(network, self.node, to)
        other = network.nodes[to]
        other._nursery.start_soon(other._serve, self.node, method, header, there)
        whole = False
        try:
            yield here
            whole = True
        finally:
            if not whole:
                here.reset()

    async def _serve(
        self, sender: NodeId, method: str, header: bytes, stream: "MemoryStream"
    ) -> None:
        try:
            await self._streams[method](sender, header, stream)
        except ClusterError as failure:
            stream.fail(failure)


class _Answer:
    """What a call gives."""

    def __init__(self) -> None:
        self.payload = b""
        self.failure: ClusterError | None = None
        self.done = trio.Event()

    def unwrap(self) -> bytes:
        """Raises RemoteFailure."""
        if self.failure is not None:
            raise RemoteFailure(str(self.failure), self.failure.code)
        return self.payload


class MemoryStream:
    """One end of a stream."""

    def __init__(self, network: MemoryNetwork, node: NodeId, other: NodeId) -> None:
        self._network = network
        self._node = node
        self._other = other
        self._peer: MemoryStream
        self._put, self._get = trio.open_memory_channel[bytes](_STREAM_PIECES_MAX)
        self._broken = trio.Event()
        self._failure: ClusterError | None = None
        self._ended = False

    async def send(self, data: Buffer) -> None:
        """As `PeerStream.send`."""
        network = self._network
        await trio.sleep(network.delay_between(self._node, self._other))
        if network.broken_streams and network.random.random() < network.broken_streams:
            self.reset()
        if not network.reaches(self._node, self._other) or self._ended:
            self.reset()
        if self._broken.is_set():
            raise self._reason()
        try:
            await self._peer._put.send(bytes(data))
        except (trio.BrokenResourceError, trio.ClosedResourceError) as fault:
            raise self._reason() from fault

    async def end(self) -> None:
        """As `PeerStream.end`."""
        await trio.lowlevel.checkpoint()
        self._ended = True
        self._peer._put.close()

    async def receive(self) -> bytes:
        """As `PeerStream.receive`."""
        try:
            return await self._get.receive()
        except trio.EndOfChannel as end:
            if self._broken.is_set():
                raise self._reason() from end
            return b""
        except trio.ClosedResourceError as fault:
            raise self._reason() from fault

    def reset(self) -> None:
        """Both ends are broken."""
        for end in (self, self._peer):
            end._broken.set()
            end._put.close()

    def fail(self, failure: ClusterError) -> None:
        """This end's handler has raised."""
        if not self._broken.is_set():
            self._peer._failure = failure
        self.reset()

    def _reason(self) -> ClusterError:
        if self._failure is not None:
            return RemoteFailure(str(self._failure), self._failure.code)
        return PeerUnreachable("the stream is broken")


def _stream_pair(
    network: MemoryNetwork, here: NodeId, there: NodeId
) -> tuple[MemoryStream, MemoryStream]:
    near = MemoryStream(network, here, there)
    far = MemoryStream(network, there, here)
    near._peer, far._peer = far, near
    return near, far
