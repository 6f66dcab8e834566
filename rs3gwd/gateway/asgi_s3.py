"""S3 over HTTP/2: an ASGI application in front of the same handler that serves HTTP/1.1.

Only connections with prior knowledge come here (TLS does not offer h2 on the data port, since it
uploads at a twentieth of the speed), through hypercorn and `h2`, which check the framing. The
bounds and counters are those of `Front`, so both protocols together stay within them.

Rules that hypercorn makes necessary: the rest of a request body is read before the response ends,
because data for a stream that is gone ends hypercorn's connection with a KeyError; and a response
that breaks midway ends the whole connection, because ASGI has no way to reset one stream, and a
client must never wait for ever or take a short body for a whole one.
"""

import re
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

import trio

from rs3gwd.base.http import (
    Request,
    RequestBodyError,
    RequestBodyTimeout,
    Response,
    StreamedBody,
)
from rs3gwd.gateway.errors import HttpRefusal, PeerGone
from rs3gwd.gateway.front import Front
from rs3gwd.gateway.http1_parser import collect_fields, content_length_of, host_of
from rs3gwd.gateway.patience import Patience
from rs3gwd.gateway.response_head import has_body

AsgiScope = MutableMapping[str, Any]
AsgiMessage = MutableMapping[str, Any]
AsgiReceive = Callable[[], Awaitable[AsgiMessage]]
AsgiSend = Callable[[AsgiMessage], Awaitable[None]]
"""The three arguments of an ASGI application (ASGI 3.0); typed loosely, as ASGI is."""

CONNECTION_KEY = "rs3gwd.connection"
"""Where a scope's state holds the `HandedConnection` that the request came on."""

SEND_BYTES = 64 << 10
"""Bytes handed to hypercorn at once; a client must take them within the patience."""

_BODY_METHODS = frozenset(["PUT", "POST", "PATCH"])

_CONTROL = re.compile(rb"[\x00-\x08\x0a-\x1f\x7f]")
"""What llhttp refuses in a value and h2 lets through, but for NUL, CR and LF (RFC 9110 section
5.5); stored as metadata it would be read back over HTTP/1.1."""


class HandedConnection:
    """A connection in hypercorn's hands, as an application sees it.

    `requests` counts those under way on it: while there are any, silence is no reason to close.
    """

    def __init__(self, abort: Callable[[], None]) -> None:
        self.requests = 0
        self._abort = abort
        self._client_left = False
        self._sends: set[trio.CancelScope] = set()

    def abort(self) -> None:
        """Cuts the connection, with all its streams."""
        self._abort()

    def client_left(self) -> None:
        """The client has closed: nobody will take what is being sent, and hypercorn would wait."""
        self._client_left = True
        for scope in self._sends:
            scope.cancel()

    async def send_in_time(self, send: AsgiSend, message: AsgiMessage, seconds: float) -> bool:
        """Sends a message; False when the client has left or has not taken it for so long."""
        with trio.move_on_after(seconds) as scope:
            if self._client_left:
                return False
            self._sends.add(scope)
            try:
                await send(message)
            finally:
                self._sends.discard(scope)
        return not scope.cancelled_caught


class AsgiBody:
    """A request body out of ASGI messages."""

    def __init__(self, receive: AsgiReceive, front: Front) -> None:
        self.received_bytes = 0
        self._receive = receive
        self._front = front
        limits = front.limits
        self._patience = Patience(
            seconds_max=limits.patience_seconds, bytes_per_second_min=limits.bytes_per_second_min
        )
        self._more = True
        self._broken = False

    async def receive(self) -> bytes:
        """The next bytes, empty at the end. Raises RequestBodyError."""
        clock = self._front.clock
        while self._more:
            if self._broken:
                raise RequestBodyError("the client closed the connection")
            now = clock.monotonic()
            with trio.move_on_after(self._patience.deadline_from(now) - now) as scope:
                message = await self._receive()
            if scope.cancelled_caught:
                self._broken = True
                self._front.timeouts_total += 1
                raise RequestBodyTimeout("the client sends its body too slowly")
            if message["type"] != "http.request":
                self._broken = True
                continue
            data: bytes = message.get("body", b"")
            self._patience.moved(clock.monotonic(), len(data))
            self._more = message.get("more_body", False)
            if data:
                self.received_bytes += len(data)
                return data
        return b""

    async def skip_rest(self) -> None:
        """Throws the rest away. Raises PeerGone when that is too much, too slow or broken."""
        left = self._front.limits.unread_body_bytes_max
        try:
            while data := await self.receive():
                left -= len(data)
                if left < 0:
                    raise PeerGone("the rest of the body is too long to be thrown away")
        except RequestBodyError as error:
            raise PeerGone("the client did not finish its body") from error


