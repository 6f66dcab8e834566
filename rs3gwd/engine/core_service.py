"""The core's side of the workers: commits what they send, lends them lanes, tells what is going.

What it is not: it starts and watches no process; the daemon does.

A worker is a part of this node, and still nothing that it sends is believed unseen: what it cannot
have sent unless it is broken ends its channel, and it loses its place. So a defect in one process
cannot have the core name bytes that lie in another's lane.

The end of a worker has three parts, in any order: its channel ends, its process is reaped
(`worker_gone`), and the batches that it sent are committed or refused. Only after all three are its
lanes given to others: no write of a dead process can arrive, and no commit of its own can name
bytes in a lane that another one writes to.
"""

from __future__ import annotations

import socket
from collections.abc import Sequence
from functools import partial

import trio

from rs3gwd.base.codec import decode_command
from rs3gwd.base.errors import FormatError, Overloaded, Rs3gwError
from rs3gwd.base.records import BlobRef, Durability
from rs3gwd.engine.channel import Channel
from rs3gwd.engine.commit import Entry
from rs3gwd.engine.engine import Engine
from rs3gwd.engine.events import EngineEvent, EventKind
from rs3gwd.engine.lanes import SmallBody
from rs3gwd.engine.pipeline import BATCH_COUNT_MAX
from rs3gwd.engine.segments import Segment, segment_path
from rs3gwd.engine.stage import StagedBody
from rs3gwd.engine.wire import (
    PROTOCOL_VERSION,
    DiskBroken,
    EventSeen,
    FileLane,
    FromWorker,
    Hello,
    LaneGranted,
    LaneRefused,
    LeaveLane,
    Message,
    Released,
    Results,
    Submit,
    TakeLane,
    Welcome,
    WireEntry,
    decode_from_worker,
    encode_result,
    pack_error,
)

LANE_REQUESTS_MAX = 1024
"""Requests for lanes that a worker may have open; a body makes one at a time."""


class _Worker:
    """What the core keeps of one worker."""

    def __init__(self, number: int, channel: Channel) -> None:
        self.number = number
        self.channel = channel
        self.scope = trio.CancelScope()
        self.lanes: dict[int, Segment] = {}
        self.takes = 0
        self.lane_requests = 0
        self.has_batch = False
        self.is_greeted = False
        self.has_ended = False
        self.is_gone = False


