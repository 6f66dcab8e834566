"""A node that is killed under load, again and again, has all that it acknowledged."""

from __future__ import annotations

import os
import random

import pytest

from chaos import sigkill

LONG_RUN = os.environ.get("RS3GW_TEST_LONG") == "1"
PLAN = (
    sigkill.Plan(seed=random.randrange(1_000_000), kills=1000)
    if LONG_RUN
    else sigkill.Plan(seed=1, kills=200)
)


@pytest.mark.timeout(1800)
def test_no_kill_loses_what_was_acknowledged() -> None:
    """SIGKILL under mixed load and at the start: all acknowledged writes are there, unchanged."""
    report = sigkill.run_and_show(PLAN)
    assert report.violations == []
    assert report.kills >= PLAN.kills
    assert report.acknowledged > 10 * report.kills
