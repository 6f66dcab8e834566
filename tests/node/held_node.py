"""A running node under many connections at once, and what it says of its own state. No tests."""

import os
import re
import resource
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import trio

from rs3gwd.testing.node_process import ACCESS_KEY, REGION, SECRET_KEY, NodeProcess
from tools.rs3gw_bench.signing import Target, sign

IDLE_GAUGES = {
    "rs3gw_requests_in_flight": 0.0,
    "rs3gw_buffered_bytes": 0.0,
    "rs3gw_engine_stage_memory_bytes": 0.0,
    "rs3gw_engine_lanes_busy": 0.0,
    "rs3gw_engine_queue_count": 0.0,
}
"""What a node has when nobody wants anything; the scrape itself is no request of S3."""


def allow_descriptors() -> None:
    """Lets this process open as many files as it may."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def resident_bytes(node: NodeProcess) -> int:
    """VmRSS of all processes of the daemon."""
    total = 0
    for pid in node.pids:
        with open(f"/proc/{pid}/status", encoding="ascii") as file:
            found = re.search(r"VmRSS:\s+(\d+) kB", file.read())
        assert found is not None
        total += int(found[1]) * 1024
    return total


def descriptors(node: NodeProcess) -> int:
    """Open files and sockets of all the daemon's processes; segments aside, which it keeps open."""
    count = 0
    for pid in node.pids:
        folder = f"/proc/{pid}/fd"
        for name in os.listdir(folder):
            try:
                count += "/segments/" not in os.readlink(f"{folder}/{name}")
            except FileNotFoundError:
                continue
    return count


def head(node: NodeProcess, method: str, target: str, **headers: str) -> bytes:
    """A signed head; further headers are not signed. No body is promised unless they say so."""
    request = sign(Target(node.url, ACCESS_KEY, SECRET_KEY, REGION, ""), method, target, None)
    fields = {**request.headers, **{n.replace("_", "-"): v for n, v in headers.items()}}
    lines = [f"{method} {request.target} HTTP/1.1", *(f"{n}: {v}" for n, v in fields.items())]
    return "\r\n".join([*lines, "", ""]).encode()


class Crowd:
    """Connections that stay open until the end; `join` adds some that have sent something."""

    def __init__(self, node: NodeProcess) -> None:
        self.streams: list[trio.SocketStream] = []
        self._node = node

    async def join(self, count: int, sent: Callable[[int], bytes]) -> None:
        """Opens `count` connections, 50 at a time, and sends to each what is its own."""
        turns = trio.CapacityLimiter(50)

        async def open_one(number: int) -> None:
            async with turns:
                stream = await trio.open_tcp_stream("127.0.0.1", self._node.port)
                self.streams.append(stream)
                if data := sent(number):
                    await stream.send_all(data)

        async with trio.open_nursery() as nursery:
            for number in range(count):
                nursery.start_soon(open_one, number)

    async def leave(self, count: int | None = None) -> None:
        """Closes some connections, or all, without a word."""
        for stream in self.streams[:count]:
            await trio.aclose_forcefully(stream)
        del self.streams[:count]


@asynccontextmanager
async def crowd(node: NodeProcess) -> AsyncIterator[Crowd]:
    """A crowd that leaves at the end."""
    allow_descriptors()
    people = Crowd(node)
    try:
        yield people
    finally:
        await people.leave()


async def gauges(node: NodeProcess) -> dict[str, float]:
    """All metrics without labels."""
    token = (node.data / "metrics.token").read_text()
    head = f"GET /metrics HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {token}\r\n\r\n"
    stream = await trio.open_tcp_stream("127.0.0.1", node.port)
    received = b""
    async with stream:
        await stream.send_all(head.encode())
        async for data in stream:
            received += data
    found = re.findall(r"^(rs3gw_\w+) (\S+)$", received.decode(), re.MULTILINE)
    return {name: float(value) for name, value in found}


async def wait_for(condition: Callable[[], Awaitable[bool]], what: str) -> None:
    """Returns once the condition holds; fails after a time that no working node takes."""
    deadline = trio.current_time() + 60
    while not await condition():
        assert trio.current_time() < deadline, what
        await trio.sleep(0.05)


async def wait_idle(node: NodeProcess, *, descriptors_max: int) -> None:
    """Returns once the node holds nothing of anybody any more."""
    last: dict[str, float] = {}

    async def is_idle() -> bool:
        nonlocal last
        found = await gauges(node)
        last = {name: found[name] for name in IDLE_GAUGES}
        return last == IDLE_GAUGES and descriptors(node) <= descriptors_max

    try:
        await wait_for(is_idle, "the node does not become idle")
    except AssertionError as error:
        raise AssertionError(
            f"not idle: {last}, {descriptors(node)} descriptors of {descriptors_max}"
        ) from error
