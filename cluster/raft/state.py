"""What a Raft node knows, and how it changes role: the ground the other parts of the core stand on.

The core is one machine in four layers, each a class upon the one before: `RaftState` (this),
`reading.Heartbeats` (rounds, reads, leases), `replication.Replication` (the log on other nodes,
commit, members), `election.Elections`, and `core.Raft`, which sorts what comes in. They share one
set of fields; the split is for the reader. Planted bugs of the simulation are subclasses of the
top that replace a method.

Messages leave by two queues. `after_sync` holds what promises something about this node's disk
(votes, acknowledged entries): it may leave only when everything handed out so far is durable
(thesis, 3.8). The rest may leave at once.
"""

from typing import NamedTuple

from cluster.base.ids import NO_NODE, NodeId
from cluster.raft.log import RaftLog
from cluster.raft.membership import Configuration, configuration_of
from cluster.raft.messages import (
    HardState,
    Message,
    MessageType,
    ReadState,
    Role,
    SoftState,
)
from cluster.raft.options import Options
from cluster.raft.progress import Progress
from cluster.raft.storage import Storage

_AFTER_SYNC = frozenset({MessageType.APP_RESP, MessageType.VOTE_RESP, MessageType.PRE_VOTE_RESP})
_TERM_AS_GIVEN = frozenset(
    {MessageType.VOTE, MessageType.VOTE_RESP, MessageType.PRE_VOTE, MessageType.PRE_VOTE_RESP}
)
_TERMLESS = frozenset({MessageType.PROP, MessageType.READ_INDEX})


class Held(NamedTuple):
    """A lease that a follower may hold: until which reading of the leader's clock, and the round
    of heartbeats that granted it."""

    until_ms: int
    round: int


class RaftState:
    """The fields of a node, sending, and becoming follower."""

    def __init__(self, options: Options, storage: Storage) -> None:
        self.options = options
        self.id = options.node
        self.log = RaftLog(storage, applying_bytes_max=options.applying_bytes_max)
        hard_state, conf_state = storage.initial_state()
        self.term = hard_state.term
        self.vote = hard_state.vote
        self.healing = (hard_state.healing_term, hard_state.healing_index)
        """The last entry acknowledged once and lost; (0, 0) when nothing is missing."""
        # The stored commit index is a hint and may lag behind what was applied from it.
        self.log.commit_to(max(hard_state.commit, options.applied))
        if options.applied:
            self.log.applied_to(options.applied, 0)
        self.leader: NodeId = NO_NODE
        self.role = Role.FOLLOWER
        self.now_ms = options.now_ms
        self.heard_leader_ms = options.now_ms
        """When a leader was last heard; what was heard before the start is forgotten, hence now."""
        self.messages: list[Message] = []
        self.after_sync: list[Message] = []
        self.read_states: list[ReadState] = []
        self.votes: dict[NodeId, bool] = {}
        self.election_elapsed = 0
        self.heartbeat_elapsed = 0
        self.election_timeout = 0
        self.is_first_candidacy = True
        """This node has not stood for election since it heard a leader."""
        self.transferee: NodeId = NO_NODE
        self.lease_given_up = False
        """In this term another node was told to take over, so followers may vote at any moment."""
        self.pending_conf_index = 0
        """No change of members is proposed before this index is applied."""
        self.uncommitted_bytes = 0
        self.proposals_refused = 0
        """Proposals of other nodes that were not taken; their senders are not told."""
        self.round = 0
        """Rounds of heartbeats sent in this term."""
        self.reads_waiting: list[Message] = []
        """Reads that came before this leader committed an entry of its term."""
        self.reads_pending: list[tuple[int, int, Message]] = []
        """Reads to be confirmed, each with the round that does it and the index it was given."""
        self.holders: dict[NodeId, Held] = {}
        """Without whom this leader commits nothing, since they may read alone."""
        self.barred_until_ms: dict[NodeId, int] = {}
        """Who gets no lease up to that reading of the clock."""
        self.takes_leases = True
        self.lease_until_ms = 0
        """Up to that reading of its clock this follower may read alone."""
        self.lease_round = 0
        """Grants of this round of the term and earlier ones come too late."""
        self._set_configuration(configuration_of(conf_state), {})
        self._become_follower(self.term, NO_NODE)

    def _set_configuration(
        self, configuration: Configuration, progress: dict[NodeId, Progress]
    ) -> None:
        self.configuration = configuration
        last_index = self.log.last_index()
        self.progress = {
            node: progress.get(node) or self._new_progress(node, last_index)
            for node in sorted(configuration.members)
        }
        self.is_learner = self.id in configuration.learners

    def _new_progress(self, node: NodeId, last_index: int) -> Progress:
        return Progress(
            next_index=last_index + 1,
            inflight_max=self.options.inflight_max,
            inflight_bytes_max=self.options.inflight_bytes_max,
            is_learner=node in self.configuration.learners,
        )

    @property
    def soft_state(self) -> SoftState:
        """Who leads and what this node is."""
        return SoftState(self.leader, self.role)

    @property
    def hard_state(self) -> HardState:
        """What has to be on disk."""
        return HardState(self.term, self.vote, self.log.committed, *self.healing)

    @property
    def is_healing(self) -> bool:
        """Whether this node lacks entries that it may have acknowledged."""
        return self.healing != (0, 0)

    @property
    def is_promotable(self) -> bool:
        """Whether it may stand for election: a voter, whole, with no snapshot half written."""
        return (
            self.id in self.progress
            and not self.is_learner
            and not self.is_healing
            and self.log.unstable.snapshot is None
        )

    @property
    def is_guarded(self) -> bool:
        """Whether a leader may still hold a lease that counts on this node's silence."""
        return self.now_ms < self.heard_leader_ms + self.options.guard_ms

    def send(self, message: Message) -> None:
        """Queue `message` under this node's name and, unless it has one, its term."""
        kind = message.type
        if kind in _TERM_AS_GIVEN:
            assert message.term, "an election message needs its term"
            message = Message(kind, message.to, self.id, *message[3:])
        elif kind in _TERMLESS:
            message = message._replace(sender=message.sender or self.id)
        else:
            message = Message(kind, message.to, self.id, self.term, *message[4:])
        if kind in _AFTER_SYNC:
            self.after_sync.append(message)
        else:
            assert message.to != self.id, "a message to itself waits for the disk"
            self.messages.append(message)

    def reset(self, term: int) -> None:
        """Begin a term, or a new role in it: nothing is known of the others."""
        if self.term != term:
            self.term = term
            self.vote = NO_NODE
            self.lease_given_up = False
            self.lease_round = 0
        self.lease_until_ms = 0
        self.holders = {}
        self.barred_until_ms = {}
        self.leader = NO_NODE
        self.election_elapsed = 0
        self.heartbeat_elapsed = 0
        ticks = self.options.election_ticks
        self.election_timeout = ticks + self.options.draw(ticks)
        self.transferee = NO_NODE
        self.votes = {}
        last_index = self.log.last_index()
        for node in self.progress:
            progress = self._new_progress(node, last_index)
            if node == self.id:
                progress.match = last_index
            self.progress[node] = progress
        self.pending_conf_index = 0
        self.uncommitted_bytes = 0
        self.round = 0
        self.reads_waiting = []
        self.reads_pending = []

    def _become_follower(self, term: int, leader: NodeId) -> None:
        if self.role is Role.LEADER and self.options.follower_leases:
            # Followers may read alone still: this node, too, must elect nobody for so long.
            self.heard_leader_ms = self.now_ms
        self.reset(term)
        self.leader = leader
        self.role = Role.FOLLOWER
