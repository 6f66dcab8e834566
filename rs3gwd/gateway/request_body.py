"""The body of one HTTP/1.1 request, pulled from its connection by the handler.

`Expect: 100-continue` is answered on the first `receive` that finds nothing: the handler makes
that call after it has authenticated and authorised the request, so a client whose request is
refused never sends its body, and one whose request is good does not wait a second for nothing
(RFC 9110 section 10.1.1; botocore waits one second). An empty body is asked for, too: botocore
takes a final answer that comes first for that of the next request on the connection as well.
"""

from collections.abc import Awaitable
from typing import TypeVar

from rs3gwd.base.http import RequestBodyError, RequestBodyTimeout
from rs3gwd.gateway.errors import Interrupted, PeerGone
from rs3gwd.gateway.front import Front
from rs3gwd.gateway.http1_parser import Http1Parser
from rs3gwd.gateway.link import Link
from rs3gwd.gateway.patience import Patience
from rs3gwd.gateway.response_head import CONTINUE

T = TypeVar("T")

HELD_BYTES_MAX = 4 << 20
"""What may be in memory of one body at most, for `Front.abandoned_bytes`."""


class NoBody:
    """The body of a request without one."""

    received_bytes = 0
    finished = True

    async def receive(self) -> bytes:
        """Empty at once."""
        return b""


class RequestBody:
    """A `BodyStream` over one connection. After an error every further call raises its like.

    `received_bytes` counts what the handler got, `awaits_continue` is true while the client waits
    for `100 Continue`, `finished` once all is given out and the end was seen.
    """

    __slots__ = (
        "_broken",
        "_front",
        "_held_bytes",
        "_link",
        "_parser",
        "_patience",
        "_rest",
        "awaits_continue",
        "finished",
        "received_bytes",
    )

    def __init__(
        self, parser: Http1Parser, link: Link, front: Front, *, awaits_continue: bool
    ) -> None:
        self._parser = parser
        self._link = link
        self._front = front
        self._patience: Patience | None = None
        self._held_bytes = 0
        self._rest = memoryview(b"")
        self._broken: type[RequestBodyError] | None = None
        self.awaits_continue = awaits_continue
        self.finished = False
        self.received_bytes = 0

    def can_skip_rest(self) -> bool:
        """Whether the connection can outlive a handler that reads no further: not when the body
        is broken, not begun because the client awaits `100 Continue`, or known to be too long."""
        left = self._parser.body_left
        return (
            self._broken is None
            and not (self.awaits_continue and not self.finished)
            and (left is None or left <= self._front.limits.unread_body_bytes_max)
        )

    async def receive(self) -> bytes:
        """The next bytes, empty at the end. Raises RequestBodyError."""
        if self._broken is not None:
            raise self._broken("the body is broken off")
        try:
            while (data := self._parser.next_body()) is None:
                self._parser.feed(await self._receive_more())
            if not data and not self.received_bytes:
                await self._ask_for_more()
        except RequestBodyError as error:
            self._break(error)
            raise
        self._hold(len(data))
        self.received_bytes += len(data)
        self.finished = not data or self._parser.body_left == 0
        return data

    async def receive_into(self, target: memoryview) -> int:
        """As `receive`, into `target`: from the socket, without a copy, whatever is ahead."""
        if self._broken is not None:
            raise self._broken("the body is broken off")
        if not self._rest:
            ahead = self._parser.body_ahead
            if ahead:
                return await self._receive_ahead(target[:ahead])
            self._rest = memoryview(await self.receive())
        count = min(len(self._rest), len(target))
        target[:count] = self._rest[:count]
        self._rest = self._rest[count:]
        return count

    async def skip_rest(self) -> bool:
        """Throws away what the handler did not read; False when that is too much, too slow or
        broken, so that the connection must close."""
        received_bytes = self.received_bytes
        limit_bytes = received_bytes + self._front.limits.unread_body_bytes_max
        try:
            while await self.receive():
                if self.received_bytes > limit_bytes:
                    return False
        except RequestBodyError:
            return False
        finally:
            self.received_bytes = received_bytes
            self.release()
        return True

    def release(self) -> None:
        """The block given out last is no longer in use."""
        self._hold(0)

    def _hold(self, held_bytes: int) -> None:
        self._front.buffered_bytes += held_bytes - self._held_bytes
        self._held_bytes = held_bytes

    def _break(self, error: RequestBodyError) -> None:
        # Not the error itself: its trace holds this body and what was received of it.
        self._broken = type(error)
        self._front.abandoned_bytes += min(self.received_bytes, HELD_BYTES_MAX)

    async def _receive_ahead(self, target: memoryview) -> int:
        self._hold(0)
        try:
            await self._ask_for_more()
            count = await self._translated(self._link.receive_body_into(self._patient(), target))
            if not count:
                raise RequestBodyError("the client ended before its body did")
        except RequestBodyError as error:
            self._break(error)
            raise
        self._parser.pass_body(count)
        self.received_bytes += count
        self.finished = self._parser.body_left == 0
        return count

    async def _receive_more(self) -> bytes:
        self._hold(0)
        await self._ask_for_more()
        data = await self._translated(self._link.receive_body(self._patient()))
        if not data:
            raise RequestBodyError("the client ended before its body did")
        return data

    def _patient(self) -> Patience:
        if self._patience is None:
            self._patience = self._link.new_patience()
        return self._patience

    async def _ask_for_more(self) -> None:
        if self.awaits_continue:
            self.awaits_continue = False
            if not self._parser.buffered_bytes:
                await self._translated(self._link.send(CONTINUE, b""))

    async def _translated(self, waiting: Awaitable[T]) -> T:
        """Raises RequestBodyError for what the link says of its client."""
        try:
            return await waiting
        except Interrupted as error:
            self._front.timeouts_total += 1
            raise RequestBodyTimeout("the client sends its body too slowly") from error
        except PeerGone as error:
            raise RequestBodyError("the client closed the connection") from error
