"""Reading segments synchronously, for the tools: recovery, check, repair and compaction.

What it is not: it serves no client (`reader` does) and repairs nothing.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator
from types import TracebackType

from rs3gwd.base.errors import DataCorrupt
from rs3gwd.base.ports import Buffer, Disk
from rs3gwd.engine.blobs import Extent
from rs3gwd.engine.reader import PIECE_BYTES, Piece, load_piece
from rs3gwd.engine.segment_format import (
    BLOCK_BYTES,
    RECORD_HEADER_BYTES,
    RecordHeader,
    unpack_record_header,
)
from rs3gwd.engine.segments import segment_path

DESCRIPTORS_MAX = 64


class SegmentFiles:
    """Descriptors of segments for one tool: a bounded cache. A context manager; blocks."""

    def __init__(self, disk: Disk) -> None:
        self.disk = disk
        self._open: OrderedDict[int, int] = OrderedDict()

    def __enter__(self) -> SegmentFiles:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def descriptor(self, segment_id: int) -> int:
        """The descriptor of a segment. Raises DataCorrupt when the file cannot be opened."""
        descriptor = self._open.get(segment_id)
        if descriptor is None:
            try:
                descriptor = self.disk.open(segment_path(segment_id))
            except OSError as error:
                raise DataCorrupt(f"{segment_path(segment_id)}: {error}") from error
            self._open[segment_id] = descriptor
            if len(self._open) > DESCRIPTORS_MAX:
                self.disk.close(self._open.popitem(last=False)[1])
        else:
            self._open.move_to_end(segment_id)
        return descriptor

    def pread(self, segment_id: int, length: int, offset: int) -> bytes:
        """Up to `length` bytes of a segment. Raises DataCorrupt where they cannot be read."""
        try:
            return self.disk.pread(self.descriptor(segment_id), length, offset)
        except OSError as error:
            raise DataCorrupt(f"{segment_path(segment_id)} at {offset}: {error}") from error

    def close(self) -> None:
        """Closes them all."""
        while self._open:
            self.disk.close(self._open.popitem()[1])


def read_header(files: SegmentFiles, extent: Extent) -> RecordHeader:
    """The record header in front of an extent's payload. Raises DataCorrupt."""
    data = files.pread(extent.segment_id, RECORD_HEADER_BYTES, extent.offset)
    header = unpack_record_header(data, segment_id=extent.segment_id, offset=extent.offset)
    if header is None:
        raise DataCorrupt(
            f"segment {extent.segment_id:016x} record at {extent.offset}: no record header there"
        )
    return header


def iterate_payload(files: SegmentFiles, extent: Extent) -> Iterator[Buffer]:
    """The payload of an extent in checked pieces of at most 1 MiB. Raises DataCorrupt."""
    descriptor = files.descriptor(extent.segment_id)
    crcs = None
    for start in range(0, extent.payload_bytes, PIECE_BYTES):
        length = min(PIECE_BYTES, extent.payload_bytes - start)
        piece = Piece(extent, start // BLOCK_BYTES, length, skip=0, take=length)
        loaded = load_piece(descriptor, piece, crcs, files.disk.pread)
        assert loaded is not None, "pread waits for the bytes"
        crcs = loaded.crcs
        yield loaded.data


def verify_header(files: SegmentFiles, extent: Extent, *, blob_id: bytes, index: int) -> None:
    """Proves that the record at an extent's place is that extent. Raises DataCorrupt."""
    header = read_header(files, extent)
    found = (header.blob_id, header.extent_index, header.payload_bytes, header.checksum)
    if found != (blob_id, index, extent.payload_bytes, extent.checksum):
        raise DataCorrupt(
            f"segment {extent.segment_id:016x} record at {extent.offset} "
            f"is not extent {index} of blob {blob_id.hex()}"
        )


def verify_extent(files: SegmentFiles, extent: Extent, *, blob_id: bytes, index: int) -> None:
    """Reads an extent whole, header included. Raises DataCorrupt with the place."""
    verify_header(files, extent, blob_id=blob_id, index=index)
    for _ in iterate_payload(files, extent):
        pass
