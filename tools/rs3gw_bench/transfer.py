"""Large bodies over one raw socket: the client does nothing but send or receive."""

import socket
import time
from collections.abc import Callable

from tools.rs3gw_bench.signing import SignedRequest

MIB = 1 << 20


class TransferError(Exception):
    """The target did not answer 200, or with other bytes than it was given."""


def put(address: tuple[str, int], request: SignedRequest, body: bytes) -> float:
    """Sends one PUT and gives the seconds from the first byte sent to the end of the answer."""
    with socket.create_connection(address) as connection:
        start = time.perf_counter()
        connection.sendall(_head(request, len(body)))
        connection.sendall(body)
        answer = connection.recv(65536)
        elapsed = time.perf_counter() - start
    if not answer.startswith(b"HTTP/1.1 200"):
        raise TransferError(answer.decode("latin-1"))
    return elapsed


def get(
    address: tuple[str, int], request: SignedRequest, check: Callable[[memoryview], bool]
) -> float:
    """Receives one GET whole; gives its seconds, then checks the body (outside the clock)."""
    with socket.create_connection(address) as connection:
        start = time.perf_counter()
        connection.sendall(_head(request, 0))
        head = b""
        while b"\r\n\r\n" not in head:
            head += connection.recv(65536)
        head, _, first = head.partition(b"\r\n\r\n")
        if not head.startswith(b"HTTP/1.1 200"):
            raise TransferError(head.decode("latin-1"))
        length = int(_header(head, b"content-length"))
        body = memoryview(bytearray(length))
        body[: len(first)] = first
        received = len(first)
        while received < length:
            received += connection.recv_into(body[received : received + MIB])
        elapsed = time.perf_counter() - start
    if not check(body):
        raise TransferError("the body that came back is not the one that was sent")
    return elapsed


def _head(request: SignedRequest, length: int) -> bytes:
    lines = [f"{request.method} {request.target} HTTP/1.1"]
    lines += [f"{name}: {value}" for name, value in request.headers.items()]
    lines += [f"Content-Length: {length}", "", ""]
    return "\r\n".join(lines).encode("latin-1")


def _header(head: bytes, name: bytes) -> bytes:
    for line in head.split(b"\r\n")[1:]:
        key, _, value = line.partition(b":")
        if key.strip().lower() == name:
            return value.strip()
    raise TransferError(f"no {name.decode()} in the answer")
