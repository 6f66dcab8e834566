"""Joining, refusing and renewing over real sockets and files."""

import ssl
import stat
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import trio
from transport_world import CLUSTER, NOW_MS, SeededRandom, der_of, new_authority, write_files

from cluster.authority.certificates import (
    Authority,
    NodeKey,
    Trust,
    fingerprint,
    read_certificate,
    to_der,
)
from cluster.authority.tokens import JoinToken, TokenBook, TokenRecord, new_token, read_token
from cluster.base.errors import IdentityError, JoinRefused
from cluster.base.ports import OnCall, T
from cluster.drivers.authority import (
    RENEW_METHOD,
    AuthorityFolder,
    Begins,
    FirstStart,
    JoinService,
    Renewal,
    RenewalService,
    Rights,
    join,
)
from cluster.drivers.transport_network import context

DAY_MS = 86_400_000
DISK = b"token of a disk."


class FixedClock:
    """The port Clock, standing still."""

    def __init__(self, now_ms: int = NOW_MS) -> None:
        self.at_ms = now_ms

    def now_ms(self) -> int:
        """Milliseconds."""
        return self.at_ms

    def monotonic(self) -> float:
        """Seconds."""
        return self.at_ms / 1000


class BookLedger:
    """The ledger of one process."""

    def __init__(self, book: TokenBook, clock: FixedClock) -> None:
        self.book = book
        self.clock = clock

    async def find(self, token_id: bytes) -> TokenRecord:
        """Raises JoinRefused."""
        return self.book.find(token_id, now_ms=self.clock.now_ms())

    async def admit(self, token_id: bytes) -> int:
        """Raises JoinRefused."""
        self.book, node = self.book.admit(token_id, now_ms=self.clock.now_ms())
        return node


class JoinWorld:
    """A member, node 1, that lets others in."""

    def __init__(self, folder: Path, *, uses: int = 1, tries_per_minute: int = 30) -> None:
        self.authority = new_authority()
        self.clock = FixedClock()
        self.ledger = BookLedger(TokenBook(node_highest=1), self.clock)
        self.uses = uses
        self.service = JoinService(
            self.authority,
            Trust((der_of(self.authority),)),
            cluster=CLUSTER,
            ledger=self.ledger,
            files=write_files(folder, self.authority, 1),
            clock=self.clock,
            random=SeededRandom(3),
            tries_per_minute=tries_per_minute,
        )

    @asynccontextmanager
    async def running(self) -> AsyncIterator[JoinToken]:
        """It answers; gives a token for it."""
        listeners = await trio.open_tcp_listeners(0, host="127.0.0.1")
        pin = fingerprint(der_of(self.authority))
        address = listeners[0].socket.getsockname()
        token = new_token(CLUSTER, pin, (address,), SeededRandom(4))
        self.ledger.book = self.ledger.book.with_token(
            token, uses=self.uses, expires_ms=NOW_MS + DAY_MS, now_ms=NOW_MS
        )
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self.service.serve, listeners)
            yield read_token(token.text())
            nursery.cancel_scope.cancel()


async def test_a_token_lets_one_node_in_once(tmp_path: Path) -> None:
    """The node gets a fresh id and a certificate on its key; the used-up token opens nothing."""
    world = JoinWorld(tmp_path)
    async with world.running() as token:
        joined = await join(token, disk_token=DISK, clock=world.clock, random=SeededRandom(5))
        said = Trust(joined.granted.roots).check(joined.granted.certificate, now_ms=NOW_MS)
        assert (said.cluster, said.node, joined.granted.node) == (CLUSTER, 2, 2)
        said.check_disk(DISK + b"what is drawn at the first start")
        with pytest.raises(IdentityError, match="another disk"):
            said.check_disk(b"x" * 32)
        with pytest.raises(JoinRefused, match="used up"):
            await join(token, disk_token=DISK, clock=world.clock, random=SeededRandom(5))


