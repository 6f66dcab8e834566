"""The port `Threads` without threads: blocking work is done where it is asked for.

For simulations and single-step tests: the order of all work follows from the scheduler alone.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TypeVar

import trio

T = TypeVar("T")


class InlineThreads:
    """Runs the function on the event loop, between two checkpoints as a real hop would."""

    async def run(self, function: Callable[[], T]) -> T:
        """The result or exception of `function`."""
        await trio.lowlevel.checkpoint_if_cancelled()
        try:
            return function()
        finally:
            await trio.lowlevel.cancel_shielded_checkpoint()

    @contextmanager
    def lasting(self, name: str) -> Iterator[InlineThreads]:
        """The event loop's own thread."""
        yield self
