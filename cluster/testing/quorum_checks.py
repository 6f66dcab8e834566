"""Random histories for the decisions about object bytes, checked against what must hold.

What it is not: no network and no disk. Each check plays one seed: it makes up what happens to the
replicas, tells the core, does what the core says, and knows all along what is true. A broken rule
is an AssertionError. `cluster.testing.quorum_bugs` has cores that must be found out.
"""

from collections.abc import Callable
from dataclasses import dataclass
from heapq import heappop, heappush
from random import Random
from typing import Final

from cluster.base.ids import NodeId
from cluster.quorum.hedging import HedgeBudget
from cluster.quorum.hints import Admission, HintBook
from cluster.quorum.latencies import Latencies
from cluster.quorum.reading import Close, Fault, Open, Outcome, ReadPlan, order_nodes
from cluster.quorum.writing import ReplicaSets, Verdict, WriteQuorum

BLOCK: Final = 10
"""Bytes of a block in the made-up blobs: damage is per block, and a piece never spans two."""


# Writes.


def check_write(core: type[WriteQuorum], seed: int) -> None:
    """One write with random streams; raises AssertionError."""
    random = Random(seed)
    sets = _replica_sets(random)
    quorum = core(sets, sync_patience_s=5.0, straggler_patience_s=3.0)
    run = _Write(quorum, sets, random)
    for _ in range(60):
        run.step()
    run.finish()


