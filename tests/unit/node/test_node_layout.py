"""The layout on whole nodes: it follows the members, moves the bytes, and loses none."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from unittest.mock import patch

import pytest
import trio
from msgspec.structs import replace
from node_scenes import body, missing_at, play

from cluster.layout.errors import LayoutError
from cluster.layout.keeping import fit
from cluster.layout.layout import LayoutHistory, NodeRole, partition_of
from rs3gwd.base.cluster_nodes import NodeRecord, NodeState
from rs3gwd.base.commands import PutNode
from rs3gwd.engine.blobs import find_blob
from rs3gwd.engine.check import check
from rs3gwd.engine.cluster_layout import drop_blobs
from rs3gwd.engine.group_blobs import lose_blob
from rs3gwd.engine.groups import SYSTEM_GROUP
from rs3gwd.node.layout_following import LayoutFollower
from rs3gwd.testing.cluster_world import (
    ClusterWorld,
    WorldNode,
    delete,
    get,
    make_bucket,
    put,
)

TIB = 1 << 40
SIZES = (10, 20_000, 150_000, 300_000)
"""Two ride in their commands, two go to their replicas."""


async def fill(world: ClusterWorld, count: int = 12) -> dict[bytes, bytes]:
    """Objects of all sizes, through all nodes; what each key holds."""
    await make_bucket(world.nodes[1].store)
    written = {}
    for number in range(count):
        key, data = b"key-%d" % number, body(SIZES[number % len(SIZES)], number)
        node = world.nodes[sorted(world.nodes)[number % len(world.nodes)]]
        await put(node.store, key, data)
        written[key] = data
    return written


async def change(
    node: WorldNode, roles: Mapping[int, NodeRole | None], *, copies: int | None = None
) -> None:
    """What an operator's change does to the history."""

    def step(history: LayoutHistory | None) -> LayoutHistory:
        assert history is not None
        return history.apply(fit(history.current, roles, copies=copies))

    assert await node.cluster.layout.changes.change(step)


async def check_all(world: ClusterWorld, written: Mapping[bytes, bytes]) -> None:
    """Every object through every node that is up, byte for byte."""
    for node in world.nodes.values():
        if node.is_up.is_set():
            for key, data in written.items():
                assert await get(node.store, key) == data


def test_bytes_end_where_the_layout_has_them(tmp_path: Path) -> None:
    """Of five nodes three keep each body, small ones too: the others drop what came to them in the
    log once those have it."""

    async def scene(world: ClusterWorld) -> None:
        written = await fill(world)
        layout = await world.wait_layout()
        assert layout.replicas == 3
        assert set(layout.counts()) == {1, 2, 3, 4, 5}
        await world.wait_until(lambda: not world.misplaced(layout))
        await check_all(world, written)

    play(tmp_path, scene, nodes=5)


def test_a_node_is_drained_while_clients_write(tmp_path: Path) -> None:
    """Its copies go to the others, it keeps nothing, and every object is there, also those that
    were written meanwhile through it."""

    async def scene(world: ClusterWorld) -> None:
        written = await fill(world)
        one, two = world.nodes[1], world.nodes[2]
        async with trio.open_nursery() as nursery:
            nursery.start_soon(write_on, two.store, b"meanwhile", written)
            await change(one, {2: NodeRole("", 0)})
            layout = await world.wait_layout(holds=lambda it: it.version == 2)
            nursery.cancel_scope.cancel()
        assert 2 not in layout.counts()
        await world.wait_until(lambda: not world.misplaced(layout))
        assert two.kept() == []
        await check_all(world, written)
        for number in (1, 3):
            await world.nodes[number].fall()
        await trio.sleep(1.0)

    play(tmp_path, scene, nodes=5)


async def write_on(store: object, name: bytes, written: dict[bytes, bytes]) -> None:
    """Writes until cancelled; what was acknowledged is noted."""
    number = 0
    while True:
        number += 1
        key, data = b"%b-%d" % (name, number), body(SIZES[number % len(SIZES)], number)
        await put(store, key, data)  # type: ignore[arg-type]
        written[key] = data
        await trio.sleep(0.05)


def test_a_node_that_was_lost_is_made_up_for(tmp_path: Path) -> None:
    """A node falls for ever and is removed: the layout goes on without it, and each body has three
    copies again on the nodes that are left."""

    async def scene(world: ClusterWorld) -> None:
        written = await fill(world)
        one = world.nodes[1]
        await world.nodes[5].fall()
        await remove(one, 5)
        del world.nodes[5]
        layout = await world.wait_layout(holds=lambda it: 5 not in it.roles)
        assert layout.replicas == 3
        await world.wait_until(lambda: not world.misplaced(layout))
        await check_all(world, written)

    play(tmp_path, scene, nodes=5)


