"""The units under a real systemd, each in namespaces of its own: `systemd_machine.py`."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import systemd_machine
from installation_page import ADDRESSES, ROOT, SECONDS_MAX, install, use_store
from namespaces import machines
from namespaces import why_not as why_no_network
from systemd_machine import Machine, booted

UNITS = (ROOT / "systemd" / "rs3gwd.service", ROOT / "systemd" / "rs3gwd@.service")
AS_USER = "setpriv --reuid=rs3gwd --regid=rs3gwd --clear-groups"

CLIENT = """
import json, boto3
keys = json.load(open("/var/lib/rs3gwd/root-credentials.json"))
s3 = boto3.client("s3", endpoint_url="http://127.0.0.1:9000", region_name="us-east-1",
    aws_access_key_id=keys["access_key_id"], aws_secret_access_key=keys["secret_access_key"])
"""

pytestmark = [pytest.mark.long, pytest.mark.timeout(600)]


@pytest.fixture(scope="module", autouse=True)
def can_run() -> None:
    """Skips, and says why."""
    for reason in (systemd_machine.why_not(), why_no_network()):
        if reason:
            pytest.skip(f"no systemd of its own: {reason}")


@pytest.fixture
def machine(tmp_path: Path) -> Iterator[Machine]:
    """A machine with a node that is set up as docs/operate/systemd.md says, not started yet."""
    with (
        machines(ADDRESSES[:1]) as (_, names),
        booted(tmp_path, UNITS, namespaces=names) as (made,),
    ):
        made.do("install -D -m 0640 -g rs3gwd config/one-node.toml /etc/rs3gwd/rs3gwd.toml")
        yield made


def use(machine: Machine, code: str) -> str:
    """What a boto3 client on the machine prints."""
    return machine.do(f"python -c '{CLIENT}{code}'").stdout.strip()


def wait(holds: Callable[[], bool], what: str) -> None:
    """Returns once it holds."""
    deadline = time.monotonic() + SECONDS_MAX
    while not holds():
        assert time.monotonic() < deadline, what
        time.sleep(0.2)


def test_systemd_starts_watches_and_stops_a_node(machine: Machine) -> None:
    """`start` returns when the node serves; a kill and a hang end in another start, with the data
    there; `stop` ends it for good, and it is no failure."""
    machine.do("systemctl enable --now rs3gwd")
    assert machine.show("rs3gwd", "ActiveState") == "active"
    use(
        machine, 's3.create_bucket(Bucket="kept"); s3.put_object(Bucket="kept", Key="k", Body=b"v")'
    )
    read = 'print(s3.get_object(Bucket="kept", Key="k")["Body"].read())'
    for number in ("KILL", "STOP"):
        if number == "STOP":
            machine.do("mkdir -p /etc/systemd/system/rs3gwd.service.d")
            short = "/etc/systemd/system/rs3gwd.service.d/short.conf"
            machine.do(f"printf '[Service]\\nWatchdogSec=3\\n' > {short}")
            machine.do("systemctl daemon-reload && systemctl restart rs3gwd")
        before = machine.main_process("rs3gwd")
        machine.do(f"kill -{number} {before}")

        def is_another(before: int = before) -> bool:
            now = machine.main_process("rs3gwd")
            is_up = machine.show("rs3gwd", "ActiveState") == "active"
            return is_up and now not in (0, before)

        wait(is_another, f"systemd did not start it anew after SIG{number}: {machine.journal()}")
        assert use(machine, read) == "b'v'"
    machine.do("systemctl reload rs3gwd")
    assert use(machine, read) == "b'v'"
    machine.do("systemctl stop rs3gwd")
    assert machine.show("rs3gwd", "ActiveState") == "inactive"
    assert machine.show("rs3gwd", "Result") == "success"


def test_the_hardening_of_the_unit_holds(machine: Machine) -> None:
    """The daemon is its own user without any right, sees a file system that it cannot change but
    for its data, and has its system calls filtered."""
    machine.do("systemctl start rs3gwd")
    main = machine.main_process("rs3gwd")
    lines = machine.do(f"cat /proc/{main}/status").stdout.splitlines()
    status = dict(line.split(":\t", 1) for line in lines if ":\t" in line)
    assert status["Uid"].split() == ["31999"] * 4
    assert status["NoNewPrivs"] == "1"
    assert status["Seccomp"] == "2"
    assert {int(status[name], 16) for name in ("CapEff", "CapPrm", "CapBnd", "CapAmb")} == {0}
    inside = f"nsenter -t {main} -m --setuid 31999 --setgid 31999"
    for place in ("/opt/rs3gwd/bin", "/etc/rs3gwd", "/usr", "/var/lib"):
        denied = machine.do(f"{inside} touch {place}/written", check=False)
        assert denied.returncode != 0, f"{place} can be written to"
    machine.do(f"{inside} touch /var/lib/rs3gwd/written")
    assert machine.do(f"{inside} ls /root /home", check=False).stdout.split() == []
    assert machine.do("stat -c %a /var/lib/rs3gwd").stdout.strip() == "700"


def test_a_refused_configuration_is_not_tried_again(machine: Machine) -> None:
    """Exit code 2, one try, and the reason on the console."""
    machine.do("printf 'no_such_option = 1\\n' >> /etc/rs3gwd/rs3gwd.toml")
    assert machine.do("systemctl start rs3gwd", check=False).returncode != 0
    time.sleep(3.0)  # RestartSec is 1: a restart would be here by now
    assert machine.show("rs3gwd", "ActiveState") == "failed"
    assert machine.show("rs3gwd", "ExecMainStatus") == "2"
    assert machine.show("rs3gwd", "NRestarts") == "0"


def test_the_template_runs_nodes_side_by_side(machine: Machine) -> None:
    """Two instances with a configuration and data of their own; one is stopped, the other not."""
    for number, name in enumerate(("blue", "green")):
        config = f'bind_addr = ["127.0.0.1:91{number}0"]\\n'
        machine.do(f"printf '{config}' > /etc/rs3gwd/{name}.toml")
        machine.do(f"chgrp rs3gwd /etc/rs3gwd/{name}.toml && systemctl start rs3gwd@{name}")
    machine.do("systemctl stop rs3gwd@blue")
    assert machine.show("rs3gwd@green", "ActiveState") == "active"
    assert machine.show("rs3gwd@blue", "ActiveState") == "inactive"
    assert (machine.var / "blue").is_dir()
    assert (machine.var / "green").is_dir()


class SystemdPlace:
    """A machine on which the page is performed: `rs3gwctl` as the daemon's user, all else as
    root."""

    def __init__(self, machine: Machine) -> None:
        self.machine = machine
        self.etc, self.var = machine.etc / "rs3gwd", machine.var

    def say(self, command: str, stdin: str = "") -> str:
        """Performs one command, which must succeed; what it printed."""
        return self.machine.do(self._as_user(command), stdin=stdin).stdout

    def invite(self, command: str) -> tuple[subprocess.Popen[str], str]:
        """A running invitation and its token."""
        words = self.machine.words("exec " + self._as_user(command))
        process = subprocess.Popen(words, stdout=subprocess.PIPE, text=True, cwd="/")
        assert process.stdout is not None
        process.stdout.readline()
        return process, process.stdout.readline()

    def _as_user(self, command: str) -> str:
        return f"{AS_USER} {command}" if command.startswith("rs3gwctl ") else command


def test_the_page_makes_one_store_under_systemd(tmp_path: Path) -> None:
    """docs/run/install-cluster.md, word for word; then one node is stopped, and the others go on;
    all are restarted, and are well again."""
    with (
        machines(ADDRESSES) as (hub, names),
        booted(tmp_path, UNITS, namespaces=names) as made,
    ):
        places = [SystemdPlace(machine) for machine in made]
        install(places)
        use_store(hub, places[0].var / "root-credentials.json")
        made[2].do("systemctl stop rs3gwd")
        wait(lambda: "go on" in status_of(places[0]), "two of three do not go on")
        made[2].do("systemctl start rs3gwd")
        for machine in made:
            machine.do("systemctl restart rs3gwd")
        wait(lambda: "is healthy" in status_of(places[1]), "three are not well again")


def status_of(place: SystemdPlace) -> str:
    """What a node says of the cluster, well or not."""
    command = f"{AS_USER} rs3gwctl --data /var/lib/rs3gwd cluster health"
    return place.machine.do(command, check=False).stdout
