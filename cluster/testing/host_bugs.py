"""Bugs to be planted in the host of groups, each of which its simulation must find.

A bug is a change of one method for the length of a run.
"""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Final
from unittest.mock import patch

from cluster.base.ids import NodeId
from cluster.base.ports import Applied, GroupEntry
from cluster.drivers.groups_group import Group
from cluster.drivers.groups_log import LogWrite
from cluster.drivers.groups_loop import GroupLoop, _Write
from cluster.drivers.groups_proposals import Proposals, _Pending
from cluster.drivers.groups_reads import Reads, _Exchange, _Lane
from cluster.drivers.groups_snapshots import SnapshotReceiver, SnapshotSender
from cluster.raft.commands import Command, decode_command, encode_command
from cluster.raft.messages import Entry, HardState, Message

Patch = tuple[type, str, Any]


def _message_before_sync() -> Patch:
    """Acknowledgements and votes leave before what they promise is on the disk."""

    def queue(self: GroupLoop, group: Group, message: Message, *, must_sync: bool) -> None:
        away = [answer for answer in message.responses if answer.to != self.ports.node]
        own = tuple(answer for answer in message.responses if answer.to == self.ports.node)
        self.outbox.add(group.number, away)
        write = LogWrite(group.number, message.entries, message.hard_state)
        self._queue_write(_Write(group, write if must_sync else None, own))

    return GroupLoop, "_queue_append", queue


def _hard_state_dropped() -> Patch:
    """A write without entries is taken for one of the commit index alone."""

    def queue(self: GroupLoop, group: Group, message: Message, *, must_sync: bool) -> None:
        write = None
        if must_sync and message.entries:
            write = LogWrite(group.number, message.entries, message.hard_state)
        self._queue_write(_Write(group, write, message.responses))

    return GroupLoop, "_queue_append", queue


def _result_before_apply() -> Patch:
    """Proposers hear of success when their entry is on the leader's own disk."""
    after_write = GroupLoop._after_write

    def after(self: GroupLoop, batch: list[_Write]) -> None:
        for piece in batch:
            for entry in piece.write.entries if piece.write is not None else ():
                if entry.data and not entry.kind and piece.group.leads:
                    machine: Any = self.ports.machine
                    state = machine.groups[piece.group.number]
                    twin = type(state)(state.mark)
                    twin.load(state.dump())
                    self.listeners.applied(
                        piece.group, entry, machine.run_upon(twin, entry.index, entry.data)
                    )
        after_write(self, batch)

    return GroupLoop, "_after_write", after


def _snapshot_not_reported() -> Patch:
    """The core is not told that a stream of a snapshot was given up."""
    report = SnapshotSender._report

    def only_good(self: SnapshotSender, group: Group, to: NodeId, *, delivered: bool) -> None:
        if delivered:
            report(self, group, to, delivered=True)

    return SnapshotSender, "_report", only_good


def _barrier_before_apply() -> Patch:
    """A reader goes on as soon as the index is confirmed."""

    async def at_once(self: Group, index: int) -> None:
        return None

    return Group, "wait_applied", at_once


def _barrier_of_follower() -> Patch:
    """A node answers from its own commit index, whoever leads."""

    def here(self: Reads, number: int) -> int | None:
        group = self._loop.groups.get(number)
        return None if group is None else group.node.raft.log.committed

    return Reads, "_index_here", here


def _joins_running_exchange() -> Patch:
    """A reader is content with an exchange that began before it came."""
    join = Reads._join

    def join_running(self: Reads, leader: NodeId, numbers: list[int]) -> _Exchange:
        lane = self._lanes.get(leader, _Lane())
        if lane.running is not None and set(numbers) <= set(lane.running.groups):
            return lane.running
        return join(self, leader, numbers)

    return Reads, "_join", join_running


def _new_number_for_a_retry() -> Patch:
    """A command that is sent again gets another number."""
    send = Proposals._send

    def renumber(self: Proposals, pending: _Pending) -> None:
        session = self._sessions.get(pending.group)
        if pending.sent and pending.key[0] and session is not None:
            command = decode_command(pending.data)
            number = session.next_number
            session.next_number += 1
            del self._pending[pending.group][pending.key]
            pending.key = (command.session, number)
            self._pending[pending.group][pending.key] = pending
            pending.data = encode_command(
                Command(command.session, number, command.acknowledged_to, command.body)
            )
        send(self, pending)

    return Proposals, "_send", renumber


