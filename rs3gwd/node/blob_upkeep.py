"""Looking after bytes in the background: fetching what is missing, freeing what nobody named.

What it is not: it is no part of any request. Two tasks:

- `run_fetching`: a blob that a command named while this node did not have it has a MISSING row
  (`rs3gwd.engine.group_blobs`), which lasts over restarts. It is fetched from another replica, some
  at a time; one that cannot be had is tried again later and later, or at once when another node
  says that it has it (`hurry`).
- `run_reclaiming`: bytes that were kept for a command which never came are freed, once they are old
  and this node has been proved to show every command that could name them. The age is far beyond
  the time in which a command is given up by its proposer.
"""

from __future__ import annotations

from functools import partial

import structlog
import trio
from msgspec import Struct

from rs3gwd.base.errors import DiskError, Overloaded, VersionGone
from rs3gwd.base.ports import Clock, Threads
from rs3gwd.base.records import BlobRef
from rs3gwd.engine.blob_depot import BlobDepot
from rs3gwd.engine.bodies import BlobPiece
from rs3gwd.engine.engine import Engine
from rs3gwd.engine.group_blobs import (
    MissingRecord,
    find_missing,
    find_staged,
    list_missing,
    list_staged,
)
from rs3gwd.node.blob_counts import BlobCounts
from rs3gwd.node.blob_service import BlobService
from rs3gwd.node.blob_sources import RemoteBlob, RemoteSources
from rs3gwd.node.proposing import Proposer

MISSING_LOOKED_AT_MAX = 1000
"""Rows looked at in one round."""

RUNNING_MAX = 1000
"""Fetches that are begun and wait for their turn, or run."""

COUNT_MAX = 20
"""Failures that are told apart: two to this power of `retry_s` is beyond every bound."""

RECLAIMED_MAX = 1000


class UpkeepSettings(Struct, frozen=True):
    """Seconds, unless the name says otherwise. `reclaim_age_s` is many times what a command and its
    bytes may take."""

    fetch_interval_s: float = 1.0
    fetch_grace_s: float = 2.0
    """How long a missing blob may still be on its way before it is asked for."""
    fetches_max: int = 4
    retry_s: float = 1.0
    retry_max_s: float = 300.0
    reclaim_interval_s: float = 60.0
    reclaim_age_s: float = 3600.0


class _Attempt:
    """What is known of a missing blob between rounds."""

    __slots__ = ("count", "due", "is_running")

    def __init__(self, due: float) -> None:
        self.count = 0
        self.due = due
        self.is_running = False


