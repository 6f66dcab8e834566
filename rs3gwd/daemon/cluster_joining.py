"""How a machine comes to the certificate with which it is a node: `rs3gwctl cluster init | invite |
join`.

The first node makes the authority of its cluster, and its own certificate. For each further one it
is told to invite: it listens, for a few minutes, with one token that is good for one node; the new
node makes its key where it will live, proves that it knows the token, and gets its certificate
(`cluster.authority.joining`). What it is not: a change of the members. Who is a member, and where,
says `cluster.seed_nodes`; here is decided who can prove to be which of them.

The token lives in the memory of the command that made it and ends with it; on disk is only the
highest number that was ever given (`book`), written before the number is given, so that no two
nodes are ever of one number. A lock on the authority's key keeps it to one command at a time.

Blocking code, in a process of its own; no daemon need run.
"""

import fcntl
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import trio
from msgspec import Struct

from cluster.authority.certificates import (
    DISK_TOKEN_BYTES,
    Authority,
    NodeKey,
    Trust,
    fingerprint,
    node_uri,
    to_der,
)
from cluster.authority.tokens import TokenBook, TokenRecord, new_token, read_token
from cluster.base.errors import ClusterError, IdentityError, JoinRefused
from cluster.base.ids import NodeId
from cluster.drivers import authority as driver
from cluster.drivers.authority import AuthorityFolder, Begins, FirstStart, JoinService
from rs3gwd.engine.system import SystemClock, SystemRandom, TrioThreads

FOLDER = "cluster"
"""Under the data directory; where the daemon looks for its certificate."""

FIRST_NODE = 1


class JoiningFailed(Exception):
    """Nothing was made; the text is for the person at the terminal."""


class NodeName(Struct, frozen=True):
    """Which node a certificate makes: its cluster's name and its number."""

    cluster: str
    node: int


def init_cluster(data: Path, *, cluster: str | None = None) -> NodeName:
    """Makes the authority of a new cluster and the certificate of its first node.

    `cluster` is its name, random when None. Raises JoiningFailed when the node has a certificate or
    an authority, OSError.
    """
    folder, clock, random = AuthorityFolder(data / FOLDER), SystemClock(), SystemRandom()
    _check_free(data)
    name = cluster or random.token_bytes(8).hex()
    try:
        node_uri(name, FIRST_NODE)
    except IdentityError as error:
        raise JoiningFailed(str(error)) from error
    authority = Authority.create(name, now_ms=clock.now_ms(), random=random)
    key, disk_token = NodeKey.create(), random.token_bytes(DISK_TOKEN_BYTES)
    certificate = authority.issue(
        key.request(),
        cluster=name,
        node=FIRST_NODE,
        now_ms=clock.now_ms(),
        random=random,
        disk=disk_token,
    )
    folder.write_authority(authority)
    folder.write_book(TokenBook(node_highest=FIRST_NODE))
    folder.write_first_start(FirstStart(Begins.ALONE, disk_token))
    folder.write_node(key, to_der(certificate), (to_der(authority.certificate),))
    return NodeName(name, FIRST_NODE)


def invite(
    data: Path, *, host: str, port: int, seconds: float, announce: Callable[[str], None]
) -> NodeName:
    """Lets one node in: listens at `host` and `port` (0: a free one) until it has come.

    `announce` is told the token, when it can be used. Raises JoiningFailed when this node has no
    authority or nobody came within `seconds`, OSError when it cannot listen.
    """
    try:
        with _one_at_a_time(data):
            return trio.run(partial(_invite, data, host, port, seconds, announce))
    except FileNotFoundError as error:
        raise JoiningFailed(
            f"{data} has no authority: it is on the node where `rs3gwctl cluster init` was said"
        ) from error
    except ClusterError as error:
        raise JoiningFailed(str(error)) from error


