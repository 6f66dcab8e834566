"""The two ways in which bytes reach a client: a bare socket, and any trio stream (TLS, tests).

`SocketTransport` exists for speed. trio's SocketStream tries to receive before it waits, checks
for cancellation twice and locks against concurrent use: about 7 us a request. Here a keep-alive
connection waits in the poller, which may answer its next requests without waking its task, and an
answer that fits the socket's buffer is sent without a checkpoint.

Waits have no cancel scope: setting one up costs more than the receive. A connection's deadline is
a number that the gateway's sweep compares twice a second; `interrupt` then ends the wait with
Interrupted. An interrupt while nobody waits does nothing.

Invariants: one task uses a transport at a time, `interrupt` and `close` aside; after PeerGone or
Interrupted out of a send the framing is lost and the connection must be closed.
"""

import socket
from collections.abc import Callable
from typing import Any, Protocol, TypeVar

import outcome
import trio

from rs3gwd.base.ports import Buffer
from rs3gwd.gateway.errors import Interrupted, PeerGone
from rs3gwd.gateway.poller import Poller

T = TypeVar("T")

COPY_BYTES_MAX = 16 << 10
"""A head and a body up to this size are glued together: one copy costs less than a gather."""

STREAM_SEND_BYTES = 64 << 10
"""One send on a stream, which tells nothing of its progress: four TLS records."""

RECEIVES_IN_A_ROW_MAX = 16
"""Receives that may succeed without a checkpoint, so that one busy client starves no other."""


class Transport(Protocol):
    """One client's connection."""

    secure: bool
    tls_version: str

    async def receive(self, bytes_max: int) -> bytes:
        """Waits for the client's next bytes; empty at the end. Raises Interrupted."""
        ...

    async def receive_step(self, bytes_max: int, on_bytes: Callable[[bytes], T | None]) -> T:
        """Waits for bytes, empty at the end, until `on_bytes` makes something of them.

        `on_bytes` is called wherever they arrive; what it raises is raised here. Raises
        Interrupted.
        """
        ...

    async def receive_soon(self, bytes_max: int) -> bytes:
        """As `receive`, for bytes that have likely arrived: tries before it waits."""
        ...

    async def receive_soon_into(self, target: memoryview) -> int:
        """As `receive_soon`, into `target`; how many bytes came, 0 at the end."""
        ...

    def receive_nowait(self, bytes_max: int) -> bytes:
        """What has arrived by now; empty when nothing has, or nothing can be told."""
        ...

    def send_nowait(self, head: bytes, body: Buffer) -> int:
        """Sends what can be sent at once and says how many bytes that were. Raises PeerGone."""
        ...

    async def send_some(self, view: memoryview) -> int:
        """Waits until the client takes more and sends part of `view`; how many bytes that were.

        Raises PeerGone, Interrupted.
        """
        ...

    async def send_end(self) -> None:
        """Says that no more will be sent, where the transport can."""
        ...

    def interrupt(self) -> None:
        """Ends the wait of whoever waits in this transport."""
        ...

    async def close(self) -> None:
        """Closes at once, also in a cancelled scope; safe to repeat."""
        ...

    def detach(self) -> trio.abc.Stream:
        """Gives the connection away as a trio stream; this transport is then closed."""
        ...


