"""Whole hosts under faults, from one seed: `python -m cluster.testing.host_sim --seeds N`.

Each seed draws a small cluster, clients that add to counters and read them through any node, and a
nemesis: nodes that fall at any moment or right at a sync, cuts of every shape, lost and doubled
messages, slow disks, clocks that run unequally, nodes that join and leave, leaders sent elsewhere.
While it runs nodes must not apply different things or lead one term together; then all is healed,
every request must end, every node must come to the same state, and what the clients saw must be
linearizable. A failing seed prints the command that replays it.
"""

import argparse
import sys
from collections.abc import Awaitable, Callable
from dataclasses import replace
from random import Random
from typing import Final, NamedTuple

import trio

from cluster.base.errors import ClusterError, HostStopped, OutcomeUnknown, ProposalRefused
from cluster.drivers.groups_settings import Leaders
from cluster.testing.host_bugs import BUGS, planted
from cluster.testing.host_checks import CounterHistory, NotLinearizable
from cluster.testing.host_world import SETTINGS, HostWorld, SimNode, Violation, hosts
from cluster.testing.memory_machine import add
from cluster.testing.seeded_trio import run_seeded

FAULT_S: Final = 4.0
"""Simulated seconds with faults."""

HEALED_LIMIT_S: Final = 30.0
"""So long after the healing everything must have ended."""

REQUEST_S: Final = 2.5
KEYS: Final = ("a", "b")
CLIENTS: Final = 4


class Verdict(NamedTuple):
    """What became of a seed. `digest` is the hash of all its events."""

    seed: int
    digest: str
    operations: int
    failure: str = ""
    trace: tuple[str, ...] = ()


