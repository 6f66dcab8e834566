"""The access log: one line for each request that was answered or broken off.

It goes round structlog, since at 16,000 requests a second there are 60 us for a request and
structlog's chain would take ten of them: the entry is a msgspec Struct, encoded in about a
microsecond and dropped into the writer's box.

What a caller may have written into a URL is masked (`rs3gwd.observe.redact.redact_target`), and the
target is cut at TARGET_CHARACTERS_MAX. Bodies and header values are never logged.
"""

from collections.abc import Callable

import msgspec
from msgspec import Struct

from rs3gwd.observe.log_writer import LogWriter
from rs3gwd.observe.redact import redact_target
from rs3gwd.observe.timestamps import Timestamps

TARGET_CHARACTERS_MAX = 4096
"""A key of 1,024 bytes, each percent-encoded, takes 3,072; a usual query fits behind it."""


class AccessEntry(Struct, frozen=True, omit_defaults=True):
    """One line. Durations are milliseconds, sizes bytes of body; `worker` is the number of the
    process, and stays out where there is only one."""

    time: str
    event: str
    request_id: str
    peer: str
    access_key: str
    method: str
    target: str
    operation: str
    status: int
    error: str
    bytes_in: int
    bytes_out: int
    duration_ms: float
    worker: int = 0


class AccessLog:
    """Writes entries as JSON, or as lines for a person where `is_json` is False."""

    def __init__(
        self, writer: LogWriter, *, is_json: bool, now_ms: Callable[[], int], worker: int = 0
    ) -> None:
        self._worker = worker
        self._write = writer.write
        self._is_json = is_json
        self._timestamps = Timestamps(now_ms)
        self._encode = msgspec.json.Encoder().encode

    def write(
        self,
        *,
        request_id: str,
        peer: str,
        access_key: str,
        method: str,
        target: str,
        operation: str,
        status: int,
        error_code: str,
        bytes_in: int,
        bytes_out: int,
        seconds: float,
    ) -> None:
        """Logs one request; never blocks.

        `peer` is the client's address, `access_key` the id of the key that signed (empty:
        anonymous), `target` the request target as it came, `status` the HTTP status (0: none was
        sent), `error_code` the S3 error code (empty: none), `seconds` from the first byte of the
        request to the last of the answer.
        """
        if len(target) > TARGET_CHARACTERS_MAX:
            # Cutting behind the masking would still be right, but masks what is then cut.
            target = target[:TARGET_CHARACTERS_MAX]
        entry = AccessEntry(
            self._timestamps.now(),
            "access",
            request_id,
            peer,
            access_key,
            method,
            redact_target(target),
            operation,
            status,
            error_code,
            bytes_in,
            bytes_out,
            round(seconds * 1000, 3),
            self._worker,
        )
        self._write(self._encode(entry) + b"\n" if self._is_json else _console_line(entry))


def _console_line(entry: AccessEntry) -> bytes:
    outcome = f"{entry.status} {entry.error}".rstrip()
    line = (
        f"{entry.time[11:23]} {entry.method} {entry.target} {outcome}  {entry.operation} "
        f"{entry.access_key or 'anonymous'} {entry.peer} in={entry.bytes_in} "
        f"out={entry.bytes_out} {entry.duration_ms:.1f}ms {entry.request_id}"
    )
    if entry.worker:
        line += f" worker={entry.worker}"
    # Whatever a client sent, it moves no cursor and begins no line of its own.
    return line.encode("utf-8" if line.isprintable() else "unicode_escape") + b"\n"
