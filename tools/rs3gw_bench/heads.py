"""The load generator for HEAD: wrk waits for the body that an answer to HEAD announces.

Like wrk a closed loop over keep-alive connections from one thread: each connection sends its next
request when the answer to the one before is there whole, which for HEAD is its empty line. It costs
some 10 us a request, a fraction of what any server here needs.
"""

import os
import select
import socket
import time

from tools.rs3gw_bench.signing import SignedRequest
from tools.rs3gw_bench.transfer import encode
from tools.rs3gw_bench.wrk import Load, LoadError

_OK = b"HTTP/1.1 200 "
_END = b"\r\n\r\n"


class _Client:
    """One connection: the request it waits for, and since when."""

    __slots__ = ("received", "sent_at", "socket")

    def __init__(self, address: tuple[str, int]) -> None:
        self.socket = socket.create_connection(address)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.received = b""
        self.sent_at = 0.0

    def send(self, request: bytes, now: float) -> None:
        self.socket.sendall(request)
        self.sent_at = now

    def receive(self) -> bool:
        """Takes what has arrived; whether the answer is whole. Raises LoadError."""
        data = self.socket.recv(65536)
        self.received += data
        if not data or not self.received.startswith(_OK[: len(self.received)]):
            raise LoadError(f"a HEAD was answered {self.received!r}")
        if not self.received.endswith(_END):
            return False
        self.received = b""
        return True


def run_heads(
    address: tuple[str, int],
    requests: list[SignedRequest],
    *,
    connections: int,
    seconds: float,
    core: int | None = None,
) -> Load:
    """Sends `requests` round and round for `seconds`. Raises LoadError on any failed request."""
    cores = os.sched_getaffinity(0)
    if core is not None:
        os.sched_setaffinity(0, {core})
    try:
        return _run(address, [encode(request) for request in requests], connections, seconds)
    finally:
        os.sched_setaffinity(0, cores)


def _run(address: tuple[str, int], requests: list[bytes], connections: int, seconds: float) -> Load:
    clients = [_Client(address) for _ in range(connections)]
    by_descriptor = {client.socket.fileno(): client for client in clients}
    waits: list[float] = []
    count = len(clients)
    try:
        with select.epoll() as poll:
            start = now = time.perf_counter()
            for index, client in enumerate(clients):
                poll.register(client.socket.fileno(), select.EPOLLIN)
                client.send(requests[index % len(requests)], now)
            while now - start < seconds:
                ready = poll.poll(seconds)
                now = time.perf_counter()
                for descriptor, _ in ready:
                    client = by_descriptor[descriptor]
                    if client.receive():
                        waits.append(now - client.sent_at)
                        client.send(requests[count % len(requests)], now)
                        count += 1
    finally:
        for client in clients:
            client.socket.close()
    if not waits:
        raise LoadError(f"no answer to HEAD in {seconds} s")
    waits.sort()
    return Load(
        requests=len(waits),
        requests_per_second=len(waits) / (now - start),
        p50_us=waits[len(waits) // 2] * 1e6,
        p99_us=waits[len(waits) * 99 // 100] * 1e6,
    )
