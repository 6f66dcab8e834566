"""Who belongs to the groups and who leads them: changes asked for, and the care leaders take.

A change of members goes to the leader and is made there, through a joint configuration when it
takes more than one step; asking for what is so already is answered at once, so that a change may be
asked for again. Leaders look around every few seconds: a learner that has caught up becomes a voter
while there are fewer than `voters_max`, and one that leads at least two groups more than another
voter gives one of them away. Each such step is small and leaves the rest for the next time, so that
leaders which act at the same moment on what they know do not drive each other to and fro.

A node that is about to stop hands over whatever it leads (`hand_over`), which costs each group some
milliseconds instead of an election timeout. It goes on saying that it leaves, so that nobody gives
it a group; what comes to it all the same it gives away again. So does one whose messages are late
(`stand_back`), until they are not, and one whose disk is full, until there is room.
"""

from collections import Counter
from collections.abc import Iterable, Sequence

import trio

from cluster.base.errors import (
    BadFrame,
    ConfChangeRefused,
    NoLeader,
    PeerError,
    ProposalRefused,
    RemoteFailure,
)
from cluster.base.ids import NO_NODE, NodeId
from cluster.drivers import groups_frames as frames
from cluster.drivers.groups_group import Group
from cluster.drivers.groups_loop import GroupLoop
from cluster.drivers.groups_settings import Leaders
from cluster.raft.membership import ChangeKind, ConfChange, ConfChangeSingle, Configuration
from cluster.raft.messages import Role
from cluster.raft.progress import Progress, ProgressState

CHANGE_METHOD = "groups.change"
TRANSFER_METHOD = "groups.transfer"
LEAVING_CHANNEL = "groups.leaving"
"""Empty messages of a node that leads nothing any more."""

_SOONEST_S = 0.05
"""Between two attempts at the same thing."""

_HAND_OVER_LOOK_S = 0.01
"""Between two looks at what is still to be handed over; a transfer takes two round trips."""

_NOBODY_S = 0.3
"""Without anybody to take over for so long, what is led here stays: two rounds of heartbeats."""

_LEAVING_INTERVALS = 2.5
"""So many rounds of care without its saying so again, and a node leaves no more."""