class SocketTransport:
    """A connected, non-blocking TCP socket; `poller` is that of its gateway.

    `_ready` notes that bytes came while no task waited for a step. A socket whose task waits for
    anything else in trio is not watched by the poller: each packet of a long body would wake it.
    """

    __slots__ = (
        "_descriptor",
        "_in_a_row",
        "_on_bytes",
        "_ready",
        "_recv",
        "_send",
        "_socket",
        "_step_bytes_max",
        "_task",
        "_watched",
        "poller",
        "secure",
        "tls_version",
    )

    def __init__(self, connected: socket.socket, poller: Poller) -> None:
        self.secure = False
        self.tls_version = ""
        self._socket = connected
        self._descriptor = connected.fileno()
        self._recv: Callable[[int], bytes] = connected.recv
        self._send: Callable[[Buffer], int] = connected.send
        self._in_a_row = 0
        self.poller = poller
        self._watched = False
        self._ready = False
        self._task: trio.lowlevel.Task | None = None
        self._on_bytes: Callable[[bytes], Any] = bytes
        self._step_bytes_max = 0

    async def receive_step(self, bytes_max: int, on_bytes: Callable[[bytes], T | None]) -> T:
        self._on_bytes, self._step_bytes_max = on_bytes, bytes_max
        if not self._watched:
            self.poller.watch(self._descriptor, self)
            self._watched = True
        elif self._ready:
            self.poller.look_again(self._descriptor)
        self._ready = False
        self._task = trio.lowlevel.current_task()
        step: T = await trio.lowlevel.wait_task_rescheduled(self._stop_waiting)
        return step

    def _stop_waiting(self, _: object) -> trio.lowlevel.Abort:
        self._task = None
        return trio.lowlevel.Abort.SUCCEEDED

    def receive_ready(self, *, has_ended: bool) -> bytes | None:
        """Called by the poller: bytes have arrived, or the end, or both."""
        if self._task is None:
            self._ready = True
            return None
        try:
            data = self._recv(self._step_bytes_max)
        except BlockingIOError:
            return None
        except OSError:
            data = b""
        # There may be more, of which the kernel will not tell again; behind the end there is not.
        self._ready = bool(data) and (has_ended or len(data) == self._step_bytes_max)
        return data

    def take_ready(self, data: bytes) -> None:
        """Called by the poller with what `receive_ready` gave."""
        try:
            step = self._on_bytes(data)
        # Not ours to judge: it is raised in the task that waits for the step.
        except Exception as error:  # noqa: BLE001
            self._resume(outcome.Error(error))
            return
        if step is not None:
            self._resume(outcome.Value(step))
        elif self._ready:
            self._ready = False
            self.poller.look_again(self._descriptor)

    def resume(self, step: object) -> bool:
        """Ends the wait of `receive_step` with a step made elsewhere; False where nobody waits."""
        if self._task is None:
            return False
        self._resume(outcome.Value(step))
        return True

    def fail(self, error: Exception) -> None:
        """Raises an error out of the wait of `receive_step`."""
        self._resume(outcome.Error(error))

    def _resume(self, result: "outcome.Outcome[Any]") -> None:
        task, self._task = self._task, None
        if task is not None:
            trio.lowlevel.reschedule(task, result)

    def _forget(self) -> None:
        if self._watched:
            self._watched = False
            self.poller.forget(self._descriptor)

    async def receive(self, bytes_max: int) -> bytes:
        while True:
            await self._wait_readable()
            try:
                return self._recv(bytes_max)
            except BlockingIOError:
                continue
            except OSError:
                return b""

    async def receive_soon(self, bytes_max: int) -> bytes:
        if self._in_a_row < RECEIVES_IN_A_ROW_MAX:
            self._in_a_row += 1
            try:
                return self._recv(bytes_max)
            except BlockingIOError:
                pass
            except OSError:
                return b""
        self._in_a_row = 0
        return await self.receive(bytes_max)

    async def receive_soon_into(self, target: memoryview) -> int:
        if self._in_a_row < RECEIVES_IN_A_ROW_MAX:
            self._in_a_row += 1
            try:
                return self._socket.recv_into(target)
            except BlockingIOError:
                pass
            except OSError:
                return 0
        self._in_a_row = 0
        while True:
            await self._wait_readable()
            try:
                return self._socket.recv_into(target)
            except BlockingIOError:
                continue
            except OSError:
                return 0

    async def _wait_readable(self) -> None:
        self._forget()
        try:
            await trio.lowlevel.wait_readable(self._descriptor)
        except trio.ClosedResourceError as error:
            raise Interrupted("receive") from error

    def receive_nowait(self, bytes_max: int) -> bytes:
        try:
            return self._recv(bytes_max)
        except OSError:
            return b""

    def send_nowait(self, head: bytes, body: Buffer) -> int:
        try:
            if len(body) <= COPY_BYTES_MAX:
                return self._send(head + body)
            return self._socket.sendmsg((head, body)) if head else self._send(body)
        except BlockingIOError:
            return 0
        except OSError as error:
            raise PeerGone(str(error)) from error

    async def send_some(self, view: memoryview) -> int:
        try:
            await trio.lowlevel.wait_writable(self._descriptor)
            return self._send(view)
        except BlockingIOError:
            return 0
        except trio.ClosedResourceError as error:
            raise Interrupted("send") from error
        except OSError as error:
            raise PeerGone(str(error)) from error

    async def send_end(self) -> None:
        try:
            self._socket.shutdown(socket.SHUT_WR)
        except OSError:
            return  # The client was faster; there is nothing left to say to it.

    def interrupt(self) -> None:
        if self._task is not None:
            self._resume(outcome.Error(Interrupted("receive")))
        elif self._descriptor >= 0:
            trio.lowlevel.notify_closing(self._descriptor)

    async def close(self) -> None:
        if self._descriptor >= 0:
            self._forget()
            trio.lowlevel.notify_closing(self._descriptor)
            self._descriptor = -1
            self._socket.close()

    def detach(self) -> trio.SocketStream:
        self._forget()
        self._descriptor = -1
        return trio.SocketStream(trio.socket.from_stdlib_socket(self._socket))


