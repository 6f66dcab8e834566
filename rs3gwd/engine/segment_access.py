"""Reading segments while others delete and compact: open descriptors and pins.

What it is not: it reads no bytes. It answers two questions: which descriptor reads a segment, and
may a dropped segment's file go.

Descriptors are kept in a bounded cache, least recently used out first, never while in use. A
reader pins the segments it will read; compaction drops a segment by moving its live bytes and
committing that, then calls `retire`; the file goes when the last pin does, in this process and in
the workers (`remote_readers`). A reader that looked its blobs up before that commit and pins after
`retire` is refused by `pin` and looks them up again.

Everything here belongs to the event loop: between a look-up and a pin without an await nothing
else can happen.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterable
from functools import partial

from rs3gwd.base.errors import DataCorrupt
from rs3gwd.base.memory import SpareBuffers
from rs3gwd.base.ports import Disk, Threads
from rs3gwd.engine.remote_readers import RemoteReaders
from rs3gwd.engine.segments import segment_path


class OpenSegment:
    """A descriptor and how many reads are using it."""

    __slots__ = ("descriptor", "users")

    def __init__(self, descriptor: int) -> None:
        self.descriptor = descriptor
        self.users = 0


class SegmentAccess:
    """Descriptors and pins of the segments of one store.

    `buffers` are for what is read. `exists` says which it has; `on_unread` is called when nobody
    here reads a retired one any more.
    """

    def __init__(
        self,
        disk: Disk,
        threads: Threads,
        *,
        descriptors_max: int,
        exists: Callable[[int], bool],
        on_unread: Callable[[], None] = lambda: None,
    ) -> None:
        self.remote = RemoteReaders()
        self.buffers = SpareBuffers()
        self._on_unread = on_unread
        self._disk = disk
        self._threads = threads
        self._exists = exists
        self._descriptors_max = descriptors_max
        self._open: OrderedDict[int, OpenSegment] = OrderedDict()
        self._pins: dict[int, int] = {}
        self._retired: set[int] = set()

    def pin(self, segment_ids: Iterable[int]) -> bool:
        """Keeps the files of some segments, or does nothing and says False if one is going."""
        wanted = list(segment_ids)
        for segment_id in wanted:
            if segment_id in self._retired or not self._exists(segment_id):
                return False
        for segment_id in wanted:
            self._pins[segment_id] = self._pins.get(segment_id, 0) + 1
        return True

    def unpin(self, segment_ids: Iterable[int]) -> None:
        """Ends a `pin` of the same segments."""
        for segment_id in segment_ids:
            count = self._pins[segment_id] - 1
            if count:
                self._pins[segment_id] = count
            else:
                del self._pins[segment_id]
                if segment_id in self._retired:
                    self._on_unread()

    def retire(self, segment_id: int) -> None:
        """A segment was dropped: nobody may begin to read it."""
        self._retired.add(segment_id)
        self.remote.retire(segment_id)

    def removable(self) -> list[int]:
        """Retired segments that nobody reads; their cached descriptors are closed."""
        free = [
            segment_id
            for segment_id in self._retired
            if segment_id not in self._pins and not self.remote.is_read(segment_id)
        ]
        for segment_id in free:
            entry = self._open.get(segment_id)
            if entry is not None and not entry.users:
                self._close(segment_id)
        return [segment_id for segment_id in free if segment_id not in self._open]

    def forget(self, segment_id: int) -> None:
        """A retired segment's file and row are gone."""
        self._retired.discard(segment_id)
        self.remote.forget(segment_id)

    def peek(self, segment_id: int) -> int | None:
        """The descriptor if it is open already, for a read that ends before the next await."""
        entry = self._open.get(segment_id)
        if entry is None:
            return None
        self._open.move_to_end(segment_id)
        return entry.descriptor

    async def acquire(self, segment_id: int) -> OpenSegment:
        """The open segment, kept open until `release`. Raises DataCorrupt when it is missing."""
        entry = self._open.get(segment_id)
        if entry is None:
            entry = await self._open_anew(segment_id)
        self._open.move_to_end(segment_id)
        entry.users += 1
        return entry

    def release(self, entry: OpenSegment) -> None:
        """Ends an `acquire`."""
        entry.users -= 1
        self._shrink()

    def close(self) -> None:
        """Closes all descriptors; nothing may be in use."""
        for segment_id in list(self._open):
            self._close(segment_id)

    async def _open_anew(self, segment_id: int) -> OpenSegment:
        path = segment_path(segment_id)
        try:
            descriptor = await self._threads.run(partial(self._disk.open, path))
        except FileNotFoundError as error:
            raise DataCorrupt(f"{path} is missing") from error
        entry = self._open.get(segment_id)
        if entry is not None:  # another reader was faster
            self._disk.close(descriptor)
            return entry
        entry = self._open[segment_id] = OpenSegment(descriptor)
        entry.users += 1
        self._shrink()
        entry.users -= 1
        return entry

    def _shrink(self) -> None:
        if len(self._open) <= self._descriptors_max:
            return
        for segment_id, entry in list(self._open.items()):
            if not entry.users:
                self._close(segment_id)
                if len(self._open) <= self._descriptors_max:
                    return

    def _close(self, segment_id: int) -> None:
        self._disk.close(self._open.pop(segment_id).descriptor)