async def remove(node: WorldNode, number: int) -> None:
    """What `rs3gwctl cluster remove --lost` does."""
    cluster = node.cluster
    leaving = NodeRecord(number, state=NodeState.LEAVING)
    await cluster.parts.proposer.propose(SYSTEM_GROUP, PutNode(leaving))
    await cluster.host.remove_node(number)
    removed = NodeRecord(number, state=NodeState.REMOVED)
    await cluster.parts.proposer.propose(SYSTEM_GROUP, PutNode(removed))


def test_three_nodes_become_two_with_two_copies(tmp_path: Path) -> None:
    """A lost node of three leaves two, which hold everything and go on."""

    async def scene(world: ClusterWorld) -> None:
        written = await fill(world)
        await world.nodes[3].fall()
        await remove(world.nodes[1], 3)
        del world.nodes[3]
        layout = await world.wait_layout(holds=lambda it: it.replicas == 2)
        assert set(layout.roles) == {1, 2}
        await put(world.nodes[2].store, b"after", body(200_000))
        written[b"after"] = body(200_000)
        await check_all(world, written)

    play(tmp_path, scene)


def test_a_node_that_is_down_holds_a_change_up_and_no_more(tmp_path: Path) -> None:
    """While a node of the old sets is away both sets count; when it is back the change ends. Going
    back puts the old sets in force at once."""

    async def scene(world: ClusterWorld) -> None:
        written = await fill(world)
        one, five = world.nodes[1], world.nodes[5]
        await five.fall()
        await change(one, {2: NodeRole("", 0)})
        await trio.sleep(5.0)
        history = one.cluster.layout.placement.history
        assert history is not None
        assert len(history.versions) == 2
        with pytest.raises(LayoutError, match="newest"):
            await change(one, {2: NodeRole("", TIB)})
        assert await one.cluster.layout.changes.change(
            lambda known: None if known is None else known.retreat()
        )
        await world.restart(5)
        layout = await world.wait_layout(holds=lambda it: it.version == 3)
        assert 2 in layout.counts()
        await world.wait_until(lambda: not world.misplaced(layout))
        await check_all(world, written)

    play(tmp_path, scene, nodes=5)


def test_every_node_falls_in_the_middle_of_a_change(tmp_path: Path) -> None:
    """What each had to do it does anew, and the change ends."""

    async def scene(world: ClusterWorld) -> None:
        written = await fill(world)
        await change(world.nodes[1], {2: NodeRole("", 0), 3: NodeRole("", 3 * TIB)})
        await trio.sleep(0.3)
        for node in list(world.nodes.values()):
            await node.fall()
            await world.restart(node.number)
            await trio.sleep(0.1)
        layout = await world.wait_layout(holds=lambda it: it.version == 2)
        await world.wait_until(lambda: not world.misplaced(layout))
        assert not any(missing_at(node) for node in world.nodes.values())
        await check_all(world, written)

    play(tmp_path, scene, nodes=5)


def test_a_node_beyond_the_voters_holds_copies_too(tmp_path: Path) -> None:
    """The sixth node only learns; it stands by until it is given something, and then holds it."""

    async def scene(world: ClusterWorld) -> None:
        written = await fill(world)
        six = world.start(6)
        await six.is_up.wait()
        leader = await world.wait_leader(SYSTEM_GROUP)
        await leader.cluster.host.add_node(6)
        layout = await world.wait_layout(holds=lambda it: 6 in it.roles)
        assert 6 not in layout.counts()
        assert 6 in leader.cluster.host.status()[0].members.learners
        await change(world.nodes[1], {6: NodeRole("", 1 << 40), 1: NodeRole("", 0)})
        layout = await world.wait_layout(holds=lambda it: 6 in it.counts())
        await world.wait_until(lambda: not world.misplaced(layout))
        assert six.kept()
        await check_all(world, written)

    play(tmp_path, scene, nodes=5)


def test_a_deleted_object_is_nowhere(tmp_path: Path) -> None:
    """What is deleted while its partition moves leaves no bytes on any node."""

    async def scene(world: ClusterWorld) -> None:
        written = await fill(world)
        await change(world.nodes[1], {4: NodeRole("", 0)})
        for key in list(written):
            await delete(world.nodes[3].store, key)
        layout = await world.wait_layout(holds=lambda it: it.version == 2)
        await world.wait_until(lambda: not any(node.kept() for node in world.nodes.values()))
        assert not world.misplaced(layout)

    play(tmp_path, scene, nodes=5)


