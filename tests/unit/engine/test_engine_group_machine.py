"""The state machine of the groups: entries in, rows, answers and marks out, in one step."""

from __future__ import annotations

import errno
from pathlib import Path

import pytest
import trio
from engine_groups_world import (
    GROUPS,
    Replica,
    blob_id_of,
    envelope,
    put_command,
)
from engine_world import body

from rs3gwd.base import commands
from rs3gwd.base.errors import (
    BlobNotHere,
    BucketNotEmpty,
    InvalidRequest,
    NoSuchBucket,
    StaleCommand,
    StoreError,
)
from rs3gwd.base.records import VersionRecord
from rs3gwd.engine import queries
from rs3gwd.engine.apply import INDEX_FUNCTIONS
from rs3gwd.engine.apply_objects import put_object
from rs3gwd.engine.blobs import get_blob, get_store
from rs3gwd.engine.bucket_spread import adoption_of, deletion_of, untold
from rs3gwd.engine.environment import Environment
from rs3gwd.engine.group_blobs import StagedOwner, has_blob, list_missing, list_staged
from rs3gwd.engine.group_entries import Outcome, encode_body, unpack_result
from rs3gwd.engine.group_machine import STEP_COUNT_MAX, LogEntry
from rs3gwd.engine.group_state import IndexState, read_group_bucket
from rs3gwd.engine.groups import TREE_ID_MIN, group_of_key
from rs3gwd.engine.repair import repair
from rs3gwd.engine.system import SystemClock
from rs3gwd.engine.tables import GroupBucketRecord, Table
from rs3gwd.engine.tree import POINTER_CODEC, POINTER_KEY_BYTES
from rs3gwd.testing.faulty_disk import Fault


@pytest.fixture
def replica(tmp_path: Path) -> Replica:
    return Replica(tmp_path)


async def test_an_object_that_rides_in_its_entry_can_be_read(replica: Replica) -> None:
    """Bytes in entries go to the rows or the small lane and are read as any other."""
    async with replica.running():
        bucket_id = await replica.make_bucket()
        for size in (1, 4096, 70_000):
            key = b"key %d" % size
            await replica.put(bucket_id, key, body(size))
            assert await replica.world.get(key) == body(size)
        assert replica.world.check().findings == []


async def test_the_mark_is_where_the_rows_are(replica: Replica, tmp_path: Path) -> None:
    """Index, term and members of the last entry are there after a new start."""
    async with replica.running():
        await replica.make_bucket()
        last = replica.index[0]
        await replica.machine.apply([LogEntry(0, last + 1, 5, b"", b"others")])
    async with replica.running():
        mark = replica.machine.applied(0)
        assert mark is not None
        assert (mark.index, mark.term, mark.members) == (last + 1, 5, b"others")


async def test_an_entry_out_of_order_ends_the_machine(replica: Replica) -> None:
    """A gap would make another replica of this one: nothing is applied."""
    async with replica.running():
        with pytest.raises(Exception, match="behind"):
            await replica.machine.apply([LogEntry(1, 9, 1, b"")])
        mark = replica.machine.applied(1)
        assert mark is not None
        assert mark.index == 1


async def test_a_command_is_run_once(replica: Replica) -> None:
    """The same number of a session gives the same answer again, and changes nothing."""
    async with replica.running():
        bucket_id = await replica.make_bucket()
        key, data = b"once", body(100)
        group = group_of_key(bucket_id, key, GROUPS)
        first = await replica.put(bucket_id, key, data)
        session, number = replica.sessions[group]
        again = envelope(session, number, 0, encode_body(put_command(key, data), data))
        (answer,) = await replica.machine.apply([replica.entry(group, again)])
        assert answer[1] == Outcome.REPEATED
        assert unpack_result(answer[2:]) == first
        assert await replica.world.get(key) == data
        assert replica.world.check().findings == []


