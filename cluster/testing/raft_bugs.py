"""Bugs planted into the core or its driver, to see whether the simulation finds them.

A proof by testing is worth what its tests catch. Each bug here is one that some Raft has had, or
that ours could have (`docs/understand/planted-bugs.md`); each is a subclass that replaces
one method, or a fault of the driver. `seeds_max` is the budget within which the simulation must
notice it, several times what it needed when it was planted.
"""

from dataclasses import dataclass
from typing import Final

from cluster.base.ids import APPEND_THREAD, NO_NODE, NodeId
from cluster.raft.core import Raft
from cluster.raft.membership import configuration_of
from cluster.raft.messages import (
    Entry,
    HardState,
    Message,
    MessageType,
    Ready,
    Role,
    Snapshot,
)
from cluster.raft.node import RaftNode
from cluster.raft.options import UNLIMITED, Options
from cluster.raft.progress import LeaseAsked, Progress
from cluster.raft.quorum import VoteResult, majority_reached, majority_vote
from cluster.raft.storage import Storage


@dataclass(frozen=True, slots=True)
class Bug:
    """A planted bug: a mutated core, a mutated node, or a driver told to do wrong."""

    name: str
    core: type[Raft] = Raft
    node: type[RaftNode] = RaftNode
    driver: frozenset[str] = frozenset()
    seeds_max: int = 500
    """Within so many seeds, from 0 on, the simulation must find it."""


NO_BUG: Final = Bug("none")


# What is on disk, and what leaves before it is.


class _VoteNotSaved(RaftNode):
    def ready(self) -> Ready:
        batch = super().ready()
        messages = tuple(
            message._replace(hard_state=_without_vote(message.hard_state))
            if message.to == APPEND_THREAD
            else message
            for message in batch.messages
        )
        return batch._replace(hard_state=_without_vote(batch.hard_state), messages=messages)


def _without_vote(hard_state: HardState | None) -> HardState | None:
    return None if hard_state is None else hard_state._replace(vote=NO_NODE)


class _TermNotSaved(RaftNode):
    def ready(self) -> Ready:
        batch = super().ready()
        messages = tuple(
            message._replace(hard_state=_in_old_term(message.hard_state))
            if message.to == APPEND_THREAD
            else message
            for message in batch.messages
        )
        return batch._replace(hard_state=_in_old_term(batch.hard_state), messages=messages)


def _in_old_term(hard_state: HardState | None) -> HardState | None:
    if hard_state is None:
        return None
    return hard_state._replace(term=max(0, hard_state.term - 1), vote=NO_NODE)


class _Hasty(RaftNode):
    """Lets some answers leave before what they promise is durable."""

    hurried: frozenset[MessageType]

    def ready(self) -> Ready:
        batch = super().ready()
        hurried = tuple(m for m in batch.messages_after_sync if m.type in self.hurried)
        waiting = tuple(m for m in batch.messages_after_sync if m.type not in self.hurried)
        messages: list[Message] = []
        for message in batch.messages:
            if message.to == APPEND_THREAD:
                early = [m for m in message.responses if self._is_hurried(m)]
                late = tuple(m for m in message.responses if not self._is_hurried(m))
                messages += early
                message = message._replace(responses=late)
            messages.append(message)
        return batch._replace(messages=(*messages, *hurried), messages_after_sync=waiting)

    def _is_hurried(self, message: Message) -> bool:
        return message.type in self.hurried and message.to != self.raft.id


class _VoteBeforeSync(_Hasty):
    hurried = frozenset({MessageType.VOTE_RESP})


class _AckBeforeSync(_Hasty):
    hurried = frozenset({MessageType.APP_RESP})


class _LeaderCountsUnsynced(Raft):
    def append_own(self, entries: tuple[Entry, ...]) -> bool:
        taken = super().append_own(entries)
        if taken:
            self.progress[self.id].acknowledged(self.log.last_index())
            self.try_commit()
        return taken


class _StoredAnswerOfOldTerm(Raft):
    def _answer_lower_term(self, message: Message) -> None:
        if message.type is MessageType.STORAGE_APPEND_RESP and message.index:
            unstable = self.log.unstable
            term = unstable.term(message.index)
            if term is not None:
                unstable.stable_to(message.index, term)
        super()._answer_lower_term(message)


# Votes and terms.


class _VotesTwice(Raft):
    def _on_vote_request(self, message: Message) -> None:
        self.vote = NO_NODE
        super()._on_vote_request(message)


class _VoteWithoutLogCheck(Raft):
    def _may_follow(self, message: Message) -> bool:
        return True


class _VoteOfOneHalf(Raft):
    def _on_vote_answer(self, message: Message) -> None:
        self.votes.setdefault(message.sender, not message.reject)
        incoming = self.configuration.incoming
        if majority_vote(incoming, self.votes) is VoteResult.WON:
            self.votes = dict.fromkeys(self.configuration.voters, True)
        super()._on_vote_answer(message)