class S3App:
    """The ASGI application for requests that are S3."""

    def __init__(self, front: Front) -> None:
        self._front = front

    async def __call__(self, scope: AsgiScope, receive: AsgiReceive, send: AsgiSend) -> None:
        """Serves one request of type `http`."""
        front = self._front
        body = AsgiBody(receive, front)
        try:
            request = self._request(scope, body)
        except HttpRefusal as refusal:
            front.heads_refused_total += 1
            await self._refuse(refusal, scope, send)
            return
        started = front.clock.monotonic()
        front.requests_total += 1
        overloaded = front.is_overloaded()
        front.requests_in_flight += 1
        connection: HandedConnection = scope["state"][CONNECTION_KEY]
        exchange = _Exchange(front, request, body, connection, send)
        try:
            response = front.overload_response(request) if overloaded else None
            response = response or await front.answer(request)
            response = await exchange.respond(response)
        except PeerGone:
            response = Response(499, [], error_code="ClientDisconnected")
            connection.abort()
        finally:
            front.requests_in_flight -= 1
        seconds = front.clock.monotonic() - started
        front.observer.on_request_done(
            request, response, seconds, body.received_bytes, exchange.bytes_out
        )

    def _request(self, scope: AsgiScope, body: AsgiBody) -> Request:
        """Raises HttpRefusal."""
        fields: list[tuple[bytes, bytes]] = list(scope["headers"])
        if len(fields) > self._front.limits.headers_max:
            raise HttpRefusal(
                400, "RequestHeaderSectionTooLarge", "The request has too many header fields."
            )
        if any(_CONTROL.search(value) for _, value in fields):
            raise HttpRefusal(400, "BadRequest", "A header value holds a control character.")
        headers, repeated = collect_fields(fields)
        path = scope["raw_path"].decode("latin-1")
        if not path.startswith("/") or not path.isascii() or "#" in path:
            raise HttpRefusal(400, "BadRequest", "The request target is not valid.")
        method: str = scope["method"]
        length = headers.get("content-length")
        return Request(
            method=method,
            raw_path=path,
            raw_query=scope["query_string"].decode("latin-1"),
            headers=headers,
            repeated_headers=repeated,
            host=host_of(headers),
            content_length=(
                content_length_of(length)
                if length is not None
                else (None if method in _BODY_METHODS else 0)
            ),
            body=body,
            peer=scope["client"][0] if scope.get("client") else "",
            secure=scope.get("scheme") == "https",
            request_id=self._front.next_request_id(),
            # hypercorn does not say which: the least that is taken, so that nobody passes for more.
            tls_version="1.2" if scope.get("scheme") == "https" else "",
        )

    async def _refuse(self, refusal: HttpRefusal, scope: AsgiScope, send: AsgiSend) -> None:
        front = self._front
        peer = scope["client"][0] if scope.get("client") else ""
        front.observer.on_refusal(peer, refusal.status, refusal.api_code)
        request_id = front.next_request_id()
        body = front.heads.error_body(
            refusal.api_code, refusal.message, resource="", request_id=request_id
        )
        fields = front.heads.common_fields(request_id=request_id, now_ms=front.clock.now_ms())
        fields += [("content-length", str(len(body))), ("content-type", "application/xml")]
        await send(_start_message(refusal.status, fields))
        await send({"type": "http.response.body", "body": body})


class _Exchange:
    """The sending of one response; `bytes_out` counts its body."""

    def __init__(
        self,
        front: Front,
        request: Request,
        body: AsgiBody,
        connection: HandedConnection,
        send: AsgiSend,
    ) -> None:
        self.bytes_out = 0
        self._front = front
        self._request = request
        self._body = body
        self._connection = connection
        self._send = send

    async def respond(self, response: Response) -> Response:
        """Sends `response`, or the error that stands in for it; the one that was sent.

        Raises PeerGone when the client is gone or the response broke after its head.
        """
        payload = response.body
        if self._request.method == "HEAD" or not has_body(response.status):
            payload = b""
        if not isinstance(payload, StreamedBody):
            await self._body.skip_rest()
            await self._start(response)
            await self._send_block(payload)
            await self._end()
            return response
        started = False
        try:
            async with payload.source as reader:
                block = await reader.read()
                await self._body.skip_rest()
                started = True
                await self._start(response)
                while block and self.bytes_out < payload.length:
                    await self._send_block(block)
                    block = await reader.read() if self.bytes_out < payload.length else b""
            if self.bytes_out != payload.length:
                raise ValueError(f"a body of {payload.length} bytes gave {self.bytes_out}")
        except PeerGone:
            raise
        # The outermost layer: a broken body costs this connection alone and is reported.
        except Exception as error:
            failed = self._front.response_for(self._request, error)
            if started:
                raise PeerGone("the response body broke") from error
            return await self.respond(failed)
        await self._end()
        return response

    async def _start(self, response: Response) -> None:
        front = self._front
        fields = front.heads.common_fields(
            request_id=self._request.request_id, now_ms=front.clock.now_ms()
        )
        if has_body(response.status):
            fields.append(("content-length", str(_length(self._request, response))))
        fields += response.headers
        await self._send_in_time(_start_message(response.status, fields))

    async def _send_block(self, block: bytes | bytearray | memoryview) -> None:
        with memoryview(block) as view:
            for offset in range(0, len(view), SEND_BYTES):
                piece = bytes(view[offset : offset + SEND_BYTES])
                await self._send_in_time(
                    {"type": "http.response.body", "body": piece, "more_body": True}
                )
                self.bytes_out += len(piece)

    async def _end(self) -> None:
        await self._send_in_time({"type": "http.response.body", "body": b""})

    async def _send_in_time(self, message: MutableMapping[str, Any]) -> None:
        seconds = self._front.limits.patience_seconds
        if not await self._connection.send_in_time(self._send, message, seconds):
            self._front.timeouts_total += 1
            raise PeerGone("the client does not take the response")


def _length(request: Request, response: Response) -> int:
    if request.method == "HEAD" and response.length_override is not None:
        return response.length_override
    body = response.body
    return body.length if isinstance(body, StreamedBody) else len(body)


def _start_message(status: int, fields: list[tuple[str, str]]) -> MutableMapping[str, Any]:
    return {
        "type": "http.response.start",
        "status": status,
        "headers": [(name.lower().encode("latin-1"), v.encode("latin-1")) for name, v in fields],
    }
