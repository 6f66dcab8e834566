"""Request and Response: what the S3 surface knows of HTTP, and no more.

The network front (RFC 9110, RFC 9112) makes a Request and sends a Response; `rs3gwd.s3` maps one
to the other and knows neither httptools nor ASGI.
"""

from contextlib import AbstractAsyncContextManager

from msgspec import Struct

from rs3gwd.base.errors import Fault, Rs3gwError
from rs3gwd.base.ports import BodyReader, BodyStream


class RequestBodyError(Rs3gwError):
    """The body of a request cannot be read to its end; the connection closes after the answer."""

    code = "IncompleteBody"
    fault = Fault.CALLER


class RequestBodyTimeout(RequestBodyError):
    """The client sends its body too slowly or has stopped."""

    code = "RequestTimeout"


class RequestBodyMalformed(RequestBodyError):
    """The framing of the body (its chunked transfer coding) is broken (S3: 400)."""

    code = "InvalidRequest"


class Request(Struct, frozen=True):
    """One HTTP request whose head was received whole and is well formed.

    `method` is upper case. `raw_path` and `raw_query` are as on the request line, still
    percent-encoded, ASCII, without the `?`; an absolute-form target was reduced to them. `headers`
    maps lower-case names to values (latin-1, outer blanks stripped); a repeated header's values
    are joined with `,` and its name is in `repeated_headers`. `host` is the Host header (or the
    authority of an absolute-form target). `content_length` is None for a chunked body, 0 where
    there is no body. `peer` is the client's address without port, `secure` says TLS.
    `request_id` is 16 upper-case hex digits. `tls_version` is as `1.3`, empty without TLS.
    """

    method: str
    raw_path: str
    raw_query: str
    headers: dict[str, str]
    repeated_headers: frozenset[str]
    host: str
    content_length: int | None
    body: BodyStream
    peer: str
    secure: bool
    request_id: str
    tls_version: str = ""


class StreamedBody(Struct, frozen=True):
    """A response body of known length: the context is entered once the head is to be sent."""

    length: int
    source: AbstractAsyncContextManager[BodyReader]


class Response(Struct):
    """One HTTP response. Header names are as they go on the wire, values latin-1, no line breaks.

    Content-Length, Date, Server, Connection and the request-id headers are added by the front. For
    HEAD the front sends the head alone, with the length that `body` has, or `length_override`.
    `operation`, `error_code` and `principal` (the access key id) label access log and metrics.
    `close` asks the front to close the connection after this response.
    """

    status: int
    headers: list[tuple[str, str]]
    body: bytes | StreamedBody = b""
    length_override: int | None = None
    operation: str = "Unknown"
    error_code: str = ""
    principal: str = ""
    close: bool = False
