"""One range of a blob from other nodes: the driver of `cluster.quorum.reading`.

What it is not: it decides nothing. Each source that the plan asks for is a task, which takes in
verified pieces, a few ahead of the reader; the reader gets those that come next, from whichever
source they are.

What other nodes say about their bytes is passed on: a node that lacks or cannot read a blob which
it should have is told so (`on_fault`), and mends itself.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

import trio
from msgspec import Struct

from cluster.base.errors import ClusterError, RemoteFailure
from cluster.base.ports import Peers
from cluster.quorum.hedging import HedgeBudget
from cluster.quorum.latencies import Latencies
from cluster.quorum.reading import Close, Fault, Open, Outcome, ReadPlan, order_nodes
from rs3gwd.base.errors import (
    BlobNotHere,
    DataCorrupt,
    FormatError,
    Overloaded,
    VersionGone,
)
from rs3gwd.base.records import BlobRef
from rs3gwd.engine.bodies import BlobPiece
from rs3gwd.engine.store_reads import StoreReads
from rs3gwd.node.blob_counts import BlobCounts
from rs3gwd.node.blob_errors import BlobStreamBroken, BlobUnknown, BlobUnreadable
from rs3gwd.node.blob_frames import GET_METHOD, VERSION, FrameStream, GetHead, encode
from rs3gwd.node.placement import Placement

PIECES_AHEAD = 2
"""Pieces of up to 1 MiB that a source takes in before the reader wants them."""

IsAlive = Callable[[int], bool]
OnFault = Callable[[int, BlobRef, Fault], None]


class SourceSettings(Struct, frozen=True):
    """`hedge_share` is how many reads in one may be asked twice, 0 to 1; `idle_s` how long a
    source may give nothing."""

    hedge_share: float = 0.1
    idle_s: float = 30.0


class RemoteSources:
    """The other nodes as places to read blobs from. Belongs to the event loop; `run` must be
    active."""

    def __init__(
        self,
        *,
        node: int,
        store: StoreReads,
        peers: Peers,
        placement: Placement,
        nodes: Callable[[], tuple[int, ...]],
        is_alive: IsAlive,
        on_fault: OnFault,
        counts: BlobCounts,
        settings: SourceSettings,
    ) -> None:
        self.peers = peers
        self.counts = counts
        self.idle_s = settings.idle_s
        self.on_fault = on_fault
        self.node = node
        self.store = store
        self._placement = placement
        self.nodes = nodes
        self._is_alive = is_alive
        self._latencies = Latencies()
        self._budget = HedgeBudget(settings.hedge_share)
        self._nursery: trio.Nursery | None = None

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Runs the sources until cancelled."""
        async with trio.open_nursery() as nursery:
            self._nursery = nursery
            task_status.started()
            await trio.sleep_forever()

    @property
    def nursery(self) -> trio.Nursery:
        """Where streams of this node to others run."""
        assert self._nursery is not None, "the node runs"
        return self._nursery

    def holders(self, blob_id: bytes) -> tuple[int, ...]:
        """The other nodes that should have a blob."""
        order = self._placement.read_order(blob_id)
        return tuple(node for node in order if node != self.node)

    def should_have(self, node: int, blob_id: bytes) -> bool:
        """Whether a node is to keep a blob."""
        return self._placement.holds(blob_id, node)

    def begin(self, piece: BlobPiece, *, is_damaged_here: bool) -> ReadPlan:
        """The plan of one range: the nodes that should have the blob first, then any other, which
        may have held it before; at last, where its blob is damaged, this node itself."""
        now_s = trio.current_time()
        self.counts.remote_reads += 1
        holders = self.holders(piece.blob.blob_id)
        others = [node for node in self.nodes() if node not in holders and node != self.node]
        order = [
            node
            for group in (holders, tuple(others))
            for node in order_nodes(
                group, is_alive=self._is_alive, latencies=self._latencies, now_s=now_s
            )
        ]
        if is_damaged_here:
            order.append(self.node)
        return ReadPlan(
            order,
            start=piece.start,
            end=piece.end,
            latencies=self._latencies,
            budget=self._budget,
            now_s=now_s,
        )


class _Source:
    """A stream from one node, a task of its own."""

    def __init__(
        self, sources: RemoteSources, asked: Open, blob: BlobRef, end: int, pin: bytes
    ) -> None:
        self.node = asked.node
        self.pieces: deque[bytes] = deque()
        self.failure: ClusterError | None = None
        self.scope = trio.CancelScope()
        self.room = trio.Event()
        self._sources = sources
        self._head = GetHead(VERSION, blob.blob_id, blob.size_bytes, asked.start, end, pin)

    async def run(self, notify: Callable[[], None]) -> None:
        """Takes pieces in until the end of the range, a failure, or until it is closed."""
        try:
            with self.scope:
                await self._receive(notify)
        except ClusterError as error:
            self.failure = error
            notify()

    async def _receive(self, notify: Callable[[], None]) -> None:
        head, sources = self._head, self._sources
        if self.node == sources.node:
            await self._receive_here(notify)
            return
        async with sources.peers.open(self.node, GET_METHOD, encode(head)) as stream:
            frames = FrameStream(stream, idle_s=sources.idle_s)
            position = head.start
            while position < head.end:
                data = await frames.summed()
                position += len(data)
                if not data or position > head.end:
                    raise BlobStreamBroken("another number of bytes than was asked for")
                await self._put(data, notify, is_last=position == head.end)
            await frames.summed()

    async def _receive_here(self, notify: Callable[[], None]) -> None:
        """The good blocks of this node's own blob."""
        head = self._head
        blob = BlobRef(head.blob_id, head.size_bytes)
        try:
            async with self._sources.store.open_blob(blob, head.start, head.end) as reader:
                while data := await reader.read():
                    await self._put(bytes(data), notify, is_last=False)
        except BlobNotHere as error:
            raise BlobUnknown(str(error)) from error
        except (DataCorrupt, FormatError) as error:
            raise BlobUnreadable(str(error)) from error

    async def _put(self, data: bytes, notify: Callable[[], None], *, is_last: bool) -> None:
        self.pieces.append(data)
        notify()
        while len(self.pieces) >= PIECES_AHEAD and not is_last:
            self.room = trio.Event()
            await self.room.wait()


