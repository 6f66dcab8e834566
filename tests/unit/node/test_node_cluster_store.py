"""Three nodes as one store, in one process: what a client sees through any of them."""

from __future__ import annotations

from pathlib import Path

import pytest
import trio
from node_scenes import body, damage_blob, lanes_busy, live_bytes, missing_at, play, staged_at

from rs3gwd.base.commands import (
    BeginDeleteBucket,
    Conditions,
    CreateBucket,
    DeleteAccessKey,
    DeleteBucket,
    PutAccessKey,
    PutAccount,
)
from rs3gwd.base.errors import (
    BucketNotEmpty,
    NoSuchBucket,
    OperationAborted,
    OutcomeUnknown,
    Overloaded,
    PreconditionFailed,
)
from rs3gwd.base.records import AccessKeyRecord, AccountRecord, Durability
from rs3gwd.engine import queries
from rs3gwd.engine.bucket_spread import untold
from rs3gwd.engine.groups import SYSTEM_GROUP
from rs3gwd.node.local import LocalStore
from rs3gwd.testing.cluster_world import (
    GROUPS,
    ClusterWorld,
    delete,
    etag_of,
    get,
    list_keys,
    make_bucket,
    put,
)
from rs3gwd.testing.target import read_body


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


def test_one_of_many_conditional_writers_wins(tmp_path: Path) -> None:
    """If-None-Match on a new key, through all nodes at once, has one winner; so has If-Match."""

    async def scene(world: ClusterWorld) -> None:
        await make_bucket(world.nodes[1].store)
        winners: list[bytes] = []

        async def write(node: int, number: int, conditions: Conditions) -> None:
            data = b"%d from %d" % (number, node)
            try:
                await put(world.nodes[node].store, b"k", data, conditions=conditions)
            except PreconditionFailed:
                return
            winners.append(data)

        async def race(conditions: Conditions) -> bytes:
            winners.clear()
            async with trio.open_nursery() as nursery:
                for number in range(4):
                    for node in world.nodes:
                        nursery.start_soon(write, node, number, conditions)
            assert len(winners) == 1
            for reader in world.nodes.values():
                assert await get(reader.store, b"k") == winners[0]
            return winners[0]

        first = await race(Conditions(if_none_match="*"))
        await race(Conditions(if_match=etag_of(first)))

    play(tmp_path, scene, seed=2)


@pytest.mark.parametrize("down", [1, 2, 3])
def test_with_one_of_three_nodes_down_all_goes_on(tmp_path: Path, down: int) -> None:
    """Reads and writes of small and large bodies through the others; the node that comes back has
    the same rows, and fetches the bytes that it missed."""

    async def scene(world: ClusterWorld) -> None:
        await make_bucket(world.nodes[1].store)
        await put(world.nodes[1].store, b"before", body(100_000))
        await world.nodes[down].fall()
        here, there = (node.store for number, node in world.nodes.items() if number != down)
        for size in (10, 150_000):
            await put(here, b"key %d" % size, body(size))
            assert await get(there, b"key %d" % size) == body(size)
        await delete(there, b"before")
        assert await list_keys(here) == [b"key 10", b"key 150000"]
        back = await world.restart(down)
        assert await get(back.store, b"key 150000") == body(150_000)
        await world.wait_equal()
        await world.wait_until(lambda: not missing_at(back))
        for number in {1, 2, 3} - {down}:
            world.nodes[number].peers.cut_off()
        version = back.engine.look_up(queries.get_version, "b", b"key 150000", None)
        assert await read_body(LocalStore(back.engine), version) == body(150_000)

    play(tmp_path, scene, seed=down)


def test_a_lost_leader_is_replaced(tmp_path: Path) -> None:
    """The leader of the system group falls: within a few seconds writes go on, nothing is lost."""

    async def scene(world: ClusterWorld) -> None:
        await make_bucket(world.nodes[1].store)
        leader = await world.wait_leader(0)
        others = [node for node in world.nodes.values() if node is not leader]
        for number in range(20):
            await put(others[0].store, b"%02d" % number, body(number))
        await leader.fall()
        before = trio.current_time()
        await make_bucket(others[0].store, "another")
        await put(others[1].store, b"k", b"data", bucket="another")
        assert trio.current_time() - before < 5.0
        assert await list_keys(others[0].store) == [b"%02d" % number for number in range(20)]

    play(tmp_path, scene, seed=4)


