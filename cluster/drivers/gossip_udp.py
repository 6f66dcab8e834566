"""Datagrams over UDP, for the driver of gossip.

Names are looked up at most every 30 s and never for longer than a second; numbers cost nothing.
"""

from typing import Any, Final

import trio

from cluster.drivers.gossip import Address
from cluster.swim.sealing import DATAGRAM_BYTES_MAX

LOOK_UP_KEPT_S: Final = 30.0
LOOK_UP_TIMEOUT_S: Final = 1.0
LOOK_UPS_MAX: Final = 1024


class UdpSocket:
    """One bound socket; `close` ends it. Made by `open`."""

    def __init__(self, socket: trio.socket.SocketType) -> None:
        self._socket = socket
        self._found: dict[Address, tuple[Any, float]] = {}

    @classmethod
    async def open(cls, address: Address) -> "UdpSocket":
        """Listens at an address; an empty host is every IPv4 address. Raises OSError."""
        host, port = address
        found = await trio.socket.getaddrinfo(host or "0.0.0.0", port, type=trio.socket.SOCK_DGRAM)
        family, kind, protocol, _, where = found[0]
        socket = trio.socket.socket(family, kind, protocol)
        try:
            await socket.bind(where)
        except OSError:
            socket.close()
            raise
        return cls(socket)

    @property
    def address(self) -> Address:
        """Where it listens."""
        host, port = self._socket.getsockname()[:2]
        return host, port

    def close(self) -> None:
        """Listens no more."""
        self._socket.close()

    async def send_to(self, datagram: bytes, address: Address) -> None:
        """Sends a datagram. Raises OSError, also for a name that is not found in time."""
        await self._socket.sendto(datagram, await self._look_up(address))

    async def receive(self) -> bytes:
        """The next datagram; what is too long comes cut off, one byte above the limit."""
        return await self._socket.recv(DATAGRAM_BYTES_MAX + 1)

    async def _look_up(self, address: Address) -> Any:
        now_s = trio.current_time()
        known = self._found.get(address)
        if known is not None and now_s < known[1]:
            return known[0]
        with trio.move_on_after(LOOK_UP_TIMEOUT_S):
            host, port = address
            found = await trio.socket.getaddrinfo(
                host, port, family=self._socket.family, type=trio.socket.SOCK_DGRAM
            )
            if len(self._found) >= LOOK_UPS_MAX:
                self._found.clear()
            self._found[address] = found[0][4], now_s + LOOK_UP_KEPT_S
            return found[0][4]
        raise OSError(f"{address[0]} was not found in time")
