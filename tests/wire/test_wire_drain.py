"""The end: no new connection, idle ones closed, each request begun is finished, the rest is cut."""

import socket

import trio
import trio.testing
from wire_harness import get, put, read_all, read_answer, read_answers, render_metrics, running

from rs3gwd.gateway.asgi_app import make_app
from rs3gwd.gateway.gateway import FIRST_SECONDS
from rs3gwd.gateway.listener import ListenAddress
from rs3gwd.gateway.pages import Pages, Readiness

LOCAL = (ListenAddress("127.0.0.1", 0),)


async def test_drain_finishes_requests_and_closes_idle_connections(autojump_clock):
    """Idle connections close at once; a request under way gets its response with close."""
    async with running() as gateway:
        idle, busy, sending = gateway.connect(), gateway.connect(), gateway.connect()
        await idle.send_all(get())
        await read_answer(idle)
        await busy.send_all(get("/wait"))
        await sending.send_all(put(b"x" * 10)[:-5])
        await trio.testing.wait_all_tasks_blocked()
        results = []

        async def drain() -> None:
            results.append(await gateway.gateway.drain(30))

        started = trio.current_time()
        gateway.nursery.start_soon(drain)
        assert await read_all(idle) == b""
        assert trio.current_time() == started
        await trio.sleep(5)
        assert results == []
        await sending.send_all(b"x" * 5)
        gateway.surface.release.set()
        for client, path in ((busy, "/wait"), (sending, "/bucket/key")):
            (answer,) = read_answers(await read_all(client))
            assert (answer.status, answer.headers["connection"]) == (200, "close")
            assert path in answer.body.decode()
        await trio.testing.wait_all_tasks_blocked()
        assert results == [0]
        assert gateway.gateway.statistics().connections == 0


async def test_a_patient_drain_lets_each_client_ask_once_more(autojump_clock):
    """For `idle_seconds` idle connections get one more answer, with close; then they are closed."""
    async with running() as gateway:
        busy, idle, fresh = gateway.connect(), gateway.connect(), gateway.connect()
        for client in (busy, idle):
            await client.send_all(get())
            await read_answer(client)
        results = []

        async def drain() -> None:
            results.append(await gateway.gateway.drain(30, idle_seconds=5))

        gateway.nursery.start_soon(drain)
        started = trio.current_time()
        await trio.sleep(1)
        for client in (busy, fresh):
            await client.send_all(get("/wait"))
        gateway.surface.release.set()
        for client in (busy, fresh):
            (answer,) = read_answers(await read_all(client))
            assert (answer.status, answer.headers["connection"]) == (200, "close")
        assert results == []
        assert await read_all(idle) == b""
        assert trio.current_time() - started == 5
        await trio.testing.wait_all_tasks_blocked()
        assert results == [0]


async def test_a_new_connection_may_send_its_first_request(autojump_clock):
    """Who has just connected is answered; who says nothing is closed after a second."""
    async with running() as gateway:
        soon, halves, silent = gateway.connect(), gateway.connect(), gateway.connect()
        await halves.send_all(get()[:20])
        await trio.testing.wait_all_tasks_blocked()
        results = []

        async def drain() -> None:
            results.append(await gateway.gateway.drain(30))

        started = trio.current_time()
        gateway.nursery.start_soon(drain)
        await trio.sleep(0.5)
        await soon.send_all(get())
        await halves.send_all(get()[20:])
        for client in (soon, halves):
            (answer,) = read_answers(await read_all(client))
            assert (answer.status, answer.headers["connection"]) == (200, "close")
        assert trio.current_time() - started == 0.5
        assert await read_all(silent) == b""
        assert trio.current_time() - started == FIRST_SECONDS
        await trio.testing.wait_all_tasks_blocked()
        assert results == [0]


async def test_drain_cuts_what_is_left_after_the_grace_time(autojump_clock):
    """A request that does not end is cut, counted, and the drain returns on time."""
    async with running() as gateway:
        busy = gateway.connect()
        await busy.send_all(get("/wait"))
        await trio.testing.wait_all_tasks_blocked()
        started = trio.current_time()
        assert await gateway.gateway.drain(7) == 1
        assert trio.current_time() - started == 7
        assert await read_all(busy) == b""


async def test_drain_of_an_idle_gateway_is_immediate(autojump_clock):
    """With nobody there the drain takes no time."""
    async with running() as gateway:
        started = trio.current_time()
        assert await gateway.gateway.drain(30) == 0
        assert trio.current_time() == started


async def test_connection_with_half_a_head_is_closed_by_the_drain(autojump_clock):
    """Half a head is no request."""
    async with running() as gateway:
        client = gateway.connect()
        await client.send_all(get()[:20])
        await trio.testing.wait_all_tasks_blocked()
        assert await gateway.gateway.drain(30) == 0
        assert await read_all(client) == b""


async def test_request_that_has_arrived_when_the_drain_begins_is_served():
    """Requests in the socket's buffer and connections in the accept queue are not lost."""
    async with running(addresses=LOCAL) as gateway:
        address = gateway.gateway.addresses[0]
        known = await trio.open_tcp_stream(*address)
        await known.send_all(get("/first"))
        await read_answer(known)
        # No checkpoint of the gateway lies between these and the drain.
        known.socket._sock.send(get("/second"))
        queued = socket.create_connection(address)
        queued.sendall(get("/third"))
        assert await gateway.gateway.drain(10) == 0
        (second,) = read_answers(await read_all(known))
        assert (second.status, second.headers["connection"]) == (200, "close")
        queued.settimeout(5)
        (third,) = read_answers(queued.recv(65536))
        assert (third.status, third.headers["connection"]) == (200, "close")
        queued.close()
        await known.aclose()


async def test_nobody_can_connect_after_the_drain():
    """The port is closed and free again."""
    async with running(addresses=LOCAL) as gateway:
        host, port = gateway.gateway.addresses[0]
        await gateway.gateway.drain(1)
        try:
            stream = await trio.open_tcp_stream(host, port)
        except OSError:
            stream = None
        assert stream is None
    async with running(addresses=(ListenAddress("127.0.0.1", port),)) as gateway:
        assert gateway.gateway.addresses == [("127.0.0.1", port)]


async def test_silent_http2_connection_does_not_hold_up_the_drain(autojump_clock):
    """A connection in hypercorn's hands without a request ends at once."""
    async with running() as gateway:
        client = gateway.connect()
        await client.send_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n")
        await trio.testing.wait_all_tasks_blocked()
        started = trio.current_time()
        assert await gateway.gateway.drain(30) == 0
        assert trio.current_time() == started


async def test_page_under_way_is_finished_by_the_drain(autojump_clock):
    """A request that hypercorn serves gets its response before the drain ends."""
    release = trio.Event()

    pages = make_app(
        Pages(
            render_metrics=render_metrics,
            metrics_token=None,
            readiness=lambda: Readiness(ready=True),
        )
    )

    @pages.get("/api/slow")
    async def slow() -> str:
        await release.wait()
        return "done"

    async with running(application=lambda: pages) as gateway:
        client = gateway.connect()
        await client.send_all(get("/api/slow"))
        await trio.testing.wait_all_tasks_blocked()
        results = []

        async def drain() -> None:
            results.append(await gateway.gateway.drain(30))

        gateway.nursery.start_soon(drain)
        await trio.sleep(5)
        assert results == []
        release.set()
        assert (await read_all(client)).endswith(b"done")
        await trio.testing.wait_all_tasks_blocked()
        assert results == [0]
