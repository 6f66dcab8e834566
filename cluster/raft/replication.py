"""The log on other nodes: appending, acknowledging, committing, snapshots and members.

The leader sends what follows `next_index`, names the entry before it, and the follower takes it
only if it has that entry (thesis, 3.5); where it has not, its refusal says how far to go back. An
index is committed when a quorum has it on disk AND its entry is of the leader's own term (3.6.2):
entries of earlier terms are committed only together with one of those. The leader counts itself
like everyone else, by an acknowledgement that waits for its own disk. Members change when a
configuration entry is applied (4.3).
"""

from cluster.base.errors import (
    ConfChangeRefused,
    LogError,
    LogFull,
    NotMember,
    SnapshotNotReady,
    Transferring,
)
from cluster.base.ids import NO_NODE, NodeId
from cluster.raft.follower_leases import FollowerLeases
from cluster.raft.membership import Changer, ConfChange, configuration_of
from cluster.raft.messages import (
    ConfState,
    Entry,
    EntryKind,
    Message,
    MessageType,
    Role,
    Snapshot,
    entries_bytes,
    payload_bytes,
)
from cluster.raft.progress import Progress, ProgressState


class Replication(FollowerLeases):
    """Both sides of replication, commit, and changes of members."""

    # Leader: sending.

    def broadcast_entries(self) -> None:
        """Send every member what it lacks, or at least where the log and its commit end."""
        for node in self.progress:
            if node != self.id:
                self._send_entries(node, if_empty=True)

    def _send_entries(self, to: NodeId, *, if_empty: bool) -> bool:
        progress = self.progress[to]
        if progress.is_paused:
            return False
        before = progress.next_index - 1
        entries: tuple[Entry, ...] = ()
        try:
            term = self.log.term(before)
            if progress.state is not ProgressState.REPLICATE or not progress.inflights.is_full:
                entries = self.log.entries_from(progress.next_index, self.options.message_bytes_max)
        except LogError:
            return self._send_snapshot(to, progress)
        if not entries and not if_empty:
            return False
        self.send(
            Message(
                MessageType.APP,
                to,
                index=before,
                log_term=term,
                entries=entries,
                commit=self.log.committed,
            )
        )
        progress.sent_entries(len(entries), payload_bytes(entries))
        progress.sent_commit_index(self.log.committed)
        return True

    def _send_snapshot(self, to: NodeId, progress: Progress) -> bool:
        # One that does not answer would only fill the network.
        if not progress.recent_active:
            return False
        try:
            snapshot = self.log.snapshot()
        except SnapshotNotReady:
            return False
        assert snapshot.index, "the log is compacted, yet there is no snapshot"
        progress.become_snapshot(snapshot.index)
        self.send(Message(MessageType.SNAP, to, snapshot=snapshot))
        return True

    # Leader: taking proposals.

    def append_own(self, entries: tuple[Entry, ...]) -> bool:
        """Append under this leader's term; False when the uncommitted tail is full."""
        size = payload_bytes(entries)
        if (
            self.uncommitted_bytes > 0
            and size > 0
            and self.uncommitted_bytes + size > self.options.uncommitted_bytes_max
        ):
            return False
        self.uncommitted_bytes += size
        last = self.log.last_index()
        placed = tuple(
            Entry(self.term, last + 1 + at, entry.kind, entry.data)
            for at, entry in enumerate(entries)
        )
        last = self.log.append(placed)
        self.send(Message(MessageType.APP_RESP, self.id, index=last))
        return True

    def _on_proposal_at_leader(self, message: Message) -> None:
        assert message.entries, "a proposal without entries"
        if self.id not in self.progress:
            raise NotMember(f"node {self.id} was removed")
        if self.transferee:
            raise Transferring(f"leadership goes to {self.transferee}")
        entries = list(message.entries)
        pending = self.pending_conf_index
        for at, entry in enumerate(entries):
            if entry.kind is EntryKind.NORMAL:
                continue
            refusal = self._refusal_of_conf_change(ConfChange.decode(entry.data))
            if refusal and self.options.check_conf_changes:
                if message.sender in (NO_NODE, self.id):
                    self._refuse_conf_change(refusal)
                entries[at] = Entry(0, 0)
            else:
                self.pending_conf_index = self.log.last_index() + at + 1
        if not self.append_own(tuple(entries)):
            self.pending_conf_index = pending
            raise LogFull(f"{self.uncommitted_bytes} bytes wait to be committed")
        self.broadcast_entries()

    def _refuse_conf_change(self, refusal: str) -> None:
        raise ConfChangeRefused(refusal)

    def _refusal_of_conf_change(self, change: ConfChange) -> str:
        if self.pending_conf_index > self.log.applied:
            return f"the change at {self.pending_conf_index} is not applied yet"
        joint = self.configuration.is_joint
        if joint and not change.leaves_joint:
            return "must leave the joint configuration first"
        if not joint and change.leaves_joint:
            return "there is no joint configuration to leave"
        return ""

    # Leader: answers.

    def _on_append_answer(self, message: Message) -> None:
        progress = self.progress[message.sender]
        progress.recent_active = True
        if message.reject:
            self._on_append_refused(message, progress)
            return
        probing = progress.state is ProgressState.PROBE
        if not progress.acknowledged(message.index) and not (
            probing and progress.match == message.index
        ):
            return
        if probing:
            progress.become_replicate()
        elif progress.state is ProgressState.SNAPSHOT:
            if progress.match + 1 >= self.log.first_index():
                # It fits our log again, whichever snapshot it was that brought it there.
                progress.become_probe()
                progress.become_replicate()
        else:
            progress.inflights.free_to(message.index)
        self._after_acknowledgement(message.sender, progress)

    def _after_acknowledgement(self, sender: NodeId, progress: Progress) -> None:
        if self.try_commit():
            self.release_waiting_reads()
            self.broadcast_entries()
        elif sender != self.id and progress.can_raise_commit(self.log.committed):
            self._send_entries(sender, if_empty=True)
        if sender == self.id:
            return
        while self._send_entries(sender, if_empty=False):
            pass  # bounded: each message moves next_index on or fills the window
        if sender == self.transferee:
            self.hand_over_when_free()

    def _on_append_refused(self, message: Message, progress: Progress) -> None:
        hint = message.reject_hint
        if message.log_term > 0:
            hint = self.log.conflict_by_term(hint, message.log_term).index
        if message.healing and message.reject_hint < progress.match:
            progress.lost(hint)
            self._send_entries(message.sender, if_empty=True)
        elif progress.refused(message.index, hint):
            if progress.state is ProgressState.REPLICATE:
                progress.become_probe()
            self._send_entries(message.sender, if_empty=True)

    def hand_over_when_free(self) -> None:
        """Tell whoever is to lead that it may, once it has all of the log and nobody else can read
        alone: it knows nothing of leases."""
        progress = self.progress.get(self.transferee)
        if progress is None or self.holders:
            return
        if progress.match == self.log.last_index():
            self._send_timeout_now(self.transferee)

    def commit_without_leases(self) -> None:
        """Go on with what waited for leases that are no more."""
        if self.try_commit():
            self.release_waiting_reads()
            self.broadcast_entries()
        if self.transferee:
            self.hand_over_when_free()

    def _send_timeout_now(self, to: NodeId) -> None:
        self.lease_given_up = True
        self.send(Message(MessageType.TIMEOUT_NOW, to))

    def try_commit(self) -> bool:
        """Commit what a quorum has, and whoever may read alone, if it ends in this term; returns
        whether that was news."""
        index = self.quorum_index()
        if self.holders:
            index = min(index, self.holders_index())
        if index > self.log.committed and self.log.matches(index, self.term):
            self.log.commit_to(index)
            return True
        return False

    # Follower.

    def _on_append(self, message: Message) -> None:
        if message.index < self.log.committed:
            answer = Message(MessageType.APP_RESP, message.sender, index=self.log.committed)
            self.send(answer)
            return
        matched = self.log.try_append(
            message.index, message.log_term, message.entries, message.commit
        )
        if matched is not None:
            self.send(Message(MessageType.APP_RESP, message.sender, index=matched))
            return
        hint = min(message.index, self.log.last_index())
        term, hint = self.log.conflict_by_term(hint, message.log_term)
        self.send(
            Message(
                MessageType.APP_RESP,
                message.sender,
                index=message.index,
                reject=True,
                reject_hint=hint,
                log_term=term,
                healing=self.is_healing,
            )
        )

    def _on_snapshot(self, message: Message) -> None:
        snapshot = message.snapshot
        assert snapshot is not None
        restored = self._restore(snapshot)
        index = self.log.last_index() if restored else self.log.committed
        self.send(Message(MessageType.APP_RESP, message.sender, index=index))

    def _restore(self, snapshot: Snapshot) -> bool:
        """Start again from `snapshot`; False when it brings nothing or is not for this node."""
        if snapshot.index <= self.log.committed or self._is_applying():
            return False
        configuration = configuration_of(snapshot.conf_state)
        if self.id not in configuration.members:
            return False
        if self.log.matches(snapshot.index, snapshot.term):
            # The log reaches as far: keep it, only the commit index is news.
            self.log.commit_to(snapshot.index)
            return False
        self.log.restore(snapshot)
        self._set_configuration(configuration, {})
        return True

    def _is_applying(self) -> bool:
        """Whether the driver still has entries in hand that it was given to apply.

        A change of members among them would come back after the snapshot's members were put in
        force, and be made upon them (found by the simulation). The leader sends another snapshot.
        """
        return self.log.applying > self.log.applied

    def _check_healed(self) -> None:
        """Whole again once the durable log is at least as good as the best one ever acknowledged.

        Ends it in the lost entry's term and as far, it is that log; ends it in a later term, it is
        that leader's, which was elected with everything committed before (thesis, 3.6.3).
        """
        if not self.is_healing or self.log.unstable.snapshot is not None:
            return
        durable = self.log.unstable.offset - 1
        if durable >= self.log.first_index() - 1 and (
            (self.log.term(durable), durable) >= self.healing
        ):
            self.healing = (0, 0)

    # Storage and members.

    def on_stored(self, message: Message) -> None:
        """The storage has made durable what a STORAGE_APPEND asked for."""
        if message.index:
            self.log.unstable.stable_to(message.index, message.log_term)
        self.on_snapshot_stored(message)
        self._check_healed()

    def on_snapshot_stored(self, message: Message) -> None:
        """The snapshot that came with a STORAGE_APPEND is durable and applied."""
        if message.snapshot is not None:
            self.log.unstable.stable_snapshot_to(message.snapshot.index)
            self.applied_to(message.snapshot.index, 0)

    def on_applied(self, message: Message) -> None:
        """The state machine has applied what a STORAGE_APPLY asked for."""
        if message.entries:
            self.applied_to(message.entries[-1].index, entries_bytes(message.entries))
            self.uncommitted_bytes = max(0, self.uncommitted_bytes - payload_bytes(message.entries))

    def applied_to(self, index: int, size_bytes: int) -> None:
        """Move the applied mark; end a joint phase that ends by itself."""
        self.log.applied_to(max(index, self.log.applied), size_bytes)
        self.end_joint_phase()

    def end_joint_phase(self) -> None:
        """Propose the end of a joint phase that ends by itself, once its beginning is applied."""
        if (
            self.role is Role.LEADER
            and self.configuration.auto_leave
            and self.log.applied >= self.pending_conf_index
            # While leadership moves, the next leader will do it, or this one when it stays.
            and not self.transferee
            and self.id in self.progress
        ):
            leave = Entry(0, 0, EntryKind.CONF_CHANGE_V2)
            if self.append_own((leave,)):
                self.pending_conf_index = self.log.last_index()
                self.broadcast_entries()

    def apply_conf_change(self, change: ConfChange) -> ConfState:
        """Put `change` in force. Raises ConfChangeRefused when it does not fit."""
        changer = Changer(
            self.configuration,
            self.progress,
            last_index=self.log.last_index(),
            inflight_max=self.options.inflight_max,
            inflight_bytes_max=self.options.inflight_bytes_max,
        )
        configuration, progress = changer.change(change)
        self._set_configuration(configuration, progress)
        self._after_members_changed()
        return configuration.conf_state()

    def _after_members_changed(self) -> None:
        if self.role is not Role.LEADER:
            return
        if self.id not in self.progress or self.is_learner:
            if self.options.step_down_on_removal:
                self._become_follower(self.term, NO_NODE)
            return
        if self.try_commit():
            self.release_waiting_reads()
            self.broadcast_entries()
        else:
            for node in self.progress:
                if node != self.id:
                    self._send_entries(node, if_empty=False)
        if self.transferee and self.transferee not in self.configuration.voters:
            self.transferee = NO_NODE
