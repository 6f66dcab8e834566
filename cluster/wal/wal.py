"""The write-ahead log of a node: one file at a time, one sync for all groups of a batch.

Like a ship's log: every watch writes into the same book, line below line, and signs once. The book
is split into segments so that what no group needs any more can be thrown away. Each open begins a
new segment, and so does a full one; it starts with a checkpoint, the state of every group without
its entries, so that a segment is needed only for entries that lie in it. Where a slow group would
keep an old one for ever, its entries are written anew at the end.

What it is not: it decides nothing about consensus, and it knows no state machine.

Invariants: a batch is begun only when the one before is on stable storage; nothing can be read that
is not; after the first failed write or sync nothing more is written, since what the disk holds is
unknown, and a second sync of the same file may succeed without having written anything. The one
exception is want of room, told by a write before its sync: nothing was promised yet, and the very
same bytes go to the very same place once there is room (`resume`). Nothing else is written before,
so what the failed write left there is at any time the beginning of what shall be there. A sync that
tells of want of room is a failed sync like any other.
"""

from __future__ import annotations

import errno
from collections import deque
from collections.abc import Callable, Generator, Sequence
from functools import partial
from typing import Protocol

import msgspec
from msgspec import Struct

from cluster.base.errors import ClusterError, NoRoom, WalDamaged
from cluster.base.ports import Disk, Random
from cluster.raft.identity import NodeIdentity
from cluster.raft.messages import EMPTY_HARD_STATE, Entry, HardState, entries_bytes
from cluster.wal.group_log import GroupLog, LoadedPart, LostEntries, Place
from cluster.wal.identity_files import IDENTITY_NAMES, read_identity, write_identity
from cluster.wal.records import (
    SALT_BYTES,
    SEGMENT_HEADER_BYTES,
    BatchHead,
    FrameKind,
    GroupChange,
    Part,
    SegmentHeader,
    decode_frame,
    decode_part,
    decode_segment_header,
    encode_frame,
    encode_payload,
    encode_segment_header,
    frame_bytes,
)
from cluster.wal.scan import SegmentScan

SEGMENT_SUFFIX = ".wal"

_FULL = (errno.ENOSPC, errno.EDQUOT)

Steps = Generator[Callable[[], object], None, None]
"""Something that the log does, with the calls for which there may be no room. Each is made once it
is yielded, and again until there is room; what comes behind it happens only then."""


class WalSettings(Struct, frozen=True):
    """Sizes in bytes. `zeros_bytes` are written ahead of their use: a sync over blocks that are
    only allocated has to note in the file system's journal that they hold data now. `cache_bytes`
    of entries stay in memory. With more than `segments_max` segments the oldest is written anew.
    """

    segment_bytes: int = 64 << 20
    zeros_bytes: int = 1 << 20
    cache_bytes: int = 64 << 20
    segments_max: int = 8


class LogWrite(Protocol):
    """What is to be written for one group; see `cluster.drivers.groups_log.LogWrite`."""

    @property
    def group(self) -> int: ...
    @property
    def entries(self) -> tuple[Entry, ...]: ...
    @property
    def hard_state(self) -> HardState | None: ...
    @property
    def begin(self) -> tuple[int, int] | None: ...
    @property
    def cut(self) -> int: ...


class Lost(Protocol):
    """What `forget` must know; see `LostEntries`."""

    @property
    def group(self) -> int: ...
    @property
    def index(self) -> int: ...


