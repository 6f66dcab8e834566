"""A simulated Raft group: drivers, disks and the network, on one heap of events.

Everything follows from the plan's seed. The driver here does what a real one must, in the order
that `messages.Ready` states, and can be stopped at every point of it: before a sync, after it and
before anything leaves, between leaving and applying. A crash loses what was not synced; a pause
stops a node while the others and all clocks run on.
"""

from collections.abc import Callable
from heapq import heappop, heappush
from random import Random
from typing import Any, Final

from cluster.base.ids import APPEND_THREAD, NodeId, is_local
from cluster.raft.membership import ConfChange
from cluster.raft.messages import ConfState, Entry, EntryKind, Message, MessageType, Ready, Snapshot
from cluster.raft.options import Options
from cluster.testing.raft_bugs import NO_BUG, Bug
from cluster.testing.raft_checks import Checks, Violation, Watched
from cluster.testing.raft_place import Machine, MachineState, Place
from cluster.testing.raft_plan import DRIFT, MS, TICK_US, Plan

EVENTS_MAX: Final = 60_000
"""A run that needs more is stuck in a storm, which is a violation of its own."""

SNAPSHOT_PATIENCE_US: Final = 40 * MS


class World:
    """One run of one plan, up to a point in time at a time."""

    def __init__(
        self,
        plan: Plan,
        bug: Bug = NO_BUG,
        *,
        trace: bool = False,
        machine: type[Machine] = Machine,
        events_max: int = EVENTS_MAX,
    ) -> None:
        self.plan = plan
        self._events_max = events_max
        self.bug = bug
        self._machine = machine
        self.random = Random(plan.seed * 2 + 1)
        self.now_us = 0
        self.blocked: set[tuple[NodeId, NodeId]] = set()
        """Directed links that are cut."""
        self.loss = plan.loss
        self.trace: list[str] | None = [] if trace else None
        first = ConfState(voters=tuple(range(1, plan.voters + 1)))
        self._first = Snapshot(1, 1, first, b"1")
        self.checks = Checks(first)
        self.places: dict[NodeId, Place] = {}
        self._watched: dict[NodeId, Watched] = {}
        self._heap: list[tuple[int, int, Callable[..., None], tuple[Any, ...]]] = []
        self._order = 0
        self.events = 0
        self._snapshots: dict[bytes, MachineState] = {b"1": machine().state()}
        for number in range(1, plan.voters + plan.spares + 1):
            place = Place(number, self._first if number <= plan.voters else Snapshot())
            if plan.lease_ms:
                place.clock_rate = 1 + DRIFT * self.random.uniform(-1, 1)
                place.clock_offset_us = self.random.randrange(10_000_000)
            self.places[number] = place
            self._watched[number] = place
            self.start(place)

    # Time.

    def at(self, when_us: int, call: Callable[..., None], *args: Any) -> None:
        """Have `call` made at `when_us`."""
        self._order += 1
        heappush(self._heap, (when_us, self._order, call, args))

    def run_until(self, end_us: int, done: Callable[[], bool] | None = None) -> bool:
        """Run events up to `end_us`, or until `done`; returns whether it was."""
        heap = self._heap
        while heap and heap[0][0] <= end_us:
            self.now_us, _, call, args = heappop(heap)
            self.events += 1
            if self.events > self._events_max:
                raise Violation(f"{self.events} events, and the group does not come to rest")
            call(*args)
            if done is not None and done():
                return True
        self.now_us = max(self.now_us, end_us)
        return False

    def note(self, text: str) -> None:
        """A line of the trace, if one is kept."""
        if self.trace is not None:
            self.trace.append(f"{self.now_us / MS:9.2f} ms  {text}")

    # Life of a node.

    def start(self, place: Place) -> None:
        """Start a node from what its disk holds."""
        plan = self.plan
        place.incarnation += 1
        snapshot = place.disk.view.snapshot()
        place.machine = self._machine()
        if snapshot.index:
            place.machine.restore(self._snapshots[snapshot.data])
            self.checks.on_restored(place, snapshot.index, snapshot.conf_state)
        place.applied = snapshot.index
        place.conf_state = snapshot.conf_state
        options = Options(
            node=place.id,
            draw=self.random.randrange,
            election_ticks=plan.election_ticks,
            heartbeat_ticks=1,
            message_bytes_max=plan.message_bytes_max,
            inflight_max=plan.inflight_max,
            check_quorum=plan.check_quorum,
            pre_vote=plan.pre_vote,
            lease_ms=plan.lease_ms,
            follower_leases=plan.follower_leases,
            clock_drift_ratio_max=DRIFT,
            async_storage=plan.async_storage,
            applied=snapshot.index,
            now_ms=place.clock_ms(self.now_us),
            uncommitted_bytes_max=plan.uncommitted_bytes_max,
            reads_pending_max=16,
        )
        place.node = self.bug.node(options, place.disk.view, core=self.bug.core)
        place.alive = True
        place.busy = False
        place.crash_at = ""
        place.append_work = []
        place.apply_work = []
        place.writes = {}
        place.reads = {}
        place.reads_ready = []
        self.at(self.now_us + self.random.randrange(TICK_US), self._tick, place, place.incarnation)

    def crash(self, place: Place, why: str) -> None:
        """Stop a node as a power cut would, and have it started again soon."""
        self.note(f"node {place.id} crashes: {why}")
        place.alive = False
        place.disk.crash(self.random)
        if self.plan.rot and place.id == 1 and self.random.random() < 0.7:
            place.disk.rot(self.random, as_torn_tail="rot_as_torn_tail" in self.bug.driver)
        if "empty_disk" in self.bug.driver and place.id == 1:
            place.disk.wipe(self._first)
        if self.plan.follower_leases and self.random.random() < 0.5:
            # As if the machine had been started anew: its clock counts from zero.
            place.clock_offset_us = -int(self.now_us * place.clock_rate)
        down_us = self.random.randint(1 * MS, 20 * MS)
        self.at(self.now_us + down_us, self._restart, place, place.incarnation)

    def _restart(self, place: Place, incarnation: int) -> None:
        if not place.alive and place.incarnation == incarnation:
            self.start(place)
            self.note(f"node {place.id} starts")

    def _tick(self, place: Place, incarnation: int) -> None:
        if place.incarnation != incarnation or not place.alive:
            return
        if place.paused_until_us > self.now_us:
            self.at(place.paused_until_us, self._tick, place, incarnation)
            return
        place.node.tick(place.clock_ms(self.now_us))
        self.work(place)
        if place.alive:
            interval = int(TICK_US / place.clock_rate)
            self.at(self.now_us + interval, self._tick, place, incarnation)

    # Network.

    def _send(self, place: Place, messages: tuple[Message, ...]) -> None:
        for message in messages:
            if message.to not in self.places:
                continue
            if message.type is MessageType.TIMEOUT_NOW:
                self.checks.on_timeout_now(place, message.to)
            lost = (place.id, message.to) in self.blocked
            if lost or (self.loss and self.random.random() < self.loss):
                if message.type is MessageType.SNAP:
                    self._watch_snapshot(place, message.to)
                continue
            self._post(message)
            if message.type is MessageType.SNAP:
                self._watch_snapshot(place, message.to)
            if self.plan.duplication and self.random.random() < self.plan.duplication:
                self._post(message)

    def _post(self, message: Message) -> None:
        delay = self.random.randint(100, self.plan.delay_ms_max * MS)
        self.at(self.now_us + delay, self._deliver, message)

    def _watch_snapshot(self, place: Place, to: NodeId) -> None:
        """A driver gives up a stream of which it has heard nothing for a while, and says so."""
        when = self.now_us + SNAPSHOT_PATIENCE_US
        self.at(when, self._give_up_snapshot, place, place.incarnation, to)

    def _give_up_snapshot(self, place: Place, incarnation: int, to: NodeId) -> None:
        if place.incarnation == incarnation and place.alive:
            # One made before the receiver joined would be refused by it: make another.
            self._snapshot(place)
            place.node.report_snapshot(to, delivered=False)
            self.work(place)

    def _deliver(self, message: Message) -> None:
        place = self.places[message.to]
        if not place.alive or (message.sender, message.to) in self.blocked:
            return
        if place.paused_until_us > self.now_us:
            self.at(place.paused_until_us, self._deliver, message)
            return
        if self.trace is not None:
            self.note(_line(message))
        term = place.raft.term
        place.node.step(message, place.clock_ms(self.now_us))
        if message.type is MessageType.PRE_VOTE:
            self.checks.on_pre_vote(place, term)
        self.work(place)

    # The driver.

    def work(self, place: Place) -> None:
        """Take and work off batches as long as the node has some and its disk is free."""
        node = place.node
        self.checks.after_step(place, self._watched)
        while place.alive and not place.busy and node.has_ready():
            batch = node.ready()
            self.checks.on_batch(place, batch)
            place.reads_ready += batch.read_states
            if self.plan.async_storage:
                self._work_beside(place, batch)
            else:
                self._work_in_order(place, batch)
            if place.alive:
                self.checks.after_step(place, self._watched)

    def _sync_us(self, place: Place) -> int:
        sync_us = self.random.randint(100, 2 * MS)
        return sync_us * 20 if place.slow_until_us > self.now_us else sync_us

    def _work_in_order(self, place: Place, batch: Ready) -> None:
        self._send(place, batch.messages)
        place.disk.write(batch.hard_state, batch.entries, batch.snapshot)
        if batch.must_sync:
            place.busy = True
            when = self.now_us + self._sync_us(place)
            self.at(when, self._synced, place, place.incarnation, batch)
        else:
            self._after_sync(place, batch)

    def _stopped_at_sync(self, place: Place) -> bool:
        """Make the write durable, unless the node is to fall before or after that."""
        if place.crash_at in ("before_sync", "disk_error"):
            self.crash(place, place.crash_at)
            return True
        place.disk.sync()
        if place.crash_at == "after_sync":
            self.crash(place, place.crash_at)
            return True
        return False

    def _synced(self, place: Place, incarnation: int, batch: Ready) -> None:
        if place.incarnation != incarnation or not place.alive:
            return
        if place.paused_until_us > self.now_us:
            self.at(place.paused_until_us, self._synced, place, incarnation, batch)
            return
        if self._stopped_at_sync(place):
            return
        place.busy = False
        self._after_sync(place, batch)
        if place.alive:
            self.work(place)

    def _after_sync(self, place: Place, batch: Ready) -> None:
        self._send(place, batch.messages_after_sync)
        if place.crash_at == "after_send" and batch.messages_after_sync:
            self.crash(place, place.crash_at)
            return
        if batch.snapshot is not None:
            self._restore(place, batch.snapshot.index)
        self._apply(place, batch.committed)
        place.node.advance()
        self._serve_reads(place)

    def _work_beside(self, place: Place, batch: Ready) -> None:
        self._send(place, tuple(m for m in batch.messages if not is_local(m.to)))
        for message in batch.messages:
            if message.to == APPEND_THREAD:
                place.append_work.append(message)
                if len(place.append_work) == 1:
                    self._begin_append(place)
            elif is_local(message.to):
                place.apply_work.append(message)
                self.at(self.now_us + 200, self._apply_beside, place, place.incarnation)
        self._serve_reads(place)

    def _begin_append(self, place: Place) -> None:
        when = self.now_us + self._sync_us(place)
        self.at(when, self._appended, place, place.incarnation)

    def _appended(self, place: Place, incarnation: int) -> None:
        if place.incarnation != incarnation or not place.alive:
            return
        if place.paused_until_us > self.now_us:
            self.at(place.paused_until_us, self._appended, place, incarnation)
            return
        message = place.append_work[0]
        place.disk.write(message.hard_state, message.entries, message.snapshot)
        if self._stopped_at_sync(place):
            return
        del place.append_work[0]
        if place.append_work:
            self._begin_append(place)
        if message.snapshot is not None:
            self._restore(place, message.snapshot.index)
        self._send(place, tuple(m for m in message.responses if m.to != place.id))
        if place.crash_at == "after_send" and message.responses:
            self.crash(place, place.crash_at)
            return
        for response in message.responses:
            if response.to == place.id:
                place.node.step(response, place.clock_ms(self.now_us))
        self._serve_reads(place)
        self.work(place)

    def _apply_beside(self, place: Place, incarnation: int) -> None:
        if place.incarnation != incarnation or not place.alive:
            return
        if place.paused_until_us > self.now_us:
            self.at(place.paused_until_us, self._apply_beside, place, incarnation)
            return
        # In the order given, in whatever order a pause has left the events.
        message = place.apply_work.pop(0)
        self._apply(place, message.entries)
        for response in message.responses:
            place.node.step(response, place.clock_ms(self.now_us))
        self._serve_reads(place)
        self.work(place)

    # The state machine.

    def _restore(self, place: Place, index: int) -> None:
        snapshot = place.disk.view.snapshot()
        if snapshot.index != index:
            return
        place.machine.restore(self._snapshots[snapshot.data])
        place.applied = index
        place.conf_state = snapshot.conf_state
        state = place.raft.configuration.conf_state()
        if place.raft.log.unstable.snapshot is not None:
            # The core is further already: another snapshot has come while this one was written.
            later = place.raft.log.unstable.snapshot
            state = snapshot.conf_state if later.index > index else state
        self.checks.on_restored(place, index, state)

    def _apply(self, place: Place, entries: tuple[Entry, ...]) -> None:
        for entry in entries:
            if entry.index <= place.applied:
                continue
            self.checks.on_apply(place, entry)
            if entry.kind is EntryKind.NORMAL:
                self._apply_command(place, entry.data)
            else:
                change = ConfChange.decode(entry.data)
                place.conf_state = place.node.apply_conf_change(change)
                self.checks.on_members(place, entry.index, place.conf_state)
                self.note(f"node {place.id} applies {change} at {entry.index}")
            place.applied = entry.index
        if entries and place.applied - place.disk.view.snapshot().index >= self.plan.snapshot_every:
            self._snapshot(place)

    def _apply_command(self, place: Place, name: bytes) -> None:
        if not name:
            return
        exactly_once = "no_sessions" not in self.bug.driver
        result = place.machine.apply(name, self.checks, exactly_once=exactly_once)
        waiting = place.writes.pop(name, None)
        if waiting is not None and result:
            waiting(result)

    def _snapshot(self, place: Place) -> None:
        index = place.applied
        if index > place.durable.last_index():
            return
        name = b"%d" % index
        self._snapshots[name] = place.machine.state()
        state = ConfState() if "snapshot_without_members" in self.bug.driver else place.conf_state
        place.disk.make_snapshot(index, state, name, keep=self.plan.keep_entries)

    def _serve_reads(self, place: Place) -> None:
        if not place.reads_ready:
            return
        later = []
        for read in place.reads_ready:
            if read.index > place.applied and "read_before_apply" not in self.bug.driver:
                later.append(read)
                continue
            waiting = place.reads.pop(read.context, None)
            if waiting is not None:
                waiting(place.machine.length)
        place.reads_ready = later

    @property
    def leader(self) -> Place | None:
        """The living leader of the highest term."""
        leading = [
            place for place in self.places.values() if place.alive and place.raft.leader == place.id
        ]
        return max(leading, key=lambda place: place.raft.term, default=None)


def _line(message: Message) -> str:
    kind = MessageType(message.type).name
    text = f"{message.sender}->{message.to} {kind} term {message.term} log {message.log_term}/"
    text += f"{message.index} commit {message.commit}"
    if message.entries:
        text += f" entries {message.entries[0].index}..{message.entries[-1].index}"
    if message.reject:
        text += f" rejected, hint {message.reject_hint}"
    return text
