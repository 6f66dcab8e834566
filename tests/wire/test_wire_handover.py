"""One port, two stacks: what is not S3 over HTTP/1.1 reaches hypercorn with its first bytes."""

import base64
import contextlib
import hashlib
import json
import os
import ssl

import h2.config
import h2.connection
import h2.events
import pytest
import trio
import trustme
from quart import websocket
from wire_harness import (
    METRICS_TOKEN,
    Blocks,
    get,
    put,
    read_all,
    read_answer,
    read_answers,
    read_until,
    render_metrics,
    running,
    until,
)

from rs3gwd.base.errors import DataCorrupt
from rs3gwd.base.http import Response, StreamedBody
from rs3gwd.gateway.asgi_app import make_app
from rs3gwd.gateway.limits import Limits
from rs3gwd.gateway.listener import ListenAddress
from rs3gwd.gateway.pages import Pages, Readiness
from rs3gwd.gateway.reserved_paths import ReservedPaths

LOCAL = (ListenAddress("127.0.0.1", 0),)
BEARER = f"Authorization: Bearer {METRICS_TOKEN}"
SIGNED = "Authorization: AWS4-HMAC-SHA256 Credential=AKID/20261122/us-east-1/s3/aws4_request"


@contextlib.asynccontextmanager
async def client_of(gateway):
    """A client connected over TCP."""
    stream = await trio.open_tcp_stream(*gateway.gateway.addresses[0])
    async with stream:
        yield stream


async def ask(gateway, *pieces):
    """Sends over TCP and reads to the end."""
    async with client_of(gateway) as stream:
        for piece in pieces:
            await stream.send_all(piece)
        return await read_all(stream)


@pytest.mark.parametrize(
    ("path", "status", "text", "handed_over"),
    [
        ("/metrics", 200, "rs3gw_up 1\n", 0),
        ("/health/live", 200, '{"status":"live"}\n', 0),
        ("/health/ready", 503, '{"checks":{"disk":"full"},"status":"not ready"}\n', 0),
        ("/api/unknown", 404, '{"error":"not found"}\n', 1),
    ],
)
async def test_reserved_path_is_answered_by_the_pages_and_closes(path, status, text, handed_over):
    """A reserved path gets its page, for one request, whatever follows it.

    Only what lies below a prefix needs quart-trio.
    """
    async with running(addresses=LOCAL) as gateway:
        (answer,) = read_answers(await ask(gateway, get(path, BEARER) + get("/bucket/key")))
        assert (answer.status, answer.body.decode()) == (status, text)
        assert answer.headers["connection"] == "close"
        assert gateway.surface.saw == []
        assert gateway.gateway.statistics().connections_handed_over_total == handed_over


@pytest.mark.parametrize("field", ["A: b", "Authorization: Bearer other", "Authorization: x"])
async def test_metrics_ask_for_their_token(field):
    """Without the token there is no metric, and no S3 either."""
    async with running(addresses=LOCAL) as gateway:
        (answer,) = read_answers(await ask(gateway, get("/metrics", field)))
        assert (answer.status, answer.body) == (401, b"")
        assert answer.headers["www-authenticate"].startswith("Bearer")
        assert gateway.surface.saw == []


async def test_wrong_method_on_a_reserved_path_is_json():
    """The pages answer errors in JSON, not with S3's XML."""
    async with running(addresses=LOCAL) as gateway:
        (answer,) = read_answers(await ask(gateway, put(b"x", path="/metrics")))
        assert answer.status == 405
        assert json.loads(answer.body) == {"error": "method not allowed"}


async def test_reserved_path_in_pieces_and_with_absolute_target():
    """Split anywhere and in absolute form it is the same page."""
    async with running(addresses=LOCAL) as gateway:
        data = b"GET http://example.test/health/live HTTP/1.1\r\nHost: example.test\r\n\r\n"
        (answer,) = read_answers(await ask(gateway, data[:10], data[10:40], data[40:]))
        assert (answer.status, answer.body) == (200, b'{"status":"live"}\n')


