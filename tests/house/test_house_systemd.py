"""The systemd unit: every line explained, limits that fit the defaults, and accepted by systemd."""

import shutil
import subprocess
from pathlib import Path

import pytest

from rs3gwd.config import Config

UNIT = Path(__file__).resolve().parents[2] / "systemd" / "rs3gwd.service"
VERIFIER = shutil.which("systemd-analyze")


def settings() -> dict[str, list[str]]:
    """The directives of the unit, those of all sections together."""
    found: dict[str, list[str]] = {}
    for line in UNIT.read_text().splitlines():
        if "=" in line and not line.startswith("#"):
            name, _, value = line.partition("=")
            found.setdefault(name, []).append(value)
    return found


def test_every_line_of_the_service_says_why_it_is_there() -> None:
    """In [Service] each directive stands under a comment of its own."""
    lines = UNIT.read_text().split("[Service]\n")[1].split("[Install]")[0].splitlines()
    directives = [number for number, line in enumerate(lines) if "=" in line and line[0] != "#"]
    assert len(directives) > 30
    unexplained = [lines[n] for n in directives if not lines[n - 1].startswith("# ")]
    assert unexplained == []


def test_systemd_waits_longer_than_the_daemon_drains() -> None:
    """TimeoutStopSec is more than the default grace time, or requests would be cut."""
    (seconds,) = settings()["TimeoutStopSec"]
    assert int(seconds) > Config().shutdown_grace_secs


def test_the_service_notifies_and_is_watched() -> None:
    """READY is awaited, the watchdog is on, and a refused configuration is not tried again."""
    found = settings()
    assert (found["Type"], found["NotifyAccess"]) == (["notify"], ["main"])
    assert int(found["WatchdogSec"][0]) >= 10
    assert found["RestartPreventExitStatus"] == ["2"]


def test_there_are_descriptors_for_all_connections() -> None:
    """LimitNOFILE leaves room beyond the connections that the defaults allow."""
    assert int(settings()["LimitNOFILE"][0]) > 2 * Config().max_connections


@pytest.mark.skipif(VERIFIER is None, reason="systemd-analyze is not installed")
def test_systemd_accepts_the_unit(tmp_path: Path) -> None:
    """systemd-analyze verify has nothing to say; the program is one that exists here."""
    assert VERIFIER is not None
    lines = UNIT.read_text().splitlines()
    here = ["ExecStart=/bin/true" if line.startswith("ExecStart=") else line for line in lines]
    copy = tmp_path / UNIT.name
    copy.write_text("\n".join(here) + "\n")
    result = subprocess.run(
        [VERIFIER, "verify", str(copy)], capture_output=True, text=True, check=False
    )
    assert (result.returncode, result.stderr) == (0, "")
