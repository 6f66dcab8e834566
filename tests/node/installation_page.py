"""What docs/run/install-cluster.md says, and its performance on three machines of any kind."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

ROOT = Path(__file__).resolve().parents[2]
PAGE = ROOT / "docs" / "run" / "install-cluster.md"
ADDRESSES = ("10.0.0.1", "10.0.0.2", "10.0.0.3")
SECONDS_MAX = 90.0

CLIENT = """
import json, sys, boto3
from botocore.config import Config
keys = json.load(open(sys.argv[1]))
clients = [boto3.client("s3", endpoint_url=f"http://10.0.0.{n}:9000", region_name="us-east-1",
    aws_access_key_id=keys["access_key_id"], aws_secret_access_key=keys["secret_access_key"],
    config=Config(s3={"addressing_style": "path"})) for n in (1, 2, 3)]
clients[0].create_bucket(Bucket="bucket")
for n, client in enumerate(clients):
    client.put_object(Bucket="bucket", Key=str(n), Body=b"x" * 200_000)
print([len(c.list_objects_v2(Bucket="bucket")["Contents"]) for c in clients])
"""


class Place(Protocol):
    """A machine on which commands of the page are said."""

    @property
    def etc(self) -> Path:
        """Its /etc/rs3gwd."""
        ...

    @property
    def var(self) -> Path:
        """Its /var/lib/rs3gwd."""
        ...

    def say(self, command: str, stdin: str = "") -> str:
        """Performs one command, which must succeed; what it printed."""
        ...

    def invite(self, command: str) -> tuple[subprocess.Popen[str], str]:
        """A running invitation and its token."""
        ...


def blocks() -> dict[str, list[str]]:
    """The commands of the page by the heading above them."""
    found: dict[str, list[str]] = {}
    for line in PAGE.read_text().splitlines():
        if line.startswith("## "):
            commands = found.setdefault(line[3:], [])
        elif line.startswith("    "):
            commands.append(line.strip())
    return found


def install(made: Sequence[Place]) -> None:
    """Performs the page on three machines; returns when each has said that all is well."""
    found = blocks()
    *first, invitation = found["On node 1"]
    for command in first:
        made[0].say(command)
    for number, machine in enumerate(made[1:], start=2):
        key, copy = made[0].etc / "master.key", machine.etc / "master.key"
        copy.write_bytes(key.read_bytes())
        copy.chmod(0o640)
        os.chown(copy, -1, key.stat().st_gid)
        inviting, token = made[0].invite(invitation)
        for command in found[f"On node {number}"]:
            machine.say(command, stdin=token)
        inviting.communicate(timeout=SECONDS_MAX)
        assert inviting.returncode == 0
    (status,) = found["Whether it is one"]
    wait_healthy(made, status)


def use_store(hub: str, credentials: Path) -> None:
    """Writes through each node and lists through each, from another machine."""
    assert "access_key_id" in json.loads(credentials.read_text())
    client = ["ip", "netns", "exec", hub, sys.executable, "-c", CLIENT, str(credentials)]
    done = subprocess.run(client, capture_output=True, text=True, timeout=120, check=False)
    assert done.stdout.strip() == "[3, 3, 3]", done.stderr


def wait_healthy(made: Sequence[Place], status: str) -> None:
    """Until every node has said that all is well, of three nodes."""
    deadline = time.monotonic() + SECONDS_MAX
    for machine in made:
        while True:
            try:
                if machine.say(status).count("alive") >= len(ADDRESSES):
                    break
                assert time.monotonic() < deadline, "three nodes were not seen"
            except AssertionError:
                if time.monotonic() > deadline:
                    raise
            time.sleep(0.5)