async def test_a_counted_token_gives_each_node_an_id_of_its_own(tmp_path: Path) -> None:
    """A token for two lets two in."""
    world = JoinWorld(tmp_path, uses=2)
    async with world.running() as token:
        nodes = [
            (await join(token, disk_token=DISK, clock=world.clock, random=SeededRandom(n)))
            for n in (5, 6)
        ]
    assert [joined.granted.node for joined in nodes] == [2, 3]


async def test_an_expired_token_is_refused(tmp_path: Path) -> None:
    """A token is worth nothing after its time."""
    world = JoinWorld(tmp_path)
    async with world.running() as token:
        world.clock.at_ms = NOW_MS + DAY_MS
        with pytest.raises(JoinRefused, match="expired"):
            await join(token, disk_token=DISK, clock=FixedClock(), random=SeededRandom(5))


async def test_a_wrong_secret_spends_no_use(tmp_path: Path) -> None:
    """Who knows a token's id and not its secret is refused, and the token stays good."""
    world = JoinWorld(tmp_path)
    async with world.running() as token:
        wrong = JoinToken(token.cluster, token.id, token.authority, bytes(32), token.members)
        with pytest.raises(JoinRefused):
            await join(wrong, disk_token=DISK, clock=world.clock, random=SeededRandom(5))
        await join(token, disk_token=DISK, clock=world.clock, random=SeededRandom(5))


async def test_a_server_of_another_authority_gets_no_proof(tmp_path: Path) -> None:
    """A token pins the authority: in front of any other the node stops before its proof."""
    world = JoinWorld(tmp_path)
    async with world.running() as token:
        pinned = JoinToken(token.cluster, token.id, bytes(32), token.secret, token.members)
        with pytest.raises(IdentityError, match="authority"):
            await join(pinned, disk_token=DISK, clock=world.clock, random=SeededRandom(5))
    assert world.ledger.book.node_highest == 1


async def test_too_many_tries_are_turned_away(tmp_path: Path) -> None:
    """Beyond the rate connections are closed unheard."""
    world = JoinWorld(tmp_path, tries_per_minute=1, uses=2)
    async with world.running() as token:
        await join(token, disk_token=DISK, clock=world.clock, random=SeededRandom(5))
        with pytest.raises((OSError, trio.BrokenResourceError)):
            await join(token, disk_token=DISK, clock=world.clock, random=SeededRandom(6))
    assert world.service.refused == 1


def test_keys_are_for_the_owner_alone_and_an_authority_is_kept_once(tmp_path: Path) -> None:
    """Key files have mode 0600; a second authority does not replace the first."""
    folder = AuthorityFolder(tmp_path / "authority")
    authority, key = new_authority(), NodeKey.create()
    folder.write_authority(authority, b"password")
    certificate = to_der(
        authority.issue(
            key.request(), cluster=CLUSTER, node=1, now_ms=NOW_MS, random=SeededRandom()
        )
    )
    folder.write_node(key, certificate, (der_of(authority),))
    for name in ("authority.key", "node.pem"):
        assert stat.S_IMODE((tmp_path / "authority" / name).stat().st_mode) == 0o600
    with pytest.raises(FileExistsError):
        folder.write_authority(new_authority(seed=8))
    assert folder.read_authority(b"password").certificate == authority.certificate
    with pytest.raises(IdentityError):
        folder.read_authority(b"wrong")
    assert folder.read_node().node == 1
    assert context(folder.tls(), server=True).verify_mode is ssl.CERT_REQUIRED


class LoopPeers:
    """Handlers and Peers of one process: every call is answered as if node 2 had made it."""

    def __init__(self) -> None:
        self.calls: dict[str, OnCall] = {}

    def on_call(self, method: str, handler: OnCall) -> None:
        """Registers."""
        self.calls[method] = handler

    async def call(self, to: int, method: str, payload: bytes, *, timeout_s: float) -> bytes:
        """Asks."""
        return await self.calls[method](2, payload)


def rights_of(authority: Authority) -> Callable[[], Awaitable[Rights]]:
    """Those of one authority, for ever."""

    async def rights() -> Rights:
        return Rights(authority, Trust((der_of(authority),)))

    return rights


class NoThreads:
    """The port Threads, at once."""

    async def run(self, function: Callable[[], T]) -> T:
        """Runs it here."""
        return function()


