"""Clients that keep a node busy and know what it acknowledged. No tests."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from hashlib import sha256
from typing import Any

import msgspec
import trio

from rs3gwd.testing.http_client import ConnectionLost, HttpClient
from rs3gwd.testing.node_process import NodeProcess

SECONDS_MAX = 60.0
"""For what takes a second or two where nothing else runs."""


class Load:
    """Clients that write and read, each on a connection of its own that it keeps alive."""

    def __init__(self, node: NodeProcess) -> None:
        self.acknowledged: dict[bytes, bytes] = {}
        self.answers = 0
        self.lost: list[str] = []
        self.unexpected: list[str] = []
        self._node = node

    async def work(self, number: int) -> None:
        """One client, until cancelled: PUT and GET by turns, a new connection after a lost one."""
        async with HttpClient(self._node.port) as client:
            count = 0
            while True:
                key = b"/bucket/%d-%d" % (number, count)
                body = sha256(key).digest() * (300 if count % 10 == 0 else 20_000)
                count += 1
                try:
                    put = await client.request("PUT", key, body=body)
                    if put.status == 200:
                        self.acknowledged[key] = body
                    get = await client.request("GET", key)
                except ConnectionLost as error:
                    self.lost.append(str(error))
                    continue
                self.answers += 2
                if (put.status, get.status) != (200, 200) or get.body != body:
                    self.unexpected.append(f"{key!r}: {put.status} {put.body!r}, {get.status}")

    async def assert_all_there(self) -> None:
        """Every body that was acknowledged can be read."""
        async with HttpClient(self._node.port) as client:
            for key, body in self.acknowledged.items():
                answer = await client.request("GET", key)
                assert (answer.status, answer.body == body) == (200, True), key


@asynccontextmanager
async def loaded(node: NodeProcess, *, clients: int = 8) -> AsyncIterator[Load]:
    """A node with clients at work on it until the block ends."""
    async with HttpClient(node.port) as client:
        assert (await client.request("PUT", b"/bucket")).status == 200
    load = Load(node)
    async with trio.open_nursery() as nursery:
        for number in range(clients):
            nursery.start_soon(load.work, number)
        await until_answers(load, 100)
        yield load
        nursery.cancel_scope.cancel()


async def until_answers(load: Load, more: int) -> None:
    """Returns after so many more answers."""
    wanted = load.answers + more
    with trio.fail_after(SECONDS_MAX):
        while True:
            await trio.sleep(0.01)
            if load.answers >= wanted:
                return


def ctl(node: NodeProcess, *arguments: str) -> Any:
    """What `rs3gwctl --json` prints for the node."""
    done = subprocess.run(
        [sys.executable, "-m", "tools.rs3gwctl.main", "--data", node.data, "--json", *arguments],
        capture_output=True,
        text=True,
        timeout=SECONDS_MAX,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return msgspec.json.decode(done.stdout)


async def workers_of(node: NodeProcess) -> list[dict[str, Any]]:
    """The node's workers, as `rs3gwctl workers list` shows them."""
    found: list[dict[str, Any]] = await trio.to_thread.run_sync(ctl, node, "workers", "list")
    return found


async def until_replaced(node: NodeProcess, number: int) -> list[dict[str, Any]]:
    """Returns the workers once all are ready and number `number` is not among them."""
    with trio.fail_after(SECONDS_MAX):
        while True:
            found = await workers_of(node)
            numbers = [each["number"] for each in found]
            states = {each["state"] for each in found}
            if number not in numbers and states == {"ready"} and len(numbers) > 1:
                return found
            await trio.sleep(0.05)


def is_alive(pid: int) -> bool:
    """Whether a process is there that is not merely waiting to be reaped."""
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            return file.read().rpartition(b")")[2].split()[0] not in (b"Z", b"X")
    except (FileNotFoundError, ProcessLookupError):
        return False


def send(pid: int, number: signal.Signals) -> None:
    """Sends a signal to a process."""
    os.kill(pid, number)


async def figures(node: NodeProcess) -> dict[str, float]:
    """All metrics of one scrape, by name with labels."""
    token = (node.data / "metrics.token").read_text()
    stream = await trio.open_tcp_stream("127.0.0.1", node.port)
    received = b""
    async with stream:
        await stream.send_all(
            f"GET /metrics HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer {token}\r\n"
            "Connection: close\r\n\r\n".encode()
        )
        async for data in stream:
            received += data
    assert received.startswith(b"HTTP/1.1 200 "), received[:300]
    found = re.findall(r"^(\w+(?:\{[^}]*\})?) (\S+)$", received.decode(), re.MULTILINE)
    return {name: float(value) for name, value in found}
