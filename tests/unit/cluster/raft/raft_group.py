"""A group of Raft nodes without faults, for tests: messages go where they are sent, at once.

Not a test. `held` names nodes that hear nothing and say nothing; the clock is set by the test.
"""

from cluster.raft.membership import ConfChange
from cluster.raft.messages import ConfState, Entry, EntryKind, Message, ReadState, Role, Snapshot
from cluster.raft.node import RaftNode
from cluster.raft.options import Options
from cluster.raft.storage import MemoryStorage

ROUNDS_MAX = 200


class Group:
    """Nodes 1 to `count` at index 1, with their storages and what they have applied."""

    def __init__(self, count: int = 3, **options: object) -> None:
        self.state = ConfState(voters=tuple(range(1, count + 1)))
        self.options = options
        self.now_ms = 1000
        self.held: set[int] = set()
        self.nodes: dict[int, RaftNode] = {}
        self.storages: dict[int, MemoryStorage] = {}
        self.applied: dict[int, list[Entry]] = {}
        self.reads: dict[int, list[ReadState]] = {}
        self.sent: list[Message] = []
        for node in self.state.voters:
            self.add(node, Snapshot(1, 1, self.state))

    def add(self, node: int, snapshot: Snapshot) -> None:
        """A node that begins from `snapshot`."""
        storage = MemoryStorage()
        storage.apply_snapshot(snapshot)
        self.storages[node] = storage
        self.start(node)

    def start(self, node: int) -> None:
        """Start a node from its storage."""
        storage = self.storages[node]
        settings = {
            "election_ticks": 10,
            "check_quorum": True,
            "pre_vote": True,
            "draw": lambda count: 0,
            "node": node,
            "applied": storage.snapshot().index,
            "now_ms": self.now_ms,
            **self.options,
        }
        self.nodes[node] = RaftNode(Options(**settings), storage)
        self.applied[node] = []
        self.reads[node] = []

    def settle(self) -> None:
        """Work off batches and deliver messages until nothing is left."""
        for _ in range(ROUNDS_MAX):
            busy = False
            for number in self.nodes:
                while self.nodes[number].has_ready():
                    self._work(number)
                    busy = True
            messages, self.sent = self.sent, []
            for message in messages:
                busy = True
                if message.to in self.nodes and message.to not in self.held:
                    self.nodes[message.to].step(message, self.now_ms)
            if not busy:
                return
        raise AssertionError("does not come to rest")

    def _work(self, number: int) -> None:
        node, storage = self.nodes[number], self.storages[number]
        batch = node.ready()
        if batch.snapshot is not None:
            storage.apply_snapshot(batch.snapshot)
        storage.append(batch.entries)
        if batch.hard_state is not None:
            storage.set_hard_state(batch.hard_state)
        if number not in self.held:
            self.sent += batch.messages + batch.messages_after_sync
        for entry in batch.committed:
            self.applied[number].append(entry)
            if entry.kind is not EntryKind.NORMAL:
                node.apply_conf_change(ConfChange.decode(entry.data))
        self.reads[number] += batch.read_states
        node.advance()

    def elect(self, node: int) -> RaftNode:
        """Make `node` the leader."""
        self.nodes[node].campaign(self.now_ms)
        self.settle()
        assert self.nodes[node].role is Role.LEADER
        return self.nodes[node]

    def tick(self, count: int = 1, *, ms: int = 10) -> None:
        """Let every node that is not held tick, settling in between."""
        for _ in range(count):
            self.now_ms += ms
            for number, node in self.nodes.items():
                if number not in self.held:
                    node.tick(self.now_ms)
            self.settle()

    def data(self, node: int) -> list[bytes]:
        """What a node has applied for its state machine."""
        return [entry.data for entry in self.applied[node] if entry.data]
