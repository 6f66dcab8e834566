"""One group commit: bytes first, then their sync, then one transaction that names them.

What it is not: it queues nothing and wakes nobody (`pipeline`). It is one synchronous function
over a batch, run in one thread hop, and leaves in every entry a result or an error.

    1. append the small bodies of the batch to the small lane     one write
       (a few very small ones go into their rows instead: steps 1 and 2 fall away)
    2. fdatasync the segments that hold strict ones               one sync
    3. in one LMDB transaction, for each entry in order: apply its command, name its bytes,
       take back what the command freed; then the accounts of the segments
    4. commit

A command that is refused fails alone: its bytes become dead bytes. A damaged row, or a value that
no record can hold, fails its command alone too, but leaves the transaction unusable, so the others
are applied again in a fresh one. A full disk gives up the ballast and tries once more with a few of
the commands that bring no bytes, on what the metadata's file has allocated ahead. A failed sync or
commit latches the disk and fails all: nothing of the batch is acknowledged.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from rs3gwd.base import commands
from rs3gwd.base.commands import AnyCommand, PutObject, PutPart
from rs3gwd.base.errors import (
    DataCorrupt,
    DiskFailed,
    DiskFull,
    FormatError,
    Rs3gwError,
    StoreError,
)
from rs3gwd.base.records import Durability, VersionRecord
from rs3gwd.engine.apply import Applier
from rs3gwd.engine.blobs import (
    BlobRecord,
    Extent,
    UnsyncedRecord,
    find_blob,
    put_blob,
    put_unsynced,
)
from rs3gwd.engine.environment import Environment, Transaction
from rs3gwd.engine.events import EngineEvent, EventKind, Observer
from rs3gwd.engine.health import DiskHealth, SpaceGuard
from rs3gwd.engine.lanes import SmallBody, SmallLane
from rs3gwd.engine.segments import Ledger, SegmentStore
from rs3gwd.engine.shared_state import SharedState
from rs3gwd.engine.stage import StagedBody, StagedState
from rs3gwd.engine.tables import Table
from rs3gwd.engine.unsynced import UnsyncedBlob, UnsyncedBlobs

Change = Callable[[Transaction, Ledger], Any]
"""A change of the node's own tables (compaction, sealing, sync marks) within a commit."""


OBJECT_COMMANDS = frozenset(
    {
        commands.PutObject,
        commands.DeleteObject,
        commands.PutObjectTagging,
        commands.PutObjectDataKey,
        commands.CreateUpload,
        commands.PutPart,
        commands.CompleteUpload,
        commands.AbortUpload,
        commands.ForgetUploads,
    }
)
"""The commands that change no bucket, account or key. After any other, every process drops the
rows of configuration that it keeps: a command that is missing here costs time, never truth."""


INLINE_BATCH_BYTES_MAX = 16 << 10
"""Bytes of the small bodies of a batch that may go into their rows. It saves a lone writer one sync
of three; where many ride together they share it, and their bytes would only swell the metadata."""


FULL_ENTRIES_MAX = 32
FULL_ROOM_BYTES_MIN = 2 << 20
"""On a full disk: entries in a transaction, and the least room ahead with which it is begun. A
delete touches about ten pages, and LMDB must not find the disk full: it could not be told from a
dead one."""


class Entry:
    """One thing to commit: a command with its body, or a change; later its result or error.

    `extents` is where the body lies, or `inline` the body; `synced` whether it is on stable storage
    before the transaction commits or with it. A replicated entry's change applies one of a group's
    log: it names its body itself, says whether it `configures`, and must not be left out of a
    batch.
    """

    __slots__ = (
        "change", "command", "configures", "error", "extents", "inline", "is_replicated", "result",
        "staged", "synced",
    )  # fmt: skip

    def __init__(
        self,
        *,
        command: AnyCommand | None = None,
        staged: StagedBody | None = None,
        change: Change | None = None,
        is_replicated: bool = False,
    ) -> None:
        self.command = command
        self.is_replicated = is_replicated
        self.configures = False
        self.staged = staged
        self.change = change
        self.extents: Sequence[Extent] = staged.extents if staged is not None else ()
        self.inline = b""
        self.synced = staged.synced if staged is not None else False
        self.result: Any = None
        self.error: Rs3gwError | None = None

    @property
    def small(self) -> SmallBody | None:
        """The body to append, if it is in memory."""
        return None if self.staged is None else self.staged.small

    @property
    def brings_bytes(self) -> bool:
        """Whether a body comes with it, wherever it lies."""
        return bool(self.extents or self.inline)

    @property
    def size_bytes(self) -> int:
        """The bytes that the entry brings in memory."""
        small = self.small
        return 0 if small is None else small.size_bytes


class _DamagedRow(Exception):  # carries an entry out of a transaction, no more
    def __init__(self, entry: Entry, error: Rs3gwError) -> None:
        super().__init__(str(error))
        self.entry = entry
        self.error = error


