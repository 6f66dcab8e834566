"""Reads that are current: one exchange per leader for everybody who waits.

A reader may read its own node's state machine once that shows everything which was committed when
the reader came (thesis, 6.4). The leader knows how far that is, and by its lease or by a round of
heartbeats that it still leads. Readers do not ask one by one: those who come while an exchange with
a leader is under way wait for the next one, which begins when that one ends and asks for all groups
that any of them wants. So under load the cost is that of a few exchanges per round-trip, however
many read. An exchange that began before a reader came is of no use to it: what it confirmed may be
older.

A node that leads a group and holds its lease answers itself, without waiting.
"""

from collections.abc import Iterable

import trio

from cluster.base.errors import BadFrame, BarrierTimeout, HostStopped, PeerError, ReadRefused
from cluster.base.ids import NO_NODE, NodeId
from cluster.drivers import groups_frames as frames
from cluster.drivers.groups_group import Group
from cluster.drivers.groups_loop import GroupLoop

METHOD = "groups.read"
"""The transport's method for exchanges about reads."""


class _Exchange:
    """One question to one leader, and who waits for it."""

    __slots__ = ("done", "groups", "indexes")

    def __init__(self) -> None:
        self.groups: dict[int, None] = {}
        self.indexes: dict[int, int] = {}
        self.done = trio.Event()


class _Lane:
    """Exchanges with one leader: one under way, one to come."""

    __slots__ = ("next", "running", "scope")

    def __init__(self) -> None:
        self.running: _Exchange | None = None
        self.scope = trio.CancelScope()
        self.next: _Exchange | None = None


class _Question:
    """One read index asked of a core here."""

    __slots__ = ("done", "group", "index")

    def __init__(self, group: int) -> None:
        self.group = group
        self.index: int | None = None
        self.done = trio.Event()


