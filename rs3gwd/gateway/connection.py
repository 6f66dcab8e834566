"""One HTTP/1.1 connection: requests in, responses out, in order, until someone closes.

The loop is receive, parse, answer, send. In the common case (a keep-alive client whose request
arrives in one piece and whose answer is there at once and fits the socket's buffer) all of it
happens within a turn of the poller, and the task of the connection sleeps on. It wakes for
everything else: bodies, answers that have to wait, slow clients, errors, the end.

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

from enum import Enum

import trio
from msgspec import Struct

from rs3gwd.base.http import Request, StreamedBody
from rs3gwd.gateway.errors import HttpRefusal, Interrupted, PeerGone
from rs3gwd.gateway.exchange import Exchange
from rs3gwd.gateway.front import Front
from rs3gwd.gateway.http1_parser import (
    UPGRADE_HTTP2_PREFACE,
    Http1Parser,
    RequestHead,
    origin_form,
)
from rs3gwd.gateway.link import Link
from rs3gwd.gateway.request_body import NoBody, RequestBody
from rs3gwd.gateway.reserved_paths import RESERVED_EXACT
from rs3gwd.gateway.transport import SocketTransport, Transport

PIPELINED_IN_A_ROW_MAX = 16
"""Pipelined requests answered without a checkpoint in between."""

_NO_BODY = NoBody()
_ELSEWHERE = frozenset(["websocket", UPGRADE_HTTP2_PREFACE])


class PageWanted(Struct, frozen=True):
    """A request for one of the daemon's own pages."""

    head: RequestHead


class Handover(Struct, frozen=True):
    """A connection that is not ours: `received` was read from it and not answered."""

    received: bytes


class _BodyFailed(Exception):
    """A response body broke after its head was sent; the cause was reported."""


class _Pause(Enum):
    """Why there is no request to carry on with."""

    MORE = "bytes came that are no whole head yet"
    ENDED = "the client has closed"


_Step = Exchange | Handover | PageWanted
"""What a connection's task has to carry on with."""


