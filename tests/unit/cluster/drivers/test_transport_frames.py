"""Frames: whole, byte by byte, damaged, and as every release wrote them."""

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cluster.base.errors import BadFrame
from cluster.drivers import transport_frames as frames
from cluster.drivers.transport_frames import Frame, FrameReader, Hello, Kind

GOLDEN = Path(__file__).parent / "transport_frames_v1.json"

HELLO = Hello(1, 1, "c1", 3, 4, b"disk", 2, 1 << 20, 16 << 20)

WRITTEN = {
    "hello": frames.encode_hello(HELLO),
    "refuse": frames.encode_failure(Kind.REFUSE, 0, "identity", "node 9 is not known here"),
    "message": frames.encode_message("raft", b"payload"),
    "call": frames.encode_call(7, "groups.read", b"payload", left_ms=1500),
    "reply": frames.encode_reply(7, b"answer"),
    "reply_error": frames.encode_failure(Kind.REPLY, 7, "no_leader", "text", flags=frames.ERROR),
    "cancel": frames.encode(Kind.CANCEL, 7),
    "open": frames.encode_open(8, "blob", b"header"),
    "data": frames.encode(Kind.DATA, 8, b"bytes"),
    "end": frames.encode(Kind.DATA, 8, flags=frames.END),
    "window": frames.encode_window(8, 65536),
    "reset": frames.encode_failure(Kind.RESET, 8, "disk_full", "text"),
    "ping": frames.encode(Kind.PING, 0),
    "pong": frames.encode(Kind.PONG, 0),
    "goaway": frames.encode(Kind.GOAWAY, 0),
}
"""One frame of each kind, as this release writes it."""


def test_frames_are_written_as_version_1_wrote_them() -> None:
    """Every kind of frame is, byte for byte, what the golden file of version 1 has."""
    golden = json.loads(GOLDEN.read_text())
    assert {name: data.hex() for name, data in WRITTEN.items()} == golden


def test_golden_frames_read() -> None:
    """What version 1 wrote reads as what it meant."""
    golden = {name: bytes.fromhex(text) for name, text in json.loads(GOLDEN.read_text()).items()}
    read = FrameReader().feed(b"".join(golden.values()))
    kinds = [frame.kind.name.lower() for frame in read]
    assert [kind for kind in kinds if kind not in golden] == []
    assert len(kinds) == len(golden)
    assert (read[5].flags, read[9].flags) == (frames.ERROR, frames.END)
    assert frames.decode_hello(read[0]) == HELLO
    assert frames.decode_call(read[3].body) == (1500, "groups.read", b"payload")
    assert frames.decode_named(read[7].body) == ("blob", b"header")
    assert frames.decode_window(read[10].body) == 65536


def test_frames_read_byte_by_byte() -> None:
    """However the bytes are cut, the same frames come out, and nothing stays behind."""
    reader = FrameReader()
    data = b"".join(WRITTEN.values())
    read = [frame for n in range(len(data)) for frame in reader.feed(data[n : n + 1])]
    assert read == FrameReader().feed(data)
    assert len(read) == len(WRITTEN)
    assert reader.held == 0


@pytest.mark.parametrize("place", range(len(WRITTEN["call"])))
def test_no_flipped_bit_gets_through(place: int) -> None:
    """A frame with one wrong bit is refused, or waits for bytes that never come."""
    for bit in range(8):
        data = bytearray(WRITTEN["call"])
        data[place] ^= 1 << bit
        try:
            assert FrameReader().feed(data) == []
        except BadFrame:
            continue


def test_a_length_over_the_bound_is_refused_by_the_head_alone() -> None:
    """Nobody waits for, or holds, a body of 4 GiB."""
    head = bytearray(WRITTEN["ping"])
    head[4:8] = (frames.BODY_BYTES_MAX + 1).to_bytes(4)
    with pytest.raises(BadFrame, match="over"):
        FrameReader().feed(head)
    with pytest.raises(BadFrame, match="over"):
        FrameReader(body_bytes_max=5).feed(WRITTEN["message"])
    with pytest.raises(ValueError, match="over"):
        frames.encode(Kind.DATA, 1, bytes(frames.BODY_BYTES_MAX + 1))


@given(st.binary(max_size=200))
def test_any_bytes_give_frames_or_a_bad_frame(data: bytes) -> None:
    """Garbage never raises anything but BadFrame, in the reader and in what reads bodies."""
    reader = FrameReader()
    try:
        read = reader.feed(data)
    except BadFrame:
        return
    assert sum(len(frame.body) + frames.HEAD_BYTES for frame in read) + reader.held == len(data)


@given(st.binary(max_size=60))
def test_any_body_decodes_or_is_a_bad_frame(body: bytes) -> None:
    """A body with a good checksum may still be nonsense."""
    refused = 0
    hello = Frame(Kind.HELLO, 0, 0, body)
    for decode in (
        lambda: frames.decode_hello(hello),
        lambda: frames.decode_failure(hello),
        lambda: frames.decode_named(body),
        lambda: frames.decode_call(body),
        lambda: frames.decode_window(body),
    ):
        try:
            decode()
        except BadFrame:
            refused += 1
    assert refused > 0
