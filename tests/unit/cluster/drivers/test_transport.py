"""Calls, messages and streams between transports in memory, on trio's mock clock."""

import pytest
import trio
import trio.testing
from msgspec.structs import replace
from transport_world import CLUSTER, MemoryWorld, token_of, wait_up

from cluster.base.errors import (
    NoLeader,
    PeerTimeout,
    PeerUnreachable,
    RemoteFailure,
)
from cluster.base.ports import PeerStream
from cluster.drivers import transport_frames as frames
from cluster.drivers.transport_frames import Hello
from cluster.drivers.transport_settings import Lane, TransportSettings


async def echo(peer: int, payload: bytes) -> bytes:
    """Gives back who asked and what."""
    return b"%d:%s" % (peer, payload)


async def test_a_call_is_answered_by_the_node_it_was_for(autojump_clock: object) -> None:
    """The answer comes from the handler of the named node, which knows who asked."""
    world = MemoryWorld(3)
    for transport in world.nodes.values():
        transport.on_call("echo", echo)
    async with world.running():
        assert await world.nodes[1].call(2, "echo", b"a", timeout_s=1) == b"1:a"
        assert await world.nodes[3].call(2, "echo", b"b", timeout_s=1) == b"3:b"


async def test_a_failure_of_a_handler_comes_with_its_code(autojump_clock: object) -> None:
    """A ClusterError over there is a RemoteFailure with that code here."""

    async def refuse(peer: int, payload: bytes) -> bytes:
        raise NoLeader("of group 3")

    world = MemoryWorld()
    world.nodes[2].on_call("refuse", refuse)
    async with world.running():
        with pytest.raises(RemoteFailure) as caught:
            await world.nodes[1].call(2, "refuse", b"", timeout_s=1)
        assert caught.value.remote_code == "no_leader"
        with pytest.raises(RemoteFailure) as caught:
            await world.nodes[1].call(2, "nobody", b"", timeout_s=1)
        assert caught.value.remote_code == "unknown_method"


async def test_the_deadline_of_a_call_ends_its_handler_too(autojump_clock: object) -> None:
    """Nobody waits for an answer that comes too late, so nobody works on it."""
    ended = trio.Event()

    async def sleeper(peer: int, payload: bytes) -> bytes:
        try:
            await trio.sleep_forever()
        finally:
            ended.set()
        raise AssertionError

    world = MemoryWorld()
    world.nodes[2].on_call("sleep", sleeper)
    async with world.running():
        with pytest.raises(PeerTimeout):
            await world.nodes[1].call(2, "sleep", b"", timeout_s=0.5)
        await ended.wait()


async def test_a_cancelled_call_cancels_its_handler(autojump_clock: object) -> None:
    """Cancelling the caller reaches the other side long before the deadline."""
    begun, ended = trio.Event(), trio.Event()

    async def sleeper(peer: int, payload: bytes) -> bytes:
        begun.set()
        try:
            await trio.sleep_forever()
        finally:
            ended.set()
        raise AssertionError

    world = MemoryWorld()
    world.nodes[2].on_call("sleep", sleeper)
    async with world.running(), trio.open_nursery() as nursery:

        async def ask() -> None:
            await world.nodes[1].call(2, "sleep", b"", timeout_s=1e6)

        nursery.start_soon(ask)
        await begun.wait()
        nursery.cancel_scope.cancel()
    assert ended.is_set()


async def test_a_broken_connection_tells_perhaps_from_surely_not(autojump_clock: object) -> None:
    """A call that had left may have been run; a call with no connection was not."""
    begun = trio.Event()

    async def sleeper(peer: int, payload: bytes) -> bytes:
        begun.set()
        await trio.sleep_forever()
        raise AssertionError

    world = MemoryWorld()
    world.nodes[2].on_call("sleep", sleeper)
    async with world.running(), trio.open_nursery() as nursery:

        async def ask() -> None:
            with pytest.raises(PeerTimeout):
                await world.nodes[1].call(2, "sleep", b"", timeout_s=1e6)

        nursery.start_soon(ask)
        await begun.wait()
        await world.net.cut(1, 2)
        await trio.sleep(0.01)
        with pytest.raises(PeerUnreachable):
            await world.nodes[1].call(2, "sleep", b"", timeout_s=1)


