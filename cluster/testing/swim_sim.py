"""`python -m cluster.testing.swim_sim --seeds N --start S`: run seeds, print what fails.

Each seed is one of four stories over 3 to 6 nodes, told by `run_seed`:

- storm: everything that can go wrong, then healing; then all must hold the same of each other
  within `HEAL_S`;
- slow: one node is slow and some datagrams are lost; nobody healthy may be held dead;
- link: two nodes do not hear each other; nobody may even be suspected, since helpers reach both;
- calm: nothing is wrong.

All end alike: what a node says of itself reaches all within `NEWS_S`; one node crashes and is
held dead by all within `DETECT_S`, or leaves and is held gone; nobody else is.

Exit status 0 when every promise was kept in every seed, 1 otherwise.
"""

import argparse
import random
import sys
from collections.abc import Callable, Sequence
from functools import partial
from time import perf_counter
from typing import Final, NamedTuple

from cluster.base.ports import MemberState
from cluster.swim.sealing import Sealer
from cluster.swim.settings import SwimSettings
from cluster.testing.swim_bugs import BUGS, NO_BUG, Bug
from cluster.testing.swim_world import SeededBytes, SwimWorld, Violation

STORM_S: Final = 10.0
HEAL_S: Final = 20.0
NEWS_S: Final = 3.0
DETECT_S: Final = 16.0
LEAVE_S: Final = 3.0
STORIES: Final = ("storm", "storm", "storm", "link", "slow", "calm")


class Verdict(NamedTuple):
    """How a seed went; `violation` is empty when every promise was kept."""

    seed: int
    story: str
    violation: str
    events: int
    false_suspicions: int
    trace: tuple[str, ...]


def run_seed(
    seed: int,
    bug: Bug = NO_BUG,
    *,
    settings: SwimSettings | None = None,
    story: str = "",
    trace: bool = False,
) -> Verdict:
    """One seed, from the start of all nodes to the end of the story."""
    story = story or STORIES[seed % len(STORIES)]
    world = SwimWorld(
        seed,
        3 + seed % 4,
        settings=settings or SwimSettings(),
        swim_type=bug.swim,
        endpoint_type=bug.endpoint,
        trace=trace,
    )
    violation = ""
    try:
        _tell(world, story)
    except Violation as broken:
        violation = f"{story}: {broken}"
    return Verdict(seed, story, violation, world.events, world.false_suspicions, tuple(world.trace))


def _tell(world: SwimWorld, story: str) -> None:
    for number in world.nodes:
        world.after(world.random.random() * 0.5, partial(world.start, number))
    world.run_until(3.0)
    _expect_agreement(world, "at the start")
    {"storm": _storm, "slow": _slow, "link": _link, "calm": _calm}[story](world)
    _end(world)


def _storm(world: SwimWorld) -> None:
    world.loss = world.random.choice([0.0, 0.1, 0.3])
    world.doubling = 0.1
    world.delay_s = world.random.choice([(0.001, 0.02), (0.001, 0.3)])
    end_s = world.now_s + STORM_S
    while world.now_s < end_s:
        world.random.choice(_FAULTS)(world)
        world.run_until(world.now_s + world.random.uniform(0.1, 1.5))
    _heal(world)
    world.run_until(world.now_s + HEAL_S)
    world.loss = 0.0
    world.run_until(world.now_s + 3.0)
    _expect_agreement(world, f"{HEAL_S:.0f} s after healing")


def _slow(world: SwimWorld) -> None:
    world.loss = 0.03
    slow = world.random.choice(list(world.nodes.values()))
    slow.slow_s = world.random.uniform(0.3, 1.0)
    world.run_until(world.now_s + 20.0)
    slow.slow_s = world.loss = 0.0
    if world.false_deaths:
        raise Violation(f"{world.false_deaths} times a healthy node was held dead")
    world.run_until(world.now_s + 5.0)


def _link(world: SwimWorld) -> None:
    one, other = world.random.sample(sorted(world.nodes), 2)
    before = _suspicions(world)
    world.cuts = {(one, other), (other, one)}
    world.run_until(world.now_s + 8.0)
    if _suspicions(world) != before:
        raise Violation("somebody was suspected whom a helper reaches")
    world.cuts = set()
    world.run_until(world.now_s + 1.0)


def _calm(world: SwimWorld) -> None:
    before = _suspicions(world)
    world.run_until(world.now_s + 5.0)
    if _suspicions(world) != before:
        raise Violation("somebody was suspected in a calm sea")


def _suspicions(world: SwimWorld) -> int:
    return sum(node.swim.counts.suspicions for node in world.alive())


def _end(world: SwimWorld) -> None:
    world.false_deaths = 0
    teller = world.random.choice(world.alive())
    world.set_load(teller.number, teller.load + 1)
    world.run_until(world.now_s + NEWS_S)
    _expect_agreement(world, f"{NEWS_S:.0f} s after somebody's news")
    gone = world.random.choice(world.alive())
    if len(world.alive()) > 1 and world.random.random() < 0.5:
        world.leave(gone.number)
        world.run_until(world.now_s + LEAVE_S)
        wanted = {MemberState.LEFT}
    else:
        world.crash(gone.number)
        world.run_until(world.now_s + DETECT_S)
        wanted = {MemberState.DEAD}
    for node in world.alive():
        state = node.state_of(gone.number)
        if state not in wanted:
            raise Violation(f"node {node.number} holds node {gone.number}, who is gone, {state!r}")
    _expect_agreement(world, "at the end")
    if world.false_deaths:
        raise Violation("a healthy node was held dead beside the one who is gone")


