"""Group commit: who rides together, who fails alone, and what cancellation means."""

import threading
from pathlib import Path

import pytest
import trio
from engine_world import World, body, put_command
from msgspec import structs

from rs3gwd.base.commands import Conditions, CreateBucket, PutObject
from rs3gwd.base.errors import NoSuchKey, Overloaded, PreconditionFailed, Rs3gwError
from rs3gwd.base.records import Attributes, BucketRecord, Durability
from rs3gwd.engine import pipeline, queries
from rs3gwd.engine.commit import Entry
from rs3gwd.engine.engine import Engine
from rs3gwd.engine.environment import Transaction
from rs3gwd.engine.segments import Ledger
from rs3gwd.testing.faulty_disk import Call, Fault, MemoryDisk


class Gate:
    """Holds the next sync until it is opened, so that a batch stays under way."""

    def __init__(self) -> None:
        self.reached = threading.Event()
        self.opened = threading.Event()

    def decide(self, call: Call) -> Fault | None:
        if call.operation == "sync_data":
            self.reached.set()
            assert self.opened.wait(20)
        return None


async def _wait(event: threading.Event) -> None:
    assert await trio.to_thread.run_sync(event.wait, 20)


async def test_writers_that_wait_share_one_sync(tmp_path: Path) -> None:
    """What gathers during a batch goes in the next one, all of it."""
    world = World(tmp_path, MemoryDisk())
    async with world.running() as engine:
        await world.make_bucket()
        await world.put(b"first", b"x")
        before = engine.statistics()
        gate = Gate()
        world.disk.decide = gate.decide
        async with trio.open_nursery() as nursery:
            nursery.start_soon(world.put, b"slow", b"x")
            await _wait(gate.reached)
            for number in range(30):
                nursery.start_soon(world.put, b"k%d" % number, body(100, number))
            await trio.testing.wait_all_tasks_blocked()
            gate.opened.set()
        after = engine.statistics()
        assert after.batches - before.batches == 2
        assert after.syncs - before.syncs == 2
        for number in range(30):
            assert await world.get(b"k%d" % number) == body(100, number)


class _OneEachTurn(trio.abc.Instrument):
    """Enters a writer between any two turns of the event loop; `rode` is the batch of each."""

    def __init__(self, engine: Engine, count: int) -> None:
        self._engine = engine
        self._count = count
        self.rode: list[int] = []

    def before_io_wait(self, timeout: float) -> None:
        if self._count:
            self._count -= 1
            self.enter()

    def enter(self) -> None:
        self._engine.parts.pipeline.enter_group([Entry(change=self._note)], lambda: None)

    def _note(self, txn: Transaction, ledger: Ledger) -> None:
        self.rode.append(self._engine.statistics().batches)


@pytest.mark.parametrize("turns", [4, 20])
async def test_whoever_still_gets_in_holds_the_doors_for_so_many_turns(
    tmp_path: Path, turns: int
) -> None:
    """Two writers, then one at each turn: the batch takes them along, up to a bound."""
    world = World(tmp_path, MemoryDisk())
    async with world.running() as engine:
        first = engine.statistics().batches
        writers = _OneEachTurn(engine, turns)
        writers.enter()
        writers.enter()
        trio.lowlevel.add_instrument(writers)
        with trio.fail_after(20):
            while len(writers.rode) < turns + 2:
                await trio.lowlevel.checkpoint()
        trio.lowlevel.remove_instrument(writers)
        together = writers.rode.count(first)
        assert together == turns + 2 if turns < pipeline.GATHER_TURNS_MAX else together < turns


