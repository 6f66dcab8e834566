"""A node as a program: its log, its signals, and what it leaves to say when it fails."""

import os
import signal
import sys
from collections.abc import AsyncIterator, Sequence

import trio

from cluster.base.errors import ClusterError
from rs3gwd.base.errors import Rs3gwError
from rs3gwd.config import Config
from rs3gwd.daemon.logs import make_log_lock, open_logs
from rs3gwd.daemon.node import Node, Orders
from rs3gwd.daemon.process import leaves_of
from rs3gwd.daemon.worker_process import WorkerProcess
from rs3gwd.engine.system import SystemClock
from rs3gwd.observe.notify import Notifier


def run_node(config: Config, processes: Sequence[WorkerProcess]) -> int:
    """Runs a node, with these workers, until SIGTERM or SIGINT; the exit status."""
    logs = open_logs(config, SystemClock(), lock=make_log_lock() if processes else None)
    node = Node(config, logs=logs, notifier=Notifier(os.environ), processes=processes)
    try:
        trio.run(_serve, node)
    except (Rs3gwError, ClusterError, OSError, ExceptionGroup) as error:
        causes = leaves_of(error)
        if not all(isinstance(cause, (Rs3gwError, ClusterError, OSError)) for cause in causes):
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
