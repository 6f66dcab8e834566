"""A worker's commit and lanes against a core that the test plays."""

from __future__ import annotations

import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
import trio
import trio.testing

from rs3gwd.base.codec import decode_command
from rs3gwd.base.commands import DeleteBucket, ForgetUploads
from rs3gwd.base.errors import CoreGone, DiskFailed, DiskFull, NoSuchBucket, Overloaded
from rs3gwd.engine import wire
from rs3gwd.engine.channel import Channel
from rs3gwd.engine.events import SilentObserver
from rs3gwd.engine.health import DiskHealth, SpaceGuard
from rs3gwd.engine.remote_commit import RemoteCommit
from rs3gwd.engine.remote_lanes import RemoteLanes
from rs3gwd.engine.segments import Segment, SegmentWriter
from rs3gwd.testing.clock import FixedClock
from rs3gwd.testing.faulty_disk import MemoryDisk
from rs3gwd.testing.threads import InlineThreads


class Scene:
    """A worker's parts, and the core's end of their channel."""

    def __init__(self) -> None:
        ours, theirs = socket.socketpair()
        disk = MemoryDisk()
        self.core = Channel(ours)
        self.channel = Channel(theirs)
        self.health = DiskHealth(SilentObserver())
        self.commit = RemoteCommit(self.channel, self.health)
        space = SpaceGuard(
            disk,
            FixedClock(),
            InlineThreads(),
            SilentObserver(),
            reserve_bytes=0,
            ballast_bytes=0,
        )
        writer = SegmentWriter(
            disk, self.health, space, segment_bytes=1 << 20, allocate_bytes=1 << 16
        )
        self.lanes = RemoteLanes(self.channel, writer)
        self.results: dict[int, object] = {}

    async def next(self) -> wire.FromWorker:
        """The next message of the worker."""
        (frame,) = await self.core.receive()
        return wire.decode_from_worker(frame)

    async def next_batch(self) -> wire.Submit:
        """The next batch of the worker."""
        message = await self.next()
        assert isinstance(message, wire.Submit)
        return message

    async def forget(self, number: int) -> None:
        """Submits a command that gives a number."""
        try:
            self.results[number] = await self.commit.submit(ForgetUploads(before_ms=number))
        except (CoreGone, Overloaded) as error:
            self.results[number] = type(error)

    def answer(self, batch: wire.Submit) -> None:
        """Answers each command of a batch with its own number."""
        outcomes: list[wire.WireResult | wire.WireError] = []
        for entry in batch.entries:
            command = decode_command(entry.command)
            assert isinstance(command, ForgetUploads)
            outcomes.append(wire.encode_result(command.before_ms))
        self.commit.on_results(wire.Results(batch.batch, outcomes))


@asynccontextmanager
async def playing() -> AsyncIterator[tuple[Scene, trio.Nursery]]:
    """A scene whose commit runs."""
    scene = Scene()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(scene.commit.run)
        await trio.testing.wait_all_tasks_blocked()
        yield scene, nursery
        nursery.cancel_scope.cancel()
    scene.channel.close()
    scene.core.close()


async def test_whoever_waits_rides_in_the_next_batch() -> None:
    """One alone leaves at once; those who come meanwhile leave together when it is back."""
    async with playing() as (scene, nursery):
        nursery.start_soon(scene.forget, 0)
        first = await scene.next_batch()
        assert len(first.entries) == 1
        for number in range(1, 6):
            nursery.start_soon(scene.forget, number)
        await trio.testing.wait_all_tasks_blocked()
        assert scene.commit.queue_count == 5
        scene.answer(first)
        second = await scene.next_batch()
        assert len(second.entries) == 5
        scene.answer(second)
        await trio.testing.wait_all_tasks_blocked()
        assert scene.results == {number: number for number in range(6)}
        assert (scene.commit.batches, scene.commit.commands, scene.commit.batch_max) == (2, 6, 5)


async def test_a_submitter_cancelled_in_the_queue_leaves_and_nothing_happens() -> None:
    """Its command is in no batch."""
    async with playing() as (scene, nursery):
        nursery.start_soon(scene.forget, 0)
        first = await scene.next_batch()
        scope = trio.CancelScope()

        async def cancelled() -> None:
            with scope:
                await scene.forget(1)

        nursery.start_soon(cancelled)
        nursery.start_soon(scene.forget, 2)
        await trio.testing.wait_all_tasks_blocked()
        scope.cancel()
        await trio.testing.wait_all_tasks_blocked()
        assert scope.cancelled_caught
        scene.answer(first)
        second = await scene.next_batch()
        assert len(second.entries) == 1
        scene.answer(second)
        await trio.testing.wait_all_tasks_blocked()
        assert scene.results == {0: 0, 2: 2}


async def test_a_submitter_cancelled_at_the_core_waits_for_the_answer() -> None:
    """What was handed over is not undone, and its submitter learns of it."""
    async with playing() as (scene, nursery):
        scope = trio.CancelScope()

        async def cancelled() -> None:
            with scope:
                await scene.forget(1)

        nursery.start_soon(cancelled)
        batch = await scene.next_batch()
        scope.cancel()
        await trio.testing.wait_all_tasks_blocked()
        assert scene.results == {}
        scene.answer(batch)
        await trio.testing.wait_all_tasks_blocked()
        assert scene.results == {1: 1}


