"""A crowd of clients on registers over one simulated group: histories by the million.

`raft_run` asks little and checks much after every step; here many clients write, swap, create and
read on few keys, through any node, while the same nemesis strikes, and what they saw is written
down for a judge of linearizability who knows nothing of Raft. Keys live for a moment and are
followed by others, so that there are many short histories: a judge's cost grows with how many
operations overlap, and a stale answer shows best against writes that have just ended.

A write that is not answered is sent again, elsewhere, under its number, and must take effect once;
some clients lose patience and go on with the next, which leaves a write of unknown outcome. Readers
that come to one node at one moment share one proof that it is current, as they do in a real one.

What it is not: it judges nothing itself, but for the invariants of `raft_checks`, which hold too.
"""

from dataclasses import replace
from enum import IntEnum
from functools import partial
from random import Random
from typing import Final, NamedTuple

from cluster.base.errors import ClusterError
from cluster.raft.sessions import Outcome, Sessions
from cluster.testing.raft_bugs import NO_BUG, Bug
from cluster.testing.raft_checks import Checks, Violation
from cluster.testing.raft_nemesis import Nemesis
from cluster.testing.raft_place import Machine, MachineState, Place
from cluster.testing.raft_plan import MS, Plan, make_plan
from cluster.testing.raft_run import heal, help_along
from cluster.testing.raft_world import World

CLIENTS: Final = 128
KEYS: Final = 40
"""At one moment, so that some three clients meet on each."""

LIST_KEYS: Final = 8
"""A listing shows so many keys at once: a read of each."""

KEY_LIFE_US: Final = 80 * MS
"""Then the clients go on with other keys."""

ROUND_US: Final = 2 * MS
"""The longest time between two moments at which clients who are free ask."""

RESEND_US: Final = (15 * MS, 40 * MS)
PATIENCE_US: Final = 120 * MS
"""A write that is not answered so long is given up by one client in eight."""

PEACE_MS: Final = 8000
EVENTS_MAX: Final = 120_000
"""Simulated time behind the healing in which everybody must be answered, and the events of a whole
run. A crowd that repeats itself leaves thousands of entries behind. Over a network that reorders, a
follower that lacks them all took 6.6 s at worst (seed 12274): a message that overtakes another
sends the leader back to probing."""

NOTHING: Final = ""
"""The value of a key that is not there."""


class Did(IntEnum):
    """What a client did, numbered as `chaos.histories.Act`."""

    READ = 0
    WRITE = 1
    CREATE = 2
    SWAP = 3


class Told(IntEnum):
    """What it was told, numbered as `chaos.histories.Outcome`."""

    DONE = 0
    REFUSED = 1
    UNKNOWN = 2


class Seen(NamedTuple):
    """An operation as its client saw it, in simulated microseconds.

    A write of NOTHING is a delete; the end of one of unknown outcome means nothing.
    """

    did: Did
    value: str
    start_us: int
    end_us: int
    told: Told = Told.DONE
    expected: str = NOTHING


class RegisterMachine(Machine):
    """The replicated state: a value by key. A command is `client:number:key:did:value:expected`."""

    def __init__(self) -> None:
        super().__init__()
        self.values: dict[str, str] = {}
        self.sessions = Sessions(sessions_max=2 * CLIENTS, results_max=4)

    def apply(self, name: bytes, checks: Checks, *, exactly_once: bool) -> bytes:
        """Runs a command; its result is 1 when it took effect, 0 when its condition held not."""
        client, number, key, did, value, expected = name.decode().split(":")

        def run() -> bytes:
            if did != "1":
                wanted = NOTHING if did == "2" else expected
                if self.values.get(key, NOTHING) != wanted:
                    return b"0"
            self.values[key] = value
            return b"1"

        if not exactly_once:
            return run()
        session = client.encode()
        self.sessions.open(session)
        before = int(number) - 1
        answer = self.sessions.execute(session, before + 1, acknowledged_to=before, run=run)
        if answer.outcome is Outcome.APPLIED:
            checks.on_effect(name, answer.result)
        return answer.result

    def state(self) -> MachineState:
        """Everything, for a snapshot."""
        return dict(self.values), self.sessions.state()

    def restore(self, state: MachineState) -> None:
        """Start again from a snapshot."""
        self.values = dict(state[0])
        self.sessions.restore(state[1])


