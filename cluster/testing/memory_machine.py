"""A state machine in memory: counters and values by key, per group, with sessions.

A command is a msgpack array: ["add", key, number] gives the new value of a counter, ["set", key,
number] the old one. It asserts what its driver must keep to: every entry once, in order, members
only by changes of members.
"""

from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Any, Final

import msgspec
import trio

from cluster.base.ports import Applied, GroupEntry
from cluster.raft.commands import run_command
from cluster.raft.sessions import Sessions

_CHUNK_BYTES: Final = 64

Pause = Callable[[], Awaitable[None]]


async def no_pause() -> None:
    """Takes no time."""


class GroupState:
    """The rows of one group."""

    def __init__(self, mark: Applied) -> None:
        self.mark = mark
        self.values: dict[str, int] = {}
        self.sessions = Sessions(sessions_max=64, results_max=1024)

    def run(self, body: bytes) -> bytes:
        """One command."""
        kind, key, number = msgspec.msgpack.decode(body)
        before = self.values.get(key, 0)
        self.values[key] = before + number if kind == "add" else number
        return b"%d" % (self.values[key] if kind == "add" else before)

    def dump(self) -> bytes:
        """Everything but the mark."""
        return msgspec.msgpack.encode((self.values, self.sessions.state()))

    def load(self, data: bytes) -> None:
        """What `dump` gave."""
        try:
            values, state = msgspec.msgpack.decode(data)
        except (msgspec.MsgspecError, ValueError) as fault:
            raise AssertionError("a snapshot is not what it was made of") from fault
        self.values = values
        self.sessions.restore(
            tuple(
                (name, acknowledged, tuple((number, result) for number, result in results))
                for name, acknowledged, results in state
            )
        )


def add(key: str, number: int = 1) -> bytes:
    """The command that counts."""
    return msgspec.msgpack.encode(("add", key, number))


def put(key: str, number: int) -> bytes:
    """The command that sets."""
    return msgspec.msgpack.encode(("set", key, number))


class MemoryMachine:
    """The rows of all groups of a node. `observe` sees every entry as it is applied."""

    def __init__(
        self, pause: Pause = no_pause, observe: Callable[[GroupEntry], None] | None = None
    ) -> None:
        self._pause = pause
        self._observe = observe
        self.groups: dict[int, GroupState] = {}
        self.room: trio.Event | None = None
        """When given, the disk is full until it is set: what is to be applied waits."""
        self.break_installs = 0
        """So many installations leave nothing whole behind when their stream fails."""

    def value(self, group: int, key: str) -> int:
        """What a reader of this node sees."""
        state = self.groups.get(group)
        return 0 if state is None else state.values.get(key, 0)

    def applied(self, group: int) -> Applied | None:
        """As `StateMachine.applied`."""
        state = self.groups.get(group)
        return None if state is None else state.mark

    async def apply(self, entries: Sequence[GroupEntry]) -> Sequence[bytes]:
        """As `StateMachine.apply`."""
        await self._pause()
        if self.room is not None:
            await self.room.wait()
            self.room = None
        return [self._apply(entry) for entry in entries]

    def lacks_room(self) -> bool:
        """As `StateMachine.lacks_room`."""
        return self.room is not None

    def run_upon(self, state: GroupState, index: int, data: bytes) -> bytes:
        """What an entry would give upon a state."""
        return run_command(state.sessions, index, data, state.run)

    def _apply(self, entry: GroupEntry) -> bytes:
        state = self.groups[entry.group]
        assert entry.index == state.mark.index + 1, f"{entry} upon {state.mark}"
        members = state.mark.members if entry.members is None else entry.members
        result = self.run_upon(state, entry.index, entry.data)
        state.mark = Applied(entry.index, entry.term, members)
        if self._observe is not None:
            self._observe(entry)
        return result

    @asynccontextmanager
    async def snapshot(self, group: int) -> AsyncIterator[tuple[Applied, AsyncIterator[bytes]]]:
        """As `StateMachine.snapshot`."""
        state = self.groups[group]
        yield state.mark, self._chunks(state.dump())

    async def _chunks(self, data: bytes) -> AsyncIterator[bytes]:
        for at in range(0, len(data), _CHUNK_BYTES):
            await self._pause()
            yield data[at : at + _CHUNK_BYTES]

    async def install(self, group: int, mark: Applied, chunks: AsyncIterator[bytes]) -> None:
        """As `StateMachine.install`."""
        if self.break_installs:
            self.break_installs -= 1
            self.groups.pop(group, None)
        data = b"".join([chunk async for chunk in chunks])
        await self._pause()
        state = GroupState(mark)
        if data:
            state.load(data)
        self.groups[group] = state

    def content(self, group: int) -> tuple[Any, ...]:
        """Everything, to be compared between nodes."""
        state = self.groups[group]
        return state.mark, state.dump()
