"""The view of the last commit: shared while nothing is committed, never behind what was told."""

from pathlib import Path

import pytest
from engine_world import World

from rs3gwd.base.commands import CreateBucket, PutBucketTagging
from rs3gwd.base.errors import DataCorrupt, NoSuchBucket
from rs3gwd.base.records import BucketRecord
from rs3gwd.engine import queries
from rs3gwd.engine.engine import Engine
from rs3gwd.engine.environment import Environment, Transaction
from rs3gwd.engine.tables import Table
from rs3gwd.engine.view import View
from rs3gwd.testing.faulty_disk import MemoryDisk


def transaction_of(txn: Transaction) -> Transaction:
    """A query that gives the transaction it was run over."""
    return txn


async def create(engine: Engine, name: str) -> None:
    """Makes a bucket and returns when that was acknowledged."""
    await engine.submit(CreateBucket(name=name, now_ms=1, owner_id="a" * 64, region="us-east-1"))


def test_a_view_shows_one_state_until_it_is_dropped(tmp_path: Path) -> None:
    """A row written meanwhile is not seen before the drop, and is seen after it."""
    environment = Environment.open(str(tmp_path / "meta"))
    view = View(environment)
    before = view.transaction()
    with environment.write() as txn:
        txn.put(Table.BUCKETS, b"key", b"value")
    assert view.transaction() is before
    assert before.get(Table.BUCKETS, b"key") is None
    view.drop()
    assert view.transaction().get(Table.BUCKETS, b"key") == b"value"
    view.drop()
    environment.close()


async def test_a_look_up_sees_what_was_acknowledged_before_it(tmp_path: Path) -> None:
    """Though one view serves the look-ups in between, a bucket is there once its maker is told."""
    world = World(tmp_path, MemoryDisk())
    async with world.running() as engine:
        for number in range(20):
            name = f"bucket-{number}"
            with pytest.raises(NoSuchBucket):
                engine.look_up(queries.get_bucket, name)
            await create(engine, name)
            record: BucketRecord = engine.look_up(queries.get_bucket, name)
            assert record.name == name


async def test_look_ups_share_a_view_and_a_commit_ends_it(tmp_path: Path) -> None:
    """No transaction is begun for a look-up while nothing is committed; a commit ends the one."""
    world = World(tmp_path, MemoryDisk())
    async with world.running() as engine:
        first = engine.look_up(transaction_of)
        assert engine.look_up(transaction_of) is first
        await create(engine, "bucket")
        assert engine.look_up(transaction_of) is not first


async def test_a_view_pins_no_old_pages_while_others_write(tmp_path: Path) -> None:
    """With a look-up behind every commit the metadata does not grow: old pages are used again."""
    world = World(tmp_path, MemoryDisk())
    async with world.running() as engine:
        used_bytes = []
        for number in range(120):
            await create(engine, "bucket")
            command = PutBucketTagging(name="bucket", tags=[("number", str(number))])
            await engine.submit(command)
            engine.look_up(queries.get_bucket, "bucket")
            used_bytes.append(engine.environment.statistics().used_bytes)
        assert used_bytes[-1] <= used_bytes[20] + 4 * 4096


async def test_damage_ends_a_view(tmp_path: Path) -> None:
    """A look-up that failed leaves no transaction behind that might be unusable."""

    def damaged(txn: Transaction) -> None:
        raise DataCorrupt("a row")

    world = World(tmp_path, MemoryDisk())
    async with world.running() as engine:
        first = engine.look_up(transaction_of)
        with pytest.raises(DataCorrupt):
            engine.look_up(damaged)
        assert engine.look_up(transaction_of) is not first
    assert len(world.events.all) == 1
