"""The files of a node's identity on the network, letting nodes in, joining, and renewal.

Thin: what is signed and said is in `cluster.authority`. In the folder of a node lie

    authority.pem, authority.key    the cluster's root and its key, on nodes that let others in
    node.pem                        this node's certificate and key, in one file: they change
                                    together or not at all
    roots.pem                       the roots it trusts, newest first
    book                            the highest node id ever given, beside authority.key
    authority-NAME                  certificate and key of a new authority until it is the one
    issued-SERIAL                   a certificate (DER) that the cluster has yet to note
    first-start                     until the node has started once: how it begins, and the token
                                    that its certificate binds to this disk

Keys are written with mode 0600 before anything is in them, and files replaced whole: written aside,
synced, renamed. Joining has a listener of its own, because its clients have no certificate: what
listens for peers never talks to anybody without one. It is best open only while a token is live.
"""

import os
import ssl
from collections.abc import Awaitable, Callable, Sequence
from enum import Enum
from functools import partial
from pathlib import Path
from typing import NamedTuple, Protocol, TypeVar

import msgspec
import trio

from cluster.authority import joining
from cluster.authority.certificates import (
    Authority,
    NodeKey,
    PeerCertificate,
    Trust,
    der_to_pem,
    pem_to_der,
    read_certificate,
    read_roots,
    root_name,
    to_der,
)
from cluster.authority.joining import Challenge, Exchange, Granted, JoinHello, Proof, Refused
from cluster.authority.tokens import JoinToken, TokenBook, TokenRecord
from cluster.base.errors import (
    BadFrame,
    ClusterError,
    IdentityError,
    JoinRefused,
    PeerError,
    PeerUnreachable,
)
from cluster.base.ids import NodeId
from cluster.base.ports import Clock, Handlers, Peers, Random, Threads
from cluster.drivers.transport_network import TlsFiles, dial

RENEW_METHOD = "authority.renew"
_RENEW_TIMEOUT_S = 10.0
_RENEW_EVERY_S = 3600.0
"""How often the certificate's age is looked at."""

_RETRY_EVERY_S = 15.0
"""After a failure: at a start of all nodes nobody has a majority yet, and cannot note a renewal."""

_JOIN_S = 10.0
"""All of one attempt to join; a node that is slower holds a place that others may want."""

M = TypeVar("M", bound=msgspec.Struct)


class Begins(Enum):
    """How a node's groups begin: as those of a cluster of one, on the nodes that the configuration
    names, or by being added to those of a cluster that is there."""

    ALONE = "alone"
    SEEDS = "seeds"
    JOINS = "joins"


class FirstStart(msgspec.Struct, array_like=True, frozen=True):
    """What a node needs at its first start, and never again; `token` is its disk's, 16 bytes."""

    begins: Begins
    token: bytes


