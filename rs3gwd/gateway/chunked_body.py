"""Takes the chunked transfer coding off a request body, strictly. Pure.

Why not llhttp: it cannot be paused, so bytes of a pipelined request would be parsed with the body
before them, and it gives trailers out as if they were headers. Here the end of the body is a
position in the buffer and trailers are a list of their own.

Grammar (RFC 9112 section 7.1), narrowed on purpose, because each leniency of one parser beside a
strict one is a way to smuggle a request:

    size line   1 to 16 hex digits, then nothing or `;` and printable characters, then CRLF
    data        exactly that many bytes, then CRLF
    last        a size of zero, then trailer fields, then an empty line

So: no `0x`, no signs, no blanks around the size, no bare LF or CR. Extensions are skipped, at most
EXTENSION_BYTES_MAX a body (a stream of extensions without data is CVE-2023-39326). Trailer fields
never become headers (section 7.1.2); those that frame, route or authenticate are refused
(RFC 9110 section 6.5.1).
"""

import re

from rs3gwd.base.http import RequestBodyMalformed

CHUNK_BYTES_MAX = 1 << 42
"""Bytes in one chunk: 4 TiB; the largest body of S3 is 5 GiB."""

SIZE_LINE_BYTES_MAX = 256
"""Bytes of a size line without its CRLF; nobody's real extensions come near."""

EXTENSION_BYTES_MAX = 4096
"""Bytes of all chunk extensions of one body."""

TRAILERS_MAX = 32
TRAILER_BYTES_MAX = 8192
"""Trailer fields of one body, and their bytes with line ends; AWS clients send one or two."""

PIECE_BYTES_MIN = 16 << 10
"""From this size on a piece is given out alone; joining it with others would copy it again."""

_SIZE_LINE = re.compile(rb"([0-9A-Fa-f]{1,16})(;[\t\x20-\x7e]*)?")
_TRAILER = re.compile(rb"([!#$%&'*+\-.^_`|~0-9A-Za-z]+):([\t\x20-\x7e\x80-\xff]*)")

_FORBIDDEN_TRAILERS = frozenset(
    [
        b"authorization",
        b"connection",
        b"content-encoding",
        b"content-length",
        b"content-range",
        b"content-type",
        b"cookie",
        b"expect",
        b"host",
        b"keep-alive",
        b"proxy-authorization",
        b"te",
        b"trailer",
        b"transfer-encoding",
        b"upgrade",
    ]
)


class ChunkedDecoder:
    """One body. Feed it with `decode`; `finished` turns true at its end, `trailers` is then full.

    The caller keeps what was not consumed and gives it again with more behind it; that is at most
    one unfinished line, so it is bounded by SIZE_LINE_BYTES_MAX or TRAILER_BYTES_MAX.
    """

    __slots__ = (
        "_after_data",
        "_extension_bytes",
        "_in_trailers",
        "_left",
        "_trailer_bytes",
        "finished",
        "trailers",
    )

    def __init__(self) -> None:
        self.finished = False
        self.trailers: list[tuple[str, str]] = []
        self._left = 0
        self._after_data = False
        self._in_trailers = False
        self._extension_bytes = 0
        self._trailer_bytes = 0

    def decode(self, buffer: bytes, start: int) -> tuple[bytes, int]:
        """Reads `buffer` from `start`: the body bytes found there, and where reading stopped.

        Reading stops at the end of the body or of the buffer, before an unfinished line, or
        behind a large piece: call again while it gives bytes.
        Raises RequestBodyMalformed.
        """
        pieces: list[bytes] = []
        position = start
        while not self.finished:
            if self._left:
                piece = buffer[position : position + self._left]
                if not piece:
                    break
                pieces.append(piece)
                self._left -= len(piece)
                position += len(piece)
                self._after_data = not self._left
                if len(piece) >= PIECE_BYTES_MIN:
                    break
                continue
            moved = self._decode_line(buffer, position)
            if moved == position:
                break
            position = moved
        return (pieces[0] if len(pieces) == 1 else b"".join(pieces)), position

    def _decode_line(self, buffer: bytes, position: int) -> int:
        """Takes one line off; the position behind it, or `position` when it is unfinished."""
        if self._after_data:
            ending = buffer[position : position + 2]
            if not b"\r\n".startswith(ending):
                raise RequestBodyMalformed("A chunk is longer than its size says.")
            if len(ending) < 2:
                return position
            self._after_data = False
            return position + 2
        longest = TRAILER_BYTES_MAX if self._in_trailers else SIZE_LINE_BYTES_MAX
        end = buffer.find(b"\r", position, position + longest + 2)
        if end < 0:
            _check_unfinished(buffer[position : position + longest + 1], longest)
            return position
        if end + 1 == len(buffer):
            return position
        if buffer[end + 1] != 0x0A:
            raise RequestBodyMalformed("A line of a chunked body ends with a bare CR.")
        line = buffer[position:end]
        if self._in_trailers:
            self._take_trailer(line)
        else:
            self._take_size(line)
        return end + 2

    def _take_size(self, line: bytes) -> None:
        match = _SIZE_LINE.fullmatch(line)
        if match is None:
            raise RequestBodyMalformed("A chunk size is not valid.")
        if match[2] is not None:
            self._extension_bytes += len(match[2])
            if self._extension_bytes > EXTENSION_BYTES_MAX:
                raise RequestBodyMalformed("The chunk extensions are too long.")
        self._left = int(match[1], 16)
        if self._left > CHUNK_BYTES_MAX:
            raise RequestBodyMalformed("A chunk size is too large.")
        self._in_trailers = not self._left

    def _take_trailer(self, line: bytes) -> None:
        if not line:
            self.finished = True
            return
        self._trailer_bytes += len(line) + 2
        if self._trailer_bytes > TRAILER_BYTES_MAX or len(self.trailers) == TRAILERS_MAX:
            raise RequestBodyMalformed("The trailer section is too large.")
        match = _TRAILER.fullmatch(line)
        if match is None:
            raise RequestBodyMalformed("A trailer field is not valid.")
        name = match[1].lower()
        if name.replace(b"_", b"-") in _FORBIDDEN_TRAILERS:
            raise RequestBodyMalformed("A trailer field is not allowed in a trailer section.")
        self.trailers.append((name.decode("ascii"), match[2].strip(b" \t").decode("latin-1")))


def _check_unfinished(line: bytes, longest: int) -> None:
    """Refuses early what no further byte can mend. Raises RequestBodyMalformed."""
    if len(line) > longest:
        raise RequestBodyMalformed("A line of a chunked body is too long.")
    if b"\n" in line:
        raise RequestBodyMalformed("A line of a chunked body ends with a bare LF.")