async def test_a_refused_command_is_an_answer(replica: Replica) -> None:
    """An error comes back as it was raised, and the group goes on."""
    async with replica.running():
        with pytest.raises(NoSuchBucket):
            await replica.propose(1, put_command(b"k", b"data"), b"data")
        assert replica.world.check().findings == []


async def test_a_group_takes_its_own_commands_and_keys_alone(replica: Replica) -> None:
    """What another group must decide is refused, by every replica alike."""
    async with replica.running():
        bucket_id = await replica.make_bucket()
        wrong = group_of_key(bucket_id, b"k", GROUPS) % GROUPS + 1
        with pytest.raises(StaleCommand):
            await replica.propose(wrong, put_command(b"k", b""))
        with pytest.raises(InvalidRequest):
            await replica.propose(0, put_command(b"k", b""))
        with pytest.raises(InvalidRequest):
            await replica.propose(1, commands.CreateBucket("x", "o", 1, "r"))
        with pytest.raises(InvalidRequest):
            await replica.propose(0, commands.DeleteBucket("b"))
        with pytest.raises(InvalidRequest):
            await replica.world.engine.submit(commands.CreateBucket("x", "o", 1, "r"))


async def test_bytes_that_do_not_fit_their_blob_are_refused(replica: Replica) -> None:
    """A proposer's mistake is an answer, and no replica ends of it."""
    async with replica.running():
        bucket_id = await replica.make_bucket()
        group = group_of_key(bucket_id, b"k", GROUPS)
        with pytest.raises(StoreError):
            await replica.propose(group, put_command(b"k", b"four"), b"three")
        with pytest.raises(StoreError):
            replica.world.find(b"k")


async def test_bytes_may_come_before_their_command(replica: Replica) -> None:
    """A staged blob is bound by the command that names it."""
    async with replica.running():
        bucket_id = await replica.make_bucket()
        key, data = b"large", body(200_000)
        await _keep(replica, key, data)
        assert [row[0] for row in _staged(replica)] == [blob_id_of(key, data)]
        assert replica.world.check().findings == []
        await replica.put(bucket_id, key, data, rides=False)
        assert _staged(replica) == []
        assert await replica.world.get(key) == data
        assert replica.world.check().findings == []


async def test_bytes_may_come_behind_their_command(replica: Replica) -> None:
    """A command whose bytes are not here leaves them missing, until they are adopted."""
    async with replica.running():
        bucket_id = await replica.make_bucket()
        key, data = b"large", body(200_000)
        version = await replica.put(bucket_id, key, data, rides=False)
        assert isinstance(version, VersionRecord)
        ((blob_id, missing),) = _missing(replica)
        assert (blob_id, missing.size_bytes) == (blob_id_of(key, data), len(data))
        assert missing.etag == version.etag
        with pytest.raises(BlobNotHere) as raised:
            await replica.world.read(version)
        assert raised.value.blob_id == blob_id
        assert replica.world.check().findings == []
        assert await _adopt(replica, key, data)
        assert _missing(replica) == []
        assert await replica.world.get(key) == data
        with replica.world.engine.environment.read() as txn:
            assert has_blob(txn, blob_id)
        assert replica.world.check().findings == []


async def test_staged_bytes_that_come_late_are_bound_at_once(replica: Replica) -> None:
    """Received after the command was applied: nothing is left to fetch."""
    async with replica.running():
        bucket_id = await replica.make_bucket()
        key, data = b"late", body(100_000)
        await replica.put(bucket_id, key, data, rides=False)
        await _keep(replica, key, data)
        assert _missing(replica) == []
        assert await replica.world.get(key) == data


async def test_what_was_freed_meanwhile_is_not_adopted(replica: Replica) -> None:
    """Overwriting a version takes its missing blob off the list, and bytes fetched for it go."""
    async with replica.running():
        bucket_id = await replica.make_bucket()
        key, data = b"k", body(100_000)
        await replica.put(bucket_id, key, data, rides=False)
        await replica.put(bucket_id, key, b"short")
        assert _missing(replica) == []
        assert not await _adopt(replica, key, data)
        assert await replica.world.get(key) == b"short"
        assert replica.world.check().findings == []


