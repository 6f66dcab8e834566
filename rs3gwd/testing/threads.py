"""The port `Threads` without threads: blocking work is done where it is asked for.

For simulations and single-step tests: the order of all work follows from the scheduler alone.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TypeVar

import trio

T = TypeVar("T")


class InlineBell:
    """A bell where there is one thread."""

    def __init__(self) -> None:
        self._rung = trio.Event()

    def ring(self) -> None:
        """The waiting task goes on."""
        self._rung.set()

    async def wait(self) -> None:
        """Waits for a ring since the last one."""
        await self._rung.wait()
        self._rung = trio.Event()

    def close(self) -> None:
        """There is nothing to free."""


class InlineThreads:
    """Runs the function on the event loop, between two checkpoints as a real hop would."""

    linger_seconds = 0.0

    def bell(self) -> InlineBell:
        """A new one."""
        return InlineBell()

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
