"""Transports on loopback sockets with real certificates: who is let in and who is not."""

import socket
import ssl
import struct
from pathlib import Path

import pytest
import trio
import trio.testing
from transport_world import (
    CLUSTER,
    NOW_MS,
    TlsNode,
    new_authority,
    wait_up,
    write_files,
)

from cluster.authority.certificates import read_certificate
from cluster.base.errors import PeerUnreachable
from cluster.base.ports import PeerStream
from cluster.drivers.transport_network import TlsFiles, context
from cluster.drivers.transport_settings import Lane
from cluster.drivers.transport_tls import TlsStream

DAY_MS = 86_400_000


def pair(one: TlsFiles, two: TlsFiles) -> tuple[TlsNode, TlsNode]:
    """Nodes 1 and 2 that know each other's address."""
    book: dict[int, tuple[str, int]] = {}
    return TlsNode(1, one, book), TlsNode(2, two, book)


async def assert_refused(one: TlsNode, two: TlsNode) -> None:
    """Node 1 cannot ask node 2 anything."""
    async with two.running(), one.running() as asking:
        with pytest.raises(PeerUnreachable):
            await asking.call(2, "who", b"", timeout_s=5)


async def read_first(stream: "trio.SSLStream[trio.SocketStream]") -> bytes:
    """What comes first; in TLS 1.3 a client hears only here that it was refused."""
    await stream.do_handshake()
    return await stream.receive_some()


async def test_nodes_of_one_authority_talk(tmp_path: Path) -> None:
    """Calls and streams go over mutual TLS 1.3 to the node that was meant."""
    authority = new_authority()
    one, two = pair(
        write_files(tmp_path / "1", authority, 1), write_files(tmp_path / "2", authority, 2)
    )
    async with two.running(), one.running() as asking:
        assert await asking.call(2, "who", b"", timeout_s=5) == b"2 asked by 1"
        link = asking.links()[0]
        assert isinstance(link._stream, TlsStream)
        assert link._stream.version() == "TLSv1.3"


async def test_bulk_goes_over_tls_whole(tmp_path: Path) -> None:
    """Three megabytes arrive as they were sent."""
    authority = new_authority()
    one, two = pair(
        write_files(tmp_path / "1", authority, 1), write_files(tmp_path / "2", authority, 2)
    )
    got = bytearray()
    ended = trio.Event()

    async def keep(peer: int, header: bytes, stream: PeerStream) -> None:
        while data := await stream.receive():
            got.extend(data)
        ended.set()

    body = bytes(range(251)) * 12_000
    async with two.running() as serving, one.running() as asking:
        serving._answers.streams["keep"] = keep
        await wait_up(asking, 2, Lane.BULK)
        async with asking.open(2, "keep", b"") as stream:
            await stream.send(body)
        await ended.wait()
    assert bytes(got) == body


async def test_a_certificate_of_another_authority_is_refused(tmp_path: Path) -> None:
    """Another root, even of the same name, opens nothing."""
    ours, theirs = new_authority(), new_authority(seed=8)
    await assert_refused(
        *pair(
            write_files(tmp_path / "1", theirs, 1, roots=ours.certificate_pem()),
            write_files(tmp_path / "2", ours, 2),
        )
    )


async def test_an_expired_certificate_is_refused(tmp_path: Path) -> None:
    """91 days after it was made a node's certificate is worth nothing."""
    authority = new_authority(now_ms=NOW_MS - 200 * DAY_MS)
    await assert_refused(
        *pair(
            write_files(tmp_path / "1", authority, 1, now_ms=NOW_MS - 91 * DAY_MS),
            write_files(tmp_path / "2", authority, 2),
        )
    )


async def test_a_node_with_anothers_certificate_is_refused(tmp_path: Path) -> None:
    """Who says to be node 1 and proves to be node 3 is not let in."""
    authority = new_authority()
    await assert_refused(
        *pair(write_files(tmp_path / "1", authority, 3), write_files(tmp_path / "2", authority, 2))
    )


async def test_who_answers_must_be_whom_was_dialled(tmp_path: Path) -> None:
    """A node behind another's address gets no calls that were meant for the other."""
    authority = new_authority()
    await assert_refused(
        *pair(write_files(tmp_path / "1", authority, 1), write_files(tmp_path / "2", authority, 4))
    )


async def test_a_node_of_another_cluster_is_refused(tmp_path: Path) -> None:
    """The cluster's id is in the certificate and must be ours."""
    authority = new_authority()
    await assert_refused(
        *pair(
            write_files(tmp_path / "1", authority, 1, cluster=CLUSTER + "x"),
            write_files(tmp_path / "2", authority, 2),
        )
    )


@pytest.mark.parametrize("fault", ["tls12", "nobody", "plain"])
async def test_other_protocols_are_refused(tmp_path: Path, fault: str) -> None:
    """TLS 1.2, a client without a certificate, and bare bytes get nothing but a closed socket."""
    authority = new_authority()
    files = write_files(tmp_path / "2", authority, 2)
    two = TlsNode(2, files, {})
    client = context(files, server=False)
    if fault == "tls12":
        client.minimum_version = client.maximum_version = ssl.TLSVersion.TLSv1_2
    if fault == "nobody":
        client = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        client.check_hostname = False
        client.load_verify_locations(cafile=files.roots)
    async with two.running():
        plain = await trio.open_tcp_stream(*two.book[2])
        if fault == "plain":
            await plain.send_all(b"GET / HTTP/1.1\r\n\r\n" * 10)
            with trio.fail_after(10):
                while await plain.receive_some():
                    pass
        else:
            stream = trio.SSLStream(plain, client)
            with pytest.raises(trio.BrokenResourceError), trio.fail_after(10):
                await read_first(stream)
        assert two.transport.links() == []


async def test_renewed_files_count_from_the_next_handshake(tmp_path: Path) -> None:
    """After a change of the authority with both roots trusted, old and new nodes talk."""
    old, new = new_authority(), new_authority(seed=9)
    both = new.certificate_pem() + old.certificate_pem()
    one, two = pair(
        write_files(tmp_path / "1", old, 1, roots=both),
        write_files(tmp_path / "2", old, 2, roots=both),
    )
    async with two.running(), one.running() as asking:
        await wait_up(asking, 2)
        write_files(tmp_path / "2", new, 2, roots=both)
        two.network.reload()
        plain = await trio.open_tcp_stream(*two.book[2])
        stream = trio.SSLStream(plain, context(one.files, server=False))
        await stream.do_handshake()
        der = stream.getpeercert(binary_form=True)
        assert isinstance(der, bytes)
        assert read_certificate(der).node == 2
        assert ssl.DER_cert_to_PEM_cert(der) == await trio.Path(two.files.certificate).read_text()
        await stream.aclose()
        assert await asking.call(2, "who", b"", timeout_s=5) == b"2 asked by 1"


async def test_a_reset_connection_is_dialled_again(tmp_path: Path) -> None:
    """A connection that the peer's kernel resets comes back by itself."""
    authority = new_authority()
    one, two = pair(
        write_files(tmp_path / "1", authority, 1), write_files(tmp_path / "2", authority, 2)
    )
    async with two.running() as serving, one.running() as asking:
        await asking.call(2, "who", b"", timeout_s=5)
        sock = serving.links()[0]._stream._socket  # type: ignore[attr-defined]
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        serving.links()[0].close()
        with trio.fail_after(10):
            await asking.links()[0].wait_ended()
            await trio.testing.wait_all_tasks_blocked(0.01)
            await wait_up(asking, 2)
        assert await asking.call(2, "who", b"", timeout_s=5) == b"2 asked by 1"
