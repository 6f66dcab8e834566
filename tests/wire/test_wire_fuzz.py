"""Fuzz: whatever bytes come, the gateway answers or closes, and never fails."""

import trio
import trio.testing
from hypothesis import given, settings
from hypothesis import strategies as st
from wire_harness import get, put, read_answers, running

from rs3gwd.gateway.limits import Limits

PIECES = st.sampled_from(
    [
        b"GET ",
        b"PUT /b/k",
        b" HTTP/1.1",
        b"HTTP/1.0\r\n",
        b"\r\n",
        b"\r\n\r\n",
        b"\n",
        b"\r",
        b"Host: example.test\r\n",
        b"Content-Length: 3\r\n",
        b"Transfer-Encoding: chunked\r\n",
        b"Expect: 100-continue\r\n",
        b"Connection: close\r\n",
        b"0\r\n\r\n",
        b"5\r\nhello\r\n",
        b"\x00",
        b":",
        b" ",
        b"\xff\xfe",
        get("/a"),
        put(b"abc"),
    ]
)
LIMITS = Limits(head_seconds=2, idle_seconds=2, patience_seconds=2)
STATUSES = {200, 400, 417, 501, 505}


async def check(pieces: list[bytes]) -> None:
    """Sends the pieces; every answer must be whole and known, and nothing may be left over."""
    async with running(limits=LIMITS) as gateway:
        data = await gateway.talk(*pieces)
        await trio.testing.wait_all_tasks_blocked()
        if not gateway.gateway.statistics().connections_handed_over_total:
            assert {answer.status for answer in read_answers(data)} <= STATUSES
        assert gateway.recorder.failures == []
        state = gateway.gateway.statistics()
        assert (state.connections, state.requests_in_flight, state.buffered_bytes) == (0, 0, 0)


def run(pieces: list[bytes]) -> None:
    """In a trio of its own whose clock jumps."""
    clock = trio.testing.MockClock(autojump_threshold=0)
    trio.run(check, pieces, clock=clock)


@settings(max_examples=150, deadline=None)
@given(st.lists(st.binary(min_size=1, max_size=200), min_size=1, max_size=5))
def test_random_bytes_are_refused_cleanly(pieces):
    """Random bytes never raise anything and never hang."""
    run(pieces)


@settings(max_examples=300, deadline=None)
@given(st.lists(PIECES, min_size=1, max_size=14))
def test_shuffled_pieces_of_http_are_answered_or_refused_cleanly(pieces):
    """Pieces of HTTP in any order never raise anything and never hang."""
    run(pieces)


@settings(max_examples=150, deadline=None)
@given(
    st.integers(min_value=0),
    st.binary(min_size=1, max_size=4),
    st.booleans(),
)
def test_request_with_one_place_overwritten_is_answered_or_refused(place, change, chunked):
    """A good request with some bytes overwritten never raises anything and never hangs."""
    data = bytearray(
        b"PUT /b/k HTTP/1.1\r\nHost: example.test\r\nTransfer-Encoding: chunked\r\n\r\n"
        b"5\r\nhello\r\n0\r\nA: b\r\n\r\n"
        if chunked
        else put(b"hello", "X-Amz-Date: 20261122T000000Z")
    )
    place %= len(data)
    data[place : place + len(change)] = change
    run([bytes(data)])


FRAMES = st.builds(
    lambda kind, flags, stream, payload: (
        len(payload).to_bytes(3, "big") + bytes([kind, flags]) + stream.to_bytes(4, "big") + payload
    ),
    st.integers(0, 10),
    st.integers(0, 255),
    st.sampled_from([0, 1, 2, 3, 1 << 31]),
    st.sampled_from(
        [b"", b"\x00" * 4, b"\x00" * 5, b"\x00" * 8, b"\x82\x87\x84\x41\x01a", b"\xff" * 9]
    ),
)


@settings(max_examples=150, deadline=None)
@given(st.lists(st.one_of(FRAMES, st.binary(max_size=40)), max_size=6))
def test_random_frames_of_http2_end_the_connection_cleanly(frames):
    """Behind the HTTP/2 preface, too, nonsense costs one connection and no failure."""
    settings_frame = b"\x00\x00\x00\x04\x00\x00\x00\x00\x00"
    run([b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + settings_frame, *[f for f in frames if f]])
