"""A million operations of simulated groups under faults are linearizable; planted bugs are not."""

from __future__ import annotations

import pytest

from chaos.register_seeds import Tally, judge_seed, main
from cluster.testing.raft_bugs import BUGS, NO_BUG, Bug

OPERATIONS = 1_000_000
OPERATIONS_LONG = 20_000_000
SLICES = 20

SEEN_BY_THE_JUDGE = {"read_without_round": 19, "no_sessions": 1, "read_before_apply": 0}
"""Bugs that break no invariant of this simulation: only what clients saw tells. With a seed."""


def judge_many(start: int, operations: int, bug: Bug = NO_BUG) -> Tally:
    """Seeds from `start` on, until they have given so many operations."""
    total = Tally()
    while total.operations < operations:
        total = total.plus(judge_seed(start + total.seeds, bug))
    return total


@pytest.mark.parametrize("number", range(SLICES))
def test_every_history_of_a_crowd_is_linearizable(number: int) -> None:
    """Fifty thousand operations of twenty times that: none impossible, none undecided."""
    total = judge_many(100 * number, OPERATIONS // SLICES)
    assert total.failures == ()
    assert total.undecided == 0
    assert total.operations >= OPERATIONS // SLICES


@pytest.mark.parametrize("bug", SEEN_BY_THE_JUDGE)
def test_the_judge_refuses_what_a_planted_bug_did(bug: str) -> None:
    """The judge is not blind: the seed that once showed the bug still does, as a history."""
    failures = judge_seed(SEEN_BY_THE_JUDGE[bug], BUGS[bug]).failures
    assert failures
    assert "is not linearizable" in failures[-1]


def test_a_seed_of_a_crowd_is_one_history() -> None:
    """The same seed gives the same tally, another seed another."""
    assert judge_seed(3) == judge_seed(3)
    assert judge_seed(3) != judge_seed(4)


def test_the_command_counts_and_refuses(capsys: pytest.CaptureFixture[str]) -> None:
    """Exit status 0 with the counts when all is well, 1 with the history when not."""
    assert main(["--operations", "1000"]) == 0
    assert "0 violations, 0 undecided" in capsys.readouterr().out
    assert main(["--operations", "1000", "--start", "1", "--bug", "no_sessions"]) == 1
    assert "is not linearizable" in capsys.readouterr().out


@pytest.mark.long
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("number", range(1, OPERATIONS_LONG // OPERATIONS + 1))
def test_twenty_million_operations_are_linearizable(number: int) -> None:
    """A million operations more."""
    total = judge_many(10_000 * number, OPERATIONS)
    assert total.failures == ()
    assert total.undecided == 0
