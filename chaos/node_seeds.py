"""Whole nodes from one seed: `python -m chaos.node_seeds --seeds N --start S`.

Three real nodes (engine, groups, bytes and their upkeep) in one process, on a clock that jumps and
a network in memory. A seed draws a small hard cluster, clients that write, read, list, delete and
swap on a few keys through all nodes, and a nemesis: any node falls and comes back, links are cut in
every shape, messages are lost and doubled, a node is slow, clocks of day and time are wrong by up
to ten minutes, the layout is changed and changes are taken back; in the end all nodes fall at one
moment. Then all is healed, all rows must become equal, each body must lie on the nodes of its set
and nowhere else, every key is read and listed through every node, and what the clients saw of each
key is judged (`chaos.histories`): lost and resurrected writes, stale reads and listings, two
winners of one condition are all histories that cannot be.

A listing counts as a read of every key, the keys that it does not show included: what it promises
is about each key for itself. A request to a node that falls has no known outcome.

A fall is an end of the engine as by a signal; power cuts are `chaos.powercut`'s. The same seed
gives the same events with the same times: `digest` is their hash.
"""

from __future__ import annotations

import argparse
import hashlib
import logging
import sys
import time
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from pathlib import Path
from random import Random
from typing import NamedTuple

import structlog
import trio
from msgspec.structs import replace

from chaos.histories import ABSENT, Act, Operation, Outcome, Verdict, judge
from chaos.node_bugs import BUGS, planted
from chaos.powercut import scratch_directory
from cluster.base.errors import ClusterError
from cluster.drivers.groups_settings import GroupSettings, Leaders
from cluster.layout.errors import LayoutError
from cluster.layout.keeping import fit
from cluster.layout.layout import LayoutHistory, NodeRole
from cluster.testing.seeded_trio import run_seeded
from rs3gwd.base.commands import UNCONDITIONAL, Conditions
from rs3gwd.base.errors import (
    ConditionalRequestConflict,
    NoSuchKey,
    OutcomeUnknown,
    Overloaded,
    PreconditionFailed,
    Rs3gwError,
    VersionGone,
)
from rs3gwd.base.ports import ObjectStore
from rs3gwd.node.cluster_node import ClusterSettings
from rs3gwd.node.cluster_store import ClusterStore
from rs3gwd.node.proposing import ProposingSettings
from rs3gwd.s3.object_reads import LOOKUPS_MAX
from rs3gwd.testing.cluster_world import (
    SETTINGS,
    ClusterWorld,
    NodeFell,
    WorldNode,
    cluster_world,
    delete,
    etag_of,
    get,
    make_bucket,
    put,
)
from rs3gwd.testing.target import read_body

