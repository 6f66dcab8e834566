"""What the hosts of groups say to each other: frames on the transport's channel and calls.

A frame carries everything that one node has for another at one moment, of all groups: messages of
Raft, heartbeats and their answers in a shorter form (they are most of an idle cluster's traffic),
proposals for groups that the other leads, and answers to such. Frames are lost, doubled and
overtaken without harm. All are msgpack arrays that begin with their version; a later release
appends fields at the end of an array, which an earlier one ignores.

    frame       [version, messages, heartbeats, beats, proposals, answers, read_questions,
                 read_answers]
    message     [group, type, term, log_term, index, [[term, index, kind, data], ...], commit,
                 vote, reject, reject_hint, context, round, sent_ms, transfer, healing]
    heartbeat   [group, term, commit, round, sent_ms, own_ms, lease_ms]
    beat        [group, term, round, sent_ms, healing, reject_hint, own_ms]
                                                                  the answer to a heartbeat
    proposal    [group, data]                       data is an envelope of `cluster.raft.commands`
    answer      [group, session, number, code, result]    code "" for a result, else an error's
    read_question  [number, [group, ...]]           from which index on may these be read?
    read_answer    [number, [[group, index], ...]]  of those that the sender could confirm

Invariants: who sent a frame is known from the connection, never from the frame; snapshots,
proposals and reads of the Raft core do not travel as its messages, local messages never do.
"""

from typing import Final, TypeVar

import msgspec

from cluster.base.errors import BadFrame
from cluster.base.ids import NodeId
from cluster.raft.messages import ConfState, Entry, EntryKind, Message, MessageType

VERSION: Final = 1

_T = MessageType
_TRAVELS: Final = frozenset(
    {
        _T.APP,
        _T.APP_RESP,
        _T.VOTE,
        _T.VOTE_RESP,
        _T.PRE_VOTE,
        _T.PRE_VOTE_RESP,
        _T.TIMEOUT_NOW,
    }
)
"""What may come as a `message`; everything else has a form of its own or stays at home."""


class WireEntry(msgspec.Struct, array_like=True, frozen=True):
    """One entry of a log."""

    term: int
    index: int
    kind: int
    data: bytes


class WireMessage(msgspec.Struct, array_like=True, frozen=True):
    """One message of Raft, without its ends."""

    group: int
    type: int
    term: int
    log_term: int
    index: int
    entries: tuple[WireEntry, ...]
    commit: int
    vote: int
    reject: bool
    reject_hint: int
    context: bytes
    round: int
    sent_ms: int
    transfer: bool
    healing: bool


class Heartbeat(msgspec.Struct, array_like=True, frozen=True):
    """A leader's heartbeat in one group."""

    group: int
    term: int
    commit: int
    round: int
    sent_ms: int
    own_ms: int = 0
    lease_ms: int = 0


class Beat(msgspec.Struct, array_like=True, frozen=True):
    """A follower's answer to a heartbeat."""

    group: int
    term: int
    round: int
    sent_ms: int
    healing: bool
    reject_hint: int
    own_ms: int = 0


class Proposal(msgspec.Struct, array_like=True, frozen=True):
    """An entry for a group that the receiver leads."""

    group: int
    data: bytes


class ProposalAnswer(msgspec.Struct, array_like=True, frozen=True):
    """What became of a proposal, named by its session and number."""

    group: int
    session: int
    number: int
    code: str
    result: bytes


class ReadQuestion(msgspec.Struct, array_like=True, frozen=True):
    """From which index on may these groups be read? `number` is the asker's."""

    number: int
    groups: tuple[int, ...]


class ReadAnswer(msgspec.Struct, array_like=True, frozen=True):
    """Its answer: (group, index) of those that were confirmed."""

    number: int
    indexes: tuple[tuple[int, int], ...]


class Frame(msgspec.Struct, array_like=True):
    """Everything for one node at one moment."""

    version: int
    messages: list[WireMessage]
    heartbeats: list[Heartbeat]
    beats: list[Beat]
    proposals: list[Proposal]
    answers: list[ProposalAnswer]
    read_questions: list[ReadQuestion] = []
    read_answers: list[ReadAnswer] = []


class ChangeRequest(msgspec.Struct, array_like=True, frozen=True):
    """A call to a leader: make this `ConfChange` (encoded) and say when it is in force."""

    version: int
    group: int
    change: bytes
    timeout_ms: int


class TransferRequest(msgspec.Struct, array_like=True, frozen=True):
    """A call to a leader: hand the group over to `target`."""

    version: int
    group: int
    target: int


class SnapshotHead(msgspec.Struct, array_like=True, frozen=True):
    """The head of a snapshot's stream; `name` is the same when a broken stream is taken up."""

    version: int
    group: int
    name: bytes
    index: int
    term: int
    members: bytes
    leader_term: int


class WireMembers(msgspec.Struct, array_like=True, frozen=True):
    """A `ConfState`, as it is stored with applied entries and sent with snapshots."""

    version: int
    voters: tuple[int, ...]
    outgoing: tuple[int, ...]
    learners: tuple[int, ...]
    learners_next: tuple[int, ...]
    auto_leave: bool


_encode = msgspec.msgpack.Encoder().encode
_frames = msgspec.msgpack.Decoder(Frame)


def new_frame() -> Frame:
    """An empty frame."""
    return Frame(VERSION, [], [], [], [], [], [], [])


