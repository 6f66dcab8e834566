"""HTTP/1.1 requests out of bytes: llhttp for the syntax, and every limit that it lacks. Pure.

Picture: a tape of bytes. `feed` glues a piece on, `next_head` cuts the next head off, `next_body`
cuts the next piece of its body off. Nothing behind the current message is looked at, so pipelined
requests simply stay on the tape, and a connection that is not ours can be handed on with its
bytes unspoilt. That is why llhttp sees one whole head at a time and never a body: it cannot pause.

What llhttp (strict) refuses on its own: bare LF, a CR inside a value, line folding, blanks before
the colon, control bytes, two Content-Length, Content-Length with Transfer-Encoding, signs and
lists in Content-Length, a Transfer-Encoding that does not end in chunked. What is added here,
by RFC 9112 unless said otherwise:

    request line    single spaces, HTTP/1.0 or 1.1 only, bounded, no `#`            sections 3, 2.3
    target          origin-form, `*` for OPTIONS, absolute-form reduced to origin-form; its
                    authority must be the Host (the RFC lets it win; a difference between them
                    is never honest); no CONNECT                                     section 3.2
    Host            exactly once and well formed, in HTTP/1.0 too                    section 3.2
    fields          bounded in number and bytes; names that a careless proxy takes for a framing
                    field (Content_Length) are refused
    framing         Transfer-Encoding is `chunked` once and alone, else 501; never in HTTP/1.0
                    (section 6.1); Content-Length is at most 18 digits               section 6.3

Invariants: the same bytes give the same heads and bodies however they are split; after a raised
HttpRefusal or RequestBodyMalformed the parser must not be used again; the bytes held are bounded
by the limits plus one `feed`.
"""

import re
from collections.abc import Sequence

import httptools
from msgspec import Struct

from rs3gwd.gateway.chunked_body import ChunkedDecoder
from rs3gwd.gateway.errors import HttpRefusal
from rs3gwd.gateway.limits import Limits

HTTP2_PREFACE_HEAD = b"PRI * HTTP/2.0\r\n\r\n"
"""What an HTTP/2 connection with prior knowledge begins with (RFC 9113 section 3.4); to an
HTTP/1.1 parser it is a head."""

UPGRADE_HTTP2_PREFACE = "h2-prior-knowledge"
"""`RequestHead.upgrade` of that head, which is accepted as the first of a connection only."""

CONTENT_LENGTH_DIGITS_MAX = 18
"""Below 10^18 no sum of lengths overflows 64 bits anywhere behind us."""

_NO_REPEATS: frozenset[str] = frozenset()
_END = b"\r\n\r\n"
_HOST = re.compile(r"(?:[A-Za-z0-9._~!$&'()*+;=%-]+|\[[0-9A-Fa-f:.]+\])(?::[0-9]{1,5})?")
_ABSOLUTE = re.compile(r"(?i:https?)://([^/?#]*)([^?#]*)(\?[^#]*)?")
_TRANSFER_ENCODING = re.compile(rb"(?im)^transfer-encoding:[ \t]*([^\r\n]*?)[ \t]*\r$")
_CODING_LIST = re.compile(rb"(?i)[a-z0-9-]+(?:[ \t]*,[ \t]*[a-z0-9-]+)*")
_EARLY_REQUEST_LINE = re.compile(rb"[A-Z-]+ [!-~]+ HTTP/[0-9]\.[0-9]")

_SINGLE = frozenset(["host", "content-length", "transfer-encoding", "authorization", "expect"])
_UNDERSCORE_TWINS = frozenset(
    name.replace("-", "_")
    for name in ("content-length", "transfer-encoding", "content-type", "content-encoding")
) | frozenset(["x_amz_date", "x_amz_content_sha256", "x_amz_security_token"])

_COMMON_NAMES: dict[bytes, str] = {
    spelling.encode("ascii"): spelling.lower()
    for name in (
        *("Host", "User-Agent", "Accept", "Accept-Encoding", "Authorization", "Connection"),
        *("Content-Length", "Content-Type", "Content-MD5", "Content-Encoding", "Date", "Range"),
        *("Expect", "If-Match", "If-None-Match", "Transfer-Encoding", "X-Amz-Date"),
        *("X-Amz-Content-SHA256", "X-Amz-Content-Sha256", "X-Amz-Security-Token"),
        *("X-Amz-Checksum-CRC32", "X-Amz-Sdk-Checksum-Algorithm", "X-Amz-Trailer"),
        *("X-Amz-Decoded-Content-Length", "amz-sdk-invocation-id", "amz-sdk-request"),
    )
    for spelling in (name, name.lower())
}


