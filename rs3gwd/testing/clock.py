"""Clocks for tests: the port `Clock` with a time that the test decides."""

from __future__ import annotations

TEST_EPOCH_MS = 1_700_000_000_000
"""2023-11-14T22:13:20Z: where these clocks start when nothing else is said."""


class FixedClock:
    """A clock that stands still."""

    def __init__(self, now_ms: int = TEST_EPOCH_MS) -> None:
        self._now_ms = now_ms

    def now_ms(self) -> int:
        """The one time it knows."""
        return self._now_ms

    def monotonic(self) -> float:
        """The same time in seconds."""
        return self._now_ms / 1000


class ManualClock:
    """A clock that a test moves; the wall clock can be set apart from the monotonic one."""

    def __init__(self, now_ms: int = TEST_EPOCH_MS) -> None:
        self._now_ms = now_ms
        self._elapsed_ms = 0

    def now_ms(self) -> int:
        """Milliseconds since 1970-01-01 UTC."""
        return self._now_ms

    def monotonic(self) -> float:
        """Seconds that were advanced since the clock was made."""
        return self._elapsed_ms / 1000

    def advance(self, milliseconds: int) -> None:
        """Time passes on both clocks."""
        assert milliseconds >= 0, "a monotonic clock never goes back"
        self._now_ms += milliseconds
        self._elapsed_ms += milliseconds

    def set_wall(self, now_ms: int) -> None:
        """Someone sets the wall clock, backwards if they like."""
        self._now_ms = now_ms