def join_cluster(data: Path, token_text: str) -> NodeName:
    """Fetches a certificate with a token, and keeps it. Raises JoiningFailed."""
    _check_free(data)
    try:
        token = read_token(token_text)
        clock, random = SystemClock(), SystemRandom()
        disk_token = random.token_bytes(DISK_TOKEN_BYTES)
        joined = trio.run(
            partial(driver.join, token, disk_token=disk_token, clock=clock, random=random)
        )
    except ClusterError as error:
        raise JoiningFailed(str(error)) from error
    except (OSError, trio.BrokenResourceError, trio.TooSlowError) as error:
        raise JoiningFailed(
            "nobody answers at the address in the token: does `rs3gwctl cluster invite` still run, "
            f"and is its port open? ({error!r})"
        ) from error
    granted, folder = joined.granted, AuthorityFolder(data / FOLDER)
    folder.write_first_start(FirstStart(Begins.JOINS, disk_token))
    folder.write_node(joined.key, granted.certificate, granted.roots)
    return NodeName(granted.cluster, granted.node)


class _Ledger:
    """The book as one command keeps it (`cluster.drivers.authority.JoinLedger`)."""

    def __init__(self, folder: AuthorityFolder, book: TokenBook, threads: TrioThreads) -> None:
        self.admitted = trio.Event()
        self.book = book
        self._folder = folder
        self._threads = threads
        self._turn = trio.Lock()

    async def find(self, token_id: bytes) -> TokenRecord:
        return self.book.find(token_id, now_ms=SystemClock().now_ms())

    async def admit(self, token_id: bytes) -> NodeId:
        async with self._turn:
            admission = self.book.admit(token_id, now_ms=SystemClock().now_ms())
            kept = TokenBook(node_highest=admission.node)
            await self._threads.run(partial(self._folder.write_book, kept))
            self.book = admission.book
        self.admitted.set()
        return admission.node


async def _invite(
    data: Path, host: str, port: int, seconds: float, announce: Callable[[str], None]
) -> NodeName:
    folder, clock, random = AuthorityFolder(data / FOLDER), SystemClock(), SystemRandom()
    authority, book = folder.read_authority(), folder.read_book()
    cluster, root = folder.read_node().cluster, to_der(authority.certificate)
    listeners = await trio.open_tcp_listeners(port, host=host)
    address = host, int(listeners[0].socket.getsockname()[1])
    token = new_token(cluster, fingerprint(root), (address,), random)
    now_ms = clock.now_ms()
    expires_ms = now_ms + int(seconds * 1000)
    book = book.with_token(token, uses=1, expires_ms=expires_ms, now_ms=now_ms)
    ledger = _Ledger(folder, book, TrioThreads())
    service = JoinService(
        authority,
        Trust((root,)),
        cluster=cluster,
        ledger=ledger,
        files=folder.tls(),
        clock=clock,
        random=random,
    )
    # The answer to the node that was let in is finished when nobody else is let in any more.
    async with trio.open_nursery() as talks, trio.open_nursery() as accepting:
        accepting.start_soon(partial(service.serve, listeners, talks=talks))
        announce(token.text())
        with trio.move_on_after(seconds):
            await ledger.admitted.wait()
        accepting.cancel_scope.cancel()
    if not ledger.admitted.is_set():
        raise JoinRefused(f"nobody came; {service.refused} were refused")
    return NodeName(cluster, ledger.book.node_highest)


def _check_free(data: Path) -> None:
    """Raises JoiningFailed for a data directory that is a node's of a cluster."""
    for name in ("node.pem", "authority.key"):
        if (data / FOLDER / name).exists():
            raise JoiningFailed(f"{data / FOLDER / name} exists: this is a node of a cluster")


@contextmanager
def _one_at_a_time(data: Path) -> Iterator[None]:
    with (data / FOLDER / "authority.key").open("rb") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise IdentityError("another `rs3gwctl cluster invite` runs here") from error
        yield
