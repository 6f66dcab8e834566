"""The bytes of the log: segments, and in them batches of frames. FORMAT.md has the tables.

A batch is what one `write` brings for any number of groups: a head, a part for each group that has
entries, and the head once more as its tail. The head alone says what a batch changes and where its
frames lie, and it is there twice, so that rot in one place costs at most the entries of one part,
and is always told. Each frame's checksum covers the segment, its salt and the offset: a frame that
lies where it was not written is none, nor is one that a client put into the bytes of an object.

What it is not: it reads and writes no file.
"""

from __future__ import annotations

from enum import IntEnum
from struct import Struct as Packed

import msgspec
from awscrt.checksums import crc32c
from msgspec import Struct

from cluster.base.errors import WalDamaged
from cluster.raft.messages import Entry, HardState

SEGMENT_HEADER_BYTES = 64
SALT_BYTES = 16
FRAME_HEADER_BYTES = 32
ALIGNMENT = 8
VERSION = 1

_SEGMENT_MAGIC = b"rs3gwal\0"
FRAME_MAGIC = b"WALf"
_SEGMENT = Packed(">8sHxxxxxxQQ16s")
_FRAME = Packed(">4sBBxxIQI")
_PLACE = Packed(">Q")
_CRC = Packed(">I")


class FrameKind(IntEnum):
    """What a frame holds; HEAD and TAIL hold the same."""

    HEAD = 1
    PART = 2
    TAIL = 3


class GroupChange(Struct, array_like=True, frozen=True):
    """What a batch changes in one group, in this order.

    `begin` (index, term) drops everything; the log goes on behind that place. Entries `first` to
    `last` take the place of whatever was there from `first` on, unless `is_copy`: then the same
    entries only moved. `drop` removes entries from that index on. `cut` drops entries up to and
    with that index; `cut_term` is the term of the last of them. `part_bytes` is the length of the
    group's part with its header, 0 where there is none.
    """

    group: int
    begin: tuple[int, int] | None = None
    first: int = 0
    last: int = 0
    last_term: int = 0
    is_copy: bool = False
    drop: int = 0
    hard_state: HardState | None = None
    cut: int = 0
    cut_term: int = 0
    part_bytes: int = 0


class BatchHead(Struct, array_like=True, frozen=True):
    """A batch: where it begins, and its changes. A checkpoint repeats the state of every group, so
    that no earlier head is needed; its changes come before those of the batch."""

    start: int
    changes: list[GroupChange]
    is_checkpoint: bool = False


class Part(Struct, array_like=True, frozen=True):
    """The entries of one group in one batch."""

    group: int
    entries: tuple[Entry, ...]


_encoder = msgspec.msgpack.Encoder()
_head_decoder = msgspec.msgpack.Decoder(BatchHead)
_part_decoder = msgspec.msgpack.Decoder(Part)


class Frame(Struct, frozen=True):
    """A whole frame; `end` is where the next one begins."""

    kind: FrameKind
    sequence: int
    payload: memoryview
    offset: int
    end: int


class SegmentHeader(Struct, frozen=True):
    """The first 64 bytes of a segment. Every batch before `next_sequence` was durable by then.
    `salt` are 16 random bytes that nobody outside knows."""

    segment: int
    next_sequence: int
    salt: bytes

    @property
    def seed(self) -> int:
        """What the checksums of the segment's frames begin with."""
        value: int = crc32c(self.salt, crc32c(_PLACE.pack(self.segment)))
        return value


def encode_segment_header(header: SegmentHeader) -> bytes:
    """The first 64 bytes of a segment."""
    body = _SEGMENT.pack(_SEGMENT_MAGIC, VERSION, header.segment, header.next_sequence, header.salt)
    body = body.ljust(SEGMENT_HEADER_BYTES - 4, b"\0")
    return body + _CRC.pack(crc32c(body))


def decode_segment_header(data: bytes, segment: int) -> SegmentHeader | None:
    """The header of a segment; None where it is not whole, or another's.

    Raises WalDamaged for a version that this release does not know.
    """
    body = data[: SEGMENT_HEADER_BYTES - 4]
    if (
        len(data) < SEGMENT_HEADER_BYTES
        or _CRC.pack(crc32c(body)) != data[SEGMENT_HEADER_BYTES - 4 : SEGMENT_HEADER_BYTES]
    ):
        return None
    magic, version, number, next_sequence, salt = _SEGMENT.unpack_from(body)
    if magic != _SEGMENT_MAGIC or number != segment:
        return None
    if version != VERSION:
        raise WalDamaged(f"segment {segment} is of version {version}, this release knows {VERSION}")
    return SegmentHeader(segment, next_sequence, salt)


def encode_payload(record: BatchHead | Part) -> bytes:
    """The payload of a frame."""
    return _encoder.encode(record)


def frame_bytes(payload_bytes: int) -> int:
    """How long a frame with such a payload is, padding included."""
    return -(-(FRAME_HEADER_BYTES + payload_bytes) // ALIGNMENT) * ALIGNMENT


def encode_frame(
    kind: FrameKind, sequence: int, payload: bytes, *, seed: int, offset: int
) -> list[bytes]:
    """The pieces of a frame that is to lie at `offset` of the segment with this seed."""
    head = _FRAME.pack(FRAME_MAGIC, VERSION, kind, len(payload), sequence, crc32c(payload))
    crc = crc32c(head, crc32c(_PLACE.pack(offset), seed))
    padding = bytes(frame_bytes(len(payload)) - FRAME_HEADER_BYTES - len(payload))
    header = (head + _CRC.pack(crc)).ljust(FRAME_HEADER_BYTES, b"\0")
    return [header, payload, padding]


def decode_frame(data: memoryview, offset: int, *, seed: int, behind: int = 0) -> Frame | None:
    """The frame at `offset` of a segment's bytes, of which the first `behind` are left out; None
    where there is no whole one.

    Raises WalDamaged for a whole frame of a version that this release does not know.
    """
    if offset + FRAME_HEADER_BYTES > len(data):
        return None
    head = data[offset : offset + _FRAME.size]
    magic, version, kind, length, sequence, payload_crc = _FRAME.unpack(head)
    (crc,) = _CRC.unpack_from(data, offset + _FRAME.size)
    if magic != FRAME_MAGIC or crc != crc32c(head, crc32c(_PLACE.pack(behind + offset), seed)):
        return None
    if version != VERSION:
        raise WalDamaged(f"a frame of version {version}, this release knows {VERSION}")
    start = offset + FRAME_HEADER_BYTES
    payload = data[start : start + length]
    if len(payload) < length or crc32c(payload) != payload_crc:
        return None
    return Frame(FrameKind(kind), sequence, payload, offset, offset + frame_bytes(length))


def decode_head(payload: memoryview) -> BatchHead:
    """Raises WalDamaged: its checksum held, so it was written so."""
    try:
        return _head_decoder.decode(payload)
    except msgspec.DecodeError as error:
        raise WalDamaged(f"the head of a batch: {error}") from error


def decode_part(payload: memoryview) -> Part:
    """Raises WalDamaged: its checksum held, so it was written so."""
    try:
        return _part_decoder.decode(payload)
    except msgspec.DecodeError as error:
        raise WalDamaged(f"the entries of a group: {error}") from error
