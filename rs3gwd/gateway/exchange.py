"""One request of an HTTP/1.1 connection and its answer, from the head received to the log line.

What it is not: it waits for nothing and moves no bytes. Each step is a plain function, so that the
poller can take a request from its first byte to its last in one go (`rs3gwd.gateway.poller`), and
the connection's task can take it up wherever a wait comes in between:

    made       the request is counted; the handler has answered, or said what to wait for
    prepare    the answer becomes a head in bytes and a payload
    release    it is over, whatever became of it; then, unless it was cancelled,
    finish     it is told to the observer
"""

from collections.abc import Awaitable

from rs3gwd.base.http import Request, Response, StreamedBody
from rs3gwd.gateway.front import Front
from rs3gwd.gateway.http1_parser import RequestHead
from rs3gwd.gateway.request_body import NoBody, RequestBody
from rs3gwd.gateway.response_head import has_body


class Exchange:
    """A request that is being answered; making one calls the handler.

    `response` is the answer; None while `rest`, which gives it, has to be awaited. Behind
    `prepare`, `encoded` is the head in bytes, `payload` what follows it and `keep` says whether the
    connection can be kept. `sent` counts the bytes of both that the poller sent, `bytes_out` those
    of the body that went out.
    """

    __slots__ = (
        "_front",
        "_started",
        "body",
        "bytes_out",
        "encoded",
        "head",
        "keep",
        "payload",
        "request",
        "response",
        "rest",
        "sent",
    )

    def __init__(
        self, front: Front, head: RequestHead, request: Request, body: NoBody | RequestBody
    ) -> None:
        self._front = front
        self._started = front.clock.monotonic()
        self.head = head
        self.request = request
        self.body = body
        self.encoded = b""
        self.payload: bytes | StreamedBody = b""
        self.keep = False
        self.sent = 0
        self.bytes_out = 0
        self.response: Response | None = None
        self.rest: Awaitable[Response] | None = None
        front.requests_total += 1
        overloaded = front.is_overloaded()
        front.requests_in_flight += 1
        answer = front.overload_response(request) if overloaded else front.begin(request)
        if isinstance(answer, Response):
            self.response = answer
        else:
            self.rest = answer

    def replace(self, response: Response) -> None:
        """Another answer instead of one of which nothing was sent."""
        self.response = response
        self.encoded = b""

    def prepare(self) -> None:
        """Makes the head, once. Raises ValueError for a field that cannot stand in one."""
        if self.encoded:
            return
        response, head, front = self.response, self.head, self._front
        assert response is not None, "there is an answer"
        payload = response.body
        bodied = has_body(response.status)
        length = payload.length if isinstance(payload, StreamedBody) else len(payload)
        if head.method == "HEAD":
            payload = b""
            if response.length_override is not None:
                length = response.length_override
        elif not bodied:
            payload = b""
        self.payload = payload
        self.keep = keep = (
            head.keep_alive
            and not response.close
            and not front.closing
            and (not isinstance(self.body, RequestBody) or self.body.can_skip_rest())
        )
        connection = "" if keep else "close"
        if keep and head.is_http_1_0:
            connection = "keep-alive"
        self.encoded = front.heads.encode(
            response.status,
            response.headers,
            content_length=length if bodied else None,
            request_id=self.request.request_id,
            now_ms=front.clock.now_ms(),
            connection=connection,
        )

    def release(self) -> None:
        """The request is no longer in flight, nor its body held."""
        self._front.requests_in_flight -= 1
        if isinstance(self.body, RequestBody):
            self.body.release()

    def finish(self) -> float:
        """Tells the observer; the time on the monotonic clock."""
        assert self.response is not None, "there is an answer"
        front = self._front
        now = front.clock.monotonic()
        front.observer.on_request_done(
            self.request,
            self.response,
            now - self._started,
            self.body.received_bytes,
            self.bytes_out,
        )
        return now
