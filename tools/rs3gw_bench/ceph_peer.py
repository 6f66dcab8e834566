"""Ceph with its S3 gateway on one machine: `python ceph_peer.py PORT FOLDER`.

One monitor, one OSD (BlueStore in a sparse file below FOLDER), one copy of everything, and radosgw
on PORT, without authentication between them. Ended when it is ended itself. Programs are searched
on PATH: `apt-get install --no-install-recommends radosgw ceph-osd ceph-mon ceph-common`.

The steps are those of Ceph's "Manual Deployment" guide, less what a cluster of many machines needs.
"""

import os
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Sequence
from pathlib import Path

ACCESS_KEY, SECRET_KEY = "BENCHACCESSKEY000001", "bench-secret-key-of-the-ceph-peer-000001"
BLOCK_BYTES = 20 << 30
START_SECONDS_MAX = 60.0


def main(port: int, folder: Path) -> int:
    """Runs until it is told to end, or until one of the daemons has ended."""
    cluster = Cluster(folder, monitor_port=port + 1)
    signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(0))
    daemons: list[subprocess.Popen[bytes]] = []
    try:
        cluster.make_monitor()
        daemons.append(cluster.begin("ceph-mon", "-i", "a"))
        cluster.wait_monitor()
        cluster.make_storage()
        daemons.append(cluster.begin("ceph-osd", "-i", "0"))
        cluster.make_user()
        frontend = f"beast endpoint=127.0.0.1:{port}"
        daemons.append(cluster.begin("radosgw", "-n", "client.rgw", "--rgw-frontends", frontend))
        os.wait()
        return 1
    finally:
        for daemon in daemons:
            daemon.terminate()


class Cluster:
    """The folders and the configuration of one small cluster."""

    def __init__(self, folder: Path, *, monitor_port: int) -> None:
        self._folder = folder
        self._configuration = folder / "ceph.conf"
        self._identity = str(uuid.uuid4())
        self._monitor = f"127.0.0.1:{monitor_port}"
        for name in ("mon", "osd", "run", "log"):
            (folder / name).mkdir(parents=True, exist_ok=True)
        self._configuration.write_text(configuration(folder, self._identity, self._monitor))

    def begin(self, program: str, *arguments: str) -> subprocess.Popen[bytes]:
        """Starts a daemon in the foreground."""
        return subprocess.Popen([program, "-f", "-c", str(self._configuration), *arguments])

    def make_monitor(self) -> None:
        """The monitor's map and its empty store."""
        monitor_map = str(self._folder / "monmap")
        self._run("monmaptool", "--create", "--clobber", "--fsid", self._identity,
                  "--addv", "a", f"[v1:{self._monitor}]", monitor_map)  # fmt: skip
        self._run("ceph-mon", "--mkfs", "-i", "a", "--monmap", monitor_map)

    def wait_monitor(self) -> None:
        """Until the monitor answers. Raises CalledProcessError if it never does."""
        self._run("ceph", "--connect-timeout", str(int(START_SECONDS_MAX)), "mon", "stat")

    def make_storage(self) -> None:
        """One OSD, whose number is 0."""
        identity = str(uuid.uuid4())
        self._run("ceph", "osd", "new", identity)
        # By hand: an OSD that places itself asks before it knows the cluster's id, without keys.
        self._run("ceph", "osd", "crush", "add", "osd.0", "1.0", "host=bench", "root=default")
        self._run("ceph-osd", "--mkfs", "-i", "0", "--osd-uuid", identity)

    def make_user(self) -> None:
        """The account of the benchmark, once the OSD has taken up its work."""
        deadline = time.monotonic() + START_SECONDS_MAX
        while "1 up" not in self._run("ceph", "osd", "stat"):
            if time.monotonic() > deadline:
                raise TimeoutError("the OSD did not come up")
            time.sleep(0.5)
        self._run("radosgw-admin", "-n", "client.rgw", "user", "create", "--uid", "bench",
                  "--display-name", "bench", "--access-key", ACCESS_KEY, "--secret-key",
                  SECRET_KEY)  # fmt: skip

    def _run(self, program: str, *arguments: str) -> str:
        command: Sequence[str] = [program, "-c", str(self._configuration), *arguments]
        return subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout


def configuration(folder: Path, identity: str, monitor: str) -> str:
    """ceph.conf: one copy, no keys between the daemons, everything below the folder."""
    values = {
        "fsid": identity,
        "mon host": f"v1:{monitor}",
        "mon initial members": "a",
        "auth cluster required": "none",
        "auth service required": "none",
        "auth client required": "none",
        "keyring": "/dev/null",
        "mon data": folder / "mon",
        "osd data": folder / "osd",
        "run dir": folder / "run",
        "admin socket": folder / "run" / "$name.asok",
        "log file": folder / "log" / "$name.log",
        "osd objectstore": "bluestore",
        "bluestore block size": BLOCK_BYTES,
        "osd pool default size": 1,
        "osd pool default min size": 1,
        "osd pool default pg num": 8,
        "osd crush chooseleaf type": 0,
        "osd crush update on start": "false",
        "osd class update on start": "false",
        "mon allow pool size one": "true",
        "mon max pg per osd": 1000,
        "osd memory target": 2 << 30,
        "ms bind msgr2": "false",
    }
    return "\n".join(["[global]", *(f"{name} = {value}" for name, value in values.items()), ""])


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1]), Path(sys.argv[2])))
