"""The state machine of all groups of a node: replicated entries in, rows and answers out.

It has the shape of `cluster.base.ports.StateMachine`, which the engine does not import: entries are
anything with the fields of `GroupEntry` here. What it is not: it knows no network and no log, and
decides no order.

A batch of entries of many groups is one LMDB transaction, made by the commit's thread like any
other (`rs3gwd.engine.commit`), so that bytes that ride in entries are appended and synced before
the rows that name them, all together. In the same transaction: the results of sessions and the
marks of the groups, so the store is always exactly at its marks. Bodies of every bucket are synced,
whatever its class: the entry that brought them will not be played again.

A command that is refused is an answer. On a full disk a batch waits for room, and nobody behind it
overtakes it. A damaged row or a failing disk raises and ends whoever replicates: a replica that
skipped an entry would be another one. A value that no record can hold is
refused by all replicas alike, but leaves the transaction unusable, so that the batch is begun anew
with the entry marked.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from functools import partial
from typing import Protocol

import msgspec
import trio
from msgspec import Struct

from rs3gwd.base.commands import AnyCommand
from rs3gwd.base.errors import DiskFull, InvalidRequest, Overloaded, Rs3gwError, StoreError
from rs3gwd.base.ports import Clock, Threads
from rs3gwd.base.records import BlobRef, Durability
from rs3gwd.engine.apply import Applier, group_applier
from rs3gwd.engine.blobs import BlobRecord, put_blob
from rs3gwd.engine.commit import OBJECT_COMMANDS, Entry
from rs3gwd.engine.environment import Environment, Transaction
from rs3gwd.engine.group_blobs import bind_blob, missing_of, release_blob
from rs3gwd.engine.group_entries import (
    Envelope,
    Outcome,
    decode_body,
    decode_envelope,
    encode_answer,
    encode_opened,
    pack_result,
)
from rs3gwd.engine.group_sessions import GroupSessions
from rs3gwd.engine.group_snapshots import SnapshotInstaller, SnapshotReader
from rs3gwd.engine.group_state import GroupState, TreeIds
from rs3gwd.engine.groups import (
    GroupMarkRecord,
    mark_key,
    put_mark,
    read_cluster,
    read_mark,
)
from rs3gwd.engine.lanes import SmallBody
from rs3gwd.engine.pipeline import Pipeline
from rs3gwd.engine.segment_format import BlockChecksums, extent_checksum, pack_table
from rs3gwd.engine.segments import Ledger
from rs3gwd.engine.stage import StagedBody

STEP_COUNT_MAX = 512
STEP_BYTES_MAX = 8 << 20
"""Entries in one transaction, and their bytes, as in a batch of the pipeline: more pages than the
environment has room for must not come together."""

FULL_RETRY_S = 0.5
"""Between two attempts at a batch for which a full disk had no room."""

WantsBlob = Callable[[bytes], bool]
"""Whether this node should keep a blob: the layout's answer, of this node alone."""


class ReplicatedEntry(Protocol):
    """A committed entry; see `GroupEntry` of the cluster library, or `LogEntry` here."""

    @property
    def group(self) -> int: ...
    @property
    def index(self) -> int: ...
    @property
    def term(self) -> int: ...
    @property
    def data(self) -> bytes: ...
    @property
    def members(self) -> bytes | None: ...


class LogEntry(Struct, frozen=True):
    """An entry, for whoever has none of the cluster's own."""

    group: int
    index: int
    term: int
    data: bytes
    members: bytes | None = None


class _Unstorable(Overloaded):
    """Carries a marked entry out of a broken transaction; nobody else sees it but other entries of
    the same commit, for which it is a failure that passes."""


class _Work:
    """An entry of a batch, decoded. `unfit` is why no replica can run its command."""

    __slots__ = ("answer", "blob", "command", "entry", "envelope", "refusal", "staged", "unfit")

    def __init__(self, entry: ReplicatedEntry) -> None:
        self.entry = entry
        self.envelope: Envelope | None = decode_envelope(entry.data) if entry.data else None
        self.command: AnyCommand | None = None
        self.blob: BlobRef | None = None
        self.staged: StagedBody | None = None
        self.refusal: StoreError | None = None
        self.unfit: StoreError | None = None
        self.answer = b""
        if self.envelope is not None and self.envelope.session:
            self.command, data = decode_body(self.envelope.body)
            self.blob = getattr(self.command, "blob", None)
            if data is not None and self.blob is not None:
                if len(data) == self.blob.size_bytes:
                    self.staged = _staged_of(self.blob, data)
                else:
                    self.unfit = InvalidRequest(f"{len(data)} bytes for {self.blob.size_bytes}")


