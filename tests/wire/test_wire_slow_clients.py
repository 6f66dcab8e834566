"""Slow clients lose: every wait for a client ends, on a clock that jumps."""

import pytest
import trio
import trio.testing
from wire_harness import get, put, read_all, read_answer, read_answers, running, streamed

from rs3gwd.base.http import RequestBodyTimeout
from rs3gwd.gateway.limits import Limits

LIMITS = Limits(
    head_seconds=10,
    idle_seconds=60,
    patience_seconds=20,
    bytes_per_second_min=100,
    sweep_seconds=0.5,
)
"""The sweep adds up to half a second to each."""


async def closed_after(stream) -> tuple[float, bytes]:
    """How long until the gateway closes, and what it said."""
    started = trio.current_time()
    data = await read_all(stream)
    return trio.current_time() - started, data


async def test_silent_new_connection_is_closed_without_a_word(autojump_clock):
    """A client that never says anything is closed after the head timeout."""
    async with running(limits=LIMITS) as gateway:
        seconds, data = await closed_after(gateway.connect())
        assert 10 <= seconds <= 11
        assert data == b""
        assert gateway.gateway.statistics().timeouts_total == 1


async def test_idle_keep_alive_connection_is_closed_without_a_word(autojump_clock):
    """Between requests a client has the idle timeout."""
    async with running(limits=LIMITS) as gateway:
        client = gateway.connect()
        await client.send_all(get())
        await read_answer(client)
        seconds, data = await closed_after(client)
        assert 60 <= seconds <= 61
        assert data == b""


async def test_slow_loris_gets_a_timeout_however_often_it_drips(autojump_clock):
    """One byte of a head every two seconds does not move the deadline of the head."""
    async with running(limits=LIMITS) as gateway:
        client = gateway.connect()

        async def drip() -> None:
            for byte in get("/" + "a" * 100):
                await client.send_all(bytes([byte]))
                await trio.sleep(2)

        gateway.nursery.start_soon(drip)
        seconds, data = await closed_after(client)
        assert 10 <= seconds <= 13
        (answer,) = read_answers(data)
        assert (answer.status, answer.error_code) == (400, "RequestTimeout")
        assert gateway.surface.saw == []


async def test_head_deadline_begins_anew_with_each_request(autojump_clock):
    """A slow but lawful client that pauses in each head is served each time."""
    async with running(limits=LIMITS) as gateway:
        client = gateway.connect()
        for _ in range(3):
            await client.send_all(get()[:10])
            await trio.sleep(8)
            await client.send_all(get()[10:])
            assert (await read_answer(client)).status == 200
            await trio.sleep(50)


async def test_stalled_body_is_a_request_timeout(autojump_clock):
    """A client that stops in its body gets 400 RequestTimeout after the patience."""
    async with running(limits=LIMITS) as gateway:
        client = gateway.connect()
        await client.send_all(put(b"x" * 100)[:-50])
        seconds, data = await closed_after(client)
        assert 20 <= seconds <= 23
        (answer,) = read_answers(data)
        assert (answer.status, answer.error_code) == (400, "RequestTimeout")
        assert [type(error) for error in gateway.surface.errors] == [RequestBodyTimeout]


async def test_dripping_body_is_a_request_timeout(autojump_clock):
    """Ten bytes a second where a hundred are asked for run out of patience."""
    async with running(limits=LIMITS) as gateway:
        client = gateway.connect()
        body = b"x" * 10_000

        async def drip() -> None:
            await client.send_all(put(body)[: -len(body)])
            for _ in range(1000):
                await client.send_all(b"x" * 10)
                await trio.sleep(1)

        gateway.nursery.start_soon(drip)
        seconds, data = await closed_after(client)
        assert 20 <= seconds <= 26
        assert read_answers(data)[0].error_code == "RequestTimeout"


async def test_slow_but_steady_body_is_taken(autojump_clock):
    """A body at twice the least rate is read to its end, however long that takes."""
    async with running(limits=LIMITS) as gateway:
        client = gateway.connect()
        body = b"x" * 20_000
        await client.send_all(put(body)[: -len(body)])
        for _ in range(100):
            await client.send_all(b"x" * 200)
            await trio.sleep(1)
        answer = await read_answer(client)
        assert answer.body == b"PUT /bucket/key 20000"


