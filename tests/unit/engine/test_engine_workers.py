"""A core and real worker processes over one store: one truth, wherever it is read or written."""

from __future__ import annotations

import itertools
import os
import random
from collections.abc import Awaitable, Callable
from functools import partial
from pathlib import Path

import pytest
import trio

from rs3gwd.base.commands import (
    CreateBucket,
    DeleteAccessKey,
    DeleteBucket,
    PutAccessKey,
    PutAccount,
    PutBucketTagging,
)
from rs3gwd.base.errors import BucketNotEmpty, DiskFailed, NoSuchBucket, Overloaded
from rs3gwd.base.records import AccessKeyRecord, AccountRecord, BucketRecord, Durability
from rs3gwd.engine.check import check
from rs3gwd.engine.segments import segment_path
from rs3gwd.engine.system import FileDisk
from rs3gwd.engine.worker_engine import VIEW_SECONDS
from rs3gwd.testing import worker_jobs as jobs
from rs3gwd.testing.linearizability import RegisterOperation, violations
from rs3gwd.testing.open_local import TEST_SETTINGS
from rs3gwd.testing.worker_crew import Crew, Worker, WorkerDied, open_crew

SMALL, LARGE = 3_000, 150_000
"""A body that travels with its command, and one that is written to lanes, in several segments."""

SECONDS_MAX = 30


async def until(condition: Callable[[], Awaitable[bool]]) -> None:
    """Waits for what another process is about to do."""
    with trio.fail_after(SECONDS_MAX):
        while not await condition():  # noqa: ASYNC110  # no event crosses the processes
            await trio.sleep(0.01)


def assert_sound(crew: Crew, path: Path) -> None:
    """Index, segments and accounts agree, every byte included; nothing was reported."""
    report = check(crew.engine.environment, FileDisk(str(path)), read_data=True)
    assert report.findings == []
    assert crew.node.events.events == []


async def settle(crew: Crew) -> None:
    """Waits until every lane is back."""

    async def is_settled() -> bool:
        return crew.engine.statistics().lanes_busy == 0

    await until(is_settled)


async def test_what_any_process_acknowledged_every_process_reads(tmp_path: Path) -> None:
    """Writes and deletes by two workers and the core, each read by another one at once."""
    chance = random.Random(7)
    async with open_crew(str(tmp_path)) as crew:
        workers = await crew.start(2)
        places: list[Callable[..., Awaitable[object]]] = [
            *(worker.call for worker in workers),
            partial(_call_core, crew),
        ]
        await workers[0].call(jobs.create_bucket)
        truth: dict[bytes, bytes | None] = {}
        for step in range(150):
            key = b"key-%d" % chance.randrange(12)
            if chance.random() < 0.2:
                truth[key] = None
                await chance.choice(places)(jobs.delete, key)
            else:
                size = LARGE if step % 10 == 0 else chance.randrange(SMALL)
                truth[key] = data = chance.randbytes(size)
                await chance.choice(places)(jobs.put, key, data)
            assert await chance.choice(places)(jobs.get, key) == truth[key]
        for place in places:
            for key, expected in truth.items():
                assert await place(jobs.get, key) == expected
        await settle(crew)
        assert_sound(crew, tmp_path)


async def _call_core(
    crew: Crew, function: Callable[..., Awaitable[object]], *args: object
) -> object:
    return await function(crew.node, *args)


