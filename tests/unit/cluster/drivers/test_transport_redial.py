"""Connections are replaced without breaking off what is under way on them."""

import pytest
import trio
from transport_world import MemoryWorld, wait_up

from cluster.base.errors import PeerTimeout
from cluster.drivers.transport_settings import Lane


async def test_a_call_under_way_ends_on_its_connection_and_new_ones_go_on_another() -> None:
    """Every node is dialled anew; the former connection is gone once the call has its answer."""
    world = MemoryWorld()
    one, two = world.nodes[1], world.nodes[2]
    may_answer, asked = trio.Event(), trio.Event()

    async def slow(peer: int, payload: bytes) -> bytes:
        asked.set()
        await may_answer.wait()
        return b"slow"

    async def quick(peer: int, payload: bytes) -> bytes:
        await trio.lowlevel.checkpoint()
        return b"quick"

    two.on_call("slow", slow)
    two.on_call("quick", quick)
    answers: list[bytes] = []
    async with world.running():
        await wait_up(one, 2)
        former = one._lanes[2, Lane.URGENT].link
        assert former is not None

        async def ask() -> None:
            answers.append(await one.call(2, "slow", b"", timeout_s=5))

        async with trio.open_nursery() as nursery:
            nursery.start_soon(ask)
            await asked.wait()
            one.redial()
            answers.append(await one.call(2, "quick", b"", timeout_s=5))
            assert one._lanes[2, Lane.URGENT].link is not former
            assert not former.has_ended
            may_answer.set()
        await former.wait_ended()
        assert answers == [b"quick", b"slow"]
        assert await one.call(2, "quick", b"", timeout_s=5) == b"quick"
        assert two.counters.calls_received == 3


async def test_a_former_connection_that_never_idles_is_given_up() -> None:
    """After the time of a drain."""
    world = MemoryWorld()
    one, two = world.nodes[1], world.nodes[2]
    asked, cancelled = trio.Event(), trio.Event()

    async def endless(peer: int, payload: bytes) -> bytes:
        asked.set()
        try:
            await trio.sleep_forever()
        finally:
            cancelled.set()
        raise AssertionError

    two.on_call("endless", endless)
    async with world.running(), trio.open_nursery() as nursery:
        await wait_up(one, 2)

        async def ask() -> None:
            with pytest.raises(PeerTimeout):
                await one.call(2, "endless", b"", timeout_s=60)

        nursery.start_soon(ask)
        await asked.wait()
        one.redial()
        await cancelled.wait()


async def test_a_node_that_cannot_be_reached_says_why_until_it_can() -> None:
    """What a daemon tells its operator."""
    world = MemoryWorld()
    one = world.nodes[1]
    async with world.running():
        await world.net.cut(1, 2)
        dialler = one._dialler(2, Lane.URGENT)
        assert dialler is not None
        await dialler.wait_settled()
        assert "2" in one.dial_failures[2]
        world.net.heal(1, 2)
        await wait_up(one, 2)
        assert one.dial_failures == {}