def _expect_agreement(world: SwimWorld, when: str) -> None:
    """Everybody who runs is alive to all, as he says of himself; nobody else is."""
    for node in world.alive():
        for other in world.nodes.values():
            state, is_there = node.state_of(other.number), other in world.alive()
            if is_there and state is not MemberState.ALIVE:
                raise Violation(f"{when} node {node.number} holds node {other.number} {state!r}")
            if not is_there and state in (MemberState.ALIVE, MemberState.SUSPECT):
                raise Violation(f"{when} node {node.number} holds node {other.number} {state!r}")
            if is_there and node.metadata_of(other.number) != other.metadata_of(other.number):
                raise Violation(f"{when} node {node.number} has old news of node {other.number}")


# What can go wrong.


def _cut_one_way(world: SwimWorld) -> None:
    one, other = world.random.sample(sorted(world.nodes), 2)
    world.cuts.add((one, other))
    world.note(f"node {other} does not hear node {one}")


def _split(world: SwimWorld) -> None:
    side = {number for number in world.nodes if world.random.random() < 0.5}
    world.cuts |= {
        (one, other)
        for one in world.nodes
        for other in world.nodes
        if (one in side) != (other in side)
    }
    world.note(f"{sorted(side)} are apart")


def _mend(world: SwimWorld) -> None:
    world.cuts.clear()
    world.note("links are mended")


def _crash(world: SwimWorld) -> None:
    if len(world.alive()) > 2:
        world.crash(world.random.choice(world.alive()).number)


def _leave(world: SwimWorld) -> None:
    if len(world.alive()) > 2:
        world.leave(world.random.choice(world.alive()).number)


def _restart(world: SwimWorld) -> None:
    down = [node for node in world.nodes.values() if not node.is_up]
    if down:
        node = world.random.choice(down)
        node.clock_ms += world.random.choice([0, 0, -500_000, 500_000])
        world.start(node.number)


def _pause(world: SwimWorld) -> None:
    world.pause(world.random.choice(sorted(world.nodes)), world.random.uniform(0.3, 6.0))


def _slow_down(world: SwimWorld) -> None:
    world.random.choice(list(world.nodes.values())).slow_s = world.random.choice([0.0, 0.3, 1.0])


def _tell_news(world: SwimWorld) -> None:
    world.set_load(world.random.choice(world.alive()).number, world.random.randrange(101))


def _replay(world: SwimWorld) -> None:
    for _ in range(5):
        world.replay()


def _speak_from_elsewhere(world: SwimWorld) -> None:
    chance = SeededBytes(random.Random(world.random.getrandbits(64)))
    stranger = Sealer("another", world.random.choice(sorted(world.nodes)), chance)
    to = world.random.choice(sorted(world.nodes))
    stranger.use(to, stranger.offer())
    datagram = stranger.seal(to, b"anything")
    assert datagram is not None, "it has a key"
    world.inject(to, datagram)


_FAULTS: Final[tuple[Callable[[SwimWorld], None], ...]] = (
    *(_cut_one_way, _split, _mend, _crash, _leave, _restart, _restart, _pause, _slow_down),
    *(_tell_news, _replay, _speak_from_elsewhere),
)


def _heal(world: SwimWorld) -> None:
    world.cuts.clear()
    world.loss, world.doubling, world.delay_s = 0.01, 0.0, (0.001, 0.02)
    for node in world.nodes.values():
        node.slow_s = 0.0
        if node.is_up:
            world.resume(node.number, node.life)
        elif world.random.random() < 0.5:
            world.start(node.number)
    world.note("everything is healed")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="swim_sim", description=__doc__)
    parser.add_argument("--seeds", type=int, default=1000, help="how many")
    parser.add_argument("--start", type=int, default=0, help="the first")
    parser.add_argument("--bug", default="", help="plant a bug: " + ", ".join(sorted(BUGS)))
    parser.add_argument("--keep-going", action="store_true", help="do not stop at a violation")
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    """Run what the command line asks for; returns the exit status."""
    options = _parser().parse_args(arguments)
    bug = BUGS[options.bug] if options.bug else NO_BUG
    began = perf_counter()
    failed = ran = 0
    for seed in range(options.start, options.start + options.seeds):
        ran += 1
        verdict = run_seed(seed, bug)
        if not verdict.violation:
            continue
        failed += 1
        for line in run_seed(seed, bug, trace=True).trace:
            print(line)
        planted = f" --bug {bug.name}" if bug is not NO_BUG else ""
        print(f"seed {seed}: {verdict.violation}")
        print(f"again: python -m cluster.testing.swim_sim --start {seed} --seeds 1{planted}")
        if not options.keep_going:
            break
    seconds = perf_counter() - began
    print(f"{ran} seeds, {failed} failed, in {seconds:.1f} s: {ran / seconds:.0f} seeds/s")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
