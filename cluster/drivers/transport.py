"""Calls, messages and streams between the nodes of a cluster: the ports Peers and Handlers.

Between two nodes there are up to two connections each way: one for what is urgent (messages and
calls), one for bulk (streams), so that no blob stands in front of a heartbeat. Each is dialled when
it is first needed and again, with growing random waits, when it breaks. Both ends say in a hello
who they are and whom they want; that must be what their certificates say, and what the cluster
knows (`check`). What is sent to a node goes to that very node or fails.

What it is not: it neither opens sockets nor reads certificates (`transport_network`), and no call
takes a path or a URL: a method is a name that a part of this node registered before the start.
"""

import math
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import NamedTuple, Protocol

import trio

from cluster.authority.certificates import PeerCertificate
from cluster.base.errors import BadFrame, IdentityError, PeerUnreachable
from cluster.base.ids import NodeId
from cluster.base.ports import OnCall, OnMessage, OnStream, Random, T
from cluster.drivers import transport_frames as frames
from cluster.drivers.transport_frames import Frame, FrameReader, Hello, Kind
from cluster.drivers.transport_link import Answers, Link
from cluster.drivers.transport_settings import Lane, TransportCounters, TransportSettings
from cluster.drivers.transport_streams import LinkStream
from cluster.raft.identity import NodeIdentity

_HELLO_BYTES_MAX = 4096
_DIAL_FAILS = (
    OSError,
    trio.BrokenResourceError,
    trio.ClosedResourceError,
    trio.TooSlowError,
    BadFrame,
    IdentityError,
    PeerUnreachable,
)
"""What a dial may end with; all of it is tried again."""


class Secured(NamedTuple):
    """A connection, and the certificate that its other end proved; None without TLS."""

    stream: trio.abc.Stream
    certificate: PeerCertificate | None


class Accept(Protocol):
    """What a network gives its incoming connections to."""

    async def __call__(self, secured: Secured) -> None: ...


class Network(Protocol):
    """Where connections come from."""

    def knows(self, node: NodeId) -> bool:
        """Whether there is an address to dial."""
        ...

    async def connect(self, node: NodeId) -> Secured:
        """Dials. Raises OSError, trio.BrokenResourceError or IdentityError."""
        ...

    async def serve(self, accept: Accept) -> None:
        """Gives every incoming connection to `accept`, each in a task of its own, for ever.

        A certificate that does not hold is refused before. `accept` closes what it is given.
        """
        ...


PeerCheck = Callable[[NodeIdentity, PeerCertificate | None], None]
"""Raises IdentityError for a peer that is not, or no longer, of this cluster."""


