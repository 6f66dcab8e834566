"""What an entry holds for the state machine, and what the state machine gives back.

Every entry that the driver proposes is a command in an envelope that names its proposer's session
(`sessions`), so that a command which is in the log twice is run once. A session is named by the
INDEX of the entry that opened it (thesis, 6.3): no two openings can give the same name, so one that
comes late cannot revive a session that was dropped. An entry with no data at all opens a leader's
term and changes nothing.

    envelope, big-endian                       answer
    u8   version, 1                            u8   version, 1
    u64  session; 0 opens one                  u8   outcome (`sessions.Outcome`)
    u64  number, from 1; of an opening:        ...  result; of an opening: u64, the session
         a random number that names it
    u64  acknowledged_to
    ...  body; of an opening: empty

What a state machine must do with an entry is `run_command`, or the same upon its own storage.
"""

from collections.abc import Callable
from struct import Struct
from typing import Final, NamedTuple

from cluster.raft.sessions import Answer, Outcome, Sessions

_VERSION: Final = 1
_ENVELOPE: Final = Struct(">BQQQ")
_ANSWER: Final = Struct(">BB")
_SESSION: Final = Struct(">Q")

ENVELOPE_BYTES: Final = _ENVELOPE.size
"""What an envelope adds to a body."""


class Command(NamedTuple):
    """A command of a session; see the module's head for the fields."""

    session: int
    number: int
    acknowledged_to: int
    body: bytes = b""

    @property
    def opens_session(self) -> bool:
        """Whether this opens the session that is named by its entry's index."""
        return self.session == 0


def encode_command(command: Command) -> bytes:
    """The data of an entry."""
    session, number, acknowledged_to, body = command
    return _ENVELOPE.pack(_VERSION, session, number, acknowledged_to) + body


def decode_command(data: bytes) -> Command:
    """What `encode_command` wrote. Raises ValueError on anything else."""
    if len(data) < _ENVELOPE.size or data[0] != _VERSION:
        raise ValueError("not a command of a version known here")
    _, session, number, acknowledged_to = _ENVELOPE.unpack_from(data)
    return Command(session, number, acknowledged_to, data[_ENVELOPE.size :])


def encode_answer(answer: Answer) -> bytes:
    """The result of an entry."""
    return _ANSWER.pack(_VERSION, answer.outcome) + answer.result


def decode_answer(data: bytes) -> Answer:
    """What `encode_answer` wrote. Raises ValueError on anything else."""
    if len(data) < _ANSWER.size or data[0] != _VERSION:
        raise ValueError("not an answer of a version known here")
    return Answer(Outcome(data[1]), data[_ANSWER.size :])


def session_name(index: int) -> bytes:
    """The name, in `Sessions`, of the session that the entry at `index` opened."""
    return _SESSION.pack(index)


def opened_session(answer: Answer) -> int:
    """The session that an opening gave."""
    return int(_SESSION.unpack(answer.result)[0])


def run_command(
    sessions: Sessions, index: int, data: bytes, run: Callable[[bytes], bytes]
) -> bytes:
    """Run the entry at `index` exactly once: its encoded answer, empty for an empty entry.

    `run` is given the body. What it raises ends the state machine.
    """
    if not data:
        return b""
    command = decode_command(data)
    if command.opens_session:
        sessions.open(session_name(index))
        return encode_answer(Answer(Outcome.APPLIED, session_name(index)))
    answer = sessions.execute(
        session_name(command.session),
        command.number,
        acknowledged_to=command.acknowledged_to,
        run=lambda: run(command.body),
    )
    return encode_answer(answer)
