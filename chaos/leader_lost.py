"""How long nobody can write when a leader is lost: `python -m chaos.leader_lost --seeds N`.

Three whole nodes in one process, with the daemon's own election times, on a clock that jumps: all
times are simulated, so the figures say what the protocol costs and nothing of a machine's load.
Again and again the node that leads an index group falls, or is cut off from the others. Through
the two that are left somebody writes a key of each group all the time, and reads keys of all.

The leaders are spread over the nodes, so that there are groups that keep theirs; or together on one
(`--leaders together`), as a daemon has them unless `cluster.leaders` says otherwise.

Measured from the moment of the loss: until the first write to the group that lost its leader is
acknowledged; and how long reads of the groups took whose leader is still there.
"""

from __future__ import annotations

import argparse
import logging
import math
import sys
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from random import Random

import structlog
import trio
from msgspec import structs

from chaos.powercut import scratch_directory
from cluster.drivers.groups_settings import Leaders
from cluster.testing.seeded_trio import run_seeded
from rs3gwd.base.errors import OutcomeUnknown, Overloaded
from rs3gwd.engine.groups import SYSTEM_GROUP, group_of_key
from rs3gwd.testing.cluster_world import (
    GROUPS,
    SETTINGS,
    ClusterWorld,
    NodeFell,
    WorldNode,
    cluster_world,
    get,
    make_bucket,
    put,
)

LOSSES = 3
"""In one seed, one after the other, each mended before the next."""

WATCH_S = 4.0
"""So long after a loss reads and writes are watched."""

PAUSE_S = 0.02


@dataclass
class Figures:
    """Simulated seconds; one figure of `writes` for each group that lost its leader."""

    writes: list[float] = field(default_factory=list)
    reads_before: list[float] = field(default_factory=list)
    reads_beside: list[float] = field(default_factory=list)
    """Reads behind a loss, of groups whose leader, and that of the system group, is there."""
    reads_without_system: list[float] = field(default_factory=list)
    """The same where the lost node led the system group, which says which buckets there are."""

    def add(self, other: Figures) -> None:
        """Takes in what another seed gave."""
        self.writes += other.writes
        self.reads_before += other.reads_before
        self.reads_beside += other.reads_beside
        self.reads_without_system += other.reads_without_system


def percentile(figures: Sequence[float], share: float) -> float:
    """The figure that `share` of all (above 0, to 1) do not exceed.

    Raises ValueError where there are none.
    """
    if not figures:
        raise ValueError("nothing was measured")
    return sorted(figures)[math.ceil(len(figures) * share) - 1]


class LossRun:
    """One seed."""

    def __init__(self, seed: int, leaders: Leaders) -> None:
        self.seed = seed
        self.leaders = leaders
        self.random = Random(f"losses of {seed}")
        self.figures = Figures()
        self.keys: dict[int, bytes] = {}
        """A key of each index group."""

    async def scene(self, path: Path) -> None:
        """All losses of the seed. Raises TooSlowError."""
        host = replace(SETTINGS.host, leaders=self.leaders)
        settings = structs.replace(SETTINGS, host=host)
        async with cluster_world(str(path), seed=self.seed, settings=settings) as world:
            bucket = await make_bucket(world.nodes[1].store)
            for number in range(100):
                key = b"key-%d" % number
                self.keys.setdefault(group_of_key(bucket.bucket_id, key, GROUPS), key)
            for key in self.keys.values():
                await put(world.nodes[1].store, key, b"first")
            for _ in range(LOSSES):
                await self._lose_one(world)

    async def _lose_one(self, world: ClusterWorld) -> None:
        groups = sorted(self.keys)
        await trio.sleep(self.random.uniform(2.0, 3.0))
        for group in (SYSTEM_GROUP, *groups):
            await world.wait_leader(group)
        leaders = {group: await world.wait_leader(group) for group in (SYSTEM_GROUP, *groups)}
        lost = leaders[self.random.choice(groups)]
        left = [node for node in world.nodes.values() if node is not lost]
        others = [group for group in groups if leaders[group] is not lost]
        await self._read_for(left, others, 0.5, self.figures.reads_before)
        beside = self.figures.reads_beside
        if leaders[SYSTEM_GROUP] is lost:
            beside = self.figures.reads_without_system
        falls = self.random.random() < 0.5
        async with trio.open_nursery() as nursery:
            if falls:
                nursery.start_soon(lost.fall)
            else:
                world.network.isolate(lost.number)
            start = trio.current_time()
            for group in groups:
                if leaders[group] is lost:
                    nursery.start_soon(self._write_until_done, left, group, start)
            nursery.start_soon(self._read_for, left, others, WATCH_S, beside)
        if falls:
            await world.restart(lost.number)
        else:
            world.network.heal()
        await world.wait_equal()

    async def _write_until_done(self, left: list[WorldNode], group: int, start: float) -> None:
        """Several write, so that one whose request waits for a timer does not count for all."""
        async with trio.open_nursery() as nursery:

            async def write(node: WorldNode) -> None:
                await _until_answered(node, partial(put, node.store, self.keys[group], b"next"))
                nursery.cancel_scope.cancel()

            for node in left:
                nursery.start_soon(write, node)
        self.figures.writes.append(trio.current_time() - start)

    async def _read_for(
        self, left: list[WorldNode], groups: list[int], seconds: float, times: list[float]
    ) -> None:
        until = trio.current_time() + seconds
        while groups and trio.current_time() < until:
            node, group = self.random.choice(left), self.random.choice(groups)
            start = trio.current_time()
            await _until_answered(node, partial(get, node.store, self.keys[group]))
            times.append(trio.current_time() - start)
            await trio.sleep(PAUSE_S)


async def _until_answered(node: WorldNode, call: Callable[[], Awaitable[object]]) -> None:
    while True:
        try:
            await node.ask(lambda _: call())
        except (Overloaded, OutcomeUnknown, NodeFell):
            await trio.sleep(PAUSE_S)
            continue
        return


def measure(seeds: range, leaders: Leaders = Leaders.SPREAD) -> Figures:
    """The figures of some seeds."""
    figures = Figures()
    for seed in seeds:
        run = LossRun(seed, leaders)
        with scratch_directory() as path:
            run_seeded(seed, run.scene, Path(path))
        figures.add(run.figures)
    return figures


def main(arguments: Sequence[str]) -> int:
    """The command."""
    parser = argparse.ArgumentParser(prog="leader_lost", description=__doc__)
    parser.add_argument("--seeds", type=int, default=40, help="how many")
    parser.add_argument("--start", type=int, default=0, help="the first")
    parser.add_argument("--leaders", choices=("spread", "together"), default="spread")
    options = parser.parse_args(arguments)
    seeds = range(options.start, options.start + options.seeds)
    figures = measure(seeds, Leaders(options.leaders))
    for title, times in (
        ("first write to a group that lost its leader", figures.writes),
        ("reads before", figures.reads_before),
        ("reads of other groups, system group led", figures.reads_beside),
        ("reads of other groups, leader of the system group lost", figures.reads_without_system),
    ):
        if times:
            shown = (f"p{share * 100:g} {percentile(times, share):.4f}" for share in (0.5, 0.99))
            print(f"{title}: {len(times)}, {', '.join(shown)}, most {max(times):.4f} s")
    return 0


if __name__ == "__main__":
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
    sys.exit(main(sys.argv[1:]))
