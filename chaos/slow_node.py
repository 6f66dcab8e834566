"""What one slow node costs the reads through the others: `python3 -m chaos.slow_node`.

Three real nodes, each in a network of its own. In each round one of them in turn becomes slow: all
that it sends and gets takes 50 ms longer, so each of its answers comes 100 ms late. Clients of the
other two read all the time, before and under it, while one of them writes now and then. Both
figures are of the same run and the same clients, so what else the machine does is in both.

What it is not: a proof (`chaos.cluster` is one) or a benchmark. The slow node's own clients are
left out: every answer of theirs needs the others.

Source: Dean and Barroso, "The Tail at Scale", CACM 56(2), 2013, for what one slow of many does.
"""

from __future__ import annotations

import argparse
import random
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import trio
from msgspec import Struct

from chaos.cluster_nodes import BUCKET, Node, Nodes, Surroundings, open_nodes
from chaos.fault_figures import Spread, spread
from chaos.network import NoNetwork, Weather, why_not
from rs3gwd.testing.http_client import HttpClient

DELAY_SECONDS = 0.05
SIZES = {"small": 4096, "large": 200_000}
"""Bytes: of bodies that ride in a command, and of those that go to their replicas."""

OBJECTS = 64
"""Of each size: enough that every group has some."""

SETTLE_SECONDS = 3.0
"""Between the phases, not counted as healthy: leaders go back where they were."""

WRITE_PAUSE_SECONDS = 0.2


class Settings(Struct, frozen=True):
    """One run; each phase of a round takes `seconds`. `readers` are clients of each node."""

    seed: int
    folder: Path
    rounds: int = 3
    seconds: float = 15.0
    readers: int = 2


class Read(Struct, frozen=True):
    """One read that was answered as it should be."""

    is_slow: bool
    size: str
    seconds: float


class _Phase(Struct):
    """What all clients look at: whether reads count and for what, and which node has none."""

    is_counting: bool = False
    is_slow: bool = False
    slow: int = 0


class SlowNodeRun:
    """The reads of a run, filled by `run`. `failed` are those that were not answered right."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.reads: list[Read] = []
        self.failed = 0
        self._phase = _Phase()

    async def run(self) -> None:
        """Raises NoNetwork, TooSlowError."""
        if reason := why_not():
            raise NoNetwork(reason)
        settings = self.settings
        surroundings = Surroundings(has_network=True)
        with open_nodes(
            settings.folder / "nodes", 3, seed=settings.seed, surroundings=surroundings
        ) as nodes:
            await nodes.heal()
            await self._fill(nodes.all[0])
            async with trio.open_nursery() as nursery:
                for node in nodes.all:
                    for number in range(settings.readers):
                        nursery.start_soon(self._read, node, number)
                    nursery.start_soon(self._write, node)
                for turn in range(settings.rounds):
                    await self._take_turn(nodes, nodes.all[turn % 3])
                nursery.cancel_scope.cancel()

    async def _take_turn(self, nodes: Nodes, slow: Node) -> None:
        assert nodes.switch is not None, "the nodes have a network"
        self._phase.slow = slow.number
        await trio.sleep(SETTLE_SECONDS)
        for is_slow in (False, True):
            if is_slow:
                for each in nodes.all:
                    if each is not slow:
                        nodes.switch.set(slow.number, each.number, Weather(delay_s=DELAY_SECONDS))
                        nodes.switch.set(each.number, slow.number, Weather(delay_s=DELAY_SECONDS))
            self._phase.is_slow, self._phase.is_counting = is_slow, True
            await trio.sleep(self.settings.seconds)
            self._phase.is_counting = False
        nodes.switch.heal()

    async def _fill(self, node: Node) -> None:
        async with node.client() as client:
            for size in SIZES:
                for number in range(OBJECTS):
                    assert await _put(client, size, number), "a cluster at rest takes writes"

    async def _read(self, node: Node, number: int) -> None:
        source = random.Random(f"{self.settings.seed} {node.number} {number}")
        async with node.client() as client:
            while True:
                if node.number == self._phase.slow:
                    await trio.sleep(0.1)
                    continue
                size = source.choice(list(SIZES))
                was_counting, is_slow = self._phase.is_counting, self._phase.is_slow
                start = time.monotonic()
                answer = await client.request("GET", _path(size, source.randrange(OBJECTS)))
                seconds = time.monotonic() - start
                if not was_counting or not self._phase.is_counting:
                    continue
                if answer.status == 200 and len(answer.body) == SIZES[size]:
                    self.reads.append(Read(is_slow, size, seconds))
                else:
                    self.failed += 1

    async def _write(self, node: Node) -> None:
        source = random.Random(f"{self.settings.seed} {node.number} writer")
        async with node.client() as client:
            while True:
                await trio.sleep(WRITE_PAUSE_SECONDS)
                if node.number != self._phase.slow:
                    await _put(client, source.choice(list(SIZES)), source.randrange(OBJECTS))


def figures_of(reads: Sequence[Read]) -> dict[str, tuple[Spread, Spread]]:
    """By size, and `all`: healthy and slow; sizes without reads of both are left out."""
    found = {}
    for size in (*SIZES, "all"):
        healthy, slow = (
            [
                each.seconds
                for each in reads
                if each.is_slow is is_slow and size in (each.size, "all")
            ]
            for is_slow in (False, True)
        )
        if healthy and slow:
            found[size] = (spread(healthy), spread(slow))
    return found


async def _put(client: HttpClient, size: str, number: int) -> bool:
    body = random.randbytes(SIZES[size])
    return (await client.request("PUT", _path(size, number), body=body)).status == 200


def _path(size: str, number: int) -> bytes:
    return BUCKET + f"/{size}-{number}".encode()


def main(arguments: Sequence[str]) -> int:
    """Prints the figures; the exit status."""
    parser = argparse.ArgumentParser(prog="slow_node", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=15.0, help="of each phase of a round")
    options = parser.parse_args(arguments)
    folder = Path(tempfile.mkdtemp(prefix="rs3gw-slow-"))
    run = SlowNodeRun(Settings(options.seed, folder, options.rounds, options.seconds))
    try:
        trio.run(run.run)
    except NoNetwork as error:
        print(f"slow_node: not run: {error}")
        return 0
    for size, (healthy, slow) in figures_of(run.reads).items():
        print(
            f"{size}: healthy p50 {healthy.p50_ms:.1f} p99 {healthy.p99_ms:.1f} ms of "
            f"{healthy.count}; one slow p50 {slow.p50_ms:.1f} p99 {slow.p99_ms:.1f} ms of "
            f"{slow.count}; p99 x {slow.p99_ms / healthy.p99_ms:.2f}"
        )
    print(f"{run.failed} reads failed; logs in {folder}")
    return 1 if run.failed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