async def test_later_request_of_an_s3_connection_reaches_the_pages():
    """Behind S3 requests on the same connection a reserved path still gets its page."""
    async with running(addresses=LOCAL) as gateway:
        first, second = read_answers(await ask(gateway, get("/a") + get("/health/live")))
        assert first.body == b"GET /a 0"
        assert second.body == b'{"status":"live"}\n'
        assert gateway.surface.paths == ["/a"]


@pytest.mark.parametrize(
    ("target", "field"),
    [
        ("/metrics", SIGNED),
        ("/api/key", SIGNED),
        ("/api/key", "Authorization: AWS AKID:signature"),
        ("/api/key?X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Signature=x", "A: b"),
        ("/health/live?AWSAccessKeyId=AKID&Signature=x", "A: b"),
        ("/health/other", "A: b"),
        ("/health", "A: b"),
        ("/metrics/", "A: b"),
        ("/api", "A: b"),
        ("/apis/key", "A: b"),
        ("/bucket/metrics", "A: b"),
    ],
)
async def test_signed_requests_and_all_other_paths_are_s3(target, field, autojump_clock):
    """Whoever signs for S3 gets S3 on every path, and near misses are not reserved."""
    async with running() as gateway:
        (answer,) = await gateway.answers(get(target, field))
        assert answer.status == 200
        assert gateway.surface.paths == [target]


async def test_handed_over_connection_serves_no_second_http1_request():
    """h11 is lenient about framing, so it never gets to read a second request."""
    async with running(addresses=LOCAL) as gateway:
        evil = b"GET /health/live HTTP/1.1\r\nHost: a\r\n\r\n"
        second = b"GET /metrics HTTP/1.1\nHost: a\n\n"
        (answer,) = read_answers(await ask(gateway, evil + second))
        assert answer.body == b'{"status":"live"}\n'


def pages_with_echo():
    """The pages, with a WebSocket that sends back what it gets."""
    pages = make_app(
        Pages(
            render_metrics=render_metrics,
            metrics_token=None,
            readiness=lambda: Readiness(ready=True),
        )
    )

    @pages.websocket("/api/echo")
    async def echo() -> None:
        while True:
            await websocket.send(await websocket.receive())

    return pages


async def test_websocket_upgrade_is_handed_over():
    """An upgrade to WebSocket works on the same port, frames sent at once included."""
    key = base64.b64encode(os.urandom(16)).decode()
    accept = base64.b64encode(
        hashlib.sha1(f"{key}258EAFA5-E914-47DA-95CA-C5AB0DC85B11".encode()).digest()
    )
    head = get(
        "/api/echo",
        "Upgrade: websocket",
        "Connection: keep-alive, Upgrade",
        f"Sec-WebSocket-Key: {key}",
        "Sec-WebSocket-Version: 13",
    )
    mask = b"\x01\x02\x03\x04"
    payload = bytes(b ^ mask[i % 4] for i, b in enumerate(b"hello"))
    frame = b"\x81\x85" + mask + payload
    async with (
        running(addresses=LOCAL, application=pages_with_echo) as gateway,
        client_of(gateway) as client,
    ):
        await client.send_all(head)
        answer = await read_until(client, b"\r\n\r\n")
        assert answer.startswith(b"HTTP/1.1 101 ")
        assert b"sec-websocket-accept: " + accept in answer.lower().replace(accept.lower(), accept)
        await client.send_all(frame)
        assert (await read_until(client, b"hello")).endswith(b"\x81\x05hello")


