"""The admin socket: a Unix socket in the data directory, for `rs3gwctl` on the same machine.

It speaks the frames of `rs3gwd.base.admin`. Who may speak is decided by the kernel: the socket's
mode is 0600, and the peer's user id (SO_PEERCRED, unix(7)) must be root's or the daemon's own, so
a socket that was moved or whose mode was changed still answers nobody else.

Invariants: at most CONNECTIONS_MAX clients at once, each served one request at a time, and no more
accepted than are served; a client that is silent for IDLE_SECONDS is dropped; a broken frame or a
defect behind a request costs only its own connection, and want of descriptors only a pause.
"""

import errno
import os
import socket
import struct
from collections.abc import Awaitable, Callable

import msgspec
import trio

from rs3gwd.base.admin import (
    REQUEST_BYTES_MAX,
    AdminAnswer,
    AnyAdminRequest,
    decode_request,
    encode_frame,
)

CONNECTIONS_MAX = 16
"""Clients at once; an administrator and some scripts need two or three."""

IDLE_SECONDS = 60.0
"""A client that sends nothing for so long is dropped."""

PAUSE_SECONDS = 0.1
"""How long not to accept when the process or the machine is out of descriptors or memory."""

_EXHAUSTED = frozenset([errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM])

AdminHandler = Callable[[AnyAdminRequest], Awaitable[AdminAnswer]]


class AdminServer:
    """Serves `handler` on a Unix socket at `path` (absolute, at most 107 bytes).

    `on_failure` is told what the handler raised that it should not.
    """

    def __init__(
        self, path: str, handler: AdminHandler, *, on_failure: Callable[[Exception], None]
    ) -> None:
        self._path = path
        self._handler = handler
        self._on_failure = on_failure
        self._slots = trio.Semaphore(CONNECTIONS_MAX)

    async def serve(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Runs until cancelled; removes the socket then. Raises OSError when it cannot bind."""
        listener = self._bind()
        task_status.started()
        try:
            async with trio.open_nursery() as nursery:
                while True:
                    await self._slots.acquire()
                    nursery.start_soon(self._serve_peer, await _accept(listener))
        finally:
            listener.close()
            self._remove()

    def _bind(self) -> trio.socket.SocketType:
        # The data directory's lock is held, so whoever left a socket here is dead.
        self._remove()
        listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        mask = os.umask(0o177)
        try:
            listener.bind(self._path)
        finally:
            os.umask(mask)
        listener.listen(CONNECTIONS_MAX)
        return trio.socket.from_stdlib_socket(listener)

    def _remove(self) -> None:
        if os.path.exists(self._path):
            os.unlink(self._path)

    async def _serve_peer(self, stream: trio.SocketStream) -> None:
        try:
            async with stream:
                while _is_trusted(stream) and await self._serve_one(stream):
                    pass
        except trio.BrokenResourceError:
            return
        finally:
            self._slots.release()

    async def _serve_one(self, stream: trio.SocketStream) -> bool:
        """One request and its answer; False when the peer has gone, is silent or breaks a frame."""
        with trio.move_on_after(IDLE_SECONDS):
            head = await _receive_exactly(stream, 4)
            length = int.from_bytes(head, "big")
            if len(head) < 4 or length > REQUEST_BYTES_MAX:
                return False
            payload = await _receive_exactly(stream, length)
            if len(payload) < length:
                return False
            await stream.send_all(await self._answer(payload))
            return True
        return False

    async def _answer(self, payload: bytes) -> bytes:
        """The frame that answers the payload of a request."""
        try:
            request = decode_request(payload)
        except msgspec.DecodeError as error:
            return encode_frame(AdminAnswer(error="InvalidRequest", message=str(error)))
        try:
            return encode_frame(await self._handler(request))
        # The outermost layer: a defect must cost one answer, not the node; it is reported.
        except Exception as error:  # noqa: BLE001
            self._on_failure(error)
            return encode_frame(AdminAnswer(error="InternalError", message="see the node's log"))


async def _accept(listener: trio.socket.SocketType) -> trio.SocketStream:
    """The next client, however many die in the queue before it (accept(2))."""
    while True:
        try:
            connected, _ = await listener.accept()
        except OSError as error:
            if error.errno in _EXHAUSTED:
                await trio.sleep(PAUSE_SECONDS)
            continue
        return trio.SocketStream(connected)


def _is_trusted(stream: trio.SocketStream) -> bool:
    raw = stream.socket.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i"))
    _pid, uid, _gid = struct.unpack("3i", raw)
    return uid in (0, os.geteuid())


async def _receive_exactly(stream: trio.SocketStream, length: int) -> bytes:
    received = bytearray()
    while len(received) < length:
        data = await stream.receive_some(length - len(received))
        if not data:
            break
        received += data
    return bytes(received)
