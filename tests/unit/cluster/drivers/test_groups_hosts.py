"""Whole hosts of groups, in memory, on a clock that jumps (`cluster.testing.host_world`)."""

from collections.abc import Callable
from dataclasses import replace
from unittest.mock import patch

import pytest
import trio
import trio.testing

from cluster.base.errors import (
    BarrierTimeout,
    ConfChangeRefused,
    IdentityError,
    LogWriteFailed,
    NoLeader,
    OutcomeUnknown,
    TooManyProposals,
)
from cluster.drivers.groups import GroupHost
from cluster.drivers.groups_frames import ProposalAnswer, ReadAnswer
from cluster.drivers.groups_settings import Leaders
from cluster.raft.membership import ChangeKind, ConfChangeSingle
from cluster.testing.host_world import SETTINGS, HostWorld, SimNode, hosts
from cluster.testing.memory_machine import MemoryMachine, add
from cluster.testing.memory_wal import MemoryWal
from cluster.testing.seeded_trio import run_seeded


async def count(node: SimNode, times: int, *, group: int = 0, timeout_s: float = 10.0) -> list[int]:
    """Adds 1 to the counter `n` so often, one after the other; the results."""
    return [int(await node.host.propose(group, add("n"), timeout_s)) for _ in range(times)]


def others(world: HostWorld, node: SimNode) -> list[SimNode]:
    """All nodes but one."""
    return [other for other in world.nodes.values() if other is not node]


def test_a_proposal_from_any_node_is_applied_on_all() -> None:
    """Each of three nodes proposes to each of three groups; all nodes show all of it."""

    async def scene() -> None:
        async with hosts() as world:
            for node in list(world.nodes.values()):
                for group in world.groups:
                    assert await count(node, 1, group=group) == [node.number]
            await world.wait_equal()
            assert world.nodes[1].machine.value(2, "n") == 3

    run_seeded(1, scene)


@pytest.mark.parametrize("nodes", [3, 5])
def test_writes_go_on_within_two_seconds_of_a_leader_that_fell(nodes: int) -> None:
    """The leader of a group falls; a proposal through another node is through soon after."""

    async def scene() -> None:
        async with hosts(nodes=nodes, seed=nodes) as world:
            await count(world.nodes[1], 1)
            leader = world.leader_of(0)
            assert leader is not None
            other = others(world, leader)[0]
            await leader.crash()
            before = trio.current_time()
            assert await count(other, 1) == [2]
            assert trio.current_time() - before < 2.0
            world.start(leader.number)
            await world.wait_started(leader.number)
            await world.wait_equal()

    run_seeded(nodes, scene)


SHAPES: dict[str, Callable[[int], list[tuple[int, int]]]] = {
    "isolated": lambda node: [(a, b) for a in (1, 2, 3) for b in (1, 2, 3) if node in (a, b)],
    "deaf": lambda node: [(other, node) for other in (1, 2, 3)],
    "mute": lambda node: [(node, other) for other in (1, 2, 3)],
    "link": lambda node: [(node, node % 3 + 1), (node % 3 + 1, node)],
    "one way": lambda node: [(node, node % 3 + 1)],
    "other way": lambda node: [(node % 3 + 1, node)],
}
"""Cuts of three nodes that leave a majority which can talk both ways."""


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("node", [1, 2, 3])
def test_a_majority_writes_and_reads_through_every_cut(shape: str, node: int) -> None:
    """With one node or one link cut, in any way, somebody is served within some seconds; healed,
    all nodes come to the same state."""

    async def scene() -> None:
        async with hosts() as world:
            await count(world.nodes[1], 1)
            for link in SHAPES[shape](node):
                world.network.cut(*link)
            results: list[int] = []

            async def attempt(through: SimNode) -> None:
                try:
                    results.extend(await count(through, 3, timeout_s=5.0))
                    await through.host.read_barrier(world.groups, 5.0)
                    assert through.machine.value(0, "n") >= results[-1]
                except (OutcomeUnknown, NoLeader, BarrierTimeout):
                    # A node that is cut off may say so, not more.
                    assert through.number == node or shape not in ("isolated", "deaf", "mute")

            async with trio.open_nursery() as nursery:
                for through in world.nodes.values():
                    nursery.start_soon(attempt, through)
            assert len(results) >= 3
            assert len(set(results)) == len(results)
            world.network.heal()
            await world.wait_led()
            await world.wait_equal()

    run_seeded(node, scene)


