"""The admin socket: a Unix socket in the data directory, for `rs3gwctl` on the same machine.

It speaks the frames of `rs3gwd.base.admin`. Who may speak is decided by the kernel: the socket's
mode is 0600, and the peer's user id (SO_PEERCRED, unix(7)) must be root's or the daemon's own, so
a socket that was moved or whose mode was changed still answers nobody else.

Invariants: at most CONNECTIONS_MAX clients at once, each served one request at a time; a client
that is silent for IDLE_SECONDS is dropped; a broken frame closes only its own connection.
"""

import os
import socket
import struct
from collections.abc import Awaitable, Callable

import msgspec
import trio

from rs3gwd.base.admin import (
    FRAME_BYTES_MAX,
    AdminAnswer,
    AnyAdminRequest,
    decode_request,
    encode_frame,
)

CONNECTIONS_MAX = 16
"""Clients at once; an administrator and some scripts need two or three."""

IDLE_SECONDS = 60.0
"""A client that sends nothing for so long is dropped."""

AdminHandler = Callable[[AnyAdminRequest], Awaitable[AdminAnswer]]


class AdminServer:
    """Serves `handler` on a Unix socket at `path` (absolute, at most 107 bytes)."""

    def __init__(self, path: str, handler: AdminHandler) -> None:
        self._path = path
        self._handler = handler
        self._slots = trio.CapacityLimiter(CONNECTIONS_MAX)

    async def serve(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Runs until cancelled; removes the socket at the end. Raises OSError when it cannot bind."""
        listener = self._bind()
        task_status.started()
        try:
            async with trio.open_nursery() as nursery:
                while True:
                    peer, _ = await listener.accept()
                    nursery.start_soon(self._serve_peer, trio.SocketStream(peer))
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
        async with self._slots, stream:
            if not _is_trusted(stream):
                return
            try:
                while await self._serve_one(stream):
                    pass
            except trio.BrokenResourceError:
                return

    async def _serve_one(self, stream: trio.SocketStream) -> bool:
        """One request and its answer; False when the peer has gone, is silent or breaks a frame."""
        with trio.move_on_after(IDLE_SECONDS):
            head = await _receive_exactly(stream, 4)
            length = int.from_bytes(head, "big")
            if len(head) < 4 or length > FRAME_BYTES_MAX:
                return False
            payload = await _receive_exactly(stream, length)
            if len(payload) < length:
                return False
            await stream.send_all(encode_frame(await self._answer(payload)))
            return True
        return False

    async def _answer(self, payload: bytes) -> AdminAnswer:
        try:
            request = decode_request(payload)
        except msgspec.DecodeError as error:
            return AdminAnswer(error="InvalidRequest", message=str(error))
        return await self._handler(request)


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
