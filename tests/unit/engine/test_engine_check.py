"""`check` finds each kind of damage and nothing where there is none; `repair` mends what it can."""

from collections.abc import Callable
from pathlib import Path

import pytest
import trio
from engine_world import SETTINGS, World, body

from rs3gwd.base.errors import DataCorrupt, DiskFailed, NoSuchKey
from rs3gwd.engine.blobs import (
    BlobRecord,
    Extent,
    SegmentRecord,
    delete_segment,
    get_blob,
    get_segment,
    get_store,
    put_blob,
    put_segment,
)
from rs3gwd.engine.check import CheckReport, FindingKind, check
from rs3gwd.engine.engine import LOCK_PATH
from rs3gwd.engine.environment import Environment, Transaction
from rs3gwd.engine.repair import Action, ActionKind, RepairReport, lock_data, repair
from rs3gwd.engine.segments import segment_path
from rs3gwd.engine.system import SystemClock
from rs3gwd.engine.tables import Table, u64
from rs3gwd.testing.faulty_disk import MemoryDisk

CONTENTS = {
    b"small": body(100),
    b"medium": body(3000),
    b"large": body(200_000),
    b"huge": body(2_500_000),
}


async def _make(path: Path, memory: MemoryDisk) -> dict[bytes, BlobRecord]:
    """A store with CONTENTS; gives the places of the blobs by key."""
    world = World(path, memory)
    places = {}
    async with world.running() as engine:
        await world.make_bucket()
        for key, data in CONTENTS.items():
            await world.put(key, data)
        with engine.environment.read() as txn:
            for key in CONTENTS:
                blob = world.find(key).blob
                assert blob is not None
                places[key] = get_blob(txn, blob.blob_id)
    return places


def _open(path: Path) -> Environment:
    return Environment.open(str(path / "meta"), map_bytes=SETTINGS["map_bytes"])


def _check(path: Path, memory: MemoryDisk, *, read_data: bool = True) -> CheckReport:
    environment = _open(path)
    try:
        return check(environment, memory, read_data=read_data)
    finally:
        environment.close()


def _change(path: Path, change: Callable[[Transaction], None]) -> None:
    environment = _open(path)
    with environment.write() as txn:
        change(txn)
    environment.close()


def _repair(
    path: Path, memory: MemoryDisk, *, dry_run: bool = False, drop_damaged: bool = False
) -> tuple[RepairReport, list[Action]]:
    environment = _open(path)
    actions: list[Action] = []
    try:
        with environment.read() as txn:
            store = get_store(txn)
        assert store is not None
        report = repair(
            environment,
            memory,
            SystemClock(),
            store_id=store.store_id,
            on_action=actions.append,
            dry_run=dry_run,
            drop_damaged=drop_damaged,
        )
    finally:
        environment.close()
    return report, actions


def _blob_id_of(txn: Transaction, place: BlobRecord) -> bytes:
    for key in txn.cursor(Table.BLOBS).iternext(keys=True, values=False):
        if get_blob(txn, key) == place:
            return bytes(key)
    raise AssertionError("no such place")


async def test_a_healthy_store_has_no_findings_and_needs_no_repair(tmp_path: Path) -> None:
    """Everything is counted and read."""
    memory = MemoryDisk()
    await _make(tmp_path, memory)
    report = _check(tmp_path, memory)
    assert report.is_clean
    assert (report.owner_count, report.blob_count) == (4, 4)
    assert report.bytes_read == sum(map(len, CONTENTS.values()))
    assert _repair(tmp_path, memory) == (RepairReport(dry_run=False, counts={}), [])


async def test_every_flipped_payload_bit_is_found_and_named(tmp_path: Path) -> None:
    """Each extent's payload, table and header: the finding names the blob."""
    memory = MemoryDisk()
    places = await _make(tmp_path, memory)
    for place in places.values():
        for extent in place.extents:
            for at in (0, 10, 45, extent.payload_bytes + 39, _table_offset(extent)):
                path = segment_path(extent.segment_id)
                memory.flip_bit(path, extent.offset + at)
                found = _check(tmp_path, memory).findings
                assert [finding.kind for finding in found] == [FindingKind.DATA_CORRUPT]
                memory.flip_bit(path, extent.offset + at)
    assert _check(tmp_path, memory).is_clean


def _table_offset(extent: Extent) -> int:
    """A byte of the block table, or of the payload where there is none."""
    return 40 + extent.payload_bytes + (1 if extent.payload_bytes > 65_536 else -1)


