"""A machine of a test with a real systemd: process 1 of namespaces of its own.

Its systemd sees no process, mount, host name or control group but its own, and the network
namespace that it is started in; everything is gone when it is killed, since it is the first process
of its PID namespace. What it has in place of the real machine's:

    /etc             a copy, with the user rs3gwd; no units but those of the test are found
    /var, /tmp, /run empty, in memory, with /var/lib/rs3gwd from the test's folder
    /                read-only
    /opt/rs3gwd/bin  programs that run this tree by this Python, both mounted below /opt, since the
                     unit hides home directories

What it is not: a container for anything but tests.
"""

from __future__ import annotations

import os
import secrets
import shutil
import subprocess
import sys
import sysconfig
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
SYSTEMD = "/lib/systemd/systemd"
BOOT_SECONDS_MAX = 60.0

PROGRAMS = {
    "rs3gwd": "-m rs3gwd.daemon.main",
    "rs3gwctl": "-m tools.rs3gwctl.main",
    "python": "",
}

EMPTY_TARGETS = ("machine", "sysinit", "basic", "network-online")

BOOT = r"""
set -e
mount --make-rprivate /
mount -t proc proc /proc
mount -t tmpfs tmpfs /run
umount -R /sys/fs/cgroup 2>/dev/null || true
mount -t cgroup2 cgroup2 /sys/fs/cgroup
mount -t tmpfs tmpfs /opt
mkdir -p /opt/python /opt/source /opt/site /opt/rs3gwd/bin
mount --bind "$BASE" /opt/python
mount --bind "$TREE" /opt/source
mount --bind "$SITE" /opt/site
cp "$FOLDER"/bin/* /opt/rs3gwd/bin/
mount --bind "$FOLDER/etc" /etc
mkdir /run/var
mount --bind "$FOLDER/var" /run/var
mount -t tmpfs tmpfs /var
mkdir -p /var/lib/rs3gwd /var/log /var/tmp /var/cache
mount --move /run/var /var/lib/rs3gwd
# Whatever systemd tidies up, it must find nothing of the real machine's that can be changed.
mount -t tmpfs tmpfs /tmp
mount -o remount,bind,ro /
if touch /root/written 2>/dev/null; then echo "the real file system can be written to"; exit 1; fi
export container=rs3gwd-test SYSTEMD_UNIT_PATH=/etc/systemd/system
exec /lib/systemd/systemd --system --unit=machine.target --log-target=console --show-status=0
"""

PROGRAM = """#!/bin/sh
export LD_LIBRARY_PATH=/opt/python/lib PYTHONPATH=/opt/source:/opt/site PYTHONDONTWRITEBYTECODE=1
exec /opt/python/bin/python3 {first} "$@"
"""