class CoreService:
    """Serves the workers of one core. Belongs to the event loop of `engine`.

    The daemon makes, for each worker process, `socket.socketpair(AF_UNIX, SOCK_STREAM)`, keeps one
    end for `serve`, lets the child inherit the other and `engine.shared.descriptor`, and closes its
    own copy of the child's end. A worker number is never used twice in the life of a core, also not
    by the process that takes another's place.
    """

    def __init__(self, engine: Engine) -> None:
        self._parts = engine.parts
        self._workers: dict[int, _Worker] = {}

    async def serve(self, worker_number: int, channel: socket.socket) -> None:
        """Serves one worker until its end of the channel is closed, or until cancelled.

        Owns `channel` (any blocking mode) and closes it at the end. Returns when the worker has
        closed its end or died, and after it broke the protocol, which the observer is told of; a
        worker that lives then sees its end closed and gives up. Never raises for what a worker
        does. What the worker had sent is committed all the same. `engine.run` must be active.
        """
        assert worker_number not in self._workers, "a worker number is used once"
        worker = _Worker(worker_number, Channel(channel))
        self._workers[worker_number] = worker
        try:
            with worker.scope:
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(worker.channel.run)
                    await self._receive(worker, nursery)
                    nursery.cancel_scope.cancel()
        finally:
            worker.channel.close()
            worker.has_ended = True
            self._settle(worker)

    def worker_gone(self, worker_number: int) -> None:
        """The process of a worker is dead and reaped (after waitpid): no write of it can come.

        Takes its lanes back and counts its readers as gone. To be called once for every worker
        that `serve` was called for, whether `serve` has returned yet or not; a number that was
        never served is no error.
        """
        worker = self._workers.get(worker_number)
        if worker is not None:
            worker.is_gone = True
            self._parts.access.remote.leave(worker_number)
            self._settle(worker)

    def _settle(self, worker: _Worker) -> None:
        """Takes the lanes back, once nothing of the worker can come any more."""
        if not (worker.has_ended and worker.is_gone) or worker.has_batch:
            return
        for segment in worker.lanes.values():
            self._note_allocated(segment)
            self._parts.pool.file(segment)
        for _ in range(worker.takes):
            self._parts.pool.leave()
        del self._workers[worker.number]

    def _note_allocated(self, segment: Segment) -> None:
        """The dead worker may have allocated more than it told. One stat, on the event loop."""
        try:
            size_bytes = self._parts.disk.size(segment_path(segment.id))
        except OSError:
            return  # whoever writes there next will meet it and say what it means
        segment.allocated_end = max(segment.allocated_end, size_bytes)

    async def _receive(self, worker: _Worker, nursery: trio.Nursery) -> None:
        try:
            while frames := await worker.channel.receive():
                for frame in frames:
                    self._handle(worker, decode_from_worker(frame), nursery)
        except FormatError as error:
            self._refuse(worker, error)

    def _refuse(self, worker: _Worker, error: Rs3gwError) -> None:
        """Cuts a worker off."""
        detail = f"worker {worker.number}: {error}"
        self._parts.observer.on_event(EngineEvent(EventKind.WORKER_REFUSED, detail))
        worker.scope.cancel()

    def _send(self, worker: _Worker, message: Message) -> None:
        try:
            worker.channel.send(message)
        except (FormatError, Overloaded) as error:
            self._refuse(worker, error)

    def _handle(self, worker: _Worker, message: FromWorker, nursery: trio.Nursery) -> None:
        """Does what a message asks for. Raises FormatError."""
        if worker.is_greeted == isinstance(message, Hello):
            raise FormatError("a worker says Hello once, and first")
        match message:
            case Submit():
                self._submit(worker, message)
            case TakeLane():
                worker.lane_requests += 1
                _check(worker.lane_requests <= LANE_REQUESTS_MAX, "too many requests for lanes")
                nursery.start_soon(self._lend, worker, message)
            case LeaveLane():
                _check(worker.takes > 0, "a lane is left that was not taken")
                worker.takes -= 1
                self._parts.pool.leave()
            case FileLane():
                self._file(worker, message)
            case Released():
                self._parts.access.remote.released(worker.number, message.segment_id)
            case DiskBroken():
                self._parts.health.latch(f"worker {worker.number}: {message.reason}")
            case EventSeen():
                self._pass_on(worker, message)
            case Hello():
                _check(message.version == PROTOCOL_VERSION, f"version {message.version}")
                worker.is_greeted = True
                self._parts.access.remote.join(worker.number, partial(self._send, worker))
                self._send(worker, Welcome(PROTOCOL_VERSION))

    def _submit(self, worker: _Worker, message: Submit) -> None:
        _check(not worker.has_batch, "a batch before the last one was answered")
        _check(0 < len(message.entries) <= BATCH_COUNT_MAX, "a batch of no fit size")
        entries = [self._make_entry(worker, entry) for entry in message.entries]
        worker.has_batch = True
        answer = partial(self._answer, worker, message.batch, entries)
        try:
            self._parts.pipeline.enter_group(entries, answer)
        except Rs3gwError as error:  # DiskFailed, Overloaded: nothing was queued
            for entry in entries:
                entry.error = error
            answer()

    def _make_entry(self, worker: _Worker, wire: WireEntry) -> Entry:
        """An entry as the commit takes it. Raises FormatError where it cannot be true."""
        command = decode_command(wire.command)
        ref: BlobRef | None = getattr(command, "blob", None)
        body, durability = wire.body, wire.durability
        if ref is None:
            if body is not None or wire.extents:
                raise FormatError("bytes that no command names")
            return Entry(command=command)
        if durability is None:
            raise FormatError("a body without a durability")
        if body is None:
            size_bytes = self._check_extents(worker, wire)
            small = None
        else:
            size_bytes = len(body.data)
            if wire.extents:
                raise FormatError("a body that is in two places")
            if size_bytes > self._parts.settings.small_bytes_max:
                raise FormatError("too large to be sent")
            small = SmallBody(
                ref.blob_id,
                (body.data,),
                size_bytes=size_bytes,
                checksum=body.checksum,
                table=body.table,
            )
        if size_bytes != ref.size_bytes:
            raise FormatError("a body of another size than its name says")
        staged = StagedBody(ref, durability, small=small, extents=wire.extents, synced=wire.synced)
        return Entry(command=command, staged=staged)

    def _check_extents(self, worker: _Worker, wire: WireEntry) -> int:
        """The size of a body in lanes. Raises FormatError."""
        for extent in wire.extents:
            lane = worker.lanes.get(extent.segment_id)
            if lane is None:
                raise FormatError("an extent outside of the worker's lanes")
            _check(extent.offset >= lane.record.committed_end, "an extent that is not new")
            _check(extent.end <= self._parts.settings.segment_bytes, "an extent without end")
        _check(wire.synced or wire.durability is not Durability.STRICT, "strict and not synced")
        return sum(extent.payload_bytes for extent in wire.extents)

    def _answer(self, worker: _Worker, batch: int, entries: Sequence[Entry]) -> None:
        worker.has_batch = False
        outcomes = [
            encode_result(entry.result) if entry.error is None else pack_error(entry.error)
            for entry in entries
        ]
        self._send(worker, Results(batch, outcomes))
        self._settle(worker)

    async def _lend(self, worker: _Worker, message: TakeLane) -> None:
        pool = self._parts.pool
        try:
            take = pool.take if message.is_first else pool.take_next
            segment = await take(room_bytes=message.room_bytes)
        except Rs3gwError as error:
            self._send(worker, LaneRefused(message.request, pack_error(error)))
        else:
            worker.lanes[segment.id] = segment
            worker.takes += message.is_first
            self._send(
                worker,
                LaneGranted(message.request, segment.id, segment.position, segment.allocated_end),
            )
        finally:
            worker.lane_requests -= 1

    def _file(self, worker: _Worker, message: FileLane) -> None:
        segment = worker.lanes.pop(message.segment_id, None)
        if segment is None:
            raise FormatError("a lane is filed that was not taken")
        allocated_end = min(message.allocated_end, self._parts.settings.segment_bytes)
        segment.allocated_end = max(segment.allocated_end, allocated_end)
        self._parts.pool.file(segment)

    def _pass_on(self, worker: _Worker, message: EventSeen) -> None:
        try:
            kind = EventKind(message.kind)
        except ValueError as error:
            raise FormatError(f"an event of kind {message.kind}") from error
        detail = f"worker {worker.number}: {message.detail}"
        self._parts.observer.on_event(EngineEvent(kind, detail, message.segment_id))


def _check(is_true: bool, otherwise: str) -> None:
    if not is_true:
        raise FormatError(otherwise)
