"""The network front of the data port: one port, two HTTP stacks, and the end of both.

Picture: a doorman. He lets people in up to a number, tells those beyond it that it is full, looks
at his watch twice a second for those who stand about, and at closing time lets nobody in, sends
away who has not ordered, and waits for the others for as long as he was told to.

    accept -> (TLS) -> Connection (our HTTP/1.1) -> ends, or is handed on to Hypercorn with its
    bytes: an HTTP/2 preface, a WebSocket upgrade, a reserved path

Invariants: an exception of one connection never ends another; every wait for a client is ended by
the sweep; after `drain` no task, socket or listener of this gateway is left.
"""

import gc
import socket
import ssl
import sys
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import trio

from rs3gwd.base.ports import Clock, Random
from rs3gwd.gateway.connection import Connection, Handover
from rs3gwd.gateway.errors import HttpRefusal
from rs3gwd.gateway.front import Front, Handler, Observer, Statistics
from rs3gwd.gateway.limits import Limits
from rs3gwd.gateway.link import Link
from rs3gwd.gateway.listener import ListenAddress, Listener, open_listeners
from rs3gwd.gateway.pages import Pages
from rs3gwd.gateway.poller import Poller
from rs3gwd.gateway.reserved_paths import ReservedPaths
from rs3gwd.gateway.transport import SocketTransport, StreamTransport, Transport

ABANDONED_BYTES_MAX = 32 << 20
"""Bytes of broken-off bodies that may wait for the garbage collector. Where a nursery of trio fails
while it cancels its children, their traces and the frames hold one another, and Python counts such
cycles by objects: a hundred of them could keep 300 MiB for hours."""

FIRST_SECONDS = 1.0
"""How long a drain awaits the first request of a connection that was just made."""

if TYPE_CHECKING:
    from rs3gwd.gateway.asgi_app import AsgiApp
    from rs3gwd.gateway.handover import Hypercorn


