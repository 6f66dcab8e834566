"""Clusters of other sizes: one node, five, one that grows, a single node that becomes one."""

from __future__ import annotations

import os
from pathlib import Path

import trio
from node_scenes import body, missing_at, play

from cluster.testing.seeded_trio import run_seeded
from rs3gwd.engine.blobs import find_blob
from rs3gwd.engine.engine import Engine
from rs3gwd.engine.events import SilentObserver
from rs3gwd.node.local import LocalStore
from rs3gwd.testing.cluster_world import (
    ClusterWorld,
    TrioClock,
    WorldNode,
    cluster_world,
    delete,
    get,
    list_keys,
    make_bucket,
    put,
)
from rs3gwd.testing.open_local import TEST_SETTINGS
from rs3gwd.testing.threads import InlineThreads


def test_one_node_is_a_cluster_too(tmp_path: Path) -> None:
    """Alone it is its own majority, over restarts."""

    async def scene(world: ClusterWorld) -> None:
        node = world.nodes[1]
        await make_bucket(node.store)
        for size in (10, 200_000):
            await put(node.store, b"%d" % size, body(size))
        await node.fall()
        await world.restart(1)
        for size in (10, 200_000):
            assert await get(node.store, b"%d" % size) == body(size)

    play(tmp_path, scene, nodes=1)


def test_of_five_nodes_three_keep_a_large_body(tmp_path: Path) -> None:
    """The others read it from them, and write through them, whichever nodes those are."""

    async def scene(world: ClusterWorld) -> None:
        await make_bucket(world.nodes[1].store)
        for number, node in world.nodes.items():
            key = b"through %d" % number
            version = await put(node.store, key, body(150_000, number))
            assert version.blob is not None
            await world.wait_equal()
            assert holders(world, version.blob.blob_id) == 3
            for reader in world.nodes.values():
                assert await get(reader.store, key) == body(150_000, number)
        assert all(missing_at(node) == [] for node in world.nodes.values())
        for number in (1, 2):
            await world.nodes[number].fall()
        for number in world.nodes:
            assert await get(world.nodes[3].store, b"through %d" % number)

    play(tmp_path, scene, nodes=5)


def test_a_node_that_joins_gets_rows_and_bytes(tmp_path: Path) -> None:
    """A third node joins two: it has all rows, fetches the bytes, and counts from then on."""

    async def scene(world: ClusterWorld) -> None:
        one, two = world.nodes[1], world.nodes[2]
        await make_bucket(one.store)
        for size in (10, 20_000, 200_000):
            await put(two.store, b"%d" % size, body(size))
        three = await join(world, 3)
        for size in (10, 20_000, 200_000):
            assert await get(three.store, b"%d" % size) == body(size)
        await world.wait_until(lambda: not missing_at(three))
        await two.fall()
        await put(three.store, b"new", body(100_000))
        await delete(three.store, b"10")
        assert await list_keys(one.store) == [b"20000", b"200000", b"new"]

    play(tmp_path, scene, nodes=2)


def test_a_single_node_becomes_a_cluster_of_three(tmp_path: Path) -> None:
    """A store with buckets and objects is taken into a cluster as it is; the others get a copy."""

    async def whole() -> None:
        alone = WorldNode(None, 1, str(tmp_path / "1"))  # type: ignore[arg-type]
        await fill_alone(alone)
        async with cluster_world(str(tmp_path), nodes=1, disks={1: alone.disk}) as world:
            node = world.nodes[1]
            assert await get(node.store, b"small") == b"here"
            others = [await join(world, number) for number in (2, 3)]
            await world.wait_until(lambda: not any(missing_at(other) for other in others))
            assert await get(others[1].store, b"large") == body(200_000)
            await put(others[0].store, b"small", b"changed")
            assert await get(node.store, b"small") == b"changed"
            await world.wait_until(lambda: all(is_whole(each) for each in world.nodes.values()))
            await node.fall()
            assert await get(others[0].store, b"large") == body(200_000)
            await make_bucket(others[1].store, "another")

    run_seeded(3, whole)


async def fill_alone(node: WorldNode) -> None:
    """Writes two objects on a single node."""
    os.makedirs(node.path)
    engine = await Engine.open(
        node.path,
        disk=node.disk,
        clock=TrioClock(),
        random=node.random,
        threads=InlineThreads(),
        settings=TEST_SETTINGS,
        observer=SilentObserver(),
    )
    async with trio.open_nursery() as nursery:
        await nursery.start(engine.run)
        store = LocalStore(engine)
        await make_bucket(store)
        await put(store, b"small", b"here")
        await put(store, b"large", body(200_000))
        nursery.cancel_scope.cancel()
    await engine.close()


async def join(world: ClusterWorld, number: int) -> WorldNode:
    """A node joins; returns when it shows what the others do."""
    node = world.start(number)
    await node.is_up.wait()
    leader = await world.wait_leader(0)
    await leader.cluster.host.add_node(number)
    count = len(leader.cluster.host.status())

    def follows() -> bool:
        roles = [each.role for each in node.cluster.host.status()]
        return roles == ["follower"] * count

    await world.wait_until(follows)
    await world.wait_equal()
    await world.wait_layout(holds=lambda layout: number in layout.counts())
    return node


def is_whole(node: WorldNode) -> bool:
    """Whether all three nodes vote in every group, as a node knows it: two of them are enough."""
    members = [each.members for each in node.cluster.host.status()]
    return all(len(each.voters) == 3 and not each.outgoing for each in members)


def holders(world: ClusterWorld, blob_id: bytes) -> int:
    """How many nodes keep a blob."""
    return sum(node.engine.look_up(find_blob, blob_id) is not None for node in world.nodes.values())
