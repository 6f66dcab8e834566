"""The core against workers that are broken, hostile or half dead: none takes anyone else along."""

from __future__ import annotations

import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import trio
import trio.testing
from msgspec import Raw

from rs3gwd.base.codec import encode_command
from rs3gwd.base.commands import AnyCommand, CreateBucket, DeleteBucket, PutObject
from rs3gwd.base.records import Attributes, BlobRef, Durability
from rs3gwd.engine import wire
from rs3gwd.engine.blobs import Extent
from rs3gwd.engine.channel import Channel
from rs3gwd.engine.check import check
from rs3gwd.engine.core_service import LANE_REQUESTS_MAX, CoreService
from rs3gwd.engine.events import EventKind
from rs3gwd.engine.frames import FRAME_BYTES_MAX, PREFIX_BYTES
from rs3gwd.engine.segment_format import SEGMENT_HEADER_BYTES, BlockChecksums, footprint
from rs3gwd.engine.segments import segment_path
from rs3gwd.engine.system import FileDisk
from rs3gwd.testing import worker_jobs as jobs
from rs3gwd.testing.open_local import TEST_SETTINGS, LocalNode, open_local

NONCE = bytes(16)
BLOB_ID = b"b" * 16


class Impostor:
    """The worker's end of a channel in the hands of a test."""

    def __init__(self, node: LocalNode, service: CoreService, stream: socket.socket) -> None:
        self.node = node
        self.service = service
        self.stream = stream
        self.channel = Channel(stream)
        self.done = trio.Event()
        self._waiting: list[wire.FromCore] = []

    def send(self, *messages: wire.Message) -> None:
        """Sends messages."""
        for message in messages:
            self.channel.send(message)

    def send_raw(self, data: bytes) -> None:
        """Sends any bytes."""
        assert self.stream.send(data) == len(data)

    async def receive(self) -> wire.FromCore | None:
        """The next message of the core, or None at the end."""
        if not self._waiting:
            self._waiting = [wire.decode_from_core(frame) for frame in await self.channel.receive()]
        return self._waiting.pop(0) if self._waiting else None

    async def greet(self) -> None:
        """Says Hello and takes the Welcome."""
        self.send(wire.Hello(wire.PROTOCOL_VERSION))
        assert await self.receive() == wire.Welcome(wire.PROTOCOL_VERSION)

    async def take_lane(self) -> wire.LaneGranted:
        """Takes a lane."""
        self.send(wire.TakeLane(1, 0, True))
        message = await self.receive()
        assert isinstance(message, wire.LaneGranted)
        return message

    async def assert_refused(self, why: str) -> None:
        """The core has cut this worker off, and said why."""
        with trio.fail_after(10):
            assert await self.receive() is None
            await self.done.wait()
        (event,) = self.node.events.events
        assert event.kind is EventKind.WORKER_REFUSED
        assert why in event.detail

    async def serve(self, stream: socket.socket) -> None:
        """The core's end."""
        await self.service.serve(0, stream)
        self.done.set()


@asynccontextmanager
async def impostor(path: Path) -> AsyncIterator[Impostor]:
    """A core with one bucket, and a channel to it; afterwards the store is sound."""
    async with open_local(str(path)) as node:
        await jobs.create_bucket(node)
        ours, theirs = socket.socketpair()
        worker = Impostor(node, CoreService(node.engine), theirs)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(worker.serve, ours)
            nursery.start_soon(worker.channel.run)
            yield worker
            nursery.cancel_scope.cancel()
        worker.channel.close()
        worker.service.worker_gone(0)
        assert node.engine.statistics().lanes_busy == 0
        await jobs.put(node, b"still", b"here")
        assert check(node.engine.environment, FileDisk(str(path)), read_data=True).findings == []


def put_command(size_bytes: int, key: bytes = b"key") -> PutObject:
    """A PutObject that names BLOB_ID."""
    return PutObject(
        bucket=jobs.BUCKET,
        key=key,
        now_ms=1,
        nonce=NONCE,
        attributes=Attributes(jobs.OWNER),
        etag="e" * 32,
        size_bytes=size_bytes,
        blob=BlobRef(BLOB_ID, size_bytes),
    )


