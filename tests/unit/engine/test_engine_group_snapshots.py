"""Snapshots of groups, digests, and the way of a single node into a cluster."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from engine_groups_world import GROUPS, MARK, Replica, blob_id_of
from engine_world import World, body

from rs3gwd.base import commands
from rs3gwd.base.commands import CompletePart
from rs3gwd.base.errors import DataCorrupt, FormatError, NoSuchKey
from rs3gwd.base.records import Attributes, BlobRef, PartRecord, UploadRecord, Versioning
from rs3gwd.engine import listings
from rs3gwd.engine.bucket_spread import untold
from rs3gwd.engine.group_blobs import list_missing, list_staged
from rs3gwd.engine.group_rows import LOCAL_TABLES, SYSTEM_TABLES, group_rows
from rs3gwd.engine.group_snapshots import SnapshotParser, snapshot_chunks
from rs3gwd.engine.groups import GROUP_STRIDE, GroupMarkRecord, group_of_key, import_key, read_mark
from rs3gwd.engine.tables import Table
from rs3gwd.testing.faulty_disk import MemoryDisk

KEYS = [b"a", b"a/b", b"nul\0", b"L" * 700, b"L" * 1024, *(b"k%d" % n for n in range(8))]
INDEX_TABLES = {
    Table.LIVE,
    Table.HISTORY,
    Table.NULLS,
    Table.UPLOADS,
    Table.COMPLETED,
    Table.UPLOAD_TIMES,
    Table.PARTS,
    Table.MANIFESTS,
    Table.GROUP_BUCKETS,
    Table.SESSIONS,
}


def test_every_table_is_of_somebody() -> None:
    """A table is the system group's, the index groups', or the node's own: none is forgotten."""
    assert {*SYSTEM_TABLES, *INDEX_TABLES, *LOCAL_TABLES} == set(Table)


async def test_a_snapshot_makes_a_replica(tmp_path: Path) -> None:
    """What one node has of every group another one has after it took the snapshots in; bytes that
    it lacks are missing, those in rows of the snapshot are not lost."""
    source, target = Replica(tmp_path / "a"), Replica(tmp_path / "b")
    async with source.running():
        await _fill(source)
        async with target.running(mark=None):
            for group in range(GROUPS + 1):
                assert target.machine.applied(group) is None
                await _copy(source, target, group)
            assert target.digests() == source.digests()
            with target.world.engine.environment.read() as txn:
                missing = {blob_id for blob_id, _ in list_missing(txn)}
            assert blob_id_of(b"a", b"new a") in missing
            assert target.world.check().findings == []
            assert target.machine.applied(1) == source.machine.applied(1)
            with target.world.engine.environment.read() as txn:
                page = listings.list_objects(txn, "b")
            assert [entry.key for entry in page.entries] == sorted([*KEYS, b"parts"])


async def test_a_snapshot_replaces_what_was_there(tmp_path: Path) -> None:
    """Rows go and come; bytes that the new rows name are kept, the others wait to be reclaimed."""
    source, target = Replica(tmp_path / "a"), Replica(tmp_path / "b")
    async with source.running(), target.running():
        for replica in (source, target):
            bucket_id = await replica.make_bucket()
            await replica.put(bucket_id, b"both", b"the same")
        group = group_of_key(bucket_id, b"both", GROUPS)
        other = next(k for k in KEYS if group_of_key(bucket_id, k, GROUPS) == group)
        await target.put(bucket_id, other, body(5000))
        await _copy(source, target, group)
        assert target.digests()[group] == source.digests()[group]
        assert await target.world.get(b"both") == b"the same"
        with pytest.raises(NoSuchKey):
            target.world.find(other)
        with target.world.engine.environment.read() as txn:
            staged = [blob_id for blob_id, _ in list_staged(txn, before_ms=1 << 60)]
            assert list_missing(txn) == []
        assert staged == [blob_id_of(other, body(5000))]
        assert target.world.check().findings == []
        await target.depot.reclaim(staged)
        assert target.world.check().findings == []


async def test_an_interrupted_snapshot_is_no_state(tmp_path: Path) -> None:
    """A stream that breaks leaves the group unknown, over a new start too, until one is whole."""
    source, target = Replica(tmp_path / "a"), Replica(tmp_path / "b")
    async with source.running():
        await _fill(source)
        async with target.running(mark=None):
            with pytest.raises(OSError, match="cut"):
                await _copy(source, target, 1, cut=True)
            assert target.machine.applied(1) is None
        async with target.running(mark=None):
            assert target.machine.applied(1) is None
            with target.world.engine.environment.read() as txn:
                assert read_mark(txn, import_key(1)) is not None
            await _copy(source, target, 0)
            await _copy(source, target, 1)
            assert target.digests()[1] == source.digests()[1]
            with target.world.engine.environment.read() as txn:
                assert read_mark(txn, import_key(1)) is None


