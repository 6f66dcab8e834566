"""Three nodes as one store, in one process: what a client sees through any of them."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from pathlib import Path

from cluster.testing.seeded_trio import run_seeded
from rs3gwd.testing.cluster_world import (
    ClusterWorld,
    cluster_world,
    delete,
    get,
    list_keys,
    make_bucket,
    put,
)

Scene = Callable[[ClusterWorld], Awaitable[None]]


def play(path: Path, scene: Scene, *, seed: int = 1, nodes: int = 3) -> None:
    """Runs a scene over a cluster."""

    async def whole() -> None:
        async with cluster_world(str(path), seed=seed, nodes=nodes) as world:
            await scene(world)

    run_seeded(seed, whole)


def body(size: int, first: int = 0) -> bytes:
    """Bytes that differ from place to place."""
    return bytes((first + at * 7 + at // 251) % 256 for at in range(size))


def test_what_one_node_wrote_another_reads_at_once(tmp_path: Path) -> None:
    """PUT, GET, LIST and DELETE through different nodes, with small and large bodies."""

    async def scene(world: ClusterWorld) -> None:
        one, two, three = (world.nodes[number].store for number in (1, 2, 3))
        await make_bucket(one)
        for size in (0, 10, 5000, 64 << 10, 70_000, 300_000):
            key = b"key %d" % size
            await put(one, key, body(size))
            assert await get(two, key) == body(size)
            assert key in await list_keys(three)
            await put(two, key, body(size, 1))
            assert await get(three, key) == body(size, 1)
            await delete(three, key)
            assert await list_keys(one) == []

    play(tmp_path, scene)
