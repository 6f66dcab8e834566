"""Proposals: from any node to the leader and, once applied, back; each takes effect once.

A proposal gets a number in this node's session of its group (`cluster.raft.sessions`) and goes to
whom this node believes to lead. It is sent again when the leader changes, when it was refused, and
when nothing was heard for a while, always under the same number: in the log twice it is run once.
The result comes from the leader's answer, or from this node's own state machine when that is
sooner; both say the same.

What is certain when there is no result: `ProposalRefused` means that it is in no log. After
`OutcomeUnknown`, and after a cancellation, it may be applied, now or later, unless a later command
of this node is applied first: that one says that nobody waits any more, and the state machine then
refuses it.
"""

from functools import partial
from typing import Final

import trio

from cluster.base.errors import (
    HostStopped,
    NoLeader,
    OutcomeUnknown,
    ProposalRefused,
    TooManyProposals,
)
from cluster.base.ids import NO_NODE, NodeId
from cluster.drivers import groups_frames as frames
from cluster.drivers.groups_group import CommandKey, Group
from cluster.drivers.groups_loop import GroupLoop
from cluster.raft.commands import (
    Command,
    decode_answer,
    decode_command,
    encode_command,
    opened_session,
)
from cluster.raft.messages import Entry
from cluster.raft.sessions import Answer, Outcome

OPEN: Final = "open"
"""The answer for a proposal that is in the log of a leader which has lost its leadership."""

_SESSIONS_LOST_MAX: Final = 3
"""So often in a row a proposal may find its session gone before it gives up."""


class _Pending:
    """A proposal of this node that has no result yet."""

    __slots__ = (
        "answer",
        "data",
        "group",
        "key",
        "leader",
        "refused",
        "sent",
        "term",
        "wake",
        "wakes_at",
    )

    def __init__(self, group: int, key: CommandKey, data: bytes) -> None:
        self.group = group
        self.key = key
        self.data = data
        self.answer: Answer | None = None
        self.sent = 0
        """How often it may have come into a log."""
        self.leader = NO_NODE
        self.term = 0
        """Whom it was sent to last, in which term."""
        self.refused = False
        self.wake = trio.Event()
        self.wakes_at = 0.0
        """When it is looked at again, on trio's clock, whatever is heard meanwhile."""


class _Session:
    """This node's session in one group."""

    def __init__(self, number: int) -> None:
        self.id = number
        self.next_number = 1
        self.outstanding: dict[int, None] = {}
        self.moved = trio.Event()

    @property
    def acknowledged_to(self) -> int:
        """Nobody waits for a result up to this number."""
        return next(iter(self.outstanding), self.next_number) - 1


