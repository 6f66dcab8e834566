"""The small recurring work: sealing, unlinking, late syncs, free space, forgotten uploads.

What it is not: it is never in the way of a write; each piece is one thread hop or one entry in the
commit. Compaction, which moves bytes, is in `compaction`.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import trio

from rs3gwd.base.commands import ForgetUploads
from rs3gwd.base.errors import DiskFailed, DiskFull, Overloaded
from rs3gwd.base.ports import Clock, Threads
from rs3gwd.engine.blobs import SegmentState
from rs3gwd.engine.environment import Environment, Transaction
from rs3gwd.engine.groups import is_cluster
from rs3gwd.engine.health import DiskHealth, SpaceGuard
from rs3gwd.engine.lanes import LanePool, SmallLane
from rs3gwd.engine.pipeline import Pipeline
from rs3gwd.engine.segment_access import SegmentAccess
from rs3gwd.engine.segments import Ledger, Segment, SegmentStore
from rs3gwd.engine.tables import Table
from rs3gwd.engine.unsynced import UnsyncedBlob, UnsyncedBlobs

TICK_S = 0.5
"""Time between two rounds. Relaxed writes are synced within a second, so twice as often as that."""

FORGET_INTERVAL_S = 600.0
FORGET_ROUNDS_MAX = 100


class Housekeeper:
    """Does the rounds. Belongs to the event loop; `run` drives it."""

    def __init__(
        self,
        store: SegmentStore,
        environment: Environment,
        pipeline: Pipeline,
        *,
        access: SegmentAccess,
        clock: Clock,
        health: DiskHealth,
        pool: LanePool,
        small_lane: SmallLane,
        space: SpaceGuard,
        threads: Threads,
        unsynced: UnsyncedBlobs,
        upload_retention_ms: int | None,
    ) -> None:
        self._store = store
        self._environment = environment
        self._pipeline = pipeline
        self._access = access
        self._clock = clock
        self._health = health
        self._pool = pool
        self._small_lane = small_lane
        self._space = space
        self._threads = threads
        self._unsynced = unsynced
        self._upload_retention_ms = upload_retention_ms

    async def run(self) -> None:
        """Works until cancelled, or until the disk has failed: then there is nothing to keep."""
        forget_at = self._clock.monotonic() + FORGET_INTERVAL_S
        while self._health.failure is None:
            await trio.sleep(TICK_S)
            try:
                await self.tick()
                if self._clock.monotonic() >= forget_at:
                    forget_at = self._clock.monotonic() + FORGET_INTERVAL_S
                    await self.forget_uploads()
            except (DiskFull, Overloaded):
                continue  # the next round tries again; who watches saw the event
            except DiskFailed as error:
                self._health.latch(str(error))

    async def tick(self) -> None:
        """One round. Raises DiskFull, DiskFailed, Overloaded."""
        await self._threads.run(self._look_after_space)
        await self._sync_unsynced()
        await self._seal_full()
        await self._trim()
        await self.unlink_retired()

    async def forget_uploads(self) -> int:
        """Drops uploads that nobody finished within the retention; gives their number.

        In a cluster the groups' leaders propose that: what a node did alone would be on no other.
        """
        if self._upload_retention_ms is None:
            return 0
        with self._environment.read() as txn:
            if is_cluster(txn):
                return 0
        command = ForgetUploads(before_ms=self._clock.now_ms() - self._upload_retention_ms)
        total = 0
        for _ in range(FORGET_ROUNDS_MAX):
            count: int = await self._pipeline.submit(command)
            total += count
            if not count:
                break
        return total

    def _look_after_space(self) -> None:
        self._space.refresh()
        if self._health.failure is None:
            with self._health.writing("ballast"):
                self._space.restore_ballast()
        self._environment.release_dead_readers()

    async def _seal_full(self) -> None:
        full = [*self._pool.take_full(), *self._small_lane.take_sealable()]
        try:
            while full:
                await self._threads.run(partial(self._store.seal, full[-1]))
                await self._pipeline.change(partial(_record_sealed, full[-1]))
                full.pop()
        finally:
            for segment in full:
                self._pool.file(segment)  # still full: the next round seals it

    async def _trim(self) -> None:
        for segment in self._pool.take_untrimmed():
            await self._threads.run(partial(self._store.shrink, segment))
            self._pool.file(segment)

    async def unlink_retired(self) -> None:
        """Removes the files of dropped segments that nobody reads any more."""
        for segment_id in self._access.removable():
            await self._threads.run(partial(self._store.unlink, segment_id))
            await self._pipeline.change(partial(_remove_row, segment_id))
            self._access.forget(segment_id)

    async def _sync_unsynced(self) -> None:
        if not len(self._unsynced):
            return
        await self.sync_blobs(self._unsynced.due(self._sealed_ids()))

    async def sync_blobs(self, blobs: dict[bytes, UnsyncedBlob]) -> None:
        """Makes some acknowledged blobs safe against a power cut and takes them off the list."""
        if not blobs:
            return
        segment_ids = {segment_id for blob in blobs.values() for segment_id in blob.segment_ids}
        ends = await self._threads.run(partial(self._sync_segments, segment_ids))
        await self._pipeline.change(self._forget_unsynced(list(blobs), ends))

    def _sync_segments(self, segment_ids: set[int]) -> dict[int, int]:
        """Syncs segments; gives the end up to which each was surely written before."""
        ends = {}
        for segment_id in segment_ids:
            segment = self._store.segments.get(segment_id)
            if segment is None or segment.record.state is not SegmentState.ACTIVE:
                continue  # sealing synced it
            end = segment.record.committed_end
            self._store.sync(segment)
            ends[segment_id] = end
        return ends

    def _forget_unsynced(
        self, blob_ids: list[bytes], ends: dict[int, int]
    ) -> Callable[[Transaction, Ledger], Any]:
        def change(txn: Transaction, ledger: Ledger) -> None:
            for blob_id in blob_ids:
                txn.delete(Table.UNSYNCED, blob_id)
            for segment_id, end in ends.items():
                if segment_id in self._store.segments:
                    ledger.synced(segment_id, end)
            # Only forgotten in memory too early if this commit fails, and then the disk is latched
            # or the rows are looked at again at the next start.
            self._unsynced.remove(blob_ids)

        return change

    def _sealed_ids(self) -> frozenset[int]:
        return frozenset(
            segment.id
            for segment in list(self._store.segments.values())
            if segment.record.state is SegmentState.SEALED
        )


def _record_sealed(segment: Segment, _: Transaction, ledger: Ledger) -> None:
    ledger.set_state(segment.id, SegmentState.SEALED)
    ledger.synced(segment.id, segment.record.committed_end)


def _remove_row(segment_id: int, _: Transaction, ledger: Ledger) -> None:
    ledger.remove(segment_id)
