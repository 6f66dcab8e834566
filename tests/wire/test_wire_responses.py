"""How responses go out: framing, keep-alive, pipelining, streams that break, Expect."""

import pytest
import trio
import trio.testing
from wire_harness import (
    HOST_ID,
    Blocks,
    get,
    put,
    read_all,
    read_answer,
    read_answers,
    read_until,
    running,
    streamed,
)

from rs3gwd.base.errors import DataCorrupt, DiskFailed, Overloaded
from rs3gwd.base.http import RequestBodyError, Response, StreamedBody
from rs3gwd.gateway.limits import Limits


def answering(response):
    """A handler that gives one prepared response."""

    async def answer(_request):
        return response

    return answer


async def test_every_response_has_ids_date_server_and_length(autojump_clock):
    """The front adds Date, Server, both request ids and Content-Length to every response."""
    async with running() as gateway:
        first, second = await gateway.answers(get("/a") + get("/b"))
    for answer in (first, second):
        assert answer.headers["server"] == "rs3gwd"
        assert answer.headers["date"] == "Sun, 22 Nov 2026 18:33:20 GMT"
        assert answer.headers["x-amz-id-2"] == HOST_ID
        assert len(answer.headers["x-amz-request-id"]) == 16
        assert int(answer.headers["content-length"]) == len(answer.body)
        assert "connection" not in answer.headers
    assert first.headers["x-amz-request-id"] != second.headers["x-amz-request-id"]


async def test_handler_sees_the_request_as_it_was_sent(autojump_clock):
    """Method, target, host, headers, peer and id reach the handler; repeated ones are joined."""
    seen = []

    async def look(request):
        seen.append(request)
        return Response(204, [])

    async with running() as gateway:
        gateway.surface.answers["/b/k%20"] = look
        await gateway.answers(
            get("/b/k%20?x=1&y", "X-Amz-Meta-A: 1", "x-amz-meta-a:  2 ", "Range: bytes=0-1")
        )
    (request,) = seen
    assert (request.method, request.raw_path, request.raw_query) == ("GET", "/b/k%20", "x=1&y")
    assert request.host == "example.test"
    assert request.headers["x-amz-meta-a"] == "1,2"
    assert request.repeated_headers == {"x-amz-meta-a"}
    assert request.headers["range"] == "bytes=0-1"
    assert (request.content_length, request.peer, request.secure) == (0, "192.0.2.7", False)
    assert len(request.request_id) == 16
    assert int(request.request_id, 16) >= 0


async def test_absolute_target_is_reduced_to_path_and_query(autojump_clock):
    """`GET http://host/path?query` is the same request as `GET /path?query`."""
    async with running() as gateway:
        data = b"GET http://EXAMPLE.test/a?b=c HTTP/1.1\r\nHost: example.test\r\n\r\n"
        data += b"GET https://example.test HTTP/1.1\r\nHost: example.test\r\n\r\n"
        answers = await gateway.answers(data)
        assert [answer.status for answer in answers] == [200, 200]
        assert gateway.surface.paths == ["/a?b=c", "/"]


async def test_one_empty_line_before_a_request_is_ignored(autojump_clock):
    """A stray CRLF between requests does no harm (RFC 9112 section 2.2)."""
    async with running() as gateway:
        answers = await gateway.answers(b"\r\n" + get("/a") + b"\r\n" + get("/b"))
        assert [answer.status for answer in answers] == [200, 200]


async def test_fifty_pipelined_requests_get_their_responses_in_order(autojump_clock):
    """Fifty requests with and without bodies in one piece are answered in order."""
    data = b"".join(put(b"x" * i, path=f"/p{i}") if i % 2 else get(f"/g{i}") for i in range(50))
    async with running() as gateway:
        answers = await gateway.answers(data)
        assert [answer.status for answer in answers] == [200] * 50
        assert [answer.body.decode() for answer in answers] == [
            f"PUT /p{i} {i}" if i % 2 else f"GET /g{i} 0" for i in range(50)
        ]


async def test_pipelined_requests_leave_turns_to_others():
    """A connection with many requests waiting lets other tasks run between them."""
    turns = 0
    async with running(addresses=()) as gateway:

        async def count():
            nonlocal turns
            while True:
                turns += 1
                await trio.lowlevel.checkpoint()

        gateway.nursery.start_soon(count)
        client = gateway.connect()
        await client.send_all(get("/a") * 64 + get("/last", "Connection: close"))
        await read_all(client)
    assert turns > 4


