"""What must hold after every step of a simulated Raft group, whatever the faults.

Names as in the thesis (figure 3.2) and in etcd's TLA+ specification:

* election safety: at most one leader per term, across restarts too;
* election quorum: a majority of each half has the vote for a leader on disk, itself included;
* commit rule: a leader commits by entries of its own term (3.6.2);
* durable: what a node takes for stored is on its disk;
* leader completeness: a new leader has every entry known to be committed;
* log matching: two logs with an entry of the same term and index share what precedes it;
* leader append-only: a leader never rewrites its own log;
* state machine safety: what is applied at an index is the same everywhere, members included;
* quorum log: what a leader commits is durable on a quorum of the members that the log says it has;
* transfer: whoever is told to take over has the whole log;
* pre-vote: being asked changes no term;
* monotonic: term, commit and applied never go back while a node runs;
* linearizable reads: a read sees every write that was acknowledged, and everything that a read saw
  which ended before it began;
* exactly-once: a command takes effect at one place only, and is always answered alike.

Writes append to one list, so a read's answer is the length that it saw: linearizability is then a
comparison of numbers and needs no search.
"""

from typing import Protocol

from cluster.base.ids import NodeId
from cluster.raft.core import Raft
from cluster.raft.membership import Configuration, configuration_of
from cluster.raft.messages import ConfState, Entry, Ready, Role
from cluster.raft.quorum import majority_vote
from cluster.raft.storage import MemoryStorage


class Violation(AssertionError):
    """An invariant is broken; the text says which and how."""


class Watched(Protocol):
    """What the checks need of a simulated node."""

    id: NodeId
    incarnation: int

    @property
    def raft(self) -> Raft:
        """Its core."""

    @property
    def durable(self) -> MemoryStorage:
        """What a crash would leave of its disk."""


def _require(fact: bool, text: str) -> None:
    if not fact:
        raise Violation(text)


class _Seen:
    """What a node showed at the last look."""

    __slots__ = ("commit", "incarnation", "last", "lead_term", "offset", "term")

    def __init__(self, incarnation: int) -> None:
        self.incarnation = incarnation
        self.term = 0
        self.commit = 0
        self.lead_term = 0
        self.last = 0
        self.offset = 0


