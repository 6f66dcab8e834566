"""Frames on the channel: split anywhere they come out whole, and no length is believed."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rs3gwd.base.errors import FormatError
from rs3gwd.engine.frames import FRAME_BYTES_MAX, PREFIX_BYTES, FrameSplitter, seal_frame


def sealed(payload: bytes) -> bytes:
    """A payload as a frame."""
    buffer = bytearray(PREFIX_BYTES) + payload
    seal_frame(buffer)
    return bytes(buffer)


def split(stream: bytes, cuts: list[int]) -> tuple[list[bytes], FrameSplitter]:
    """The frames of a stream that comes in the pieces between `cuts`."""
    splitter = FrameSplitter()
    frames: list[bytes] = []
    for start, end in zip([0, *cuts], [*cuts, len(stream)], strict=True):
        if start < end:
            frames += [bytes(frame) for frame in splitter.feed(stream[start:end])]
    return frames, splitter


def test_a_frame_is_its_length_and_its_payload() -> None:
    """The bytes of a frame, as the head note draws them."""
    assert sealed(b"abc") == b"\0\0\0\3abc"


@given(
    payloads=st.lists(st.binary(min_size=1, max_size=40), max_size=8),
    cuts=st.lists(st.integers(0, 300), max_size=12),
)
def test_frames_come_out_whole_wherever_the_stream_is_cut(
    payloads: list[bytes], cuts: list[int]
) -> None:
    """Any cuts of any frames give the same frames, and nothing is left over."""
    stream = b"".join(map(sealed, payloads))
    frames, splitter = split(stream, sorted(min(cut, len(stream)) for cut in cuts))
    assert frames == payloads
    assert splitter.held_bytes == 0


def test_frames_come_out_byte_by_byte() -> None:
    """A stream of single bytes gives each frame with its last byte."""
    stream = sealed(b"one") + sealed(b"two")
    frames, _ = split(stream, list(range(1, len(stream))))
    assert frames == [b"one", b"two"]


def test_a_frame_that_is_cut_short_is_not_given_out() -> None:
    """What came of it is held, and known to be held."""
    frames, splitter = split(sealed(b"whole") + sealed(b"cut short")[:-1], [])
    assert frames == [b"whole"]
    assert splitter.held_bytes == PREFIX_BYTES + len(b"cut short") - 1


@pytest.mark.parametrize("length", [0, FRAME_BYTES_MAX + 1, 1 << 31, (1 << 32) - 1])
def test_a_hostile_length_is_refused_before_any_byte_of_it_comes(length: int) -> None:
    """Nothing is held for a frame that no process of ours sends."""
    with pytest.raises(FormatError):
        FrameSplitter().feed(length.to_bytes(PREFIX_BYTES, "big"))


def test_a_hostile_length_behind_good_frames_is_refused() -> None:
    """Also in the middle of what one read gave."""
    with pytest.raises(FormatError):
        FrameSplitter().feed(sealed(b"good") + bytes(PREFIX_BYTES))


def test_the_longest_frame_passes_and_a_longer_one_is_not_sent() -> None:
    """The bound is the same on both sides."""
    frames, _ = split(sealed(bytes(FRAME_BYTES_MAX)), [PREFIX_BYTES, 1 << 20])
    assert len(frames[0]) == FRAME_BYTES_MAX
    with pytest.raises(FormatError):
        sealed(bytes(FRAME_BYTES_MAX + 1))
    with pytest.raises(FormatError):
        sealed(b"")
