"""The Raft core: sorts each message by term, then by role; ticks.

A message of a higher term makes this node a follower in it, save pre-votes, which promise nothing;
one of a lower term is ignored, or answered where silence would leave its sender stuck in the past.
What a role does with a message of its own term is a table. Nothing here raises on what a peer
sends; `ProposalRefused` and `ReadRefused` concern calls of this node's own driver.
"""

from collections.abc import Callable, Mapping

from cluster.base.errors import NoLeader, ProposalRefused, ReadRefused
from cluster.base.ids import NO_NODE
from cluster.raft.election import Elections
from cluster.raft.messages import Message, MessageType, ReadState, Role
from cluster.raft.progress import ProgressState

_T = MessageType
_ELECTION = frozenset({_T.VOTE, _T.PRE_VOTE})
_FROM_LEADER = frozenset({_T.APP, _T.HEARTBEAT, _T.SNAP})


class Raft(Elections):
    """One node of one group; driven by `node.RaftNode`."""

    def step(self, message: Message) -> None:
        """Take one message. Raises ProposalRefused or ReadRefused for this node's own requests."""
        if message.term > self.term:
            if not self._enter_higher_term(message):
                return
        elif message.term and message.term < self.term:
            self._answer_lower_term(message)
            return
        kind = message.type
        if kind in _ELECTION:
            self._on_vote_request(message)
        elif kind is _T.HUP:
            self.campaign()
        elif kind is _T.STORAGE_APPEND_RESP:
            self.on_stored(message)
        elif kind is _T.STORAGE_APPLY_RESP:
            self.on_applied(message)
        else:
            handler = _TABLES[self.role].get(kind)
            if handler is not None:
                handler(self, message)

    def _enter_higher_term(self, message: Message) -> bool:
        """Follow into the higher term; False when the message is to be ignored."""
        kind = message.type
        if kind in _ELECTION and not message.transfer and self._ignores_elections():
            return False
        if kind is _T.PRE_VOTE or (kind is _T.PRE_VOTE_RESP and not message.reject):
            return True
        leader = message.sender if kind in _FROM_LEADER else NO_NODE
        self._become_follower(message.term, leader)
        return True

    def _ignores_elections(self) -> bool:
        return self.in_leader_lease() or self.is_guarded

    def _answer_lower_term(self, message: Message) -> None:
        kind = message.type
        if kind in (_T.HEARTBEAT, _T.APP):
            # Its sender leads a term that is over, or we were cut off and it must learn ours.
            # Without either option we would stand and so tell it; while healing we never do.
            if self.options.check_quorum or self.options.pre_vote or self.is_healing:
                self.send(Message(_T.APP_RESP, message.sender))
        elif kind is _T.PRE_VOTE:
            self.send(Message(_T.PRE_VOTE_RESP, message.sender, term=self.term, reject=True))
        elif kind is _T.STORAGE_APPEND_RESP:
            # Its entries may have been replaced since; a snapshot stays what it is.
            self.on_snapshot_stored(message)
            self._check_healed()

    def tick(self) -> None:
        """One tick of the driver's clock."""
        self.election_elapsed += 1
        if self.role is not Role.LEADER:
            timed_out = self.election_elapsed >= self.election_timeout
            if timed_out and self.is_promotable and not self.is_guarded:
                self.election_elapsed = 0
                self.campaign()
            return
        self.heartbeat_elapsed += 1
        if self.election_elapsed >= self.options.election_ticks:
            self.election_elapsed = 0
            if self.options.check_quorum:
                self.check_quorum()
            if self.transferee:
                self.transferee = NO_NODE
                self.end_joint_phase()
        if self.role is Role.LEADER and self.holders:
            self.commit_without_leases()
        if self.role is Role.LEADER and self.heartbeat_elapsed >= self.options.heartbeat_ticks:
            self.heartbeat_elapsed = 0
            self.broadcast_heartbeats()

    # Leader.

    def _leader_beat(self, message: Message) -> None:
        self.broadcast_heartbeats()

    def _leader_check_quorum(self, message: Message) -> None:
        self.check_quorum()

    def _leader_proposal(self, message: Message) -> None:
        try:
            self._on_proposal_at_leader(message)
        except ProposalRefused:
            if message.sender in (NO_NODE, self.id):
                raise
            self.proposals_refused += 1

    def _leader_read(self, message: Message) -> None:
        self._on_read_at_leader(message)

    def _leader_append_answer(self, message: Message) -> None:
        if message.sender in self.progress:
            self._on_append_answer(message)

    def _leader_heartbeat_answer(self, message: Message) -> None:
        progress = self.progress.get(message.sender)
        if progress is None:
            return
        progress.recent_active = True
        progress.flow_paused = False
        if message.healing and message.reject_hint < progress.match:
            # Nothing may be under way that it could refuse: it must be able to say so here.
            progress.lost(message.reject_hint)
        probing = progress.state is ProgressState.PROBE
        if progress.match < self.log.last_index() or probing:
            self._send_entries(message.sender, if_empty=True)
        holders = len(self.holders)
        self._on_round_answered(message)
        if len(self.holders) < holders:
            self.commit_without_leases()

    def _leader_snapshot_status(self, message: Message) -> None:
        progress = self.progress.get(message.sender)
        if progress is None or progress.state is not ProgressState.SNAPSHOT:
            return
        if message.reject:
            progress.pending_snapshot = 0
        progress.become_probe()
        # Either it answers by itself soon, or the next heartbeat tries again.
        progress.flow_paused = True

    def _leader_unreachable(self, message: Message) -> None:
        progress = self.progress.get(message.sender)
        if progress is not None and progress.state is ProgressState.REPLICATE:
            # What was sent ahead is probably lost.
            progress.become_probe()

    def _leader_transfer(self, message: Message) -> None:
        if message.sender in self.progress:
            self._on_transfer_at_leader(message)

    # Candidate.

    def _candidate_leader_found(self, message: Message) -> None:
        self._become_follower(message.term, message.sender)
        self._follower_from_leader(message)

    def _candidate_answer(self, message: Message) -> None:
        self._on_vote_answer(message)

    # Follower.

    def _refuse_without_leader(self, message: Message) -> None:
        if message.sender not in (NO_NODE, self.id):
            self.proposals_refused += 1
            return
        if message.type is _T.READ_INDEX:
            raise ReadRefused("no leader is known")
        raise NoLeader("no leader is known")

    def _follower_proposal(self, message: Message) -> None:
        if self.leader == NO_NODE or not self.options.forward_proposals:
            self._refuse_without_leader(message)
        elif message.sender in (NO_NODE, self.id):
            self.send(message._replace(to=self.leader, sender=NO_NODE))
        else:
            # A proposal travels one hop: two nodes that take each other for leader must not
            # pass it to and fro.
            self.proposals_refused += 1

    def _follower_read(self, message: Message) -> None:
        if self.leader == NO_NODE:
            self._refuse_without_leader(message)
        elif message.sender in (NO_NODE, self.id):
            self.send(message._replace(to=self.leader, sender=NO_NODE))

    def _follower_from_leader(self, message: Message) -> None:
        self.heard_leader(message.sender)
        if message.type is _T.APP:
            self._on_append(message)
        elif message.type is _T.HEARTBEAT:
            self._on_heartbeat(message)
        else:
            self._on_snapshot(message)

    def _follower_transfer(self, message: Message) -> None:
        if self.leader != NO_NODE:
            target = message.sender
            forwarded = message._replace(to=self.leader, term=self.term)
            assert forwarded.sender == target
            self.messages.append(forwarded)

    def _follower_forget_leader(self, message: Message) -> None:
        # With leases it would break a promise made to the leader.
        if not self.options.lease_ms:
            self.leader = NO_NODE

    def _follower_timeout_now(self, message: Message) -> None:
        self._on_timeout_now(message)

    def _follower_read_answer(self, message: Message) -> None:
        self.read_states.append(ReadState(message.index, message.context))


