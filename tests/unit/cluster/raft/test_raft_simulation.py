"""Groups under faults keep every promise; planted bugs are found; small scopes hold no bug."""

import pytest

from cluster.testing.raft_bugs import BUGS
from cluster.testing.raft_run import run_seed
from cluster.testing.raft_search import Found, Scope, search
from cluster.testing.raft_sim import main

SEEDS = 10_000
SEEDS_LONG = 200_000

SAMPLE = (
    "ack_before_sync",
    "always_truncates",
    "auto_leave_forgotten",
    "empty_disk",
    "heartbeat_commit_unbounded",
    "leader_counts_unsynced",
    "leads_before_own_vote",
    "learner_counted",
    "lease_for_ever",
    "members_lost_on_snapshot",
    "no_sessions",
    "old_term_commit_by_count",
    "pre_vote_raises_term",
    "read_before_apply",
    "read_before_own_commit",
    "read_without_round",
    "refusal_taken_for_ack",
    "snapshot_never_given_up",
    "snapshot_without_members",
    "term_not_saved",
    "transfer_to_lagging",
    "vote_before_sync",
    "vote_not_saved",
    "vote_of_one_half",
    "vote_without_log_check",
    "votes_twice",
)
"""Bugs that a few dozen seeds find."""

REGRESSIONS = (
    *(50, 225, 281, 350, 372, 522, 1085, 1382, 10508, 11531, 11647, 11653),
    *(26482, 65403, 123041, 29018, 87648, 99633, 143904, 153787, 180151, 190625, 213413),
)
"""Seeds that failed once: late leaders, healing that nobody fed, a term led twice,
members changed upon a snapshot, a refusal before there was any term, a node with a rotted log and a
higher term than the leader's."""


def _first_found(name: str, seeds: int) -> int | None:
    return next((seed for seed in range(seeds) if run_seed(seed, BUGS[name]).violation), None)


@pytest.mark.parametrize("start", range(0, SEEDS, 50))
def test_no_seed_breaks_an_invariant(start):
    """Safety after every step, and progress after healing, in fifty seeds."""
    for seed in range(start, start + 50):
        verdict = run_seed(seed)
        assert not verdict.violation, f"seed {seed}: {verdict.violation}"


@pytest.mark.parametrize("seed", REGRESSIONS)
def test_a_seed_that_failed_once_stays_mended(seed):
    """Each found a fault in the core or in what is asked of its driver."""
    assert run_seed(seed).violation == ""


def test_the_same_seed_runs_the_same_way():
    """Two runs of a seed have the same trace, line by line."""
    assert run_seed(7, trace=True) == run_seed(7, trace=True)


@pytest.mark.parametrize("name", SAMPLE)
def test_a_planted_bug_is_found(name):
    """The simulation notices it within its budget of seeds."""
    assert _first_found(name, BUGS[name].seeds_max) is not None


def test_the_command_names_the_seed_that_fails(capsys):
    """A violation is printed with its trace and the command that replays it; exit status 1."""
    assert main(["--seeds", "50", "--bug", "leader_counts_unsynced"]) == 1
    printed = capsys.readouterr().out
    seed = _first_found("leader_counts_unsynced", 50)
    assert "quorum log" in printed
    assert f"--start {seed} --seeds 1 --bug leader_counts_unsynced" in printed
    assert main(["--seeds", "2"]) == 0


def test_a_small_scope_holds_no_bug():
    """Every order of events of three nodes, two messages on the way: 502,317 states, all seen."""
    found = search(Scope(terms_max=2, entries_max=3, in_flight_max=2), states_max=1_000_000)
    assert found == Found(502_317, complete=True)


def test_the_scope_of_800_000_states_holds_no_bug():
    """Three terms, three messages on the way and a crash, to 800,000 states."""
    found = search(Scope(terms_max=3, entries_max=4, crashes_max=1), states_max=800_000)
    assert found == Found(800_000, complete=False)


@pytest.mark.parametrize(
    ("name", "broken"),
    [
        ("votes_twice", "election safety"),
        ("vote_not_saved", "election safety"),
        ("term_not_saved", "election safety"),
        ("vote_without_log_check", "leader completeness"),
    ],
)
def test_the_search_finds_a_planted_bug(name, broken):
    """The search is not blind: it ends at the bug, with the shortest path that leads there."""
    found = search(
        Scope(terms_max=3, entries_max=4, crashes_max=1), states_max=200_000, bug=BUGS[name]
    )
    assert broken in found.violation
    assert 6 <= len(found.path) <= 8


@pytest.mark.long
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("name", sorted(BUGS))
def test_every_planted_bug_is_found(name):
    """All of them, each within its budget of seeds."""
    assert _first_found(name, BUGS[name].seeds_max) is not None


@pytest.mark.long
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("start", range(SEEDS, SEEDS_LONG, 1000))
def test_no_seed_of_a_night_breaks_an_invariant(start):
    """A thousand seeds more."""
    for seed in range(start, start + 1000):
        assert run_seed(seed).violation == "", f"seed {seed}"
