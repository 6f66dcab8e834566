"""The loop that works off what the cores of all groups of a node ask for.

Four tasks, none of which waits for another: the ticker gives every core its ticks; the pump takes
the batches of all cores that something happened to, sends what may leave, and hands the rest on;
the writer puts everything that waits for the log, of all groups, into one write with one sync; the
applier gives everything that is committed, of all groups, to the state machine in one step. What
collects while one step runs is the next step's batch: nothing waits for a timer, a lone write least
of all.

The cores run with `Options.async_storage`: what promises something about the disk comes as the
responses of a write, which leave or are stepped when the write is durable, in order. A hard state
that differs in its commit index alone is never written for itself: it is a hint, and the state
machine's own mark is a better one.

Invariants: responses of a write leave only after it and all before it are durable; entries reach
the state machine in order and never before they are durable here; a core is stepped by one task at
a time and never during a write of the log (all of this is one thread).
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Final

import trio

from cluster.base.errors import ClusterError, LogFull, LogWriteFailed, NoRoom, ProposalRefused
from cluster.base.ids import APPEND_THREAD, APPLY_THREAD, NodeId
from cluster.base.ports import Applied, Clock, GroupEntry, Peers, Random, StateMachine, Threads
from cluster.drivers import groups_frames as frames
from cluster.drivers.groups_group import Group, Offer
from cluster.drivers.groups_log import LogWrite, LostEntries, View, Wal
from cluster.drivers.groups_outbox import Outbox
from cluster.drivers.groups_settings import GroupSettings
from cluster.raft.membership import ConfChange
from cluster.raft.messages import Entry, EntryKind, HardState, Message, MessageType, Ready, Role
from cluster.raft.node import RaftNode
from cluster.raft.options import Options
from cluster.raft.recovery import forget_from

_FULL_RETRY_S: Final = 0.25
"""Between two attempts at a write for which a full disk had no room."""

_BATCHES_MAX: Final = 64
"""Batches of one core in one go; more means that it asks for work for ever."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Ports:
    """What a host touches the world by."""

    node: NodeId
    wal: Wal
    peers: Peers
    machine: StateMachine
    clock: Clock
    random: Random
    threads: Threads
    settings: GroupSettings

    def now_ms(self) -> int:
        """The reading that the cores count leases on."""
        return int(self.clock.monotonic() * 1000)

    def draw(self, below: int) -> int:
        """A whole number of [0, below)."""
        return int.from_bytes(self.random.token_bytes(8), "big") % below


@dataclass(slots=True)
class Listeners:
    """Who is told what. All are called from the loop's tasks and must not wait."""

    leader_changed: Callable[[Group], None]
    applied: Callable[[Group, Entry, bytes], None]
    """An entry with data was applied, and what came of it."""
    read: Callable[[bytes, int], None]
    """A read may be served from an index on."""
    snapshot_wanted: Callable[[Group, NodeId], None]
    """A member needs a snapshot; its outcome must be reported to the core."""
    proposals_dropped: Callable[[NodeId, list[frames.Proposal]], None]
    questions_dropped: Callable[[NodeId, list[frames.ReadQuestion]], None]
    ticked: Callable[[], None]


class _Write:
    """One piece of work for the writer."""

    __slots__ = ("done", "group", "responses", "write")

    def __init__(
        self,
        group: Group,
        write: LogWrite | None,
        responses: tuple[Message, ...] = (),
        done: trio.Event | None = None,
    ) -> None:
        self.group = group
        self.write = write
        self.responses = responses
        self.done = done


