"""What a person installs: the wheel's contents."""

import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

import rs3gwd

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> zipfile.ZipFile:
    """The wheel of this tree, built with what is installed."""
    folder = tmp_path_factory.mktemp("wheel")
    built = subprocess.run(
        [sys.executable, "-m", "build", "--no-isolation", "--wheel", "--outdir", str(folder), "."],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert built.returncode == 0, built.stderr
    (path,) = folder.glob("*.whl")
    return zipfile.ZipFile(path)


def test_only_three_names_are_at_the_top(wheel: zipfile.ZipFile) -> None:
    """`cluster` and `tools` are common names, so nothing else may come with them."""
    tops = {name.split("/")[0] for name in wheel.namelist()}
    assert tops == {"rs3gwd", "cluster", "tools", f"rs3gwd-{rs3gwd.__version__}.dist-info"}


def test_every_module_of_the_daemon_is_in_it(wheel: zipfile.ZipFile) -> None:
    """Nothing that the programs import is left out, and nothing for developers comes along."""
    names = set(wheel.namelist())
    wanted = {
        path.relative_to(ROOT).as_posix()
        for package in ("rs3gwd", "cluster", "tools")
        for path in (ROOT / package).rglob("*.py")
    }
    only_here = {"tools/dev.py", "tools/check_sizes.py"}
    only_here |= {name for name in wanted if name.startswith("tools/rs3gw_bench/")}
    assert wanted - names == only_here


def test_it_carries_its_programs_and_its_licence(wheel: zipfile.ZipFile) -> None:
    """The two programs are entry points, and the licence text is inside."""
    information = f"rs3gwd-{rs3gwd.__version__}.dist-info"
    programs = wheel.read(f"{information}/entry_points.txt").decode()
    assert "rs3gwd = rs3gwd.daemon.main:main" in programs
    assert "rs3gwctl = tools.rs3gwctl.main:main" in programs
    assert "Apache License" in wheel.read(f"{information}/licenses/LICENSE").decode()
    assert "License-Expression: Apache-2.0" in wheel.read(f"{information}/METADATA").decode()