def body_of(data: bytes) -> wire.WireBody:
    """A body that travels with its command."""
    blocks = BlockChecksums()
    blocks.update(data)
    (crc,) = blocks.finish()
    return wire.WireBody(crc, b"", memoryview(data))


def entry(
    command: AnyCommand,
    durability: Durability | None = None,
    body: wire.WireBody | None = None,
    extents: list[Extent] | None = None,
    synced: bool = False,
) -> wire.WireEntry:
    """An entry of a batch."""
    encoded = Raw(encode_command(command))
    return wire.WireEntry(encoded, durability, body, extents or [], synced)


def submit(*entries: wire.WireEntry, batch: int = 1) -> wire.Submit:
    """A batch."""
    return wire.Submit(batch, list(entries))


def create(name: str) -> wire.WireEntry:
    """An entry that makes a bucket."""
    return entry(CreateBucket(name=name, owner_id=jobs.OWNER, now_ms=1, region="r"))


async def test_a_batch_is_committed_and_answered_in_order(tmp_path: Path) -> None:
    """Results and refusals stand where their entries stood."""
    async with impostor(tmp_path) as worker:
        await worker.greet()
        worker.send(
            submit(
                create("one"),
                entry(DeleteBucket("none")),
                entry(put_command(4), Durability.STRICT, body_of(b"data")),
            )
        )
        results = await worker.receive()
        assert isinstance(results, wire.Results)
        first, second, third = results.outcomes
        assert isinstance(first, wire.WireResult)
        assert isinstance(second, wire.WireError)
        assert isinstance(third, wire.WireResult)
        assert (first.kind, second.name, third.kind) == (
            "BucketRecord",
            "NoSuchBucket",
            "VersionRecord",
        )
        assert await jobs.get(worker.node, b"key") == b"data"


async def test_what_was_sent_is_committed_after_the_worker_died(tmp_path: Path) -> None:
    """The whole frames are done, the one that the death cut off never was."""
    async with impostor(tmp_path) as worker:
        await worker.greet()
        whole = wire.encode_message(submit(create("whole")))
        cut = wire.encode_message(submit(create("half")))[:-1]
        worker.send_raw(bytes(whole) + bytes(cut))
        worker.stream.shutdown(socket.SHUT_WR)
        await worker.done.wait()
        while worker.service._workers[0].has_batch:
            await trio.testing.wait_all_tasks_blocked(0.01)
        page = await worker.node.store.list_buckets(owner_id=jobs.OWNER)
        assert [bucket.name for bucket in page.buckets] == [jobs.BUCKET, "whole"]
        assert worker.node.events.events == []


@pytest.mark.parametrize("length", [0, FRAME_BYTES_MAX + 1, (1 << 32) - 1])
async def test_a_hostile_length_ends_the_channel(tmp_path: Path, length: int) -> None:
    """Before a byte of such a frame is waited for."""
    async with impostor(tmp_path) as worker:
        await worker.greet()
        worker.send_raw(length.to_bytes(PREFIX_BYTES, "big"))
        await worker.assert_refused("bytes")


async def test_noise_ends_the_channel(tmp_path: Path) -> None:
    """A frame that is no message."""
    async with impostor(tmp_path) as worker:
        await worker.greet()
        worker.send_raw(b"\0\0\0\4GET ")
        await worker.assert_refused("message")


@pytest.mark.parametrize("noise", [b"\x91\xa4\x00\x00\x00\x80", b"\x90", b"\x91\xa4Nope"])
async def test_a_command_that_is_none_ends_the_channel(tmp_path: Path, noise: bytes) -> None:
    """A frame in which all but the command is sound."""
    async with impostor(tmp_path) as worker:
        await worker.greet()
        worker.send(submit(wire.WireEntry(Raw(noise))))
        await worker.assert_refused("command")


async def test_a_worker_says_hello_first_and_once(tmp_path: Path) -> None:
    """Another message before it is refused."""
    async with impostor(tmp_path) as worker:
        worker.send(submit(create("one")))
        await worker.assert_refused("Hello")