class GroupMachine:
    """Applies the entries of all groups of one node. Belongs to the event loop.

    `wants` says of blobs that an entry names without bringing them, and that are not staged here,
    whether they are to be noted as missing.
    """

    def __init__(
        self,
        environment: Environment,
        pipeline: Pipeline,
        threads: Threads,
        clock: Clock,
        *,
        wants: WantsBlob = lambda _: True,
    ) -> None:
        self._environment = environment
        self._pipeline = pipeline
        self._threads = threads
        self._clock = clock
        self._wants = wants
        self.lacks_room = False
        """Whether a batch waits for room on a full disk."""

    def applied(self, group: int) -> GroupMarkRecord | None:
        """How far a group has come, as it is on disk; None when this node has nothing of it, or
        only a part of a snapshot."""
        with self._environment.read() as txn:
            return read_mark(txn, mark_key(group))

    async def apply(self, entries: Sequence[ReplicatedEntry]) -> list[bytes]:
        """Applies entries in order, in one durable step or, where they are many, in a few; an
        answer for each.

        Entries of one group follow its mark without a gap. Waits while the disk is full. Raises
        DiskFailed, DataCorrupt, FormatError, Overloaded (the engine is stopping): what was applied
        then, the marks say; so when it is cancelled.
        """
        answers: list[bytes] = []
        while len(answers) < len(entries):
            step = _take_step(entries, len(answers))
            answers += await self._apply_step([_Work(entry) for entry in step])
        return answers

    async def _apply_step(self, works: Sequence[_Work]) -> list[bytes]:
        marked = 0
        while marked <= len(works):
            try:
                await self._apply_once(works)
            except _Unstorable:
                marked += 1
            except DiskFull:
                self.lacks_room = True
                await trio.sleep(FULL_RETRY_S)
            else:
                self.lacks_room = False
                return [work.answer for work in works]
        raise AssertionError("each round marks an entry")

    async def _apply_once(self, works: Sequence[_Work]) -> None:
        batch = _Batch(works, self._wants)
        places = [Entry(staged=work.staged, is_replicated=True) for work in works]
        for number, place in enumerate(places):
            place.change = partial(batch.apply, number, place)
        places.append(Entry(change=batch.finish, is_replicated=True))
        done = trio.Event()
        self._pipeline.enter_group(places, done.set)
        await done.wait()
        errors = [place.error for place in places if place.error is not None]
        if errors:
            raise errors[0]

    @asynccontextmanager
    async def snapshot(
        self, group: int
    ) -> AsyncIterator[tuple[GroupMarkRecord, AsyncIterator[bytes]]]:
        """The rows of a group at its mark, in chunks. The group must have a mark."""
        reader = SnapshotReader(self._environment, self._threads, group, self._groups())
        try:
            assert reader.mark is not None, "a group that is here"
            yield reader.mark, reader
        finally:
            reader.close()

    async def install(
        self, group: int, mark: GroupMarkRecord, chunks: AsyncIterator[bytes]
    ) -> None:
        """Replaces the rows of a group by a snapshot; see `group_snapshots`."""
        installer = SnapshotInstaller(
            self._environment,
            self._pipeline,
            self._threads,
            group=group,
            groups=self._groups(),
            now_ms=self._clock.now_ms(),
            wants=self._wants,
        )
        await installer.install(GroupMarkRecord(mark.index, mark.term, mark.members), chunks)

    def _groups(self) -> int:
        with self._environment.read() as txn:
            cluster = read_cluster(txn)
        assert cluster is not None, "only a store of a cluster has groups"
        return cluster.groups


