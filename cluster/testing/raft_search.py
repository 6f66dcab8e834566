"""Exhaustive search of the real Raft core in a small scope: every order of events, none left out.

A state is all nodes (volatile and durable), and the set of messages on the way. From each state
every possible next event is tried: deliver any message (and, where the scope allows, keep it, so
that it comes again), lose any, let any node's election timer end, propose, beat, crash. States
already seen, by a 64-bit hash, are not gone through again. The scope bounds terms, log
length, messages on the way and crashes; within it, absence of a violation is a proof.

Not what `raft_world` is for: no clocks, no disks that tear, no timing. Writes are synced and
messages sent as soon as a batch is ready; crashes fall between events.
"""

import copy
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Final, TypeVar

from cluster.base.errors import ProposalRefused
from cluster.base.ids import NodeId
from cluster.raft.core import Raft
from cluster.raft.messages import ConfState, Entry, Message, Role, Snapshot
from cluster.raft.node import RaftNode
from cluster.raft.options import Options
from cluster.raft.storage import MemoryStorage
from cluster.testing.raft_bugs import NO_BUG, Bug
from cluster.testing.raft_checks import Violation

_T = TypeVar("_T")

FIRST: Final = 1
"""Index of the snapshot that a group begins with."""


@dataclass(frozen=True, slots=True)
class Scope:
    """How far the search goes."""

    nodes: int = 3
    terms_max: int = 3
    """Nobody stands beyond this term."""
    entries_max: int = 4
    """Last index of any log."""
    proposals_max: int = 1
    in_flight_max: int = 3
    """More messages than this on the way at once are not explored: the newest are lost."""
    crashes_max: int = 0
    standing: frozenset[NodeId] = frozenset((1, 2, 3))
    """Who may stand for election."""
    pre_vote: bool = False


@dataclass(frozen=True, slots=True)
class Found:
    """What a search found; `path` leads to `violation`, which is empty if there is none."""

    states: int
    complete: bool
    """Whether everything in scope was seen, before the bound on states was met."""
    violation: str = ""
    path: tuple[str, ...] = field(default=())


class _Group:
    """One state that can be copied and stepped."""

    def __init__(self, scope: Scope, bug: Bug) -> None:
        self.scope = scope
        self.bug = bug
        state = ConfState(voters=tuple(range(1, scope.nodes + 1)))
        self.storages: dict[NodeId, MemoryStorage] = {}
        self.nodes: dict[NodeId, RaftNode] = {}
        self.keys: dict[NodeId, tuple[object, ...]] = {}
        self.messages: list[Message] = []
        self.proposals = 0
        self.crashes = 0
        self.leaders: dict[int, NodeId] = {}
        self.committed: dict[int, tuple[int, bytes]] = {}
        for node in state.voters:
            storage = MemoryStorage()
            storage.apply_snapshot(Snapshot(FIRST, 1, state, b""))
            self.storages[node] = storage
            self.nodes[node] = self._start(node)
            self.keys[node] = _node_key(self.nodes[node], storage)

    def _start(self, node: NodeId) -> RaftNode:
        options = Options(
            node=node,
            draw=_no_chance,
            election_ticks=2,
            check_quorum=False,
            pre_vote=self.scope.pre_vote,
            applied=FIRST,
        )
        return self.bug.node(options, self.storages[node], core=self.bug.core)

    def copy(self) -> "_Group":
        """An independent copy."""
        twin = _Group.__new__(_Group)
        twin.scope = self.scope
        twin.bug = self.bug
        twin.storages = dict(self.storages)
        twin.nodes = dict(self.nodes)
        twin.keys = self.keys
        twin.messages = list(self.messages)
        twin.proposals = self.proposals
        twin.crashes = self.crashes
        twin.leaders = self.leaders
        twin.committed = self.committed
        return twin

    def own(self, node: NodeId) -> RaftNode:
        """The node, copied so that the state this one came from keeps its own."""
        storage = self.storages[node].copy()
        self.storages[node] = storage
        self.nodes[node] = twin = copy_node(self.nodes[node], storage)
        return twin

    # Events.

    def events(self) -> Iterator[str]:
        """Every event that may happen next."""
        scope = self.scope
        for at in range(len(self.messages)):
            if self.messages[at] not in self.messages[:at]:
                yield f"deliver {at}"
                yield f"lose {at}"
        for number, node in self.nodes.items():
            raft = node.raft
            may_stand = number in scope.standing and raft.term < scope.terms_max
            if may_stand and raft.role is not Role.LEADER:
                yield f"stand {number}"
            if raft.role is Role.LEADER:
                if self.proposals < scope.proposals_max:
                    yield f"propose {number}"
                behind = any(p.match < raft.log.last_index() for p in raft.progress.values())
                if behind:
                    yield f"beat {number}"
            if self.crashes < scope.crashes_max:
                yield f"crash {number}"

    def do(self, event: str) -> None:
        """Let `event` happen. Raises Violation."""
        verb, _, text = event.partition(" ")
        number = int(text)
        if verb in ("deliver", "lose"):
            message = self.messages.pop(number)
            if verb == "lose":
                return
            number = message.to
            self.own(number).step(message)
        elif verb == "stand":
            self.own(number).campaign()
        elif verb == "beat":
            self.own(number).raft.broadcast_entries()
        elif verb == "propose":
            self.proposals += 1
            try:
                self.own(number).propose(b"p%d" % self.proposals)
            except ProposalRefused:
                return
        else:
            self.crashes += 1
            self.storages[number] = self.storages[number].copy()
            self.nodes[number] = self._start(number)
        self._work(number)

    def _work(self, number: NodeId) -> None:
        node = self.nodes[number]
        storage = self.storages[number]
        while node.has_ready():
            batch = node.ready()
            if batch.entries:
                storage.append(batch.entries)
            if batch.hard_state is not None:
                storage.set_hard_state(batch.hard_state)
            for entry in batch.committed:
                self._commit(number, entry)
            self.messages += batch.messages + batch.messages_after_sync
            node.advance()
        self.keys = {**self.keys, number: _node_key(node, storage)}
        # A set, in effect: order on the way means nothing, and what is beyond the bound is lost.
        self.messages = sorted(self.messages[: self.scope.in_flight_max])
        self._check(number)

    def _commit(self, number: NodeId, entry: Entry) -> None:
        known = self.committed.get(entry.index)
        if known is None:
            self.committed = {**self.committed, entry.index: (entry.term, entry.data)}
        elif known != (entry.term, entry.data):
            raise Violation(f"state machine safety: {number} applies another {entry.index}")

    def _check(self, number: NodeId) -> None:
        raft = self.nodes[number].raft
        if raft.role is not Role.LEADER:
            return
        known = self.leaders.get(raft.term)
        if known is None:
            self.leaders = {**self.leaders, raft.term: number}
            if len(self.leaders) and not self._has_committed(raft):
                raise Violation(f"leader completeness: {number} leads term {raft.term}")
        elif known != number:
            raise Violation(f"election safety: {known} and {number} lead term {raft.term}")

    def _has_committed(self, raft: Raft) -> bool:
        return all(
            term >= raft.term or raft.log.matches(index, term)
            for index, (term, _) in self.committed.items()
        )

    def in_scope(self) -> bool:
        """Whether to go on from here."""
        return all(
            node.raft.log.last_index() <= self.scope.entries_max for node in self.nodes.values()
        )

    def fingerprint(self) -> int:
        """What tells this state from any other."""
        parts = (
            tuple(self.keys.values()),
            tuple(self.messages),
            self.proposals,
            self.crashes,
            tuple(self.leaders.items()),
            tuple(self.committed.items()),
        )
        return hash(parts)