def test_a_copy_stays_until_the_others_have_theirs(tmp_path: Path) -> None:
    """A node whose copy is not its own any more keeps it while a node of the set lacks the body."""

    async def scene(world: ClusterWorld) -> None:
        written = await fill(world, 4)
        layout = await world.wait_layout()
        await world.wait_until(lambda: not world.misplaced(layout))
        two = world.nodes[2]
        for node in world.nodes.values():
            set_fetching(node, interval_s=1e9)
        await trio.sleep(1.0)
        before = two.kept()
        await change(world.nodes[1], {2: NodeRole("", 0)})
        await trio.sleep(20.0)
        assert two.kept() == before
        assert before
        await check_all(world, written)

    play(tmp_path, scene, nodes=5)


def test_a_body_is_dropped_only_when_every_node_of_its_set_says_that_it_has_it(
    tmp_path: Path,
) -> None:
    """One of them has lost it: whoever else has it keeps it until that one has it again."""

    async def scene(world: ClusterWorld) -> None:
        await make_bucket(world.nodes[1].store)
        layout = await world.wait_layout()
        for node in world.nodes.values():
            set_fetching(node, interval_s=1e9)
        await trio.sleep(1.0)
        version = await put(world.nodes[1].store, b"k", body(10))
        assert version.blob is not None
        blob_id = version.blob.blob_id
        holder, *_ = (world.nodes[each] for each in layout.replicas_of(partition_of(blob_id)))
        await world.wait_equal()
        await holder.engine.parts.pipeline.change(
            lambda txn, ledger: lose_blob(txn, ledger, blob_id)
        )
        others = [n for n in world.nodes if n not in layout.replicas_of(partition_of(blob_id))]
        assert len(others) == 2
        await trio.sleep(10.0)
        for number in others:
            assert not await world.nodes[number].cluster.layout.sweep.sweep()
            assert world.nodes[number].kept() == [blob_id]
        await holder.fall()
        await world.restart(holder.number)
        await world.wait_until(lambda: not world.misplaced(layout))

    play(tmp_path, scene, nodes=5)


def set_fetching(node: WorldNode, *, interval_s: float) -> None:
    """How often a node looks for what it has to fetch."""
    upkeep = node.cluster.blobs.upkeep
    upkeep._settings = replace(upkeep._settings, fetch_interval_s=interval_s)


def test_nothing_is_dropped_by_a_layout_that_is_no_more(tmp_path: Path) -> None:
    """A drop that was agreed on under one history does nothing under the next."""

    async def scene(world: ClusterWorld) -> None:
        await fill(world, 4)
        one = world.nodes[1]
        await trio.sleep(5.0)  # each node says that it obeys, which are changes too
        revision = one.cluster.layout.placement.revision
        kept = one.kept()
        drop = one.engine.parts.pipeline.change
        assert await drop(lambda txn, ledger: drop_blobs(txn, ledger, kept, revision - 1)) is None
        assert await drop(lambda txn, ledger: drop_blobs(txn, ledger, kept, revision + 1)) is None
        assert one.kept() == kept
        assert await drop(lambda txn, ledger: drop_blobs(txn, ledger, kept, revision)) == len(kept)
        assert all(one.engine.look_up(find_blob, blob_id) is None for blob_id in kept)

    play(tmp_path, scene)


def test_the_store_is_whole_after_a_change(tmp_path: Path) -> None:
    """The check of each node's store finds nothing wrong with what was moved and dropped."""

    async def scene(world: ClusterWorld) -> None:
        written = await fill(world)
        await change(world.nodes[1], {2: NodeRole("", 0)})
        layout = await world.wait_layout(holds=lambda it: it.version == 2)
        await world.wait_until(lambda: not world.misplaced(layout))
        await check_all(world, written)
        for node in world.nodes.values():
            assert check(node.engine.environment, node.disk, read_data=True).findings == []

    play(tmp_path, scene, nodes=5)


def test_a_node_that_does_not_compare_is_noticed(tmp_path: Path) -> None:
    """A planted bug: nodes say at once that they have all; what they were given is not there."""

    async def at_once(self: LayoutFollower, history: LayoutHistory) -> None:
        node, version = self._node, history.current.version
        if node in history.current.roles and history.synced.get(node, 0) < version:
            await self._say(lambda known: known.report_synced(node, version))

    async def scene(world: ClusterWorld) -> None:
        await fill(world)
        layout = await world.wait_layout()
        await world.wait_until(lambda: not world.misplaced(layout))
        with patch.object(LayoutFollower, "_fill", at_once):
            await change(world.nodes[1], {2: NodeRole("", 0)})
            layout = await world.wait_layout(holds=lambda it: it.version == 2)
        with pytest.raises(trio.TooSlowError):
            await world.wait_until(lambda: not world.misplaced(layout))
        assert any(node.kept() for node in world.nodes.values())

    play(tmp_path, scene, nodes=5)
