"""Compaction gives dead space back, moves nothing unchecked and stands in nobody's way."""

import contextlib
from pathlib import Path
from random import Random

import pytest
import trio
from engine_world import World, body

from rs3gwd.base.errors import DataCorrupt, NoSuchKey, VersionGone
from rs3gwd.engine.blobs import get_blob
from rs3gwd.engine.events import EventKind
from rs3gwd.engine.segments import segment_path
from rs3gwd.testing.faulty_disk import MemoryDisk


async def _fill(world: World, count: int, size: int) -> None:
    await world.make_bucket()
    for number in range(count):
        await world.put(b"k%d" % number, body(size, number))
    await world.engine.tick()


async def test_the_dead_go_and_the_living_are_moved(tmp_path: Path) -> None:
    """Small and large bodies read the same afterwards, and the dead bytes shrink."""
    world = World(tmp_path, MemoryDisk())
    async with world.running() as engine:
        await _fill(world, 60, 50_000)
        async with trio.open_nursery() as nursery:
            for number in range(600):
                nursery.start_soon(world.put, b"s%d" % number, body(4000, number))
        await world.put(b"huge", body(2_500_000))
        await engine.tick()
        for number in range(0, 60, 3):
            await world.delete(b"k%d" % number)
        async with trio.open_nursery() as nursery:
            for number in range(0, 600, 3):
                nursery.start_soon(world.delete, b"s%d" % number)
        before = engine.statistics()
        assert await engine.compact(dead_ratio=0.1) > 0
        await engine.tick()
        after = engine.statistics()
        assert after.dead_bytes < before.dead_bytes / 2
        assert after.live_bytes == before.live_bytes
        for number in range(1, 60, 3):
            assert await world.get(b"k%d" % number) == body(50_000, number)
        for number in range(2, 600, 30):
            assert await world.get(b"s%d" % number) == body(4000, number)
        assert await world.get(b"huge") == body(2_500_000)
        assert world.check().is_clean


async def test_a_wholly_dead_segment_is_unlinked_without_copying(tmp_path: Path) -> None:
    """Nothing is written for it but the commit."""
    world = World(tmp_path, MemoryDisk())
    async with world.running() as engine:
        await _fill(world, 12, 100_000)
        for number in range(12):
            await world.delete(b"k%d" % number)
        sealed = engine.statistics().segments_sealed
        assert sealed >= 1
        world.disk.calls.clear()
        assert await engine.compact() == sealed
        assert not [call for call in world.disk.calls if call.operation == "pwrite"]
        assert engine.statistics().segments_sealed == 0
        assert world.check().is_clean


async def test_below_the_ratio_a_segment_is_left(tmp_path: Path) -> None:
    """Copying much to gain little is not done."""
    world = World(tmp_path, MemoryDisk())
    async with world.running() as engine:
        await _fill(world, 12, 100_000)
        await world.delete(b"k0")
        assert await engine.compact(dead_ratio=0.5) == 0


async def test_writes_and_reads_go_on_during_compaction(tmp_path: Path) -> None:
    """Every read gives a version that was written, every write is there at the end."""
    world = World(tmp_path, MemoryDisk())
    random = Random(3)
    async with world.running() as engine:
        await _fill(world, 40, 60_000)
        latest = {number: number for number in range(40)}
        known = {body(60_000, seed) for seed in [*range(40), *range(100, 220)]}
        stop = trio.Event()

        async def write() -> None:
            for seed in range(100, 220):
                number = random.randrange(40)
                if seed % 5 == 0:
                    await world.delete(b"k%d" % number)
                    latest.pop(number, None)
                else:
                    await world.put(b"k%d" % number, body(60_000, seed))
                    latest[number] = seed
            stop.set()

        async def read() -> None:
            while not stop.is_set():
                number = random.randrange(40)
                with contextlib.suppress(NoSuchKey, VersionGone):
                    assert await world.get(b"k%d" % number) in known
                await trio.lowlevel.checkpoint()

        async def compact() -> None:
            while not stop.is_set():
                await engine.compact(dead_ratio=0.05)
                await engine.tick()
                await trio.lowlevel.checkpoint()

        async with trio.open_nursery() as nursery:
            nursery.start_soon(write)
            nursery.start_soon(compact)
            nursery.start_soon(read)
            nursery.start_soon(read)
        assert engine.statistics().segments_compacted > 0
        for number, seed in latest.items():
            assert await world.get(b"k%d" % number) == body(60_000, seed)
        assert world.check().is_clean


async def test_a_damaged_record_stays_where_it_is_and_is_reported(tmp_path: Path) -> None:
    """Its segment is kept, the others of it are moved, and nothing readable is lost."""
    world = World(tmp_path, MemoryDisk())
    async with world.running() as engine:
        await _fill(world, 12, 100_000)
        blob = world.find(b"k3").blob
        assert blob is not None
        with engine.environment.read() as txn:
            extent = get_blob(txn, blob.blob_id).extents[0]
        world.memory.flip_bit(segment_path(extent.segment_id), extent.offset + 70_000)
        await world.delete(b"k0")
        world.events.all.clear()
        await engine.compact(dead_ratio=0.01)
        await engine.tick()
        assert EventKind.DATA_CORRUPT in world.events.kinds()
        assert segment_path(extent.segment_id) in world.segment_files()
        with pytest.raises(DataCorrupt):
            await world.get(b"k3")
        for number in (1, 2, 4, 5, 6, 7, 8, 9, 10, 11):
            assert await world.get(b"k%d" % number) == body(100_000, number)


async def test_a_record_whose_header_is_damaged_keeps_its_segment(tmp_path: Path) -> None:
    """The scan does not find it, the account says it lives: so the file stays, and it reads."""
    world = World(tmp_path, MemoryDisk())
    async with world.running() as engine:
        await _fill(world, 12, 100_000)
        blob = world.find(b"k3").blob
        assert blob is not None
        with engine.environment.read() as txn:
            extent = get_blob(txn, blob.blob_id).extents[0]
        world.memory.flip_bit(segment_path(extent.segment_id), extent.offset + 3)
        await world.delete(b"k0")
        await engine.compact(dead_ratio=0.01)
        await engine.tick()
        assert segment_path(extent.segment_id) in world.segment_files()
        assert await world.get(b"k3") == body(100_000, 3)


async def test_a_blob_deleted_while_it_is_copied_leaves_a_dead_copy(tmp_path: Path) -> None:
    """The index is turned over by compare-and-set: what is gone stays gone."""
    world = World(tmp_path, MemoryDisk())
    async with world.running() as engine:
        await _fill(world, 12, 100_000)
        await world.delete(b"k0")
        compactor = engine.parts.compactor
        segment = next(iter(compactor._candidates(0.01)))
        live = await trio.to_thread.run_sync(compactor._find_live, segment)
        await world.delete(b"k1")
        assert await compactor._move(live)
        with pytest.raises(NoSuchKey):
            world.find(b"k1")
        assert world.check().is_clean
