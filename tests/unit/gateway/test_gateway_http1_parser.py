"""The HTTP/1.1 parser alone: events, splits, and what it never does."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rs3gwd.base.http import RequestBodyError
from rs3gwd.gateway.errors import HttpRefusal
from rs3gwd.gateway.http1_parser import (
    HTTP2_PREFACE_HEAD,
    UPGRADE_HTTP2_PREFACE,
    Http1Parser,
    RequestHead,
    origin_form,
)
from rs3gwd.gateway.limits import Limits

GET = b"GET /b/k?x=1 HTTP/1.1\r\nHost: example.test\r\n\r\n"
PUT = b"PUT /b/k HTTP/1.1\r\nHost: example.test\r\nContent-Length: 5\r\n\r\nhello"
CHUNKED = (
    b"PUT /c HTTP/1.1\r\nHost: example.test\r\nTransfer-Encoding: chunked\r\n\r\n"
    b"3;x=y\r\nhel\r\n2\r\nlo\r\n0\r\nx-amz-checksum-crc32: AAAA\r\n\r\n"
)


def events_of(pieces: list[bytes]) -> list[object]:
    """Heads, whole bodies and the refusal, as a connection would read them."""
    parser = Http1Parser(Limits())
    events: list[object] = []
    body: bytes | None = None
    for piece in pieces:
        parser.feed(piece)
        try:
            while True:
                if body is None:
                    head = parser.next_head()
                    if head is None:
                        break
                    events.append(head)
                    body = b""
                data = parser.next_body()
                if data is None:
                    break
                body += data
                if not data:
                    events.append((body, tuple(parser.trailers)))
                    body = None
        except HttpRefusal as refusal:
            return [*events, (refusal.status, refusal.api_code)]
        except RequestBodyError as error:
            return [*events, error.code]
    return events


@pytest.mark.parametrize("data", [GET, PUT, CHUNKED, GET + PUT + CHUNKED + GET])
def test_every_split_gives_the_same_events(data):
    """Whole, cut in two anywhere, and byte by byte, the events are the same."""
    whole = events_of([data])
    assert whole
    assert events_of([data[i : i + 1] for i in range(len(data))]) == whole
    for i in range(1, len(data)):
        assert events_of([data[:i], data[i:]]) == whole


@given(st.lists(st.integers(1, 150), max_size=8))
def test_random_splits_give_the_same_events(sizes):
    """Any cutting of several pipelined messages gives the same events."""
    data = CHUNKED + GET + PUT + GET + CHUNKED
    pieces, at = [], 0
    for size in sizes:
        pieces.append(data[at : at + size])
        at += size
    assert events_of([*pieces, data[at:]]) == events_of([data])


@given(st.lists(st.binary(max_size=60), max_size=6))
def test_random_bytes_give_events_or_a_refusal(pieces):
    """Random bytes raise nothing but the parser's own errors."""
    events_of(pieces)


@given(st.binary(max_size=80))
def test_refusal_does_not_depend_on_the_split(tail):
    """What is refused whole is refused byte by byte, and what is not is not."""
    data = b"GET / HTTP/1.1\r\nHost: a\r\n" + tail + b"\r\n\r\n"
    whole = events_of([data])
    split = events_of([data[i : i + 1] for i in range(len(data))])
    assert [type(event) for event in whole] == [type(event) for event in split]
    assert [e for e in whole if isinstance(e, RequestHead)] == [
        e for e in split if isinstance(e, RequestHead)
    ]


def test_bytes_behind_a_message_are_untouched():
    """The rest of the tape is given out as it came, for whoever takes the connection."""
    parser = Http1Parser(Limits())
    parser.feed(GET + b"PRI * whatever\x00\r\n")
    assert parser.next_head() is not None
    assert parser.buffered_bytes == len(b"PRI * whatever\x00\r\n")
    assert parser.take_rest() == b"PRI * whatever\x00\r\n"
    assert parser.buffered_bytes == 0


def test_body_is_given_out_without_waiting_for_its_end():
    """What has arrived of a body is given at once; None asks for more."""
    parser = Http1Parser(Limits())
    parser.feed(PUT[:-2])
    head = parser.next_head()
    assert head is not None
    assert (head.content_length, parser.body_left) == (5, 5)
    assert parser.next_body() == b"hel"
    assert (parser.next_body(), parser.body_left) == (None, 2)
    parser.feed(b"lo" + GET)
    assert parser.next_body() == b"lo"
    assert parser.next_body() == b""
    assert parser.next_head() is not None


def test_next_head_before_the_end_of_a_body_is_a_bug():
    """Reading on with a body unread would take the body for a request."""
    parser = Http1Parser(Limits())
    parser.feed(PUT)
    parser.next_head()
    with pytest.raises(AssertionError):
        parser.next_head()


def test_trailers_are_apart_from_headers():
    """Trailer fields are collected on their own."""
    parser = Http1Parser(Limits())
    parser.feed(CHUNKED)
    head = parser.next_head()
    assert head is not None
    assert (head.content_length, parser.body_left) == (None, None)
    while parser.next_body():
        pass
    assert list(parser.trailers) == [("x-amz-checksum-crc32", "AAAA")]
    assert "x-amz-checksum-crc32" not in head.headers


def test_http2_preface_is_recognised_as_the_first_head_alone():
    """The preface is a head of its own kind at the start, and refused later."""
    parser = Http1Parser(Limits())
    parser.feed(HTTP2_PREFACE_HEAD + b"SM\r\n\r\n")
    head = parser.next_head()
    assert head is not None
    assert head.upgrade == UPGRADE_HTTP2_PREFACE
    assert head.raw + parser.take_rest() == HTTP2_PREFACE_HEAD + b"SM\r\n\r\n"
    later = Http1Parser(Limits())
    later.feed(GET + HTTP2_PREFACE_HEAD)
    later.next_head()
    with pytest.raises(HttpRefusal):
        later.next_head()


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        (b"GET http://a/x?y HTTP/1.1", b"GET /x?y HTTP/1.1"),
        (b"GET https://A HTTP/1.0", b"GET / HTTP/1.0"),
        (b"GET /x HTTP/1.1", b"GET /x HTTP/1.1"),
        (b"OPTIONS * HTTP/1.1", b"OPTIONS * HTTP/1.1"),
    ],
)
def test_origin_form_keeps_all_but_the_target(line, expected):
    """An absolute target is rewritten, the fields stay byte for byte."""
    parser = Http1Parser(Limits())
    parser.feed(line + b"\r\nHost: a\r\nX:  y \r\n\r\n")
    head = parser.next_head()
    assert head is not None
    assert origin_form(head) == expected + b"\r\nHost: a\r\nX:  y \r\n\r\n"


@pytest.mark.parametrize(
    "host",
    ["a", "a.b:80", "bucket_x.s3.test", "[::1]", "[::1]:9000", "127.0.0.1:9000", "a:", "xn--a"],
)
def test_host_forms(host):
    """Names, addresses and ports are valid hosts; an empty port is not."""
    parser = Http1Parser(Limits())
    parser.feed(f"GET / HTTP/1.1\r\nHost: {host}\r\n\r\n".encode())
    if host.endswith(":"):
        with pytest.raises(HttpRefusal):
            parser.next_head()
    else:
        head = parser.next_head()
        assert head is not None
        assert head.host == host
