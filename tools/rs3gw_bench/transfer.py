"""Large bodies over one raw socket: the client does nothing but send or receive."""

import socket
import time
from collections.abc import Iterable

from tools.rs3gw_bench.signing import SignedRequest

MIB = 1 << 20


class TransferError(Exception):
    """The target did not answer 200, or with other bytes than it was given."""


def encode(request: SignedRequest, body_bytes: int = 0) -> bytes:
    """The head of a request as HTTP/1.1 has it; its body is to follow."""
    lines = [f"{request.method} {request.target} HTTP/1.1"]
    lines += [f"{name}: {value}" for name, value in request.headers.items()]
    if body_bytes:
        lines.append(f"Content-Length: {body_bytes}")
    return "\r\n".join([*lines, "", ""]).encode("latin-1")


def put(address: tuple[str, int], request: SignedRequest, body: bytes) -> float:
    """Sends one PUT and gives the seconds from the first byte sent to the end of the answer."""
    with socket.create_connection(address) as connection:
        start = time.perf_counter()
        connection.sendall(encode(request, len(body)))
        connection.sendall(body)
        answer = _receive(connection)
        elapsed = time.perf_counter() - start
    if not answer.startswith(b"HTTP/1.1 200"):
        raise TransferError(answer.decode("latin-1"))
    return elapsed


def put_all(address: tuple[str, int], requests: Iterable[SignedRequest], body: bytes) -> None:
    """Sends PUTs of one body over one connection, so that what is to be read is there."""
    with socket.create_connection(address) as connection:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for request in requests:
            connection.sendall(encode(request, len(body)) + body)
            answer = _receive(connection)
            if not answer.startswith(b"HTTP/1.1 200"):
                raise TransferError(answer.decode("latin-1"))


def get(address: tuple[str, int], request: SignedRequest, body: memoryview) -> float:
    """Receives one GET into `body`, which it must fill; gives its seconds."""
    with socket.create_connection(address) as connection:
        start = time.perf_counter()
        connection.sendall(encode(request))
        head = b""
        while b"\r\n\r\n" not in head:
            head += _receive(connection)
        head, _, first = head.partition(b"\r\n\r\n")
        if not head.startswith(b"HTTP/1.1 200") or content_length(head) != len(body):
            raise TransferError(head.decode("latin-1"))
        body[: len(first)] = first
        received = len(first)
        while received < len(body):
            count = connection.recv_into(body[received : received + MIB])
            if not count:
                raise TransferError(f"{received} of {len(body)} bytes came")
            received += count
        return time.perf_counter() - start


def content_length(head: bytes) -> int:
    """The Content-Length of a response head. Raises TransferError."""
    for line in head.split(b"\r\n")[1:]:
        name, _, value = line.partition(b":")
        if name.strip().lower() == b"content-length":
            return int(value)
    raise TransferError("no Content-Length in the answer")


def _receive(connection: socket.socket) -> bytes:
    data = connection.recv(65536)
    if not data:
        raise TransferError("the connection was closed before an answer")
    return data
