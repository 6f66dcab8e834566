"""How many second questions may be asked: a share of the first ones, and never more.

What it is not: it does not say when. Without a bound, hedging makes an overload worse: when every
node is slow every read is asked twice (Dean and Barroso, "The Tail at Scale", section "Hedged
requests": they send 2 % more). Each read earns a share of a hedge; what is earned is kept up to
BURST hedges.

Invariant: at any moment hedges <= share * reads.
"""

from typing import Final

BURST: Final = 16
"""Unit: hedges that may be saved up."""


class HedgeBudget:
    """`share` of the reads, 0 (never hedge) to 1."""

    def __init__(self, share: float, *, burst: int = BURST) -> None:
        assert 0.0 <= share <= 1.0
        self._share = share
        self._burst = burst
        self._saved = 0.0

    def earn(self) -> None:
        """A read begins."""
        self._saved = min(self._saved + self._share, float(self._burst))

    def take(self) -> bool:
        """Whether a hedge may be sent now; it counts as sent."""
        if self._saved < 1.0:
            return False
        self._saved -= 1.0
        return True
