"""A whole cluster in one process: real engines on real directories, a network in memory.

Nodes fall and come back over what they left. With `InlineThreads` and a clock that jumps
(`cluster.testing.seeded_trio`) one seed gives one run, however long its timeouts are. What it is
not: a fall is an end of the engine as by a signal, no power cut; the crash tests have those. The
log is one in memory, which outlives its node.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from random import Random
from typing import TypeVar, cast

import trio

from cluster.drivers.groups_settings import GroupSettings
from cluster.layout.layout import Layout
from cluster.raft.identity import NodeIdentity
from cluster.testing.memory_peers import MemoryNetwork, MemoryPeers
from cluster.testing.memory_wal import MemoryWal
from rs3gwd.base.commands import (
    UNCONDITIONAL,
    Conditions,
    CreateBucket,
    DeleteObject,
    DeleteResult,
    PutObject,
)
from rs3gwd.base.ports import ObjectStore
from rs3gwd.base.records import Attributes, BucketRecord, Durability, VersionRecord
from rs3gwd.engine.blob_audit import list_kept
from rs3gwd.engine.engine import Engine, EngineSettings
from rs3gwd.engine.events import SilentObserver
from rs3gwd.engine.group_rows import group_digest
from rs3gwd.node.blob_fanout import FanoutSettings
from rs3gwd.node.blob_parts import BlobSettings
from rs3gwd.node.blob_sources import SourceSettings
from rs3gwd.node.blob_upkeep import UpkeepSettings
from rs3gwd.node.cluster_node import ClusterNode, ClusterSettings, NodePorts
from rs3gwd.node.cluster_store import ClusterStore
from rs3gwd.node.layout_following import FollowingSettings
from rs3gwd.node.layout_keeping import KeepingSettings
from rs3gwd.node.layout_parts import LayoutSettings
from rs3gwd.node.layout_sweep import SweepSettings
from rs3gwd.testing.faulty_disk import MemoryDisk
from rs3gwd.testing.open_local import TEST_SETTINGS
from rs3gwd.testing.random import SeededRandom
from rs3gwd.testing.target import read_body
from rs3gwd.testing.threads import InlineThreads

T = TypeVar("T")

CLUSTER = "test"
GROUPS = 3

SETTINGS = ClusterSettings(
    groups=GROUPS,
    host=GroupSettings(proposal_bytes_max=4 << 20, care_interval_s=0.5),
    blobs=BlobSettings(
        fanout=FanoutSettings(stall_s=2.0, sync_timeout_s=5.0, straggler_timeout_s=5.0, idle_s=5.0),
        sources=SourceSettings(idle_s=5.0),
        upkeep=UpkeepSettings(
            fetch_interval_s=0.5,
            fetch_grace_s=0.5,
            retry_max_s=2.0,
            reclaim_interval_s=5.0,
            reclaim_age_s=60.0,
        ),
    ),
    layout=LayoutSettings(
        following=FollowingSettings(interval_s=0.2),
        keeping=KeepingSettings(interval_s=0.3),
        sweep=SweepSettings(look_s=0.5, interval_s=5.0, retry_s=1.0),
    ),
    bucket_repair_interval_s=1.0,
    bucket_repair_patience_s=15.0,
)


class NodeFell(Exception):
    """The node was gone before it had answered, or is gone."""


class TrioClock:
    """The port `Clock` by the clock of the run, which may jump."""

    def __init__(self) -> None:
        self.wrong_ms = 0
        """What the day and time shown are ahead of the truth; a test may set it at any moment."""

    def now_ms(self) -> int:
        """Milliseconds since some day in 2023."""
        return 1_700_000_000_000 + int(trio.current_time() * 1000) % 10**12 + self.wrong_ms

    def monotonic(self) -> float:
        """Seconds."""
        return trio.current_time()


_NUMBERS_MAX = 1000
"""Above every node's number: no two nodes of any two seeds draw alike."""


