"""Random walks of nodes that change their root, fall away and are revoked."""

from __future__ import annotations

import pytest

from cluster.testing.authority_world import BUGS, AuthorityWorld, RuleBroken

SEEDS = 100
STEPS = 300
SEEDS_FOR_A_BUG = 400


def walk(seed: int, bug: str = "") -> AuthorityWorld:
    """One walk, checked after every step, and its end. Raises RuleBroken."""
    world = AuthorityWorld(seed, bug=bug)
    for _ in range(STEPS):
        world.step()
        world.check()
    world.heal()
    return world


def test_no_walk_parts_nodes_that_are_let_in() -> None:
    """Over changes of the root, crashes, new nodes and revocations; every change ends."""
    changes = ended = 0
    for seed in range(SEEDS):
        world = walk(seed)
        changes += world.truth.change
        ended += world.changes_ended
    assert changes > SEEDS
    assert ended > 0.9 * SEEDS


@pytest.mark.parametrize("bug", BUGS)
def test_each_rule_that_is_left_out_is_noticed(bug: str) -> None:
    """Within its seeds."""
    for seed in range(SEEDS_FOR_A_BUG):
        try:
            walk(seed, bug)
        except RuleBroken:
            return
    pytest.fail(f"{bug} was not noticed")
