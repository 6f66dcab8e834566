"""Very small bodies in the rows that name them: when, what reads them, and what damage costs."""

import resource
from contextlib import suppress
from pathlib import Path

import pytest
import trio
from engine_world import World, body

from rs3gwd.base.errors import DataCorrupt, DiskFull
from rs3gwd.base.records import Durability
from rs3gwd.engine.blobs import BLOB_CODEC, all_unsynced
from rs3gwd.engine.check import FindingKind, check
from rs3gwd.engine.commit import INLINE_BATCH_BYTES_MAX
from rs3gwd.engine.tables import Table
from rs3gwd.testing.faulty_disk import MemoryDisk

INLINE = {"inline_bytes_max": 4096}


def _world(path: Path, **settings: object) -> World:
    return World(path, MemoryDisk(), **(INLINE | settings))


def _rows(world: World) -> list[bytes]:
    """What the rows of BLOBS hold inline."""
    with world.engine.environment.read() as txn:
        return [BLOB_CODEC.open(key, value).inline for key, value in txn.cursor(Table.BLOBS)]


async def test_a_lone_small_body_touches_no_segment(tmp_path: Path) -> None:
    """Up to the bound it is in the row, with no write and no sync of its own; beyond it is not."""
    world = _world(tmp_path)
    async with world.running():
        await world.make_bucket()
        world.disk.calls.clear()
        await world.put(b"k", body(4096))
        assert [c for c in world.disk.calls if c.operation in {"pwrite", "sync_data"}] == []
        assert _rows(world) == [body(4096)]
        await world.put(b"k", body(4097), hint=False)
        assert _rows(world) == [b""]
        assert world.disk.calls != []


async def test_inline_bodies_are_read_whole_and_in_ranges(tmp_path: Path) -> None:
    """Before and after a new start, by both ways to read."""
    world = _world(tmp_path)
    data = body(3000)
    async with world.running():
        await world.make_bucket()
        await world.put(b"k", data)
    async with world.running() as engine:
        version = world.find(b"k")
        assert engine.read_small(version) == data
        for start, end in [(0, 3000), (0, 1), (2999, 3000), (100, 2000), (7, 7)]:
            assert await world.read(version, start, end) == data[start:end]


async def test_bodies_of_a_large_batch_go_to_the_segment(tmp_path: Path) -> None:
    """Those that share a sync with many others do not swell the metadata."""
    world = _world(tmp_path)
    count = INLINE_BATCH_BYTES_MAX // 4096 + 5
    async with world.running():
        await world.make_bucket()
        async with trio.open_nursery() as nursery:
            for number in range(count):
                nursery.start_soon(world.put, b"k%d" % number, body(4096, number))
        assert _rows(world) == [b""] * count
        for number in range(count):
            assert await world.get(b"k%d" % number) == body(4096, number)


async def test_a_small_last_part_lies_in_its_row(tmp_path: Path) -> None:
    """A range over both parts is read from the segment and from the row."""
    world = _world(tmp_path, segment_bytes=1 << 24)
    first, last = body(5 << 20), body(1000, 1)
    async with world.running():
        await world.make_bucket()
        version = await world.put_multipart([first, last])
        assert sorted(_rows(world)) == [b"", last]
        assert await world.read(version) == first + last
        start = len(first) - 10
        assert await world.read(version, start, len(first) + 10) == (first + last)[start:][:20]


async def test_inline_bodies_of_relaxed_buckets_are_synced(tmp_path: Path) -> None:
    """The commit syncs its rows in every class: nothing is left for the recovery to look at."""
    world = _world(tmp_path)
    async with world.running() as engine:
        await world.make_bucket(Durability.RELAXED)
        await world.put(b"k", b"x", durability=Durability.RELAXED)
        with engine.environment.read() as txn:
            assert all_unsynced(txn, limit=10) == {}
        assert engine.statistics().unsynced_blobs == 0


async def test_check_finds_nothing_wrong_with_inline_bodies(tmp_path: Path) -> None:
    """After overwrites, deletes and bodies of both kinds rows and accounts agree."""
    world = _world(tmp_path)
    async with world.running() as engine:
        await world.make_bucket()
        for number in range(20):
            await world.put(b"k%d" % (number % 7), body(400 * number + 1, number))
        await world.delete(b"k3")
        report = check(engine.environment, world.disk, read_data=True)
        assert report.findings == []
        assert len(_rows(world)) == 6
        for number in range(7):
            await world.delete(b"k%d" % number)
        assert _rows(world) == []


async def test_a_flipped_bit_inside_is_found_and_never_given_out(tmp_path: Path) -> None:
    """The row's checksum covers the body: reads raise DataCorrupt, check names the row."""
    world = _world(tmp_path)
    async with world.running() as engine:
        await world.make_bucket()
        await world.put(b"k", body(2000))
        with engine.environment.write() as txn:
            ((key, value),) = list(txn.cursor(Table.BLOBS))
            damaged = bytearray(value)
            damaged[1000] ^= 4
            txn.put(Table.BLOBS, key, bytes(damaged))
        engine.parts.view.drop()  # no commit went through the pipeline
        version = world.find(b"k")
        with pytest.raises(DataCorrupt):
            engine.read_small(version)
        with pytest.raises(DataCorrupt):
            await world.read(version)
        report = check(engine.environment, world.disk, read_data=True)
        assert FindingKind.ROW_DAMAGED in {finding.kind for finding in report.findings}


async def test_a_full_map_refuses_inline_bodies_and_changes_nothing(tmp_path: Path) -> None:
    """The writer is told DiskFull, and what was there stays."""
    world = _world(tmp_path, map_bytes=1 << 21)
    async with world.running() as engine:
        await world.make_bucket()
        keys = (b"k%03d" % number for number in range(1000))
        kept = []
        try:
            for key in keys:
                await world.put(key, body(4000))
                kept.append(key)
        except DiskFull:
            assert len(_rows(world)) == len(kept) > 10
        assert len(kept) < 1000
        for key in kept:
            assert await world.get(key) == body(4000)
        assert check(engine.environment, world.disk, read_data=True).findings == []


async def test_where_the_metadata_cannot_grow_every_delete_is_taken(tmp_path: Path) -> None:
    """Bodies are refused with DiskFull before anything is written; all that is there can go."""
    world = _world(tmp_path)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    async with world.running() as engine:
        await world.make_bucket()
        resource.setrlimit(
            resource.RLIMIT_FSIZE, ((tmp_path / "meta/data.mdb").stat().st_size, hard)
        )
        try:
            kept = 0
            with suppress(DiskFull):
                while kept < 4000:
                    await world.put(b"k%04d" % kept, body(4000))
                    kept += 1
            assert 100 < kept < 4000
            for number in range(kept):
                await world.delete(b"k%04d" % number)
            assert _rows(world) == []
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        await world.put(b"again", body(4000))
        assert engine.disk_failure is None