class Reads:
    """The barriers of this node's readers, and the questions of other nodes'."""

    def __init__(self, loop: GroupLoop, nursery: trio.Nursery) -> None:
        self._loop = loop
        self._ports = loop.ports
        self._nursery = nursery
        self._lanes: dict[NodeId, _Lane] = {}
        self._questions: dict[bytes, _Question] = {}
        self._asked = 0
        self._readers = 0
        self._stopped = False
        self.exchanges = 0

    # Readers.

    async def barrier(self, groups: Iterable[int], *, timeout_s: float) -> None:
        """Returns once this node shows all that was committed in `groups` when it was called.

        Raises BarrierTimeout, ReadRefused when too many wait, HostStopped.
        """
        missing = {number: self._index_here(number) for number in groups}
        behind = [
            number
            for number, index in missing.items()
            if index is None or self._loop.groups[number].applied < index
        ]
        if not behind:
            return
        if self._readers >= self._ports.settings.readers_max:
            raise ReadRefused(f"{self._readers} readers wait")
        self._readers += 1
        try:
            with trio.move_on_after(timeout_s):
                for number in list(behind):
                    index = missing[number]
                    if index is not None:
                        await self._loop.groups[number].wait_applied(index)
                        behind.remove(number)
                await self._until_confirmed(behind)
                return
        finally:
            self._readers -= 1
        raise self._too_late(behind)

    def _index_here(self, number: int) -> int | None:
        group = self._loop.groups.get(number)
        if group is None or group.held:
            return None
        return group.node.lease_index(self._ports.now_ms())

    async def _until_confirmed(self, behind: list[int]) -> None:
        """Ask for the groups in `behind`, and take out each that is confirmed and applied."""
        while behind:
            if self._stopped:
                raise HostStopped("the host has ended")
            asked: list[_Exchange] = []
            for leader, numbers in self._by_leader(behind).items():
                asked.append(self._join(leader, numbers))
            for exchange in asked:
                await exchange.done.wait()
            for exchange in asked:
                for number, index in exchange.indexes.items():
                    if number in behind:
                        await self._loop.groups[number].wait_applied(index)
                        behind.remove(number)
            if behind:
                await trio.sleep(self._ports.settings.read_pause_s)

    def _by_leader(self, numbers: list[int]) -> dict[NodeId, list[int]]:
        leaders: dict[NodeId, list[int]] = {}
        for number in numbers:
            group = self._loop.groups.get(number)
            if group is not None and not group.held and group.node.leader != NO_NODE:
                leaders.setdefault(group.node.leader, []).append(number)
        return leaders

    def _too_late(self, behind: list[int]) -> BarrierTimeout:
        leaderless = tuple(
            number
            for number in behind
            if (group := self._loop.groups.get(number)) is None or group.node.leader == NO_NODE
        )
        return BarrierTimeout(
            f"groups {behind} were not confirmed in time; without a leader: {list(leaderless)}",
            groups=tuple(behind),
            leaderless=leaderless,
        )

    # Exchanges.

    def _join(self, leader: NodeId, numbers: list[int]) -> _Exchange:
        """Wait for the exchange with `leader` that has not begun."""
        lane = self._lanes.setdefault(leader, _Lane())
        exchange = lane.next
        if exchange is None:
            exchange = lane.next = _Exchange()
        exchange.groups.update(dict.fromkeys(numbers))
        if lane.running is None:
            lane.running = exchange
            self._nursery.start_soon(self._run_lane, leader, lane)
        return exchange

    async def _run_lane(self, leader: NodeId, lane: _Lane) -> None:
        try:
            while lane.next is not None:
                exchange, lane.next = lane.next, None
                lane.running = exchange
                self.exchanges += 1
                try:
                    with trio.CancelScope() as lane.scope:
                        exchange.indexes = await self._exchange(leader, tuple(exchange.groups))
                finally:
                    exchange.done.set()
        finally:
            lane.running = None

    async def _exchange(self, leader: NodeId, numbers: tuple[int, ...]) -> dict[int, int]:
        """The indexes that `leader` confirms; of some or all groups it may have none."""
        if leader == self._ports.node:
            return await self.confirm(numbers)
        request = frames.encode(frames.ReadRequest(frames.VERSION, numbers))
        timeout_s = self._ports.settings.read_exchange_s * 2
        try:
            payload = await self._ports.peers.call(leader, METHOD, request, timeout_s=timeout_s)
            return dict(frames.decode_read_reply(payload).indexes)
        except (PeerError, BadFrame):
            return {}

    # The leader's side.

    async def on_call(self, sender: NodeId, payload: bytes) -> bytes:
        """Another node asks. Raises BadFrame."""
        request = frames.decode_read_request(payload)
        indexes = await self.confirm(request.groups)
        return frames.encode(frames.ReadReply(frames.VERSION, tuple(indexes.items())))

    async def confirm(self, numbers: Iterable[int]) -> dict[int, int]:
        """The indexes of those groups that this node leads, and can say so of in time."""
        indexes: dict[int, int] = {}
        questions: dict[bytes, _Question] = {}
        for number in numbers:
            index = self._index_here(number)
            if index is not None:
                indexes[number] = index
                continue
            context = self._ask(number)
            if context:
                questions[context] = self._questions[context]
        try:
            with trio.move_on_after(self._ports.settings.read_exchange_s):
                for question in questions.values():
                    await question.done.wait()
        finally:
            for context in questions:
                del self._questions[context]
        for question in questions.values():
            if question.index is not None:
                indexes[question.group] = question.index
        return indexes

    def _ask(self, number: int) -> bytes:
        """Ask a core that leads; the context by which it will answer, or b"" when it cannot."""
        group = self._loop.groups.get(number)
        if group is None or not group.leads:
            return b""
        self._asked += 1
        context = self._asked.to_bytes(8, "big")
        try:
            group.node.read_index(context, self._ports.now_ms())
        except ReadRefused:
            return b""
        self._questions[context] = _Question(number)
        self._loop.touch(group)
        return context

    def on_read(self, context: bytes, index: int) -> None:
        """A core has confirmed a read."""
        question = self._questions.get(context)
        if question is not None:
            question.index = index
            question.done.set()

    def on_leader_changed(self, group: Group) -> None:
        """Questions to a leader that is none any more will not be answered."""
        for question in self._questions.values():
            if question.group == group.number:
                question.done.set()
        for leader, lane in self._lanes.items():
            exchange = lane.running
            if exchange is None or group.number not in exchange.groups:
                continue
            if all(self._loop.groups[number].node.leader != leader for number in exchange.groups):
                lane.scope.cancel()

    def stop(self) -> None:
        """The host has ended: everybody who waits hears of it."""
        self._stopped = True
        for lane in self._lanes.values():
            if lane.next is not None:
                lane.next.done.set()