class Checks:
    """The invariants of one group; every method raises Violation."""

    def __init__(self, conf_state: ConfState) -> None:
        self._seen: dict[NodeId, _Seen] = {}
        self._leaders: dict[int, tuple[NodeId, int]] = {}
        self._terms: dict[int, int] = {0: 0, 1: 1}
        """Term of the committed entry at each index; a group begins with a snapshot at 1."""
        self.committed = 1
        self._committed_in = 1
        """The highest term in which a leader has committed anything."""
        self._before: dict[tuple[int, int], tuple[int, bytes]] = {}
        self._applied: dict[int, tuple[int, bytes]] = {}
        self._members: dict[int, ConfState] = {0: conf_state}
        self._members_at = [0]
        self._effects: dict[bytes, bytes] = {}
        self.lease_reads = 0
        """How many reads followers have answered by their leases."""
        self.floor = 0
        """The length of the list that every read which begins now must see."""

    def after_step(self, node: Watched, places: dict[NodeId, Watched]) -> None:
        """Look at a node that has just done something."""
        raft = node.raft
        seen = self._seen.get(node.id)
        if seen is None or seen.incarnation != node.incarnation:
            seen = self._seen[node.id] = _Seen(node.incarnation)
        if raft.term != seen.term:
            _require(raft.term > seen.term, f"monotonic: node {node.id} goes back in term")
            seen.term = raft.term
        if raft.role is Role.LEADER and seen.lead_term != raft.term:
            seen.lead_term = raft.term
            seen.last = 0
            self._new_leader(node)
            self._on_votes(node, places)
        self._is_stored(node, seen)
        commit = raft.log.committed
        if commit != seen.commit:
            _require(commit > seen.commit, f"monotonic: node {node.id} goes back in commit")
            self._new_commit(node, seen.commit, commit, places)
            seen.commit = commit

    def _new_leader(self, node: Watched) -> None:
        raft = node.raft
        known = self._leaders.setdefault(raft.term, (node.id, node.incarnation))
        _require(
            known == (node.id, node.incarnation),
            f"election safety: {known[0]} and {node.id} lead term {raft.term}",
        )
        # One elected late, in a term that others have left, need not have what they did since.
        _require(
            raft.term <= self._committed_in
            or raft.log.matches(self.committed, self._terms[self.committed])
            or self.committed < raft.log.first_index() - 1,
            f"leader completeness: {node.id} leads term {raft.term} without {self.committed}",
        )

    def _on_votes(self, leader: Watched, places: dict[NodeId, Watched]) -> None:
        raft = leader.raft
        has = {}
        for number, place in places.items():
            stored, _ = place.durable.initial_state()
            # One that has moved on no longer shows whom it voted for.
            has[number] = stored.term > raft.term or (stored.term, stored.vote) == (
                raft.term,
                leader.id,
            )
        _require(has[leader.id], f"election quorum: {leader.id} leads without its own vote")
        for half in (raft.configuration.incoming, raft.configuration.outgoing):
            _require(
                majority_vote(half, has) == majority_vote((), {}),
                f"election quorum: {leader.id} leads term {raft.term}, of {sorted(half)} only "
                f"{sorted(node for node, voted in has.items() if voted)} can have voted",
            )

    def _is_stored(self, node: Watched, seen: _Seen) -> None:
        """What a node takes for durable is on its disk."""
        unstable = node.raft.log.unstable
        if unstable.offset == seen.offset or unstable.snapshot is not None:
            return
        seen.offset = unstable.offset
        last = unstable.offset - 1
        storage = node.durable
        if last < storage.first_index():
            return
        stored = last <= storage.last_index()
        _require(
            stored and storage.term(last) == node.raft.log.term(last),
            f"durable: {node.id} takes {last} for stored",
        )

    def _new_commit(self, node: Watched, old: int, new: int, places: dict[NodeId, Watched]) -> None:
        log = node.raft.log
        for index in range(max(old + 1, log.first_index() - 1), new + 1):
            term = log.term(index)
            known = self._terms.setdefault(index, term)
            _require(
                known == term,
                f"state machine safety: {node.id} commits {index} of term {term}, not {known}",
            )
        if new > self.committed:
            self.committed = new
            self._committed_in = max(self._committed_in, node.raft.term)
            if node.raft.role is Role.LEADER:
                _require(
                    self._terms[new] == node.raft.term,
                    f"commit rule: {node.id} commits {new} of an earlier term by count",
                )
                self._on_quorum(node, new, places)

    def _on_quorum(self, leader: Watched, index: int, places: dict[NodeId, Watched]) -> None:
        term = self._terms[index]
        members = self.members_at(leader.raft.log.applied)
        has = {node: self._holds(place, index, term) for node, place in places.items()}
        for half in (members.incoming, members.outgoing):
            _require(
                majority_vote(half, has) == majority_vote((), {}),
                f"quorum log: {leader.id} commits {index}, durable only on "
                f"{sorted(node for node, held in has.items() if held)} of {sorted(half)}",
            )

    @staticmethod
    def _holds(place: Watched, index: int, term: int) -> bool:
        storage = place.durable
        hard_state, _ = storage.initial_state()
        if hard_state.healing_index >= index:
            # It held it, lost it, and will not vote before it holds it again.
            return True
        if index < storage.first_index():
            return storage.snapshot().index >= index
        return index <= storage.last_index() and storage.term(index) == term

    def members_at(self, applied: int) -> Configuration:
        """The members in force after `applied`."""
        at = max(index for index in self._members_at if index <= applied)
        return configuration_of(self._members[at])

    def on_pre_vote(self, node: Watched, term: int) -> None:
        """A node was asked whether it would vote."""
        _require(node.raft.term == term, f"pre-vote: it changed the term of {node.id}")

    def on_timeout_now(self, leader: Watched, to: NodeId) -> None:
        """A leader tells another to take over (thesis, 3.10: it has all the log by then)."""
        known = leader.raft.progress.get(to)
        _require(
            known is None
            # Given up meanwhile, and the log has grown while the word waited to leave.
            or leader.raft.transferee != to
            or known.match == leader.raft.log.last_index(),
            f"transfer: {leader.id} hands over to {to}, which lags",
        )

    def on_batch(self, node: Watched, batch: Ready) -> None:
        """A node hands out entries to be stored."""
        if not batch.entries:
            return
        log = node.raft.log
        first = batch.entries[0]
        seen = self._seen[node.id]
        if node.raft.role is Role.LEADER and first.term == seen.lead_term and seen.last:
            _require(
                first.index > seen.last or first.term != node.raft.term,
                f"leader append-only: {node.id} rewrites {first.index}",
            )
        seen.last = batch.entries[-1].index if node.raft.role is Role.LEADER else 0
        term_before = log.term(first.index - 1) if first.index >= log.first_index() else -1
        for entry in batch.entries:
            key = (entry.term, entry.index)
            known = self._before.setdefault(key, (term_before, entry.data))
            _require(
                term_before < 0 or known[0] < 0 or known == (term_before, entry.data),
                f"log matching: {node.id} has another {entry.term}/{entry.index}",
            )
            term_before = entry.term

    def on_apply(self, node: Watched, entry: Entry) -> None:
        """A node applies an entry."""
        known = self._applied.setdefault(entry.index, (entry.term, entry.data))
        _require(
            known == (entry.term, entry.data),
            f"state machine safety: {node.id} applies another entry at {entry.index}",
        )

    def on_members(self, node: Watched, index: int, state: ConfState) -> None:
        """The members on a node after it applied a configuration entry at `index`."""
        if index not in self._members:
            self._members[index] = state
            self._members_at.append(index)
        self._same_members(node, index, state)

    def on_restored(self, node: Watched, index: int, state: ConfState) -> None:
        """The members on a node that starts from a snapshot at `index`."""
        at = max(known for known in self._members_at if known <= index)
        self._same_members(node, at, state)

    def _same_members(self, node: Watched, index: int, state: ConfState) -> None:
        _require(
            self._members[index] == state,
            f"state machine safety: members of {node.id} after {index}: {state}",
        )

    def on_effect(self, name: bytes, result: bytes) -> None:
        """A command took effect on some node, with this result."""
        known = self._effects.setdefault(name, result)
        _require(known == result, f"exactly-once: {name!r} took effect twice")

    def on_write_acknowledged(self, name: bytes, result: bytes) -> None:
        """A client was told that its command is done."""
        known = self._effects.get(name)
        _require(known == result, f"exactly-once: {name!r} acknowledged with another result")
        self.floor = max(self.floor, int(result))

    def on_read(self, floor: int, length: int) -> None:
        """A client's read, begun when `floor` had to be seen, saw `length`."""
        _require(length >= floor, f"linearizable reads: saw {length} after {floor} was known")
        self.floor = max(self.floor, length)
