"""Proves that every index entry has its bytes and that every byte has its owner.

What it is not: it changes nothing (`repair` does), and it does not need the store to stand still:
it may run beside the daemon, in it or in a process of its own.

How that works beside a writer. The metadata is compared within one read transaction, a state that
really was: there every blob must have exactly one owner and one place. The bytes are read later, in
short transactions; what does not match is looked up once more in a fresh one, because the blob may
have been deleted or moved meanwhile, and only what is still named and still wrong is a finding.

    phase     proves
    metadata  rows agree with each other (`verify`); each owner's blob has a place and its size;
              each place has one owner; the accounts of the segments add up
    segments  each file has a row and each row a file, of the right store and long enough
    data      (with `read_data`) each extent has its record, and all its blocks their checksums

Memory: a few words per segment, and at most a million blob ids.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import suppress
from enum import StrEnum

from msgspec import Struct

from rs3gwd.base.errors import DataCorrupt, FormatError
from rs3gwd.base.ports import Disk
from rs3gwd.engine.blobs import (
    BLOB_CODEC,
    SEGMENT_CODEC,
    BlobRecord,
    SegmentRecord,
    SegmentState,
    find_blob,
    get_segment,
    get_store,
)
from rs3gwd.engine.environment import Environment, Transaction
from rs3gwd.engine.group_blobs import MISSING_CODEC, STAGED_CODEC
from rs3gwd.engine.groups import is_cluster
from rs3gwd.engine.ownership import iterate_table, owned_blobs
from rs3gwd.engine.segment_files import SegmentFiles, verify_extent
from rs3gwd.engine.segment_format import SEGMENT_HEADER_BYTES, unpack_segment_header
from rs3gwd.engine.segments import SEGMENT_DIRECTORY, segment_id_of, segment_path
from rs3gwd.engine.tables import Table
from rs3gwd.engine.verify import verify_metadata

FINDINGS_MAX = 10_000
"""Findings kept in a report; more are counted only."""

IDS_MAX = 1_000_000
"""Blob ids compared at once: about 100 MB. A larger store is compared in several passes."""

BLOBS_PER_TRANSACTION = 500


class FindingKind(StrEnum):
    """What is wrong; stable names."""

    METADATA = "metadata"
    ROW_DAMAGED = "row_damaged"
    BLOB_MISSING = "blob_missing"
    BLOB_SIZE = "blob_size"
    BLOB_ORPHAN = "blob_orphan"
    BLOB_SHARED = "blob_shared"
    STAGED_BOUND = "staged_bound"
    MISSING_UNWANTED = "missing_unwanted"
    DATA_CORRUPT = "data_corrupt"
    SEGMENT_ACCOUNT = "segment_account"
    SEGMENT_HEADER = "segment_header"
    SEGMENT_MISSING = "segment_missing"
    SEGMENT_SHORT = "segment_short"
    SEGMENT_UNKNOWN = "segment_unknown"


class Finding(Struct, frozen=True):
    """One thing that is wrong: where it is, in words an operator can follow, and what it is."""

    kind: FindingKind
    where: str
    detail: str


class CheckProgress(Struct, frozen=True):
    """How far a phase is: `done` of about `total` blobs or segments."""

    phase: str
    done: int
    total: int


class CheckReport(Struct, frozen=True):
    """The result: the first findings, how many there are in all, and how much was looked at."""

    findings: list[Finding]
    finding_count: int
    owner_count: int
    blob_count: int
    segment_count: int
    bytes_read: int

    @property
    def is_clean(self) -> bool:
        """Whether nothing is wrong."""
        return self.finding_count == 0


def check(
    environment: Environment,
    disk: Disk,
    *,
    read_data: bool,
    progress: Callable[[CheckProgress], None] | None = None,
) -> CheckReport:
    """Checks a store; blocks, for as long as reading all of it takes with `read_data`.

    `environment` is the engine's own, or one opened `read_only` by another process. Damage is a
    finding, never an exception; raises DiskFailed or Overloaded only when LMDB itself cannot be
    read.
    """
    checker = _Checker(environment, disk, progress or _ignore)
    with environment.read() as txn:
        rows = checker.check_metadata(txn)
    checker.check_segments(rows)
    if read_data:
        checker.check_data()
    return checker.report()


class _Checker:
    def __init__(
        self, environment: Environment, disk: Disk, progress: Callable[[CheckProgress], None]
    ) -> None:
        self._environment = environment
        self._disk = disk
        self._progress = progress
        self._findings: list[Finding] = []
        self._finding_count = 0
        self._owner_count = 0
        self._blob_count = 0
        self._segment_count = 0
        self._bytes_read = 0
        self._store_id = b""
        self._is_cluster = False
        self._live_ends: dict[int, int] = {}

    def report(self) -> CheckReport:
        return CheckReport(
            findings=self._findings,
            finding_count=self._finding_count,
            owner_count=self._owner_count,
            blob_count=self._blob_count,
            segment_count=self._segment_count,
            bytes_read=self._bytes_read,
        )

    def find(self, kind: FindingKind, where: str, detail: str) -> None:
        self._finding_count += 1
        if len(self._findings) < FINDINGS_MAX:
            self._findings.append(Finding(kind, where, detail))

    def check_metadata(self, txn: Transaction) -> dict[int, SegmentRecord]:
        """The phase within one transaction; gives the segment rows of that moment."""
        for finding in verify_metadata(txn):
            self.find(FindingKind.METADATA, "metadata", finding)
        self._identify(txn)
        self._check_owners(txn)
        self._check_waiting(txn)
        rows = self._segment_rows(txn)
        self._check_accounts(txn, rows)
        return rows

    def _check_waiting(self, txn: Transaction) -> None:
        """In a cluster: a blob is staged, bound or missing, and what is missing has an owner."""
        missing: set[bytes] = set()
        for blob_id, _ in iterate_table(txn, Table.MISSING, MISSING_CODEC, self._report_row):
            name = f"blob {blob_id.hex()}"
            if txn.get(Table.BLOBS, blob_id) is not None:
                self.find(FindingKind.MISSING_UNWANTED, name, "is missing and kept")
            elif len(missing) < IDS_MAX:
                missing.add(blob_id)
        for blob_id, _ in iterate_table(txn, Table.STAGED, STAGED_CODEC, self._report_row):
            for table in (Table.BLOBS, Table.MISSING):
                if txn.get(table, blob_id) is not None:
                    detail = f"is staged and has a row in {table.name}"
                    self.find(FindingKind.STAGED_BOUND, f"blob {blob_id.hex()}", detail)
        if missing:
            for owned in owned_blobs(txn, on_damage=_ignore_damage):
                missing.discard(owned.blob_id)
        for blob_id in sorted(missing):
            self.find(FindingKind.MISSING_UNWANTED, f"blob {blob_id.hex()}", "has no owner")

    def _report_row(self, error: DataCorrupt | FormatError) -> None:
        self.find(FindingKind.ROW_DAMAGED, "metadata", str(error))

    def _identify(self, txn: Transaction) -> None:
        self._is_cluster = is_cluster(txn)
        try:
            store = get_store(txn)
        except (DataCorrupt, FormatError) as error:
            self.find(FindingKind.ROW_DAMAGED, "META row store", str(error))
            return
        if store is not None:
            self._store_id = store.store_id

    def _check_owners(self, txn: Transaction) -> None:
        """Each owner's blob has a row of its size; then each row must have one owner."""
        total = txn.count(Table.BLOBS)
        owners_sum = 0
        for owned in owned_blobs(txn, on_damage=_ignore_damage):  # verify_metadata reported it
            self._owner_count += 1
            owners_sum += int.from_bytes(owned.blob_id, "big")
            if self._owner_count % 10_000 == 0:
                self._progress(CheckProgress("metadata", self._owner_count, total))
            try:
                record = find_blob(txn, owned.blob_id)
            except (DataCorrupt, FormatError):
                continue  # reported below, with the rows
            name = f"blob {owned.blob_id.hex()}"
            if record is None:
                if not self._is_cluster:  # there other nodes have it: see MISSING
                    self.find(FindingKind.BLOB_MISSING, owned.owner, f"{name} has no place")
            elif not owned.size_bytes == record.size_bytes == record.kept_bytes:
                detail = (
                    f"{name}: {owned.size_bytes} bytes named, {record.size_bytes} recorded, "
                    f"{record.kept_bytes} kept"
                )
                self.find(FindingKind.BLOB_SIZE, owned.owner, detail)
        rows_sum = sum(int.from_bytes(blob_id, "big") for blob_id in _blob_ids(txn))
        if (self._owner_count, owners_sum) != (total, rows_sum):
            self._match_owners(txn, total)

    def _match_owners(self, txn: Transaction, total: int) -> None:
        """Finds the rows without an owner and those with several, a share of the ids at a time."""
        passes = -(-max(total, self._owner_count, 1) // IDS_MAX)
        for share in range(passes):
            owners: Counter[bytes] = Counter()
            for owned in owned_blobs(txn, on_damage=_ignore_damage):
                if owned.blob_id[-1] % passes == share:
                    owners[owned.blob_id] += 1
                    if owners[owned.blob_id] == 2:
                        detail = f"blob {owned.blob_id.hex()} has several owners"
                        self.find(FindingKind.BLOB_SHARED, owned.owner, detail)
            for blob_id in _blob_ids(txn):
                if blob_id[-1] % passes == share and blob_id not in owners:
                    self.find(FindingKind.BLOB_ORPHAN, f"blob {blob_id.hex()}", "has no owner")

    def _segment_rows(self, txn: Transaction) -> dict[int, SegmentRecord]:
        rows: dict[int, SegmentRecord] = {}
        for key, value in txn.cursor(Table.SEGMENTS):
            try:
                rows[int.from_bytes(key, "big")] = SEGMENT_CODEC.open(key, value)
            except (DataCorrupt, FormatError) as error:
                self.find(FindingKind.ROW_DAMAGED, f"SEGMENTS row {key.hex()}", str(error))
        return rows

    def _check_accounts(self, txn: Transaction, rows: dict[int, SegmentRecord]) -> None:
        """The live bytes counted per segment, against the rows."""
        live: Counter[int] = Counter()
        ends = self._live_ends
        for key, record in self._places(txn):
            for extent in record.extents:
                live[extent.segment_id] += extent.footprint
                ends[extent.segment_id] = max(ends.get(extent.segment_id, 0), extent.end)
                row = rows.get(extent.segment_id)
                if row is None or extent.end > row.committed_end:
                    detail = f"extent at {extent.offset} of segment {extent.segment_id:016x}"
                    detail += " is not in its account"
                    self.find(FindingKind.SEGMENT_ACCOUNT, f"blob {key.hex()}", detail)
        for segment_id, row in rows.items():
            where = segment_path(segment_id)
            if live[segment_id] != row.live_bytes:
                detail = f"{live[segment_id]} bytes live, {row.live_bytes} counted"
                self.find(FindingKind.SEGMENT_ACCOUNT, where, detail)
            total = SEGMENT_HEADER_BYTES + row.live_bytes + row.dead_bytes
            if total != row.committed_end:
                detail = f"live and dead bytes end at {total}, the records at {row.committed_end}"
                self.find(FindingKind.SEGMENT_ACCOUNT, where, detail)

    def _places(self, txn: Transaction) -> Iterator[tuple[bytes, BlobRecord]]:
        """Where bytes are kept: those of owners, and those that wait for one."""
        for key, value in txn.cursor(Table.BLOBS):
            self._blob_count += 1
            try:
                yield key, BLOB_CODEC.open(key, value)
            except (DataCorrupt, FormatError) as error:
                self.find(FindingKind.ROW_DAMAGED, f"blob {key.hex()}", str(error))
        for key, staged in iterate_table(txn, Table.STAGED, STAGED_CODEC, _ignore_damage):
            yield key, staged.place

    def check_segments(self, rows: dict[int, SegmentRecord]) -> None:
        """The files against the rows; what does not match is looked up anew."""
        files = {
            segment_id
            for name in self._disk.list(SEGMENT_DIRECTORY)
            if (segment_id := segment_id_of(name)) is not None
        }
        self._segment_count = len(files)
        for segment_id in sorted(rows.keys() - files):
            row = self._row_now(segment_id)
            if row is not None and row.state is not SegmentState.DROPPED and row.live_bytes:
                detail = f"the file is missing, {row.live_bytes} bytes live in it"
                self.find(FindingKind.SEGMENT_MISSING, segment_path(segment_id), detail)
        for segment_id in sorted(files - rows.keys()):
            self._check_unknown(segment_id, max(rows, default=0))
        for done, segment_id in enumerate(sorted(rows.keys() & files)):
            self._progress(CheckProgress("segments", done, len(files)))
            self._check_file(segment_id)

    def _row_now(self, segment_id: int) -> SegmentRecord | None:
        with self._environment.read() as txn, suppress(DataCorrupt, FormatError):
            return get_segment(txn, segment_id)
        return None  # damaged: found with the rows

    def _check_unknown(self, segment_id: int, highest: int) -> None:
        """A file without a row is fine when it is newer than the last commit, or going."""
        if segment_id > highest or self._row_now(segment_id) is not None:
            return
        if segment_path(segment_id).rpartition("/")[2] in self._disk.list(SEGMENT_DIRECTORY):
            self.find(FindingKind.SEGMENT_UNKNOWN, segment_path(segment_id), "is not in the index")

    def _check_file(self, segment_id: int) -> None:
        """A file may end early where only dead bytes are missing: a power cut takes those."""
        where = segment_path(segment_id)
        problem: tuple[FindingKind, str] | None = None
        try:
            size = self._disk.size(where)
            with SegmentFiles(self._disk) as files:
                header = unpack_segment_header(files.pread(segment_id, SEGMENT_HEADER_BYTES, 0))
        except (DataCorrupt, FormatError, OSError) as error:
            problem = (FindingKind.SEGMENT_HEADER, str(error))
        else:
            if (header.segment_id, header.store_id) != (segment_id, self._store_id):
                detail = f"is segment {header.segment_id:016x} of store {header.store_id.hex()}"
                problem = (FindingKind.SEGMENT_HEADER, detail)
            elif size < self._live_ends.get(segment_id, 0):
                detail = f"{size} bytes long, live up to {self._live_ends[segment_id]}"
                problem = (FindingKind.SEGMENT_SHORT, detail)
        if problem is not None:
            now = self._row_now(segment_id)
            if now is not None and now.state is not SegmentState.DROPPED:
                self.find(problem[0], where, problem[1])

    def check_data(self) -> None:
        """Reads every blob; each finding was confirmed in a second look."""
        done = 0
        after = b""
        with SegmentFiles(self._disk) as files:
            while batch := self._next_blobs(after):
                for blob_id, record in batch:
                    self._check_blob(files, blob_id, record)
                done += len(batch)
                after = batch[-1][0]
                self._progress(CheckProgress("data", done, self._blob_count))

    def _next_blobs(self, after: bytes) -> list[tuple[bytes, BlobRecord]]:
        """The next rows behind a key; damaged ones were found before and are passed over."""
        batch: list[tuple[bytes, BlobRecord]] = []
        with self._environment.read() as txn, txn.cursor(Table.BLOBS) as cursor:
            found = cursor.set_range(after + b"\0")
            while found and len(batch) < BLOBS_PER_TRANSACTION:
                with suppress(DataCorrupt, FormatError):
                    batch.append((cursor.key(), BLOB_CODEC.open(cursor.key(), cursor.value())))
                found = cursor.next()
        return batch

    def _check_blob(self, files: SegmentFiles, blob_id: bytes, record: BlobRecord) -> None:
        error = damage_of(files, blob_id, record)
        self._bytes_read += record.size_bytes
        if error is None:
            return
        with self._environment.read() as txn:
            now = find_blob(txn, blob_id)
        if now is None:
            return
        if now != record:  # moved meanwhile
            error = damage_of(files, blob_id, now)
        if error is not None:
            self.find(FindingKind.DATA_CORRUPT, f"blob {blob_id.hex()}", error)


def damage_of(files: SegmentFiles, blob_id: bytes, record: BlobRecord) -> str | None:
    """What is wrong with the bytes of a blob, or None when every block is as it was written."""
    try:
        for index, extent in enumerate(record.extents):
            verify_extent(files, extent, blob_id=blob_id, index=index)
    except DataCorrupt as error:
        return str(error)
    return None


def _blob_ids(txn: Transaction) -> Iterator[bytes]:
    yield from txn.cursor(Table.BLOBS).iternext(keys=True, values=False)


def _ignore(_: CheckProgress) -> None:
    """Nobody watches."""


def _ignore_damage(_: DataCorrupt | FormatError) -> None:
    """The damage is reported elsewhere in the same run."""