class Connection:
    """Serves one client over `transport`; `link` is what the gateway's sweep looks at."""

    __slots__ = (
        "_front",
        "_head_deadline",
        "_in_a_row",
        "_now",
        "_parser",
        "_peer",
        "_polled",
        "_queued",
        "link",
    )

    def __init__(self, transport: Transport, front: Front, *, peer: str) -> None:
        self.link = Link(transport, front)
        self._front = front
        self._peer = peer
        self._polled = transport if isinstance(transport, SocketTransport) else None
        self._queued: Exchange | None = None
        self._parser = Http1Parser(front.limits)
        self._now = front.clock.monotonic()
        self._head_deadline = 0.0
        self._in_a_row = 0

    async def serve(self) -> Handover | None:
        """Serves until the connection ends; the transport is then for the caller to close, or to
        give on with the bytes of the Handover."""
        try:
            while True:
                step: _Step | _Pause = self._begin() or _Pause.MORE
                while step is _Pause.MORE:
                    step = await self._receive_step()
                if isinstance(step, _Pause):
                    return None
                if isinstance(step, Handover):
                    return step
                if isinstance(step, PageWanted):
                    await self._send_page(step.head)
                    return None
                if not await self._carry_on(step):
                    return None
                if self._parser.buffered_bytes:
                    await self._take_turns()
        except HttpRefusal as refusal:
            self._front.heads_refused_total += 1
            await self.refuse(refusal)
        finally:
            self._send_own()
        return None

    def _begin(self) -> _Step | None:
        """Begins the next request whose head is there whole. Raises HttpRefusal."""
        front, parser = self._front, self._parser
        head = parser.next_head()
        if head is None:
            return None
        if self._goes_elsewhere(head):
            if head.raw_path in RESERVED_EXACT and not head.upgrade and not head.expects_continue:
                return PageWanted(head)
            return Handover(received=origin_form(head) + parser.take_rest())
        body = (
            RequestBody(parser, self.link, front, awaits_continue=head.expects_continue)
            if head.content_length != 0 or head.expects_continue
            else _NO_BODY
        )
        return Exchange(front, head, self._make_request(head, body), body)

    def _make_request(self, head: RequestHead, body: NoBody | RequestBody) -> Request:
        return Request(
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
            self._front.next_request_id(),
            self.link.transport.tls_version,
        )

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

    async def _receive_step(self) -> _Step | _Pause:
        """Waits for more of a head: what comes of it. Raises HttpRefusal."""
        front = self._front
        held_bytes = self._parser.buffered_bytes
        if not held_bytes:
            seconds = front.limits.idle_seconds if self.link.answered else front.limits.head_seconds
            deadline = self._now + seconds
            self._head_deadline = 0.0
        else:
            if not self._head_deadline:
                self._head_deadline = front.clock.monotonic() + front.limits.head_seconds
            deadline = self._head_deadline
        if front.draining and (self.link.answered or not front.awaits_first):
            self._send_own()
            # A request may have arrived while we decided to stop: it is served.
            data = self.link.transport.receive_nowait(front.limits.head_bytes_max)
            return self._take(data) or _Pause.ENDED
        try:
            return await self.link.receive_step(
                held_bytes=held_bytes, deadline=deadline, on_bytes=self._take
            )
        except Interrupted:
            if front.draining:
                return _Pause.MORE
            front.timeouts_total += 1
            if held_bytes:
                await self.refuse(HttpRefusal(400, "RequestTimeout", ""))
            return _Pause.ENDED

    def _take(self, data: bytes) -> _Step | _Pause | None:
        """Makes something of bytes that arrived; None where they were answered. Raises HttpRefusal.

        Called by the poller, or where there is none by the task.
        """
        if not data:
            return _Pause.ENDED
        self._parser.feed(data)
        step = self._begin()
        if step is None:
            return _Pause.MORE
        if self._polled and isinstance(step, Exchange) and self._queue(self._polled, step):
            return None
        return step

    def _queue(self, polled: SocketTransport, exchange: Exchange) -> bool:
        """Has a plain answer sent at the end of the poller's turn; False where it takes a task.

        Plain is the answer in memory to a request that came whole, with nothing behind it.
        """
        response = exchange.response
        if (
            response is None
            or isinstance(response.body, StreamedBody)
            or not exchange.body.finished
            or self._parser.buffered_bytes
        ):
            return False
        try:
            exchange.prepare()
        except ValueError:
            return False  # The task meets it again, and answers for it.
        if not exchange.keep:
            return False
        self._queued = exchange
        polled.poller.queue(self, len(exchange.encoded) + len(response.body))
        return True

    def _send_own(self) -> None:
        """Sends the answer that is still queued, before the connection is left."""
        self.send_queued()
        self.finish_queued()

    def send_queued(self) -> None:
        """Sends an answer, at the end of the turn; what cannot be sent at once is for the task."""
        exchange = self._queued
        if exchange is None:
            return
        assert self._polled is not None, "only the poller sends what is queued"
        payload = exchange.payload
        assert not isinstance(payload, StreamedBody), "only plain answers are queued"
        try:
            sent = self._polled.send_nowait(exchange.encoded, payload)
        except PeerGone:
            sent = 0
        if sent < len(exchange.encoded) + len(payload):
            exchange.sent = sent
            self._queued = None
            if not self._polled.resume(exchange):
                exchange.release()  # The connection is being left.
        else:
            exchange.bytes_out = len(payload)

    def finish_queued(self) -> None:
        """Counts and logs an answer that went out whole, and waits for the next request."""
        exchange, self._queued = self._queued, None
        if exchange is None:
            return
        exchange.release()
        try:
            self._now = now = exchange.finish()
        # A defect of the observer costs this connection alone: it is raised in its task.
        except Exception as error:  # noqa: BLE001
            assert self._polled is not None, "only the poller sends what is queued"
            self._polled.fail(error)
            return
        self.link.answered = True
        self.link.deadline = now + self._front.limits.idle_seconds

    async def _send_page(self, head: RequestHead) -> None:
        """Answers a request for a page; it is the last of its connection, as all pages are."""
        front = self._front
        request = self._make_request(head, _NO_BODY)
        authorization = head.headers.get("authorization", "")
        page = await front.complete(
            request, front.pages.answer(head.method, head.raw_path, authorization)
        )
        assert isinstance(page.body, bytes), "pages are small"
        encoded = front.heads.encode(
            page.status,
            page.headers,
            content_length=len(page.body),
            request_id=request.request_id,
            now_ms=front.clock.now_ms(),
            connection="close",
        )
        try:
            await self.link.send(encoded, b"" if head.method == "HEAD" else page.body)
        except (PeerGone, Interrupted):
            return
        await self._linger()

    async def _carry_on(self, exchange: Exchange) -> bool:
        """Answers a request that was begun; False when the connection must close."""
        body, front = exchange.body, self._front
        is_queued = False
        try:
            if exchange.rest is not None and exchange.response is None:
                exchange.response = await front.complete(exchange.request, exchange.rest)
                # One that is alone need not wait for others.
                if self._polled and front.requests_in_flight > 1:
                    is_queued = self._queue(self._polled, exchange)
            keep = is_queued or await self._respond(exchange)
        finally:
            if not is_queued:
                exchange.release()
        if is_queued:
            return True
        self._now = exchange.finish()
        self.link.answered = True
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

    async def _respond(self, exchange: Exchange) -> bool:
        """Sends the response, or the error that stands in for it; whether the connection can be
        kept."""
        front = self._front
        try:
            try:
                await self._send(exchange)
            except (PeerGone, Interrupted, _BodyFailed):
                raise
            # The outermost layer, as in `Front.begin`: the head is not sent yet.
            except Exception as error:  # noqa: BLE001
                exchange.replace(front.response_for(exchange.request, error))
                await self._send(exchange)
        except PeerGone:
            return False
        except Interrupted:
            front.timeouts_total += 1
            return False
        except _BodyFailed:
            return False
        return exchange.keep

    async def _send(self, exchange: Exchange) -> None:
        """Sends a response whole.

        Raises PeerGone, Interrupted, _BodyFailed; anything else before the first byte was sent.
        """
        exchange.prepare()
        payload = exchange.payload
        if isinstance(payload, StreamedBody):
            await self._send_streamed(exchange, payload)
        else:
            await self.link.send(exchange.encoded, payload, sent=exchange.sent)
            exchange.bytes_out = len(payload)

    async def _send_streamed(self, exchange: Exchange, body: StreamedBody) -> None:
        """Sends a head and the blocks of a body, or as much of it as comes unharmed."""
        patience = self.link.new_patience()
        head_left = exchange.encoded
        try:
            async with body.source as reader:
                block = await reader.read()
                _check_length(len(block), body.length, at_end=not block)
                while True:
                    await self.link.send(head_left, block, patience)
                    exchange.bytes_out += len(block)
                    head_left = b""
                    if exchange.bytes_out == body.length:
                        break
                    block = await reader.read()
                    _check_length(exchange.bytes_out + len(block), body.length, at_end=not block)
        except (PeerGone, Interrupted):
            raise
        # The outermost layer, as in `Front.begin`: a broken body costs this connection alone.
        except Exception as error:
            if head_left:
                raise
            self._front.failures_total += 1
            self._front.observer.on_failure(exchange.request, error)
            raise _BodyFailed from error

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
                data = await self.link.receive_until(deadline)
                if not data:
                    return
                left -= len(data)
        except Interrupted:
            return


def _check_length(sent: int, length: int, *, at_end: bool) -> None:
    if sent > length or (at_end and sent < length):
        raise ValueError(f"a response body of {length} bytes gave {sent}")
