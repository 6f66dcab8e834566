"""What hosts of groups say to each other, byte by byte."""

import os
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cluster.base.errors import BadFrame
from cluster.drivers import groups_frames as frames
from cluster.raft.commands import (
    Command,
    decode_answer,
    decode_command,
    encode_answer,
    encode_command,
)
from cluster.raft.membership import ChangeKind, ConfChange, ConfChangeSingle
from cluster.raft.messages import ConfState, Entry, EntryKind, Message, MessageType
from cluster.raft.sessions import Answer, Outcome

GOLDEN = Path(__file__).with_name("groups_frames_v1.txt")
WITHOUT_LEASES = Path(__file__).with_name("groups_frames_v1_without_leases.txt")
"""As it was before followers had leases: heartbeats and their answers were shorter."""

_T = MessageType
MESSAGES = (
    Message(
        _T.APP,
        2,
        1,
        term=7,
        log_term=6,
        index=40,
        entries=(
            Entry(7, 41, EntryKind.NORMAL, b"data"),
            Entry(7, 42, EntryKind.CONF_CHANGE_V2, b"\x01"),
        ),
        commit=39,
    ),
    Message(_T.APP_RESP, 2, 1, term=7, index=40, reject=True, reject_hint=31, log_term=5),
    Message(_T.APP_RESP, 2, 1, term=7, index=40, reject=True, healing=True),
    Message(_T.VOTE, 2, 1, term=8, log_term=7, index=42, transfer=True),
    Message(_T.VOTE_RESP, 2, 1, term=8),
    Message(_T.PRE_VOTE, 2, 1, term=8, log_term=7, index=42),
    Message(_T.PRE_VOTE_RESP, 2, 1, term=8, reject=True),
    Message(_T.TIMEOUT_NOW, 2, 1, term=8),
    Message(
        _T.HEARTBEAT, 2, 1, term=8, commit=42, round=9, sent_ms=123456789, own_ms=4711, lease_ms=480
    ),
    Message(
        _T.HEARTBEAT_RESP, 2, 1, term=8, round=9, sent_ms=123456789, reject_hint=4, own_ms=4861
    ),
)
MEMBERS = ConfState((1, 2, 3), (1, 2, 4), (5,), (4,), True)


def full_frame() -> frames.Frame:
    """A frame with everything in it."""
    frame = frames.new_frame()
    for message in MESSAGES:
        frames.add_message(frame, 3, message)
    frame.proposals.append(frames.Proposal(3, encode_command(Command(17, 4, 2, b"body"))))
    frame.answers.append(frames.ProposalAnswer(3, 17, 4, "", b"result"))
    frame.answers.append(frames.ProposalAnswer(3, 17, 5, "no_leader", b""))
    frame.read_questions.append(frames.ReadQuestion(2**61 + 5, (0, 3)))
    frame.read_answers.append(frames.ReadAnswer(2**61 + 4, ((0, 42), (3, 7))))
    return frame


def pieces() -> dict[str, bytes]:
    """One example of everything that is stored or sent."""
    change = ConfChange((ConfChangeSingle(ChangeKind.REMOVE_NODE, 4),))
    return {
        "frame": frames.encode(full_frame()),
        "empty frame": frames.encode(frames.new_frame()),
        "change": frames.encode(frames.ChangeRequest(1, 3, change.encode(), 5000)),
        "transfer": frames.encode(frames.TransferRequest(1, 3, 2)),
        "snapshot head": frames.encode(
            frames.SnapshotHead(1, 3, b"n" * 16, 42, 7, frames.encode_members(MEMBERS), 8)
        ),
        "members": frames.encode_members(MEMBERS),
        "command": encode_command(Command(17, 4, 2, b"body")),
        "answer": encode_answer(Answer(Outcome.REPEATED, b"result")),
    }


def test_what_is_sent_and_stored_is_what_it_always_was() -> None:
    """Every frame, call, head and envelope of version 1 is the same bytes for ever, but for fields
    that were appended."""
    text = "".join(f"{name}: {data.hex()}\n" for name, data in pieces().items())
    if os.environ.get("RS3GW_REWRITE"):
        GOLDEN.write_text(text)
    assert text == GOLDEN.read_text()