class Http2Client:
    """A small HTTP/2 client with prior knowledge."""

    def __init__(self, stream):
        self.stream = stream
        self.h2 = h2.connection.H2Connection(config=h2.config.H2Configuration())
        self.h2.initiate_connection()

    async def request(self, method, path, body=b"", *fields, authority="example.test"):
        """Sends one request; its stream id."""
        number = self.h2.get_next_available_stream_id()
        headers = [
            (":method", method),
            (":path", path),
            (":scheme", "http"),
            (":authority", authority),
            *fields,
        ]
        self.h2.send_headers(number, headers, end_stream=not body)
        for i in range(0, len(body), 16384):
            piece = body[i : i + 16384]
            while self.h2.local_flow_control_window(number) < len(piece):
                await self.flush()
                self.h2.receive_data(await self.stream.receive_some())
            self.h2.send_data(number, piece)
        if body:
            self.h2.end_stream(number)
        await self.flush()
        return number

    async def flush(self):
        await self.stream.send_all(self.h2.data_to_send())

    async def answer(self, number):
        """Status, headers and body of one stream; None when the connection ends before."""
        headers, body = {}, b""
        while True:
            data = await self.stream.receive_some()
            if not data:
                return None
            for event in self.h2.receive_data(data):
                if isinstance(event, h2.events.ResponseReceived) and event.stream_id == number:
                    headers = {k.decode(): v.decode() for k, v in event.headers}
                if isinstance(event, h2.events.DataReceived):
                    body += event.data
                    self.h2.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
                if isinstance(event, h2.events.StreamEnded) and event.stream_id == number:
                    await self.flush()
                    return int(headers.pop(":status")), headers, body
            await self.flush()


@contextlib.asynccontextmanager
async def http2(gateway):
    """An HTTP/2 client of this gateway."""
    async with client_of(gateway) as stream:
        yield Http2Client(stream)


async def test_s3_over_http2_reaches_the_same_handler():
    """GET, HEAD and PUT over HTTP/2 see the same handler and the same headers."""
    async with running(addresses=LOCAL) as gateway, http2(gateway) as client:
        status, headers, body = await client.answer(await client.request("GET", "/b/k?x=1"))
        assert (status, body) == (200, b"GET /b/k 0")
        assert headers["server"] == "rs3gwd"
        assert len(headers["x-amz-request-id"]) == 16
        assert headers["content-length"] == str(len(body))
        data = os.urandom(300_000)
        number = await client.request("PUT", "/b/k", data, ("content-length", str(len(data))))
        assert (await client.answer(number))[2] == b"PUT /b/k 300000"
        number = await client.request("HEAD", "/b/k")
        status, headers, body = await client.answer(number)
        assert (status, headers["content-length"], body) == (200, "11", b"")
        assert [saw.target for saw in gateway.surface.saw] == ["/b/k?x=1", "/b/k", "/b/k"]
        assert gateway.surface.saw[1].body == data
        assert gateway.surface.saw[0].headers["host"] == "example.test"
        assert gateway.gateway.statistics().requests_total == 3


async def test_pages_over_http2_follow_the_same_rule():
    """Reserved paths go to the pages, signed requests to S3, several streams of one connection."""
    async with running(addresses=LOCAL) as gateway, http2(gateway) as client:
        live = await client.request("GET", "/health/live")
        assert (await client.answer(live))[2] == b'{"status":"live"}\n'
        name, _, value = SIGNED.partition(": ")
        signed = await client.request("GET", "/metrics", b"", (name.lower(), value))
        assert (await client.answer(signed))[2] == b"GET /metrics 0"


async def test_large_stream_over_http2_arrives_whole():
    """A streamed response is paced by the client's flow control and arrives byte for byte."""
    blocks = [os.urandom(1 << 20) for _ in range(3)]

    async def big(_request):
        return Response(200, [], StreamedBody(length=3 << 20, source=Blocks(*blocks)))

    async with running(addresses=LOCAL) as gateway, http2(gateway) as client:
        gateway.surface.answers["/big"] = big
        _, headers, body = await client.answer(await client.request("GET", "/big"))
        assert headers["content-length"] == str(3 << 20)
        assert body == b"".join(blocks)


async def test_stream_that_breaks_over_http2_ends_the_connection():
    """The client neither waits for ever nor gets a short body that looks whole."""

    async def broken(_request):
        blocks = Blocks(b"x" * 1000, DataCorrupt("block 1"))
        return Response(200, [], StreamedBody(length=2000, source=blocks))

    async with running(addresses=LOCAL) as gateway, http2(gateway) as client:
        gateway.surface.answers["/broken"] = broken
        with trio.fail_after(5):
            assert await client.answer(await client.request("GET", "/broken")) is None
        assert len(gateway.recorder.failures) == 1


