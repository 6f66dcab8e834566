"""Random walks of nodes that write, fetch and drop while the layout changes."""

from __future__ import annotations

import pytest

from cluster.testing.layout_world import BUGS, LayoutWorld, TooFewCopies

SEEDS = 150
STEPS = 120
SEEDS_FOR_A_BUG = 400


def walk(seed: int, bug: str = "") -> LayoutWorld:
    """One walk, checked after every step. Raises TooFewCopies."""
    world = LayoutWorld(seed, bug=bug)
    for _ in range(STEPS):
        world.step()
        world.check()
    return world


def test_no_walk_leaves_a_blob_with_too_few_copies() -> None:
    """Over changes, retreats and lost nodes, with nodes that know older versions."""
    versions = blobs = 0
    for seed in range(SEEDS):
        world = walk(seed)
        versions += world.truth.current.version
        blobs += len(world.blobs)
    assert versions > 4 * SEEDS
    assert blobs > 10 * SEEDS


@pytest.mark.parametrize("bug", BUGS)
def test_each_rule_that_is_left_out_is_noticed(bug: str) -> None:
    """Within its seeds."""
    for seed in range(SEEDS_FOR_A_BUG):
        try:
            walk(seed, bug)
        except TooFewCopies:
            return
    pytest.fail(f"{bug} was not noticed")
