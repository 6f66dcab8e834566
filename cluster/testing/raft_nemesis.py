"""Faults of a plan, one after the other, each mended after a while; and clients meanwhile.

Shapes of partitions are those that broke real systems: one node alone, one link, one direction,
a bridge (two halves that share one node), a chain, and swizzle-clogging (links stopped one by one,
mended in another order; FoundationDB's most fruitful). `stranded_leader` cuts off whoever leads
and makes another stand, which is where stale reads live.
"""

from cluster.base.errors import ClusterError
from cluster.base.ids import NodeId
from cluster.raft.membership import ChangeKind, ConfChange, ConfChangeSingle, Transition
from cluster.testing.raft_place import Place
from cluster.testing.raft_plan import MS
from cluster.testing.raft_world import World


class Nemesis:
    """Draws a fault every so often until it is stopped."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._random = world.random
        self.stopped = False
        self._next()

    def _next(self) -> None:
        gap = int(self._random.expovariate(1 / (self._world.plan.fault_gap_ms * MS)))
        self._world.at(self._world.now_us + gap, self._strike)

    def _strike(self) -> None:
        if self.stopped:
            return
        fault = self._random.choice(self._world.plan.faults)
        self._world.note(f"fault: {fault}")
        getattr(self, "_" + fault)()
        self._next()

    def _some(self) -> Place:
        return self._random.choice(list(self._world.places.values()))

    def _later(self, low_ms: int, high_ms: int) -> int:
        return self._world.now_us + self._random.randint(low_ms * MS, high_ms * MS)

    def _some_leader(self) -> Place:
        """A leader, for crashes there find most; else anyone."""
        leader = self._world.leader
        return leader if leader is not None and self._random.random() < 0.6 else self._some()

    def _crash(self) -> None:
        place = self._some_leader()
        if place.alive:
            self._world.crash(place, "killed")

    def _crash_before_sync(self) -> None:
        self._some_leader().crash_at = "before_sync"

    def _crash_after_sync(self) -> None:
        self._some_leader().crash_at = "after_sync"

    def _crash_after_send(self) -> None:
        self._some_leader().crash_at = "after_send"

    def _rivals(self) -> None:
        """Two that do not hear each other stand one after the other; who voted falls in between.

        The shape in which a vote that was forgotten elects two.
        """
        nodes = self._shuffled()
        first, second = nodes[0], nodes[1]
        self._cut(self._both_ways({(first, second)}), 30, 80)
        for node in nodes[2:]:
            self._world.places[node].crash_at = "after_send"
        self._stand(self._world.places[first])
        self._world.at(self._later(1, 30), self._stand, self._world.places[second])

    def _disk_error(self) -> None:
        self._some().crash_at = "disk_error"

    def _slow_disk(self) -> None:
        self._some_leader().slow_until_us = self._later(30, 100)

    def _pause(self) -> None:
        place = self._some_leader()
        place.paused_until_us = self._later(20, 200)
        self._world.at(self._later(10, 120), self._stand, self._some())

    def _cut(self, links: set[tuple[NodeId, NodeId]], low_ms: int, high_ms: int) -> None:
        self._world.blocked |= links
        self._world.at(self._later(low_ms, high_ms), self._mend, links)

    def _mend(self, links: set[tuple[NodeId, NodeId]]) -> None:
        self._world.blocked -= links

    def _both_ways(self, pairs: set[tuple[NodeId, NodeId]]) -> set[tuple[NodeId, NodeId]]:
        return pairs | {(b, a) for a, b in pairs}

    def _isolate(self) -> None:
        one = self._some_leader().id
        self._cut(self._both_ways({(one, other) for other in self._world.places}), 20, 150)

    def _stranded_leader(self) -> None:
        leader = self._world.leader
        if leader is None:
            return
        others = [place for place in self._world.places.values() if place is not leader]
        self._cut(self._both_ways({(leader.id, other.id) for other in others}), 40, 150)
        other = self._random.choice(others)
        self._world.at(self._later(1, 60), self._stand, other)

    def _returned_rival(self) -> None:
        """Who was cut off long enough to raise its term finds the leader again, and those two lose
        everybody else: where a leader that is deposed forgets whom it lets read alone."""
        leader = self._world.leader
        others = [number for number in self._world.places if leader and number != leader.id]
        if leader is None or len(others) < 2:
            return
        rival = self._random.choice(others)
        away = self._both_ways({(rival, number) for number in self._world.places})
        self._world.blocked |= away
        rest = set(self._world.places) - {leader.id, rival}
        parted = self._both_ways({(a, b) for a in (leader.id, rival) for b in rest})
        back_us = self._later(60, 240)
        self._world.at(back_us, self._mend, away)
        self._world.at(back_us, self._cut, parted, 60, 150)
        for _ in range(5):
            self._world.at(back_us + self._random.randrange(40 * MS), self._stand_at, rival)

    def _stand_at(self, number: NodeId) -> None:
        self._stand(self._world.places[number])

    def _forgetful_followers(self) -> None:
        """Cut the leader off and restart all others: none remembers having heard a leader."""
        leader = self._world.leader
        if leader is None:
            return
        others = [place for place in self._world.places.values() if place is not leader]
        self._cut(self._both_ways({(leader.id, other.id) for other in others}), 60, 150)
        for other in others:
            if other.alive:
                self._world.crash(other, "restarted")
        for _ in range(3):
            self._world.at(self._later(20, 80), self._stand, self._random.choice(others))

    def _handover_and_cut(self) -> None:
        """Have the leader hand over, and cut it off before it can hear that it has."""
        leader = self._world.leader
        if leader is None or leader.paused_until_us > self._world.now_us:
            return
        others = [place for place in self._world.places.values() if place is not leader]
        target = self._random.choice(others)
        leader.node.transfer_leadership(target.id, leader.clock_ms(self._world.now_us))
        self._world.work(leader)
        links = self._both_ways({(leader.id, other.id) for other in others})
        self._world.at(self._later(0, 9), self._cut, links, 60, 150)

    def _one_way(self) -> None:
        one = self._some_leader().id
        links = {(one, other) for other in self._world.places}
        if self._random.random() < 0.5:
            links = {(b, a) for a, b in links}
        self._cut(links, 20, 150)

    def _cut_link(self) -> None:
        one, other = self._random.sample(list(self._world.places), 2)
        self._cut(self._both_ways({(one, other)}), 20, 200)

    def _shuffled(self) -> list[NodeId]:
        nodes = list(self._world.places)
        self._random.shuffle(nodes)
        return nodes

    def _bridge(self) -> None:
        nodes = self._shuffled()
        half = len(nodes) // 2
        links = {(a, b) for a in nodes[:half] for b in nodes[half + 1 :]}
        self._cut(self._both_ways(links), 30, 150)

    def _chain(self) -> None:
        nodes = self._shuffled()
        links = {(a, b) for at, a in enumerate(nodes) for b in nodes[at + 2 :]}
        self._cut(self._both_ways(links), 30, 150)

    def _swizzle(self) -> None:
        nodes = self._shuffled()
        links = [(a, b) for a in nodes for b in nodes if a < b]
        for at, link in enumerate(links):
            self._world.at(self._world.now_us + at * 5 * MS, self._swizzle_one, link)

    def _swizzle_one(self, link: tuple[NodeId, NodeId]) -> None:
        if not self.stopped:
            self._cut(self._both_ways({link}), 20, 120)

    def _lossy(self) -> None:
        self._world.loss = 0.3
        self._world.at(self._later(20, 80), self._not_lossy)

    def _not_lossy(self) -> None:
        self._world.loss = self._world.plan.loss

    def _campaign(self) -> None:
        self._stand(self._some())

    def _stand(self, place: Place) -> None:
        if place.alive and place.paused_until_us <= self._world.now_us:
            place.node.campaign(place.clock_ms(self._world.now_us))
            self._world.work(place)

    def _transfer(self) -> None:
        leader = self._world.leader
        if leader is not None and leader.paused_until_us <= self._world.now_us:
            target = self._random.choice(list(self._world.places))
            leader.node.transfer_leadership(target, leader.clock_ms(self._world.now_us))
            self._world.work(leader)

    def _conf_change(self) -> None:
        leader = self._world.leader
        if leader is None or leader.paused_until_us > self._world.now_us:
            return
        try:
            leader.node.propose_conf_change(self._some_change(leader))
        except ClusterError as refusal:
            self._world.note(f"change refused: {refusal}")
        self._world.work(leader)

    def _some_change(self, leader: Place) -> ConfChange:
        members = leader.node.configuration
        if members.is_joint:
            return ConfChange()
        changes = []
        voters = len(members.incoming)
        for node in self._random.sample(list(self._world.places), self._random.randint(1, 2)):
            kind = self._random.choice(
                (ChangeKind.ADD_NODE, ChangeKind.REMOVE_NODE, ChangeKind.ADD_LEARNER_NODE)
            )
            if kind is not ChangeKind.ADD_NODE and node in members.incoming:
                voters -= 1
                if voters < 2:
                    continue
            changes.append(ConfChangeSingle(kind, node))
        transition = self._random.choice(list(Transition))
        return ConfChange(tuple(changes), transition if changes else Transition.JOINT_IMPLICIT)


class Reader:
    """Asks whoever thinks that it leads, old leaders above all, and waits for any answer."""

    def __init__(self, world: World, end_us: int) -> None:
        self._world = world
        self._end_us = end_us
        self._count = 0
        self._next()

    def _next(self) -> None:
        world = self._world
        if world.now_us < self._end_us:
            world.at(world.now_us + world.random.randint(2 * MS, 12 * MS), self._ask)

    def _ask(self) -> None:
        world = self._world
        leading = [
            place
            for place in world.places.values()
            if place.alive and place.raft.leader == place.id
        ]
        if leading:
            place = min(leading, key=lambda place: place.raft.term)
            # Asked during a pause, a node answers when it wakes, in the order that things came.
            when = max(world.now_us, place.paused_until_us)
            world.at(when, self._read, place, place.incarnation)
        self._next()

    def _read(self, place: Place, incarnation: int) -> None:
        world = self._world
        if not place.alive or place.incarnation != incarnation:
            return
        floor = world.checks.floor
        self._count += 1
        context = b"r-%d" % self._count
        place.reads[context] = lambda length: world.checks.on_read(floor, length)
        try:
            place.node.read_index(context, place.clock_ms(world.now_us))
        except ClusterError:
            del place.reads[context]
        world.work(place)


class FollowerReader:
    """Reads on every follower that has a lease for it, and has applied what it must show."""

    def __init__(self, world: World, end_us: int) -> None:
        self._world = world
        self._end_us = end_us
        self._next()

    def _next(self) -> None:
        world = self._world
        if world.now_us < self._end_us:
            world.at(world.now_us + world.random.randint(MS, 4 * MS), self._read)

    def _read(self) -> None:
        world = self._world
        for place in world.places.values():
            # One that pauses reads nothing; when it wakes its clock has run on.
            if not place.alive or place.paused_until_us > world.now_us:
                continue
            if place.raft.leader == place.id:
                continue
            index = place.node.lease_index(place.clock_ms(world.now_us))
            if index is not None and place.applied >= index:
                world.checks.lease_reads += 1
                world.checks.on_read(world.checks.floor, place.machine.length)
        self._next()


class Client:
    """Writes and reads one after the other, through any node, until `end_us`, and then ends."""

    def __init__(self, world: World, number: int, end_us: int) -> None:
        self._world = world
        self._random = world.random
        self._name = b"c%d" % number
        self._end_us = end_us
        self._number = 0
        self._attempt = 0
        self.done = False
        world.at(world.now_us + self._random.randrange(60 * MS), self._begin)

    def _begin(self) -> None:
        if self._world.now_us >= self._end_us:
            self.done = True
            return
        if self._random.random() < 0.5:
            self._number += 1
            self._write(self._attempt)
        else:
            self._read(self._attempt)

    def _end(self) -> None:
        self._attempt += 1
        self._world.at(self._world.now_us + self._random.randrange(12 * MS), self._begin)

    def _target(self) -> Place | None:
        place = self._random.choice(list(self._world.places.values()))
        if not place.alive or place.paused_until_us > self._world.now_us:
            return None
        return place

    def _write(self, attempt: int) -> None:
        """Send the present command to some node; again, elsewhere, when no answer comes."""
        if attempt != self._attempt:
            return
        world = self._world
        place = self._target()
        if place is not None:
            name = b"%s:%d" % (self._name, self._number)

            def answered(result: bytes) -> None:
                if attempt == self._attempt:
                    world.checks.on_write_acknowledged(name, result)
                    self._end()

            place.writes[name] = answered
            try:
                place.node.propose(name, place.clock_ms(world.now_us))
            except ClusterError:
                del place.writes[name]
            world.work(place)
        world.at(world.now_us + self._random.randint(10 * MS, 40 * MS), self._write, attempt)

    def _read(self, attempt: int) -> None:
        if attempt != self._attempt:
            return
        world = self._world
        place = self._target()
        if place is not None:
            floor = world.checks.floor
            context = b"%s-%d" % (self._name, world.events)

            def answered(length: int) -> None:
                if attempt == self._attempt:
                    world.checks.on_read(floor, length)
                    self._end()

            place.reads[context] = answered
            try:
                place.node.read_index(context, place.clock_ms(world.now_us))
            except ClusterError:
                del place.reads[context]
            world.work(place)
        world.at(world.now_us + self._random.randint(10 * MS, 40 * MS), self._read, attempt)