async def test_stream_that_breaks_at_once_over_http2_is_an_error_response():
    """Before the first block an honest error can still be sent."""

    async def broken(_request):
        return Response(200, [], StreamedBody(length=9, source=Blocks(DataCorrupt("block 0"))))

    async with running(addresses=LOCAL) as gateway, http2(gateway) as client:
        gateway.surface.answers["/broken"] = broken
        status, _, body = await client.answer(await client.request("GET", "/broken"))
        assert status == 500
        assert b"<Code>InternalError</Code>" in body


async def test_unread_body_over_http2_does_not_break_the_connection():
    """A handler that answers without reading leaves the connection usable."""

    async def deny(_request):
        return Response(403, [], b"no")

    async with running(addresses=LOCAL) as gateway, http2(gateway) as client:
        gateway.surface.answers["/deny"] = deny
        number = await client.request("PUT", "/deny", b"x" * 50_000)
        assert (await client.answer(number))[0] == 403
        assert (await client.answer(await client.request("GET", "/next")))[0] == 200


async def test_http2_connection_ends_with_its_client():
    """A client that closes after its answer leaves nothing behind for the time of idle ones."""
    async with running(addresses=LOCAL) as gateway:
        async with http2(gateway) as client:
            assert (await client.answer(await client.request("GET", "/first")))[0] == 200
            assert gateway.gateway.statistics().connections == 1
        with trio.fail_after(5):
            await until(lambda: gateway.gateway.statistics().connections == 0)


async def test_http2_client_that_leaves_without_its_answers_is_gone_at_once():
    """Neither S3 nor a page waits for room that nobody makes any more."""
    for path in ("/first", "/metrics", "/health/live"):
        async with running(addresses=LOCAL) as gateway:
            for _ in range(20):
                async with http2(gateway) as client:
                    await client.request("PUT" if path == "/first" else "GET", path)
            with trio.fail_after(5):
                await until(lambda: gateway.gateway.statistics().connections == 0)


@pytest.mark.parametrize(
    ("field", "authority"),
    [
        (("content_length", "5"), "a"),
        (("a", "b"), "a b"),
        (("host", "other.test"), "a"),
        (("content-type", "a\x01b"), "a"),
        (("content-type", "a\x7f"), "a"),
        (("x-amz-meta-a", "a\0b"), "a"),
        (("x-amz-meta-a", "a\r\nset-cookie: b"), "a"),
    ],
)
async def test_malformed_request_over_http2_is_refused(field, authority):
    """The rules about names and hosts hold for HTTP/2, too: refused, or the connection ends."""
    async with running(addresses=LOCAL) as gateway, http2(gateway) as client:
        client.h2.config.validate_outbound_headers = False
        number = await client.request("GET", "/b", b"", field, authority=authority)
        answer = await client.answer(number)
        assert answer is None or answer[0] == 400
        assert gateway.surface.saw == []


async def test_overload_is_told_over_http2_with_the_same_bound():
    """Both protocols count against one bound."""
    async with (
        running(addresses=LOCAL, limits=Limits(requests_max=1)) as gateway,
        client_of(gateway) as first,
        http2(gateway) as client,
    ):
        await first.send_all(get("/wait"))
        await until(lambda: gateway.surface.waiting)
        status, _, body = await client.answer(await client.request("GET", "/b"))
        assert status == 503
        assert b"<Code>SlowDown</Code>" in body
        gateway.surface.release.set()
        await read_answer(first)


async def test_http2_preface_in_pieces_is_handed_over():
    """The preface may arrive byte by byte."""
    async with running(addresses=LOCAL) as gateway, client_of(gateway) as stream:
        client = Http2Client(stream)
        data = client.h2.data_to_send()
        for i in range(len(data)):
            await stream.send_all(data[i : i + 1])
        assert (await client.answer(await client.request("GET", "/b")))[0] == 200


