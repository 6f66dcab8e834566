"""Reads give the bytes that were written or an error that says which are not: never others."""

from pathlib import Path
from random import Random

import pytest
import trio
from engine_world import World, body

from rs3gwd.base.errors import DataCorrupt, VersionGone
from rs3gwd.engine import bodies
from rs3gwd.engine.events import EventKind
from rs3gwd.testing.faulty_disk import MemoryDisk


class ColdDisk(MemoryDisk):
    """A disk whose page cache holds nothing: every read waits."""

    def pread_nowait(self, descriptor: int, target: memoryview, offset: int) -> bool:
        return False


@pytest.mark.parametrize("kind", [MemoryDisk, ColdDisk])
async def test_any_range_reads_the_bytes_that_were_written(
    tmp_path: Path, kind: type[MemoryDisk]
) -> None:
    """Ranges that begin and end anywhere, over blocks, extents and segments, cached or not."""
    world = World(tmp_path, kind())
    random = Random(1)
    async with world.running():
        await world.make_bucket()
        data = body(3_300_003)
        version = await world.put(b"k", data)
        edges = [0, 1, 65_535, 65_536, 65_537, 1_000_000, len(data) - 1, len(data)]
        edges += [random.randrange(len(data)) for _ in range(8)]
        for start in edges:
            for end in edges:
                if start <= end:
                    assert await world.read(version, start, end) == data[start:end]


async def test_a_range_of_a_multipart_object_crosses_its_parts(tmp_path: Path) -> None:
    """One bisection finds the parts; the bytes are those of the parts in order."""
    world = World(tmp_path, MemoryDisk(), segment_bytes=4 << 20)
    async with world.running():
        await world.make_bucket()
        parts = [body(5 << 20, 1), body((5 << 20) + 1, 2), body(10, 3)]
        version = await world.put_multipart(parts)
        whole = b"".join(parts)
        assert version.size_bytes == len(whole)
        assert await world.read(version) == whole
        edge = 5 << 20
        for start, end in [
            (0, 1),
            (edge - 1, edge + 1),
            (edge, 2 * edge + 5),
            (2 * edge + 1, len(whole)),
        ]:
            assert await world.read(version, start, end) == whole[start:end]
        assert world.check().is_clean


