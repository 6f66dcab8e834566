"""Who belongs to a group, and how that changes: simple changes and joint consensus.

A change of one voter at a time keeps every old majority and every new one overlapping, so it may
be made in one step. Any larger change goes through a joint configuration, in which old and new
majorities are both needed (thesis, 4.3); several members may be replaced at once. A voter of the
old half that shall be a learner waits in `learners_next`, because until the joint phase ends it
still votes. A change takes effect on a node when the node applies its entry.

`Changer` is a pure function from one configuration to the next. Invariants, checked after every
change: every member has a progress; learners do not vote in either half; `learners_next` vote in
the old half only; a plain configuration has neither; it never is without voters.

Source: etcd-io/raft, package confchange, whose recorded cases the tests replay.
"""

from collections.abc import Iterable, Mapping
from enum import IntEnum
from struct import Struct, error
from typing import Final, NamedTuple

from cluster.base.errors import ConfChangeRefused
from cluster.base.ids import NodeId
from cluster.raft.messages import ConfState
from cluster.raft.progress import Progress


class ChangeKind(IntEnum):
    """What happens to one member."""

    ADD_NODE = 0
    """Make it a voter, whether new or a learner so far."""
    REMOVE_NODE = 1
    UPDATE_NODE = 2
    """Nothing, for the group; the driver may attach data to it."""
    ADD_LEARNER_NODE = 3
    """Make it a learner, whether new or a voter so far."""


class Transition(IntEnum):
    """How a change goes through the joint phase."""

    AUTO = 0
    """In one step when that is safe, else as JOINT_IMPLICIT."""
    JOINT_IMPLICIT = 1
    """Joint, and the leader proposes the end of the joint phase itself."""
    JOINT_EXPLICIT = 2
    """Joint until an empty change is proposed."""


class ConfChangeSingle(NamedTuple):
    """What happens to one member."""

    kind: ChangeKind
    node: NodeId


_HEAD: Final = Struct(">BBH")
_CHANGE: Final = Struct(">BQ")
_VERSION: Final = 1


class ConfChange(NamedTuple):
    """A change of members: its steps, the transition, and data for the driver.

    Without steps, `Transition.AUTO` and context it is the end of the joint phase.
    """

    changes: tuple[ConfChangeSingle, ...] = ()
    transition: Transition = Transition.AUTO
    context: bytes = b""

    @property
    def leaves_joint(self) -> bool:
        """Whether this ends a joint phase."""
        return not self.changes and self.transition is Transition.AUTO

    @property
    def enters_joint(self) -> bool:
        """Whether this begins a joint phase: asked for, or more than one step."""
        return self.transition is not Transition.AUTO or len(self.changes) > 1

    @property
    def leaves_by_itself(self) -> bool:
        """Whether the leader ends the joint phase unasked."""
        return self.transition is not Transition.JOINT_EXPLICIT

    def encode(self) -> bytes:
        """The bytes of an entry: version, transition, count of steps, steps, context.

        The end of a joint phase is the empty string, so that its proposal weighs nothing.
        """
        if self == ConfChange():
            return b""
        head = _HEAD.pack(_VERSION, self.transition, len(self.changes))
        return head + b"".join(_CHANGE.pack(*change) for change in self.changes) + self.context

    @staticmethod
    def decode(data: bytes) -> "ConfChange":
        """What `encode` wrote. Raises ValueError on anything else."""
        if not data:
            return ConfChange()
        try:
            version, transition, count = _HEAD.unpack_from(data)
            changes = tuple(
                ConfChangeSingle(ChangeKind(kind), node)
                for kind, node in (
                    _CHANGE.unpack_from(data, _HEAD.size + at * _CHANGE.size) for at in range(count)
                )
            )
        except error as fault:
            raise ValueError("cut short") from fault
        if version != _VERSION:
            raise ValueError(f"version {version} of a change of members is unknown")
        rest = data[_HEAD.size + count * _CHANGE.size :]
        return ConfChange(changes, Transition(transition), rest)


class Configuration(NamedTuple):
    """The members in force. `outgoing` is the old half of a joint configuration."""

    incoming: frozenset[NodeId] = frozenset()
    outgoing: frozenset[NodeId] = frozenset()
    learners: frozenset[NodeId] = frozenset()
    learners_next: frozenset[NodeId] = frozenset()
    auto_leave: bool = False

    @property
    def is_joint(self) -> bool:
        """Whether two majorities are needed."""
        return bool(self.outgoing)

    @property
    def voters(self) -> frozenset[NodeId]:
        """Who votes in either half."""
        return self.incoming | self.outgoing

    @property
    def members(self) -> frozenset[NodeId]:
        """Everyone who is sent the log."""
        return self.incoming | self.outgoing | self.learners

    def conf_state(self) -> ConfState:
        """The same, as it is stored in snapshots."""
        return ConfState(
            voters=tuple(sorted(self.incoming)),
            outgoing=tuple(sorted(self.outgoing)),
            learners=tuple(sorted(self.learners)),
            learners_next=tuple(sorted(self.learners_next)),
            auto_leave=self.auto_leave,
        )


def configuration_of(state: ConfState) -> Configuration:
    """The configuration that a snapshot holds. Raises ConfChangeRefused when it makes no sense."""
    configuration = Configuration(
        incoming=frozenset(state.voters),
        outgoing=frozenset(state.outgoing),
        learners=frozenset(state.learners),
        learners_next=frozenset(state.learners_next),
        auto_leave=state.auto_leave,
    )
    _check(configuration, configuration.members)
    return configuration