def encode(
    value: Frame | ChangeRequest | TransferRequest | SnapshotHead | WireMembers,
) -> bytes:
    """The bytes of a frame, call or head."""
    return _encode(value)


def decode_frame(payload: bytes) -> Frame:
    """What `encode` wrote. Raises BadFrame on anything else."""
    try:
        frame = _frames.decode(payload)
    except (msgspec.MsgspecError, ValueError) as fault:  # broken UTF-8 raises the latter
        raise BadFrame(str(fault)) from fault
    _check_version(frame.version)
    return frame


_C = TypeVar("_C", ChangeRequest, TransferRequest, SnapshotHead, WireMembers)


def decode_change(payload: bytes) -> ChangeRequest:
    """Raises BadFrame."""
    return _decode(payload, ChangeRequest)


def decode_transfer(payload: bytes) -> TransferRequest:
    """Raises BadFrame."""
    return _decode(payload, TransferRequest)


def decode_snapshot_head(payload: bytes) -> SnapshotHead:
    """Raises BadFrame."""
    return _decode(payload, SnapshotHead)


def encode_members(state: ConfState) -> bytes:
    """The members as they are stored and sent."""
    return encode(
        WireMembers(
            VERSION,
            state.voters,
            state.outgoing,
            state.learners,
            state.learners_next,
            state.auto_leave,
        )
    )


def decode_members(data: bytes) -> ConfState:
    """What `encode_members` wrote. Raises BadFrame on anything else."""
    wire = _decode(data, WireMembers)
    return ConfState(wire.voters, wire.outgoing, wire.learners, wire.learners_next, wire.auto_leave)


def add_message(frame: Frame, group: int, message: Message) -> int:
    """Put a message of a group's core into a frame; returns about how many bytes it takes."""
    kind = message.type
    if kind is _T.HEARTBEAT:
        frame.heartbeats.append(
            Heartbeat(
                group,
                message.term,
                message.commit,
                message.round,
                message.sent_ms,
                message.own_ms,
                message.lease_ms,
            )
        )
        return 32
    if kind is _T.HEARTBEAT_RESP:
        frame.beats.append(
            Beat(
                group,
                message.term,
                message.round,
                message.sent_ms,
                message.healing,
                message.reject_hint,
                message.own_ms,
            )
        )
        return 32
    assert kind in _TRAVELS, f"{kind.name} has no place in a frame"
    frame.messages.append(_wire_message(group, message))
    return 48 + sum(len(entry.data) + 16 for entry in message.entries)


def heartbeat_message(beat: Heartbeat, *, sender: NodeId, to: NodeId) -> Message:
    """The core's form of a heartbeat."""
    return Message(
        _T.HEARTBEAT,
        to,
        sender,
        term=beat.term,
        commit=beat.commit,
        round=beat.round,
        sent_ms=beat.sent_ms,
        own_ms=beat.own_ms,
        lease_ms=beat.lease_ms,
    )


def beat_message(beat: Beat, *, sender: NodeId, to: NodeId) -> Message:
    """The core's form of the answer to a heartbeat."""
    return Message(
        _T.HEARTBEAT_RESP,
        to,
        sender,
        term=beat.term,
        round=beat.round,
        sent_ms=beat.sent_ms,
        healing=beat.healing,
        reject_hint=beat.reject_hint,
        own_ms=beat.own_ms,
    )


def raft_message(wire: WireMessage, *, sender: NodeId, to: NodeId) -> Message:
    """The core's form of any other message. Raises BadFrame when it is none that travels."""
    if wire.type not in _TRAVELS:
        raise BadFrame(f"a message of type {wire.type} does not travel")
    entries = tuple(
        Entry(entry.term, entry.index, _entry_kind(entry.kind), entry.data)
        for entry in wire.entries
    )
    for at, entry in enumerate(entries, wire.index + 1):
        if entry.index != at:
            raise BadFrame(f"entry {entry.index} where {at} should be")
    return Message(
        MessageType(wire.type),
        to,
        sender,
        term=wire.term,
        log_term=wire.log_term,
        index=wire.index,
        entries=entries,
        commit=wire.commit,
        vote=wire.vote,
        reject=wire.reject,
        reject_hint=wire.reject_hint,
        context=wire.context,
        round=wire.round,
        sent_ms=wire.sent_ms,
        transfer=wire.transfer,
        healing=wire.healing,
    )


def _wire_message(group: int, message: Message) -> WireMessage:
    return WireMessage(
        group,
        message.type,
        message.term,
        message.log_term,
        message.index,
        tuple(
            WireEntry(entry.term, entry.index, entry.kind, entry.data) for entry in message.entries
        ),
        message.commit,
        message.vote,
        message.reject,
        message.reject_hint,
        message.context,
        message.round,
        message.sent_ms,
        message.transfer,
        message.healing,
    )


def _entry_kind(kind: int) -> EntryKind:
    try:
        return EntryKind(kind)
    except ValueError as fault:
        raise BadFrame(f"an entry of kind {kind}") from fault


def _check_version(version: int) -> None:
    if version != VERSION:
        raise BadFrame(f"version {version} is unknown")


def _decode(payload: bytes, kind: type[_C]) -> _C:
    try:
        value = msgspec.msgpack.decode(payload, type=kind)
    except (msgspec.MsgspecError, ValueError) as fault:  # broken UTF-8 raises the latter
        raise BadFrame(str(fault)) from fault
    _check_version(value.version)
    return value
