"""Any call to the disk may fail: nothing acknowledged is lost, nothing half-written shows."""

import errno
from pathlib import Path

import pytest
import trio
from engine_world import World, body

from rs3gwd.base.errors import DiskFailed, DiskFull, Overloaded, StoreError
from rs3gwd.base.records import Durability
from rs3gwd.engine import environment as environment_module
from rs3gwd.engine.events import EventKind
from rs3gwd.testing.faulty_disk import Fault, FaultyDisk, MemoryDisk

WRITES = ["create", "pwrite", "allocate", "sync_data", "sync_directory", "truncate", "unlink"]
SCRIPT = [(b"a", 100), (b"c", 90_000), (b"d", 300_000), (b"a", 200)]
SMALL = {"segment_bytes": 1 << 18, "allocate_bytes": 1 << 17}


async def _run_script(world: World) -> dict[bytes, bytes]:
    """Writes until the disk fails; gives what was acknowledged."""
    acknowledged: dict[bytes, bytes] = {}
    for seed, (key, size) in enumerate(SCRIPT):
        data = body(size, seed)
        try:
            await world.put(key, data)
        except (DiskFailed, DiskFull, Overloaded):
            continue
        acknowledged[key] = data
    return acknowledged


async def _expect(world: World, acknowledged: dict[bytes, bytes]) -> None:
    """What was acknowledged is there; what was not is whole or absent."""
    for key in {key for key, _ in SCRIPT}:
        try:
            found = await world.get(key)
        except StoreError:
            assert key not in acknowledged
            continue
        written = {body(size, seed) for seed, (name, size) in enumerate(SCRIPT) if name == key}
        assert found == acknowledged[key] if key in acknowledged else found in written


async def _call_count(path: Path) -> int:
    world = World(path, MemoryDisk(), **SMALL)
    async with world.running():
        await world.make_bucket()
        before = len(world.disk.calls)
        await _run_script(world)
        return sum(call.operation in WRITES for call in world.disk.calls[before:])


async def test_an_io_error_at_any_call_latches_and_loses_nothing(tmp_path: Path) -> None:
    """From the first failed write or sync on no write is taken; reads go on; a restart has all."""
    count = await _call_count(tmp_path / "count")
    latched = 0
    for call in range(count):
        memory = MemoryDisk()
        world = World(tmp_path / str(call), memory, **SMALL)
        async with world.running() as engine:
            await world.make_bucket()
            world.disk.fail_once(call, operations=WRITES)
            acknowledged = await _run_script(world)
            if not world.disk.fired:  # threads race, so the number of calls varies a little
                continue
            latched += 1
            assert engine.statistics().disk_failed is not None
            assert world.events.kinds().count(EventKind.DISK_FAILED) == 1
            with pytest.raises(DiskFailed):
                await world.put(b"z", b"z")
            with pytest.raises(DiskFailed):
                await world.delete(b"a")
            for key, data in acknowledged.items():
                assert await world.get(key) == data
            world.disk.heal()
            with pytest.raises(DiskFailed):
                await world.put(b"z", b"z")
        again = World(tmp_path / str(call), memory, **SMALL)
        async with again.running():
            await _expect(again, acknowledged)
            assert again.check().is_clean
            assert await again.read(await again.put(b"z", b"z")) == b"z"
    assert latched > 20


async def test_no_room_at_any_call_loses_nothing_and_passes(tmp_path: Path) -> None:
    """ENOSPC fails the write that met it; the next one succeeds when there is room again."""
    count = await _call_count(tmp_path / "count")
    syncs = ("sync_data", "sync_directory")
    for call in range(count):
        memory = MemoryDisk()
        world = World(tmp_path / str(call), memory, **SMALL)
        operations = [operation for operation in WRITES if operation not in syncs]
        async with world.running() as engine:
            await world.make_bucket()
            fault = Fault(errno.ENOSPC)
            world.disk.fail_once(call, operations=operations, fault=fault)
            acknowledged = await _run_script(world)
            assert engine.statistics().disk_failed is None
            world.disk.heal()
            await _expect(world, acknowledged)
            acknowledged |= await _run_script(world)
            assert len(acknowledged) == len({key for key, _ in SCRIPT})
            await _expect(world, acknowledged)
            assert world.check().is_clean
        again = World(tmp_path / str(call), memory, **SMALL)
        async with again.running():
            await _expect(again, acknowledged)


async def test_a_torn_write_is_not_visible(tmp_path: Path) -> None:
    """A write that stops half-way and fails leaves the old version."""
    memory = MemoryDisk()
    world = World(tmp_path, memory)
    async with world.running():
        await world.make_bucket()
        await world.put(b"k", body(3000, 1))
        fault = Fault(errno.EIO, torn_bytes=1000)
        world.disk.fail_once(0, operations=["pwrite"], fault=fault)
        with pytest.raises(DiskFailed):
            await world.put(b"k", body(3000, 2))
    again = World(tmp_path, memory)
    async with again.running():
        assert await again.get(b"k") == body(3000, 1)
        await again.put(b"j", body(100))
        assert again.check().is_clean