async def test_a_manifest_of_many_parts_is_looked_up_in_a_thread(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The answer is the same."""
    monkeypatch.setattr(bodies, "INLINE_PARTS_MAX", 1)
    world = World(tmp_path, MemoryDisk(), segment_bytes=16 << 20)
    async with world.running():
        await world.make_bucket()
        parts = [body(5 << 20, 1), body(10, 3)]
        version = await world.put_multipart(parts)
        assert await world.read(version, (5 << 20) - 5) == parts[0][-5:] + parts[1]


async def test_a_small_body_is_read_without_waiting(tmp_path: Path) -> None:
    """Once its segment is open; before, and for large bodies, the answer is None."""
    world = World(tmp_path, MemoryDisk(), small_bytes_max=1 << 17)
    async with world.running() as engine:
        await world.make_bucket()
        small = await world.put(b"small", body(4096))
        large = await world.put(b"large", body(70_000))
        empty = await world.put(b"empty", b"")
        assert engine.read_small(small) is None
        await world.read(small)
        assert engine.read_small(small) == body(4096)
        assert engine.read_small(large) is None
        assert engine.read_small(empty) == b""
        await world.delete(b"small")
        with pytest.raises(VersionGone):
            engine.read_small(small)


async def test_a_deleted_version_is_gone_before_and_readable_while_open(tmp_path: Path) -> None:
    """Opening it afterwards is VersionGone; a reader that is open goes on to the end."""
    world = World(tmp_path, MemoryDisk())
    async with world.running() as engine:
        await world.make_bucket()
        data = body(2_500_000)
        version = await world.put(b"k", data)
        async with engine.open_body(version, 0, len(data)) as reader:
            first = bytes(await reader.read())
            await world.delete(b"k")
            with pytest.raises(VersionGone):
                await world.read(version)
            await engine.tick()
            await engine.compact(dead_ratio=0.0)
            await engine.tick()
            rest = [first]
            while piece := await reader.read():
                rest.append(bytes(piece))
        assert b"".join(rest) == data
        await engine.tick()
        assert world.check().is_clean


@pytest.mark.parametrize("kind", [MemoryDisk, ColdDisk])
async def test_a_flipped_bit_is_never_given_out(tmp_path: Path, kind: type[MemoryDisk]) -> None:
    """Wherever it is: the reads give the right bytes, or DataCorrupt and an event."""
    world = World(tmp_path, kind())
    random = Random(7)
    async with world.running():
        await world.make_bucket()
        contents = {b"small": body(3000), b"block": body(65_536), b"large": body(200_000)}
        for key, data in contents.items():
            await world.put(key, data)
            await world.get(key)
        versions = {key: world.find(key) for key in contents}
        caught = 0
        for _ in range(150):
            path = random.choice(world.segment_files())
            offset, bit = random.randrange(world.memory.size(path)), random.randrange(8)
            world.memory.flip_bit(path, offset, bit)
            for key, data in contents.items():
                small = None
                try:
                    small = world.engine.read_small(versions[key])
                    assert small in (None, data)
                    assert await world.read(versions[key]) == data
                except DataCorrupt:
                    caught += 1
                    assert EventKind.DATA_CORRUPT in world.events.kinds()
            world.memory.flip_bit(path, offset, bit)
        assert caught > 50


async def test_an_unreadable_or_missing_segment_is_data_corrupt(tmp_path: Path) -> None:
    """An error of the disk while reading does not latch it: other objects are served."""
    world = World(tmp_path, ColdDisk())
    async with world.running() as engine:
        await world.make_bucket()
        version = await world.put(b"k", body(5000))
        world.disk.fail_at(0, operations=["pread"])
        with pytest.raises(DataCorrupt):
            await world.read(version)
        world.disk.heal()
        assert await world.read(version) == body(5000)
        assert engine.statistics().disk_failed is None


async def test_a_range_reads_only_the_blocks_it_touches(tmp_path: Path) -> None:
    """One byte costs one block and the table, not the object."""
    world = World(tmp_path, MemoryDisk())
    async with world.running():
        await world.make_bucket()
        version = await world.put(b"k", body(900_000))
        await world.read(version, 0, 1)
        world.disk.calls.clear()
        assert await world.read(version, 500_000, 500_001) == body(900_000)[500_000:500_001]
        reads = [call for call in world.disk.calls if call.operation.startswith("pread")]
        assert sum(call.length for call in reads) <= 65_536 + 4 * 14


async def test_descriptors_are_bounded(tmp_path: Path) -> None:
    """Reading many segments keeps no more open than the bound, and closing closes all."""
    world = World(tmp_path, MemoryDisk(), descriptors_max=2)
    async with world.running():
        await world.make_bucket()
        for number in range(10):
            await world.put(b"k%d" % number, body(900_000, number))
        for number in range(10):
            assert await world.get(b"k%d" % number) == body(900_000, number)
        assert len(world.engine.parts.access._open) <= 2
    assert world.memory.open_count == 0


async def test_readers_and_writers_at_once_see_whole_versions(tmp_path: Path) -> None:
    """A key overwritten all the time is read as one of the versions that were written."""
    world = World(tmp_path, MemoryDisk())
    async with world.running():
        await world.make_bucket()
        known = {body(30_000, seed) for seed in range(20)}
        await world.put(b"k", body(30_000, 0))
        stop = trio.Event()
        reads = 0

        async def write() -> None:
            for seed in range(20):
                await world.put(b"k", body(30_000, seed))
            stop.set()

        async def read() -> None:
            nonlocal reads
            while not stop.is_set():
                try:
                    assert await world.get(b"k") in known
                except VersionGone:
                    await trio.lowlevel.checkpoint()
                    continue
                reads += 1
                await trio.lowlevel.checkpoint()

        async with trio.open_nursery() as nursery:
            nursery.start_soon(write)
            for _ in range(4):
                nursery.start_soon(read)
        assert reads > 0
