"""The lane of small bodies: what it writes behind them, and when."""

from pathlib import Path

from engine_world import World, body

from rs3gwd.engine.lanes import ZEROS_AHEAD_BYTES, ZEROS_BATCH_BYTES_MAX
from rs3gwd.engine.segment_format import footprint
from rs3gwd.testing.faulty_disk import Call, MemoryDisk

SIZE = 4000
WIDE = {"allocate_bytes": 1 << 20, "small_bytes_max": 1 << 18}


class Writes:
    """Notes the length of every write."""

    def __init__(self) -> None:
        self.lengths: list[int] = []

    def decide(self, call: Call) -> None:
        if call.operation == "pwrite":
            self.lengths.append(call.length)


async def test_zeros_go_before_small_batches_once(tmp_path: Path) -> None:
    """A lone small body brings zeros along, and those that follow find them."""
    world, writes = World(tmp_path, MemoryDisk(), **WIDE), Writes()
    async with world.running():
        await world.make_bucket()
        await world.put(b"first", b"x")
        world.disk.decide = writes.decide
        count = ZEROS_AHEAD_BYTES // footprint(SIZE) + 1
        for number in range(count):
            await world.put(b"k%d" % number, body(SIZE, number))
        ahead = [length for length in writes.lengths if length != footprint(SIZE)]
        assert ahead == [footprint(SIZE) + ZEROS_AHEAD_BYTES]
        for number in range(count):
            assert await world.get(b"k%d" % number) == body(SIZE, number)


async def test_zeros_never_take_room_on_the_disk(tmp_path: Path) -> None:
    """They end where the segment is allocated; a large batch has none."""
    world, writes = World(tmp_path, MemoryDisk(), **(WIDE | {"allocate_bytes": 8192})), Writes()
    async with world.running():
        await world.make_bucket()
        world.disk.decide = writes.decide
        before = world.disk.usage().free_bytes
        await world.put(b"small", body(SIZE))
        assert before - world.disk.usage().free_bytes <= 3 * 8192
        large = ZEROS_BATCH_BYTES_MAX + 1
        await world.put(b"large", body(large))
        assert writes.lengths[-1] == footprint(large)
