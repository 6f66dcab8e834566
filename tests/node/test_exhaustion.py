"""Many clients that hold much and move little: others go on, memory is bounded and comes back."""

import ssl
from collections.abc import Callable
from pathlib import Path

import pytest
import trio
import trustme
from held_node import (
    crowd,
    descriptors,
    gauges,
    head,
    resident_bytes,
    wait_for,
    wait_idle,
)

from rs3gwd.testing.http_client import Answer, HttpClient
from rs3gwd.testing.node_process import NodeProcess

Start = Callable[..., NodeProcess]

pytestmark = pytest.mark.long
"""Crowds of clients and bounds on memory: a loaded machine makes them slow and the bounds loose."""

MIB = 1 << 20


async def make_bucket(node: NodeProcess, **objects: bytes) -> None:
    """A bucket called `bucket` with these objects."""
    async with HttpClient(node.port) as client:
        assert (await client.request("PUT", b"/bucket")).status == 200
        for key, body in objects.items():
            path = f"/bucket/{key}".encode()
            assert (await client.request("PUT", path, body=body)).status == 200


async def work(node: NodeProcess, rounds: int) -> list[Answer]:
    """What an ordinary client does, small and large."""
    answers = []
    async with HttpClient(node.port) as client:
        for number in range(rounds):
            path = f"/bucket/work-{number}".encode()
            body = b"w" * (2 * MIB if number % 10 == 0 else 5000)
            answers.append(await client.request("PUT", path, body=body))
            answers.append(await client.request("GET", path))
            assert answers[-1].body == body
            answers.append(await client.request("GET", b"/bucket", [("list-type", "2")]))
            answers.append(await client.request("DELETE", path))
    return answers


async def test_crowds_of_slow_clients_do_not_keep_others_out(start_node: Start) -> None:
    """2,000 idle connections and 500 each of slow heads, bodies and readers: work is done as ever.

    The slow bodies announce 100 MiB each, the slow readers ask for 8 MiB each and take none.
    """
    node = start_node()
    await make_bucket(node, big=b"b" * (8 * MIB))
    descriptors_before, resident_before = descriptors(node), resident_bytes(node)
    reading = head(node, "GET", "/bucket/big")
    uploading = head(node, "PUT", "/bucket/slow", content_length=str(100 * MIB)) + b"s" * 1000
    async with crowd(node) as people:
        await people.join(2000, lambda _: b"")
        await people.join(500, lambda _: b"GET /bucket/x HTTP/1.1\r\nHost: a\r\nX-Slow: ")
        await people.join(500, lambda _: uploading)
        await people.join(500, lambda _: reading)

        async def are_all_in() -> bool:
            return (await gauges(node))["rs3gw_requests_in_flight"] == 1000

        await wait_for(are_all_in, "the node did not take all the slow requests")
        answers = await work(node, 20)
        assert {answer.status for answer in answers} == {200, 204}
        assert (await gauges(node))["rs3gw_requests_refused_total"] == 0
        assert resident_bytes(node) - resident_before < 400 * MIB
    await wait_idle(node, descriptors_max=descriptors_before + 8)


async def test_requests_beyond_the_bound_get_503_at_once_and_then_it_is_over(
    start_node: Start,
) -> None:
    """max_concurrent_requests: SlowDown with Retry-After; health answers; no restart is needed."""
    node = start_node(environ={"RS3GW_WORKERS": "0", "RS3GW_MAX_CONCURRENT": "8"})
    await make_bucket(node)
    uploading = head(node, "PUT", "/bucket/slow", content_length="1000") + b"s"
    async with crowd(node) as people, HttpClient(node.port) as client:
        await people.join(8, lambda _: uploading)

        async def is_full() -> bool:
            answer = await client.request("GET", b"/bucket")
            return answer.status == 503

        await wait_for(is_full, "the bound was not reached")
        for method, path, body in (
            ("GET", b"/bucket", b""),
            ("PUT", b"/bucket/k", b"x" * 100_000),
            ("DELETE", b"/bucket/k", b""),
        ):
            answer = await client.request(method, path, body=body)
            assert answer.status == 503
            assert answer.headers["retry-after"] == "1"
            assert b"<Code>SlowDown</Code>" in answer.body
        assert (await gauges(node))["rs3gw_requests_in_flight"] == 8
        await people.leave(4)

        async def is_well() -> bool:
            return (await client.request("GET", b"/bucket")).status == 200

        await wait_for(is_well, "the node did not recover")


async def test_buffered_bytes_beyond_the_bound_get_503_at_once_and_then_it_is_over(
    start_node: Start,
) -> None:
    """buffered_bytes_max: slow readers fill it, new requests are told so, and it empties again."""
    node = start_node(environ={"RS3GW_WORKERS": "0", "RS3GW_BUFFERED_BYTES_MAX": str(16 * MIB)})
    await make_bucket(node, big=b"b" * (8 * MIB))
    resident_before = resident_bytes(node)
    reading = head(node, "GET", "/bucket/big")
    async with crowd(node) as people, HttpClient(node.port) as client:

        async def is_full() -> bool:
            await people.join(10, lambda _: reading)
            answer = await client.request("GET", b"/bucket")
            return answer.status == 503 and answer.headers["retry-after"] == "1"

        await wait_for(is_full, "the bound was not reached")
        assert resident_bytes(node) - resident_before < 100 * MIB
        await people.leave()

        async def is_well() -> bool:
            return (await client.request("GET", b"/bucket")).status == 200

        await wait_for(is_well, "the node did not recover")


