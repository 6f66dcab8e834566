"""Blobs that stay readable while somebody reads them, whatever is deleted or compacted meanwhile.

What it is not: it reads nothing itself, and it keeps no row alive. It remembers where the blobs lay
and pins those segments (`rs3gwd.engine.segment_access`): files are only appended to, so what lay
there still does, as long as the file is there. It is for bodies of several blobs that lie on
several nodes; a body that is here whole is pinned by `Bodies.open`.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from types import TracebackType

from rs3gwd.base.errors import DataCorrupt, FormatError
from rs3gwd.base.records import BlobRef
from rs3gwd.engine.blobs import BlobRecord, check_sizes
from rs3gwd.engine.bodies import LOOKUPS_MAX, Bodies
from rs3gwd.engine.group_blobs import find_place
from rs3gwd.engine.reader import BlobRange, RangeReader, split_into_parts


class PinnedBlobs:
    """Those of some blobs that are here, as a context manager. Belongs to the event loop.

    Blobs that are not here, or whose rows are damaged, are left out: see `has`.
    """

    def __init__(self, bodies: Bodies, blobs: Sequence[BlobRef]) -> None:
        self._bodies = bodies
        self._blobs = blobs
        self._places: dict[bytes, BlobRecord] = {}
        self._pinned: set[int] = set()

    async def __aenter__(self) -> PinnedBlobs:
        for _ in range(LOOKUPS_MAX):
            places = await self._bodies.threads.run(partial(_find, self._bodies, self._blobs))
            wanted = {extent.segment_id for record in places.values() for extent in record.extents}
            if self._bodies.access.pin(wanted):
                self._places, self._pinned = places, wanted
                break
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._bodies.access.unpin(self._pinned)
        self._places, self._pinned = {}, set()

    @property
    def count(self) -> int:
        """How many of the blobs are here."""
        return len(self._places)

    def has(self, blob_id: bytes) -> bool:
        """Whether the blob is here and pinned."""
        return blob_id in self._places

    def open(self, blob: BlobRef, start: int, end: int) -> OpenPinned:
        """A range of a pinned blob, as a context manager giving a `RangeReader`."""
        assert 0 <= start <= end <= blob.size_bytes, "a range of the blob"
        return OpenPinned(self._bodies, self._places[blob.blob_id], start, end)


class OpenPinned:
    """A range being read: `async with` gives the `RangeReader`, which raises DataCorrupt."""

    def __init__(self, bodies: Bodies, record: BlobRecord, start: int, end: int) -> None:
        parts = split_into_parts([BlobRange(record, start, end)]) if start < end else []
        self._reader = RangeReader(
            bodies.disk, bodies.access, bodies.workers, bodies.observer, parts
        )

    async def __aenter__(self) -> RangeReader:
        return self._reader

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self._reader.close()


def _find(bodies: Bodies, blobs: Sequence[BlobRef]) -> dict[bytes, BlobRecord]:
    """Where the blobs lie; in a thread."""
    places: dict[bytes, BlobRecord] = {}
    with bodies.environment.read() as txn:
        for blob in blobs:
            try:
                record = find_place(txn, blob.blob_id)
                if record is not None:
                    check_sizes(blob.blob_id, record, size_bytes=blob.size_bytes)
                    places[blob.blob_id] = record
            except (DataCorrupt, FormatError) as error:
                bodies.report(str(error))
    return places
