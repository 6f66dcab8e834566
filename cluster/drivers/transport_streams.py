"""Streams of one connection under credit flow control, as HTTP/2 has it (RFC 9113 section 5.2).

A sender may have no more bytes under way than the receiver has given leave for, on the stream and
on the connection. Leave is given anew as the receiver's user takes bytes, so a reader that stalls
costs at most one stream window, and holds up only its own stream.

Invariants: `unread <= stream_window` for every stream; what was received on the connection is
returned to it once, whether it was read or thrown away.
"""

from collections import deque
from typing import Final

import trio

from cluster.base.errors import BadFrame, PeerError, PeerUnreachable
from cluster.base.ports import Buffer
from cluster.drivers import transport_frames as frames
from cluster.drivers.transport_frames import Kind
from cluster.drivers.transport_outbox import Outbox
from cluster.drivers.transport_settings import TransportSettings

_WINDOW_MAX: Final = 2**31 - 1
_JOINED_BYTES_MAX: Final = 4096


class Flow:
    """The connection's own windows, and what its streams share."""

    def __init__(self, outbox: Outbox, settings: TransportSettings) -> None:
        self.outbox = outbox
        self.settings = settings
        self.credit = 0
        """Bytes that may yet be sent on the connection."""
        self.stream_credit = 0
        """What every stream may send at first; the peer said so in its hello."""
        self.granted = trio.lowlevel.ParkingLot()
        self._allowed = settings.connection_window
        self._unreturned = 0

    def start(self, *, stream_window: int, connection_window: int) -> None:
        """Takes the windows of the peer's hello, which whoever read it has judged."""
        self.stream_credit = stream_window
        self.credit = connection_window

    def grant(self, count: int) -> None:
        """The peer gives leave on the connection."""
        self.credit += count
        if self.credit > _WINDOW_MAX:
            raise BadFrame("the connection's window runs over")
        self.granted.unpark_all()

    def received(self, count: int) -> None:
        """Bytes came in. Raises BadFrame when they were more than allowed."""
        self._allowed -= count
        if self._allowed < 0:
            raise BadFrame("more bytes than the connection's window")

    def release(self, count: int) -> None:
        """Bytes were read or thrown away: the connection may carry as many again."""
        self._unreturned += count
        if self._unreturned * 4 >= self.settings.connection_window:
            self._allowed += self._unreturned
            self.outbox.owe(frames.encode_window(0, self._unreturned))
            self._unreturned = 0


class LinkStream:
    """One stream of a connection: the port PeerStream."""

    def __init__(self, number: int, flow: Flow) -> None:
        self.number = number
        self.unread = 0
        self.sent_end = False
        self.got_end = False
        self._flow = flow
        self._credit = flow.stream_credit
        self._allowed = flow.settings.stream_window
        self._unreturned = 0
        self._failure: PeerError | None = None
        self._chunks: deque[bytes] = deque()
        self._arrived = trio.lowlevel.ParkingLot()

    async def send(self, data: Buffer) -> None:
        """Sends all of it, as the receiver gives leave. Raises PeerUnreachable, RemoteFailure."""
        await trio.lowlevel.checkpoint()
        if self.sent_end:
            raise ValueError("the stream was ended on this side")
        with memoryview(data).cast("B") as view:
            position = 0
            while position < len(view):
                count = await self._wait_credit(len(view) - position)
                part = view[position : position + count]
                await self._flow.outbox.put(frames.encode(Kind.DATA, self.number, part))
                position += count
        self._check()

    async def end(self) -> None:
        """This side sends no more."""
        if not self.sent_end:
            self._check()
            self.sent_end = True
            frame = frames.encode(Kind.DATA, self.number, flags=frames.END)
            await self._flow.outbox.put(frame)

    async def receive(self) -> bytes:
        """The next bytes; empty at the end. Raises PeerUnreachable, RemoteFailure."""
        await trio.lowlevel.checkpoint()
        while not self._chunks:
            if self._failure is None and self.got_end:
                return b""
            self._check()
            await self._arrived.park()
        chunk = self._chunks.popleft()
        self.unread -= len(chunk)
        self._return(len(chunk))
        return chunk

    # What the connection tells the stream.

    def on_data(self, data: bytes, *, end: bool) -> None:
        """Raises BadFrame over the window or behind the end."""
        if self.got_end:
            raise BadFrame("data behind the end of a stream")
        self._allowed -= len(data)
        if self._allowed < 0:
            raise BadFrame("more bytes than the stream's window")
        if data:
            self._keep(data)
        self.got_end = end
        self._arrived.unpark_all()

    def on_window(self, count: int) -> None:
        """The receiver gives leave for more. Raises BadFrame when it runs over."""
        self._credit += count
        if self._credit > _WINDOW_MAX:
            raise BadFrame("a stream's window runs over")
        self._flow.granted.unpark_all()

    def fail(self, failure: PeerError) -> None:
        """Nothing comes or goes any more; whoever waits gets `failure`."""
        if self._failure is None:
            self._failure = failure
            self.discard()
            self._arrived.unpark_all()
            self._flow.granted.unpark_all()

    def discard(self) -> None:
        """Throws away what nobody will read."""
        count, self.unread = self.unread, 0
        self._chunks.clear()
        if count:
            self._flow.release(count)

    def _keep(self, data: bytes) -> None:
        """Small pieces are joined: a window full of single bytes must not cost an object each."""
        self.unread += len(data)
        if self._chunks and len(self._chunks[-1]) + len(data) <= _JOINED_BYTES_MAX:
            self._chunks[-1] += data
        else:
            self._chunks.append(data)

    async def _wait_credit(self, wanted: int) -> int:
        flow = self._flow
        while True:
            self._check()
            count = min(wanted, self._credit, flow.credit, flow.settings.data_bytes)
            if count > 0:
                self._credit -= count
                flow.credit -= count
                return count
            await flow.granted.park()

    def _return(self, count: int) -> None:
        self._flow.release(count)
        self._unreturned += count
        if self._unreturned * 4 >= self._flow.settings.stream_window and not self.got_end:
            self._allowed += self._unreturned
            self._flow.outbox.owe(frames.encode_window(self.number, self._unreturned))
            self._unreturned = 0

    def _check(self) -> None:
        if self._failure is not None:
            raise type(self._failure)(*_arguments(self._failure))


def _arguments(failure: PeerError) -> tuple[str, ...]:
    """What makes the same error anew: one instance must not be raised by two tasks."""
    code = getattr(failure, "remote_code", None)
    return (str(failure),) if code is None else (str(failure), code)


def gone() -> PeerUnreachable:
    """The error of everything that was under way on a connection that broke."""
    return PeerUnreachable("the connection broke")