class _Run:
    """One seed's clients and nemesis."""

    def __init__(self, world: HostWorld, random: Random) -> None:
        self.world = world
        self.random = random
        self.histories = {(group, key): CounterHistory() for group in world.groups for key in KEYS}
        self.until = trio.current_time() + FAULT_S
        self.spare = max(world.first) + 1
        self.polled = random.choice(world.first) if random.random() < 0.4 else 0
        """A node at which somebody always reads, if any."""

    # Clients.

    async def client(self) -> None:
        """One client: an operation after another, through any node."""
        world, random = self.world, self.random
        while trio.current_time() < self.until:
            await trio.sleep(random.uniform(0.0, 0.06))
            living = world.living
            if not living:
                continue
            node = random.choice(living)
            group = random.choice(world.groups)
            key = random.choice(KEYS)
            if random.random() < 0.5:
                await self._add(node, group, key)
                if self.polled and world.nodes[self.polled] in world.living:
                    await self._read(world.nodes[self.polled], group, key)
            else:
                await self._read(node, group, key)

    async def poller(self) -> None:
        """Reads all groups at one node, again and again."""
        node = self.world.nodes[self.polled]
        while trio.current_time() < self.until:
            if node in self.world.living:
                await self._read(node, self.world.groups[0], KEYS[0], every=True)
            await trio.sleep(self.random.uniform(0.0, 0.004))

    async def _add(self, node: SimNode, group: int, key: str) -> None:
        history = self.histories[group, key]
        where = f"node {node.number} group {group} {key}"
        operation = history.begin("add", trio.current_time(), where)
        try:
            result = await self._ask(node, lambda: node.host.propose(group, add(key), REQUEST_S))
        except ProposalRefused:
            # It is in no log, so it never was.
            history.operations.remove(operation)
            return
        except (OutcomeUnknown, HostStopped):
            return
        if result is not None:
            operation.result = int(result)
            operation.ended = trio.current_time()
            self.world.note(f"{where} add {operation.result}")

    async def _read(self, node: SimNode, group: int, key: str, *, every: bool = False) -> None:
        history = self.histories[group, key]
        where = f"node {node.number} group {group} {key}"
        operation = history.begin("read", trio.current_time(), where)
        few = not every and self.random.random() < 0.5
        groups = [group] if few else list(self.world.groups)
        try:
            done = await self._ask(node, lambda: _barrier(node, groups))
        except ClusterError:
            return
        if done is not None and node.alive:
            operation.result = node.machine.value(group, key)
            operation.ended = trio.current_time()
            self.world.note(f"{where} read {operation.result}")

    async def _ask(self, node: SimNode, call: Callable[[], Awaitable[bytes]]) -> bytes | None:
        """The answer of a node; None when it falls before it has answered."""
        starts = node.starts
        answer: bytes | None = None
        with trio.move_on_after(REQUEST_S + 1.0):
            answer = await call()
        return answer if node.alive and node.starts == starts else None

    # Nemesis.

    async def nemesis(self) -> None:
        """One fault after another, several at a time."""
        faults = [
            self._fall,
            self._fall_leader,
            self._fall_at_sync,
            self._fall_at_sync,
            self._isolate,
            self._cut_link,
            self._one_way,
            self._lossy,
            self._slow_disk,
            self._break_streams,
            self._transfer,
            self._join_or_leave,
        ]
        async with trio.open_nursery() as nursery:
            while trio.current_time() < self.until:
                await trio.sleep(self.random.uniform(0.05, 0.6))
                nursery.start_soon(self.random.choice(faults))

    def _may_fall(self) -> list[SimNode]:
        return [node for node in self.world.living if not node.armed]

    async def _fall(self) -> None:
        if nodes := self._may_fall():
            await self._down(self.random.choice(nodes), at="")

    async def _fall_leader(self) -> None:
        leader = self.world.leader_of(self.random.choice(self.world.groups))
        if leader is not None and not leader.armed:
            await self._down(leader, at="")

    async def _fall_at_sync(self) -> None:
        if nodes := self._may_fall():
            at = self.random.choice(("before_sync", "after_sync"))
            await self._down(self.random.choice(nodes), at=at)

    async def _down(self, node: SimNode, *, at: str) -> None:
        if at:
            node.armed = at
            with trio.move_on_after(1.0):
                await node.wait_dead()
            node.armed = ""
            if node.alive:
                return
        else:
            node.fall()
        await node.wait_dead()
        slow = self.random.random() < 0.2
        await trio.sleep(self.random.uniform(0.001, 1.5 if slow else 0.02))
        self.world.start(node.number)

    async def _isolate(self) -> None:
        one = self.random.choice(list(self.world.nodes))
        others = [other for other in self.world.nodes if other != one]
        await self._cut([(one, other) for other in others] + [(other, one) for other in others])

    async def _cut_link(self) -> None:
        one, other = self.random.sample(list(self.world.nodes), 2)
        await self._cut([(one, other), (other, one)])

    async def _one_way(self) -> None:
        one = self.random.choice(list(self.world.nodes))
        others = [other for other in self.world.nodes if other != one]
        chosen = self.random.sample(others, self.random.randint(1, len(others)))
        inward = self.random.random() < 0.5
        await self._cut([(other, one) if inward else (one, other) for other in chosen])

    async def _cut(self, links: list[tuple[int, int]]) -> None:
        network = self.world.network
        self.world.note(f"cut {links}")
        for link in links:
            network.cut(*link)
        await self._for_a_while()
        network.blocked.difference_update(links)

    async def _for_a_while(self) -> None:
        longest = 0.3 if self.random.random() < 0.5 else 1.5
        await trio.sleep(self.random.uniform(0.05, longest))

    async def _lossy(self) -> None:
        network = self.world.network
        network.loss = self.random.choice((0.02, 0.2))
        network.doubled = 0.1
        await self._for_a_while()
        network.loss = network.doubled = 0.0

    async def _slow_disk(self) -> None:
        node = self.random.choice(list(self.world.nodes.values()))
        node.disk_s = (0.005, 0.06)
        await self._for_a_while()
        node.disk_s = (0.0001, 0.001)

    async def _break_streams(self) -> None:
        self.world.network.broken_streams = 0.3
        await self._for_a_while()
        self.world.network.broken_streams = 0.0

    async def _transfer(self) -> None:
        if living := self.world.living:
            asked, target = self.random.choice(living), self.random.choice(living)
            group = self.random.choice(self.world.groups)
            try:
                await asked.host.transfer_leadership(group, target.number, 1.0)
            except ClusterError as refused:
                self.world.note(f"transfer: {refused.code}")

    async def _join_or_leave(self) -> None:
        """A spare joins, or one that has joined leaves for good."""
        world = self.world
        if self.spare not in world.nodes:
            node = await world.join(self.spare)
            await self._members(lambda host: host.host.add_node(node.number))

    async def _members(self, change: Callable[[SimNode], Awaitable[None]]) -> None:
        if living := self.world.living:
            try:
                await change(self.random.choice(living))
            except ClusterError as refused:
                self.world.note(f"members: {refused.code}")

    def _heal_all(self) -> None:
        network = self.world.network
        network.heal()
        network.loss = network.doubled = network.broken_streams = 0.0
        for node in self.world.nodes.values():
            node.disk_s = (0.0001, 0.001)

    async def watch(self) -> None:
        """Looks at the leaders again and again."""
        while True:
            self.world.check_leaders()
            await trio.sleep(0.01)

    # All of it.

    async def all(self) -> None:
        """Faults, then peace, then the questions."""
        world = self.world
        async with trio.open_nursery() as watching:
            watching.start_soon(self.watch)
            async with trio.open_nursery() as nursery:
                for _ in range(CLIENTS):
                    nursery.start_soon(self.client)
                nursery.start_soon(self.nemesis)
                if self.polled:
                    nursery.start_soon(self.poller)
            await self._peace()
            watching.cancel_scope.cancel()
        for (group, key), history in self.histories.items():
            history.check(world.nodes[1].machine.value(group, key))

    async def _peace(self) -> None:
        world = self.world
        self._heal_all()
        for node in world.nodes.values():
            node.armed = ""
        await world.wait_until(lambda: len(world.living) == len(world.nodes), limit_s=5.0)
        joined = self.spare in world.nodes
        if joined:
            await self._until_added()
        await world.wait_led(limit_s=HEALED_LIMIT_S)
        for node in world.living:
            for group in world.groups:
                await self._must_add(node, group)
        await world.wait_equal(limit_s=HEALED_LIMIT_S)

    async def _until_added(self) -> None:
        with trio.move_on_after(HEALED_LIMIT_S):
            while True:
                try:
                    await self.world.nodes[1].host.add_node(self.spare)
                    return
                except ClusterError:
                    await trio.sleep(0.1)
        raise Violation("a node could not be added in peace")

    async def _must_add(self, node: SimNode, group: int) -> None:
        key = KEYS[0]
        operation = self.histories[group, key].begin("add", trio.current_time(), "in peace")
        try:
            operation.result = int(await node.host.propose(group, add(key), 10.0))
        except ClusterError as failure:
            raise Violation(
                f"in peace node {node.number} cannot propose to group {group}: {failure!r}"
            ) from failure
        operation.ended = trio.current_time()


