"""Receiving one body in a cluster: in the entry of its command, or to its replicas at once.

What it is not: it proposes nothing, and what is enough decides `cluster.quorum.writing`. A body of
up to RIDING_BYTES_MAX is kept in memory and rides with its command. A larger one goes, while it
comes, to this node's own lane and over one stream to each other replica. `ClusterBlob.spread` then
has all of them sync it for a command, and returns once a write quorum of every set of replicas has.
The others may end later; one that missed it is owed a hint (`rs3gwd.node.blob_hints`), and learns
of it by the command, too.

A replica that takes nothing for `stall_s` seconds is left behind, if the others are enough: it must
not hold up the client. When too few replicas are left the client hears so at its next bytes. Left
without a command, the lanes are given back here and the streams are reset: other nodes then give
back theirs. What was kept without a command following is reclaimed by age.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import trio
from awscrt.checksums import crc32c
from msgspec import Struct

from cluster.base.ports import Peers
from cluster.quorum.writing import ReplicaSets, Verdict, WriteQuorum
from rs3gwd.base.commands import AnyCommand
from rs3gwd.base.errors import Overloaded
from rs3gwd.base.ports import Buffer
from rs3gwd.base.records import BlobRef
from rs3gwd.engine.blob_depot import BlobDepot
from rs3gwd.engine.blobs import BlobIds
from rs3gwd.engine.group_blobs import StagedOwner
from rs3gwd.engine.group_entries import RIDING_BYTES_MAX
from rs3gwd.engine.stage import BodyStage, StagedBody
from rs3gwd.node.blob_counts import BlobCounts
from rs3gwd.node.blob_frames import VERSION, PutHead
from rs3gwd.node.blob_lanes import LaneWatcher, ReplicaLane
from rs3gwd.node.placement import Placement

Owe = Callable[[int, BlobRef], None]
"""Notes that a node may lack a blob whose write was acknowledged. Does not block or raise."""


class FanoutSettings(Struct, frozen=True):
    """Seconds: without progress of a replica, for a quorum to sync, for the others after it, and
    without a byte at all."""

    stall_s: float = 2.0
    stall_dead_s: float = 0.2
    """... of a replica that is thought dead."""
    sync_timeout_s: float = 15.0
    straggler_timeout_s: float = 15.0
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
        is_alive: Callable[[int], bool],
        counts: BlobCounts,
        owe: Owe,
    ) -> None:
        self.node = node
        self.depot = depot
        self.settings = settings
        self.counts = counts
        self._owe = owe
        self._is_alive = is_alive
        self._blob_ids = blob_ids
        self._peers = peers
        self.placement = placement
        self._nursery: trio.Nursery | None = None
        self._in_flight: Counter[int] = Counter()
        """Bodies being received, by the version of the layout that they go by."""

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
        if size_hint is not None and size_hint <= RIDING_BYTES_MAX:
            yield ClusterStage(self, blob_id, None, size_hint)
            return
        async with self.depot.stage(blob_id, size_bytes=size_hint) as local:
            stage = ClusterStage(self, blob_id, local, size_hint)
            try:
                yield stage
            finally:
                stage.leave()

    def write_sets(self, blob_id: bytes) -> ReplicaSets:
        """The nodes that are to hold a blob, and how many of them must have synced it."""
        return self.placement.write_sets(blob_id)

    def enter(self) -> int:
        """A body begins; the version of the layout that it goes by, for `leave`."""
        version = self.placement.version
        self._in_flight[version] += 1
        return version

    def leave(self, version: int) -> None:
        """A body is done, and whatever command names it was sent."""
        self._in_flight[version] -= 1
        if not self._in_flight[version]:
            del self._in_flight[version]

    @property
    def obeyed_version(self) -> int:
        """No body goes by an older version of the layout than this one."""
        return min(self._in_flight, default=self.placement.version)

    def begin_lane(
        self, to: int, blob_id: bytes, size_hint: int | None, watcher: LaneWatcher
    ) -> ReplicaLane:
        """A stream to one replica, which is being opened."""
        assert self._nursery is not None, "the node runs"
        head = PutHead(VERSION, blob_id, size_hint)
        lane = ReplicaLane(self._peers, to, head, watcher, idle_s=self.settings.idle_s)
        self._nursery.start_soon(lane.run)
        return lane

    def patience_s(self, node: int) -> float:
        """How long a replica may take no bytes."""
        return self.settings.stall_s if self._is_alive(node) else self.settings.stall_dead_s

    def owe(self, node: int, blob: BlobRef) -> None:
        """A replica missed a blob whose write was acknowledged."""
        self.counts.stragglers += 1
        self._owe(node, blob)


class BlobWrite:
    """The replicas of one body: their lanes, and what the quorum makes of them."""

    def __init__(self, fanout: Fanout, blob_id: bytes, size_hint: int | None) -> None:
        settings = fanout.settings
        self._fanout = fanout
        self._blob_id = blob_id
        self._size_bytes = 0
        self._quorum = WriteQuorum(
            fanout.write_sets(blob_id),
            sync_patience_s=settings.sync_timeout_s,
            straggler_patience_s=settings.straggler_timeout_s,
        )
        self._changed = trio.Event()
        self._is_counted = False
        self._version = fanout.enter()
        self.is_local = fanout.node in self._quorum.nodes
        self._lanes = {
            node: fanout.begin_lane(node, blob_id, size_hint, self)
            for node in self._quorum.nodes
            if node != fanout.node
        }
        if self.is_local:
            self._quorum.on_opened(fanout.node)

    # What the lanes tell.

    def on_lane_opened(self, node: int) -> None:
        self._quorum.on_opened(node)

    def on_lane_done(self, node: int, failure: Exception | None) -> None:
        now_s = trio.current_time()
        if failure is None:
            self._quorum.on_synced(node, now_s)
        else:
            self._quorum.on_failed(node, now_s)
        self._look()

    def on_lane_slow(self, node: int) -> bool:
        return self._quorum.on_slow(node, trio.current_time())

    # What the body's receiver asks.

    async def write(self, piece: bytes) -> None:
        """To every lane. Raises Overloaded when too few replicas are left."""
        self.check()
        self._size_bytes += len(piece)
        for node, lane in self._lanes.items():
            await lane.write(piece, stall_s=self._fanout.patience_s(node))

    def end(self, check: int) -> None:
        """No more bytes will come."""
        for lane in self._lanes.values():
            lane.end(size_bytes=self._size_bytes, check=check)

    def keep(self, owner: StagedOwner) -> None:
        """The replicas are to keep the body for a command."""
        for lane in self._lanes.values():
            lane.keep(owner)
        self._quorum.on_sealed(trio.current_time())
        self._look()

    def kept_here(self) -> None:
        """This node has it on stable storage."""
        self._quorum.on_synced(self._fanout.node, trio.current_time())
        self._look()

    async def wait_quorum(self) -> None:
        """Until enough replicas keep the body. Raises Overloaded."""
        while self._quorum.verdict is Verdict.WAITING:
            self._changed = trio.Event()
            await self._changed.wait()
        self.check()

    def check(self) -> None:
        """Raises Overloaded when too few replicas are left."""
        if self._quorum.verdict is not Verdict.HOPELESS:
            return
        if not self._is_counted:
            self._is_counted = True
            self._fanout.counts.quorum_failures += 1
        reasons = "; ".join(str(lane.failure) for lane in self._lanes.values() if lane.failure)
        raise Overloaded(f"too few nodes can keep the bytes: {reasons}")

    def leave(self) -> None:
        """Whoever was not told to keep the body forgets it; once."""
        self._fanout.leave(self._version)
        for lane in self._lanes.values():
            lane.leave()

    def _look(self) -> None:
        """Acts on what the quorum says by now."""
        for node in self._quorum.take_hints():
            self._fanout.owe(node, BlobRef(self._blob_id, self._size_bytes))
        for lane in self._lanes.values():
            if self._quorum.verdict is Verdict.HOPELESS:
                lane.give_up(Overloaded("too few other nodes can keep the bytes"))
            lane.set_deadline(self._quorum.wake_at_s)
        self._changed.set()


class ClusterStage:
    """One body being received; see `rs3gwd.base.ports.Stage`."""

    def __init__(
        self, fanout: Fanout, blob_id: bytes, local: BodyStage | None, size_hint: int | None
    ) -> None:
        self._fanout = fanout
        self._blob_id = blob_id
        self._local = local
        """This node's own place for the bytes; None for a body that is known to ride."""
        self._size_hint = size_hint
        self._pieces: list[bytes] | None = []
        """The body while it may ride; None once it goes to its replicas."""
        self._size_bytes = 0
        self._check = 0
        self._is_ended = False
        self._write: BlobWrite | None = None

    @property
    def is_lean(self) -> bool:
        """Memory is short."""
        return self._local is not None and self._local.is_lean

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
        self._write = BlobWrite(self._fanout, self._blob_id, self._size_hint)

    async def _pass_on(self, piece: bytes) -> None:
        assert self._write is not None
        self._check = crc32c(piece, self._check)
        if self._write.is_local:
            await self._own.write(piece)
        await self._write.write(piece)

    async def end(self) -> None:
        """No more bytes will come: replicas begin to bring them to their disks."""
        if self._is_ended or self._write is None:
            return
        self._is_ended = True
        if self._write.is_local:
            await self._own.end()
        self._write.end(self._check)

    async def finish(self) -> ClusterBlob:
        """No more bytes will come."""
        if self._write is None:
            assert self._pieces is not None, "a body that goes nowhere is in memory"
            ref = BlobRef(self._blob_id, self._size_bytes) if self._size_bytes else None
            return ClusterBlob(self._fanout, ref, riding=b"".join(self._pieces))
        await self.end()
        staged = await self._own.finish() if self._write.is_local else None
        ref = BlobRef(self._blob_id, self._size_bytes)
        return ClusterBlob(self._fanout, ref, local=staged, write=self._write)

    @property
    def _own(self) -> BodyStage:
        assert self._local is not None, "a body that was announced to ride is not passed on"
        return self._local

    def leave(self) -> None:
        """The context is left: whoever was not told to keep the body forgets it."""
        if self._write is not None:
            self._write.leave()


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
        write: BlobWrite | None = None,
    ) -> None:
        self.ref = ref
        self.riding = riding
        self._fanout = fanout
        self._local = local
        self._write = write
        self._is_kept_here = False

    async def spread(self, command: AnyCommand) -> None:
        """Returns once a write quorum of the replicas keeps the bytes for a command, durably.

        Raises Overloaded: too few can be reached; nothing refers to the bytes. DiskFull,
        DiskFailed: this node is a replica and cannot keep them.
        """
        if self._write is None:
            return
        owner = owner_of(command)
        self._write.keep(owner)
        if self._local is not None and not self._is_kept_here:
            await self._fanout.depot.keep(self._local, owner)
            self._is_kept_here = True
            self._write.kept_here()
        await self._write.wait_quorum()


def owner_of(command: AnyCommand) -> StagedOwner:
    """For which command a blob is kept."""
    bucket: str = getattr(command, "bucket", "")
    key: bytes = getattr(command, "key", b"")
    nonce: bytes = getattr(command, "nonce", b"")
    return StagedOwner(bucket, key, nonce)
