"""The log of the daemon: structlog events as JSON or as lines for a person.

Whoever logs says `structlog.get_logger()` and `log.info("segment sealed", segment=7)`: an event is
a constant phrase, what varies goes into fields. The id of the request being served is added by
itself, since trio carries context variables from a task to its children and into threads. What
libraries log through the standard `logging` comes out of the same pipe.

A line of JSON costs about 10 us, so nothing is logged per request but the access log, which has a
short way of its own (`rs3gwd.observe.access_log`).
"""

import logging
from collections.abc import Callable
from contextvars import ContextVar
from typing import Any

import msgspec
import structlog
from structlog.typing import EventDict

from rs3gwd.observe.log_writer import LogWriter
from rs3gwd.observe.redact import Redactor
from rs3gwd.observe.timestamps import Timestamps

REQUEST_ID: ContextVar[str] = ContextVar("request_id", default="")
"""The id of the request that this task serves; set by the gateway, empty elsewhere."""

LEVELS = {
    "debug": logging.DEBUG,
    "info": logging.INFO,
    "warning": logging.WARNING,
    "error": logging.ERROR,
}


def configure_logging(
    writer: LogWriter,
    redactor: Redactor,
    *,
    level: str,
    is_json: bool,
    now_ms: Callable[[], int],
    worker: int = 0,
) -> None:
    """Sends every event of `level` (a key of LEVELS) and above to `writer`.

    Called once, by the daemon: structlog and logging keep their configuration in the process.
    `now_ms` gives milliseconds since 1970, UTC. `worker` is the number of this process, a field of
    every line; 0 for the only or the first one, which says nothing.
    """
    timestamps = Timestamps(now_ms)

    def add_context(logger: Any, method: str, event: EventDict) -> EventDict:
        head: EventDict = {"time": timestamps.now(), "level": method, "event": event.pop("event")}
        if worker:
            head["worker"] = worker
        request_id = REQUEST_ID.get()
        if request_id:
            head["request_id"] = request_id
        return {**head, **event}

    structlog.configure(
        processors=[
            add_context,
            structlog.processors.format_exc_info,
            redactor,
            _render_json if is_json else _render_console,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(LEVELS[level]),
        logger_factory=lambda *_: _LineLogger(writer),
        cache_logger_on_first_use=True,
    )
    root = logging.getLogger()
    root.handlers = [_StandardHandler()]
    # Libraries tell their daily life at INFO; ours is told by us.
    root.setLevel(max(LEVELS[level], logging.WARNING))


class _LineLogger:
    """The end of structlog's chain: each level's method gets the finished line."""

    def __init__(self, writer: LogWriter) -> None:
        self._write = writer.write

    def debug(self, line: bytes) -> None:
        self._write(line)

    info = warning = error = critical = debug


class _StandardHandler(logging.Handler):
    """Hands the records of `logging` to structlog."""

    def emit(self, record: logging.LogRecord) -> None:
        log = structlog.get_logger()
        level = max(record.levelno, logging.DEBUG)
        method = log.error if level >= logging.ERROR else log.warning
        if level < logging.WARNING:
            method = log.info if level >= logging.INFO else log.debug
        method(record.getMessage(), logger=record.name, exc_info=record.exc_info)


def _render_json(logger: Any, method: str, event: EventDict) -> bytes:
    return msgspec.json.encode(event) + b"\n"


def _render_console(logger: Any, method: str, event: EventDict) -> bytes:
    time, level, phrase = event.pop("time"), event.pop("level"), event.pop("event")
    exception = event.pop("exception", None)
    fields = " ".join(f"{name}={_show(value)}" for name, value in event.items())
    line = f"{time[11:23]} {level:<8}{_one_line(phrase)}  {fields}".rstrip() + "\n"
    if exception:
        line += f"{exception}\n"
    return line.encode("utf-8", "backslashreplace")


def _show(value: object) -> str:
    text = _one_line(str(value))
    return f"'{text}'" if " " in text or not text else text


def _one_line(text: str) -> str:
    return text if text.isprintable() else text.encode("unicode_escape").decode()
