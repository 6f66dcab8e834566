"""Mending what `check` finds, as far as the bytes that are left allow.

What it is not: it runs beside nothing (it takes the lock of the data directory), and it deletes
nothing that can be read. It works in two halves, so that `dry_run` does all of the first and
nothing of the second: a survey that changes nothing and says what it would do, then the changes.

What it does, per kind of damage:

    a blob has no place, or a wrong one   every segment is scanned for its records; if all of its
                                          extents are found and match, the place is written anew
    its bytes are gone                    its owners are named in the report; with `drop_damaged`
                                          they are removed, without it they stay and reads of them
                                          answer with an error
    a place has no owner                  removed, unless rows of the metadata are damaged: then
                                          its owner may be among them, and it is left
    the account of a segment is wrong     counted anew
    a segment file has no row             gets one when blobs lie in it; left alone otherwise
    damaged rows of the metadata          reported only

Memory: the ids of damaged blobs and of blobs without an owner, a million at most; the accounts of
the segments.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from enum import StrEnum
from itertools import islice
from typing import TypeVar

from msgspec import Struct

from rs3gwd.base.errors import DataCorrupt, DiskFailed, FormatError, Overloaded
from rs3gwd.base.ports import Clock, Disk
from rs3gwd.engine.apply import Applier
from rs3gwd.engine.blobs import (
    BLOB_CODEC,
    SEGMENT_CODEC,
    BlobRecord,
    Extent,
    SegmentRecord,
    SegmentState,
    delete_segment,
    find_blob,
    put_blob,
    put_segment,
    sum_payload,
)
from rs3gwd.engine.check import damage_of
from rs3gwd.engine.damage import Owner, find_owners, remove_owner
from rs3gwd.engine.environment import Environment, Transaction
from rs3gwd.engine.group_blobs import STAGED_CODEC, MissingRecord, put_missing
from rs3gwd.engine.groups import is_cluster
from rs3gwd.engine.ownership import iterate_table, owned_blobs
from rs3gwd.engine.segment_files import SegmentFiles, verify_extent
from rs3gwd.engine.segment_format import (
    SEGMENT_HEADER_BYTES,
    scan_segment,
    unpack_segment_header,
)
from rs3gwd.engine.segments import SEGMENT_DIRECTORY, segment_id_of, segment_path
from rs3gwd.engine.tables import Table
from rs3gwd.engine.verify import verify_metadata

T = TypeVar("T")

BLOBS_MAX = 1_000_000
CHANGES_PER_TRANSACTION = 1000


class ActionKind(StrEnum):
    """What was done, or would be; stable names."""

    PLACE_FOUND = "place_found"
    BYTES_LOST = "bytes_lost"
    OWNER_DROPPED = "owner_dropped"
    ORPHAN_REMOVED = "orphan_removed"
    ORPHAN_LEFT = "orphan_left"
    ACCOUNT_COUNTED = "account_counted"
    ROW_REMOVED = "row_removed"
    METADATA_DAMAGED = "metadata_damaged"


class Action(Struct, frozen=True):
    """One thing that was done, or that a dry run would do; one line of the report file."""

    kind: ActionKind
    where: str
    detail: str


class RepairReport(Struct, frozen=True):
    """How many actions of each kind; with `dry_run` none of them was carried out."""

    dry_run: bool
    counts: dict[str, int]

    @property
    def is_clean(self) -> bool:
        """Whether there was nothing to do."""
        return not self.counts


def repair(
    environment: Environment,
    disk: Disk,
    clock: Clock,
    *,
    store_id: bytes,
    on_action: Callable[[Action], None],
    dry_run: bool = True,
    drop_damaged: bool = False,
) -> RepairReport:
    """Surveys a store and, unless `dry_run`, mends it; blocks while it reads all data.

    The caller holds the lock of the data directory (`lock_data`) and no engine is open. Each
    action goes to `on_action` before it is carried out. `store_id` tells our segments from others'.

    Raises Overloaded (more damage than fits in memory: restore from a copy instead), DiskFull,
    DiskFailed.
    """
    survey = _Survey(environment, disk, store_id, on_action)
    survey.look()
    if drop_damaged:
        survey.find_lost_owners()
    if not dry_run:
        _Mender(environment, clock, survey).mend(drop_damaged=drop_damaged)
    return RepairReport(dry_run=dry_run, counts=dict(survey.counts))


def lock_data(disk: Disk, path: str) -> int:
    """Takes the lock of the data directory. Raises DiskFailed when a daemon is running on it."""
    try:
        return disk.lock(path)
    except BlockingIOError as error:
        raise DiskFailed("the data directory is in use: stop the daemon first") from error


class _Survey:
    """What is wrong and what would mend it; changes nothing."""

    def __init__(
        self,
        environment: Environment,
        disk: Disk,
        store_id: bytes,
        on_action: Callable[[Action], None],
    ) -> None:
        self.environment = environment
        self.disk = disk
        self.store_id = store_id
        self._on_action = on_action
        self.counts: Counter[str] = Counter()
        self.damaged: dict[bytes, tuple[int, str]] = {}
        self.found: dict[bytes, BlobRecord] = {}
        self.lost: list[bytes] = []
        self.lost_owners: list[Owner] = []
        self.orphans: list[bytes] = []
        self.accounts: dict[int, SegmentRecord] = {}
        self.removed_rows: list[bytes] = []
        self.is_cluster = False
        self._metadata_whole = True

    def act(self, kind: ActionKind, where: str, detail: str) -> None:
        self.counts[kind.value] += 1
        self._on_action(Action(kind, where, detail))

    def look(self) -> None:
        with self.environment.read() as txn, SegmentFiles(self.disk) as files:
            self.is_cluster = is_cluster(txn)
            for finding in verify_metadata(txn):
                self._metadata_whole = False
                self.act(ActionKind.METADATA_DAMAGED, "metadata", finding)
            self._find_damaged(txn, files)
            if self.damaged:
                self._find_places(files)
            self._find_orphans(txn)
            self._count_accounts(txn)

    def _find_damaged(self, txn: Transaction, files: SegmentFiles) -> None:
        """Every owned blob whose row or bytes are not as they should be."""
        for owned in owned_blobs(txn, on_damage=_pass_over):
            if self.is_cluster and txn.get(Table.BLOBS, owned.blob_id) is None:
                continue  # other nodes have it
            problem = _problem_of(txn, files, owned.blob_id, owned.size_bytes)
            if problem is not None:
                if len(self.damaged) == BLOBS_MAX:
                    raise Overloaded(f"more than {BLOBS_MAX} blobs are damaged")
                self.damaged[owned.blob_id] = (owned.size_bytes, problem)

    def _find_places(self, files: SegmentFiles) -> None:
        """Scans all segments for records of the damaged blobs and puts whole ones together."""
        candidates: dict[bytes, dict[int, tuple[Extent, bool]]] = {}
        for segment_id in self.own_segments(files):
            for extent, blob_id, index, last in self._records(files, segment_id):
                if blob_id not in self.damaged:
                    continue
                with suppress(DataCorrupt):
                    verify_extent(files, extent, blob_id=blob_id, index=index)
                    candidates.setdefault(blob_id, {})[index] = (extent, last)
        for blob_id, (size_bytes, problem) in self.damaged.items():
            place = _assemble(candidates.get(blob_id, {}), size_bytes)
            name = f"blob {blob_id.hex()}"
            if place is None:
                self.lost.append(blob_id)
                self.act(ActionKind.BYTES_LOST, name, problem)
            else:
                self.found[blob_id] = place
                self.act(ActionKind.PLACE_FOUND, name, problem)

    def own_segments(self, files: SegmentFiles) -> Iterator[int]:
        """The segment files of this store; of those with a damaged header we believe the name."""
        for name in self.disk.list(SEGMENT_DIRECTORY):
            segment_id = segment_id_of(name)
            if segment_id is None:
                continue
            try:
                header = unpack_segment_header(files.pread(segment_id, SEGMENT_HEADER_BYTES, 0))
            except (DataCorrupt, FormatError):
                yield segment_id
                continue
            if header.store_id == self.store_id:
                yield segment_id

    def _records(
        self, files: SegmentFiles, segment_id: int
    ) -> Iterator[tuple[Extent, bytes, int, bool]]:
        def pread(length: int, offset: int) -> bytes:
            return files.pread(segment_id, length, offset)

        size = self.disk.size(segment_path(segment_id))
        with suppress(DataCorrupt):  # an unreadable stretch ends the scan of this file
            for found in scan_segment(
                pread, segment_id=segment_id, start=SEGMENT_HEADER_BYTES, end=size
            ):
                header = found.header
                extent = Extent(segment_id, found.offset, header.payload_bytes, header.checksum)
                yield extent, header.blob_id, header.extent_index, header.last

    def find_lost_owners(self) -> None:
        """The records to remove: each owner of a lost blob once. In a cluster none: other nodes
        have the bytes, and this one alone must not change what all have in common."""
        if self.is_cluster:
            return
        seen: set[Owner] = set()
        with self.environment.read() as txn:
            for blob_id, owner in find_owners(txn, frozenset(self.lost), _pass_over):
                if owner not in seen:
                    seen.add(owner)
                    self.lost_owners.append(owner)
                    detail = f"blob {blob_id.hex()} is lost"
                    self.act(ActionKind.OWNER_DROPPED, owner.describe(), detail)

    def _find_orphans(self, txn: Transaction) -> None:
        """Rows of BLOBS that nothing names; kept where a damaged record may be their owner."""
        count = txn.count(Table.BLOBS)
        passes = -(-max(count, 1) // BLOBS_MAX)
        for share in range(passes):
            owned = {
                blob.blob_id
                for blob in owned_blobs(txn, on_damage=_pass_over)
                if blob.blob_id[-1] % passes == share
            }
            for blob_id in txn.cursor(Table.BLOBS).iternext(keys=True, values=False):
                if blob_id[-1] % passes != share or blob_id in owned:
                    continue
                name = f"blob {blob_id.hex()}"
                if self._metadata_whole:
                    self.orphans.append(blob_id)
                    self.act(ActionKind.ORPHAN_REMOVED, name, "no record names it")
                else:
                    detail = "no readable record names it, but some are damaged"
                    self.act(ActionKind.ORPHAN_LEFT, name, detail)

    def _count_accounts(self, txn: Transaction) -> None:
        """The accounts as they must be once the places are mended."""
        live: Counter[int] = Counter()
        ends: dict[int, int] = {}
        gone = set(self.orphans)
        for blob_id, record in self._places_after(txn, gone):
            for extent in record.extents:
                live[extent.segment_id] += extent.footprint
                ends[extent.segment_id] = max(ends.get(extent.segment_id, 0), extent.end)
            del blob_id
        rows = self._readable_rows(txn)
        for segment_id in sorted(live.keys() | rows.keys()):
            self._count_account(segment_id, rows.get(segment_id), live[segment_id], ends)

    def _places_after(
        self, txn: Transaction, gone: set[bytes]
    ) -> Iterator[tuple[bytes, BlobRecord]]:
        yield from self.found.items()
        for key, value in txn.cursor(Table.BLOBS):
            if key in gone or key in self.found:
                continue
            with suppress(DataCorrupt, FormatError):
                yield key, BLOB_CODEC.open(key, value)
        for key, staged in iterate_table(txn, Table.STAGED, STAGED_CODEC, _pass_over):
            yield key, staged.place

    def _readable_rows(self, txn: Transaction) -> dict[int, SegmentRecord]:
        rows: dict[int, SegmentRecord] = {}
        for key, value in txn.cursor(Table.SEGMENTS):
            if len(key) != 8:
                self._remove_row(key, "the key is no segment id")
                continue
            try:
                rows[int.from_bytes(key, "big")] = SEGMENT_CODEC.open(key, value)
            except (DataCorrupt, FormatError) as error:
                self._remove_row(key, str(error))
        return rows

    def _remove_row(self, key: bytes, detail: str) -> None:
        self.removed_rows.append(key)
        self.act(ActionKind.ROW_REMOVED, f"SEGMENTS row {key.hex()}", detail)

    def _count_account(
        self, segment_id: int, row: SegmentRecord | None, live_bytes: int, ends: dict[int, int]
    ) -> None:
        where = segment_path(segment_id)
        if row is None:
            try:
                end = max(self.disk.size(where) // 8 * 8, ends.get(segment_id, 0))
            except FileNotFoundError:
                end = ends.get(segment_id, SEGMENT_HEADER_BYTES)
            row = SegmentRecord(SegmentState.SEALED, 0, committed_end=end)
        end = max(row.committed_end, ends.get(segment_id, 0))
        counted = SegmentRecord(
            state=row.state,
            created_ms=row.created_ms,
            committed_end=end,
            synced_end=min(row.synced_end, end),
            live_bytes=live_bytes,
            dead_bytes=end - SEGMENT_HEADER_BYTES - live_bytes,
        )
        if counted != row:
            self.accounts[segment_id] = counted
            detail = f"{live_bytes} bytes live, {counted.dead_bytes} dead, ends at {end}"
            self.act(ActionKind.ACCOUNT_COUNTED, where, detail)


class _Mender:
    """Carries out what a survey found, in short transactions; each leaves the store usable."""

    def __init__(self, environment: Environment, clock: Clock, survey: _Survey) -> None:
        self._environment = environment
        self._clock = clock
        self._survey = survey

    def mend(self, *, drop_damaged: bool) -> None:
        survey = self._survey
        for places in _chunks(survey.found.items()):
            with self._environment.write() as txn:
                for blob_id, record in places:
                    put_blob(txn, blob_id, record)
        for orphans in _chunks(survey.orphans):
            with self._environment.write() as txn:
                for blob_id in orphans:
                    txn.delete(Table.BLOBS, blob_id)
                    txn.delete(Table.UNSYNCED, blob_id)
        with self._environment.write() as txn:
            for key in survey.removed_rows:
                txn.delete(Table.SEGMENTS, key)
            for segment_id, account in survey.accounts.items():
                put_segment(txn, segment_id, account)
        if survey.is_cluster:
            self._note_missing()
        elif drop_damaged:
            self._drop_owners()

    def _note_missing(self) -> None:
        """In a cluster lost bytes are fetched from another node."""
        for blob_ids in _chunks(self._survey.lost):
            with self._environment.write() as txn:
                freed: Counter[int] = Counter()
                for blob_id in blob_ids:
                    size_bytes = self._survey.damaged[blob_id][0]
                    freed.update(_take_place(txn, blob_id))
                    put_missing(txn, blob_id, MissingRecord(size_bytes))
                for segment_id, count in freed.items():
                    self._give_back(txn, segment_id, count)

    def _drop_owners(self) -> None:
        """Removes the owners of lost blobs; then the accounts once more, by subtraction."""
        for owners in _chunks(self._survey.lost_owners):
            with self._environment.write() as txn:
                applier = Applier(txn)
                freed: Counter[int] = Counter()
                for owner in owners:
                    for blob_id in remove_owner(txn, applier, owner, now_ms=self._clock.now_ms()):
                        freed.update(_take_place(txn, blob_id))
                applier.finish()
                for segment_id, count in freed.items():
                    self._give_back(txn, segment_id, count)

    def _give_back(self, txn: Transaction, segment_id: int, count: int) -> None:
        key = segment_id.to_bytes(8, "big")
        value = txn.get(Table.SEGMENTS, key)
        if value is None:
            return
        row = SEGMENT_CODEC.open(key, value)
        row = SegmentRecord(
            row.state,
            row.created_ms,
            row.committed_end,
            row.synced_end,
            row.live_bytes - count,
            row.dead_bytes + count,
        )
        if row.live_bytes == 0 and segment_path(segment_id) not in self._paths():
            delete_segment(txn, segment_id)
        else:
            put_segment(txn, segment_id, row)

    def _paths(self) -> set[str]:
        names = self._survey.disk.list(SEGMENT_DIRECTORY)
        return {f"{SEGMENT_DIRECTORY}/{name}" for name in names}


def _problem_of(
    txn: Transaction, files: SegmentFiles, blob_id: bytes, size_bytes: int
) -> str | None:
    """What is wrong with the place or the bytes of an owned blob."""
    try:
        record = find_blob(txn, blob_id)
    except (DataCorrupt, FormatError) as error:
        return str(error)
    if record is None:
        return "has no place"
    if not size_bytes == record.size_bytes == record.kept_bytes:
        return f"{size_bytes} bytes named, {record.kept_bytes} kept"
    return damage_of(files, blob_id, record)


def _assemble(found: dict[int, tuple[Extent, bool]], size_bytes: int) -> BlobRecord | None:
    """A blob put together from its records, when all are there up to the one marked last."""
    extents: list[Extent] = []
    for index in range(len(found)):
        if index not in found:
            return None
        extents.append(found[index][0])
    if not extents or not found[len(extents) - 1][1] or sum_payload(extents) != size_bytes:
        return None
    return BlobRecord(size_bytes, extents)


def _take_place(txn: Transaction, blob_id: bytes) -> Counter[int]:
    """Removes the row of a blob; gives the live bytes that its segments lose."""
    freed: Counter[int] = Counter()
    with suppress(DataCorrupt, FormatError):  # a damaged row was not counted as live
        record = find_blob(txn, blob_id)
        for extent in record.extents if record is not None else ():
            freed[extent.segment_id] += extent.footprint
    txn.delete(Table.BLOBS, blob_id)
    txn.delete(Table.UNSYNCED, blob_id)
    return freed


def _chunks(items: Iterable[T]) -> Iterator[list[T]]:
    iterator = iter(items)
    while chunk := list(islice(iterator, CHANGES_PER_TRANSACTION)):
        yield chunk


def _pass_over(_: DataCorrupt | FormatError) -> None:
    """`verify_metadata` reported it in the same run."""
