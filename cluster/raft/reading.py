"""Heartbeats, and what they prove: that reads are not stale, and for how long they stay so.

Every broadcast of heartbeats is a numbered round; answers name the round and the time, on the
leader's own clock, at which it was SENT. From the answers two things follow:

* ReadIndex (thesis, 6.4). A read that came before round r was sent may be served at the commit
  index it found, once a quorum has answered r or later: at the time of sending nobody else had
  been elected. The leader must first have committed an entry of its own term, else its commit
  index may be behind. All reads that come between two batches share one round.
* Leases (thesis, 6.4.1). A follower that answered helps nobody else to win for `guard_ms` after
  it heard the heartbeat, which was not before it was sent. So until (sending of the latest round
  that a quorum answered) + `lease_ms` no other leader can exist, and reads need no round at all.
  The sum is taken on readings of the driver's clock when the read comes, never on ticks: a leader
  that was paused finds its lease run out (etcd issue #20418 is the other way). The clock must count
  suspension (CLOCK_BOOTTIME); wall clocks play no part. A leader that told another node to take
  over has given up its lease for the rest of its term, for that node's votes are given regardless.
  A node that starts counts as having heard a leader just then: it forgot what it promised.
"""

from cluster.base.errors import ReadRefused
from cluster.base.ids import NO_NODE, NodeId
from cluster.raft.messages import Message, MessageType, ReadState, Role
from cluster.raft.quorum import majority_reached
from cluster.raft.state import RaftState

_NEVER = -(2**62)


class Heartbeats(RaftState):
    """Rounds of heartbeats, reads that wait for them, and leases drawn from them."""

    def broadcast_heartbeats(self) -> None:
        """Send a new round to every member."""
        self.round += 1
        for node in self.progress:
            if node != self.id:
                self._send_heartbeat(node)

    def _send_heartbeat(self, to: NodeId) -> None:
        raise NotImplementedError

    def own_reading(self, message: Message) -> int:
        """What the answer to a heartbeat says of this node's clock; see `follower_leases`."""
        raise NotImplementedError

    def _on_heartbeat(self, message: Message) -> None:
        # What is still missing here cannot be committed here; the rest is known to match.
        commit = min(message.commit, self.log.last_index()) if self.is_healing else message.commit
        self.log.commit_to(commit)
        answer = Message(
            MessageType.HEARTBEAT_RESP,
            message.sender,
            context=message.context,
            round=message.round,
            sent_ms=message.sent_ms,
            reject_hint=self.log.last_index() if self.is_healing else 0,
            healing=self.is_healing,
            own_ms=self.own_reading(message),
        )
        self.send(answer)

    def _on_round_answered(self, message: Message) -> None:
        progress = self.progress[message.sender]
        if message.round > progress.acked_round:
            progress.acked_round = message.round
            progress.acked_sent_ms = message.sent_ms
            self._confirm_reads()

    def quorum_value(self, values: dict[NodeId, int]) -> int:
        """The greatest value that a quorum of both halves has reached."""
        configuration = self.configuration
        reached = majority_reached([values[node] for node in configuration.incoming])
        if configuration.outgoing:
            outgoing = majority_reached([values[node] for node in configuration.outgoing])
            reached = min(reached, outgoing)
        return reached

    @property
    def has_committed_in_term(self) -> bool:
        """Whether the commit index is known to be no older than this leader's term."""
        return self.log.matches(self.log.committed, self.term)

    def lease_holds(self) -> bool:
        """Whether no other leader can exist at this reading of the clock."""
        return self.now_ms < self.lease_end_ms()

    def lease_end_ms(self) -> int:
        """Up to which reading of the clock no other leader can exist; long past without a lease."""
        if not self.options.lease_ms or self.role is not Role.LEADER or self.lease_given_up:
            return _NEVER
        followed_since = {
            node: _NEVER if progress.acked_sent_ms is None else progress.acked_sent_ms
            for node, progress in self.progress.items()
        }
        followed_since[self.id] = self.now_ms
        return self.quorum_value(followed_since) + self.options.lease_ms

    def _on_read_at_leader(self, message: Message) -> None:
        waiting = len(self.reads_waiting) + len(self.reads_pending)
        if waiting >= self.options.reads_pending_max:
            if message.sender in (NO_NODE, self.id):
                raise ReadRefused(f"{waiting} reads wait already")
            return
        if not self.has_committed_in_term:
            self.reads_waiting.append(message)
        elif self.configuration.voters == {self.id} or self.lease_holds():
            self._answer_read(message, self.log.committed)
        else:
            self.reads_pending.append((self.round + 1, self.log.committed, message))

    def send_wanted_round(self) -> None:
        """Send the round that the reads of this batch wait for, if any do."""
        if self.reads_pending and self.reads_pending[-1][0] > self.round:
            self.broadcast_heartbeats()

    def release_waiting_reads(self) -> None:
        """This leader has committed in its term: take up the reads that came before."""
        if not self.reads_waiting or not self.has_committed_in_term:
            return
        waiting, self.reads_waiting = self.reads_waiting, []
        for message in waiting:
            self._on_read_at_leader(message)

    def _confirm_reads(self) -> None:
        if not self.reads_pending:
            return
        rounds = {node: progress.acked_round for node, progress in self.progress.items()}
        rounds[self.id] = self.round
        confirmed = self.quorum_value(rounds)
        count = 0
        for wanted, index, message in self.reads_pending:
            if wanted > confirmed:
                break
            self._answer_read(message, index)
            count += 1
        del self.reads_pending[:count]

    def _answer_read(self, message: Message, index: int) -> None:
        if message.sender in (NO_NODE, self.id):
            self.read_states.append(ReadState(index, message.context))
        else:
            self.send(
                Message(
                    MessageType.READ_INDEX_RESP,
                    message.sender,
                    index=index,
                    context=message.context,
                )
            )
