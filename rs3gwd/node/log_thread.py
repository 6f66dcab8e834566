"""The thread in which a node writes its log: one that lasts, since a batch follows the last.

What it is not: it queues nothing. The host of the groups has one piece of work for the log at a
time; before the node runs, and after, the few that there are take any thread.

A hop to a lasting thread costs 100 us of processor time less than one to a thread of the pool.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TypeVar

from rs3gwd.base.ports import Threads

T = TypeVar("T")


class LogThread:
    """The port `cluster.base.ports.Threads` for the log of one node."""

    def __init__(self, threads: Threads) -> None:
        self._threads = threads
        self._at_hand = threads

    @contextmanager
    def lasting(self) -> Iterator[None]:
        """The thread is there for the length of the context, at whose end it must be idle."""
        with self._threads.lasting("log") as self._at_hand:
            try:
                yield
            finally:
                self._at_hand = self._threads

    async def run(self, function: Callable[[], T]) -> T:
        """Runs `function` and gives its result or raises its exception; one at a time."""
        return await self._at_hand.run(function)
