"""`rs3gwd`: reads the configuration, starts one node, and ends it on SIGTERM or SIGINT.

Exit status: 0 after a drain, 1 when the node cannot run (with one line that says why), 2 when the
configuration is refused.
"""

import os
import signal
import sys
from collections.abc import AsyncIterator

import trio

from rs3gwd.base.errors import Rs3gwError
from rs3gwd.config import Config, start
from rs3gwd.config.settings import LogFormat
from rs3gwd.daemon.node import Node
from rs3gwd.engine.system import SystemClock
from rs3gwd.observe.access_log import AccessLog
from rs3gwd.observe.log_writer import LogWriter
from rs3gwd.observe.logs import configure_logging
from rs3gwd.observe.notify import Notifier
from rs3gwd.observe.redact import Redactor

SWITCH_INTERVAL_SECONDS = 0.0005
"""How long a native call waits for the GIL beside a busy loop; Python's 5 ms turned an LMDB commit
of 0.2 ms into 7 (DESIGN D2)."""


def main() -> None:
    """The program; never returns."""
    config = start(sys.argv[1:], os.environ, sys.stdout, sys.stderr)
    sys.exit(config if isinstance(config, int) else serve(config))


def serve(config: Config) -> int:
    """Runs a node until it is told to stop; the exit status."""
    sys.setswitchinterval(SWITCH_INTERVAL_SECONDS)
    os.umask(0o077)
    writer = LogWriter(sys.stdout.fileno())
    redactor = Redactor()
    if config.secret_key:
        redactor.add_secret(config.secret_key)
    is_json = config.log_format is LogFormat.JSON or (
        config.log_format is LogFormat.AUTO and not sys.stdout.isatty()
    )
    clock = SystemClock()
    configure_logging(
        writer, redactor, level=config.log_level, is_json=is_json, now_ms=clock.now_ms
    )
    access_log = None
    if config.access_log:
        access_log = AccessLog(writer, is_json=is_json, now_ms=clock.now_ms)
    writer.start()
    try:
        trio.run(_serve, Node(config, access_log=access_log, notifier=Notifier(os.environ)))
    except (Rs3gwError, OSError, ExceptionGroup) as error:
        causes = _leaves(error)
        if not all(isinstance(cause, (Rs3gwError, OSError)) for cause in causes):
            raise
        for cause in causes:
            print(f"rs3gwd: {cause}", file=sys.stderr)
        return 1
    finally:
        writer.close()
    return 0


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
