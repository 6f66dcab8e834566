"""Randomness that a seed replays: the port `Random` for tests and simulations."""

from __future__ import annotations

import random


class SeededRandom:
    """The same seed gives the same bytes; not fit for secrets."""

    def __init__(self, seed: int) -> None:
        self._source = random.Random(seed)

    def token_bytes(self, count: int) -> bytes:
        """`count` bytes."""
        return self._source.randbytes(count)
