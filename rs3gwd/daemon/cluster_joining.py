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
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import NamedTuple

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
from cluster.wal.wal import Wal
from rs3gwd.base.errors import DiskFailed
from rs3gwd.daemon.opening import lock_store
from rs3gwd.engine.system import FileDisk, SystemClock, SystemRandom, TrioThreads

FOLDER = "cluster"
"""Under the data directory; where the daemon looks for its certificate."""

WAL_FOLDER = "wal"

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
    data: Path,
    *,
    host: str,
    port: int,
    seconds: float,
    announce: Callable[[str], None],
    again: int | None = None,
) -> NodeName:
    """Lets one node in: listens at `host` and `port` (0: a free one) until it has come.

    `again` is the number of a node that was let in before and needs a new certificate.
    `announce` is told the token, when it can be used. Raises JoiningFailed when this node has no
    authority or nobody came within `seconds`, OSError when it cannot listen.
    """
    try:
        with _one_at_a_time(data):
            return trio.run(partial(_invite, data, host, port, seconds, announce, again))
    except FileNotFoundError as error:
        raise JoiningFailed(
            f"{data} has no authority: it is on the node where `rs3gwctl cluster init` was said"
        ) from error
    except ClusterError as error:
        raise JoiningFailed(str(error)) from error


def join_cluster(data: Path, token_text: str, *, again: bool = False) -> NodeName:
    """Fetches a certificate with a token, and keeps it. `again`: a new one for the node that this
    is, which keeps its number and its disk; its daemon must not run. Raises JoiningFailed."""
    folder = AuthorityFolder(data / FOLDER)
    clock, random = SystemClock(), SystemRandom()
    try:
        if again:
            before, disk_token = _read_again(data, folder)
        else:
            _check_free(data)
            before, disk_token = None, random.token_bytes(DISK_TOKEN_BYTES)
        token = read_token(token_text)
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
    granted = joined.granted
    if before is None:
        folder.write_first_start(FirstStart(Begins.JOINS, disk_token))
    elif before != (granted.cluster, granted.node):
        raise JoiningFailed(
            f"the token is for node {granted.node} of {granted.cluster}, this is node {before[1]} "
            f"of {before[0]}: on the other side say `rs3gwctl cluster invite --node {before[1]}`"
        )
    folder.write_node(joined.key, granted.certificate, granted.roots)
    return NodeName(granted.cluster, granted.node)


class _Ledger:
    """The book as one command keeps it (`cluster.drivers.authority.JoinLedger`)."""

    def __init__(
        self, folder: AuthorityFolder, book: TokenBook, rights: "_Rights", again: int | None
    ) -> None:
        self.admitted = trio.Event()
        self.book = book
        self.node = 0
        self._rights = rights
        self._again = again
        self._folder = folder
        self._threads = TrioThreads()
        self._turn = trio.Lock()

    async def find(self, token_id: bytes) -> TokenRecord:
        return self.book.find(token_id, now_ms=SystemClock().now_ms())

    async def admit(self, token_id: bytes) -> NodeId:
        async with self._turn:
            await self._threads.run(self._check_unchanged)
            admission = self.book.admit(token_id, now_ms=SystemClock().now_ms())
            self.node = admission.node if self._again is None else self._again
            if self._again is None:
                kept = TokenBook(node_highest=admission.node)
                await self._threads.run(partial(self._folder.write_book, kept))
            self.book = admission.book
        self.admitted.set()
        return self.node

    async def note(self, certificate: bytes) -> None:
        """The daemon of this node has the cluster note it."""
        await self._threads.run(partial(self._folder.note_issued, certificate))

    def _check_unchanged(self) -> None:
        """Raises JoinRefused where the authority has become another one meanwhile."""
        try:
            is_same = _read_rights(self._folder) == self._rights
        except (OSError, IdentityError):
            is_same = False
        if not is_same:
            raise JoinRefused("the authority is being replaced: let the node be invited again")


async def _invite(
    data: Path,
    host: str,
    port: int,
    seconds: float,
    announce: Callable[[str], None],
    again: int | None,
) -> NodeName:
    folder, clock, random = AuthorityFolder(data / FOLDER), SystemClock(), SystemRandom()
    rights, book = _read_rights(folder), folder.read_book()
    authority = Authority.from_pem(*rights.pem)
    cluster, root = folder.read_node().cluster, to_der(authority.certificate)
    if again is not None and again > book.node_highest:
        raise JoinRefused(f"no node {again} was ever let in")
    listeners = await trio.open_tcp_listeners(port, host=host)
    address = host, int(listeners[0].socket.getsockname()[1])
    token = new_token(cluster, fingerprint(root), (address,), random)
    now_ms = clock.now_ms()
    expires_ms = now_ms + int(seconds * 1000)
    book = book.with_token(token, uses=1, expires_ms=expires_ms, now_ms=now_ms)
    ledger = _Ledger(folder, book, rights, again)
    service = JoinService(
        authority,
        Trust(rights.roots),
        cluster=cluster,
        ledger=ledger,
        files=folder.tls(),
        clock=clock,
        random=random,
        note=ledger.note,
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
    return NodeName(cluster, ledger.node)


class _Rights(NamedTuple):
    """The authority as one command has found it, and the roots that nodes trust."""

    pem: tuple[bytes, bytes]
    roots: tuple[bytes, ...]


def _read_rights(folder: AuthorityFolder) -> _Rights:
    """Raises FileNotFoundError, IdentityError."""
    authority = folder.read_authority()
    return _Rights((authority.certificate_pem(), authority.key_pem()), folder.read_roots())


def _read_again(data: Path, folder: AuthorityFolder) -> tuple[tuple[str, int], bytes]:
    """Who the node of a data directory is, and the token of its disk. Raises JoiningFailed, also
    while its daemon runs."""
    try:
        certificate = folder.read_node()
        os.close(lock_store(str(data), seconds_max=0))
        if (data / WAL_FOLDER).exists():
            wal = Wal.open(FileDisk(str(data)), WAL_FOLDER, random=SystemRandom())
            try:
                stored = wal.identity()
            finally:
                wal.close()
            if stored is not None:
                return (stored.cluster, stored.node), stored.token[:DISK_TOKEN_BYTES]
        return (certificate.cluster, certificate.node), folder.read_first_start().token
    except FileNotFoundError as error:
        raise JoiningFailed(f"{data} is no node of a cluster yet") from error
    except DiskFailed as error:
        raise JoiningFailed(f"stop the daemon first: {error}") from error


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