async def test_an_owner_without_a_place_is_found_and_mended(tmp_path: Path) -> None:
    """The place is found again by scanning the segments: the object reads, the check is clean."""
    memory = MemoryDisk()
    places = await _make(tmp_path, memory)

    def lose_all(txn: Transaction) -> None:
        for place in places.values():
            txn.delete(Table.BLOBS, _blob_id_of(txn, place))

    _change(tmp_path, lose_all)
    kinds = {finding.kind for finding in _check(tmp_path, memory).findings}
    assert FindingKind.BLOB_MISSING in kinds
    dry, _ = _repair(tmp_path, memory, dry_run=True)
    assert dry.counts[ActionKind.PLACE_FOUND] == 4
    assert not _check(tmp_path, memory).is_clean
    _repair(tmp_path, memory)
    assert _check(tmp_path, memory).is_clean
    world = World(tmp_path, memory)
    async with world.running():
        for key, data in CONTENTS.items():
            assert await world.get(key) == data


async def test_a_damaged_row_of_blobs_is_found_and_mended(tmp_path: Path) -> None:
    """Its checksum gives it away, the scan replaces it."""
    memory = MemoryDisk()
    places = await _make(tmp_path, memory)

    def damage(txn: Transaction) -> None:
        blob_id = _blob_id_of(txn, places[b"huge"])
        value = txn.get(Table.BLOBS, blob_id)
        assert value is not None
        txn.put(Table.BLOBS, blob_id, value[:5] + bytes([value[5] ^ 4]) + value[6:])

    _change(tmp_path, damage)
    kinds = {finding.kind for finding in _check(tmp_path, memory).findings}
    assert FindingKind.ROW_DAMAGED in kinds
    _repair(tmp_path, memory)
    assert _check(tmp_path, memory).is_clean


async def test_a_wrong_size_is_found(tmp_path: Path) -> None:
    """A row that says another size than the owner."""
    memory = MemoryDisk()
    places = await _make(tmp_path, memory)

    def damage(txn: Transaction) -> None:
        place = places[b"small"]
        put_blob(txn, _blob_id_of(txn, place), BlobRecord(99, place.extents))

    _change(tmp_path, damage)
    found = _check(tmp_path, memory).findings
    assert [finding.kind for finding in found] == [FindingKind.BLOB_SIZE]
    _repair(tmp_path, memory)
    assert _check(tmp_path, memory).is_clean


async def test_a_place_without_an_owner_is_found_and_removed(tmp_path: Path) -> None:
    """And the account of its segment is counted anew."""
    memory = MemoryDisk()
    places = await _make(tmp_path, memory)

    def add(txn: Transaction) -> None:
        put_blob(txn, b"o" * 16, BlobRecord(100, places[b"small"].extents))

    _change(tmp_path, add)
    kinds = [finding.kind for finding in _check(tmp_path, memory, read_data=False).findings]
    assert FindingKind.BLOB_ORPHAN in kinds
    report, _ = _repair(tmp_path, memory)
    assert report.counts[ActionKind.ORPHAN_REMOVED] == 1
    assert _check(tmp_path, memory).is_clean


async def test_wrong_accounts_are_found_and_counted_anew(tmp_path: Path) -> None:
    """Live, dead and end, a damaged row, and a row that is missing."""
    memory = MemoryDisk()
    places = await _make(tmp_path, memory)
    segment_id = places[b"large"].extents[0].segment_id

    def wrong(txn: Transaction) -> None:
        row = get_segment(txn, segment_id)
        assert row is not None
        put_segment(
            txn,
            segment_id,
            SegmentRecord(row.state, row.created_ms, row.committed_end, 64, 1, 2),
        )

    def damaged(txn: Transaction) -> None:
        value = txn.get(Table.SEGMENTS, u64(segment_id))
        assert value is not None
        txn.put(Table.SEGMENTS, u64(segment_id), value[:-1] + bytes([value[-1] ^ 1]))

    def missing(txn: Transaction) -> None:
        delete_segment(txn, segment_id)

    for change, kind in [
        (wrong, FindingKind.SEGMENT_ACCOUNT),
        (damaged, FindingKind.ROW_DAMAGED),
        (missing, FindingKind.SEGMENT_ACCOUNT),
    ]:
        _change(tmp_path, change)
        kinds = {finding.kind for finding in _check(tmp_path, memory).findings}
        assert kind in kinds
        _repair(tmp_path, memory)
        assert _check(tmp_path, memory).is_clean
    world = World(tmp_path, memory)
    async with world.running():
        for key, data in CONTENTS.items():
            assert await world.get(key) == data
        await world.put(b"new", body(100_000))
        assert world.check().is_clean


