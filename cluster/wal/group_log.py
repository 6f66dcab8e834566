"""One group's part of the log: which entries there are, where they lie, and the newest in memory.

What it is not: it writes nothing. `wal` tells it what was written, or found at the start, in the
order of the log. Reads are short and wait for no sync; an entry that is no longer in memory is read
back from its segment and verified.

Invariant: one thread may read while another writes. A read takes the span of the log once; a span
is never changed but for entries put behind its last one, or moved, each in one step of the
interpreter. Whatever else changes is a new span.
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


class _Span(NamedTuple):
    """The entries behind `offset`, and the term of the one at it."""

    offset: int
    term_before: int
    kept: list[_Kept]


ReadPart = Callable[[Place], Sequence[Entry] | None]
"""Reads a part back; None when its segment was removed meanwhile. Raises WalDamaged, OSError."""

READS_MAX = 16
"""How often a read begins anew because a segment was removed under it; once is rare."""


class GroupLog:
    """Implements what `cluster.raft.storage.Storage` asks of a log."""

    def __init__(self, number: int, read_part: ReadPart) -> None:
        self.number = number
        self._read_part = read_part
        self._hard_state = EMPTY_HARD_STATE
        self._span = _Span(0, 0, [])

    # Reading.

    def hard_state(self) -> HardState:
        """What was stored last."""
        return self._hard_state

    def first_index(self) -> int:
        """The first entry that is not cut; 1 at the beginning."""
        return self._span.offset + 1

    def last_index(self) -> int:
        """The last entry; `first_index() - 1` when there is none."""
        span = self._span
        return span.offset + len(span.kept)

    def term(self, index: int) -> int:
        """The term of an entry, or of the one before the first. Raises Compacted, Unavailable."""
        span = self._span
        at = index - span.offset - 1
        if at < -1:
            raise Compacted(f"{index} < {span.offset}")
        if at >= len(span.kept):
            raise Unavailable(f"{index} > {span.offset + len(span.kept)}")
        return span.term_before if at < 0 else span.kept[at].term

    def entries(self, low: int, high: int, bytes_max: int) -> tuple[Entry, ...]:
        """Entries of [low, high), cut to `bytes_max` but at least one.

        Raises Compacted, Unavailable; WalDamaged for an entry that has rotted.
        """
        for _ in range(READS_MAX):
            found = self._read(self._span, low, high, bytes_max)
            if found is not None:
                return limit_entries(found, bytes_max)
        raise WalDamaged(f"entries {low} to {high} of group {self.number} are nowhere to be found")

    def _read(self, span: _Span, low: int, high: int, bytes_max: int) -> tuple[Entry, ...] | None:
        """None when a segment was removed meanwhile: there is a newer span."""
        end = span.offset + len(span.kept) + 1
        if low <= span.offset:
            raise Compacted(f"{low} <= {span.offset}")
        if high > end:
            raise Unavailable(f"{high} > {end}")
        found: list[Entry] = []
        size = 0
        part: LoadedPart | None = None
        entries: Sequence[Entry] = ()
        for index in range(low, high):
            kept = span.kept[index - span.offset - 1]
            if kept.part is None:
                raise WalDamaged(f"entry {index} of group {self.number} has rotted")
            if kept.part is not part:
                part = kept.part
                loaded = part.entries or self._read_part(part.place)
                if loaded is None:
                    return None
                entries = loaded
            entry = entries[index - part.first]
            assert (entry.index, entry.term) == (index, kept.term), "a part holds what it was given"
            found.append(entry)
            size += len(entry.data)
            if size > bytes_max:
                break
        return tuple(found)

    # What was written.

    def change(self, change: GroupChange, part: LoadedPart | None) -> None:
        """A change that is in the log now; `part` is None where there is none, or it has rotted."""
        if change.begin is not None:
            self._span = _Span(*change.begin, [])
        if change.is_copy:
            self._move(part)
        elif change.first:
            self._put(change, part)
        span = self._span
        if change.drop:
            self._span = span._replace(kept=span.kept[: max(0, change.drop - span.offset - 1)])
        if change.hard_state is not None:
            self._hard_state = change.hard_state
        span = self._span
        if change.cut > span.offset:
            kept = span.kept[change.cut - span.offset :]
            self._span = _Span(change.cut, change.cut_term, kept)

    def _put(self, change: GroupChange, part: LoadedPart | None) -> None:
        """New entries, in place of all from the first one's index on."""
        span = self._span
        first = max(change.first, span.offset + 1)
        at = first - span.offset - 1
        assert at <= len(span.kept), "entries would leave a hole in the log"
        if part is None:
            new = [_Kept(change.last_term, None)] * max(0, change.last - first + 1)
        else:
            assert part.entries is not None, "a part that was just written or read"
            new = [_Kept(entry.term, part) for entry in part.entries[first - change.first :]]
        if at == len(span.kept):
            span.kept.extend(new)
        else:
            self._span = span._replace(kept=span.kept[:at] + new)

    def _move(self, part: LoadedPart | None) -> None:
        """The same entries, in another place; one that was overwritten since stays as it is."""
        if part is None:
            return
        assert part.entries is not None, "a part that was just written or read"
        span = self._span
        for entry in part.entries:
            at = entry.index - span.offset - 1
            if not 0 <= at < len(span.kept):
                continue
            kept = span.kept[at]
            if kept.part is None or kept.term == entry.term:
                span.kept[at] = _Kept(entry.term, part)

    # What the whole log asks.

    def segments(self) -> set[int]:
        """The segments that hold an entry of this group."""
        return {kept.part.place.segment for kept in list(self._span.kept) if kept.part is not None}

    def runs_in(self, segment: int) -> list[tuple[int, int]]:
        """The entries that lie in a segment, as half-open runs of indexes."""
        runs: list[tuple[int, int]] = []
        span = self._span
        for index, kept in enumerate(span.kept, span.offset + 1):
            if kept.part is None or kept.part.place.segment != segment:
                continue
            if runs and runs[-1][1] == index:
                runs[-1] = runs[-1][0], index + 1
            else:
                runs.append((index, index + 1))
        return runs

    def lost(self) -> LostEntries | None:
        """What has rotted, if anything has."""
        span = self._span
        for index, kept in enumerate(span.kept, span.offset + 1):
            if kept.part is None:
                return LostEntries(self.number, index, self.last_index(), span.kept[-1].term)
        return None

    def state(self) -> GroupChange:
        """Everything but the entries, for a checkpoint."""
        span = self._span
        last = span.offset + len(span.kept)
        return GroupChange(
            self.number,
            begin=(span.offset, span.term_before),
            first=span.offset + 1 if span.kept else 0,
            last=last if span.kept else 0,
            last_term=span.kept[-1].term if span.kept else 0,
            hard_state=self._hard_state,
        )