_Handler = Callable[[Raft, Message], None]

_LEADER: Mapping[MessageType, _Handler] = {
    _T.BEAT: Raft._leader_beat,
    _T.CHECK_QUORUM: Raft._leader_check_quorum,
    _T.PROP: Raft._leader_proposal,
    _T.READ_INDEX: Raft._leader_read,
    _T.APP_RESP: Raft._leader_append_answer,
    _T.HEARTBEAT_RESP: Raft._leader_heartbeat_answer,
    _T.SNAP_STATUS: Raft._leader_snapshot_status,
    _T.UNREACHABLE: Raft._leader_unreachable,
    _T.TRANSFER_LEADER: Raft._leader_transfer,
}

_CANDIDATE: Mapping[MessageType, _Handler] = {
    _T.PROP: Raft._refuse_without_leader,
    _T.READ_INDEX: Raft._refuse_without_leader,
    _T.APP: Raft._candidate_leader_found,
    _T.HEARTBEAT: Raft._candidate_leader_found,
    _T.SNAP: Raft._candidate_leader_found,
    _T.VOTE_RESP: Raft._candidate_answer,
}

_PRE_CANDIDATE: Mapping[MessageType, _Handler] = {
    **{kind: handler for kind, handler in _CANDIDATE.items() if kind is not _T.VOTE_RESP},
    _T.PRE_VOTE_RESP: Raft._candidate_answer,
}

_FOLLOWER: Mapping[MessageType, _Handler] = {
    _T.PROP: Raft._follower_proposal,
    _T.READ_INDEX: Raft._follower_read,
    _T.APP: Raft._follower_from_leader,
    _T.HEARTBEAT: Raft._follower_from_leader,
    _T.SNAP: Raft._follower_from_leader,
    _T.TRANSFER_LEADER: Raft._follower_transfer,
    _T.FORGET_LEADER: Raft._follower_forget_leader,
    _T.TIMEOUT_NOW: Raft._follower_timeout_now,
    _T.READ_INDEX_RESP: Raft._follower_read_answer,
}

_TABLES: Mapping[Role, Mapping[MessageType, _Handler]] = {
    Role.FOLLOWER: _FOLLOWER,
    Role.CANDIDATE: _CANDIDATE,
    Role.LEADER: _LEADER,
    Role.PRE_CANDIDATE: _PRE_CANDIDATE,
}
