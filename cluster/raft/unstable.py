"""The end of the log that may not be on disk yet.

`offset` is the index of the first entry held here. Entries before `in_progress` have been handed
out for writing; they leave when the driver says that they are durable, and only if index AND term
still fit: a new leader may have put another entry in the same place meanwhile (the ABA race of
`async_storage_writes_append_aba_race.txt`).
"""

from cluster.raft.messages import Entry, Snapshot


class Unstable:
    """Entries [offset, offset + len) and at most one snapshot, in front of what is stored."""

    __slots__ = ("entries", "in_progress", "offset", "snapshot", "snapshot_in_progress")

    def __init__(self, offset: int) -> None:
        self.snapshot: Snapshot | None = None
        self.snapshot_in_progress = False
        self.offset = offset
        self.in_progress = offset
        self.entries: list[Entry] = []

    def last_index(self) -> int | None:
        """The last index known here, or None."""
        if self.entries:
            return self.offset + len(self.entries) - 1
        return self.snapshot.index if self.snapshot is not None else None

    def term(self, index: int) -> int | None:
        """The term of `index` if it is known here."""
        if index < self.offset:
            if self.snapshot is not None and self.snapshot.index == index:
                return self.snapshot.term
            return None
        at = index - self.offset
        return self.entries[at].term if at < len(self.entries) else None

    @property
    def has_next_entries(self) -> bool:
        """Whether any entry has not been handed out for writing."""
        return self.in_progress < self.offset + len(self.entries)

    def next_entries(self) -> tuple[Entry, ...]:
        """Entries not yet handed out for writing."""
        return tuple(self.entries[self.in_progress - self.offset :])

    def next_snapshot(self) -> Snapshot | None:
        """The snapshot, unless it has been handed out."""
        return None if self.snapshot_in_progress else self.snapshot

    def accept(self) -> None:
        """Everything has been handed out."""
        self.in_progress = self.offset + len(self.entries)
        if self.snapshot is not None:
            self.snapshot_in_progress = True

    def stable_to(self, index: int, term: int) -> None:
        """Entries up to `index` are durable, if the one there is still of `term`."""
        if index < self.offset or self.term(index) != term:
            return
        del self.entries[: index + 1 - self.offset]
        self.offset = index + 1
        self.in_progress = max(self.in_progress, self.offset)

    def stable_snapshot_to(self, index: int) -> None:
        """The snapshot at `index` is durable."""
        if self.snapshot is not None and self.snapshot.index == index:
            self.snapshot = None
            self.snapshot_in_progress = False

    def restore(self, snapshot: Snapshot) -> None:
        """Start again from `snapshot`."""
        self.offset = snapshot.index + 1
        self.in_progress = self.offset
        self.entries.clear()
        self.snapshot = snapshot
        self.snapshot_in_progress = False

    def append(self, entries: tuple[Entry, ...]) -> None:
        """Put `entries` in their place; whatever stood there or behind goes."""
        first = entries[0].index
        if first == self.offset + len(self.entries):
            self.entries.extend(entries)
        elif first <= self.offset:
            self.entries = list(entries)
            self.offset = first
            self.in_progress = first
        else:
            self.entries[first - self.offset :] = entries
            self.in_progress = min(self.in_progress, first)
