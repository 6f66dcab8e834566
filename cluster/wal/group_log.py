"""One group's part of the log: which entries there are, where they lie, and the newest in memory.

What it is not: it writes nothing. `wal` tells it what was written, or found at the start, in the
order of the log. Reads are short and wait for no sync; an entry that is no longer in memory is read
back from its segment and verified.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

from cluster.base.errors import Compacted, Unavailable, WalDamaged
from cluster.raft.messages import EMPTY_HARD_STATE, Entry, HardState, limit_entries
from cluster.wal.records import GroupChange


class Place(NamedTuple):
    """Where a part lies."""

    segment: int
    offset: int
    size_bytes: int


class LostEntries(NamedTuple):
    """Entries from `index` on have rotted; `last_index` and `last_term` are those of the last entry
    that was ever whole in this log."""

    group: int
    index: int  # type: ignore[assignment]
    last_index: int
    last_term: int


class LoadedPart:
    """A part of this group; `entries`, which begin with `first`, while they are in memory."""

    __slots__ = ("entries", "first", "place")

    def __init__(self, place: Place, entries: Sequence[Entry]) -> None:
        self.place = place
        self.first = entries[0].index
        self.entries: Sequence[Entry] | None = entries


class _Kept(NamedTuple):
    """One entry: its term, and the part that it lies in (None: it has rotted)."""

    term: int
    part: LoadedPart | None


ReadPart = Callable[[Place], Sequence[Entry]]
"""Reads a part back. Raises WalDamaged."""


class GroupLog:
    """Implements what `cluster.raft.storage.Storage` asks of a log."""

    def __init__(self, number: int, read_part: ReadPart) -> None:
        self.number = number
        self._read_part = read_part
        self._hard_state = EMPTY_HARD_STATE
        self._offset = 0
        self._term_before = 0
        self._kept: list[_Kept] = []

    # Reading.

    def hard_state(self) -> HardState:
        """What was stored last."""
        return self._hard_state

    def first_index(self) -> int:
        """The first entry that is not cut; 1 at the beginning."""
        return self._offset + 1

    def last_index(self) -> int:
        """The last entry; `first_index() - 1` when there is none."""
        return self._offset + len(self._kept)

    def term(self, index: int) -> int:
        """The term of an entry, or of the one before the first. Raises Compacted, Unavailable."""
        at = index - self._offset - 1
        if at < -1:
            raise Compacted(f"{index} < {self._offset}")
        if at >= len(self._kept):
            raise Unavailable(f"{index} > {self.last_index()}")
        return self._term_before if at < 0 else self._kept[at].term

    def entries(self, low: int, high: int, bytes_max: int) -> tuple[Entry, ...]:
        """Entries of [low, high), cut to `bytes_max` but at least one.

        Raises Compacted, Unavailable; WalDamaged for an entry that has rotted.
        """
        if low <= self._offset:
            raise Compacted(f"{low} <= {self._offset}")
        if high > self.last_index() + 1:
            raise Unavailable(f"{high} > {self.last_index() + 1}")
        found: list[Entry] = []
        size = 0
        part: LoadedPart | None = None
        entries: Sequence[Entry] = ()
        for index in range(low, high):
            kept = self._kept[index - self._offset - 1]
            if kept.part is None:
                raise WalDamaged(f"entry {index} of group {self.number} has rotted")
            if kept.part is not part:
                part = kept.part
                entries = part.entries or self._read_part(part.place)
            entry = entries[index - part.first]
            assert (entry.index, entry.term) == (index, kept.term), "a part holds what it was given"
            found.append(entry)
            size += len(entry.data)
            if size > bytes_max:
                break
        return limit_entries(tuple(found), bytes_max)

    # What was written.

    def change(self, change: GroupChange, part: LoadedPart | None) -> None:
        """A change that is in the log now; `part` is None where there is none, or it has rotted."""
        if change.begin is not None:
            self._offset, self._term_before = change.begin
            self._kept.clear()
        if change.first:
            self._put(change, part)
        if change.drop:
            del self._kept[max(0, change.drop - self._offset - 1) :]
        if change.hard_state is not None:
            self._hard_state = change.hard_state
        if change.cut > self._offset:
            del self._kept[: change.cut - self._offset]
            self._offset, self._term_before = change.cut, change.cut_term

    def _put(self, change: GroupChange, part: LoadedPart | None) -> None:
        first = max(change.first, self._offset + 1)
        at = first - self._offset - 1
        if not change.is_copy:
            assert at <= len(self._kept), "entries would leave a hole in the log"
            del self._kept[at:]
            self._kept += [_Kept(change.last_term, None)] * max(0, change.last - first + 1)
        if part is None:
            return
        assert part.entries is not None, "a part that was just written or read"
        for entry in part.entries[first - change.first :]:
            at = entry.index - self._offset - 1
            if at < len(self._kept) and (not change.is_copy or self._is_copied(at, entry)):
                self._kept[at] = _Kept(entry.term, part)

    def _is_copied(self, at: int, entry: Entry) -> bool:
        """Whether the entry that a copy is of is still the one in its place."""
        kept = self._kept[at]
        return kept.part is None or kept.term == entry.term

    # What the whole log asks.

    def segments(self) -> set[int]:
        """The segments that hold an entry of this group."""
        return {kept.part.place.segment for kept in self._kept if kept.part is not None}

    def runs_in(self, segment: int) -> list[tuple[int, int]]:
        """The entries that lie in a segment, as half-open runs of indexes."""
        runs: list[tuple[int, int]] = []
        for index, kept in enumerate(self._kept, self._offset + 1):
            if kept.part is None or kept.part.place.segment != segment:
                continue
            if runs and runs[-1][1] == index:
                runs[-1] = runs[-1][0], index + 1
            else:
                runs.append((index, index + 1))
        return runs

    def lost(self) -> LostEntries | None:
        """What has rotted, if anything has."""
        for index, kept in enumerate(self._kept, self._offset + 1):
            if kept.part is None:
                return LostEntries(self.number, index, self.last_index(), self._kept[-1].term)
        return None

    def state(self) -> GroupChange:
        """Everything but the entries, for a checkpoint."""
        last = self.last_index()
        return GroupChange(
            self.number,
            begin=(self._offset, self._term_before),
            first=self._offset + 1 if self._kept else 0,
            last=last if self._kept else 0,
            last_term=self._kept[-1].term if self._kept else 0,
            hard_state=self._hard_state,
        )
