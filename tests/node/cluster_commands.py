"""`rs3gwctl` on data directories and over the network, as tests say it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from rs3gwd.testing.node_process import ACCESS_KEY, REGION, SECRET_KEY


def command(data: Path, *arguments: str) -> list[str]:
    return [sys.executable, "-m", "tools.rs3gwctl.main", "--data", str(data), "--json", *arguments]


def ctl(
    data: Path, *arguments: str, stdin: str = "", status: int = 0, seconds_max: float = 60.0
) -> str:
    """Runs rs3gwctl on a data directory and gives what it printed."""
    done = subprocess.run(
        command(data, *arguments),
        input=stdin,
        capture_output=True,
        text=True,
        timeout=seconds_max,
        check=False,
    )
    assert done.returncode == status, f"{arguments}: {done.returncode}\n{done.stdout}{done.stderr}"
    return done.stdout + done.stderr


def remotely(
    url: str, *arguments: str, secret: str = SECRET_KEY, status: int = 0
) -> tuple[str, str]:
    """What `rs3gwctl --endpoint` says, to a program."""
    words = [sys.executable, "-m", "tools.rs3gwctl.main", "--json", "--endpoint", url]
    keys = {"AWS_ACCESS_KEY_ID": ACCESS_KEY, "AWS_SECRET_ACCESS_KEY": secret, "AWS_REGION": REGION}
    done = subprocess.run(
        [*words, *arguments],
        env={**os.environ, **keys},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == status, f"{arguments}: {done.returncode}\n{done.stdout}{done.stderr}"
    return done.stdout, done.stderr


@contextmanager
def invitation(data: Path, *arguments: str) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """A running `cluster invite`, with its token."""
    words = command(data, "cluster", "invite", "--listen", "127.0.0.1:0", *arguments)
    process = subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert process.stdout is not None
    try:
        yield process, json.loads(process.stdout.readline())["token"]
    finally:
        process.kill()
        process.communicate()


def let_in(first: Path, new: Path) -> int:
    """Lets a node in and gives its number, which both sides tell."""
    with invitation(first) as (process, token):
        told = json.loads(ctl(new, "cluster", "join", "--token", "-", stdin=token))
        there = json.loads(process.communicate(timeout=30)[0])
        assert (process.returncode, there) == (0, told)
    number: int = told["node"]
    return number
