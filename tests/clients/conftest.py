"""Real nodes for real clients: one over http, one over TLS, and three that are one store.

Each serves the whole session. On three nodes each connection goes to the next of them, and boto3
makes one for each request (`endpoints.s3_client`).
"""

import subprocess
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import trustme
from endpoints import Endpoint, s3_client

from rs3gwd.testing.cluster_process import ClusterProcess
from rs3gwd.testing.node_process import NodeProcess

LONG_ON_THREE = ("test_client_programs.py", "test_client_commands.py")
"""What starts a program for each test; what runs on three nodes by default is in SHORT_ON_THREE."""

SHORT_ON_THREE = ("test_aws_cli_v1", "boto3_crt", "test_s3fs")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Most programs meet three nodes in the long run alone."""
    for item in items:
        is_short = any(short in item.name for short in SHORT_ON_THREE)
        if "[https" in item.name and item.path.name == "test_iam_cli.py":
            item.add_marker(pytest.mark.long)  # Thirty starts of a slow program; TLS is no other.
        if "[three" in item.name and item.path.name in LONG_ON_THREE and not is_short:
            item.add_marker(pytest.mark.long)


@pytest.fixture(scope="session", params=["http", "https", "three"])
def node(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[NodeProcess | ClusterProcess]:
    """A node over each scheme, and three nodes."""
    folder = tmp_path_factory.mktemp(f"node-{request.param}")
    running: NodeProcess | ClusterProcess
    if request.param == "http":
        running = NodeProcess(folder / "data")
    elif request.param == "three":
        running = ClusterProcess(folder / "nodes")
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
def endpoint(node: NodeProcess | ClusterProcess, tmp_path: Path) -> Endpoint:
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