async def test_a_write_that_was_lost_in_silence_is_found_by_the_read(tmp_path: Path) -> None:
    """A disk that claims a write it never did cannot make us give out other bytes."""
    world = World(tmp_path, MemoryDisk())
    async with world.running():
        await world.make_bucket()
        await world.put(b"old", body(100_000, 1))
        world.disk.fail_once(1, operations=["pwrite"], fault=Fault(lost=True))
        version = await world.put(b"k", body(100_000, 2))
        world.disk.heal()
        findings = world.check().findings
        assert len(findings) == 1
        assert findings[0].kind == "data_corrupt"
        assert version.blob is not None
        assert version.blob.blob_id.hex() in findings[0].where


async def test_deletes_work_on_a_full_disk_and_make_room(tmp_path: Path) -> None:
    """Fill it until writes are refused: reads and deletes go on, and space comes back."""
    world = World(tmp_path, MemoryDisk(capacity_bytes=3 << 20))
    async with world.running() as engine:
        await world.make_bucket()
        written: list[int] = []

        async def fill() -> None:
            for number in range(100):
                await world.put(b"k%d" % number, body(200_000, number))
                written.append(number)

        with pytest.raises(DiskFull):
            await fill()
        assert len(written) > 5
        for number in written:
            assert await world.get(b"k%d" % number) == body(200_000, number)
        for number in written[:-1]:
            await world.delete(b"k%d" % number)
        await engine.tick()
        await engine.compact(dead_ratio=0.1)
        await engine.tick()
        await world.put(b"again", body(200_000))
        assert await world.get(b"k%d" % written[-1]) == body(200_000, written[-1])
        assert world.check().is_clean


async def test_the_ballast_lets_a_delete_through(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """When the metadata finds no room at all the ballast goes, writes fail and deletes succeed."""
    world = World(tmp_path, MemoryDisk())
    async with world.running():
        await world.make_bucket()
        await world.put(b"k", b"x")
        real_put = environment_module.Transaction.put

        def put(self: object, table: object, key: bytes, value: bytes) -> None:
            if "BALLAST" in world.memory.list(""):
                raise DiskFull("no page")
            real_put(self, table, key, value)  # type: ignore[arg-type]

        monkeypatch.setattr(environment_module.Transaction, "put", put)
        await world.delete(b"k")
        assert EventKind.BALLAST_DROPPED in world.events.kinds()
        monkeypatch.undo()
        await world.engine.tick()
        assert "BALLAST" in world.memory.list("")
        assert world.check().is_clean


async def test_a_full_map_refuses_the_write_and_nothing_else(tmp_path: Path) -> None:
    """The metadata's bound is DiskFull too; what was there stays readable."""
    world = World(tmp_path, MemoryDisk(), map_bytes=400 << 10)
    async with world.running() as engine:
        await world.make_bucket()

        async def fill() -> None:
            for number in range(20_000):
                await world.put(b"k%d" % number + b"x" * 400, b"y")

        with pytest.raises(DiskFull):
            await fill()
        assert engine.statistics().commands > 10
        assert engine.statistics().disk_failed is None
        assert await world.get(b"k0" + b"x" * 400) == b"y"


async def test_a_damaged_row_fails_its_own_command_alone(tmp_path: Path) -> None:
    """The others of its batch are committed."""
    world = World(tmp_path, MemoryDisk())
    async with world.running() as engine:
        await world.make_bucket()
        await world.put(b"bad", b"x")
        table = environment_module.Table.LIVE
        with engine.environment.write() as txn:
            with txn.cursor(table) as cursor:
                assert cursor.first()
                row, value = cursor.key(), cursor.value()
            txn.put(table, row, value[:-1] + bytes([value[-1] ^ 1]))
        results: dict[bytes, str] = {}

        async def put(key: bytes) -> None:
            try:
                await world.put(key, body(500))
            except Exception as error:  # noqa: BLE001  # the kind is what is asserted
                results[key] = type(error).__name__
            else:
                results[key] = "written"

        async with trio.open_nursery() as nursery:
            for key in (b"a", b"bad", b"c"):
                nursery.start_soon(put, key)
        assert results == {b"a": "written", b"bad": "DataCorrupt", b"c": "written"}
        assert await world.get(b"c") == body(500)
        assert EventKind.DATA_CORRUPT in world.events.kinds()


async def test_a_disk_that_fails_while_idle_stops_the_housekeeping(tmp_path: Path) -> None:
    """A failed background sync latches as any other."""
    world = World(tmp_path, MemoryDisk())
    async with world.running() as engine:
        await world.make_bucket(Durability.RELAXED)
        await world.put(b"k", b"x", durability=Durability.RELAXED)
        world.disk.fail_at(0, operations=["sync_data"])
        with pytest.raises(DiskFailed):
            await engine.tick()
        assert engine.statistics().disk_failed is not None
        assert isinstance(world.disk, FaultyDisk)
        assert await world.get(b"k") == b"x"
