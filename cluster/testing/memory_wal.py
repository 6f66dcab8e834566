"""A write-ahead log in memory: durable when `write` returns, gone with the object."""

from collections.abc import Sequence

from cluster.base.errors import NoRoom
from cluster.drivers.groups_log import LogWrite, LostEntries
from cluster.raft.identity import NodeIdentity
from cluster.raft.messages import Entry, HardState, Snapshot
from cluster.raft.storage import MemoryStorage


class MemoryGroupLog:
    """One group's part."""

    def __init__(self) -> None:
        self.storage = MemoryStorage()

    def hard_state(self) -> HardState:
        """As `GroupLog.hard_state`."""
        return self.storage.initial_state()[0]

    def entries(self, low: int, high: int, bytes_max: int) -> tuple[Entry, ...]:
        """As `GroupLog.entries`."""
        return self.storage.entries(low, high, bytes_max)

    def term(self, index: int) -> int:
        """As `GroupLog.term`."""
        return self.storage.term(index)

    def first_index(self) -> int:
        """As `GroupLog.first_index`."""
        return self.storage.first_index()

    def last_index(self) -> int:
        """As `GroupLog.last_index`."""
        return self.storage.last_index()

    def begin(self, index: int, term: int) -> None:
        """Go on behind a place, with nothing."""
        hard_state = self.hard_state()
        self.storage = MemoryStorage()
        self.storage.apply_snapshot(Snapshot(index, term))
        self.storage.set_hard_state(hard_state)


class MemoryWal:
    """The log of a node that keeps its memory through crashes. `fault` is raised by the next
    write when set; with `is_full` there is room for none."""

    def __init__(self) -> None:
        self._identity: NodeIdentity | None = None
        self._groups: dict[int, MemoryGroupLog] = {}
        self.fault: OSError | None = None
        self.is_full = False
        self._held: Sequence[LogWrite] | None = None

    def identity(self) -> NodeIdentity | None:
        """As `Wal.identity`."""
        return self._identity

    def set_identity(self, identity: NodeIdentity) -> None:
        """As `Wal.set_identity`."""
        assert self._identity is None
        self._identity = identity

    def groups(self) -> tuple[int, ...]:
        """As `Wal.groups`."""
        return tuple(
            number
            for number, log in sorted(self._groups.items())
            if log.last_index() or log.hard_state() != HardState()
        )

    def group(self, number: int) -> MemoryGroupLog:
        """As `Wal.group`."""
        return self._groups.setdefault(number, MemoryGroupLog())

    def lost(self) -> tuple[LostEntries, ...]:
        """As `Wal.lost`: memory does not rot."""
        return ()

    def forget(self, lost: LostEntries, hard_state: HardState) -> None:
        """As `Wal.forget`."""
        raise AssertionError("memory does not rot")

    def write(self, writes: Sequence[LogWrite]) -> None:
        """As `Wal.write`."""
        assert self._held is None, "writes for which there was no room come first"
        if self.fault is not None:
            raise self.fault
        if self.is_full:
            self._held = tuple(writes)
            raise NoRoom("no room")
        for write in writes:
            log = self.group(write.group)
            if write.begin is not None:
                log.begin(*write.begin)
            log.storage.append(write.entries)
            if write.hard_state is not None:
                log.storage.set_hard_state(write.hard_state)
            log.storage.compact(write.cut)

    def resume(self) -> None:
        """As `Wal.resume`."""
        assert self._held is not None, "a write found no room"
        writes, self._held = self._held, None
        self.write(writes)
