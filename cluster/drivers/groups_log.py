"""What the host of the groups needs of the write-ahead log, and the core's view of one group.

The log keeps entries, hard states and where each group's log begins. It does not know the state
machine: the members and the mark that a snapshot would have are the state machine's, and `View`
puts the two together into the `Storage` that a core reads.
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple, Protocol

from cluster.base.errors import SnapshotNotReady
from cluster.base.ports import Applied
from cluster.drivers.groups_frames import decode_members
from cluster.raft.identity import NodeIdentity
from cluster.raft.messages import ConfState, Entry, HardState, Snapshot


class GroupLog(Protocol):
    """One group's part of the log, to be read without waiting; see `cluster.raft.storage`."""

    def hard_state(self) -> HardState: ...

    def entries(self, low: int, high: int, bytes_max: int) -> tuple[Entry, ...]:
        """Entries of [low, high), at least one. Raises LogError."""
        ...

    def term(self, index: int) -> int:
        """Raises Compacted or Unavailable; `first_index() - 1` may be asked."""
        ...

    def first_index(self) -> int: ...

    def last_index(self) -> int: ...


class LogWrite(NamedTuple):
    """What is to be written for one group, in this order: begin, entries, hard state, cut.

    `begin` (index, term) drops the whole log, which goes on behind that place. `entries` overwrite
    from the first one's index on. `cut` drops entries up to and with that index.
    """

    group: int
    entries: tuple[Entry, ...] = ()
    hard_state: HardState | None = None
    begin: tuple[int, int] | None = None
    cut: int = 0


class LostEntries(Protocol):
    """Entries of a group from `index` on cannot be read any more; the last one that was ever whole
    in this log was that of `last_index` and `last_term`."""

    @property
    def group(self) -> int: ...
    @property
    def index(self) -> int: ...
    @property
    def last_index(self) -> int: ...
    @property
    def last_term(self) -> int: ...


class Wal(Protocol):
    """The log of all groups of a node. One writer at a time."""

    def identity(self) -> NodeIdentity | None:
        """Whose disk this is; None for an empty one."""
        ...

    def set_identity(self, identity: NodeIdentity) -> None:
        """Blocks. Written once."""
        ...

    def groups(self) -> tuple[int, ...]:
        """The groups that have a log here."""
        ...

    def group(self, number: int) -> GroupLog:
        """A group's part; an empty one when nothing was ever written for it."""
        ...

    def lost(self) -> tuple[LostEntries, ...]:
        """Entries that have rotted; see `cluster.raft.recovery`."""
        ...

    def forget(self, lost: LostEntries, hard_state: HardState) -> None:
        """Blocks; drops entries that have rotted, with all behind them, and stores a hard state."""
        ...

    def write(self, writes: Sequence[LogWrite]) -> None:
        """Blocks; everything is on stable storage once it returns, and can be read.

        Raises NoRoom: nothing counts as written, and only `resume` may follow.
        """
        ...

    def resume(self) -> None:
        """Blocks; goes on with the writes for which there was no room. Raises as `write`."""
        ...


class View:
    """The `Storage` of a core: the log, with what the state machine knows."""

    def __init__(self, log: GroupLog, applied: Callable[[], Applied | None]) -> None:
        self._log = log
        self._applied = applied

    def initial_state(self) -> tuple[HardState, ConfState]:
        """What is on disk, with the members as of the state machine's mark."""
        applied = self._applied()
        members = ConfState() if applied is None else decode_members(applied.members)
        return self._log.hard_state(), members

    def entries(self, low: int, high: int, bytes_max: int) -> tuple[Entry, ...]:
        """As `Storage.entries`."""
        return self._log.entries(low, high, bytes_max)

    def term(self, index: int) -> int:
        """As `Storage.term`."""
        return self._log.term(index)

    def first_index(self) -> int:
        """As `Storage.first_index`."""
        return self._log.first_index()

    def last_index(self) -> int:
        """As `Storage.last_index`."""
        return self._log.last_index()

    def snapshot(self) -> Snapshot:
        """The state machine as it stands; what is streamed may be of a later index yet."""
        applied = self._applied()
        if applied is None:
            raise SnapshotNotReady("the state of this group is not here")
        return Snapshot(applied.index, applied.term, decode_members(applied.members))
