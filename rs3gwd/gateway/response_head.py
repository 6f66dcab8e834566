"""Response heads and the S3 error bodies that the front writes on its own. Pure.

A head is a status line, the fields every response has (Date, Server, the two request ids, the
length, and Connection where it is not the default), then what the handler gave. A handler's field
that would break the framing of HTTP (a line break or NUL in a value, a second Content-Length) is a
bug of ours and raises; it never reaches the wire (response splitting, CWE-113).

Sources: RFC 9110 sections 6.4.1, 8.6, 15; RFC 9112 section 9; "Error responses" in the Amazon S3
API Reference for the shape of the XML.
"""

from email.utils import formatdate
from http import HTTPStatus
from xml.sax.saxutils import escape

CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"
"""The interim response that a client with `Expect: 100-continue` waits for."""

SERVER = "rs3gwd"
"""The Server header; without a version, which only helps whoever looks for old ones."""

_STATUS_LINES = {status.value: f"HTTP/1.1 {status.value} {status.phrase}" for status in HTTPStatus}
_BODYLESS = frozenset([204, 304])
_FRONT_FIELDS = ("content-length", "transfer-encoding", "connection", "date")
_FRONT_FIELD_STARTS = tuple(f"\r\n{name}:" for name in _FRONT_FIELDS)

_MESSAGES = {
    "InternalError": "We encountered an internal error. Please try again.",
    "SlowDown": "Please reduce your request rate.",
    "ServiceUnavailable": "Service is unable to handle request.",
    "RequestTimeout": "Your socket connection to the server was not read from or written to "
    "within the timeout period. Idle connections will be closed.",
    "IncompleteBody": "You did not provide the number of bytes specified by the Content-Length "
    "HTTP header.",
    "InvalidRequest": "The framing of the request body is not valid.",
}


class ResponseHeads:
    """Makes heads; keeps the fields that are the same for a whole second.

    `host_id` goes out as `x-amz-id-2` and as HostId in error bodies.
    """

    __slots__ = ("_common", "_host_id", "_second")

    def __init__(self, *, host_id: str) -> None:
        self._host_id = host_id
        self._second = -1
        self._common = ""

    def encode(
        self,
        status: int,
        headers: list[tuple[str, str]],
        *,
        content_length: int | None,
        request_id: str,
        now_ms: int,
        connection: str = "",
    ) -> bytes:
        """One head with its empty line.

        `content_length` None leaves the field out; `connection` is `close`, `keep-alive` or empty.
        Raises ValueError for a field that would change how the message is read.
        """
        if now_ms // 1000 != self._second:
            self._start_second(now_ms // 1000)
        text = "".join([f"\r\n{name}: {value}" for name, value in headers])
        lines = text.count("\r\n")
        if lines != len(headers) or lines != text.count("\n") or lines != text.count("\r"):
            raise ValueError("a response header holds a line break")
        if "\0" in text:
            raise ValueError("a response header holds a NUL")
        lowered = text.lower()
        for start in _FRONT_FIELD_STARTS:
            if start in lowered:
                raise ValueError(f"the response header {start.strip()} belongs to the front")
        length = "" if content_length is None else f"\r\nContent-Length: {content_length}"
        close = f"\r\nConnection: {connection}" if connection else ""
        line = _STATUS_LINES[status]
        return f"{line}{self._common}{request_id}{length}{close}{text}\r\n\r\n".encode("latin-1")

    def common_fields(self, *, request_id: str, now_ms: int) -> list[tuple[str, str]]:
        """The fields of every response as pairs, for HTTP/2."""
        return [
            ("date", formatdate(now_ms // 1000, usegmt=True)),
            ("server", SERVER),
            ("x-amz-id-2", self._host_id),
            ("x-amz-request-id", request_id),
        ]

    def error_body(self, code: str, message: str, *, resource: str, request_id: str) -> bytes:
        """The XML of an S3 error; an empty message takes the usual one of its code."""
        shown = escape(message or _MESSAGES.get(code, code))
        place = f"<Resource>{escape(resource)}</Resource>" if resource else ""
        return (
            '<?xml version="1.0" encoding="UTF-8"?>\n'
            f"<Error><Code>{code}</Code><Message>{shown}</Message>{place}"
            f"<RequestId>{request_id}</RequestId><HostId>{self._host_id}</HostId></Error>"
        ).encode()

    def _start_second(self, second: int) -> None:
        self._second = second
        self._common = (
            f"\r\nDate: {formatdate(second, usegmt=True)}\r\nServer: {SERVER}"
            f"\r\nx-amz-id-2: {self._host_id}\r\nx-amz-request-id: "
        )


def has_body(status: int) -> bool:
    """False for 1xx, 204 and 304, which end with their head (RFC 9110 section 6.4.1)."""
    return status >= 200 and status not in _BODYLESS
