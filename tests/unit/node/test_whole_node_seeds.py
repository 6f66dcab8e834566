"""Whole nodes from one seed: clients write and read through all of them while nodes fall, come back
and do not hear each other; what clients saw must be linearizable, and all end up the same.

A seed gives one run: everything that happened, with its times, has the same hash twice.
"""

from __future__ import annotations

import hashlib
from pathlib import Path
from random import Random

import pytest
import trio
from node_scenes import body

from cluster.testing.seeded_trio import run_seeded
from rs3gwd.base.errors import OutcomeUnknown, Overloaded
from rs3gwd.node.local import LocalStore
from rs3gwd.testing.cluster_world import ClusterWorld, cluster_world, get, make_bucket, put
from rs3gwd.testing.linearizability import RegisterOperation, violations

SEEDS = 6
SEEDS_LONG = 2_000
KEYS = (b"one", b"two")
NEVER = float("inf")
LARGE_BYTES = 80_000
"""Above what rides in a command: such a body goes to its replicas first."""


class _Run:
    """One seed: the clients, the faults, and what was seen."""

    def __init__(self, seed: int) -> None:
        self.random = Random(seed)
        self.history: dict[bytes, list[RegisterOperation]] = {key: [] for key in KEYS}
        self.trace: list[str] = []
        self.values = 0
        self.down: int | None = None
        self.is_over = False

    def note(self, text: str) -> None:
        self.trace.append(f"{trio.current_time():.6f} {text}")

    def digest(self) -> str:
        return hashlib.sha256("\n".join(self.trace).encode()).hexdigest()

    def new_value(self) -> bytes:
        self.values += 1
        text = b"value %d;" % self.values
        return text + body(LARGE_BYTES) if self.values % 5 == 0 else text

    async def write(self, world: ClusterWorld, node: int, key: bytes) -> None:
        value, start, end = self.new_value(), trio.current_time(), NEVER
        try:
            await put(world.nodes[node].store, key, value)
            end = trio.current_time()
        except Overloaded:
            self.note(f"write {key!r} refused at {node}")
            return
        except OutcomeUnknown:
            self.note(f"write {key!r} unknown at {node}")
        name = value.split(b";")[0].decode()
        self.note(f"write {key!r} {name} at {node}")
        self.history[key].append(RegisterOperation(True, name, start, end))

    async def read(self, world: ClusterWorld, node: int, key: bytes) -> None:
        start = trio.current_time()
        try:
            value = await self.look(world, node, key)
        except Overloaded:
            self.note(f"read {key!r} refused at {node}")
            return
        name, _, rest = value.partition(b";")
        assert rest in (b"", body(LARGE_BYTES))
        self.note(f"read {key!r} {name!r} at {node}")
        end = trio.current_time()
        self.history[key].append(RegisterOperation(False, name.decode(), start, end))

    async def look(self, world: ClusterWorld, node: int, key: bytes) -> bytes:
        return await get(world.nodes[node].store, key)

    async def client(self, world: ClusterWorld, node: int) -> None:
        while not self.is_over:
            await trio.sleep(self.random.uniform(0.0, 0.3))
            act = self.write if self.random.random() < 0.4 else self.read
            with trio.move_on_after(20) as patience:
                await act(world, node, self.random.choice(KEYS))
            assert not patience.cancelled_caught, "an answer took longer than 20 s"

    async def break_links(self, world: ClusterWorld) -> None:
        network = world.network
        for _ in range(4):
            await trio.sleep(self.random.uniform(0.2, 1.5))
            fault = self.random.choice(["isolate", "one way", "loss", "heal"])
            node, other = self.random.sample(sorted(world.nodes), 2)
            self.note(f"{fault} {node} {other}")
            network.heal()
            network.loss = network.doubled = 0.0
            if fault == "isolate":
                network.isolate(node)
            elif fault == "one way":
                network.cut(node, other)
            elif fault == "loss":
                network.loss = network.doubled = 0.2
        network.heal()
        network.loss = network.doubled = 0.0

    async def fell_one(self, world: ClusterWorld) -> None:
        """The node that no client asks falls and comes back."""
        node = world.nodes[3]
        for _ in range(2):
            await trio.sleep(self.random.uniform(0.1, 1.5))
            self.note("node 3 falls")
            await node.fall()
            await trio.sleep(self.random.uniform(0.1, 2.0))
            await world.restart(3)
            self.note("node 3 is back")

    async def scene(self, path: Path, seed: int) -> None:
        async with cluster_world(str(path), seed=seed) as world:
            await make_bucket(world.nodes[1].store)
            for key in KEYS:
                await self.write(world, 1, key)
            async with trio.open_nursery() as nursery:
                for node in (1, 1, 2, 2):
                    nursery.start_soon(self.client, world, node)
                async with trio.open_nursery() as faults:
                    faults.start_soon(self.break_links, world)
                    faults.start_soon(self.fell_one, world)
                await trio.sleep(1.0)
                self.is_over = True
            await world.wait_equal()
            for number in world.nodes:
                for key in KEYS:
                    await self.read(world, number, key)
            for node in world.nodes.values():
                self.note(" ".join(digest.hex() for digest in node.digests()))


class _StaleRun(_Run):
    """A planted bug: reads without the proof that this node is current."""

    async def look(self, world: ClusterWorld, node: int, key: bytes) -> bytes:
        return await get(LocalStore(world.nodes[node].engine), key)


def _play(path: Path, seed: int, kind: type[_Run] = _Run) -> _Run:
    run = kind(seed)
    path.mkdir()
    run_seeded(seed, run.scene, path, seed)
    return run


def _run(path: Path, seed: int) -> _Run:
    run = _play(path, seed)
    for key, history in run.history.items():
        assert violations(history) == [], f"seed {seed}, key {key!r}"
    assert run.values > len(KEYS)
    return run


@pytest.mark.parametrize("seed", range(SEEDS))
def test_whole_nodes_are_linearizable_under_faults(tmp_path: Path, seed: int) -> None:
    """Registers written and read through two nodes while a third falls and links break."""
    _run(tmp_path / "run", seed)


def test_one_seed_of_whole_nodes_is_one_run(tmp_path: Path) -> None:
    """The hash of all events and rows is the same twice, and another for another seed."""
    first, again = _run(tmp_path / "first", 5), _run(tmp_path / "again", 5)
    assert first.digest() == again.digest()
    assert first.digest() != _run(tmp_path / "other", 6).digest()


def test_whole_nodes_that_read_without_proof_are_noticed(tmp_path: Path) -> None:
    """The judge is not blind: a few seeds show a stale read."""
    runs = (_play(tmp_path / str(seed), seed, _StaleRun) for seed in range(2, 6))
    assert any(violations(history) for run in runs for history in run.history.values())


@pytest.mark.long
@pytest.mark.timeout(7200)
@pytest.mark.parametrize("start", range(SEEDS, SEEDS_LONG, 100))
def test_whole_nodes_are_linearizable_for_a_night(tmp_path: Path, start: int) -> None:
    """A hundred seeds more."""
    for seed in range(start, min(start + 100, SEEDS_LONG)):
        _run(tmp_path / str(seed), seed)