async def test_a_certificate_is_renewed_at_two_thirds_of_its_life(tmp_path: Path) -> None:
    """Before 60 of 90 days nothing happens; then there is a new one, for the same node."""
    authority, clock, peers = new_authority(), FixedClock(), LoopPeers()
    write_files(tmp_path, authority, 2)
    renewed: list[int] = []
    folder = AuthorityFolder(tmp_path)

    async def note() -> None:
        renewed.append(clock.at_ms)

    RenewalService(
        rights_of(authority),
        cluster=CLUSTER,
        handlers=peers,  # type: ignore[arg-type]
        clock=clock,
        random=SeededRandom(50),
    )
    renewal = Renewal(
        folder,
        peers=peers,  # type: ignore[arg-type]
        members=lambda: [1],
        clock=clock,
        threads=NoThreads(),
        renewed=note,
    )
    clock.at_ms += 59 * DAY_MS
    assert not await renewal.renew_if_due()
    before = folder.read_node()
    clock.at_ms += DAY_MS
    assert await renewal.renew_if_due()
    after = folder.read_node()
    assert (after.node, renewed) == (2, [clock.at_ms])
    assert after.serial != before.serial
    assert after.not_after_ms == before.not_after_ms + 60 * DAY_MS


async def test_a_renewal_is_for_who_asks_and_nobody_else() -> None:
    """The id in a renewed certificate is that of the connection, whatever the request says."""
    authority, peers = new_authority(), LoopPeers()
    RenewalService(
        rights_of(authority),
        cluster=CLUSTER,
        handlers=peers,  # type: ignore[arg-type]
        clock=FixedClock(),
        random=SeededRandom(),
    )
    answer = await peers.calls[RENEW_METHOD](5, NodeKey.create().request())
    start = answer.index(b"\x30\x82")
    length = int.from_bytes(answer[start + 2 : start + 4]) + 4
    assert read_certificate(answer[start : start + length]).node == 5


def test_a_first_start_is_noted_once_and_then_refused(tmp_path: Path) -> None:
    """The note is there until it is forgotten; without it an empty disk may not start."""
    write_files(tmp_path, new_authority(), 3)
    folder, first = AuthorityFolder(tmp_path), FirstStart(Begins.JOINS, DISK)
    folder.write_first_start(first)
    assert folder.read_first_start() == first
    folder.forget_first_start()
    folder.forget_first_start()
    with pytest.raises(IdentityError, match="node 3 has started before"):
        folder.read_first_start()
    for damage in (b"", b"\x92\x02\x92\xa5seeds\xc4\x01x"):
        (tmp_path / "first-start").write_bytes(damage)
        with pytest.raises(IdentityError):
            folder.read_first_start()


async def test_the_node_with_the_key_renews_its_own_and_keeps_the_binding(tmp_path: Path) -> None:
    """It asks nobody, and the new certificate is bound to the same disk."""
    authority, clock, peers = new_authority(), FixedClock(), LoopPeers()
    write_files(tmp_path, authority, 1)
    folder = AuthorityFolder(tmp_path)
    assert folder.read_roots() == (der_of(authority),)
    assert not folder.has_authority()
    folder.write_authority(authority)
    assert folder.has_authority()
    service = RenewalService(
        rights_of(authority),
        cluster=CLUSTER,
        handlers=peers,  # type: ignore[arg-type]
        clock=clock,
        random=SeededRandom(50),
        disk_of={1: DISK}.__getitem__,
    )

    def renewal(own: RenewalService | None) -> Renewal:
        return Renewal(
            folder,
            peers=None,  # type: ignore[arg-type]
            members=lambda: (1,),
            clock=clock,
            threads=NoThreads(),
            renewed=trio.lowlevel.checkpoint,
            own=own,
        )

    clock.at_ms += 61 * DAY_MS
    without = renewal(None)
    assert not await without.renew_if_due()
    assert without.failures == 1
    assert await renewal(service).renew_if_due()
    folder.read_node().check_disk(DISK + b"more")
    with pytest.raises(IdentityError):
        folder.read_node().check_disk(b"another disk....")
