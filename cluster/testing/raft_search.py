"""Exhaustive search of the real Raft core in a small scope: every order of events, none left out.

A state is all nodes (volatile and durable), and the set of messages on the way. From each state
every possible next event is tried: deliver any message (and, where the scope allows, keep it, so
that it comes again), lose any, let any node's election timer end, propose, beat, crash. States
already seen, by a 64-bit hash, are not gone through again. The scope bounds terms, log
length, messages on the way and crashes; within it, absence of a violation is a proof.

A node answers to what it is and to the event, never to the other nodes: so each step of a node is
taken once by the real core and looked up in every other state where it comes again (`_Steps`).
Nodes and messages have numbers, and a state is a few of them.

Not what `raft_world` is for: no clocks, no disks that tear, no timing. Writes are synced and
messages sent as soon as a batch is ready; crashes fall between events.
"""

import copy
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Final, NamedTuple, TypeVar

from cluster.base.errors import ProposalRefused
from cluster.base.ids import NodeId
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


Number = int
"""A node in one condition, or a message, by the order in which they were first met."""


class State(NamedTuple):
    """Everything that is: nodes in the order of their ids, messages on the way in numeric order."""

    nodes: tuple[Number, ...]
    messages: tuple[Number, ...]
    proposals: int
    crashes: int
    leaders: tuple[tuple[int, NodeId], ...]
    """(term, who led it first)."""
    committed: tuple[tuple[int, int, bytes], ...]
    """(index, term, data) of what any node has applied."""


class Event(NamedTuple):
    """What happens next: `verb` to the node at `place`, or to the message `number`."""

    verb: str
    place: int
    number: Number = 0


class _Step(NamedTuple):
    """What a node became by an event, what it sent and what it applied."""

    node: Number
    messages: tuple[Number, ...]
    committed: tuple[Entry, ...]


class _Steps:
    """The steps of single nodes that were taken so far."""

    def __init__(self, scope: Scope, bug: Bug) -> None:
        self._scope = scope
        self._bug = bug
        self.nodes: list[tuple[RaftNode, MemoryStorage]] = []
        self.messages: list[Message] = []
        self._node_numbers: dict[tuple[object, ...], Number] = {}
        self._message_numbers: dict[Message, Number] = {}
        self._steps: dict[tuple[Number, str, Number], _Step] = {}
        self._chances: dict[Number, tuple[str, ...]] = {}

    def begin(self) -> State:
        """All nodes with the same empty log."""
        voters = tuple(range(1, self._scope.nodes + 1))
        nodes = []
        for node in voters:
            storage = MemoryStorage()
            storage.apply_snapshot(Snapshot(FIRST, 1, ConfState(voters=voters), b""))
            nodes.append(self._enlist(self._start(node, storage), storage))
        return State(tuple(nodes), (), 0, 0, (), ())

    def take(self, node: Number, verb: str, detail: Number) -> _Step:
        """The step of a node; `detail` is the message, or the number of the proposal.

        Raises Violation, AssertionError.
        """
        step = self._steps.get((node, verb, detail))
        if step is None:
            step = self._steps[node, verb, detail] = self._run(node, verb, detail)
        return step

    def chances(self, node: Number) -> tuple[str, ...]:
        """What the node may do by itself, were there no bounds on proposals and crashes."""
        chances = self._chances.get(node)
        if chances is None:
            chances = self._chances[node] = tuple(self._find_chances(self.nodes[node][0]))
        return chances

    def _find_chances(self, node: RaftNode) -> Iterator[str]:
        raft = node.raft
        if raft.log.last_index() > self._scope.entries_max:
            return
        may_stand = raft.id in self._scope.standing and raft.term < self._scope.terms_max
        if may_stand and raft.role is not Role.LEADER:
            yield "stand"
        if raft.role is Role.LEADER:
            yield "propose"
            if any(p.match < raft.log.last_index() for p in raft.progress.values()):
                yield "beat"
        yield "crash"

    def _run(self, number: Number, verb: str, detail: Number) -> _Step:
        old, storage = self.nodes[number]
        storage = storage.copy()
        if verb == "crash":
            return self._work(self._start(old.raft.id, storage), storage)
        node = copy_node(old, storage)
        if verb == "deliver":
            node.step(self.messages[detail])
        elif verb == "stand":
            node.campaign()
        elif verb == "beat":
            node.raft.broadcast_entries()
        else:
            try:
                node.propose(b"p%d" % detail)
            except ProposalRefused:
                return _Step(number, (), ())
        return self._work(node, storage)

    def _work(self, node: RaftNode, storage: MemoryStorage) -> _Step:
        messages: list[Message] = []
        committed: list[Entry] = []
        while node.has_ready():
            batch = node.ready()
            if batch.entries:
                storage.append(batch.entries)
            if batch.hard_state is not None:
                storage.set_hard_state(batch.hard_state)
            committed += batch.committed
            messages += batch.messages + batch.messages_after_sync
            node.advance()
        numbers = tuple(self._number(message) for message in messages)
        return _Step(self._enlist(node, storage), numbers, tuple(committed))

    def _start(self, node: NodeId, storage: MemoryStorage) -> RaftNode:
        options = Options(
            node=node,
            draw=_no_chance,
            election_ticks=2,
            check_quorum=False,
            pre_vote=self._scope.pre_vote,
            applied=FIRST,
        )
        return self._bug.node(options, storage, core=self._bug.core)

    def _enlist(self, node: RaftNode, storage: MemoryStorage) -> Number:
        number = self._node_numbers.setdefault(_node_key(node, storage), len(self.nodes))
        if number == len(self.nodes):
            self.nodes.append((node, storage))
        return number

    def _number(self, message: Message) -> Number:
        number = self._message_numbers.setdefault(message, len(self.messages))
        if number == len(self.messages):
            self.messages.append(message)
        return number


