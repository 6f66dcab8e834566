"""Reading a version's bytes in a cluster: here where they are, else from a node that has them.

What it is not: it finds no version and keeps nothing that it read. A body that lies here whole is
read as on a single node. Where a blob is missing, or turns out to be damaged, the rest comes from
its other replicas, each tried in turn from the byte where the last one stopped; every run of bytes
was checked where it lay and is checked again here.

A body that is read from other nodes is not pinned as a whole: each blob is held by its node from
when it is opened. Who deletes a version of several parts while it is read from elsewhere may cut
the reading short, which the reader notices.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AsyncExitStack
from types import TracebackType

from cluster.base.errors import ClusterError, RemoteFailure
from cluster.base.ports import Peers
from rs3gwd.base.errors import BlobNotHere, DataCorrupt, Overloaded, VersionGone
from rs3gwd.base.ports import BodyReader, Buffer
from rs3gwd.base.records import VersionRecord
from rs3gwd.engine.bodies import BlobPiece, blob_pieces
from rs3gwd.engine.store_reads import StoreReads
from rs3gwd.node.blob_errors import BlobStreamBroken, BlobUnknown
from rs3gwd.node.blob_frames import GET_METHOD, VERSION, FrameStream, GetHead, encode
from rs3gwd.node.placement import Placement


class BlobSources:
    """Where the blobs of this cluster can be read from. Belongs to the event loop."""

    def __init__(
        self,
        *,
        node: int,
        store: StoreReads,
        peers: Peers,
        placement: Placement,
        nodes: Callable[[], tuple[int, ...]],
        idle_s: float,
    ) -> None:
        self.store = store
        self.idle_s = idle_s
        self._node = node
        self._peers = peers
        self._placement = placement
        self._nodes = nodes

    def open_body(self, version: VersionRecord, start: int, end: int) -> ClusterBody:
        """The half-open range `start` to `end` of a version, as a context manager.

        Raises (on entry) VersionGone, DataCorrupt, Overloaded (no node that may have it answers).
        """
        return ClusterBody(self, version, start, end)

    def others(self, blob_id: bytes) -> list[int]:
        """The other nodes, those that should hold a blob first: one may have held it before."""
        ordered = dict.fromkeys((*self._placement.replicas(blob_id), *self._nodes()))
        return [node for node in ordered if node != self._node]

    async def enter_remote(self, stack: AsyncExitStack, node: int, piece: BlobPiece) -> FrameStream:
        """A stream of `piece` from another node; its first bytes are yet to come."""
        blob = piece.blob
        head = GetHead(VERSION, blob.blob_id, blob.size_bytes, piece.start, piece.end)
        opened = self._peers.open(node, GET_METHOD, encode(head))
        stream = await stack.enter_async_context(opened)
        return FrameStream(stream, idle_s=self.idle_s)


class RemoteBlob:
    """A range of one blob, from whichever other node gives it."""

    def __init__(self, sources: BlobSources, piece: BlobPiece) -> None:
        self._sources = sources
        self._piece = piece
        self._nodes = sources.others(piece.blob.blob_id)
        self._position = piece.start
        self._stream: FrameStream | None = None
        self._stack = AsyncExitStack()
        self._failures: list[Exception] = []

    async def read(self) -> bytes:
        """The next bytes, checked; empty at the end.

        Raises VersionGone (every node answered that it does not have the blob), Overloaded.
        """
        while self._position < self._piece.end:
            if self._stream is None and not self._nodes:
                raise self._nobody()
            try:
                data = await self._read_on()
            except ClusterError as error:
                self._failures.append(error)
                await self._let_go(error)
                continue
            self._position += len(data)
            if self._position == self._piece.end:
                await self._see_end()
            return data
        return b""

    async def _see_end(self) -> None:
        """All bytes are here: what goes wrong with the stream now matters to nobody."""
        assert self._stream is not None
        try:
            await self._stream.summed()
        except ClusterError as error:
            await self._let_go(error)
        else:
            await self._let_go(None)

    async def _read_on(self) -> bytes:
        if self._stream is None:
            piece = BlobPiece(self._piece.blob, self._position, self._piece.end)
            node = self._nodes.pop(0)
            self._stream = await self._sources.enter_remote(self._stack, node, piece)
        data = await self._stream.summed()
        if not data or self._position + len(data) > self._piece.end:
            raise BlobStreamBroken("another number of bytes than was asked for")
        return data

    def _nobody(self) -> Exception:
        blob_id = self._piece.blob.blob_id.hex()
        unknown = [
            isinstance(each, RemoteFailure) and each.remote_code == BlobUnknown.code
            for each in self._failures
        ]
        if all(unknown):
            return VersionGone(f"no node keeps blob {blob_id}")
        return Overloaded(f"no node gives blob {blob_id}: {self._failures[-1]}")

    async def _let_go(self, error: Exception | None) -> None:
        """Ends the stream; with an error the other side is reset."""
        self._stream = None
        stack, self._stack = self._stack, AsyncExitStack()
        try:
            await stack.__aexit__(type(error) if error else None, error, None)
        except (ClusterError, _Left):
            return  # it is broken already: there is nothing left to end

    async def close(self) -> None:
        """Ends the reading."""
        await self._let_go(None if self._stream is None else _Left())


class _Left(Exception):
    """Leaves a stream that was not read to its end; nobody else sees it."""


class _Scattered:
    """Ranges of several blobs, one after the other, each from where it is to be had."""

    def __init__(self, sources: BlobSources, pieces: list[BlobPiece], *, local: bool) -> None:
        self._sources = sources
        self._pieces = pieces
        self._local = local
        self._stack = AsyncExitStack()
        self._reader: BodyReader | RemoteBlob | None = None

    async def read(self) -> Buffer:
        """As `BodyReader.read`; raises as `RemoteBlob.read`, and DataCorrupt."""
        while self._reader is not None or self._pieces:
            if self._reader is None:
                self._reader = await self._open(self._pieces.pop(0))
            data = await self._reader.read()
            if data:
                return data
            await self.close()
        return b""

    async def _open(self, piece: BlobPiece) -> BodyReader | RemoteBlob:
        if self._local:
            opened = self._sources.store.open_blob(piece.blob, piece.start, piece.end)
            try:
                return await self._stack.enter_async_context(opened)
            except (BlobNotHere, DataCorrupt):
                return self._open_remote(piece)
        return self._open_remote(piece)

    def _open_remote(self, piece: BlobPiece) -> RemoteBlob:
        remote = RemoteBlob(self._sources, piece)
        self._stack.push_async_callback(remote.close)
        return remote

    async def close(self) -> None:
        """Ends the reading of the blob that is open."""
        self._reader = None
        stack, self._stack = self._stack, AsyncExitStack()
        await stack.aclose()


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
        except BlobNotHere:
            await self._scatter(local=True)
        except DataCorrupt:
            await self._scatter(local=False)
        return self

    async def read(self) -> Buffer:
        """As `BodyReader.read`."""
        try:
            data = await self._reader.read()
        except DataCorrupt:
            if self._scattered:
                raise
            await self._scatter(local=False)
            data = await self._reader.read()
        self._given += len(data)
        return data

    async def _scatter(self, *, local: bool) -> None:
        """The rest is read blob by blob; with `local` from this node, too."""
        start = self._start + self._given
        pieces = self._sources.store.look_up(blob_pieces, self._version, start, self._end)
        scattered = _Scattered(self._sources, pieces, local=local)
        self._stack.push_async_callback(scattered.close)
        self._scattered = True
        self._reader = scattered

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self._stack.aclose()
