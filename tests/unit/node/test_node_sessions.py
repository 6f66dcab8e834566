"""The store as one request sees it: what it wrote it reads, whatever else it does meanwhile."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

import trio
from node_scenes import play

from rs3gwd.base.errors import NoSuchKey
from rs3gwd.base.ports import ObjectStore
from rs3gwd.testing.cluster_world import ClusterWorld, get, make_bucket, put


def test_a_request_reads_what_it_wrote_while_other_parts_of_it_read(tmp_path: Path) -> None:
    """Proofs of reads that were under way during a write say nothing about what was written."""

    async def scene(world: ClusterWorld) -> None:
        await make_bucket(world.nodes[1].store)
        for node in world.nodes.values():
            session = await node.cluster.store.begin("b", b"")
            async with trio.open_nursery() as nursery:
                for _ in range(4):
                    nursery.start_soon(read_on, session)
                for number in range(20):
                    key = b"%d by %d" % (number, node.number)
                    await put(session, key, key)
                    assert await get(session, key) == key
                nursery.cancel_scope.cancel()

    play(tmp_path, scene)


async def read_on(session: ObjectStore) -> None:
    """Reads keys of every group, until cancelled."""
    while True:
        for number in range(10):
            with suppress(NoSuchKey):
                await session.get_version("b", b"%d by 1" % number, None)
            await trio.sleep(0.0005)
