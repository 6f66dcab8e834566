"""Gives a connection that is not plain S3 over HTTP/1.1 to hypercorn, with the bytes read so far.

Hypercorn serves what our own front does not speak: HTTP/2, WebSocket, and the pages of the
daemon. It gets a stream that first replays what we have read and is a plain pass-through behind
that. Its server is used as a part (`hypercorn.trio.tcp_server.TCPServer`), not as a program: no
sockets, no signals, no configuration file, no access log of its own.
"""

import logging
import socket
from collections.abc import Callable
from typing import Any, cast

import trio
from hypercorn.app_wrappers import ASGIWrapper
from hypercorn.config import Config
from hypercorn.trio.lifespan import Lifespan
from hypercorn.trio.tcp_server import TCPServer
from hypercorn.trio.worker_context import WorkerContext
from hypercorn.typing import ConnectionState, LifespanState

from rs3gwd.gateway.asgi_app import AsgiApp, PortApp, make_app
from rs3gwd.gateway.asgi_s3 import CONNECTION_KEY, HandedConnection, S3App
from rs3gwd.gateway.front import Front
from rs3gwd.gateway.limits import Limits

HTTP2_STREAMS_MAX = 100
"""Concurrent streams of one HTTP/2 connection; RFC 9113 section 6.5.2 advises no fewer."""

WEBSOCKET_PING_SECONDS = 20.0
"""A WebSocket whose client has vanished is noticed after one unanswered ping."""

LIFESPAN_SECONDS = 5.0
"""How long the application may take to start and to stop."""


class ReplayStream:
    """A connection whose first bytes are `received`; as much of a trio stream as hypercorn uses.

    A client that says nothing for `idle_seconds` while no request of its is under way has ended:
    hypercorn itself would hold a connection for ever that sends the HTTP/2 preface and no more.
    """

    def __init__(
        self,
        stream: trio.abc.Stream,
        received: bytes,
        *,
        connection: HandedConnection,
        idle_seconds: float,
    ) -> None:
        self._stream = stream
        self._received = received
        self._connection = connection
        self._idle_seconds = idle_seconds

    @property
    def socket(self) -> Any:
        """What hypercorn asks for the two ends' addresses."""
        return self._stream.socket if isinstance(self._stream, trio.SocketStream) else _NoSocket()

    async def receive_some(self, max_bytes: int | None = None) -> bytes:
        """The next bytes, the replayed ones first; empty at the end."""
        if self._received:
            count = max_bytes or len(self._received)
            data, self._received = self._received[:count], self._received[count:]
            return data
        while True:
            with trio.move_on_after(self._idle_seconds):
                return bytes(await self._stream.receive_some(max_bytes))
            if not self._connection.requests:
                return b""

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        """Sends all of `data`."""
        await self._stream.send_all(data)

    async def send_eof(self) -> None:
        """Ends the sending direction, where the stream can."""
        if isinstance(self._stream, trio.abc.HalfCloseableStream):
            await self._stream.send_eof()

    async def aclose(self) -> None:
        """Closes the connection."""
        await self._stream.aclose()


class _NoSocket:
    """Stands where a stream in memory has no socket; hypercorn then knows no addresses."""

    family = socket.AF_UNSPEC

    def getpeername(self) -> None:
        """Nobody."""

    def getsockname(self) -> None:
        """Nowhere."""


class TlsReplayStream(ReplayStream):
    """The same over TLS, whose handshake is done; hypercorn asks for these by name."""

    @property
    def transport_stream(self) -> trio.SocketStream:
        """The plain stream below TLS."""
        return self._tls.transport_stream

    async def do_handshake(self) -> None:
        """Nothing: the handshake is done."""
        await self._tls.do_handshake()

    def selected_alpn_protocol(self) -> str | None:
        """What the handshake agreed on."""
        protocol = self._tls.selected_alpn_protocol()
        return str(protocol) if protocol else None

    @property
    def _tls(self) -> "trio.SSLStream[trio.SocketStream]":
        return cast("trio.SSLStream[trio.SocketStream]", self._stream)