async def test_a_cut_link_is_dialled_again(autojump_clock: object) -> None:
    """When the way is open again, calls go through without anybody's doing."""
    world = MemoryWorld()
    world.nodes[2].on_call("echo", echo)
    async with world.running():
        await wait_up(world.nodes[1], 2)
        await world.net.cut(1, 2)
        await trio.sleep(10)
        assert world.nodes[1].counters.dials_failed > 5
        world.net.heal(1, 2)
        await wait_up(world.nodes[1], 2)
        assert await world.nodes[1].call(2, "echo", b"x", timeout_s=1) == b"1:x"


async def test_messages_arrive_in_order_and_are_dropped_when_the_queue_is_full(
    autojump_clock: object,
) -> None:
    """A queue that is full drops and counts; what was taken arrives in its order."""
    heard: list[bytes] = []
    world = MemoryWorld(settings=TransportSettings(queue_bytes_max=1000))
    world.nodes[2].on_message("news", lambda peer, payload: heard.append(payload))
    one = world.nodes[1]
    async with world.running():
        assert not one.send(2, "news", b"before there is a connection")
        await wait_up(one, 2)
        taken = [n for n in range(100) if one.send(2, "news", b"%080d" % n)]
        await trio.sleep(1)
    assert 0 < len(taken) < 100
    assert heard == [b"%080d" % n for n in taken]
    assert one.counters.messages_dropped == 1 + 100 - len(taken)


async def test_a_stream_carries_both_ways_and_ends(autojump_clock: object) -> None:
    """Each side sends more than a window, ends, and reads the other's end."""

    async def double(peer: int, header: bytes, stream: PeerStream) -> None:
        while data := await stream.receive():
            await stream.send(data + data)

    world = MemoryWorld()
    world.nodes[2].on_stream("double", double)
    body = bytes(range(256)) * 4096 * 3
    got = bytearray()
    async with world.running(), world.nodes[1].open(2, "double", b"") as stream:

        async def feed() -> None:
            await stream.send(body)
            await stream.end()

        async with trio.open_nursery() as nursery:
            nursery.start_soon(feed)
            while data := await stream.receive():
                got += data
    assert len(got) == 2 * len(body)


async def test_a_stalled_reader_holds_one_window_and_no_more(autojump_clock: object) -> None:
    """The sender waits, neither side holds more than its bound, other streams go on."""
    settings = TransportSettings(stream_window=50_000, connection_window=400_000, data_bytes=8000)
    world = MemoryWorld(settings=settings)
    sent = 0

    async def stall(peer: int, header: bytes, stream: PeerStream) -> None:
        await trio.sleep_forever()

    async def swallow(peer: int, header: bytes, stream: PeerStream) -> None:
        while await stream.receive():
            pass

    world.nodes[2].on_stream("stall", stall)
    world.nodes[2].on_stream("swallow", swallow)
    one = world.nodes[1]
    async with world.running(), trio.open_nursery() as nursery:

        async def push() -> None:
            nonlocal sent
            async with one.open(2, "stall", b"") as stream:
                while True:
                    await stream.send(bytes(1000))
                    sent += 1000

        nursery.start_soon(push)
        await trio.sleep(60)
        assert sent <= settings.stream_window
        assert sum(link.unread for link in world.nodes[2].links()) <= settings.stream_window
        assert sum(link.queued for link in one.links()) < 100, "no more than a ping"
        async with one.open(2, "swallow", b"") as stream:
            await stream.send(bytes(2_000_000))
        nursery.cancel_scope.cancel()


