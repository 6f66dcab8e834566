"""The time of a log line, RFC 3339 with milliseconds in UTC, at the cost of one comparison.

Lines come many to the second, so the part down to the second is made once a second.
"""

from collections.abc import Callable
from datetime import UTC, datetime


class Timestamps:
    """Formats the present; `now_ms` gives milliseconds since 1970, UTC."""

    def __init__(self, now_ms: Callable[[], int]) -> None:
        self._now_ms = now_ms
        self._second = -1
        self._prefix = ""

    def now(self) -> str:
        """As `2026-11-22T18:04:09.123Z`."""
        second, milliseconds = divmod(self._now_ms(), 1000)
        prefix = self._prefix
        if second != self._second:
            prefix = datetime.fromtimestamp(second, UTC).strftime("%Y-%m-%dT%H:%M:%S")
            # Two threads may both come here; each line uses its own prefix, so none is wrong.
            self._prefix, self._second = prefix, second
        return f"{prefix}.{milliseconds:03d}Z"
