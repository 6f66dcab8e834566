"""Whether a worker lives, and when to start another one. Pure; time comes as an argument.

The everyday picture is a night watchman who counts how often he has gone round since he last saw
somebody, and does not count the hours that he himself slept: `Silence` adds up the time between the
core's own looks, each look at most LOOK_SECONDS_MAX of it. So a core that was stopped, or a machine
that was suspended, does not find all its workers silent when it comes back.

`BackOff` is for those that die young: the first replacement comes at once, since whatever killed
one worker need not kill the next; when they die one after the other, a fault is in all of them, and
starting them as fast as they die would only take the machine from those who look for it.
"""

LOOK_SECONDS = 0.5
"""Between two looks at the workers."""

LOOK_SECONDS_MAX = LOOK_SECONDS
"""What one look can add, however long the core was away: the words that came meanwhile may be read
only after it."""

START_SECONDS_MAX = 60.0
"""How long a worker may take to become ready. It takes half a second; a machine that swaps may
need a hundred times as much."""

YOUNG_SECONDS = 10.0
"""A worker that died younger counts as a failed start."""

DELAY_SECONDS_FIRST = 0.1
DELAY_SECONDS_MAX = 5.0
"""The wait before a start after two failed ones, doubled with each further one, up to this."""


class Silence:
    """How long one worker has said nothing; until it is ready, how long it takes to be."""

    def __init__(self, patience_seconds: float) -> None:
        self._patience_seconds = patience_seconds
        self._is_ready = False
        self._seconds = 0.0

    def ready(self) -> None:
        """The worker serves; from now on it must be heard."""
        self._is_ready = True
        self._seconds = 0.0

    def heard(self) -> None:
        """The worker said something."""
        if self._is_ready:
            self._seconds = 0.0

    def is_too_long(self, seconds: float) -> bool:
        """`seconds` have passed since the last look: whether it is to be given up."""
        self._seconds += min(seconds, LOOK_SECONDS_MAX)
        return self._seconds > (self._patience_seconds if self._is_ready else START_SECONDS_MAX)


class BackOff:
    """When to start the next worker in one place."""

    def __init__(self) -> None:
        self._failures = 0

    @property
    def failures(self) -> int:
        """How many in a row died young."""
        return self._failures

    def delay_after(self, lived_seconds: float) -> float:
        """A worker ended after so long without having been asked to: seconds to wait now."""
        if lived_seconds >= YOUNG_SECONDS:
            self._failures = 0
            return 0.0
        self._failures += 1
        if self._failures == 1:
            return 0.0
        # The exponent is bounded, so that no count of failures can overflow.
        delay = DELAY_SECONDS_FIRST * 2.0 ** min(self._failures - 2, 16)
        return min(delay, DELAY_SECONDS_MAX)