async def test_a_heartbeat_overtakes_a_blob_that_nobody_reads(autojump_clock: object) -> None:
    """With bulk blocked for good, every message still arrives, in its order."""
    heard: list[bytes] = []
    world = MemoryWorld()

    async def stall(peer: int, header: bytes, stream: PeerStream) -> None:
        await trio.sleep_forever()

    world.nodes[2].on_stream("stall", stall)
    world.nodes[2].on_message("beat", lambda peer, payload: heard.append(payload))
    one = world.nodes[1]
    async with world.running(), trio.open_nursery() as nursery:
        await wait_up(one, 2)

        async def push() -> None:
            async with one.open(2, "stall", b"") as stream:
                await stream.send(bytes(64 * 1024 * 1024))

        nursery.start_soon(push)
        await trio.sleep(1)
        for beat in range(10):
            assert one.send(2, "beat", b"%d" % beat)
        await trio.sleep(0.1)
        assert heard == [b"%d" % beat for beat in range(10)]
        nursery.cancel_scope.cancel()


async def test_leaving_a_stream_by_an_exception_cancels_the_handler(
    autojump_clock: object,
) -> None:
    """The other side is reset, its handler cancelled, and nothing of the stream remains."""
    begun, ended = trio.Event(), trio.Event()

    async def reader(peer: int, header: bytes, stream: PeerStream) -> None:
        begun.set()
        try:
            while await stream.receive():
                pass
        finally:
            ended.set()

    world = MemoryWorld()
    world.nodes[2].on_stream("read", reader)
    async with world.running():

        async def give_up() -> None:
            async with world.nodes[1].open(2, "read", b""):
                await begun.wait()
                raise ZeroDivisionError

        with pytest.raises(ZeroDivisionError):
            await give_up()
        await ended.wait()
        await trio.sleep(0.1)
        assert not any(link.busy for node in world.nodes.values() for link in node.links())


async def test_a_handler_that_fails_resets_the_stream_with_its_code(
    autojump_clock: object,
) -> None:
    """The opener gets the handler's error, when it reads and when it sends."""

    async def refuse(peer: int, header: bytes, stream: PeerStream) -> None:
        raise NoLeader("not here")

    world = MemoryWorld()
    world.nodes[2].on_stream("refuse", refuse)
    async with world.running():
        with pytest.raises(RemoteFailure) as caught:
            async with world.nodes[1].open(2, "refuse", b"") as stream:
                await stream.receive()
        assert caught.value.remote_code == "no_leader"


async def test_a_peer_that_falls_silent_is_given_up(autojump_clock: object) -> None:
    """A half-open connection ends after `dead_s` without a sign of life."""
    world = MemoryWorld()
    async with world.running():
        await wait_up(world.nodes[1], 2)
        _near, far = world.net._open[1, 2]
        far.send_stream.send_all_hook = trio.sleep_forever  # type: ignore[attr-defined]
        before = world.nodes[1].counters.links_closed
        await trio.sleep(TransportSettings().dead_s + 15)
        assert world.nodes[1].counters.links_closed > before


async def test_draining_finishes_what_runs_and_takes_nothing_new(autojump_clock: object) -> None:
    """A call under way gets its answer; a call that comes later was surely not run."""
    begun, go_on = trio.Event(), trio.Event()
    answers: list[bytes] = []

    async def slow(peer: int, payload: bytes) -> bytes:
        begun.set()
        await go_on.wait()
        return b"done"

    world = MemoryWorld()
    world.nodes[2].on_call("slow", slow)
    async with world.running(), trio.open_nursery() as nursery:

        async def ask() -> None:
            answers.append(await world.nodes[1].call(2, "slow", b"", timeout_s=60))

        nursery.start_soon(ask)
        await begun.wait()
        nursery.start_soon(world.nodes[2].drain)
        await trio.sleep(0.1)
        with pytest.raises(PeerUnreachable):
            await world.nodes[1].call(2, "slow", b"", timeout_s=1)
        go_on.set()
    assert answers == [b"done"]


async def test_a_node_that_is_removed_loses_its_connections(autojump_clock: object) -> None:
    """After `recheck` a refused peer is cut off and cannot come back."""
    world = MemoryWorld()
    world.nodes[2].on_call("echo", echo)
    async with world.running():
        await world.nodes[1].call(2, "echo", b"", timeout_s=1)
        del world.membership.known[1]
        world.nodes[2].recheck()
        await trio.sleep(3)
        with pytest.raises(PeerUnreachable):
            await world.nodes[1].call(2, "echo", b"", timeout_s=1)
        assert world.nodes[2].links() == []
        assert world.nodes[2].counters.handshakes_refused > 0


