"""`python -m rs3gwd.daemon.worker <descriptor>`: one frontend process, started by the core alone.

This module only sees to it that the process cannot outlive its core; what it then does is in
`rs3gwd.daemon.worker_node`, which takes a third of a second to load and is therefore imported
afterwards. A signal to the whole process group (Ctrl-C in a terminal) is the core's to obey: it
sends its workers home.

Exit status: 0 after a drain or when the core went before it said what to do, 1 when the worker
cannot run, CORE_GONE when the core is dead or has given it up.
"""

import ctypes
import os
import signal
import socket
import sys

from rs3gwd.daemon.process import CORE_GONE

_PR_SET_PDEATHSIG = 1


def main() -> None:
    """The program; never returns."""
    core = os.getppid()
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    # The kernel kills this process when the core dies, be its event loop blocked or not (prctl(2)).
    if ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0):
        raise OSError(ctypes.get_errno(), "prctl")
    if os.getppid() != core:
        sys.exit(CORE_GONE)
    control = socket.socket(fileno=int(sys.argv[1]))
    control.set_inheritable(False)

    from rs3gwd.daemon.worker_node import serve_worker

    sys.exit(serve_worker(control))


if __name__ == "__main__":
    main()
