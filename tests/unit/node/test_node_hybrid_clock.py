"""The time of a node of a cluster: whom it believes, and how far it runs ahead."""

import pytest

from cluster.base.errors import PeerUnreachable
from rs3gwd.node.hybrid_clock import AHEAD_MS_MAX, HybridClock
from rs3gwd.testing.clock import ManualClock

YEAR_MS = 365 * 86_400_000
NOW_MS = 1_700_000_000_000


class _World:
    """Some nodes, each with a clock, that can call each other unless they are down."""

    def __init__(self, *ahead_ms: int) -> None:
        count = len(ahead_ms)
        self.manual = {n: ManualClock(NOW_MS + ahead_ms[n - 1]) for n in range(1, count + 1)}
        self.down: set[int] = set()
        members = tuple(self.manual)
        self.clocks = {
            node: HybridClock(clock, node=node, members=lambda: members, peers=self)  # type: ignore[arg-type]
            for node, clock in self.manual.items()
        }

    async def call(self, to: int, method: str, payload: bytes, *, timeout_s: float) -> bytes:
        """As `Peers.call`."""
        if to in self.down:
            raise PeerUnreachable("down")
        return await self.clocks[to]._answer(0, payload)

    async def ask(self) -> None:
        """Each node asks the others."""
        for node, clock in self.clocks.items():
            if node not in self.down:
                await clock.ask()

    def jump(self, milliseconds: int) -> None:
        """Somebody sets the clock of node 1."""
        self.manual[1].set_wall(self.manual[1].now_ms() + milliseconds)

    def now(self, node: int) -> int:
        """How far a node's time is from the true one."""
        return self.clocks[node].now_ms() - NOW_MS


async def test_a_clock_that_is_ahead_is_held_back() -> None:
    """To the bound beyond what a majority has reached; the others are as they are."""
    world = _World(YEAR_MS, 0, 3)
    await world.ask()
    assert world.now(1) == 3 + AHEAD_MS_MAX
    assert (world.now(2), world.now(3)) == (0, 3)


async def test_a_clock_within_the_bound_or_behind_is_left_alone() -> None:
    """Nobody's time is made later than its own."""
    world = _World(AHEAD_MS_MAX - 1, 0, -YEAR_MS)
    await world.ask()
    assert [world.now(node) for node in (1, 2, 3)] == [AHEAD_MS_MAX - 1, 0, -YEAR_MS]


async def test_a_jump_is_held_back_before_anybody_is_asked_again() -> None:
    """And time goes on as the monotonic clock does."""
    world = _World(0, 0, 0)
    await world.ask()
    world.jump(YEAR_MS)
    assert world.now(1) == AHEAD_MS_MAX
    world.manual[1].advance(500)
    assert world.now(1) == AHEAD_MS_MAX + 500
    world.jump(-YEAR_MS)
    assert world.now(1) == 500


async def test_a_node_that_is_cut_off_keeps_to_what_it_heard() -> None:
    """The last answers of the others hold."""
    world = _World(0, 0, 0)
    await world.ask()
    world.down = {2, 3}
    world.jump(YEAR_MS)
    await world.clocks[1].ask()
    assert world.now(1) == AHEAD_MS_MAX


async def test_a_majority_that_agrees_is_believed() -> None:
    """Two of three that went ahead are a quorum; one of five with one other is none."""
    world = _World(YEAR_MS, YEAR_MS + 1, 0)
    await world.ask()
    assert world.now(1) == YEAR_MS
    five = _World(YEAR_MS, YEAR_MS, 0, 1, 2)
    await five.ask()
    assert five.now(1) == 2 + AHEAD_MS_MAX


@pytest.mark.parametrize(("down", "is_proved"), [({2}, True), ({2, 3}, False)])
async def test_time_is_proved_by_a_majority(down: set[int], is_proved: bool) -> None:
    """With one of three away, and not alone."""
    world = _World(YEAR_MS, 0, 0)
    world.down = down
    await world.clocks[1].ask()
    assert world.clocks[1].is_proved is is_proved
    assert world.now(1) == (AHEAD_MS_MAX if is_proved else YEAR_MS)


async def test_a_node_alone_is_its_own_majority() -> None:
    """Its clock is the cluster's."""
    world = _World(YEAR_MS)
    await world.ask()
    world.jump(-YEAR_MS)
    assert world.now(1) == 0