class RequestHead(Struct, frozen=True):
    """A well-formed head; the first seven fields are as in `rs3gwd.base.http.Request`.

    `content_length` is None for a chunked body. `keep_alive` says whether the client will take
    another response on this connection. `upgrade` is the Upgrade field in lower case when
    Connection names it, else empty. `raw` is the head as received, with its empty line.
    """

    method: str
    raw_path: str
    raw_query: str
    headers: dict[str, str]
    repeated_headers: frozenset[str]
    host: str
    content_length: int | None
    keep_alive: bool
    expects_continue: bool
    upgrade: str
    is_http_1_0: bool
    raw: bytes


_PREFACE = RequestHead(
    method="PRI",
    raw_path="*",
    raw_query="",
    headers={},
    repeated_headers=_NO_REPEATS,
    host="",
    content_length=0,
    keep_alive=False,
    expects_continue=False,
    upgrade=UPGRADE_HTTP2_PREFACE,
    is_http_1_0=False,
    raw=HTTP2_PREFACE_HEAD,
)


def origin_form(head: RequestHead) -> bytes:
    """The bytes of a head with its target in origin-form, for a parser that knows no other."""
    line_end = head.raw.find(b"\r\n")
    target_start = len(head.method) + 1
    if head.raw.startswith((b"/", b"*"), target_start):
        return head.raw
    query = f"?{head.raw_query}" if head.raw_query else ""
    version = head.raw[line_end - 8 : line_end].decode("ascii")
    line = f"{head.method} {head.raw_path}{query} {version}"
    return line.encode("ascii") + head.raw[line_end:]


class Http1Parser:
    """The tape of one connection. Use: `feed`, `next_head`, then `next_body` until `b""`."""

    __slots__ = ("_at", "_chunked", "_data", "_is_first", "_left", "_limits", "_lines", "trailers")

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._data = b""
        self._at = 0
        self._left = 0
        self._chunked: ChunkedDecoder | None = None
        self._lines = _HeadLines()
        self._is_first = True
        self.trailers: Sequence[tuple[str, str]] = ()

    @property
    def buffered_bytes(self) -> int:
        """Bytes fed and not yet given out."""
        return len(self._data) - self._at

    @property
    def body_left(self) -> int | None:
        """Body bytes of the current message not yet given out; None while unknown (chunked)."""
        return self._left if self._chunked is None else None

    def feed(self, data: bytes) -> None:
        """Glues received bytes on."""
        if self._at == len(self._data):
            self._data = data
        else:
            self._data = self._data[self._at :] + data
        self._at = 0

    def take_rest(self) -> bytes:
        """All bytes not yet given out, for whoever takes the connection over."""
        rest = self._data[self._at :]
        self._data, self._at = b"", 0
        return rest

    def next_head(self) -> RequestHead | None:
        """The next head, or None until more is fed. The body before it must be read to its end.

        Raises HttpRefusal.
        """
        assert not self._left, "the body before was not read to its end"
        assert self._chunked is None, "the body before was not read to its end"
        start = self._at
        if start == len(self._data):
            return None
        if self._data.startswith(b"\r\n", start):
            start += 2  # One empty line before a request line is ignored (RFC 9112 section 2.2).
        end = self._data.find(_END, start)
        if end < 0:
            self._check_unfinished(start)
            return None
        end += 4
        raw = self._data[start:end]
        if len(raw) > self._limits.head_bytes_max:
            raise _too_large("The head of the request is too large.")
        self._at = end
        is_first, self._is_first = self._is_first, False
        if is_first and raw == HTTP2_PREFACE_HEAD:
            return _PREFACE
        head = self._lines.parse(raw, self._limits)
        if head.content_length is None:
            self._chunked = ChunkedDecoder()
        else:
            self._left = head.content_length
        return head

    @property
    def body_ahead(self) -> int:
        """Bytes of the body that are on no tape yet and may be received past this parser; 0 when
        some are on the tape, or when only their coding will tell."""
        if self._chunked is not None or self._at != len(self._data):
            return 0
        return self._left

    def pass_body(self, count: int) -> None:
        """`count` of the bytes ahead were received past this parser."""
        self._left -= count

    def next_body(self) -> bytes | None:
        """The next bytes of the body, `b""` at its end, None until more is fed.

        Raises RequestBodyMalformed.
        """
        if self._chunked is not None:
            return self._next_chunked(self._chunked)
        if not self._left:
            return b""
        data, at = self._data, self._at
        if not at and len(data) <= self._left:
            self._data = b""
        else:
            data = data[at : at + self._left]
            self._at = at + len(data)
        self._left -= len(data)
        return data or None

    def _next_chunked(self, decoder: ChunkedDecoder) -> bytes | None:
        data, self._at = decoder.decode(self._data, self._at)
        if decoder.finished and not data:
            self._chunked = None
            self.trailers = decoder.trailers
            return b""
        return data or None

    def _check_unfinished(self, start: int) -> None:
        """Refuses what no further byte can mend, so that nonsense need not wait for a timeout."""
        data = self._data
        if len(data) - start > self._limits.head_bytes_max:
            raise _too_large("The head of the request is too large.")
        line_end = data.find(b"\r\n", start)
        longest = self._limits.request_line_bytes_max
        if (len(data) if line_end < 0 else line_end) - start > longest:
            raise _too_large("The request line is too long.")
        if data.count(b"\n", start) != data.count(b"\r\n", start):
            raise _bad_request("A line of the head ends with a bare LF.")
        if line_end >= 0 and not HTTP2_PREFACE_HEAD.startswith(data[start : line_end + 2]):
            line = data[start:line_end]
            if _EARLY_REQUEST_LINE.fullmatch(line) is None:
                raise _bad_request("The request line is not valid.")