def test_a_host_comes_back_from_its_log() -> None:
    """All nodes fall at once and come back with everything that was answered."""

    async def scene() -> None:
        async with hosts() as world:
            await count(world.nodes[2], 60)
            for node in world.living:
                await node.crash()
            for number in world.first:
                world.start(number)
            for number in world.first:
                await world.wait_started(number)
            await world.nodes[3].host.read_barrier([0], 10.0)
            assert world.nodes[3].machine.value(0, "n") == 60
            assert await count(world.nodes[1], 1) == [61]
            assert world.nodes[1].wal.group(0).first_index() > 1

    run_seeded(4, scene)


def test_a_node_joins_by_snapshots_and_becomes_a_voter() -> None:
    """A fourth node gets what the logs no longer hold by snapshots, and is made a voter then."""

    async def scene() -> None:
        async with hosts() as world:
            for group in world.groups:
                await count(world.nodes[1], 60, group=group)
            joined = await world.join(4)
            await world.nodes[2].host.add_node(4)
            await world.wait_equal()
            await world.wait_until(
                lambda: joined.host.statistics().snapshots_installed == len(world.groups)
            )

            def votes() -> bool:
                return all(4 in status.members.voters for status in joined.host.status())

            await world.wait_until(votes)
            assert await count(joined, 1) == [61]

    run_seeded(5, scene)


def test_a_broken_stream_of_a_snapshot_is_taken_up_where_it_broke() -> None:
    """With a stream that breaks again and again the snapshot arrives, by one installation."""

    async def scene() -> None:
        async with hosts(groups=(0,)) as world:
            for at in range(80):
                await world.nodes[1].host.propose(0, add(f"key {at}"), 10.0)
            joined = await world.join(4)
            world.network.broken_streams = 0.05
            await world.nodes[1].host.add_node(4)
            await world.wait_equal()
            counts = [node.host.statistics() for node in world.living]
            await world.wait_until(lambda: joined.host.statistics().snapshots_installed == 1)
            assert sum(each.snapshots_failed for each in counts) == 0

    run_seeded(7, scene)


def test_an_installation_that_leaves_nothing_whole_is_made_good() -> None:
    """A follower whose state was lost half-way votes and listens on, and gets another snapshot."""

    async def scene() -> None:
        async with hosts(groups=(0,)) as world:
            await world.wait_led()
            leader = world.leader_of(0)
            assert leader is not None
            behind = others(world, leader)[0]
            await behind.crash()
            await count(leader, 80)
            behind.machine.break_installs = 1
            # So long that the cut comes in the middle of the stream.
            world.network.slow_s[leader.number] = 0.1
            world.start(behind.number)
            await world.wait_started(behind.number)

            def installing() -> bool:
                return behind.host.status()[0].role == "installing"

            await world.wait_until(installing)
            world.network.isolate(behind.number)

            def hollow() -> bool:
                return behind.host.status()[0].role == "hollow"

            await world.wait_until(hollow)
            await behind.crash()
            world.start(behind.number)
            await world.wait_started(behind.number)
            assert hollow()
            world.network.slow_s.clear()
            world.network.heal()
            await world.wait_equal()
            assert await count(behind, 1) == [81]

    run_seeded(8, scene)


def test_a_retried_command_takes_effect_once() -> None:
    """Lost and doubled messages and falling leaders: the counter shows every answer, once."""

    async def scene() -> None:
        async with hosts(seed=3) as world:
            world.network.loss = 0.2
            world.network.doubled = 0.2
            results: list[int] = []

            async def client(node: SimNode) -> None:
                results.extend(await count(node, 20, timeout_s=60.0))

            async def faller() -> None:
                for _ in range(4):
                    await trio.sleep(0.7)
                    leader = world.leader_of(0)
                    if leader is not None and leader.number != 1:
                        await world.restart(leader.number)

            async with trio.open_nursery() as nursery:
                nursery.start_soon(faller)
                for _ in range(3):
                    nursery.start_soon(client, world.nodes[1])
            assert sorted(results) == list(range(1, 61))
            assert world.nodes[1].host.statistics().proposals_resent > 0

    run_seeded(3, scene)


def test_a_command_whose_session_was_dropped_is_sent_again_under_a_new_one() -> None:
    """Sessions are dropped when there are too many; a node that was idle notices nothing."""

    async def scene() -> None:
        async with hosts(groups=(0,)) as world:
            await count(world.nodes[1], 1)
            for _ in range(70):
                await world.restart(2)
                await count(world.nodes[2], 1)
            assert await count(world.nodes[1], 1) == [72]

    run_seeded(1, scene)


