"""The bytes of whole nodes under slow, dead and damaged replicas, on a clock that jumps."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest
import trio
from node_scenes import (
    blob_of,
    body,
    damage_blob,
    missing_at,
    play,
    read_here,
    split_holders,
    staged_at,
    version_of,
)

from cluster.layout.layout import NodeRole, first_layout, partition_of
from cluster.quorum.latencies import FRESH_S
from cluster.quorum.writing import ReplicaSets
from rs3gwd.base.commands import (
    CompletePart,
    CompleteUpload,
    CreateUpload,
    PutObject,
    PutPart,
)
from rs3gwd.base.errors import DataCorrupt, Overloaded
from rs3gwd.base.records import Attributes, Durability, UploadRecord, VersionRecord
from rs3gwd.engine.blobs import find_blob
from rs3gwd.engine.bodies import blob_pieces
from rs3gwd.engine.check import check
from rs3gwd.engine.environment import Transaction
from rs3gwd.engine.segments import Ledger
from rs3gwd.engine.tables import Table
from rs3gwd.node.blob_hints import HintSettings
from rs3gwd.testing.cluster_world import (
    SETTINGS,
    ClusterWorld,
    WorldNode,
    delete,
    etag_of,
    get,
    list_keys,
    make_bucket,
    put,
)

ALL_IDS = b"\xff" * 16
BLOCK = 64 << 10


def test_a_slow_replica_slows_no_read(tmp_path: Path) -> None:
    """With 50 ms more to one node the 99th percentile of reads through a node without the bytes is
    at most 1.5 times what it was, and no more second questions were asked than their share."""

    async def scene(world: ClusterWorld) -> None:
        reader, keys = await bodies_elsewhere(world, count=12)
        healthy = await times_of(reader, keys, rounds=25)
        slow = split_holders(world, blob_of(reader, keys[0]).blob_id)[0][0]
        world.network.slow_s[slow.number] = 0.05
        degraded = await times_of(reader, keys, rounds=25)
        assert percentile(degraded, 0.99) <= 1.5 * percentile(healthy, 0.99)
        counts = reader.cluster.blobs.counts
        assert counts.hedges <= 0.1 * counts.remote_reads

    play(tmp_path, scene, nodes=5, seed=21)


def test_a_stalled_replica_is_hedged(tmp_path: Path) -> None:
    """A replica that takes a second costs a reader some milliseconds: another one is asked for the
    same bytes."""

    async def scene(world: ClusterWorld) -> None:
        reader, keys = await bodies_elsewhere(world, count=4)
        await times_of(reader, keys, rounds=10)
        await trio.sleep(FRESH_S + 1.0)  # nobody counts as slow any more
        before = reader.cluster.blobs.counts.hedges
        first = reader.cluster.blobs.remote.holders(blob_of(reader, keys[0]).blob_id)[0]
        world.network.slow_s[first] = 1.0
        (took_s,) = await times_of(reader, keys[:1], rounds=1)
        assert took_s < 0.2
        assert reader.cluster.blobs.counts.hedges == before + 1

    play(tmp_path, scene, nodes=5, seed=22)


def test_a_slow_replica_slows_no_write(tmp_path: Path) -> None:
    """Two of three syncs are enough, and the third one gets its bytes all the same."""

    async def scene(world: ClusterWorld) -> None:
        one, _, three = world.nodes.values()
        await make_bucket(one.store)
        world.network.slow_s[3] = 1.0
        async with one.store.stage(size_hint=None, durability=Durability.STRICT) as stage:
            await stage.write(body(200_000))
            staged = await stage.finish()
            before = trio.current_time()
            await staged.spread(put_command(b"k", body(200_000), staged.ref))  # type: ignore[attr-defined]
            assert trio.current_time() - before < 0.2
            await one.store.submit(put_command(b"k", body(200_000), staged.ref), staged)
        await world.wait_equal()
        await world.wait_until(
            lambda: three.engine.look_up(find_blob, staged.ref.blob_id) is not None
        )
        assert await read_here(three, b"k") == body(200_000)
        assert one.cluster.blobs.counts.quorum_failures == 0

    play(tmp_path, scene, seed=23)


@pytest.mark.parametrize(("down", "is_enough"), [((5,), True), ((4, 5), False), ((1, 2), False)])
def test_during_a_change_of_the_layout_both_sets_count(
    tmp_path: Path, down: tuple[int, ...], is_enough: bool
) -> None:
    """A write needs a majority of the new set and one of the old; a node of both counts in both."""

    async def scene(world: ClusterWorld) -> None:
        await make_bucket(world.nodes[3].store)
        await world.wait_equal()
        fanout = world.nodes[3].cluster.blobs.fanout
        fanout.placement = BothSets()
        for number in down:
            world.network.isolate(number)
        async with world.nodes[3].store.stage(
            size_hint=None, durability=Durability.STRICT
        ) as stage:
            await stage.write(body(100_000))
            staged = await stage.finish()
            command = put_command(b"k", body(100_000), staged.ref)
            if is_enough:
                await staged.spread(command)  # type: ignore[attr-defined]
            else:
                with pytest.raises(Overloaded, match="too few"):
                    await staged.spread(command)  # type: ignore[attr-defined]

    play(tmp_path, scene, nodes=5, seed=34)


class BothSets:
    """A placement in the middle of a change."""

    version = 2

    def write_sets(self, _: bytes) -> ReplicaSets:
        """The new set and the old."""
        return (((3, 4, 5), 2), ((1, 2, 3), 2))

    def read_order(self, _: bytes) -> tuple[int, ...]:
        """The new set, then the old."""
        return (3, 4, 5, 1, 2)

    def holds(self, _: bytes, node: int) -> bool:
        """Everyone of either."""
        return 1 <= node <= 5


def test_a_node_that_dies_during_a_stream_is_owed_the_bytes(tmp_path: Path) -> None:
    """The write is acknowledged without it, the hint is on the disk, and when the node is back it
    gets the hint and the bytes."""

    async def scene(world: ClusterWorld) -> None:
        one = world.nodes[1]
        await make_bucket(one.store)

        async def fall() -> None:
            await world.nodes[3].fall()

        await put_halves(one, b"k", body(300_000), between=fall)
        await world.wait_until(lambda: one.cluster.blobs.hints.waiting == 1)
        assert await get(world.nodes[2].store, b"k") == body(300_000)
        three = await world.restart(3)
        await world.wait_until(lambda: one.cluster.blobs.hints.waiting == 0)
        await world.wait_equal()
        await world.wait_until(lambda: not missing_at(three))
        assert await read_here(three, b"k") == body(300_000)
        counts = one.cluster.blobs.counts
        assert (counts.stragglers, counts.hints_queued, counts.hints_delivered) == (1, 1, 1)

    play(tmp_path, scene, seed=24)


def test_hints_survive_the_death_of_who_owes_them(tmp_path: Path) -> None:
    """Who took the write is killed after it; started again it still knows what it owes."""

    async def scene(world: ClusterWorld) -> None:
        one = world.nodes[1]
        await make_bucket(one.store)
        await world.nodes[3].fall()
        await put(one.store, b"k", body(100_000))
        await world.wait_until(lambda: one.cluster.blobs.counts.hints_queued == 1)
        await trio.sleep(2.0)
        await one.fall()
        one = await world.restart(1)
        assert one.cluster.blobs.hints.waiting == 1
        three = await world.restart(3)
        await world.wait_until(lambda: one.cluster.blobs.hints.waiting == 0)
        await world.wait_until(lambda: not missing_at(three))
        await world.wait_equal()
        assert await read_here(three, b"k") == body(100_000)

    play(tmp_path, scene, seed=25)


def test_beyond_the_bound_a_partition_is_marked_and_compared(tmp_path: Path) -> None:
    """With no room for hints a node that lacks a blob is told of the partition; it finds the blob
    in its own metadata and fetches it."""

    async def scene(world: ClusterWorld) -> None:
        reader, (key,) = await bodies_elsewhere(world, count=1)
        blob = blob_of(reader, key)
        victim = world.nodes[reader.cluster.blobs.remote.holders(blob.blob_id)[0]]
        await victim.engine.parts.pipeline.change(
            lambda txn, ledger: lose(txn, ledger, blob.blob_id)
        )
        assert await get(reader.store, key) == body(100_000)
        assert reader.cluster.blobs.counts.partitions_marked == 1
        assert reader.cluster.blobs.counts.hints_queued == 0
        await world.wait_until(lambda: victim.engine.look_up(find_blob, blob.blob_id) is not None)
        assert await read_here(victim, key) == body(100_000)
        await world.wait_until(lambda: reader.cluster.blobs.hints.marked == 0)

    blobs = msgspec.structs.replace(SETTINGS.blobs, hints=HintSettings(hints_max=0))
    settings = msgspec.structs.replace(SETTINGS, blobs=blobs)
    play(tmp_path, scene, nodes=5, seed=26, settings=settings)


def test_a_quorum_lost_in_the_middle_of_a_body_is_refused_at_once(tmp_path: Path) -> None:
    """When two of three replicas are gone the next bytes are refused, nothing of the key is ever
    seen, and what was kept of it is freed."""

    async def scene(world: ClusterWorld) -> None:
        one = world.nodes[1]
        await make_bucket(one.store)

        async def fall() -> None:
            await world.nodes[2].fall()
            await world.nodes[3].fall()
            await trio.sleep(1.0)

        before = trio.current_time()
        with pytest.raises(Overloaded, match="too few"):
            await put_halves(one, b"k", body(300_000), between=fall)
        assert trio.current_time() - before < 10.0
        assert one.cluster.blobs.counts.quorum_failures == 1
        for number in (2, 3):
            await world.restart(number)
        for node in world.nodes.values():
            assert await list_keys(node.store) == []
        await trio.sleep(world.settings.blobs.upkeep.reclaim_age_s + 20.0)
        assert not any(staged_at(node) for node in world.nodes.values())
        assert one.cluster.blobs.counts.hints_queued == 0

    play(tmp_path, scene, seed=27)


def test_one_good_copy_is_enough_and_heals_the_others(tmp_path: Path) -> None:
    """With damage on two of three replicas every node serves the right bytes, and soon keeps them:
    who read them found its own damage, or was found by others."""

    async def scene(world: ClusterWorld) -> None:
        one, two, _ = world.nodes.values()
        await make_bucket(one.store)
        await put(one.store, b"k", body(300_000))
        await world.wait_equal()
        blob = blob_of(one, b"k")
        damage_blob(one, blob.blob_id, at=100)
        damage_blob(two, blob.blob_id, at=250_000)
        for node in world.nodes.values():
            assert await get(node.store, b"k") == body(300_000)
        await world.wait_until(
            lambda: [each.cluster.blobs.counts.repaired for each in (one, two)] == [1, 1]
        )
        for node in world.nodes.values():
            assert await read_here(node, b"k") == body(300_000)

    play(tmp_path, scene, seed=28)


def test_a_blob_is_put_together_from_what_is_good_of_each_copy(tmp_path: Path) -> None:
    """With damage on every replica, at places that overlap on two at most, each node serves the
    right bytes and heals."""

    async def scene(world: ClusterWorld) -> None:
        await make_bucket(world.nodes[1].store)
        await put(world.nodes[1].store, b"k", big)
        await world.wait_equal()
        blob = blob_of(world.nodes[1], b"k")
        bad = {1: (0, 30 * BLOCK), 2: (0, 60 * BLOCK), 3: (30 * BLOCK, 60 * BLOCK)}
        for number, places in bad.items():
            for at in places:
                damage_blob(world.nodes[number], blob.blob_id, at=at)
        for node in world.nodes.values():
            assert await get(node.store, b"k") == big
        await world.wait_until(
            lambda: all(each.cluster.blobs.counts.repaired for each in world.nodes.values()),
            within_s=200.0,
        )
        for node in world.nodes.values():
            assert await read_here(node, b"k") == big

    big = body(251) * 20_000
    play(tmp_path, scene, seed=35)


def test_a_small_body_that_is_damaged_is_read_elsewhere_and_mended(tmp_path: Path) -> None:
    """A body that rode with its command lies on every node; damage is found by the look-up that
    would have given it out."""

    async def scene(world: ClusterWorld) -> None:
        one = world.nodes[1]
        await make_bucket(one.store)
        await put(one.store, b"k", body(20_000))
        await world.wait_equal()
        damage_blob(one, blob_of(one, b"k").blob_id, at=10)
        session = await one.cluster.store.begin("b", b"k")
        with pytest.raises(DataCorrupt):
            await read_here(one, b"k")
        assert session.lookups_now().read_small(version_of(one, b"k")) is None  # type: ignore[union-attr]
        assert await get(one.store, b"k") == body(20_000)
        await world.wait_until(lambda: one.cluster.blobs.counts.repaired == 1)
        assert await read_here(one, b"k") == body(20_000)

    play(tmp_path, scene, seed=32)


def test_a_reader_that_misses_bytes_of_its_own_node_has_them_fetched(tmp_path: Path) -> None:
    """Without a row that says so the node finds out by comparing the partition."""

    async def scene(world: ClusterWorld) -> None:
        one = world.nodes[1]
        await make_bucket(one.store)
        await put(one.store, b"k", body(100_000))
        await world.wait_equal()
        blob = blob_of(one, b"k")
        await one.engine.parts.pipeline.change(lambda txn, ledger: lose(txn, ledger, blob.blob_id))
        assert missing_at(one) == []
        assert await get(one.store, b"k") == body(100_000)
        await world.wait_until(lambda: one.engine.look_up(find_blob, blob.blob_id) is not None)
        assert await read_here(one, b"k") == body(100_000)

    play(tmp_path, scene, seed=33)


@pytest.mark.parametrize("rotten", [1, 2])
def test_bit_rot_is_found_by_scrubbing_and_replaced(tmp_path: Path, rotten: int) -> None:
    """On the node that took the write as on another: nobody had to read the object for it."""

    async def scene(world: ClusterWorld) -> None:
        await make_bucket(world.nodes[1].store)
        for key in (b"j", b"k"):
            await put(world.nodes[1].store, key, body(150_000))
        await world.wait_equal()
        node = world.nodes[rotten]
        damage_blob(node, blob_of(node, b"k").blob_id, at=70_000)
        with pytest.raises(DataCorrupt):
            await read_here(node, b"k")
        await node.cluster.blobs.mender.scrub(after=b"", until=ALL_IDS)
        await world.wait_until(lambda: node.cluster.blobs.counts.repaired == 1)
        assert node.cluster.blobs.counts.scrubbed >= 2
        assert await read_here(node, b"k") == body(150_000)
        assert node.cluster.blobs.mender.waiting == 0
        # The damaged bytes are dead, and count so.
        assert node.engine.statistics().dead_bytes > 150_000
        assert check(node.engine.environment, node.disk, read_data=True).findings == []

    play(tmp_path, scene, seed=29)


def test_damage_that_nobody_can_mend_is_an_error_and_kept(tmp_path: Path) -> None:
    """With damage at the same place everywhere the read fails, and no copy is given up."""

    async def scene(world: ClusterWorld) -> None:
        one = world.nodes[1]
        await make_bucket(one.store)
        await put(one.store, b"k", body(100_000))
        await world.wait_equal()
        blob = blob_of(one, b"k")
        for node in world.nodes.values():
            damage_blob(node, blob.blob_id, at=50)
        with pytest.raises((Overloaded, DataCorrupt)):
            await get(one.store, b"k")
        await trio.sleep(5.0)
        assert all(node.engine.look_up(find_blob, blob.blob_id) for node in world.nodes.values())

    play(tmp_path, scene, seed=30)


def test_parts_that_lie_elsewhere_outlive_their_deletion_while_they_are_read(
    tmp_path: Path,
) -> None:
    """A body of five parts is deleted after its first bytes were read through a node that does not
    keep all of it: the rest comes from those that did."""

    async def scene(world: ClusterWorld) -> None:
        await make_bucket(world.nodes[1].store)
        whole = (body(251) * (21 << 12))[: 20 << 20] + body(100_000)
        version = await put_parts(world.nodes[1], b"k", whole)
        await world.wait_equal()
        pieces = world.nodes[1].engine.look_up(blob_pieces, version, 0, version.size_bytes)
        assert len(pieces) == 5
        reader = split_holders(world, pieces[-1].blob.blob_id)[1][0]
        assert version == version_of(reader, b"k")
        async with reader.store.open_body(version, 0, version.size_bytes) as opened:
            read = bytes(await opened.read())
            await delete(world.nodes[2].store, b"k")
            await world.wait_equal()
            for node in world.nodes.values():
                await node.engine.parts.housekeeper.tick()
            pins = [node.cluster.blobs.service.pinned for node in world.nodes.values()]
            assert sum(pins) > 0
            while data := await opened.read():
                read += data
        assert read == whole
        await trio.sleep(1.0)
        assert not any(node.cluster.blobs.service.pinned for node in world.nodes.values())

    play(tmp_path, scene, nodes=5, seed=31)


def test_partitions_are_those_of_the_layout() -> None:
    """What one node marks another finds."""
    roles = {node: NodeRole("z", 1 << 40) for node in (1, 2, 3)}
    layout = first_layout(roles, replicas=3, zone_copies_max=3)
    for number in range(50):
        blob_id = number.to_bytes(16, "big")
        assert partition_of(blob_id) == layout.partition_of(blob_id)


# What the tests do.


async def bodies_elsewhere(world: ClusterWorld, *, count: int) -> tuple[WorldNode, list[bytes]]:
    """So many bodies of which node 5 keeps nothing; node 5, and their keys."""
    await make_bucket(world.nodes[1].store)
    reader, keys = world.nodes[5], list[bytes]()
    for number in range(count * 20):
        if len(keys) == count:
            break
        key = b"%03d" % number
        await put(world.nodes[1].store, key, body(100_000))
        await world.wait_equal()
        with_it, _ = split_holders(world, blob_of(reader, key).blob_id)
        if reader not in with_it:
            keys.append(key)
    await trio.sleep(10.0)
    return reader, keys


async def times_of(reader: WorldNode, keys: list[bytes], *, rounds: int) -> list[float]:
    """How long each read of the bytes takes, in seconds, without the look-up."""
    times: list[float] = []
    for _ in range(rounds):
        for key in keys:
            version = version_of(reader, key)
            before = trio.current_time()
            async with reader.store.open_body(version, 0, version.size_bytes) as opened:
                read = b""
                while data := await opened.read():
                    read += data
            times.append(trio.current_time() - before)
            assert read == body(100_000)
            await trio.sleep(0.01)
    return times


def percentile(times: list[float], share: float) -> float:
    """The time within which this share of them lies."""
    return sorted(times)[int(share * len(times))]


async def put_halves(node: WorldNode, key: bytes, data: bytes, *, between: object) -> None:
    """Writes an object in pieces; in the middle something happens."""
    half = len(data) // 2
    async with node.store.stage(size_hint=len(data), durability=Durability.STRICT) as stage:
        await stage.write(data[:half])
        await between()  # type: ignore[operator]
        for at in range(half, len(data), 20_000):
            await stage.write(data[at : at + 20_000])
        staged = await stage.finish()
        await node.store.submit(put_command(key, data, staged.ref), staged)


def put_command(key: bytes, data: bytes, ref: object) -> PutObject:
    """The command for some bytes."""
    return PutObject(
        bucket="b",
        key=key,
        now_ms=1,
        nonce=key.rjust(16, b"-"),
        attributes=Attributes("o"),
        etag=etag_of(data),
        size_bytes=len(data),
        blob=ref,  # type: ignore[arg-type]
    )


async def put_parts(node: WorldNode, key: bytes, data: bytes) -> VersionRecord:
    """Writes an object in parts of 5 MiB."""
    store = node.store
    upload = await store.submit(CreateUpload("b", key, 1, b"u" * 16, Attributes("o")))
    assert isinstance(upload, UploadRecord)
    done: list[CompletePart] = []
    for number, at in enumerate(range(0, len(data), 5 << 20), start=1):
        part = data[at : at + (5 << 20)]
        async with store.stage(size_hint=len(part), durability=Durability.STRICT) as stage:
            for start in range(0, len(part), 1 << 20):
                await stage.write(part[start : start + (1 << 20)])
            staged = await stage.finish()
            etag = etag_of(part)
            command = PutPart("b", key, upload.upload_id, number, 1, etag, len(part), staged.ref)
            await store.submit(command, staged)
        done.append(CompletePart(number, etag))
    command = CompleteUpload("b", key, upload.upload_id, done, 2, b"c" * 16)
    version = await store.submit(command)
    assert isinstance(version, VersionRecord)
    return version


def lose(txn: Transaction, ledger: Ledger, blob_id: bytes) -> None:
    """A node forgets that it has, or misses, a blob."""
    record = find_blob(txn, blob_id)
    assert record is not None
    txn.delete(Table.BLOBS, blob_id)
    ledger.free(record.extents)
