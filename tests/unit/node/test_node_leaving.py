"""Whole nodes that are stopped on purpose, on a clock that jumps."""

from __future__ import annotations

from pathlib import Path

import pytest
import trio
from node_scenes import play

from rs3gwd.engine.groups import SYSTEM_GROUP
from rs3gwd.testing.cluster_world import GROUPS, ClusterWorld, get, make_bucket, put

PAUSE_S_MAX = 0.2
"""An election takes 0.7 s at least; a leadership that is handed over some messages of 2 ms."""


async def pauses_of_a_stop(world: ClusterWorld, *, hands_over: bool) -> float:
    """The longest that a write or read through a node that stays took while a leader stopped."""
    stays = world.nodes[1]
    await make_bucket(stays.store)
    leader = world.nodes[2]
    for group in range(SYSTEM_GROUP, GROUPS + 1):
        await leader.cluster.host.transfer_leadership(group, 2)
    done = trio.Event()
    longest = 0.0

    async def work(number: int) -> None:
        nonlocal longest
        turn = 0
        while not done.is_set():
            turn += 1
            key = b"%d-%d" % (number, turn)
            begun = trio.current_time()
            await put(stays.store, key, key)
            assert await get(stays.store, key) == key
            longest = max(longest, trio.current_time() - begun)

    async with trio.open_nursery() as nursery:
        for number in range(8):
            nursery.start_soon(work, number)
        await trio.sleep(0.5)
        if hands_over:
            assert await leader.cluster.host.hand_over(3.0) == ()
        await leader.fall()
        await trio.sleep(3.0)
        done.set()
    return longest


@pytest.mark.parametrize("seed", [1, 2])
def test_a_node_that_hands_over_is_not_missed(tmp_path: Path, seed: int) -> None:
    """A node that leads every group stops; no write or read through another node waits as for an
    election."""

    async def scene(world: ClusterWorld) -> None:
        assert await pauses_of_a_stop(world, hands_over=True) < PAUSE_S_MAX

    play(tmp_path, scene, seed=seed)


def test_a_node_that_just_falls_is_missed(tmp_path: Path) -> None:
    """The same without handing over takes an election: so the bound above means something."""

    async def scene(world: ClusterWorld) -> None:
        assert await pauses_of_a_stop(world, hands_over=False) > PAUSE_S_MAX

    play(tmp_path, scene, seed=1)
