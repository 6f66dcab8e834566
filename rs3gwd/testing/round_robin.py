"""Hands each TCP connection to the next of some addresses, so that clients that know one endpoint
use every node of a cluster.

It moves bytes and understands none: TLS goes through as it is. A node that refuses the connection
is passed over, as a balancer does; one that dies with a connection open cuts it.
"""

from __future__ import annotations

import socket
import threading
from collections.abc import Sequence
from contextlib import suppress
from itertools import count

READ_BYTES = 256 * 1024
BACKLOG = 256


class RoundRobin:
    """Listens on a loopback port of its own from its making until `close`."""

    def __init__(self, ports: Sequence[int]) -> None:
        self._ports = tuple(ports)
        self._turns = count()
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=BACKLOG)
        self.port: int = self._listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        """Takes no further connections; those that are open end with their clients."""
        with suppress(OSError):  # wakes the thread that accepts; nothing was ever connected
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return  # closed
            threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _serve(self, client: socket.socket) -> None:
        with client:
            node = self._connect()
            if node is None:
                return
            with node:
                back = threading.Thread(target=_move, args=(node, client), daemon=True)
                back.start()
                _move(client, node)
                back.join()

    def _connect(self) -> socket.socket | None:
        """A connection to the next node that takes one."""
        turn = next(self._turns)
        for offset in range(len(self._ports)):
            port = self._ports[(turn + offset) % len(self._ports)]
            try:
                return socket.create_connection(("127.0.0.1", port))
            except ConnectionRefusedError:
                continue
        return None


def _move(source: socket.socket, target: socket.socket) -> None:
    """All bytes from one to the other, then the end of them."""
    with suppress(OSError):  # either side may be gone: then there is nobody to tell
        source.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        while data := source.recv(READ_BYTES):
            target.sendall(data)
    with suppress(OSError):
        target.shutdown(socket.SHUT_WR)
