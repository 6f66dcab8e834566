"""Three daemons killed and stopped under clients: what these saw is one order of events."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import trio

from chaos.cluster import ClusterRun, Settings

WHOLE_KILLS = 100
"""Starting three daemons and electing leaders takes some three seconds each time."""


@pytest.mark.timeout(240)
def test_histories_through_falling_nodes_are_linearizable(tmp_path: Path) -> None:
    """15 seconds of SIGKILL and SIGSTOP: no history is impossible, all nodes agree at the end,
    and the evidence is kept."""
    settings = Settings(seed=7, folder=tmp_path, seconds=15, clients=6, every_s=3.0)
    report = trio.run(ClusterRun(settings).run)
    assert report.problems == []
    assert report.faults >= 3
    done = sum(count for name, count in report.outcomes.items() if name.endswith("done"))
    assert done > 300
    verdict = json.loads((tmp_path / "verdict.json").read_text())
    assert verdict["report"]["operations"] == report.operations
    assert len(list(tmp_path.glob("key-*.ndjson"))) == settings.keys


@pytest.mark.long
@pytest.mark.timeout(3600)
def test_a_hundred_kills_of_the_whole_cluster_lose_nothing(tmp_path: Path) -> None:
    """All three daemons fall at one moment, a hundred times: all that was acknowledged is there."""
    settings = Settings(
        seed=9,
        folder=tmp_path,
        seconds=WHOLE_KILLS * 8.0,
        clients=6,
        faults=("kill_all",),
        every_s=2.0,
    )
    report = trio.run(ClusterRun(settings).run)
    assert report.problems == []
    assert report.faults >= WHOLE_KILLS
    done = sum(count for name, count in report.outcomes.items() if name.endswith("done"))
    assert done > 20 * report.faults


def test_a_write_that_is_taken_back_is_found(tmp_path: Path) -> None:
    """The control: one acknowledged value put out of a true history makes it impossible."""
    settings = Settings(seed=8, folder=tmp_path, seconds=4, clients=6, keys=2, faults=())
    run = ClusterRun(settings)
    assert trio.run(run.run).problems == []
    for history in run.histories.values():
        seen = {each.value for each in history if each.act == 0}
        lost = next(each for each in history if each.act != 0 and each.value in seen and each.value)
        history.remove(lost)
    assert len(run._judge()) == 2
