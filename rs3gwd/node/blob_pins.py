"""Keeping the parts of a body readable on the nodes that have them, while it is read.

What it is not: it reads nothing. A body of several blobs is read one after the other, which takes
as long as the client likes; meanwhile the version may be deleted. So before the first byte every
node that should have some of the blobs is asked to keep those readable, by one stream each, which
lasts until the reading ends. A node that does not answer keeps nothing, and the reading goes on
without: it is protection against a deletion that happens at the same time, and no promise.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

import structlog
import trio

from cluster.base.errors import ClusterError
from rs3gwd.base.records import BlobRef
from rs3gwd.node.blob_frames import (
    LENGTH,
    PIN_METHOD,
    PIN_ROW,
    PIN_ROWS_MAX,
    VERSION,
    FrameStream,
    PinHead,
    encode,
)
from rs3gwd.node.blob_sources import RemoteSources

ANSWER_S = 0.2
"""How long the first byte may wait for pins."""


class _Pin:
    """One stream to one node, a task of its own."""

    def __init__(self, node: int, pin: bytes, blobs: Sequence[BlobRef]) -> None:
        self.node = node
        self.answered = trio.Event()
        self.released = trio.Event()
        self._pin = pin
        self._blobs = blobs

    async def run(self, sources: RemoteSources) -> None:
        """Lasts until it is released, or the node is gone."""
        head = encode(PinHead(VERSION, self._pin, len(self._blobs)))
        try:
            async with sources.peers.open(self.node, PIN_METHOD, head) as stream:
                rows = (PIN_ROW.pack(blob.blob_id, blob.size_bytes) for blob in self._blobs)
                await stream.send(b"".join(rows))
                await FrameStream(stream, idle_s=ANSWER_S).exactly(LENGTH.size)
                self.answered.set()
                await self.released.wait()
                await stream.end()
                await stream.receive()
        except ClusterError as error:
            structlog.get_logger().debug("blobs are not pinned", node=self.node, reason=str(error))
        finally:
            self.answered.set()


@asynccontextmanager
async def pinned_elsewhere(
    sources: RemoteSources, pin: bytes, blobs: Sequence[BlobRef]
) -> AsyncIterator[None]:
    """The blobs are kept readable by those of their nodes that answer soon, under this name."""
    by_node: dict[int, list[BlobRef]] = {}
    for blob in blobs[:PIN_ROWS_MAX]:
        for node in sources.holders(blob.blob_id):
            by_node.setdefault(node, []).append(blob)
    pins = [_Pin(node, pin, kept) for node, kept in by_node.items()]
    try:
        for each in pins:
            sources.nursery.start_soon(each.run, sources)
        with trio.move_on_after(ANSWER_S):
            for each in pins:
                await each.answered.wait()
        yield
    finally:
        for each in pins:
            each.released.set()
