"""The whole node over a socket: whatever a client with a valid key sends, the node answers.

The seeds are fixed, so a failure comes again; RS3GW_FUZZ_SEED chooses others.
"""

import os
import re
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from random import Random

import pytest
import trio
from held_node import descriptors, gauges, wait_idle
from hostile_requests import BUCKET, altered, make_request, signed

from rs3gwd.testing.http_client import HttpClient
from rs3gwd.testing.node_process import NodeProcess

Start = Callable[..., NodeProcess]

SEED = int(os.environ.get("RS3GW_FUZZ_SEED", "20"))
AT_ONCE = 8
STATUSES_NEVER = frozenset([500, 502, 504])
STATUSES_OF_FAILURE = frozenset([501, 503, 507])
"""The only ones from 500 up that say what they mean: not done, not now, no room. (505 is for
another version of HTTP, which an altered request may ask for.)"""


async def exchange(node: NodeProcess, wire: bytes) -> bytes:
    """All that comes back for some bytes, behind which the client says that it has ended."""
    stream = await trio.open_tcp_stream("127.0.0.1", node.port)
    received = b""
    async with stream:
        with trio.fail_after(60):
            try:
                await stream.send_all(wire)
                await stream.send_eof()
                async for data in stream:
                    received += data
            except trio.BrokenResourceError:
                return received
    return received


def check(wire: bytes, received: bytes) -> int:
    """The status of the first answer, 0 where there is none; fails for what must never be."""
    if not received:
        return 0
    found = re.match(rb"HTTP/1\.1 ([0-9]{3}) ", received)
    assert found, (wire, received)
    status = int(found[1])
    assert status not in STATUSES_NEVER, (wire, received)
    assert status < 500 or status in STATUSES_OF_FAILURE or status == 505, (wire, received)
    lines = received.partition(b"\r\n\r\n")[0].split(b"\r\n")
    for line in lines[1:]:
        assert re.fullmatch(rb"[A-Za-z0-9!#$%&'*+.^_`|~-]+: [^\r\n\0]*", line), (wire, line)
    assert not any(line.lower().startswith(b"set-cookie") for line in lines), (wire, received)
    return status


async def fuzz(node: NodeProcess, count: int, make: Callable[[Random], bytes]) -> Counter[int]:
    """Sends `count` requests, some at once; how often each status came."""
    seen: Counter[int] = Counter()
    async with HttpClient(node.port) as client:
        assert (await client.request("PUT", f"/{BUCKET}".encode())).status == 200
        assert (await client.request("PUT", f"/{BUCKET}/a".encode(), body=b"a")).status == 200
    before = descriptors(node)
    work: Iterator[int] = iter(range(count))

    async def send_some() -> None:
        for number in work:
            wire = make(Random(SEED * 1_000_000 + number))
            seen[check(wire, await exchange(node, wire))] += 1

    async with trio.open_nursery() as nursery:
        for _ in range(AT_ONCE):
            nursery.start_soon(send_some)
    await wait_idle(node, descriptors_max=before + 2)
    assert (await gauges(node))["rs3gw_failures_total"] == 0, node.tail()
    assert_sound(node)
    return seen


def assert_sound(node: NodeProcess) -> None:
    """Stops the node; its log tells of no defect, and its store is whole."""
    assert node.stop() == 0
    assert "Traceback" not in node.log.read_text()
    done = subprocess.run(
        [sys.executable, "-m", "tools.rs3gwctl.main", "--data", node.data, "check"],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("count", [1200, pytest.param(40_000, marks=pytest.mark.long)])
async def test_hostile_requests_that_are_rightly_signed(start_node: Start, count: int) -> None:
    """They reach every handler; none makes the node fail, and many are even carried out."""
    node = start_node()
    seen = await fuzz(node, count, lambda random: signed(make_request(random), node.host))
    assert seen[200] > count / 20
    assert seen[400] > count / 20
    assert seen[403] < count / 20, "the signer of the test signs wrongly"


@pytest.mark.parametrize("count", [600, pytest.param(20_000, marks=pytest.mark.long)])
async def test_requests_altered_after_they_were_signed(start_node: Start, count: int) -> None:
    """Some bytes of the request changed, left out or doubled."""
    node = start_node()
    seen = await fuzz(
        node, count, lambda random: altered(random, signed(make_request(random), node.host))
    )
    assert seen[200] < count / 20
    assert seen[400] + seen[403] > count / 4
