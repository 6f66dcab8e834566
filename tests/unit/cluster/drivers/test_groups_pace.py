"""A node whose messages are late leads nothing, and leads again when they are not."""

from __future__ import annotations

from dataclasses import replace

import pytest
import trio

from cluster.base.errors import BadFrame
from cluster.drivers.groups_pace import FRESH_S, SAMPLES, PaceBook
from cluster.drivers.groups_settings import Leaders
from cluster.testing.host_world import SETTINGS, HostWorld, SimNode, hosts
from cluster.testing.memory_machine import add
from cluster.testing.seeded_trio import run_seeded

LATE_S = 0.05
WITH_PACE = replace(SETTINGS, pace_interval_s=0.2)


def book_of(trips: dict[int, float], claims: dict[int, float]) -> PaceBook:
    """A book with as many of these round trips as it keeps, of the moment 0."""
    book = PaceBook()
    tell(book, trips, claims, 0.0)
    return book


def tell(book: PaceBook, trips: dict[int, float], claims: dict[int, float], now_s: float) -> None:
    """Fills the book anew."""
    for node, seconds in trips.items():
        for _ in range(SAMPLES):
            book.note_trip(node, seconds, now_s)
    for node, pace_s in claims.items():
        book.note_claim(node, pace_s)


def test_a_pace_is_the_round_trip_of_a_majority() -> None:
    """Of three nodes the nearer of two others, of five the second of four, and none where too few
    answer."""
    book = book_of({2: 0.1, 3: 0.001, 4: 0.003, 5: 0.2}, {})
    assert book.pace_s([2, 3], 0.0) == 0.001
    assert book.pace_s([2, 3, 4, 5], 0.0) == 0.003
    assert book.pace_s([6, 7], 0.0) is None
    assert book.pace_s([], 0.0) is None
    assert book.pace_s([2, 3], FRESH_S + 0.1) is None


@pytest.mark.parametrize(
    ("pace", "usual", "is_slow"),
    [(0.1, 0.001, True), (0.1, 0.05, False), (0.015, 0.001, False), (0.03, 0.0, False)],
)
def test_slow_is_what_is_much_slower_than_the_others(
    pace: float, usual: float, is_slow: bool
) -> None:
    """By factor and by time; where the others know nothing of themselves nobody is slow."""
    book = book_of({2: pace, 3: pace}, {2: usual, 3: usual})
    assert book.judge([2, 3], 0.0) is is_slow


def test_a_busy_moment_is_no_slow_line_and_one_good_answer_no_mended_one() -> None:
    """The best round trip counts on the way in, the worst on the way out."""
    usual = {2: 0.001, 3: 0.001}
    book = book_of({2: 0.1, 3: 0.1}, usual)
    book.note_trip(2, 0.001, 0.0)
    assert not book.judge([2, 3], 0.0)
    tell(book, {2: 0.1, 3: 0.1}, usual, 1.0)
    assert book.judge([2, 3], 1.0)
    book.note_trip(2, 0.001, 1.2)
    assert book.judge([2, 3], 1.2)
    tell(book, {2: 0.001}, usual, 2.0)
    assert not book.judge([2, 3], 2.0)


def test_two_slow_nodes_of_three_leave_things_as_they_are() -> None:
    """Then the third has no near majority either."""
    book = book_of({2: 0.1, 3: 0.2}, {2: 0.1, 3: 0.1})
    assert not book.judge([2, 3], 0.0)


def test_what_makes_no_sense_is_refused() -> None:
    """By length and by version; the host counts it."""

    async def scene() -> None:
        async with hosts(seed=1, settings=WITH_PACE) as world:
            pace = world.nodes[1].host._live().pace
            for payload in (b"", bytes(17), bytes(18), bytes(19)):
                with pytest.raises(BadFrame):
                    pace.on_message(2, payload)

    run_seeded(1, scene)


async def leads_all(world: HostWorld) -> SimNode:
    """Node 1, once it leads every group."""
    node = world.nodes[1]
    for group in world.groups:
        await node.host.propose(group, add("n"), 10.0)
        await node.host.transfer_leadership(group, 1)
    return node


def test_a_late_node_gives_its_groups_away_and_gets_some_again() -> None:
    """Within two seconds it leads none, and none comes to it; reads through another node are as
    fast then as before. When its line is well again leaders balance."""

    async def scene() -> None:
        async with hosts(seed=6, settings=WITH_PACE) as world:
            late = await leads_all(world)
            world.network.late_s[1] = LATE_S
            await trio.sleep(2.0)
            for _ in range(50):
                assert not any(late.host.leads(group) for group in world.groups)
                begun = trio.current_time()
                await world.nodes[2].host.read_barrier(world.groups, 5.0)
                assert trio.current_time() - begun < LATE_S
                await trio.sleep(0.1)
            world.network.late_s.clear()
            with trio.fail_after(30.0):
                while not any(late.host.leads(group) for group in world.groups):  # noqa: ASYNC110
                    await trio.sleep(0.1)
            await world.wait_equal()

    run_seeded(6, scene)


def test_without_it_a_late_leader_makes_all_reads_late() -> None:
    """The control: that is what it is for."""

    async def scene() -> None:
        async with hosts(seed=6, settings=replace(SETTINGS, leaders=Leaders.ANYWHERE)) as world:
            await leads_all(world)
            world.network.late_s[1] = LATE_S
            await trio.sleep(2.0)
            begun = trio.current_time()
            await world.nodes[2].host.read_barrier(world.groups, 5.0)
            assert trio.current_time() - begun > 2 * LATE_S

    run_seeded(6, scene)
