"""Three daemons under faults and clients: what these saw is one order of events."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from xml.etree import ElementTree

import pytest
import trio

from chaos.cluster import ClusterRun, Settings
from chaos.histories import Act
from chaos.network import why_not

NO_NETWORK = why_not()
HAS_COMPILER = shutil.which("gcc") is not None or shutil.which("cc") is not None


@pytest.mark.timeout(240)
@pytest.mark.parametrize(
    ("scenario", "seed"),
    [
        ("processes", 7),
        pytest.param(
            "partitions", 3, marks=pytest.mark.skipif(bool(NO_NETWORK), reason=NO_NETWORK)
        ),
        pytest.param("one-way", 2, marks=pytest.mark.skipif(bool(NO_NETWORK), reason=NO_NETWORK)),
        pytest.param(
            "power-cut", 5, marks=pytest.mark.skipif(not HAS_COMPILER, reason="no C compiler")
        ),
        pytest.param("no-room", 7, marks=pytest.mark.long),
        pytest.param("everything", 11, marks=pytest.mark.long),
    ],
)
def test_histories_under_faults_are_linearizable(tmp_path: Path, scenario: str, seed: int) -> None:
    """15 seconds of a scenario: no history is impossible, all rows are the same on all nodes at
    the end, and the evidence is kept."""
    settings = Settings(
        seed=seed, folder=tmp_path, scenario=scenario, seconds=15, clients=6, every_s=3.0
    )
    report = trio.run(ClusterRun(settings).run)
    assert report.problems == []
    assert report.faults >= 2
    done = sum(count for name, count in report.outcomes.items() if name.endswith("done"))
    assert done > 300
    verdict = json.loads((tmp_path / "verdict.json").read_text())
    assert verdict["report"]["operations"] == report.operations
    assert len(verdict["faults"]) == report.faults
    assert len(list(tmp_path.glob("key-*.ndjson"))) == settings.keys
    assert len(list(tmp_path.glob("nodes/*.log"))) == settings.nodes
    assert ElementTree.parse(tmp_path / "run.svg").getroot().tag.endswith("svg")


def test_a_write_that_is_taken_back_is_found(tmp_path: Path) -> None:
    """The control: one acknowledged value put out of a true history makes it impossible."""
    settings = Settings(seed=8, folder=tmp_path, scenario="calm", seconds=4, clients=6, keys=2)
    run = ClusterRun(settings)
    assert trio.run(run.run).problems == []
    for history in run.histories.values():
        seen = {each.value for each in history if each.act is Act.READ}
        lost = next(
            each
            for each in history
            if each.act is not Act.READ and each.value in seen and each.value
        )
        history.remove(lost)
    assert len(run.judge()) == 2


@pytest.mark.long
@pytest.mark.timeout(400)
@pytest.mark.skipif(not HAS_COMPILER, reason="no C compiler")
def test_nodes_that_forget_the_syncs_of_their_logs_are_caught(tmp_path: Path) -> None:
    """The control of power cuts: logs are shorter then than a sync allows, and are refused."""
    settings = Settings(
        seed=11, folder=tmp_path, scenario="power-cut-all", seconds=60, forget=".wal"
    )
    assert trio.run(ClusterRun(settings).run).problems


def test_a_folder_is_used_once(tmp_path: Path) -> None:
    """The nodes of an earlier run would bring values that nobody wrote."""
    (tmp_path / "nodes").mkdir()
    with pytest.raises(ValueError, match="earlier run"):
        ClusterRun(Settings(seed=1, folder=tmp_path, scenario="calm"))
