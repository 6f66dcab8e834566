"""boto3's client for a node of this folder's tests, and the parameter that makes three of one."""

from typing import Any

import boto3
import pytest
from botocore.config import Config

from rs3gwd.testing.cluster_process import ClusterProcess
from rs3gwd.testing.node_process import ACCESS_KEY, REGION, SECRET_KEY, NodeProcess

ONE_AND_THREE = pytest.mark.parametrize("start_node", ["one", "three"], indirect=True)
"""The fixture `start_node` starts a single node, and then a cluster as if it were one."""

ONE_AND_THREE_LONG = pytest.mark.parametrize(
    "start_node", ["one", pytest.param("three", marks=pytest.mark.long)], indirect=True
)
"""The same, the cluster in the long run alone."""


def s3_of(
    node: NodeProcess | ClusterProcess, access_key: str = ACCESS_KEY, secret_key: str = SECRET_KEY
) -> Any:
    """A boto3 client that tries each request once; on a cluster each goes to another node."""
    client = boto3.client(
        "s3",
        endpoint_url=node.url,
        aws_access_key_id=access_key,
        aws_secret_access_key=secret_key,
        region_name=REGION,
        config=Config(s3={"addressing_style": "path"}, retries={"total_max_attempts": 1}),
    )
    if isinstance(node, ClusterProcess):
        client.meta.events.register("before-send", _close_after)
    return client


def _close_after(request: Any, **_: Any) -> None:
    request.headers["Connection"] = "close"
