"""Nodes and clusters of this folder's tests: most start their own, since they stop or kill it."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from rs3gwd.testing.cluster_process import ClusterProcess
from rs3gwd.testing.node_process import NodeProcess


@pytest.fixture
def start_node(
    request: pytest.FixtureRequest, tmp_path: Path
) -> Iterator[Callable[..., NodeProcess | ClusterProcess]]:
    """Starts nodes and stops those that still run at the end; for `ONE_AND_THREE` also clusters."""
    started: list[NodeProcess | ClusterProcess] = []
    kind = ClusterProcess if getattr(request, "param", "one") == "three" else NodeProcess

    def start(**settings: Any) -> NodeProcess | ClusterProcess:
        data = settings.pop("data", tmp_path / "data")
        node = kind(data, **settings)
        started.append(node)
        node.start()
        return node

    yield start
    for node in started:
        node.end_if_running()


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ClusterProcess]:
    """Three nodes for the tests of a file that leave all of them running."""
    with ClusterProcess(tmp_path_factory.mktemp("cluster") / "nodes") as running:
        yield running


@pytest.fixture
def own_cluster(tmp_path: Path) -> Iterator[ClusterProcess]:
    """Three nodes for one test, which kills and stops some."""
    with ClusterProcess(tmp_path / "nodes") as running:
        yield running