async def test_a_pipelining_flood_is_answered_in_its_turn(start_node: Start) -> None:
    """Thousands of requests on one connection whose answers nobody takes: bounded, and no harm."""
    node = start_node()
    await make_bucket(node)
    descriptors_before, resident_before = descriptors(node), resident_bytes(node)
    flood = head(node, "GET", "/bucket/missing") * 4000
    async with crowd(node) as people:
        for _ in range(20):
            await people.join(1, lambda _: b"")

        async def push(number: int) -> None:
            with trio.move_on_after(2):
                await people.streams[number].send_all(flood)

        async with trio.open_nursery() as nursery:
            for number in range(20):
                nursery.start_soon(push, number)
            answers = await work(node, 10)
            nursery.cancel_scope.cancel()
        assert {answer.status for answer in answers} == {200, 204}
        assert resident_bytes(node) - resident_before < 100 * MIB
    await wait_idle(node, descriptors_max=descriptors_before + 8)


async def test_the_memory_of_documents_is_bounded(start_node: Start) -> None:
    """A hundred clients that send almost all of a large document: the pool ends before memory, and
    it is the large documents that are refused."""
    node = start_node(environ={"RS3GW_WORKERS": "0", "RS3GW_BUFFERED_BYTES_MAX": str(32 * MIB)})
    await make_bucket(node)
    resident_before = resident_bytes(node)
    md5 = "1B2M2Y8AsgTpgAmY7PhCfg=="
    deleting = head(
        node, "POST", "/bucket?delete=", content_md5=md5, content_length=str(2 * MIB - 1)
    )
    async with crowd(node) as people:
        await people.join(100, lambda _: deleting)

        async def push(stream: trio.SocketStream) -> None:
            with trio.move_on_after(10):
                try:
                    await stream.send_all(b" " * (2 * MIB - 2))
                except trio.BrokenResourceError:
                    return

        async with trio.open_nursery() as nursery:
            for stream in people.streams:
                nursery.start_soon(push, stream)

        async def are_most_refused() -> bool:
            return (await gauges(node))["rs3gw_requests_in_flight"] <= 20

        await wait_for(are_most_refused, "more documents are held than there is room for")
        answers = await work(node, 10)
        assert {answer.status for answer in answers} == {200, 204}
        assert resident_bytes(node) - resident_before < 200 * MIB
    await wait_idle(node, descriptors_max=40)


@pytest.mark.parametrize("soft_limit", [256])
async def test_the_node_takes_all_the_descriptors_it_may_have(
    start_node: Start, soft_limit: int
) -> None:
    """A low soft limit, which most systems begin with, is raised to the hard one."""
    raising = ("sh", "-c", f'ulimit -S -n {soft_limit}; exec "$@"', "sh")
    node = start_node(prefix=raising)
    await make_bucket(node)
    async with crowd(node) as people:
        await people.join(soft_limit + 50, lambda _: b"")
        assert {answer.status for answer in await work(node, 1)} == {200, 204}
        assert descriptors(node) > soft_limit + 50


async def test_silent_tls_clients_do_not_keep_others_out(start_node: Start, tmp_path: Path) -> None:
    """Handshakes that never come are bounded in number and time; a real one is done meanwhile."""
    authority = trustme.CA()
    issued = authority.issue_cert("localhost", "127.0.0.1")
    certificate, key = tmp_path / "cert.pem", tmp_path / "key.pem"
    certificate.write_bytes(b"".join(blob.bytes() for blob in issued.cert_chain_pems))
    issued.private_key_pem.write_to_path(key)
    node = start_node(certificate=certificate, key=key)
    context = ssl.create_default_context()
    authority.configure_trust(context)
    before = descriptors(node)
    async with crowd(node) as people:
        await people.join(300, lambda _: b"")
        await people.join(300, lambda _: b"\x16\x03\x01\x02\x00\x01")
        await people.join(100, lambda _: b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
        plain = await trio.open_tcp_stream("127.0.0.1", node.port)
        async with trio.SSLStream(
            plain, context, server_hostname="localhost", https_compatible=True
        ) as stream:
            await stream.send_all(b"GET /health/ready HTTP/1.1\r\nHost: localhost\r\n\r\n")
            assert (await stream.receive_some(4096)).startswith(b"HTTP/1.1 200 ")

    async def are_gone() -> bool:
        return descriptors(node) <= before + 4

    await wait_for(are_gone, "descriptors of silent TLS clients are kept")


@pytest.mark.long
async def test_ten_thousand_open_uploads_do_no_harm(start_node: Start) -> None:
    """They cost disk and no memory; listing pages through them; others go on."""
    node = start_node()
    await make_bucket(node)
    resident_before = resident_bytes(node)

    async def open_uploads(first: int) -> None:
        async with HttpClient(node.port) as client:
            for number in range(first, first + 500):
                path = f"/bucket/upload-{number:05}".encode()
                answer = await client.request("POST", path, [("uploads", "")])
                assert answer.status == 200

    async with trio.open_nursery() as nursery:
        for first in range(0, 10_000, 500):
            nursery.start_soon(open_uploads, first)
    assert {answer.status for answer in await work(node, 10)} == {200, 204}
    assert resident_bytes(node) - resident_before < 100 * MIB
    count, marker = 0, ""
    async with HttpClient(node.port) as client:
        while True:
            query = [("uploads", ""), ("key-marker", marker)]
            page = (await client.request("GET", b"/bucket", query)).body.decode()
            count += page.count("<Upload>")
            if "<IsTruncated>true" not in page:
                break
            marker = page.partition("<NextKeyMarker>")[2].partition("<")[0]
    assert count == 10_000
