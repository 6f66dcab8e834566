"""The checks find nothing in the cores as they are, and every bug that is planted."""

from __future__ import annotations

import pytest

from cluster.quorum.hints import HintBook
from cluster.quorum.writing import WriteQuorum
from cluster.testing.quorum_bugs import BUGS, Bug
from cluster.testing.quorum_checks import ReadRules, check_hints, check_reads, check_write

SEEDS = 1500


def test_writes_hold_their_rules() -> None:
    """Random streams to one or two sets of replicas break no rule."""
    for seed in range(SEEDS * 2):
        check_write(WriteQuorum, seed)


def test_reads_hold_their_rules() -> None:
    """Random delays, damage, breaks and missing blobs break no rule."""
    for seed in range(SEEDS // 3):
        check_reads(ReadRules(), seed)


def test_hints_hold_their_rules() -> None:
    """Random offers, deliveries, refusals and restarts break no rule."""
    for seed in range(SEEDS):
        check_hints(HintBook, seed)


@pytest.mark.parametrize("bug", BUGS, ids=lambda bug: bug.name)
def test_a_planted_bug_is_found(bug: Bug) -> None:
    """Within its budget of seeds the checks notice it."""
    assert any(finds(bug, seed) for seed in range(bug.seeds_max))


def finds(bug: Bug, seed: int) -> bool:
    """Whether a rule is broken in this seed."""
    try:
        bug.check(seed)
    except AssertionError:
        return True
    return False
