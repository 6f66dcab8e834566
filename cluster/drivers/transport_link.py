"""One connection between two nodes that know each other: calls, messages and streams upon frames.

Whoever dialled asks, the other side answers: each pair of nodes has connections in both directions,
so no number is ever given by both sides and no two dials can cross. A link ends by its `run`
ending; whatever was under way then fails, calls that had left with PeerTimeout (they may have been
run), calls that had not with PeerUnreachable.

What it is not: it does not dial, nor decide whom to trust (`transport`, `transport_network`).
"""

import math
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from functools import partial
from typing import NamedTuple

import trio

from cluster.base.errors import (
    BadFrame,
    ClusterError,
    PeerError,
    PeerTimeout,
    PeerUnreachable,
    RemoteFailure,
)
from cluster.base.ids import NodeId
from cluster.base.ports import OnCall, OnMessage, OnStream
from cluster.drivers import transport_frames as frames
from cluster.drivers.transport_frames import Frame, FrameReader, Hello, Kind
from cluster.drivers.transport_outbox import Outbox
from cluster.drivers.transport_settings import TransportCounters, TransportSettings
from cluster.drivers.transport_streams import Flow, LinkStream, gone
from cluster.drivers.transport_tls import DirectStream

_ENDS = (
    trio.BrokenResourceError,
    trio.ClosedResourceError,
    trio.TooSlowError,
    PeerUnreachable,
)
_BUSY = "busy"
_UNKNOWN = "unknown_method"
_STOPPED = "stopped"


class Answers(NamedTuple):
    """What this node answers, by name."""

    messages: dict[str, OnMessage]
    calls: dict[str, OnCall]
    streams: dict[str, OnStream]


class _Call:
    """A call that waits for its answer. `place` is where it stands in the outbox."""

    def __init__(self, place: int) -> None:
        self.place = place
        self.done = trio.Event()
        self.result: bytes | PeerError | None = None

    def finish(self, result: bytes | PeerError) -> None:
        self.result = result
        self.done.set()


