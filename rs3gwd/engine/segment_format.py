"""The bytes of a segment file: headers, records, block checksums. Pure: no file is touched here.

A segment is a parcel shelf: one header that says which store and which shelf, then records one
behind the other, each with a label in front. The index (LMDB) says where a blob lies, but a label
says enough to find every blob again without the index.

    segment   = header (64) | record | record | ...
    record    = header (40) | payload | block table | zeros up to a multiple of 8
    table     = one CRC-32C (u32) per 64 KiB block of the payload; missing when there is one block

The byte tables are in FORMAT.md, section "Segments". All integers are big-endian.

What covers what: the record header's CRC covers the header and, as its start value, the segment
and offset it is written at, so that a header that strayed is not believed. `checksum` in the
header (and in the index) is the CRC of the single block, or of the block table, which holds the
CRCs of the blocks. So one 32-bit value kept apart from the data vouches for the whole payload,
while a range needs only the table and the blocks it touches.

Source of the polynomial: RFC 3720 appendix B.4 (CRC-32C, Castagnoli).
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator, Sequence

from awscrt.checksums import crc32c
from msgspec import Struct

from rs3gwd.base.errors import DataCorrupt, FormatError
from rs3gwd.base.ports import Buffer

FORMAT_VERSION = 1

BLOCK_BYTES = 65536
"""Bytes under one CRC. A range read of one byte reads this much; 4 bytes of table per block are
1/16,384 of the data. ZFS and btrfs check 128 KiB and 4 KiB; RocksDB about 4 KiB."""

EXTENT_BYTES_MAX = 64 << 20
"""Payload of one record: its table is then 4 KiB, and a 5 GiB body has 80 of them."""

_SEGMENT_HEADER = struct.Struct(">8sHH4x16sQQ12x")
_RECORD_HEADER = struct.Struct(">4sBBH16sIII")
_CRC = struct.Struct(">I")
_PLACE = struct.Struct(">QQ")

SEGMENT_MAGIC = b"RS3GWSEG"
RECORD_MAGIC = b"\xabRSB"
SEGMENT_HEADER_BYTES = _SEGMENT_HEADER.size + 4
RECORD_HEADER_BYTES = _RECORD_HEADER.size + 4
ALIGNMENT = 8

FLAG_LAST = 1
"""The record is the last extent of its blob."""

SCAN_BYTES = 1 << 20


class SegmentHeader(Struct, frozen=True):
    """The first 64 bytes of a segment; `store_id` is 16 bytes, the same in all of a store."""

    store_id: bytes
    segment_id: int
    created_ms: int


class RecordHeader(Struct, frozen=True):
    """The 40 bytes in front of a payload: extent `extent_index` (from 0) of blob `blob_id`."""

    blob_id: bytes
    extent_index: int
    payload_bytes: int
    checksum: int
    last: bool


class FoundRecord(Struct, frozen=True):
    """A record met by `scan_segment`: where its header lies, and what it says."""

    offset: int
    header: RecordHeader


def pack_segment_header(header: SegmentHeader) -> bytes:
    """The 64 bytes that begin a segment file."""
    body = _SEGMENT_HEADER.pack(
        SEGMENT_MAGIC, FORMAT_VERSION, 0, header.store_id, header.segment_id, header.created_ms
    )
    return body + _CRC.pack(crc32c(body))


def unpack_segment_header(data: bytes) -> SegmentHeader:
    """Raises DataCorrupt (too short, or the checksum), FormatError (magic or version unknown)."""
    if len(data) < SEGMENT_HEADER_BYTES:
        raise DataCorrupt(f"segment header of {len(data)} bytes, {SEGMENT_HEADER_BYTES} expected")
    body = data[: _SEGMENT_HEADER.size]
    magic, version, _, store_id, segment_id, created_ms = _SEGMENT_HEADER.unpack(body)
    if _CRC.unpack_from(data, _SEGMENT_HEADER.size)[0] != crc32c(body):
        raise DataCorrupt("segment header: checksum does not match")
    if magic != SEGMENT_MAGIC or version != FORMAT_VERSION:
        raise FormatError(f"segment header: magic {magic!r}, version {version}")
    return SegmentHeader(store_id, segment_id, created_ms)


def pack_record_header(header: RecordHeader, *, segment_id: int, offset: int) -> bytes:
    """The 40 bytes in front of a payload that lie at `offset` of segment `segment_id`."""
    body = _RECORD_HEADER.pack(
        RECORD_MAGIC,
        FORMAT_VERSION,
        FLAG_LAST if header.last else 0,
        0,
        header.blob_id,
        header.extent_index,
        header.payload_bytes,
        header.checksum,
    )
    return body + _CRC.pack(crc32c(body, crc32c(_PLACE.pack(segment_id, offset))))


def unpack_record_header(data: Buffer, *, segment_id: int, offset: int) -> RecordHeader | None:
    """The header, or None when these are not the bytes of a header written at this place."""
    if len(data) < RECORD_HEADER_BYTES:
        return None
    body = bytes(data[: _RECORD_HEADER.size])
    if body[:4] != RECORD_MAGIC:
        return None
    if _CRC.unpack_from(data, _RECORD_HEADER.size)[0] != crc32c(
        body, crc32c(_PLACE.pack(segment_id, offset))
    ):
        return None
    _, version, flags, _, blob_id, index, payload_bytes, checksum = _RECORD_HEADER.unpack(body)
    if version != FORMAT_VERSION or payload_bytes > EXTENT_BYTES_MAX:
        return None
    return RecordHeader(blob_id, index, payload_bytes, checksum, bool(flags & FLAG_LAST))


def block_count(payload_bytes: int) -> int:
    """How many blocks a payload has; the last one may be short."""
    return -(-payload_bytes // BLOCK_BYTES)


def table_bytes(payload_bytes: int) -> int:
    """The size of the block table behind a payload; a single block needs none."""
    blocks = block_count(payload_bytes)
    return 4 * blocks if blocks > 1 else 0


def footprint(payload_bytes: int) -> int:
    """The bytes that a record takes in a segment, padding included."""
    size = RECORD_HEADER_BYTES + payload_bytes
    if payload_bytes > BLOCK_BYTES:
        size += table_bytes(payload_bytes)
    return -(-size // ALIGNMENT) * ALIGNMENT


def payload_bytes_that_fit(room: int) -> int:
    """A payload, up to EXTENT_BYTES_MAX, whose record fits in `room` bytes; 0 when none does."""
    room = room // ALIGNMENT * ALIGNMENT - RECORD_HEADER_BYTES
    if room <= 0:
        return 0
    if room <= BLOCK_BYTES:
        return room
    return min(EXTENT_BYTES_MAX, room - 4 * block_count(room))


def pack_table(block_crcs: Sequence[int]) -> bytes:
    """The block table of a payload; empty for a single block."""
    if len(block_crcs) <= 1:
        return b""
    return struct.pack(f">{len(block_crcs)}I", *block_crcs)


def extent_checksum(block_crcs: Sequence[int], table: bytes) -> int:
    """The value that vouches for a payload: the CRC of its table, or of its single block."""
    if len(block_crcs) == 1:
        return block_crcs[0]
    checksum: int = crc32c(table)
    return checksum


def unpack_table(table: Buffer, checksum: int) -> Sequence[int]:
    """The CRC of each block. Raises DataCorrupt."""
    if crc32c(table) != checksum:
        raise DataCorrupt("block table: checksum does not match")
    return struct.unpack(f">{len(table) // 4}I", table)


class BlockChecksums:
    """The CRCs of the blocks of one payload, fed in pieces of any size."""

    __slots__ = ("_crc", "_filled", "crcs")

    def __init__(self) -> None:
        self.crcs: list[int] = []
        self._crc = 0
        self._filled = 0

    def update(self, data: Buffer) -> None:
        """Takes the next bytes of the payload."""
        length = len(data)
        if self._filled + length < BLOCK_BYTES:
            self._crc = crc32c(data, self._crc)
            self._filled += length
            return
        view = memoryview(data)
        position = 0
        while position < length:
            take = min(BLOCK_BYTES - self._filled, length - position)
            self._crc = crc32c(view[position : position + take], self._crc)
            self._filled += take
            position += take
            if self._filled == BLOCK_BYTES:
                self._close_block()

    def finish(self) -> list[int]:
        """The CRCs, the last short block included."""
        if self._filled:
            self._close_block()
        return self.crcs

    def _close_block(self) -> None:
        self.crcs.append(self._crc)
        self._crc = 0
        self._filled = 0


def checksums_of(payload: Buffer) -> list[int]:
    """The CRC of each block of a payload that is at hand whole."""
    blocks = BlockChecksums()
    blocks.update(payload)
    return blocks.finish()


def verify_blocks(data: Buffer, crcs: Sequence[int]) -> int | None:
    """The index of the first block of `data` that does not match `crcs`, or None when all do.

    `data` begins at a block; only its last block may be short.
    """
    view = memoryview(data)
    for index, expected in enumerate(crcs):
        block = view[index * BLOCK_BYTES : (index + 1) * BLOCK_BYTES]
        if crc32c(block) != expected:
            return index
    return None


def scan_segment(
    read: Callable[[int, int], bytes], *, segment_id: int, start: int, end: int
) -> Iterator[FoundRecord]:
    """The records between two offsets, found by their headers alone.

    `read(length, offset)` gives up to `length` bytes of the file. Where the bytes are no header the
    scan goes on at the next multiple of 8 that holds the magic, so a damaged record costs only
    itself. Memory: one piece of 1 MiB. Payloads are not read or checked here; a stale record of an
    aborted body may be given out too (nothing in the index names it).
    """
    offset = -(-start // ALIGNMENT) * ALIGNMENT
    window = b""
    window_offset = offset
    while offset + RECORD_HEADER_BYTES <= end:
        if not window_offset <= offset <= window_offset + len(window) - RECORD_HEADER_BYTES:
            window_offset = offset
            window = read(min(SCAN_BYTES, end - offset), offset)
            if len(window) < RECORD_HEADER_BYTES:
                return
        at = offset - window_offset
        header = unpack_record_header(
            window[at : at + RECORD_HEADER_BYTES], segment_id=segment_id, offset=offset
        )
        if header is not None and offset + footprint(header.payload_bytes) <= end:
            yield FoundRecord(offset, header)
            offset += footprint(header.payload_bytes)
            continue
        offset = _next_magic(window, window_offset, offset + ALIGNMENT)


def _next_magic(window: bytes, window_offset: int, offset: int) -> int:
    """The next aligned place in the window that holds the magic, or where the window ends."""
    at = offset - window_offset
    while True:
        at = window.find(RECORD_MAGIC, at)
        if at < 0:
            tail = len(window) - RECORD_HEADER_BYTES + 1
            unseen = window_offset + max(tail, offset - window_offset)
            return -(-unseen // ALIGNMENT) * ALIGNMENT
        if (window_offset + at) % ALIGNMENT == 0:
            return window_offset + at
        at += 1