class AuthorityFolder:
    """The files in one folder. Calls block."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def tls(self) -> TlsFiles:
        """What a TLS context is made of."""
        names = ("node.pem", "node.pem", "roots.pem")
        return TlsFiles(*(str(self._folder / name) for name in names))

    def write_authority(self, authority: Authority, password: bytes | None = None) -> None:
        """Keeps the authority. Raises FileExistsError when there is one: a cluster has one."""
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        with os.fdopen(_create(self._folder / "authority.key"), "wb") as file:
            file.write(authority.key_pem(password))
            file.flush()
            os.fsync(file.fileno())
        self._replace("authority.pem", authority.certificate_pem())

    def read_authority(self, password: bytes | None = None) -> Authority:
        """Raises FileNotFoundError on a node that lets nobody in, IdentityError; also while one
        takes the place of another, which the daemon finishes at its start."""
        certificate = (self._folder / "authority.pem").read_bytes()
        return Authority.from_pem(
            certificate, (self._folder / "authority.key").read_bytes(), password
        )

    def write_candidate(self, authority: Authority) -> None:
        """Keeps a new authority beside the one that is there, before the cluster hears of it."""
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        name = _candidate_name(to_der(authority.certificate))
        self._replace(name, authority.certificate_pem() + authority.key_pem())

    def settle(self, issuer: bytes, roots: tuple[bytes, ...]) -> bool:
        """Has the authority that issues now (DER) in its place, if its key is here, and no key of
        one that is not trusted any more; whether anything was done. May be said again after a
        crash at any point. Raises OSError, IdentityError."""
        candidate = self._folder / _candidate_name(issuer)
        if candidate.exists():
            pem = candidate.read_bytes()
            authority = Authority.from_pem(pem, pem)
            self._replace("authority.key", authority.key_pem())
            self._replace("authority.pem", authority.certificate_pem())
            candidate.unlink()
            self._sync()
            return True
        known = self._folder / "authority.pem"
        if known.exists() and pem_to_der(known.read_bytes()) not in roots:
            (self._folder / "authority.key").unlink(missing_ok=True)
            known.unlink()
            self._sync()
            return True
        return False

    def forget_candidates(self, *, but: tuple[bytes, ...]) -> None:
        """Drops new authorities that never came to be; those of the roots `but` (DER) stay."""
        kept = {_candidate_name(root) for root in but}
        for path in self._folder.glob("authority-*"):
            if path.name not in kept:
                path.unlink()
        self._sync()

    def note_issued(self, certificate: bytes) -> None:
        """Keeps a certificate (DER) that was issued where no daemon need run; on stable storage
        when it returns."""
        self._replace(f"issued-{read_certificate(certificate).serial:x}", certificate)

    def read_issued(self) -> list[PeerCertificate]:
        """What was noted and not forgotten. Raises OSError, IdentityError."""
        return [
            read_certificate(path.read_bytes())
            for path in sorted(self._folder.glob("issued-*"))
            if path.suffix != ".new"
        ]

    def forget_issued(self, serial: int) -> None:
        """The cluster has noted it."""
        (self._folder / f"issued-{serial:x}").unlink(missing_ok=True)

    def has_authority(self) -> bool:
        """Whether this node can let others in and renew their certificates."""
        return (self._folder / "authority.key").exists()

    def write_node(self, key: NodeKey, certificate: bytes, roots: tuple[bytes, ...]) -> None:
        """Keeps a certificate (DER) with its key, and first the roots, which hold for both the
        old and the new one while the authority changes. A crash leaves either pair."""
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        self.write_roots(roots)
        self._replace("node.pem", der_to_pem(certificate) + key.pem())

    def write_roots(self, roots: tuple[bytes, ...]) -> None:
        """Keeps the roots (DER, newest first) that this node trusts."""
        self._replace("roots.pem", Trust(roots).pem())

    def read_roots(self) -> tuple[bytes, ...]:
        """The roots that this node trusts, DER, newest first. Raises OSError, IdentityError."""
        return read_roots((self._folder / "roots.pem").read_bytes())

    def read_node(self) -> PeerCertificate:
        """What this node's certificate says. Raises OSError, IdentityError."""
        return read_certificate(pem_to_der((self._folder / "node.pem").read_bytes()))

    def write_first_start(self, first: FirstStart) -> None:
        """Notes how the node begins; before `write_node`, so that no node is without."""
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._replace("first-start", msgspec.msgpack.encode((1, first)))

    def read_first_start(self) -> FirstStart:
        """For a node whose disk is empty. Raises IdentityError unless this is its first start: it
        has voted and acknowledged, and forgot what with its disk."""
        try:
            data = (self._folder / "first-start").read_bytes()
            version, first = msgspec.msgpack.decode(data, type=tuple[int, FirstStart])
        except FileNotFoundError as error:
            raise IdentityError(
                f"node {self.read_node().node} has started before, and its disk is empty now: "
                "remove that node from the cluster and let this one join anew, with another number"
            ) from error
        except msgspec.DecodeError as error:
            raise IdentityError(f"the note of the first start cannot be read: {error}") from error
        if version != 1:
            raise IdentityError(f"a note of the first start of version {version} is not known here")
        return first

    def forget_first_start(self) -> None:
        """The node's disk says whose it is, on stable storage."""
        if (self._folder / "first-start").exists():
            (self._folder / "first-start").unlink()
            self._sync()

    def write_book(self, book: TokenBook) -> None:
        """Keeps the tokens and the highest id given; on stable storage when it returns."""
        self._replace("book", book.encode())

    def read_book(self) -> TokenBook:
        """Raises FileNotFoundError on a node that lets nobody in, JoinRefused for damage."""
        return TokenBook.decode((self._folder / "book").read_bytes())

    def _replace(self, name: str, data: bytes) -> None:
        aside = self._folder / (name + ".new")
        aside.unlink(missing_ok=True)
        with os.fdopen(_create(aside), "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        aside.replace(self._folder / name)
        self._sync()

    def _sync(self) -> None:
        descriptor = os.open(self._folder, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


Note = Callable[[bytes], Awaitable[None]]
"""What is told a certificate (DER) before it is given away; raises IdentityError to keep it."""


async def _note_nothing(certificate: bytes) -> None:
    await trio.lowlevel.checkpoint()


class Rights(NamedTuple):
    """What certificates are issued by, and the roots that come with them."""

    authority: Authority
    trust: Trust


class JoinLedger(Protocol):
    """The cluster's book of tokens (`TokenBook`), replicated."""

    async def find(self, token_id: bytes) -> TokenRecord:
        """Raises JoinRefused."""
        ...

    async def admit(self, token_id: bytes) -> NodeId:
        """Spends a use and gives a new id, in one step. Raises JoinRefused."""
        ...


class JoinService:
    """Lets nodes in, on nodes that have the authority's key."""

    def __init__(
        self,
        authority: Authority,
        trust: Trust,
        *,
        cluster: str,
        ledger: JoinLedger,
        files: TlsFiles,
        clock: Clock,
        random: Random,
        tries_per_minute: int = 30,
        at_once: int = 8,
        note: Note | None = None,
    ) -> None:
        """`note` is told each certificate before the node is."""
        self.refused = 0
        self._note = note or _note_nothing
        self._authority = authority
        self._trust = trust
        self._cluster = cluster
        self._ledger = ledger
        self._clock = clock
        self._random = random
        self._tries = _Rate(tries_per_minute)
        self._places = at_once
        self._context = _open_context(files)
        self._server = pem_to_der(Path(files.certificate).read_bytes())

    async def serve(
        self, listeners: list[trio.SocketListener], *, talks: trio.Nursery | None = None
    ) -> None:
        """Answers nodes that join, until cancelled; those that are being answered then are cut,
        or end in the nursery `talks` within 10 seconds."""
        await trio.serve_listeners(self._take, listeners, handler_nursery=talks)

    async def _take(self, plain: trio.SocketStream) -> None:
        try:
            if self._places and self._tries.take(trio.current_time()):
                self._places -= 1
                try:
                    await self._talk(plain)
                finally:
                    self._places += 1
            else:
                self.refused += 1
        finally:
            await trio.aclose_forcefully(plain)

    async def _talk(self, plain: trio.SocketStream) -> None:
        stream = trio.SSLStream(plain, self._context, server_side=True, https_compatible=True)
        try:
            with trio.fail_after(_JOIN_S):
                try:
                    await stream.send_all(joining.encode(await self._let_in(stream)))
                except JoinRefused as error:
                    self.refused += 1
                    await stream.send_all(joining.encode(Refused(error.code, str(error))))
                await stream.aclose()
        except (OSError, trio.BrokenResourceError, trio.TooSlowError, ClusterError):
            self.refused += 1

    async def _let_in(self, stream: trio.abc.Stream) -> Granted:
        hello = await _receive(stream, JoinHello)
        joining.check_hello(hello)
        record = await self._ledger.find(hello.token_id)
        nonce = self._random.token_bytes(joining.NONCE_BYTES)
        roots = self._trust.roots
        await stream.send_all(joining.encode(Challenge(joining.VERSION, nonce, roots)))
        proof = await _receive(stream, Proof)
        exchange = Exchange(hello.token_id, hello.nonce, nonce, self._server)
        joining.check_proof(record, exchange, proof)
        node = await self._ledger.admit(hello.token_id)
        certificate = self._authority.issue(
            proof.request,
            cluster=self._cluster,
            node=node,
            now_ms=self._clock.now_ms(),
            random=self._random,
            disk=proof.disk_token,
        )
        await self._note(to_der(certificate))
        return Granted(joining.VERSION, self._cluster, node, to_der(certificate), roots)


class Joined(NamedTuple):
    """What a node has when it is in; `AuthorityFolder.write_node` keeps it."""

    granted: Granted
    key: NodeKey


async def join(token: JoinToken, *, disk_token: bytes, clock: Clock, random: Random) -> Joined:
    """Joins by a token through the first member that answers.

    Raises JoinRefused, IdentityError for a server that is not the cluster's, OSError or
    trio.BrokenResourceError when nobody answers, trio.TooSlowError.
    """
    node = joining.JoiningNode(token, random.token_bytes(joining.NONCE_BYTES))
    key = NodeKey.create()
    with trio.fail_after(_JOIN_S):
        plain = await dial(token.members)
        try:
            stream = trio.SSLStream(plain, _blind_context(), https_compatible=True)
            await stream.do_handshake()
            server = stream.getpeercert(binary_form=True)
            assert isinstance(server, bytes)
            await stream.send_all(node.hello())
            proof = node.prove(
                await _receive(stream, Challenge),
                server=server,
                request=key.request(),
                disk_token=disk_token,
                now_ms=clock.now_ms(),
            )
            await stream.send_all(proof)
            return Joined(node.accept(await _receive(stream, Granted)), key)
        finally:
            await trio.aclose_forcefully(plain)


class RenewalService:
    """Answers renewals over the peers' transport, on nodes that have the authority's key."""

    def __init__(
        self,
        rights: Callable[[], Awaitable[Rights]],
        *,
        cluster: str,
        handlers: Handlers,
        clock: Clock,
        random: Random,
        disk_of: Callable[[NodeId], bytes] = lambda _: b"",
        note: Note = _note_nothing,
    ) -> None:
        """`rights` gives the authority of now, or raises IdentityError on a node without its key;
        `disk_of` gives the token of a node's disk, which its certificate is bound to."""
        self._rights = rights
        self._note = note
        self._cluster = cluster
        self._clock = clock
        self._random = random
        self._disk_of = disk_of
        handlers.on_call(RENEW_METHOD, self.renew)

    async def renew(self, peer: NodeId, request: bytes) -> bytes:
        """A certificate for who asks, and for nobody else. Raises IdentityError."""
        rights = await self._rights()
        certificate = rights.authority.issue(
            request,
            cluster=self._cluster,
            node=peer,
            now_ms=self._clock.now_ms(),
            random=self._random,
            disk=self._disk_of(peer),
        )
        await self._note(to_der(certificate))
        return msgspec.msgpack.encode((1, to_der(certificate), rights.trust.roots))


class Renewal:
    """Keeps this node's certificate young: asks for another at two thirds of its life."""

    def __init__(
        self,
        folder: AuthorityFolder,
        *,
        peers: Peers,
        members: Callable[[], Sequence[NodeId]],
        clock: Clock,
        threads: Threads,
        renewed: Callable[[], Awaitable[None]],
        own: RenewalService | None = None,
        roots: Callable[[], tuple[bytes, ...]] = tuple,
    ) -> None:
        """`members` may have the key; `own` answers where this node has it. `roots` are those that
        this node trusts, if it does not take them from whoever renews."""
        self.failures = 0
        self._roots = roots
        self._turn = trio.Lock()
        self._own = own
        self._folder = folder
        self._peers = peers
        self._members = members
        self._clock = clock
        self._threads = threads
        self._renewed = renewed

    async def run(self) -> None:
        """Looks every hour, and sooner after a failure, until cancelled."""
        while True:
            before = self.failures
            has_failed = not await self.renew_if_due() and self.failures > before
            await trio.sleep(_RETRY_EVERY_S if has_failed else _RENEW_EVERY_S)

    async def renew_if_due(self) -> bool:
        """Whether there is a new certificate now; a failure is counted and tried again."""
        async with self._turn:
            mine = await self._threads.run(self._folder.read_node)
            return self._clock.now_ms() >= mine.renew_at_ms and await self._renew(mine)

    async def renew_of(self, issuer: str) -> bool:
        """The same where the certificate is of another authority than the named one."""
        async with self._turn:
            mine = await self._threads.run(self._folder.read_node)
            return mine.authority != issuer and await self._renew(mine)

    async def _renew(self, mine: PeerCertificate) -> bool:
        key = NodeKey.create()
        for member in self._members():
            try:
                answer = await self._ask(member, mine.node, key.request())
                certificate, roots = self._read(answer, mine)
            except (PeerError, IdentityError):
                self.failures += 1
                continue
            await self._threads.run(partial(self._folder.write_node, key, certificate, roots))
            await self._renewed()
            return True
        return False

    async def _ask(self, member: NodeId, mine: NodeId, request: bytes) -> bytes:
        if member == mine:
            if self._own is None:
                raise PeerUnreachable("this node has no authority's key")
            return await self._own.renew(mine, request)
        return await self._peers.call(member, RENEW_METHOD, request, timeout_s=_RENEW_TIMEOUT_S)

    def _read(self, answer: bytes, mine: PeerCertificate) -> tuple[bytes, tuple[bytes, ...]]:
        try:
            _, certificate, roots = msgspec.msgpack.decode(
                answer, type=tuple[int, bytes, tuple[bytes, ...]]
            )
        except msgspec.DecodeError as error:
            raise IdentityError(f"a renewal that cannot be read: {error}") from error
        trusted = self._roots() or roots
        said = Trust(trusted).check(certificate, now_ms=self._clock.now_ms())
        if (said.cluster, said.node) != (mine.cluster, mine.node):
            raise IdentityError(f"a renewal for node {said.node}")
        return certificate, trusted


class _Rate:
    """So many a minute, at most so many at once; time is trio's."""

    def __init__(self, per_minute: int) -> None:
        self._per_minute = per_minute
        self._left = float(per_minute)
        self._at = 0.0

    def take(self, now: float) -> bool:
        self._left += (now - self._at) * self._per_minute / 60
        self._left = min(self._left, float(self._per_minute))
        self._at = now
        if self._left < 1:
            return False
        self._left -= 1
        return True


async def _receive(stream: trio.abc.ReceiveStream, kind: type[M]) -> M:
    head = await _exactly(stream, joining.HEAD_BYTES)
    return joining.decode(head, await _exactly(stream, joining.body_length(head)), kind)


async def _exactly(stream: trio.abc.ReceiveStream, count: int) -> bytes:
    data = b""
    while len(data) < count:
        more = await stream.receive_some(count - len(data))
        if not more:
            raise BadFrame("the other side closed in the middle of joining")
        data += more
    return data


def _candidate_name(root: bytes) -> str:
    return f"authority-{root_name(root)}"


def _create(path: Path) -> int:
    return os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)


def _open_context(files: TlsFiles) -> ssl.SSLContext:
    """Shows the node's certificate and asks for none: who joins has none."""
    made = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    made.minimum_version = ssl.TLSVersion.TLSv1_3
    made.num_tickets = 0
    made.load_cert_chain(files.certificate, files.key)
    return made


def _blind_context() -> ssl.SSLContext:
    """Takes any certificate: `JoiningNode.prove` judges it before anything of worth is sent."""
    made = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    made.minimum_version = ssl.TLSVersion.TLSv1_3
    made.check_hostname = False
    made.verify_mode = ssl.CERT_NONE
    return made
