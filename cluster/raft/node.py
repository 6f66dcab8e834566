"""One Raft node as its driver sees it: messages, ticks and requests in, a `Ready` out.

The driver owns sockets, disk and clock. It calls `step`, `tick`, `propose` and `read_index` as
things happen, each with the present reading of its clock, and whenever `has_ready()` it takes
`ready()`, does the work in the order that `messages.Ready` states, and calls `advance()`. Between
`ready` and `advance` more may be stepped in, but no second batch is given out, unless
`Options.async_storage` is on: then storage answers by messages, there is no `advance`, and batches
follow each other while earlier ones are still being written (pipelining to the disk).

`now_ms` is a monotonic clock that runs on while the machine sleeps (CLOCK_BOOTTIME), read after
the event arrived; it matters only for leases. Readings that go back are taken for the last one.
"""

from cluster.base.errors import ConfChangeRefused
from cluster.base.ids import APPEND_THREAD, APPLY_THREAD, NO_NODE, NodeId, is_local
from cluster.raft.core import Raft
from cluster.raft.membership import Changer, ConfChange, Configuration
from cluster.raft.messages import (
    EMPTY_HARD_STATE,
    ConfState,
    Entry,
    EntryKind,
    HardState,
    Message,
    MessageType,
    Ready,
    Role,
    entries_bytes,
)
from cluster.raft.options import Options
from cluster.raft.progress import Progress
from cluster.raft.storage import Storage

_ANSWERS = frozenset(
    {
        MessageType.APP_RESP,
        MessageType.VOTE_RESP,
        MessageType.PRE_VOTE_RESP,
        MessageType.HEARTBEAT_RESP,
        MessageType.UNREACHABLE,
        MessageType.READ_INDEX_RESP,
    }
)
_LOCAL = frozenset(
    {
        MessageType.HUP,
        MessageType.BEAT,
        MessageType.UNREACHABLE,
        MessageType.SNAP_STATUS,
        MessageType.CHECK_QUORUM,
        MessageType.STORAGE_APPEND,
        MessageType.STORAGE_APPEND_RESP,
        MessageType.STORAGE_APPLY,
        MessageType.STORAGE_APPLY_RESP,
        MessageType.FORGET_LEADER,
    }
)
_STARTS_ELECTION = frozenset({MessageType.VOTE, MessageType.PRE_VOTE})