class _Batch:
    """One batch within one transaction; begun anew when the transaction is."""

    def __init__(self, works: Sequence[_Work], wants: WantsBlob) -> None:
        self._works = works
        self._wants = wants
        self._next = 0

    def apply(self, number: int, place: Entry, txn: Transaction, ledger: Ledger) -> None:
        """The entry of this number; the first one begins the batch."""
        if number == 0:
            self._begin(txn)
        assert number == self._next, "the entries of a batch are applied in order, each of them"
        self._next += 1
        work = self._works[number]
        group = self._group(work.entry.group)
        group.follow(work.entry)
        is_bound = False
        envelope = work.envelope
        if envelope is None:
            work.answer = b""
        elif not envelope.session:
            group.sessions.open(work.entry.index)
            work.answer = encode_opened(work.entry.index)
        else:
            outcome, result = group.sessions.execute(
                envelope, work.entry.index, partial(self._run, work, place, group, ledger)
            )
            work.answer = encode_answer(outcome, result)
            is_bound = outcome is Outcome.APPLIED and work.refusal is None
        if not is_bound and place.extents:
            ledger.waste(place.extents)

    def finish(self, txn: Transaction, _: Ledger) -> None:
        """What is kept in memory goes into the transaction."""
        if not self._works:
            return
        assert self._next == len(self._works), "all entries of the batch were applied"
        for group in self._groups.values():
            group.finish()
        self._tree_ids.finish()

    def _begin(self, txn: Transaction) -> None:
        cluster = read_cluster(txn)
        assert cluster is not None, "only a store of a cluster has groups"
        self._txn = txn
        self._cluster = cluster
        self._tree_ids = TreeIds(txn)
        self._groups: dict[int, _Group] = {}
        self._next = 0

    def _group(self, number: int) -> _Group:
        group = self._groups.get(number)
        if group is None:
            assert 0 <= number <= self._cluster.groups, "a group of this cluster"
            group = _Group(self._txn, number, self._cluster.groups, self._tree_ids)
            self._groups[number] = group
        return group

    def _run(self, work: _Work, place: Entry, group: _Group, ledger: Ledger) -> bytes:
        """Runs a command that was not run before: its packed result."""
        assert work.command is not None
        work.refusal = work.unfit
        if work.unfit is not None:
            return pack_result(work.unfit)
        try:
            applied = group.applier.apply(work.command)
        except StoreError as error:
            work.refusal = error
            return pack_result(error)
        except (ValueError, OverflowError) as error:
            detail = f"{type(work.command).__name__} cannot be stored: {error}"
            work.unfit = InvalidRequest(detail)
            raise _Unstorable(detail) from error
        if type(work.command) not in OBJECT_COMMANDS:
            place.configures = True
        if work.blob is not None:
            self._bind(work, work.blob, place, ledger)
        for blob_id in applied.freed:
            release_blob(self._txn, ledger, blob_id)
        return pack_result(applied.result)

    def _bind(self, work: _Work, blob: BlobRef, place: Entry, ledger: Ledger) -> None:
        assert work.command is not None
        if place.brings_bytes:
            record = BlobRecord(blob.size_bytes, list(place.extents), place.inline)
            put_blob(self._txn, blob.blob_id, record)
            ledger.place(place.extents, synced=True)
            return
        wanted = self._wants(blob.blob_id)
        bind_blob(self._txn, blob, missing_of(work.command, blob) if wanted else None)


class _Group:
    """One group within one transaction."""

    def __init__(self, txn: Transaction, number: int, groups: int, tree_ids: TreeIds) -> None:
        self._txn = txn
        self._number = number
        self.applier: Applier = group_applier(txn, number, groups, tree_ids)
        assert isinstance(self.applier.state, GroupState)
        self._state = self.applier.state
        self.sessions = GroupSessions(txn, number, self._state.counters.session_count)
        self._mark = read_mark(txn, mark_key(number)) or GroupMarkRecord(0, 0, b"")

    def follow(self, entry: ReplicatedEntry) -> None:
        """The mark as it is behind an entry."""
        mark = self._mark
        if entry.index != mark.index + 1:
            raise Rs3gwError(f"entry {entry.index} of group {entry.group} behind {mark.index}")
        members = mark.members if entry.members is None else entry.members
        self._mark = GroupMarkRecord(entry.index, entry.term, members)

    def finish(self) -> None:
        """Writes the mark, the sessions and the counters."""
        self.sessions.finish()
        self._state.counters = msgspec.structs.replace(
            self._state.counters, session_count=self.sessions.count
        )
        self.applier.finish()
        put_mark(self._txn, mark_key(self._number), self._mark)


def _take_step(entries: Sequence[ReplicatedEntry], start: int) -> Sequence[ReplicatedEntry]:
    """The entries from `start` on that go into one transaction, at least one."""
    end = start
    size_bytes = 0
    while end < len(entries) and end - start < STEP_COUNT_MAX and size_bytes < STEP_BYTES_MAX:
        size_bytes += len(entries[end].data)
        end += 1
    return entries[start:end]


def _staged_of(blob: BlobRef, data: bytes) -> StagedBody:
    """The bytes of an entry, ready to be appended with those of the whole batch."""
    blocks = BlockChecksums()
    blocks.update(data)
    crcs = blocks.finish()
    table = pack_table(crcs)
    small = SmallBody(
        blob.blob_id,
        [data],
        size_bytes=len(data),
        checksum=extent_checksum(crcs, table),
        table=table,
    )
    return StagedBody(blob, Durability.STRICT, small=small)