async def test_staged_bytes_that_nobody_commits_are_reclaimed(replica: Replica) -> None:
    """Their room is counted dead, once."""
    async with replica.running():
        data = body(100_000)
        await _keep(replica, b"k", data)
        assert await replica.depot.reclaim([blob_id_of(b"k", data)]) == 1
        assert await replica.depot.reclaim([blob_id_of(b"k", data)]) == 0
        assert _staged(replica) == []
        assert replica.world.check().findings == []


async def test_compaction_moves_staged_bytes(replica: Replica) -> None:
    """A segment with bytes that wait for their command can be emptied."""
    async with replica.running():
        bucket_id = await replica.make_bucket()
        for number in range(12):
            await _keep(replica, b"%d" % number, body(200_000, number))
        gone = [blob_id_of(b"%d" % n, body(200_000, n)) for n in range(12) if n % 3]
        await replica.depot.reclaim(gone)
        await replica.world.engine.tick()
        assert await replica.world.engine.compact(dead_ratio=0.1) > 0
        await replica.put(bucket_id, b"3", body(200_000, 3), rides=False)
        assert await replica.world.get(b"3") == body(200_000, 3)
        assert replica.world.check().findings == []


async def test_a_bucket_is_deleted_by_all_groups_together(replica: Replica) -> None:
    """Sealed everywhere, then gone; a group that has a key refuses, and the bucket lives on."""
    async with replica.running():
        bucket_id = await replica.make_bucket()
        await replica.put(bucket_id, b"k", b"data")
        await replica.propose(0, commands.BeginDeleteBucket("b", b"token"))
        refused = 0
        for group in range(1, GROUPS + 1):
            try:
                await replica.propose(group, _deletion(replica).seal)
            except BucketNotEmpty:
                refused += 1
        assert refused == 1
        with pytest.raises(StoreError):
            await replica.propose(0, commands.PutBucketTagging("b", [("a", "b")]))
        late = _deletion(replica).seal
        await replica.propose(0, commands.CancelDeleteBucket("b", b"token"))
        await _spread(replica)
        with pytest.raises(StaleCommand):
            await replica.propose(1, late)
        await replica.put(bucket_id, b"k2", b"data")
        for key in (b"k", b"k2"):
            delete = commands.DeleteObject("b", key, None, 2, b"d" * 16, "owner")
            await replica.propose(group_of_key(bucket_id, key, GROUPS), delete)
        old = _adoption(replica)
        await replica.propose(0, commands.BeginDeleteBucket("b", b"other"))
        for group in range(1, GROUPS + 1):
            await replica.propose(group, _deletion(replica).seal)
        with pytest.raises(NoSuchBucket):
            await replica.put(bucket_id, b"k3", b"data")
        await replica.propose(0, commands.FinishDeleteBucket("b", b"other"))
        await _spread(replica)
        with replica.world.engine.environment.read() as txn:
            assert txn.count(Table.GROUP_BUCKETS) == 0
            assert list(untold(txn, GROUPS)) == []
        with pytest.raises(StaleCommand):
            await replica.propose(1, old)
        assert await replica.make_bucket() > bucket_id
        assert replica.world.check().findings == []


async def test_a_bucket_made_anew_takes_the_place_of_its_sealed_forerunner(
    replica: Replica,
) -> None:
    """The drop of the old bucket may come after the new one, and leaves it alone."""
    async with replica.running():
        bucket_id = await replica.make_bucket()
        await replica.propose(0, commands.BeginDeleteBucket("b", b"token"))
        for group in range(1, GROUPS + 1):
            await replica.propose(group, _deletion(replica).seal)
        revision = await replica.propose(0, commands.FinishDeleteBucket("b", b"token"))
        assert isinstance(revision, int)
        new_id = await replica.make_bucket()
        for group in range(1, GROUPS + 1):
            await replica.propose(group, commands.DropBucket("b", bucket_id, revision))
        await replica.put(new_id, b"k", b"data")
        assert await replica.world.get(b"k") == b"data"


