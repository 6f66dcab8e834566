"""Real nodes for real clients: one over http, one over TLS, each for the whole session."""

import os
import subprocess
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import boto3
import pytest
import trustme
from botocore.config import Config

from rs3gwd.testing.node_process import ACCESS_KEY, REGION, SECRET_KEY, NodeProcess

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]


@dataclass(frozen=True)
class Endpoint:
    """A running node and a bucket of this test's own on it."""

    node: NodeProcess
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


def s3_client(node: NodeProcess, **settings: object) -> "boto3.client":
    """A boto3 client of the node's root account."""
    return boto3.client(
        "s3",
        endpoint_url=node.url,
        aws_access_key_id=ACCESS_KEY,
        aws_secret_access_key=SECRET_KEY,
        region_name=REGION,
        verify=str(node.authority) if node.authority else None,
        config=Config(s3={"addressing_style": "path"}, retries={"max_attempts": 1}, **settings),
    )


@pytest.fixture(scope="session", params=["http", "https"])
def node(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[NodeProcess]:
    """A node over each scheme."""
    folder = tmp_path_factory.mktemp(f"node-{request.param}")
    if request.param == "http":
        running = NodeProcess(folder / "data")
    else:
        authority = trustme.CA()
        issued = authority.issue_cert("localhost", "127.0.0.1")
        certificate, key, trusted = folder / "cert.pem", folder / "key.pem", folder / "ca.pem"
        certificate.write_bytes(b"".join(blob.bytes() for blob in issued.cert_chain_pems))
        key.write_bytes(issued.private_key_pem.bytes())
        authority.cert_pem.write_to_path(str(trusted))
        running = NodeProcess(folder / "data", certificate=certificate, key=key, authority=trusted)
    with running:
        yield running


@pytest.fixture
def endpoint(node: NodeProcess, tmp_path: Path) -> Endpoint:
    """A fresh bucket on a running node."""
    name = f"client-{uuid.uuid4().hex[:16]}"
    s3_client(node).create_bucket(Bucket=name)
    # The transfer manager of the Common Runtime takes its addressing style from the file alone.
    settings = tmp_path / ".aws"
    settings.mkdir()
    (settings / "config").write_text("[default]\ns3 =\n  addressing_style = path\n")
    return Endpoint(node, name, tmp_path)


@pytest.fixture
def run(endpoint: Endpoint) -> Callable[..., str]:
    """Runs a command against the endpoint and gives its output; a failure shows all it printed."""

    def run_command(*command: str | Path, **environ: str) -> str:
        done = subprocess.run(
            [str(each) for each in command],
            env={**endpoint.environ, **environ},
            cwd=endpoint.scratch,
            capture_output=True,
            text=True,
            timeout=110,
            check=False,
        )
        assert done.returncode == 0, (
            f"{command} exited with {done.returncode}\n{done.stdout}\n{done.stderr}\n"
            f"--- node ---\n{endpoint.node.tail(15)}"
        )
        return done.stdout

    return run_command
