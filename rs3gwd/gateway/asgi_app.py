"""The daemon's own pages, on quart-trio, and the ASGI application that hypercorn runs.

`make_app` gives `/metrics`, `/health/live` and `/health/ready` to those who do not ask in plain
HTTP/1.1; other parts of the daemon add their blueprints under the configured prefixes. `PortApp`
decides for each request that hypercorn parsed whether it is for these pages or for S3, by the same
rule as the HTTP/1.1 front.

A connection that speaks HTTP/1.1 is handed to hypercorn for one request: PortApp adds
`Connection: close` to the response. So every HTTP/1.1 head on this port is first read by our own
strict parser, and h11, which is lenient about framing, never finds a second request behind a
first (request smuggling). A WebSocket has no second request, and HTTP/2 has no such ambiguity.
"""

from collections.abc import Awaitable, Callable

from quart import Response, jsonify, request
from quart_trio import QuartTrio

from rs3gwd.gateway.asgi_s3 import (
    CONNECTION_KEY,
    AsgiMessage,
    AsgiReceive,
    AsgiScope,
    AsgiSend,
    HandedConnection,
)
from rs3gwd.gateway.pages import METHODS, Pages
from rs3gwd.gateway.reserved_paths import RESERVED_EXACT, ReservedPaths

AsgiApp = Callable[[AsgiScope, AsgiReceive, AsgiSend], Awaitable[None]]


def make_app(pages: Pages) -> QuartTrio:
    """The quart-trio application of the reserved paths; see `Pages` for what they say."""
    app = QuartTrio("rs3gwd")

    async def answer() -> Response:
        authorization = request.headers.get("Authorization", "")
        page = await pages.answer(request.method, request.path, authorization)
        assert isinstance(page.body, bytes), "pages are small"
        return Response(page.body, page.status, headers=dict(page.headers))

    for path in sorted(RESERVED_EXACT):
        app.add_url_rule(path, path, answer, methods=METHODS, provide_automatic_options=False)

    @app.errorhandler(404)
    async def not_found(_error: Exception) -> tuple[Response, int]:
        return jsonify(error="not found"), 404

    @app.errorhandler(405)
    async def not_allowed(_error: Exception) -> tuple[Response, int]:
        return jsonify(error="method not allowed"), 405

    return app


class PortApp:
    """All that hypercorn serves on the port: `pages` for reserved paths, `s3` for the rest."""

    def __init__(
        self,
        *,
        pages: AsgiApp,
        s3: AsgiApp,
        reserved_paths: ReservedPaths,
        patience_seconds: float,
    ) -> None:
        self._patience_seconds = patience_seconds
        self._pages = pages
        self._s3 = s3
        self._reserved_paths = reserved_paths

    async def __call__(self, scope: AsgiScope, receive: AsgiReceive, send: AsgiSend) -> None:
        """One request, WebSocket or lifespan."""
        if scope["type"] != "http":
            await self._pages(scope, receive, send)
            return
        connection: HandedConnection = scope["state"][CONNECTION_KEY]
        connection.requests += 1
        try:
            if not scope["http_version"].startswith("1"):
                if self._is_reserved(scope):
                    await self._pages(scope, receive, self._in_time(connection, send))
                else:
                    await self._s3(scope, receive, send)
                return
            await self._pages(scope, receive, _closing(self._in_time(connection, send)))
        finally:
            connection.requests -= 1
        # Hypercorn would wait for the client to close; the connection has had its request.
        connection.abort()

    def _in_time(self, connection: HandedConnection, send: AsgiSend) -> AsgiSend:
        """A page is small: a client that does not take it loses its connection."""

        async def send_in_time(message: AsgiMessage) -> None:
            if not await connection.send_in_time(send, message, self._patience_seconds):
                connection.abort()

        return send_in_time

    def _is_reserved(self, scope: AsgiScope) -> bool:
        authorization = b""
        for name, value in scope["headers"]:
            if name == b"authorization":
                authorization = value
        return self._reserved_paths.takes(
            scope["raw_path"].decode("latin-1"),
            scope["query_string"].decode("latin-1"),
            authorization.decode("latin-1"),
        )


def _closing(send: AsgiSend) -> AsgiSend:
    async def send_closing(message: AsgiMessage) -> None:
        if message["type"] == "http.response.start":
            fields = [
                field for field in message.get("headers", ()) if field[0].lower() != b"connection"
            ]
            message = {**message, "headers": [*fields, (b"connection", b"close")]}
        await send(message)

    return send_closing
