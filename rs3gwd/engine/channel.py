"""One end of the stream socket between a worker and the core.

What it is not: it knows no message's meaning. Frames go out at once where the socket takes them, so
that an answer needs no task; what the socket does not take waits for the sender task.

The socket is one of a pair that the daemon made, so it has no path and needs no authentication:
only the two processes hold it. When one dies the other reads the end of the stream, however it
died. What is sent to an end that is closed is dropped, since whoever reads learns of it.
"""

from __future__ import annotations

import socket
from collections import deque

import trio

from rs3gwd.base.errors import Overloaded
from rs3gwd.engine.frames import FRAME_BYTES_MAX, FrameSplitter
from rs3gwd.engine.wire import Message, encode_message

RECEIVE_BYTES = 256 << 10
"""Bytes taken by one read: what a socket holds by default, a batch of 4 KiB bodies and more."""

SEND_BUFFER_BYTES = 4 << 20
"""What the kernel is asked to hold, and gives as far as net.core.wmem_max allows: a batch that goes
out in one call wakes the other process once."""

BACKLOG_BYTES_MAX = 2 * FRAME_BYTES_MAX
"""What may wait for a slow reader. Both sides bound what they have in flight far below; more is a
process that does not read, and to hold more for it would only hide that."""


class Channel:
    """Sends messages and receives frames. Belongs to the event loop; `run` drives the sending."""

    def __init__(self, stream: socket.socket) -> None:
        stream.setblocking(False)
        stream.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SEND_BUFFER_BYTES)
        self._raw = stream
        self._socket = trio.socket.from_stdlib_socket(stream)
        self._splitter = FrameSplitter()
        self._backlog: deque[memoryview] = deque()
        self._backlog_bytes = 0
        self._more = trio.Event()
        self._is_closed = False

    def send(self, message: Message) -> None:
        """Sends, or queues behind what waits already; does not block.

        Raises Overloaded when BACKLOG_BYTES_MAX wait, and FormatError when the message is longer
        than a frame; it is not sent then.
        """
        self.send_frame(encode_message(message))

    def send_frame(self, frame: bytes | bytearray) -> None:
        """As `send`, of a message that has its length before it already."""
        if self._is_closed:
            return
        data = memoryview(frame)
        if not self._backlog:
            data = data[self._try(data) :]
            if not data:
                return
        if self._backlog_bytes + len(data) > BACKLOG_BYTES_MAX:
            raise Overloaded(f"{self._backlog_bytes} bytes wait for the other process")
        self._backlog.append(data)
        self._backlog_bytes += len(data)
        self._more.set()

    async def receive(self) -> list[memoryview]:
        """The next frames, at least one; none when the other end is closed or dead.

        A frame that the end cut short is dropped. Raises FormatError.
        """
        while True:
            try:
                data = await self._socket.recv(RECEIVE_BYTES)
            except ConnectionError:
                return []
            if not data:
                return []
            frames = self._splitter.feed(data)
            if frames:
                return frames

    async def run(self) -> None:
        """Sends what the socket did not take at once, until cancelled."""
        while True:
            await self._more.wait()
            self._more = trio.Event()
            while self._backlog:
                await trio.lowlevel.wait_writable(self._raw)
                data = self._backlog[0]
                sent = self._try(data)
                self._backlog_bytes -= sent
                if sent == len(data):
                    self._backlog.popleft()
                else:
                    self._backlog[0] = data[sent:]

    def abort(self) -> None:
        """Both ends read the end of the stream."""
        self._raw.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        """Closes this end; the other one reads the end of the stream."""
        self._is_closed = True
        self._backlog.clear()
        self._backlog_bytes = 0
        self._socket.close()

    def _try(self, data: memoryview) -> int:
        """Sends what the socket takes; all of it when the other end is closed."""
        try:
            return self._raw.send(data)
        except BlockingIOError:
            return 0
        except ConnectionError:
            return len(data)