class _Client:
    """One who asks for one thing at a time. `turn` counts what he has asked."""

    __slots__ = (
        *("command", "did", "due_us", "expected", "key", "keys", "name", "start_us", "turn"),
        "value",
    )

    def __init__(self, name: int) -> None:
        self.name = name
        self.turn = 0
        self.did: Did | None = None
        self.key = ""
        self.keys: list[str] = []
        """Of a read: what it shows."""
        self.value = self.expected = NOTHING
        self.command = b""
        self.start_us = 0
        self.due_us = 0
        """When he asks again if he has heard nothing."""


class Crowd:
    """The clients of a group, until `end_us`; `histories` has what they saw of each key."""

    def __init__(self, world: World, end_us: int) -> None:
        self._world = world
        # Of its own: how the crowd chooses does not change what befalls the group.
        self._random = Random(f"crowd {world.plan.seed}")
        self._end_us = end_us
        self._clients = [_Client(number) for number in range(CLIENTS)]
        self._last: dict[str, str] = {}
        self._contexts = 0
        self.histories: dict[str, list[Seen]] = {}
        world.at(world.now_us + ROUND_US, self._round)

    @property
    def is_done(self) -> bool:
        """Whether nobody waits any more."""
        return self._world.now_us >= self._end_us and all(
            client.did is None for client in self._clients
        )

    def keys(self) -> list[str]:
        """The keys of this moment."""
        life = min(self._world.now_us, self._end_us - 1) // KEY_LIFE_US
        return [f"{life}.{number}" for number in range(KEYS)]

    # Rounds.

    def _round(self) -> None:
        world = self._world
        place = self._target()
        if place is not None:
            self._ask_at(place)
        if not self.is_done:
            world.at(world.now_us + self._random.randrange(ROUND_US), self._round)

    def _target(self) -> Place | None:
        """Any node, or one that thinks that it leads; of several old leaders often."""
        places = list(self._world.places.values())
        if self._random.random() < 0.6:
            leading = [each for each in places if each.alive and each.raft.leader == each.id]
            if leading:
                places = leading
        return self._awake(places[self._random.randrange(len(places))])

    def _awake(self, place: Place) -> Place | None:
        is_awake = place.alive and place.paused_until_us <= self._world.now_us
        return place if is_awake else None

    def _ask_at(self, place: Place) -> None:
        """All who are free ask this node, and those who have waited too long."""
        now_us = self._world.now_us
        keys = self.keys()
        readers: list[_Client] = []
        for client in self._clients:
            if client.did is None:
                if now_us >= self._end_us:
                    continue
                self._begin(client, keys)
                if client.did is Did.READ:
                    readers.append(client)
                    continue
            elif client.due_us > now_us or self._gives_up(client):
                continue
            client.due_us = now_us + self._random.randint(*RESEND_US)
            self._propose(place, client)
        if readers:
            self._read(place, readers)
        self._world.work(place)

    def _begin(self, client: _Client, keys: list[str]) -> None:
        chance = self._random.random()
        at = int(self._random.random() * KEYS)
        client.turn += 1
        client.key = key = keys[at]
        client.start_us = self._world.now_us
        client.due_us = client.start_us + RESEND_US[1]
        if chance < 0.7:
            client.did = Did.READ
            client.keys = [key] if chance < 0.5 else keys[at : at + LIST_KEYS]
            return
        client.value, client.expected = f"{client.name}.{client.turn}", NOTHING
        client.did = Did.WRITE if chance < 0.9 else Did.CREATE
        if chance >= 0.95:
            client.did, client.expected = Did.SWAP, self._last.get(key, NOTHING)
        elif 0.84 <= chance < 0.9:
            client.value = NOTHING
        client.command = (
            f"{client.name}:{client.turn}:{key}:{client.did:d}:{client.value}:{client.expected}"
        ).encode()

    def _gives_up(self, client: _Client) -> bool:
        """Whether a client who has waited goes on with something else."""
        if client.did is Did.READ:
            client.did = None
            return True
        waited_us = self._world.now_us - client.start_us
        if waited_us < PATIENCE_US or client.name % 8:
            return False
        self._saw(client, Told.UNKNOWN)
        return True

    # Questions and answers.

    def _propose(self, place: Place, client: _Client) -> None:
        place.writes[client.command] = partial(self._answered, client, client.turn)
        try:
            place.node.propose(client.command, place.clock_ms(self._world.now_us))
        except ClusterError:
            del place.writes[client.command]

    def _answered(self, client: _Client, turn: int, result: bytes) -> None:
        if client.turn == turn and client.did is not None:
            self._last[client.key] = client.value
            self._saw(client, Told.DONE if result == b"1" else Told.REFUSED)

    def _read(self, place: Place, readers: list[_Client]) -> None:
        self._contexts += 1
        context = b"crowd-%d" % self._contexts
        turns = [(client, client.turn) for client in readers]
        place.reads[context] = partial(self._shown, place, turns)
        try:
            place.node.read_index(context, place.clock_ms(self._world.now_us))
        except ClusterError:
            del place.reads[context]
            for client in readers:
                client.did = None

    def _shown(self, place: Place, turns: list[tuple[_Client, int]], length: int) -> None:
        machine = place.machine
        assert isinstance(machine, RegisterMachine), "the world was made with another machine"
        now_us = self._world.now_us
        for client, turn in turns:
            if client.turn != turn or client.did is not Did.READ:
                continue
            client.did = None
            for key in client.keys:
                value = machine.values.get(key, NOTHING)
                self._history(key).append(Seen(Did.READ, value, client.start_us, now_us))

    def _saw(self, client: _Client, told: Told) -> None:
        assert client.did is not None, "it was asked for"
        seen = Seen(
            client.did, client.value, client.start_us, self._world.now_us, told, client.expected
        )
        self._history(client.key).append(seen)
        client.did = None

    def _history(self, key: str) -> list[Seen]:
        history = self.histories.get(key)
        if history is None:
            history = self.histories[key] = []
        return history


