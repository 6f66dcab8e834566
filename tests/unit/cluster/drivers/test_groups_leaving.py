"""Hosts that are about to stop hand over what they lead, on a clock that jumps."""

import trio

from cluster.testing.host_world import HostWorld, SimNode, hosts
from cluster.testing.memory_machine import add
from cluster.testing.seeded_trio import run_seeded

PAUSE_S_MAX = 0.1
"""What a transfer may hold up a write: two round trips and three syncs, of 2 ms at most each."""


async def one_leads_all(world: HostWorld) -> SimNode:
    """Node 1, once it leads every group."""
    node = world.nodes[1]
    for group in world.groups:
        await node.host.propose(group, add("n"), 10.0)
        await node.host.transfer_leadership(group, 1)
    return node


async def write_until(node: SimNode, group: int, done: trio.Event) -> float:
    """Writes through a node until it is done; the longest that one write took."""
    longest = 0.0
    while not done.is_set():
        begun = trio.current_time()
        await node.host.propose(group, add("n"), 10.0)
        longest = max(longest, trio.current_time() - begun)
    return longest


def test_a_host_that_leaves_holds_up_no_write_for_long() -> None:
    """Every group is led by another one then; who writes meanwhile, through the host that leaves or
    through another, waits some milliseconds and not for an election."""
    pauses: list[float] = []

    async def scene() -> None:
        async with hosts(seed=3) as world:
            leaving = await one_leads_all(world)
            done = trio.Event()

            async def write(node: SimNode, group: int) -> None:
                pauses.append(await write_until(node, group, done))

            async with trio.open_nursery() as nursery:
                for group in world.groups:
                    nursery.start_soon(write, world.nodes[1], group)
                    nursery.start_soon(write, world.nodes[2], group)
                await trio.sleep(0.2)
                assert await leaving.host.hand_over(2.0) == ()
                leaders = {await leaving.host.wait_leader(group) for group in world.groups}
                assert leaders == {2, 3}
                await trio.sleep(0.2)
                done.set()
            await world.wait_equal()

    run_seeded(3, scene)
    assert 0.0 < max(pauses) < PAUSE_S_MAX


def test_nobody_gives_a_group_to_a_host_that_leaves() -> None:
    """Leaders that balance pass it over, and what is given to it all the same it gives away."""

    async def scene() -> None:
        async with hosts(seed=4) as world:
            leaving = await one_leads_all(world)
            assert await leaving.host.hand_over(2.0) == ()
            for _ in range(100):
                await trio.sleep(0.1)
                assert not any(leaving.host.leads(group) for group in world.groups)
            others = [world.nodes[node].host for node in (2, 3)]
            assert [host.statistics().leaderships_given_away for host in others] == [0, 0]
            await world.nodes[2].host.transfer_leadership(0, 1)
            await trio.sleep(3.0)
            assert not leaving.host.leads(0)

    run_seeded(4, scene)


def test_groups_come_back_to_a_host_that_was_started_again() -> None:
    """It leaves no more then, and leaders balance again."""

    async def scene() -> None:
        async with hosts(seed=5) as world:
            leaving = await one_leads_all(world)
            assert await leaving.host.hand_over(2.0) == ()
            await leaving.crash()
            world.start(1)
            await world.wait_started(1)
            await trio.sleep(30.0)
            assert any(world.nodes[1].host.leads(group) for group in world.groups)

    run_seeded(5, scene)


def test_a_host_alone_keeps_what_it_leads() -> None:
    """With nobody to take over it does not wait for long, and the groups are named."""

    async def scene() -> None:
        async with hosts(seed=6) as world:
            leaving = await one_leads_all(world)
            for other in (2, 3):
                await world.nodes[other].crash()
            begun = trio.current_time()
            assert await leaving.host.hand_over(10.0) == tuple(world.groups)
            assert trio.current_time() - begun < 2.0

    run_seeded(6, scene)


def test_hosts_that_leave_together_do_not_wait_for_each_other() -> None:
    """A whole cluster is stopped: nobody is there who stays, and all are done soon."""

    async def scene() -> None:
        async with hosts(seed=7) as world:
            await one_leads_all(world)
            begun = trio.current_time()
            async with trio.open_nursery() as nursery:
                for node in world.nodes.values():
                    nursery.start_soon(node.host.hand_over, 10.0)
            assert trio.current_time() - begun < 1.0
            assert await world.nodes[1].host.propose(0, add("n"), 10.0)

    run_seeded(7, scene)
