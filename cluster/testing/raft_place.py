"""One node of a simulated group: core, disk, clock, state machine, and who waits for it."""

from collections.abc import Callable
from typing import Any

from cluster.base.ids import NodeId
from cluster.raft.core import Raft
from cluster.raft.messages import Message, ReadState, Snapshot
from cluster.raft.node import RaftNode
from cluster.raft.sessions import Outcome, Sessions, SessionState
from cluster.raft.storage import MemoryStorage
from cluster.testing.raft_checks import Checks
from cluster.testing.raft_disk import SimDisk

MachineState = tuple[Any, SessionState]
"""What a machine is made of, and its sessions."""


class Machine:
    """The replicated state: the length of a list, and the sessions that append to it."""

    def __init__(self) -> None:
        self.length = 0
        self.sessions = Sessions(sessions_max=8, results_max=4)

    def apply(self, name: bytes, checks: Checks, *, exactly_once: bool) -> bytes:
        """Run the command `client:number`; its result is its place in the list."""
        client, _, number = name.partition(b":")
        self.sessions.open(client)

        def run() -> bytes:
            self.length += 1
            return b"%d" % self.length

        if not exactly_once:
            result = run()
            checks.on_effect(name, result)
            return result
        answer = self.sessions.execute(
            client, int(number), acknowledged_to=int(number) - 1, run=run
        )
        if answer.outcome is Outcome.APPLIED:
            checks.on_effect(name, answer.result)
        return answer.result

    def state(self) -> MachineState:
        """Everything, for a snapshot."""
        return self.length, self.sessions.state()

    def restore(self, state: MachineState) -> None:
        """Start again from a snapshot."""
        self.length = state[0]
        self.sessions.restore(state[1])


class Place:
    """One node. `incarnation` counts its starts: an event of an earlier one finds nobody."""

    node: RaftNode

    def __init__(self, number: NodeId, first: Snapshot) -> None:
        self.id = number
        self.incarnation = 0
        self.alive = False
        self.disk = SimDisk(first)
        self.conf_state = first.conf_state
        self.machine = Machine()
        self.applied = 0
        self.clock_rate = 1.0
        self.clock_offset_us = 0
        self.paused_until_us = 0
        self.slow_until_us = 0
        self.busy = False
        self.crash_at = ""
        """Where the driver is to be stopped: before_sync, after_sync, disk_error, or nowhere."""
        self.append_work: list[Message] = []
        self.apply_work: list[Message] = []
        self.writes: dict[bytes, Callable[[bytes], None]] = {}
        self.reads: dict[bytes, Callable[[int], None]] = {}
        self.reads_ready: list[ReadState] = []

    @property
    def raft(self) -> Raft:
        """Its core."""
        return self.node.raft

    @property
    def durable(self) -> MemoryStorage:
        """What a crash would leave of its disk."""
        return self.disk.durable

    def clock_ms(self, now_us: int) -> int:
        """The reading of its clock."""
        return int((self.clock_offset_us + now_us * self.clock_rate) / 1000)
