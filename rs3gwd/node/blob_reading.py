"""Reading a version's bytes in a cluster: here where they are, else from a node that has them.

What it is not: it finds no version and keeps nothing that it read. A body that lies here whole is
read as on a single node. Where a blob is missing, or turns out to be damaged, the rest comes from
its other replicas (`rs3gwd.node.blob_sources`), from the byte where reading stopped; every run of
bytes was checked where it lay and is checked again here.

A body of several blobs is pinned as a whole, here and on the other nodes: who deletes the version
meanwhile does not cut the reading short (`rs3gwd.node.blob_pins`). Its first bytes are here before
the reading begins, so that a blob which cannot be had is refused before a client is told anything.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AsyncExitStack
from types import TracebackType

from rs3gwd.base.errors import BlobNotHere, DataCorrupt, FormatError, VersionGone
from rs3gwd.base.ports import BodyReader, Buffer, Random
from rs3gwd.base.records import BlobRef, VersionRecord
from rs3gwd.engine.bodies import BlobPiece, blob_pieces
from rs3gwd.engine.pinned_blobs import PinnedBlobs
from rs3gwd.engine.store_reads import StoreReads
from rs3gwd.node.blob_pins import pinned_elsewhere
from rs3gwd.node.blob_sources import RemoteBlob, RemoteSources

PIN_BYTES = 16

Damage = DataCorrupt | FormatError
"""What a row or bytes of this node can be, so that another node is asked."""

Suspect = Callable[[BlobRef], None]
"""Told of a blob that lies damaged on this node. Does not block or raise."""

Missed = Callable[[bytes], None]
"""Told of a blob, by id, that does not lie on this node. Does not block or raise."""


class BlobSources:
    """Where the bodies of this cluster can be read from. Belongs to the event loop."""

    def __init__(
        self,
        store: StoreReads,
        remote: RemoteSources,
        *,
        random: Random,
        suspect: Suspect,
        missed: Missed,
    ) -> None:
        self.store = store
        self.remote = remote
        self.suspect = suspect
        self.missed = missed
        self._random = random

    def make_pin(self) -> bytes:
        """A name for what one reader keeps readable."""
        return self._random.token_bytes(PIN_BYTES)

    def open_body(self, version: VersionRecord, start: int, end: int) -> ClusterBody:
        """The half-open range `start` to `end` of a version, as a context manager.

        Raises (on entry) VersionGone, DataCorrupt, Overloaded (no node that may have it answers).
        """
        return ClusterBody(self, version, start, end)


class _Scattered:
    """Ranges of several blobs, one after the other, each from where it is to be had."""

    def __init__(self, sources: BlobSources, pieces: list[BlobPiece]) -> None:
        self._sources = sources
        self._pieces = pieces
        self._pin = b""
        self._here: PinnedBlobs | None = None
        self._pins = AsyncExitStack()
        self._stack = AsyncExitStack()
        self._reader: BodyReader | None = None
        self._rest: BlobPiece | None = None
        """What is yet to come of the blob that is open here, in case that it is damaged."""

    async def begin(self, damaged: Damage | None) -> None:
        """Pins the blobs, and waits for the first bytes.

        What this node has is read here, unless it was found damaged. Raises VersionGone, Overloaded
        and `damaged`, where no other node has what is damaged here.
        """
        blobs = [piece.blob for piece in self._pieces]
        here = self._sources.store.pin_blobs(blobs)
        self._here = await self._pins.enter_async_context(here)
        others = [blob for blob in blobs if not self._here.has(blob.blob_id)]
        if len(blobs) > 1 and others:
            self._pin = self._sources.make_pin()
            pinned = pinned_elsewhere(self._sources.remote, self._pin, others)
            await self._pins.enter_async_context(pinned)
        if not self._pieces:
            return
        if damaged is None:
            await self._open(self._pieces.pop(0))
        else:
            await self._open_elsewhere(self._pieces.pop(0), damaged)

    async def read(self) -> Buffer:
        """As `BodyReader.read`; raises as `RemoteBlob.read`, and DataCorrupt."""
        while self._reader is not None or self._pieces:
            if self._reader is None:
                await self._open(self._pieces.pop(0))
            assert self._reader is not None
            try:
                data = await self._reader.read()
            except DataCorrupt as error:
                await self._go_elsewhere(error)
                continue
            if data:
                self._pass(len(data))
                return data
            await self._end_blob()
        return b""

    def _pass(self, count: int) -> None:
        rest = self._rest
        if rest is not None:
            self._rest = BlobPiece(rest.blob, rest.start + count, rest.end)

    async def _open(self, piece: BlobPiece) -> None:
        assert self._here is not None
        if not self._here.has(piece.blob.blob_id):
            await self._open_elsewhere(piece, None)
            return
        opened = self._here.open(piece.blob, piece.start, piece.end)
        self._reader = await self._stack.enter_async_context(opened)
        self._rest = piece

    async def _go_elsewhere(self, damaged: DataCorrupt) -> None:
        """The blob that is open here is damaged: the rest of it comes from another node."""
        rest = self._rest
        assert rest is not None, "bytes of other nodes are never damaged"
        self._sources.suspect(rest.blob)
        await self._end_blob()
        await self._open_elsewhere(rest, damaged)

    async def _open_elsewhere(self, piece: BlobPiece, damaged: Damage | None) -> None:
        remote = RemoteBlob(
            self._sources.remote, piece, pin=self._pin, is_damaged_here=damaged is not None
        )
        self._stack.callback(remote.close)
        self._reader = remote
        try:
            await remote.wait_first()
        except VersionGone as error:
            if damaged is not None:
                raise damaged from error
            raise

    async def _end_blob(self) -> None:
        self._reader = self._rest = None
        stack, self._stack = self._stack, AsyncExitStack()
        await stack.aclose()

    async def close(self) -> None:
        """Ends the reading, and the pins."""
        try:
            await self._end_blob()
        finally:
            await self._pins.aclose()


class ClusterBody:
    """A range of a version: a context manager, and the reader that it gives."""

    __slots__ = (
        "_end", "_given", "_reader", "_scattered", "_sources", "_stack", "_start", "_version",
    )  # fmt: skip

    def __init__(self, sources: BlobSources, version: VersionRecord, start: int, end: int) -> None:
        self._sources = sources
        self._version = version
        self._start = start
        self._end = end
        self._given = 0
        self._stack = AsyncExitStack()
        self._scattered = False
        self._reader: BodyReader

    async def __aenter__(self) -> ClusterBody:
        opened = self._sources.store.open_body(self._version, self._start, self._end)
        try:
            self._reader = await self._stack.enter_async_context(opened)
        except BlobNotHere as error:
            self._sources.missed(error.blob_id)
            await self._enter_scattered(None)
        except (DataCorrupt, FormatError) as error:
            await self._enter_scattered(error)
        return self

    async def _enter_scattered(self, damaged: Damage | None) -> None:
        try:
            await self._scatter(damaged)
        except BaseException:
            await self._stack.aclose()
            raise

    async def read(self) -> Buffer:
        """As `BodyReader.read`."""
        try:
            data = await self._reader.read()
        except DataCorrupt as error:
            if self._scattered:
                raise
            await self._scatter(error)
            data = await self._reader.read()
        self._given += len(data)
        return data

    async def _scatter(self, damaged: Damage | None) -> None:
        """The rest is read blob by blob; what was found damaged here from another node."""
        start = self._start + self._given
        pieces = self._sources.store.look_up(blob_pieces, self._version, start, self._end)
        if damaged is not None and pieces:
            self._sources.suspect(pieces[0].blob)
        scattered = _Scattered(self._sources, pieces)
        self._stack.push_async_callback(scattered.close)
        self._scattered = True
        self._reader = scattered
        await scattered.begin(damaged)

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self._stack.aclose()
