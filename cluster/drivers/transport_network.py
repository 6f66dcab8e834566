"""Where connections come from: TCP with mutual TLS 1.3, and bare TCP for tests.

Both sides show a certificate of the cluster's authority. Host names are not looked at: who answers
is the node id in the certificate, which `connect` compares with whom it dialled. The contexts are
made anew on `reload`, so renewed certificates and changed roots count from the next handshake on,
without closing what is up.

Source: RFC 8446; Python's ssl module. Invariant: nothing but TLS 1.3 is spoken by `TlsNetwork`.
"""

import ssl
from collections.abc import Callable, Sequence
from typing import NamedTuple

import trio

from cluster.authority.certificates import PeerCertificate, read_certificate
from cluster.base.errors import IdentityError, PeerUnreachable
from cluster.base.ids import NodeId
from cluster.drivers.transport import Accept, Secured
from cluster.drivers.transport_tls import TlsStream

Address = tuple[str, int]
"""Host and port."""

Addresses = Callable[[NodeId], Sequence[Address]]
"""Where a node may be reached, best first; empty for one that is not known."""


class TlsFiles(NamedTuple):
    """Paths of PEM files: the node's chain, its key, and the roots it trusts."""

    certificate: str
    key: str
    roots: str


class PlainNetwork:
    """TCP without any protection: for tests and measurements, never for a cluster."""

    def __init__(self, listeners: list[trio.SocketListener], addresses: Addresses) -> None:
        self._listeners = listeners
        self._addresses = addresses

    def knows(self, node: NodeId) -> bool:
        """Whether there is an address to dial."""
        return bool(self._addresses(node))

    async def connect(self, node: NodeId) -> Secured:
        """Dials the addresses in their order. Raises OSError."""
        return Secured(await dial(self._addresses(node)), None)

    async def serve(self, accept: Accept) -> None:
        """Gives every connection to `accept`."""

        async def take(stream: trio.SocketStream) -> None:
            await accept(Secured(stream, None))

        await trio.serve_listeners(take, self._listeners)


class TlsNetwork:
    """TCP with mutual TLS 1.3."""

    def __init__(
        self,
        listeners: list[trio.SocketListener],
        addresses: Addresses,
        files: TlsFiles,
        *,
        handshake_s: float = 3.0,
        handshakes_max: int = 64,
    ) -> None:
        self.refused = 0
        self._listeners = listeners
        self._addresses = addresses
        self._files = files
        self._handshake_s = handshake_s
        self._handshakes = trio.CapacityLimiter(handshakes_max)
        self.reload()

    def reload(self) -> None:
        """Reads the files anew. Raises OSError or ssl.SSLError, and then keeps what was."""
        server = context(self._files, server=True)
        self._client = context(self._files, server=False)
        self._server = server

    def knows(self, node: NodeId) -> bool:
        """Whether there is an address to dial."""
        return bool(self._addresses(node))

    async def connect(self, node: NodeId) -> Secured:
        """Dials. Raises OSError, trio.BrokenResourceError, or IdentityError for another node."""
        plain = await dial(self._addresses(node))
        stream = TlsStream(plain, self._client, server_side=False)
        try:
            await stream.do_handshake()
            secured = Secured(stream, certificate_of(stream))
            if secured.certificate and secured.certificate.node != node:
                raise IdentityError(
                    f"node {secured.certificate.node} answers where node {node} was dialled"
                )
        except BaseException:
            await trio.aclose_forcefully(stream)
            raise
        return secured

    async def serve(self, accept: Accept) -> None:
        """Gives every connection whose certificate holds to `accept`."""

        async def take(plain: trio.SocketStream) -> None:
            secured = await self._shake_hands(plain)
            if secured is None:
                self.refused += 1
            else:
                await accept(secured)

        await trio.serve_listeners(take, self._listeners)

    async def _shake_hands(self, plain: trio.SocketStream) -> Secured | None:
        """At most so many at once: a handshake costs a signature, and anyone may begin one."""
        try:
            self._handshakes.acquire_on_behalf_of_nowait(plain)
        except trio.WouldBlock:
            await trio.aclose_forcefully(plain)
            return None
        stream = TlsStream(plain, self._server, server_side=True)
        try:
            with trio.fail_after(self._handshake_s):
                await stream.do_handshake()
            return Secured(stream, certificate_of(stream))
        except (OSError, trio.BrokenResourceError, trio.TooSlowError, IdentityError):
            await trio.aclose_forcefully(stream)
            return None
        finally:
            self._handshakes.release_on_behalf_of(plain)


def context(files: TlsFiles, *, server: bool) -> ssl.SSLContext:
    """A context that speaks TLS 1.3 alone and demands a certificate. Raises OSError."""
    made = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER if server else ssl.PROTOCOL_TLS_CLIENT)
    made.minimum_version = ssl.TLSVersion.TLSv1_3
    made.check_hostname = False
    made.verify_mode = ssl.CERT_REQUIRED
    if server:
        made.num_tickets = 0
    made.load_cert_chain(files.certificate, files.key)
    made.load_verify_locations(cafile=files.roots)
    return made


def certificate_of(stream: TlsStream) -> PeerCertificate:
    """Whom the other end of a finished handshake proved to be. Raises IdentityError."""
    der = stream.certificate()
    if der is None:
        raise IdentityError("no certificate")
    return read_certificate(der)


async def dial(addresses: Sequence[Address]) -> trio.SocketStream:
    """The first that answers. Raises OSError; PeerUnreachable for no address at all."""
    if not addresses:
        raise PeerUnreachable("no address to dial")
    for host, port in addresses[:-1]:
        try:
            return await trio.open_tcp_stream(host, port)
        except OSError:
            continue
    return await trio.open_tcp_stream(*addresses[-1])
