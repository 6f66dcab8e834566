"""A small S3 client on trio: one connection, one request at a time, signed by SigV4.

It is written from the documentation and shares nothing with the server, so that a mistake in one
is not hidden by the same mistake in the other. What it is not: it retries nothing, follows nothing
and believes nothing; a broken connection is an error of its own, since after it nobody knows
whether the request took place.

Source: Amazon S3 API Reference, "Signature Calculations for the Authorization Header".
"""

from __future__ import annotations

import hashlib
import hmac
import socket
import time
from collections.abc import Callable, Sequence
from types import TracebackType
from urllib.parse import quote

import httptools
import trio
from msgspec import Struct

from rs3gwd.testing.node_process import ACCESS_KEY, REGION, SECRET_KEY

RECEIVE_BYTES = 256 * 1024
ANSWER_SECONDS_MAX = 60.0


class ConnectionLost(Exception):
    """The connection broke before the whole answer was here; the request may have taken place."""


class NotConnected(ConnectionLost):
    """There was no connection, and none could be made: the request did not take place."""


class Answer(Struct, frozen=True):
    """A whole answer; header names in lower case."""

    status: int
    headers: dict[str, str]
    body: bytes


class HttpClient:
    """A client of the node on `port` of the loopback. `close` it, or use it as a context manager.

    It connects at the first request and again after a lost connection. `open_socket` makes its
    TCP sockets, where they are to belong to another network namespace.
    """

    def __init__(
        self,
        port: int,
        *,
        access_key: str = ACCESS_KEY,
        secret_key: str = SECRET_KEY,
        open_socket: Callable[[], socket.socket] | None = None,
    ) -> None:
        self._port = port
        self._open_socket = open_socket
        self._access_key = access_key
        self._secret_key = secret_key
        self._stream: trio.SocketStream | None = None

    async def __aenter__(self) -> HttpClient:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.close()

    async def request(
        self,
        method: str,
        path: bytes,
        query: Sequence[tuple[str, str]] = (),
        *,
        headers: dict[str, str] | None = None,
        body: bytes = b"",
        body_sent: int | None = None,
    ) -> Answer:
        """Sends a request and gives the answer. `path` is not encoded yet.

        With `body_sent` only so many bytes of the body are sent, then the connection is closed:
        ConnectionLost. Raises ConnectionLost also whenever the connection breaks or hangs, and
        NotConnected where nothing was sent.
        """
        head = self._sign(method, path, query, headers or {}, body)
        try:
            with trio.fail_after(ANSWER_SECONDS_MAX):
                if self._stream is None:
                    self._stream = await self._try_to_connect(f"{method} {path!r}")
                await self._stream.send_all(head + body[:body_sent])
                if body_sent is None:
                    return await self._receive(method)
        except (OSError, trio.BrokenResourceError, trio.TooSlowError) as error:
            await self.close()
            raise ConnectionLost(f"{method} {path!r}: {error}") from error
        await self.close()
        raise ConnectionLost(f"{method} {path!r}: given up after {body_sent} bytes")

    async def _try_to_connect(self, request: str) -> trio.SocketStream:
        try:
            return await self._connect()
        except OSError as error:
            raise NotConnected(f"{request}: {error}") from error

    async def _connect(self) -> trio.SocketStream:
        if self._open_socket is None:
            return await trio.open_tcp_stream("127.0.0.1", self._port)
        connecting = trio.socket.from_stdlib_socket(self._open_socket())
        try:
            await connecting.connect(("127.0.0.1", self._port))
        except BaseException:
            connecting.close()
            raise
        return trio.SocketStream(connecting)

    async def close(self) -> None:
        """Closes the connection, if there is one."""
        stream, self._stream = self._stream, None
        if stream is not None:
            await stream.aclose()

    async def _receive(self, method: str) -> Answer:
        assert self._stream is not None
        collector = _Collector()
        parser = httptools.HttpResponseParser(collector)
        while not collector.complete:
            data = await self._stream.receive_some(RECEIVE_BYTES)
            if not data:
                await self.close()
                raise ConnectionLost(f"{method}: the connection was closed before the answer")
            parser.feed_data(data)
            if method == "HEAD" and collector.head_complete:
                break
        if collector.headers.get("connection", "") == "close" or method == "HEAD":
            await self.close()
        return Answer(parser.get_status_code(), collector.headers, b"".join(collector.pieces))

    def _sign(
        self,
        method: str,
        path: bytes,
        query: Sequence[tuple[str, str]],
        headers: dict[str, str],
        body: bytes,
    ) -> bytes:
        """The head of the request."""
        target = quote(path, safe="/~")
        encoded_query = "&".join(
            f"{quote(name, safe='~')}={quote(value, safe='~')}" for name, value in sorted(query)
        )
        moment = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime())
        payload = hashlib.sha256(body).hexdigest()
        signed = {
            "host": f"127.0.0.1:{self._port}",
            "x-amz-date": moment,
            "x-amz-content-sha256": payload,
            **{name.lower(): value for name, value in headers.items()},
        }
        names = ";".join(sorted(signed))
        canonical_headers = "".join(f"{name}:{signed[name].strip()}\n" for name in sorted(signed))
        canonical = f"{method}\n{target}\n{encoded_query}\n{canonical_headers}\n{names}\n{payload}"
        scope = f"{moment[:8]}/{REGION}/s3/aws4_request"
        digest = hashlib.sha256(canonical.encode()).hexdigest()
        signature = hmac.new(
            self._signing_key(moment[:8]),
            f"AWS4-HMAC-SHA256\n{moment}\n{scope}\n{digest}".encode(),
            hashlib.sha256,
        ).hexdigest()
        signed["authorization"] = (
            f"AWS4-HMAC-SHA256 Credential={self._access_key}/{scope}, "
            f"SignedHeaders={names}, Signature={signature}"
        )
        if body or method in ("PUT", "POST"):
            signed["content-length"] = str(len(body))
        question = f"?{encoded_query}" if encoded_query else ""
        lines = [f"{method} {target}{question} HTTP/1.1"]
        lines += [f"{name}: {value}" for name, value in signed.items()]
        return "\r\n".join([*lines, "", ""]).encode("latin-1")

    def _signing_key(self, date: str) -> bytes:
        key = f"AWS4{self._secret_key}".encode()
        for part in (date, REGION, "s3", "aws4_request"):
            key = hmac.new(key, part.encode(), hashlib.sha256).digest()
        return key


class _Collector:
    """What httptools calls back with."""

    def __init__(self) -> None:
        self.headers: dict[str, str] = {}
        self.pieces: list[bytes] = []
        self.head_complete = False
        self.complete = False

    def on_header(self, name: bytes, value: bytes) -> None:
        self.headers[name.decode("latin-1").lower()] = value.decode("latin-1")

    def on_headers_complete(self) -> None:
        self.head_complete = True

    def on_body(self, data: bytes) -> None:
        self.pieces.append(data)

    def on_message_complete(self) -> None:
        self.complete = True
