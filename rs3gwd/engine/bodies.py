"""The bodies of versions: from a version record to the extents that hold a range of it.

What it is not: it finds no version; the caller looked it up a moment ago. That moment matters: the
version may have been replaced since, which is VersionGone and makes the caller look again; and
compaction may have moved its bytes, which is settled here by looking the places up again.

A version's bytes lie in one blob, or in one per part; the manifest of a multipart version is packed
so that a range needs one bisection. Opening costs a row per blob that the range touches.
"""

from __future__ import annotations

from bisect import bisect_right
from functools import partial
from types import TracebackType

from awscrt.checksums import crc32c
from msgspec import Struct

from rs3gwd.base.errors import BlobNotHere, DataCorrupt, FormatError
from rs3gwd.base.ports import Disk, Threads
from rs3gwd.base.records import BlobRef, ManifestRecord, VersionRecord
from rs3gwd.engine.apply_state import EMPTY_BLOB_ID
from rs3gwd.engine.blobs import check_sizes, get_blob
from rs3gwd.engine.environment import Environment, Transaction
from rs3gwd.engine.events import EngineEvent, EventKind, Observer
from rs3gwd.engine.group_blobs import find_place
from rs3gwd.engine.queries import get_manifest
from rs3gwd.engine.reader import BlobRange, Part, RangeReader, segments_of, split_into_parts
from rs3gwd.engine.segment_access import SegmentAccess
from rs3gwd.engine.segment_format import BLOCK_BYTES, RECORD_HEADER_BYTES
from rs3gwd.engine.view import View
from rs3gwd.engine.workers import Workers

INLINE_PARTS_MAX = 32
"""Parts of a version whose places are looked up on the event loop, about 3 us each; beyond it a
thread does it."""

LOOKUPS_MAX = 5
"""How often a range is looked up anew because compaction moved it in between."""


class Bodies:
    """Opens bodies. Belongs to the event loop."""

    def __init__(
        self,
        environment: Environment,
        view: View,
        disk: Disk,
        access: SegmentAccess,
        workers: Workers,
        threads: Threads,
        observer: Observer,
    ) -> None:
        self.environment = environment
        self.view = view
        self.disk = disk
        self.access = access
        self.workers = workers
        self.threads = threads
        self.observer = observer

    def open(self, version: VersionRecord, start: int, end: int) -> OpenBody:
        """The half-open range `start` to `end` of the stored bytes, as a context manager."""
        assert 0 <= start <= end, "a range of bytes"
        return OpenBody(self, version, start, end)

    def open_blob(self, blob: BlobRef, start: int, end: int) -> OpenBlob:
        """The same of a blob, whether a command has named it yet or not: for another node."""
        assert 0 <= start <= end <= blob.size_bytes, "a range of the blob"
        return OpenBlob(self, blob, start, end)

    def read_small(self, version: VersionRecord) -> bytes | None:
        """A body of one block that is in the page cache, verified; else None.

        Raises VersionGone, DataCorrupt.
        """
        blob = version.blob
        if blob is None or blob.size_bytes > BLOCK_BYTES:
            return b"" if version.size_bytes == 0 else None
        try:
            record = get_blob(self.view.transaction(), blob.blob_id)
        except (DataCorrupt, FormatError) as error:
            self.report(str(error))
            raise
        if record.inline and len(record.inline) == blob.size_bytes:
            return record.inline
        if len(record.extents) != 1:
            return None
        extent = record.extents[0]
        descriptor = self.access.peek(extent.segment_id)
        if descriptor is None or extent.payload_bytes != blob.size_bytes:
            return None
        data = bytearray(extent.payload_bytes)
        payload_offset = extent.offset + RECORD_HEADER_BYTES
        try:
            if not self.disk.pread_nowait(descriptor, memoryview(data), payload_offset):
                return None
        except OSError:
            return None  # `open_body` meets the same error and says what it means
        if crc32c(data) != extent.checksum:
            place = f"segment {extent.segment_id:016x} record at {extent.offset}"
            self.report(f"{place}: wrong checksum", extent.segment_id)
            raise DataCorrupt(f"{place}: wrong checksum")
        return bytes(data)

    def report(self, detail: str, segment_id: int | None = None) -> None:
        """Tells the observer of damage."""
        self.observer.on_event(EngineEvent(EventKind.DATA_CORRUPT, detail, segment_id))

    def find_anew(self, version: VersionRecord, start: int, end: int) -> list[Part]:
        """As `find_parts`, over a transaction of its own: in a thread."""
        with self.environment.read() as txn:
            return find_parts(txn, version, start, end)


