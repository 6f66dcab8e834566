"""Overload: beyond a bound a client is told 503 SlowDown at once; the others go on."""

import trio
import trio.testing
from wire_harness import get, put, read_all, read_answer, read_answers, running

from rs3gwd.base.http import Response
from rs3gwd.gateway.limits import Limits


async def test_request_beyond_the_bound_is_told_to_slow_down(autojump_clock):
    """The request over the bound gets 503 SlowDown and keeps its connection; later it is served."""
    async with running(limits=Limits(requests_max=2)) as gateway:
        waiting = [gateway.connect() for _ in range(2)]
        for client in waiting:
            await client.send_all(get("/wait"))
        await trio.testing.wait_all_tasks_blocked()
        assert gateway.gateway.statistics().requests_in_flight == 2
        other = gateway.connect()
        await other.send_all(get("/third"))
        refused = await read_answer(other)
        assert (refused.status, refused.error_code) == (503, "SlowDown")
        assert refused.headers["retry-after"] == "1"
        assert "/third" not in gateway.surface.paths
        gateway.surface.release.set()
        for client in waiting:
            assert (await read_answer(client)).status == 200
        await other.send_all(get("/third"))
        assert (await read_answer(other)).status == 200
        state = gateway.gateway.statistics()
        assert (state.requests_in_flight, state.requests_refused_total) == (0, 1)


async def test_refused_request_with_a_body_closes_without_reading_it(autojump_clock):
    """A body that nobody reads under overload costs its connection, not our memory."""
    async with running(limits=Limits(requests_max=1)) as gateway:
        waiting = gateway.connect()
        await waiting.send_all(get("/wait"))
        await trio.testing.wait_all_tasks_blocked()
        (answer,) = await gateway.answers(put(b"x" * 10, "Expect: 100-continue") + get("/next"))
        assert (answer.status, answer.headers["connection"]) == (503, "close")
        assert gateway.surface.paths == ["/wait"]


async def test_buffered_bytes_beyond_the_bound_refuse_new_requests(autojump_clock):
    """Unfinished heads count; when they are gone, requests are served again."""
    limits = Limits(buffered_bytes_max=1000, head_seconds=10)
    async with running(limits=limits) as gateway:
        holding = gateway.connect()
        await holding.send_all(get("/" + "a" * 1200)[:-2])
        await trio.testing.wait_all_tasks_blocked()
        assert gateway.gateway.statistics().buffered_bytes > 1000
        other = gateway.connect()
        await other.send_all(get())
        assert (await read_answer(other)).error_code == "SlowDown"
        await trio.sleep(15)
        assert gateway.gateway.statistics().buffered_bytes == 0
        await other.send_all(get())
        assert (await read_answer(other)).status == 200


async def test_body_in_a_handlers_hands_counts_as_buffered(autojump_clock):
    """The block that a handler works on is counted until it asks for the next one."""
    seen = []
    async with running() as gateway:

        async def look(request):
            await request.body.receive()
            seen.append(gateway.gateway.statistics().buffered_bytes)
            await request.body.receive()
            seen.append(gateway.gateway.statistics().buffered_bytes)
            return Response(200, [], b"ok")

        gateway.surface.answers["/look"] = look
        await gateway.answers(put(b"x" * 5000, path="/look"))
        assert seen == [5000, 0]
        assert gateway.gateway.statistics().buffered_bytes == 0


async def test_connection_beyond_the_bound_is_told_to_slow_down(autojump_clock):
    """A connection over the bound gets 503 SlowDown; room that was made is used again."""
    async with running(limits=Limits(connections_max=2)) as gateway:
        first, second = gateway.connect(), gateway.connect()
        for client in (first, second):
            await client.send_all(get())
            await read_answer(client)
        (refused,) = await gateway.answers(get("/third"))
        assert (refused.status, refused.error_code) == (503, "SlowDown")
        assert refused.headers["connection"] == "close"
        await first.aclose()
        await trio.testing.wait_all_tasks_blocked()
        third = gateway.connect()
        await third.send_all(get("/third"))
        assert (await read_answer(third)).status == 200
        assert gateway.gateway.statistics().connections_refused_total == 1


async def test_refusals_are_bounded_too(autojump_clock):
    """Beyond the bound on refusals a connection is closed without a word."""
    async with running(limits=Limits(connections_max=1, refusals_max=1)) as gateway:
        first = gateway.connect()
        await trio.testing.wait_all_tasks_blocked()
        clients = [gateway.connect(), gateway.connect()]
        told, silent = sorted([await read_all(client) for client in clients], reverse=True)
        assert silent == b""
        assert read_answers(told)[0].status == 503
        assert gateway.gateway.statistics().connections_refused_total == 2
        await first.aclose()