class WorldNode:
    """One node: what outlives it, and the life that it has now."""

    def __init__(self, world: ClusterWorld, number: int, path: str, *, seed: int = 0) -> None:
        self.world = world
        self.number = number
        self.path = path
        self.disk = MemoryDisk()
        self.wal = MemoryWal()
        self.random = SeededRandom(seed * _NUMBERS_MAX + number)
        self.clock = TrioClock()
        self.engine: Engine
        self.cluster: ClusterNode
        self.peers: MemoryPeers
        self.is_up = trio.Event()
        self._scope = trio.CancelScope()
        self._ended = trio.Event()
        self._requests: dict[int, trio.CancelScope] = {}
        self._requests_count = 0
        self._quiet = trio.Event()

    @property
    def store(self) -> ClusterStore:
        """The store as a client of this node has it."""
        return self.cluster.store

    async def ask(self, call: Callable[[ClusterStore], Awaitable[T]]) -> T:
        """What a client's call of this node gives, and what it raises. Raises NodeFell."""
        if not self.is_up.is_set():
            raise NodeFell
        self._requests_count += 1
        number = self._requests_count
        with trio.CancelScope() as scope:
            self._requests[number] = scope
            try:
                return await call(self.store)
            finally:
                del self._requests[number]
                if not self._requests:
                    self._quiet.set()
        raise NodeFell

    async def live(self, members: tuple[int, ...]) -> None:
        """One life, until `fall`."""
        self._ended = trio.Event()
        os.makedirs(self.path, exist_ok=True)
        try:
            with trio.CancelScope() as self._scope:
                await self._live(members)
        finally:
            self._ended.set()

    async def _live(self, members: tuple[int, ...]) -> None:
        clock, threads = self.clock, InlineThreads()
        self.engine = await Engine.open(
            self.path,
            disk=self.disk,
            clock=clock,
            random=self.random,
            threads=threads,
            settings=self.world.engine_settings,
            observer=SilentObserver(),
        )
        try:
            async with running(self.engine), trio.open_nursery() as nursery:
                self.peers = MemoryPeers(self.world.network, self.number, nursery)
                # Nothing gets here before there is somebody to take it.
                self.peers.alive = False
                self.cluster = await ClusterNode.open(
                    self.engine,
                    identity=NodeIdentity(CLUSTER, self.number, b"token %d" % self.number),
                    members=members,
                    wal=self.wal,
                    ports=NodePorts(self.peers, self.peers, clock, self.random, threads),
                    settings=self.world.settings,
                )
                self.peers.alive = True
                await nursery.start(self.cluster.run)
                self.is_up.set()
        finally:
            if hasattr(self, "peers"):
                self.peers.cut_off()
            await self.engine.close()

    async def fall(self) -> None:
        """The node is gone, until it is started again; whoever asked it hears nothing."""
        self.is_up = trio.Event()
        self.peers.cut_off()
        self._quiet = trio.Event()
        for scope in self._requests.values():
            scope.cancel()
        # A request that still cleans up would do so in an engine that is closed.
        if self._requests:
            await self._quiet.wait()
        self._scope.cancel()
        await self._ended.wait()

    def digests(self) -> list[bytes]:
        """What every group's rows are here, by group."""
        groups = self.world.settings.groups
        with self.engine.environment.read() as txn:
            return [group_digest(txn, group, groups) for group in range(groups + 1)]

    def kept(self) -> list[bytes]:
        """The bodies that it keeps for commands that were applied, up to 10,000, by id."""
        with self.engine.environment.read() as txn:
            return list_kept(txn, after=b"", limit=10_000)


@asynccontextmanager
async def running(engine: Engine) -> AsyncIterator[None]:
    """A running engine, which ends only when all within has ended, as in the daemon."""

    scope = trio.CancelScope(shield=True)

    async def run(*, task_status: trio.TaskStatus[None]) -> None:
        with scope:
            await engine.run(task_status=task_status)

    async with trio.open_nursery() as nursery:
        await nursery.start(run)
        try:
            yield
        finally:
            scope.cancel()


class ClusterWorld:
    """Some nodes, the network between them, and what clients do."""

    def __init__(
        self,
        nursery: trio.Nursery,
        path: str,
        *,
        seed: int,
        settings: ClusterSettings,
        engine_settings: EngineSettings,
        delay_s: tuple[float, float],
        disks: Mapping[int, MemoryDisk],
    ) -> None:
        self.seed = seed
        self.settings = settings
        self.engine_settings = engine_settings
        self.random = Random(seed)
        self.network = MemoryNetwork(self.random, delay_s=delay_s)
        self.nodes: dict[int, WorldNode] = {}
        self._nursery = nursery
        self._path = path
        self._disks = disks

    def start(self, number: int, members: tuple[int, ...] = ()) -> WorldNode:
        """Begins a life of a node; wait for its `is_up`."""
        node = self.nodes.get(number)
        if node is None:
            path = os.path.join(self._path, str(number))
            node = WorldNode(self, number, path, seed=self.seed)
            node.disk = self._disks.get(number, node.disk)
            self.nodes[number] = node
        node.is_up = trio.Event()
        self._nursery.start_soon(node.live, members)
        return node

    async def restart(self, number: int) -> WorldNode:
        """The same, and waits."""
        node = self.start(number)
        await node.is_up.wait()
        return node

    def leader_of(self, group: int) -> WorldNode | None:
        """The node that leads a group, if there is one."""
        for node in self.nodes.values():
            if node.is_up.is_set() and node.peers.alive and node.cluster.host.leads(group):
                return node
        return None

    async def wait_leader(self, group: int) -> WorldNode:
        """The same, once there is one."""
        await self.wait_until(lambda: self.leader_of(group) is not None)
        leader = self.leader_of(group)
        assert leader is not None
        return leader

    async def wait_until(self, holds: Callable[[], bool], *, within_s: float = 60.0) -> None:
        """Returns once it holds. Raises TooSlowError."""
        with trio.fail_after(within_s):
            while not holds():  # noqa: ASYNC110 on a clock that jumps nobody could set an event
                await trio.sleep(0.1)

    async def wait_equal(self) -> None:
        """Until the rows of every group are the same on all nodes. Raises TooSlowError."""
        nodes = list(self.nodes.values())
        await self.wait_until(lambda: all(n.digests() == nodes[0].digests() for n in nodes))

    async def wait_layout(self, *, holds: Callable[[Layout], bool] = lambda _: True) -> Layout:
        """Until every node that is up goes by one and the same version of the layout, for which
        `holds` does. Raises TooSlowError."""
        await self.wait_until(lambda: (it := self._layout()) is not None and holds(it))
        layout = self._layout()
        assert layout is not None
        return layout

    def _layout(self) -> Layout | None:
        """The version that is alone in force on all nodes that are up."""
        up = [node for node in self.nodes.values() if node.is_up.is_set()]
        known = [node.cluster.layout.placement.history for node in up]
        found = [each.versions for each in known if each is not None]
        is_one = len(found) == len(up) and all(each == found[0] for each in found)
        return found[0][0] if is_one and found and len(found[0]) == 1 else None

    def misplaced(self, layout: Layout) -> list[str]:
        """The bodies that a node keeps without being of their set, or lacks."""
        kept: dict[bytes, set[int]] = {}
        for number, node in self.nodes.items():
            if node.is_up.is_set():
                for blob_id in node.kept():
                    kept.setdefault(blob_id, set()).add(number)
        sets = {each: layout.replicas_of(layout.partition_of(each)) for each in kept}
        return [
            f"{blob_id.hex()}: {sorted(nodes)}, not {sets[blob_id]}"
            for blob_id, nodes in kept.items()
            if nodes != set(sets[blob_id])
        ]

    def blob_counts(self) -> list[int]:
        """How many live bytes each node keeps."""
        return [node.engine.statistics().live_bytes for node in self.nodes.values()]


