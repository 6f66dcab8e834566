"""Healing: blobs of this node that are damaged are replaced by what a replica has.

What it is not: it serves nobody; whoever meets damage reads on from another node at once
(`blob_reading`) and only tells. Two tasks:

- `run`: what was suspected is read here, whole; when it is really damaged its bytes are fetched
  from other nodes and put in its place in one step. Until then the damaged blob is kept, since of
  some places it may have the only good bytes there are, and every reader checks what it reads.
- `run_scrubbing`: every blob that is kept here is read and checked, at a bounded rate, over and
  over (Bairavasundaram et al., "An Analysis of Latent Sector Errors in Disk Drives", SIGMETRICS
  2007: most are found by scrubbing before anybody reads them). It begins anywhere, so that a node
  that is often started anew still comes round. A blob whose row says that it is missing is fetched
  by `blob_upkeep`.

Suspicions are kept in memory, a bounded number: what is forgotten is found again by scrubbing.
"""

from __future__ import annotations

from functools import partial

import structlog
import trio
from msgspec import Struct

from rs3gwd.base.errors import (
    BlobNotHere,
    DataCorrupt,
    DiskError,
    FormatError,
    Overloaded,
    VersionGone,
)
from rs3gwd.base.ports import Random, Threads
from rs3gwd.base.records import BlobRef
from rs3gwd.engine.blob_audit import list_kept
from rs3gwd.engine.blob_depot import BlobDepot
from rs3gwd.engine.bodies import BlobPiece
from rs3gwd.engine.engine import Engine
from rs3gwd.engine.group_blobs import find_place
from rs3gwd.node.blob_counts import BlobCounts
from rs3gwd.node.blob_sources import RemoteBlob, RemoteSources

SUSPECTS_MAX = 1000
SCRUB_BATCH = 100
ID_BYTES = 16


class MendingSettings(Struct, frozen=True):
    """Seconds and bytes per second; `scrub_bytes_per_s` 0 scrubs nothing. A pass over everything
    begins `scrub_interval_s` after the one before at the earliest."""

    interval_s: float = 1.0
    retry_s: float = 30.0
    retries_max: int = 10
    scrub_bytes_per_s: int = 8 << 20
    scrub_interval_s: float = 86_400.0


class _Suspect:
    """A blob that may be damaged."""

    __slots__ = ("blob", "due_s", "failures")

    def __init__(self, blob: BlobRef) -> None:
        self.blob = blob
        self.due_s = 0.0
        self.failures = 0


class BlobMender:
    """The health of this node's bytes. Belongs to the event loop."""

    def __init__(
        self,
        engine: Engine,
        depot: BlobDepot,
        sources: RemoteSources,
        *,
        random: Random,
        threads: Threads,
        counts: BlobCounts,
        settings: MendingSettings,
    ) -> None:
        self._engine = engine
        self._depot = depot
        self._sources = sources
        self._random = random
        self._threads = threads
        self._counts = counts
        self._settings = settings
        self._suspects: dict[bytes, _Suspect] = {}
        self._bell = trio.Event()
        self._log = structlog.get_logger()

    @property
    def waiting(self) -> int:
        """Blobs that are suspected and not looked at yet, or could not be replaced yet."""
        return len(self._suspects)

    def suspect(self, blob: BlobRef) -> None:
        """A blob of this node may be damaged; see the head."""
        if blob.blob_id in self._suspects:
            return
        if len(self._suspects) >= SUSPECTS_MAX:
            self._counts.repairs_dropped += 1
            return
        self._suspects[blob.blob_id] = _Suspect(blob)
        self._bell.set()

    async def run(self) -> None:
        """Mends until cancelled, one blob at a time."""
        while True:
            now_s = trio.current_time()
            due = [each for each in self._suspects.values() if each.due_s <= now_s]
            for each in due:
                await self._look_after(each)
            self._bell = trio.Event()
            with trio.move_on_after(self._settings.interval_s):
                await self._bell.wait()

    async def _look_after(self, suspect: _Suspect) -> None:
        try:
            if await self.is_damaged(suspect.blob):
                await self._replace(suspect.blob)
        except (Overloaded, DiskError, VersionGone) as error:
            self._log.warning(
                "a damaged blob cannot be replaced yet",
                blob=suspect.blob.blob_id.hex(),
                reason=str(error),
            )
            suspect.failures += 1
            suspect.due_s = trio.current_time() + self._settings.retry_s
            if suspect.failures < self._settings.retries_max:
                return
        del self._suspects[suspect.blob.blob_id]

    async def is_damaged(self, blob: BlobRef, *, bytes_per_s: int = 0) -> bool:
        """Reads a blob that is kept here, whole, at a bounded rate where one is given."""
        try:
            async with self._engine.open_blob(blob, 0, blob.size_bytes) as reader:
                while data := await reader.read():
                    if bytes_per_s:
                        await trio.sleep(len(data) / bytes_per_s)
        except BlobNotHere:
            return False
        except (DataCorrupt, FormatError):
            return True
        return False

    async def _replace(self, blob: BlobRef) -> None:
        piece = BlobPiece(blob, 0, blob.size_bytes)
        remote = RemoteBlob(self._sources, piece, is_damaged_here=True)
        async with self._depot.stage(blob.blob_id, size_bytes=blob.size_bytes) as stage:
            try:
                while data := await remote.read():
                    await stage.write(data)
            finally:
                remote.close()
            if await self._depot.replace(await stage.finish()):
                self._counts.repaired += 1
                self._log.info("a damaged blob was replaced", blob=blob.blob_id.hex())

    async def run_scrubbing(self) -> None:
        """Scrubs until cancelled."""
        if not self._settings.scrub_bytes_per_s:
            return
        while True:
            begun_s = trio.current_time()
            first = self._random.token_bytes(ID_BYTES)
            try:
                await self.scrub(after=first, until=b"\xff" * ID_BYTES)
                await self.scrub(after=b"", until=first)
            except (Overloaded, DiskError) as error:
                self._log.warning("scrubbing was broken off", reason=str(error))
            pause_s = begun_s + self._settings.scrub_interval_s - trio.current_time()
            await trio.sleep(max(pause_s, self._settings.interval_s))

    async def scrub(self, *, after: bytes, until: bytes) -> None:
        """Reads the blobs with ids behind `after`, up to `until`, and suspects the damaged ones."""
        while after < until:
            listed = await self._threads.run(partial(self._list, after))
            if not listed:
                return
            for blob_id in listed:
                if blob_id <= until:
                    await self._scrub_one(blob_id)
            after = listed[-1]

    async def _scrub_one(self, blob_id: bytes) -> None:
        try:
            place = self._engine.look_up(find_place, blob_id)
        except (DataCorrupt, FormatError) as error:
            # Its size is in the row: whoever reads the version mends it.
            self._log.warning("the row of a blob is damaged", blob=blob_id.hex(), reason=str(error))
            return
        if place is None:
            return
        blob = BlobRef(blob_id, place.size_bytes)
        self._counts.scrubbed += 1
        rate = self._settings.scrub_bytes_per_s
        if place.kept_bytes != place.size_bytes or await self.is_damaged(blob, bytes_per_s=rate):
            self.suspect(blob)

    def _list(self, after: bytes) -> list[bytes]:
        with self._engine.environment.read() as txn:
            return list_kept(txn, after=after, limit=SCRUB_BATCH)