async def test_a_node_under_an_old_name_with_another_disk_is_refused(
    autojump_clock: object,
) -> None:
    """The token of the disk is part of who one is."""
    world = MemoryWorld()
    world.membership.known[1] = b"the token of the disk that was lost"
    async with world.running():
        with pytest.raises(PeerUnreachable):
            await world.nodes[1].call(2, "echo", b"", timeout_s=1)


async def test_both_lanes_are_connections_of_their_own(autojump_clock: object) -> None:
    """Urgent and bulk never share a byte stream."""
    world = MemoryWorld()
    async with world.running():
        await wait_up(world.nodes[1], 2, Lane.URGENT)
        await wait_up(world.nodes[1], 2, Lane.BULK)
        assert len(world.nodes[1].links()) == 2
        assert len(world.nodes[2].links()) == 2


HELLO = Hello(1, 1, CLUSTER, 1, 2, token_of(1), Lane.URGENT, 65536, 65536)


@pytest.mark.parametrize(
    "first",
    [
        frames.encode_hello(replace(HELLO, stream_window=0)),
        frames.encode_hello(replace(HELLO, connection_window=2**31)),
        frames.encode_hello(replace(HELLO, version_min=2, version_max=3)),
        frames.encode_hello(replace(HELLO, lane=9)),
        frames.encode_hello(replace(HELLO, to=3)),
        frames.encode_hello(replace(HELLO, cluster="other")),
        frames.encode(frames.Kind.PING, 0),
        frames.encode(frames.Kind.HELLO, 0, bytes(5000)),
        b"GET / HTTP/1.1\r\nhost: x\r\n\r\n",
        b"",
    ],
)
async def test_a_bad_hello_costs_its_connection_alone(autojump_clock: object, first: bytes) -> None:
    """Whatever a stranger says first, it is closed out, and others are served as before."""
    world = MemoryWorld()
    world.nodes[2].on_call("echo", echo)
    async with world.running():
        stranger = world.net.dial(9, 2)
        if first:
            await stranger.send_all(first)
        with trio.fail_after(10):
            while await stranger.receive_some():
                pass
        assert world.nodes[2].links() == []
        assert await world.nodes[1].call(2, "echo", b"", timeout_s=1) == b"1:"


@pytest.mark.parametrize(
    "bad",
    [
        frames.encode_hello(HELLO),
        frames.encode(frames.Kind.CALL, 1),
        frames.encode(frames.Kind.OPEN, 1, b"\xff"),
        frames.encode(frames.Kind.WINDOW, 0, b"abc"),
        frames.encode(frames.Kind.WINDOW, 0, b"\xff\xff\xff\xff"),
        frames.encode(frames.Kind.RESET, 1, b"nonsense"),
        frames.encode(frames.Kind.DATA, 5, bytes(17 * 1024 * 1024 // 2)) * 3,
        frames.encode_open(1, "stall", b"") * 2,
        frames.encode_open(1, "stall", b"") + frames.encode(frames.Kind.DATA, 1, bytes(2**20 + 1)),
        b"\x00" * 20,
    ],
)
async def test_a_bad_frame_costs_its_connection_alone(autojump_clock: object, bad: bytes) -> None:
    """A peer that breaks a rule, a window among them, loses that connection and nothing else."""

    async def stall(peer: int, header: bytes, stream: PeerStream) -> None:
        await trio.sleep_forever()

    world = MemoryWorld(settings=TransportSettings(connection_window=2**22))
    world.nodes[2].on_stream("stall", stall)
    world.nodes[2].on_call("echo", echo)
    async with world.running():
        stranger = world.net.dial(9, 2)
        await stranger.send_all(frames.encode_hello(HELLO))
        await stranger.send_all(bad)
        with trio.fail_after(3):
            while await stranger.receive_some():
                pass
        assert world.nodes[2].counters.frames_bad == 1
        assert await world.nodes[1].call(2, "echo", b"", timeout_s=1) == b"1:"
