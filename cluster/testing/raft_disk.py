"""A disk of the simulation: what is written can be read, what is synced survives.

A crash keeps any number of the records written since the last sync, in order, the last entry
record perhaps in part: a torn tail. Snapshots made by the node itself are synced at once, as the
driver must before it compacts.
"""

from random import Random

from cluster.raft.messages import ConfState, Entry, HardState, Snapshot
from cluster.raft.recovery import forget_from
from cluster.raft.storage import MemoryStorage

Record = HardState | Snapshot | tuple[Entry, ...]


def _write(storage: MemoryStorage, record: Record) -> None:
    if isinstance(record, HardState):
        storage.set_hard_state(record)
    elif isinstance(record, Snapshot):
        storage.apply_snapshot(record)
    else:
        storage.append(record)


class SimDisk:
    """One node's disk. `view` is what the running node reads, `durable` what a crash leaves."""

    def __init__(self, first: Snapshot) -> None:
        self.durable = MemoryStorage()
        self.durable.apply_snapshot(first)
        self.view = self.durable.copy()
        self._pending: list[Record] = []

    def write(
        self, hard_state: HardState | None, entries: tuple[Entry, ...], snapshot: Snapshot | None
    ) -> None:
        """Write a batch, in the order that `messages.Ready` asks for."""
        records: list[Record] = []
        if snapshot is not None:
            records.append(snapshot)
        if entries:
            records.append(entries)
        if hard_state is not None:
            records.append(hard_state)
        for record in records:
            _write(self.view, record)
        self._pending += records

    def sync(self) -> None:
        """Everything written so far is durable."""
        for record in self._pending:
            _write(self.durable, record)
        self._pending.clear()

    def crash(self, random: Random) -> None:
        """Lose what was not synced, or some of it."""
        kept = random.randint(0, len(self._pending))
        for record in self._pending[:kept]:
            _write(self.durable, record)
        if kept < len(self._pending):
            torn = self._pending[kept]
            if not isinstance(torn, HardState | Snapshot):
                _write(self.durable, torn[: random.randint(0, len(torn))])
        self._pending.clear()
        self.view = self.durable.copy()

    def make_snapshot(self, index: int, state: ConfState, data: bytes, *, keep: int) -> None:
        """Snapshot the state machine at `index` and compact up to `keep` entries before it."""
        for storage in (self.view, self.durable):
            storage.create_snapshot(index, state, data)
            storage.compact(index - keep)

    def rot(self, random: Random, *, as_torn_tail: bool) -> None:
        """Lose a stored entry that was synced, and come back honestly; or, planted, not."""
        storage = self.durable
        applied = storage.snapshot().index
        last = storage.last_index()
        if last <= applied:
            return
        index = random.randint(applied + 1, last)
        hard_state, _ = storage.initial_state()
        healed = forget_from(
            hard_state,
            index=index,
            last_index=last,
            last_term=storage.term(last),
            applied=applied,
        )
        if as_torn_tail:
            healed = healed._replace(
                healing_term=hard_state.healing_term, healing_index=hard_state.healing_index
            )
        storage.truncate(index)
        storage.set_hard_state(healed)
        self.view = storage.copy()

    def wipe(self, first: Snapshot) -> None:
        """Lose everything and begin as new: what `identity` exists to prevent."""
        self.durable = MemoryStorage()
        self.durable.apply_snapshot(first)
        self.view = self.durable.copy()
        self._pending.clear()
