"""What can befall the nodes of a cluster, one fault at a time, and the scenarios made of it.

A fault takes one node, or one link: a minority, so that the others must go on. It ends by itself;
what it has changed is healed then, also when the run is over in its middle. Times are drawn around
the ones that matter: leases of 0.5 s, elections of 1 to 2 s, suspicions of some seconds.
"""

from __future__ import annotations

import os
import random
import signal
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from pathlib import Path

import trio

from chaos.cluster_nodes import Node, Nodes
from chaos.layout_nemesis import change_layout
from chaos.network import CUT, Weather
from chaos.node_disks import DiskState, NodeDisk

Bite = Mapping[str, int]
"""What a fault is known to have done, counted: one that did nothing has zeros."""

Fault = Callable[[Nodes, Node, random.Random], Awaitable[Bite | None]]
"""None from those that cannot miss: a signal, a switch, a clock."""

ROTTEN_PLACES = 20
STOP_SECONDS_MAX = 40


async def kill(nodes: Nodes, node: Node, source: random.Random) -> None:
    """SIGKILL, and a start after a moment."""
    node.end(signal.SIGKILL)
    await trio.sleep(source.uniform(0.0, 2.0))
    nodes.start(node)


async def kill_all(nodes: Nodes, node: Node, source: random.Random) -> None:
    """SIGKILL to every node within milliseconds: what is acknowledged is on disks. It is over when
    all serve again, so that each turn meets writes that were acknowledged since the last."""
    for each in nodes.all:
        each.send(signal.SIGKILL)
    for each in nodes.all:
        each.end(signal.SIGKILL)
    for each in nodes.all:
        nodes.start(each)
    for each in nodes.all:
        await nodes.wait_serving(each)


async def stop(nodes: Nodes, node: Node, source: random.Random) -> None:
    """A pause longer than any lease: the node comes back and believes that no time went by."""
    node.send(signal.SIGSTOP)
    try:
        await trio.sleep(source.uniform(0.5, 4.0))
    finally:
        node.send(signal.SIGCONT)


async def restart(nodes: Nodes, node: Node, source: random.Random) -> None:
    """All nodes one after the other, as an operator upgrades them: SIGTERM, and a start."""
    for each in nodes.all:
        with trio.move_on_after(STOP_SECONDS_MAX):
            await trio.to_thread.run_sync(each.end, signal.SIGTERM)
        nodes.start(each)
        await nodes.wait_serving(each)


async def isolate(nodes: Nodes, node: Node, source: random.Random) -> None:
    """The node hears nobody and is heard by nobody."""
    await _under(nodes, _both_ways(node, _others(nodes, node)), CUT, source)


async def cut_link(nodes: Nodes, node: Node, source: random.Random) -> None:
    """Two nodes do not hear each other; the third is a bridge between them."""
    await _under(nodes, _both_ways(node, [source.choice(_others(nodes, node))]), CUT, source)


async def deafen(nodes: Nodes, node: Node, source: random.Random) -> None:
    """The node is heard and hears nobody."""
    await _under(nodes, [(each, node.number) for each in _others(nodes, node)], CUT, source)


async def mute(nodes: Nodes, node: Node, source: random.Random) -> None:
    """The node hears all and is heard by nobody."""
    await _under(nodes, [(node.number, each) for each in _others(nodes, node)], CUT, source)


async def cut_one_way(nodes: Nodes, node: Node, source: random.Random) -> None:
    """One direction of one link is cut."""
    await _under(nodes, [(node.number, source.choice(_others(nodes, node)))], CUT, source)


async def slow(nodes: Nodes, node: Node, source: random.Random) -> None:
    """All that the node sends and gets takes 20 to 100 ms longer, and some of it overtakes."""
    weather = Weather(delay_s=source.uniform(0.02, 0.08), jitter_s=0.02)
    await _under(nodes, _both_ways(node, _others(nodes, node)), weather, source)


async def lose(nodes: Nodes, node: Node, source: random.Random) -> None:
    """2 to 20% of the node's packets are lost, in both directions."""
    weather = Weather(loss=source.uniform(0.02, 0.2), jitter_s=0.002)
    await _under(nodes, _both_ways(node, _others(nodes, node)), weather, source)


