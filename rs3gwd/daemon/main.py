"""`rs3gwd`: reads the configuration, starts one node, and ends it on SIGTERM or SIGINT.

SIGHUP has certificate and key read again; with workers it replaces them one by one. Exit status: 0
after a drain, 1 when the node cannot run (with one line that says why), 2 when the configuration is
refused.
"""

import os
import signal
import sys
from collections.abc import AsyncIterator

import trio

from rs3gwd.base.errors import Rs3gwError
from rs3gwd.config import Config, start
from rs3gwd.daemon.logs import make_log_lock, open_logs
from rs3gwd.daemon.node import Node, Orders
from rs3gwd.daemon.process import leaves_of, prepare_process
from rs3gwd.daemon.settings import worker_count
from rs3gwd.engine.system import SystemClock
from rs3gwd.observe.notify import Notifier


def main() -> None:
    """The program; never returns."""
    config = start(sys.argv[1:], os.environ, sys.stdout, sys.stderr)
    sys.exit(config if isinstance(config, int) else serve(config))


def serve(config: Config) -> int:
    """Runs a node until it is told to stop; the exit status."""
    prepare_process()
    lock = make_log_lock() if worker_count(config) else None
    logs = open_logs(config, SystemClock(), lock=lock)
    try:
        trio.run(_serve, Node(config, logs=logs, notifier=Notifier(os.environ)))
    except (Rs3gwError, OSError, ExceptionGroup) as error:
        causes = leaves_of(error)
        if not all(isinstance(cause, (Rs3gwError, OSError)) for cause in causes):
            raise
        for cause in causes:
            print(f"rs3gwd: {cause}", file=sys.stderr)
        return 1
    finally:
        logs.writer.close()
    return 0


async def _serve(node: Node) -> None:
    orders = Orders()
    with trio.open_signal_receiver(signal.SIGTERM, signal.SIGINT, signal.SIGHUP) as signals:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(_obey, signals, orders)
            await node.run(orders)
            nursery.cancel_scope.cancel()


async def _obey(signals: AsyncIterator[int], orders: Orders) -> None:
    async for number in signals:
        (orders.reload if number == signal.SIGHUP else orders.stop).set()


if __name__ == "__main__":
    main()
