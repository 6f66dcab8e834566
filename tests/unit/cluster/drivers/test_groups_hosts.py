"""Whole hosts of groups, in memory, on a clock that jumps."""

from cluster.testing.host_world import hosts
from cluster.testing.memory_machine import add
from cluster.testing.seeded_trio import run_seeded


def test_a_proposal_from_any_node_is_applied_on_all() -> None:
    """Each of three nodes proposes to each of three groups; all nodes show all of it."""

    async def scene() -> None:
        async with hosts() as world:
            for node in list(world.nodes.values()):
                for group in world.groups:
                    result = await node.host.propose(group, add("n"), 10.0)
                    assert result == b"%d" % node.number
            await world.wait_equal()
            assert world.nodes[1].machine.value(2, "n") == 3

    run_seeded(1, scene)
