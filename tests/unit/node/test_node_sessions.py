"""The store as one request sees it: what it wrote it reads, whatever else it does meanwhile."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

import pytest
import trio
from node_scenes import play

from rs3gwd.base.errors import NoSuchKey
from rs3gwd.base.ports import NotProved, ObjectStore
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


def test_a_request_that_reads_no_key_is_shown_none_unproved(tmp_path: Path) -> None:
    """It begins with the system group proved alone: a look-up of its key says that it must wait,
    and shows the key once it did, as another node left it."""

    async def scene(world: ClusterWorld) -> None:
        await make_bucket(world.nodes[1].store)
        for node in world.nodes.values():
            await put(world.nodes[1].store, b"k", b"by %d" % node.number)
            session = await node.cluster.store.begin("b", b"k", False)
            early = session.lookups_now()
            assert early is not None
            assert early.get_bucket("b").name == "b"
            with pytest.raises(NotProved):
                early.get_version("b", b"k", None)
            version = (await session.wait_lookups()).get_version("b", b"k", None)
            assert session.lookups_now() is not early
            with pytest.raises(NotProved):
                early.read_small(version)
            assert await get(session, b"k") == b"by %d" % node.number

    play(tmp_path, scene)


async def read_on(session: ObjectStore) -> None:
    """Reads keys of every group, until cancelled."""
    while True:
        for number in range(10):
            with suppress(NoSuchKey):
                await session.get_version("b", b"%d by 1" % number, None)
            await trio.sleep(0.0005)