@pytest.mark.parametrize("seed", [1, 2])
async def test_a_key_is_linearizable_over_all_processes(tmp_path: Path, seed: int) -> None:
    """Reads and writes of the same keys by all processes at once, some large, while commits of
    others go on: the history of each key can have happened one after the other."""
    chance = random.Random(seed)
    histories: dict[bytes, list[RegisterOperation]] = {b"one": [], b"two": []}
    numbers = itertools.count()

    async def client(call: Callable[..., Awaitable[object]]) -> None:
        for _ in range(40):
            key = chance.choice(list(histories))
            value = b"%d" % next(numbers)
            start = trio.current_time()
            is_write = chance.random() < 0.5
            if is_write:
                size = LARGE if chance.random() < 0.1 else 20
                await call(jobs.put, key, value.ljust(size))
            else:
                found = await call(jobs.get, key)
                assert isinstance(found, bytes)
                value = found.rstrip()
            operation = RegisterOperation(is_write, value.decode(), start, trio.current_time())
            histories[key].append(operation)

    async with open_crew(str(tmp_path)) as crew:
        workers = await crew.start(2)
        await jobs.create_bucket(crew.node)
        for key in histories:
            start = trio.current_time()
            await jobs.put(crew.node, key, b"first")
            histories[key].append(RegisterOperation(True, "first", start, trio.current_time()))
        async with trio.open_nursery() as nursery:
            for call in [worker.call for worker in workers] * 3 + [partial(_call_core, crew)] * 2:
                nursery.start_soon(client, call)
        for history in histories.values():
            assert len(history) > 100
            assert violations(history) == []
        await settle(crew)
        assert_sound(crew, tmp_path)


async def test_a_race_of_conditional_writes_has_one_winner(tmp_path: Path) -> None:
    """If-None-Match from all processes at once: one yes for each key, and its bytes are there."""
    async with open_crew(str(tmp_path)) as crew:
        workers = await crew.start(2)
        await jobs.create_bucket(crew.node)
        wins: dict[bytes, list[bytes]] = {}

        async def race(key: bytes, mine: bytes, worker: Worker | None) -> None:
            call = worker.call if worker is not None else partial(_call_core, crew)
            if await call(jobs.put_if_absent, key, mine):
                wins.setdefault(key, []).append(mine)

        async with trio.open_nursery() as nursery:
            for key in (b"key-%d" % number for number in range(30)):
                for number, worker in enumerate([*workers, None] * 2):
                    nursery.start_soon(race, key, b"%d" % number * 99, worker)
        assert len(wins) == 30
        for key, winners in wins.items():
            assert len(winners) == 1
            assert await workers[0].call(jobs.get, key) == winners[0]
        assert_sound(crew, tmp_path)


async def test_bodies_of_every_size_are_written_and_read_by_workers(tmp_path: Path) -> None:
    """None, one byte, the sizes around each bound, and several segments long."""
    small_max, segment = TEST_SETTINGS.small_bytes_max, TEST_SETTINGS.segment_bytes
    sizes = [0, 1, 65_535, small_max, small_max + 1, segment, 3 * segment + 17]
    async with open_crew(str(tmp_path)) as crew:
        writer, reader = await crew.start(2)
        await writer.call(jobs.create_bucket)
        for size in sizes:
            for durability in Durability:
                key = b"%d-%s" % (size, durability.encode())
                await writer.call(jobs.put, key, jobs.bytes_of(key, size), durability)
                assert await reader.call(jobs.get, key) == jobs.bytes_of(key, size)
        await crew.engine.tick()
        await settle(crew)
        assert_sound(crew, tmp_path)


async def test_refused_commands_raise_the_same_error_in_a_worker(tmp_path: Path) -> None:
    """With the same text, and what was refused leaves no trace but dead bytes."""
    async with open_crew(str(tmp_path)) as crew:
        (worker,) = await crew.start()
        with pytest.raises(NoSuchBucket) as here:
            await jobs.put(crew.node, b"key", b"data")
        with pytest.raises(NoSuchBucket) as there:
            await worker.call(jobs.put, b"key", b"data")
        assert str(there.value) == str(here.value)
        with pytest.raises(NoSuchBucket):
            await worker.call(jobs.put, b"key", bytes(LARGE))
        await worker.call(jobs.create_bucket)
        await worker.call(jobs.put, b"key", b"data")
        with pytest.raises(BucketNotEmpty):
            await worker.call(jobs.submit, DeleteBucket(name=jobs.BUCKET))
        await settle(crew)
        assert_sound(crew, tmp_path)