class RaftNode:
    """A node of a group: the core and the book of what its driver has been given."""

    def __init__(self, options: Options, storage: Storage, *, core: type[Raft] = Raft) -> None:
        self.raft = core(options, storage)
        self.options = options
        self._soft_before = self.raft.soft_state
        self._hard_before = self.raft.hard_state
        self._on_advance: list[Message] = []
        self._given_out = False

    # In.

    def step(self, message: Message, now_ms: int = 0) -> None:
        """Take a message of a peer, or the storage's answer. Whatever it holds, nothing raises."""
        self._note_time(now_ms)
        from_storage = is_local(message.sender)
        if message.type in _LOCAL and not from_storage:
            return
        raft = self.raft
        known = message.sender in raft.progress or from_storage or message.sender == raft.id
        if message.type in _ANSWERS and not known:
            return
        if message.type in (MessageType.PROP, MessageType.READ_INDEX) and message.sender in (
            NO_NODE,
            raft.id,
        ):
            return
        raft.step(message)

    def tick(self, now_ms: int = 0) -> None:
        """One tick of the driver's clock has passed. Never make up for ticks missed in a pause."""
        self._note_time(now_ms)
        self.raft.tick()

    def align_heartbeats(self, elapsed_ticks: int) -> None:
        """Count `elapsed_ticks` as passed since the last heartbeats of this leader.

        A driver of many groups lets all of them beat in the same tick, in one frame per peer.
        """
        self.raft.heartbeat_elapsed = elapsed_ticks % self.options.heartbeat_ticks

    def propose(self, data: bytes, now_ms: int = 0) -> None:
        """Propose `data` for the state machine. Raises ProposalRefused.

        No error is no promise: the entry counts once it comes back in `Ready.committed`. A
        proposal sent again may be there twice; `sessions.Sessions` sorts that out.
        """
        self.propose_all((data,), now_ms)

    def propose_all(self, batch: tuple[bytes, ...], now_ms: int = 0) -> None:
        """Propose several at once, in order, all or none. Raises ProposalRefused."""
        self._note_time(now_ms)
        entries = tuple(Entry(0, 0, EntryKind.NORMAL, data) for data in batch)
        self.raft.step(Message(MessageType.PROP, self.raft.id, self.raft.id, entries=entries))

    def propose_conf_change(
        self, change: ConfChange, now_ms: int = 0, *, kind: EntryKind = EntryKind.CONF_CHANGE_V2
    ) -> None:
        """Propose a change of members. Raises ProposalRefused or ConfChangeRefused.

        Passed on by a follower, a change that does not fit becomes an empty entry instead.
        """
        self._note_time(now_ms)
        entry = Entry(0, 0, kind, change.encode())
        self.raft.step(Message(MessageType.PROP, self.raft.id, self.raft.id, entries=(entry,)))

    def check_conf_change(self, change: ConfChange) -> None:
        """Raises ConfChangeRefused when `change` would not fit the members in force.

        The core itself takes such a proposal and, like all nodes, changes nothing on applying it.
        """
        raft = self.raft
        changer = Changer(
            raft.configuration,
            raft.progress,
            last_index=raft.log.last_index(),
            inflight_max=self.options.inflight_max,
            inflight_bytes_max=self.options.inflight_bytes_max,
        )
        changer.change(change)

    def read_index(self, context: bytes, now_ms: int = 0) -> None:
        """Ask from which index on a read may be served; `Ready.read_states` answers by `context`.

        Raises ReadRefused. When the leader or this node's term changes before the answer, none
        will come: the driver asks again under a new context, or gives up by its own deadline.
        """
        self._note_time(now_ms)
        raft = self.raft
        raft.step(Message(MessageType.READ_INDEX, raft.id, raft.id, context=context))

    def lease_index(self, now_ms: int = 0) -> int | None:
        """From which index on this node may serve reads at once, as a leader or by a lease of its
        own; None when somebody must be asked first.

        What a follower is told may not be committed yet: one that has not applied so far asks.
        """
        self._note_time(now_ms)
        raft = self.raft
        if raft.role is Role.FOLLOWER:
            return raft.follower_lease_index()
        if raft.role is not Role.LEADER or not raft.has_committed_in_term:
            return None
        alone = raft.configuration.voters == {raft.id}
        return raft.log.committed if alone or raft.lease_holds() else None

    def lease_end_ms(self) -> int:
        """Up to which reading of the clock the lease runs that `lease_index` counts on; one that
        has none gives a reading long past."""
        raft = self.raft
        return raft.lease_until_ms if raft.role is Role.FOLLOWER else raft.lease_end_ms()

    def refuse_leases(self) -> None:
        """Take no lease as a follower from now on; what is held is given back at the next
        heartbeat, so that nobody waits for a node that stops."""
        self.raft.refuse_leases()

    def campaign(self, now_ms: int = 0) -> bool:
        """Stand for election now; False when this node may not."""
        self._note_time(now_ms)
        return self.raft.campaign()

    def transfer_leadership(self, target: NodeId, now_ms: int = 0) -> None:
        """Hand leadership to `target`; given up after an election timeout."""
        self._note_time(now_ms)
        raft = self.raft
        raft.step(Message(MessageType.TRANSFER_LEADER, raft.id, target))

    def forget_leader(self) -> None:
        """Let others win although the leader was heard lately; nothing with leases."""
        self.raft.step(Message(MessageType.FORGET_LEADER, self.raft.id, self.raft.id))

    def report_unreachable(self, node: NodeId) -> None:
        """The last messages to `node` were not delivered."""
        self.raft.step(Message(MessageType.UNREACHABLE, self.raft.id, node))

    def report_snapshot(self, node: NodeId, *, delivered: bool) -> None:
        """The snapshot to `node` arrived whole, or the stream was given up."""
        self.raft.step(Message(MessageType.SNAP_STATUS, self.raft.id, node, reject=not delivered))

    def apply_conf_change(self, change: ConfChange) -> ConfState:
        """A committed configuration entry has been applied; to be called for every one, in order.

        Returns the members now in force, which go into the next snapshot. A change that no longer
        fits (two were proposed past each other) changes nothing.
        """
        try:
            return self.raft.apply_conf_change(change)
        except ConfChangeRefused:
            return self.raft.configuration.conf_state()

    # Out.

    def has_ready(self) -> bool:
        """Whether `ready()` would give work."""
        if self._given_out:
            return False
        raft = self.raft
        raft.send_wanted_round()
        log = raft.log
        return bool(
            raft.messages
            or raft.after_sync
            or raft.read_states
            or (raft.term, raft.vote, log.committed, *raft.healing) != self._hard_before
            or (raft.leader, raft.role) != self._soft_before
            or log.unstable.has_next_entries
            or log.unstable.next_snapshot() is not None
            or log.has_next_committed(unstable_too=not self.options.async_storage)
        )

    def ready(self) -> Ready:
        """The next batch. It is taken as given out: the driver must work it off."""
        assert not self._given_out, "advance() must come first"
        raft = self.raft
        raft.send_wanted_round()
        log = raft.log
        hard_state = raft.hard_state
        soft_state = raft.soft_state
        entries = log.unstable.next_entries()
        snapshot = log.unstable.next_snapshot()
        committed = log.next_committed(unstable_too=not self.options.async_storage)
        before = self._hard_before
        must_sync = (
            bool(entries)
            or snapshot is not None
            or hard_state[:2] != before[:2]
            or hard_state[3:] != before[3:]
        )
        batch = Ready(
            soft_state=None if soft_state == self._soft_before else soft_state,
            hard_state=None if hard_state in (before, EMPTY_HARD_STATE) else hard_state,
            entries=entries,
            snapshot=snapshot,
            committed=committed,
            messages=tuple(raft.messages),
            messages_after_sync=(),
            read_states=tuple(raft.read_states),
            must_sync=must_sync,
        )
        if self.options.async_storage:
            batch = self._with_storage_messages(batch)
        else:
            batch = self._with_waiting_messages(batch)
        self._accept(batch)
        return batch

    def advance(self) -> None:
        """The last batch is stored and applied. Not with `Options.async_storage`."""
        assert not self.options.async_storage
        assert self._given_out, "ready() must come first"
        self._given_out = False
        answers, self._on_advance = self._on_advance, []
        for message in answers:
            self.raft.step(message)

    def _accept(self, batch: Ready) -> None:
        raft = self.raft
        if batch.soft_state is not None:
            self._soft_before = batch.soft_state
        if batch.hard_state is not None:
            self._hard_before = batch.hard_state
        raft.messages = []
        raft.after_sync = []
        raft.read_states = []
        raft.log.unstable.accept()
        if batch.committed:
            raft.log.accept_applying(
                batch.committed[-1].index,
                entries_bytes(batch.committed),
                unstable_too=not self.options.async_storage,
            )

    def _with_waiting_messages(self, batch: Ready) -> Ready:
        """Sort what waits for the disk from what need not, and note what `advance` will say.

        Requests for votes wait too: the log that they boast of must not be lost after the vote.
        """
        raft = self.raft
        own = [message for message in raft.after_sync if message.to == raft.id]
        waiting = [message for message in raft.messages if message.type in _STARTS_ELECTION]
        waiting += [message for message in raft.after_sync if message.to != raft.id]
        self._on_advance = own
        if self._storage_must_answer(batch):
            self._on_advance.append(self._storage_answer(batch))
        if batch.committed:
            self._on_advance.append(self._applied_answer(batch.committed))
        self._given_out = True
        at_once = tuple(
            message for message in batch.messages if message.type not in _STARTS_ELECTION
        )
        return batch._replace(messages=at_once, messages_after_sync=tuple(waiting))

    def _with_storage_messages(self, batch: Ready) -> Ready:
        """Put the work for both local threads among the messages.

        A request for votes boasts of the end of the log: while that is not durable, it waits too.
        """
        raft = self.raft
        boasts = _STARTS_ELECTION if raft.log.unstable.entries else frozenset()
        messages = [message for message in batch.messages if message.type not in boasts]
        waiting = [message for message in batch.messages if message.type in boasts]
        waiting += raft.after_sync
        wanted = batch.entries or batch.hard_state or batch.snapshot or waiting
        if wanted:
            responses = waiting
            if self._storage_must_answer(batch):
                responses.append(self._storage_answer(batch))
            hard_state = batch.hard_state or HardState()
            messages.append(
                Message(
                    MessageType.STORAGE_APPEND,
                    APPEND_THREAD,
                    raft.id,
                    term=hard_state.term,
                    vote=hard_state.vote,
                    commit=hard_state.commit,
                    entries=batch.entries,
                    snapshot=batch.snapshot,
                    hard_state=batch.hard_state,
                    responses=tuple(responses),
                )
            )
        if batch.committed:
            messages.append(
                Message(
                    MessageType.STORAGE_APPLY,
                    APPLY_THREAD,
                    raft.id,
                    entries=batch.committed,
                    responses=(self._applied_answer(batch.committed),),
                )
            )
        return batch._replace(messages=tuple(messages))

    def _storage_must_answer(self, batch: Ready) -> bool:
        return bool(self.raft.log.unstable.entries) or batch.snapshot is not None

    def _storage_answer(self, batch: Ready) -> Message:
        """What the storage says once everything handed out so far is durable.

        It carries this term: should a new leader's entries have taken the place of these by the
        time it comes, it is ignored.
        """
        raft = self.raft
        message = Message(
            MessageType.STORAGE_APPEND_RESP,
            raft.id,
            APPEND_THREAD,
            term=raft.term,
            snapshot=batch.snapshot,
        )
        if raft.log.unstable.entries:
            last = raft.log.last_id()
            message = message._replace(index=last.index, log_term=last.term)
        return message

    def _applied_answer(self, entries: tuple[Entry, ...]) -> Message:
        return Message(MessageType.STORAGE_APPLY_RESP, self.raft.id, APPLY_THREAD, entries=entries)

    def _note_time(self, now_ms: int) -> None:
        if now_ms > self.raft.now_ms:
            self.raft.now_ms = now_ms

    # Looking in.

    @property
    def leader(self) -> NodeId:
        """The leader this node knows of, or NO_NODE."""
        return self.raft.leader

    @property
    def role(self) -> Role:
        """What this node is."""
        return self.raft.role

    @property
    def term(self) -> int:
        """The term it is in."""
        return self.raft.term

    @property
    def configuration(self) -> Configuration:
        """The members in force."""
        return self.raft.configuration

    @property
    def progress(self) -> dict[NodeId, Progress]:
        """How far each member has come; means something on a leader only. Not to be changed."""
        return self.raft.progress
