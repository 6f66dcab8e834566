"""Elections: pre-vote, vote, leadership, check-quorum, transfer.

A node that misses its leader first asks whether it WOULD be elected (pre-vote, thesis 9.6) and
raises its term only then, so that one behind a broken link does not depose a working leader when
the link mends. Check-quorum (6.2) is the other half: a leader that cannot hear a quorum steps down,
and followers who hear their leader ignore elections. Each without the other leaves a cluster
leaderless under partial connectivity (reference case: six hours, 2020); they belong together.
A vote is for one node per term, is on disk before it leaves, and goes only to a log at least as
good as ours (3.6.1). A node that lost entries it may have acknowledged does not stand, and votes
only as if it still had them.
"""

from cluster.base.ids import NO_NODE, NodeId
from cluster.raft.messages import Entry, EntryKind, Message, MessageType, Role
from cluster.raft.options import UNLIMITED
from cluster.raft.quorum import VoteResult, vote_result
from cluster.raft.replication import Replication


class Elections(Replication):
    """Who leads."""

    def campaign(self, *, transfer: bool = False) -> bool:
        """Stand for election; False when this node may not."""
        if self.role is Role.LEADER or not self.is_promotable:
            return False
        if self.is_guarded and not transfer:
            return False
        if self._has_unapplied_conf_change():
            return False
        if self.options.pre_vote and not transfer:
            self._ask_for_votes(MessageType.PRE_VOTE, transfer=False)
        else:
            self._ask_for_votes(MessageType.VOTE, transfer=transfer)
        return True

    def _has_unapplied_conf_change(self) -> bool:
        """Whether a committed change of members has not reached us: we may not even be a voter."""
        log = self.log
        if log.applied >= log.committed:
            return False
        low = max(log.applied + 1, log.first_index())
        entries = log.slice(low, log.committed + 1, UNLIMITED)
        return any(entry.kind is not EntryKind.NORMAL for entry in entries)

    def _ask_for_votes(self, kind: MessageType, *, transfer: bool) -> None:
        if kind is MessageType.PRE_VOTE:
            self._become_pre_candidate()
            term = self.term + 1
            answer = MessageType.PRE_VOTE_RESP
        else:
            self._become_candidate()
            term = self.term
            answer = MessageType.VOTE_RESP
        last = self.log.last_id()
        for node in sorted(self.configuration.voters):
            if node == self.id:
                # Our own vote counts when it is on disk, like anyone's.
                self.send(Message(answer, self.id, term=term))
                continue
            self.send(
                Message(
                    kind,
                    node,
                    term=term,
                    index=last.index,
                    log_term=last.term,
                    transfer=transfer,
                )
            )

    def _become_pre_candidate(self) -> None:
        assert self.role is not Role.LEADER
        self.votes = {}
        self.leader = NO_NODE
        self.role = Role.PRE_CANDIDATE

    def _become_candidate(self) -> None:
        assert self.role is not Role.LEADER
        is_first = self.is_first_candidacy
        self.reset(self.term + 1)
        self.vote = self.id
        self.role = Role.CANDIDATE
        self.is_first_candidacy = False
        if is_first:
            # Two that stood at one moment took each other's votes, and nobody is told: a vote takes
            # some milliseconds, so neither waits as long again as for a leader. Only once, for
            # where a vote takes longer the next ones must have the time.
            ticks = self.options.election_ticks
            self.election_timeout = max(1, ticks // 4) + self.options.draw(max(1, ticks // 2))

    def _become_leader(self) -> None:
        assert self.role is not Role.FOLLOWER
        self.reset(self.term)
        self.leader = self.id
        self.role = Role.LEADER
        own = self.progress[self.id]
        own.become_replicate()
        own.recent_active = True
        # Some entry of the log may be a change of members that is not applied; this bounds it.
        self.pending_conf_index = self.log.last_index()
        appended = self.append_own((Entry(0, 0),))
        assert appended, "an empty entry is never refused"

    def _on_vote_request(self, message: Message) -> None:
        if self.is_guarded and not message.transfer:
            # Of a higher term it would not have come here; ours may have been raised meanwhile, by
            # an answer to what we sent when we led.
            return
        pre = message.type is MessageType.PRE_VOTE
        may_vote = (
            self.vote == message.sender
            or (self.vote == NO_NODE and self.leader == NO_NODE)
            or (pre and message.term > self.term)
        )
        answer = MessageType.PRE_VOTE_RESP if pre else MessageType.VOTE_RESP
        if may_vote and self._may_follow(message):
            self.send(Message(answer, message.sender, term=message.term))
            if not pre:
                self.election_elapsed = 0
                self.vote = message.sender
        else:
            # Of our own term or, where a group begins with a log and no term, of the log's.
            term = max(self.term, self.log.last_id().term)
            self.send(Message(answer, message.sender, term=term, reject=True))

    def _may_follow(self, message: Message) -> bool:
        """Whether the candidate's log is at least as good as ours, or as ours was before it rotted.

        Compared with the lost entry a vote is the same as that of a node that never lost it.
        """
        theirs = (message.log_term, message.index)
        return self.log.is_up_to_date(*theirs) and theirs >= self.healing

    def _on_vote_answer(self, message: Message) -> None:
        self.votes.setdefault(message.sender, not message.reject)
        configuration = self.configuration
        result = vote_result(configuration.incoming, configuration.outgoing, self.votes)
        if result is VoteResult.WON:
            if self.role is Role.PRE_CANDIDATE:
                self._ask_for_votes(MessageType.VOTE, transfer=False)
            elif self._knows_own_vote():
                self._become_leader()
                self.broadcast_entries()
        elif result is VoteResult.LOST:
            self._become_follower(self.term, NO_NODE)

    def _knows_own_vote(self) -> bool:
        """Whether this candidate's term is on its own disk, which its own vote says.

        The others may have elected it before. If it led then, fell, and had forgotten the term, the
        same votes would elect it once more in it, over another log: with storage beside the core
        that takes no more than a slow disk (found by the simulation).
        """
        return self.id in self.votes

    def _on_timeout_now(self, message: Message) -> None:
        self.campaign(transfer=True)

    def check_quorum(self) -> None:
        """Step down unless a quorum was heard since the last call."""
        active = {node: known.recent_active for node, known in self.progress.items()}
        active[self.id] = True
        configuration = self.configuration
        result = vote_result(configuration.incoming, configuration.outgoing, active)
        if result is not VoteResult.WON:
            self._become_follower(self.term, NO_NODE)
            return
        for node, known in self.progress.items():
            if node != self.id:
                known.recent_active = False

    def _on_transfer_at_leader(self, message: Message) -> None:
        target = message.sender
        progress = self.progress[target]
        if progress.is_learner or target in (self.transferee, self.id):
            return
        self.transferee = target
        # It has one election timeout; then proposals are taken again.
        self.election_elapsed = 0
        if progress.match != self.log.last_index():
            self._send_entries(target, if_empty=True)
        elif self.holders:
            self.broadcast_heartbeats()
        else:
            self._send_timeout_now(target)

    def in_leader_lease(self) -> bool:
        """Whether this node knows a live leader and therefore ignores elections."""
        return (
            self.options.check_quorum
            and self.leader != NO_NODE
            and self.election_elapsed < self.options.election_ticks
        )

    def heard_leader(self, leader: NodeId) -> None:
        """A message of the leader of this term has come."""
        self.election_elapsed = 0
        self.is_first_candidacy = True
        self.leader = leader
        self.heard_leader_ms = self.now_ms