async def test_a_revoked_key_is_refused_by_every_worker_at_once(tmp_path: Path) -> None:
    """What a worker keeps of the configuration is dropped before the change is acknowledged."""
    account = AccountRecord("b" * 64, "someone", "", 1)
    async with open_crew(str(tmp_path)) as crew:
        first, second = await crew.start(2)
        await first.call(jobs.submit, PutAccount(account=account))
        for number in range(20):
            name = f"AKIA{number}"
            assert await second.call(jobs.access_key, name) is None
            record = AccessKeyRecord(name, "secret", account.canonical_id, 1)
            await first.call(jobs.submit, PutAccessKey(access_key=record))
            assert await second.call(jobs.access_key, name) == record
            await second.call(jobs.submit, DeleteAccessKey(access_key_id=name))
            assert await first.call(jobs.access_key, name) is None


async def test_an_idle_worker_pins_no_old_pages(tmp_path: Path) -> None:
    """A look-up in a worker that then rests does not make the metadata grow."""
    async with open_crew(str(tmp_path)) as crew:
        (worker,) = await crew.start()
        await jobs.create_bucket(crew.node)
        await jobs.put(crew.node, b"key", b"data")

        async def write(rounds: int) -> int:
            for number in range(rounds):
                tags = [("number", str(number))]
                await crew.node.store.submit(PutBucketTagging(name=jobs.BUCKET, tags=tags))
            return crew.engine.environment.statistics().used_bytes

        await write(20)
        assert await worker.call(jobs.get, b"key") == b"data"
        await write(1)
        await trio.sleep(3 * VIEW_SECONDS)
        before = await write(20)
        assert await write(100) <= before + 4 * 4096


async def test_the_room_of_a_segment_that_no_worker_reads_is_back_at_once(tmp_path: Path) -> None:
    """On a full disk compaction needs it for the next one."""
    async with open_crew(str(tmp_path)) as crew:
        reader, _ = await crew.start(2)
        await jobs.create_bucket(crew.node)
        await jobs.put_many(crew.node, b"fill", 2 * LARGE, 6)
        await reader.call(jobs.get, b"fill0")
        for number in range(6):
            await jobs.delete(crew.node, b"fill%d" % number)
        await crew.engine.tick()
        assert await crew.engine.compact(dead_ratio=0.5) > 0
        for event in crew.node.events.events:
            assert event.segment_id is not None
            assert not (tmp_path / segment_path(event.segment_id)).exists()


async def test_a_reader_keeps_a_segment_that_is_going(tmp_path: Path) -> None:
    """Compaction drops it; its file goes when the worker's reader has ended, and no sooner."""
    async with open_crew(str(tmp_path)) as crew:
        writer, reader = await crew.start(2)
        await writer.call(jobs.create_bucket)
        await writer.call(jobs.put, b"held", jobs.bytes_of(b"held", LARGE))
        await writer.call(jobs.put, b"other", jobs.bytes_of(b"other", LARGE))
        await crew.engine.tick()
        files = {path.name for path in (tmp_path / "segments").iterdir()}
        async with trio.open_nursery() as nursery:
            results: list[object] = []

            async def hold() -> None:
                results.append(await reader.call(jobs.hold_body, b"held"))

            nursery.start_soon(hold)
            await until(lambda: reader.call(jobs.is_held, b"held"))
            await writer.call(jobs.put, b"held", b"new")
            await writer.call(jobs.delete, b"other")
            await jobs.put_many(crew.node, b"fill", LARGE, 4)
            await crew.engine.tick()
            assert await crew.engine.compact(dead_ratio=0.5) > 0
            await crew.engine.tick()
            dropped = set(crew.engine.parts.access._retired)
            kept = {
                segment_id
                for segment_id in dropped
                if (tmp_path / segment_path(segment_id)).exists()
            }
            assert kept, f"nothing is held of {files}"
            await reader.call(jobs.let_go, b"held")

        async def is_gone() -> bool:
            await crew.engine.tick()
            return not any((tmp_path / segment_path(number)).exists() for number in kept)

        await until(is_gone)
        assert results == [jobs.bytes_of(b"held", LARGE)]
        assert await reader.call(jobs.get, b"held") == b"new"


