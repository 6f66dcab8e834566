"""What the core reads back from the disk: a small protocol, and its implementation in memory.

The core never writes. The driver writes what a `Ready` holds, and what it has written it must be
able to read here at once. Entries are kept between `first_index` and `last_index`; everything
before `first_index` is in the snapshot, whose index is `first_index - 1` or later. Only `term` may
also be asked of index `first_index - 1`.
"""

from collections.abc import Sequence
from typing import Protocol

from cluster.base.errors import Compacted, Unavailable
from cluster.raft.messages import (
    EMPTY_HARD_STATE,
    ConfState,
    Entry,
    HardState,
    Snapshot,
    limit_entries,
)


class Storage(Protocol):
    """The stable part of one group's log. Calls are short and never block on a sync."""

    def initial_state(self) -> tuple[HardState, ConfState]:
        """What was stored last, and the members as of the latest applied configuration."""

    def entries(self, low: int, high: int, bytes_max: int) -> tuple[Entry, ...]:
        """Entries of [low, high), cut to `bytes_max` but at least one. Raises LogError."""

    def term(self, index: int) -> int:
        """The term of an entry. Raises Compacted or Unavailable."""

    def first_index(self) -> int:
        """The first entry that is not compacted; 1 at the beginning."""

    def last_index(self) -> int:
        """The last entry; `first_index() - 1` when there is none."""

    def snapshot(self) -> Snapshot:
        """The latest snapshot. Raises SnapshotNotReady when it cannot be given right now."""


class MemoryStorage:
    """A `Storage` that is a list; also what tests and simulations use for a disk."""

    def __init__(self, conf_state: ConfState | None = None) -> None:
        self._hard_state = EMPTY_HARD_STATE
        self._snapshot = Snapshot(conf_state=conf_state or ConfState())
        self._offset = 0
        self._terms_before = 0
        self._entries: list[Entry] = []

    def initial_state(self) -> tuple[HardState, ConfState]:
        """As `Storage.initial_state`."""
        return self._hard_state, self._snapshot.conf_state

    def entries(self, low: int, high: int, bytes_max: int) -> tuple[Entry, ...]:
        """As `Storage.entries`."""
        if low <= self._offset:
            raise Compacted(f"{low} <= {self._offset}")
        if high > self.last_index() + 1:
            raise Unavailable(f"{high} > {self.last_index() + 1}")
        offset = self._offset + 1
        return limit_entries(tuple(self._entries[low - offset : high - offset]), bytes_max)

    def term(self, index: int) -> int:
        """As `Storage.term`."""
        at = index - self._offset - 1
        if at < -1:
            raise Compacted(f"{index} < {self._offset}")
        if at >= len(self._entries):
            raise Unavailable(f"{index} > {self.last_index()}")
        return self._terms_before if at < 0 else self._entries[at].term

    def first_index(self) -> int:
        """As `Storage.first_index`."""
        return self._offset + 1

    def last_index(self) -> int:
        """As `Storage.last_index`."""
        return self._offset + len(self._entries)

    def snapshot(self) -> Snapshot:
        """As `Storage.snapshot`."""
        return self._snapshot

    def copy(self) -> "MemoryStorage":
        """An independent copy."""
        twin = MemoryStorage()
        twin._hard_state = self._hard_state
        twin._snapshot = self._snapshot
        twin._offset = self._offset
        twin._terms_before = self._terms_before
        twin._entries = list(self._entries)
        return twin

    def set_hard_state(self, hard_state: HardState) -> None:
        """Store `hard_state`."""
        self._hard_state = hard_state

    def append(self, entries: Sequence[Entry]) -> None:
        """Store `entries`, overwriting from the first one's index on; what is compacted is cut."""
        entries = [entry for entry in entries if entry.index > self._offset]
        if not entries:
            return
        at = entries[0].index - self._offset - 1
        assert at <= len(self._entries), "entries would leave a hole in the log"
        self._entries[at:] = entries

    def apply_snapshot(self, snapshot: Snapshot) -> None:
        """Replace everything by `snapshot`; an older one than the present is ignored."""
        if snapshot.index < self._snapshot.index:
            return
        self._snapshot = snapshot
        self._offset = snapshot.index
        self._terms_before = snapshot.term
        self._entries.clear()

    def create_snapshot(self, index: int, conf_state: ConfState, data: bytes) -> Snapshot:
        """Remember the state machine as of `index`, which must still be in the log."""
        if index > self._snapshot.index:
            self._snapshot = Snapshot(index, self.term(index), conf_state, data)
        return self._snapshot

    def set_snapshot(self, snapshot: Snapshot) -> None:
        """Offer `snapshot` to peers from now on; the log stays as it is."""
        self._snapshot = snapshot

    def compact(self, index: int) -> None:
        """Drop every entry up to and with `index`, which a snapshot must cover."""
        if index <= self._offset:
            return
        term = self.term(index)
        del self._entries[: index - self._offset]
        self._offset = index
        self._terms_before = term

    def truncate(self, index: int) -> None:
        """Drop every entry from `index` on."""
        del self._entries[max(0, index - self._offset - 1) :]
