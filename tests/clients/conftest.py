"""Real nodes for real clients: one over http, one over TLS, each for the whole session."""

import subprocess
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import trustme
from endpoints import Endpoint, s3_client

from rs3gwd.testing.node_process import NodeProcess


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
