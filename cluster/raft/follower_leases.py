"""Leases for followers: a node that does not lead reads alone, because nothing commits without it.

Picture: a landlord who promises a tenant not to repaint before the tenant has seen the colour. The
leader grants a follower a lease; as long as it runs, the leader commits nothing that this follower
does not hold on its disk, and it grants none to a follower that lacks anything committed. So
whatever was acknowledged to anybody lies in the follower's log, and once it has applied the end of
its log its state machine is current. It asks nobody.

The clocks. With each answer to a heartbeat a follower sends the reading of its own clock, and the
grant names that reading and how long, from it on, the lease runs. The leader reckons that length
from when the answer reached it to the end of its own lease (`reading`), shortened by what two
clocks may differ in rate. The answer left before it arrived, so the follower's lease ends before
the leader's: as long as it runs there is no other leader who knows nothing of it.

What follows from that:

* A reading comes back to the process that sent it, or counts for nothing: the clock of a machine
  that was started anew begins anew.
* A grant is for one term, and the rounds of grants only rise: one that was overtaken is dropped.
* A leader that is told to hand over takes the leases back first, or waits until they have run out:
  the next one may be elected at once and knows nothing of them.
* A follower that is gone holds up commits until its lease has run out, once: then it gets none for
  a while. Neither does one whose answers take long or whose log lags behind that of a quorum.

Source: Moraru, Andersen, Kaminsky, "Paxos Quorum Leases" (SoCC 2014), with the leader's own lease
(Ongaro's thesis, 6.4.1) in place of the quorum of grantors.
"""

from typing import Final

from cluster.base.ids import NO_NODE, NodeId
from cluster.raft.messages import Message, MessageType, Role
from cluster.raft.options import LEASE_MARGIN_MS, UNLIMITED
from cluster.raft.progress import LeaseAsked, Progress, ProgressState
from cluster.raft.reading import Heartbeats
from cluster.raft.state import Held

_TAKE_BACK: Final = -1
"""In place of a length: give back what you have."""

_BARRED_LEASES: Final = 10
"""For so many times the length of a lease a follower gets none after it has held up commits."""

_ROUNDS_OLD_MAX: Final = 2
"""An answer to an earlier round than that is no sign of a follower that is well."""


class FollowerLeases(Heartbeats):
    """Both sides of leases for followers; nothing of it without `Options.follower_leases`."""

    # Leader.

    def lease_for(self, to: NodeId, progress: Progress) -> tuple[int, int]:
        """What the heartbeat of this round grants: the follower's own reading, and how long from
        it on, in ms; (0, 0) for nothing."""
        if self.transferee or self.lease_given_up:
            return (0, _TAKE_BACK) if to in self.holders else (0, 0)
        asked = progress.lease_asked
        if asked is None or not self._may_hold(to, progress, asked):
            return 0, 0
        until_ms = self.lease_end_ms()
        drift = self.options.clock_drift_ratio_max
        length_ms = int((until_ms - asked.heard_ms) * (1 - drift) / (1 + drift)) - LEASE_MARGIN_MS
        if length_ms <= 0 or until_ms <= self.now_ms:
            return 0, 0
        held = self.holders.get(to)
        if held is not None:
            until_ms = max(until_ms, held.until_ms)
        self.holders[to] = Held(until_ms, self.round)
        return asked.own_ms, length_ms

    def _may_hold(self, node: NodeId, progress: Progress, asked: LeaseAsked) -> bool:
        return (
            self.has_committed_in_term
            and asked.round >= self.round - _ROUNDS_OLD_MAX
            and progress.state is ProgressState.REPLICATE
            and progress.match >= max(self.log.committed, self.quorum_index())
            and self.now_ms >= self.barred_until_ms.get(node, self.now_ms)
        )

    def quorum_index(self) -> int:
        """The last index that a quorum of both halves has on disk."""
        return self.quorum_value({node: known.match for node, known in self.progress.items()})

    def holders_index(self) -> int:
        """The last index that everyone has on disk who may read by a lease."""
        reached = UNLIMITED
        for node, held in list(self.holders.items()):
            progress = self.progress.get(node)
            match = 0 if progress is None else progress.match
            if self.now_ms < held.until_ms:
                reached = min(reached, match)
                continue
            del self.holders[node]
            if match < self.quorum_index():
                patience_ms = _BARRED_LEASES * self.options.lease_ms
                self.barred_until_ms[node] = self.now_ms + patience_ms
        return reached

    def _on_round_answered(self, message: Message) -> None:
        super()._on_round_answered(message)
        if not self.options.follower_leases:
            return
        progress = self.progress[message.sender]
        held = self.holders.get(message.sender)
        if not message.own_ms:
            progress.lease_asked = None
            if held is not None and message.round >= held.round:
                del self.holders[message.sender]
        elif self.now_ms - message.sent_ms <= self.options.lease_round_trip_ms_max:
            progress.lease_asked = LeaseAsked(message.own_ms, self.now_ms, message.round)

    # Follower.

    def refuse_leases(self) -> None:
        """Take none from now on, and give back at the next heartbeat what is held: this node is
        about to stop."""
        self.takes_leases = False
        self.lease_until_ms = 0

    def own_reading(self, message: Message) -> int:
        """Take what a heartbeat grants; the reading of the clock for its answer, 0 to say that no
        lease is held and none of an earlier round will be taken."""
        if not self.options.follower_leases:
            return 0
        if not self.takes_leases or self.is_healing or message.lease_ms == _TAKE_BACK:
            self.lease_until_ms = 0
            self.lease_round = max(self.lease_round, message.round)
            return 0
        if (
            message.lease_ms
            and message.round > self.lease_round
            and self.options.now_ms < message.own_ms <= self.now_ms
        ):
            self.lease_round = message.round
            self.lease_until_ms = message.own_ms + message.lease_ms
        return self.now_ms

    def follower_lease_index(self) -> int | None:
        """From which index on this follower may serve reads; None without a lease that runs."""
        if (
            self.role is not Role.FOLLOWER
            or self.leader == NO_NODE
            or self.now_ms >= self.lease_until_ms
        ):
            return None
        return self.log.last_index()

    # Both.

    def _send_heartbeat(self, to: NodeId) -> None:
        progress = self.progress[to]
        # Never beyond what is known to match: behind it the member's log may be another's.
        commit = min(progress.match, self.log.committed)
        own_ms, lease_ms = self.lease_for(to, progress) if self.options.follower_leases else (0, 0)
        self.send(
            Message(
                MessageType.HEARTBEAT,
                to,
                commit=commit,
                round=self.round,
                sent_ms=self.now_ms,
                own_ms=own_ms,
                lease_ms=lease_ms,
            )
        )
        progress.sent_commit_index(commit)
