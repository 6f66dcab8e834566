"""What docs/run/install-cluster.md says is performed, block by block, on three machines.

The machines are network namespaces with folders of their own in place of /etc/rs3gwd and
/var/lib/rs3gwd; `systemctl enable --now` is a start of the daemon as the unit starts it.
`test_systemd.py` has the same with a real systemd. Where namespaces are not permitted the test is
skipped, and says so.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from installation_page import ADDRESSES, ROOT, SECONDS_MAX, blocks, install, use_store
from namespaces import machines, why_not


class Machine:
    """One namespace, its folders, and the daemon in it."""

    def __init__(self, folder: Path, namespace: str) -> None:
        self.etc, self.var = folder / "etc", folder / "var"
        self.log = folder / "log"
        self.etc.mkdir(parents=True)
        self.var.mkdir(mode=0o700)
        self._namespace = namespace
        self._environ = {
            **{name: value for name, value in os.environ.items() if not name.startswith("RS3GW_")},
            "RS3GW_STORAGE_ROOT": str(self.var),
            "RS3GW_MASTER_KEY_FILE": str(self.etc / "master.key"),
            "PYTHON": sys.executable,
        }
        self.daemon: subprocess.Popen[bytes] | None = None

    def words(self, command: str) -> list[str]:
        """A command of the page as it is said here."""
        # Here is neither the user nor the group of the daemon.
        command = command.replace(" -o rs3gwd -g rs3gwd", "").replace("chgrp rs3gwd", "test -f")
        command = command.replace("/etc/rs3gwd", str(self.etc))
        command = command.replace("/var/lib/rs3gwd", str(self.var))
        command = re.sub(r"^rs3gwctl ", f"{sys.executable} -m tools.rs3gwctl.main ", command)
        command = re.sub(r"^rs3gwd ", f"{sys.executable} -m rs3gwd.daemon.main ", command)
        return ["ip", "netns", "exec", self._namespace, "sh", "-c", f"exec {command}"]

    def say(self, command: str, stdin: str = "") -> str:
        """Performs one command, which must succeed; what it printed."""
        if command == "systemctl enable --now rs3gwd":
            self._start()
            return ""
        words = self.words(command)
        if "|" in command:
            words[-1] = words[-1].removeprefix("exec ")
        done = subprocess.run(
            words,
            input=stdin,
            env=self._environ,
            cwd=ROOT,
            capture_output=True,
            text=True,
            timeout=SECONDS_MAX,
            check=False,
        )
        assert done.returncode == 0, f"{command}: {done.stdout}{done.stderr}"
        return done.stdout

    def invite(self, command: str) -> tuple[subprocess.Popen[str], str]:
        """A running invitation and its token."""
        process = subprocess.Popen(
            self.words(command), env=self._environ, cwd=ROOT, stdout=subprocess.PIPE, text=True
        )
        assert process.stdout is not None
        process.stdout.readline()
        return process, process.stdout.readline()

    def _start(self) -> None:
        unit = (ROOT / "systemd" / "rs3gwd.service").read_text()
        (start,) = re.findall(r"^ExecStart=/opt/rs3gwd/bin/(.*)$", unit, re.MULTILINE)
        with self.log.open("ab") as log:
            self.daemon = subprocess.Popen(
                self.words(start), env=self._environ, cwd=ROOT, stdout=log, stderr=log
            )

    def stop(self) -> None:
        """Ends the daemon, if there is one."""
        if self.daemon is not None:
            self.daemon.terminate()
            self.daemon.wait(timeout=60)


def test_the_page_has_the_blocks_that_are_performed() -> None:
    """Each node has its commands, and node 1 the invitation last."""
    found = blocks()
    assert [name for name in found if found[name]] == [
        "On node 1",
        "On node 2",
        "On node 3",
        "Whether it is one",
    ]
    assert "cluster invite" in found["On node 1"][-1]
    assert [line.replace("3", "2") for line in found["On node 3"]] == [
        line.replace("3", "2") for line in found["On node 2"]
    ]


@pytest.mark.long
def test_the_installation_of_the_page_makes_one_store(tmp_path: Path) -> None:
    """Performed as it stands, three nodes serve one store, and the last command says that all is
    well."""
    reason = why_not()
    if reason:
        pytest.skip(f"no network namespaces: {reason}")
    with machines(ADDRESSES) as (hub, names):
        made = [Machine(tmp_path / name, name) for name in names]
        try:
            install(made)
            use_store(hub, made[0].var / "root-credentials.json")
        finally:
            for machine in made:
                machine.stop()
