"""Nodes of this folder's tests: each test starts its own, since it stops, kills or starves it."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import boto3
import pytest
from botocore.config import Config

from rs3gwd.testing.node_process import ACCESS_KEY, REGION, SECRET_KEY, NodeProcess


def s3_of(node: NodeProcess, access_key: str = ACCESS_KEY, secret_key: str = SECRET_KEY) -> Any:
    """A boto3 client that tries each request once."""
    return boto3.client(
        "s3",
        endpoint_url=node.url,
        aws_access_key_id=access_key,
        aws_secret_access_key=secret_key,
        region_name=REGION,
        config=Config(s3={"addressing_style": "path"}, retries={"total_max_attempts": 1}),
    )


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