class Transport:
    """The connections of one node."""

    def __init__(
        self,
        identity: NodeIdentity,
        network: Network,
        *,
        check: PeerCheck,
        random: Random,
        settings: TransportSettings | None = None,
    ) -> None:
        self.counters = TransportCounters()
        self.dial_failures: dict[NodeId, str] = {}
        """Why the last dial to a node failed; of nodes that could not be reached since."""
        self._identity = identity
        self._network = network
        self._check = check
        self._random = random
        self._settings = settings or TransportSettings()
        self._answers = Answers({}, {}, {})
        self._lanes: dict[tuple[NodeId, Lane], _Dialler] = {}
        self._accepted: dict[tuple[NodeId, Lane], _Admitted] = {}
        self._handshakes = 0
        self._nursery: trio.Nursery | None = None
        self._draining = False

    # The port Handlers.

    def on_message(self, channel: str, handler: OnMessage) -> None:
        """Registers who hears a channel; before `run`."""
        self._register(self._answers.messages, channel, handler)

    def on_call(self, method: str, handler: OnCall) -> None:
        """Registers who answers a method; before `run`."""
        self._register(self._answers.calls, method, handler)

    def on_stream(self, method: str, handler: OnStream) -> None:
        """Registers who takes the streams of a method; before `run`."""
        self._register(self._answers.streams, method, handler)

    def _register(self, table: dict[str, T], name: str, handler: T) -> None:
        assert name not in table, f"{name} is registered twice"
        assert self._nursery is None, "handlers are registered before the transport runs"
        table[name] = handler

    # The port Peers.

    def send(self, to: NodeId, channel: str, payload: bytes) -> bool:
        """Sends and forgets; False when it was dropped."""
        dialler = self._dialler(to, Lane.URGENT)
        link = dialler.link if dialler else None
        if link is None or not link.message(channel, payload):
            self.counters.messages_dropped += 1
            return False
        self.counters.messages_sent += 1
        return True

    async def call(self, to: NodeId, method: str, payload: bytes, *, timeout_s: float) -> bytes:
        """Asks and waits; see `Peers.call`."""
        await trio.lowlevel.checkpoint()
        deadline = trio.current_time() + timeout_s
        link = await self._link(to, Lane.URGENT, deadline)
        return await link.call(method, payload, deadline)

    @asynccontextmanager
    async def open(self, to: NodeId, method: str, header: bytes) -> AsyncIterator[LinkStream]:
        """A stream to a handler of `method`; see `Peers.open`."""
        await trio.lowlevel.checkpoint()
        deadline = trio.current_time() + self._settings.connect_s
        link = await self._link(to, Lane.BULK, deadline)
        async with link.open(method, header) as stream:
            yield stream

    # Life.

    async def run(self) -> None:
        """Serves and dials until cancelled."""
        async with trio.open_nursery() as nursery:
            self._nursery = nursery
            await self._network.serve(self._accept)

    async def drain(self) -> None:
        """Takes nothing new and waits, a bounded time, for what is under way; then `run` can be
        cancelled without breaking anything off."""
        self._draining = True
        links = [admitted.link for admitted in self._accepted.values()]
        links += [dialler.link for dialler in self._lanes.values() if dialler.link]
        with trio.move_on_after(self._settings.drain_s):
            async with trio.open_nursery() as nursery:
                for link in links:
                    link.go_away()
                    nursery.start_soon(link.wait_idle)

    def recheck(self) -> None:
        """Closes the connections of peers that `check` refuses by now: after a removal."""
        for (node, lane), admitted in [*self._accepted.items(), *self._admitted_by_us()]:
            try:
                self._check(admitted.identity, admitted.certificate)
            except IdentityError:
                self.counters.handshakes_refused += 1
                admitted.link.close()
                if (dialler := self._lanes.pop((node, lane), None)) is not None:
                    dialler.stop()

    def certificates(self) -> list[PeerCertificate]:
        """What the other ends of the connections that are up have shown."""
        up = [*self._accepted.values(), *(admitted for _, admitted in self._admitted_by_us())]
        return [each.certificate for each in up if each.certificate is not None]

    def redial(self) -> None:
        """Dials every node anew, with the certificate of now; what is under way on a former
        connection has `drain_s` to end there."""
        for (node, lane), dialler in [*self._lanes.items()]:
            if (link := dialler.link) is not None and self._nursery is not None:
                del self._lanes[node, lane]
                link.go_away()
                self._nursery.start_soon(self._retire, link, dialler.stop)
                self._dialler(node, lane)

    async def _retire(self, link: Link, stop: Callable[[], None]) -> None:
        link.go_away()
        with trio.move_on_after(self._settings.drain_s):
            await link.wait_idle()
        stop()

    def _supersede(self, before: "_Admitted", by: "_Admitted") -> None:
        """Whoever dials anew has lost its connection, or it goes away, or has another certificate
        now: then what is under way there may end."""
        assert self._nursery is not None
        if before.certificate != by.certificate:
            before.link.go_away()
        self._nursery.start_soon(self._give_way, before.link)

    async def _give_way(self, link: Link) -> None:
        """The word that it goes away may be on its way behind what is under way."""
        with trio.move_on_after(self._settings.give_way_s):
            await link.wait_ended()
        if link.draining:
            await self._retire(link, link.close)
        link.close()

    def forget(self, node: NodeId) -> None:
        """Stops dialling a node that has left."""
        for lane in Lane:
            if (dialler := self._lanes.pop((node, lane), None)) is not None:
                dialler.stop()

    def links(self) -> list[Link]:
        """The connections that are up, for statistics."""
        up = [admitted.link for admitted in self._accepted.values()]
        return up + [dialler.link for dialler in self._lanes.values() if dialler.link]

    # Dialling.

    def _admitted_by_us(self) -> list[tuple[tuple[NodeId, Lane], "_Admitted"]]:
        return [(key, dialler.peer) for key, dialler in self._lanes.items() if dialler.peer]

    def _dialler(self, to: NodeId, lane: Lane) -> "_Dialler | None":
        dialler = self._lanes.get((to, lane))
        if dialler is None and self._nursery and not self._draining and self._network.knows(to):
            dialler = self._lanes[to, lane] = _Dialler(self, to, lane)
            self._nursery.start_soon(dialler.run)
        return dialler

    async def _link(self, to: NodeId, lane: Lane, deadline: float) -> Link:
        dialler = self._dialler(to, lane)
        if dialler is not None:
            with trio.move_on_at(deadline):
                await dialler.wait_settled()
        if dialler is None or dialler.link is None:
            raise PeerUnreachable(f"node {to} cannot be reached")
        return dialler.link

    async def connect(self, to: NodeId, lane: Lane) -> tuple["_Admitted", list[Frame]]:
        """One dial with both hellos. Raises OSError, trio's resource errors, BadFrame,
        IdentityError, trio.TooSlowError."""
        with trio.fail_after(self._settings.connect_s):
            secured = await self._network.connect(to)
            try:
                await secured.stream.send_all(frames.encode_hello(self._hello(to, lane)))
                reader = FrameReader()
                hello, first = await self._read_hello(secured.stream, reader)
                self._judge(hello, secured.certificate, lane)
                if hello.node != to:
                    raise IdentityError(f"node {hello.node} answers where node {to} was dialled")
            except BaseException:
                await trio.aclose_forcefully(secured.stream)
                raise
        return self._admit(secured, reader, hello), first

    # Accepting.

    async def _accept(self, secured: Secured) -> None:
        if self._draining or self._handshakes >= self._settings.handshakes_max:
            self.counters.handshakes_refused += 1
            await trio.aclose_forcefully(secured.stream)
            return
        self._handshakes += 1
        try:
            welcome = await self._welcome(secured)
        finally:
            self._handshakes -= 1
        if welcome is None:
            await trio.aclose_forcefully(secured.stream)
            return
        admitted, lane, first = welcome
        key = (admitted.identity.node, lane)
        if (before := self._accepted.get(key)) is not None:
            self._supersede(before, admitted)
        self._accepted[key] = admitted
        try:
            await admitted.link.run(first)
        finally:
            if self._accepted.get(key) is admitted:
                del self._accepted[key]

    async def _welcome(self, secured: Secured) -> "tuple[_Admitted, Lane, list[Frame]] | None":
        """Both hellos, or None when the peer is refused or nobody to talk to."""
        reader = FrameReader(body_bytes_max=_HELLO_BYTES_MAX)
        try:
            with trio.fail_after(self._settings.connect_s):
                hello, first = await self._read_hello(secured.stream, reader)
                try:
                    lane = _lane(hello.lane)
                    self._judge(hello, secured.certificate, lane)
                    if hello.to != self._identity.node:
                        raise IdentityError(f"here is node {self._identity.node}")
                except (IdentityError, BadFrame) as error:
                    self.counters.handshakes_refused += 1
                    refusal = frames.encode_failure(Kind.REFUSE, 0, error.code, str(error))
                    await secured.stream.send_all(refusal)
                    return None
                mine = self._hello(hello.node, lane)
                await secured.stream.send_all(frames.encode_hello(mine))
        except (OSError, trio.BrokenResourceError, trio.ClosedResourceError, trio.TooSlowError):
            return None
        except (BadFrame, IdentityError):
            self.counters.frames_bad += 1
            return None
        reader.widen()
        return self._admit(secured, reader, hello), lane, first

    # Both.

    def _hello(self, to: NodeId, lane: Lane) -> Hello:
        return Hello(
            version_min=frames.VERSION,
            version_max=frames.VERSION,
            cluster=self._identity.cluster,
            node=self._identity.node,
            to=to,
            token=self._identity.token,
            lane=lane,
            stream_window=self._settings.stream_window,
            connection_window=self._settings.connection_window,
        )

    async def _read_hello(
        self, stream: trio.abc.Stream, reader: FrameReader
    ) -> tuple[Hello, list[Frame]]:
        """The peer's hello and the frames that came right behind it."""
        received: list[Frame] = []
        while not received:
            data = await stream.receive_some(_HELLO_BYTES_MAX)
            if not data:
                raise trio.BrokenResourceError("closed before its hello")
            received = reader.feed(data)
        first = received[0]
        if first.kind is Kind.REFUSE:
            failure = frames.decode_failure(first)
            raise IdentityError(f"refused: {failure.code}: {failure.text}")
        return frames.decode_hello(first), received[1:]

    def _judge(self, hello: Hello, certificate: PeerCertificate | None, lane: Lane) -> None:
        """Raises IdentityError, or BadFrame when there is no version that both know."""
        if not hello.version_min <= frames.VERSION <= hello.version_max:
            raise BadFrame(f"versions {hello.version_min} to {hello.version_max} are not ours")
        for window in (hello.stream_window, hello.connection_window):
            if not 0 < window < 2**31:
                raise BadFrame("a window outside 1 to 2**31 - 1")
        if hello.lane != lane:
            raise BadFrame("an answer for another lane")
        if certificate and (certificate.cluster, certificate.node) != (hello.cluster, hello.node):
            raise IdentityError(
                f"node {hello.node} of {hello.cluster} has the certificate of "
                f"node {certificate.node} of {certificate.cluster}"
            )
        self._check(NodeIdentity(hello.cluster, hello.node, hello.token), certificate)

    def _admit(self, secured: Secured, reader: FrameReader, hello: Hello) -> "_Admitted":
        link = Link(
            secured.stream,
            reader,
            hello.node,
            hello=hello,
            answers=self._answers,
            settings=self._settings,
            counters=self.counters,
        )
        identity = NodeIdentity(hello.cluster, hello.node, hello.token)
        return _Admitted(identity, secured.certificate, link)

    def backoff_s(self, failures: int) -> float:
        """How long to wait before the next dial: from half to all of a doubling bound."""
        settings = self._settings
        bound = min(settings.backoff_s_max, math.ldexp(settings.backoff_s_min, min(failures, 30)))
        part = int.from_bytes(self._random.token_bytes(4)) / 2**32
        return bound * (1 + part) / 2