def _votes_lost_on_install() -> Patch:
    """A group that goes on from a snapshot forgets its term and vote."""
    begin_at = GroupLoop._begin_at

    def forget(self: GroupLoop, number: int, mark: Applied) -> LogWrite:
        write = begin_at(self, number, mark)
        return write._replace(hard_state=HardState(1, 0, mark.index))

    return GroupLoop, "_begin_at", forget


def _cut_without_regard() -> Patch:
    """The log is cut behind what the state machine has applied."""

    def everything(self: Group, *, entries_kept: int, bytes_kept: int) -> int:
        self.log_marks.clear()
        return self.node.raft.log.unstable.offset - 1

    return Group, "cut_before", everything


def _installs_at_work() -> Patch:
    """A snapshot is installed while entries are on their way into the state machine."""

    def quiet(self: GroupLoop, group: Group) -> bool:
        return True

    return GroupLoop, "is_quiet", quiet


def _takes_entries_while_held() -> Patch:
    """A group whose state is being replaced goes on as if nothing were."""

    def everything(self: GroupLoop, group: Group, message: Message) -> Message | None:
        return message

    return GroupLoop, "_while_held", everything


def _members_not_stored() -> Patch:
    """A change of members is applied without telling the state machine."""
    group_entry = GroupLoop._group_entry

    def without(self: GroupLoop, group: Group, entry: Entry) -> GroupEntry:
        return group_entry(self, group, entry)._replace(members=None)

    return GroupLoop, "_group_entry", without


def _writes_out_of_order() -> Patch:
    """What waits for the log is written last come first."""
    write_log = GroupLoop._write_log

    async def reversed_writes(self: GroupLoop, writes: list[LogWrite]) -> None:
        await write_log(self, writes[::-1])

    return GroupLoop, "_write_log", reversed_writes


def _resumed_from_the_start() -> Patch:
    """A receiver that has lost count takes chunks of a resumed stream twice."""
    take_in = SnapshotReceiver._take_in

    async def again(self: SnapshotReceiver, incoming: Any, stream: Any) -> None:
        if incoming.received:
            incoming.received -= 1
        await take_in(self, incoming, stream)

    return SnapshotReceiver, "_take_in", again


def _shown_after_a_change() -> Patch:
    """What was shown a moment ago is taken for shown, whatever has happened to the core since."""
    touch = GroupLoop.touch

    def keep(self: GroupLoop, group: Group) -> None:
        shown = group.shown_until_ms
        touch(self, group)
        group.shown_until_ms = shown

    return GroupLoop, "touch", keep


def _shows_what_it_has_not() -> Patch:
    """A node with a lease reads although it has not applied all of its log."""

    def at_once(self: Reads, number: int, now_ms: int) -> bool:
        group = self._loop.groups.get(number)
        return group is not None and not group.held and group.node.lease_index(now_ms) is not None

    return Reads, "_is_shown", at_once


BUGS: Final[Mapping[str, Callable[[], Patch]]] = {
    "message_before_sync": _message_before_sync,
    "hard_state_dropped": _hard_state_dropped,
    "result_before_apply": _result_before_apply,
    "snapshot_not_reported": _snapshot_not_reported,
    "barrier_before_apply": _barrier_before_apply,
    "barrier_of_follower": _barrier_of_follower,
    "joins_running_exchange": _joins_running_exchange,
    "new_number_for_a_retry": _new_number_for_a_retry,
    "votes_lost_on_install": _votes_lost_on_install,
    "cut_without_regard": _cut_without_regard,
    "installs_at_work": _installs_at_work,
    "takes_entries_while_held": _takes_entries_while_held,
    "members_not_stored": _members_not_stored,
    "writes_out_of_order": _writes_out_of_order,
    "resumed_from_the_start": _resumed_from_the_start,
    "shown_after_a_change": _shown_after_a_change,
    "shows_what_it_has_not": _shows_what_it_has_not,
}


@contextmanager
def planted(bug: str) -> Iterator[None]:
    """The bug is in the code for the length of the block; none for an empty name."""
    if not bug:
        yield
        return
    owner, name, method = BUGS[bug]()
    with patch.object(owner, name, method):
        yield
