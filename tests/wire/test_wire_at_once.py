"""Answers that wait for nothing: made and sent within a turn of the poller, over real sockets."""

import socket
import struct

import pytest
import trio
from wire_harness import Recorder, get, put, read_all, read_answer, read_answers, running, until

from rs3gwd.base.http import Request, Response
from rs3gwd.gateway.limits import Limits
from rs3gwd.gateway.listener import ListenAddress

LOCAL = (ListenAddress("127.0.0.1", 0),)
LARGE = b"x" * (4 << 20)


class AtOnce:
    """A handler that answers most requests without waiting, and says what it was asked."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.release = trio.Event()

    def __call__(self, request: Request):
        self.asked.append(request.raw_path)
        if request.raw_path == "/broken":
            raise ZeroDivisionError
        if request.raw_path == "/split":
            return Response(200, [("X-Bad", "a\r\nb: c")], b"")
        if request.raw_path == "/large":
            return Response(200, [], LARGE)
        if request.raw_path == "/wait" or request.method == "PUT":
            return self._wait(request)
        return Response(200, [], f"{request.method} {request.raw_path}".encode())

    async def _wait(self, request: Request) -> Response:
        body = b""
        while data := await request.body.receive():
            body += data
        await self.release.wait()
        return Response(200, [], f"{request.method} {request.raw_path} {len(body)}".encode())


async def connect(gateway):
    """A client over TCP."""
    return await trio.open_tcp_stream(*gateway.gateway.addresses[0])


async def test_a_client_is_answered_again_and_again():
    """One connection, many requests: each answered, none in flight behind it."""
    async with running(addresses=LOCAL, surface=AtOnce()) as gateway:
        client = await connect(gateway)
        for number in range(40):
            await client.send_all(get(f"/{number}"))
            assert (await read_answer(client)).body == f"GET /{number}".encode()
        await client.aclose()
        statistics = gateway.gateway.statistics()
        assert (statistics.requests_total, statistics.requests_in_flight) == (40, 0)
        assert len(gateway.recorder.done) == 40


@pytest.mark.parametrize("step", [1, 7])
async def test_a_request_in_pieces_is_answered_once_it_is_whole(step):
    """However a head is cut, it is the same request; so is the one behind it."""
    async with running(addresses=LOCAL, surface=AtOnce()) as gateway:
        client = await connect(gateway)
        for _ in range(2):
            request = get("/key")
            for start in range(0, len(request), step):
                await client.send_all(request[start : start + step])
                await trio.lowlevel.checkpoint()
            assert (await read_answer(client)).body == b"GET /key"
        await client.aclose()


async def test_pipelined_requests_are_answered_in_their_order():
    """Answers that wait and answers that do not never overtake each other."""
    async with running(addresses=LOCAL, surface=AtOnce()) as gateway:
        client = await connect(gateway)
        await client.send_all(
            get("/1")
            + get("/wait")
            + get("/2")
            + put(b"abc", path="/3")
            + get("/4", "Connection: close")
        )
        await until(lambda: "/wait" in gateway.surface.asked)
        gateway.surface.release.set()
        bodies = [answer.body for answer in read_answers(await read_all(client))]
        assert bodies == [b"GET /1", b"GET /wait 0", b"GET /2", b"PUT /3 3", b"GET /4"]


async def test_an_answer_that_the_socket_cannot_take_is_finished_by_the_task():
    """A client that reads late gets every byte, and its next request is answered, too."""
    async with running(addresses=LOCAL, surface=AtOnce()) as gateway:
        client = await connect(gateway)
        await client.send_all(get("/large"))
        await until(lambda: gateway.gateway.statistics().buffered_bytes)
        assert (await read_answer(client)).body == LARGE
        await client.send_all(get("/next", "Connection: close"))
        assert read_answers(await read_all(client))[0].body == b"GET /next"
        statistics = gateway.gateway.statistics()
        assert (statistics.requests_in_flight, statistics.buffered_bytes) == (0, 0)


@pytest.mark.parametrize("path", ["/broken", "/split"])
async def test_a_defect_costs_one_answer(path):
    """What a handler raises at once, or a head that cannot be sent, is a 500 and is reported."""
    async with running(addresses=LOCAL, surface=AtOnce()) as gateway:
        client = await connect(gateway)
        await client.send_all(get(path))
        answer = await read_answer(client)
        assert (answer.status, answer.error_code) == (500, "InternalError")
        assert len(gateway.recorder.failures) == 1
        await client.send_all(get("/next"))
        assert (await read_answer(client)).body == b"GET /next"
        await client.aclose()


async def test_a_client_that_is_gone_before_its_answer_is_no_failure():
    """A reset between request and answer ends that connection alone."""
    async with running(addresses=LOCAL, surface=AtOnce()) as gateway:
        for _ in range(20):
            with socket.create_connection(gateway.gateway.addresses[0]) as client:
                client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                client.send(get("/key"))
        await until(lambda: not gateway.gateway.statistics().connections)
        statistics = gateway.gateway.statistics()
        assert (statistics.requests_in_flight, statistics.failures_total) == (0, 0)


async def test_those_that_waited_for_the_same_answer_together():
    """Writes that end at one moment are all answered, and their connections go on."""
    async with running(addresses=LOCAL, surface=AtOnce()) as gateway:
        clients = [await connect(gateway) for _ in range(24)]
        for number, client in enumerate(clients):
            await client.send_all(put(b"x" * number, path=f"/{number}"))
        await until(lambda: len(gateway.surface.asked) == len(clients))
        gateway.surface.release.set()
        for number, client in enumerate(clients):
            assert (await read_answer(client)).body == f"PUT /{number} {number}".encode()
            await client.send_all(get("/next"))
            assert (await read_answer(client)).body == b"GET /next"
            await client.aclose()
        assert gateway.gateway.statistics().requests_in_flight == 0


async def test_answers_that_are_ready_when_the_drain_begins_are_sent():
    """Those who waited together get their answers although the gateway stops at that moment."""
    async with running(addresses=LOCAL, surface=AtOnce()) as gateway:
        clients = [await connect(gateway) for _ in range(8)]
        for number, client in enumerate(clients):
            await client.send_all(put(b"x", path=f"/{number}"))
        await until(lambda: len(gateway.surface.asked) == len(clients))
        gateway.surface.release.set()
        await trio.lowlevel.checkpoint()
        assert await gateway.gateway.drain(10) == 0
        for number, client in enumerate(clients):
            (answer,) = read_answers(await read_all(client))
            assert answer.body == f"PUT /{number} 1".encode()
            await client.aclose()


async def test_a_client_that_falls_silent_behind_an_answer_is_closed():
    """The time between two requests is bounded, counted from the last answer."""
    limits = Limits(idle_seconds=0.2, sweep_seconds=0.02)
    async with running(addresses=LOCAL, surface=AtOnce(), limits=limits) as gateway:
        client = await connect(gateway)
        await client.send_all(get("/key"))
        assert (await read_answer(client)).body == b"GET /key"
        assert await client.receive_some() == b""
        await client.aclose()
        assert gateway.gateway.statistics().timeouts_total == 1


async def test_more_requests_than_allowed_are_told_to_slow_down():
    """Admission counts what is answered at once like everything else."""
    limits = Limits(requests_max=1)
    async with running(addresses=LOCAL, surface=AtOnce(), limits=limits) as gateway:
        first, second = await connect(gateway), await connect(gateway)
        await first.send_all(get("/wait"))
        await until(lambda: gateway.surface.asked)
        await second.send_all(get("/key"))
        assert (await read_answer(second)).error_code == "SlowDown"
        gateway.surface.release.set()
        assert (await read_answer(first)).status == 200
        await second.send_all(get("/key"))
        assert (await read_answer(second)).body == b"GET /key"
        await first.aclose()
        await second.aclose()


async def test_an_observer_that_raises_costs_one_connection():
    """The poller serves all the others on, and the failure is reported."""

    class Failing(Recorder):
        def on_request_done(self, request, response, seconds, bytes_in, bytes_out):
            if request.raw_path == "/bad":
                raise ZeroDivisionError
            super().on_request_done(request, response, seconds, bytes_in, bytes_out)

    recorder = Failing()
    async with running(addresses=LOCAL, surface=AtOnce(), observer=recorder) as gateway:
        bad, good = await connect(gateway), await connect(gateway)
        await bad.send_all(get("/bad"))
        assert read_answers(await read_all(bad))[0].body == b"GET /bad"
        await good.send_all(get("/good"))
        assert (await read_answer(good)).body == b"GET /good"
        assert [type(error) for error in recorder.failures] == [ZeroDivisionError]
        await bad.aclose()
        await good.aclose()
