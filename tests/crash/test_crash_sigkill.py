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
    else sigkill.Plan(seed=1, kills=60)
)


@pytest.mark.timeout(1800)
def test_no_kill_loses_what_was_acknowledged() -> None:
    """SIGKILL of core or worker, under load and at the start: all acknowledged writes are there."""
    report = sigkill.run_and_show(PLAN)
    assert report.violations == []
    assert report.kills >= PLAN.kills
    assert report.kills // 5 < report.kills_of_workers < report.kills
    assert report.acknowledged > 10 * report.kills


@pytest.mark.timeout(600)
def test_no_kill_of_a_single_process_loses_anything() -> None:
    """The same of a node without workers."""
    report = sigkill.run_and_show(sigkill.Plan(seed=2, kills=20, workers=0))
    assert report.violations == []
    assert report.kills_of_workers == 0
    assert report.acknowledged > 10 * report.kills


@pytest.mark.timeout(600)
def test_no_kill_loses_what_is_encrypted() -> None:
    """The same of a node that encrypts all it stores: whole or not at all, and never as stored."""
    report = sigkill.run_and_show(sigkill.Plan(seed=3, kills=20, is_encrypting=True))
    assert report.violations == []
    assert report.acknowledged > 10 * report.kills
