"""Hosts of groups over the real log: restarts from its files, and entries that rotted in them."""

from __future__ import annotations

from random import Random

import pytest

from cluster.testing import host_world
from cluster.testing.crash_disk import CrashDisk
from cluster.testing.host_world import HostWorld, SimNode, SimRandom, hosts
from cluster.testing.memory_machine import add
from cluster.testing.seeded_trio import run_seeded
from cluster.wal.wal import Wal, WalSettings

SALTS = SimRandom(Random(9))
SMALL = WalSettings(segment_bytes=16384, zeros_bytes=2048, cache_bytes=8192, segments_max=4)


@pytest.fixture
def disks(monkeypatch: pytest.MonkeyPatch) -> list[CrashDisk]:
    """The disks of the nodes, in the order in which the nodes are made; each node logs to its
    own."""
    made: list[CrashDisk] = []

    def open_wal() -> Wal:
        made.append(CrashDisk())
        return Wal.open(made[-1], "wal", SMALL, random=SALTS)

    monkeypatch.setattr(host_world, "MemoryWal", open_wal)
    return made


async def count(node: SimNode, times: int) -> int:
    """Adds 1 to the counter `n` of group 0 so often; the last result."""
    result = b"0"
    for _ in range(times):
        result = await node.host.propose(0, add("n"), 30.0)
    return int(result)


async def reopen(world: HostWorld, number: int, *, flip: int | None = None) -> tuple[int, ...]:
    """A node falls and comes back from its files, a bit of them flipped; the groups that lost
    entries."""
    node = world.nodes[number]
    await node.crash()
    assert isinstance(node.wal, Wal)
    disk = node.wal._disk
    assert isinstance(disk, CrashDisk)
    node.wal.close()
    if flip is not None:
        # A start in between, so that all before it is known to have been durable.
        Wal.open(disk, "wal", SMALL, random=SALTS).close()
        _flip_data(disk, flip)
    node.wal = Wal.open(disk, "wal", SMALL, random=SALTS)
    lost = tuple(each.group for each in node.wal.lost())
    world.start(number)
    await world.wait_started(number)
    return lost


def _flip_data(disk: CrashDisk, occurrence: int) -> None:
    """Flips a bit of the data of an entry: it holds the name of the counter."""
    for name in disk.list("wal"):
        data = bytes(disk._files[f"wal/{name}"].data)
        at = -1
        for _ in range(occurrence):
            at = data.find(add("n")[-4:], at + 1)
        if at >= 0:
            disk.flip(f"wal/{name}", 8 * at)
            return
    raise AssertionError("no entry found to rot")


def test_nodes_come_back_from_their_files(disks: list[CrashDisk]) -> None:
    """Three nodes, each restarted from its files in turn while proposals go on: nothing is lost
    and nothing applied twice."""

    async def scene() -> None:
        async with hosts() as world:
            total = 0
            for number in (1, 2, 3, 1, 2, 3):
                total += 20
                assert await count(world.nodes[1 + number % 3], 20) == total
                assert await reopen(world, number) == ()
            await world.wait_equal()
            assert all(node.machine.value(0, "n") == total for node in world.nodes.values())

    run_seeded(1, scene)
    assert len(disks) == 3


@pytest.mark.parametrize("occurrence", [1, 5, 12])
def test_entries_that_rotted_are_fetched_again(disks: list[CrashDisk], occurrence: int) -> None:
    """A node whose log has rotted in the middle says so, comes back, and ends with what the others
    have; writes go on."""

    async def scene() -> None:
        async with hosts() as world:
            await count(world.nodes[1], 20)
            assert 0 in await reopen(world, 2, flip=occurrence)
            assert await count(world.nodes[3], 20) == 40
            await world.wait_equal()
            assert world.nodes[2].machine.value(0, "n") == 40
            # Whole again, it carries a quorum.
            await world.nodes[1].crash()
            assert await count(world.nodes[3], 5) == 45

    run_seeded(occurrence, scene)
    assert len(disks) == 3