async def test_long_keys_of_all_groups_share_nodes_of_the_nodes_own(replica: Replica) -> None:
    """The numbers of tree nodes have the top bit, and listings cross all groups."""
    async with replica.running():
        bucket_id = await replica.make_bucket()
        keys = [b"L" * 600 + b"%02d" % number for number in range(20)]
        for key in keys:
            await replica.put(bucket_id, key, b"x")
        assert len({group_of_key(bucket_id, key, GROUPS) for key in keys}) == GROUPS
        with replica.world.engine.environment.read() as txn:
            nodes = [
                POINTER_CODEC.open(row, value).node_id
                for row, value in txn.cursor(Table.LIVE)
                if len(row) == POINTER_KEY_BYTES
            ]
            for key in keys:
                assert queries.get_version(txn, "b", key, None).size_bytes == 1
        assert nodes
        assert all(node > TREE_ID_MIN for node in nodes)
        assert replica.world.check().findings == []


async def test_a_value_that_no_record_can_hold_is_refused_alone(
    replica: Replica, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The batch is begun anew: the others are applied once, and a repeat has the same answer."""

    def fail(state: IndexState, command: commands.PutObject) -> object:
        if command.key == b"poison":
            state.put_row("half done", GroupBucketRecord(1))
            raise OverflowError("too large")
        return put_object(state, command)

    monkeypatch.setitem(INDEX_FUNCTIONS, commands.PutObject, fail)
    async with replica.running():
        await replica.make_bucket()
        session, number = replica.sessions[1]
        entries = []
        for key in (b"before", b"poison", b"behind", b"poison"):
            number += 1
            data = encode_body(put_command(key, key), key)
            entries.append(replica.entry(1, envelope(session, number, 0, data)))
        answers = await replica.machine.apply(entries)
        assert [answer[1] for answer in answers] == [Outcome.APPLIED] * 4
        for place in (1, 3):
            with pytest.raises(InvalidRequest, match="too large"):
                unpack_result(answers[place][2:])
        assert await replica.world.get(b"before") == b"before"
        assert await replica.world.get(b"behind") == b"behind"
        with replica.world.engine.environment.read() as txn:
            assert read_group_bucket(txn, 1, "half done") is None
        assert replica.world.check().findings == []


async def test_on_a_full_disk_a_batch_waits_whole_for_room(replica: Replica) -> None:
    """No entry is left out to make the others fit: the marks stay, and it goes on from there once
    there is room."""
    async with replica.running():
        bucket_id = await replica.make_bucket()
        group = group_of_key(bucket_id, b"k", GROUPS)
        session, number = replica.sessions[group]
        before = replica.machine.applied(group)
        entries = [
            replica.entry(
                group, envelope(session, number + n, 0, encode_body(put_command(b"k", data), data))
            )
            for n, data in ((1, b""), (2, body(5000)))
        ]
        replica.world.disk.fail_at(0, operations=("pwrite", "allocate"), fault=Fault(errno.ENOSPC))
        answers: list[bytes] = []
        async with trio.open_nursery() as nursery:

            async def apply() -> None:
                answers.extend(await replica.machine.apply(entries))

            nursery.start_soon(apply)
            for _ in range(1000):
                if replica.machine.lacks_room:
                    break
                await trio.sleep(0.01)
            assert replica.machine.lacks_room
            assert replica.machine.applied(group) == before
            replica.world.disk.heal()
        assert not replica.machine.lacks_room
        assert [answer[1] for answer in answers] == [Outcome.APPLIED] * 2
        assert await replica.world.get(b"k") == body(5000)
        assert replica.world.check().findings == []


async def test_a_blob_that_the_layout_keeps_elsewhere_is_not_missing(tmp_path: Path) -> None:
    """A node that need not keep a blob notes nothing, and says that it is not here."""
    replica = Replica(tmp_path, wants=lambda _: False)
    async with replica.running():
        bucket_id = await replica.make_bucket()
        version = await replica.put(bucket_id, b"k", body(100_000), rides=False)
        assert isinstance(version, VersionRecord)
        assert _missing(replica) == []
        with pytest.raises(BlobNotHere):
            await replica.world.read(version)
        assert replica.world.check().findings == []


async def test_lost_bytes_are_fetched_again(replica: Replica) -> None:
    """`repair` takes no version out of a cluster's metadata: what is damaged here is missing."""
    async with replica.running():
        bucket_id = await replica.make_bucket()
        data = body(100_000)
        await _keep(replica, b"k", data)
        await replica.put(bucket_id, b"k", data, rides=False)
        digests = replica.digests()
        with replica.world.engine.environment.read() as txn:
            place = get_blob(txn, blob_id_of(b"k", data))
            store = get_store(txn)
        extent = place.extents[0]
        where = f"segments/{extent.segment_id:016x}.seg"
        replica.world.memory.flip_bit(where, extent.offset + 100)
    assert store is not None
    environment = Environment.open(str(replica.world.path / "meta"))
    try:
        repair(
            environment,
            replica.world.disk,
            SystemClock(),
            store_id=store.store_id,
            drop_damaged=True,
            dry_run=False,
            on_action=lambda _: None,
        )
    finally:
        environment.close()
    async with replica.running():
        assert [blob_id for blob_id, _ in _missing(replica)] == [blob_id_of(b"k", data)]
        assert replica.digests() == digests
        assert replica.world.check().findings == []
        assert await _adopt(replica, b"k", data)
        assert await replica.world.get(b"k") == data


async def test_many_entries_go_in_several_steps(replica: Replica) -> None:
    """An answer for each, in order, and the mark behind the last."""
    async with replica.running():
        count = 2 * STEP_COUNT_MAX + 1
        entries = [replica.entry(1, envelope(0, 1, 0)) for _ in range(count)]
        before = replica.world.engine.statistics().batches
        answers = await replica.machine.apply(entries)
        assert [int.from_bytes(answer[2:], "big") for answer in answers] == [
            entry.index for entry in entries
        ]
        assert replica.world.engine.statistics().batches - before >= 3
        mark = replica.machine.applied(1)
        assert mark is not None
        assert mark.index == entries[-1].index


async def test_housekeeping_proposes_nothing_by_itself(replica: Replica) -> None:
    """Old uploads are the groups' to forget."""
    async with replica.running():
        assert await replica.world.engine.forget_uploads() == 0


async def _keep(replica: Replica, key: bytes, data: bytes) -> None:
    async with replica.depot.stage(blob_id_of(key, data), size_bytes=len(data)) as stage:
        await stage.write(data)
        await replica.depot.keep(await stage.finish(), StagedOwner("b", key))


async def _adopt(replica: Replica, key: bytes, data: bytes) -> bool:
    async with replica.depot.stage(blob_id_of(key, data), size_bytes=len(data)) as stage:
        await stage.write(data)
        return await replica.depot.adopt(await stage.finish())


async def _spread(replica: Replica) -> None:
    with replica.world.engine.environment.read() as txn:
        wanted = list(untold(txn, GROUPS))
    for one in wanted:
        await replica.propose(one.group, one.command)


def _staged(replica: Replica) -> list:  # type: ignore[type-arg]
    with replica.world.engine.environment.read() as txn:
        return list_staged(txn, before_ms=1 << 60)


def _missing(replica: Replica) -> list:  # type: ignore[type-arg]
    with replica.world.engine.environment.read() as txn:
        return list_missing(txn)


def _deletion(replica: Replica):  # type: ignore[no-untyped-def]
    with replica.world.engine.environment.read() as txn:
        found = deletion_of(txn, "b")
    assert found is not None
    return found


def _adoption(replica: Replica) -> commands.AdoptBucket:
    with replica.world.engine.environment.read() as txn:
        found = adoption_of(txn, "b")
    assert found is not None
    return found