LARGE = b";" + bytes((at * 7 + at // 251) % 256 for at in range(80_000))
"""Behind every fifth value: above what rides in a command, so it goes to its replicas first."""

ANSWER_S_MAX = 20.0
WRONG_MS_MAX = 600_000
"""So far clocks of day and time are wrong: reliability.md, P7."""


class Plan(NamedTuple):
    """What a seed means. Times are simulated seconds."""

    groups: int
    keys: int
    clients: int
    pause_s: float
    """The longest pause of a client between two requests."""
    faults_s: float
    fault_gap_s: float
    tick_s: float
    answer_s: float
    """How long a node waits for a group before it says that it does not know."""
    log_entries_max: int
    faults: tuple[str, ...]
    leaders: Leaders
    lease_round_trip_s_max: float


FAULTS = (
    *("fall", "fall_leader", "fall_all", "isolate", "isolate_leader", "one_way", "cut_link"),
    *("loss", "slow_node", "wrong_clock", "transfer", "change_layout"),
)
"""Each is a method of `NodeRun`."""


def make_plan(seed: int) -> Plan:
    """The plan of a seed."""
    random = Random(seed)
    return Plan(
        groups=random.choice((1, 2, 3)),
        keys=random.choice((2, 3, 5)),
        clients=random.choice((4, 5, 6)),
        pause_s=random.choice((0.05, 0.1, 0.2)),
        faults_s=random.choice((2.0, 3.0, 4.0)),
        fault_gap_s=random.choice((0.3, 0.6)),
        # Elections in 0.3 to 0.6 s, or in 0.7 to 1.4 s as the daemon has them.
        tick_s=random.choice((0.02, 0.05)),
        answer_s=random.choice((0.3, 1.0, 5.0)),
        log_entries_max=random.choice((8, 40, 20_000)),
        faults=tuple(random.sample(FAULTS, random.randint(4, 7))),
        leaders=random.choice((Leaders.TOGETHER, Leaders.SPREAD)),
        lease_round_trip_s_max=random.choice((0.02, 0.2)),
    )


def settings_of(plan: Plan) -> ClusterSettings:
    """How the nodes of a plan are set up."""
    kept = min(plan.log_entries_max // 4, 2_000)
    host = GroupSettings(
        proposal_bytes_max=4 << 20,
        care_interval_s=0.5,
        tick_s=plan.tick_s,
        lease_s=plan.tick_s * 10,
        lease_round_trip_s_max=plan.lease_round_trip_s_max,
        leaders=plan.leaders,
        log_entries_max=plan.log_entries_max,
        log_entries_kept=kept,
        snapshot_idle_s=2.0,
        snapshot_alive_s=0.5,
        snapshot_resume_pause_s=0.1,
    )
    proposing = ProposingSettings(propose_timeout_s=plan.answer_s, barrier_timeout_s=plan.answer_s)
    return replace(SETTINGS, groups=plan.groups, host=host, proposing=proposing)


class SeedVerdict(NamedTuple):
    """What became of a seed; `failure` is empty when nothing was wrong."""

    seed: int
    digest: str
    operations: int
    faults: int
    falls_of_all: int
    simulated_s: float
    failure: str
    trace: tuple[str, ...] = ()


class NodeRun:
    """One seed: the clients, the faults, and what was seen of each key."""

    def __init__(self, seed: int) -> None:
        self.seed = seed
        self.plan = make_plan(seed)
        self.random = Random(f"clients and faults of {seed}")
        self.keys = [b"key-%d" % number for number in range(self.plan.keys)]
        self.histories: dict[bytes, list[Operation]] = {key: [] for key in self.keys}
        self.trace: list[str] = []
        self.faults = 0
        self.falls_of_all = 0
        self.simulated_s = 0.0
        self._values: dict[str, str] = {}
        self._is_over = False
        self._down = 0

    def note(self, text: str) -> None:
        """One event more."""
        self.trace.append(f"{trio.current_time():.6f} {text}")

    def digest(self) -> str:
        """The hash of all events."""
        return hashlib.sha256("\n".join(self.trace).encode()).hexdigest()

    # Clients.

    def new_body(self) -> bytes:
        """A body that nobody wrote before; its ETag names its value."""
        value = b"value %d" % (len(self._values) + 1)
        body = value + LARGE if len(self._values) % 5 == 4 else value
        self._values[etag_of(body)] = value.decode()
        return body

    async def client(self, world: ClusterWorld, number: int) -> None:
        """One client of one node after another."""
        while not self._is_over:
            await trio.sleep(self.random.uniform(0.0, self.plan.pause_s))
            node = world.nodes[1 + self.random.randrange(len(world.nodes))]
            if not node.is_up.is_set():
                continue
            with trio.move_on_after(ANSWER_S_MAX) as patience:
                await self._ask(node, self.random.choice(self.keys))
            assert not patience.cancelled_caught, f"an answer took longer than {ANSWER_S_MAX} s"

    async def _ask(self, node: WorldNode, key: bytes) -> None:
        chance = self.random.random()
        if chance < 0.4:
            await self.read(node, key)
        elif chance < 0.5:
            await self.list_all(node)
        elif chance < 0.7:
            await self.write(node, key, Act.WRITE, self.new_body())
        elif chance < 0.8:
            await self.write(node, key, Act.WRITE, b"")
        elif chance < 0.9:
            await self.write(node, key, Act.CREATE, self.new_body())
        else:
            seen = [each.value for each in self.histories[key][-6:] if each.value != ABSENT]
            expected = self.random.choice(seen) if seen else "a value of nobody"
            await self.write(node, key, Act.SWAP, self.new_body(), expected=expected)

    async def read(self, node: WorldNode, key: bytes) -> None:
        """Reads a key through a node, the whole body."""
        start = trio.current_time()
        try:
            body = await node.ask(lambda store: get_as_s3_does(store, key))
            value = self._values[etag_of(body)]
        except NoSuchKey:
            value = ABSENT
        except (Overloaded, NodeFell) as failure:
            self.note(f"{node.number} read {key!r} {type(failure).__name__}")
            return
        self._saw(node, key, value, start, "read")

    async def list_all(self, node: WorldNode) -> None:
        """Lists the bucket through a node."""
        start = trio.current_time()
        try:
            page = await node.ask(lambda store: store.list_objects("b"))
        except (Overloaded, NodeFell) as failure:
            self.note(f"{node.number} list {type(failure).__name__}")
            return
        shown = {entry.key: self._values[entry.etag] for entry in page.entries}
        assert len(shown) == len(page.entries), "a listing shows a key twice"
        for key in self.keys:
            self._saw(node, key, shown.get(key, ABSENT), start, "list")

    def _saw(self, node: WorldNode, key: bytes, value: str, start: float, how: str) -> None:
        self.note(f"{node.number} {how} {key!r} {value!r}")
        self.histories[key].append(Operation(Act.READ, value, start, trio.current_time()))

    async def write(
        self, node: WorldNode, key: bytes, act: Act, body: bytes, *, expected: str = ABSENT
    ) -> None:
        """Changes a key through a node; no body deletes it."""
        start = trio.current_time()
        outcome = Outcome.DONE
        try:
            await node.ask(lambda store: self._change(store, node, key, act, body, expected))
        except (PreconditionFailed, NoSuchKey):
            outcome = Outcome.REFUSED
        except (Overloaded, ConditionalRequestConflict) as failure:
            # It took no effect, and says nothing about the key.
            self.note(f"{node.number} {act.name} {key!r} {type(failure).__name__}")
            return
        except (OutcomeUnknown, NodeFell):
            outcome = Outcome.UNKNOWN
        value = self._values[etag_of(body)] if body else ABSENT
        self.note(f"{node.number} {act.name} {key!r} {value!r} {outcome.name}")
        self.histories[key].append(
            Operation(act, value, start, trio.current_time(), outcome, expected)
        )

    async def _change(
        self,
        store: ObjectStore,
        node: WorldNode,
        key: bytes,
        act: Act,
        body: bytes,
        expected: str,
    ) -> None:
        now_ms = node.clock.now_ms()
        if not body:
            await delete(store, key, now_ms=now_ms)
            return
        conditions = UNCONDITIONAL
        if act is Act.CREATE:
            conditions = Conditions(if_none_match="*")
        elif act is Act.SWAP:
            etag = next((etag for etag, value in self._values.items() if value == expected), "0")
            conditions = Conditions(if_match=etag)
        await put(store, key, body, conditions=conditions, now_ms=now_ms)

    # Faults. Each mends what it broke.

    async def nemesis(self, world: ClusterWorld) -> None:
        """One fault after another, several at a time."""
        until = trio.current_time() + self.plan.faults_s
        async with trio.open_nursery() as nursery:
            while True:
                await trio.sleep(self.random.expovariate(1 / self.plan.fault_gap_s))
                if trio.current_time() >= until:
                    return
                self.faults += 1
                nursery.start_soon(getattr(self, self.random.choice(self.plan.faults)), world)

    async def _for_a_while(self) -> None:
        await trio.sleep(self.random.uniform(0.05, 0.4 if self.random.random() < 0.5 else 2.0))

    def _some(self, world: ClusterWorld) -> WorldNode:
        return world.nodes[1 + self.random.randrange(len(world.nodes))]

    def _some_leader(self, world: ClusterWorld) -> WorldNode:
        leader = world.leader_of(self.random.randint(0, self.plan.groups))
        return self._some(world) if leader is None else leader

    async def fall(self, world: ClusterWorld) -> None:
        """Any node falls, seldom a second one while another is down."""
        await self._fell(world, self._some(world))

    async def fall_leader(self, world: ClusterWorld) -> None:
        """The same for one that leads."""
        await self._fell(world, self._some_leader(world))

    async def _fell(self, world: ClusterWorld, node: WorldNode) -> None:
        if not node.is_up.is_set() or (self._down and self.random.random() < 0.7):
            return
        self._down += 1
        self.note(f"node {node.number} falls")
        await node.fall()
        slow = self.random.random() < 0.5
        await trio.sleep(self.random.uniform(0.001, 2.0 if slow else 0.05))
        await world.restart(node.number)
        self.note(f"node {node.number} is back")
        self._down -= 1

    async def fall_all(self, world: ClusterWorld) -> None:
        """All nodes fall at one moment, as a power cut of the house would have it."""
        falling = [node for node in world.nodes.values() if node.is_up.is_set()]
        self._down += len(falling)
        self.falls_of_all += 1
        self.note(f"nodes {[node.number for node in falling]} fall together")
        async with trio.open_nursery() as nursery:
            for node in falling:
                nursery.start_soon(node.fall)
        self.random.shuffle(falling)
        for node in falling:
            await trio.sleep(self.random.uniform(0.0, 0.3))
            await world.restart(node.number)
        self._down -= len(falling)

    async def isolate(self, world: ClusterWorld) -> None:
        """A node alone."""
        await self._cut_off(world, self._some(world).number)

    async def isolate_leader(self, world: ClusterWorld) -> None:
        """A leader alone."""
        await self._cut_off(world, self._some_leader(world).number)

    async def _cut_off(self, world: ClusterWorld, one: int) -> None:
        others = [other for other in world.nodes if other != one]
        await self._cut(world, [(one, other) for other in others] + [(o, one) for o in others])

    async def one_way(self, world: ClusterWorld) -> None:
        """A node that hears nobody, or that nobody hears."""
        one = self._some_leader(world).number
        links = [(one, other) for other in world.nodes if other != one]
        if self.random.random() < 0.5:
            links = [(there, here) for here, there in links]
        await self._cut(world, links[: self.random.randint(1, len(links))])

    async def cut_link(self, world: ClusterWorld) -> None:
        """Two that do not hear each other; with three nodes that is a bridge as well."""
        one, other = self.random.sample(sorted(world.nodes), 2)
        await self._cut(world, [(one, other), (other, one)])

    async def _cut(self, world: ClusterWorld, links: list[tuple[int, int]]) -> None:
        self.note(f"cut {links}")
        for link in links:
            world.network.cut(*link)
        await self._for_a_while()
        world.network.blocked.difference_update(links)

    async def loss(self, world: ClusterWorld) -> None:
        """Messages are lost and doubled."""
        self.note("loss")
        world.network.loss = self.random.choice((0.05, 0.3))
        world.network.doubled = 0.2
        await self._for_a_while()
        world.network.loss = world.network.doubled = 0.0

    async def slow_node(self, world: ClusterWorld) -> None:
        """What goes to a node or comes from it is late."""
        node = self._some(world).number
        self.note(f"node {node} is slow")
        world.network.slow_s[node] = self.random.choice((0.05, 0.3))
        await self._for_a_while()
        world.network.slow_s.pop(node, None)

    async def wrong_clock(self, world: ClusterWorld) -> None:
        """A node's day and time jump, and stay wrong."""
        node = self._some(world)
        node.clock.wrong_ms = self.random.randint(-WRONG_MS_MAX, WRONG_MS_MAX)
        self.note(f"the clock of node {node.number} is wrong by {node.clock.wrong_ms} ms")
        await trio.lowlevel.checkpoint()

    async def transfer(self, world: ClusterWorld) -> None:
        """A leader is asked to hand over."""
        asked, group = self._some(world), self.random.randint(0, self.plan.groups)
        target = self._some(world).number
        if asked.is_up.is_set():
            try:
                await asked.ask(
                    lambda _: asked.cluster.host.transfer_leadership(group, target, 1.0)
                )
            except (ClusterError, NodeFell) as refused:
                self.note(f"transfer: {type(refused).__name__}")

    async def change_layout(self, world: ClusterWorld) -> None:
        """Other capacities and another number of copies; or a change is taken back."""
        node = self._some(world)
        roles: dict[int, NodeRole | None] = {
            number: NodeRole("", self.random.choice((0, 1, 1, 3)) << 40) for number in world.nodes
        }
        copies, goes_back = self.random.choice((2, 2, 3)), self.random.random() < 0.3

        def step(history: LayoutHistory | None) -> LayoutHistory | None:
            if history is None:
                return None
            if goes_back:
                return history.retreat()
            return history.apply(fit(history.current, roles, copies=copies))

        try:
            await node.ask(lambda _: node.cluster.layout.changes.change(step))
        except (LayoutError, Overloaded, OutcomeUnknown, NodeFell) as refused:
            self.note(f"layout: {type(refused).__name__}")
        else:
            self.note(f"layout: {copies} copies" if not goes_back else "layout: back")

    # All of it.

    async def scene(self, path: Path) -> None:
        """Faults, then peace, then the questions. Raises AssertionError, TooSlowError."""
        settings = settings_of(self.plan)
        async with cluster_world(str(path), seed=self.seed, settings=settings) as world:
            for group in range(self.plan.groups + 1):
                await world.wait_leader(group)
            await self._make_bucket(world)
            async with trio.open_nursery() as nursery:
                for number in range(self.plan.clients):
                    nursery.start_soon(self.client, world, number)
                await self.nemesis(world)
                await self.fall_all(world)
                world.network.heal()
                await trio.sleep(0.5)
                self._is_over = True
            await self._compare(world)
            self.simulated_s = trio.current_time()

    async def _make_bucket(self, world: ClusterWorld) -> None:
        with trio.fail_after(ANSWER_S_MAX):
            while True:
                try:
                    await make_bucket(world.nodes[1].store)
                except (Overloaded, OutcomeUnknown):
                    continue
                return

    async def _compare(self, world: ClusterWorld) -> None:
        """Raises TooSlowError when the nodes do not become equal, or bodies stay elsewhere."""
        layout = await world.wait_layout()
        await world.wait_equal()
        await world.wait_until(lambda: not world.misplaced(layout))
        for node in world.nodes.values():
            for key in self.keys:
                await self._at_last(partial(self.read, node, key))
            await self._at_last(partial(self.list_all, node))
        for node in world.nodes.values():
            self.note(" ".join(digest.hex() for digest in node.digests()))

    async def _at_last(self, ask: Callable[[], Awaitable[None]]) -> None:
        """Asks in peace until there is an answer."""
        seen = self._seen()
        with trio.fail_after(ANSWER_S_MAX):
            while self._seen() == seen:
                await ask()
                await trio.sleep(0.0 if self._seen() > seen else 0.05)

    def _seen(self) -> int:
        return sum(map(len, self.histories.values()))

    def judge(self) -> str:
        """What is wrong with what was seen; empty when nothing is."""
        for key, history in self.histories.items():
            judgement = judge(history)
            if judgement.verdict is not Verdict.LINEARIZABLE:
                return f"{key!r} is {judgement.verdict.value}: {judgement.culprit}"
        return ""


async def get_as_s3_does(store: ClusterStore, key: bytes) -> bytes:
    """The bytes of an object, at once where this node knows that it is current; a version that is
    replaced meanwhile is looked up again.

    Raises NoSuchKey, Overloaded.
    """
    for _ in range(LOOKUPS_MAX):
        session = store.begin_now("b", key)
        lookups = None if session is None else session.lookups_now()
        try:
            if session is None or lookups is None:
                return await get(store, key)
            version = lookups.get_version("b", key, None)
            small = lookups.read_small(version)
            return await read_body(session, version) if small is None else small
        except VersionGone:
            continue
    raise Overloaded("the key changes too often")


def run_seed(seed: int, *, bug: str = "") -> SeedVerdict:
    """Runs a seed and judges it, with a planted bug or without."""
    run = NodeRun(seed)
    failure = ""
    try:
        with scratch_directory() as path, planted(bug):
            run_seeded(seed, run.scene, Path(path))
    except BaseExceptionGroup as group:
        failed, rest = group.split((AssertionError, Rs3gwError, ClusterError, trio.TooSlowError))
        if rest is not None or failed is None:
            raise
        failure = repr(_first(failed))
    failure = failure or run.judge()
    operations = sum(map(len, run.histories.values()))
    trace = tuple(run.trace)
    return SeedVerdict(
        seed,
        run.digest(),
        operations,
        run.faults,
        run.falls_of_all,
        run.simulated_s,
        failure,
        trace,
    )


def _first(group: BaseExceptionGroup[BaseException]) -> BaseException:
    inner = group.exceptions[0]
    return _first(inner) if isinstance(inner, BaseExceptionGroup) else inner


def main(arguments: Sequence[str]) -> int:
    """The command; exit status 1 when a seed failed."""
    parser = argparse.ArgumentParser(prog="node_seeds", description=__doc__)
    parser.add_argument("--seeds", type=int, default=100, help="how many")
    parser.add_argument("--start", type=int, default=0, help="the first")
    parser.add_argument("--bug", choices=sorted(BUGS), default="", help="plant a bug")
    parser.add_argument("--trace", action="store_true", help="print what happened in each seed")
    options = parser.parse_args(arguments)
    began = time.process_time()
    operations = faults = falls_of_all = failed = 0
    simulated_s = 0.0
    for seed in range(options.start, options.start + options.seeds):
        verdict = run_seed(seed, bug=options.bug)
        operations += verdict.operations
        faults += verdict.faults
        falls_of_all += verdict.falls_of_all
        simulated_s += verdict.simulated_s
        if options.trace:
            print("\n".join(verdict.trace))
        if verdict.failure:
            failed += 1
            planting = f" --bug {options.bug}" if options.bug else ""
            print(f"seed {seed}: {verdict.failure}")
            print(f"again: python -m chaos.node_seeds --start {seed} --seeds 1{planting} --trace")
    seconds = time.process_time() - began
    print(
        f"{options.seeds} seeds, {failed} failed, {operations} operations, {faults} faults, "
        f"{falls_of_all} falls of all nodes, {simulated_s:.0f} simulated s "
        f"in {seconds:.1f} s of CPU"
    )
    return 1 if failed else 0


if __name__ == "__main__":
    # Nodes that cannot reach each other say so, thousands of times.
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
    sys.exit(main(sys.argv[1:]))
