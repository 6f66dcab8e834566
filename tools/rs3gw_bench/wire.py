"""The Python mode: one request after another over a raw socket, for operations that depend on
what came before (multipart uploads, walks through a listing) or that are made once.

It costs some 50 us a request, so it measures single long operations and never rates of small ones.
Time counts from the first byte sent to the last one received.
"""

import re
import socket
import ssl
import time
from collections.abc import Sequence
from dataclasses import dataclass
from types import TracebackType

from tools.rs3gw_bench.generator import Endpoint
from tools.rs3gw_bench.signing import SignedRequest

RECEIVE_BYTES = 1 << 20
TIMEOUT_SECONDS = 300.0


class WireError(Exception):
    """The target did not answer as it should have."""


@dataclass(frozen=True)
class Answer:
    """A whole answer; header names in lower case; `seconds` from first byte to last."""

    status: int
    headers: dict[str, str]
    body: bytes
    seconds: float

    def text_of(self, element: str) -> str:
        """The text of the first XML element of that name. Raises WireError."""
        found = re.search(rf"<{element}>([^<]*)</{element}>".encode(), self.body)
        if not found:
            raise WireError(f"no {element} in {self.body[:300]!r}")
        return found.group(1).decode()


class Wire:
    """A keep-alive connection, opened again when the target has ended it."""

    def __init__(self, endpoint: Endpoint) -> None:
        self._endpoint = endpoint
        self._socket: socket.socket | None = None

    def ask(
        self, request: SignedRequest, body: bytes | memoryview | None = None, *, status: int = 200
    ) -> Answer:
        """Sends one request and gives its answer. Raises WireError for any other status."""
        connection = self._socket or self._connect()
        start = time.perf_counter()
        try:
            connection.sendall(request.head(None if body is None else len(body)))
            if body:
                connection.sendall(body)
            answer, is_open = _receive(connection, request.method, start)
        except (OSError, WireError):
            self.close()
            raise
        self._socket = connection if is_open else None
        if not is_open:
            connection.close()
        if answer.status != status:
            raise WireError(
                f"{request.method} {request.target}: {answer.status} instead of {status}: "
                f"{answer.body[:400]!r}"
            )
        return answer

    def close(self) -> None:
        """Ends the connection, if there is one."""
        if self._socket:
            self._socket.close()
        self._socket = None

    def __enter__(self) -> "Wire":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def _connect(self) -> socket.socket:
        host, _, port = self._endpoint.address.rpartition(":")
        plain = socket.create_connection((host, int(port)), timeout=TIMEOUT_SECONDS)
        plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if self._endpoint.tls_host is None:
            return plain
        authority = self._endpoint.authority
        context = ssl.create_default_context(cafile=str(authority) if authority else None)
        return context.wrap_socket(plain, server_hostname=self._endpoint.tls_host)


def _receive(connection: socket.socket, method: str, start: float) -> tuple[Answer, bool]:
    stream = _Stream(connection)
    status, headers = 100, dict[str, str]()
    while status < 200:
        version, status, headers = _parse_head(stream.until(b"\r\n\r\n"))
    is_open = headers.get("connection", "").lower() != "close" and version == "HTTP/1.1"
    if method == "HEAD" or status in (204, 304):
        body = b""
    elif headers.get("transfer-encoding", "").lower() == "chunked":
        body = _receive_chunks(stream)
    elif "content-length" in headers:
        body = stream.exactly(int(headers["content-length"]))
    else:
        body, is_open = stream.rest(), False
    return Answer(status, headers, body, time.perf_counter() - start), is_open


def _parse_head(head: bytes) -> tuple[str, int, dict[str, str]]:
    first, *lines = head.decode("latin-1").split("\r\n")
    version, _, rest = first.partition(" ")
    if not version.startswith("HTTP/1.") or not rest[:3].isdigit():
        raise WireError(f"not HTTP: {first!r}")
    pairs = (line.partition(":") for line in lines if line)
    return version, int(rest[:3]), {name.strip().lower(): value.strip() for name, _, value in pairs}


def _receive_chunks(stream: "_Stream") -> bytes:
    chunks: list[bytes] = []
    while size := int(stream.until(b"\r\n").partition(b";")[0], 16):
        chunks.append(stream.exactly(size))
        stream.exactly(2)
    while stream.until(b"\r\n"):
        continue  # a trailer
    return b"".join(chunks)


class _Stream:
    """Bytes of a connection, by delimiter or by count. Raises WireError at an early end."""

    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection
        self._buffer = b""

    def until(self, delimiter: bytes) -> bytes:
        """What comes before `delimiter`, which is taken as well."""
        while delimiter not in self._buffer:
            self._buffer += self._more()
        found, _, self._buffer = self._buffer.partition(delimiter)
        return found

    def exactly(self, count: int) -> bytes:
        """`count` bytes."""
        whole = bytearray(count)
        view, first = memoryview(whole), self._buffer[:count]
        self._buffer = self._buffer[count:]
        view[: len(first)] = first
        received = len(first)
        while received < count:
            some = self._connection.recv_into(view[received : received + RECEIVE_BYTES])
            if not some:
                raise WireError(f"{received} of {count} bytes came")
            received += some
        return bytes(whole)

    def rest(self) -> bytes:
        """Everything up to the end of the connection."""
        while data := self._connection.recv(RECEIVE_BYTES):
            self._buffer += data
        return self._buffer

    def _more(self) -> bytes:
        data = self._connection.recv(RECEIVE_BYTES)
        if not data:
            raise WireError("the connection was closed before an answer")
        return data


def median_seconds(answers: Sequence[Answer]) -> float:
    """The median of their times; 0 of none."""
    times = sorted(answer.seconds for answer in answers)
    return times[len(times) // 2] if times else 0.0
