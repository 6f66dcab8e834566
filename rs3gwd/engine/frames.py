"""Frames on the channel between a worker and the core: where one ends and the next begins.

What it is not: it reads no socket and knows no message. Bytes in, frames out.

    offset  size  field
    0       4     n, big-endian: 1 to FRAME_BYTES_MAX
    4       n     msgpack

The two ends are processes of one daemon, on one machine. A length that is out of bounds is a defect
or a hostile process, never the network: it ends the channel.
"""

from __future__ import annotations

from rs3gwd.base.errors import FormatError

PREFIX_BYTES = 4

FRAME_BYTES_MAX = 32 << 20
"""A batch of bodies (8 MiB) and the greatest command that can come on top (10,000 parts, 2 MiB),
with room to spare; one such frame is what a hostile length can make the other side hold."""


class FrameSplitter:
    """Splits a stream of bytes into frames."""

    def __init__(self, frame_bytes_max: int = FRAME_BYTES_MAX) -> None:
        self._frame_bytes_max = frame_bytes_max
        self._pieces: list[bytes] = []
        self._held_bytes = 0
        self._wanted_bytes = PREFIX_BYTES

    @property
    def held_bytes(self) -> int:
        """Bytes of a frame that is not whole yet; at the end of the stream, a frame cut off."""
        return self._held_bytes

    def feed(self, data: bytes) -> list[memoryview]:
        """Takes the next bytes; gives the frames that are whole now, without their lengths.

        Raises FormatError for a length out of bounds; the stream is of no use afterwards.
        """
        if self._pieces:
            self._pieces.append(data)
            self._held_bytes += len(data)
            if self._held_bytes < self._wanted_bytes:
                return []
            data = b"".join(self._pieces)
            self._pieces = []
        return self._split(data)

    def _split(self, data: bytes) -> list[memoryview]:
        view = memoryview(data)
        frames: list[memoryview] = []
        position, size = 0, len(data)
        wanted = PREFIX_BYTES
        while size - position >= PREFIX_BYTES:
            start = position + PREFIX_BYTES
            length = int.from_bytes(view[position:start], "big")
            if not 1 <= length <= self._frame_bytes_max:
                raise FormatError(f"a frame of {length} bytes, {self._frame_bytes_max} are allowed")
            if start + length > size:
                wanted = PREFIX_BYTES + length
                break
            frames.append(view[start : start + length])
            position = start + length
        self._held_bytes = size - position
        self._wanted_bytes = wanted
        if self._held_bytes:
            self._pieces = [data[position:] if position else data]
        return frames


def seal_frame(buffer: bytearray) -> None:
    """Writes the length into a buffer whose first PREFIX_BYTES were left free for it.

    Raises FormatError when the frame is longer than the other side would take.
    """
    length = len(buffer) - PREFIX_BYTES
    if not 1 <= length <= FRAME_BYTES_MAX:
        raise FormatError(f"a frame of {length} bytes, {FRAME_BYTES_MAX} are allowed")
    buffer[:PREFIX_BYTES] = length.to_bytes(PREFIX_BYTES, "big")
