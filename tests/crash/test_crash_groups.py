"""Power cuts over the logs of a cluster's groups: a store is exactly at its marks."""

from __future__ import annotations

import os
import random

import pytest

from chaos import group_powercut
from chaos.trace import NoCompiler

LONG_RUN = os.environ.get("RS3GW_TEST_LONG") == "1"
FACTOR = 10 if LONG_RUN else 1
SEED = random.randrange(1_000_000) if LONG_RUN else 1


@pytest.mark.timeout(300 * FACTOR)
def test_after_a_power_cut_the_groups_are_at_their_marks() -> None:
    """All groups are behind the same whole step, with its rows and bytes, and go on from there."""
    report = _run(group_powercut.Plan(seed=SEED, points=150 * FACTOR))
    assert report.violations == []
    assert report.positions > 10


@pytest.mark.timeout(300)
def test_groups_whose_bytes_were_never_synced_are_caught() -> None:
    """The control: as if bytes that ride in entries or were staged had not been synced."""
    report = _run(group_powercut.Plan(seed=SEED, points=60, ignore_data_syncs=".seg"))
    assert report.violations != []


def _run(plan: group_powercut.Plan) -> group_powercut.Report:
    try:
        return group_powercut.run(plan)
    except NoCompiler as error:
        pytest.skip(str(error))
