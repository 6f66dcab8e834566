"""Bodies come back as they went in, whatever their size and pieces; aborted ones leave nothing."""

from functools import partial
from pathlib import Path

import pytest
import trio
from engine_world import World, body, put_command

from rs3gwd.base.errors import DiskFailed, DiskFull, NoSuchBucket, Overloaded
from rs3gwd.base.memory import FREE_BYTES
from rs3gwd.base.records import Durability
from rs3gwd.engine.stage import LARGE_BODY_MEMORY_BYTES
from rs3gwd.testing.faulty_disk import MemoryDisk

SIZES = [0, 1, 4095, 4096, 4097, 65_535, 65_536, 65_537, 131_072, 900_000, 1 << 20, 3_500_001]


@pytest.mark.parametrize("size", SIZES)
async def test_a_body_of_any_size_reads_back(tmp_path: Path, size: int) -> None:
    """In memory, in one extent, across several segments: the same bytes."""
    world = World(tmp_path, MemoryDisk())
    async with world.running():
        await world.make_bucket()
        data = body(size)
        version = await world.put(b"k", data)
        assert await world.read(version) == data
        assert world.check().is_clean


@pytest.mark.parametrize("chunk", [1, 7, 1000, 1 << 20])
async def test_the_pieces_of_a_body_do_not_matter(tmp_path: Path, chunk: int) -> None:
    """Bytes that come singly or all at once, without a hint, are the same body."""
    world = World(tmp_path, MemoryDisk())
    async with world.running():
        await world.make_bucket()
        data = body(20_000 if chunk < 1000 else 2_000_000)
        assert await world.read(await world.put(b"k", data, hint=False, chunk=chunk)) == data


async def test_a_stage_takes_every_kind_of_buffer(tmp_path: Path) -> None:
    """A buffer may be changed once the write has returned."""
    world = World(tmp_path, MemoryDisk())
    async with world.running() as engine:
        await world.make_bucket()
        buffer = bytearray(b"x" * 6000)
        async with engine.stage(size_hint=None, durability=Durability.STRICT) as stage:
            await stage.write(buffer)
            buffer[:] = b"y" * 6000
            await stage.write(memoryview(buffer)[:3])
            staged = await stage.finish()
            await engine.submit(put_command(b"k", bytes(6003), staged.ref), staged)
        assert await world.get(b"k") == b"x" * 6000 + b"yyy"


