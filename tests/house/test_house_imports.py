"""The import contracts hold, and each of them can fail."""

import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
CONTRACTS = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"][
    "contracts"
]

PLANTS = {
    "layers": ("rs3gwd/config/planted.py", "import rs3gwd.engine"),
    "surfaces": ("rs3gwd/s3/planted.py", "import rs3gwd.node"),
    "cluster-users": ("rs3gwd/engine/planted.py", "import cluster"),
    "cluster": ("cluster/planted.py", "import rs3gwd.base"),
    "tools": ("rs3gwd/gateway/planted.py", "import tools.rs3gwctl"),
    "pure-packages": ("rs3gwd/iam/planted.py", "from time import time"),
    "pure-s3": ("rs3gwd/s3/ranges.py", "import trio"),
    "pure-cluster": ("cluster/raft/planted.py", "import random"),
    "pure-frames": ("cluster/drivers/transport_frames.py", "import trio"),
    "cluster-testing": ("cluster/raft/planted.py", "import cluster.testing"),
    "cluster-cores": ("cluster/raft/planted.py", "import cluster.drivers"),
    "cluster-apart": ("cluster/layout/planted.py", "import cluster.raft.log"),
    "groups-ports": ("cluster/drivers/groups_loop.py", "import time"),
    "s3-ports": ("rs3gwd/s3/planted.py", "import random"),
}
"""Contract -> what breaks it: the path of a module, new or not, and one import added to it."""


def lint(folder: Path, *options: str) -> subprocess.CompletedProcess[str]:
    """lint-imports on the tree in `folder`."""
    program = Path(sys.executable).with_name("lint-imports")
    return subprocess.run(
        [str(program), "--no-logo", "--no-cache", *options],
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
    )


def test_the_contracts_hold() -> None:
    """No import of the tree goes where it must not."""
    result = lint(ROOT)
    assert result.returncode == 0, result.stdout


def test_every_contract_has_a_plant() -> None:
    """A new contract needs a module below that breaks it."""
    assert {contract["id"] for contract in CONTRACTS} == set(PLANTS)


@pytest.mark.parametrize("contract", PLANTS)
def test_a_planted_import_breaks_its_contract(contract: str, tmp_path: Path) -> None:
    """One forbidden import, in a copy of the tree, is found by the contract that forbids it."""
    for package in ("rs3gwd", "cluster", "tools"):
        ignored = shutil.ignore_patterns("__pycache__")
        shutil.copytree(ROOT / package, tmp_path / package, ignore=ignored)
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    assert lint(tmp_path, "--contract", contract).returncode == 0
    path, statement = PLANTS[contract]
    with (tmp_path / path).open("a") as module:
        module.write(f"{statement}\n")
    result = lint(tmp_path, "--contract", contract)
    assert result.returncode == 1
    assert "BROKEN" in result.stdout
    assert path.removesuffix(".py").replace("/", ".") in result.stdout


def test_a_package_without_a_place_among_the_layers_is_refused(tmp_path: Path) -> None:
    """The layers are exhaustive: nobody can add a package that no rule covers."""
    shutil.copytree(ROOT / "rs3gwd", tmp_path / "rs3gwd")
    shutil.copytree(ROOT / "cluster", tmp_path / "cluster")
    shutil.copytree(ROOT / "tools", tmp_path / "tools")
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    (tmp_path / "rs3gwd" / "homeless").mkdir()
    (tmp_path / "rs3gwd" / "homeless" / "__init__.py").write_text("")
    result = lint(tmp_path, "--contract", "layers")
    assert result.returncode == 1
    assert "homeless" in result.stdout