def test_readers_who_wait_share_one_exchange() -> None:
    """A hundred readers of a follower cost the leader two exchanges, not a hundred."""

    async def scene() -> None:
        async with hosts(groups=(0,)) as world:
            await count(world.nodes[1], 1)
            leader = world.leader_of(0)
            assert leader is not None
            reader = others(world, leader)[0]
            before = reader.host.statistics().read_exchanges
            async with trio.open_nursery() as nursery:
                for _ in range(100):
                    nursery.start_soon(reader.host.read_barrier, [0], 5.0)
            assert reader.host.statistics().read_exchanges - before <= 2

    run_seeded(2, scene)


def test_proposals_that_come_together_go_together() -> None:
    """Forty at once, from all nodes, leave the leader in a few messages to each follower, not in
    forty; a lone one waits for no others."""

    async def scene() -> None:
        async with hosts() as world:
            await world.wait_led()
            for node in world.nodes.values():
                await count(node, 1)
            leader = world.leader_of(0)
            assert leader is not None
            running = leader.host._running
            assert running is not None
            outbox = running.loop.outbox
            with patch.object(outbox, "add", wraps=outbox.add) as add:
                async with trio.open_nursery() as nursery:
                    for number in range(40):
                        nursery.start_soon(count, world.nodes[number % 3 + 1], 1)
            messages = [message for call in add.call_args_list for message in call.args[1]]
            assert sum(bool(message.entries) for message in messages) <= 8
            assert await count(leader, 1) == [44]

    run_seeded(13, scene)


def test_a_result_that_comes_while_a_refused_proposal_rests_is_taken() -> None:
    """A former leader's refusal is heard when the proposal is in the log of this node, which leads
    by now; the result comes before it would be sent again, and nobody waits for another."""

    async def scene() -> None:
        async with hosts() as world:
            await world.wait_led()
            leader = world.leader_of(0)
            assert leader is not None
            await count(leader, 1)
            running = leader.host._running
            assert running is not None

            async def refuse_late() -> None:
                await trio.testing.wait_all_tasks_blocked()
                (session, number), pending = next(iter(running.proposals._pending[0].items()))
                assert pending.answer is None
                stale = ProposalAnswer(0, session, number, "transferring", b"")
                running.proposals.on_answer(stale)

            began = trio.current_time()
            async with trio.open_nursery() as nursery:
                nursery.start_soon(refuse_late)
                assert await count(leader, 1) == [2]
            assert trio.current_time() - began < 2 * SETTINGS.refused_pause_s

    run_seeded(15, scene)


def test_a_reader_takes_no_answer_to_another_question() -> None:
    """Answers that come late, from before the node fell too, let nobody pass; nor is a question
    forgotten that was lost."""

    async def scene() -> None:
        async with hosts() as world:
            await world.wait_led()
            await count(world.nodes[1], 1)
            leader = world.leader_of(0)
            assert leader is not None
            reader = others(world, leader)[0]
            passed = trio.Event()

            async def read() -> None:
                await reader.host.read_barrier([0], 10.0)
                passed.set()

            world.network.cut(leader.number, reader.number)
            async with trio.open_nursery() as nursery:
                nursery.start_soon(read)
                await trio.sleep(0.01)
                running = reader.host._running
                assert running is not None
                exchange = running.reads._lanes[leader.number].running
                assert exchange is not None
                for number in (exchange.number - 1, exchange.number + 1, 1):
                    running.reads.on_answer(leader.number, ReadAnswer(number, ((0, 0),)))
                await trio.sleep(0.05)
                assert not passed.is_set()
                world.network.heal()
                began = trio.current_time()
            assert trio.current_time() - began < 0.5

    run_seeded(14, scene)


def test_a_leader_with_a_lease_lets_readers_pass_at_once() -> None:
    """At the leader a barrier takes no time and no message."""

    async def scene() -> None:
        async with hosts(groups=(0,)) as world:
            await count(world.nodes[1], 1)
            leader = world.leader_of(0)
            assert leader is not None
            await leader.host.read_barrier([0], 5.0)
            asked = leader.host.statistics().read_exchanges
            before = trio.current_time()
            for _ in range(100):
                await leader.host.read_barrier([0], 5.0)
            assert trio.current_time() == before
            assert leader.host.statistics().read_exchanges == asked

    run_seeded(2, scene)


def test_a_barrier_names_the_groups_without_a_leader() -> None:
    """A node that is cut off says in time which groups nobody leads, as far as it knows."""

    async def scene() -> None:
        async with hosts() as world:
            await world.wait_led()
            world.network.isolate(2)
            await trio.sleep(5.0)
            with pytest.raises(BarrierTimeout) as failure:
                await world.nodes[2].host.read_barrier([0, 2], 1.0)
            assert failure.value.leaderless == (0, 2)
            with pytest.raises(NoLeader):
                await world.nodes[2].host.propose(0, add("n"), 1.0)

    run_seeded(2, scene)