class _HeadLines:
    """Splits one head with llhttp; kept per connection so that its parser can be used again."""

    __slots__ = ("_complete", "_fields", "_host", "_llhttp", "_target")

    def __init__(self) -> None:
        self._fields: list[tuple[bytes, bytes]] = []
        self._target = b""
        self._complete = False
        self._host = ""  # The last valid one: a connection seldom names another.
        self._llhttp: httptools.HttpRequestParser | None = None

    def on_url(self, target: bytes) -> None:
        """Called by llhttp; the target comes whole, since the head is fed whole."""
        self._target += target

    def on_header(self, name: bytes, value: bytes) -> None:
        """Called by llhttp once a field; a value still has its trailing blanks."""
        self._fields.append((name, value))

    def on_headers_complete(self) -> None:
        """Called by llhttp behind the empty line."""
        self._complete = True

    def parse(self, raw: bytes, limits: Limits) -> RequestHead:
        """One head, from its method to its empty line. Raises HttpRefusal."""
        line = raw[: raw.find(b"\r\n")]
        if len(line) > limits.request_line_bytes_max:
            raise _too_large("The request line is too long.")
        llhttp = self._feed_llhttp(raw)
        fields = self._fields
        if len(fields) > limits.headers_max:
            raise _too_large("The request has too many header fields.")
        method: bytes = llhttp.get_method()
        version = _check_request_line(line, method, self._target)
        headers, repeated = collect_fields(fields)
        content_length = _framing(headers, version)
        connection = headers.get("connection")
        tokens = _tokens(connection) if connection else ()
        target = self._target.decode("ascii")
        host = headers.get("host")
        if not host or host != self._host:
            host = self._host = host_of(headers)
        path, query = _split_target(target, method, host)
        keep_alive = "close" not in tokens if version == b"1.1" else "keep-alive" in tokens
        if content_length == 0 and keep_alive and "upgrade" not in headers:
            self._llhttp = llhttp
        return RequestHead(
            method.decode("ascii"),
            path,
            query,
            headers,
            repeated,
            host,
            content_length,
            keep_alive,
            "expect" in headers and _expects_continue(headers["expect"], version),
            headers.get("upgrade", "").lower() if "upgrade" in tokens else "",
            version == b"1.0",
            raw,
        )

    def _feed_llhttp(self, raw: bytes) -> httptools.HttpRequestParser:
        """Has llhttp check and split the head. Raises HttpRefusal."""
        self._fields = []
        self._target = b""
        self._complete = False
        # Behind a body (which llhttp never sees) or an upgrade its state is no longer usable.
        llhttp, self._llhttp = self._llhttp, None
        if llhttp is None:
            llhttp = httptools.HttpRequestParser(self)
        try:
            llhttp.feed_data(raw)
        except httptools.HttpParserUpgrade as upgrade:
            if upgrade.args[0] != len(raw):
                raise _bad_request("The head of the request is not valid.") from upgrade
        except httptools.HttpParserError as error:
            raise _refusal_for(raw, error) from error
        if not self._complete:
            raise _bad_request("The head of the request is not valid.")
        return llhttp


def _check_request_line(line: bytes, method: bytes, target: bytes) -> bytes:
    """The version, `1.0` or `1.1`, of a line of exactly three parts. Raises HttpRefusal."""
    if line == b"%b %b HTTP/1.1" % (method, target):
        return b"1.1"
    if line == b"%b %b HTTP/1.0" % (method, target):
        return b"1.0"
    if line.startswith(b"%b %b HTTP/" % (method, target)):
        raise HttpRefusal(505, "HTTPVersionNotSupported", "Only HTTP/1.1 and 1.0 are served here.")
    raise _bad_request("The request line is not valid.")


