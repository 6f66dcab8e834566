"""How the bytes of blobs travel between nodes: the frames on two kinds of stream.

What it is not: it opens no stream and stores nothing. All numbers are big-endian. Bytes that were
right in one node's memory are known to be right in the other's: every run of them has a CRC-32C,
beside what the transport does.

    blob.put  header    msgpack [version 1, blob id, size in bytes or nil]
              ->        u32 length, bytes                    again and again
              ->        u32 0, u64 size, u32 CRC-32C of all  the end of the bytes
              ->        u32 length, msgpack StagedOwner      for which command they are
              <-        u8 1                                 they are kept, durably

    blob.get  header    msgpack [version 1, blob id, size in bytes, start, end, pin]
              <-        u32 length, u32 CRC-32C, bytes       again and again
              <-        u32 0, u32 0                         the end

    blob.pin  header    msgpack [version 1, pin, how many blobs]
              ->        blob id, u64 size                    so many times
              <-        u32 count                            so many of them are kept readable ...
              ->        the end of the stream                ... until now

A pin is 16 random bytes that the reader makes; `blob.get` names it, or is empty: then the blob is
looked up anew.

A node that cannot do it fails the stream with the error's code (`rs3gwd.node.blob_errors`).
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from struct import Struct as Packed
from typing import TypeVar

import msgspec
import trio
from awscrt.checksums import crc32c
from msgspec import Struct

from cluster.base.errors import PeerUnreachable
from cluster.base.ports import PeerStream
from rs3gwd.engine.group_blobs import StagedOwner
from rs3gwd.node.blob_errors import BlobStreamBroken

PUT_METHOD = "blob.put"
GET_METHOD = "blob.get"
PIN_METHOD = "blob.pin"

VERSION = 1
PIECE_BYTES_MAX = 4 << 20
"""The longest run of bytes that a receiver takes."""

OWNER_BYTES_MAX = 64 << 10

LENGTH = Packed(">I")
PUT_TAIL = Packed(">QI")
SUM = Packed(">II")
PIN_ROW = Packed(">16sQ")
PIN_ROWS_MAX = 10_000
"""Blobs of one pin: the parts of an object."""

KEPT = b"\x01"

S = TypeVar("S", bound=Struct)


class PutHead(Struct, array_like=True, frozen=True):
    """What a `blob.put` is of; `size_bytes` is exact where it is known."""

    version: int
    blob_id: bytes
    size_bytes: int | None


class GetHead(Struct, array_like=True, frozen=True):
    """The half-open range that a `blob.get` asks for, of a blob of `size_bytes`."""

    version: int
    blob_id: bytes
    size_bytes: int
    start: int
    end: int
    pin: bytes = b""


class PinHead(Struct, array_like=True, frozen=True):
    """What a `blob.pin` is called, and how many blobs it names."""

    version: int
    pin: bytes
    count: int


_encoder = msgspec.msgpack.Encoder()


def encode(value: PutHead | GetHead | PinHead | StagedOwner) -> bytes:
    """A head or an owner as bytes."""
    return _encoder.encode(value)


def decode(data: bytes, kind: type[S]) -> S:
    """Raises BlobStreamBroken."""
    try:
        return msgspec.msgpack.decode(data, type=kind)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise BlobStreamBroken(f"no {kind.__name__}: {error}") from error


def check_head(head: PutHead | GetHead) -> None:
    """Raises BlobStreamBroken for a version or a blob id that cannot be."""
    if head.version != VERSION or len(head.blob_id) != 16:
        raise BlobStreamBroken(f"a head of version {head.version}")
    if isinstance(head, GetHead) and not 0 <= head.start <= head.end <= head.size_bytes:
        raise BlobStreamBroken(f"bytes {head.start} to {head.end} of {head.size_bytes}")


def check_pin(head: PinHead) -> None:
    """Raises BlobStreamBroken."""
    if head.version != VERSION or len(head.pin) != 16 or not 0 < head.count <= PIN_ROWS_MAX:
        raise BlobStreamBroken(f"a pin of version {head.version} of {head.count} blobs")


class FrameStream:
    """Whole pieces out of a stream's bytes, each waited for `idle_s` seconds at most."""

    def __init__(self, stream: PeerStream, *, idle_s: float) -> None:
        self._stream = stream
        self._idle_s = idle_s
        self._held = memoryview(b"")

    async def exactly(self, count: int) -> bytes:
        """The next `count` bytes. Raises PeerError, BlobStreamBroken."""
        return b"".join([piece async for piece in self.pieces(count)])

    async def pieces(self, count: int) -> AsyncIterator[memoryview]:
        """The next `count` bytes as they come, without a copy. Raises as `exactly`."""
        while count:
            if not self._held:
                self._held = memoryview(await self._receive())
            piece, self._held = self._held[:count], self._held[count:]
            count -= len(piece)
            yield piece

    async def _receive(self) -> bytes:
        with trio.move_on_after(self._idle_s):
            data = await self._stream.receive()
            if not data:
                raise BlobStreamBroken("the stream ended early")
            return data
        raise PeerUnreachable(f"nothing came for {self._idle_s} s")

    async def length(self, bytes_max: int) -> int:
        """A length of at most `bytes_max`. Raises as `exactly`."""
        (length,) = LENGTH.unpack(await self.exactly(LENGTH.size))
        if length > bytes_max:
            raise BlobStreamBroken(f"a run of {length} bytes")
        return int(length)

    async def summed(self) -> bytes:
        """The next run of a `blob.get`, checked; empty at its end. Raises as `exactly`."""
        length, check = SUM.unpack(await self.exactly(SUM.size))
        if length > PIECE_BYTES_MAX:
            raise BlobStreamBroken(f"a run of {length} bytes")
        data = await self.exactly(length)
        if crc32c(data) != check:
            raise BlobStreamBroken("bytes are not as they were sent")
        return data