class Proposals:
    """Both sides of proposing: this node's own, and those of others for groups led here."""

    def __init__(self, loop: GroupLoop) -> None:
        self._loop = loop
        self._ports = loop.ports
        self._pending: dict[int, dict[CommandKey, _Pending]] = {}
        self._sessions: dict[int, _Session] = {}
        self._opening: dict[int, trio.Event] = {}
        self._count = 0
        self._bytes = 0
        self._stopped = False
        self.bad_proposals = 0
        self.resent = 0

    # This node's own.

    async def propose(self, number: int, body: bytes, *, timeout_s: float) -> bytes:
        """The result of `body`, applied to group `number`; see the module's head for errors."""
        settings = self._ports.settings
        if len(body) > settings.proposal_bytes_max:
            raise TooManyProposals(f"{len(body)} bytes are more than one proposal may have")
        if (
            self._count >= settings.proposals_max
            or self._bytes + len(body) > settings.proposals_bytes_max
        ):
            raise TooManyProposals(f"{self._count} proposals wait")
        self._count += 1
        self._bytes += len(body)
        try:
            return await self._propose(number, body, trio.current_time() + timeout_s)
        finally:
            self._count -= 1
            self._bytes -= len(body)

    async def _propose(self, number: int, body: bytes, deadline: float) -> bytes:
        for _ in range(_SESSIONS_LOST_MAX):
            session = await self._session(number, deadline)
            command = await self._take_number(session, deadline)
            key = (session.id, command)
            envelope = encode_command(Command(session.id, command, session.acknowledged_to, body))
            pending = _Pending(number, key, envelope)
            try:
                answer = await self._drive(pending, deadline)
            finally:
                del session.outstanding[command]
                session.moved.set()
                session.moved = trio.Event()
            if answer.outcome in (Outcome.APPLIED, Outcome.REPEATED):
                return answer.result
            if answer.outcome is not Outcome.NO_SESSION:
                raise OutcomeUnknown(f"command {key} of group {number}: {answer.outcome.name}")
            if self._sessions.get(number) is session:
                del self._sessions[number]
            if pending.sent > 1:
                raise OutcomeUnknown(
                    f"session {session.id} of group {number} is gone, and the command was sent "
                    f"{pending.sent} times: the first may have been applied"
                )
        raise NoLeader(f"sessions of group {number} are dropped faster than they can be used")

    async def _take_number(self, session: _Session, deadline: float) -> int:
        window = self._ports.settings.session_window
        while session.next_number - session.acknowledged_to > window:
            with trio.move_on_at(deadline):
                await session.moved.wait()
            if trio.current_time() >= deadline:
                raise TooManyProposals("earlier commands of this node have no result yet")
        number = session.next_number
        session.next_number += 1
        session.outstanding[number] = None
        return number

    async def _session(self, number: int, deadline: float) -> _Session:
        """This node's session in a group; the first who needs one opens it for all."""
        while True:
            session = self._sessions.get(number)
            if session is not None:
                return session
            opening = self._opening.get(number)
            if opening is None:
                return await self._open_session(number, deadline)
            with trio.move_on_at(deadline):
                await opening.wait()
            if trio.current_time() >= deadline:
                raise NoLeader(f"no session could be opened in group {number}")

    async def _open_session(self, number: int, deadline: float) -> _Session:
        opening = self._opening[number] = trio.Event()
        try:
            nonce = self._ports.draw(2**63)
            envelope = encode_command(Command(0, nonce, 0))
            answer = await self._drive(_Pending(number, (0, nonce), envelope), deadline)
        except OutcomeUnknown as unknown:
            raise NoLeader(f"no session could be opened in group {number}") from unknown
        finally:
            del self._opening[number]
            opening.set()
        session = self._sessions[number] = _Session(opened_session(answer))
        return session

    async def _drive(self, pending: _Pending, deadline: float) -> Answer:
        """Send, wait, and send again until there is an answer, or the time is over."""
        waiting = self._pending.setdefault(pending.group, {})
        waiting[pending.key] = pending
        try:
            while True:
                if pending.answer is None:
                    await self._send_and_wait(pending, deadline)
                if pending.answer is not None:
                    if pending.answer.outcome is not Outcome.TOO_MANY:
                        return pending.answer
                    pending.answer = None
                    pending.refused = True
                    pending.leader = NO_NODE
                if self._stopped:
                    raise HostStopped("the host has ended")
                if trio.current_time() >= deadline:
                    raise self._too_late(pending)
                if pending.refused:
                    await self._pause(deadline)
        finally:
            del waiting[pending.key]

    async def _send_and_wait(self, pending: _Pending, deadline: float) -> None:
        pending.wake = trio.Event()
        pending.refused = False
        retry_at = trio.current_time() + self._ports.settings.retry_s
        pending.wakes_at = min(deadline, retry_at)
        self._send(pending)
        if not pending.refused:
            # A deadline of its own would cost a proposal as much as its way to the leader.
            await pending.wake.wait()

    async def _pause(self, deadline: float) -> None:
        """Let the leader settle; the answer to an earlier sending may come meanwhile."""
        until = trio.current_time() + self._ports.settings.refused_pause_s
        await trio.sleep_until(min(deadline, until))

    def _too_late(self, pending: _Pending) -> Exception:
        if pending.sent <= 0:
            return NoLeader(f"group {pending.group} had no leader to take the command")
        return OutcomeUnknown(f"group {pending.group} gave no answer in time")

    def _send(self, pending: _Pending) -> None:
        group = self._loop.groups.get(pending.group)
        if group is None or group.node.leader == NO_NODE or group.held:
            return
        leader, term = group.node.leader, group.node.term
        if leader == self._ports.node:
            if (pending.leader, pending.term) == (leader, term):
                return  # it is in this leader's log already
            self._loop.offer(group, pending.data, partial(self._on_refused, pending))
        else:
            self._loop.outbox.propose(leader, frames.Proposal(pending.group, pending.data))
            self._loop.touch(group)
        self.resent += bool(pending.sent)
        pending.sent += 1
        pending.leader, pending.term = leader, term

    def _on_refused(self, pending: _Pending, _: ProposalRefused) -> None:
        """This node's own core did not take a proposal."""
        pending.sent -= 1
        pending.leader = NO_NODE
        pending.refused = True
        pending.wake.set()

    def on_tick(self) -> None:
        """Wake whoever has waited long enough."""
        now = trio.current_time()
        for waiting in self._pending.values():
            for pending in waiting.values():
                if now >= pending.wakes_at:
                    pending.wake.set()

    # What comes back.

    def on_applied(self, group: Group, entry: Entry, result: bytes) -> None:
        """An entry was applied here: whoever waits for it, here or elsewhere, hears of it."""
        waiting = self._pending.get(group.number)
        if not waiting and not group.others:
            return
        command = decode_command(entry.data)
        key = (command.session, command.number)
        pending = waiting.get(key) if waiting else None
        if pending is not None:
            self._resolve(pending, result)
        asker = group.others.pop(key, NO_NODE)
        if asker != NO_NODE:
            self._answer(asker, group.number, key, "", result)

    def on_answer(self, answer: frames.ProposalAnswer) -> None:
        """Another node says what became of a proposal of this one. Raises ValueError."""
        key = (answer.session, answer.number)
        pending = self._pending.get(answer.group, {}).get(key)
        if pending is None or pending.answer is not None:
            return
        if not answer.code:
            self._resolve(pending, answer.result)
            return
        # It stays counted as sent: a frame that came twice may have been refused and taken.
        pending.refused = answer.code != OPEN
        pending.wake.set()

    def on_leader_changed(self, group: Group) -> None:
        """Send own proposals to the new leader; tell others that theirs must go elsewhere."""
        for pending in self._pending.get(group.number, {}).values():
            pending.wake.set()
        others, group.others = group.others, {}
        for key, asker in others.items():
            self._answer(asker, group.number, key, OPEN, b"")

    def on_dropped(self, to: NodeId, proposals: list[frames.Proposal]) -> None:
        """Proposals to a leader did not leave this node."""
        for proposal in proposals:
            command = decode_command(proposal.data)
            key = (command.session, command.number)
            pending = self._pending.get(proposal.group, {}).get(key)
            if pending is not None and pending.leader == to:
                pending.sent -= 1
                pending.refused = True
                pending.wake.set()

    def _resolve(self, pending: _Pending, result: bytes) -> None:
        pending.answer = decode_answer(result)
        pending.wake.set()

    # Those of others.

    def on_proposal(self, sender: NodeId, proposal: frames.Proposal) -> None:
        """Another node takes this one for the leader of a group. Raises ValueError."""
        command = decode_command(proposal.data)
        key = (command.session, command.number)
        group = self._loop.groups.get(proposal.group)
        if group is None or not group.leads:
            self._answer(sender, proposal.group, key, NoLeader.code, b"")
            return
        if key in group.others:
            group.others[key] = sender
            return
        if len(group.others) >= self._ports.settings.proposals_of_others_max:
            self._answer(sender, proposal.group, key, TooManyProposals.code, b"")
            return
        group.others[key] = sender
        self._loop.offer(group, proposal.data, partial(self._on_refused_other, group, key))

    def _on_refused_other(self, group: Group, key: CommandKey, refused: ProposalRefused) -> None:
        """This node's core did not take a proposal of another's."""
        asker = group.others.pop(key, NO_NODE)
        if asker != NO_NODE:
            self._answer(asker, group.number, key, refused.code, b"")

    def _answer(self, to: NodeId, group: int, key: CommandKey, code: str, result: bytes) -> None:
        self._loop.outbox.answer(to, frames.ProposalAnswer(group, *key, code, result))
        self._loop.wake()

    def stop(self) -> None:
        """The host has ended: everybody who waits hears of it."""
        self._stopped = True
        for waiting in self._pending.values():
            for pending in waiting.values():
                pending.wake.set()