class _Walk:
    """From one state to those that may follow."""

    def __init__(self, scope: Scope, bug: Bug) -> None:
        self._scope = scope
        self._steps = _Steps(scope, bug)
        self.start = self._steps.begin()

    def events(self, state: State) -> Iterator[Event]:
        """Every event that may happen next; none beyond the scope's length of a log."""
        chances = [self._steps.chances(node) for node in state.nodes]
        if not all(chances):
            return
        for number in dict.fromkeys(state.messages):
            to = self._steps.messages[number].to - 1
            yield Event("deliver", to, number)
            yield Event("lose", to, number)
        for place, verbs in enumerate(chances):
            for verb in verbs:
                if verb == "propose" and state.proposals >= self._scope.proposals_max:
                    continue
                if verb != "crash" or state.crashes < self._scope.crashes_max:
                    yield Event(verb, place)

    def follow(self, state: State, event: Event) -> State:
        """The state after `event`. Raises Violation, AssertionError."""
        nodes, messages, proposals, crashes, leaders, committed = state
        verb, place, number = event
        if verb in ("deliver", "lose"):
            at = messages.index(number)
            messages = messages[:at] + messages[at + 1 :]
            if verb == "lose":
                return state._replace(messages=messages)
        elif verb == "propose":
            number = proposals = proposals + 1
        elif verb == "crash":
            crashes += 1
        step = self._steps.take(nodes[place], verb, number)
        # A set, in effect: order on the way means nothing, and what is beyond the bound is lost.
        messages = tuple(sorted((messages + step.messages)[: self._scope.in_flight_max]))
        nodes = (*nodes[:place], step.node, *nodes[place + 1 :])
        committed = _with_committed(committed, step.committed, place + 1)
        leaders = self._with_leader(leaders, committed, step.node)
        return State(nodes, messages, proposals, crashes, leaders, committed)

    def _with_leader(
        self,
        leaders: tuple[tuple[int, NodeId], ...],
        committed: tuple[tuple[int, int, bytes], ...],
        number: Number,
    ) -> tuple[tuple[int, NodeId], ...]:
        raft = self._steps.nodes[number][0].raft
        if raft.role is not Role.LEADER or (raft.term, raft.id) in leaders:
            return leaders
        for term, known in leaders:
            if term == raft.term:
                raise Violation(f"election safety: {known} and {raft.id} lead term {term}")
        for index, term, _ in committed:
            if term < raft.term and not raft.log.matches(index, term):
                raise Violation(f"leader completeness: {raft.id} leads term {raft.term}")
        return tuple(sorted((*leaders, (raft.term, raft.id))))


def _with_committed(
    known: tuple[tuple[int, int, bytes], ...], entries: tuple[Entry, ...], node: NodeId
) -> tuple[tuple[int, int, bytes], ...]:
    for entry in entries:
        mine = (entry.index, entry.term, entry.data)
        if mine in known:
            continue
        if any(index == entry.index for index, _, _ in known):
            raise Violation(f"state machine safety: {node} applies another {entry.index}")
        known = tuple(sorted((*known, mine)))
    return known


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
        raft.id,
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
    walk = _Walk(scope, bug)
    seen = {hash(walk.start)}
    ways: list[tuple[int, Event]] = []  # of each state but the first: its parent's way, its event
    queue: deque[tuple[State, int]] = deque([(walk.start, -1)])
    while queue:
        state, way = queue.popleft()
        for event in walk.events(state):
            try:
                nxt = walk.follow(state, event)
            except AssertionError as found:
                path = _path(ways, way, event)
                return Found(len(seen), False, str(found) or repr(found), path)
            mark = hash(nxt)
            if mark in seen:
                continue
            seen.add(mark)
            if len(seen) >= states_max:
                return Found(len(seen), False)
            ways.append((way, event))
            queue.append((nxt, len(ways) - 1))
    return Found(len(seen), True)


def _path(ways: list[tuple[int, Event]], way: int, last: Event) -> tuple[str, ...]:
    events = [last]
    while way >= 0:
        way, event = ways[way]
        events.append(event)
    return tuple(f"{event.verb} {event.place + 1} {event.number}" for event in reversed(events))