class Gateway:
    """The front of one process.

    `handler` is the S3 surface; it is called for one request of a connection at a time, from the
    task that reads that connection, and may be called again before it returned for others.
    `pages` are the daemon's own, and `application` makes the ASGI application for what asks for
    them over other protocols, that of `rs3gwd.gateway.asgi_app` where it is None. `tls_context`
    must be given when an address is `secure`; its ALPN is set to http/1.1 alone. `host_id` goes out
    as `x-amz-id-2`.
    """

    def __init__(
        self,
        *,
        handler: Handler,
        pages: Pages,
        addresses: Sequence[ListenAddress],
        observer: Observer,
        clock: Clock,
        random: Random,
        host_id: str,
        limits: Limits | None = None,
        reserved_paths: ReservedPaths | None = None,
        tls_context: ssl.SSLContext | None = None,
        application: "Callable[[], AsgiApp] | None" = None,
    ) -> None:
        if tls_context is None and any(address.secure for address in addresses):
            raise ValueError("a secure address needs a TLS context")
        if tls_context is not None:
            tls_context.set_alpn_protocols(["http/1.1"])
        self._limits = limits or Limits()
        self._front = Front(
            handler=handler,
            limits=self._limits,
            reserved_paths=reserved_paths or ReservedPaths(),
            observer=observer,
            clock=clock,
            random=random,
            host_id=host_id,
            pages=pages,
        )
        self._application = application
        self._hypercorn: Hypercorn | None = None
        self._making_hypercorn = trio.Lock()
        self._wanted = tuple(addresses)
        self._tls_context = tls_context
        self._listeners: list[Listener] = []
        self._links: set[Link] = set()
        self._refusals = 0
        self._nursery: trio.Nursery | None = None
        self._poller: Poller | None = None
        self._empty = trio.Event()
        self._ended = trio.Event()

    @property
    def addresses(self) -> list[tuple[str, int]]:
        """The (host, port) pairs bound, in the order of the configured ones."""
        return [listener.address for listener in self._listeners]

    @property
    def tls_context(self) -> ssl.SSLContext | None:
        """What new connections are secured with."""
        return self._tls_context

    def statistics(self) -> Statistics:
        """The state of the front at this moment."""
        return self._front.statistics()

    async def serve(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Listens and serves until `drain` is done or it is cancelled.

        Started once all addresses are bound and accept. Raises OSError when one cannot be bound.
        """
        try:
            for address in self._wanted:
                self._listeners += await open_listeners(address)
            self._poller = Poller()
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._sweep)
                nursery.start_soon(self._poller.run)
                self._nursery = nursery
                for listener in self._listeners:
                    nursery.start_soon(listener.accept, self._taker(listener))
                task_status.started()
        finally:
            self._nursery = None
            for listener in self._listeners:
                listener.close()
            if self._poller is not None:
                self._poller.close()
            self._ended.set()

    async def drain(self, grace_seconds: float, *, idle_seconds: float = 0.0) -> int:
        """Stops: takes no new connection, closes idle ones after `idle_seconds`, lets each request
        whose head was received end within `grace_seconds` (its response says `Connection: close`)
        and cuts what is left then. A connection that was never used has FIRST_SECONDS for its first
        request, which is on its way. Returns how many connections were cut; `serve` has returned by
        then.

        A client may send on an idle connection at the moment at which it is closed, and HTTP/1.1
        has no word to keep it from that. In `idle_seconds` whoever is busy comes again and is told
        to close: where others take over (a restart of workers), no request is lost so.
        """
        nursery = self._nursery
        if nursery is None:
            return 0
        for listener in self._listeners:
            listener.stop(self._taker(listener))
        self._front.closing = True
        if self._hypercorn is not None:
            await self._hypercorn.terminate()
        ends_at = trio.current_time() + grace_seconds
        if idle_seconds:
            await self._wait_empty(min(grace_seconds, idle_seconds))
        self._front.draining = self._front.awaits_first = True
        self._interrupt_idle([link for link in self._links if link.answered])
        await self._wait_empty(min(FIRST_SECONDS, ends_at - trio.current_time()))
        self._front.awaits_first = False
        self._interrupt_idle(list(self._links))
        await self._wait_empty(ends_at - trio.current_time())
        cut = self._front.connections
        if self._hypercorn is not None:
            await self._hypercorn.finish()
        nursery.cancel_scope.cancel()
        await self._ended.wait()
        return cut

    def _interrupt_idle(self, links: Sequence[Link]) -> None:
        for link in links:
            link.interrupt_idle()

    async def _wait_empty(self, seconds_max: float) -> None:
        # After two turns the tasks of all connections that were taken have begun.
        await trio.lowlevel.checkpoint()
        await trio.lowlevel.checkpoint()
        with trio.move_on_after(max(0.0, seconds_max)):
            while self._front.connections:
                self._empty = trio.Event()
                await self._empty.wait()

    def attach(self, stream: trio.abc.Stream, *, peer: str, secure: bool) -> None:
        """Takes over one client on any trio stream as if it had been accepted.

        Raises RuntimeError unless `serve` is running.
        """
        if self._nursery is None:
            raise RuntimeError("the gateway does not serve")
        self._nursery.start_soon(self._serve_client, StreamTransport(stream, secure=secure), peer)

    def _taker(self, listener: Listener) -> Callable[[socket.socket, str], None]:
        """What to do with each connection that this listener accepts."""
        nursery, poller = self._nursery, self._poller
        assert nursery is not None
        assert poller is not None

        def take(connected: socket.socket, peer: str) -> None:
            if listener.secure:
                nursery.start_soon(self._serve_tls, connected, peer)
            else:
                nursery.start_soon(self._serve_client, SocketTransport(connected, poller), peer)

        return take

    async def _serve_tls(self, connected: socket.socket, peer: str) -> None:
        """The handshake, within its time, and then the client."""
        assert self._tls_context is not None
        plain = trio.SocketStream(trio.socket.from_stdlib_socket(connected))
        if self._front.connections >= self._limits.connections_max:
            # Telling it would take a handshake, which is what an overloaded node cannot give.
            self._front.connections_refused_total += 1
            await trio.aclose_forcefully(plain)
            return
        stream = trio.SSLStream(plain, self._tls_context, server_side=True, https_compatible=True)
        self._front.connections += 1
        done = False
        try:
            with trio.move_on_after(self._limits.handshake_seconds):
                await stream.do_handshake()
                done = True
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            done = False
        finally:
            self._leave()
            if not done:
                await trio.aclose_forcefully(stream)
        if done:
            version = str(stream.version()).removeprefix("TLSv")
            transport = StreamTransport(stream, secure=True, tls_version=version)
            await self._serve_client(transport, peer)

    async def _serve_client(self, transport: Transport, peer: str) -> None:
        """One connection, counted, to its end."""
        front = self._front
        if front.connections >= self._limits.connections_max:
            await self._turn_away(transport, peer)
            return
        front.connections += 1
        front.connections_total += 1
        connection = Connection(transport, front, peer=peer)
        self._links.add(connection.link)
        try:
            handover = await connection.serve()
            if handover is not None:
                await self._hand_over(transport, handover)
        # The outermost layer: a defect must cost one connection, not the node; it is reported.
        except Exception as error:  # noqa: BLE001
            front.failures_total += 1
            front.observer.on_failure(None, error)
        finally:
            self._links.discard(connection.link)
            await transport.close()
            self._leave()

    async def _hand_over(self, transport: Transport, handover: Handover) -> None:
        self._front.connections_handed_over_total += 1
        hypercorn = await self._get_hypercorn()
        if self._front.closing:
            return
        await hypercorn.serve(transport.detach(), handover.received, secure=transport.secure)

    async def _get_hypercorn(self) -> "Hypercorn":
        """Hypercorn, loaded and started for the first connection that needs it.

        The loading takes 0.3 s, so that a thread does it; what it loads stays, 11 MB.
        """
        async with self._making_hypercorn:
            if self._hypercorn is None:
                if "rs3gwd.gateway.handover" in sys.modules:
                    make = _load_hypercorn()
                else:
                    make = await trio.to_thread.run_sync(_load_hypercorn)
                hypercorn = make(self._front, self._application)
                assert self._nursery is not None, "connections live while the gateway serves"
                await self._nursery.start(hypercorn.run_lifespan)
                self._hypercorn = hypercorn
        return self._hypercorn

    async def _turn_away(self, transport: Transport, peer: str) -> None:
        """Tells a client beyond the bound to come back later; without a word when there are
        too many of those, too."""
        front = self._front
        front.connections_refused_total += 1
        if self._refusals >= self._limits.refusals_max:
            await transport.close()
            return
        self._refusals += 1
        connection = Connection(transport, front, peer=peer)
        self._links.add(connection.link)
        try:
            await connection.refuse(HttpRefusal(503, "SlowDown", ""))
        finally:
            self._refusals -= 1
            self._links.discard(connection.link)
            await transport.close()

    def _leave(self) -> None:
        self._front.connections -= 1
        if self._front.closing and not self._front.connections:
            self._empty.set()

    async def _sweep(self) -> None:
        """Ends the waits that are over their time, and the garbage of uploads that broke off."""
        while True:
            await trio.sleep(self._limits.sweep_seconds)
            now = self._front.clock.monotonic()
            for link in self._links:
                link.sweep(now)
            if self._front.abandoned_bytes > ABANDONED_BYTES_MAX:
                self._front.abandoned_bytes = 0
                gc.collect()


def _load_hypercorn() -> "Callable[[Front, Callable[[], AsgiApp] | None], Hypercorn]":
    from rs3gwd.gateway.handover import make_hypercorn

    return make_hypercorn