def collect_fields(
    fields: list[tuple[bytes, bytes]],
) -> tuple[dict[str, str], frozenset[str]]:
    """Header fields by lower-case name, repeated ones joined, and the names of those.

    Raises HttpRefusal when a field that must be single is not, or when a name mimics one.
    """
    headers: dict[str, str] = {}
    repeated: set[str] | None = None
    for raw_name, raw_value in fields:
        name = _COMMON_NAMES.get(raw_name)
        if name is None:
            name = raw_name.decode("ascii").lower()
            if "_" in name and name in _UNDERSCORE_TWINS:
                raise _bad_request("A header name has underscores in the place of hyphens.")
        value = raw_value.decode("latin-1").strip(" \t")
        if name in headers:
            if name in _SINGLE:
                raise _bad_request(f"The header {name} is given more than once.")
            headers[name] = f"{headers[name]},{value}"
            repeated = repeated or set()
            repeated.add(name)
        else:
            headers[name] = value
    return headers, frozenset(repeated) if repeated else _NO_REPEATS


def host_of(headers: dict[str, str]) -> str:
    """The Host field. Raises HttpRefusal when there is none or it is not valid."""
    host = headers.get("host")
    if not host or _HOST.fullmatch(host) is None:
        raise _bad_request("The request must have one valid Host header.")
    return host


def content_length_of(value: str) -> int:
    """A Content-Length field as a number. Raises HttpRefusal."""
    if not (value.isascii() and value.isdigit() and len(value) <= CONTENT_LENGTH_DIGITS_MAX):
        raise _bad_request("Content-Length is not valid.")
    return int(value)


def _framing(headers: dict[str, str], version: bytes) -> int | None:
    """The length of the body, None when it is chunked. Raises HttpRefusal."""
    coding = headers.get("transfer-encoding")
    length = headers.get("content-length")
    if coding is not None:
        if length is not None:
            raise _bad_request("Content-Length and Transfer-Encoding exclude each other.")
        if version == b"1.0":
            raise _bad_request("HTTP/1.0 has no Transfer-Encoding.")
        if coding.lower() != "chunked":
            raise _unknown_coding()
        return None
    return 0 if length is None else content_length_of(length)


def _split_target(target: str, method: bytes, host: str) -> tuple[str, str]:
    """Path and query of a target in any allowed form. Raises HttpRefusal."""
    if "#" in target or method == b"CONNECT":
        raise _bad_request("The request target is not valid.")
    if target[0] == "/":
        path, _, query = target.partition("?")
        return path, query
    if target == "*" and method == b"OPTIONS":
        return target, ""
    match = _ABSOLUTE.fullmatch(target)
    if match is None:
        raise _bad_request("The request target is not valid.")
    if match[1].lower() != host.lower():
        raise _bad_request("The request target and the Host header name different hosts.")
    return match[2] or "/", (match[3] or "")[1:]


def _expects_continue(expect: str, version: bytes) -> bool:
    if expect.lower() != "100-continue":
        raise HttpRefusal(417, "ExpectationFailed", "Only the expectation 100-continue is known.")
    return version == b"1.1"


def _tokens(value: str) -> tuple[str, ...]:
    return tuple(token.strip(" \t") for token in value.lower().split(","))


def _refusal_for(raw: bytes, error: Exception) -> HttpRefusal:
    """What to answer where llhttp refused: it stops at codings that we must answer with 501.

    The head is refused either way; this only chooses the words.
    """
    codings: list[bytes] = _TRANSFER_ENCODING.findall(raw)
    if (
        len(codings) == 1
        and codings[0].lower() != b"chunked"
        and _CODING_LIST.fullmatch(codings[0])
        and b"\ncontent-length" not in raw.lower()
    ):
        return _unknown_coding()
    if "HTTP version" in str(error):
        return HttpRefusal(505, "HTTPVersionNotSupported", "Only HTTP/1.1 and 1.0 are served here.")
    return _bad_request(f"The request is not valid HTTP/1.1: {error}.")


def _bad_request(message: str) -> HttpRefusal:
    return HttpRefusal(400, "BadRequest", message)


def _too_large(message: str) -> HttpRefusal:
    """S3 counts the query with the headers: both are RequestHeaderSectionTooLarge, status 400."""
    return HttpRefusal(400, "RequestHeaderSectionTooLarge", message)


def _unknown_coding() -> HttpRefusal:
    return HttpRefusal(501, "NotImplemented", "The only transfer coding known here is chunked.")