def test_a_proposal_into_a_log_that_nobody_commits_is_of_unknown_outcome() -> None:
    """A leader that was just cut off takes a command and cannot say what becomes of it."""

    async def scene() -> None:
        async with hosts(groups=(0,)) as world:
            await count(world.nodes[1], 1)
            leader = world.leader_of(0)
            assert leader is not None
            world.network.isolate(leader.number)
            with pytest.raises(OutcomeUnknown):
                await leader.host.propose(0, add("n"), 0.5)

    run_seeded(2, scene)


def test_leadership_is_handed_over_and_spread() -> None:
    """A group goes to whom it is told; left alone, leaders come to be spread evenly."""

    async def scene() -> None:
        async with hosts(groups=range(6)) as world:
            await world.wait_led()
            for group in world.groups:
                await world.nodes[3].host.transfer_leadership(group, 2)

            def spread() -> bool:
                led = [status.leader for status in world.nodes[1].host.status()]
                return sorted(led) == [1, 1, 2, 2, 3, 3]

            await world.wait_until(spread)

    run_seeded(2, scene)


def test_several_members_are_replaced_at_once() -> None:
    """One joint change makes two new nodes voters and takes two old ones out."""

    async def scene() -> None:
        async with hosts(groups=(0,)) as world:
            await count(world.nodes[1], 50)
            for number in (4, 5):
                await world.join(number)
                await world.nodes[1].host.add_node(number)
            changes = [
                ConfChangeSingle(ChangeKind.ADD_NODE, 4),
                ConfChangeSingle(ChangeKind.ADD_NODE, 5),
                ConfChangeSingle(ChangeKind.REMOVE_NODE, 2),
                ConfChangeSingle(ChangeKind.REMOVE_NODE, 3),
            ]
            await world.nodes[1].host.change_members(0, changes)
            for number in (2, 3):
                await world.nodes[number].crash()
            assert await count(world.nodes[4], 1) == [51]
            assert world.nodes[1].host.status()[0].members.voters == (1, 4, 5)
            await world.nodes[1].host.change_members(0, changes)

    run_seeded(6, scene)


def test_a_node_leaves_all_groups_its_own_leadership_included() -> None:
    """A node that leads is removed from every group; the others go on."""

    async def scene() -> None:
        async with hosts() as world:
            await world.wait_led()
            for group in world.groups:
                await world.nodes[1].host.transfer_leadership(group, 1)
            await world.nodes[2].host.remove_node(1)
            await world.nodes[1].crash()
            for group in world.groups:
                assert await count(world.nodes[3], 1, group=group) == [1]
            assert all(s.members.voters == (2, 3) for s in world.nodes[3].host.status())

    run_seeded(6, scene)


def test_the_last_voter_cannot_be_removed() -> None:
    """A change that leaves nobody to decide is refused, and says so."""

    async def scene() -> None:
        async with hosts(nodes=1, groups=(0,)) as world:
            await world.wait_led()
            with pytest.raises(ConfChangeRefused):
                await world.nodes[1].host.change_members(
                    0, [ConfChangeSingle(ChangeKind.REMOVE_NODE, 1)]
                )
            assert await count(world.nodes[1], 1) == [1]

    run_seeded(6, scene)


def test_a_wiped_node_does_not_return_under_its_old_id() -> None:
    """A start from an empty disk, and a second bootstrap upon a full one, are both refused."""

    async def scene() -> None:
        async with hosts() as world:
            await count(world.nodes[1], 1)
            node = world.nodes[3]
            await node.crash()
            kept = node.wal
            node.wal, node.machine = MemoryWal(), MemoryMachine()
            with pytest.raises(ExceptionGroup) as failure:
                await node.live(None)
            assert failure.group_contains(IdentityError)
            node.wal = kept
            with pytest.raises(ExceptionGroup) as failure:
                await node.live(GroupHost.join)
            assert failure.group_contains(IdentityError)

    run_seeded(6, scene)


def test_a_failed_sync_ends_the_host() -> None:
    """What a disk holds after a failed sync is unknown: the host answers nothing any more."""

    async def scene() -> None:
        async with hosts(groups=(0,)) as world:
            await count(world.nodes[1], 1)
            leader = world.leader_of(0)
            assert leader is not None
            leader.wal.fault = OSError(5, "Input/output error")
            try:
                await leader.host.propose(0, add("n"), 1.0)
            finally:
                assert not leader.host.runs

    with pytest.raises(ExceptionGroup) as failure:
        run_seeded(6, scene)
    assert failure.group_contains(LogWriteFailed)
    assert not failure.group_contains(AssertionError)