@asynccontextmanager
async def cluster_world(
    path: str,
    *,
    nodes: int = 3,
    seed: int = 0,
    settings: ClusterSettings = SETTINGS,
    engine_settings: EngineSettings = TEST_SETTINGS,
    delay_s: tuple[float, float] = (0.0002, 0.002),
    disks: Mapping[int, MemoryDisk] | None = None,
) -> AsyncIterator[ClusterWorld]:
    """A running cluster of so many nodes; `disks` are of those that have one already."""
    async with trio.open_nursery() as nursery:
        world = ClusterWorld(
            nursery,
            path,
            seed=seed,
            settings=settings,
            engine_settings=engine_settings,
            delay_s=delay_s,
            disks=disks or {},
        )
        nursery.start_soon(world.network.run)
        members = tuple(range(1, nodes + 1))
        for number in members:
            world.start(number, members)
        for number in members:
            await world.nodes[number].is_up.wait()
        await world.wait_layout()
        yield world
        nursery.cancel_scope.cancel()


# What clients do, through any store.


async def make_bucket(store: ObjectStore, name: str = "b", *, owner_id: str = "o") -> BucketRecord:
    """Makes a bucket."""
    return cast(BucketRecord, await store.submit(CreateBucket(name, owner_id, 1, "r")))


async def put(
    store: ObjectStore,
    key: bytes,
    data: bytes,
    *,
    bucket: str = "b",
    conditions: Conditions = UNCONDITIONAL,
    before_submit: Callable[[], Awaitable[None]] | None = None,
    now_ms: int = 1,
) -> VersionRecord:
    """Writes an object in pieces."""
    async with store.stage(size_hint=len(data), durability=Durability.STRICT) as stage:
        for at in range(0, len(data), 50_000):
            await stage.write(data[at : at + 50_000])
        staged = await stage.finish()
        if before_submit is not None:
            await before_submit()
        command = PutObject(
            bucket=bucket,
            key=key,
            now_ms=now_ms,
            nonce=hashlib.blake2b(key + data[:100], digest_size=16).digest(),
            attributes=Attributes("o"),
            etag=etag_of(data),
            size_bytes=len(data),
            blob=staged.ref,
            conditions=conditions,
        )
        return cast(VersionRecord, await store.submit(command, staged))


async def get(store: ObjectStore, key: bytes, *, bucket: str = "b") -> bytes:
    """The bytes of an object."""
    return await read_body(store, await store.get_version(bucket, key, None))


async def delete(
    store: ObjectStore, key: bytes, *, bucket: str = "b", now_ms: int = 1
) -> DeleteResult:
    """Removes an object."""
    command = DeleteObject(bucket, key, None, now_ms, b"d" * 16, "o")
    return cast(DeleteResult, await store.submit(command))


async def list_keys(store: ObjectStore, *, bucket: str = "b") -> list[bytes]:
    """All keys of a bucket of up to 1,000."""
    return [entry.key for entry in (await store.list_objects(bucket)).entries]


def etag_of(data: bytes) -> str:
    """The ETag of an object that was written in one piece."""
    return hashlib.md5(data, usedforsecurity=False).hexdigest()