async def test_http2_preface_behind_a_request_is_refused(autojump_clock):
    """Only the first bytes of a connection can choose HTTP/2."""
    async with running() as gateway:
        data = get() + b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
        answers = await gateway.answers(data)
        assert [answer.status for answer in answers] == [200, 400]


@pytest.fixture(scope="module")
def authority():
    """A certificate authority of the tests' own."""
    return trustme.CA()


def tls_server(authority):
    """A server context for localhost."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("localhost").configure_cert(context)
    return context


SECURE = (ListenAddress("127.0.0.1", 0, secure=True),)


async def tls_client(gateway, authority, *, alpn=()):
    """A TLS client of the gateway's first address."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    authority.configure_trust(context)
    context.set_alpn_protocols(list(alpn) or ["http/1.1"])
    plain = await trio.open_tcp_stream(*gateway.gateway.addresses[0])
    stream = trio.SSLStream(plain, context, server_hostname="localhost", https_compatible=True)
    await stream.do_handshake()
    return stream


async def test_s3_over_tls(authority):
    """Requests with and without bodies, kept alive, and a large stream over TLS."""
    blocks = [os.urandom(1 << 20), os.urandom(500_000)]

    async def big(request):
        assert request.secure
        source = Blocks(*blocks)
        return Response(200, [], StreamedBody(length=len(b"".join(blocks)), source=source))

    async with running(addresses=SECURE, tls_context=tls_server(authority)) as gateway:
        gateway.surface.answers["/big"] = big
        stream = await tls_client(gateway, authority, alpn=["h2", "http/1.1"])
        assert stream.selected_alpn_protocol() == "http/1.1"
        body = os.urandom(400_000)
        await stream.send_all(put(body))
        assert (await read_answer(stream)).body == b"PUT /bucket/key 400000"
        assert gateway.surface.saw[0].body == body
        await stream.send_all(get("/big", "Connection: close"))
        (answer,) = read_answers(await read_all(stream))
        assert answer.body == b"".join(blocks)
        await stream.aclose()


async def test_pages_over_tls(authority):
    """A TLS connection can be handed over, too."""
    async with running(addresses=SECURE, tls_context=tls_server(authority)) as gateway:
        stream = await tls_client(gateway, authority)
        await stream.send_all(get("/health/live"))
        (answer,) = read_answers(await read_all(stream))
        assert answer.body == b'{"status":"live"}\n'
        await stream.aclose()


async def test_plain_http_on_the_tls_port_ends_that_connection_alone(authority):
    """A client that speaks no TLS is dropped; the next one is served."""
    async with running(addresses=SECURE, tls_context=tls_server(authority)) as gateway:
        async with client_of(gateway) as stream:
            await stream.send_all(get())
            with contextlib.suppress(trio.BrokenResourceError):
                assert b"HTTP" not in await read_all(stream)
        good = await tls_client(gateway, authority)
        await good.send_all(get())
        assert (await read_answer(good)).status == 200
        await good.aclose()
        assert gateway.recorder.failures == []


async def test_silent_tls_client_is_dropped(authority):
    """A handshake that does not come ends after its time and holds no connection."""
    limits = Limits(handshake_seconds=0.05)
    async with running(
        addresses=SECURE, tls_context=tls_server(authority), limits=limits
    ) as gateway:
        async with client_of(gateway) as stream:
            with contextlib.suppress(trio.BrokenResourceError):
                assert await read_all(stream) == b""
        assert gateway.gateway.statistics().connections == 0


async def test_secure_address_without_context_is_refused():
    """A gateway that would serve plain text where TLS was asked for is not made."""
    with pytest.raises(ValueError, match="TLS"):
        async with running(addresses=SECURE):
            pass


async def test_no_prefix_is_reserved_unless_configured(autojump_clock):
    """With no prefixes, /api/ is S3 for everyone."""
    async with running(reserved_paths=ReservedPaths()) as gateway:
        (answer,) = await gateway.answers(get("/api/key"))
        assert answer.body == b"GET /api/key 0"