async def test_of_many_conditional_writers_exactly_one_wins(tmp_path: Path) -> None:
    """If-None-Match: * among 64 racers; the losers get PreconditionFailed and leave no bytes."""
    world = World(tmp_path, MemoryDisk())
    wins: list[int] = []
    losses: list[int] = []
    async with world.running() as engine:
        await world.make_bucket()

        async def race(number: int) -> None:
            data = body(50, number)
            async with engine.stage(size_hint=50, durability=Durability.STRICT) as stage:
                await stage.write(data)
                staged = await stage.finish()
                command = PutObject(
                    "b",
                    b"k",
                    1,
                    b"n" * 16,
                    Attributes("owner"),
                    "etag",
                    50,
                    staged.ref,
                    conditions=Conditions(if_none_match="*"),
                )
                try:
                    await engine.submit(command, staged)
                except PreconditionFailed:
                    losses.append(number)
                else:
                    wins.append(number)

        async with trio.open_nursery() as nursery:
            for number in range(64):
                nursery.start_soon(race, number)
        assert len(wins) == 1
        assert len(losses) == 63
        assert await world.get(b"k") == body(50, wins[0])
        assert world.check().is_clean


async def test_a_value_that_no_record_can_hold_fails_its_own_command_alone(
    tmp_path: Path,
) -> None:
    """A lone surrogate is an error to its sender; its batch is committed and the engine runs on."""
    world = World(tmp_path, MemoryDisk())
    refused: list[Rs3gwError] = []
    async with world.running() as engine:
        await world.make_bucket()
        gate = Gate()
        world.disk.decide = gate.decide

        async def put_unstorable() -> None:
            async with engine.stage(size_hint=1, durability=Durability.STRICT) as stage:
                await stage.write(b"x")
                staged = await stage.finish()
                attributes = Attributes("owner", metadata={"a": "\ud800"})
                command = structs.replace(
                    put_command(b"bad", b"x", staged.ref), attributes=attributes
                )
                with pytest.raises(Rs3gwError) as caught:
                    await engine.submit(command, staged)
                refused.append(caught.value)

        async with trio.open_nursery() as nursery:
            nursery.start_soon(world.put, b"slow", b"x")
            await _wait(gate.reached)
            nursery.start_soon(world.put, b"before", b"y")
            nursery.start_soon(put_unstorable)
            nursery.start_soon(world.put, b"after", b"z")
            await trio.testing.wait_all_tasks_blocked()
            gate.opened.set()
        assert [error.code for error in refused] == ["InternalError"]
        assert (await world.get(b"before"), await world.get(b"after")) == (b"y", b"z")
        with pytest.raises(NoSuchKey):
            world.find(b"bad")
        assert world.check().is_clean
        assert world.events.kinds() == []


async def test_a_submitter_cancelled_in_the_queue_has_changed_nothing(tmp_path: Path) -> None:
    """It leaves the queue before its batch begins."""
    world = World(tmp_path, MemoryDisk())
    async with world.running() as engine:
        await world.make_bucket()
        gate = Gate()
        world.disk.decide = gate.decide
        async with trio.open_nursery() as nursery:
            nursery.start_soon(world.put, b"slow", b"x")
            await _wait(gate.reached)
            with trio.move_on_after(0) as scope:
                await world.put(b"never", b"y")
            assert scope.cancelled_caught
            assert engine.statistics().queue_count == 0
            gate.opened.set()
        await world.put(b"later", b"z")
        with pytest.raises(NoSuchKey):
            world.find(b"never")
        assert world.check().is_clean


async def test_a_submitter_cancelled_in_its_batch_learns_the_outcome(tmp_path: Path) -> None:
    """What was handed to the log is not undone: the call returns its result."""
    world = World(tmp_path, MemoryDisk())
    outcome = []
    async with world.running():
        await world.make_bucket()
        gate = Gate()
        world.disk.decide = gate.decide

        async def put(scope: trio.CancelScope) -> None:
            with scope:
                outcome.append(await world.put(b"k", b"x"))

        scope = trio.CancelScope()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(put, scope)
            await _wait(gate.reached)
            scope.cancel()
            await trio.testing.wait_all_tasks_blocked()
            gate.opened.set()
        assert len(outcome) == 1
        assert await world.get(b"k") == b"x"