async def test_response_to_head_has_length_and_no_body(autojump_clock):
    """HEAD gets the length of the body that GET would have, or the handler's override."""
    body = StreamedBody(length=7, source=Blocks(b"never"))
    async with running() as gateway:
        gateway.surface.answers["/stream"] = answering(Response(200, [], body))
        gateway.surface.answers["/over"] = answering(Response(200, [], length_override=1 << 40))
        data = b"".join(
            get(path).replace(b"GET", b"HEAD") for path in ("/plain", "/stream", "/over")
        )
        answers = read_answers(await gateway.talk(data), methods=("HEAD",) * 3)
        assert [answer.headers["content-length"] for answer in answers] == [
            str(len("HEAD /plain 0")),
            "7",
            str(1 << 40),
        ]
        assert all(answer.body == b"" for answer in answers)


@pytest.mark.parametrize("status", [204, 304])
async def test_bodyless_status_has_neither_body_nor_length(status, autojump_clock):
    """204 and 304 end with their head, and the next response follows at once."""
    async with running() as gateway:
        gateway.surface.answers["/none"] = answering(Response(status, [], b"ignored"))
        first, second = await gateway.answers(get("/none") + get("/next"))
        assert first.status == status
        assert "content-length" not in first.headers
        assert second.body == b"GET /next 0"


@pytest.mark.parametrize(
    ("version", "field", "kept", "said"),
    [
        ("1.1", "", True, None),
        ("1.1", "Connection: keep-alive\r\n", True, None),
        ("1.1", "Connection: close\r\n", False, "close"),
        ("1.1", "Connection: x, Close\r\n", False, "close"),
        ("1.1", "Connection: upgrade\r\nUpgrade: h2c\r\n", True, None),
        ("1.0", "", False, "close"),
        ("1.0", "Connection: Keep-Alive\r\n", True, "keep-alive"),
    ],
)
async def test_connection_is_kept_as_the_client_asked(version, field, kept, said, autojump_clock):
    """Keep-alive follows the version and the Connection header; an h2c upgrade is ignored."""
    head = f"GET /first HTTP/{version}\r\nHost: example.test\r\n{field}\r\n".encode()
    async with running() as gateway:
        answers = await gateway.answers(head + get("/second"))
        assert answers[0].headers.get("connection") == said
        assert gateway.surface.paths == (["/first", "/second"] if kept else ["/first"])


async def test_handler_can_close_the_connection(autojump_clock):
    """`close` in a response ends the connection after it."""
    async with running() as gateway:
        gateway.surface.answers["/bye"] = answering(Response(200, [], b"x", close=True))
        answers = await gateway.answers(get("/bye") + get("/next"))
        assert [answer.headers.get("connection") for answer in answers] == ["close"]


async def test_stream_is_sent_block_by_block(autojump_clock):
    """All blocks of a stream arrive, whatever buffer type they are, and the source is closed."""
    source = Blocks(b"abc", bytearray(b"defg"), memoryview(b"hi"))
    async with running() as gateway:
        gateway.surface.answers["/s"] = answering(
            Response(200, [], StreamedBody(length=9, source=source))
        )
        gateway.surface.answers["/empty"] = answering(streamed(0))
        answers = await gateway.answers(get("/s") + get("/empty") + get("/next"))
        assert [answer.body for answer in answers] == [b"abcdefghi", b"", b"GET /next 0"]
        assert gateway.recorder.done[0] == ("/s", 200, 0, 9)
    assert source.closed


@pytest.mark.parametrize(
    ("error", "status", "code"),
    [
        (DataCorrupt("block 0"), 500, "InternalError"),
        (Overloaded("reads"), 503, "SlowDown"),
        (DiskFailed("disk"), 503, "ServiceUnavailable"),
        (ValueError("bug"), 500, "InternalError"),
    ],
)
async def test_stream_that_breaks_before_its_first_block_is_an_error_response(
    error, status, code, autojump_clock
):
    """Nothing was sent yet, so the client gets a whole, honest error and keeps the connection."""
    async with running() as gateway:
        gateway.surface.answers["/s"] = answering(
            Response(200, [], StreamedBody(length=9, source=Blocks(error)))
        )
        first, second = await gateway.answers(get("/s") + get("/next"))
        assert (first.status, first.error_code) == (status, code)
        assert second.status == 200
        assert gateway.recorder.failures == [error]
        assert gateway.recorder.done[0][:2] == ("/s", status)


@pytest.mark.parametrize(
    "blocks",
    [
        (b"abc", DataCorrupt("block 1")),
        (b"abc", ValueError("bug")),
        (b"abc",),
        (b"abc", b""),
        (b"abc", b"defghijk"),
    ],
)
async def test_stream_that_breaks_midway_never_looks_complete(blocks, autojump_clock):
    """Fewer bytes than Content-Length arrive, the connection ends, and the failure is told."""
    async with running() as gateway:
        gateway.surface.answers["/s"] = answering(
            Response(200, [], StreamedBody(length=9, source=Blocks(*blocks)))
        )
        data = await gateway.talk(get("/s") + get("/next"))
        head, _, body = data.partition(b"\r\n\r\n")
        assert b"\r\nContent-Length: 9" in head
        assert body == b"abc"
        assert gateway.surface.paths == ["/s"]
        assert len(gateway.recorder.failures) == 1
        assert gateway.recorder.done == [("/s", 200, 0, 3)]