class Wal:
    """An open log. One writer at a time; reads may come in between. Blocks."""

    def __init__(self, disk: Disk, directory: str, settings: WalSettings, random: Random) -> None:
        self._disk = disk
        self._random = random
        self._directory = directory
        self._settings = settings
        self._groups: dict[int, GroupLog] = {}
        self._descriptors: dict[int, int] = {}
        self._removed: dict[int, int] = {}
        """Of segments removed last: a reader in another thread may just be reading there."""
        self._sequence = 1
        self._segment = 0
        self._seeds: dict[int, int] = {}
        self._offset = 0
        self._zeroed = 0
        self._room = 0
        self._cache: deque[tuple[LoadedPart, int]] = deque()
        self._cached_bytes = 0
        self._failure: str | None = None
        self._held: tuple[Callable[[], object], Steps] | None = None
        """The call that found no room, and what is to be done behind it."""
        self.syncs = 0
        """Syncs of batches since the start."""

    @classmethod
    def open(
        cls, disk: Disk, directory: str, settings: WalSettings | None = None, *, random: Random
    ) -> Wal:
        """Opens the log in `directory`, which is made if need be, and reads it whole.

        Raises OSError, NoRoom, and WalDamaged when what this node promised cannot be read any
        more. `close` it at the end.
        """
        wal = cls(disk, directory, settings or WalSettings(), random)
        disk.make_directory(directory)
        try:
            wal._recover()
            wal._work_off(wal._begin_log())
        except BaseException:
            wal.close()
            raise
        return wal

    def close(self) -> None:
        """Closes the files; everything that was written is on stable storage already."""
        descriptors, self._descriptors = self._descriptors, {}
        removed, self._removed = self._removed, {}
        for descriptor in (*descriptors.values(), *removed.values()):
            self._disk.close(descriptor)

    def identity(self) -> NodeIdentity | None:
        """Whose disk this is; None for an empty one. Raises IdentityError, OSError."""
        return read_identity(self._disk, self._directory)

    def set_identity(self, identity: NodeIdentity) -> None:
        """Written once. Raises IdentityError, OSError."""
        write_identity(self._disk, self._directory, identity)

    def groups(self) -> tuple[int, ...]:
        """The groups that have a log here."""
        return tuple(
            number
            for number, log in sorted(self._groups.items())
            if log.last_index() or log.hard_state() != EMPTY_HARD_STATE
        )

    def group(self, number: int) -> GroupLog:
        """A group's part; an empty one when nothing was ever written for it."""
        log = self._groups.get(number)
        if log is None:
            log = self._groups[number] = GroupLog(number, self._read_part)
        return log

    def lost(self) -> tuple[LostEntries, ...]:
        """Entries that have rotted; see `cluster.raft.recovery`. `forget` them before the group is
        used."""
        found = (log.lost() for _, log in sorted(self._groups.items()))
        return tuple(lost for lost in found if lost is not None)

    def forget(self, lost: Lost, hard_state: HardState) -> None:
        """Drops entries that have rotted, and what stands behind them, and stores a hard state that
        remembers them. Raises OSError, WalFailed, NoRoom."""
        change = GroupChange(lost.group, drop=lost.index, hard_state=hard_state)
        self._append([(change, ())])

    def write(self, writes: Sequence[LogWrite]) -> None:
        """Blocks; everything is on stable storage once it returns, and can be read.

        Raises OSError the first time that the disk fails, and WalFailed ever after. Raises NoRoom
        where the disk is full: then the batch is held, `resume` goes on with it, and until it
        returns nothing else can be written.
        """
        batch = [_change_of(write) for write in writes]
        self._append(self._with_cut_terms(batch))

    def resume(self) -> None:
        """Blocks; goes on with the batch for which there was no room. As `write` when it returns.

        Raises NoRoom while there is none, OSError, WalFailed.
        """
        if self._failure is not None:
            raise WalFailed(self._failure)
        assert self._held is not None, "a write found no room"
        (call, steps), self._held = self._held, None
        self._work_off(steps, call)

    # Writing.

    def _with_cut_terms(
        self, batch: list[tuple[GroupChange, Sequence[Entry]]]
    ) -> list[tuple[GroupChange, Sequence[Entry]]]:
        """A cut says the term of its last entry, which whoever reads the log may not find."""
        whole: list[tuple[GroupChange, Sequence[Entry]]] = []
        for change, entries in batch:
            log = self.group(change.group)
            cut = change.cut
            if cut:
                inside = [entry.term for entry in entries if entry.index == cut]
                if inside:
                    term = inside[0]
                elif change.begin is None and cut >= log.first_index():
                    term = log.term(cut)
                else:
                    cut = term = 0
                change = msgspec.structs.replace(change, cut=cut, cut_term=term)
            whole.append((change, entries))
        return whole

    def _append(self, batch: list[tuple[GroupChange, Sequence[Entry]]]) -> None:
        if self._failure is not None:
            raise WalFailed(self._failure)
        assert self._held is None, "nothing else is written before a batch that found no room"
        self._work_off(self._append_steps(batch))

    def _work_off(self, steps: Steps, call: Callable[[], object] | None = None) -> None:
        """Makes `call` and all that `steps` ask for. Raises NoRoom, and holds what is left."""
        try:
            call = call or next(steps, None)
            while call is not None:
                try:
                    call()
                except OSError as error:
                    if error.errno not in _FULL:
                        raise
                    self._held = call, steps
                    raise NoRoom(f"no room for the log: {error}") from error
                call = next(steps, None)
        except (OSError, WalDamaged) as error:
            self._failure = f"the log could not be written: {error}"
            raise

    def _append_steps(self, batch: list[tuple[GroupChange, Sequence[Entry]]]) -> Steps:
        payloads = [
            encode_payload(Part(change.group, tuple(entries))) if entries else b""
            for change, entries in batch
        ]
        size = sum(frame_bytes(len(payload)) for payload in payloads if payload)
        head_bytes = 2 * frame_bytes(64 + 128 * len(batch))
        if self._offset + size + head_bytes > self._room:
            yield from self._begin_segment(size + head_bytes)
            yield from self._drop_segments()
        if self._offset + size + head_bytes > self._room:
            # Old entries that were written anew have taken the room.
            yield from self._begin_segment(size + head_bytes)
        yield from self._write_batch(batch, payloads, is_checkpoint=False)

    def _write_batch(
        self,
        batch: list[tuple[GroupChange, Sequence[Entry]]],
        payloads: Sequence[bytes],
        *,
        is_checkpoint: bool,
    ) -> Steps:
        changes = [
            msgspec.structs.replace(change, part_bytes=frame_bytes(len(payload)) if payload else 0)
            for (change, _), payload in zip(batch, payloads, strict=True)
        ]
        start = at = self._offset
        head = encode_payload(BatchHead(start, changes, is_checkpoint))
        pieces = self._frame(FrameKind.HEAD, head, at)
        at += frame_bytes(len(head))
        places: list[Place | None] = []
        for payload in payloads:
            if not payload:
                places.append(None)
                continue
            length = frame_bytes(len(payload))
            pieces += self._frame(FrameKind.PART, payload, at)
            places.append(Place(self._segment, at, length))
            at += length
        pieces += self._frame(FrameKind.TAIL, head, at)
        at += frame_bytes(len(head))
        descriptor = self._descriptors[self._segment]
        yield partial(self._disk.pwrite, descriptor, pieces, start)
        if at > self._zeroed:
            zeros = bytes(min(self._settings.zeros_bytes, max(0, self._room - at)))
            yield partial(self._disk.pwrite, descriptor, [zeros], at)
            self._zeroed = at + len(zeros)
        self._disk.sync_data(descriptor)
        self.syncs += 1
        self._offset = at
        self._sequence += 1
        if not is_checkpoint:
            for change, (_, entries), place in zip(changes, batch, places, strict=True):
                self._note(change, place, entries)

    def _frame(self, kind: FrameKind, payload: bytes, offset: int) -> list[bytes]:
        seed = self._seeds[self._segment]
        return encode_frame(kind, self._sequence, payload, seed=seed, offset=offset)

    def _note(self, change: GroupChange, place: Place | None, entries: Sequence[Entry]) -> None:
        """A change is on stable storage: it can be read from now on."""
        part = None if place is None else LoadedPart(place, tuple(entries))
        self.group(change.group).change(change, part)
        if part is not None:
            self._keep(part, entries_bytes(tuple(entries)))

    def _keep(self, part: LoadedPart, size_bytes: int) -> None:
        """Keeps entries in memory, and the oldest no longer where they are too many."""
        self._cache.append((part, size_bytes))
        self._cached_bytes += size_bytes
        while self._cached_bytes > self._settings.cache_bytes:
            old, old_bytes = self._cache.popleft()
            old.entries = None
            self._cached_bytes -= old_bytes

    # Segments.

    def _path(self, segment: int) -> str:
        return f"{self._directory}/{segment:016d}{SEGMENT_SUFFIX}"

    def _begin_log(self) -> Steps:
        yield from self._begin_segment(0)
        yield from self._drop_segments()

    def _begin_segment(self, room: int) -> Steps:
        """A new segment with a checkpoint and `room` bytes at least."""
        states: list[tuple[GroupChange, Sequence[Entry]]] = [
            (log.state(), ()) for _, log in sorted(self._groups.items())
        ]
        checkpoint_bytes = 2 * frame_bytes(64 + 128 * len(states))
        size = max(self._settings.segment_bytes, SEGMENT_HEADER_BYTES + checkpoint_bytes + room)
        segment = self._segment + 1
        yield partial(self._create, segment)
        descriptor = self._descriptors[segment]
        yield partial(self._disk.allocate, descriptor, 0, size)
        zeros = bytes(min(self._settings.zeros_bytes, size - SEGMENT_HEADER_BYTES))
        header = SegmentHeader(segment, self._sequence, self._random.token_bytes(SALT_BYTES))
        self._seeds[segment] = header.seed
        yield partial(self._disk.pwrite, descriptor, [encode_segment_header(header), zeros], 0)
        self._disk.sync_data(descriptor)
        self._disk.sync_directory(self._directory)
        self._segment = segment
        self._offset = SEGMENT_HEADER_BYTES
        self._zeroed = SEGMENT_HEADER_BYTES + len(zeros)
        self._room = size
        yield from self._write_batch(states, [b""] * len(states), is_checkpoint=True)

    def _create(self, segment: int) -> None:
        self._descriptors[segment] = self._disk.open(self._path(segment), create=True)

    def _drop_segments(self) -> Steps:
        """Removes the oldest segments that nobody needs. Where there are too many, one is written
        anew: with each new segment at most one, so that nothing is written more than twice as fast
        as it comes."""
        may_rewrite = len(self._descriptors) > self._settings.segments_max
        removed, self._removed = self._removed, {}
        for descriptor in removed.values():
            self._disk.close(descriptor)
        while len(self._descriptors) > 1:
            logs = list(self._groups.values())
            needed = {number for log in logs for number in log.segments()}
            oldest = min(self._descriptors)
            if oldest in needed:
                if not may_rewrite:
                    return
                may_rewrite = False
                yield from self._rewrite(oldest)
            self._removed[oldest] = self._descriptors[oldest]
            del self._descriptors[oldest]
            yield partial(self._disk.unlink, self._path(oldest))
            self._disk.sync_directory(self._directory)

    def _rewrite(self, segment: int) -> Steps:
        """Writes the entries that are needed of an old segment again, at the end of the log."""
        for log in list(self._groups.values()):
            for low, high in log.runs_in(segment):
                at = low
                while at < high:
                    entries = log.entries(at, high, self._settings.zeros_bytes)
                    last = entries[-1]
                    change = GroupChange(
                        log.number, first=at, last=last.index, last_term=last.term, is_copy=True
                    )
                    payload = encode_payload(Part(log.number, entries))
                    if self._offset + frame_bytes(len(payload)) + 1024 > self._room:
                        yield from self._begin_segment(frame_bytes(len(payload)) + 1024)
                    yield from self._write_batch(
                        [(change, entries)], [payload], is_checkpoint=False
                    )
                    at = last.index + 1

    def _read_part(self, place: Place) -> Sequence[Entry] | None:
        """Entries that are no longer in memory; None when their segment was removed meanwhile.
        Raises WalDamaged, OSError."""
        descriptor = self._descriptors.get(place.segment)
        if descriptor is None:
            descriptor = self._removed.get(place.segment)
        if descriptor is None:
            return None
        try:
            data = self._disk.pread(descriptor, place.size_bytes, place.offset)
        except OSError:
            if place.segment not in self._descriptors:
                return None
            raise
        frame = decode_frame(
            memoryview(data), 0, seed=self._seeds[place.segment], behind=place.offset
        )
        if frame is not None:
            return decode_part(frame.payload).entries
        if place.segment not in self._descriptors:
            return None
        raise WalDamaged(f"entries in segment {place.segment} at {place.offset} have rotted")

    # Recovery.

    def _recover(self) -> None:
        """Reads every segment, oldest first, one at a time."""
        found = self._open_segments()
        names = self._disk.list(self._directory)
        if not found and any(name in names for name in IDENTITY_NAMES):
            raise WalDamaged("the disk says whose it is, but its log is gone: join anew")
        for number, header in enumerate(found):
            segment = header.segment
            if number == 0:
                self._sequence = header.next_sequence
            if header.next_sequence != self._sequence:
                raise WalDamaged(
                    f"segment {segment} begins with batch {header.next_sequence}, "
                    f"not {self._sequence}"
                )
            behind = found[number + 1].next_sequence if number + 1 < len(found) else None
            data = self._read_segment(segment)
            scan = SegmentScan(data, header, next_sequence=behind)
            last = self._replay(scan, segment, is_first=number == 0)
            if behind is None:
                self._make_durable(segment, data[last : scan.end], last)

    def _make_durable(self, segment: int, data: bytes, offset: int) -> None:
        """The last batch, or the header where there is none, may be whole in the page cache alone:
        the process fell before the sync, or the sync failed. What is built on it must not vanish in
        a power cut. It is written anew, since pages whose sync failed count as clean."""
        descriptor = self._descriptors[segment]
        self._disk.pwrite(descriptor, [data], offset)
        self._disk.sync_data(descriptor)
        self._disk.sync_directory(self._directory)

    def _read_segment(self, segment: int) -> bytes:
        size = self._disk.size(self._path(segment))
        return self._disk.pread(self._descriptors[segment], size, 0)

    def _open_segments(self) -> list[SegmentHeader]:
        """The header of every segment. A last one without a whole header and with nothing behind
        it was begun in the moment of a crash."""
        names = self._disk.list(self._directory)
        names = [name for name in names if name.endswith(SEGMENT_SUFFIX)]
        found: list[SegmentHeader] = []
        for name in names:
            segment = int(name.removesuffix(SEGMENT_SUFFIX))
            path = self._path(segment)
            descriptor = self._descriptors[segment] = self._disk.open(path)
            header = self._disk.pread(descriptor, SEGMENT_HEADER_BYTES, 0)
            self._segment = segment
            decoded = decode_segment_header(header, segment)
            if decoded is not None:
                self._seeds[segment] = decoded.seed
                found.append(decoded)
                continue
            rest = self._read_segment(segment)[SEGMENT_HEADER_BYTES:]
            if name != names[-1] or rest.strip(b"\0"):
                raise WalDamaged(f"the header of segment {segment} has rotted")
            self._disk.close(self._descriptors.pop(segment))
            self._disk.unlink(path)
            self._disk.sync_directory(self._directory)
        return found

    def _replay(self, scan: SegmentScan, segment: int, *, is_first: bool) -> int:
        """Gives where the last whole batch begins; 0 where there is none."""
        last = 0
        for batch in scan.batches(self._sequence):
            last = batch.head.start
            self._sequence = batch.sequence + 1
            if batch.head.is_checkpoint and not is_first:
                continue
            parts = iter(batch.parts)
            for change in batch.head.changes:
                found = next(parts) if change.part_bytes else None
                part = None
                if found is not None and found.entries:
                    part = LoadedPart(
                        Place(segment, found.offset, change.part_bytes), found.entries
                    )
                self.group(change.group).change(change, part)
                if part is not None and part.entries is not None:
                    self._keep(part, entries_bytes(tuple(part.entries)))
        return last


class WalFailed(ClusterError):
    """An earlier write or sync failed: this log takes nothing more."""

    code = "wal_failed"
    fault = "disk"


def _change_of(write: LogWrite) -> tuple[GroupChange, Sequence[Entry]]:
    entries = write.entries
    change = GroupChange(
        write.group,
        begin=write.begin,
        first=entries[0].index if entries else 0,
        last=entries[-1].index if entries else 0,
        last_term=entries[-1].term if entries else 0,
        hard_state=write.hard_state,
        cut=write.cut,
    )
    return change, entries
