"""Whole nodes from one seed, under faults: a sample, determinism, and bugs planted on purpose."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from chaos.node_bugs import BUGS
from chaos.node_seeds import FAULTS, NodeRun, main, make_plan, run_seed

SEEDS = 100
SEEDS_LONG = 2_000
BUG_SEEDS_MAX = 200

BUG_SEEDS_SAMPLE = 30
SAMPLE = (
    "condition_checked_before",
    "last_writer_by_clock",
    "listing_misses_a_group",
    "listing_without_proof",
    "read_proves_system_only",
    "read_without_proof",
)
"""Bugs that a few seeds find, whichever these are: every change of a node shifts what a seed does.
`-m long` looks for all of them."""


def is_found(bug: str, seeds: int) -> bool:
    """Whether one of the first seeds notices a planted bug."""
    return any(run_seed(seed, bug=bug).failure for seed in range(seeds))


@pytest.mark.parametrize("start", range(0, SEEDS, 5))
def test_whole_nodes_are_linearizable_under_faults(start: int) -> None:
    """Five seeds: clients through all nodes while nodes fall and links break; all end equal."""
    for seed in range(start, start + 5):
        verdict = run_seed(seed)
        assert not verdict.failure, f"seed {seed}: {verdict.failure}"
        assert verdict.operations > 20
        assert verdict.falls_of_all > 0


def test_one_seed_of_whole_nodes_is_one_run(tmp_path: Path) -> None:
    """The hash of all events and rows is the same twice, here and in another process."""
    first = run_seed(5)
    assert run_seed(5).digest == first.digest
    assert run_seed(6).digest != first.digest
    command = "from chaos.node_seeds import run_seed; print(run_seed(5).digest)"
    output = subprocess.run(
        [sys.executable, "-c", command],
        env={"PYTHONHASHSEED": "77", "PYTHONPATH": str(Path(__file__).parents[3])},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    assert output.splitlines()[-1] == first.digest


def test_every_fault_of_whole_nodes_is_in_the_first_seeds() -> None:
    """No kind of fault is missing in what CI runs, and each has a method that makes it."""
    drawn = [set(make_plan(seed).faults) for seed in range(SEEDS)]
    for fault in FAULTS:
        assert sum(fault in each for each in drawn) > SEEDS // 4
        assert callable(getattr(NodeRun, fault))


@pytest.mark.parametrize("bug", SAMPLE)
def test_a_bug_planted_into_whole_nodes_is_found(bug: str) -> None:
    """A few seeds find it."""
    assert is_found(bug, BUG_SEEDS_SAMPLE)


def test_the_command_of_whole_nodes_names_the_seed(capsys: pytest.CaptureFixture[str]) -> None:
    """A seed that fails is named together with the command that runs it again."""
    assert main(["--seeds", "6", "--bug", "read_without_proof"]) == 1
    printed = capsys.readouterr().out
    assert "is not linearizable" in printed
    assert "--seeds 1 --bug read_without_proof --trace" in printed


@pytest.mark.long
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("bug", sorted(BUGS))
def test_every_bug_planted_into_whole_nodes_is_found(bug: str) -> None:
    """Each within its budget of seeds."""
    assert is_found(bug, BUG_SEEDS_MAX)


@pytest.mark.long
@pytest.mark.timeout(7200)
@pytest.mark.parametrize("start", range(SEEDS, SEEDS_LONG, 100))
def test_whole_nodes_are_linearizable_for_a_night(start: int) -> None:
    """A hundred seeds more."""
    for seed in range(start, min(start + 100, SEEDS_LONG)):
        verdict = run_seed(seed)
        assert not verdict.failure, f"seed {seed}: {verdict.failure}"
