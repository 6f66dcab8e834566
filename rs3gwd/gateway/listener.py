"""Listening sockets: bound once, accepting in bursts, patient when descriptors run out.

Several processes share an address by SO_REUSEPORT (socket(7)): each has a socket of its own, and
the kernel gives every new connection to one of them. `bind_shared` makes them all in one process,
which keeps them open when it hands them on: a connection for a process that is being replaced waits
in its socket's queue, and nobody is refused.

An accept loop must outlive every error that `accept` can give: accept(2) passes on errors that
belong to a connection which has died in the queue, and EMFILE or ENFILE end by themselves when
connections close. Spinning on those would keep the node from closing them: hence the pause.
"""

import errno
import socket
from collections.abc import Callable, Iterable

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

    `secure` says TLS. `bound` is an open listening socket that is to be used as it is, of one of
    the places that `host` and `port` mean; whoever listens owns it.
    """

    host: str
    port: int
    secure: bool = False
    bound: socket.socket | None = None


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
    if address.bound is not None:
        return [Listener(address.bound, secure=address.secure)]
    (share,) = await bind_shared(address, sharers=1)
    return [Listener(bound, secure=address.secure) for bound in share]


async def bind_shared(address: ListenAddress, *, sharers: int) -> list[list[socket.socket]]:
    """Listening sockets for `sharers` processes: for each one a list, with a socket for every
    address that the host name has, all on the same port.

    Where anybody else listens, be it another program of the same user that shares its port, it
    raises OSError, and none is left open then.
    """
    found = await trio.socket.getaddrinfo(
        address.host or None,
        address.port,
        type=socket.SOCK_STREAM,
        proto=socket.IPPROTO_TCP,
        flags=socket.AI_PASSIVE,
    )
    rows: list[list[socket.socket]] = []
    port = address.port
    try:
        for family, _kind, _protocol, _name, place in dict.fromkeys(found):
            rows.append(_bind(family, (place[0], port), sharers=sharers))
            port = rows[0][0].getsockname()[1]
    except OSError:
        _close_all(bound for row in rows for bound in row)
        raise
    return [list(share) for share in zip(*rows, strict=True)]


def _bind(family: int, place: tuple[str | int, int], *, sharers: int) -> list[socket.socket]:
    """So many listening sockets at one place."""
    row: list[socket.socket] = []
    try:
        for _ in range(sharers):
            bound = socket.socket(family, socket.SOCK_STREAM)
            row.append(bound)
            bound.setblocking(False)
            bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            if family == socket.AF_INET6:
                bound.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            # The first one binds as if it were alone: so it fails where anybody listens.
            if len(row) > 1:
                bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
            bound.bind(place)
            if sharers > 1:
                bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
            place = (place[0], bound.getsockname()[1])
        for bound in row:
            bound.listen(BACKLOG)
    except OSError:
        _close_all(row)
        raise
    return row


def _close_all(sockets: Iterable[socket.socket]) -> None:
    for each in sockets:
        each.close()
