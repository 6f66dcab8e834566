"""Request smuggling, byte by byte: one refusal, one response, and nothing behind it is seen.

Each case is followed by a second request on the same connection. A server that reads the first
one otherwise than a proxy before it would take part of it, or the second, for a request of its
own (RFC 9112 section 11.2).
"""

import pytest
from wire_harness import read_answers, running

from rs3gwd.base.http import Response
from rs3gwd.gateway.limits import Limits

SMUGGLED = b"GET /smuggled HTTP/1.1\r\nHost: example.test\r\n\r\n"
HOST = b"Host: example.test\r\n"

REFUSED_HEADS = {
    "content length and chunked": (
        b"PUT / HTTP/1.1\r\n"
        + HOST
        + b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        400,
    ),
    "chunked and content length": (
        b"PUT / HTTP/1.1\r\n"
        + HOST
        + b"Transfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n0\r\n\r\n",
        400,
    ),
    "two equal content lengths": (
        b"PUT / HTTP/1.1\r\n" + HOST + b"Content-Length: 5\r\nContent-Length: 5\r\n\r\nhello",
        400,
    ),
    "two different content lengths": (
        b"PUT / HTTP/1.1\r\n" + HOST + b"Content-Length: 5\r\nContent-Length: 6\r\n\r\nhello",
        400,
    ),
    "content length with plus": (
        b"PUT / HTTP/1.1\r\n" + HOST + b"Content-Length: +4\r\n\r\nhell",
        400,
    ),
    "content length with minus": (
        b"PUT / HTTP/1.1\r\n" + HOST + b"Content-Length: -1\r\n\r\n",
        400,
    ),
    "content length as list": (
        b"PUT / HTTP/1.1\r\n" + HOST + b"Content-Length: 4, 4\r\n\r\nhell",
        400,
    ),
    "content length in hex": (
        b"PUT / HTTP/1.1\r\n" + HOST + b"Content-Length: 0x4\r\n\r\nhell",
        400,
    ),
    "content length with underscore": (
        b"PUT / HTTP/1.1\r\n" + HOST + b"Content-Length: 1_0\r\n\r\nhellohello",
        400,
    ),
    "content length with blank inside": (
        b"PUT / HTTP/1.1\r\n" + HOST + b"Content-Length: 1 0\r\n\r\nhellohello",
        400,
    ),
    "content length with point": (
        b"PUT / HTTP/1.1\r\n" + HOST + b"Content-Length: 4.0\r\n\r\nhell",
        400,
    ),
    "content length empty": (b"PUT / HTTP/1.1\r\n" + HOST + b"Content-Length:\r\n\r\n", 400),
    "content length huge": (
        b"PUT / HTTP/1.1\r\n" + HOST + b"Content-Length: 99999999999999999999999\r\n\r\n",
        400,
    ),
    "content length of 19 digits": (
        b"PUT / HTTP/1.1\r\n" + HOST + b"Content-Length: 1000000000000000000\r\n\r\n",
        400,
    ),
    "content length in other digits": (
        b"PUT / HTTP/1.1\r\n" + HOST + b"Content-Length: \xb2\r\n\r\nhe",
        400,
    ),
    "coding xchunked": (
        b"PUT / HTTP/1.1\r\n" + HOST + b"Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n",
        501,
    ),
    "coding chunked twice in one field": (
        b"PUT / HTTP/1.1\r\n" + HOST + b"Transfer-Encoding: chunked, chunked\r\n\r\n0\r\n\r\n",
        501,
    ),
    "coding chunked in two fields": (
        b"PUT / HTTP/1.1\r\n"
        + HOST
        + b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        400,
    ),
    "coding identity": (
        b"PUT / HTTP/1.1\r\n" + HOST + b"Transfer-Encoding: identity\r\n\r\n",
        501,
    ),
    "coding identity then chunked": (
        b"PUT / HTTP/1.1\r\n" + HOST + b"Transfer-Encoding: identity, chunked\r\n\r\n0\r\n\r\n",
        501,
    ),
    "coding gzip then chunked": (
        b"PUT / HTTP/1.1\r\n" + HOST + b"Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
        501,
    ),
    "coding chunked then gzip": (
        b"PUT / HTTP/1.1\r\n" + HOST + b"Transfer-Encoding: chunked, gzip\r\n\r\n0\r\n\r\n",
        501,
    ),
    "coding empty": (b"PUT / HTTP/1.1\r\n" + HOST + b"Transfer-Encoding:\r\n\r\n", 400),
    "coding quoted": (
        b"PUT / HTTP/1.1\r\n" + HOST + b'Transfer-Encoding: "chunked"\r\n\r\n0\r\n\r\n',
        400,
    ),
    "coding behind vertical tab": (
        b"PUT / HTTP/1.1\r\n" + HOST + b"Transfer-Encoding:\x0bchunked\r\n\r\n0\r\n\r\n",
        400,
    ),
    "coding behind NUL": (
        b"PUT / HTTP/1.1\r\n" + HOST + b"Transfer-Encoding: \x00chunked\r\n\r\n0\r\n\r\n",
        400,
    ),
    "coding before a tab": (
        b"PUT / HTTP/1.1\r\n" + HOST + b"Transfer-Encoding: chunked\t\r\n\r\n0\r\n\r\n",
        400,
    ),
    "coding with parameter": (
        b"PUT / HTTP/1.1\r\n" + HOST + b"Transfer-Encoding: chunked;a=b\r\n\r\n0\r\n\r\n",
        400,
    ),
    "coding in HTTP/1.0": (
        b"PUT / HTTP/1.0\r\n" + HOST + b"Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        400,
    ),
    "bare LF behind the request line": (b"GET / HTTP/1.1\nHost: example.test\r\n\r\n", 400),
    "bare LF behind a field": (b"GET / HTTP/1.1\r\nHost: example.test\nA: b\r\n\r\n", 400),
    "bare LF as empty line": (b"GET / HTTP/1.1\r\nHost: example.test\r\n\n", 400),
    "only bare LF": (b"GET / HTTP/1.1\nHost: example.test\n\n", 400),
    "bare CR in a value": (b"GET / HTTP/1.1\r\n" + HOST + b"A: b\rc\r\n\r\n", 400),
    "bare CR as line end": (b"GET / HTTP/1.1\rHost: example.test\r\r\r\n\r\n", 400),
    "folded field": (b"GET / HTTP/1.1\r\n" + HOST + b"A: b\r\n c\r\n\r\n", 400),
    "folded field with tab": (b"GET / HTTP/1.1\r\n" + HOST + b"A: b\r\n\tc\r\n\r\n", 400),
    "folded coding": (
        b"PUT / HTTP/1.1\r\n" + HOST + b"Transfer-Encoding:\r\n chunked\r\n\r\n0\r\n\r\n",
        400,
    ),
    "blank before the first field": (b"GET / HTTP/1.1\r\n Host: example.test\r\n\r\n", 400),
    "blank before the colon": (
        b"PUT / HTTP/1.1\r\n" + HOST + b"Content-Length : 5\r\n\r\nhello",
        400,
    ),
    "tab before the colon": (
        b"PUT / HTTP/1.1\r\n" + HOST + b"Transfer-Encoding\t: chunked\r\n\r\n0\r\n\r\n",
        400,
    ),
    "field without colon": (b"GET / HTTP/1.1\r\n" + HOST + b"A\r\n\r\n", 400),
    "field without name": (b"GET / HTTP/1.1\r\n" + HOST + b": b\r\n\r\n", 400),
    "field name in latin-1": (b"GET / HTTP/1.1\r\n" + HOST + b"A\xe4: b\r\n\r\n", 400),
    "NUL in a value": (b"GET / HTTP/1.1\r\n" + HOST + b"A: b\x00c\r\n\r\n", 400),
    "NUL in a name": (b"GET / HTTP/1.1\r\n" + HOST + b"A\x00: b\r\n\r\n", 400),
    "NUL in the target": (b"GET /a\x00b HTTP/1.1\r\n" + HOST + b"\r\n", 400),
    "escape in a value": (b"GET / HTTP/1.1\r\n" + HOST + b"A: b\x1bc\r\n\r\n", 400),
    "DEL in a value": (b"GET / HTTP/1.1\r\n" + HOST + b"A: b\x7fc\r\n\r\n", 400),
    "Content_Length": (b"PUT / HTTP/1.1\r\n" + HOST + b"Content_Length: 5\r\n\r\n", 400),
    "Transfer_Encoding": (
        b"PUT / HTTP/1.1\r\n" + HOST + b"Transfer_Encoding: chunked\r\n\r\n",
        400,
    ),
    "no Host": (b"GET / HTTP/1.1\r\n\r\n", 400),
    "no Host in HTTP/1.0": (b"GET / HTTP/1.0\r\n\r\n", 400),
    "empty Host": (b"GET / HTTP/1.1\r\nHost:\r\n\r\n", 400),
    "two Hosts": (b"GET / HTTP/1.1\r\n" + HOST + b"Host: other.test\r\n\r\n", 400),
    "two equal Hosts": (b"GET / HTTP/1.1\r\n" + HOST + HOST + b"\r\n", 400),
    "Host with blank": (b"GET / HTTP/1.1\r\nHost: a b\r\n\r\n", 400),
    "Host with path": (b"GET / HTTP/1.1\r\nHost: a/b\r\n\r\n", 400),
    "Host with user": (b"GET / HTTP/1.1\r\nHost: u@a\r\n\r\n", 400),
    "Host with letters as port": (b"GET / HTTP/1.1\r\nHost: a:b\r\n\r\n", 400),
    "Host list": (b"GET / HTTP/1.1\r\nHost: a, b\r\n\r\n", 400),
    "two Authorizations": (
        b"GET / HTTP/1.1\r\n" + HOST + b"Authorization: a\r\nauthorization: b\r\n\r\n",
        400,
    ),
    "absolute target of another host": (
        b"GET http://other.test/ HTTP/1.1\r\n" + HOST + b"\r\n",
        400,
    ),
    "absolute target with user": (
        b"GET http://u@example.test/ HTTP/1.1\r\n" + HOST + b"\r\n",
        400,
    ),
    "absolute target of another scheme": (
        b"GET ftp://example.test/ HTTP/1.1\r\n" + HOST + b"\r\n",
        400,
    ),
    "absolute target without host": (b"GET http:/// HTTP/1.1\r\n" + HOST + b"\r\n", 400),
    "target without slash": (b"GET bucket HTTP/1.1\r\n" + HOST + b"\r\n", 400),
    "target with fragment": (b"GET /a#b HTTP/1.1\r\n" + HOST + b"\r\n", 400),
    "target in UTF-8": (b"GET /\xc3\xa4 HTTP/1.1\r\n" + HOST + b"\r\n", 400),
    "star target of GET": (b"GET * HTTP/1.1\r\n" + HOST + b"\r\n", 400),
    "CONNECT": (b"CONNECT example.test:443 HTTP/1.1\r\n" + HOST + b"\r\n", 400),
    "no target": (b"GET HTTP/1.1\r\n" + HOST + b"\r\n", 400),
    "two blanks behind the method": (b"GET  / HTTP/1.1\r\n" + HOST + b"\r\n", 400),
    "two blanks behind the target": (b"GET /  HTTP/1.1\r\n" + HOST + b"\r\n", 400),
    "tab in the request line": (b"GET\t/\tHTTP/1.1\r\n" + HOST + b"\r\n", 400),
    "blank behind the version": (b"GET / HTTP/1.1 \r\n" + HOST + b"\r\n", 400),
    "blank before the method": (b" GET / HTTP/1.1\r\n" + HOST + b"\r\n", 400),
    "two empty lines first": (b"\r\n\r\nGET / HTTP/1.1\r\n" + HOST + b"\r\n", 400),
    "lower-case method": (b"get / HTTP/1.1\r\n" + HOST + b"\r\n", 400),
    "unknown method": (b"STEAL / HTTP/1.1\r\n" + HOST + b"\r\n", 400),
    "HTTP/0.9": (b"GET /\r\n\r\n", 400),
    "HTTP/0.9 by name": (b"GET / HTTP/0.9\r\n" + HOST + b"\r\n", 505),
    "HTTP/1.9": (b"GET / HTTP/1.9\r\n" + HOST + b"\r\n", 505),
    "HTTP/2.0": (b"GET / HTTP/2.0\r\n" + HOST + b"\r\n", 505),
    "HTTP/1.10": (b"GET / HTTP/1.10\r\n" + HOST + b"\r\n", 400),
    "http/1.1": (b"GET / http/1.1\r\n" + HOST + b"\r\n", 400),
    "RTSP": (b"GET / RTSP/1.0\r\n" + HOST + b"\r\n", 400),
    "unknown expectation": (b"PUT / HTTP/1.1\r\n" + HOST + b"Expect: 200-ok\r\n\r\n", 417),
    "TLS hello": (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n", 400),
}

CODES = {
    400: "BadRequest",
    417: "ExpectationFailed",
    501: "NotImplemented",
    505: "HTTPVersionNotSupported",
}


@pytest.mark.parametrize("name", REFUSED_HEADS)
async def test_ambiguous_head_is_refused_and_nothing_behind_it_is_read(name, autojump_clock):
    """An ambiguous head gets its exact error, the connection closes, no request is seen."""
    data, status = REFUSED_HEADS[name]
    async with running() as gateway:
        answers = await gateway.answers(data + SMUGGLED)
        assert [answer.status for answer in answers] == [status]
        assert answers[0].error_code == CODES[status]
        assert answers[0].headers["connection"] == "close"
        assert gateway.surface.saw == []
        assert gateway.recorder.refusals == [(status, CODES[status])]
        assert gateway.recorder.failures == []


@pytest.mark.parametrize("name", REFUSED_HEADS)
async def test_ambiguous_head_is_refused_when_it_comes_byte_by_byte(name, autojump_clock):
    """However the bytes are split, the same heads are refused."""
    data, status = REFUSED_HEADS[name]
    async with running() as gateway:
        whole = data + SMUGGLED
        answers = await gateway.answers(*[whole[i : i + 1] for i in range(len(whole))])
        assert [answer.status for answer in answers] == [status]
        assert gateway.surface.saw == []


CHUNKED = b"PUT /chunked HTTP/1.1\r\n" + HOST + b"Transfer-Encoding: chunked\r\n\r\n"

BROKEN_BODIES = {
    "size with 0x": b"0x5\r\nhello\r\n0\r\n\r\n",
    "size with underscore": b"0_5\r\nhello\r\n0\r\n\r\n",
    "size with minus": b"-1\r\nhello\r\n0\r\n\r\n",
    "size with plus": b"+5\r\nhello\r\n0\r\n\r\n",
    "size empty": b"\r\nhello\r\n0\r\n\r\n",
    "size of 17 digits": b"00000000000000005\r\nhello\r\n0\r\n\r\n",
    "size that overflows": b"ffffffffffffffff\r\nhello\r\n0\r\n\r\n",
    "size above the bound": b"40000000001\r\nhello\r\n0\r\n\r\n",
    "size behind a blank": b" 5\r\nhello\r\n0\r\n\r\n",
    "size before a blank": b"5 \r\nhello\r\n0\r\n\r\n",
    "size before a tab": b"5\t;a\r\nhello\r\n0\r\n\r\n",
    "size in letters": b"five\r\nhello\r\n0\r\n\r\n",
    "size line with bare LF": b"5\nhello\r\n0\r\n\r\n",
    "size line with bare CR": b"5\rhello\r\n0\r\n\r\n",
    "size line with CR CR LF": b"5\r\r\nhello\r\n0\r\n\r\n",
    "size line too long": b"5;" + b"a" * 300 + b"\r\nhello\r\n0\r\n\r\n",
    "extension with NUL": b"5;a=\x00\r\nhello\r\n0\r\n\r\n",
    "extension with bare LF": b"5;a\nb\r\nhello\r\n0\r\n\r\n",
    "extensions without end": (b"1;" + b"a" * 200 + b"\r\nx\r\n") * 30 + b"0\r\n\r\n",
    "data too long": b"5\r\nhello!\r\n0\r\n\r\n",
    "data without CRLF": b"5\r\nhello0\r\n\r\n",
    "data behind bare LF": b"5\r\nhello\n0\r\n\r\n",
    "trailer content length": b"5\r\nhello\r\n0\r\nContent-Length: 5\r\n\r\n",
    "trailer transfer encoding": b"5\r\nhello\r\n0\r\nTransfer-Encoding: chunked\r\n\r\n",
    "trailer authorization": b"5\r\nhello\r\n0\r\nAuthorization: AWS4-HMAC-SHA256 x\r\n\r\n",
    "trailer host": b"5\r\nhello\r\n0\r\nHost: other.test\r\n\r\n",
    "trailer Content_Length": b"5\r\nhello\r\n0\r\nContent_Length: 5\r\n\r\n",
    "trailer with blank before colon": b"5\r\nhello\r\n0\r\nA : b\r\n\r\n",
    "trailer folded": b"5\r\nhello\r\n0\r\nA: b\r\n c\r\n\r\n",
    "trailer without colon": b"5\r\nhello\r\n0\r\nA\r\n\r\n",
    "trailer with NUL": b"5\r\nhello\r\n0\r\nA: \x00\r\n\r\n",
    "trailer with bare LF": b"5\r\nhello\r\n0\r\nA: b\nC: d\r\n\r\n",
    "trailers too many": b"5\r\nhello\r\n0\r\n" + b"A: b\r\n" * 33 + b"\r\n",
    "trailers too long": b"5\r\nhello\r\n0\r\n" + (b"A: " + b"b" * 4000 + b"\r\n") * 3 + b"\r\n",
}


@pytest.mark.parametrize("name", BROKEN_BODIES)
async def test_broken_chunked_body_is_an_error_and_the_connection_closes(name, autojump_clock):
    """A broken chunked body gets 400 InvalidRequest and what follows is never a request."""
    async with running() as gateway:
        answers = await gateway.answers(CHUNKED + BROKEN_BODIES[name] + SMUGGLED)
        assert [(answer.status, answer.error_code) for answer in answers] == [
            (400, "InvalidRequest")
        ]
        assert answers[0].headers["connection"] == "close"
        assert gateway.surface.paths == ["/chunked"]
        assert len(gateway.surface.errors) == 1


@pytest.mark.parametrize("name", BROKEN_BODIES)
async def test_broken_chunked_body_is_an_error_byte_by_byte(name, autojump_clock):
    """The same when every byte comes alone."""
    whole = CHUNKED + BROKEN_BODIES[name] + SMUGGLED
    async with running() as gateway:
        answers = await gateway.answers(*[whole[i : i + 1] for i in range(len(whole))])
        assert [answer.status for answer in answers] == [400]
        assert gateway.surface.paths == ["/chunked"]


@pytest.mark.parametrize("name", BROKEN_BODIES)
async def test_broken_chunked_body_that_no_handler_reads_closes_the_connection(
    name, autojump_clock
):
    """A handler that answers without reading does not let a broken body become a request."""
    whole = CHUNKED + BROKEN_BODIES[name] + SMUGGLED

    async def deny(_request):
        return Response(403, [], b"no")

    async with running() as gateway:
        gateway.surface.answers["/chunked"] = deny
        answers = await gateway.answers(whole)
        assert [answer.status for answer in answers] == [403]
        assert gateway.surface.paths == ["/chunked"]


GOOD_BODIES = {
    "one chunk": (b"5\r\nhello\r\n0\r\n\r\n", b"hello"),
    "many chunks": (b"1\r\nh\r\n0004\r\nello\r\n0\r\n\r\n", b"hello"),
    "hex in both cases": (b"a\r\n0123456789\r\nA\r\n0123456789\r\n0\r\n\r\n", b"0123456789" * 2),
    "no data": (b"0\r\n\r\n", b""),
    "last chunk of many zeros": (b"5\r\nhello\r\n000\r\n\r\n", b"hello"),
    "extensions": (b'5;a;b=c;d="e f"\r\nhello\r\n0;z\r\n\r\n', b"hello"),
    "trailers": (b"5\r\nhello\r\n0\r\nx-amz-checksum-crc32: AAAAAA==\r\nB:\r\n\r\n", b"hello"),
    "CRLF in the data": (b"6\r\nhe\r\nlo\r\n0\r\n\r\n", b"he\r\nlo"),
}


@pytest.mark.parametrize("name", GOOD_BODIES)
@pytest.mark.parametrize("coding", [b"chunked", b"Chunked", b"\tchunked "])
async def test_good_chunked_body_is_read_and_the_next_request_is_its_own(
    name, coding, autojump_clock
):
    """A correct chunked body is decoded, and the request behind it is served."""
    data, body = GOOD_BODIES[name]
    head = b"PUT /chunked HTTP/1.1\r\n" + HOST + b"Transfer-Encoding:" + coding + b"\r\n\r\n"
    async with running() as gateway:
        answers = await gateway.answers(head + data + SMUGGLED.replace(b"smuggled", b"second"))
        assert [answer.status for answer in answers] == [200, 200]
        assert [(saw.target, saw.body) for saw in gateway.surface.saw] == [
            ("/chunked", body),
            ("/second", b""),
        ]
        assert "x-amz-checksum-crc32" not in gateway.surface.saw[0].headers


async def test_content_length_counts_and_the_next_request_begins_behind_it(autojump_clock):
    """A body that looks like a request is a body."""
    inner = SMUGGLED
    async with running() as gateway:
        data = b"PUT /a HTTP/1.1\r\n" + HOST + b"Content-Length: %d\r\n\r\n" % len(inner) + inner
        answers = await gateway.answers(data + SMUGGLED.replace(b"smuggled", b"second"))
        assert [answer.status for answer in answers] == [200, 200]
        assert gateway.surface.saw[0].body == inner
        assert gateway.surface.paths == ["/a", "/second"]


BOUNDS = Limits(request_line_bytes_max=200, head_bytes_max=1000, headers_max=10)

TOO_LARGE = {
    "request line": b"GET /" + b"a" * 200 + b" HTTP/1.1\r\n" + HOST + b"\r\n",
    "request line without end": b"GET /" + b"a" * 400,
    "head": b"GET / HTTP/1.1\r\n" + HOST + b"A: " + b"b" * 1000 + b"\r\n\r\n",
    "head without end": b"GET / HTTP/1.1\r\n" + HOST + b"A: " + b"b" * 1200,
    "fields": b"GET / HTTP/1.1\r\n" + HOST + b"A: b\r\n" * 10 + b"\r\n",
}


@pytest.mark.parametrize("name", TOO_LARGE)
async def test_head_beyond_a_bound_is_refused(name, autojump_clock):
    """Request line, head and number of fields are bounded, also while they have no end."""
    async with running(limits=BOUNDS) as gateway:
        answers = await gateway.answers(TOO_LARGE[name])
        assert [(answer.status, answer.error_code) for answer in answers] == [
            (400, "RequestHeaderSectionTooLarge")
        ]
        assert gateway.surface.saw == []


async def test_head_at_the_bounds_is_served(autojump_clock):
    """A head of exactly the largest size, line and number of fields passes."""
    line = b"GET /" + b"a" * (200 - 14) + b" HTTP/1.1\r\n"
    fields = HOST + b"A: b\r\n" * 8
    padding = 1000 - len(line) - len(fields) - len(b"P: \r\n\r\n")
    data = line + fields + b"P: " + b"p" * padding + b"\r\n\r\n"
    assert (len(line) - 2, len(data)) == (200, 1000)
    async with running(limits=BOUNDS) as gateway:
        assert [answer.status for answer in await gateway.answers(data)] == [200]
        assert len(gateway.surface.saw) == 1


async def test_a_refusal_keeps_the_responses_before_it(autojump_clock):
    """Requests before a broken one on the same connection get their responses, in order."""
    async with running() as gateway:
        data = await gateway.talk(SMUGGLED.replace(b"smuggled", b"first") + b"BROKEN\r\n\r\n")
        answers = read_answers(data)
        assert [answer.status for answer in answers] == [200, 400]
        assert gateway.surface.paths == ["/first"]