async def _barrier(node: SimNode, groups: list[int]) -> bytes:
    if not node.host.shows_all(groups):
        await node.host.read_barrier(groups, REQUEST_S)
    return b"read"


async def _simulate(seed: int, trace: bool) -> Verdict:
    random = Random(seed)
    nodes = 3 if random.random() < 0.8 else 5
    groups = range(random.choice((1, 2, 3)))
    lease_s = SETTINGS.lease_s if random.random() < 0.6 else 0.0
    entries_max = random.choice((8, 40))
    settings = replace(
        SETTINGS,
        lease_s=lease_s,
        log_entries_max=entries_max,
        log_entries_kept=entries_max // 4,
        snapshots_out_max=random.choice((1, 2)),
        snapshot_resumes_max=2,
        leaders=random.choice((Leaders.SPREAD, Leaders.TOGETHER)),
        lease_round_trip_s_max=random.choice((0.02, 1.0)),
        follower_leases=random.random() < 0.8,
    )
    async with hosts(seed=seed, nodes=nodes, groups=tuple(groups), settings=settings) as world:
        if trace:
            world.trace = []
        for node in world.nodes.values():
            node.clock.offset_s = random.uniform(0, 1000)
        run = _Run(world, random)
        try:
            await run.all()
        except BaseExceptionGroup as group:
            failed, rest = group.split((Violation, NotLinearizable, AssertionError))
            if rest is not None or failed is None:
                raise
            return _verdict(world, run, seed, _first(failed))
        except (Violation, NotLinearizable, AssertionError) as failure:
            return _verdict(world, run, seed, failure)
        return _verdict(world, run, seed, None)


def _verdict(world: HostWorld, run: _Run, seed: int, failure: BaseException | None) -> Verdict:
    count = sum(len(history.operations) for history in run.histories.values())
    text = "" if failure is None else f"{type(failure).__name__}: {failure}"
    return Verdict(seed, world.digest(), count, text, tuple(world.trace or ()))


def _first(group: BaseExceptionGroup[BaseException]) -> BaseException:
    inner = group.exceptions[0]
    return _first(inner) if isinstance(inner, BaseExceptionGroup) else inner


def run_seed(seed: int, *, bug: str = "", trace: bool = False) -> Verdict:
    """One seed, with a planted bug or without."""
    with planted(bug):
        try:
            return run_seeded(seed, _simulate, seed, trace)
        except BaseExceptionGroup as group:
            # A host has ended by an assertion of its own.
            failed, rest = group.split((AssertionError, ClusterError))
            if rest is not None or failed is None:
                raise
            return Verdict(seed, "", 0, f"{_first(failed)!r}")


def main(arguments: list[str]) -> int:
    """The command."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=100)
    parser.add_argument("--start", type=int, default=0)
    parser.add_argument("--bug", choices=sorted(BUGS), default="")
    parser.add_argument("--trace", action="store_true")
    options = parser.parse_args(arguments)
    operations = 0
    for seed in range(options.start, options.start + options.seeds):
        verdict = run_seed(seed, bug=options.bug, trace=options.trace)
        operations += verdict.operations
        if verdict.failure:
            for line in verdict.trace:
                print(line)
            print(f"seed {seed}: {verdict.failure}")
            bug = f" --bug {options.bug}" if options.bug else ""
            print(f"python -m cluster.testing.host_sim --seeds 1 --start {seed}{bug} --trace")
            return 1
    print(f"{options.seeds} seeds, {operations} operations, no violation")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
