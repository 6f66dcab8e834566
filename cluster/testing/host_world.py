"""Whole hosts of groups in one process: nodes that start, fall and come back, on a mock clock.

A node's disk (log and state machine) outlives its starts. What a start is given is cut off at the
moment the node falls: a write that had not returned is not made, a message that had not left is
not sent. All state machines are compared entry by entry as they apply, and a group must never have
two leaders in a term.
"""

from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from functools import partial
from hashlib import sha256
from random import Random
from typing import Final, TypeVar

import trio
import trio.testing

from cluster.base.ids import NodeId
from cluster.base.ports import GroupEntry
from cluster.drivers.groups import GroupHost
from cluster.drivers.groups_settings import GroupSettings
from cluster.raft.identity import NodeIdentity
from cluster.testing.memory_machine import MemoryMachine
from cluster.testing.memory_peers import MemoryNetwork, MemoryPeers
from cluster.testing.memory_wal import MemoryWal

T = TypeVar("T")

CLUSTER: Final = "simulated"

SETTINGS: Final = GroupSettings(
    log_entries_max=40,
    log_entries_kept=10,
    snapshot_idle_s=2.0,
    snapshot_alive_s=0.5,
    snapshot_resume_pause_s=0.1,
    care_interval_s=0.5,
)
"""Logs are cut early, so that snapshots are common."""


class Violation(AssertionError):
    """Something that must never be so."""


class SimClock:
    """A node's clock: it began somewhere and runs a little fast or slow."""

    def __init__(self, offset_s: float = 0.0, rate: float = 1.0) -> None:
        self.offset_s = offset_s
        self.rate = rate

    def now_ms(self) -> int:
        """As `Clock.now_ms`."""
        return int(self.monotonic() * 1000)

    def monotonic(self) -> float:
        """As `Clock.monotonic`."""
        return self.offset_s + trio.current_time() * self.rate


class SimRandom:
    """Randomness out of a seed."""

    def __init__(self, random: Random) -> None:
        self._random = random

    def token_bytes(self, count: int) -> bytes:
        """As `Random.token_bytes`."""
        return self._random.randbytes(count)


class SimNode:
    """One node: its disk, and the start that runs now."""

    def __init__(self, world: "HostWorld", number: NodeId) -> None:
        self.world = world
        self.number = number
        self.wal = MemoryWal()
        self.machine = MemoryMachine(self.pause, self._observe)
        self.clock = SimClock()
        self.host: GroupHost
        self.peers: MemoryPeers
        self.alive = False
        self.starts = 0
        self.disk_s = (0.0001, 0.001)
        self.armed = ""
        """Where the node is to fall next: before_sync, after_sync, or nowhere."""
        self._scope = trio.CancelScope()
        self._dead = trio.Event()
        self._observed: dict[int, int] = {}

    async def pause(self) -> None:
        """The disk takes its time; a node that fell meanwhile never sees the end of it."""
        starts = self.starts
        await trio.sleep(self.world.random.uniform(*self.disk_s))
        if not self.alive or self.starts != starts:
            await trio.sleep_forever()

    async def run(self, function: Callable[[], T]) -> T:
        """As `Threads.run`: before the function and after it the node may fall."""
        await self.pause()
        await self._fall_if("before_sync")
        result = function()
        await self._fall_if("after_sync")
        await self.pause()
        return result

    async def _fall_if(self, point: str) -> None:
        if self.armed == point:
            self.fall()
            await trio.sleep_forever()

    def _observe(self, entry: GroupEntry) -> None:
        self.world.on_applied(self.number, entry)

    async def live(self, prepare: Callable[[GroupHost], object] | None) -> None:
        """One start, from the disk as it is, until the node falls."""
        self.starts += 1
        self.alive = True
        self._dead = trio.Event()
        try:
            with trio.CancelScope() as self._scope:
                async with trio.open_nursery() as nursery:
                    self.peers = MemoryPeers(self.world.network, self.number, nursery)
                    self.host = self.world.new_host(self)
                    if prepare is not None:
                        await prepare(self.host)  # type: ignore[misc]
                    await self.host.run()
        finally:
            self.alive = False
            self.peers.cut_off()
            self._dead.set()

    def fall(self) -> None:
        """Fall, as by a power cut."""
        self.alive = False
        self.armed = ""
        self.peers.cut_off()
        self.world.note(f"node {self.number} falls")
        self._scope.cancel()

    async def crash(self) -> None:
        """Fall; returns when nothing of it is left."""
        self.fall()
        await self.wait_dead()

    async def wait_dead(self) -> None:
        """Returns once the node has fallen and nothing of it is left."""
        await self._dead.wait()