def _replica_sets(random: Random) -> ReplicaSets:
    nodes = range(1, random.randint(1, 6) + 1)
    sets = []
    for _ in range(random.choice((1, 1, 2))):
        members = tuple(random.sample(nodes, random.randint(1, len(nodes))))
        sets.append((members, len(members) // 2 + 1))
    return tuple(sets)


class _Write:
    """What is true of one write, and what its core was told."""

    def __init__(self, quorum: WriteQuorum, sets: ReplicaSets, random: Random) -> None:
        self.quorum = quorum
        self.sets = sets
        self.random = random
        self.now_s = 0.0
        self.opened: set[NodeId] = set()
        self.synced: set[NodeId] = set()
        self.failed: set[NodeId] = set()
        self.hinted: list[NodeId] = []
        self.sealed_s: float | None = None
        self.verdict = Verdict.WAITING

    def step(self) -> None:
        """One thing happens."""
        node = self.random.choice(self.quorum.nodes)
        kind = self.random.choice(("open", "sync", "sync", "fail", "slow", "seal", "time"))
        is_pending = node not in self.synced | self.failed
        if kind == "open":
            self.opened.add(node)
            self.quorum.on_opened(node)
        elif kind == "sync" and node in self.opened and self.sealed_s is not None:
            if is_pending:
                self.synced.add(node)
            self.quorum.on_synced(node, self.now_s)
        elif kind == "fail" and self.random.random() < 0.4:
            if is_pending:
                self.failed.add(node)
            self.quorum.on_failed(node, self.now_s)
        elif kind == "slow" and node in self.quorum.pending:
            self.slow(node)
        elif kind == "seal" and self.sealed_s is None:
            self.sealed_s = self.now_s
            self.quorum.on_sealed(self.now_s)
        elif kind == "time":
            self.pass_time(self.now_s + self.random.random())
        self.look()

    def slow(self, node: NodeId) -> None:
        """A stream stalls: it may be left behind only when the others are enough."""
        others = self.opened - self.failed - {node}
        is_left = self.quorum.on_slow(node, self.now_s)
        assert is_left == self.satisfied(others | self.synced), "left behind, and needed"
        if is_left:
            self.failed.add(node)

    def pass_time(self, now_s: float) -> None:
        """The clock goes on; whoever is late at a deadline has failed."""
        self.now_s = now_s
        before = set(self.quorum.pending)
        is_due = self.quorum.wake_at_s <= now_s
        self.quorum.on_time(now_s)
        late = before - set(self.quorum.pending)
        assert not late or is_due, "nobody is late before the deadline"
        self.failed |= late - self.synced

    def finish(self) -> None:
        """Everything that can happen has happened."""
        if self.sealed_s is None:
            self.sealed_s = self.now_s
            self.quorum.on_sealed(self.now_s)
        for _ in range(2):
            self.pass_time(self.now_s + 10.0)
            self.look()
        assert not self.quorum.pending, "nobody is waited for without end"
        assert self.verdict is not Verdict.WAITING, "a write ends"
        if self.verdict is Verdict.ENOUGH:
            assert set(self.hinted) | self.synced == set(self.quorum.nodes), "owed and not hinted"

    def look(self) -> None:
        """What must hold at any moment."""
        verdict = self.quorum.verdict
        if self.verdict is not Verdict.WAITING:
            assert verdict is self.verdict, "a verdict is final"
        elif verdict is Verdict.ENOUGH:
            assert self.satisfied(self.synced), "acknowledged without a quorum of syncs"
        else:
            assert not self.satisfied(self.synced), "enough, and not said"
        hopeless = not self.satisfied(set(self.quorum.nodes) - self.failed)
        if self.verdict is Verdict.WAITING:
            assert (verdict is Verdict.HOPELESS) == hopeless, "hopeless or not"
        self.verdict = verdict
        hints = self.quorum.take_hints()
        assert not hints or verdict is Verdict.ENOUGH, "a hint for what was not acknowledged"
        assert not self.synced.intersection(hints), "a hint to a node that has the bytes"
        self.hinted += hints
        assert len(set(self.hinted)) == len(self.hinted), "hinted once"
        if verdict is Verdict.ENOUGH:
            assert self.failed <= set(self.hinted), "a failure that nobody is told of"

    def satisfied(self, nodes: set[NodeId]) -> bool:
        """Whether these nodes are enough in every set."""
        return all(len(nodes & set(members)) >= needed for members, needed in self.sets)


# Reads.


@dataclass(slots=True)
class Replica:
    """One made-up replica: how long a piece takes, which blocks are bad, when it breaks."""

    has_blob: bool
    delay_s: float
    damaged: set[int]
    breaks_at: int | None


@dataclass(frozen=True, slots=True)
class ReadRules:
    """Parts of the driver that a planted bug replaces."""

    plan: type[ReadPlan] = ReadPlan
    budget: Callable[[float], HedgeBudget] = HedgeBudget
    checks_blocks: bool = True


def check_reads(rules: ReadRules, seed: int) -> None:
    """Some reads one after the other, with the same budget; raises AssertionError."""
    random = Random(seed)
    share = random.choice((0.0, 0.1, 0.5))
    budget, latencies = rules.budget(share), Latencies()
    hedges = 0
    now_s = 0.0
    for reads in range(1, 41):
        run = _Read(rules, random, budget, latencies, now_s)
        run.play()
        hedges += run.plan.hedges
        now_s = run.now_s + 0.01
        assert hedges <= share * reads + 1e-9, "more hedges than their share"


class _Read:
    """One read over made-up replicas on a heap of events."""

    def __init__(
        self,
        rules: ReadRules,
        random: Random,
        budget: HedgeBudget,
        latencies: Latencies,
        now_s: float,
    ) -> None:
        self.rules = rules
        self.now_s = now_s
        size = random.randint(1, 8) * BLOCK
        self.start, self.end = sorted((random.randrange(size + 1), random.randrange(size + 1)))
        self.replicas = {node: _replica(random, size) for node in range(1, random.randint(2, 6))}
        order = order_nodes(
            tuple(self.replicas), is_alive=lambda _: True, latencies=latencies, now_s=now_s
        )
        self.plan = rules.plan(
            order,
            start=self.start,
            end=self.end,
            latencies=latencies,
            budget=budget,
            now_s=now_s,
        )
        self.taken = self.start
        self.open: dict[int, tuple[NodeId, int]] = {}
        self.heap: list[tuple[float, int, int]] = []
        self.order = 0

    def play(self) -> None:
        """Reads to the end."""
        for _ in range(500):
            if self.plan.outcome is not Outcome.READING:
                break
            self.do(self.plan.on_wanted(self.now_s))
            at_s = self.heap[0][0] if self.heap else float("inf")
            if self.plan.wake_at_s <= at_s:
                self.now_s = max(self.now_s, self.plan.wake_at_s)
                self.do(self.plan.on_time(self.now_s))
            else:
                self.now_s, _, source = heappop(self.heap)
                if source in self.open:
                    self.arrive(source)
        self.check_end()

    def check_end(self) -> None:
        """Done when some replica had each block, and only then."""
        outcome = self.plan.outcome
        assert outcome is not Outcome.READING, "a read ends"
        assert (outcome is Outcome.DONE) == (self.taken == self.end), "done is all bytes"
        if outcome is Outcome.NOBODY:
            block = self.taken // BLOCK
            for replica in self.replicas.values():
                broken = replica.breaks_at is not None
                assert not replica.has_blob or block in replica.damaged or broken, "it had it"
            known = any(replica.has_blob for replica in self.replicas.values())
            assert self.plan.is_unknown == (not known), "gone is what nobody has"

    def do(self, actions: list[Open | Close]) -> None:
        """What a driver does."""
        for action in actions:
            if isinstance(action, Close):
                del self.open[action.source]
                continue
            assert action.start == self.taken, "asked from another byte than the one reached"
            nodes = [node for node, _ in self.open.values()]
            assert action.node not in nodes, "asked twice at once"
            self.open[action.source] = action.node, action.start
            assert len(self.open) <= 2, "more sources than two"
            self.later(action.source)

    def later(self, source: int) -> None:
        """The next event of a source."""
        node, _ = self.open[source]
        self.order += 1
        heappush(self.heap, (self.now_s + self.replicas[node].delay_s, self.order, source))

    def arrive(self, source: int) -> None:
        """A piece of a source arrives, or it fails."""
        node, position = self.open[source]
        replica = self.replicas[node]
        fault = None
        if not replica.has_blob:
            fault = Fault.UNKNOWN
        elif position // BLOCK in replica.damaged and self.rules.checks_blocks:
            fault = Fault.DAMAGED
        elif replica.breaks_at is not None and position >= replica.breaks_at:
            fault = Fault.BROKEN
        if fault is not None:
            del self.open[source]
            self.do(self.plan.on_failed(source, fault, self.now_s))
            return
        piece_end = min(self.end, (position // BLOCK + 1) * BLOCK)
        assert position == self.taken, "bytes twice, or left out"
        assert position // BLOCK not in replica.damaged, "damaged bytes were given out"
        self.taken = piece_end
        self.open[source] = node, piece_end
        self.do(self.plan.on_bytes(source, piece_end - position, self.now_s))
        assert self.plan.position == self.taken, "the byte reached"
        assert set(self.open) == {source}, "a source that nobody needs is left open"
        if piece_end < self.end and source in self.open:
            self.later(source)


def _replica(random: Random, size: int) -> Replica:
    blocks = size // BLOCK
    damaged = {block for block in range(blocks) if random.random() < 0.2}
    return Replica(
        has_blob=random.random() < 0.8,
        delay_s=random.choice((0.001, 0.002, 0.05, 0.5)),
        damaged=damaged if random.random() < 0.5 else set(),
        breaks_at=random.randrange(size) if random.random() < 0.2 else None,
    )


# Hints.

PARTITIONS: Final = 4


def check_hints(core: type[HintBook], seed: int) -> None:
    """Hints, deliveries and restarts of one node; raises AssertionError."""
    run = _Hints(core, Random(seed))
    for _ in range(120):
        run.step()
    run.finish()


class _Hints:
    """A disk with hints and marks, and nodes that are owed blobs."""

    def __init__(self, core: type[HintBook], random: Random) -> None:
        self.core = core
        self.random = random
        self.per_node_max, self.total_max = random.randint(0, 4), random.randint(0, 6)
        self.book = self.new_book()
        self.now_s = 0.0
        self.rows: set[tuple[NodeId, int]] = set()
        self.marks: set[tuple[NodeId, int]] = set()
        self.owed: set[tuple[NodeId, int]] = set()
        self.under_way: dict[NodeId, tuple[set[int], frozenset[int], set[int]]] = {}
        self.next_blob = 0

    def new_book(self) -> HintBook:
        """A book at its start."""
        return self.core(per_node_max=self.per_node_max, total_max=self.total_max)

    def step(self) -> None:
        """One thing happens."""
        kind = self.random.choice(("offer", "offer", "offer", "begin", "end", "restart", "back"))
        node = self.random.randint(1, 3)
        if kind == "offer":
            self.offer(node)
        elif kind == "begin":
            self.now_s += self.random.random() * 5
            for due in self.book.due(self.now_s):
                self.begin(due)
        elif kind == "end" and node in self.under_way:
            self.end(node, is_reached=self.random.random() < 0.7)
        elif kind == "restart" and self.random.random() < 0.3:
            self.restart()
        elif kind == "back":
            self.book.came_back(node)
        self.look()

    def offer(self, node: NodeId) -> None:
        """A write left a replica behind."""
        blob = self.next_blob
        self.next_blob += 1
        self.owed.add((node, blob))
        admission = self.book.offer(node, blob % PARTITIONS)
        if admission is Admission.STORE:
            self.rows.add((node, blob))
        elif admission is Admission.MARK:
            self.marks.add((node, blob % PARTITIONS))

    def begin(self, node: NodeId) -> None:
        """What is owed to a node is sent: what it will have taken over when it answers."""
        self.book.begin(node)
        blobs = {blob for each, blob in self.rows if each == node}
        marks = frozenset(partition for each, partition in self.marks if each == node)
        covered = {
            blob
            for each, blob in self.owed
            if each == node and (blob in blobs or blob % PARTITIONS in marks)
        }
        self.under_way[node] = blobs, marks, covered

    def end(self, node: NodeId, *, is_reached: bool) -> None:
        """The node answers, or does not."""
        blobs, marks, covered = self.under_way.pop(node)
        if not is_reached:
            self.book.waiting(node, self.now_s)
            return
        self.owed -= {(node, blob) for blob in covered}
        gone = self.book.removable(node, marks)
        self.rows -= {(node, blob) for blob in blobs}
        self.marks -= {(node, partition) for partition in gone}
        self.book.settled(node, stored=len(blobs), marks=gone)

    def restart(self) -> None:
        """The node that owes is killed; its disk is left."""
        self.under_way.clear()
        self.book = self.new_book()
        for node in (1, 2, 3):
            self.book.load(
                node,
                stored=sum(each == node for each, _ in self.rows),
                marks=frozenset(partition for each, partition in self.marks if each == node),
            )

    def look(self) -> None:
        """Nothing owed is forgotten, and nothing grows without a bound."""
        for node, blob in self.owed:
            is_kept = (node, blob) in self.rows or (node, blob % PARTITIONS) in self.marks
            assert is_kept, "a hint was dropped"
        assert len(self.rows) <= self.total_max, "more hints than may be"
        for node in (1, 2, 3):
            assert sum(each == node for each, _ in self.rows) <= self.per_node_max, "more for one"
        assert (self.book.stored, self.book.marked) == (len(self.rows), len(self.marks)), "counts"

    def finish(self) -> None:
        """Every node answers: all is delivered."""
        for node in list(self.under_way):
            self.end(node, is_reached=True)
        for _ in range(2):
            self.now_s += 1000.0
            for node in self.book.due(self.now_s):
                self.begin(node)
                self.end(node, is_reached=True)
        assert not self.owed, "owed for ever"
        assert not self.rows, "kept for ever"
        assert not self.marks, "marked for ever"