class Members:
    """Changes of members and of leaders."""

    def __init__(self, loop: GroupLoop) -> None:
        self._loop = loop
        self._ports = loop.ports
        self._is_leaving = False
        self._is_slow = False
        self._is_full = False
        self._leaving_until: dict[NodeId, float] = {}
        self.promoted = 0
        self.given_away = 0

    # Asked for, from any node.

    async def change(
        self, number: int, changes: Sequence[ConfChangeSingle], *, timeout_s: float
    ) -> None:
        """Returns once the members are as `changes` asks. Raises ConfChangeRefused, NoLeader."""
        change = ConfChange(tuple(changes))
        timeout_ms = max(1, int(timeout_s * 1000))
        payload = frames.encode(
            frames.ChangeRequest(frames.VERSION, number, change.encode(), timeout_ms)
        )
        with trio.move_on_after(timeout_s):
            while True:
                if await self._ask(number, CHANGE_METHOD, payload, timeout_s):
                    return
                await trio.sleep(_SOONEST_S)
        raise NoLeader(f"the members of group {number} were not changed in time")

    async def transfer(self, number: int, target: NodeId, *, timeout_s: float) -> None:
        """Returns once `target` leads, as far as this node hears. Raises NoLeader."""
        payload = frames.encode(frames.TransferRequest(frames.VERSION, number, target))
        with trio.move_on_after(timeout_s):
            while True:
                group = self._loop.groups.get(number)
                if group is not None and group.node.leader == target:
                    return
                await self._ask(number, TRANSFER_METHOD, payload, timeout_s)
                if group is None:
                    await trio.sleep(_SOONEST_S)
                    continue
                with trio.move_on_after(self._ports.settings.retry_s):
                    while group.node.leader != target:
                        await group.changed.wait()
        raise NoLeader(f"group {number} was not handed over to node {target} in time")

    async def hand_over(self, *, timeout_s: float) -> tuple[int, ...]:
        """Give every group that this node leads to another voter, and lead none from now on.

        Returns the groups that nobody could take, sorted: in time, or because nobody is there who
        stays.
        """
        self._is_leaving = True
        for group in self._loop.groups.values():
            group.node.refuse_leases()
        self._say_leaving()
        tried: Counter[tuple[int, NodeId]] = Counter()
        ends_at = trio.current_time() + timeout_s
        gives_up_at = trio.current_time() + _NOBODY_S
        while self._led_here() and trio.current_time() < min(ends_at, gives_up_at):
            if self._give_all(tried):
                gives_up_at = trio.current_time() + _NOBODY_S
            await trio.sleep(_HAND_OVER_LOOK_S)
        await self._give_leases_back(ends_at)
        return tuple(sorted(group.number for group in self._led_here()))

    async def _give_leases_back(self, ends_at: float) -> None:
        """Until every leader has had a heartbeat to which this node could say that it holds no
        lease: writes would wait for one that is gone."""
        settings = self._ports.settings
        if self.others():
            until = trio.current_time() + (settings.heartbeat_ticks + 1) * settings.tick_s
            await trio.sleep_until(min(until, ends_at))

    def stand_back(self, is_slow: bool) -> None:
        """While it is slow, this node gives away what it leads, and says so that nobody gives it
        more; what it is told last holds."""
        if is_slow and not self._is_slow:
            self._say_leaving()
        self._is_slow = is_slow
        if is_slow:
            self._give_all(Counter())

    def on_tick(self) -> None:
        """As `stand_back`, while the disk is full: the others can write without this node."""
        if self._loop.lacks_room and not self._is_full:
            self._say_leaving()
        self._is_full = self._loop.lacks_room
        if self._is_full:
            self._give_all(Counter())

    async def _ask(self, number: int, method: str, payload: bytes, timeout_s: float) -> bool:
        """Have the leader do it; False when that must be tried again."""
        group = self._loop.groups.get(number)
        leader = NO_NODE if group is None else group.node.leader
        if leader == NO_NODE:
            return False
        handler = self.on_change if method == CHANGE_METHOD else self.on_transfer
        try:
            if leader == self._ports.node:
                await handler(leader, payload)
            else:
                await self._ports.peers.call(leader, method, payload, timeout_s=timeout_s)
        except RemoteFailure as failure:
            if failure.remote_code == ConfChangeRefused.code:
                raise ConfChangeRefused(str(failure)) from failure
            return False
        except (PeerError, ProposalRefused):
            return False
        return True

    # The leader's side.

    async def on_change(self, sender: NodeId, payload: bytes) -> bytes:
        """Make a change of members. Raises BadFrame, ConfChangeRefused, ProposalRefused."""
        request = frames.decode_change(payload)
        try:
            change = ConfChange.decode(request.change)
        except ValueError as fault:
            raise BadFrame(str(fault)) from fault
        group = self._led(request.group)
        proposed = False
        with trio.move_on_after(request.timeout_ms / 1000):
            while not _is_made(group.node.configuration, change.changes):
                if not group.leads:
                    raise NoLeader(f"node {self._ports.node} leads group {group.number} no more")
                if not proposed and not self._is_busy(group):
                    group.node.check_conf_change(change)
                    group.node.propose_conf_change(change, self._ports.now_ms())
                    self._loop.touch(group)
                    proposed = True
                with trio.move_on_after(self._ports.settings.retry_s):
                    await group.changed.wait()
                    continue
                proposed = False
            return b""
        raise NoLeader(f"the members of group {group.number} were not changed in time")

    async def on_transfer(self, sender: NodeId, payload: bytes) -> bytes:
        """Begin to hand a group over. Raises BadFrame, ProposalRefused."""
        request = frames.decode_transfer(payload)
        group = self._led(request.group)
        if request.target != self._ports.node:
            group.node.transfer_leadership(request.target, self._ports.now_ms())
            self._loop.touch(group)
        return b""

    def _led(self, number: int) -> Group:
        group = self._loop.groups.get(number)
        if group is None or not group.leads:
            raise NoLeader(f"node {self._ports.node} does not lead group {number}")
        return group

    def _is_busy(self, group: Group) -> bool:
        """Whether a change is under way already."""
        raft = group.node.raft
        return raft.configuration.is_joint or raft.pending_conf_index > raft.log.applied

    def on_leaving(self, sender: NodeId, payload: bytes) -> None:
        """Another node is about to stop."""
        patience_s = self._ports.settings.care_interval_s * _LEAVING_INTERVALS
        self._leaving_until[sender] = trio.current_time() + patience_s

    # Care.

    async def run(self) -> None:
        """Looks after the groups that this node leads."""
        settings = self._ports.settings
        while True:
            await trio.sleep(settings.care_interval_s)
            for group in self._loop.groups.values():
                if group.leads:
                    self._promote(group)
            if self._is_leaving or self._is_slow or self._is_full:
                self._say_leaving()
                self._give_all(Counter())
            elif settings.leaders is Leaders.SPREAD:
                self._spread()
            elif settings.leaders is Leaders.TOGETHER:
                self._gather()

    def _promote(self, group: Group) -> None:
        configuration = group.node.configuration
        if self._is_busy(group) or len(configuration.voters) >= self._ports.settings.voters_max:
            return
        for node in sorted(configuration.learners):
            if not self._has_caught_up(group, node):
                continue
            change = ConfChange((ConfChangeSingle(ChangeKind.ADD_NODE, node),))
            try:
                group.node.propose_conf_change(change, self._ports.now_ms())
            except (ConfChangeRefused, ProposalRefused):
                return
            self.promoted += 1
            self._loop.touch(group)
            return

    def _has_caught_up(self, group: Group, node: NodeId) -> bool:
        progress = group.node.progress[node]
        behind = group.node.raft.log.last_index() - progress.match
        return _is_followed(progress) and behind <= self._ports.settings.promote_entries_max

    def _gather(self) -> None:
        """Give what is led here to whom most is led by already; of equals, to the lowest number."""
        counts = self._counts()
        for group in self._led_here():
            if self._is_busy(group) or group.node.raft.transferee:
                continue
            able = [*self._able(group), self._ports.node]
            target = min(able, key=lambda node: (-counts[node], node))
            if target != self._ports.node:
                self._give(group, target)

    def _spread(self) -> None:
        led = self._led_here()
        counts = self._counts()
        for group in led:
            if self._is_busy(group) or group.node.raft.transferee:
                continue
            able = self._able(group)
            if not able:
                continue
            target = min(able, key=lambda node: (counts[node], node))
            if len(led) - counts[target] >= 2:
                self._give(group, target)
                return

    def _give_all(self, tried: Counter[tuple[int, NodeId]]) -> bool:
        """Begin to hand over every group led here, to nodes that were tried least; False when there
        is nobody to take any."""
        counts = self._counts()
        sign = -1 if self._ports.settings.leaders is Leaders.TOGETHER else 1
        is_given = False
        for group in self._led_here():
            able = self._able(group)
            if group.node.raft.transferee:
                is_given = True
            elif able:
                number = group.number
                target = min(
                    able, key=lambda node: (tried[number, node], sign * counts[node], node)
                )
                tried[number, target] += 1
                counts[target] += 1
                self._give(group, target)
                is_given = True
        return is_given

    def _give(self, group: Group, target: NodeId) -> None:
        group.node.transfer_leadership(target, self._ports.now_ms())
        self.given_away += 1
        self._loop.touch(group)

    def _led_here(self) -> list[Group]:
        return [group for group in self._loop.groups.values() if group.leads]

    def _counts(self) -> Counter[NodeId]:
        """How many groups each node leads, as far as this one knows."""
        return Counter(group.node.leader for group in self._loop.groups.values())

    def _able(self, group: Group) -> list[NodeId]:
        """The voters that could lead a group which is led here, but for this node."""
        now_s = trio.current_time()
        return [
            node
            for node in sorted(group.node.configuration.voters)
            if node != self._ports.node
            and _is_followed(group.node.progress[node])
            and self._leaving_until.get(node, 0.0) <= now_s
        ]

    def _say_leaving(self) -> None:
        """Told again with every round of care: a message that is lost does no harm."""
        for node in self.others():
            self._ports.peers.send(node, LEAVING_CHANNEL, b"")

    def others(self) -> list[NodeId]:
        """All other members of the groups here, sorted."""
        members = {
            node
            for group in self._loop.groups.values()
            for node in group.node.configuration.members
        }
        return sorted(members - {self._ports.node})


def _is_followed(progress: Progress) -> bool:
    return progress.recent_active and progress.state is ProgressState.REPLICATE


def _is_made(configuration: Configuration, changes: Iterable[ConfChangeSingle]) -> bool:
    """Whether the members are as the changes ask, and no joint phase is left."""
    if configuration.is_joint:
        return False
    for kind, node in changes:
        if kind is ChangeKind.ADD_NODE and node not in configuration.incoming:
            return False
        if kind is ChangeKind.ADD_LEARNER_NODE and node not in configuration.learners:
            return False
        if kind is ChangeKind.REMOVE_NODE and node in configuration.members:
            return False
    return True


def role_name(role: Role) -> str:
    """A role in words."""
    return role.name.lower()