class _LeadsBeforeOwnVote(Raft):
    def _knows_own_vote(self) -> bool:
        return True


class _PreVoteRaisesTerm(Raft):
    def _enter_higher_term(self, message: Message) -> bool:
        if message.type is MessageType.PRE_VOTE and not self._ignores_elections():
            self._become_follower(message.term, NO_NODE)
        return super()._enter_higher_term(message)


# Commit.


class _OldTermCommitByCount(Raft):
    def try_commit(self) -> bool:
        index = self.quorum_index()
        if index > self.log.committed:
            self.log.commit_to(index)
            return True
        return False


class _CommitOfOneHalf(Raft):
    def quorum_value(self, values: dict[NodeId, int]) -> int:
        return majority_reached(values[node] for node in self.configuration.incoming)


class _LearnerCounted(Raft):
    def quorum_value(self, values: dict[NodeId, int]) -> int:
        return majority_reached(values.values())


class _RefusalTakenForAck(Raft):
    def _on_append_refused(self, message: Message, progress: Progress) -> None:
        self._on_append_answer(message._replace(reject=False))


class _NextBelowMatch(Raft):
    """A refusal that comes late sends a leader back behind what it knows to match."""

    def _on_append_refused(self, message: Message, progress: Progress) -> None:
        super()._on_append_refused(message, progress)
        progress.next_index = max(1, min(message.index, message.reject_hint + 1))


class _HeartbeatCommitUnbounded(Raft):
    def _send_heartbeat(self, to: NodeId) -> None:
        super()._send_heartbeat(to)
        last = self.messages[-1]
        self.messages[-1] = last._replace(commit=self.log.committed)


class _AlwaysTruncates(Raft):
    def _on_append(self, message: Message) -> None:
        entries = message.entries
        if entries and message.index >= self.log.committed:
            matches = self.log.matches(message.index, message.log_term)
            if matches and self.log.matches(entries[0].index, entries[0].term):
                self.log.append(entries)
        super()._on_append(message)


# Reads.


class _LeaseForEver(Raft):
    def lease_holds(self) -> bool:
        return bool(self.options.lease_ms) and self.role is Role.LEADER


class _LeaseKeptInTransfer(Raft):
    def _send_timeout_now(self, to: NodeId) -> None:
        super()._send_timeout_now(to)
        self.lease_given_up = False


class _LeaseFromAnswer(Raft):
    """Counts the lease from when the answer came, not from when the question was sent."""

    def _on_round_answered(self, message: Message) -> None:
        super()._on_round_answered(message._replace(sent_ms=self.now_ms))


class _NoGuard(Raft):
    @property
    def is_guarded(self) -> bool:
        return False


class _GuardForgottenAtStart(Raft):
    def __init__(self, options: Options, storage: Storage) -> None:
        super().__init__(options, storage)
        self.heard_leader_ms = -(10**9)


# Leases of followers.


class _HolderNotWaitedFor(Raft):
    def holders_index(self) -> int:
        return UNLIMITED


class _HolderForgottenOnRemoval(Raft):
    def holders_index(self) -> int:
        self.holders = {node: held for node, held in self.holders.items() if node in self.progress}
        return super().holders_index()


class _LeaseCountedFromGrant(Raft):
    """A follower counts its lease from when the grant came, not from its own reading."""

    def own_reading(self, message: Message) -> int:
        return super().own_reading(message._replace(own_ms=self.now_ms))


class _LeaseForLaggard(Raft):
    def _may_hold(self, node: NodeId, progress: Progress, asked: LeaseAsked) -> bool:
        return self.has_committed_in_term


class _LeasesForgottenInTransfer(Raft):
    def _on_transfer_at_leader(self, message: Message) -> None:
        self.holders = {}
        super()._on_transfer_at_leader(message)


class _LeasesForgottenInDefeat(Raft):
    """A leader that steps down votes at once, as if no follower read by its leases."""

    def _become_follower(self, term: int, leader: NodeId) -> None:
        heard_ms = self.heard_leader_ms
        super()._become_follower(term, leader)
        self.heard_leader_ms = heard_ms


class _FollowerReadsCommitted(Raft):
    """A follower with a lease shows what it knows to be committed, not all that may be."""

    def follower_lease_index(self) -> int | None:
        index = super().follower_lease_index()
        return None if index is None else self.log.committed


class _ReadWithoutRound(Raft):
    def _on_read_at_leader(self, message: Message) -> None:
        if self.has_committed_in_term:
            self._answer_read(message, self.log.committed)
        else:
            super()._on_read_at_leader(message)


class _ReadBeforeOwnCommit(Raft):
    @property
    def has_committed_in_term(self) -> bool:
        return True


# Snapshots and members.


