"""dev.py: what it answers before it does anything."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

from tools import dev

ROOT = Path(__file__).resolve().parents[2]


def test_it_needs_the_standard_library_only() -> None:
    """A fresh machine has nothing else."""
    tree = ast.parse((ROOT / "tools" / "dev.py").read_text())
    imported = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            imported |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            imported.add((node.module or "").split(".")[0])
    assert imported <= sys.stdlib_module_names


@pytest.mark.parametrize(
    ("typed", "hint"),
    [
        ("tets", "did you mean 'test'?"),
        ("benchmark", "did you mean 'bench'?"),
        ("xyz", "known are"),
    ],
)
def test_an_unknown_command_gets_the_nearest_one(typed: str, hint: str) -> None:
    """Exit code 2 and one line that helps, before anything is installed."""
    result = subprocess.run(
        [sys.executable, str(ROOT / "tools" / "dev.py"), typed],
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 2
    assert hint in result.stderr
    assert result.stderr.count("\n") == 1


def test_help_lists_every_command() -> None:
    """One line for each command, taken from what it says of itself."""
    text = dev.usage()
    assert [line.split()[0] for line in text.splitlines()[2:]] == list(dev.COMMANDS)


def test_the_environment_is_installed_once_for_each_state_of_pyproject(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An installation is repeated when pyproject.toml changed or the last one did not finish."""
    runs: list[list[str]] = []

    def record(command: list[str], purpose: str) -> None:
        runs.append(command)
        if "venv" in command:
            dev.PYTHON.parent.mkdir(parents=True, exist_ok=True)
            dev.PYTHON.symlink_to(sys.executable)
        elif len(runs) == 2:
            raise dev.DevError("the network broke")

    monkeypatch.setattr(dev, "ROOT", tmp_path)
    monkeypatch.setattr(dev, "PYTHON", tmp_path / ".venv" / "bin" / "python")
    monkeypatch.setattr(dev, "STAMP", tmp_path / ".venv" / "stamp")
    monkeypatch.setattr(dev, "_require", record)
    (tmp_path / "pyproject.toml").write_text("one")
    with pytest.raises(dev.DevError):
        dev.install()
    for _ in range(2):
        dev.install()
    (tmp_path / "pyproject.toml").write_text("two")
    dev.install()
    kinds = ["venv" if "venv" in command else "pip" for command in runs]
    assert kinds == ["venv", "pip", "pip", "pip"]


def test_ci_runs_what_the_readme_says() -> None:
    """.ci/run calls the README's test command, and stops at the first error."""
    script = (ROOT / ".ci" / "run").read_text()
    assert "set -euo pipefail" in script
    assert "python3 tools/dev.py test" in script
    assert "python3 tools/dev.py test" in (ROOT / "README.md").read_text()
