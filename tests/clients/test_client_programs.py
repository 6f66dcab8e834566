"""Programs written against SDKs other than boto3, each run in the environment it needs."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import NoReturn

import pytest

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
CLIENTS = ROOT / ".venv-clients" / "bin"
S3FS = ROOT / ".venv-s3fs" / "bin"
INSTALL = (
    "not installed: run `python3 tests/clients/install.py` (--all for this one where it needs more)"
)

Run = Callable[..., str]


def needs(path: Path) -> Path:
    """The path, or a skip that says how to get it."""
    if not path.exists():
        miss(path.name)
    return path


def miss(name: str) -> NoReturn:
    """Skips with the way to install the client, or fails where all were asked for."""
    if os.environ.get("RS3GW_TEST_ALL_CLIENTS"):
        pytest.fail(f"{name} is missing, and all clients were asked for")
    pytest.skip(f"{name}: {INSTALL}")


@pytest.mark.parametrize(
    "script",
    [
        "boto3_crt_smoke",
        "minio_py",
        "obstore_smoke",
        "pyarrow_smoke",
        "polars_smoke",
        "duckdb_smoke",
    ],
)
def test_python_sdk_round_trips(script: str, run: Run) -> None:
    """The SDK writes, reads, lists and deletes what it should, over http and TLS."""
    python = needs(CLIENTS / "python")
    assert run(python, HERE / "scripts" / f"{script}.py").splitlines()[-1] == "ok"


def test_s3fs_round_trips(run: Run) -> None:
    """s3fs, which pins its own botocore, works from its own environment."""
    python = needs(S3FS / "python")
    assert run(python, HERE / "scripts" / "s3fs_smoke.py").splitlines()[-1] == "ok"


def test_aws_sdk_for_javascript_round_trips(run: Run) -> None:
    """The AWS SDK for JavaScript v3 works, presigned URLs fetched without it included."""
    needs(HERE / "js" / "node_modules")
    assert run("node", HERE / "js" / "smoke.mjs").splitlines()[-1] == "ok"


@pytest.mark.parametrize("program", ["go_aws", "go_minio"])
def test_go_sdk_round_trips(program: str, run: Run) -> None:
    """The AWS SDK for Go v2 and minio-go v7 work; minio-go signs every chunk over http."""
    assert run(needs(CLIENTS / program)).splitlines()[-1] == "ok"
