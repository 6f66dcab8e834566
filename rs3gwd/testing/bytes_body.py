"""The port `BodyStream` over bytes that a test gives."""

from __future__ import annotations

from collections.abc import Iterable

import trio


class BytesBody:
    """Gives out pieces, one at each call; then, if there is one, raises `error` for ever.

    `received` counts the calls, so that a test can show that a body was not asked for.
    """

    def __init__(self, pieces: bytes | Iterable[bytes], *, error: Exception | None = None) -> None:
        given = [pieces] if isinstance(pieces, bytes) else list(pieces)
        self._pieces = [piece for piece in given if piece]
        self._error = error
        self.received = 0

    @classmethod
    def cut(cls, data: bytes, piece_bytes: int) -> BytesBody:
        """`data` in pieces of `piece_bytes`, the last one shorter."""
        return cls(data[at : at + piece_bytes] for at in range(0, len(data), piece_bytes))

    async def receive(self) -> bytes:
        """The next piece; empty at the end."""
        await trio.lowlevel.checkpoint()
        self.received += 1
        if self._pieces:
            return self._pieces.pop(0)
        if self._error is not None:
            raise self._error
        return b""
