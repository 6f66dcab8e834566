"""What systemd, and a person before it, learn from a real daemon."""

import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import rs3gwd
from rs3gwd.testing.node_process import NodeProcess

Start = Callable[..., NodeProcess]


def test_systemd_hears_ready_alive_and_stopping(start_node: Start, tmp_path: Path) -> None:
    """READY comes once the node listens, WATCHDOG while it runs, STOPPING when it drains."""
    address = str(tmp_path / "notify")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(address)
        manager.settimeout(30)
        node = start_node(environ={"NOTIFY_SOCKET": address, "WATCHDOG_USEC": "400000"})
        heard = [manager.recv(200) for _ in range(3)]
        assert heard.count(b"READY=1") == 1
        assert heard.count(b"WATCHDOG=1") == 2
        assert node.stop() == 0
        manager.setblocking(False)
        rest = []
        while not rest or rest[-1] != b"STOPPING=1":
            rest.append(manager.recv(200))
        assert b"READY=1" not in rest


def run(*arguments: str, **environ: str) -> subprocess.CompletedProcess[str]:
    """The daemon's program, asked for an answer."""
    return subprocess.run(
        [sys.executable, "-m", "rs3gwd.daemon.main", *arguments],
        capture_output=True,
        text=True,
        env={"PATH": "/usr/bin:/bin", **environ},
        check=False,
    )


def test_the_program_answers_about_its_configuration(tmp_path: Path) -> None:
    """--check-config ends with 0 or 2, --print-config shows sources, --version the version."""
    good = tmp_path / "good.toml"
    good.write_text('region = "eu-west-1"\n')
    assert run("--config", str(good), "--check-config").returncode == 0
    printed = run("--config", str(good), "--print-config", RS3GW_ACCESS_LOG="off").stdout
    assert f"file {good}" in printed
    assert "environment RS3GW_ACCESS_LOG" in printed
    assert run("--version").stdout == f"rs3gwd {rs3gwd.__version__}\n"
    refused = run("--check-config", RS3GW_REGOIN="x")
    assert refused.returncode == 2
    assert "did you mean RS3GW_REGION?" in refused.stderr


def test_a_refused_configuration_starts_nothing(tmp_path: Path) -> None:
    """With a wrong option the daemon ends with 2 before it touches the data directory."""
    data = tmp_path / "data"
    result = run("--storage-root", str(data), "--max-connections", "many")
    assert result.returncode == 2
    assert "max_connections (flag --max-connections): 'many' is not an integer" in result.stderr
    assert not data.exists()
