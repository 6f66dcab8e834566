"""Whole hosts under faults: a sample of seeds, determinism, and bugs planted on purpose."""

import subprocess
import sys
from random import Random

import pytest
import trio
from trio._core import _run as trio_run

from cluster.testing.host_bugs import BUGS
from cluster.testing.host_checks import CounterHistory, NotLinearizable, Operation
from cluster.testing.host_sim import main, run_seed
from cluster.testing.seeded_trio import run_seeded

SAMPLE = 20
BUDGETS = {
    "hard_state_dropped": 15,
    "result_before_apply": 0,
    "barrier_of_follower": 0,
    "new_number_for_a_retry": 0,
    "votes_lost_on_install": 1,
    "shown_after_a_change": 2,
    "shows_what_it_has_not": 0,
}
"""Some bugs, and a seed that finds each; `-m long` looks for all of them anew."""


def test_seeds_without_a_violation() -> None:
    """The first seeds, each a cluster under faults, are served correctly and come to rest."""
    for seed in range(SAMPLE):
        verdict = run_seed(seed)
        assert not verdict.failure, f"seed {seed}: {verdict.failure}"
        assert verdict.operations > 0


def test_one_seed_gives_one_history() -> None:
    """The same seed gives the same hash of events, here and in another process."""
    first = run_seed(7)
    assert run_seed(7).digest == first.digest
    assert run_seed(8).digest != first.digest
    command = ("from cluster.testing.host_sim import run_seed; print(run_seed(7).digest)",)
    for hash_seed in ("0", "77"):
        output = subprocess.run(
            [sys.executable, "-c", *command],
            env={"PYTHONHASHSEED": hash_seed},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        assert output.strip() == first.digest


def test_the_schedule_follows_the_seed() -> None:
    """Tasks that can all run take turns by the seed, and only with it does the order repeat."""

    async def race() -> list[int]:
        order: list[int] = []

        async def runner(number: int) -> None:
            for _ in range(5):
                await trio.lowlevel.checkpoint()
                order.append(number)

        async with trio.open_nursery() as nursery:
            for number in range(5):
                nursery.start_soon(runner, number)
        return order

    orders = [run_seeded(seed, race) for seed in (1, 1, 2, 3)]
    assert orders[0] == orders[1]
    assert len({tuple(order) for order in orders}) == 3


def test_trio_still_has_the_switches() -> None:
    """The names that the shim sets are trio's own: it would set them in vain otherwise."""
    assert isinstance(trio_run._ALLOW_DETERMINISTIC_SCHEDULING, bool)
    assert isinstance(trio_run._r, Random)


@pytest.mark.parametrize("bug", BUDGETS)
def test_a_planted_bug_is_found(bug: str) -> None:
    """The seed that once found the bug still does."""
    assert run_seed(BUDGETS[bug], bug=bug).failure


@pytest.mark.long
@pytest.mark.parametrize("bug", BUGS)
def test_every_planted_bug_is_found(bug: str) -> None:
    """Each bug is found within 400 seeds."""
    assert any(run_seed(seed, bug=bug).failure for seed in range(400))


def test_the_command_prints_how_to_replay(capsys: pytest.CaptureFixture[str]) -> None:
    """A seed that fails is named together with the command that runs it again."""
    assert main(["--seeds", "1", "--bug", "barrier_of_follower"]) == 1
    assert "--seeds 1 --start 0 --bug barrier_of_follower" in capsys.readouterr().out
    assert main(["--seeds", "1"]) == 0


def history(*operations: tuple[str, float, float | None, int | None]) -> CounterHistory:
    """A history of one counter."""
    return CounterHistory(
        [Operation(kind, began, ended, result) for kind, began, ended, result in operations]
    )


@pytest.mark.parametrize(
    ("operations", "final"),
    [
        ([("add", 0, 1, 1), ("add", 2, 3, 1)], 2),
        ([("add", 0, 1, 2), ("add", 2, 3, 1)], 2),
        ([("add", 0, 1, 1), ("read", 2, 3, 0)], 1),
        ([("read", 0, 1, 1), ("add", 2, 3, 1)], 1),
        ([("read", 0, 3, 1), ("read", 4, 5, 0), ("add", 0, None, None)], 1),
        ([("add", 0, 1, 1)], 0),
        ([("add", 0, 1, 1)], 2),
        ([("add", 0, 1, 2), ("add", 0, None, None)], 1),
        ([("add", 0, 1, 2), ("add", 5, None, None)], 2),
    ],
)
def test_what_cannot_be_is_told(
    operations: list[tuple[str, float, float | None, int | None]], final: int
) -> None:
    """Results twice, out of order, stale, from the future, lost, or doubled are all found."""
    with pytest.raises(NotLinearizable):
        history(*operations).check(final)


def test_what_can_be_is_accepted() -> None:
    """Overlapping additions in any order, unknown ones that came about or not, reads between."""
    operations = [
        ("add", 0.0, 5.0, 2),
        ("add", 1.0, 4.0, 1),
        ("read", 2.0, 3.0, 1),
        ("add", 2.0, None, None),
        ("add", 6.0, None, None),
        ("read", 7.0, 8.0, 3),
    ]
    history(*operations).check(3)
    history(*operations).check(4)
