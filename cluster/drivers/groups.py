"""The host of all Raft groups of one node.

It joins the loop (`groups_loop`), the proposals, the reads, the snapshots and the members into one
thing with a few questions, and registers what other nodes may ask. Whoever owns it calls
`bootstrap` or `join` before the first start on an empty disk, and `run` as a supervised task; the
host ends by its `run` ending, whatever the reason, and never works on upon a log that could not be
written.

Source: Ongaro's thesis; `docs/understand/groups.md` has the whole picture.
"""

from collections.abc import AsyncIterator, Iterable, Sequence
from functools import partial
from typing import NamedTuple

import trio

from cluster.base.errors import BadFrame, HostStopped
from cluster.base.ids import NodeId
from cluster.base.ports import (
    Applied,
    Clock,
    Handlers,
    Peers,
    PeerStream,
    Random,
    StateMachine,
    Threads,
)
from cluster.drivers import groups_frames as frames
from cluster.drivers import groups_members, groups_pace, groups_snapshots
from cluster.drivers.groups_group import Group
from cluster.drivers.groups_log import LogWrite, Wal
from cluster.drivers.groups_loop import GroupLoop, Listeners, Ports
from cluster.drivers.groups_members import Members, role_name
from cluster.drivers.groups_outbox import CHANNEL
from cluster.drivers.groups_pace import Pace
from cluster.drivers.groups_proposals import Proposals
from cluster.drivers.groups_reads import Reads
from cluster.drivers.groups_settings import GroupSettings
from cluster.drivers.groups_snapshots import SnapshotReceiver, SnapshotSender
from cluster.raft.identity import NodeIdentity, check_disk
from cluster.raft.membership import ChangeKind, ConfChangeSingle
from cluster.raft.messages import ConfState, HardState, Message

_FIRST = (1, 1)
"""Index and term at which a group begins, on each of its first members."""


class GroupStatus(NamedTuple):
    """One group as this node sees it. `lag` is in entries, by member, and a leader's alone."""

    group: int
    role: str
    """leader, follower, candidate or pre_candidate; installing or hollow without a state."""
    leader: NodeId
    term: int
    commit: int
    applied: int
    log_first: int
    log_last: int
    members: ConfState
    lag: dict[NodeId, int]


class HostStatistics(NamedTuple):
    """Counts since the start."""

    frames_sent: int
    frames_lost: int
    frames_bad: int
    log_writes: int
    batches_applied: int
    proposals_resent: int
    read_exchanges: int
    snapshots_sent: int
    snapshots_installed: int
    snapshots_failed: int
    learners_promoted: int
    leaderships_given_away: int


