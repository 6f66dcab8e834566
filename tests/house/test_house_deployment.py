"""The examples of configurations and units: accepted by the daemon, and the same where they should
be."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
EXAMPLES = sorted((ROOT / "config").glob("*.toml"))


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda path: path.stem)
def test_the_daemon_accepts_every_example(example: Path) -> None:
    """--check-config has nothing to say against any file in config/."""
    clean = {name: value for name, value in os.environ.items() if not name.startswith("RS3GW_")}
    done = subprocess.run(
        [sys.executable, "-m", "rs3gwd.daemon.main", "--config", str(example), "--check-config"],
        capture_output=True,
        text=True,
        env=clean,
        cwd=ROOT,
        check=False,
    )
    assert done.returncode == 0, done.stderr


def test_the_nodes_of_three_differ_in_their_number_alone() -> None:
    """Addresses of all nodes and the master key are the same; only the comment names the node."""
    texts = [(ROOT / "config" / f"three-nodes-{n}.toml").read_text() for n in (1, 2, 3)]
    assert len({text.split("\n", 1)[1] for text in texts}) == 1
    assert len(EXAMPLES) >= 5


def test_the_template_is_the_service_with_a_name() -> None:
    """rs3gwd@.service is rs3gwd.service, with the instance in its paths and in nothing else."""
    one = (ROOT / "systemd" / "rs3gwd.service").read_text().split("[Unit]")[1]
    many = (ROOT / "systemd" / "rs3gwd@.service").read_text().split("[Unit]")[1]
    assert many.count("%i") == 5
    plain = many.replace("rs3gwd/%i.toml", "rs3gwd/rs3gwd.toml")
    assert plain.replace("rs3gwd %i,", "rs3gwd,").replace("/%i", "") == one
