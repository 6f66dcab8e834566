"""Receiving one body in a cluster: in the entry of its command, or to its replicas at once.

What it is not: it proposes nothing. A body of up to RIDING_BYTES_MAX is kept in memory and rides
with its command. A larger one goes, while it comes, to this node's own lane and over one stream to
each other replica. `ClusterBlob.spread` then has all of them sync it for a command, and returns
once a write quorum has; the others may end later, and one that missed it fetches it when it learns
of the command (`blob_upkeep`).

A replica that takes nothing for `stall_s` seconds is left behind: it must not hold up the client.
Left without a command, the lanes are given back here and the streams are reset: other nodes then
give back theirs. What was kept without a command following is reclaimed by age.

Memory: of each replica at most WINDOW_BYTES that it has not taken, the same bytes for all.
"""

from __future__ import annotations

from collections import deque
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager

import trio
from awscrt.checksums import crc32c
from msgspec import Struct

from cluster.base.errors import ClusterError
from cluster.base.ports import Peers, PeerStream
from rs3gwd.base.commands import AnyCommand
from rs3gwd.base.errors import Overloaded
from rs3gwd.base.ports import Buffer
from rs3gwd.base.records import BlobRef
from rs3gwd.engine.blob_depot import BlobDepot
from rs3gwd.engine.blobs import BlobIds
from rs3gwd.engine.group_blobs import StagedOwner
from rs3gwd.engine.group_entries import RIDING_BYTES_MAX
from rs3gwd.engine.stage import BodyStage, StagedBody
from rs3gwd.node.blob_frames import (
    KEPT,
    LENGTH,
    PUT_METHOD,
    PUT_TAIL,
    VERSION,
    FrameStream,
    PutHead,
    encode,
)
from rs3gwd.node.placement import Placement, write_quorum

WINDOW_BYTES = 4 << 20
RUN_BYTES_MAX = 1 << 20
"""What is sent in one frame at most, if it came in pieces."""


class FanoutSettings(Struct, frozen=True):
    """Seconds: without progress of a replica, for all replicas to sync, without a byte at all."""

    stall_s: float = 5.0
    sync_timeout_s: float = 15.0
    idle_s: float = 30.0