class CommitStatistics:
    """Counts of what was committed, kept by the thread of the commit."""

    __slots__ = ("batch_max", "batches", "commands", "small_bodies", "syncs")

    def __init__(self) -> None:
        self.batches = 0
        self.commands = 0
        self.batch_max = 0
        self.small_bodies = 0
        self.syncs = 0


class Committer:
    """Commits batches, one at a time. Blocks: call `commit` in a thread."""

    def __init__(
        self,
        environment: Environment,
        store: SegmentStore,
        small_lane: SmallLane,
        unsynced: UnsyncedBlobs,
        *,
        health: DiskHealth,
        space: SpaceGuard,
        observer: Observer,
        shared: SharedState,
        inline_bytes_max: int,
    ) -> None:
        self._environment = environment
        self._shared = shared
        self._store = store
        self._small_lane = small_lane
        self._unsynced = unsynced
        self._health = health
        self._space = space
        self._observer = observer
        self._inline_bytes_max = inline_bytes_max
        self._any_unsynced = False
        self.statistics = CommitStatistics()

    def commit(self, batch: Sequence[Entry]) -> None:
        """Commits the entries; each then has a `result` or an `error`."""
        try:
            self._health.check()
            self._commit(batch)
        except DiskFailed as error:
            self._health.latch(str(error))
            for entry in batch:
                entry.error = _again(error)
        except Rs3gwError as error:
            for entry in batch:
                entry.error = _again(error)
        finally:
            self._small_lane.end_batch()
        statistics = self.statistics
        statistics.batches += 1
        statistics.commands += len(batch)
        statistics.batch_max = max(statistics.batch_max, len(batch))

    def _commit(self, batch: Sequence[Entry]) -> None:
        self._space.refresh_when_old()
        self._append(batch)
        self._sync(batch)
        wasted: list[Entry] = []
        entries = [entry for entry in batch if entry.error is None]
        full = False
        for _ in range(len(batch) + 2):
            if not entries:
                return
            try:
                whole = full and any(entry.is_replicated for entry in entries)
                self._transact(entries, wasted, is_full=full and not whole)
            except _DamagedRow as damage:
                damage.entry.error = damage.error
                if isinstance(damage.error, (DataCorrupt, FormatError)):
                    self._report_damage(damage.error)
                wasted.append(damage.entry)
                entries.remove(damage.entry)
            except DiskFull as error:
                # LMDB panics where it was the meta page that found no room: then nobody knows
                # what is on the disk, and this raises DiskFailed.
                with self._environment.read():
                    self._report_full(error)
                if full:
                    raise
                full = True
                self._space.drop_ballast()
                if any(entry.is_replicated for entry in entries):
                    continue  # once more and whole, in the room that the ballast has left
                few = [entry for entry in entries if not entry.brings_bytes][:FULL_ENTRIES_MAX]
                for entry in entries:
                    if entry not in few:
                        entry.error = _again(error)
                        wasted.append(entry)
                entries = few
            else:
                return

    def _append(self, batch: Sequence[Entry]) -> None:
        """Step 1. When it finds no room, the entries that bring bytes fail and the others go on."""
        entries = [entry for entry in batch if entry.small is not None]
        if not entries:
            return
        if self._fit_rows(entries):
            for entry in entries:
                assert entry.small is not None
                entry.inline = b"".join(entry.small.pieces)
                entry.synced = True
            self.statistics.small_bodies += len(entries)
            return
        try:
            bodies = [entry.small for entry in entries if entry.small is not None]
            extents = self._small_lane.append(bodies)
        except DiskFull as error:
            self._report_full(error)
            if any(entry.is_replicated for entry in batch):
                raise
            for entry in entries:
                entry.error = _again(error)
            return
        for entry, extent in zip(entries, extents, strict=True):
            entry.extents = (extent,)
        self.statistics.small_bodies += len(entries)

    def _fit_rows(self, entries: Sequence[Entry]) -> bool:
        sizes = [entry.size_bytes for entry in entries]
        return max(sizes) <= self._inline_bytes_max and sum(sizes) <= INLINE_BATCH_BYTES_MAX

    def _sync(self, batch: Sequence[Entry]) -> None:
        """Step 2. A sync covers all bodies of the segment, those of relaxed buckets too."""
        strict = {
            entry.extents[0].segment_id
            for entry in batch
            if entry.small is not None and entry.extents and _is_strict(entry)
        }
        for segment_id in strict:
            self._store.sync(self._store.segments[segment_id])
            self.statistics.syncs += 1
        for entry in batch:
            if entry.small is not None and entry.extents:
                entry.synced = entry.extents[0].segment_id in strict

    def _begin(self, *, is_full: bool) -> Transaction:
        if is_full and self._environment.statistics().room_bytes < FULL_ROOM_BYTES_MIN:
            raise DiskFull("the metadata has no room left, not even to delete")
        return self._environment.write(needs_room=not is_full)

    def _transact(
        self, entries: Sequence[Entry], wasted: Sequence[Entry], *, is_full: bool
    ) -> None:
        """Steps 3 and 4."""
        ledger = Ledger(self._store)
        self._any_unsynced = False
        for entry in wasted:
            if entry.small is not None:
                ledger.waste(entry.extents)
        freed: list[bytes] = []
        txn = self._begin(is_full=is_full)
        try:
            applier = Applier(txn)
            for entry in entries:
                entry.error = None
                self._apply(entry, txn, applier, ledger, freed)
            applier.finish()
            ledger.write(txn)
            if any(_changes_configuration(entry) for entry in entries):
                self._shared.announce_config(txn.transaction_id)
            txn.commit()
        except BaseException:
            txn.abort()
            raise
        self._shared.publish_commit()
        ledger.apply()
        self._note_unsynced(entries, freed)

    def _apply(
        self,
        entry: Entry,
        txn: Transaction,
        applier: Applier,
        ledger: Ledger,
        freed: list[bytes],
    ) -> None:
        if entry.change is not None:
            entry.result = entry.change(txn, ledger)
            return
        assert entry.command is not None
        try:
            applied = applier.apply(entry.command)
        except StoreError as error:
            entry.error = error
            if entry.small is not None:
                ledger.waste(entry.extents)
            return
        except (DataCorrupt, FormatError) as error:
            raise _DamagedRow(entry, error) from error
        except (ValueError, OverflowError) as error:
            # A value that no record can hold (a lone surrogate) must not end the node: whoever
            # could send one could do so again after each start.
            raise _DamagedRow(entry, _unstorable(entry.command, error)) from error
        entry.result = applied.result
        if entry.brings_bytes:
            self._place(entry, txn, ledger)
        for blob_id in applied.freed:
            self._free(blob_id, txn, ledger)
            freed.append(blob_id)

    def _place(self, entry: Entry, txn: Transaction, ledger: Ledger) -> None:
        """Names the bytes of an entry."""
        assert entry.staged is not None
        ref = entry.staged.ref
        assert ref is not None
        put_blob(txn, ref.blob_id, BlobRecord(ref.size_bytes, list(entry.extents), entry.inline))
        ledger.place(entry.extents, synced=entry.synced)
        if not entry.synced:
            assert not _is_strict(entry), "a strict body reached the commit unsynced"
            self._any_unsynced = True
            put_unsynced(txn, ref.blob_id, _hint(entry))

    def _free(self, blob_id: bytes, txn: Transaction, ledger: Ledger) -> None:
        """Takes back the bytes of a blob that no record owns any more."""
        try:
            record = find_blob(txn, blob_id)
        except (DataCorrupt, FormatError) as error:
            self._report_damage(error)  # the delete goes on; `repair` counts the bytes anew
            record = BlobRecord(0, [])
        if record is None:
            detail = f"blob {blob_id.hex()} was freed and has no place"
            self._observer.on_event(EngineEvent(EventKind.PLACEMENT_MISSING, detail))
            return
        txn.delete(Table.BLOBS, blob_id)
        if self._any_unsynced or self._unsynced:
            txn.delete(Table.UNSYNCED, blob_id)
        for extent in ledger.free(record.extents):
            detail = f"blob {blob_id.hex()} was freed from a segment without account"
            self._observer.on_event(
                EngineEvent(EventKind.PLACEMENT_MISSING, detail, segment_id=extent.segment_id)
            )

    def _note_unsynced(self, entries: Sequence[Entry], freed: Sequence[bytes]) -> None:
        for entry in entries:
            staged = entry.staged
            if entry.error is not None or staged is None:
                continue
            staged.state = StagedState.COMMITTED
            if staged.ref is not None and not entry.synced:
                segment_ids = tuple({extent.segment_id for extent in entry.extents})
                self._unsynced.add(staged.ref.blob_id, UnsyncedBlob(segment_ids, staged.durability))
        if self._unsynced:
            self._unsynced.remove(freed)

    def _report_damage(self, error: Rs3gwError) -> None:
        self._observer.on_event(EngineEvent(EventKind.DATA_CORRUPT, str(error)))

    def _report_full(self, error: DiskFull) -> None:
        self._observer.on_event(EngineEvent(EventKind.DISK_FULL, str(error)))


def _unstorable(command: AnyCommand, error: Exception) -> Rs3gwError:
    return Rs3gwError(f"{type(command).__name__} cannot be stored: {error}")


def _changes_configuration(entry: Entry) -> bool:
    if entry.command is None:
        return entry.configures
    return type(entry.command) not in OBJECT_COMMANDS


def _is_strict(entry: Entry) -> bool:
    return entry.staged is not None and entry.staged.durability is Durability.STRICT


def _hint(entry: Entry) -> UnsyncedRecord:
    """Where the owner of an unsynced body is."""
    command, result = entry.command, entry.result
    if isinstance(command, PutObject) and isinstance(result, VersionRecord):
        return UnsyncedRecord(command.bucket, command.key, result.version_id)
    if isinstance(command, PutPart):
        return UnsyncedRecord(command.bucket, command.key)
    raise AssertionError(f"{type(command).__name__} brings no body")


def _again(error: Rs3gwError) -> Rs3gwError:
    """The same error for one more submitter: an exception belongs to one task."""
    fresh = type(error)(str(error))
    fresh.__cause__ = error
    return fresh
