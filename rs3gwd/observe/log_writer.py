"""Puts log lines on a descriptor without making the event loop wait for it.

Like a letter box: whoever logs drops a line and goes on, a thread empties the box some twenty
times a second and writes all that is in it with one call. A pipe whose reader is stuck fills the
box; then lines are dropped, counted, and the count is logged once there is room. The daemon never
waits for its log, and its memory is bounded whatever the reader does.

The thread lingers before it empties the box because each waking contends with the event loop for
the interpreter (up to 5 ms each time, see "GIL convoy" in the design).

Where several processes write to one descriptor, each takes a lock around its call: the kernel keeps
only writes of PIPE_BUF bytes (4,096) to a pipe together (pipe(7)). It is a record lock (fcntl(2)),
which belongs to the process and is given back by its death, at whatever point.
"""

import fcntl
import os
import threading
from collections import deque

LINES_MAX = 8192
"""Lines waiting. At 20 wakings a second, 160,000 lines a second: more than one core makes."""

LINE_BYTES_MAX = 64 * 1024
"""A longer line is cut; a traceback of hundreds of frames still fits."""

LINGER_SECONDS = 0.05

CLOSE_SECONDS_MAX = 2.0
"""How long the end of the process waits for a reader that does not read."""


class LogWriter:
    """Owns a thread from `start` to `close`; `write` may be called from any thread.

    `descriptor` is open for writing and stays the caller's. A descriptor that refuses (closed
    pipe, full disk) costs the lines, not the daemon; `dropped_count` tells. `lock` is a file open
    for writing that all processes with this descriptor share, and stays the caller's.
    """

    def __init__(
        self,
        descriptor: int,
        *,
        linger_seconds: float = LINGER_SECONDS,
        lock: int | None = None,
    ) -> None:
        self._descriptor = descriptor
        self._lock = lock
        self._linger_seconds = linger_seconds
        self._lines: deque[bytes] = deque()
        self._waiting = threading.Event()
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._run, name="log-writer", daemon=True)
        self._dropped_count = 0
        self._reported_count = 0

    @property
    def dropped_count(self) -> int:
        """Lines lost since the start; approximate while several threads lose some at once."""
        return self._dropped_count

    def start(self) -> None:
        """Begins to write; lines given before wait until then."""
        self._thread.start()

    def write(self, line: bytes) -> None:
        """Takes one line with its newline; never blocks, never raises."""
        if len(self._lines) >= LINES_MAX:
            self._dropped_count += 1
            return
        if len(line) > LINE_BYTES_MAX:
            line = line[: LINE_BYTES_MAX - 1] + b"\n"
        self._lines.append(line)
        if not self._waiting.is_set():
            self._waiting.set()

    def close(self) -> None:
        """Writes what waits and ends the thread, in CLOSE_SECONDS_MAX at most."""
        self._closing.set()
        self._waiting.set()
        self._thread.join(CLOSE_SECONDS_MAX)

    def _run(self) -> None:
        while not self._closing.is_set():
            self._waiting.wait()
            self._closing.wait(self._linger_seconds)
            # Cleared before the box is emptied: a line that comes later sets it again.
            self._waiting.clear()
            self._write_waiting()
        self._write_waiting()

    def _write_waiting(self) -> None:
        lines: list[bytes] = []
        while self._lines and len(lines) < LINES_MAX:
            lines.append(self._lines.popleft())
        data = b"".join(lines)
        lost = self._dropped_count - self._reported_count
        if lost:
            data += b'{"level":"warning","event":"log lines dropped","count":%d}\n' % lost
        if not data:
            return
        if self._write_together(data):
            self._reported_count += lost
        else:
            self._dropped_count += len(lines)

    def _write_together(self, data: bytes) -> bool:
        if self._lock is None:
            return self._write_all(data)
        try:
            fcntl.lockf(self._lock, fcntl.LOCK_EX)
            try:
                return self._write_all(data)
            finally:
                fcntl.lockf(self._lock, fcntl.LOCK_UN)
        except OSError:
            # The kernel is out of locks: better no line than half of one.
            return False

    def _write_all(self, data: bytes) -> bool:
        view = memoryview(data)
        try:
            while view:
                view = view[os.write(self._descriptor, view) :]
        except OSError:
            # There is no place left to report this to but the metric of dropped lines.
            return False
        return True
