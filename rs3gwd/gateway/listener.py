"""Listening sockets: bound once, accepting in bursts, patient when descriptors run out.

An accept loop must outlive every error that `accept` can give: accept(2) passes on errors that
belong to a connection which has died in the queue, and EMFILE or ENFILE end by themselves when
connections close. Spinning on those would keep the node from closing them: hence the pause.
"""

import errno
import socket
from collections.abc import Callable

import trio
from msgspec import Struct

BACKLOG = 1024
"""Connections the kernel may queue for us; it cuts this to net.core.somaxconn (4,096)."""

ACCEPTS_IN_A_ROW_MAX = 64
"""Connections taken before others get a turn."""

PAUSE_SECONDS = 0.1
"""How long not to accept when the process or the machine is out of descriptors or memory."""

_EXHAUSTED = frozenset([errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM])


class ListenAddress(Struct, frozen=True):
    """Where to listen. `host` is a name or an address, empty for all; `port` 0 takes a free one.

    `secure` says TLS. `reuse_port` lets several worker processes share the address.
    """

    host: str
    port: int
    secure: bool = False
    reuse_port: bool = False


class Listener:
    """One bound socket."""

    def __init__(self, bound: socket.socket, *, secure: bool) -> None:
        self.secure = secure
        self.pauses = 0
        self._socket = bound
        self._open = True

    @property
    def address(self) -> tuple[str, int]:
        """The host and port it is bound to."""
        host, port = self._socket.getsockname()[:2]
        return str(host), int(port)

    async def accept(self, take: Callable[[socket.socket, str], None]) -> None:
        """Gives each connection, non-blocking, and its peer's address to `take`; until `stop`."""
        while self._open:
            try:
                await trio.lowlevel.wait_readable(self._socket)
            except trio.ClosedResourceError:
                return
            if not self.accept_nowait(take):
                self.pauses += 1
                await trio.sleep(PAUSE_SECONDS)

    def accept_nowait(self, take: Callable[[socket.socket, str], None]) -> bool:
        """Takes what is waiting; False when there is no descriptor or memory for more."""
        for _ in range(ACCEPTS_IN_A_ROW_MAX):
            try:
                connected, peer = self._socket.accept()
            except BlockingIOError:
                return True
            except OSError as error:
                if error.errno in _EXHAUSTED:
                    return False
                continue
            connected.setblocking(False)
            connected.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            take(connected, str(peer[0]))
        return True

    def stop(self, take: Callable[[socket.socket, str], None]) -> None:
        """Takes what is already queued, then closes; safe to repeat."""
        if self._open:
            self._open = False
            self.accept_nowait(take)
            self.close()

    def close(self) -> None:
        """Closes at once; safe to repeat."""
        self._open = False
        if self._socket.fileno() >= 0:
            trio.lowlevel.notify_closing(self._socket)
            self._socket.close()


async def open_listeners(address: ListenAddress) -> list[Listener]:
    """Binds every address that the host name has, all to the same port.

    Raises OSError when one cannot be bound; none is left open then.
    """
    found = await trio.socket.getaddrinfo(
        address.host or None,
        address.port,
        type=socket.SOCK_STREAM,
        proto=socket.IPPROTO_TCP,
        flags=socket.AI_PASSIVE,
    )
    listeners: list[Listener] = []
    port = address.port
    try:
        for family, _kind, _protocol, _name, place in dict.fromkeys(found):
            bound = _bind(family, (place[0], port), reuse_port=address.reuse_port)
            listeners.append(Listener(bound, secure=address.secure))
            port = listeners[0].address[1]
    except OSError:
        for listener in listeners:
            listener.close()
        raise
    return listeners


def _bind(family: int, place: tuple[str | int, int], *, reuse_port: bool) -> socket.socket:
    bound = socket.socket(family, socket.SOCK_STREAM)
    try:
        bound.setblocking(False)
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if reuse_port:
            bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        if family == socket.AF_INET6:
            bound.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        bound.bind(place)
        bound.listen(BACKLOG)
    except OSError:
        bound.close()
        raise
    return bound
