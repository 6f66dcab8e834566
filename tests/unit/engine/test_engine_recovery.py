"""Starting again: after a stop, a crash at any call, a power cut, and with odd files."""

from pathlib import Path
from random import Random

import pytest
from engine_world import World, body

from rs3gwd.base.errors import DataCorrupt, DiskFailed, FormatError, NoSuchKey
from rs3gwd.base.records import Durability
from rs3gwd.engine.blobs import UnsyncedRecord, get_blob, put_unsynced
from rs3gwd.engine.events import EventKind
from rs3gwd.engine.queries import get_manifest
from rs3gwd.engine.segment_format import SegmentHeader, pack_segment_header
from rs3gwd.engine.segments import segment_path
from rs3gwd.testing.faulty_disk import MemoryDisk

WRITES = ["create", "pwrite", "allocate", "sync_data", "sync_directory", "truncate", "unlink"]


async def test_a_restart_has_everything_and_goes_on_where_it_was(tmp_path: Path) -> None:
    """Active segments are used again: no new file is made."""
    memory = MemoryDisk()
    for start in range(5):
        world = World(tmp_path, memory)
        async with world.running():
            if not start:
                await world.make_bucket()
            await world.put(b"s%d" % start, body(100, start))
            await world.put(b"l%d" % start, body(50_000, start))
            for earlier in range(start + 1):
                assert await world.get(b"s%d" % earlier) == body(100, earlier)
                assert await world.get(b"l%d" % earlier) == body(50_000, earlier)
            assert world.check().is_clean
        assert memory.open_count == 0
    assert len(world.segment_files()) == 2


async def test_a_clean_stop_gives_preallocated_space_back(tmp_path: Path) -> None:
    """The files end with their last record."""
    memory = MemoryDisk()
    world = World(tmp_path, memory)
    async with world.running():
        await world.make_bucket()
        await world.put(b"k", body(100))
    assert [memory.size(path) for path in world.segment_files()] == [64 + 40 + 100 + 4]


async def test_a_second_engine_on_the_same_directory_is_refused(tmp_path: Path) -> None:
    """The lock is held for as long as the first one lives."""
    memory = MemoryDisk()
    world = World(tmp_path, memory)
    async with world.running():
        with pytest.raises(DiskFailed, match="in use"):
            async with World(tmp_path, memory).running():
                raise AssertionError("two engines")
    async with World(tmp_path, memory).running():
        assert memory.open_count > 0


@pytest.mark.parametrize("seed", range(40))
async def test_a_power_cut_loses_no_acknowledged_strict_write(tmp_path: Path, seed: int) -> None:
    """Whatever legal subset of the unsynced writes survives, at any moment."""
    memory = MemoryDisk()
    world = World(tmp_path / "a", memory)
    random = Random(seed)
    survivor = memory
    acknowledged: dict[bytes, bytes] = {}
    async with world.running():
        await world.make_bucket()
        for number in range(random.randrange(1, 12)):
            data = body(random.choice([10, 3000, 70_000, 1_300_000]), number)
            await world.put(b"k%d" % (number % 5), data)
            acknowledged[b"k%d" % (number % 5)] = data
        async with world.engine.stage(size_hint=None, durability=Durability.STRICT) as stage:
            await stage.write(body(200_000))  # in flight when the power goes
            survivor = memory.after_power_cut(random)
    again = World(tmp_path / "a", survivor)
    async with again.running() as engine:
        for key, data in acknowledged.items():
            assert await again.get(key) == data
        assert again.check().is_clean
        assert engine.statistics().versions_lost_at_start == 0
        assert await again.read(await again.put(b"new", body(99_999))) == body(99_999)
        assert again.check().is_clean


@pytest.mark.parametrize("seed", range(30))
async def test_a_power_cut_takes_relaxed_writes_whole_or_not_at_all(
    tmp_path: Path, seed: int
) -> None:
    """What is not whole is dropped at the start, with an event; what is, is synced."""
    memory = MemoryDisk()
    world = World(tmp_path, memory)
    random = Random(seed)
    async with world.running() as engine:
        await world.make_bucket(Durability.RELAXED)
        await world.put(b"safe", body(5000), durability=Durability.RELAXED)
        await engine.tick()
        for number in range(8):
            size = random.choice([10, 3000, 70_000])
            await world.put(b"k%d" % number, body(size, number), durability=Durability.RELAXED)
        sizes = {b"k%d" % n: world.find(b"k%d" % n).size_bytes for n in range(8)}
        survivor = memory.after_power_cut(random)
    again = World(tmp_path, survivor)
    async with again.running() as engine:
        assert await again.get(b"safe") == body(5000)
        lost = 0
        for number in range(8):
            key = b"k%d" % number
            try:
                assert await again.get(key) == body(sizes[key], number)
            except NoSuchKey:
                lost += 1
        assert engine.statistics().versions_lost_at_start == lost
        assert again.events.kinds().count(EventKind.UNSYNCED_LOST) == lost
        assert engine.statistics().unsynced_blobs == 0
        assert again.check().is_clean