@pytest.mark.parametrize("recorded", [GOLDEN, WITHOUT_LEASES], ids=lambda path: path.stem)
def test_what_was_ever_sent_can_be_read(recorded: Path) -> None:
    """The recorded bytes of version 1 are decoded to what they were made of."""
    golden = dict(line.split(": ") for line in recorded.read_text().splitlines())
    data = {name: bytes.fromhex(text) for name, text in golden.items()}
    frame = frames.decode_frame(data["frame"])
    read = [
        *(frames.raft_message(wire, sender=1, to=2) for wire in frame.messages),
        *(frames.heartbeat_message(beat, sender=1, to=2) for beat in frame.heartbeats),
        *(frames.beat_message(beat, sender=1, to=2) for beat in frame.beats),
    ]
    sent = MESSAGES
    if recorded == WITHOUT_LEASES:
        sent = tuple(message._replace(own_ms=0, lease_ms=0) for message in MESSAGES)
    assert tuple(read) == sent
    assert frame.proposals == full_frame().proposals
    assert frame.answers == full_frame().answers
    assert frame.read_questions == full_frame().read_questions
    assert frame.read_answers == full_frame().read_answers
    assert frames.decode_change(data["change"]).timeout_ms == 5000
    assert frames.decode_transfer(data["transfer"]).target == 2
    assert frames.decode_snapshot_head(data["snapshot head"]).index == 42
    assert frames.decode_members(data["members"]) == MEMBERS
    assert decode_command(data["command"]) == Command(17, 4, 2, b"body")
    assert decode_answer(data["answer"]) == Answer(Outcome.REPEATED, b"result")


def test_a_later_release_may_append_fields() -> None:
    """Fields behind those that are known are ignored."""
    longer = b"\x99" + frames.encode(frames.new_frame())[1:] + b"\x2a"
    assert frames.decode_frame(longer) == frames.new_frame()


def test_an_earlier_release_asks_nothing_about_reads() -> None:
    """A frame without the fields that were appended has none of what is in them."""
    assert frames.decode_frame(bytes.fromhex("96019090909090")) == frames.new_frame()


def test_another_version_is_refused() -> None:
    """What is not version 1 is not guessed at."""
    frame = frames.encode(frames.new_frame())
    with pytest.raises(BadFrame):
        frames.decode_frame(frame[:1] + b"\x02" + frame[2:])


def test_a_frame_cut_anywhere_is_refused() -> None:
    """No head of a frame, and no frame with bytes behind it, is taken."""
    whole = frames.encode(full_frame())
    for length in range(len(whole)):
        with pytest.raises(BadFrame):
            frames.decode_frame(whole[:length])
    with pytest.raises(BadFrame):
        frames.decode_frame(whole + b"\x00")


@pytest.mark.parametrize("kind", sorted(set(_T) - {message.type for message in MESSAGES}))
def test_local_messages_do_not_travel(kind: MessageType) -> None:
    """What is between a core and its own driver is refused when a peer sends it."""
    frame = frames.new_frame()
    frames.add_message(frame, 3, MESSAGES[0]._replace(entries=()))
    [wire] = frame.messages
    fields = [getattr(wire, name) for name in wire.__struct_fields__]
    fields[1] = int(kind)
    with pytest.raises(BadFrame):
        frames.raft_message(frames.WireMessage(*fields), sender=1, to=2)


def test_entries_with_a_hole_are_refused() -> None:
    """Entries follow the one that the message names, without a gap."""
    frame = frames.new_frame()
    frames.add_message(frame, 3, MESSAGES[0]._replace(index=39))
    with pytest.raises(BadFrame):
        frames.raft_message(frame.messages[0], sender=1, to=2)


@settings(max_examples=300, deadline=None)
@given(st.binary(max_size=200))
def test_garbage_raises_nothing_but_bad_frame(data: bytes) -> None:
    """Any bytes are a frame or a BadFrame."""
    try:
        frames.decode_frame(data)
    except BadFrame:
        return
    assert data[:1] == b"\x96" or data[0] in (0x97, 0x98, 0x99, 0xDC, 0xDD) or data[0] > 0x96


@settings(max_examples=200, deadline=None)
@given(st.data())
def test_a_flipped_byte_raises_nothing_but_bad_frame(data: st.DataObject) -> None:
    """A frame with any byte changed is taken for another frame or refused."""
    whole = bytearray(frames.encode(full_frame()))
    at = data.draw(st.integers(0, len(whole) - 1))
    whole[at] = data.draw(st.integers(0, 255))
    try:
        frame = frames.decode_frame(bytes(whole))
        for wire in frame.messages:
            frames.raft_message(wire, sender=1, to=2)
    except BadFrame:
        return
    assert frame.version == frames.VERSION


@pytest.mark.parametrize("data", [b"", b"\x01", b"\x02" + bytes(24), bytes(25)])
def test_what_is_no_command_is_refused(data: bytes) -> None:
    """An envelope of another version, or cut short, raises ValueError."""
    with pytest.raises(ValueError):
        decode_command(data)


@pytest.mark.parametrize("data", [b"", b"\x01", b"\x02\x00", b"\x01\x63"])
def test_what_is_no_answer_is_refused(data: bytes) -> None:
    """An answer of another version or outcome, or cut short, raises ValueError."""
    with pytest.raises(ValueError):
        decode_answer(data)