async def rot(nodes: Nodes, node: Node, source: random.Random) -> None:
    """Some bytes of the node's segments are others than it wrote."""
    for path in sorted(node.folder.rglob("*.seg")):
        _flip(path, source)
    await trio.sleep(source.uniform(0.5, 2.0))


async def set_wrong_clock(nodes: Nodes, node: Node, source: random.Random) -> None:
    """The node's clock of day and time jumps by up to ten minutes, and later back; requests that
    are signed by a right clock are still in time."""
    node.set_clock(source.uniform(-600, 600))
    try:
        await trio.sleep(source.uniform(0.5, 6.0))
    finally:
        node.set_clock(0.0)


async def fill_disk(nodes: Nodes, node: Node, source: random.Random) -> Bite:
    """The node's disk has no room, and later has it again: it refuses new bodies meanwhile."""
    return await _with_disk(node, DiskState.NO_GROWTH, source.uniform(2.0, 6.0))


async def refuse_all_writes(nodes: Nodes, node: Node, source: random.Random) -> Bite:
    """There is no room even for what was allocated before, as on a full file system that copies on
    write. The daemon waits for room and goes on by itself; one that ends is told as a problem."""
    bite = await _with_disk(node, DiskState.NO_ROOM, source.uniform(1.0, 4.0))
    await trio.sleep(1.0)  # an end that it has decided on takes a moment
    if node.process is None or node.process.poll() is None:
        return bite
    node.end(signal.SIGKILL)
    nodes.start(node)
    return {**bite, "daemon ended": 1}


async def fail_disk(nodes: Nodes, node: Node, source: random.Random) -> Bite:
    """Writes and syncs of the node fail, or its syncs alone; then it is killed and gets a good
    disk, which has what a failing one may have kept of writes that were not synced."""
    state = source.choice([DiskState.NO_WRITES, DiskState.NO_SYNCS])
    bite = await _with_disk(node, state, source.uniform(1.0, 4.0))
    return {**bite, **await _cut_power([node], source, nodes)}


async def cut_power(nodes: Nodes, node: Node, source: random.Random) -> Bite:
    """The node falls, and of what it did not sync any part is lost."""
    bite = await _cut_power([node], source, nodes)
    await trio.sleep(source.uniform(0.0, 2.0))
    return bite


async def cut_all_power(nodes: Nodes, node: Node, source: random.Random) -> Bite:
    """The same of all nodes within milliseconds. It is over when all serve again."""
    bite = await _cut_power(nodes.all, source, nodes)
    for each in nodes.all:
        await nodes.wait_serving(each)
    return bite


async def _cut_power(members: Sequence[Node], source: random.Random, nodes: Nodes) -> Bite:
    for each in members:
        if each.process is not None:
            each.send(signal.SIGKILL)
    found: Counter[str] = Counter()
    for each in members:
        each.end(signal.SIGKILL)
        loss = await trio.to_thread.run_sync(_disk_of(each).lose_power, source)
        found.update(
            {
                "writes not synced": loss.pending,
                "files changed": loss.changed,
                "files gone": loss.gone,
                loss.choice: 1,
            }
        )
    for each in members:
        nodes.start(each)
    return found


async def _with_disk(node: Node, state: DiskState, seconds: float) -> Bite:
    disk = _disk_of(node)
    before = disk.denials()
    disk.set(state)
    try:
        await trio.sleep(seconds)
    finally:
        disk.set(DiskState.WELL)
    after = disk.denials()
    return {
        "calls denied": after.writes + after.syncs - before.writes - before.syncs,
        "told full": after.told_full - before.told_full,
        state.name.lower().replace("_", " "): 1,
    }


def _disk_of(node: Node) -> NodeDisk:
    assert node.disk is not None, "the scenario has disks that can fail"
    return node.disk