class _Server(TCPServer):
    """Hypercorn's server, without its waits for what cannot come any more.

    When the client has closed, hypercorn 0.18 lets its timer of idle connections run on, and a
    response that is being sent waits for room that nobody makes: such a connection would keep its
    descriptor and its place for `keep_alive_timeout`.
    """

    async def _read_data(self) -> None:
        await super()._read_data()
        connection: HandedConnection = cast("Any", self.state)[CONNECTION_KEY]
        connection.client_left()
        await self.idle_task.stop()


class Hypercorn:
    """Hypercorn as a part of the gateway, running one ASGI application."""

    def __init__(self, app: AsgiApp, limits: Limits) -> None:
        self._app = ASGIWrapper(cast("Any", app))
        self._context = WorkerContext(None)
        self._state: LifespanState = {}
        self._config = _make_config(limits)
        self._lifespan = Lifespan(self._app, self._config, self._state)
        self._connections: set[HandedConnection] = set()

    async def run_lifespan(
        self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED
    ) -> None:
        """Starts the application and keeps its background tasks until cancelled."""
        async with trio.open_nursery() as nursery:
            await nursery.start(self._lifespan.handle_lifespan)
            await self._lifespan.wait_for_startup()
            task_status.started()
            await trio.sleep_forever()

    async def serve(self, stream: trio.abc.Stream, received: bytes, *, secure: bool) -> None:
        """Serves one connection to its end, and closes it."""
        with trio.CancelScope() as scope:
            connection = HandedConnection(scope.cancel)
            replayed = (TlsReplayStream if secure else ReplayStream)(
                stream,
                received,
                connection=connection,
                idle_seconds=self._config.keep_alive_timeout,
            )
            state = ConnectionState(cast("Any", {**self._state, CONNECTION_KEY: connection}))
            server = _Server(
                self._app, self._config, self._context, cast("Any", state), cast("Any", replayed)
            )
            self._connections.add(connection)
            try:
                await server.run()
            finally:
                self._connections.discard(connection)
                # Hypercorn's own closing begins with a checkpoint, so a cancelled one never ends.
                await trio.aclose_forcefully(stream)

    async def terminate(self) -> None:
        """Lets each connection end with the requests it is at, and ends the others at once.

        A WebSocket is among the others: it has no request that would end by itself.
        """
        await self._context.terminated.set()
        for connection in list(self._connections):
            if not connection.requests:
                connection.abort()

    async def finish(self) -> None:
        """Lets the application run its shutdown, when no connection is left."""
        with trio.move_on_after(self._config.shutdown_timeout):
            await self._lifespan.wait_for_shutdown()


def make_hypercorn(front: Front, application: Callable[[], AsgiApp] | None) -> Hypercorn:
    """Hypercorn behind `front`; `application` makes that of the pages, else `make_app` does."""
    pages = application() if application is not None else cast("AsgiApp", make_app(front.pages))
    app = PortApp(
        pages=pages,
        s3=S3App(front),
        reserved_paths=front.reserved_paths,
        patience_seconds=front.limits.patience_seconds,
    )
    return Hypercorn(app, front.limits)


def _make_config(limits: Limits) -> Config:
    config = Config()
    config.accesslog = None
    config.errorlog = logging.getLogger("rs3gwd.hypercorn")
    config.include_server_header = False
    config.include_date_header = False
    config.keep_alive_timeout = limits.idle_seconds
    config.h11_max_incomplete_size = limits.head_bytes_max
    config.h2_max_concurrent_streams = HTTP2_STREAMS_MAX
    config.h2_max_header_list_size = limits.head_bytes_max
    config.websocket_ping_interval = WEBSOCKET_PING_SECONDS
    config.startup_timeout = config.shutdown_timeout = LIFESPAN_SECONDS
    return config
