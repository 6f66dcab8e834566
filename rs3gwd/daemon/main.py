"""`rs3gwd`: reads the configuration, starts one node, and ends it on SIGTERM or SIGINT.

Exit status: 0 after a drain, 1 when the node cannot run (with one line that says why), 2 when the
configuration is refused.
"""

import gc
import os
import resource
import signal
import sys
from collections.abc import AsyncIterator

import trio

from rs3gwd.base.errors import Rs3gwError
from rs3gwd.config import Config, start
from rs3gwd.daemon.logs import open_logs
from rs3gwd.daemon.node import Node
from rs3gwd.engine.system import SystemClock
from rs3gwd.observe.notify import Notifier

SWITCH_INTERVAL_SECONDS = 0.0005
"""How long a native call waits for the GIL beside a busy loop; Python's 5 ms turned an LMDB commit
of 0.2 ms into 7 (DESIGN D2)."""


GC_THRESHOLDS = (10_000, 10, 10)
"""Container objects made and not freed between two collections of the young, and how many of those
make one of the older. With 64 PUTs in flight Python's 700 collected after each 23 PUTs, never found
anything, and cost a PUT 13 us."""


def main() -> None:
    """The program; never returns."""
    config = start(sys.argv[1:], os.environ, sys.stdout, sys.stderr)
    sys.exit(config if isinstance(config, int) else serve(config))


def serve(config: Config) -> int:
    """Runs a node until it is told to stop; the exit status."""
    sys.setswitchinterval(SWITCH_INTERVAL_SECONDS)
    gc.set_threshold(*GC_THRESHOLDS)
    os.umask(0o077)
    _raise_descriptor_limit()
    logs = open_logs(config, SystemClock())
    try:
        trio.run(_serve, Node(config, logs=logs, notifier=Notifier(os.environ)))
    except (Rs3gwError, OSError, ExceptionGroup) as error:
        causes = _leaves(error)
        if not all(isinstance(cause, (Rs3gwError, OSError)) for cause in causes):
            raise
        for cause in causes:
            print(f"rs3gwd: {cause}", file=sys.stderr)
        return 1
    finally:
        logs.writer.close()
    return 0


def _raise_descriptor_limit() -> None:
    """Takes all the open files that may be had: the soft limit, mostly 1,024, is for programs that
    call select(2) (setrlimit(2))."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


async def _serve(node: Node) -> None:
    stop = trio.Event()
    with trio.open_signal_receiver(signal.SIGTERM, signal.SIGINT) as signals:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(_stop_on_signal, signals, stop)
            await node.run(stop)
            nursery.cancel_scope.cancel()


async def _stop_on_signal(signals: AsyncIterator[int], stop: trio.Event) -> None:
    async for _ in signals:
        stop.set()


def _leaves(error: Exception) -> list[Exception]:
    """The errors in a group of groups, or the one error."""
    if not isinstance(error, ExceptionGroup):
        return [error]
    return [leaf for part in error.exceptions for leaf in _leaves(part)]


if __name__ == "__main__":
    main()