class Fanout:
    """Where bodies go. Belongs to the event loop; `run` must be active."""

    def __init__(
        self,
        *,
        node: int,
        depot: BlobDepot,
        blob_ids: BlobIds,
        peers: Peers,
        placement: Placement,
        settings: FanoutSettings,
    ) -> None:
        self.node = node
        self.depot = depot
        self.settings = settings
        self._blob_ids = blob_ids
        self._peers = peers
        self._placement = placement
        self._nursery: trio.Nursery | None = None

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Runs the streams to other nodes until cancelled."""
        async with trio.open_nursery() as nursery:
            self._nursery = nursery
            task_status.started()
            await trio.sleep_forever()

    @asynccontextmanager
    async def stage(self, *, size_hint: int | None) -> AsyncIterator[ClusterStage]:
        """A place for one body; see `rs3gwd.base.ports.Stage`."""
        blob_id = self._blob_ids.make()
        async with self.depot.stage(blob_id, size_bytes=size_hint) as local:
            stage = ClusterStage(self, blob_id, local, size_hint)
            try:
                yield stage
            finally:
                stage.leave()

    def replicas(self, blob_id: bytes) -> tuple[int, ...]:
        """The nodes that are to hold a blob."""
        return self._placement.replicas(blob_id)

    def begin_lane(self, to: int, blob_id: bytes, size_hint: int | None) -> ReplicaLane:
        """A stream to one replica, which is being opened."""
        assert self._nursery is not None, "the node runs"
        head = PutHead(VERSION, blob_id, size_hint)
        lane = ReplicaLane(self._peers, to, head, self.settings)
        self._nursery.start_soon(lane.run)
        return lane


class ReplicaLane:
    """One body to one other node. It never raises: `failure` says why the node does not have it."""

    def __init__(self, peers: Peers, to: int, head: PutHead, settings: FanoutSettings) -> None:
        self.to = to
        self.failure: Exception | None = None
        self.is_kept = False
        self.on_done: Callable[[], None] = lambda: None
        self._peers = peers
        self._head = head
        self._settings = settings
        self._scope = trio.CancelScope()
        self._queue: deque[bytes] = deque()
        self._held_bytes = 0
        self._tail: bytes | None = None
        self._owner: bytes | None = None
        self._work = trio.Event()
        self._room = trio.Event()
        self._is_done = False

    @property
    def is_done(self) -> bool:
        """Whether the node has kept the body, or failed."""
        return self._is_done

    async def write(self, data: bytes) -> None:
        """Takes bytes; waits while the node is too far behind, but not for ever."""
        if self._is_done:
            return
        self._queue.append(data)
        self._held_bytes += len(data)
        self._work.set()
        with trio.move_on_after(self._settings.stall_s) as patience:
            while self._held_bytes > WINDOW_BYTES and not self._is_done:
                self._room = trio.Event()
                await self._room.wait()
                patience.deadline = trio.current_time() + self._settings.stall_s
        if patience.cancelled_caught:
            self._give_up(Overloaded(f"node {self.to} takes nothing"))

    def end(self, *, size_bytes: int, check: int) -> None:
        """No more bytes will come."""
        self._tail = LENGTH.pack(0) + PUT_TAIL.pack(size_bytes, check)
        self._work.set()

    def keep(self, owner: StagedOwner) -> None:
        """The node is to keep the body for this command, and to say so in time."""
        encoded = encode(owner)
        self._owner = LENGTH.pack(len(encoded)) + encoded
        self._scope.deadline = trio.current_time() + self._settings.sync_timeout_s
        self._work.set()

    def leave(self) -> None:
        """Nobody needs the body: unless the node was told to keep it, it is to forget it."""
        if self._owner is None:
            self._scope.cancel()

    def _give_up(self, reason: Exception) -> None:
        self.failure = self.failure or reason
        self._scope.cancel()

    async def run(self) -> None:
        """Sends until the node has kept the body; a task of its own."""
        try:
            with self._scope:
                header = encode(self._head)
                async with self._peers.open(self.to, PUT_METHOD, header) as stream:
                    await self._send(stream)
                    answers = FrameStream(stream, idle_s=self._settings.idle_s)
                    self.is_kept = await answers.exactly(len(KEPT)) == KEPT
        except ClusterError as error:
            self.failure = error
        finally:
            if not self.is_kept and self.failure is None:
                self.failure = Overloaded(f"node {self.to} did not answer in time")
            self._is_done = True
            self._queue.clear()
            self._room.set()
            self.on_done()

    async def _send(self, stream: PeerStream) -> None:
        while True:
            while self._queue:
                run = self._take_run()
                await stream.send(b"".join((LENGTH.pack(sum(map(len, run))), *run)))
                self._held_bytes -= sum(map(len, run))
                self._room.set()
            if self._tail is not None:
                tail, self._tail = self._tail, None
                await stream.send(tail)
            if self._owner is not None:
                await stream.send(self._owner)
                await stream.end()
                return
            self._work = trio.Event()
            await self._work.wait()

    def _take_run(self) -> list[bytes]:
        """What goes into the next frame: one piece, or several small ones."""
        run = [self._queue.popleft()]
        size = len(run[0])
        while self._queue and size + len(self._queue[0]) <= RUN_BYTES_MAX:
            run.append(self._queue.popleft())
            size += len(run[-1])
        return run


class ClusterStage:
    """One body being received; see `rs3gwd.base.ports.Stage`."""

    def __init__(
        self, fanout: Fanout, blob_id: bytes, local: BodyStage, size_hint: int | None
    ) -> None:
        self._fanout = fanout
        self._blob_id = blob_id
        self._local = local
        self._size_hint = size_hint
        self._pieces: list[bytes] | None = []
        """The body while it may ride; None once it goes to its replicas."""
        self._size_bytes = 0
        self._check = 0
        self._is_ended = False
        self._is_replica = False
        self._lanes: list[ReplicaLane] = []

    @property
    def is_lean(self) -> bool:
        """Memory is short."""
        return self._local.is_lean

    async def write(self, data: Buffer) -> None:
        """Appends. Raises DiskFull, DiskFailed, Overloaded, ValueError (more than the hint)."""
        size = self._size_bytes + len(data)
        if self._size_hint is not None and size > self._size_hint:
            raise ValueError(f"{size} bytes in a body announced with {self._size_hint}")
        self._size_bytes = size
        piece = data if isinstance(data, bytes) else bytes(data)
        if self._pieces is not None:
            self._pieces.append(piece)
            if size <= RIDING_BYTES_MAX:
                return
            piece = b"".join(self._pieces)
            self._begin()
        await self._pass_on(piece)

    async def write_behind(self, data: memoryview, done: Callable[[], None]) -> None:
        """As `write`; the bytes are copied, since every replica takes them in its own time."""
        try:
            piece = bytes(data)
        finally:
            done()
        await self.write(piece)

    def _begin(self) -> None:
        self._pieces = None
        for node in self._fanout.replicas(self._blob_id):
            if node == self._fanout.node:
                self._is_replica = True
            else:
                lane = self._fanout.begin_lane(node, self._blob_id, self._size_hint)
                self._lanes.append(lane)

    async def _pass_on(self, piece: bytes) -> None:
        self._check = crc32c(piece, self._check)
        if self._is_replica:
            await self._local.write(piece)
        for lane in self._lanes:
            await lane.write(piece)

    async def end(self) -> None:
        """No more bytes will come: replicas begin to bring them to their disks."""
        if self._is_ended:
            return
        self._is_ended = True
        if self._is_replica:
            await self._local.end()
        for lane in self._lanes:
            lane.end(size_bytes=self._size_bytes, check=self._check)

    async def finish(self) -> ClusterBlob:
        """No more bytes will come."""
        if self._pieces is not None:
            ref = BlobRef(self._blob_id, self._size_bytes) if self._size_bytes else None
            return ClusterBlob(self._fanout, ref, riding=b"".join(self._pieces))
        await self.end()
        staged = await self._local.finish() if self._is_replica else None
        ref = BlobRef(self._blob_id, self._size_bytes)
        return ClusterBlob(self._fanout, ref, local=staged, lanes=self._lanes)

    def leave(self) -> None:
        """The context is left: whoever was not told to keep the body forgets it."""
        for lane in self._lanes:
            lane.leave()


class ClusterBlob:
    """A received body, for one command; see `rs3gwd.base.ports.StagedBlob`. `riding` are its bytes
    when they ride with the command, None when replicas have them."""

    def __init__(
        self,
        fanout: Fanout,
        ref: BlobRef | None,
        *,
        riding: bytes | None = None,
        local: StagedBody | None = None,
        lanes: Sequence[ReplicaLane] = (),
    ) -> None:
        self.ref = ref
        self.riding = riding
        self._fanout = fanout
        self._local = local
        self._lanes = lanes
        self._is_spread = riding is not None
        self._is_kept_here = False

    async def spread(self, command: AnyCommand) -> None:
        """Returns once a write quorum of the replicas keeps the bytes for a command, durably.

        Raises Overloaded: too few can be reached; nothing refers to the bytes. DiskFull,
        DiskFailed: this node is a replica and cannot keep them.
        """
        if self._is_spread:
            return
        owner = owner_of(command)
        for lane in self._lanes:
            lane.keep(owner)
        if self._local is not None and not self._is_kept_here:
            await self._fanout.depot.keep(self._local, owner)
            self._is_kept_here = True
        replicas = len(self._lanes) + self._is_kept_here
        await self._wait_lanes(write_quorum(replicas) - self._is_kept_here)
        self._is_spread = True

    async def _wait_lanes(self, wanted: int) -> None:
        changed = trio.Event()

        def note() -> None:
            changed.set()

        for lane in self._lanes:
            lane.on_done = note
        while sum(lane.is_kept for lane in self._lanes) < wanted:
            pending = sum(not lane.is_done for lane in self._lanes)
            if sum(lane.is_kept for lane in self._lanes) + pending < wanted:
                reasons = "; ".join(str(lane.failure) for lane in self._lanes if lane.failure)
                raise Overloaded(f"too few nodes can keep the bytes: {reasons}")
            await changed.wait()
            changed = trio.Event()


def owner_of(command: AnyCommand) -> StagedOwner:
    """For which command a blob is kept."""
    bucket: str = getattr(command, "bucket", "")
    key: bytes = getattr(command, "key", b"")
    nonce: bytes = getattr(command, "nonce", b"")
    return StagedOwner(bucket, key, nonce)