def _no_chance(count: int) -> int:
    return 0


def _node_key(node: RaftNode, storage: MemoryStorage) -> tuple[object, ...]:
    raft = node.raft
    leads = raft.role is Role.LEADER
    progress = tuple(
        (p.state, p.match, p.next_index, p.flow_paused, p.sent_commit, len(p.inflights))
        for p in (raft.progress.values() if leads else ())
    )
    log = storage.entries(FIRST + 1, storage.last_index() + 1, 1 << 30)
    votes = tuple(sorted(raft.votes.items())) if raft.role is not Role.FOLLOWER else ()
    return (
        raft.term,
        raft.vote,
        raft.role,
        raft.leader,
        raft.log.committed,
        log,
        votes,
        progress,
        storage.initial_state()[0],
    )


def _shallow(thing: _T) -> _T:
    twin = thing.__class__.__new__(thing.__class__)
    twin.__dict__.update(thing.__dict__)
    return twin


def copy_node(node: RaftNode, storage: MemoryStorage) -> RaftNode:
    """A node like `node` on `storage`, which holds the same; both may go on by themselves."""
    twin = _shallow(node)
    raft = twin.raft = _shallow(node.raft)
    log = raft.log = copy.copy(node.raft.log)
    log._storage = storage
    log.unstable = copy.copy(log.unstable)
    log.unstable.entries = list(log.unstable.entries)
    raft.messages = list(raft.messages)
    raft.after_sync = list(raft.after_sync)
    raft.read_states = list(raft.read_states)
    raft.votes = dict(raft.votes)
    raft.reads_waiting = list(raft.reads_waiting)
    raft.reads_pending = list(raft.reads_pending)
    # Only a leader changes progress in place; the others replace it whole.
    leads = raft.role is Role.LEADER
    raft.progress = {n: p.copy() if leads else p for n, p in raft.progress.items()}
    twin._on_advance = list(node._on_advance)
    return twin


def search(scope: Scope, *, states_max: int, bug: Bug = NO_BUG) -> Found:
    """Breadth first from the start, to the end of the scope or to `states_max` states."""
    start = _Group(scope, bug)
    seen = {start.fingerprint()}
    queue: deque[tuple[_Group, tuple[str, ...]]] = deque([(start, ())])
    while queue:
        group, path = queue.popleft()
        for event in group.events():
            nxt = group.copy()
            try:
                nxt.do(event)
            except AssertionError as found:
                return Found(len(seen), False, str(found) or repr(found), (*path, event))
            mark = nxt.fingerprint()
            if mark in seen:
                continue
            seen.add(mark)
            if len(seen) >= states_max:
                return Found(len(seen), False)
            if nxt.in_scope():
                queue.append((nxt, (*path, event)))
    return Found(len(seen), True)
