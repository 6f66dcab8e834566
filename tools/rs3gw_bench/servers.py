"""What is measured: a node of ours, a peer that we start from a command line, or a given endpoint.

All are seen alike: an endpoint with credentials, a process whose tree is charged with processor
time (none for an endpoint on another machine), a folder of their own, and cores they are pinned to.
"""

import os
import shlex
import signal
import socket
import subprocess
import time
import urllib.parse
from collections.abc import Mapping, Sequence
from pathlib import Path

from rs3gwd.testing.node_process import ACCESS_KEY, REGION, SECRET_KEY, NodeProcess
from tools.rs3gw_bench import processes
from tools.rs3gw_bench.generator import Endpoint
from tools.rs3gw_bench.signing import Signer, Target
from tools.rs3gw_bench.wire import Wire, WireError

BUCKET = "bench"
PEER_START_SECONDS_MAX = 120.0


class ServerError(Exception):
    """A server could not be started, or does not answer."""


class Server:
    """One target. `name` is what the report calls it; `pid` is None where it cannot be seen."""

    def __init__(self, name: str, target: Target, *, authority: Path | None = None) -> None:
        self.name = name
        self.target = target
        self.authority = authority
        self.pid: int | None = None

    @property
    def endpoint(self) -> Endpoint:
        """For the load generator and the Python mode."""
        url = urllib.parse.urlsplit(self.target.url)
        is_tls = url.scheme == "https"
        host = url.hostname or ""
        port = url.port or (443 if is_tls else 80)
        return Endpoint(
            f"{socket.gethostbyname(host)}:{port}", host if is_tls else None, self.authority
        )

    def start(self) -> None:
        """Nothing to start for an endpoint that is there already."""
        self.pid = processes.listening_pid(int(self.endpoint.address.rpartition(":")[2]))

    def stop(self) -> None:
        """Nothing to stop."""

    def signer(self) -> Signer:
        """Signs with the present time."""
        return Signer(self.target)

    def make_bucket(self) -> None:
        """Makes the bucket of all workloads, unless it is there. Raises ServerError."""
        try:
            with Wire(self.endpoint) as wire:
                request = self.signer().sign("PUT", f"/{self.target.bucket}")
                wire.ask(request, b"")
        except WireError as error:
            if "BucketAlready" not in str(error):
                raise ServerError(f"{self.name}: no bucket: {error}") from error


class Node(Server):
    """A node of ours with its data in `data`; `workers` 0 keeps it in one process."""

    def __init__(
        self,
        name: str,
        data: Path,
        *,
        cores: Sequence[int],
        workers: int = 0,
        environ: Mapping[str, str] | None = None,
        tls: tuple[Path, Path, Path] | None = None,
    ) -> None:
        certificate, key, authority = tls or (None, None, None)
        self.workers = workers
        self.cores = cores
        self.process = NodeProcess(
            data,
            prefix=pinned(cores),
            environ={
                # A machine that forbids Python to keep its bytecode would have us measure the
                # compiler.
                "PYTHONDONTWRITEBYTECODE": "",
                "RS3GW_WORKERS": str(workers),
                **(environ or {}),
            },
            certificate=certificate,
            key=key,
            authority=authority,
        )
        target = Target(self.process.url, ACCESS_KEY, SECRET_KEY, REGION, BUCKET)
        super().__init__(name, target, authority=authority)

    def start(self) -> None:
        """Starts it and waits until it is ready. Raises ServerError."""
        try:
            self.process.start()
        except AssertionError as error:
            raise ServerError(f"{self.name}: {error}") from error
        self.pid = self.process.pid
        count = len(processes.tree(self.pid))
        if count < self.workers + 1:
            self.stop()
            raise ServerError(f"{self.name}: {count} processes, {self.workers} workers wanted")

    def stop(self) -> None:
        """Drains and ends it."""
        self.process.end_if_running()
        self.pid = None


class Peer(Server):
    """Another store, started by a command line in a session of its own, which stop() ends whole.

    In the command, `{port}` and `{folder}` stand for a free port and an empty folder.
    """

    def __init__(
        self, name: str, command: str, target: Target, folder: Path, *, cores: Sequence[int]
    ) -> None:
        super().__init__(name, target)
        self._command = [*pinned(cores), *shlex.split(command)]
        self._folder = folder
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Starts it and waits until it answers HTTP. Raises ServerError."""
        self._folder.mkdir(parents=True, exist_ok=True)
        log = self._folder.with_name(f"{self._folder.name}.log")
        with log.open("ab") as output:
            self._process = subprocess.Popen(
                self._command,
                cwd=self._folder,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        self.pid = self._process.pid
        deadline = time.monotonic() + PEER_START_SECONDS_MAX
        while not self._answers():
            if self._process.poll() is not None or time.monotonic() > deadline:
                self.stop()
                tail = log.read_text(errors="replace")[-1500:]
                raise ServerError(f"{self.name} did not start: {shlex.join(self._command)}\n{tail}")
            time.sleep(0.1)

    def stop(self) -> None:
        """Ends every process of it."""
        if self._process is None:
            return
        everybody = processes.tree(self._process.pid)
        for number, patience in ((signal.SIGTERM, 15.0), (signal.SIGKILL, 5.0)):
            left = list(filter(processes.is_running, everybody))
            for pid in left:
                _signal(pid, number)
            deadline = time.monotonic() + patience
            while any(map(processes.is_running, left)) and time.monotonic() < deadline:
                time.sleep(0.02)
        self._process.wait()
        self._process, self.pid = None, None

    def _answers(self) -> bool:
        try:
            with Wire(self.endpoint) as wire:
                wire.ask(self.signer().sign("GET", "/"))
        except WireError as error:
            # Any answer will do, but a front whose back is not there yet says 5xx.
            return "not HTTP" not in str(error) and ": 5" not in str(error)
        except OSError:
            return False
        return True


def make_peer(
    name: str,
    command: str,
    *,
    url: str | None,
    credentials: tuple[str, str],
    region: str,
    folder: Path,
    cores: Sequence[int],
) -> Peer:
    """A peer from a command line with `{port}` and `{folder}` in it."""
    port = free_port()
    target = Target(url or f"http://127.0.0.1:{port}", *credentials, region, BUCKET)
    filled = command.replace("{port}", str(port)).replace("{folder}", shlex.quote(str(folder)))
    return Peer(name, filled, target, folder, cores=cores)


def free_port() -> int:
    """A loopback port that nobody listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def pinned(cores: Sequence[int]) -> tuple[str, ...]:
    """What to put before a command so that it runs on these cores alone; none: on all."""
    return ("taskset", "-c", ",".join(map(str, cores))) if cores else ()


def _signal(pid: int, number: signal.Signals) -> None:
    try:
        os.kill(pid, number)
    except ProcessLookupError:
        return  # It has ended by itself.
