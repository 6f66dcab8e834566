"""Whatever clients break off, the node ends with the descriptors and figures that it began with."""

from collections.abc import Awaitable, Callable
from random import Random

import h2.config
import h2.connection
import pytest
import trio
from held_node import descriptors, gauges, head, resident_bytes, wait_idle
from hostile_requests import BUCKET, altered, make_request, signed

from rs3gwd.testing.http_client import HttpClient
from rs3gwd.testing.node_process import NodeProcess

Start = Callable[..., NodeProcess]
Attack = Callable[[NodeProcess, Random], Awaitable[None]]

MIB = 1 << 20
PATIENCE_SECONDS = 0.2
"""For an answer that may never come: half a request is waited for."""


async def prepare(node: NodeProcess) -> None:
    """A bucket with an object of 4 MiB, and every part of the node used once."""
    async with HttpClient(node.port) as client:
        assert (await client.request("PUT", b"/bucket")).status == 200
        for _ in range(2):
            answer = await client.request("PUT", b"/bucket/big", body=b"b" * (4 * MIB))
            assert answer.status == 200
            assert (await client.request("GET", b"/bucket/big")).status == 200


async def repeat(node: NodeProcess, attack: Attack, times: int, *, seed: int) -> None:
    """Many attacks, eight at once, and then silence."""
    await prepare(node)
    await attack(node, Random(seed))
    await wait_idle(node, descriptors_max=descriptors(node))
    before = descriptors(node)
    failures = (await gauges(node))["rs3gw_failures_total"]
    turns = trio.CapacityLimiter(8)

    async def one(number: int) -> None:
        async with turns:
            await attack(node, Random(seed * 1000 + number))

    async with trio.open_nursery() as nursery:
        for number in range(times):
            nursery.start_soon(one, number)
    await wait_idle(node, descriptors_max=before)
    assert (await gauges(node))["rs3gw_failures_total"] == failures
    async with HttpClient(node.port) as client:
        assert (await client.request("GET", b"/bucket/big")).body == b"b" * (4 * MIB)


async def send_and_go(node: NodeProcess, data: bytes, *, answer_bytes: int = 0) -> None:
    """Sends, reads so much, and resets the connection."""
    stream = await trio.open_tcp_stream("127.0.0.1", node.port)
    try:
        await stream.send_all(data)
        with trio.move_on_after(PATIENCE_SECONDS):
            while answer_bytes > 0 and (received := await stream.receive_some(answer_bytes)):
                answer_bytes -= len(received)
    except trio.BrokenResourceError:
        return
    finally:
        await trio.aclose_forcefully(stream)


async def test_uploads_broken_off_at_any_point(start_node: Start) -> None:
    """In the head, at its end, in a small or large body of any length, while 100 is awaited."""

    async def attack(node: NodeProcess, random: Random) -> None:
        size = random.choice([1, 5000, 300_000, 3 * MIB])
        fields = {"content_length": str(size)}
        if random.random() < 0.3:
            fields["expect"] = "100-continue"
        wire = head(node, "PUT", "/bucket/never", **fields) + b"u" * random.randrange(size)
        if random.random() < 0.2:
            wire = wire[: random.randrange(1, len(wire))]
        await send_and_go(node, wire, answer_bytes=25 if "expect" in fields else 0)

    node = start_node()
    await repeat(node, attack, 300, seed=1)
    async with HttpClient(node.port) as client:
        assert (await client.request("GET", b"/bucket/never")).status == 404


async def test_downloads_broken_off_at_any_point(start_node: Start) -> None:
    """Before, in the middle of and behind the body."""

    async def attack(node: NodeProcess, random: Random) -> None:
        wire = head(node, "GET", "/bucket/big")
        await send_and_go(node, wire, answer_bytes=random.choice([0, 1, 5000, MIB, 4 * MIB]))

    node = start_node()
    await repeat(node, attack, 300, seed=2)


async def test_failed_requests(start_node: Start) -> None:
    """Forged, malformed and hostile ones."""

    async def attack(node: NodeProcess, random: Random) -> None:
        wire = signed(make_request(random), node.host)
        await send_and_go(node, altered(random, wire), answer_bytes=random.choice([0, 100]))

    node = start_node()
    async with HttpClient(node.port) as client:
        assert (await client.request("PUT", f"/{BUCKET}".encode())).status == 200
    await repeat(node, attack, 600, seed=3)


async def test_connections_of_the_second_stack(start_node: Start) -> None:
    """HTTP/2 with requests, resets and half frames; WebSocket upgrades; pages that nobody takes."""

    async def attack(node: NodeProcess, random: Random) -> None:
        client = h2.connection.H2Connection(h2.config.H2Configuration())
        client.initiate_connection()
        for number in range(random.randrange(4)):
            fields = [
                (":method", random.choice(["GET", "PUT"])),
                (":path", random.choice(["/bucket/big", "/metrics", "/health/live"])),
                (":scheme", "http"),
                (":authority", node.host),
            ]
            client.send_headers(2 * number + 1, fields, end_stream=random.random() < 0.5)
            if random.random() < 0.5:
                client.reset_stream(2 * number + 1)
        data = client.data_to_send()
        match random.randrange(4):
            case 0:
                data = data[: random.randrange(len(data))]
            case 1:
                data = (
                    f"GET /events HTTP/1.1\r\nHost: {node.host}\r\nUpgrade: websocket\r\n"
                    "Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
                    "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
                ).encode()
            case 2:
                data = f"GET /metrics HTTP/1.1\r\nHost: {node.host}\r\n\r\n".encode()
        await send_and_go(node, data, answer_bytes=random.choice([0, 9]))

    node = start_node()
    await repeat(node, attack, 200, seed=4)


@pytest.mark.long
async def test_memory_comes_back_after_many_broken_uploads(start_node: Start) -> None:
    """Ten times as many of them as the first time cost no more memory than the first did."""
    node = start_node()
    await prepare(node)

    async def break_off(count: int) -> None:
        wire = head(node, "PUT", "/bucket/never", content_length=str(8 * MIB)) + b"u" * (3 * MIB)
        turns = trio.CapacityLimiter(16)

        async def one() -> None:
            async with turns:
                await send_and_go(node, wire)

        async with trio.open_nursery() as nursery:
            for _ in range(count):
                nursery.start_soon(one)
        await wait_idle(node, descriptors_max=descriptors(node))

    await break_off(40)
    after_first = resident_bytes(node)
    for _ in range(4):
        await break_off(40)
    assert resident_bytes(node) - after_first < 100 * MIB