class HostWorld:
    """Some nodes, the network between them, and what all of them have applied."""

    def __init__(
        self,
        nursery: trio.Nursery,
        *,
        seed: int = 0,
        nodes: int = 3,
        groups: Sequence[int] = (0, 1, 2),
        settings: GroupSettings = SETTINGS,
        host: type[GroupHost] = GroupHost,
    ) -> None:
        self.nursery = nursery
        self.random = Random(seed)
        self.network = MemoryNetwork(self.random)
        self.network.note = self.note
        self.settings = settings
        self.groups = tuple(groups)
        self.first = tuple(range(1, nodes + 1))
        self.nodes: dict[NodeId, SimNode] = {}
        self._host = host
        self._events = sha256()
        self.trace: list[str] | None = None
        self._log: dict[tuple[int, int], GroupEntry] = {}
        self._leaders: dict[tuple[int, int], NodeId] = {}
        self._terms: dict[tuple[NodeId, int, int], int] = {}

    def note(self, text: str) -> None:
        """One event more."""
        line = f"{trio.current_time():.6f} {text}"
        self._events.update(line.encode())
        if self.trace is not None:
            self.trace.append(line)

    def digest(self) -> str:
        """The hash of all events so far."""
        return self._events.hexdigest()

    def new_host(self, node: SimNode) -> GroupHost:
        """A host upon a node's disk."""
        token = b"token of node %d" % node.number
        return self._host(
            identity=NodeIdentity(CLUSTER, node.number, token),
            wal=node.wal,
            peers=node.peers,
            handlers=node.peers,
            machine=node.machine,
            clock=node.clock,
            random=SimRandom(Random(self.random.getrandbits(64))),
            threads=node,
            settings=replace(self.settings),
        )

    # Nodes.

    async def begin(self) -> None:
        """The first nodes start, on empty disks."""
        for number in self.first:
            self.nodes[number] = SimNode(self, number)
            self.start(number, self._bootstrap)
        for number in self.first:
            await self.wait_started(number)

    async def _bootstrap(self, host: GroupHost) -> None:
        await host.bootstrap(self.groups, self.first)

    def start(self, number: NodeId, prepare: Callable[[GroupHost], object] | None = None) -> None:
        """Start a node from its disk."""
        self.note(f"node {number} starts")
        self.nursery.start_soon(self.nodes[number].live, prepare)

    async def join(self, number: NodeId) -> SimNode:
        """A new node with an empty disk starts; somebody has still to add it."""
        node = self.nodes[number] = SimNode(self, number)
        self.start(number, GroupHost.join)
        await self.wait_started(number)
        return node

    async def wait_started(self, number: NodeId) -> None:
        """Returns once a node that was started takes questions."""
        await trio.testing.wait_all_tasks_blocked()
        await self.nodes[number].host.wait_started()

    async def restart(self, number: NodeId) -> None:
        """A node falls and comes back at once."""
        await self.nodes[number].crash()
        self.start(number)
        await self.wait_started(number)

    @property
    def living(self) -> list[SimNode]:
        """The nodes that run and take questions."""
        return [node for node in self.nodes.values() if node.alive and node.host.runs]

    def leader_of(self, group: int) -> SimNode | None:
        """The living leader of the highest term."""
        leading = [
            (status.term, node)
            for node in self.living
            for status in node.host.status()
            if status.group == group and status.role == "leader"
        ]
        return max(leading, key=lambda pair: pair[0])[1] if leading else None

    async def wait_led(self, *, limit_s: float = 30.0) -> None:
        """Returns once every group has a leader that all living nodes know."""
        await self.wait_until(self._all_led, limit_s=limit_s)

    def _all_led(self) -> bool:
        for group in self.groups:
            views = {
                status.leader
                for node in self.living
                for status in node.host.status()
                if status.group == group
            }
            if len(views) != 1 or 0 in views:
                return False
        return True

    async def wait_until(self, done: Callable[[], bool], *, limit_s: float = 30.0) -> None:
        """Returns once `done`; raises Violation when it takes too long."""
        with trio.move_on_after(limit_s):
            while True:
                if done():
                    return
                await trio.sleep(0.01)
        raise Violation(f"not so within {limit_s} s: {getattr(done, '__name__', done)}")

    async def wait_equal(self, *, limit_s: float = 30.0) -> None:
        """Returns once all living nodes show the same; raises Violation."""
        await self.wait_until(self._all_equal, limit_s=limit_s)

    def _all_equal(self) -> bool:
        return all(
            len(
                {
                    node.machine.content(group)
                    for node in self.living
                    if group in node.machine.groups
                }
            )
            == 1
            and all(group in node.machine.groups for node in self.living)
            for group in self.groups
        )

    # What must always be so.

    def on_applied(self, node: NodeId, entry: GroupEntry) -> None:
        """State machine safety: what one node applied at an index, all apply there."""
        known = self._log.setdefault((entry.group, entry.index), entry)
        if known != entry:
            raise Violation(f"node {node} applies {entry}, another applied {known}")
        self.note(f"node {node} applies {entry.group}/{entry.index}")

    def check_leaders(self) -> None:
        """Election safety: a group has one leader in a term, and no term of a node goes back."""
        for node in self.living:
            for status in node.host.status():
                start = (node.number, node.starts, status.group)
                if status.term < self._terms.get(start, 0):
                    raise Violation(f"node {node.number} is in term {status.term} again: {start}")
                self._terms[start] = status.term
                if status.role != "leader":
                    continue
                known = self._leaders.setdefault((status.group, status.term), node.number)
                if known != node.number:
                    raise Violation(
                        f"nodes {known} and {node.number} lead group {status.group} "
                        f"in term {status.term}"
                    )


@asynccontextmanager
async def hosts(
    *,
    seed: int = 0,
    nodes: int = 3,
    groups: Sequence[int] = (0, 1, 2),
    settings: GroupSettings = SETTINGS,
    host: type[GroupHost] = GroupHost,
) -> AsyncIterator[HostWorld]:
    """A world whose nodes have started; everything ends with the block."""
    async with trio.open_nursery() as nursery:
        world = HostWorld(
            nursery, seed=seed, nodes=nodes, groups=groups, settings=settings, host=host
        )
        nursery.start_soon(partial(world.network.run))
        await world.begin()
        yield world
        nursery.cancel_scope.cancel()
