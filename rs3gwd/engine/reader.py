"""Giving out stored bytes, never before they were checked.

What it is not: it finds no version and no key; it gets blob rows and ranges.

A range is read block by block: only the 64 KiB blocks it touches are read and checked, against the
block table behind the payload, which is itself checked against the index. What is in the page cache
is read at once on the event loop (preadv2 with RWF_NOWAIT, 256 KiB at a time: a thread hop costs
more than the copy); what is not is read by a thread, 1 MiB at a time, with the next piece being
read while the last one is sent.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import partial

import trio
from msgspec import Struct

from rs3gwd.base.errors import DataCorrupt
from rs3gwd.base.ports import Buffer, Disk
from rs3gwd.engine.blobs import BlobRecord, Extent
from rs3gwd.engine.events import EngineEvent, EventKind, Observer
from rs3gwd.engine.segment_access import OpenSegment, SegmentAccess
from rs3gwd.engine.segment_format import (
    BLOCK_BYTES,
    RECORD_HEADER_BYTES,
    block_count,
    table_bytes,
    unpack_table,
    verify_blocks,
)
from rs3gwd.engine.workers import Job, Workers

PIECE_BYTES = 1 << 20
CACHED_PIECE_BYTES = 256 << 10
CLOSE_TIMEOUT_S = 30


class BlobRange(Struct, frozen=True):
    """The half-open range `start` to `end` of a blob."""

    record: BlobRecord
    start: int
    end: int


class ExtentRange(Struct, frozen=True):
    """The half-open range `start` to `end` of the payload of one extent."""

    extent: Extent
    start: int
    end: int


class InlineRange(Struct, frozen=True):
    """Bytes that lay in the blob's row, whose checksum covered them."""

    data: bytes


Part = ExtentRange | InlineRange


def split_into_parts(ranges: Sequence[BlobRange]) -> list[Part]:
    """What some ranges of blobs are made of, in order."""
    return [part for blob_range in ranges for part in _parts_of(blob_range)]


def segments_of(parts: Sequence[Part]) -> set[int]:
    """The segments that hold some of the parts."""
    return {part.extent.segment_id for part in parts if isinstance(part, ExtentRange)}


def _parts_of(blob_range: BlobRange) -> Iterator[Part]:
    inline = blob_range.record.inline
    if inline:
        yield InlineRange(inline[blob_range.start : blob_range.end])
    position = 0
    for extent in blob_range.record.extents:
        start = max(blob_range.start - position, 0)
        end = min(blob_range.end - position, extent.payload_bytes)
        if start < end:
            yield ExtentRange(extent, start, end)
        position += extent.payload_bytes


class Piece(Struct, frozen=True):
    """Whole blocks of one extent to read at once, and which of their bytes are wanted."""

    extent: Extent
    first_block: int
    length: int
    skip: int
    take: int


class Loaded(Struct, frozen=True):
    """The bytes of a piece, checked, and the block CRCs of its extent."""

    data: Buffer
    crcs: Sequence[int]