async def test_a_second_hello_is_refused(tmp_path: Path) -> None:
    """So is the same one again."""
    async with impostor(tmp_path) as worker:
        await worker.greet()
        worker.send(wire.Hello(wire.PROTOCOL_VERSION))
        await worker.assert_refused("Hello")


async def test_another_version_is_refused(tmp_path: Path) -> None:
    """A worker of another release is not served."""
    async with impostor(tmp_path) as worker:
        worker.send(wire.Hello(wire.PROTOCOL_VERSION + 1))
        await worker.assert_refused("version")


async def test_an_empty_batch_is_refused(tmp_path: Path) -> None:
    """No worker sends one."""
    async with impostor(tmp_path) as worker:
        await worker.greet()
        worker.send(submit())
        await worker.assert_refused("batch")


async def test_a_batch_on_top_of_another_is_refused(tmp_path: Path) -> None:
    """A worker has one batch at the core, which bounds what the core holds for it."""
    async with impostor(tmp_path) as worker:
        await worker.greet()
        worker.send(submit(create("one")), submit(create("two"), batch=2))
        with trio.fail_after(10):
            while await worker.receive() is not None:
                pass
            await worker.done.wait()
        assert "batch" in worker.node.events.events[0].detail


async def test_too_many_requests_for_lanes_are_refused(tmp_path: Path) -> None:
    """The core holds no endless list for a worker that does not wait."""
    async with impostor(tmp_path) as worker:
        await worker.greet()
        frame = b"".join(
            bytes(wire.encode_message(wire.TakeLane(number, 0, True)))
            for number in range(LANE_REQUESTS_MAX + 1)
        )
        worker.send_raw(frame)
        with trio.fail_after(10):
            while await worker.receive() is not None:
                pass
            await worker.done.wait()
        assert "lanes" in worker.node.events.events[0].detail


def entries_that_cannot_be(lane: wire.LaneGranted) -> dict[str, wire.WireEntry]:
    """Entries that no sound worker sends, by what the core says of them."""
    strict, size = Durability.STRICT, 4096
    good = Extent(lane.segment_id, lane.position, size, 1)
    far = TEST_SETTINGS.segment_bytes - 64
    data = bytes(size)

    def put(
        body: wire.WireBody | None = None, extents: list[Extent] | None = None, synced: bool = True
    ) -> wire.WireEntry:
        return entry(put_command(size), strict, body, extents, synced)

    delete: AnyCommand = DeleteBucket("bucket")
    large = bytes(TEST_SETTINGS.small_bytes_max + 1)
    return {
        "no command names": entry(delete, strict, body_of(b"data")),
        "without a durability": entry(put_command(size), None, body_of(data)),
        "in two places": put(body_of(data), [good]),
        "another size": put(body_of(b"short")),
        "too large": entry(put_command(len(large)), strict, body_of(large)),
        "outside of the worker's lanes": put(None, [Extent(lane.segment_id + 1, 64, size, 1)]),
        "not new": put(None, [Extent(lane.segment_id, SEGMENT_HEADER_BYTES - 8, size, 1)]),
        "without end": put(None, [Extent(lane.segment_id, far, size, 1)]),
        "not synced": put(None, [good], synced=False),
    }


@pytest.mark.parametrize(
    "why", list(entries_that_cannot_be(wire.LaneGranted(1, 1, SEGMENT_HEADER_BYTES, 0)))
)
async def test_an_entry_that_cannot_be_is_refused(tmp_path: Path, why: str) -> None:
    """Nothing of its batch is done, and the bytes of others cannot be named by it."""
    async with impostor(tmp_path) as worker:
        await worker.greet()
        lane = await worker.take_lane()
        worker.send(submit(create("one"), entries_that_cannot_be(lane)[why]))
        await worker.assert_refused(why)
        page = await worker.node.store.list_buckets(owner_id=jobs.OWNER)
        assert [bucket.name for bucket in page.buckets] == [jobs.BUCKET]


