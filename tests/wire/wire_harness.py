"""A gateway without sockets: memory streams, trio's clock, a handler that says what it saw."""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import trio
import trio.testing
from msgspec import Struct

from rs3gwd.base.errors import Rs3gwError
from rs3gwd.base.http import Request, RequestBodyError, Response, StreamedBody
from rs3gwd.gateway.gateway import Gateway
from rs3gwd.gateway.handover import Hypercorn
from rs3gwd.gateway.limits import Limits
from rs3gwd.gateway.pages import Pages, Readiness
from rs3gwd.gateway.reserved_paths import ReservedPaths

HOST_ID = "host-id-of-the-tests"
METRICS_TOKEN = "token-of-the-tests"
LOADED = Hypercorn
"""Loaded beforehand: the gateway has a thread do it, over which a mock clock would jump."""

NOW_MS = 1_795_372_400_000


class TrioClock:
    """Trio's own clock, so that a mock clock moves the gateway's deadlines, too."""

    def now_ms(self) -> int:
        return NOW_MS

    def monotonic(self) -> float:
        return trio.current_time()


class CountingRandom:
    """Different bytes at each call, the same in each test."""

    def __init__(self) -> None:
        self._next = 0

    def token_bytes(self, count: int) -> bytes:
        self._next += 1
        return b"".join(
            (self._next * 4096 + i).to_bytes(8, "big") for i in range((count + 7) // 8)
        )[:count]


class Recorder:
    """Keeps what the gateway tells its observer."""

    def __init__(self) -> None:
        self.done: list[tuple[str, int, int, int]] = []
        self.refusals: list[tuple[int, str]] = []
        self.failures: list[Exception] = []

    def on_request_done(
        self, request: Request, response: Response, seconds: float, bytes_in: int, bytes_out: int
    ) -> None:
        assert seconds >= 0
        self.done.append((request.raw_path, response.status, bytes_in, bytes_out))

    def on_refusal(self, peer: str, status: int, api_code: str) -> None:
        self.refusals.append((status, api_code))

    def on_failure(self, request: Request | None, error: Exception) -> None:
        self.failures.append(error)


class Blocks:
    """A response body: its blocks, and an error in the place of one."""

    def __init__(self, *blocks: bytes | Exception) -> None:
        self._blocks = list(blocks)
        self.closed = False

    async def __aenter__(self) -> "Blocks":
        return self

    async def __aexit__(self, *_error: object) -> None:
        self.closed = True

    async def read(self) -> bytes:
        block = self._blocks.pop(0) if self._blocks else b""
        if isinstance(block, Exception):
            raise block
        return block


class Saw(Struct):
    """One request as the handler saw it."""

    method: str
    target: str
    body: bytes
    headers: dict[str, str]


class Surface:
    """A handler that reads each body and answers `<method> <path> <body length>`.

    `release` opens a gate at which requests for `/wait` stand. `answers` maps a path to what to
    do instead.
    """

    def __init__(self) -> None:
        self.saw: list[Saw] = []
        self.errors: list[RequestBodyError] = []
        self.waiting = 0
        self.release = trio.Event()
        self.answers: dict[str, Callable[[Request], Awaitable[Response]]] = {}

    @property
    def paths(self) -> list[str]:
        return [saw.target for saw in self.saw]

    async def __call__(self, request: Request) -> Response:
        target = request.raw_path + (f"?{request.raw_query}" if request.raw_query else "")
        saw = Saw(request.method, target, b"", request.headers)
        self.saw.append(saw)
        answer = self.answers.get(request.raw_path)
        if answer is not None:
            return await answer(request)
        if request.raw_path == "/wait":
            self.waiting += 1
            await self.release.wait()
        try:
            while data := await request.body.receive():
                saw.body += data
        except RequestBodyError as error:
            self.errors.append(error)
            raise
        text = f"{request.method} {request.raw_path} {len(saw.body)}".encode()
        return Response(200, [("Content-Type", "text/plain")], text)


class Answer(Struct):
    """One response off the wire; header names in lower case."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def error_code(self) -> str:
        return self.body.partition(b"<Code>")[2].partition(b"</Code>")[0].decode()


def read_answers(data: bytes, *, methods: tuple[str, ...] = ()) -> list[Answer]:
    """All responses in `data`, which must end with a whole one; interim ones are left out."""
    answers: list[Answer] = []
    while data:
        head, found, data = data.partition(b"\r\n\r\n")
        assert found, f"a head without end: {head!r}"
        lines = head.decode("latin-1").split("\r\n")
        assert lines[0].startswith("HTTP/1.1 "), lines[0]
        status = int(lines[0][9:12])
        headers = {}
        for line in lines[1:]:
            name, colon, value = line.partition(": ")
            assert colon, line
            headers[name.lower()] = value
        if status == 100:
            continue
        length = int(headers.get("content-length", "0"))
        if len(answers) < len(methods) and methods[len(answers)] == "HEAD":
            length = 0
        assert len(data) >= length, "a body is cut short"
        answers.append(Answer(status, headers, data[:length]))
        data = data[length:]
    return answers


class Running:
    """A gateway in a nursery, and ways to talk to it."""

    def __init__(
        self, gateway: Gateway, surface: Surface, recorder: Recorder, nursery: trio.Nursery
    ) -> None:
        self.gateway = gateway
        self.surface = surface
        self.recorder = recorder
        self.nursery = nursery

    def connect(self) -> trio.StapledStream:
        """A client's end of a new connection in memory."""
        client, server = trio.testing.memory_stream_pair()
        self.attach(server)
        return client

    def attach(self, server: trio.abc.Stream) -> None:
        """Serves the other end of any stream."""
        self.gateway.attach(server, peer="192.0.2.7", secure=False)

    async def talk(self, *pieces: bytes) -> bytes:
        """Sends the pieces and gives all that comes back until the gateway closes."""
        client = self.connect()
        for piece in pieces:
            await client.send_all(piece)
        data = await read_all(client)
        await client.aclose()
        return data

    async def answers(self, *pieces: bytes) -> list[Answer]:
        """The responses to the pieces."""
        return read_answers(await self.talk(*pieces))


async def read_all(stream: trio.abc.ReceiveStream) -> bytes:
    """Everything until the end."""
    received = bytearray()
    while data := await stream.receive_some():
        received += data
    return bytes(received)


async def read_until(stream: trio.abc.ReceiveStream, ending: bytes) -> bytes:
    """Everything up to the first time that what was received ends with `ending`."""
    received = bytearray()
    while not received.endswith(ending):
        data = await stream.receive_some()
        assert data, f"closed before {ending!r}: {bytes(received)!r}"
        received += data
    return bytes(received)


async def read_answer(stream: trio.abc.ReceiveStream) -> Answer:
    """Exactly one response with a body."""
    received = bytearray()
    while True:
        data = await stream.receive_some()
        assert data, f"closed early: {bytes(received)!r}"
        received += data
        head, found, rest = bytes(received).partition(b"\r\n\r\n")
        if not found:
            continue
        length = 0
        for line in head.split(b"\r\n"):
            if line.lower().startswith(b"content-length: "):
                length = int(line[16:])
        if len(rest) >= length:
            assert len(rest) == length
            return read_answers(bytes(received))[0]


async def render_metrics() -> bytes:
    """A page of metrics."""
    return b"rs3gw_up 1\n"


def make_gateway(
    surface: Callable[[Request], Awaitable[Response]], recorder: Recorder, **options: object
) -> Gateway:
    """A gateway with the tests' ports; `options` replace its arguments."""
    arguments: dict[str, object] = {
        "handler": surface,
        "pages": Pages(
            render_metrics=render_metrics,
            metrics_token=METRICS_TOKEN,
            readiness=lambda: Readiness(ready=False, checks={"disk": "full"}),
        ),
        "addresses": (),
        "observer": recorder,
        "clock": TrioClock(),
        "random": CountingRandom(),
        "host_id": HOST_ID,
        "reserved_paths": ReservedPaths(prefixes=("/api/",)),
        **options,
    }
    return Gateway(**arguments)  # type: ignore[arg-type]


@asynccontextmanager
async def running(
    *, limits: Limits | None = None, surface: Surface | None = None, **options: object
) -> AsyncIterator[Running]:
    """A gateway that serves for as long as the context lasts."""
    recorder = Recorder()
    surface = surface or Surface()
    gateway = make_gateway(surface, recorder, limits=limits or Limits(), **options)
    async with trio.open_nursery() as nursery:
        await nursery.start(gateway.serve)
        yield Running(gateway, surface, recorder, nursery)
        nursery.cancel_scope.cancel()


def get(path: str = "/bucket/key", *fields: str) -> bytes:
    """A GET request."""
    lines = [f"GET {path} HTTP/1.1", "Host: example.test", *fields]
    return "".join(f"{line}\r\n" for line in [*lines, ""]).encode("latin-1")


def put(body: bytes, *fields: str, path: str = "/bucket/key") -> bytes:
    """A PUT request with Content-Length."""
    lines = [f"PUT {path} HTTP/1.1", "Host: example.test", f"Content-Length: {len(body)}"]
    return "".join(f"{line}\r\n" for line in [*lines, *fields, ""]).encode("latin-1") + body


def streamed(length: int, *blocks: bytes | Rs3gwError) -> Response:
    """A 200 with a streamed body."""
    return Response(200, [], StreamedBody(length=length, source=Blocks(*blocks)))


async def until(condition: Callable[[], object]) -> None:
    """Waits, in short steps of real time, for something that only sockets can bring about."""
    with trio.fail_after(10):
        while not condition():  # noqa: ASYNC110 - the condition is the kernel's, not ours
            await trio.sleep(0.001)
