"""`rs3gwd`: reads the configuration, starts one node, and ends it on SIGTERM or SIGINT.

SIGHUP has certificate and key read again; with workers it replaces them one by one. Exit status: 0
after a drain, 1 when the node cannot run (with one line that says why), 2 when the configuration is
refused.
"""

import os
import sys

from rs3gwd.config import Config, start
from rs3gwd.daemon.process import prepare_process
from rs3gwd.daemon.worker_process import WorkerProcess, worker_command, worker_count


def main() -> None:
    """The program; never returns."""
    try:
        config = start(sys.argv[1:], os.environ, sys.stdout, sys.stderr)
        sys.stdout.flush()
    except BrokenPipeError:
        # Whoever asked has read enough; the interpreter is not to try once more at its end.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        config = 0
    sys.exit(config if isinstance(config, int) else serve(config))


def serve(config: Config) -> int:
    """Runs a node until it is told to stop; the exit status."""
    prepare_process()
    try:
        processes = [WorkerProcess(worker_command()) for _ in range(worker_count(config))]
    except OSError as error:
        print(f"rs3gwd: a worker cannot be started: {error}", file=sys.stderr)
        return 1

    # Most of a start is loading the program: core and workers do it at the same time.
    from rs3gwd.daemon.running import run_node

    return run_node(config, processes)


if __name__ == "__main__":
    main()