class BlobUpkeep:
    """The bytes of this node. Belongs to the event loop."""

    def __init__(
        self,
        engine: Engine,
        depot: BlobDepot,
        service: BlobService,
        sources: RemoteSources,
        proposer: Proposer,
        *,
        clock: Clock,
        threads: Threads,
        counts: BlobCounts,
        settings: UpkeepSettings,
    ) -> None:
        self._engine = engine
        self._depot = depot
        self._service = service
        self._sources = sources
        self._proposer = proposer
        self._clock = clock
        self._threads = threads
        self._counts = counts
        self._settings = settings
        self._attempts: dict[bytes, _Attempt] = {}
        self._seen: set[bytes] = set()
        self._after = b""
        self._running = 0
        self._limit = trio.CapacityLimiter(settings.fetches_max)
        self._log = structlog.get_logger()

    @property
    def missing(self) -> int:
        """Blobs that were missing when they were last looked at."""
        return len(self._attempts)

    @property
    def overdue(self) -> int:
        """Those of them that are not just on their way: beyond the grace, or asked for already."""
        now = self._clock.monotonic()
        return sum(
            attempt.is_running or attempt.count > 0 or attempt.due <= now
            for attempt in self._attempts.values()
        )

    def hurry(self, blob_id: bytes) -> None:
        """A missing blob can be had: it is fetched in the next round."""
        attempt = self._attempts.get(blob_id)
        if attempt is not None:
            attempt.due = 0.0

    async def run_fetching(self) -> None:
        """Fetches until cancelled."""
        async with trio.open_nursery() as nursery:
            while True:
                await trio.sleep(self._settings.fetch_interval_s)
                self._begin_due(nursery)

    def _begin_due(self, nursery: trio.Nursery) -> None:
        """One round: begins every fetch that is due. Each round looks at the next rows, so that
        blobs which nobody has do not stand before others."""
        rows = self._engine.look_up(list_missing, after=self._after, limit=MISSING_LOOKED_AT_MAX)
        self._after = rows[-1][0] if len(rows) == MISSING_LOOKED_AT_MAX else b""
        now = self._clock.monotonic()
        if not self._after:
            self._forget_all_but({blob_id for blob_id, _ in rows})
        for blob_id, row in rows:
            self._seen.add(blob_id)
            attempt = self._attempts.setdefault(
                blob_id, _Attempt(now + self._settings.fetch_grace_s)
            )
            is_free = not attempt.is_running and not self._service.is_arriving(blob_id)
            if attempt.due <= now and is_free and self._running < RUNNING_MAX:
                attempt.is_running = True
                self._running += 1
                nursery.start_soon(self._fetch, blob_id, row, attempt)

    def _forget_all_but(self, last: set[bytes]) -> None:
        """All rows have been seen: what is not missing any more is forgotten."""
        seen, self._seen = self._seen | last, set()
        self._attempts = {
            blob_id: attempt
            for blob_id, attempt in self._attempts.items()
            if blob_id in seen or attempt.is_running
        }

    async def _fetch(self, blob_id: bytes, row: MissingRecord, attempt: _Attempt) -> None:
        try:
            async with self._limit:
                await self._fetch_one(blob_id, row)
                self._counts.fetched += 1
            self._attempts.pop(blob_id, None)
        except (Overloaded, DiskError, VersionGone) as error:
            pause = min(self._settings.retry_s * 2**attempt.count, self._settings.retry_max_s)
            attempt.count = min(attempt.count + 1, COUNT_MAX)
            attempt.due = self._clock.monotonic() + pause
            self._log.info("a blob cannot be fetched yet", blob=blob_id.hex(), reason=str(error))
        finally:
            attempt.is_running = False
            self._running -= 1

    async def _fetch_one(self, blob_id: bytes, row: MissingRecord) -> None:
        if self._engine.look_up(find_missing, blob_id) is None:
            return  # it came, or is not wanted any more
        size = row.size_bytes
        remote = RemoteBlob(self._sources, BlobPiece(BlobRef(blob_id, size), 0, size))
        async with self._depot.stage(blob_id, size_bytes=size) as stage:
            try:
                while data := await remote.read():
                    await stage.write(data)
            finally:
                remote.close()
            await self._depot.adopt(await stage.finish())

    async def run_reclaiming(self) -> None:
        """Reclaims until cancelled."""
        while True:
            await trio.sleep(self._settings.reclaim_interval_s)
            try:
                await self.reclaim()
            except (Overloaded, DiskError) as error:
                self._log.info("staged bytes are looked at later", reason=str(error))

    async def reclaim(self) -> int:
        """One round: frees old bytes that no command has named; how many blobs there were.

        Raises Overloaded, DiskFull, DiskFailed.
        """
        age_ms = int(self._settings.reclaim_age_s * 1000)
        old = await self._threads.run(partial(self._list_old, self._clock.now_ms() - age_ms))
        if not old:
            return 0
        await self._proposer.wait_current(self._proposer.all_groups)
        left = [each for each in old if self._engine.look_up(find_staged, each) is not None]
        count = await self._depot.reclaim(left)
        self._counts.reclaimed += count
        return count

    def _list_old(self, before_ms: int) -> list[bytes]:
        with self._engine.environment.read() as txn:
            rows = list_staged(txn, before_ms=before_ms, limit=RECLAIMED_MAX)
        return [blob_id for blob_id, _ in rows]
