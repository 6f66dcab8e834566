"""Which acknowledged blobs a power cut could still lose: those of relaxed and ephemeral buckets.

What it is not: it syncs nothing itself; `housekeeping` does, and the commit tells it what came and
went. Every blob listed here has a row in UNSYNCED, so that the recovery after a crash checks these
blobs and no others: its cost is bounded by what was written since the last sync, not by the data.

Written by the commit's thread alone; others read it through copies.
"""

from __future__ import annotations

from collections.abc import Iterable

from msgspec import Struct

from rs3gwd.base.records import Durability

EPHEMERAL_COUNT_MAX = 100_000
"""Ephemeral blobs that may stay unsynced; beyond it they are synced once, which bounds the
recovery (about a second of checking) and this table (about 20 MB)."""


class UnsyncedBlob(Struct, frozen=True):
    """An unsynced blob: the segments that hold it, and the class it was written with."""

    segment_ids: tuple[int, ...]
    durability: Durability


class UnsyncedBlobs:
    """The unsynced blobs by blob id."""

    def __init__(self) -> None:
        self._blobs: dict[bytes, UnsyncedBlob] = {}

    def __len__(self) -> int:
        return len(self._blobs)

    def __contains__(self, blob_id: bytes) -> bool:
        return blob_id in self._blobs

    def add(self, blob_id: bytes, blob: UnsyncedBlob) -> None:
        """A blob was acknowledged before it was synced."""
        self._blobs[blob_id] = blob

    def remove(self, blob_ids: Iterable[bytes]) -> None:
        """Blobs were synced or freed."""
        for blob_id in blob_ids:
            self._blobs.pop(blob_id, None)

    def due(self, sealed: frozenset[int]) -> dict[bytes, UnsyncedBlob]:
        """The blobs to sync now: relaxed ones, and ephemeral ones whose segments are all sealed.

        A sealed segment has been synced, so for these only the rows are left to remove.
        """
        blobs = dict(self._blobs)
        if len(blobs) > EPHEMERAL_COUNT_MAX:
            return blobs
        return {
            blob_id: blob
            for blob_id, blob in blobs.items()
            if blob.durability is Durability.RELAXED or sealed.issuperset(blob.segment_ids)
        }