class _MembersLostOnSnapshot(Raft):
    def _restore(self, snapshot: Snapshot) -> bool:
        before, progress = self.configuration, self.progress
        restored = super()._restore(snapshot)
        if restored and before.incoming:
            self._set_configuration(before, progress)
        return restored


class _SnapshotDuringApply(Raft):
    def _is_applying(self) -> bool:
        return False


class _OldSnapshotAccepted(Raft):
    def _restore(self, snapshot: Snapshot) -> bool:
        if snapshot.index < self.log.committed and self.log.unstable.snapshot is None:
            self.log.restore(snapshot)
            self._set_configuration(configuration_of(snapshot.conf_state), {})
            return True
        return super()._restore(snapshot)


class _SnapshotNeverGivenUp(Raft):
    def step(self, message: Message) -> None:
        if message.type is not MessageType.SNAP_STATUS:
            super().step(message)


class _AutoLeaveForgotten(Raft):
    def applied_to(self, index: int, size_bytes: int) -> None:
        self.log.applied_to(max(index, self.log.applied), size_bytes)


class _TransferToLagging(Raft):
    def _on_transfer_at_leader(self, message: Message) -> None:
        super()._on_transfer_at_leader(message)
        if self.transferee == message.sender:
            self._send_timeout_now(message.sender)


_ALL: Final = (
    Bug("vote_not_saved", node=_VoteNotSaved),
    Bug("term_not_saved", node=_TermNotSaved),
    Bug("vote_before_sync", node=_VoteBeforeSync),
    Bug("ack_before_sync", node=_AckBeforeSync),
    Bug("leader_counts_unsynced", core=_LeaderCountsUnsynced),
    Bug("stored_answer_of_old_term", core=_StoredAnswerOfOldTerm, seeds_max=2000),
    Bug("votes_twice", core=_VotesTwice),
    Bug("vote_without_log_check", core=_VoteWithoutLogCheck),
    Bug("vote_of_one_half", core=_VoteOfOneHalf),
    Bug("leads_before_own_vote", core=_LeadsBeforeOwnVote, seeds_max=3000),
    Bug("pre_vote_raises_term", core=_PreVoteRaisesTerm),
    Bug("old_term_commit_by_count", core=_OldTermCommitByCount),
    Bug("commit_of_one_half", core=_CommitOfOneHalf),
    Bug("learner_counted", core=_LearnerCounted),
    Bug("refusal_taken_for_ack", core=_RefusalTakenForAck),
    Bug("next_below_match", core=_NextBelowMatch),
    Bug("heartbeat_commit_unbounded", core=_HeartbeatCommitUnbounded),
    Bug("always_truncates", core=_AlwaysTruncates),
    Bug("lease_for_ever", core=_LeaseForEver),
    Bug("lease_kept_in_transfer", core=_LeaseKeptInTransfer, seeds_max=16000),
    Bug("lease_from_answer", core=_LeaseFromAnswer, seeds_max=12000),
    Bug("no_guard", core=_NoGuard),
    Bug("guard_forgotten_at_start", core=_GuardForgottenAtStart),
    Bug("holder_not_waited_for", core=_HolderNotWaitedFor),
    Bug("holder_forgotten_on_removal", core=_HolderForgottenOnRemoval),
    Bug("lease_counted_from_grant", core=_LeaseCountedFromGrant),
    Bug("lease_for_laggard", core=_LeaseForLaggard),
    Bug("leases_forgotten_in_transfer", core=_LeasesForgottenInTransfer),
    Bug("leases_forgotten_in_defeat", core=_LeasesForgottenInDefeat, seeds_max=16000),
    Bug("follower_reads_committed", core=_FollowerReadsCommitted),
    Bug("read_without_round", core=_ReadWithoutRound),
    Bug("read_before_own_commit", core=_ReadBeforeOwnCommit),
    Bug("members_lost_on_snapshot", core=_MembersLostOnSnapshot),
    Bug("snapshot_during_apply", core=_SnapshotDuringApply, seeds_max=12000),
    Bug("old_snapshot_accepted", core=_OldSnapshotAccepted, seeds_max=2000),
    Bug("snapshot_never_given_up", core=_SnapshotNeverGivenUp),
    Bug("auto_leave_forgotten", core=_AutoLeaveForgotten),
    Bug("transfer_to_lagging", core=_TransferToLagging),
    Bug("rot_as_torn_tail", driver=frozenset({"rot_as_torn_tail"})),
    Bug("empty_disk", driver=frozenset({"empty_disk"})),
    Bug("no_sessions", driver=frozenset({"no_sessions"})),
    Bug("read_before_apply", driver=frozenset({"read_before_apply"})),
    Bug("snapshot_without_members", driver=frozenset({"snapshot_without_members"})),
)

BUGS: Final = {bug.name: bug for bug in _ALL}
"""Every planted bug by name."""
