"""Exactly once: a proposal that was sent again is applied once and answered twice.

A proposer that hears nothing cannot know whether its command is in the log, so it sends it again,
and it may be there twice. Each proposer therefore opens a session (by a command in the log) and
numbers its commands; the state machine runs a number once and keeps its result until the proposer
says that it has it (thesis, 6.3). Sessions are part of the replicated state: every node must come
to the same answer from the log alone, so nothing here depends on time. At most `sessions_max` are
kept, the least recently used goes first; a command of a session that is gone is refused, never run,
for it may have been run before. Results a session holds are bounded by `results_max` likewise.
"""

from collections import OrderedDict
from collections.abc import Callable
from enum import IntEnum
from typing import NamedTuple


class Outcome(IntEnum):
    """What became of a command."""

    APPLIED = 0
    """It was run just now."""
    REPEATED = 1
    """It was run before; this is its result."""
    FORGOTTEN = 2
    """It was run before, and its proposer had said that it has the result."""
    NO_SESSION = 3
    """Its session was never opened or is gone: not run; whether it was before is unknown."""
    TOO_MANY = 4
    """Its proposer holds too many unanswered results: not run."""


class Answer(NamedTuple):
    """What a command gives."""

    outcome: Outcome
    result: bytes = b""


class _Session:
    __slots__ = ("acknowledged_to", "results")

    def __init__(self) -> None:
        self.acknowledged_to = 0
        self.results: dict[int, bytes] = {}


SessionState = tuple[tuple[bytes, int, tuple[tuple[int, bytes], ...]], ...]
"""Sessions from least to most recently used: name, acknowledged_to, results by number."""


class Sessions:
    """The sessions of one state machine."""

    def __init__(self, *, sessions_max: int = 65536, results_max: int = 1024) -> None:
        self._sessions_max = sessions_max
        self._results_max = results_max
        self._sessions: OrderedDict[bytes, _Session] = OrderedDict()

    def open(self, name: bytes) -> None:
        """Open a session; nothing when it is open already."""
        if name in self._sessions:
            return
        self._sessions[name] = _Session()
        if len(self._sessions) > self._sessions_max:
            self._sessions.popitem(last=False)

    def execute(
        self, name: bytes, number: int, *, acknowledged_to: int, run: Callable[[], bytes]
    ) -> Answer:
        """Run command `number` (from 1) of session `name`, unless it was run before.

        `acknowledged_to`: the proposer has the results of all numbers up to it. `run` must be
        deterministic; what it raises ends the state machine.
        """
        session = self._sessions.get(name)
        if session is None:
            return Answer(Outcome.NO_SESSION)
        self._sessions.move_to_end(name)
        if acknowledged_to > session.acknowledged_to:
            session.acknowledged_to = acknowledged_to
            for old in [held for held in session.results if held <= acknowledged_to]:
                del session.results[old]
        if number <= session.acknowledged_to:
            return Answer(Outcome.FORGOTTEN)
        known = session.results.get(number)
        if known is not None:
            return Answer(Outcome.REPEATED, known)
        if len(session.results) >= self._results_max:
            return Answer(Outcome.TOO_MANY)
        result = session.results[number] = run()
        return Answer(Outcome.APPLIED, result)

    def __len__(self) -> int:
        return len(self._sessions)

    def state(self) -> SessionState:
        """Everything, for a snapshot."""
        return tuple(
            (name, session.acknowledged_to, tuple(sorted(session.results.items())))
            for name, session in self._sessions.items()
        )

    def restore(self, state: SessionState) -> None:
        """Take over what `state()` gave on another node."""
        self._sessions.clear()
        for name, acknowledged_to, results in state:
            session = self._sessions[name] = _Session()
            session.acknowledged_to = acknowledged_to
            session.results = dict(results)