async def test_files_that_do_not_fit_are_found(tmp_path: Path) -> None:
    """One cut short, one missing, one unknown, one of another store."""
    memory = MemoryDisk()
    places = await _make(tmp_path, memory)
    segment_id = places[b"large"].extents[0].segment_id
    path = segment_path(segment_id)
    content = memory.read_file(path)

    memory.write_file(segment_path(0), 0, b"x" * 100)
    kinds = [finding.kind for finding in _check(tmp_path, memory).findings]
    assert kinds == [FindingKind.SEGMENT_UNKNOWN]
    memory.unlink(segment_path(0))

    memory.flip_bit(path, 10)
    kinds = [finding.kind for finding in _check(tmp_path, memory).findings]
    assert kinds == [FindingKind.SEGMENT_HEADER]
    memory.flip_bit(path, 10)

    memory.unlink(path)
    kinds_found = {finding.kind for finding in _check(tmp_path, memory, read_data=False).findings}
    assert kinds_found == {FindingKind.SEGMENT_MISSING}
    memory.write_file(path, 0, content[: len(content) // 2])
    kinds_found = {finding.kind for finding in _check(tmp_path, memory, read_data=False).findings}
    assert kinds_found == {FindingKind.SEGMENT_SHORT}


async def test_lost_bytes_are_reported_and_kept_until_dropping_is_asked_for(
    tmp_path: Path,
) -> None:
    """Without `drop_damaged` the version stays and answers an error; with it, it goes."""
    memory = MemoryDisk()
    places = await _make(tmp_path, memory)
    extent = places[b"huge"].extents[1]
    memory.flip_bit(segment_path(extent.segment_id), extent.offset + 100)
    report, actions = _repair(tmp_path, memory)
    assert report.counts == {ActionKind.BYTES_LOST: 1}
    world = World(tmp_path, memory)
    async with world.running():
        with pytest.raises(DataCorrupt):
            await world.get(b"huge")
        assert await world.get(b"large") == CONTENTS[b"large"]
    dry, actions = _repair(tmp_path, memory, dry_run=True, drop_damaged=True)
    assert dry.counts[ActionKind.OWNER_DROPPED] == 1
    assert any("b/huge" in action.where for action in actions)
    _repair(tmp_path, memory, drop_damaged=True)
    assert _check(tmp_path, memory).is_clean
    again = World(tmp_path, memory)
    async with again.running():
        with pytest.raises(NoSuchKey):
            again.find(b"huge")
        assert await again.get(b"large") == CONTENTS[b"large"]


async def test_a_missing_segment_is_mended_by_dropping_what_lay_in_it(tmp_path: Path) -> None:
    """And its row goes with the last of it."""
    memory = MemoryDisk()
    places = await _make(tmp_path, memory)
    memory.unlink(segment_path(places[b"small"].extents[0].segment_id))
    _repair(tmp_path, memory, drop_damaged=True)
    assert _check(tmp_path, memory).is_clean
    world = World(tmp_path, memory)
    async with world.running():
        with pytest.raises(NoSuchKey):
            world.find(b"small")
        assert await world.get(b"huge") == CONTENTS[b"huge"]


async def test_an_orphan_is_left_while_metadata_is_damaged(tmp_path: Path) -> None:
    """Its owner may be the row that cannot be read."""
    memory = MemoryDisk()
    await _make(tmp_path, memory)

    def damage(txn: Transaction) -> None:
        with txn.cursor(Table.LIVE) as cursor:
            assert cursor.first()
            row, value = cursor.key(), cursor.value()
        txn.put(Table.LIVE, row, value[:-1] + bytes([value[-1] ^ 1]))

    _change(tmp_path, damage)
    kinds = {finding.kind for finding in _check(tmp_path, memory).findings}
    assert {FindingKind.METADATA, FindingKind.BLOB_ORPHAN} <= kinds
    report, _ = _repair(tmp_path, memory)
    assert report.counts[ActionKind.ORPHAN_LEFT] == 1
    assert ActionKind.ORPHAN_REMOVED not in report.counts


async def test_repair_is_refused_beside_a_running_engine(tmp_path: Path) -> None:
    """They share one lock."""
    memory = MemoryDisk()
    async with World(tmp_path, memory).running():
        with pytest.raises(DiskFailed, match="stop the daemon"):
            lock_data(memory, LOCK_PATH)
    memory.close(lock_data(memory, LOCK_PATH))


async def test_a_check_beside_writes_deletes_and_compaction_finds_nothing(tmp_path: Path) -> None:
    """What changes while it looks is looked up again, so a busy store is a clean one."""
    world = World(tmp_path, MemoryDisk())
    async with world.running() as engine:
        await world.make_bucket()
        for number in range(30):
            await world.put(b"k%d" % number, body(60_000, number))
        done = trio.Event()

        async def churn() -> None:
            seed = 0
            while not done.is_set():
                seed += 1
                await world.put(b"k%d" % (seed % 30), body(60_000, seed))
                await world.delete(b"k%d" % (seed * 7 % 30))
                if seed % 10 == 0:
                    await engine.compact(dead_ratio=0.05)
                    await engine.tick()

        async with trio.open_nursery() as nursery:
            nursery.start_soon(churn)
            for _ in range(10):
                report = await trio.to_thread.run_sync(world.check)
                assert report.findings == []
            done.set()
