"""Nodes of this folder's tests: each test starts its own, since it stops, kills or starves it."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from rs3gwd.testing.node_process import NodeProcess


@pytest.fixture
def start_node(tmp_path: Path) -> Iterator[Callable[..., NodeProcess]]:
    """Starts nodes and stops those that still run at the end."""
    started: list[NodeProcess] = []

    def start(**settings: Any) -> NodeProcess:
        data = settings.pop("data", tmp_path / "data")
        node = NodeProcess(data, **settings)
        started.append(node)
        node.start()
        return node

    yield start
    for node in started:
        node.end_if_running()