async def test_a_queue_that_is_full_refuses(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Overloaded, at once, and the bodies that wait are committed all the same."""
    monkeypatch.setattr(pipeline, "QUEUE_COUNT_MAX", 3)
    world = World(tmp_path, MemoryDisk())
    async with world.running() as engine:
        await world.make_bucket()
        gate = Gate()
        world.disk.decide = gate.decide
        async with trio.open_nursery() as nursery:
            nursery.start_soon(world.put, b"slow", b"x")
            await _wait(gate.reached)
            for number in range(3):
                nursery.start_soon(world.put, b"k%d" % number, b"y")
            await trio.testing.wait_all_tasks_blocked()
            assert engine.statistics().queue_count == 3
            with pytest.raises(Overloaded):
                await world.put(b"more", b"z")
            gate.opened.set()
        assert await world.get(b"k2") == b"y"


async def test_an_engine_that_does_not_run_refuses(tmp_path: Path) -> None:
    """Overloaded, with nothing changed, once `run` has ended."""
    world = World(tmp_path, MemoryDisk())
    async with world.running() as engine:
        await world.make_bucket()
        async with engine.stage(size_hint=1, durability=Durability.STRICT) as stage:
            await stage.write(b"x")
            staged = await stage.finish()
    with pytest.raises(Overloaded):
        await engine.submit(put_command(b"k", b"x", staged.ref), staged)


async def test_the_batch_bound_splits_a_long_queue(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No batch is longer than the bound, and nobody is left behind."""
    monkeypatch.setattr(pipeline, "BATCH_COUNT_MAX", 4)
    world = World(tmp_path, MemoryDisk())
    async with world.running() as engine:
        await world.make_bucket()
        async with trio.open_nursery() as nursery:
            for number in range(30):
                nursery.start_soon(world.put, b"k%d" % number, body(100, number))
        assert engine.statistics().batch_max == 4
        for number in range(30):
            assert await world.get(b"k%d" % number) == body(100, number)


async def test_a_command_without_bytes_needs_no_sync_of_a_segment(tmp_path: Path) -> None:
    """Only LMDB syncs for it."""
    world = World(tmp_path, MemoryDisk())
    async with world.running() as engine:
        record = await engine.submit(CreateBucket("b", "owner", 1, "r"))
        assert isinstance(record, BucketRecord)
        assert engine.statistics().syncs == 0
        with engine.environment.read() as txn:
            assert queries.get_bucket(txn, "b") == record


async def test_relaxed_writes_do_not_wait_for_a_sync(tmp_path: Path) -> None:
    """The bytes are synced by the housekeeping, and then forgotten as unsynced."""
    world = World(tmp_path, MemoryDisk())
    async with world.running() as engine:
        await world.make_bucket(Durability.RELAXED)
        await world.put(b"warm", b"x", durability=Durability.RELAXED)
        await engine.tick()
        before = len([call for call in world.disk.calls if call.operation == "sync_data"])
        await world.put(b"small", body(100), durability=Durability.RELAXED)
        after = len([call for call in world.disk.calls if call.operation == "sync_data"])
        assert after == before
        await world.put(b"large", body(100_000), durability=Durability.RELAXED)
        assert engine.statistics().unsynced_blobs == 2
        await world.delete(b"small")
        assert engine.statistics().unsynced_blobs == 1
        await engine.tick()
        assert engine.statistics().unsynced_blobs == 0
        assert world.check().is_clean


async def test_ephemeral_writes_are_not_synced_on_purpose(tmp_path: Path) -> None:
    """Not even by the housekeeping, until their segment is sealed."""
    world = World(tmp_path, MemoryDisk())
    async with world.running() as engine:
        await world.make_bucket(Durability.EPHEMERAL)
        await world.put(b"k", body(100), durability=Durability.EPHEMERAL)
        await engine.tick()
        await engine.tick()
        assert engine.statistics().unsynced_blobs == 1
        for number in range(14):
            await world.put(b"f%d" % number, body(80_000), durability=Durability.EPHEMERAL)
        for number in range(300):
            await world.put(b"s%d" % number, body(4000), durability=Durability.EPHEMERAL)
        await engine.tick()
        await engine.tick()
        assert engine.statistics().unsynced_blobs < 315
        assert world.check().is_clean