class Changer:
    """Makes the next configuration and the progress of its members out of the present ones.

    Neither argument is changed: a member whose progress changes gets a copy of it. `last_index`
    is the end of the log: new members are probed from there.
    """

    def __init__(
        self,
        configuration: Configuration,
        progress: Mapping[NodeId, Progress],
        *,
        last_index: int,
        inflight_max: int,
        inflight_bytes_max: int,
    ) -> None:
        self._before = configuration
        self._incoming = set(configuration.incoming)
        self._outgoing = set(configuration.outgoing)
        self._learners = set(configuration.learners)
        self._learners_next = set(configuration.learners_next)
        self._progress = {node: known.copy() for node, known in progress.items()}
        self._last_index = last_index
        self._inflight_max = inflight_max
        self._inflight_bytes_max = inflight_bytes_max

    def change(self, change: ConfChange) -> tuple[Configuration, dict[NodeId, Progress]]:
        """Whatever `change` asks for. Raises ConfChangeRefused."""
        if change.leaves_joint:
            return self.leave_joint()
        if change.enters_joint:
            return self.enter_joint(change.changes, auto_leave=change.leaves_by_itself)
        return self.simple(change.changes)

    def simple(
        self, changes: Iterable[ConfChangeSingle]
    ) -> tuple[Configuration, dict[NodeId, Progress]]:
        """Change at most one voter in one step. Raises ConfChangeRefused."""
        if self._before.is_joint:
            raise ConfChangeRefused("can't apply simple config change in joint config")
        self._apply(changes)
        if len(self._before.incoming.symmetric_difference(self._incoming)) > 1:
            raise ConfChangeRefused("more than one voter changed without entering joint config")
        return self._done(auto_leave=False)

    def enter_joint(
        self, changes: Iterable[ConfChangeSingle], *, auto_leave: bool
    ) -> tuple[Configuration, dict[NodeId, Progress]]:
        """Begin a joint phase: the voters so far become its old half. Raises ConfChangeRefused."""
        if self._before.is_joint:
            raise ConfChangeRefused("config is already joint")
        if not self._incoming:
            raise ConfChangeRefused("can't make a zero-voter config joint")
        self._outgoing = set(self._incoming)
        self._apply(changes)
        return self._done(auto_leave=auto_leave)

    def leave_joint(self) -> tuple[Configuration, dict[NodeId, Progress]]:
        """End the joint phase: the old half goes. Raises ConfChangeRefused."""
        if not self._before.is_joint:
            raise ConfChangeRefused("can't leave a non-joint config")
        for node in self._learners_next:
            self._learners.add(node)
            self._progress[node].is_learner = True
        self._learners_next.clear()
        for node in self._outgoing:
            if node not in self._incoming and node not in self._learners:
                del self._progress[node]
        self._outgoing.clear()
        return self._done(auto_leave=False)

    def _apply(self, changes: Iterable[ConfChangeSingle]) -> None:
        for kind, node in changes:
            if not node:
                continue
            if kind is ChangeKind.ADD_NODE:
                self._make_voter(node)
            elif kind is ChangeKind.ADD_LEARNER_NODE:
                self._make_learner(node)
            elif kind is ChangeKind.REMOVE_NODE:
                self._remove(node)
        if not self._incoming:
            raise ConfChangeRefused("removed all voters")

    def _make_voter(self, node: NodeId) -> None:
        if node not in self._progress:
            self._new_progress(node, is_learner=False)
        self._progress[node].is_learner = False
        self._learners.discard(node)
        self._learners_next.discard(node)
        self._incoming.add(node)

    def _make_learner(self, node: NodeId) -> None:
        known = self._progress.get(node)
        if known is None:
            self._new_progress(node, is_learner=True)
            self._learners.add(node)
            return
        if known.is_learner:
            return
        self._remove(node)
        self._progress[node] = known
        if node in self._outgoing:
            self._learners_next.add(node)
        else:
            known.is_learner = True
            self._learners.add(node)

    def _remove(self, node: NodeId) -> None:
        if node not in self._progress:
            return
        self._incoming.discard(node)
        self._learners.discard(node)
        self._learners_next.discard(node)
        if node not in self._outgoing:
            del self._progress[node]

    def _new_progress(self, node: NodeId, *, is_learner: bool) -> None:
        progress = Progress(
            next_index=max(self._last_index, 1),
            inflight_max=self._inflight_max,
            inflight_bytes_max=self._inflight_bytes_max,
            is_learner=is_learner,
        )
        progress.recent_active = True
        self._progress[node] = progress

    def _done(self, *, auto_leave: bool) -> tuple[Configuration, dict[NodeId, Progress]]:
        configuration = Configuration(
            frozenset(self._incoming),
            frozenset(self._outgoing),
            frozenset(self._learners),
            frozenset(self._learners_next),
            auto_leave,
        )
        _check(configuration, self._progress)
        return configuration, self._progress


def _check(configuration: Configuration, known: Iterable[NodeId]) -> None:
    voters = configuration.voters
    if configuration.learners & voters:
        raise ConfChangeRefused("a learner cannot vote")
    if not configuration.learners_next <= configuration.outgoing:
        raise ConfChangeRefused("a learner to be must be a voter of the outgoing half")
    if configuration.learners_next & configuration.incoming:
        raise ConfChangeRefused("a learner to be cannot vote in the incoming half")
    if not configuration.is_joint and (configuration.auto_leave or configuration.learners_next):
        raise ConfChangeRefused("only a joint config has learners to be or leaves by itself")
    if set(known) != configuration.members:
        raise ConfChangeRefused("every member, and no other, is sent the log")
