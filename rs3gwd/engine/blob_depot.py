"""Bytes that another node of the cluster sends: kept until a command names them, or fetched.

What it is not: it speaks to no node and decides on no placement. It gives out stages for blobs that
have their id already, and files what they received (`rs3gwd.engine.group_blobs`).
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from functools import partial

from rs3gwd.base.errors import DataCorrupt, FormatError
from rs3gwd.base.ports import Clock
from rs3gwd.base.records import Durability
from rs3gwd.engine.blobs import BlobRecord, find_blob, put_blob
from rs3gwd.engine.commit import Entry
from rs3gwd.engine.environment import Transaction
from rs3gwd.engine.group_blobs import (
    StagedOwner,
    StagedRecord,
    find_missing,
    find_staged,
    has_blob,
    put_staged,
    reclaim_staged,
)
from rs3gwd.engine.pipeline import Pipeline
from rs3gwd.engine.segments import Ledger
from rs3gwd.engine.stage import BodyStage, StagedBody, StageParts
from rs3gwd.engine.tables import Table


class BlobDepot:
    """Belongs to the event loop."""

    def __init__(self, parts: StageParts, pipeline: Pipeline, clock: Clock) -> None:
        self._parts = parts
        self._pipeline = pipeline
        self._clock = clock

    def stage(self, blob_id: bytes, *, size_bytes: int | None) -> BodyStage:
        """A place for the bytes of this blob, of this size where it is known; see
        `rs3gwd.base.ports.Stage`. They are synced when `keep` or `adopt` has returned, whatever
        the bucket's class."""
        return BodyStage(
            self._parts, size_hint=size_bytes, durability=Durability.STRICT, blob_id=blob_id
        )

    async def keep(self, staged: StagedBody, owner: StagedOwner) -> None:
        """Keeps received bytes for a command that is to come, durably.

        Where the command came before the bytes it gets them now; where the bytes are here already
        these are dropped. Raises DiskFull, DiskFailed, Overloaded.
        """
        record = StagedRecord(BlobRecord(0, []), owner, self._clock.now_ms())
        await self._file(staged, record)

    async def adopt(self, staged: StagedBody) -> bool:
        """Files bytes that were fetched for a missing blob, durably.

        False when nobody wants them any more: the blob was freed meanwhile. Raises as `keep`.
        """
        return await self._file(staged, None)

    async def replace(self, staged: StagedBody) -> bool:
        """Files bytes that were fetched for a blob whose bytes here are damaged, durably, in their
        place: until then the damaged ones are kept, for parts of them may be all there is.

        False when the blob was freed or moved to nowhere meanwhile. Raises as `keep`.
        """
        assert staged.ref is not None, "an empty body has no blob"
        place = Entry(staged=staged)
        place.change = partial(_replace, place)
        is_replaced: bool = await self._pipeline.enter(place)
        return is_replaced

    async def reclaim(self, blob_ids: Sequence[bytes]) -> int:
        """Frees staged bytes that no command will name; how many blobs there were.

        The caller knows that no command that names them can be applied any more.
        """
        count: int = await self._pipeline.change(
            lambda txn, ledger: reclaim_staged(txn, ledger, iter(blob_ids))
        )
        return count

    async def _file(self, staged: StagedBody, record: StagedRecord | None) -> bool:
        assert staged.ref is not None, "an empty body has no blob"
        assert staged.durability is Durability.STRICT
        place = Entry(staged=staged)
        place.change = partial(_file, place, record)
        is_filed: bool = await self._pipeline.enter(place)
        return is_filed


def _file(place: Entry, record: StagedRecord | None, txn: Transaction, ledger: Ledger) -> bool:
    assert place.staged is not None
    assert place.staged.ref is not None
    blob = place.staged.ref
    kept = BlobRecord(blob.size_bytes, list(place.extents), place.inline)
    missing = find_missing(txn, blob.blob_id)
    if missing is not None and missing.size_bytes == blob.size_bytes:
        txn.delete(Table.MISSING, blob.blob_id)
        put_blob(txn, blob.blob_id, kept)
    elif record is not None and _is_unknown(txn, blob.blob_id):
        put_staged(txn, blob.blob_id, StagedRecord(kept, record.owner, record.staged_ms))
    else:
        ledger.waste(place.extents)
        return False
    ledger.place(place.extents, synced=True)
    return True


def _replace(place: Entry, txn: Transaction, ledger: Ledger) -> bool:
    assert place.staged is not None
    assert place.staged.ref is not None
    blob = place.staged.ref
    if not has_blob(txn, blob.blob_id):
        ledger.waste(place.extents)
        return False
    with suppress(DataCorrupt, FormatError):  # what a damaged row named, the check finds
        record = find_blob(txn, blob.blob_id)
        ledger.free(record.extents if record is not None else ())
    txn.delete(Table.UNSYNCED, blob.blob_id)
    put_blob(txn, blob.blob_id, BlobRecord(blob.size_bytes, list(place.extents), place.inline))
    ledger.place(place.extents, synced=True)
    return True


def _is_unknown(txn: Transaction, blob_id: bytes) -> bool:
    return find_blob(txn, blob_id) is None and find_staged(txn, blob_id) is None
