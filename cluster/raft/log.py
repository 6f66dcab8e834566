"""The log as the core sees it: stored entries, then unstable ones, with three marks along it.

    first_index .. applied .. applying .. committed .. last_index

`committed` is known to be on a quorum; `applying` has been handed to the state machine; `applied`
has come back. Invariants (thesis, figure 3.2): the marks are in this order, none ever goes back,
and no committed entry is ever overwritten.
"""

from typing import NamedTuple

from cluster.base.errors import Compacted, LogError, Unavailable
from cluster.raft.messages import Entry, Snapshot, limit_entries
from cluster.raft.storage import Storage
from cluster.raft.unstable import Unstable


class EntryId(NamedTuple):
    """Where an entry is and who wrote it: two logs that share one share all before it."""

    term: int
    index: int  # type: ignore[assignment]  # as in `messages`


class RaftLog:
    """One node's log; see the module's head."""

    __slots__ = (
        "_applying_bytes",
        "_applying_bytes_max",
        "_applying_paused",
        "_storage",
        "applied",
        "applying",
        "committed",
        "unstable",
    )

    def __init__(self, storage: Storage, *, applying_bytes_max: int) -> None:
        self._storage = storage
        before = storage.first_index() - 1
        self.committed = before
        self.applying = before
        self.applied = before
        self.unstable = Unstable(storage.last_index() + 1)
        self._applying_bytes = 0
        self._applying_bytes_max = applying_bytes_max
        self._applying_paused = False

    def first_index(self) -> int:
        """The first entry that can be read."""
        snapshot = self.unstable.snapshot
        return self._storage.first_index() if snapshot is None else snapshot.index + 1

    def last_index(self) -> int:
        """The last entry."""
        last = self.unstable.last_index()
        return self._storage.last_index() if last is None else last

    def last_id(self) -> EntryId:
        """Term and index of the last entry."""
        index = self.last_index()
        return EntryId(self.term(index), index)

    def term(self, index: int) -> int:
        """The term of `index`, first_index - 1 included. Raises Compacted or Unavailable."""
        known = self.unstable.term(index)
        if known is not None:
            return known
        if index + 1 < self.first_index():
            raise Compacted(f"{index} is compacted")
        if index > self.last_index():
            raise Unavailable(f"{index} is behind the end")
        return self._storage.term(index)

    def matches(self, index: int, term: int) -> bool:
        """Whether the entry at `index` is of `term`."""
        try:
            return self.term(index) == term
        except LogError:
            return False

    def is_up_to_date(self, term: int, index: int) -> bool:
        """Whether a log that ends so is at least as good as ours (thesis, 3.6.1)."""
        ours = self.last_id()
        return term > ours.term or (term == ours.term and index >= ours.index)

    def conflict_by_term(self, index: int, term: int) -> EntryId:
        """The last place at or before `index` whose term is not above `term`.

        Two logs cannot match where one's term is above the other's, so a probe may skip a whole
        term at a time. Term 0 stands for a place that is compacted.
        """
        while index > 0:
            try:
                ours = self.term(index)
            except LogError:
                return EntryId(0, index)
            if ours <= term:
                return EntryId(ours, index)
            index -= 1
        return EntryId(0, 0)

    def slice(self, low: int, high: int, bytes_max: int) -> tuple[Entry, ...]:
        """Entries of [low, high) within `bytes_max`, at least one. Raises LogError."""
        if low >= high:
            return ()
        offset = self.unstable.offset
        if low >= offset:
            held = tuple(self.unstable.entries[low - offset : high - offset])
            return limit_entries(held, bytes_max)
        stored = self._storage.entries(low, min(high, offset), bytes_max)
        if high <= offset or len(stored) < min(high, offset) - low:
            return stored
        return limit_entries(stored + tuple(self.unstable.entries[: high - offset]), bytes_max)

    def entries_from(self, index: int, bytes_max: int) -> tuple[Entry, ...]:
        """Entries from `index` on. Raises Compacted."""
        if index > self.last_index():
            return ()
        return self.slice(index, self.last_index() + 1, bytes_max)

    def append(self, entries: tuple[Entry, ...]) -> int:
        """Put `entries` at their place; returns the last index."""
        if entries:
            assert entries[0].index > self.committed, "a committed entry would be overwritten"
            self.unstable.append(entries)
        return self.last_index()

    def try_append(
        self, index: int, term: int, entries: tuple[Entry, ...], commit: int
    ) -> int | None:
        """Append behind (term, index) if it is ours too; returns the last index matched or None.

        Only what conflicts is cut (thesis, 3.5): a delayed message must not shorten the log.
        """
        if not self.matches(index, term):
            return None
        last_new = index + len(entries)
        for at, entry in enumerate(entries):
            if not self.matches(entry.index, entry.term):
                self.append(entries[at:])
                break
        self.commit_to(min(commit, last_new))
        return last_new

    def commit_to(self, index: int) -> None:
        """Everything up to `index` is on a quorum."""
        if index > self.committed:
            assert index <= self.last_index(), "committed beyond the end of the log"
            self.committed = index

    def next_committed(self, *, unstable_too: bool) -> tuple[Entry, ...]:
        """Committed entries for the state machine, within the bound on what it has in hand."""
        if self._applying_paused or self.unstable.snapshot is not None:
            return ()
        high = self._appliable(unstable_too=unstable_too) + 1
        room = self._applying_bytes_max - self._applying_bytes
        return self.slice(self.applying + 1, high, room)

    def has_next_committed(self, *, unstable_too: bool) -> bool:
        """Whether `next_committed` would give anything."""
        if self._applying_paused or self.unstable.snapshot is not None:
            return False
        return self.applying < self._appliable(unstable_too=unstable_too)

    def _appliable(self, *, unstable_too: bool) -> int:
        if unstable_too:
            return self.committed
        return min(self.committed, self.unstable.offset - 1)

    def accept_applying(self, index: int, size_bytes: int, *, unstable_too: bool) -> None:
        """Entries up to `index` were handed to the state machine."""
        assert index <= self.committed
        self.applying = index
        self._applying_bytes += size_bytes
        self._applying_paused = (
            self._applying_bytes >= self._applying_bytes_max
            or index < self._appliable(unstable_too=unstable_too)
        )

    def applied_to(self, index: int, size_bytes: int) -> None:
        """The state machine has applied everything up to `index`."""
        assert self.applied <= index <= self.committed, "applied beyond commit or backwards"
        self.applied = index
        self.applying = max(self.applying, index)
        self._applying_bytes = max(0, self._applying_bytes - size_bytes)
        self._applying_paused = self._applying_bytes >= self._applying_bytes_max

    def snapshot(self) -> Snapshot:
        """The latest snapshot. Raises SnapshotNotReady."""
        return self.unstable.snapshot or self._storage.snapshot()

    def restore(self, snapshot: Snapshot) -> None:
        """Start again from `snapshot`."""
        self.committed = snapshot.index
        self.unstable.restore(snapshot)
