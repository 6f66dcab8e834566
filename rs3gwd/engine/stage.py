"""Receiving one body: from the first byte to a blob that a command can name.

What it is not: it knows no command, no key and no metadata; the process that receives bodies may
be another one than the one that commits (DESIGN D5). It hands over a `StagedBody`: bytes in memory
(small) or the extents where they lie (large), and which lanes hold them.

A body starts in memory. While it is at most `small_bytes_max` it stays there, and the commit
appends it together with the other small ones. Beyond that it moves to a lane of its own
(`lane_writer`). A large body holds a few MiB whatever its size. When too many bodies hold so much,
a further one is lean: it takes smaller steps, one at a time, and is a little slower, but it is not
refused.

Left without a commit, the lanes are given back and the bytes in them written over.
"""

from __future__ import annotations

from collections.abc import Callable
from enum import Enum
from types import TracebackType

from rs3gwd.base.memory import FREE_BYTES, MemoryPool
from rs3gwd.base.ports import Buffer
from rs3gwd.base.records import BlobRef, Durability
from rs3gwd.engine.blobs import BlobIds, Extent
from rs3gwd.engine.health import DiskHealth, SpaceGuard
from rs3gwd.engine.lane_writer import LaneWriter
from rs3gwd.engine.lanes import Lanes, SmallBody
from rs3gwd.engine.segment_format import BlockChecksums, extent_checksum, pack_table
from rs3gwd.engine.segments import SegmentWriter
from rs3gwd.engine.workers import Workers

PIECE_BUFFERS_MAX = 512
"""Buffers in memory before they are joined: a body may come in chunks of one byte."""

LARGE_BODY_MEMORY_BYTES = 4 << 20
"""What a large body holds, with whoever feeds it: the belt of a PUT has so much, and a copy two
pieces of 1 MiB in line, one being gathered and one being read."""


class StagedState(Enum):
    """What has become of a staged body."""

    STAGED = "staged"
    SUBMITTED = "submitted"
    COMMITTED = "committed"


class StagedBody:
    """A received body, waiting for its command. `small` or `extents` is filled, or neither (empty).

    `synced` says that the extents are on stable storage. `state` is kept by the pipeline.
    """

    __slots__ = ("durability", "extents", "ref", "small", "state", "synced")

    def __init__(
        self,
        ref: BlobRef | None,
        durability: Durability,
        *,
        small: SmallBody | None = None,
        extents: list[Extent] | None = None,
        synced: bool = False,
    ) -> None:
        self.ref = ref
        self.durability = durability
        self.small = small
        self.extents = extents or []
        self.synced = synced
        self.state = StagedState.STAGED


class StageParts:
    """What every stage needs of the engine, in one value."""

    __slots__ = (
        "blob_ids", "health", "memory", "pool", "small_bytes_max", "space", "store", "workers",
    )  # fmt: skip

    def __init__(
        self,
        *,
        blob_ids: BlobIds,
        health: DiskHealth,
        memory: MemoryPool,
        pool: Lanes,
        small_bytes_max: int,
        space: SpaceGuard,
        store: SegmentWriter,
        workers: Workers,
    ) -> None:
        self.blob_ids = blob_ids
        self.health = health
        self.memory = memory
        self.pool = pool
        self.small_bytes_max = small_bytes_max
        self.space = space
        self.store = store
        self.workers = workers