def test_without_a_majority_nothing_is_claimed(tmp_path: Path) -> None:
    """Two of three nodes are gone: the third refuses reads and writes, or says that it does not
    know; when one comes back what it said holds."""

    async def scene(world: ClusterWorld) -> None:
        store = world.nodes[1].store
        await make_bucket(store)
        await put(store, b"k", b"old")
        await world.nodes[2].fall()
        await world.nodes[3].fall()
        await trio.sleep(2.0)
        for act in (
            lambda: store.get_version("b", b"k", None),
            lambda: store.list_objects("b"),
            lambda: put(store, b"large", body(100_000)),
        ):
            with pytest.raises(Overloaded):
                await act()
        with pytest.raises((Overloaded, OutcomeUnknown)):
            await put(store, b"k", b"new")
        await world.restart(2)
        assert await get(store, b"k") in (b"old", b"new")
        assert await get(world.nodes[2].store, b"k") == await get(store, b"k")

    play(tmp_path, scene, seed=5)


def test_a_large_body_is_kept_by_a_quorum_and_fetched_by_the_rest(tmp_path: Path) -> None:
    """A node that cannot be reached misses a large body: readers there get it from another node,
    and the node fetches it."""

    async def scene(world: ClusterWorld) -> None:
        one, two, three = world.nodes.values()
        await make_bucket(one.store)
        world.network.isolate(3)
        await put(one.store, b"k", body(500_000))
        world.network.heal()
        assert await get(three.store, b"k") == body(500_000)
        await world.wait_until(lambda: not missing_at(three))
        assert three.cluster.blobs.counts.fetched == 1
        assert live_bytes(one) == live_bytes(two) == live_bytes(three)

    play(tmp_path, scene, seed=6)


def test_deleting_frees_the_bytes_on_every_node(tmp_path: Path) -> None:
    """Small and large bodies are gone everywhere once their versions are."""

    async def scene(world: ClusterWorld) -> None:
        store = world.nodes[1].store
        await make_bucket(store)
        for size in (20_000, 200_000):
            await put(store, b"%d" % size, body(size))
        await world.wait_equal()
        assert all(live_bytes(node) > 220_000 for node in world.nodes.values())
        for size in (20_000, 200_000):
            await delete(world.nodes[2].store, b"%d" % size)
        await world.wait_equal()
        assert [live_bytes(node) for node in world.nodes.values()] == [0, 0, 0]

    play(tmp_path, scene, seed=7)


def test_an_abandoned_upload_leaves_nothing(tmp_path: Path) -> None:
    """A client that goes away in the middle leaves no rows and no staged bytes on any node."""

    async def scene(world: ClusterWorld) -> None:
        store = world.nodes[1].store
        await make_bucket(store)
        async with store.stage(size_hint=None, durability=Durability.STRICT) as stage:
            await stage.write(body(200_000))
        await world.wait_until(lambda: all(lanes_busy(node) == 0 for node in world.nodes.values()))
        assert await list_keys(store) == []
        assert [staged_at(node) for node in world.nodes.values()] == [[], [], []]
        assert [live_bytes(node) for node in world.nodes.values()] == [0, 0, 0]

    play(tmp_path, scene, seed=8)


def test_bytes_that_no_command_named_are_reclaimed(tmp_path: Path) -> None:
    """Bytes that all nodes keep for a command that is refused are freed when they are old."""

    async def scene(world: ClusterWorld) -> None:
        store = world.nodes[1].store
        await make_bucket(store)
        await put(store, b"k", b"here")
        with pytest.raises(PreconditionFailed):
            await put(store, b"k", body(200_000), conditions=Conditions(if_none_match="*"))
        await world.wait_until(lambda: all(staged_at(node) for node in world.nodes.values()))
        await trio.sleep(world.settings.blobs.upkeep.reclaim_age_s + 20.0)
        assert [staged_at(node) for node in world.nodes.values()] == [[], [], []]
        assert await get(store, b"k") == b"here"

    play(tmp_path, scene, seed=9)


