"""The plain socket path: bodies of every size, many clients, exhaustion, resets."""

import errno
import os
import socket
import tracemalloc

import pytest
import trio
from wire_harness import Blocks, get, put, read_all, read_answer, read_answers, running, until

from rs3gwd.base.http import Response, StreamedBody
from rs3gwd.gateway.limits import Limits
from rs3gwd.gateway.listener import ListenAddress, Listener, bind_shared, open_listeners

LOCAL = (ListenAddress("127.0.0.1", 0),)


async def connect(gateway):
    """A client over TCP."""
    return await trio.open_tcp_stream(*gateway.gateway.addresses[0])


@pytest.mark.parametrize("size", [0, 1, 16383, 16384, 16385, 65536, 300_000, 5_000_000])
async def test_bodies_of_every_size_go_both_ways(size):
    """What is sent arrives, and what is answered arrives, around every internal bound."""
    data = os.urandom(size)

    async def back(request):
        received = b""
        while block := await request.body.receive():
            received += block
        return Response(200, [], received)

    async with running(addresses=LOCAL) as gateway:
        gateway.surface.answers["/back"] = back
        client = await connect(gateway)
        for _ in range(2):
            await client.send_all(put(data, path="/back"))
            assert (await read_answer(client)).body == data
        await client.aclose()


async def test_large_stream_to_a_slow_reader_arrives_whole():
    """A reader that pauses gets every byte; while it pauses, the wait is counted."""
    blocks = [os.urandom(1 << 20) for _ in range(12)]

    async def big(_request):
        return Response(200, [], StreamedBody(length=12 << 20, source=Blocks(*blocks)))

    async with running(addresses=LOCAL) as gateway:
        gateway.surface.answers["/big"] = big
        client = await connect(gateway)
        await client.send_all(get("/big", "Connection: close"))
        await until(lambda: gateway.gateway.statistics().buffered_bytes)
        data = await read_all(client)
        assert data.partition(b"\r\n\r\n")[2] == b"".join(blocks)
        assert gateway.gateway.statistics().buffered_bytes == 0
        await client.aclose()


async def test_sixty_four_clients_at_once_are_each_served_in_order():
    """Concurrent keep-alive connections do not mix their responses."""
    async with running(addresses=LOCAL) as gateway:

        async def client(number: int) -> None:
            stream = await connect(gateway)
            for i in range(20):
                await stream.send_all(get(f"/c{number}/r{i}"))
                assert (await read_answer(stream)).body == f"GET /c{number}/r{i} 0".encode()
            await stream.aclose()

        async with trio.open_nursery() as nursery:
            for number in range(64):
                nursery.start_soon(client, number)
        assert gateway.gateway.statistics().requests_total == 64 * 20
        assert gateway.gateway.statistics().connections_total == 64


@pytest.mark.parametrize("length", [1, 20, 10_000])
async def test_an_end_that_comes_with_the_bytes_before_it_is_seen(length):
    """A client that sends and half-closes in one go is answered, or closed, without a timeout."""
    async with running(addresses=LOCAL) as gateway:
        whole = get("/first") + get("/second") + get("/third")[:-2]
        for sent in (whole[:length], get("/only"), whole):
            client = socket.create_connection(gateway.gateway.addresses[0])
            client.sendall(sent)
            client.shutdown(socket.SHUT_WR)
            client.setblocking(False)
            stream = trio.SocketStream(trio.socket.from_stdlib_socket(client))
            with trio.fail_after(5):
                answers = read_answers(await read_all(stream))
            assert len(answers) == sent.count(b"\r\n\r\n")
            assert {answer.status for answer in answers} <= {200}


async def test_client_that_resets_its_connection_is_no_failure():
    """RST in the middle of a request or of a response ends that connection alone."""
    async with running(addresses=LOCAL) as gateway:

        async def big(_request):
            block = b"x" * (1 << 20)
            return Response(200, [], StreamedBody(length=64 << 20, source=Blocks(*[block] * 64)))

        gateway.surface.answers["/big"] = big
        for data in (get()[:10], put(b"x" * 100)[:-10], get("/big")):
            client = await connect(gateway)
            client.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\0\0\0\0\0\0\0")
            await client.send_all(data)
            await trio.sleep(0.01)
            await client.aclose()
        await until(lambda: not gateway.gateway.statistics().connections)
        assert gateway.recorder.failures == []
        assert gateway.gateway.statistics().requests_in_flight == 0
        assert gateway.gateway.statistics().buffered_bytes == 0


