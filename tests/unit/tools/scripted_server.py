"""A server on loopback that answers each request with the next step of a script, right or wrong."""

import socket
import ssl
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from types import TracebackType

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


@dataclass(frozen=True)
class Step:
    """What to send, in pieces; then the connection ends, or stays without an answer."""

    pieces: Sequence[bytes] = (OK,)
    closes: bool = False
    resets: bool = False
    is_silent: bool = False
    """Nothing is sent, and the connection stays until the other side ends it."""
    hold: threading.Event | None = None
    """Nothing is sent before this is set."""


class ScriptedServer:
    """Serves every connection in a thread of its own. After the script every answer is OK.

    `requests` holds the bytes of every request that was read whole.
    """

    def __init__(self, script: Sequence[Step], tls: ssl.SSLContext | None = None) -> None:
        self._tls = tls
        self._script = list(script)
        self.requests: list[bytes] = []
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._open: list[socket.socket] = []

    @property
    def address(self) -> str:
        """As the generator wants it."""
        return f"127.0.0.1:{self._listener.getsockname()[1]}"

    def __enter__(self) -> "ScriptedServer":
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        # Wakes the thread out of accept(); closing alone would not.
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for connection in self._open:
            connection.close()
        self._thread.join(timeout=10)

    def _serve(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self._open.append(connection)
            serve = threading.Thread(target=self._serve_connection, args=(connection,), daemon=True)
            serve.start()

    def _serve_connection(self, connection: socket.socket) -> None:
        try:
            if self._tls:
                connection = self._tls.wrap_socket(connection, server_side=True)
                self._open.append(connection)
            self._answer_all(connection)
        except OSError:
            return  # The generator gave up on this connection.

    def _answer_all(self, connection: socket.socket) -> None:
        while request := _read_request(connection):
            self.requests.append(request)
            step = self._script.pop(0) if self._script else Step()
            if step.hold:
                step.hold.wait(timeout=10)
            if step.is_silent:
                connection.recv(1)
                return
            for piece in step.pieces:
                connection.sendall(piece)
            if step.resets:
                linger = b"\x01\0\0\0\0\0\0\0"
                connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
            if step.closes or step.resets:
                connection.close()
                return


def _read_request(connection: socket.socket) -> bytes:
    """One whole request; empty at the end of the connection."""
    data = b""
    while b"\r\n\r\n" not in data:
        more = connection.recv(65536)
        if not more:
            return b""
        data += more
    head, _, body = data.partition(b"\r\n\r\n")
    length = 0
    for line in head.lower().split(b"\r\n"):
        if line.startswith(b"content-length:"):
            length = int(line.partition(b":")[2])
    while len(body) < length:
        body += connection.recv(65536)
    return head + b"\r\n\r\n" + body