class Link:
    """A connection behind its hellos. `reader` may hold frames that came with the peer's."""

    def __init__(
        self,
        stream: trio.abc.Stream,
        reader: FrameReader,
        peer: NodeId,
        *,
        hello: Hello,
        answers: Answers,
        settings: TransportSettings,
        counters: TransportCounters,
    ) -> None:
        self.peer = peer
        self.draining = False
        self.broken = False
        """Whether it ended otherwise than by either side closing it."""
        self._stream = stream
        self._reader = reader
        self._answers = answers
        self._settings = settings
        self._counters = counters
        self._direct = stream if isinstance(stream, DirectStream) else None
        self._outbox = Outbox(settings.queue_bytes_max, self._send_now)
        self._flow = Flow(self._outbox, settings)
        self._flow.start(
            stream_window=hello.stream_window, connection_window=hello.connection_window
        )
        self._calls: dict[int, _Call] = {}
        self._streams: dict[int, LinkStream] = {}
        self._running: dict[int, trio.CancelScope] = {}
        self._running_bytes = 0
        self._last_number = 0
        self._writing = False
        self._heard = -math.inf
        self._idle = trio.lowlevel.ParkingLot()
        self._ended = trio.Event()
        self._scope = trio.CancelScope()
        self._nursery: trio.Nursery | None = None
        self._kinds: dict[Kind, Callable[[Frame], None]] = {
            Kind.MESSAGE: self._on_message,
            Kind.CALL: self._on_call,
            Kind.REPLY: self._on_reply,
            Kind.CANCEL: self._on_cancel,
            Kind.OPEN: self._on_open,
            Kind.DATA: self._on_data,
            Kind.WINDOW: self._on_window,
            Kind.RESET: self._on_reset,
            Kind.PING: self._on_ping,
            Kind.PONG: self._on_pong,
            Kind.GOAWAY: self._on_goaway,
        }

    @property
    def queued(self) -> int:
        """Bytes that wait to be written."""
        return self._outbox.held

    @property
    def unread(self) -> int:
        """Bytes of streams that nobody has read."""
        return sum(stream.unread for stream in self._streams.values())

    @property
    def busy(self) -> bool:
        """Whether calls or streams are under way."""
        return bool(self._calls or self._streams or self._running)

    # Life.

    async def run(self, frames_before: list[Frame]) -> None:
        """Until the connection ends, by whatever; an error of a handler that is a bug comes out."""
        self._heard = trio.current_time()
        self._counters.links_opened += 1
        try:
            with self._scope:
                async with trio.open_nursery() as nursery:
                    self._nursery = nursery
                    for part in (self._write, partial(self._read, frames_before), self._watch):
                        nursery.start_soon(self._guard, part)
        finally:
            self._end()
            with trio.CancelScope(shield=True, deadline=trio.current_time() + 1):
                await trio.aclose_forcefully(self._stream)

    def close(self) -> None:
        """Breaks the connection off."""
        self._scope.cancel()

    def go_away(self) -> None:
        """Takes nothing new from the peer, and tells it so."""
        if not self.draining:
            self.draining = True
            self._outbox.offer(frames.encode(Kind.GOAWAY, 0))

    async def wait_idle(self) -> None:
        """Until nothing is under way and all is written."""
        while (self.busy or self._unwritten) and not self._scope.cancel_called:
            await self._idle.park()

    @property
    def _unwritten(self) -> bool:
        return bool(
            self._outbox.held or self._writing or (self._direct is not None and self._direct.unsent)
        )

    @property
    def has_ended(self) -> bool:
        """Whether the connection is gone."""
        return self._ended.is_set()

    async def wait_ended(self) -> None:
        """Until the connection is gone."""
        await self._ended.wait()

    def _end(self) -> None:
        self._counters.links_closed += 1
        self._scope.cancel()
        taken = self._outbox.taken_count
        self._outbox.close()
        for call in self._calls.values():
            left = call.place <= taken
            call.finish(PeerTimeout("the connection broke") if left else gone())
        for stream in self._streams.values():
            stream.fail(gone())
        self._calls.clear()
        self._streams.clear()
        self._idle.unpark_all()
        self._ended.set()

    async def _guard(self, part: Callable[[], Awaitable[None]]) -> None:
        """What a connection may die of ends the link and nothing else."""
        try:
            await part()
        except BadFrame:
            self._counters.frames_bad += 1
            self.broken = True
        except _ENDS:
            self.broken = True
        self._scope.cancel()

    def _send_now(self, frame: bytes) -> bool:
        """Without a step of the writer's, as long as the kernel takes what is sent."""
        if self._direct is None or not self._direct.send_now(frame):
            return False
        self._counters.writes += 1
        self._counters.bytes_sent += len(frame)
        if self._direct.unsent:
            self._outbox.ring()
        return True

    async def _write(self) -> None:
        while await self._outbox.wait():
            batch = self._outbox.take(self._settings.batch_bytes)
            self._writing = True
            with trio.fail_after(self._settings.stall_s):
                await self._stream.send_all(batch)
            self._writing = False
            self._counters.writes += 1
            self._counters.bytes_sent += len(batch)
            self._idle.unpark_all()

    async def _read(self, first: list[Frame]) -> None:
        self._handle(first)
        while data := await self._stream.receive_some(self._settings.batch_bytes):
            self._heard = trio.current_time()
            self._counters.bytes_received += len(data)
            self._handle(self._reader.feed(data))

    async def _watch(self) -> None:
        """A peer that says nothing at all, even when asked, is gone."""
        settings = self._settings
        while (silent := trio.current_time() - self._heard) < settings.dead_s:
            if silent >= settings.ping_s:
                self._outbox.owe(frames.encode(Kind.PING, 0))
            await trio.sleep(settings.ping_s)

    def _handle(self, received: list[Frame]) -> None:
        for frame in received:
            handler = self._kinds.get(frame.kind)
            if handler is None:
                raise BadFrame(f"{frame.kind.name} behind the hello")
            handler(frame)

    # Asking.

    def message(self, channel: str, payload: bytes) -> bool:
        """Queues a message, or says that there is no room."""
        return self._outbox.offer(frames.encode_message(channel, payload))

    async def call(self, method: str, payload: bytes, deadline: float) -> bytes:
        """The answer, before `deadline` on trio's clock. Raises as Peers.call does."""
        if self.draining or len(self._calls) >= self._settings.calls_max:
            raise PeerUnreachable(f"node {self.peer} takes no more calls now")
        number = self._next_number()
        left_ms = max(1, math.ceil((deadline - trio.current_time()) * 1000))
        if not self._outbox.offer(frames.encode_call(number, method, payload, left_ms=left_ms)):
            raise PeerUnreachable(f"the queue to node {self.peer} is full")
        self._counters.calls_sent += 1
        call = self._calls[number] = _Call(self._outbox.put_count)
        try:
            with trio.move_on_at(deadline):
                await call.done.wait()
        finally:
            if self._calls.pop(number, None) is not None:
                self._owe(frames.encode(Kind.CANCEL, number))
            self._idle.unpark_all()
        if call.result is None:
            raise PeerTimeout(f"node {self.peer} did not answer {method} in time")
        if isinstance(call.result, PeerError):
            raise call.result
        return call.result

    @asynccontextmanager
    async def open(self, method: str, header: bytes) -> AsyncIterator[LinkStream]:
        """A stream to the peer's handler. Leaving it by an exception resets the other side."""
        if self.draining or len(self._streams) >= self._settings.streams_max:
            raise PeerUnreachable(f"node {self.peer} takes no more streams now")
        number = self._next_number()
        stream = self._streams[number] = LinkStream(number, self._flow)
        opened = False
        try:
            await self._outbox.put(frames.encode_open(number, method, header))
            opened = True
            self._counters.streams_opened += 1
            yield stream
            await stream.end()
        except BaseException:
            if opened and number in self._streams:
                self._owe(frames.encode_failure(Kind.RESET, number, "cancelled", ""))
            raise
        finally:
            self._forget(number, stream)

    # Hearing answers.

    def _on_reply(self, frame: Frame) -> None:
        call = self._calls.pop(frame.number, None)
        if call is None:
            return
        if not frame.flags:
            call.finish(frame.body)
            return
        failure = frames.decode_failure(frame)
        if frame.flags & frames.NOT_RUN:
            call.finish(PeerUnreachable(f"node {self.peer} refused: {failure.text}"))
        else:
            call.finish(RemoteFailure(failure.text, failure.code))

    def _on_data(self, frame: Frame) -> None:
        self._flow.received(len(frame.body))
        stream = self._streams.get(frame.number)
        if stream is None:
            self._flow.release(len(frame.body))
            if frame.body:
                self._owe(frames.encode_failure(Kind.RESET, frame.number, _STOPPED, ""))
        else:
            stream.on_data(frame.body, end=bool(frame.flags & frames.END))

    def _on_window(self, frame: Frame) -> None:
        count = frames.decode_window(frame.body)
        if frame.number == 0:
            self._flow.grant(count)
        elif (stream := self._streams.get(frame.number)) is not None:
            stream.on_window(count)

    def _on_reset(self, frame: Frame) -> None:
        failure = frames.decode_failure(frame)
        stream = self._streams.pop(frame.number, None)
        if stream is None:
            return
        self._counters.streams_reset += 1
        if failure.code in (_BUSY, _STOPPED, "cancelled"):
            stream.fail(PeerUnreachable(f"node {self.peer} broke the stream off: {failure.code}"))
        else:
            stream.fail(RemoteFailure(failure.text, failure.code))
        if (scope := self._running.get(frame.number)) is not None:
            scope.cancel()
        self._idle.unpark_all()

    def _on_ping(self, frame: Frame) -> None:
        self._owe(frames.encode(Kind.PONG, 0))

    def _on_pong(self, frame: Frame) -> None:
        """That it came is all it says: `_read` has noted it."""

    def _on_goaway(self, frame: Frame) -> None:
        if not self.draining:
            self.draining = True
            self._start(self._leave)

    async def _leave(self) -> None:
        """Ends a link that takes nothing new when what is under way has ended."""
        await self.wait_idle()
        self.close()

    # Answering.

    def _on_message(self, frame: Frame) -> None:
        channel, payload = frames.decode_named(frame.body)
        handler = self._answers.messages.get(channel)
        if handler is None:
            self._counters.messages_unknown += 1
        else:
            self._counters.messages_received += 1
            handler(self.peer, payload)

    def _on_call(self, frame: Frame) -> None:
        left_ms, method, payload = frames.decode_call(frame.body)
        handler = self._answers.calls.get(method)
        if frame.number in self._running:
            raise BadFrame("a number is used twice")
        if self.draining or self._is_full(len(payload)):
            self._counters.calls_refused += 1
            self._refuse(frame.number, _BUSY, "no more calls are taken now", frames.NOT_RUN)
        elif handler is None:
            self._refuse(frame.number, _UNKNOWN, f"no method {method!r} here", frames.ERROR)
        else:
            self._counters.calls_received += 1
            scope = trio.CancelScope(deadline=trio.current_time() + left_ms / 1000)
            self._running[frame.number] = scope
            self._start(self._answer, frame.number, scope, handler, payload)

    def _is_full(self, payload_bytes: int) -> bool:
        """Whether one more call would be too many, in count or in bytes."""
        held = self._running_bytes + payload_bytes
        return len(self._running) >= self._settings.calls_max or (
            self._running_bytes > 0 and held > self._settings.calls_bytes_max
        )

    async def _answer(
        self, number: int, scope: trio.CancelScope, handler: OnCall, payload: bytes
    ) -> None:
        """Runs a handler until the caller's deadline; later nobody wants the answer."""
        self._running_bytes += len(payload)
        try:
            with scope:
                try:
                    reply = frames.encode_reply(number, await handler(self.peer, payload))
                except ClusterError as error:
                    reply = frames.encode_failure(
                        Kind.REPLY, number, error.code, str(error), flags=frames.ERROR
                    )
                await self._outbox.put(reply)
        except PeerUnreachable:
            self._scope.cancel()
        finally:
            self._running.pop(number, None)
            self._running_bytes -= len(payload)
            self._idle.unpark_all()

    def _on_cancel(self, frame: Frame) -> None:
        if (scope := self._running.get(frame.number)) is not None:
            scope.cancel()

    def _on_open(self, frame: Frame) -> None:
        method, header = frames.decode_named(frame.body)
        handler = self._answers.streams.get(method)
        number = frame.number
        if number in self._running or number in self._streams:
            raise BadFrame("a number is used twice")
        if self.draining or len(self._streams) >= self._settings.streams_max:
            self._owe(frames.encode_failure(Kind.RESET, number, _BUSY, "no more streams"))
        elif handler is None:
            self._owe(frames.encode_failure(Kind.RESET, number, _UNKNOWN, f"no method {method!r}"))
        else:
            self._counters.streams_accepted += 1
            stream = self._streams[number] = LinkStream(number, self._flow)
            scope = self._running[number] = trio.CancelScope()
            self._start(self._serve, scope, stream, partial(handler, self.peer, header, stream))

    async def _serve(
        self,
        scope: trio.CancelScope,
        stream: LinkStream,
        run: Callable[[], Awaitable[None]],
    ) -> None:
        try:
            with scope:
                try:
                    await run()
                    await stream.end()
                except ClusterError as error:
                    if stream.number in self._streams:
                        self._owe(
                            frames.encode_failure(Kind.RESET, stream.number, error.code, str(error))
                        )
        finally:
            self._running.pop(stream.number, None)
            self._forget(stream.number, stream)

    def _refuse(self, number: int, code: str, text: str, flags: int) -> None:
        self._owe(frames.encode_failure(Kind.REPLY, number, code, text, flags=flags))

    def _owe(self, frame: bytes) -> None:
        """A peer that makes us owe and reads nothing loses its connection."""
        try:
            self._outbox.owe(frame)
        except PeerUnreachable:
            self._scope.cancel()

    def _forget(self, number: int, stream: LinkStream) -> None:
        self._streams.pop(number, None)
        stream.discard()
        self._idle.unpark_all()

    def _next_number(self) -> int:
        self._last_number += 1
        return self._last_number

    def _start(self, function: Callable[..., Awaitable[None]], *arguments: object) -> None:
        assert self._nursery is not None
        self._nursery.start_soon(function, *arguments)
