"""Two or more transports in one process: in memory, on bare TCP, or on TLS of a real authority."""

import hashlib
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import trio
import trio.testing

from cluster.authority.certificates import Authority, NodeKey, PeerCertificate, to_der, to_pem
from cluster.drivers.transport import Transport
from cluster.drivers.transport_network import TlsFiles, TlsNetwork
from cluster.drivers.transport_settings import Lane, TransportSettings
from cluster.raft.identity import NodeIdentity, check_peer
from cluster.testing.transport_memory import MemoryNet

CLUSTER = "c1"
NOW_MS = int(time.time() * 1000)


class SeededRandom:
    """The port Random, the same every time."""

    def __init__(self, seed: int = 1) -> None:
        self._state = seed.to_bytes(8)

    def token_bytes(self, count: int) -> bytes:
        """`count` bytes of a chain of hashes."""
        made = b""
        while len(made) < count:
            self._state = hashlib.sha256(self._state).digest()
            made += self._state
        return made[:count]


class Membership:
    """Whom a transport under test lets in."""

    def __init__(self, *nodes: int) -> None:
        self.known = {node: token_of(node) for node in nodes}

    def check(self, identity: NodeIdentity, certificate: PeerCertificate | None) -> None:
        """Raises IdentityError."""
        check_peer(identity, self.known, cluster=CLUSTER)


def token_of(node: int) -> bytes:
    """The token on the disk of a node."""
    return b"token of %d" % node


def identity_of(node: int) -> NodeIdentity:
    """Who a node is."""
    return NodeIdentity(CLUSTER, node, token_of(node))


class MemoryWorld:
    """Transports of nodes 1 to `count` on a MemoryNet."""

    def __init__(self, count: int = 2, settings: TransportSettings | None = None) -> None:
        self.net = MemoryNet()
        self.membership = Membership(*range(1, count + 1))
        self.nodes = {
            node: Transport(
                identity_of(node),
                self.net.network(node),
                check=self.membership.check,
                random=SeededRandom(node),
                settings=settings,
            )
            for node in range(1, count + 1)
        }

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """All of them run, and serve already."""
        async with trio.open_nursery() as nursery:
            for transport in self.nodes.values():
                nursery.start_soon(transport.run)
            await trio.testing.wait_all_tasks_blocked()
            yield
            nursery.cancel_scope.cancel()


async def wait_up(transport: Transport, to: int, lane: Lane = Lane.URGENT) -> None:
    """Until there is a connection to a node."""
    while True:
        dialler = transport._dialler(to, lane)
        assert dialler is not None
        await dialler.wait_settled()
        if dialler.link is not None:
            return
        await trio.sleep(0.01)


def write_files(
    folder: Path,
    authority: Authority,
    node: int,
    *,
    now_ms: int = NOW_MS,
    cluster: str = CLUSTER,
    roots: bytes | None = None,
) -> TlsFiles:
    """A node's key and certificate, and the roots it trusts, as files."""
    key = NodeKey.create()
    certificate = authority.issue(
        key.request(), cluster=cluster, node=node, now_ms=now_ms, random=SeededRandom(node)
    )
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "node.pem").write_bytes(to_pem(certificate))
    (folder / "node.key").write_bytes(key.pem())
    (folder / "roots.pem").write_bytes(roots or authority.certificate_pem())
    return TlsFiles(*(str(folder / name) for name in ("node.pem", "node.key", "roots.pem")))


def new_authority(seed: int = 7, now_ms: int = NOW_MS) -> Authority:
    """An authority of the cluster under test."""
    return Authority.create(CLUSTER, now_ms=now_ms, random=SeededRandom(seed))


class TlsNode:
    """One transport on TLS, on a port of its own."""

    def __init__(self, node: int, files: TlsFiles, book: dict[int, tuple[str, int]]) -> None:
        self.node = node
        self.files = files
        self.book = book
        self.membership = Membership(*range(1, 10))

    @asynccontextmanager
    async def running(self) -> AsyncIterator[Transport]:
        """It serves, and its address is in the book."""
        listeners = await trio.open_tcp_listeners(0, host="127.0.0.1")
        self.book[self.node] = listeners[0].socket.getsockname()
        self.network = TlsNetwork(listeners, self._addresses, self.files)
        self.transport = Transport(
            identity_of(self.node),
            self.network,
            check=self.membership.check,
            random=SeededRandom(self.node),
        )
        self.transport.on_call("who", self._who)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self.transport.run)
            await trio.testing.wait_all_tasks_blocked()
            yield self.transport
            nursery.cancel_scope.cancel()

    def _addresses(self, node: int) -> list[tuple[str, int]]:
        return [self.book[node]] if node in self.book else []

    async def _who(self, peer: int, payload: bytes) -> bytes:
        return b"%d asked by %d" % (self.node, peer)


def der_of(authority: Authority) -> bytes:
    """Its root certificate."""
    return to_der(authority.certificate)