class StreamTransport:
    """Any trio stream: TLS on the data port, memory streams in tests."""

    __slots__ = ("_scope", "_stream", "secure", "tls_version")

    def __init__(self, stream: trio.abc.Stream, *, secure: bool, tls_version: str = "") -> None:
        self.secure = secure
        self.tls_version = tls_version
        self._stream: trio.abc.Stream | None = stream
        self._scope: trio.CancelScope | None = None

    async def receive(self, bytes_max: int) -> bytes:
        stream = self._stream
        if stream is None:
            return b""
        with trio.CancelScope() as self._scope:
            try:
                return bytes(await stream.receive_some(bytes_max))
            except (trio.BrokenResourceError, trio.ClosedResourceError):
                return b""
            finally:
                self._scope = None
        raise Interrupted("receive")

    async def receive_step(self, bytes_max: int, on_bytes: Callable[[bytes], T | None]) -> T:
        while True:
            step = on_bytes(await self.receive(bytes_max))
            if step is not None:
                return step

    async def receive_soon(self, bytes_max: int) -> bytes:
        return await self.receive(bytes_max)

    async def receive_soon_into(self, target: memoryview) -> int:
        data = await self.receive(len(target))
        target[: len(data)] = data
        return len(data)

    def receive_nowait(self, bytes_max: int) -> bytes:
        return b""

    def send_nowait(self, head: bytes, body: Buffer) -> int:
        return 0

    async def send_some(self, view: memoryview) -> int:
        stream = self._stream
        if stream is None:
            raise PeerGone("closed")
        piece = view[:STREAM_SEND_BYTES]
        with trio.CancelScope() as self._scope:
            try:
                await stream.send_all(piece)
                return len(piece)
            except (trio.BrokenResourceError, trio.ClosedResourceError) as error:
                raise PeerGone(str(error)) from error
            finally:
                self._scope = None
        raise Interrupted("send")

    async def send_end(self) -> None:
        stream = self._stream
        if isinstance(stream, trio.abc.HalfCloseableStream):
            try:
                await stream.send_eof()
            except (trio.BrokenResourceError, trio.ClosedResourceError):
                return  # The client was faster; there is nothing left to say to it.

    def interrupt(self) -> None:
        if self._scope is not None:
            self._scope.cancel()

    async def close(self) -> None:
        stream, self._stream = self._stream, None
        if stream is not None:
            await trio.aclose_forcefully(stream)

    def detach(self) -> trio.abc.Stream:
        stream, self._stream = self._stream, None
        assert stream is not None, "a closed connection cannot be given away"
        return stream