class OpenRange:
    """A range being opened and read: `async with` gives the `RangeReader`."""

    __slots__ = ("_bodies", "_end", "_pinned", "_reader", "_start")

    def __init__(self, bodies: Bodies, start: int, end: int) -> None:
        self._bodies = bodies
        self._start = start
        self._end = end
        self._pinned: set[int] = set()
        self._reader: RangeReader | None = None

    async def __aenter__(self) -> RangeReader:
        bodies = self._bodies
        parts: list[Part] = []
        if self._start < self._end:
            try:
                parts = await self._find_and_pin()
            except BaseException as error:
                # Whoever finds the version replaced looks it up again, and must not meet the same
                # view: a commit is visible to a new transaction a moment before it is published.
                bodies.view.drop()
                if isinstance(error, DataCorrupt | FormatError):
                    bodies.report(str(error))
                raise
        self._reader = RangeReader(
            bodies.disk, bodies.access, bodies.workers, bodies.observer, parts
        )
        return self._reader

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        assert self._reader is not None
        try:
            await self._reader.close()
        finally:
            self._bodies.access.unpin(self._pinned)

    async def _find_and_pin(self) -> list[Part]:
        wanted: set[int] = set()
        for _ in range(LOOKUPS_MAX):
            parts = await self._find()
            wanted = segments_of(parts)
            if self._bodies.access.pin(wanted):
                self._pinned = wanted
                return parts
        raise DataCorrupt(
            f"{self._name()} lies in segments that are not there: "
            + ", ".join(f"{segment_id:016x}" for segment_id in sorted(wanted))
        )

    async def _find(self) -> list[Part]:
        raise NotImplementedError

    def _name(self) -> str:
        raise NotImplementedError


class OpenBody(OpenRange):
    """A range of a version."""

    __slots__ = ("_version",)

    def __init__(self, bodies: Bodies, version: VersionRecord, start: int, end: int) -> None:
        super().__init__(bodies, start, end)
        self._version = version

    async def _find(self) -> list[Part]:
        bodies = self._bodies
        place = self._version, self._start, self._end
        if self._version.part_count <= INLINE_PARTS_MAX:
            return find_parts(bodies.view.transaction(), *place)
        return await bodies.threads.run(partial(bodies.find_anew, *place))

    def _name(self) -> str:
        return f"version {self._version.version_id}"


class OpenBlob(OpenRange):
    """A range of a blob."""

    __slots__ = ("_blob",)

    def __init__(self, bodies: Bodies, blob: BlobRef, start: int, end: int) -> None:
        super().__init__(bodies, start, end)
        self._blob = blob

    async def _find(self) -> list[Part]:
        blob = self._blob
        record = find_place(self._bodies.view.transaction(), blob.blob_id)
        if record is None:
            raise BlobNotHere(f"blob {blob.blob_id.hex()} is not kept here", blob_id=blob.blob_id)
        check_sizes(blob.blob_id, record, size_bytes=blob.size_bytes)
        return split_into_parts([BlobRange(record, self._start, self._end)])

    def _name(self) -> str:
        return f"blob {self._blob.blob_id.hex()}"


class BlobPiece(Struct, frozen=True):
    """The half-open range `start` to `end` of a blob."""

    blob: BlobRef
    start: int
    end: int


def find_parts(txn: Transaction, version: VersionRecord, start: int, end: int) -> list[Part]:
    """What makes up a range of a version. Raises VersionGone, DataCorrupt, FormatError."""
    if version.blob is not None:
        record = get_blob(txn, version.blob.blob_id)
        check_sizes(version.blob.blob_id, record, size_bytes=version.blob.size_bytes)
        assert end <= version.blob.size_bytes, "the range lies in the body"
        return split_into_parts([BlobRange(record, start, end)])
    if version.manifest_id is None:
        return []
    manifest = get_manifest(txn, version)
    return split_into_parts(_part_ranges(txn, manifest, start, end))


def blob_pieces(txn: Transaction, version: VersionRecord, start: int, end: int) -> list[BlobPiece]:
    """The ranges of blobs that make up a range of a version, wherever they are kept.

    Raises VersionGone, DataCorrupt, FormatError.
    """
    if version.blob is not None:
        return [BlobPiece(version.blob, start, end)] if start < end else []
    if version.manifest_id is None:
        return []
    return _part_pieces(get_manifest(txn, version), start, end)


def _part_pieces(manifest: ManifestRecord, start: int, end: int) -> list[BlobPiece]:
    """The ranges of the parts' blobs that make up a range of the object."""
    ends = manifest.blob_end_offsets
    count = len(ends) // 8

    def end_of(index: int) -> int:
        return int.from_bytes(ends[8 * index : 8 * index + 8], "big")

    assert end <= end_of(count - 1), "the range lies in the body"

    pieces: list[BlobPiece] = []
    for index in range(bisect_right(range(count), start, key=end_of), count):
        part_start = end_of(index - 1) if index else 0
        if part_start >= end:
            break
        blob_id = manifest.blob_ids[16 * index : 16 * index + 16]
        if blob_id == EMPTY_BLOB_ID:
            continue
        part_end = end_of(index)
        blob = BlobRef(blob_id, part_end - part_start)
        pieces.append(BlobPiece(blob, max(start - part_start, 0), min(end, part_end) - part_start))
    return pieces


def _part_ranges(
    txn: Transaction, manifest: ManifestRecord, start: int, end: int
) -> list[BlobRange]:
    """The same, where they lie here."""
    ranges: list[BlobRange] = []
    for piece in _part_pieces(manifest, start, end):
        record = get_blob(txn, piece.blob.blob_id)
        check_sizes(piece.blob.blob_id, record, size_bytes=piece.blob.size_bytes)
        ranges.append(BlobRange(record, piece.start, piece.end))
    return ranges
