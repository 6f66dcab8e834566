"""One HTTP/1.1 connection: requests in, responses out, in order, until someone closes.

The loop is receive, parse, answer, send, and is written for the common case: a keep-alive client
whose request arrives in one piece and whose answer fits the socket's buffer costs one wait, one
receive and one send. Everything else (bodies, slow clients, errors) is off that path.

Rules (RFC 9112 section 9, RFC 9110 sections 9.3.2 and 10.1.1):
    - a response is either sent whole or the connection is cut: a body that fails midway never
      looks complete, since fewer bytes follow than Content-Length said;
    - a body's first block is read before the head is sent, so that a failure there is still an
      honest error response;
    - a connection is kept only when the place where the next request begins is certain: a refused
      head, a failed body or one whose client awaits `100 Continue` closes it;
    - after a refusal the rest of what the client sends is read for a moment, because closing a
      socket with unread bytes resets it and may take the answer with it.
"""

import trio
from msgspec import Struct

from rs3gwd.base.http import Request, Response, StreamedBody
from rs3gwd.base.ports import Buffer
from rs3gwd.gateway.errors import HttpRefusal, Interrupted, PeerGone
from rs3gwd.gateway.front import Front
from rs3gwd.gateway.http1_parser import (
    UPGRADE_HTTP2_PREFACE,
    Http1Parser,
    RequestHead,
    origin_form,
)
from rs3gwd.gateway.link import Link
from rs3gwd.gateway.patience import Patience
from rs3gwd.gateway.request_body import NoBody, RequestBody
from rs3gwd.gateway.response_head import has_body
from rs3gwd.gateway.transport import Transport

PIPELINED_IN_A_ROW_MAX = 16
"""Pipelined requests answered without a checkpoint in between."""

_NO_BODY = NoBody()
_ELSEWHERE = frozenset(["websocket", UPGRADE_HTTP2_PREFACE])


class Handover(Struct, frozen=True):
    """A connection that is not ours: `received` was read from it and not answered."""

    received: bytes


class _BodyFailed(Exception):
    """A response body broke after its head was sent; the cause was reported."""