def why_not() -> str:
    """Why systemd cannot run here; empty where it can."""
    for program in (SYSTEMD, "systemctl", "unshare", "nsenter"):
        if shutil.which(program) is None:
            return f"{program} is not installed"
    if os.geteuid() != 0:
        return "namespaces need root"
    done = subprocess.run(
        ["unshare", "--mount", "--pid", "--fork", "--uts", "--ipc", "--cgroup", "true"],
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        return f"unshare: {done.stderr.strip()}"
    if "cgroup2" not in Path("/proc/filesystems").read_text():
        return "the kernel has no cgroup2"
    return ""


class Machine:
    """One systemd and what it runs. Made by `booted`."""

    def __init__(self, folder: Path, namespace: str | None, group: Path) -> None:
        self.folder = folder
        self._namespace = namespace
        self._group = group
        self._log = folder / "console.log"
        self._process: subprocess.Popen[bytes] | None = None
        self._init = 0

    @property
    def etc(self) -> Path:
        """Its /etc."""
        return self.folder / "etc"

    @property
    def var(self) -> Path:
        """Its /var/lib/rs3gwd."""
        return self.folder / "var"

    def boot(self, units: Sequence[Path]) -> None:
        """Starts it, with these unit files installed and no service started."""
        self._make_etc(units)
        self.var.mkdir()
        programs = self.folder / "bin"
        programs.mkdir()
        for name, first in PROGRAMS.items():
            (programs / name).write_text(PROGRAM.format(first=first))
            (programs / name).chmod(0o755)
        environ = {
            "PATH": os.environ["PATH"],
            "FOLDER": str(self.folder),
            "BASE": sys.base_prefix,
            "TREE": str(ROOT),
            "SITE": sysconfig.get_paths()["purelib"],
        }
        # The control groups that it sees begin at its own.
        enter = f"echo $$ > {self._group}/cgroup.procs && exec unshare --mount --pid --fork"
        words = ["sh", "-c", f'{enter} --uts --ipc --cgroup sh -c "$BOOT"']
        if self._namespace is not None:
            words = ["ip", "netns", "exec", self._namespace, *words]
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(
                words, env={**environ, "BOOT": BOOT}, stdout=log, stderr=log, stdin=-3
            )
        self._wait_booted()

    def _make_etc(self, units: Sequence[Path]) -> None:
        shutil.copytree("/etc", self.etc, symlinks=True, ignore=shutil.ignore_patterns("systemd"))
        here = self.etc / "systemd" / "system"
        here.mkdir(parents=True)
        for name in EMPTY_TARGETS:
            unit = "[Unit]\nDescription=nothing\nDefaultDependencies=no\n"
            (here / f"{name}.target").write_text(unit)
        for unit_file in units:
            shutil.copy(unit_file, here)
        (self.etc / "rs3gwd").mkdir(mode=0o755)
        for name, line in (
            ("passwd", "rs3gwd:x:31999:31999::/var/lib/rs3gwd:/usr/sbin/nologin\n"),
            ("group", "rs3gwd:x:31999:\n"),
        ):
            with (self.etc / name).open("a") as file:
                file.write(line)

    def _wait_booted(self) -> None:
        assert self._process is not None
        deadline = time.monotonic() + BOOT_SECONDS_MAX
        while time.monotonic() < deadline:
            assert self._process.poll() is None, self._log.read_text()
            self._init = _systemd_below(self._process.pid)
            if self._init and self.do("systemctl list-units", check=False).returncode == 0:
                return
            time.sleep(0.1)
        raise TimeoutError(f"systemd does not answer: {self._log.read_text()}")

    def do(
        self, command: str, *, stdin: str = "", check: bool = True, seconds: float = 120.0
    ) -> subprocess.CompletedProcess[str]:
        """Says a command on the machine as root; with `check` it must succeed."""
        done = subprocess.run(
            self.words(command),
            input=stdin,
            capture_output=True,
            text=True,
            timeout=seconds,
            check=False,
            cwd="/",
        )
        assert not check or done.returncode == 0, (
            f"{command}: {done.stdout}{done.stderr}{self.journal()}"
        )
        return done

    def words(self, command: str) -> list[str]:
        """The words of a command that is said on the machine, from a folder with this tree."""
        assert self._init, "it was booted"
        enter = ["nsenter", "-t", str(self._init), "-m", "-p", "-n", "-i", "-u"]
        path = "PATH=/opt/rs3gwd/bin:/usr/sbin:/usr/bin:/sbin:/bin"
        return [*enter, "env", "-i", path, "sh", "-c", f"cd /opt/source && {command}"]

    def show(self, unit: str, name: str) -> str:
        """A property of a unit."""
        return self.do(f"systemctl show -P {name} {unit}").stdout.strip()

    def main_process(self, unit: str) -> int:
        """The number of a service's main process, as the machine numbers it; 0 for none."""
        return int(self.show(unit, "MainPID"))

    def journal(self) -> str:
        """What was said on its console."""
        return self._log.read_text()[-4000:]

    def kill(self) -> None:
        """Everything on it ends at once."""
        if self._process is not None:
            if self._init:
                with suppress(ProcessLookupError):
                    os.kill(self._init, 9)
            self._process.kill()
            self._process.wait()


@contextmanager
def booted(
    folder: Path, units: Sequence[Path], *, namespaces: Sequence[str | None] = (None,)
) -> Iterator[list[Machine]]:
    """Machines with these units, one for each network namespace (None: the real one)."""
    mount = folder / "cgroup"
    mount.mkdir()
    subprocess.run(["mount", "-t", "cgroup2", "cgroup2", str(mount)], check=True)
    made: list[Machine] = []
    try:
        for number, namespace in enumerate(namespaces, start=1):
            group = mount / f"rs3gwd-test-{secrets.token_hex(4)}"
            group.mkdir()
            place = folder / f"machine{number}"
            place.mkdir()
            made.append(Machine(place, namespace, group))
            made[-1].boot(units)
        yield made
    finally:
        for machine in made:
            machine.kill()
            _remove_group(machine._group)
        subprocess.run(["umount", str(mount)], check=True)


def _systemd_below(process: int) -> int:
    """The real number of the systemd that descends from a process; 0 where there is none yet."""
    children = Path(f"/proc/{process}/task/{process}/children")
    with suppress(OSError):
        for child in children.read_text().split():
            if os.readlink(f"/proc/{child}/exe").endswith("/systemd"):
                return int(child)
            if found := _systemd_below(int(child)):
                return found
    return 0


def _remove_group(group: Path) -> None:
    """Removes a control group whose processes were killed, with those below it."""
    deadline = time.monotonic() + 10
    while True:
        below = sorted((p for p in group.rglob("*") if p.is_dir()), key=lambda p: -len(p.parts))
        try:
            for each in (*below, group):
                each.rmdir()
        except OSError:
            assert time.monotonic() < deadline, f"{group} is still used"
            time.sleep(0.1)
        else:
            return
