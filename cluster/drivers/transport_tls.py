"""TLS on a socket, for many small frames: one step of a task for all that one receive brings.

trio's own SSLStream hands out one record at a time, tries to receive before it waits and lets the
event loop turn for each: six steps of tasks for a frame and its answer. Here a receive waits, takes
what the kernel has, and decrypts all of it; and what is to be sent is encrypted and given to the
kernel by whoever sends it, without waiting, as long as the kernel takes it (`send_now`).

What it is not: it does not close TLS down. Frames tell by themselves when one is cut off, and a
link says that it goes away in a frame of its own.

Invariants: one task receives and one sends at a time; `send_now` is refused while bytes wait, so
that none are overtaken; after any error the connection is worthless.

Source: RFC 8446; Python's ssl module (memory BIOs).
"""

import socket
import ssl
from abc import ABC, abstractmethod
from typing import Final

import trio

_RECEIVE_BYTES: Final = 256 * 1024
"""Taken from the kernel at a time: what its buffer holds at most, by default."""

_WANTS = (ssl.SSLWantReadError, ssl.SSLWantWriteError)


class DirectStream(trio.abc.Stream, ABC):
    """A stream that can also be given bytes without waiting."""

    @property
    @abstractmethod
    def unsent(self) -> bool:
        """Whether bytes of `send_now` wait until `send_all` sends them, of nothing too."""

    @abstractmethod
    def send_now(self, data: bytes) -> bool:
        """Sends the bytes, or keeps those that the kernel takes not now; False, and nothing is
        done, when that must wait or the connection is broken."""


class TlsStream(DirectStream):
    """TLS over a connected socket, which it owns from here on."""

    def __init__(
        self, stream: trio.SocketStream, context: ssl.SSLContext, *, server_side: bool
    ) -> None:
        self._socket = socket.socket(fileno=stream.socket.detach())
        self._socket.setblocking(False)
        self._incoming = ssl.MemoryBIO()
        self._outgoing = ssl.MemoryBIO()
        self._tls = context.wrap_bio(self._incoming, self._outgoing, server_side=server_side)
        self._buffer = memoryview(bytearray(_RECEIVE_BYTES))
        self._rest = b""
        self._sending = False
        self._decrypted_all = False

    # Beginning and end.

    async def do_handshake(self) -> None:
        """Raises BrokenResourceError when the peer is not who it should be, or goes away."""
        await trio.lowlevel.checkpoint()
        while True:
            try:
                self._tls.do_handshake()
                break
            except _WANTS:
                await self._flush()
                if not await self._fill():
                    raise trio.BrokenResourceError("closed in the handshake") from None
            except ssl.SSLError as error:
                # The alert that says why.
                await self._flush()
                raise trio.BrokenResourceError(f"the handshake failed: {error}") from error
        await self._flush()

    def certificate(self) -> bytes | None:
        """The peer's certificate in DER; None where it showed none."""
        return self._tls.getpeercert(binary_form=True)

    def version(self) -> str | None:
        """Of TLS, e.g. `TLSv1.3`."""
        return self._tls.version()

    async def aclose(self) -> None:
        """Closes the socket; what waits in it still leaves."""
        if self._socket.fileno() != -1:
            trio.lowlevel.notify_closing(self._socket)
            self._socket.close()
        await trio.lowlevel.checkpoint()

    # Receiving.

    async def receive_some(self, max_bytes: int | None = None) -> bytes:
        """All that is there, up to `max_bytes`; empty at the end."""
        wanted = _RECEIVE_BYTES if max_bytes is None else max_bytes
        if self._decrypted_all:
            if not await self._fill():
                return b""
        else:
            await trio.lowlevel.checkpoint()
        while True:
            data = self._decrypt(wanted)
            if data or self._incoming.eof:
                return data
            if not await self._fill():
                return b""

    def _decrypt(self, wanted: int) -> bytes:
        pieces: list[bytes] = []
        size = 0
        self._decrypted_all = False
        try:
            while size < wanted and (piece := self._tls.read(wanted - size)):
                pieces.append(piece)
                size += len(piece)
        except _WANTS:
            self._decrypted_all = True
        except ssl.SSLZeroReturnError:
            self._incoming.write_eof()
        except ssl.SSLError as error:
            if not self._incoming.eof and not pieces:
                raise trio.BrokenResourceError(f"not TLS: {error}") from error
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)

    async def _fill(self) -> bool:
        """Waits for bytes of the peer; False at their end."""
        while True:
            self._check_open()
            try:
                await trio.lowlevel.wait_readable(self._socket)
                count = self._socket.recv_into(self._buffer)
            except BlockingIOError:
                continue
            except OSError as error:
                raise trio.BrokenResourceError(str(error)) from error
            break
        if count:
            self._incoming.write(self._buffer[:count])
        else:
            self._incoming.write_eof()
        return count > 0

    # Sending.

    @property
    def unsent(self) -> bool:
        return bool(self._rest)

    def send_now(self, data: bytes) -> bool:
        if self._rest or self._sending:
            return False
        try:
            self._tls.write(data)
        except ssl.SSLError:
            return False
        return self._try(self._outgoing.read())

    def _try(self, cipher: bytes) -> bool:
        try:
            count = self._socket.send(cipher)
        except BlockingIOError:
            count = 0
        except OSError:
            # Whoever sends next, and waits for it, hears of it.
            self._rest = cipher
            return False
        self._rest = cipher[count:]
        return True

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        """Behind what waits already. Raises BrokenResourceError."""
        self._sending = True
        try:
            await trio.lowlevel.checkpoint()
            if data:
                try:
                    self._tls.write(data)
                except ssl.SSLError as error:
                    raise trio.BrokenResourceError(f"TLS is at its end: {error}") from error
            await self._flush()
        finally:
            self._sending = False

    async def _flush(self) -> None:
        while True:
            view = memoryview(self._rest + self._outgoing.read())
            self._rest = b""
            if not view:
                return
            while view:
                try:
                    view = view[self._socket.send(view) :]
                except BlockingIOError:
                    await self.wait_send_all_might_not_block()
                except OSError as error:
                    raise trio.BrokenResourceError(str(error)) from error

    async def wait_send_all_might_not_block(self) -> None:
        """Until the kernel takes bytes."""
        self._check_open()
        await trio.lowlevel.wait_writable(self._socket)

    def _check_open(self) -> None:
        if self._socket.fileno() == -1:
            raise trio.ClosedResourceError
