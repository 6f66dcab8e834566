"""What a node answers about bytes: it keeps those that others send, and gives out those it has.

What it is not: it decides on no placement and names no blob. `BlobService` registers three streams
(`rs3gwd.node.blob_frames` has their frames). Bytes are durable before they are said to be kept;
what is given out was checked against its block checksums first.

Errors of the store cross as errors of the cluster library, which the transport carries by code.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractAsyncContextManager, contextmanager

from awscrt.checksums import crc32c

from cluster.base.ports import Handlers, PeerStream
from rs3gwd.base.errors import BlobNotHere, DataCorrupt, DiskError, FormatError, Overloaded
from rs3gwd.base.ports import BodyReader
from rs3gwd.base.records import BlobRef
from rs3gwd.engine.blob_depot import BlobDepot
from rs3gwd.engine.group_blobs import StagedOwner
from rs3gwd.engine.pinned_blobs import PinnedBlobs
from rs3gwd.engine.stage import BodyStage
from rs3gwd.engine.store_reads import StoreReads
from rs3gwd.node.blob_errors import BlobRefused, BlobStreamBroken, BlobUnknown, BlobUnreadable
from rs3gwd.node.blob_frames import (
    GET_METHOD,
    KEPT,
    LENGTH,
    OWNER_BYTES_MAX,
    PIECE_BYTES_MAX,
    PIN_METHOD,
    PIN_ROW,
    PUT_METHOD,
    PUT_TAIL,
    SUM,
    FrameStream,
    GetHead,
    PinHead,
    PutHead,
    check_head,
    check_pin,
    decode,
)

PINS_MAX = 1024
"""Bodies of several blobs that other nodes may read from here at once."""

Suspect = Callable[[BlobRef], None]
"""Told of a blob of this node that could not be read. Does not block or raise."""


class BlobService:
    """This node's side of the streams. Belongs to the event loop."""

    def __init__(
        self, store: StoreReads, depot: BlobDepot, *, idle_s: float, suspect: Suspect
    ) -> None:
        self._store = store
        self._depot = depot
        self._idle_s = idle_s
        self._suspect = suspect
        self._arriving: set[bytes] = set()
        self._pins: dict[tuple[int, bytes], PinnedBlobs] = {}

    def register(self, handlers: Handlers) -> None:
        """Before the transport runs."""
        handlers.on_stream(PUT_METHOD, self._on_put)
        handlers.on_stream(GET_METHOD, self._on_get)
        handlers.on_stream(PIN_METHOD, self._on_pin)

    @property
    def pinned(self) -> int:
        """Bodies that other nodes read from here and have pinned."""
        return len(self._pins)

    def is_arriving(self, blob_id: bytes) -> bool:
        """Whether somebody sends this blob now, so that it need not be fetched."""
        return blob_id in self._arriving

    async def _on_put(self, _: int, header: bytes, stream: PeerStream) -> None:
        head = decode(header, PutHead)
        check_head(head)
        frames = FrameStream(stream, idle_s=self._idle_s)
        is_first = head.blob_id not in self._arriving
        self._arriving.add(head.blob_id)
        try:
            with _as_cluster_errors():
                async with self._depot.stage(head.blob_id, size_bytes=head.size_bytes) as stage:
                    await _receive(frames, stage)
                    staged = await stage.finish()
                    if staged.ref is None:
                        raise BlobStreamBroken("a blob without bytes")
                    owner_bytes = await frames.length(OWNER_BYTES_MAX)
                    owner = decode(await frames.exactly(owner_bytes), StagedOwner)
                    await self._depot.keep(staged, owner)
        finally:
            if is_first:
                self._arriving.discard(head.blob_id)
        await stream.send(KEPT)
        await stream.end()

    async def _on_get(self, sender: int, header: bytes, stream: PeerStream) -> None:
        head = decode(header, GetHead)
        check_head(head)
        try:
            with _as_cluster_errors():
                async with self._open(sender, head) as reader:
                    while piece := await reader.read():
                        await stream.send(b"".join((SUM.pack(len(piece), crc32c(piece)), piece)))
        except BlobUnreadable:
            self._suspect(BlobRef(head.blob_id, head.size_bytes))
            raise
        await stream.send(SUM.pack(0, 0))
        await stream.end()

    def _open(self, sender: int, head: GetHead) -> AbstractAsyncContextManager[BodyReader]:
        blob = BlobRef(head.blob_id, head.size_bytes)
        pinned = self._pins.get((sender, head.pin))
        if pinned is not None and pinned.has(head.blob_id):
            return pinned.open(blob, head.start, head.end)
        return self._store.open_blob(blob, head.start, head.end)

    async def _on_pin(self, sender: int, header: bytes, stream: PeerStream) -> None:
        head = decode(header, PinHead)
        check_pin(head)
        name = sender, head.pin
        if len(self._pins) >= PINS_MAX or name in self._pins:
            raise BlobRefused(f"{len(self._pins)} bodies are pinned")
        frames = FrameStream(stream, idle_s=self._idle_s)
        rows = await frames.exactly(head.count * PIN_ROW.size)
        blobs = [BlobRef(blob_id, size) for blob_id, size in PIN_ROW.iter_unpack(rows)]
        async with self._store.pin_blobs(blobs) as pinned:
            self._pins[name] = pinned
            try:
                await stream.send(LENGTH.pack(pinned.count))
                while await stream.receive():
                    raise BlobStreamBroken("bytes behind a pin")
            finally:
                del self._pins[name]
        await stream.end()


async def _receive(frames: FrameStream, stage: BodyStage) -> None:
    """All bytes of a `blob.put` into a stage. Raises BlobStreamBroken, and as the stage."""
    size = check = 0
    while length := await frames.length(PIECE_BYTES_MAX):
        async for piece in frames.pieces(length):
            check = crc32c(piece, check)
            size += len(piece)
            await stage.write(bytes(piece))
    said_size, said_check = PUT_TAIL.unpack(await frames.exactly(PUT_TAIL.size))
    if (size, check) != (said_size, said_check):
        raise BlobStreamBroken("bytes are not as they were sent")


@contextmanager
def _as_cluster_errors() -> Iterator[None]:
    try:
        yield
    except BlobNotHere as error:
        raise BlobUnknown(str(error)) from error
    except (DataCorrupt, FormatError) as error:
        raise BlobUnreadable(str(error)) from error
    except (DiskError, Overloaded) as error:
        raise BlobRefused(str(error)) from error
    except ValueError as error:
        raise BlobStreamBroken(str(error)) from error