@pytest.mark.parametrize("size", [1, 70_000, 300_000, 3_500_001])
async def test_buffers_written_behind_are_let_go_and_read_back(tmp_path: Path, size: int) -> None:
    """Each buffer is done with once, before it is used again, mixed with bytes that are kept."""
    world = World(tmp_path, MemoryDisk())
    async with world.running() as engine:
        await world.make_bucket()
        data = body(size)
        done: list[int] = []
        async with engine.stage(size_hint=size, durability=Durability.STRICT) as stage:
            for number, start in enumerate(range(0, size, 50_000)):
                piece = data[start : start + 50_000]
                if number % 4 == 3:
                    await stage.write(piece)
                    done.append(number)
                else:
                    view = memoryview(bytearray(piece))
                    await stage.write_behind(view, partial(done.append, number))
            await stage.end()
            staged = await stage.finish()
            assert sorted(done) == list(range(-(-size // 50_000)))
            await engine.submit(put_command(b"k", data, staged.ref), staged)
        assert await world.get(b"k") == data
        assert world.check().is_clean


async def test_a_write_behind_that_fails_is_raised_later_and_lets_go(tmp_path: Path) -> None:
    """No later than by finish; every buffer is given back, so that nobody waits for it."""
    world = World(tmp_path, MemoryDisk())
    async with world.running() as engine:
        await world.make_bucket()
        await world.put(b"k", body(100_000))
        world.disk.fail_at(1, operations=["pwrite"])
        given: list[int] = []
        done: list[int] = []

        async def write() -> None:
            async with engine.stage(size_hint=None, durability=Durability.STRICT) as stage:
                for number in range(5):
                    view = memoryview(bytearray(100_000))
                    await stage.write_behind(view, partial(done.append, number))
                    given.append(number)
                await stage.finish()

        with pytest.raises(DiskFailed):
            await write()
        assert done == given != []
        assert engine.statistics().lanes_busy == 0


async def test_an_aborted_body_is_written_over(tmp_path: Path) -> None:
    """The space of bodies without a command is used again: the disk does not grow."""
    world = World(tmp_path, MemoryDisk())
    async with world.running() as engine:
        await world.make_bucket()
        for seed in range(20):
            async with engine.stage(size_hint=None, durability=Durability.STRICT) as stage:
                await stage.write(body(300_000, seed))
                await stage.finish()
        data = body(300_000, 99)
        assert await world.read(await world.put(b"k", data)) == data
        assert len(world.segment_files()) == 1
        assert engine.statistics().lanes_busy == 0
        assert world.check().is_clean


async def test_a_body_broken_off_while_writing_does_no_harm(tmp_path: Path) -> None:
    """Cancelled in the middle of a large body, the lane is given back after its last write."""
    world = World(tmp_path, MemoryDisk())
    async with world.running() as engine:
        await world.make_bucket()
        with trio.move_on_after(0):
            async with engine.stage(size_hint=None, durability=Durability.STRICT) as stage:
                for seed in range(100):
                    await stage.write(body(100_000, seed))
        data = body(1_500_000)
        assert await world.read(await world.put(b"k", data)) == data
        assert engine.statistics().lanes_busy == 0
        assert world.check().is_clean


async def test_large_bodies_at_one_moment_do_not_mix(tmp_path: Path) -> None:
    """Each has a lane of its own."""
    world = World(tmp_path, MemoryDisk())
    async with world.running():
        await world.make_bucket()

        async def put(number: int) -> None:
            await world.put(b"k%d" % number, body(400_000, number), chunk=50_000)

        async with trio.open_nursery() as nursery:
            for number in range(12):
                nursery.start_soon(put, number)
        for number in range(12):
            assert await world.get(b"k%d" % number) == body(400_000, number)
        assert world.check().is_clean


async def test_lanes_are_bounded(tmp_path: Path) -> None:
    """One body too many is Overloaded, and welcome once another has ended."""
    world = World(tmp_path, MemoryDisk(), lanes_max=1)
    async with world.running() as engine:
        await world.make_bucket()
        async with engine.stage(size_hint=None, durability=Durability.STRICT) as first:
            await first.write(body(100_000))
            with pytest.raises(Overloaded):
                await world.put(b"k", body(100_000))
        await world.put(b"k", body(100_000))


async def test_the_memory_of_stages_is_bounded(tmp_path: Path) -> None:
    """A small body that does not fit is refused on entry, and nothing is held afterwards."""
    world = World(
        tmp_path, MemoryDisk(), stage_memory_bytes_max=5000, small_bytes_max=2 * FREE_BYTES
    )
    async with world.running() as engine:
        await world.make_bucket()
        async with engine.stage(size_hint=FREE_BYTES + 4000, durability=Durability.STRICT):
            with pytest.raises(Overloaded):
                await world.put(b"k", body(FREE_BYTES + 2000))
            await world.put(b"k", body(FREE_BYTES))
        await world.put(b"k", body(FREE_BYTES + 2000))
        assert engine.statistics().stage_memory_bytes == 0


async def test_large_bodies_beyond_the_memory_are_lean_and_not_refused(tmp_path: Path) -> None:
    """Those that came first keep what they hold; the others take smaller steps to the same end."""
    world = World(tmp_path, MemoryDisk(), stage_memory_bytes_max=2 * LARGE_BODY_MEMORY_BYTES)
    async with world.running() as engine:
        await world.make_bucket()
        async with engine.stage(size_hint=None, durability=Durability.STRICT) as roomy:
            assert not roomy.is_lean
            held_bytes = engine.statistics().stage_memory_bytes
            assert held_bytes == LARGE_BODY_MEMORY_BYTES
            async with engine.stage(size_hint=1 << 30, durability=Durability.STRICT) as lean:
                assert lean.is_lean
                assert engine.statistics().stage_memory_bytes == held_bytes
            for size in (0, 1, 4096, 4097, FREE_BYTES + 1, 3_500_001):
                for hint in (True, False):
                    await world.put(b"k", body(size), hint=hint)
                    assert await world.get(b"k") == body(size)
        assert engine.statistics().stage_memory_bytes == 0
        assert world.check().is_clean


async def test_more_than_the_hint_is_refused(tmp_path: Path) -> None:
    """A caller that announces a size keeps to it."""
    world = World(tmp_path, MemoryDisk())
    async with (
        world.running() as engine,
        engine.stage(size_hint=3, durability=Durability.STRICT) as stage,
    ):
        with pytest.raises(ValueError, match="announced"):
            await stage.write(b"1234")


async def test_a_body_that_would_use_the_reserve_is_refused(tmp_path: Path) -> None:
    """Small or large: DiskFull before a byte is taken, while deletes work."""
    world = World(tmp_path, MemoryDisk(capacity_bytes=1 << 20))
    async with world.running():
        await world.make_bucket()
        await world.put(b"k", body(3000))
        with pytest.raises(DiskFull):
            await world.put(b"large", body(1_000_000))
        await world.delete(b"k")
        assert world.check().is_clean


async def test_a_refused_command_gives_its_bytes_back(tmp_path: Path) -> None:
    """The bytes of a small body become dead, those of a large one are written over."""
    world = World(tmp_path, MemoryDisk())
    async with world.running() as engine:
        for size in (100, 100_000):
            with pytest.raises(NoSuchBucket):
                await world.put(b"k", body(size))
        assert engine.statistics().live_bytes == 0
        assert world.check().is_clean


async def test_a_lane_trims_what_a_great_aborted_body_left(tmp_path: Path) -> None:
    """The housekeeping gives the disk back."""
    world = World(tmp_path, MemoryDisk())
    async with world.running() as engine:
        await world.make_bucket()
        async with engine.stage(size_hint=None, durability=Durability.STRICT) as stage:
            await stage.write(body(3_000_000))
        await engine.tick()
        sizes = [world.memory.size(path) for path in world.segment_files()]
        assert max(sizes) < 200_000
        await world.put(b"k", body(500_000))
        assert await world.get(b"k") == body(500_000)
