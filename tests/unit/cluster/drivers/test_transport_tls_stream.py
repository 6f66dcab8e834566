"""TLS on a socket: what is sent without waiting, and what a receive brings."""

import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import trio
import trio.testing
from transport_world import new_authority, write_files

from cluster.authority.certificates import read_certificate
from cluster.drivers.transport_network import context
from cluster.drivers.transport_tls import TlsStream

PIECE = bytes(range(250)) * 400


@asynccontextmanager
async def two_ends(folder: Path) -> AsyncIterator[tuple[TlsStream, TlsStream]]:
    """Node 1's end, which dialled, and node 2's, behind the handshake."""
    authority = new_authority()
    files = [write_files(folder / str(node), authority, node) for node in (1, 2)]
    near, far = trio.socket.socketpair()
    one = TlsStream(trio.SocketStream(near), context(files[0], server=False), server_side=False)
    two = TlsStream(trio.SocketStream(far), context(files[1], server=True), server_side=True)
    try:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(one.do_handshake)
            nursery.start_soon(two.do_handshake)
        yield one, two
    finally:
        await trio.aclose_forcefully(one)
        await trio.aclose_forcefully(two)


async def test_both_ends_prove_who_they_are(tmp_path: Path) -> None:
    """Behind the handshake each end has the other's certificate, over TLS 1.3."""
    async with two_ends(tmp_path) as (one, two):
        seen = [read_certificate(end.certificate() or b"").node for end in (one, two)]
        assert seen == [2, 1]
        assert one.version() == two.version() == "TLSv1.3"


async def test_one_receive_brings_all_that_was_sent(tmp_path: Path) -> None:
    """Many records that have arrived come out together, up to what was asked for."""
    async with two_ends(tmp_path) as (one, two):
        assert all(one.send_now(b"%04d" % number) for number in range(100))
        assert not one.unsent
        sent = b"".join(b"%04d" % number for number in range(100))
        assert await two.receive_some(10) == sent[:10]
        assert await two.receive_some() == sent[10:]


async def test_what_the_kernel_takes_not_waits_and_is_not_overtaken(tmp_path: Path) -> None:
    """With a full socket the rest of a piece is kept, further pieces are refused until it has
    left, and all arrive in their order."""
    async with two_ends(tmp_path) as (one, two):
        sent = 0
        while not one.unsent:
            assert one.send_now(PIECE)
            sent += 1
        assert not one.send_now(b"never")
        received = bytearray()

        async def receive() -> None:
            while len(received) < sent * len(PIECE) + 4:
                received.extend(await two.receive_some())

        async with trio.open_nursery() as nursery:
            nursery.start_soon(receive)
            await one.send_all(b"")
            assert not one.unsent
            assert one.send_now(b"last")
        assert bytes(received) == PIECE * sent + b"last"


async def test_nothing_is_sent_in_between_a_send_that_waits(tmp_path: Path) -> None:
    """While `send_all` waits for the kernel `send_now` is refused."""
    async with two_ends(tmp_path) as (one, two):
        large = PIECE * 100
        received = bytearray()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(one.send_all, large)
            await trio.testing.wait_all_tasks_blocked()
            assert not one.send_now(b"never")
            while len(received) < len(large):
                received.extend(await two.receive_some())
        assert bytes(received) == large


async def test_the_end_of_the_peer_is_the_end(tmp_path: Path) -> None:
    """What came before the peer closed is received, then nothing; sending ends with an error."""
    async with two_ends(tmp_path) as (one, two):
        assert two.send_now(b"bye")
        await two.aclose()
        assert await one.receive_some() == b"bye"
        assert await one.receive_some() == b""
        assert await one.receive_some() == b""
        assert not one.send_now(b"nobody hears")
        with pytest.raises(trio.BrokenResourceError):
            await one.send_all(b"nobody hears")


async def test_bytes_that_are_not_tls_break_the_connection(tmp_path: Path) -> None:
    """Neither in the handshake nor behind it is anything taken that TLS does not vouch for."""
    async with two_ends(tmp_path) as (one, two):
        two._socket.send(b"\x17\x03\x03\x00\x20" + bytes(32))
        with pytest.raises(trio.BrokenResourceError):
            await one.receive_some()
    near, far = trio.socket.socketpair()
    made = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    stream = TlsStream(trio.SocketStream(near), made, server_side=True)
    with far:
        await far.send(b"GET / HTTP/1.1\r\n\r\n")
        with pytest.raises(trio.BrokenResourceError):
            await stream.do_handshake()
    await stream.aclose()


async def test_a_closed_stream_says_so(tmp_path: Path) -> None:
    """Whoever waits in it when it is closed, or comes later, gets ClosedResourceError."""
    async with two_ends(tmp_path) as (one, _):
        async with trio.open_nursery() as nursery:

            async def wait() -> None:
                with pytest.raises(trio.ClosedResourceError):
                    await one.receive_some()

            nursery.start_soon(wait)
            await trio.testing.wait_all_tasks_blocked()
            await one.aclose()
        with pytest.raises(trio.ClosedResourceError):
            await one.receive_some()
        await one.aclose()
