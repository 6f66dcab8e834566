"""The view of the last commit: shared while nothing is committed, never behind what was told."""

from collections.abc import Iterator
from pathlib import Path

import pytest
import trio
import trio.testing
from engine_world import World

from rs3gwd.base.commands import CreateBucket, PutBucketTagging
from rs3gwd.base.errors import DataCorrupt, NoSuchBucket, VersionGone
from rs3gwd.base.records import BucketRecord
from rs3gwd.engine import queries
from rs3gwd.engine.engine import Engine
from rs3gwd.engine.environment import Environment, Transaction
from rs3gwd.engine.shared_state import SharedState
from rs3gwd.engine.tables import Table
from rs3gwd.engine.view import View
from rs3gwd.testing import worker_jobs as jobs
from rs3gwd.testing.faulty_disk import MemoryDisk
from rs3gwd.testing.open_local import open_local


def transaction_of(txn: Transaction) -> Transaction:
    """A query that gives the transaction it was run over."""
    return txn


async def create(engine: Engine, name: str) -> None:
    """Makes a bucket and returns when that was acknowledged."""
    await engine.submit(CreateBucket(name=name, now_ms=1, owner_id="a" * 64, region="us-east-1"))


class Scene:
    """A view, and commits as the core makes them, step by step."""

    def __init__(self, environment: Environment, shared: SharedState) -> None:
        self.environment = environment
        self.shared = shared
        self.view = View(environment, shared)

    def commit(self, value: bytes, *, configuration: bool = False, publish: bool = True) -> int:
        """Commits the row `key`; gives the id of the commit."""
        with self.environment.write() as txn:
            txn.put(Table.BUCKETS, b"key", value)
            commit_id = txn.transaction_id
            if configuration:
                self.shared.announce_config(commit_id)
        if publish:
            self.shared.publish_commit()
        return commit_id

    def value(self) -> bytes | None:
        """The row as the view shows it."""
        return self.view.transaction().get(Table.BUCKETS, b"key")

    def kept(self) -> dict[str, bytes]:
        """What the view's transaction keeps."""
        kept = self.view.transaction().kept
        assert kept is not None
        return kept


@pytest.fixture
def scene(tmp_path: Path) -> Iterator[Scene]:
    """A view over an environment and a page that the test writes."""
    scene = Scene(Environment.open(str(tmp_path / "meta")), SharedState.create())
    yield scene
    scene.view.drop()
    scene.environment.close()
    scene.shared.close()


def test_a_view_shows_one_state_until_it_is_dropped(scene: Scene) -> None:
    """A row of a commit that nobody was told of is not seen before the drop, and is after it."""
    before = scene.view.transaction()
    scene.commit(b"value", publish=False)
    assert scene.view.transaction() is before
    assert scene.value() is None
    scene.view.drop()
    assert scene.value() == b"value"


def test_a_view_begins_anew_once_a_commit_is_published(scene: Scene) -> None:
    """Without a drop, as in a worker: the count on the shared page is enough."""
    assert scene.value() is None
    scene.commit(b"1")
    assert scene.value() == b"1"
    scene.commit(b"2")
    assert scene.value() == b"2"


def test_a_commit_that_changes_nothing_hides_no_later_one(scene: Scene) -> None:
    """LMDB gives its id to the next commit, which must be seen all the same."""
    scene.commit(b"1")
    with scene.environment.write() as txn:
        unused = txn.transaction_id
    scene.shared.publish_commit()
    assert scene.value() == b"1"
    assert scene.commit(b"2") == unused
    assert scene.value() == b"2"


async def test_whoever_drops_views_sleeps_until_there_is_one(scene: Scene) -> None:
    """An idle process is not woken; the next look-up wakes it."""
    woken: list[int] = []

    async def wait() -> None:
        await scene.view.wait_begun()
        woken.append(1)

    async with trio.open_nursery() as nursery:
        for count in range(1, 3):
            nursery.start_soon(wait)
            await trio.testing.wait_all_tasks_blocked()
            assert len(woken) == count - 1
            scene.view.transaction()
            await trio.testing.wait_all_tasks_blocked()
            assert len(woken) == count
            await scene.view.wait_begun()
            scene.view.drop()


def test_rows_of_configuration_outlive_commits_of_objects(scene: Scene) -> None:
    """What is kept stays through commits that change no configuration."""
    scene.kept()["bucket"] = b"row"
    scene.commit(b"1")
    assert scene.kept() == {"bucket": b"row"}


def test_a_change_of_configuration_drops_what_is_kept(scene: Scene) -> None:
    """The first look-up after the change was published keeps nothing of before."""
    scene.kept()["bucket"] = b"old"
    scene.commit(b"1", configuration=True)
    assert scene.kept() == {}
    scene.kept()["bucket"] = b"new"
    scene.commit(b"2")
    assert scene.kept() == {"bucket": b"new"}


def test_a_view_in_the_midst_of_a_change_keeps_rows_for_itself(scene: Scene) -> None:
    """Announced and not committed: what this snapshot decodes is not used with a later one."""
    scene.kept()["bucket"] = b"old"
    with scene.environment.read() as txn:
        coming = txn.transaction_id + 1
    scene.shared.announce_config(coming)
    scene.view.drop()
    assert scene.kept() == {}
    scene.kept()["bucket"] = b"old"
    assert scene.commit(b"1") == coming
    assert scene.kept() == {}


def test_a_snapshot_with_the_change_does_not_use_rows_of_before(scene: Scene) -> None:
    """Committed and not published: whoever begins now sees new rows and keeps no old ones."""
    scene.kept()["bucket"] = b"old"
    scene.commit(b"1", configuration=True, publish=False)
    scene.view.drop()
    assert scene.value() == b"1"
    assert scene.kept() == {}


def test_a_change_that_failed_costs_no_truth(scene: Scene) -> None:
    """Its id is taken by the next commit: rows are kept under that one, and were not before."""
    scene.shared.announce_config(scene.commit(b"1") + 1)
    scene.view.drop()
    scene.kept()["bucket"] = b"mine alone"
    scene.commit(b"2")
    assert scene.kept() == {}
    scene.kept()["bucket"] = b"row"
    scene.commit(b"3")
    assert scene.kept() == {"bucket": b"row"}


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


async def test_a_body_is_found_in_the_view_that_its_version_was_found_in(tmp_path: Path) -> None:
    """A commit that is made and not yet published replaces nothing for a reader; and one who finds
    a version gone begins anew, or a retry would meet the same old view again and again."""
    async with open_local(str(tmp_path)) as node:
        await jobs.create_bucket(node)
        await jobs.put(node, b"key", jobs.bytes_of(b"key", 100_000))
        version = await node.store.get_version(jobs.BUCKET, b"key", None)
        assert version.blob is not None
        with node.engine.environment.write() as txn:
            assert txn.delete(Table.BLOBS, version.blob.blob_id)
        assert await jobs.get(node, b"key") == jobs.bytes_of(b"key", 100_000)
        node.engine.parts.view.drop()
        before = node.engine.look_up(transaction_of)
        with pytest.raises(VersionGone):
            async with node.engine.open_body(version, 0, 1):
                pass
        assert node.engine.look_up(transaction_of) is not before