async def test_fast_start_buys_no_long_pause(autojump_clock):
    """A client that sent much at once may not stop for longer than the patience."""
    async with running(limits=LIMITS) as gateway:
        client = gateway.connect()
        await client.send_all(put(b"x" * 1_000_000)[:-10])
        seconds, data = await closed_after(client)
        assert 20 <= seconds <= 23
        assert read_answers(data)[0].error_code == "RequestTimeout"


async def test_slow_handler_does_not_use_up_the_clients_patience(autojump_clock):
    """Our own waiting is not the client's fault."""
    async with running(limits=LIMITS) as gateway:
        client = gateway.connect()
        await client.send_all(put(b"x" * 100, path="/wait")[:-50])
        await trio.sleep(1000)
        gateway.surface.release.set()
        await trio.sleep(10)
        await client.send_all(b"x" * 50)
        assert (await read_answer(client)).body == b"PUT /wait 100"


async def test_client_that_does_not_take_its_response_is_cut(autojump_clock):
    """A response that nobody reads ends after the patience; the request is let go."""
    async with running(limits=LIMITS) as gateway:

        async def big(_request):
            return streamed(200_000, b"x" * 100_000, b"x" * 100_000)

        gateway.surface.answers["/big"] = big
        client, server = trio.testing.lockstep_stream_pair()
        gateway.attach(server)
        await client.send_all(get("/big"))
        await trio.sleep(10)
        state = gateway.gateway.statistics()
        assert (state.requests_in_flight, state.connections) == (1, 1)
        assert state.buffered_bytes > 90_000
        await trio.sleep(15)
        state = gateway.gateway.statistics()
        assert (state.requests_in_flight, state.connections) == (0, 0)
        assert (state.buffered_bytes, state.timeouts_total) == (0, 1)


async def test_client_that_never_closes_after_a_refusal_is_closed(autojump_clock):
    """The reading that follows a refusal is bounded in time."""
    async with running(limits=LIMITS) as gateway:
        client, server = trio.testing.memory_stream_pair()
        gateway.attach(server)
        started = trio.current_time()
        await client.send_all(b"BROKEN\r\n\r\n")
        while gateway.gateway.statistics().connections or not gateway.recorder.refusals:
            await client.send_all(b"more")
            await trio.sleep(0.25)
            assert trio.current_time() - started < 4


@pytest.mark.parametrize("count", [200])
async def test_many_slow_clients_do_not_hold_up_a_fast_one(count, autojump_clock):
    """Two hundred clients in the middle of a head or a body; one in good order is served."""
    async with running(limits=LIMITS) as gateway:
        slow = [gateway.connect() for _ in range(count)]
        for i, client in enumerate(slow):
            await client.send_all(get()[:20] if i % 2 else put(b"x" * 10)[:-1])
        await trio.testing.wait_all_tasks_blocked()
        started = trio.current_time()
        client = gateway.connect()
        await client.send_all(get())
        assert (await read_answer(client)).status == 200
        assert trio.current_time() == started
        assert gateway.gateway.statistics().connections == count + 1
        await trio.sleep(30)
        assert gateway.gateway.statistics().connections == 1
        assert gateway.gateway.statistics().buffered_bytes == 0


@pytest.mark.parametrize(
    "data", [b"PRI * HTTP/2.0\r\n\r\n", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + b"\0\0\0\4\0\0\0\0\0"]
)
async def test_silent_http2_connection_is_closed(data, autojump_clock):
    """A client that sends the preface and nothing else is closed after the idle timeout."""
    async with running(limits=LIMITS) as gateway:
        client = gateway.connect()
        await client.send_all(data)
        seconds, _ = await closed_after(client)
        assert 60 <= seconds <= 61
        await trio.testing.wait_all_tasks_blocked()
        assert gateway.gateway.statistics().connections == 0


async def test_stalled_body_of_a_page_is_closed(autojump_clock):
    """A page's request whose body does not come is ended by the pages' own timeout."""
    async with running(limits=LIMITS) as gateway:
        client = gateway.connect()
        await client.send_all(put(b"x" * 10, path="/api/x")[:-5])
        with trio.fail_after(200):
            await read_all(client)