async def test_refused_client_gets_its_answer_although_it_still_sends():
    """The answer to a refused upload is not destroyed by a reset."""
    limits = Limits(unread_body_bytes_max=1000)
    async with running(addresses=LOCAL, limits=limits) as gateway:

        async def deny(_request):
            return Response(403, [], b"denied")

        gateway.surface.answers["/deny"] = deny
        client = await connect(gateway)
        await client.send_all(put(b"x" * 200_000, path="/deny"))
        data = await read_all(client)
        assert data.startswith(b"HTTP/1.1 403 ")
        assert data.endswith(b"\r\n\r\ndenied")
        await client.aclose()


class FakeSocket:
    """A listening socket whose accepts are a script."""

    def __init__(self, real: socket.socket, script: list[OSError]) -> None:
        self._real = real
        self._script = script

    def fileno(self) -> int:
        return self._real.fileno()

    def accept(self):
        if self._script:
            raise self._script.pop(0)
        return self._real.accept()

    def close(self) -> None:
        self._real.close()


@pytest.mark.parametrize("code", [errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.ECONNABORTED])
async def test_accept_loop_outlives_every_error_of_accept(code):
    """Out of descriptors the loop pauses and goes on; a dead connection is skipped."""
    real = socket.create_server(("127.0.0.1", 0))
    real.setblocking(False)
    listener = Listener(FakeSocket(real, [OSError(code, "x")]), secure=False)  # type: ignore[arg-type]
    taken = []
    async with trio.open_nursery() as nursery:
        nursery.start_soon(listener.accept, lambda accepted, peer: taken.append((accepted, peer)))
        client = await trio.open_tcp_stream(*real.getsockname())
        await until(lambda: taken)
        await client.aclose()
        listener.stop(lambda accepted, peer: taken.append((accepted, peer)))
    assert taken[0][1] == "127.0.0.1"
    assert taken[0][0].getblocking() is False
    assert listener.pauses == (0 if code == errno.ECONNABORTED else 1)
    taken[0][0].close()


async def test_sharers_of_a_port_have_a_socket_each_and_nobody_else_gets_in():
    """Sockets of one `bind_shared` share the port; a second call is refused, alone or not."""
    first, second = await bind_shared(ListenAddress("127.0.0.1", 0), sharers=2)
    place = ListenAddress(*first[0].getsockname())
    assert second[0].getsockname() == first[0].getsockname()
    for sharers in (1, 2):
        with pytest.raises(OSError):
            await bind_shared(place, sharers=sharers)
    clients = [socket.create_connection((place.host, place.port)) for _ in range(40)]
    accepted = [0, 0]
    for number, bound in enumerate((first[0], second[0])):
        (listener,) = await open_listeners(ListenAddress("127.0.0.1", 0, bound=bound))

        def take(connected, _peer, number=number):
            accepted[number] += 1
            connected.close()

        listener.stop(take)
    assert min(accepted) > 0
    assert sum(accepted) == 40
    for client in clients:
        client.close()


async def test_a_port_where_somebody_listens_cannot_be_shared():
    """The first of the sockets binds as if it were alone, even where the other would share."""
    with socket.socket() as other:
        other.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        other.bind(("127.0.0.1", 0))
        other.listen()
        with pytest.raises(OSError, match="in use"):
            await bind_shared(ListenAddress(*other.getsockname()), sharers=3)


async def hold(gateway, count: int) -> list[trio.SocketStream]:
    """So many idle keep-alive connections, each of which has had one answer."""
    held = []
    for _ in range(count):
        client = await connect(gateway)
        await client.send_all(get())
        await client.receive_some()
        held.append(client)
    return held


async def test_idle_connections_cost_little_memory():
    """Two hundred idle keep-alive connections cost less than 16 KiB of Python memory each."""
    async with running(addresses=LOCAL) as gateway:
        for client in await hold(gateway, 10):
            await client.aclose()
        tracemalloc.start()
        before = tracemalloc.get_traced_memory()[0]
        held = await hold(gateway, 200)
        used = tracemalloc.get_traced_memory()[0] - before
        tracemalloc.stop()
        assert used / 200 < 16_384
        for client in held:
            await client.aclose()


@pytest.mark.long
async def test_two_thousand_held_connections_do_not_slow_the_others():
    """With 2,000 connections held a new client is served at once and memory stays bounded."""
    async with running(addresses=LOCAL) as gateway:
        tracemalloc.start()
        before = tracemalloc.get_traced_memory()[0]
        held = await hold(gateway, 2000)
        used = tracemalloc.get_traced_memory()[0] - before
        tracemalloc.stop()
        assert used < 2000 * 16_384
        assert gateway.gateway.statistics().connections == 2000
        client = await connect(gateway)
        with trio.fail_after(1):
            await client.send_all(get("/fast"))
            assert (await read_answer(client)).body == b"GET /fast 0"
        for stream in [*held, client]:
            await stream.aclose()