async def test_stream_longer_than_it_said_sends_no_byte_too_many(autojump_clock):
    """A first block beyond the length is refused before anything is sent."""
    async with running() as gateway:
        gateway.surface.answers["/s"] = answering(streamed(2, b"abc"))
        (answer,) = await gateway.answers(get("/s"))
        assert (answer.status, answer.error_code) == (500, "InternalError")


@pytest.mark.parametrize(
    "response",
    [
        Response(200, [("X-A", "a\r\nSet-Cookie: b")]),
        Response(200, [("X-A", "a\nb")]),
        Response(200, [("X-A\r\nX-B", "a")]),
        Response(200, [("Content-Length", "5")]),
        Response(200, [("transfer-encoding", "chunked")]),
        Response(200, [("X-A", "\u20ac")]),
        Response(299, []),
    ],
)
async def test_response_that_would_break_the_framing_is_never_sent(response, autojump_clock):
    """A handler's header with a line break, a second length or no latin-1 becomes a 500."""
    async with running() as gateway:
        gateway.surface.answers["/bad"] = answering(response)
        first, second = await gateway.answers(get("/bad") + get("/next"))
        assert (first.status, first.error_code) == (500, "InternalError")
        assert not {"set-cookie", "x-a", "x-b"} & set(first.headers)
        assert second.status == 200
        assert len(gateway.recorder.failures) == 1


async def test_handler_that_raises_costs_one_500(autojump_clock):
    """An unexpected exception is answered, reported, and the connection goes on."""

    async def fail(_request):
        raise RuntimeError("defect")

    async with running() as gateway:
        gateway.surface.answers["/bad"] = fail
        first, second = await gateway.answers(get("/bad") + get("/next"))
        assert (first.status, first.error_code) == (500, "InternalError")
        assert b"defect" not in first.body
        assert f"<HostId>{HOST_ID}</HostId>".encode() in first.body
        assert first.headers["x-amz-request-id"].encode() in first.body
        assert second.status == 200
        assert [type(error) for error in gateway.recorder.failures] == [RuntimeError]


async def test_continue_is_sent_on_the_first_receive_and_not_before(autojump_clock):
    """The interim response waits for the handler: that is, for authentication."""
    async with running() as gateway:
        client = gateway.connect()
        head = put(b"hello", "Expect: 100-continue", path="/wait")[:-5]
        await client.send_all(head)
        with trio.move_on_after(5) as scope:
            await client.receive_some()
        assert scope.cancelled_caught
        gateway.surface.release.set()
        assert await read_until(client, b"\r\n\r\n") == b"HTTP/1.1 100 Continue\r\n\r\n"
        await client.send_all(b"hello")
        answer = await read_answer(client)
        assert (answer.status, answer.body) == (200, b"PUT /wait 5")
        assert "connection" not in answer.headers


async def test_no_continue_when_the_body_is_already_there(autojump_clock):
    """A client that did not wait gets the final response alone."""
    async with running() as gateway:
        data = await gateway.talk(put(b"hello", "Expect: 100-Continue"))
        assert b"100 Continue" not in data
        assert read_answers(data)[0].body == b"PUT /bucket/key 5"


async def test_no_continue_after_a_final_response_and_the_connection_closes(autojump_clock):
    """A refused client is not asked for its body; where it ends is unknown, so it closes."""
    async with running() as gateway:
        gateway.surface.answers["/bucket/key"] = answering(Response(403, [], b"no"))
        head = put(b"hello", "Expect: 100-continue")[:-5]
        data = await gateway.talk(head)
        assert b"100 Continue" not in data
        (answer,) = read_answers(data)
        assert (answer.status, answer.headers["connection"]) == (403, "close")


async def test_an_empty_body_is_asked_for_too_and_the_connection_kept(autojump_clock):
    """Like S3; botocore would misread the next answer behind a final one without 100."""
    async with running() as gateway:
        client = gateway.connect()
        for _ in range(2):
            await client.send_all(put(b"", "Expect: 100-continue"))
            assert await read_until(client, b"\r\n\r\n") == b"HTTP/1.1 100 Continue\r\n\r\n"
            answer = await read_answer(client)
            assert (answer.status, answer.body) == (200, b"PUT /bucket/key 0")
            assert "connection" not in answer.headers


async def test_who_is_refused_an_empty_body_starts_anew(autojump_clock):
    """No 100, and no further request behind the refusal."""
    async with running() as gateway:
        gateway.surface.answers["/deny"] = answering(Response(403, [], b"no"))
        data = await gateway.talk(put(b"", "Expect: 100-continue", path="/deny"))
        assert b"100 Continue" not in data
        (answer,) = read_answers(data)
        assert (answer.status, answer.headers["connection"]) == (403, "close")