@pytest.mark.parametrize("what", ["log", "state machine"])
def test_a_node_whose_disk_is_full_leads_nothing_and_heals(what: str) -> None:
    """A leader finds no room: others lead and writes go on, through the full node too. Once there
    is room it has all that it missed, without a new start, and may lead again."""

    async def scene() -> None:
        settings = replace(SETTINGS, leaders=Leaders.ANYWHERE)
        async with hosts(settings=settings) as world:
            for group in world.groups:
                await count(world.nodes[1], 1, group=group)
            full = world.leader_of(0)
            assert full is not None
            room = trio.Event()
            if what == "log":
                full.wal.is_full = True
            else:
                full.machine.room = room
            for node in others(world, full):
                for group in world.groups:
                    await count(node, 3, group=group)
            assert not any(full.host.leads(group) for group in world.groups)
            assert await count(full, 1) == [8]
            assert full.machine.value(0, "n") < 8
            await trio.sleep(10.0)
            assert not any(full.host.leads(group) for group in world.groups)
            full.wal.is_full = False
            room.set()
            assert await count(others(world, full)[0], 1) == [9]
            await world.wait_equal()
            assert full.machine.value(0, "n") == 9
            assert full.starts == 1
            await full.host.transfer_leadership(0, full.number)
            assert full.host.leads(0)

    run_seeded(6, scene)


def test_a_lone_node_refuses_writes_while_its_disk_is_full() -> None:
    """Nobody could take the group over: what is proposed is in no log then, and reads go on."""

    async def scene() -> None:
        async with hosts(nodes=1, groups=(0,)) as world:
            node = world.nodes[1]
            await count(node, 2)
            node.wal.is_full = True
            with pytest.raises(OutcomeUnknown):
                await node.host.propose(0, add("n"), 1.0)  # the one that finds the disk full
            for _ in range(3):
                with pytest.raises((NoLeader, OutcomeUnknown)):
                    await node.host.propose(0, add("n"), 1.0)
            await node.host.read_barrier((0,), 1.0)
            assert node.machine.value(0, "n") == 2
            node.wal.is_full = False
            assert await count(node, 1) == [4]

    run_seeded(6, scene)


def test_waiting_proposals_are_bounded() -> None:
    """Beyond its bound a host refuses at once, and forgets those that were given up."""

    async def scene() -> None:
        settings = replace(SETTINGS, proposals_max=5)
        async with hosts(groups=(0,), settings=settings) as world:
            await count(world.nodes[1], 1)
            world.network.isolate(1)
            await trio.sleep(3.0)
            async with trio.open_nursery() as nursery:
                for _ in range(5):
                    nursery.start_soon(world.nodes[1].host.propose, 0, add("n"), 100.0)
                await trio.testing.wait_all_tasks_blocked()
                with pytest.raises(TooManyProposals):
                    await world.nodes[1].host.propose(0, add("n"), 1.0)
                nursery.cancel_scope.cancel()
            with pytest.raises(NoLeader):
                await world.nodes[1].host.propose(0, add("n"), 1.0)

    run_seeded(6, scene)


def test_bad_frames_are_counted_and_dropped() -> None:
    """Garbage of a peer harms nothing but the counter."""

    async def scene() -> None:
        async with hosts(groups=(0,)) as world:
            await count(world.nodes[1], 1)
            for payload in (b"", b"\xc1", b"\x91\x01", b"\x96\x02\x90\x90\x90\x90\x90"):
                world.nodes[2].peers.send(1, "groups", payload)
            await trio.sleep(0.1)
            assert world.nodes[1].host.statistics().frames_bad == 4
            assert await count(world.nodes[1], 1) == [2]

    run_seeded(6, scene)


def test_an_idle_cluster_says_little() -> None:
    """Nine quiet groups cost a node a frame per peer and heartbeat, and no write at all."""

    async def scene() -> None:
        settings = replace(SETTINGS, leaders=Leaders.ANYWHERE)
        async with hosts(groups=range(9), settings=settings) as world:
            await world.wait_led()
            await trio.sleep(1.0)
            node = world.nodes[1]
            before = node.host.statistics()
            await trio.sleep(10.0)
            after = node.host.statistics()
            beats = 10.0 / (settings.tick_s * settings.heartbeat_ticks)
            assert after.frames_sent - before.frames_sent <= 2 * 2 * beats + 4
            assert after.log_writes == before.log_writes

    run_seeded(6, scene)
