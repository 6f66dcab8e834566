"""A real node in a process of its own, for tests that need one: start, stop, kill, start again.

Blocking code on purpose: tests use it from fixtures, threads and trio alike. The port is chosen
once and kept over restarts, so that clients can come back. Unless a test says otherwise the node
has as many workers as a daemon has by itself.
"""

import os
import secrets
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType

ACCESS_KEY = "RS3GWTESTACCESSKEY01"
SECRET_KEY = "test/secret+key0123456789abcdefghijklmno"
REGION = "us-east-1"

START_SECONDS_MAX = 30.0
"""A start takes well under a second; a loaded machine gets this long before the test fails."""


class NodeProcess:
    """A node with its data in `data` (made if missing), listening on a loopback port.

    `environ` holds further RS3GW_* settings. With `certificate` and `key` (PEM files) it speaks
    TLS, and `authority` is the file that a client must trust. `prefix` is put before the command
    (`taskset -c 0`, for instance).
    """

    def __init__(
        self,
        data: Path,
        *,
        environ: Mapping[str, str] | None = None,
        certificate: Path | None = None,
        key: Path | None = None,
        authority: Path | None = None,
        prefix: Sequence[str] = (),
    ) -> None:
        self.data = data
        self.port = _free_port()
        self.authority = authority
        self._tls = certificate is not None
        self._prefix = prefix
        self._environ = {
            **{name: value for name, value in os.environ.items() if not name.startswith("RS3GW_")},
            "RS3GW_BIND_ADDR": f"127.0.0.1:{self.port}",
            "RS3GW_STORAGE_ROOT": str(data),
            "RS3GW_ACCESS_KEY": ACCESS_KEY,
            "RS3GW_SECRET_KEY": SECRET_KEY,
            "RS3GW_REGION": REGION,
            **(
                {"RS3GW_TLS_CERT": str(certificate), "RS3GW_TLS_KEY": str(key)}
                if certificate
                else {}
            ),
            **(environ or {}),
        }
        self._manager: socket.socket | None = None
        self._process: subprocess.Popen[bytes] | None = None
        self.log = data.with_name(data.name + ".log")

    @property
    def scheme(self) -> str:
        """`http` or `https`."""
        return "https" if self._tls else "http"

    @property
    def host(self) -> str:
        """Address and port."""
        return f"127.0.0.1:{self.port}" if not self._tls else f"localhost:{self.port}"

    @property
    def url(self) -> str:
        """The endpoint, without a slash at its end."""
        return f"{self.scheme}://{self.host}"

    @property
    def pid(self) -> int:
        """The process id of the running daemon; with workers, of its core."""
        assert self._process is not None, "the node is not running"
        return self._process.pid

    @property
    def worker_pids(self) -> list[int]:
        """The process ids of the workers, in the order in which they were started."""
        return sorted(
            (pid for pid in map(int, filter(str.isdigit, os.listdir("/proc"))) if self._made(pid)),
            key=_start_ticks,
        )

    @property
    def pids(self) -> list[int]:
        """All processes of the node, the core first."""
        return [self.pid, *self.worker_pids]

    def start(self, *, wait: bool = True) -> None:
        """Starts the daemon; with `wait` returns once it is ready. Raises AssertionError."""
        assert self._process is None, "the node is running already"
        environ = dict(self._environ)
        if "NOTIFY_SOCKET" not in environ:
            environ["NOTIFY_SOCKET"] = self._listen_as_manager()
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                [*self._prefix, sys.executable, "-m", "rs3gwd.daemon.main"],
                env=environ,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        if wait:
            self.wait_ready()

    def wait_ready(self, seconds_max: float = START_SECONDS_MAX) -> None:
        """Returns once the node says that it is ready, all its workers included."""
        deadline = time.monotonic() + seconds_max
        while not self._is_ready():
            assert self._process is not None
            assert self._process.poll() is None, f"the node died at its start:\n{self.tail()}"
            assert time.monotonic() < deadline, f"the node did not become ready:\n{self.tail()}"
            time.sleep(0.02)

    def stop(self) -> int:
        """SIGTERM, and the exit status after the drain."""
        return self._end(signal.SIGTERM)

    def kill(self) -> None:
        """SIGKILL: the process is gone between two instructions."""
        self._end(signal.SIGKILL)

    def ask_to_stop(self) -> None:
        """SIGTERM, without waiting; nothing when the daemon was stopped or killed before."""
        if self._process is not None:
            self._process.send_signal(signal.SIGTERM)

    def end_if_running(self) -> None:
        """SIGTERM, unless the daemon was stopped or killed before."""
        if self._process is not None:
            self.stop()

    def wait_exit(self) -> int:
        """The exit status of a daemon that ends by itself."""
        assert self._process is not None, "the node is not running"
        try:
            return self._process.wait(timeout=START_SECONDS_MAX)
        finally:
            self._process.kill()
            self._forget()

    def tail(self, lines: int = 40) -> str:
        """The end of the node's log."""
        text = self.log.read_text(encoding="utf-8", errors="replace") if self.log.exists() else ""
        return "\n".join(text.splitlines()[-lines:])

    def __enter__(self) -> "NodeProcess":
        self.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.end_if_running()

    def _made(self, pid: int) -> bool:
        """Whether a process is a living child of the core."""
        fields = _stat_fields(pid)
        return bool(fields) and int(fields[1]) == self.pid and fields[0] not in (b"Z", b"X")

    def _end(self, number: signal.Signals) -> int:
        assert self._process is not None, "the node is not running"
        self._process.send_signal(number)
        try:
            return self._process.wait(timeout=60)
        finally:
            self._forget()

    def _forget(self) -> None:
        """The daemon is gone."""
        self._process = None
        if self._manager is not None:
            self._manager.close()
            self._manager = None

    def _listen_as_manager(self) -> str:
        """Takes the service manager's place (sd_notify(3)); gives its address."""
        self._manager = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
        name = f"rs3gw-test-{os.getpid()}-{secrets.token_hex(8)}"
        self._manager.bind(f"\0{name}")
        return f"@{name}"

    def _is_ready(self) -> bool:
        if self._manager is not None:
            return _heard_ready(self._manager)
        if self._tls:
            return _accepts(self.port)
        try:
            with urllib.request.urlopen(f"{self.url}/health/ready", timeout=2) as answer:
                return bool(answer.status == 200)
        except (urllib.error.URLError, ConnectionError, TimeoutError):
            return False


def _stat_fields(pid: int) -> list[bytes]:
    """Fields 3 and further of /proc/<pid>/stat (proc(5)); none when there is no such process."""
    try:
        text = Path(f"/proc/{pid}/stat").read_bytes()
    except (FileNotFoundError, ProcessLookupError):
        return []
    return text.rpartition(b")")[2].split()


def _start_ticks(pid: int) -> int:
    fields = _stat_fields(pid)
    return int(fields[19]) if fields else 0


def _heard_ready(manager: socket.socket) -> bool:
    try:
        return manager.recv(200) == b"READY=1"
    except BlockingIOError:
        return False


def _accepts(port: int) -> bool:
    with socket.socket() as probe:
        probe.settimeout(2)
        return probe.connect_ex(("127.0.0.1", port)) == 0


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