async def test_workers_read_while_segments_are_compacted(tmp_path: Path) -> None:
    """Every read of what lives finds its bytes, wherever compaction has moved them."""
    keys = [b"live%d" % number for number in range(12)]
    async with open_crew(str(tmp_path)) as crew:
        workers = await crew.start(2)
        await jobs.create_bucket(crew.node)
        async with trio.open_nursery() as nursery:
            for number, key in enumerate(keys):
                size = LARGE // 3 if number % 2 else SMALL
                await jobs.put(crew.node, key, jobs.bytes_of(key, size))
                await jobs.put(crew.node, b"dead%d" % number, bytes(LARGE))
            for worker in workers:
                nursery.start_soon(worker.call, jobs.spin, keys, 60)
            for number in range(len(keys)):
                await jobs.delete(crew.node, b"dead%d" % number)
                await crew.engine.tick()
                await crew.engine.compact(dead_ratio=0.3)
        compacted = [event.segment_id for event in crew.node.events.events]
        assert compacted
        await crew.engine.tick()
        for segment_id in compacted:
            assert segment_id is not None
            assert not (tmp_path / segment_path(segment_id)).exists()
        kinds = {event.kind for event in crew.node.events.events}
        assert kinds == {"segment_compacted"}


async def test_a_dead_worker_loses_nothing_and_keeps_nothing(tmp_path: Path) -> None:
    """Killed in the middle of its writes: what it was told of is there, its lanes are back, and
    the dropped segments that it read go."""
    async with open_crew(str(tmp_path)) as crew:
        victim, other = await crew.start(2)
        await other.call(jobs.create_bucket)
        told: list[tuple[bytes, int]] = []

        async def write(prefix: bytes, size: int) -> None:
            for number in range(1000):
                key = prefix + b"%d" % number
                try:
                    await victim.call(jobs.put, key, jobs.bytes_of(key, size))
                except WorkerDied:
                    return
                told.append((key, size))
                if len(told) == 40:
                    victim.kill()

        async with trio.open_nursery() as nursery:
            for name, size in [(b"a", SMALL), (b"b", SMALL), (b"c", LARGE), (b"d", LARGE)]:
                nursery.start_soon(write, name, size)
        assert len(told) >= 40
        for key, size in told:
            assert await other.call(jobs.get, key) == jobs.bytes_of(key, size)
        await other.call(jobs.put_many, b"after", LARGE, 8)
        await settle(crew)
        assert_sound(crew, tmp_path)


async def test_a_dead_reader_holds_no_segment(tmp_path: Path) -> None:
    """A worker that is killed while it reads a dropped segment counts as done with it."""
    async with open_crew(str(tmp_path)) as crew:
        (reader,) = await crew.start()
        await jobs.create_bucket(crew.node)
        await jobs.put(crew.node, b"held", jobs.bytes_of(b"held", LARGE))

        async def hold() -> None:
            with pytest.raises(WorkerDied):
                await reader.call(jobs.hold_body, b"held")

        async with trio.open_nursery() as nursery:
            nursery.start_soon(hold)
            await until(lambda: reader.call(jobs.is_held, b"held"))
            await jobs.delete(crew.node, b"held")
            await jobs.put_many(crew.node, b"fill", LARGE, 4)
            await crew.engine.tick()
            await crew.engine.compact(dead_ratio=0.5)
            held = set(crew.engine.parts.access._retired)
            assert held
            reader.kill()

        async def is_gone() -> bool:
            await crew.engine.tick()
            return not crew.engine.parts.access._retired

        await until(is_gone)
        assert not any((tmp_path / segment_path(number)).exists() for number in held)
        (late,) = await crew.start()
        assert await late.call(jobs.get, b"fill0") == jobs.bytes_of(b"fill0", LARGE)