class BodyStage:
    """One body being received: an async context manager; see the head note.

    `size_hint` is the exact size in bytes where it is known, `blob_id` the blob's where it has one
    already: on another node.
    """

    __slots__ = (
        "_blob_id", "_durability", "_held_bytes", "_parts", "_pieces", "_size_bytes", "_size_hint",
        "_staged", "_writer", "is_lean",
    )  # fmt: skip

    def __init__(
        self,
        parts: StageParts,
        *,
        size_hint: int | None,
        durability: Durability,
        blob_id: bytes | None = None,
    ) -> None:
        self._parts = parts
        self._blob_id = blob_id
        self._size_hint = size_hint
        self._durability = durability
        self._pieces: list[bytes] = []
        self._size_bytes = 0
        self._held_bytes = 0
        self._writer: LaneWriter | None = None
        self._staged: StagedBody | None = None
        self.is_lean = False

    async def __aenter__(self) -> BodyStage:
        parts = self._parts
        parts.health.check()
        size = self._size_hint
        if not parts.space.admit_nowait(size or 0):
            await parts.space.admit(size or 0)
        if size is None or size > parts.small_bytes_max:
            self.is_lean = not parts.memory.take_spare(LARGE_BODY_MEMORY_BYTES)
            self._held_bytes = 0 if self.is_lean else LARGE_BODY_MEMORY_BYTES
        elif size > FREE_BYTES:
            parts.memory.take(size - FREE_BYTES)
            self._held_bytes = size - FREE_BYTES
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._parts.memory.give_back(self._held_bytes)
        if self._writer is not None:
            await self._writer.close()

    async def write(self, data: Buffer) -> None:
        """Appends. Raises DiskFull, DiskFailed, Overloaded, ValueError (more than the hint)."""
        writer = await self._count(len(data))
        if writer is None:
            self._keep(data)
        else:
            await writer.write(data)

    async def write_behind(self, data: memoryview, done: Callable[[], None]) -> None:
        """As `write`, of a buffer that will not change before `done` is called."""
        writer = await self._count(len(data))
        if writer is None:
            self._keep(data)
            done()
        else:
            await writer.write_behind(data, done)

    async def _count(self, length: int) -> LaneWriter | None:
        """Counts bytes that are about to come; what writes them, or None while they are kept."""
        assert self._staged is None, "write after finish"
        size = self._size_bytes + length
        if self._size_hint is not None and size > self._size_hint:
            raise ValueError(f"{size} bytes in a body announced with {self._size_hint}")
        self._size_bytes = size
        if self._writer is None:
            if size <= self._parts.small_bytes_max and not (self.is_lean and size > FREE_BYTES):
                return None
            await self._spill()
        return self._writer

    def _keep(self, data: Buffer) -> None:
        self._pieces.append(data if isinstance(data, bytes) else bytes(data))
        if len(self._pieces) >= PIECE_BUFFERS_MAX:
            self._pieces = [b"".join(self._pieces)]

    async def end(self) -> None:
        """No more bytes will come: those of a large body begin to be brought to the disk."""
        if self._writer is not None:
            await self._writer.end()

    async def finish(self) -> StagedBody:
        """No more bytes will come. Those of a large strict body are on stable storage now."""
        assert self._staged is None, "finish called twice"
        if self._size_bytes == 0:
            self._staged = StagedBody(None, self._durability)
        elif self._writer is None:
            self._staged = self._finish_small()
        else:
            ref = BlobRef(self._writer.blob_id, self._size_bytes)
            extents = await self._writer.finish()
            synced = self._durability is Durability.STRICT
            self._staged = StagedBody(ref, self._durability, extents=extents, synced=synced)
        return self._staged

    def _finish_small(self) -> StagedBody:
        blob_id = self._blob_id or self._parts.blob_ids.make()
        blocks = BlockChecksums()
        for piece in self._pieces:
            blocks.update(piece)
        crcs = blocks.finish()
        table = pack_table(crcs)
        small = SmallBody(
            blob_id,
            self._pieces,
            size_bytes=self._size_bytes,
            checksum=extent_checksum(crcs, table),
            table=table,
        )
        return StagedBody(BlobRef(blob_id, self._size_bytes), self._durability, small=small)

    async def _spill(self) -> None:
        """Moves from memory to a lane."""
        parts = self._parts
        self._writer = LaneWriter(
            self._blob_id or parts.blob_ids.make(),
            store=parts.store,
            pool=parts.pool,
            space=parts.space,
            workers=parts.workers,
            sync=self._durability is Durability.STRICT,
            size_hint=self._size_hint,
            is_lean=self.is_lean,
        )
        pieces, self._pieces = self._pieces, []
        for piece in pieces:
            await self._writer.write(piece)