class _Admitted(NamedTuple):
    """A link and whom it leads to."""

    identity: NodeIdentity
    certificate: PeerCertificate | None
    link: Link


class _Dialler:
    """Keeps one connection to one node, for ever."""

    def __init__(self, transport: Transport, to: NodeId, lane: Lane) -> None:
        self.peer: _Admitted | None = None
        self._transport = transport
        self._to = to
        self._lane = lane
        self._dialling = True
        self._settled = trio.lowlevel.ParkingLot()
        self._scope = trio.CancelScope()

    @property
    def link(self) -> Link | None:
        """The connection, when it is up and takes calls."""
        if self.peer is None or self.peer.link.draining or self.peer.link.has_ended:
            return None
        return self.peer.link

    def stop(self) -> None:
        """Ends `run`."""
        self._scope.cancel()

    async def wait_settled(self) -> None:
        """Until a dial that is under way has an outcome; between two dials that is at once."""
        while self._dialling:
            await self._settled.park()

    async def run(self) -> None:
        """Dials, keeps the link until it ends, waits, and again."""
        try:
            with self._scope:
                failures = 0
                while True:
                    failures = 0 if await self._keep() else failures + 1
                    await trio.sleep(self._transport.backoff_s(failures))
                    self._dialling = True
        finally:
            self._settle(None)

    async def _keep(self) -> bool:
        """One connection from dial to end; False when there was none."""
        try:
            peer, first = await self._transport.connect(self._to, self._lane)
        except _DIAL_FAILS as error:
            self._transport.counters.dials_failed += 1
            self._transport.dial_failures[self._to] = str(error)
            self._settle(None)
            return False
        self._transport.dial_failures.pop(self._to, None)
        self._settle(peer)
        try:
            await peer.link.run(first)
        finally:
            self._settle(None)
        return True

    def _settle(self, peer: _Admitted | None) -> None:
        self.peer = peer
        self._dialling = False
        self._settled.unpark_all()


def _lane(number: int) -> Lane:
    if number not in tuple(Lane):
        raise BadFrame(f"a lane {number} is not known here")
    return Lane(number)