async def test_a_damaged_snapshot_is_refused(tmp_path: Path) -> None:
    """A flipped bit, a chunk left out, twice or behind the end, an end too soon: none passes."""
    source = Replica(tmp_path)
    async with source.running():
        await _fill(source)
        with source.world.engine.environment.read() as txn:
            chunks = list(snapshot_chunks(txn, 0, GROUPS))
    first, *_, last = chunks
    for bit in range(0, 8 * len(first), 97):
        broken = bytearray(first)
        broken[bit // 8] ^= 1 << bit % 8
        with pytest.raises((DataCorrupt, FormatError)):
            list(SnapshotParser().feed(bytes(broken)))
    for wrong in ([last], [first, first], [*chunks, last]):
        with pytest.raises(DataCorrupt):
            _parse(wrong)
    parser = SnapshotParser()
    list(parser.feed(first))
    assert not parser.is_whole


async def test_a_single_node_becomes_one_of_a_cluster(tmp_path: Path) -> None:
    """No object row changes, all keys are of some group, and new numbers are above the old."""
    world = World(tmp_path, MemoryDisk())
    async with world.running() as engine:
        await world.make_bucket()
        for key in KEYS:
            await world.put(key, b"old " + key)
        await engine.submit(commands.PutBucketVersioning("b", Versioning.ENABLED))
        before = _object_rows(world)
        highest = max(world.find(key).seq for key in KEYS)
    replica = Replica(tmp_path)
    replica.world = world
    async with replica.running():
        assert _object_rows(world) == before
        with world.engine.environment.read() as txn:
            assert list(untold(txn, GROUPS)) == []
            found = sum(
                row.table is Table.LIVE
                for group in range(1, GROUPS + 1)
                for row in group_rows(txn, group, GROUPS)
            )
            bucket_id = listings.get_bucket(txn, "b").bucket_id
        assert found == len(KEYS)
        assert replica.machine.applied(2) == MARK
        for key in KEYS:
            version = await replica.put(bucket_id, key, b"new " + key)
            assert version.seq > highest  # type: ignore[attr-defined]
            assert version.seq % GROUP_STRIDE == group_of_key(bucket_id, key, GROUPS)  # type: ignore[attr-defined]
            assert await world.get(key) == b"new " + key
        assert world.check().findings == []
    async with replica.running():
        assert world.check().findings == []


def _parse(chunks: list[bytes]) -> None:
    parser = SnapshotParser()
    for chunk in chunks:
        list(parser.feed(chunk))


async def _fill(replica: Replica) -> None:
    """Objects with histories, long keys, an open upload and one that was completed."""
    bucket_id = await replica.make_bucket()
    for key in KEYS:
        await replica.put(bucket_id, key, b"old " + key)
    await replica.propose(0, commands.PutBucketVersioning("b", Versioning.ENABLED))
    with replica.world.engine.environment.read() as txn:
        wanted = list(untold(txn, GROUPS))
    for one in wanted:
        await replica.propose(one.group, one.command)
    for key in KEYS:
        await replica.put(bucket_id, key, b"new " + key)
    for key in (b"open", b"parts"):
        group = group_of_key(bucket_id, key, GROUPS)
        create = commands.CreateUpload("b", key, 1, b"u" * 16, Attributes("owner"))
        upload = await replica.propose(group, create)
        assert isinstance(upload, UploadRecord)
        data = b"part of " + key
        ref = BlobRef(blob_id_of(b"part", data), len(data))
        put = commands.PutPart("b", key, upload.upload_id, 1, 1, "0" * 32, len(data), ref)
        part = await replica.propose(group, put, data)
        assert isinstance(part, PartRecord)
        if key == b"parts":
            parts = [CompletePart(1, part.etag)]
            done = commands.CompleteUpload("b", key, upload.upload_id, parts, 2, b"c" * 16)
            await replica.propose(group, done)


async def _copy(source: Replica, target: Replica, group: int, *, cut: bool = False) -> None:
    async with source.machine.snapshot(group) as (mark, chunks):
        given = GroupMarkRecord(mark.index, mark.term, mark.members)
        await target.machine.install(group, given, _cut(chunks) if cut else chunks)
        target.index[group] = mark.index


async def _cut(chunks: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    async for chunk in chunks:
        yield chunk
        raise OSError("cut")


def _object_rows(world: World) -> list[tuple[bytes, bytes]]:
    with world.engine.environment.read() as txn:
        return [
            row
            for table in (Table.BUCKETS, Table.LIVE, Table.HISTORY, Table.BLOBS)
            for row in txn.cursor(table)
        ]