class GroupLoop:
    """The groups of one node, and the tasks that move them on."""

    def __init__(self, ports: Ports) -> None:
        self.ports = ports
        self.groups: dict[int, Group] = {}
        self.outbox = Outbox(
            ports.peers,
            frame_bytes_max=ports.settings.frame_bytes_max,
            dropped=self._on_dropped,
        )
        self.listeners: Listeners
        self._dirty: dict[int, Group] = {}
        self._dirty_bell = trio.Event()
        self._writes: list[_Write] = []
        self._write_bell = trio.Event()
        self._applies: list[tuple[Group, Message]] = []
        self._apply_bell = trio.Event()
        self._offering: dict[int, Group] = {}
        self._under_way: dict[int, Group] = {}
        self._offered_at = 0
        self._ticks = 0
        self._log_is_full = False
        self.writes = 0
        """Writes of the log so far, each with one sync."""
        self.batches_applied = 0

    @property
    def lacks_room(self) -> bool:
        """Whether the disk is full: what is to be written waits, and what is new is refused."""
        return self._log_is_full or self.ports.machine.lacks_room()

    # Groups.

    async def open_all(self) -> None:
        """Open every group that has a log here; before the tasks run."""
        for lost in self.ports.wal.lost():
            await self._forget(lost)
        repairs = [self._repair_of(number) for number in self.ports.wal.groups()]
        writes = [repair for repair in repairs if repair is not None]
        if writes:
            await self._write_log(writes)
        for number in self.ports.wal.groups():
            self.open(number)

    def open(self, number: int) -> Group:
        """A group as its log and the state machine have it; a new one is empty."""
        log = self.ports.wal.group(number)
        mark = self.ports.machine.applied(number)
        empty = log.last_index() == 0
        hollow = not empty and (mark is None or mark.index < log.first_index() - 1)
        if hollow:
            applied = max(log.first_index() - 1, min(log.hard_state().commit, log.last_index()))
        else:
            applied = 0 if mark is None else mark.index
        group = Group(number, self._new_core(number, applied), 0 if hollow else applied)
        group.hollow = group.held = hollow
        group.log_grew(log.first_index() - 1, 0)
        self.groups[number] = group
        return group

    async def _forget(self, lost: LostEntries) -> None:
        """Entries have rotted: the leader feeds them again, unless the state machine has them."""
        log = self.ports.wal.group(lost.group)
        mark = self.ports.machine.applied(lost.group) or Applied(0, 0, b"")
        hard_state = log.hard_state()
        if lost.last_index > mark.index:
            hard_state = forget_from(
                hard_state,
                index=max(lost.index, mark.index + 1),
                last_index=lost.last_index,
                last_term=lost.last_term,
                applied=mark.index,
            )
        if lost.index <= mark.index:
            # All behind the mark goes with it, and may have been acknowledged.
            write = LogWrite(
                lost.group,
                hard_state=hard_state._replace(commit=mark.index),
                begin=(mark.index, mark.term),
            )
            await self._write_log([write])
            return
        try:
            await self.ports.threads.run(partial(self.ports.wal.forget, lost, hard_state))
        except (OSError, ClusterError) as fault:
            raise LogWriteFailed(f"the log could not be written: {fault}") from fault

    def _repair_of(self, number: int) -> LogWrite | None:
        """A snapshot was installed, and the node fell before its log began anew behind it."""
        mark = self.ports.machine.applied(number)
        log = self.ports.wal.group(number)
        if mark is None or mark.index < log.first_index() - 1:
            return None
        if mark.index <= log.last_index() and log.term(mark.index) == mark.term:
            return None
        return self._begin_at(number, mark)

    def _begin_at(self, number: int, mark: Applied) -> LogWrite:
        """The log goes on behind `mark`; what it has from there on stays if it belongs there."""
        log = self.ports.wal.group(number)
        hard_state = log.hard_state()
        if mark.term > hard_state.term:
            hard_state = HardState(mark.term, 0, 0, *hard_state[3:])
        hard_state = hard_state._replace(commit=max(hard_state.commit, mark.index))
        if (
            log.first_index() - 1 <= mark.index <= log.last_index()
            and log.term(mark.index) == mark.term
        ):
            return LogWrite(number, hard_state=hard_state)
        hard_state = hard_state._replace(commit=mark.index)
        return LogWrite(number, hard_state=hard_state, begin=(mark.index, mark.term))

    def _new_core(self, number: int, applied: int) -> RaftNode:
        settings = self.ports.settings
        options = Options(
            node=self.ports.node,
            draw=self.ports.draw,
            election_ticks=settings.election_ticks,
            heartbeat_ticks=settings.heartbeat_ticks,
            message_bytes_max=settings.message_bytes_max,
            applying_bytes_max=settings.applying_bytes_max,
            inflight_max=settings.inflight_max,
            inflight_bytes_max=settings.inflight_bytes_max,
            uncommitted_bytes_max=settings.uncommitted_bytes_max,
            reads_pending_max=settings.reads_pending_max,
            lease_ms=int(settings.lease_s * 1000),
            follower_leases=settings.follower_leases and settings.lease_s > 0,
            lease_round_trip_ms_max=int(settings.lease_round_trip_s_max * 1000),
            clock_drift_ratio_max=settings.clock_drift_ratio_max,
            async_storage=True,
            forward_proposals=False,
            applied=applied,
            now_ms=self.ports.now_ms(),
        )
        view = View(self.ports.wal.group(number), partial(self.ports.machine.applied, number))
        return RaftNode(options, view)

    async def replace_core(self, group: Group, mark: Applied) -> None:
        """The state machine has been set to `mark` by a snapshot: go on from there.

        As good as a restart of this one group: everything that it promised is written first.
        """
        group.frozen = True
        while group.writing or group.node.has_ready():
            self.touch(group)
            await group.written.wait()
        await self.write(group, self._begin_at(group.number, mark))
        group.node = self._new_core(group.number, mark.index)
        group.log_marks.clear()
        group.log_bytes = 0
        group.log_grew(mark.index, 0)
        group.note_applied(mark.index)
        group.held = group.hollow = group.frozen = False
        group.note_change()
        self.touch(group)

    # In.

    def touch(self, group: Group) -> None:
        """Something happened to the group's core: see what it wants."""
        group.shown_until_ms = 0
        self._dirty[group.number] = group
        self._dirty_bell.set()

    def offer(self, group: Group, data: bytes, refused: Callable[[ProposalRefused], None]) -> None:
        """Propose to a group's core, with whatever else is offered until the next batch begins."""
        group.offers.append(Offer(data, refused))
        self._offering[group.number] = group
        self._dirty_bell.set()

    def wake(self) -> None:
        """Something is to be sent."""
        self._dirty_bell.set()

    def step(self, group: Group, message: Message) -> None:
        """A message of a peer."""
        if group.frozen:
            return
        if group.held:
            passed = self._while_held(group, message)
            if passed is None:
                return
            message = passed
        group.node.step(message, self.ports.now_ms())
        self.touch(group)

    def _while_held(self, group: Group, message: Message) -> Message | None:
        """What a group without state can hear: it follows and votes, and takes nothing."""
        if message.type is MessageType.HEARTBEAT:
            return message._replace(commit=0)
        if message.type in (MessageType.VOTE, MessageType.PRE_VOTE):
            return message
        if (
            message.type is MessageType.APP
            and not group.installing
            and message.term == group.node.term
        ):
            refusal = Message(
                MessageType.APP_RESP,
                message.sender,
                self.ports.node,
                term=message.term,
                index=message.index,
                reject=True,
                healing=True,
            )
            self.outbox.add(group.number, (refusal,))
            self.touch(group)
        return None

    async def write(self, group: Group, write: LogWrite) -> None:
        """Have something written for a group, behind everything that waits already."""
        done = trio.Event()
        self._queue_write(_Write(group, write, done=done))
        await done.wait()

    # Tasks.

    async def run_ticker(self) -> None:
        """Ticks for all cores. Those missed in a pause are not made up for."""
        while True:
            await trio.sleep(self.ports.settings.tick_s)
            now_ms = self.ports.now_ms()
            self._ticks += 1
            self.outbox.hurry()
            for group in self.groups.values():
                if not group.held:
                    group.node.tick(now_ms)
                    self.touch(group)
            self.wake()
            self.listeners.ticked()

    async def run_pump(self) -> None:
        """Takes the batches of all cores that something happened to."""
        while True:
            await self._dirty_bell.wait()
            self._dirty_bell = trio.Event()
            self._take_offers()
            dirty, self._dirty = self._dirty, {}
            for group in dirty.values():
                self._take_batches(group)
            self.outbox.flush()

    def _take_offers(self) -> None:
        """A new batch of proposals, once the one before is applied, or takes long."""
        if not self._offering:
            return
        for group in list(self._under_way.values()):
            if not group.leads or group.applied >= group.offered_to:
                del self._under_way[group.number]
        if self._under_way and self._ticks == self._offered_at:
            return
        offering, self._offering = self._offering, {}
        self._offered_at = self._ticks
        for group in offering.values():
            offers, group.offers = group.offers, []
            try:
                if self.lacks_room:
                    raise LogFull("the disk has no room")
                group.node.propose_all(tuple(o.data for o in offers), self.ports.now_ms())
            except ProposalRefused as refused:
                for o in offers:
                    o.refused(refused)
                continue
            group.offered_to = group.node.raft.log.last_index()
            self._under_way[group.number] = group
            self.touch(group)

    def _take_batches(self, group: Group) -> None:
        node = group.node
        for _ in range(_BATCHES_MAX):
            if not node.has_ready():
                return
            self._work_off(group, node.ready())
        raise AssertionError(f"group {group.number} does not come to rest")

    def _work_off(self, group: Group, batch: Ready) -> None:
        assert batch.snapshot is None, "snapshots are installed beside the core"
        away: list[Message] = []
        for message in batch.messages:
            if message.to == APPEND_THREAD:
                self._queue_append(group, message, must_sync=batch.must_sync)
            elif message.to == APPLY_THREAD:
                group.applying += 1
                self._applies.append((group, message))
                self._apply_bell.set()
            elif message.type is MessageType.SNAP:
                self.listeners.snapshot_wanted(group, message.to)
            elif group.can_wait(message):
                self.outbox.add(group.number, (message,), can_wait=True)
            else:
                away.append(message)
        self.outbox.add(group.number, away)
        for read in batch.read_states:
            self.listeners.read(read.context, read.index)
        if batch.soft_state is not None:
            group.node.align_heartbeats(self._ticks)
            self.listeners.leader_changed(group)
            group.note_change()

    def _queue_append(self, group: Group, message: Message, *, must_sync: bool) -> None:
        write = None
        if must_sync:
            write = LogWrite(group.number, message.entries, message.hard_state)
        self._queue_write(_Write(group, write, message.responses))

    def _queue_write(self, write: _Write) -> None:
        write.group.writing += 1
        self._writes.append(write)
        self._write_bell.set()

    async def run_writer(self) -> None:
        """Writes of all groups, as many as have collected, with one sync."""
        while True:
            await self._write_bell.wait()
            self._write_bell = trio.Event()
            batch, self._writes = self._writes, []
            writes = [piece.write for piece in batch if piece.write is not None]
            if writes:
                await self._write_log(writes)
            self._after_write(batch)

    async def _write_log(self, writes: list[LogWrite]) -> None:
        """Waits where the disk is full: what stands behind the write has not happened yet. Raises
        LogWriteFailed, which ends the host: what is on the disk is unknown."""
        attempt: Callable[[], None] = partial(self.ports.wal.write, writes)
        while True:
            try:
                await self.ports.threads.run(attempt)
            except NoRoom:
                self._log_is_full = True
                attempt = self.ports.wal.resume
            except (OSError, ClusterError) as fault:
                raise LogWriteFailed(f"the log could not be written: {fault}") from fault
            else:
                break
            await trio.sleep(_FULL_RETRY_S)
        self._log_is_full = False
        self.writes += 1

    def _after_write(self, batch: list[_Write]) -> None:
        now_ms = self.ports.now_ms()
        for piece in batch:
            group = piece.group
            group.writing -= 1
            away = []
            for response in piece.responses:
                if response.to == self.ports.node:
                    group.node.step(response, now_ms)
                elif group.can_wait(response):
                    self.outbox.add(group.number, (response,), can_wait=True)
                else:
                    away.append(response)
            self.outbox.add(group.number, away)
            if piece.done is not None:
                piece.done.set()
            group.note_written()
            self.touch(group)

    async def run_applier(self) -> None:
        """Committed entries of all groups, as many as have collected, in one step."""
        while True:
            await self._apply_bell.wait()
            self._apply_bell = trio.Event()
            work, self._applies = self._applies, []
            entries = [
                self._group_entry(group, entry)
                for group, message in work
                for entry in message.entries
            ]
            results = await self.ports.machine.apply(entries)
            self.batches_applied += 1
            assert len(results) == len(entries), "a result for each entry"
            given = iter(results)
            for group, message in work:
                self._after_apply(group, message, [next(given) for _ in message.entries])
            self.outbox.flush()

    def _group_entry(self, group: Group, entry: Entry) -> GroupEntry:
        if entry.kind is EntryKind.NORMAL:
            return GroupEntry(group.number, entry.index, entry.term, entry.data)
        group.shown_until_ms = 0
        state = group.node.apply_conf_change(ConfChange.decode(entry.data))
        members = frames.encode_members(state)
        return GroupEntry(group.number, entry.index, entry.term, b"", members)

    def _after_apply(self, group: Group, message: Message, results: list[bytes]) -> None:
        group.applying -= 1
        size_bytes = 0
        changed = False
        for entry, result in zip(message.entries, results, strict=True):
            size_bytes += len(entry.data)
            if entry.kind is not EntryKind.NORMAL:
                changed = True
            elif entry.data:
                self.listeners.applied(group, entry, result)
        group.note_applied(message.entries[-1].index)
        for response in message.responses:
            group.node.step(response, self.ports.now_ms())
        if changed:
            group.note_change()
        group.note_written()
        group.log_grew(group.applied, size_bytes)
        self._cut_log(group)
        self.touch(group)

    def _cut_log(self, group: Group) -> None:
        settings = self.ports.settings
        if not group.log_marks:
            return
        entries = group.applied - group.log_marks[0][0]
        if entries < settings.log_entries_max and group.log_bytes < settings.log_bytes_max:
            return
        cut = group.cut_before(
            entries_kept=settings.log_entries_kept, bytes_kept=settings.log_bytes_kept
        )
        if cut:
            self._queue_write(_Write(group, LogWrite(group.number, cut=cut)))

    def _on_dropped(self, to: NodeId, frame: frames.Frame) -> None:
        """The transport did not take a frame: nothing in it was sent."""
        for wire in frame.messages:
            group = self.groups.get(wire.group)
            if wire.type == MessageType.APP and group is not None and not group.frozen:
                group.node.report_unreachable(to)
                self.touch(group)
        if frame.proposals:
            self.listeners.proposals_dropped(to, frame.proposals)
        if frame.read_questions:
            self.listeners.questions_dropped(to, frame.read_questions)

    def is_quiet(self, group: Group) -> bool:
        """Whether a snapshot may be installed now: nothing is on its way into the state machine."""
        raft = group.node.raft
        return (
            group.node.role is Role.FOLLOWER
            and not group.applying
            and (group.hollow or raft.log.applied == raft.log.committed)
        )