def test_a_bucket_with_keys_is_not_deleted(tmp_path: Path) -> None:
    """Deletion is refused while any group has a key, and the bucket goes on; empty it goes."""

    async def scene(world: ClusterWorld) -> None:
        one, two, three = (world.nodes[number].store for number in (1, 2, 3))
        await make_bucket(one)
        await put(one, b"k", b"data")
        with pytest.raises(BucketNotEmpty):
            await two.submit(DeleteBucket("b"))
        await put(three, b"other", b"data")
        for key in (b"k", b"other"):
            await delete(two, key)
        await three.submit(DeleteBucket("b"))
        with pytest.raises(NoSuchBucket):
            await one.get_bucket("b")
        with pytest.raises(NoSuchBucket):
            await put(two, b"k", b"data")
        await make_bucket(two)
        await put(one, b"k", b"again")
        assert await list_keys(three) == [b"k"]

    play(tmp_path, scene, seed=10)


@pytest.mark.parametrize("seed", range(20, 26))
def test_buckets_are_made_and_deleted_at_once_with_writes(tmp_path: Path, seed: int) -> None:
    """Makers, deleters and writers through all nodes: what was acknowledged holds at the end, and
    nothing is left in between."""

    async def scene(world: ClusterWorld) -> None:
        written: set[bytes] = set()

        async def make(node: int) -> None:
            for _ in range(3):
                await make_bucket(world.nodes[node].store)

        async def remove(node: int) -> None:
            for _ in range(3):
                try:
                    await world.nodes[node].store.submit(DeleteBucket("b"))
                except (NoSuchBucket, BucketNotEmpty, OperationAborted):
                    continue
                assert not written

        async def write(node: int) -> None:
            for number in range(4):
                key = b"%d %d" % (node, number)
                try:
                    await put(world.nodes[node].store, key, key)
                except (NoSuchBucket, OperationAborted):
                    continue
                written.add(key)

        async with trio.open_nursery() as nursery:
            for node in world.nodes:
                nursery.start_soon(make, node)
                nursery.start_soon(remove, node)
                nursery.start_soon(write, node)
        await world.wait_equal()
        try:
            assert set(await list_keys(world.nodes[2].store)) == written
        except NoSuchBucket:
            assert not written

    play(tmp_path, scene, seed=seed)


def test_what_a_dead_coordinator_began_is_finished(tmp_path: Path) -> None:
    """A node falls after BeginDeleteBucket, another between a change and its spreading: the
    leader of the system group ends both."""

    async def scene(world: ClusterWorld) -> None:
        node = world.nodes[1]
        await make_bucket(node.store, "going")
        propose = node.cluster.parts.proposer.propose
        await propose(SYSTEM_GROUP, BeginDeleteBucket("going", b"t" * 16))
        await propose(SYSTEM_GROUP, CreateBucket("coming", "o", 1, "r"))
        await node.fall()
        other = world.nodes[2].store
        # Whoever writes to a bucket that its group does not know tells the group itself.
        await put(other, b"k", b"data", bucket="coming")
        await trio.sleep(40.0)
        with pytest.raises(NoSuchBucket):
            await other.get_bucket("going")
        with world.nodes[2].engine.environment.read() as txn:
            assert list(untold(txn, GROUPS)) == []

    play(tmp_path, scene, seed=11)


def test_a_session_sees_what_was_acknowledged_before_it_began(tmp_path: Path) -> None:
    """Accounts and keys too: a key that was removed through one node is unknown to a request that
    begins at another."""

    async def scene(world: ClusterWorld) -> None:
        one, two = world.nodes[1], world.nodes[2]
        await one.store.submit(PutAccount(AccountRecord("c" * 64, "n", "e@x", 1)))
        key = AccessKeyRecord("AK", "secret", "c" * 64, 1)
        for _ in range(5):
            await one.store.submit(PutAccessKey(key))
            await two.cluster.store.begin("", b"")
            assert two.cluster.directory.access_key("AK") == key
            await one.store.submit(DeleteAccessKey("AK"))
            await two.cluster.store.begin("", b"")
            assert two.cluster.directory.access_key("AK") is None

    play(tmp_path, scene, seed=12)


def test_damaged_bytes_are_read_from_another_node(tmp_path: Path) -> None:
    """A flipped bit on one node costs nobody anything: the rest comes from another."""

    async def scene(world: ClusterWorld) -> None:
        node = world.nodes[1]
        await make_bucket(node.store)
        await put(node.store, b"k", body(300_000))
        await world.wait_equal()
        version = node.engine.look_up(queries.get_version, "b", b"k", None)
        assert version.blob is not None
        damage_blob(node, version.blob.blob_id, at=200_000)
        assert await get(node.store, b"k") == body(300_000)

    play(tmp_path, scene, seed=13)