@pytest.mark.parametrize("message", [wire.LeaveLane(), wire.FileLane(99, 0)])
async def test_a_lane_that_was_not_taken_cannot_be_given_back(
    tmp_path: Path, message: wire.Message
) -> None:
    """Nor can it be left."""
    async with impostor(tmp_path) as worker:
        await worker.greet()
        worker.send(message)
        await worker.assert_refused("not taken")


async def test_lanes_stay_lent_until_the_process_is_reaped(tmp_path: Path) -> None:
    """A closed channel alone does not say that no write can come any more."""
    async with impostor(tmp_path) as worker:
        await worker.greet()
        lane = await worker.take_lane()
        worker.stream.shutdown(socket.SHUT_WR)
        await worker.done.wait()
        pool = worker.node.engine.parts.pool
        assert worker.node.engine.statistics().lanes_busy == 1
        assert lane.segment_id not in [segment.id for segment in pool.idle]
        path = tmp_path / segment_path(lane.segment_id)
        with path.open("r+b") as file:
            file.truncate(200_000)
        worker.service.worker_gone(0)
        assert worker.node.engine.statistics().lanes_busy == 0
        (back,) = [segment for segment in pool.idle if segment.id == lane.segment_id]
        assert back.position == back.record.committed_end
        assert back.allocated_end == 200_000, "what the dead worker allocated is known"


async def test_lanes_stay_lent_until_the_last_batch_is_committed(tmp_path: Path) -> None:
    """The process is dead and the channel closed, but a commit names bytes of the lane."""
    async with impostor(tmp_path) as worker:
        await worker.greet()
        lane = await worker.take_lane()
        size = 8192
        extent = Extent(lane.segment_id, lane.position, size, 1)
        await trio.testing.wait_all_tasks_blocked()
        last = entry(put_command(size), Durability.STRICT, None, [extent], True)
        worker.service._submit(worker.service._workers[0], submit(last))
        worker.stream.shutdown(socket.SHUT_WR)
        worker.service._workers[0].scope.cancel()
        await worker.done.wait()
        worker.service.worker_gone(0)
        while 0 in worker.service._workers:
            assert worker.node.engine.statistics().lanes_busy == 1
            await trio.testing.wait_all_tasks_blocked(0.01)
        pool = worker.node.engine.parts.pool
        (back,) = [segment for segment in pool.idle if segment.id == lane.segment_id]
        assert back.position == lane.position + footprint(size)
        await jobs.delete(worker.node, b"key")


async def test_a_worker_may_be_gone_before_its_channel_ends(tmp_path: Path) -> None:
    """The order of the two does not matter, and an unknown number is no error."""
    async with impostor(tmp_path) as worker:
        await worker.greet()
        await worker.take_lane()
        worker.service.worker_gone(0)
        worker.service.worker_gone(77)
        assert worker.node.engine.statistics().lanes_busy == 1
        worker.stream.shutdown(socket.SHUT_WR)
        await worker.done.wait()
        assert worker.node.engine.statistics().lanes_busy == 0


async def test_a_worker_that_does_not_read_is_cut_off(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What waits for it is bounded."""
    monkeypatch.setattr("rs3gwd.engine.channel.BACKLOG_BYTES_MAX", 1000)
    async with impostor(tmp_path) as worker:
        await worker.greet()
        remote = worker.node.engine.parts.access.remote
        for number in range(100_000):
            remote._tellers[0](wire.Forget(number))
            if worker.node.events.events:
                break
        await worker.done.wait()
        assert "wait for the other process" in worker.node.events.events[0].detail


async def test_an_event_of_a_worker_reaches_the_core(tmp_path: Path) -> None:
    """With the worker's number; an unknown kind is refused."""
    async with impostor(tmp_path) as worker:
        await worker.greet()
        worker.send(wire.EventSeen("data_corrupt", "a bit fell over", 7))
        await trio.testing.wait_all_tasks_blocked(0.01)
        (event,) = worker.node.events.events
        assert event.kind is EventKind.DATA_CORRUPT
        assert event.detail == "worker 0: a bit fell over"
        worker.node.events.events.clear()
        worker.send(wire.EventSeen("mystery", "", None))
        await worker.assert_refused("mystery")
