"""One worker as a process: started, watched by the kernel, killed, reaped.

The child is made in the thread that calls (the core's first one), for two reasons: `vfork` and
`exec` at once are safe beside other threads, and PR_SET_PDEATHSIG, by which a worker dies with its
core, means the *thread* that made it (prctl(2)). It takes about a millisecond.

This module loads little, since the first workers are started before the core loads the rest of
itself: they load the same at the same time.
"""

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Sequence

from rs3gwd.config import Config
from rs3gwd.config.option import AUTO


def worker_count(config: Config) -> int:
    """Frontend processes to run, 0 for none: a node of a cluster is one process, since its groups
    and its clients share one view of what is proved to be current."""
    if config.cluster_enabled:
        return 0
    if config.workers != AUTO:
        return config.workers
    return len(os.sched_getaffinity(0))


def worker_command() -> list[str]:
    """The program of a worker, run by the same interpreter."""
    # `-m` puts the working directory before all else: right where the core itself came from there,
    # and elsewhere a way to bring foreign code in.
    came_from_here = bool(sys.path) and sys.path[0] in ("", os.getcwd())
    return [sys.executable, *([] if came_from_here else ["-P"]), "-m", "rs3gwd.daemon.worker"]


class WorkerProcess:
    """A running child with the core's end of its control socket."""

    def __init__(self, command: Sequence[str]) -> None:
        """Starts `command` with the descriptor of its control socket as the last argument.

        Raises OSError.
        """
        self.control, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
        with theirs:
            try:
                self._child = subprocess.Popen(
                    [*command, str(theirs.fileno())],
                    stdin=subprocess.DEVNULL,
                    pass_fds=(theirs.fileno(),),
                )
            except OSError:
                self.control.close()
                raise
        self._descriptor = os.pidfd_open(self._child.pid)

    @property
    def pid(self) -> int:
        """The process id."""
        return self._child.pid

    @property
    def descriptor(self) -> int:
        """Means this very process, while a number alone could come to mean another; readable once
        it is dead (pidfd_open(2)), until `reap`."""
        return self._descriptor

    def kill(self) -> None:
        """SIGKILL; nothing when it is dead already."""
        if self._child.returncode is None:
            signal.pidfd_send_signal(self._descriptor, signal.SIGKILL)

    def reap(self) -> None:
        """Waits, blocking, for the end of the process, and closes the descriptor of it."""
        if self._child.returncode is None:
            self._child.wait()
            os.close(self._descriptor)

    @property
    def end(self) -> str:
        """How it ended, for a person: `exit status 1`, `SIGKILL`."""
        code = self._child.returncode
        if code is None:
            return "running"
        if code >= 0:
            return f"exit status {code}"
        try:
            return signal.Signals(-code).name
        except ValueError:
            return f"signal {-code}"