async def test_a_failed_write_in_one_process_stops_all(tmp_path: Path) -> None:
    """The disk is one: whoever meets its failure takes it out of use for every process."""
    async with open_crew(str(tmp_path)) as crew:
        first, second = await crew.start(2)
        await first.call(jobs.create_bucket)
        await second.call(jobs.put, b"key", b"data")
        with pytest.raises(DiskFailed):
            await first.call(jobs.fail_disk)

        async def has_failed() -> bool:
            return crew.engine.disk_failure is not None

        await until(has_failed)
        assert "worker 0" in (crew.engine.disk_failure or "")
        for worker in (first, second):
            assert await worker.call(jobs.disk_failure) is not None
            with pytest.raises(DiskFailed):
                await worker.call(jobs.put, b"key", b"more")
            with pytest.raises(DiskFailed):
                await worker.call(jobs.put, b"key", bytes(LARGE))
            assert await worker.call(jobs.get, b"key") == b"data"
        with pytest.raises(DiskFailed):
            await jobs.put(crew.node, b"key", b"more")


async def test_a_worker_ends_when_the_core_closes_the_channel(tmp_path: Path) -> None:
    """Also one that waits for an answer: its process ends with an error and in good time."""
    async with open_crew(str(tmp_path)) as crew:
        (worker,) = await crew.start()
        await worker.call(jobs.create_bucket)
        crew.service._workers[worker.number].scope.cancel()
        with trio.fail_after(SECONDS_MAX):
            await worker.ended.wait()
        assert worker.process.returncode not in (0, None)


async def test_lanes_come_back_from_bodies_that_were_given_up(tmp_path: Path) -> None:
    """A body that is never committed costs nothing, and its lane is written over."""
    async with open_crew(str(tmp_path)) as crew:
        (worker,) = await crew.start()
        await worker.call(jobs.create_bucket)
        for number in range(2 * TEST_SETTINGS.lanes_max):
            await worker.call(jobs.put_abandoned, b"%d" % number, LARGE)
        await settle(crew)
        assert crew.engine.statistics().dead_bytes == 0
        assert_sound(crew, tmp_path)


async def test_more_bodies_than_lanes_are_refused_in_a_worker(tmp_path: Path) -> None:
    """The bound is the node's: a worker passes the core's refusal on, and the others go on."""
    count = TEST_SETTINGS.lanes_max + 4
    async with open_crew(str(tmp_path)) as crew:
        (worker,) = await crew.start()
        await worker.call(jobs.create_bucket)
        refused: list[int] = []

        async def write(number: int) -> None:
            key = b"%d" % number
            try:
                await worker.call(jobs.put, key, jobs.bytes_of(key, LARGE))
            except Overloaded:
                refused.append(number)

        async with trio.open_nursery() as nursery:
            for number in range(count):
                nursery.start_soon(write, number)
        for number in set(range(count)) - set(refused):
            key = b"%d" % number
            assert await worker.call(jobs.get, key) == jobs.bytes_of(key, LARGE)
        await settle(crew)
        assert_sound(crew, tmp_path)


async def test_a_worker_takes_the_place_of_another(tmp_path: Path) -> None:
    """Workers come and go, killed or in peace; the store stays the same."""
    async with open_crew(str(tmp_path)) as crew:
        await jobs.create_bucket(crew.node)
        for number in range(4):
            (worker,) = await crew.start()
            key = b"key-%d" % number
            await worker.call(jobs.put, key, jobs.bytes_of(key, LARGE))
            for earlier in range(number + 1):
                key = b"key-%d" % earlier
                assert await worker.call(jobs.get, key) == jobs.bytes_of(key, LARGE)
            if number % 2:
                worker.kill()
                await worker.ended.wait()
            else:
                await worker.stop()
                assert worker.process.returncode == 0
        await settle(crew)
        assert_sound(crew, tmp_path)


async def test_buckets_made_and_removed_are_seen_by_all(tmp_path: Path) -> None:
    """A bucket of the same name with another id: no worker goes on with the old one."""
    async with open_crew(str(tmp_path)) as crew:
        first, second = await crew.start(2)
        for number in range(10):
            create = CreateBucket(name=jobs.BUCKET, owner_id=jobs.OWNER, now_ms=1, region="r")
            record = await first.call(jobs.submit, create)
            assert isinstance(record, BucketRecord)
            await second.call(jobs.put, b"key", os.urandom(number))
            await first.call(jobs.delete, b"key")
            await second.call(jobs.submit, DeleteBucket(name=jobs.BUCKET))
            with pytest.raises(NoSuchBucket):
                await first.call(jobs.get, b"key")
