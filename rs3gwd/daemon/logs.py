"""The logs of one process: where lines go, what is masked in them, and the access log."""

import os
import sys

from msgspec import Struct

from rs3gwd.base.ports import Clock
from rs3gwd.config import Config
from rs3gwd.config.settings import LogFormat
from rs3gwd.observe.access_log import AccessLog
from rs3gwd.observe.log_writer import LogWriter
from rs3gwd.observe.logs import configure_logging
from rs3gwd.observe.redact import Redactor


class Logs(Struct, frozen=True):
    """The open logs; `access_log` is None where the configuration turns it off, `lock` is the
    descriptor that all processes of a daemon with workers share."""

    writer: LogWriter
    redactor: Redactor
    access_log: AccessLog | None
    lock: int | None = None


def make_log_lock() -> int:
    """A lock for processes that write to one log; a descriptor that lives as long as they do."""
    return os.memfd_create("rs3gw-log", os.MFD_CLOEXEC)


def open_logs(config: Config, clock: Clock, *, worker: int = 0, lock: int | None = None) -> Logs:
    """Sends all logs of the process to standard output; `writer` is started and to be closed.

    `worker` is the number of a worker; `lock` is given where several processes write.
    """
    writer = LogWriter(sys.stdout.fileno(), lock=lock)
    redactor = Redactor()
    if config.secret_key:
        redactor.add_secret(config.secret_key)
    is_json = config.log_format is LogFormat.JSON or (
        config.log_format is LogFormat.AUTO and not sys.stdout.isatty()
    )
    configure_logging(
        writer,
        redactor,
        level=config.log_level,
        is_json=is_json,
        now_ms=clock.now_ms,
        worker=worker,
    )
    access_log = None
    if config.access_log:
        access_log = AccessLog(writer, is_json=is_json, now_ms=clock.now_ms, worker=worker)
    writer.start()
    return Logs(writer, redactor, access_log, lock)