class Connection:
    """Serves one client over `transport`; `link` is what the gateway's sweep looks at."""

    __slots__ = (
        "_answered",
        "_bytes_out",
        "_front",
        "_head_deadline",
        "_in_a_row",
        "_now",
        "_parser",
        "_peer",
        "link",
    )

    def __init__(self, transport: Transport, front: Front, *, peer: str) -> None:
        self.link = Link(transport, front)
        self._front = front
        self._peer = peer
        self._parser = Http1Parser(front.limits)
        self._now = front.clock.monotonic()
        self._head_deadline = 0.0
        self._in_a_row = 0
        self._answered = False
        self._bytes_out = 0

    async def serve(self) -> Handover | None:
        """Serves until the connection ends; the transport is then for the caller to close, or to
        give on with the bytes of the Handover."""
        parser = self._parser
        try:
            while True:
                head = parser.next_head()
                if head is None:
                    if not await self._receive_head():
                        return None
                    continue
                if self._goes_elsewhere(head):
                    return Handover(received=origin_form(head) + parser.take_rest())
                if not await self._exchange(head):
                    return None
                if parser.buffered_bytes:
                    await self._take_turns()
        except HttpRefusal as refusal:
            self._front.heads_refused_total += 1
            await self.refuse(refusal)
        return None

    def _goes_elsewhere(self, head: RequestHead) -> bool:
        if head.upgrade in _ELSEWHERE:
            return True
        return self._front.reserved_paths.takes(
            head.raw_path, head.raw_query, head.headers.get("authorization", "")
        )

    async def _take_turns(self) -> None:
        self._in_a_row += 1
        if self._in_a_row >= PIPELINED_IN_A_ROW_MAX:
            self._in_a_row = 0
            await trio.lowlevel.checkpoint()

    async def _receive_head(self) -> bool:
        """Feeds the parser; False when the connection is over."""
        front = self._front
        held_bytes = self._parser.buffered_bytes
        if not held_bytes:
            seconds = front.limits.idle_seconds if self._answered else front.limits.head_seconds
            deadline = self._now + seconds
            self._head_deadline = 0.0
        else:
            if not self._head_deadline:
                self._head_deadline = front.clock.monotonic() + front.limits.head_seconds
            deadline = self._head_deadline
        try:
            if front.draining:
                # A request may have arrived while we decided to stop: it is served.
                data = self.link.transport.receive_nowait(front.limits.head_bytes_max)
            else:
                data = await self.link.receive_head(held_bytes=held_bytes, deadline=deadline)
        except Interrupted:
            if front.draining:
                return True
            front.timeouts_total += 1
            if held_bytes:
                await self.refuse(HttpRefusal(400, "RequestTimeout", ""))
            return False
        self._parser.feed(data)
        return bool(data)

    async def _exchange(self, head: RequestHead) -> bool:
        """Answers one request; False when the connection must close."""
        front = self._front
        started = front.clock.monotonic()
        body = (
            RequestBody(self._parser, self.link, front, awaits_continue=head.expects_continue)
            if head.content_length != 0
            else _NO_BODY
        )
        request = Request(
            head.method,
            head.raw_path,
            head.raw_query,
            head.headers,
            head.repeated_headers,
            head.host,
            head.content_length,
            body,
            self._peer,
            self.link.transport.secure,
            front.next_request_id(),
        )
        front.requests_total += 1
        self._bytes_out = 0
        overloaded = front.is_overloaded()
        front.requests_in_flight += 1
        try:
            if overloaded:
                response = front.overload_response(request)
            else:
                response = await front.answer(request)
            response, keep = await self._respond(head, request, response, body)
        finally:
            front.requests_in_flight -= 1
            if isinstance(body, RequestBody):
                body.release()
        self._now = now = front.clock.monotonic()
        self._answered = True
        front.observer.on_request_done(
            request, response, now - started, body.received_bytes, self._bytes_out
        )
        if not isinstance(body, RequestBody) or body.finished:
            if not keep and self._parser.buffered_bytes:
                await self._linger()
            return keep
        return await self._settle(body, keep=keep)

    async def _settle(self, body: RequestBody, *, keep: bool) -> bool:
        """After a response: gets rid of a body that the handler did not read to its end."""
        if keep and await body.skip_rest():
            self._now = self._front.clock.monotonic()
            return True
        await self._linger()
        return False

    async def _respond(
        self, head: RequestHead, request: Request, response: Response, body: NoBody | RequestBody
    ) -> tuple[Response, bool]:
        """Sends a response, or the error that stands in for it: what was sent, and whether the
        connection can be kept."""
        front = self._front
        try:
            try:
                keep = await self._send(head, request, response, body)
            except (PeerGone, Interrupted, _BodyFailed):
                raise
            # The outermost layer, as in `Front.answer`: the head is not sent yet.
            except Exception as error:  # noqa: BLE001
                response = front.response_for(request, error)
                keep = await self._send(head, request, response, body)
        except PeerGone:
            keep = False
        except Interrupted:
            front.timeouts_total += 1
            keep = False
        except _BodyFailed:
            keep = False
        return response, keep

    async def _send(
        self, head: RequestHead, request: Request, response: Response, body: NoBody | RequestBody
    ) -> bool:
        """Sends one response whole; whether the connection can be kept.

        Raises PeerGone, Interrupted, _BodyFailed; anything else before the first byte was sent.
        """
        front = self._front
        payload = response.body
        bodied = has_body(response.status)
        length = payload.length if isinstance(payload, StreamedBody) else len(payload)
        keep = (
            head.keep_alive
            and not response.close
            and not front.closing
            and (not isinstance(body, RequestBody) or body.can_skip_rest())
        )
        if head.method == "HEAD":
            payload = b""
            if response.length_override is not None:
                length = response.length_override
        elif not bodied:
            payload = b""
        connection = "" if keep else "close"
        if keep and head.is_http_1_0:
            connection = "keep-alive"
        encoded = front.heads.encode(
            response.status,
            response.headers,
            content_length=length if bodied else None,
            request_id=request.request_id,
            now_ms=front.clock.now_ms(),
            connection=connection,
        )
        if isinstance(payload, StreamedBody):
            await self._send_streamed(encoded, payload, request)
        else:
            await self.link.send(encoded, payload)
            self._bytes_out = len(payload)
        return keep

    async def _send_streamed(self, encoded: bytes, body: StreamedBody, request: Request) -> None:
        """Sends a head and the blocks of a body, or as much of it as comes unharmed."""
        patience = self.link.new_patience()
        head_left = encoded
        try:
            async with body.source as reader:
                block = await reader.read()
                _check_length(len(block), body.length, at_end=not block)
                while True:
                    await self._send_block(head_left, block, patience)
                    head_left = b""
                    if self._bytes_out == body.length:
                        break
                    block = await reader.read()
                    _check_length(self._bytes_out + len(block), body.length, at_end=not block)
        except (PeerGone, Interrupted):
            raise
        # The outermost layer, as in `Front.answer`: a broken body costs this connection alone.
        except Exception as error:
            if head_left:
                raise
            self._front.failures_total += 1
            self._front.observer.on_failure(request, error)
            raise _BodyFailed from error

    async def _send_block(self, head: bytes, block: Buffer, patience: Patience) -> None:
        await self.link.send(head, block, patience)
        self._bytes_out += len(block)

    async def refuse(self, refusal: HttpRefusal) -> None:
        """Answers what is not a request, as well as it can be, before the connection closes."""
        front = self._front
        request_id = front.next_request_id()
        body = front.heads.error_body(
            refusal.api_code, refusal.message, resource="", request_id=request_id
        )
        encoded = front.heads.encode(
            refusal.status,
            [("Content-Type", "application/xml")],
            content_length=len(body),
            request_id=request_id,
            now_ms=front.clock.now_ms(),
            connection="close",
        )
        front.observer.on_refusal(self._peer, refusal.status, refusal.api_code)
        try:
            await self.link.send(encoded, body)
        except (PeerGone, Interrupted):
            return
        await self._linger()

    async def _linger(self) -> None:
        """Reads on for a moment, so that the client gets our last answer before it gets a reset."""
        limits = self._front.limits
        await self.link.transport.send_end()
        deadline = self._front.clock.monotonic() + limits.linger_seconds
        left = limits.linger_bytes_max
        try:
            while left > 0 and self._front.clock.monotonic() < deadline:
                data = await self.link.receive_head(held_bytes=0, deadline=deadline)
                if not data:
                    return
                left -= len(data)
        except Interrupted:
            return


def _check_length(sent: int, length: int, *, at_end: bool) -> None:
    if sent > length or (at_end and sent < length):
        raise ValueError(f"a response body of {length} bytes gave {sent}")