async def test_without_a_core_the_outcome_of_what_it_had_is_unknown() -> None:
    """What waited here is refused, with nothing changed, and so is whatever comes later."""
    async with playing() as (scene, nursery):
        nursery.start_soon(scene.forget, 0)
        await scene.next_batch()
        nursery.start_soon(scene.forget, 1)
        await trio.testing.wait_all_tasks_blocked()
        scene.commit.stop(CoreGone("gone"))
        nursery.start_soon(scene.forget, 2)
        await trio.testing.wait_all_tasks_blocked()
        assert scene.results == {0: CoreGone, 1: Overloaded, 2: Overloaded}


async def test_an_error_of_the_core_is_raised_where_the_command_was_submitted() -> None:
    """With its class and text."""
    async with playing() as (scene, nursery):

        async def submit() -> None:
            with pytest.raises(NoSuchBucket, match="none such"):
                await scene.commit.submit(DeleteBucket("bucket"))
            scene.results[0] = "raised"

        nursery.start_soon(submit)
        batch = await scene.next_batch()
        error = wire.pack_error(NoSuchBucket("none such"))
        scene.commit.on_results(wire.Results(batch.batch, [error]))
        await trio.testing.wait_all_tasks_blocked()
        assert scene.results == {0: "raised"}


async def test_a_failed_disk_takes_no_command() -> None:
    """Not even as far as the queue."""
    async with playing() as (scene, _):
        scene.health.latch("test")
        with pytest.raises(DiskFailed):
            await scene.commit.submit(DeleteBucket("bucket"))
        assert scene.commit.queue_count == 0


async def take(scene: Scene, taken: list[object]) -> None:
    """Takes a lane, or says why there is none."""
    try:
        taken.append(await scene.lanes.take(room_bytes=5))
    except (CoreGone, DiskFull) as error:
        taken.append(type(error))


async def test_a_lane_is_taken_left_and_filed() -> None:
    """Each step is a message, and the lane begins where the core says."""
    async with playing() as (scene, nursery):
        taken: list[object] = []
        nursery.start_soon(take, scene, taken)
        request = await scene.next()
        assert request == wire.TakeLane(0, 5, True)
        scene.lanes.on_answer(wire.LaneGranted(0, 17, 4096, 65536))
        await trio.testing.wait_all_tasks_blocked()
        (lane,) = taken
        assert isinstance(lane, Segment)
        assert (lane.id, lane.position, lane.allocated_end) == (17, 4096, 65536)
        assert scene.lanes.busy == 1
        scene.lanes.leave()
        assert await scene.next() == wire.LeaveLane()
        lane.allocated_end = 131072
        scene.lanes.file(lane)
        assert await scene.next() == wire.FileLane(17, 131072)
        assert scene.lanes.busy == 0


async def test_a_refused_lane_raises_what_the_core_says() -> None:
    """And costs nothing."""
    async with playing() as (scene, nursery):
        taken: list[object] = []
        nursery.start_soon(take, scene, taken)
        await scene.next()
        scene.lanes.on_answer(wire.LaneRefused(0, wire.pack_error(DiskFull("no room"))))
        await trio.testing.wait_all_tasks_blocked()
        assert taken == [DiskFull]
        assert scene.lanes.busy == 0


async def test_a_lane_for_a_cancelled_body_goes_back() -> None:
    """It comes when nobody waits for it any more."""
    async with playing() as (scene, nursery):
        scope = trio.CancelScope()

        async def cancelled() -> None:
            with scope:
                await take(scene, [])

        nursery.start_soon(cancelled)
        await scene.next()
        scope.cancel()
        await trio.testing.wait_all_tasks_blocked()
        scene.lanes.on_answer(wire.LaneGranted(0, 17, 4096, 65536))
        await trio.testing.wait_all_tasks_blocked()
        messages = [wire.decode_from_worker(frame) for frame in await scene.core.receive()]
        assert messages == [wire.FileLane(17, 65536), wire.LeaveLane()]
        assert scene.lanes.busy == 0


async def test_without_a_core_there_are_no_lanes() -> None:
    """Whoever waits for one is told, and whoever asks later."""
    async with playing() as (scene, nursery):
        taken: list[object] = []
        nursery.start_soon(take, scene, taken)
        await trio.testing.wait_all_tasks_blocked()
        scene.lanes.fail_all(CoreGone("gone"))
        await trio.testing.wait_all_tasks_blocked()
        nursery.start_soon(take, scene, taken)
        await trio.testing.wait_all_tasks_blocked()
        assert taken == [CoreGone, CoreGone]


async def test_a_message_longer_than_the_socket_takes_arrives_whole() -> None:
    """And in order with those behind it."""
    async with playing() as (scene, nursery):
        nursery.start_soon(scene.channel.run)
        long = wire.EventSeen("data_corrupt", "x" * (4 << 20), None)
        scene.channel.send(long)
        scene.channel.send(wire.LeaveLane())
        messages: list[wire.FromWorker] = []
        while len(messages) < 2:
            messages += [wire.decode_from_worker(frame) for frame in await scene.core.receive()]
        assert messages == [long, wire.LeaveLane()]


async def test_what_is_sent_to_a_closed_end_is_dropped() -> None:
    """The reader learns of the end; the sender need not look out for it."""
    async with playing() as (scene, _):
        scene.core.close()
        for _ in range(3):
            scene.channel.send(wire.LeaveLane())
        assert await scene.channel.receive() == []
