"""What all connections of one gateway share: the handler, the bounds, the counters, the ids.

Not a connection and not a listener: those come and go and hold a reference to one of these.
Admission lives here, so that HTTP/1.1 and HTTP/2 count against the same bounds. A request that is
over a bound is told 503 SlowDown at once, before its body is read: queueing it would only make
everyone's answers late (Dean and Barroso, "The Tail at Scale", CACM 2013).
"""

from collections.abc import Awaitable, Callable
from typing import Protocol

from msgspec import Struct

from rs3gwd.base.errors import Rs3gwError
from rs3gwd.base.http import Request, RequestBodyError, Response
from rs3gwd.base.ports import Clock, Random
from rs3gwd.gateway.limits import Limits
from rs3gwd.gateway.pages import Pages
from rs3gwd.gateway.reserved_paths import ReservedPaths
from rs3gwd.gateway.response_head import ResponseHeads

Handler = Callable[[Request], Response | Awaitable[Response]]
"""The S3 surface: one request to one response, or, where that has to wait for anything, to what
gives it; an `async def` does, for instance."""

_IDS_AT_ONCE = 512
"""Request ids made from one read of the system's randomness, which costs a call to the kernel."""

_UNAVAILABLE = frozenset(["SlowDown", "ServiceUnavailable"])


class Observer(Protocol):
    """Told what the front does, for the access log and the metrics. Must not block or raise."""

    def on_request_done(
        self, request: Request, response: Response, seconds: float, bytes_in: int, bytes_out: int
    ) -> None:
        """A response was sent or its sending failed: `bytes_in` and `bytes_out` are body bytes.

        `seconds` is from the head received to the last byte with the kernel.
        """
        ...

    def on_refusal(self, peer: str, status: int, api_code: str) -> None:
        """The front answered on its own something that is not a request."""
        ...

    def on_failure(self, request: Request | None, error: Exception) -> None:
        """A handler, a body stream or the front itself raised what it should not."""
        ...


class Statistics(Struct, frozen=True):
    """The state of a gateway at one moment; `_total` fields only grow."""

    connections: int
    requests_in_flight: int
    buffered_bytes: int
    draining: bool
    connections_total: int
    connections_refused_total: int
    connections_handed_over_total: int
    requests_total: int
    requests_refused_total: int
    heads_refused_total: int
    timeouts_total: int
    failures_total: int


class Front:
    """Shared by all connections of one gateway; used by one trio thread only.

    The counters are public and changed in place by connections: a method call for each would be
    a tenth of the cost of a request. `closing` says that every response is its connection's last,
    `draining` that no head is awaited any more, but for the first one of a connection while
    `awaits_first`. `abandoned_bytes` counts what was in memory of
    bodies that broke off since the garbage was last collected.
    """

    def __init__(
        self,
        *,
        handler: Handler,
        limits: Limits,
        reserved_paths: ReservedPaths,
        observer: Observer,
        clock: Clock,
        random: Random,
        host_id: str,
        pages: Pages,
    ) -> None:
        self.handler = handler
        self.limits = limits
        self.reserved_paths = reserved_paths
        self.pages = pages
        self.observer = observer
        self.clock = clock
        self.heads = ResponseHeads(host_id=host_id)
        self.closing = False
        self.draining = False
        self.awaits_first = False
        self.connections = 0
        self.requests_in_flight = 0
        self.buffered_bytes = 0
        self.connections_total = 0
        self.connections_refused_total = 0
        self.connections_handed_over_total = 0
        self.requests_total = 0
        self.requests_refused_total = 0
        self.heads_refused_total = 0
        self.timeouts_total = 0
        self.failures_total = 0
        self.abandoned_bytes = 0
        self._random = random
        self._ids: list[str] = []

    def next_request_id(self) -> str:
        """16 upper-case hex digits, unpredictable."""
        if not self._ids:
            digits = self._random.token_bytes(8 * _IDS_AT_ONCE).hex().upper()
            self._ids = [digits[i : i + 16] for i in range(0, len(digits), 16)]
        return self._ids.pop()

    def is_overloaded(self) -> bool:
        """Whether one more request would be over a bound."""
        return (
            self.requests_in_flight >= self.limits.requests_max
            or self.buffered_bytes > self.limits.buffered_bytes_max
        )

    def begin(self, request: Request) -> Response | Awaitable[Response]:
        """The handler's response, or the error response for what it raised; or an awaitable for
        `complete`.

        The caller adds to `requests_in_flight` before and takes off when the response is sent.
        """
        try:
            return self.handler(request)
        # The outermost layer: one broken handler must cost one answer, not the node. The
        # exception is reported, and trio.Cancelled is no Exception.
        except Exception as error:  # noqa: BLE001
            return self.response_for(request, error)

    async def complete(self, request: Request, rest: Awaitable[Response]) -> Response:
        """The response that `begin` could not give at once."""
        try:
            return await rest
        # The outermost layer, as above.
        except Exception as error:  # noqa: BLE001
            return self.response_for(request, error)

    async def answer(self, request: Request) -> Response:
        """The response to a request, or the error response: `begin` and `complete` in one."""
        answer = self.begin(request)
        if isinstance(answer, Response):
            return answer
        return await self.complete(request, answer)

    def response_for(self, request: Request, error: Exception) -> Response:
        """The error response for an exception out of a handler or a body that was not begun."""
        if isinstance(error, RequestBodyError):
            return self.error_response(request, 400, error.code, close=True)
        self.failures_total += 1
        self.observer.on_failure(request, error)
        code = error.code if isinstance(error, Rs3gwError) else "InternalError"
        if code in _UNAVAILABLE:
            return self.error_response(request, 503, code)
        return self.error_response(request, 500, "InternalError")

    def overload_response(self, request: Request) -> Response:
        """503 SlowDown for a request that was not admitted; counts it."""
        self.requests_refused_total += 1
        return self.error_response(
            request, 503, "SlowDown", close=request.content_length != 0, retry_after=True
        )

    def error_response(
        self,
        request: Request,
        status: int,
        code: str,
        *,
        close: bool = False,
        retry_after: bool = False,
    ) -> Response:
        """An S3 error made by the front."""
        body = self.heads.error_body(
            code, "", resource=request.raw_path, request_id=request.request_id
        )
        headers = [("Content-Type", "application/xml")]
        if retry_after:
            headers.append(("Retry-After", "1"))
        return Response(status, headers, body, error_code=code, close=close)

    def statistics(self) -> Statistics:
        """All counters at this moment."""
        return Statistics(**{name: getattr(self, name) for name in Statistics.__struct_fields__})