class RemoteBlob:
    """A range of one blob, from whichever other nodes give it; `close` ends it.

    `is_damaged_here`: this node has it, and some blocks of it may be good.
    """

    def __init__(
        self,
        sources: RemoteSources,
        piece: BlobPiece,
        *,
        pin: bytes = b"",
        is_damaged_here: bool = False,
    ) -> None:
        self._sources = sources
        self._piece = piece
        self._pin = pin
        self._plan = sources.begin(piece, is_damaged_here=is_damaged_here)
        self._open: dict[int, _Source] = {}
        self._arrived = trio.Event()
        self._failures: list[ClusterError] = []

    async def read(self) -> bytes:
        """The next bytes, checked; empty at the end.

        Raises VersionGone (every other node answered that it does not have the blob), Overloaded.
        """
        plan = self._plan
        if data := self._take():
            return data
        self._do(plan.on_wanted(trio.current_time()))
        while plan.outcome is Outcome.READING:
            self._arrived = trio.Event()
            with trio.move_on_at(plan.wake_at_s):
                await self._arrived.wait()
            if data := self._take():
                return data
            self._do(plan.on_time(trio.current_time()))
        if plan.outcome is Outcome.NOBODY:
            raise self._nobody()
        return b""

    async def wait_first(self) -> None:
        """Until the first bytes are here. Raises as `read`."""
        plan = self._plan
        if plan.outcome is Outcome.DONE:
            return
        self._do(plan.on_wanted(trio.current_time()))
        while plan.outcome is Outcome.READING:
            if any(source.pieces for source in self._open.values()):
                return
            self._arrived = trio.Event()
            with trio.move_on_at(plan.wake_at_s):
                await self._arrived.wait()
            self._take_failures()
            self._do(plan.on_time(trio.current_time()))
        raise self._nobody()

    def close(self) -> None:
        """Nobody reads on."""
        for source in self._open.values():
            source.scope.cancel()
        self._open.clear()

    def _take(self) -> bytes:
        """The next bytes if they are here; what failed is told to the plan."""
        for number, source in self._open.items():
            if source.pieces:
                data = source.pieces.popleft()
                source.room.set()
                self._do(self._plan.on_bytes(number, len(data), trio.current_time()))
                if self._plan.outcome is Outcome.DONE:
                    self._open.clear()  # what goes wrong with the stream now matters to nobody
                return data
        self._take_failures()
        return b""

    def _take_failures(self) -> None:
        for number, source in list(self._open.items()):
            if source.failure is not None and not source.pieces:
                del self._open[number]
                self._failures.append(source.failure)
                fault = _fault_of(source.failure)
                self._tell(source.node, fault)
                before = self._plan.fall_backs
                self._do(self._plan.on_failed(number, fault, trio.current_time()))
                self._sources.counts.fall_backs += self._plan.fall_backs - before

    def _tell(self, node: int, fault: Fault) -> None:
        blob = self._piece.blob
        is_other = node != self._sources.node
        if is_other and fault is not Fault.BROKEN and self._sources.should_have(node, blob.blob_id):
            self._sources.on_fault(node, blob, fault)

    def _do(self, actions: list[Open | Close]) -> None:
        for action in actions:
            if isinstance(action, Close):
                self._open.pop(action.source).scope.cancel()
                continue
            self._sources.counts.hedges += bool(self._open)
            source = _Source(self._sources, action, self._piece.blob, self._piece.end, self._pin)
            self._open[action.source] = source
            self._sources.nursery.start_soon(source.run, self._notify)

    def _notify(self) -> None:
        self._arrived.set()

    def _nobody(self) -> Exception:
        blob_id = self._piece.blob.blob_id.hex()
        faults = [fault for node, fault in self._plan.faults if node != self._sources.node]
        if faults and all(fault is Fault.UNKNOWN for fault in faults):
            return VersionGone(f"no node keeps blob {blob_id}")
        reason = str(self._failures[-1]) if self._failures else "there is no other node"
        return Overloaded(f"no node gives blob {blob_id}: {reason}")


def _fault_of(error: ClusterError) -> Fault:
    code = error.remote_code if isinstance(error, RemoteFailure) else error.code
    if code == BlobUnknown.code:
        return Fault.UNKNOWN
    return Fault.DAMAGED if code == BlobUnreadable.code else Fault.BROKEN