def _flip(path: Path, source: random.Random) -> None:
    descriptor = os.open(path, os.O_RDWR)
    try:
        size = os.fstat(descriptor).st_blocks * 512
        for _ in range(ROTTEN_PLACES):
            # Behind the head of the file, which says whose it is: that is another fault.
            place = source.randrange(4096, max(size, 8192))
            old = os.pread(descriptor, 1, place)
            if old and old != b"\0":
                os.pwrite(descriptor, bytes([old[0] ^ 1 << source.randrange(8)]), place)
    finally:
        os.close(descriptor)


def _others(nodes: Nodes, node: Node) -> list[int]:
    return [each.number for each in nodes.all if each is not node]


def _both_ways(node: Node, others: Iterable[int]) -> list[tuple[int, int]]:
    return [pair for each in others for pair in ((node.number, each), (each, node.number))]


async def _under(
    nodes: Nodes, directions: Iterable[tuple[int, int]], weather: Weather, source: random.Random
) -> None:
    switch = nodes.switch
    assert switch is not None, "the scenario has a network of its own"
    for sender, receiver in directions:
        switch.set(sender, receiver, weather)
    try:
        await trio.sleep(source.uniform(0.5, 6.0))
    finally:
        switch.heal()


PROCESS_FAULTS: dict[str, Fault] = {
    "kill": kill,
    "kill-all": kill_all,
    "stop": stop,
    "restart": restart,
    "rot": rot,
    "wrong-clock": set_wrong_clock,
    "change-layout": change_layout,
}
NETWORK_FAULTS: dict[str, Fault] = {
    "isolate": isolate,
    "cut-link": cut_link,
    "deafen": deafen,
    "mute": mute,
    "cut-one-way": cut_one_way,
    "slow": slow,
    "lose": lose,
}
DISK_FAULTS: dict[str, Fault] = {
    "full-disk": fill_disk,
    "no-room": refuse_all_writes,
    "failing-disk": fail_disk,
    "power-cut": cut_power,
    "power-cut-all": cut_all_power,
}
FAULTS = PROCESS_FAULTS | NETWORK_FAULTS | DISK_FAULTS
"""All faults by name."""

BITES: dict[str, tuple[str, ...]] = {
    "change-layout": ("layouts changed", "copies moved"),
    "full-disk": ("told full", "PUT 507", "GET 200"),
    "no-room": ("calls denied",),
    "failing-disk": ("calls denied",),
    "power-cut": ("writes not synced",),
    "power-cut-all": ("writes not synced",),
}
"""What there must be some of when all turns of a fault in a run are added up: what it did, and how
its node answered meanwhile."""


NEVER: dict[str, tuple[str, ...]] = {"no-room": ("daemon ended",)}
"""What no turn of a fault may do."""


def toothless(bites: Mapping[str, Bite]) -> list[str]:
    """What is missing of `BITES`, and what there is of `NEVER`, for each fault that came."""
    missing = [
        f"{fault}: no {each}"
        for fault, found in bites.items()
        for each in BITES.get(fault, ())
        if not found.get(each)
    ]
    return missing + [
        f"{fault}: {each} {found[each]} times"
        for fault, found in bites.items()
        for each in NEVER.get(fault, ())
        if found.get(each)
    ]


SCENARIOS: dict[str, tuple[str, ...]] = {
    "calm": (),
    "processes": ("kill", "stop"),
    "kill": ("kill",),
    "kill-all": ("kill-all",),
    "pause": ("stop",),
    "rolling-restart": ("restart",),
    "partitions": ("isolate", "cut-link"),
    "one-way": ("deafen", "mute", "cut-one-way"),
    "weather": ("slow", "lose"),
    "slow-node": ("slow",),
    "bit-rot": ("rot",),
    "clocks": ("wrong-clock", "kill", "stop"),
    "layout": ("change-layout",),
    "layout-and-kills": ("change-layout", "kill", "stop"),
    "full-disk": ("full-disk",),
    "no-room": ("no-room",),
    "failing-disk": ("failing-disk",),
    "power-cut": ("power-cut",),
    "power-cut-all": ("power-cut-all",),
    "disks": tuple(DISK_FAULTS),
    "everything": tuple(FAULTS),
}
"""What `python3 -m chaos run` can be told: the faults that a run draws from."""
