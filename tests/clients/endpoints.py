"""A running node as a client program sees it, and boto3's client for it."""

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import boto3
from botocore.config import Config

from rs3gwd.testing.cluster_process import ClusterProcess
from rs3gwd.testing.node_process import ACCESS_KEY, REGION, SECRET_KEY, NodeProcess


@dataclass(frozen=True)
class Endpoint:
    """A running node and a bucket of this test's own on it."""

    node: NodeProcess | ClusterProcess
    bucket: str
    scratch: Path

    @property
    def environ(self) -> dict[str, str]:
        """What the client programs of this folder read."""
        return {
            **os.environ,
            "TEST_ENDPOINT": self.node.url,
            "TEST_BUCKET": self.bucket,
            "TEST_ACCESS_KEY": ACCESS_KEY,
            "TEST_SECRET_KEY": SECRET_KEY,
            "TEST_SCRATCH": str(self.scratch),
            "AWS_ACCESS_KEY_ID": ACCESS_KEY,
            "AWS_SECRET_ACCESS_KEY": SECRET_KEY,
            "AWS_DEFAULT_REGION": REGION,
            "AWS_EC2_METADATA_DISABLED": "true",
            "HOME": str(self.scratch),
            **self._trust(),
        }

    def _trust(self) -> dict[str, str]:
        if self.node.authority is None:
            return {}
        path = str(self.node.authority)
        names = (
            "TEST_CA",
            "AWS_CA_BUNDLE",
            "SSL_CERT_FILE",
            "REQUESTS_CA_BUNDLE",
            "CURL_CA_BUNDLE",
            "NODE_EXTRA_CA_CERTS",
        )
        return dict.fromkeys(names, path)


def s3_client(node: NodeProcess | ClusterProcess, **settings: object) -> Any:
    """A boto3 client of the root account; on a cluster each request goes to another node."""
    client = boto3.client(
        "s3",
        endpoint_url=node.url,
        aws_access_key_id=ACCESS_KEY,
        aws_secret_access_key=SECRET_KEY,
        region_name=REGION,
        verify=str(node.authority) if node.authority else None,
        config=Config(s3={"addressing_style": "path"}, retries={"max_attempts": 1}, **settings),
    )
    if isinstance(node, ClusterProcess):
        use_every_node(client)
    return client


def use_every_node(client: Any) -> None:
    """Each request has a connection of its own from now on."""
    client.meta.events.register("before-send", _close_after)


def _close_after(request: Any, **_: Any) -> None:
    request.headers["Connection"] = "close"
