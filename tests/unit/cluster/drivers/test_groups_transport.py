"""Hosts of groups over the real transport, in memory: frames, calls and streams of snapshots."""

from random import Random

import trio
import trio.testing
from transport_world import MemoryWorld, identity_of

from cluster.drivers.groups import GroupHost
from cluster.raft.identity import NodeIdentity
from cluster.testing.host_world import SETTINGS, SimClock, SimRandom
from cluster.testing.memory_machine import MemoryMachine, add
from cluster.testing.memory_wal import MemoryWal
from cluster.testing.seeded_trio import run_seeded

FIRST = (1, 2, 3)


class Inline:
    """The port Threads, without any."""

    async def run(self, function):  # type: ignore[no-untyped-def]
        """Calls it here."""
        await trio.lowlevel.checkpoint()
        return function()


def host_of(world: MemoryWorld, node: int, machine: MemoryMachine) -> GroupHost:
    """A host upon a transport of the world."""
    identity: NodeIdentity = identity_of(node)
    return GroupHost(
        identity=identity,
        wal=MemoryWal(),
        peers=world.nodes[node],
        handlers=world.nodes[node],
        machine=machine,
        clock=SimClock(),
        random=SimRandom(Random(node)),
        threads=Inline(),
        settings=SETTINGS,
    )


def test_hosts_work_over_the_transport() -> None:
    """Three hosts take commands and readers through any node, go on when a node is cut off, and a
    fourth joins by snapshots."""

    async def scene() -> None:
        world = MemoryWorld(4)
        machines = {node: MemoryMachine() for node in world.nodes}
        hosts = {node: host_of(world, node, machines[node]) for node in world.nodes}
        async with world.running(), trio.open_nursery() as nursery:
            for node in FIRST:
                await hosts[node].bootstrap(range(3), FIRST)
            await hosts[4].join()
            for host in hosts.values():
                await nursery.start(
                    lambda task_status, host=host: host.run(task_status=task_status)
                )
            for at in range(60):
                node = FIRST[at % 3]
                result = await hosts[node].propose(at % 3, add(f"key {at}"), 10.0)
                assert result == b"1"
            await hosts[2].read_barrier(range(3), 10.0)
            assert machines[2].value(2, "key 59") == 1

            for other in (1, 2, 4):
                await world.net.cut(3, other)
                await world.net.cut(other, 3)
            for at in range(120):
                assert await hosts[1].propose(at % 3, add(f"more {at}"), 10.0) == b"1"
            for other in (1, 2, 4):
                world.net.heal(3, other)
                world.net.heal(other, 3)

            await hosts[3].add_node(4)
            with trio.fail_after(30):
                while True:
                    if all(4 in status.members.voters for status in hosts[1].status()):
                        break
                    await trio.sleep(0.1)
            await hosts[4].read_barrier(range(3), 10.0)
            assert all(machines[4].value(at % 3, f"more {at}") == 1 for at in range(120))
            assert sum(h.statistics().snapshots_installed for h in hosts.values()) >= 3
            nursery.cancel_scope.cancel()

    run_seeded(1, scene)
