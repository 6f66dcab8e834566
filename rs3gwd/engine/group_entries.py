"""What an entry of a group's log holds, and what the state machine answers.

The envelope and the answer are those of the cluster library (`cluster/raft/commands.py`, which the
engine does not import; a test holds the two together). Inside are a command and its result. All
numbers are big-endian.

    entry                                          answer
    u8   version, 1                                u8   version, 1
    u64  session; 0 opens one                      u8   outcome
    u64  number, from 1                            ...  result
    u64  acknowledged_to
    ...  body

    body                                           result
    u8   version, 1                                u8   version, 1
    ...  msgpack [command, bytes or nil]           ...  msgpack of a result or an error (`wire`)

The bytes are those of the command's `blob`, when they ride with it; nil leaves them to the nodes
that staged them. An entry without any data opens a leader's term and changes nothing. A command
that is refused has an error for a result: the entry was applied all the same.

A blob id is named by one command of one session. Whoever must send a command under a new session,
since the outcome under the old one is unknown, stages the bytes anew: replicas do not keep a list
of all blobs, and could not tell the second command from the first.
"""

from __future__ import annotations

from enum import IntEnum
from struct import Struct as Packed

import msgspec
from msgspec import Raw, Struct

from rs3gwd.base.codec import decode_command, encode_command
from rs3gwd.base.commands import AnyCommand, CommandResult
from rs3gwd.base.errors import FormatError, Rs3gwError
from rs3gwd.engine.wire import (
    WireError,
    WireResult,
    decode_result,
    encode_result,
    pack_error,
    unpack_error,
)

_VERSION = 1
_ENVELOPE = Packed(">BQQQ")
_ANSWER = Packed(">BB")
_SESSION = Packed(">Q")

RIDING_BYTES_MAX = 64 << 10
"""Bytes of a body that may ride in an entry: written once to the log and once to a segment of each
node, which up to here costs less than one more round trip with syncs of its own."""


class Outcome(IntEnum):
    """What became of a command; the numbers are those of `cluster.raft.sessions`."""

    APPLIED = 0
    REPEATED = 1
    FORGOTTEN = 2
    NO_SESSION = 3
    TOO_MANY = 4


class Envelope(Struct, frozen=True):
    """An entry's data without its body."""

    session: int
    number: int
    acknowledged_to: int
    body: bytes


class EntryBody(Struct, array_like=True, frozen=True):
    """A command, as `base.codec` writes it, and the bytes that ride with it."""

    command: Raw
    data: bytes | None = None


_encoder = msgspec.msgpack.Encoder()
_body_decoder = msgspec.msgpack.Decoder(EntryBody)
_result_decoder: msgspec.msgpack.Decoder[WireResult | WireError] = msgspec.msgpack.Decoder(
    WireResult | WireError
)


def decode_envelope(data: bytes) -> Envelope:
    """Raises FormatError."""
    if len(data) < _ENVELOPE.size or data[0] != _VERSION:
        raise FormatError("an entry is of no version known here")
    _, session, number, acknowledged_to = _ENVELOPE.unpack_from(data)
    return Envelope(session, number, acknowledged_to, data[_ENVELOPE.size :])


def encode_body(command: AnyCommand, data: bytes | None = None) -> bytes:
    """The body of an entry; `data` are the bytes of the command's `blob`, if they ride along."""
    return bytes([_VERSION]) + _encoder.encode(EntryBody(Raw(encode_command(command)), data))


def decode_body(body: bytes) -> tuple[AnyCommand, bytes | None]:
    """The command and the bytes that ride with it. Raises FormatError."""
    if not body or body[0] != _VERSION:
        raise FormatError("the body of an entry is of no version known here")
    try:
        entry = _body_decoder.decode(memoryview(body)[1:])
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise FormatError(f"the body of an entry: {error}") from error
    return decode_command(bytes(entry.command)), entry.data


def encode_answer(outcome: Outcome, result: bytes = b"") -> bytes:
    """What the state machine gives for an entry."""
    return _ANSWER.pack(_VERSION, outcome) + result


def encode_opened(index: int) -> bytes:
    """The answer to the entry at `index` that opened a session, which is named by it."""
    return encode_answer(Outcome.APPLIED, _SESSION.pack(index))


def pack_result(result: CommandResult | Rs3gwError) -> bytes:
    """A command's result, or why it was refused."""
    packed = pack_error(result) if isinstance(result, Rs3gwError) else encode_result(result)
    return bytes([_VERSION]) + _encoder.encode(packed)


def unpack_result(data: bytes) -> CommandResult:
    """A command's result; raises the error where it was refused, and FormatError."""
    if not data or data[0] != _VERSION:
        raise FormatError("a result is of no version known here")
    try:
        packed = _result_decoder.decode(memoryview(data)[1:])
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise FormatError(f"a result: {error}") from error
    if isinstance(packed, WireError):
        raise unpack_error(packed)
    return decode_result(packed)