async def test_a_lost_part_takes_the_upload_or_the_object_that_has_it(tmp_path: Path) -> None:
    """A version of which one part did not survive is dropped whole, by a walk over the metadata."""
    memory = MemoryDisk()
    world = World(tmp_path, memory, segment_bytes=16 << 20)
    async with world.running() as engine:
        await world.make_bucket()
        version = await world.put_multipart([body(5 << 20, 1), body(1000, 2)])
        await world.put(b"other", body(100))
        with engine.environment.read() as txn:
            manifest = get_manifest(txn, version)
        blob_id = manifest.blob_ids[16:32]
        with engine.environment.write() as txn:
            put_unsynced(txn, blob_id, UnsyncedRecord("b", b"multi"))
            extent = get_blob(txn, blob_id).extents[0]
    memory.flip_bit(segment_path(extent.segment_id), extent.offset + 50)
    again = World(tmp_path, memory, segment_bytes=16 << 20)
    async with again.running() as engine:
        assert engine.statistics().versions_lost_at_start == 1
        with pytest.raises(NoSuchKey):
            again.find(b"multi")
        assert await again.get(b"other") == body(100)
        assert again.check().is_clean


async def test_a_segment_made_before_a_crash_and_never_committed_is_removed(
    tmp_path: Path,
) -> None:
    """Nothing in it was acknowledged."""
    memory = MemoryDisk()
    world = World(tmp_path, memory)
    async with world.running():
        await world.make_bucket()
        await world.put(b"k", body(100))
    memory.write_file(segment_path(77), 0, bytes(1000))
    again = World(tmp_path, memory)
    async with again.running():
        assert segment_path(77) not in again.segment_files()
        assert await again.get(b"k") == body(100)


async def test_an_unknown_segment_is_left_alone_and_reported(tmp_path: Path) -> None:
    """One with a low id, and one of another store."""
    memory = MemoryDisk()
    world = World(tmp_path, memory)
    async with world.running():
        await world.make_bucket()
        await world.put(b"k", body(100))
    memory.write_file(segment_path(0), 0, bytes(1000))
    foreign = pack_segment_header(SegmentHeader(b"f" * 16, 99, 0))
    memory.write_file(segment_path(99), 0, foreign)
    again = World(tmp_path, memory)
    async with again.running():
        assert {segment_path(0), segment_path(99)} <= set(again.segment_files())
        assert again.events.kinds().count(EventKind.SEGMENT_UNKNOWN) == 2
        await again.put(b"j", body(100_000))
        assert await again.get(b"j") == body(100_000)


async def test_a_missing_segment_costs_only_what_lay_in_it(tmp_path: Path) -> None:
    """The engine starts, reports it, answers DataCorrupt for its blobs and serves the rest."""
    memory = MemoryDisk()
    world = World(tmp_path, memory)
    async with world.running():
        await world.make_bucket()
        await world.put(b"small", body(100))
        await world.put(b"large", body(100_000))
        path = segment_path(_segment_of(world, b"large"))
    memory.unlink(path)
    again = World(tmp_path, memory)
    async with again.running() as engine:
        assert EventKind.SEGMENT_MISSING in again.events.kinds()
        assert engine.statistics().segments_missing == 1
        assert await again.get(b"small") == body(100)
        with pytest.raises(DataCorrupt):
            await again.get(b"large")
        await again.delete(b"large")
        await again.put(b"large", body(100_000, 1))
        assert await again.get(b"large") == body(100_000, 1)
    third = World(tmp_path, memory)
    async with third.running() as engine:
        assert engine.statistics().segments_missing == 0
        assert third.check().is_clean


def _segment_of(world: World, key: bytes) -> int:
    blob = world.find(key).blob
    assert blob is not None
    with world.engine.environment.read() as txn:
        return get_blob(txn, blob.blob_id).extents[0].segment_id


async def test_segments_without_their_metadata_are_never_taken_for_rubbish(
    tmp_path: Path,
) -> None:
    """A new metadata directory beside old segments refuses to start."""
    memory = MemoryDisk()
    world = World(tmp_path / "old", memory)
    async with world.running():
        await world.make_bucket()
        await world.put(b"k", body(100))
    before = world.segment_files()
    with pytest.raises(FormatError, match="no metadata"):
        async with World(tmp_path / "new", memory).running():
            raise AssertionError("started")
    assert world.segment_files() == before


@pytest.mark.parametrize("seed", range(10))
async def test_a_crash_during_compaction_loses_nothing(tmp_path: Path, seed: int) -> None:
    """A fault at any call of it, then a power cut: every live object is there."""
    memory = MemoryDisk()
    world = World(tmp_path, memory)
    random = Random(seed)
    async with world.running() as engine:
        await world.make_bucket()
        for number in range(40):
            await world.put(b"k%d" % number, body(60_000, number))
        await engine.tick()
        for number in range(0, 40, 2):
            await world.delete(b"k%d" % number)

        async def compact() -> None:
            for _ in range(100):
                await engine.compact(dead_ratio=0.1)
                await engine.tick()
            raise DiskFailed("there was nothing left to fail")

        world.disk.fail_at(random.randrange(60), operations=WRITES)
        with pytest.raises(DiskFailed):
            await compact()
        survivor = memory.after_power_cut(random)
        world.disk.heal()
    again = World(tmp_path, survivor)
    async with again.running() as engine:
        for number in range(1, 40, 2):
            assert await again.get(b"k%d" % number) == body(60_000, number)
        await engine.compact(dead_ratio=0.1)
        await engine.tick()
        assert again.check().is_clean
