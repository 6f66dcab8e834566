"""One seed from beginning to end: faults and clients, then healing and the demand to finish.

A group that is merely safe may be stuck. So every run ends with a liveness phase: links mended,
clocks running, all nodes up, the members in force left alone; then every client must finish, a
joint phase must end, and all members must have applied the same log.
"""

from dataclasses import dataclass
from typing import Final

from cluster.base.errors import ClusterError
from cluster.raft.membership import ConfChange
from cluster.testing.raft_bugs import NO_BUG, Bug
from cluster.testing.raft_checks import Violation
from cluster.testing.raft_nemesis import Client, FollowerReader, Nemesis, Reader
from cluster.testing.raft_place import Place
from cluster.testing.raft_plan import MS, make_plan
from cluster.testing.raft_world import World

LIVENESS_MS: Final = 4000
"""Simulated time in which a healed group must finish; elections take under 100 ms each."""

TRACE_LINES_MAX: Final = 300


@dataclass(frozen=True, slots=True)
class Verdict:
    """What became of a seed; `violation` is empty when everything held."""

    seed: int
    violation: str
    events: int
    simulated_ms: int
    trace: tuple[str, ...] = ()


def run_seed(seed: int, bug: Bug = NO_BUG, *, trace: bool = False) -> Verdict:
    """Run one seed. Violations are returned; anything else that goes wrong in the core is one."""
    plan = make_plan(seed)
    world = World(plan, bug, trace=trace)
    violation = ""
    try:
        nemesis = Nemesis(world)
        end_us = plan.duration_ms * MS
        clients = [Client(world, number, end_us) for number in range(plan.clients)]
        Reader(world, end_us)
        if plan.follower_leases:
            FollowerReader(world, end_us)
        world.run_until(end_us)
        nemesis.stopped = True
        heal(world)
        _finish(world, clients)
    except Violation as found:
        violation = str(found)
    except AssertionError as found:
        violation = f"assertion: {found}"
    except ClusterError as found:
        violation = f"error of the core: {type(found).__name__}: {found}"
    lines = tuple(world.trace[-TRACE_LINES_MAX:]) if world.trace is not None else ()
    return Verdict(seed, violation, world.events, world.now_us // MS, lines)


def heal(world: World) -> None:
    """Every link works, every disk is fast, nobody is to fall."""
    world.note("healed")
    world.blocked.clear()
    world.loss = 0.0
    for place in world.places.values():
        place.slow_until_us = 0
        place.crash_at = ""


def _settled(world: World) -> bool:
    leader = world.leader
    if leader is None:
        return False
    members = leader.raft.configuration
    if members.is_joint:
        return False
    end = leader.raft.log.last_index()
    return all(
        place.alive and place.applied == end and not place.raft.is_healing
        for place in _members(world, leader)
    )


def _members(world: World, leader: Place) -> list[Place]:
    return [world.places[node] for node in sorted(leader.raft.configuration.members)]


def _finish(world: World, clients: list[Client]) -> None:
    end_us = world.now_us + LIVENESS_MS * MS

    def finished() -> bool:
        return all(client.done for client in clients) and _settled(world)

    while world.now_us < end_us:
        if world.run_until(world.now_us + 100 * MS, finished):
            return
        help_along(world)
    raise Violation(f"liveness: not finished {LIVENESS_MS} ms after healing")


def help_along(world: World) -> None:
    """What an operator's driver would do: end a joint phase that was begun explicitly, and keep
    nodes that were removed, and may not know it, from standing for ever."""
    leader = world.leader
    if leader is None:
        for place in world.places.values():
            if not place.alive:
                world.start(place)
        return
    members = leader.raft.configuration
    if members.is_joint and not members.auto_leave:
        try:
            leader.node.propose_conf_change(ConfChange())
        except ClusterError as refusal:
            world.note(f"leaving refused: {refusal}")
        world.work(leader)
    known = max(place.applied for place in world.places.values())
    if leader.applied == known:
        for place in world.places.values():
            if place.id not in members.members:
                place.alive = False
            elif not place.alive:
                world.start(place)