class RangeReader:
    """Gives out the bytes of some parts in order.

    The caller has pinned the segments, and unpins them after `close`.
    """

    def __init__(
        self,
        disk: Disk,
        access: SegmentAccess,
        workers: Workers,
        observer: Observer,
        parts: Sequence[Part],
    ) -> None:
        self._disk = disk
        self._access = access
        self._workers = workers
        self._observer = observer
        self._parts = parts
        self._index = -1
        self._position = 0
        self._crcs: Sequence[int] | None = None
        self._open: OpenSegment | None = None
        self._open_id = -1
        self._ahead: tuple[Piece, Job[Loaded]] | None = None
        self._buffer: bytearray | None = None
        self._next_part()

    async def close(self) -> None:
        """Ends the reading; waits for a piece that is being read ahead. What was read is not valid
        any more then."""
        if self._buffer is not None:
            self._access.buffers.give_back(self._buffer)
            self._buffer = None
        if self._ahead is not None:
            with trio.CancelScope(shield=True, deadline=trio.current_time() + CLOSE_TIMEOUT_S):
                await self._ahead[1].wait_end()
            if not self._ahead[1].is_done:
                return  # the disk hangs: the descriptor stays in use
        if self._open is not None:
            self._access.release(self._open)
            self._open = None

    async def read(self) -> Buffer:
        """The next bytes, at most 1 MiB, valid until the next call; empty at the end.

        Raises DataCorrupt.
        """
        if self._ahead is None:
            if self._index == len(self._parts):
                return b""
            part = self._parts[self._index]
            if isinstance(part, InlineRange):
                self._next_part()
                return part.data
            descriptor = await self._open_segment(part.extent.segment_id)
            piece = self._plan(part, CACHED_PIECE_BYTES)
            loaded = self._load_cached(descriptor, piece)
            if loaded is not None:
                return self._give(piece, loaded)
            self._read_ahead()
        assert self._ahead is not None
        piece, job = self._ahead
        try:
            loaded = await job.wait()
        except DataCorrupt as error:
            self._report(piece.extent, error)
            raise
        self._ahead = None
        data = self._give(piece, loaded)
        self._read_ahead()
        return data

    def _next_part(self) -> None:
        self._index += 1
        self._crcs = None
        if self._index < len(self._parts):
            part = self._parts[self._index]
            self._position = part.start if isinstance(part, ExtentRange) else 0

    def _plan(self, current: ExtentRange, bytes_max: int) -> Piece:
        """The next piece, of whole blocks."""
        first_block = self._position // BLOCK_BYTES
        start = first_block * BLOCK_BYTES
        end = min(-(-current.end // BLOCK_BYTES) * BLOCK_BYTES, start + bytes_max)
        end = min(end, current.extent.payload_bytes)
        return Piece(
            extent=current.extent,
            first_block=first_block,
            length=end - start,
            skip=self._position - start,
            take=min(end, current.end) - self._position,
        )

    def _give(self, piece: Piece, loaded: Loaded) -> Buffer:
        """Steps behind a piece; gives the bytes of it that are wanted."""
        self._crcs = loaded.crcs
        self._position += piece.take
        part = self._parts[self._index]
        assert isinstance(part, ExtentRange)
        if self._position == part.end:
            self._next_part()
        if piece.take == piece.length:
            return loaded.data
        return memoryview(loaded.data)[piece.skip : piece.skip + piece.take]

    async def _open_segment(self, segment_id: int) -> int:
        if self._open is None or self._open_id != segment_id:
            if self._open is not None:
                self._access.release(self._open)
                self._open = None
            self._open = await self._access.acquire(segment_id)
            self._open_id = segment_id
        return self._open.descriptor

    def _load_cached(self, descriptor: int, piece: Piece) -> Loaded | None:
        try:
            return load_piece(descriptor, piece, self._crcs, self._pread_cached)
        except DataCorrupt as error:
            self._report(piece.extent, error)
            raise

    def _pread_cached(self, descriptor: int, length: int, offset: int) -> Buffer | None:
        if self._buffer is None:
            self._buffer = self._access.buffers.take()
        if length > len(self._buffer):
            return None  # the block table of an extent of many GiB
        target = memoryview(self._buffer)[:length]
        return target if self._disk.pread_nowait(descriptor, target, offset) else None

    def _read_ahead(self) -> None:
        """Begins to read the next piece, unless it lies in another segment."""
        if self._index == len(self._parts) or self._open is None:
            return
        part = self._parts[self._index]
        if isinstance(part, InlineRange) or part.extent.segment_id != self._open_id:
            return
        piece = self._plan(part, PIECE_BYTES)
        function = partial(
            _load_waiting, self._open.descriptor, piece, self._crcs, self._disk.pread
        )
        self._ahead = (piece, self._workers.start(function))

    def _report(self, extent: Extent, error: DataCorrupt) -> None:
        self._observer.on_event(
            EngineEvent(EventKind.DATA_CORRUPT, str(error), segment_id=extent.segment_id)
        )


def load_piece(
    descriptor: int,
    piece: Piece,
    crcs: Sequence[int] | None,
    pread: Callable[[int, int, int], Buffer | None],
) -> Loaded | None:
    """Reads and checks a piece; None where `pread` gave None. Raises DataCorrupt."""
    extent = piece.extent
    payload_offset = extent.offset + RECORD_HEADER_BYTES
    try:
        if crcs is None:
            crcs = _load_crcs(descriptor, extent, payload_offset, pread)
            if crcs is None:
                return None
        start = piece.first_block * BLOCK_BYTES
        data = pread(descriptor, piece.length, payload_offset + start)
    except OSError as error:
        raise DataCorrupt(f"{_place(extent)} is unreadable: {error}") from error
    if data is None:
        return None
    if len(data) != piece.length:
        raise DataCorrupt(f"{_place(extent)} ends early: {len(data)} of {piece.length} bytes")
    last_block = piece.first_block + block_count(piece.length)
    bad = verify_blocks(data, crcs[piece.first_block : last_block])
    if bad is not None:
        raise DataCorrupt(f"{_place(extent)} block {piece.first_block + bad}: wrong checksum")
    return Loaded(data, crcs)


def _load_waiting(
    descriptor: int,
    piece: Piece,
    crcs: Sequence[int] | None,
    pread: Callable[[int, int, int], Buffer | None],
) -> Loaded:
    loaded = load_piece(descriptor, piece, crcs, pread)
    assert loaded is not None, "pread waits for the bytes"
    return loaded


def _load_crcs(
    descriptor: int,
    extent: Extent,
    payload_offset: int,
    pread: Callable[[int, int, int], Buffer | None],
) -> Sequence[int] | None:
    length = table_bytes(extent.payload_bytes)
    if not length:
        return (extent.checksum,)
    table = pread(descriptor, length, payload_offset + extent.payload_bytes)
    if table is None:
        return None
    if len(table) != length:
        raise DataCorrupt(f"{_place(extent)} ends before its block table")
    try:
        return unpack_table(table, extent.checksum)
    except DataCorrupt as error:
        raise DataCorrupt(f"{_place(extent)}: {error}") from error


def _place(extent: Extent) -> str:
    return f"segment {extent.segment_id:016x} record at {extent.offset}"
