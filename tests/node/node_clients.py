"""boto3's client for a node of this folder's tests."""

from typing import Any

import boto3
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