async def test_an_expectation_of_http_1_0_is_ignored(autojump_clock):
    """No 100 goes to HTTP/1.0 (RFC 9110 section 10.1.1)."""
    async with running() as gateway:
        old = put(b"hello", "Expect: 100-continue").replace(b"HTTP/1.1", b"HTTP/1.0")
        data = await gateway.talk(put(b"") + old)
        assert b"100 Continue" not in data
        assert [answer.status for answer in read_answers(data)] == [200, 200]


async def test_short_unread_body_is_skipped_and_the_connection_kept(autojump_clock):
    """A handler may answer without reading; the next request is found behind the body."""
    async with running(limits=Limits(unread_body_bytes_max=1000)) as gateway:
        gateway.surface.answers["/deny"] = answering(Response(403, [], b"no"))
        chunked = (
            b"PUT /deny HTTP/1.1\r\nHost: example.test\r\nTransfer-Encoding: chunked\r\n\r\n"
            b"3e8\r\n" + b"x" * 1000 + b"\r\n0\r\n\r\n"
        )
        answers = await gateway.answers(put(b"x" * 1000, path="/deny") + chunked + get("/next"))
        assert [answer.status for answer in answers] == [403, 403, 200]
        assert gateway.recorder.done[0] == ("/deny", 403, 0, 2)


@pytest.mark.parametrize("chunked", [False, True])
async def test_long_unread_body_closes_the_connection(chunked, autojump_clock):
    """Beyond the bound the connection closes; with a known length the response says so."""
    async with running(limits=Limits(unread_body_bytes_max=1000)) as gateway:
        gateway.surface.answers["/deny"] = answering(Response(403, [], b"no"))
        data = put(b"x" * 1001, path="/deny")
        if chunked:
            data = (
                b"PUT /deny HTTP/1.1\r\nHost: example.test\r\nTransfer-Encoding: chunked\r\n\r\n"
                b"3e9\r\n" + b"x" * 1001 + b"\r\n0\r\n\r\n"
            )
        answers = await gateway.answers(data + get("/next"))
        assert [answer.status for answer in answers] == [403]
        assert answers[0].headers.get("connection") == (None if chunked else "close")
        assert gateway.surface.paths == ["/deny"]


async def test_partly_read_body_is_skipped_from_where_the_handler_stopped(autojump_clock):
    """The unread tail of a body is thrown away, not taken for a request."""

    async def read_once(request):
        first = await request.body.receive()
        return Response(200, [], str(len(first)).encode())

    async with running() as gateway:
        gateway.surface.answers["/some"] = read_once
        client = gateway.connect()
        await client.send_all(put(b"x" * 100, path="/some")[:-90])
        answer = await read_answer(client)
        assert answer.body == b"10"
        await client.send_all(b"x" * 90 + get("/next"))
        assert (await read_answer(client)).body == b"GET /next 0"


async def test_client_that_ends_in_its_body_is_an_incomplete_body(autojump_clock):
    """The handler learns that the body is short, and so does a client that still listens."""
    async with running() as gateway:
        client = gateway.connect()
        await client.send_all(put(b"x" * 100)[:-1])
        await client.send_eof()
        (answer,) = read_answers(await read_all(client))
        assert (answer.status, answer.error_code) == (400, "IncompleteBody")
        assert [type(error) for error in gateway.surface.errors] == [RequestBodyError]


async def test_broken_body_raises_at_every_further_receive(autojump_clock):
    """A handler that catches the error and reads on gets it again, not an end of the body."""
    raised = []

    async def insist(request):
        for _ in range(3):
            try:
                while await request.body.receive():
                    pass
            except RequestBodyError as error:
                raised.append(error)
        return Response(400, [], b"short")

    async with running() as gateway:
        gateway.surface.answers["/bucket/key"] = insist
        client = gateway.connect()
        await client.send_all(put(b"x" * 100)[:-1])
        await client.send_eof()
        (answer,) = read_answers(await read_all(client))
        assert (answer.status, answer.headers["connection"]) == (400, "close")
    assert len(raised) == 3


async def test_client_that_is_gone_before_the_response_is_no_failure(autojump_clock):
    """A response that nobody takes ends the connection and nothing else."""
    async with running() as gateway:
        client = gateway.connect()
        await client.send_all(get("/wait"))
        await trio.testing.wait_all_tasks_blocked()
        await client.aclose()
        gateway.surface.release.set()
        await trio.testing.wait_all_tasks_blocked()
        assert gateway.gateway.statistics().connections == 0
        assert gateway.recorder.failures == []
        assert [done[0] for done in gateway.recorder.done] == ["/wait"]
