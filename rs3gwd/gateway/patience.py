"""How long a client may keep us waiting: a bucket of seconds. Pure; time comes as an argument.

A limit per wait lets a client drip one byte a time for ever; a limit on the average lets one that
was fast stop for hours. So each body has a bucket that starts full with `seconds_max`. Waiting
takes seconds out, each byte that moves puts `1 / bytes_per_second_min` in, and it never holds more
than `seconds_max`. Only waits for the client count, not our own disk. When it is empty, the client
has lost (AWS answers 400 RequestTimeout after about 20 silent seconds).

Invariant: a client that moves at least `bytes_per_second_min` in every stretch of `seconds_max`
seconds never runs out; one that stops runs out after at most `seconds_max`.
"""


class Patience:
    """The bucket of one body in one direction."""

    __slots__ = ("_bytes_per_second_min", "_left", "_seconds_max", "_since")

    def __init__(self, *, seconds_max: float, bytes_per_second_min: int) -> None:
        self._seconds_max = seconds_max
        self._bytes_per_second_min = bytes_per_second_min
        self._left = seconds_max
        self._since = 0.0

    def deadline_from(self, now: float) -> float:
        """A wait for the client begins at `now` (seconds): when it must end at the latest."""
        self._since = now
        return now + self._left

    def moved(self, now: float, bytes_count: int) -> None:
        """The wait ended at `now` and `bytes_count` bytes went through."""
        left = self._left - (now - self._since) + bytes_count / self._bytes_per_second_min
        self._left = min(self._seconds_max, max(0.0, left))
        self._since = now