class RegisterVerdict(NamedTuple):
    """What a seed gave; `violation` is empty when no invariant was broken."""

    seed: int
    violation: str
    histories: dict[str, list[Seen]]
    simulated_ms: int


def register_plan(seed: int) -> Plan:
    """The faults of a core seed, with room for a crowd."""
    random = Random(f"registers {seed}")
    plan = make_plan(seed)
    return replace(
        plan,
        duration_ms=600,
        # A group under fire of `raft_run`'s density answers next to nobody.
        fault_gap_ms=4 * plan.fault_gap_ms,
        message_bytes_max=random.choice((1000, 1 << 20)),
        inflight_max=random.choice((2, 4, 64)),
        snapshot_every=random.choice((30, 200, 1000)),
        keep_entries=random.choice((0, 20)),
        uncommitted_bytes_max=1 << 16,
    )


def _finish(world: World, crowd: Crowd) -> None:
    for _ in range(PEACE_MS // 100):
        if world.run_until(world.now_us + 100 * MS, lambda: crowd.is_done):
            return
        help_along(world)
    raise Violation(f"liveness: clients wait {PEACE_MS} ms after healing")


def run_registers(seed: int, bug: Bug = NO_BUG) -> RegisterVerdict:
    """One seed: faults, then peace in which everybody is answered."""
    plan = register_plan(seed)
    world = World(plan, bug, machine=RegisterMachine, events_max=EVENTS_MAX)
    crowd = Crowd(world, plan.duration_ms * MS)
    violation = ""
    try:
        nemesis = Nemesis(world)
        world.run_until(plan.duration_ms * MS)
        nemesis.stopped = True
        heal(world)
        _finish(world, crowd)
    except AssertionError as found:
        violation = str(found)
    except ClusterError as found:
        violation = f"error of the core: {type(found).__name__}: {found}"
    return RegisterVerdict(seed, violation, crowd.histories, world.now_us // MS)
