"""Reads that are current: one exchange per leader for everybody who waits.

A reader may read its own node's state machine once that shows everything which was committed when
the reader came (thesis, 6.4). The leader knows how far that is, and by its lease or by a round of
heartbeats that it still leads. Readers do not ask one by one: those who come while an exchange with
a leader is under way wait for the next one, which begins when that one ends and asks for all groups
that any of them wants. So under load the cost is that of a few exchanges per round-trip, however
many read. An exchange that began before a reader came is of no use to it: what it confirmed may be
older.

Questions and answers travel in the frames of the groups, beside whatever else there is to say, and
a leader that holds its lease answers in the same turn of its event loop.

A node that leads a group and holds its lease answers itself, without waiting; so does a follower
by its own (`cluster.raft.follower_leases`), once it has applied all of its log.
"""

from collections.abc import Iterable
from typing import Final

import trio

from cluster.base.errors import BarrierTimeout, HostStopped, ReadRefused
from cluster.base.ids import NO_NODE, NodeId
from cluster.drivers import groups_frames as frames
from cluster.drivers.groups_group import Group
from cluster.drivers.groups_loop import GroupLoop

_REPEAT_TICKS: Final = 3
"""A question of which nothing was heard for so many ticks is asked again: frames get lost."""


class _Exchange:
    """One question to one leader, and who waits for it."""

    __slots__ = ("done", "groups", "indexes", "number", "ticks")

    def __init__(self) -> None:
        self.groups: dict[int, None] = {}
        self.indexes: dict[int, int] = {}
        self.done = trio.Event()
        self.number = 0
        self.ticks = 0
        """How many have passed since it began."""


class _Lane:
    """Exchanges with one leader: one under way, one to come."""

    __slots__ = ("next", "running")

    def __init__(self) -> None:
        self.running: _Exchange | None = None
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
        self._confirming: dict[NodeId, tuple[int, trio.CancelScope]] = {}
        # An answer to this node's question from before it fell must fit none of those since.
        self._first_number = loop.ports.draw(2**62)
        self._asked = 0
        self._readers = 0
        self._stopped = False
        self.exchanges = 0

    # Readers.

    def shows_all(self, groups: Iterable[int]) -> bool:
        """Whether this node shows, at this moment, all that is committed in `groups`, and knows it
        without asking anybody."""
        now_ms = self._ports.now_ms()
        return all(self._is_shown(number, now_ms) for number in groups)

    def _is_shown(self, number: int, now_ms: int) -> bool:
        group = self._loop.groups.get(number)
        if group is None or group.held:
            return False
        if now_ms < group.shown_until_ms:
            return True
        index = group.node.lease_index(now_ms)
        if index is None or group.applied < index:
            return False
        group.shown_until_ms = group.node.lease_end_ms()
        return True

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
        index = group.node.lease_index(self._ports.now_ms())
        if index is not None and not group.leads and group.applied < index:
            return None  # what a follower has not applied may never be committed
        return index

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
            self._begin(leader, lane)
        return exchange

    def _begin(self, leader: NodeId, lane: _Lane) -> None:
        """The exchange that waits begins; what is asked of this node goes no way at all."""
        exchange, lane.next = lane.next, None
        assert exchange is not None
        lane.running = exchange
        self.exchanges += 1
        exchange.number = self._first_number + self.exchanges
        self._put(leader, exchange)

    def _put(self, leader: NodeId, exchange: _Exchange) -> None:
        question = frames.ReadQuestion(exchange.number, tuple(exchange.groups))
        if leader == self._ports.node:
            self.on_question(leader, question)
        else:
            self._loop.outbox.ask(leader, question)
            self._loop.wake()

    def on_answer(self, leader: NodeId, answer: frames.ReadAnswer) -> None:
        """A leader confirms indexes; of some or all groups it may have none."""
        lane = self._lanes.get(leader)
        if lane is None or lane.running is None or lane.running.number != answer.number:
            return
        self._end(leader, lane, dict(answer.indexes))

    def _end(self, leader: NodeId, lane: _Lane, indexes: dict[int, int]) -> None:
        exchange, lane.running = lane.running, None
        assert exchange is not None
        exchange.indexes = indexes
        exchange.done.set()
        if lane.next is not None:
            self._begin(leader, lane)

    def on_tick(self) -> None:
        """Ask again what was not answered, and give up in the end."""
        settings = self._ports.settings
        patience = 2 * settings.read_exchange_s / settings.tick_s
        for leader, lane in self._lanes.items():
            exchange = lane.running
            if exchange is None:
                continue
            exchange.ticks += 1
            if exchange.ticks > patience:
                self._end(leader, lane, {})
            elif exchange.ticks % _REPEAT_TICKS == 0:
                self._put(leader, exchange)

    def on_dropped(self, to: NodeId, questions: list[frames.ReadQuestion]) -> None:
        """Questions did not leave this node: whoever waits tries again after a pause."""
        lane = self._lanes.get(to)
        for question in questions:
            if lane is not None and lane.running and lane.running.number == question.number:
                self._end(to, lane, {})

    # The leader's side.

    def on_question(self, sender: NodeId, question: frames.ReadQuestion) -> None:
        """A node asks, at most one question at a time: a new one takes the place of the last."""
        indexes: dict[int, int] = {}
        for number in question.groups:
            index = self._index_here(number)
            if index is not None:
                indexes[number] = index
            elif (group := self._loop.groups.get(number)) is not None and group.leads:
                self._confirm_soon(sender, question)
                return
        self._answer(sender, question.number, indexes)

    def _answer(self, to: NodeId, number: int, indexes: dict[int, int]) -> None:
        answer = frames.ReadAnswer(number, tuple(indexes.items()))
        if to == self._ports.node:
            self.on_answer(to, answer)
        else:
            self._loop.outbox.tell(to, answer)
            self._loop.wake()

    def _confirm_soon(self, sender: NodeId, question: frames.ReadQuestion) -> None:
        number, scope = self._confirming.get(sender, (0, None))
        if number == question.number:
            return
        if scope is not None:
            scope.cancel()
        scope = trio.CancelScope()
        self._confirming[sender] = (question.number, scope)
        self._nursery.start_soon(self._confirm_for, sender, question, scope)

    async def _confirm_for(
        self, sender: NodeId, question: frames.ReadQuestion, scope: trio.CancelScope
    ) -> None:
        with scope:
            indexes = await self.confirm(question.groups)
            if self._confirming.get(sender) == (question.number, scope):
                del self._confirming[sender]
                self._answer(sender, question.number, indexes)

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
                self._end(leader, lane, {})

    def stop(self) -> None:
        """The host has ended: everybody who waits hears of it."""
        self._stopped = True
        for lane in self._lanes.values():
            for exchange in (lane.running, lane.next):
                if exchange is not None:
                    exchange.done.set()