class GroupHost:
    """All groups of this node. One at a time upon one log and one state machine."""

    def __init__(
        self,
        *,
        identity: NodeIdentity,
        wal: Wal,
        peers: Peers,
        handlers: Handlers,
        machine: StateMachine,
        clock: Clock,
        random: Random,
        threads: Threads,
        settings: GroupSettings | None = None,
    ) -> None:
        self.identity = identity
        self._ports = Ports(
            node=identity.node,
            wal=wal,
            peers=peers,
            machine=machine,
            clock=clock,
            random=random,
            threads=threads,
            settings=settings or GroupSettings(),
        )
        self._running: _Running | None = None
        self._bad_frames = 0
        self._started = trio.Event()
        handlers.on_message(CHANNEL, self._on_frame)
        handlers.on_call(groups_members.CHANGE_METHOD, self._on_change)
        handlers.on_call(groups_members.TRANSFER_METHOD, self._on_transfer)
        handlers.on_message(groups_members.LEAVING_CHANNEL, self._on_leaving)
        handlers.on_message(groups_pace.PACE_CHANNEL, self._on_pace)
        handlers.on_stream(groups_snapshots.METHOD, self._on_snapshot)

    # Life.

    async def bootstrap(self, groups: Iterable[int], members: Sequence[NodeId]) -> None:
        """Begin the groups on one of their first members; the same on each, before `run`.

        A group that the state machine has a mark of already (a single node that becomes the first
        of a cluster) goes on from it. The identity is written last: a bootstrap that was cut short
        is made again. Raises IdentityError when the disk is any node's already.
        """
        await self._check_free_disk()
        state = frames.encode_members(ConfState(voters=tuple(sorted(members))))
        machine = self._ports.machine
        writes = []
        for number in groups:
            mark = machine.applied(number)
            if mark is None:
                mark = Applied(*_FIRST, state)
                await machine.install(number, mark, _no_chunks())
            hard_state = HardState(term=mark.term, commit=mark.index)
            writes.append(LogWrite(number, hard_state=hard_state, begin=(mark.index, mark.term)))
        await self._ports.threads.run(partial(self._ports.wal.write, writes))
        await self._ports.threads.run(partial(self._ports.wal.set_identity, self.identity))

    async def join(self) -> None:
        """Take an empty disk for a node that the leaders are then told to add, before `run`.

        Raises IdentityError when the disk is any node's already.
        """
        await self._check_free_disk()
        await self._ports.threads.run(partial(self._ports.wal.set_identity, self.identity))

    async def _check_free_disk(self) -> None:
        identity = self.identity
        stored = await self._ports.threads.run(self._ports.wal.identity)
        check_disk(stored, cluster=identity.cluster, node=identity.node, joining=True)

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Runs the groups until cancelled. Raises IdentityError for another node's or an empty
        disk, and LogWriteFailed (in a group) when the log could not be written."""
        identity = self.identity
        stored = await self._ports.threads.run(self._ports.wal.identity)
        check_disk(stored, cluster=identity.cluster, node=identity.node, joining=False)
        loop = GroupLoop(self._ports)
        await loop.open_all()
        async with trio.open_nursery() as nursery:
            running = self._running = _Running(loop, nursery)
            try:
                for task in (
                    loop.run_ticker,
                    loop.run_pump,
                    loop.run_writer,
                    loop.run_applier,
                    running.members.run,
                ):
                    nursery.start_soon(task)
                if self._ports.settings.pace_interval_s > 0:
                    nursery.start_soon(running.pace.run)
                self._started.set()
                task_status.started()
                await trio.sleep_forever()
            finally:
                running.stop()

    async def wait_started(self) -> None:
        """Returns once questions are taken."""
        await self._started.wait()

    @property
    def runs(self) -> bool:
        """Whether questions are taken."""
        return self._running is not None and not self._running.stopped

    def _live(self) -> "_Running":
        running = self._running
        if running is None or running.stopped:
            raise HostStopped("the host of the groups does not run")
        return running

    # Questions of this node.

    async def propose(self, group: int, data: bytes, timeout_s: float) -> bytes:
        """Have `data` applied by a group, once, and give its result; from any node.

        Raises ProposalRefused (it is in no log), OutcomeUnknown (it may be applied, now or
        later), HostStopped. A cancelled proposal may be applied, too.
        """
        return await self._live().proposals.propose(group, data, timeout_s=timeout_s)

    def shows_all(self, groups: Iterable[int]) -> bool:
        """Whether `read_barrier` would have nothing to wait for."""
        running = self._running
        return running is not None and not running.stopped and running.reads.shows_all(groups)

    async def read_barrier(self, groups: Iterable[int], timeout_s: float) -> None:
        """Wait until this node's state machine shows all that was committed in `groups` before.

        Raises BarrierTimeout, which names the groups; ReadRefused when too many wait.
        """
        await self._live().reads.barrier(groups, timeout_s=timeout_s)

    async def change_members(
        self, group: int, changes: Sequence[ConfChangeSingle], timeout_s: float | None = None
    ) -> None:
        """Change who belongs to a group; returns when the new members are in force.

        Asking for what is so already changes nothing. Raises ConfChangeRefused, NoLeader.
        """
        timeout_s = self._ports.settings.change_timeout_s if timeout_s is None else timeout_s
        await self._live().members.change(group, changes, timeout_s=timeout_s)

    async def transfer_leadership(
        self, group: int, target: NodeId, timeout_s: float | None = None
    ) -> None:
        """Have `target` lead a group. Raises NoLeader when that did not come about in time."""
        timeout_s = self._ports.settings.change_timeout_s if timeout_s is None else timeout_s
        await self._live().members.transfer(group, target, timeout_s=timeout_s)

    async def hand_over(self, timeout_s: float) -> tuple[int, ...]:
        """Have other nodes lead what this one leads, and lead nothing from now on: it is about to
        stop. Returns the groups that nobody could take in time."""
        return await self._live().members.hand_over(timeout_s=timeout_s)

    async def add_node(self, node: NodeId) -> None:
        """Make a node a learner of every group that it is no member of; leaders promote it."""
        add = ConfChangeSingle(ChangeKind.ADD_LEARNER_NODE, node)
        for number, group in list(self._live().loop.groups.items()):
            if node not in group.node.configuration.members:
                await self.change_members(number, (add,))

    async def remove_node(self, node: NodeId) -> None:
        """Take a node out of every group. Raises ConfChangeRefused for the last voter."""
        remove = ConfChangeSingle(ChangeKind.REMOVE_NODE, node)
        for number in list(self._live().loop.groups):
            await self.change_members(number, (remove,))

    async def wait_leader(self, group: int) -> NodeId:
        """The leader of a group that this node knows of, once there is one."""
        loop = self._live().loop
        known = loop.groups[group]
        while not known.node.leader:
            await known.changed.wait()
        return known.node.leader

    def members(self, group: int) -> frozenset[NodeId]:
        """Who belongs to a group as this node knows it; nobody when it does not run, or has
        nothing of the group."""
        running = self._running
        known = None if running is None else running.loop.groups.get(group)
        return frozenset() if known is None else known.node.configuration.members

    def leads(self, group: int) -> bool:
        """Whether this node takes itself for the leader of a group."""
        running = self._running
        known = None if running is None or running.stopped else running.loop.groups.get(group)
        return known is not None and known.leads

    def status(self) -> tuple[GroupStatus, ...]:
        """Every group of this node, by number."""
        groups = self._live().loop.groups
        return tuple(_status_of(groups[number]) for number in sorted(groups))

    def statistics(self) -> HostStatistics:
        """Counts since the start."""
        running = self._live()
        return HostStatistics(
            frames_sent=running.loop.outbox.sent,
            frames_lost=running.loop.outbox.lost,
            frames_bad=self._bad_frames,
            log_writes=running.loop.writes,
            batches_applied=running.loop.batches_applied,
            proposals_resent=running.proposals.resent,
            read_exchanges=running.reads.exchanges,
            snapshots_sent=running.sender.delivered,
            snapshots_installed=running.receiver.installed,
            snapshots_failed=running.sender.failed + running.receiver.failed,
            learners_promoted=running.members.promoted,
            leaderships_given_away=running.members.given_away,
        )

    # Questions and messages of other nodes.

    def _on_frame(self, sender: NodeId, payload: bytes) -> None:
        """A frame of a peer: what cannot be understood is counted and dropped."""
        running = self._running
        if running is None or running.stopped:
            return
        try:
            frame = frames.decode_frame(payload)
            running.take_frame(sender, frame)
        except (BadFrame, ValueError):
            self._bad_frames += 1

    async def _on_change(self, sender: NodeId, payload: bytes) -> bytes:
        return await self._live().members.on_change(sender, payload)

    async def _on_transfer(self, sender: NodeId, payload: bytes) -> bytes:
        return await self._live().members.on_transfer(sender, payload)

    def _on_leaving(self, sender: NodeId, payload: bytes) -> None:
        running = self._running
        if running is not None and not running.stopped:
            running.members.on_leaving(sender, payload)

    def _on_pace(self, sender: NodeId, payload: bytes) -> None:
        running = self._running
        if running is None or running.stopped:
            return
        try:
            running.pace.on_message(sender, payload)
        except BadFrame:
            self._bad_frames += 1

    async def _on_snapshot(self, sender: NodeId, header: bytes, stream: PeerStream) -> None:
        await self._live().receiver.on_stream(sender, header, stream)


class _Running:
    """The parts of a host while it runs."""

    def __init__(self, loop: GroupLoop, nursery: trio.Nursery) -> None:
        self.loop = loop
        self.proposals = Proposals(loop)
        self.reads = Reads(loop, nursery)
        self.sender = SnapshotSender(loop, nursery)
        self.receiver = SnapshotReceiver(loop, nursery)
        self.members = Members(loop)
        self.pace = Pace(loop.ports, self.members)
        self.stopped = False
        loop.listeners = Listeners(
            leader_changed=self._on_leader_changed,
            applied=self.proposals.on_applied,
            read=self.reads.on_read,
            snapshot_wanted=self.sender.on_wanted,
            proposals_dropped=self.proposals.on_dropped,
            questions_dropped=self.reads.on_dropped,
            ticked=self._on_tick,
        )

    def _on_tick(self) -> None:
        self.proposals.on_tick()
        self.reads.on_tick()
        self.members.on_tick()

    def _on_leader_changed(self, group: Group) -> None:
        self.proposals.on_leader_changed(group)
        self.reads.on_leader_changed(group)

    def stop(self) -> None:
        """Nobody waits for anything any more."""
        self.stopped = True
        self.proposals.stop()
        self.reads.stop()

    def take_frame(self, sender: NodeId, frame: frames.Frame) -> None:
        """Everything in a frame, in turn. Raises BadFrame or ValueError and drops the rest."""
        node = self.loop.ports.node
        for beat in frame.heartbeats:
            message = frames.heartbeat_message(beat, sender=sender, to=node)
            self._step(beat.group, message, opens=True)
        for answer in frame.beats:
            self._step(answer.group, frames.beat_message(answer, sender=sender, to=node))
        for wire in frame.messages:
            self._step(wire.group, frames.raft_message(wire, sender=sender, to=node))
        for proposal in frame.proposals:
            self.proposals.on_proposal(sender, proposal)
        for result in frame.answers:
            self.proposals.on_answer(result)
        for question in frame.read_questions:
            self.reads.on_question(sender, question)
        for told in frame.read_answers:
            self.reads.on_answer(sender, told)

    def _step(self, number: int, message: Message, *, opens: bool = False) -> None:
        """Step a core; a leader's heartbeat begins a group that this node is to join."""
        group = self.loop.groups.get(number)
        if group is None:
            if not opens or not 0 <= number < self.loop.ports.settings.groups_max:
                return
            group = self.loop.open(number)
        self.loop.step(group, message)


def _status_of(group: Group) -> GroupStatus:
    node = group.node
    raft = node.raft
    last = raft.log.last_index()
    role = role_name(node.role)
    if group.held:
        role = "installing" if group.installing else "hollow"
    lag = {}
    if group.leads:
        lag = {member: last - known.match for member, known in node.progress.items()}
    return GroupStatus(
        group=group.number,
        role=role,
        leader=node.leader,
        term=node.term,
        commit=raft.log.committed,
        applied=group.applied,
        log_first=raft.log.first_index(),
        log_last=last,
        members=node.configuration.conf_state(),
        lag=lag,
    )


async def _no_chunks() -> AsyncIterator[bytes]:
    none: tuple[bytes, ...] = ()
    for chunk in none:
        yield chunk
