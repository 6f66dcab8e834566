"""Scenes over a cluster in one process, and looks at what its nodes keep: no tests in here."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from pathlib import Path

from cluster.testing.seeded_trio import run_seeded
from rs3gwd.base.records import BlobRef, VersionRecord
from rs3gwd.engine import queries
from rs3gwd.engine.blobs import find_blob, get_blob
from rs3gwd.engine.group_blobs import list_missing, list_staged
from rs3gwd.engine.segment_format import RECORD_HEADER_BYTES
from rs3gwd.engine.segments import segment_path
from rs3gwd.node.cluster_node import ClusterSettings
from rs3gwd.node.local import LocalStore
from rs3gwd.testing.cluster_world import SETTINGS, ClusterWorld, WorldNode, cluster_world
from rs3gwd.testing.target import read_body

Scene = Callable[[ClusterWorld], Awaitable[None]]


def play(
    path: Path,
    scene: Scene,
    *,
    seed: int = 1,
    nodes: int = 3,
    settings: ClusterSettings = SETTINGS,
) -> None:
    """Runs a scene over a cluster."""

    async def whole() -> None:
        async with cluster_world(str(path), seed=seed, nodes=nodes, settings=settings) as world:
            await scene(world)

    run_seeded(seed, whole)


def body(size: int, first: int = 0) -> bytes:
    """Bytes that differ from place to place."""
    return bytes((first + at * 7 + at // 251) % 256 for at in range(size))


def missing_at(node: WorldNode) -> list[bytes]:
    """The blobs that a node has yet to fetch."""
    with node.engine.environment.read() as txn:
        return [blob_id for blob_id, _ in list_missing(txn)]


def staged_at(node: WorldNode) -> list[bytes]:
    """The blobs that a node keeps and no command has named."""
    with node.engine.environment.read() as txn:
        return [blob_id for blob_id, _ in list_staged(txn, before_ms=2**62)]


def live_bytes(node: WorldNode) -> int:
    """The bytes that a node keeps for somebody."""
    return node.engine.statistics().live_bytes


def lanes_busy(node: WorldNode) -> int:
    """Bodies that a node is receiving."""
    return node.engine.statistics().lanes_busy


def damage_blob(node: WorldNode, blob_id: bytes, *, at: int) -> None:
    """Flips a byte of a blob's payload on the disk of a node."""
    with node.engine.environment.read() as txn:
        extents = get_blob(txn, blob_id).extents
    for extent in extents:
        if at < extent.payload_bytes:
            break
        at -= extent.payload_bytes
    descriptor = node.disk.open(segment_path(extent.segment_id))
    place = extent.offset + RECORD_HEADER_BYTES + at
    (old,) = node.disk.pread(descriptor, 1, place)
    node.disk.pwrite(descriptor, [bytes([old ^ 1])], place)
    node.disk.close(descriptor)


def version_of(node: WorldNode, key: bytes) -> VersionRecord:
    """A version as a node has it, without asking the others."""
    return node.engine.look_up(queries.get_version, "b", key, None)


def blob_of(node: WorldNode, key: bytes) -> BlobRef:
    """The blob of an object of one."""
    blob = version_of(node, key).blob
    assert blob is not None
    return blob


async def read_here(node: WorldNode, key: bytes) -> bytes:
    """The bytes of an object as they lie on a node. Raises BlobNotHere, DataCorrupt."""
    return await read_body(LocalStore(node.engine), version_of(node, key))


def split_holders(world: ClusterWorld, blob_id: bytes) -> tuple[list[WorldNode], list[WorldNode]]:
    """The nodes that keep a blob, and those that do not."""
    nodes = list(world.nodes.values())
    with_it = [node for node in nodes if node.engine.look_up(find_blob, blob_id) is not None]
    return with_it, [node for node in nodes if node not in with_it]
