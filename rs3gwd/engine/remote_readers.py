"""Which workers may still read a segment that is going.

What it is not: it removes nothing. Compaction drops a segment by a commit that names none of its
bytes any more; each worker that had joined by then is told, begins no further reading of it and
answers when its last one has ended. Only when all have answered may the file go.

Why a worker that joins later need not be asked. It joins by a message that the core answers, and
reads no body before the answer. The dropping commit was published before the segment was retired,
and whoever joins after that begins its first view after the answer, hence after the publication: it
sees a state in which nothing lies in the segment. A worker that joined before is on the list. There
is nothing between, since joining and retiring are both done on the core's event loop.

A dead worker reads nothing: it leaves when its process was reaped.
"""

from __future__ import annotations

from collections.abc import Callable

import trio

from rs3gwd.engine.wire import Forget, Message, Retire

Teller = Callable[[Message], None]
"""Sends a message to one worker; must not block or raise."""


class RemoteReaders:
    """The workers that read, and for each retired segment those that have not let go of it."""

    def __init__(self) -> None:
        self._tellers: dict[int, Teller] = {}
        self._readers: dict[int, set[int]] = {}
        self._waiting = trio.lowlevel.ParkingLot()

    def join(self, worker_number: int, tell: Teller) -> None:
        """A worker begins to read."""
        self._tellers[worker_number] = tell

    def leave(self, worker_number: int) -> None:
        """A worker is dead."""
        self._tellers.pop(worker_number, None)
        for readers in self._readers.values():
            readers.discard(worker_number)
        self._waiting.unpark_all()

    def retire(self, segment_id: int) -> None:
        """A segment was dropped, by a commit that is published."""
        self._readers[segment_id] = set(self._tellers)
        for tell in list(self._tellers.values()):
            tell(Retire(segment_id))

    def released(self, worker_number: int, segment_id: int) -> None:
        """A worker reads a retired segment no more."""
        readers = self._readers.get(segment_id)
        if readers is not None:
            readers.discard(worker_number)
            self._waiting.unpark_all()

    def is_read(self, segment_id: int) -> bool:
        """Whether any worker may still read a retired segment."""
        return bool(self._readers.get(segment_id))

    async def wait_released(self, segment_id: int) -> None:
        """Until no worker reads a retired segment."""
        while self.is_read(segment_id):
            await self._waiting.park()

    def forget(self, segment_id: int) -> None:
        """A retired segment's file and row are gone."""
        self._readers.pop(segment_id, None)
        for tell in list(self._tellers.values()):
            tell(Forget(segment_id))
