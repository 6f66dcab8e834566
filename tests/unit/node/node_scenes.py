"""Scenes over a cluster in one process, and looks at what its nodes keep: no tests in here."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from pathlib import Path

from cluster.testing.seeded_trio import run_seeded
from rs3gwd.engine.group_blobs import list_missing, list_staged
from rs3gwd.testing.cluster_world import ClusterWorld, WorldNode, cluster_world

Scene = Callable[[ClusterWorld], Awaitable[None]]


def play(path: Path, scene: Scene, *, seed: int = 1, nodes: int = 3) -> None:
    """Runs a scene over a cluster."""

    async def whole() -> None:
        async with cluster_world(str(path), seed=seed, nodes=nodes) as world:
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
