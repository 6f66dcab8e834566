"""What a worker and the core say to each other.

What it is not: it sends nothing (`channel`) and does nothing (`core_service`, `worker_engine`).

Every message is a tagged msgpack array, one to a frame; fields are only appended, with a default.
Core and workers are one release, started by one daemon, so there is one protocol version and no
negotiation: `Hello` says it first, and another one ends the channel.

    worker -> core                                core -> worker
    Hello                                         Welcome
    Submit(batch)                                 Results(batch)
    TakeLane(request)                             LaneGranted, LaneRefused (request)
    LeaveLane, FileLane
                                                  Retire
    Released                                      Forget
    DiskBroken, EventSeen

Commands and results are encoded one by one and put into their message as they are, so that a queue
knows its bytes and whoever waits for a result decodes it. A body is copied once, into the message.
"""

from __future__ import annotations

from typing import Any, get_args

import msgspec
from msgspec import Raw, Struct

from rs3gwd.base import errors
from rs3gwd.base.commands import CommandResult
from rs3gwd.base.errors import FormatError, Rs3gwError
from rs3gwd.base.records import Durability
from rs3gwd.engine.blobs import Extent
from rs3gwd.engine.frames import PREFIX_BYTES, seal_frame

PROTOCOL_VERSION = 1

_UNDECODABLE = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)
"""What msgspec raises for bytes that are not the message wanted: the second for tags and texts that
are not UTF-8, the third for values nested too deep."""


class WireError(Struct, tag=True, array_like=True, frozen=True):
    """An error of `rs3gwd.base.errors`: its class, its arguments, its fields."""

    name: str
    args: list[Any]
    fields: dict[str, Any]


class WireBody(Struct, array_like=True, frozen=True):
    """A small body that travels with its command; what vouches for it as in `SmallBody`."""

    checksum: int
    table: bytes
    data: memoryview


class WireEntry(Struct, array_like=True, frozen=True):
    """A command and the body that its `blob` names: in `body`, or written in `extents`, or none.

    `command` is what `base.codec.encode_command` makes. `synced` says that the extents are on
    stable storage.
    """

    command: Raw
    durability: Durability | None = None
    body: WireBody | None = None
    extents: list[Extent] = []
    synced: bool = False


class WireResult(Struct, tag=True, array_like=True, frozen=True):
    """A result of a command and the name of its type, one of CommandResult."""

    kind: str
    value: Raw


class Message(Struct, tag=True, array_like=True, frozen=True):
    """The base of all messages; the tag on the wire is the class name."""


class Hello(Message, frozen=True):
    """The first message of a worker."""

    version: int


class Welcome(Message, frozen=True):
    """The core's answer: from now on it tells this worker of every segment that is going."""

    version: int


class Submit(Message, frozen=True):
    """A batch to be committed together."""

    batch: int
    entries: list[WireEntry]


class Results(Message, frozen=True):
    """What became of a batch, entry by entry in its order."""

    batch: int
    outcomes: list[WireResult | WireError]


class TakeLane(Message, frozen=True):
    """Asks for a lane with `room_bytes`; `is_first` for a body that has none yet."""

    request: int
    room_bytes: int
    is_first: bool


class LaneGranted(Message, frozen=True):
    """A lane is the worker's, to be written from `position` on."""

    request: int
    segment_id: int
    position: int
    allocated_end: int


class LaneRefused(Message, frozen=True):
    """There is no lane to be had."""

    request: int
    error: WireError


class LeaveLane(Message, frozen=True):
    """A body is done with the lanes it took; see `LanePool.leave`."""


class FileLane(Message, frozen=True):
    """The worker writes to this lane no more. `allocated_end` as the worker has left it."""

    segment_id: int
    allocated_end: int


class Retire(Message, frozen=True):
    """A segment was dropped: begin no reading of it, and say when the last one has ended."""

    segment_id: int


class Released(Message, frozen=True):
    """Nobody in this worker reads a retired segment any more."""

    segment_id: int


class Forget(Message, frozen=True):
    """A retired segment's file and row are gone."""

    segment_id: int


class DiskBroken(Message, frozen=True):
    """A write or sync of this worker failed: the disk takes no more writes."""

    reason: str


class EventSeen(Message, frozen=True):
    """An event of the worker's engine; the fields are those of EngineEvent."""

    kind: str
    detail: str
    segment_id: int | None


FromWorker = Hello | Submit | TakeLane | LeaveLane | FileLane | Released | DiskBroken | EventSeen
FromCore = Welcome | Results | LaneGranted | LaneRefused | Retire | Forget

_encoder = msgspec.msgpack.Encoder()
_from_worker: msgspec.msgpack.Decoder[FromWorker] = msgspec.msgpack.Decoder(FromWorker)
_from_core: msgspec.msgpack.Decoder[FromCore] = msgspec.msgpack.Decoder(FromCore)
_result_decoders: dict[str, msgspec.msgpack.Decoder[Any]] = {
    kind.__name__: msgspec.msgpack.Decoder(kind) for kind in get_args(CommandResult)
}


def encode_message(message: Message) -> bytearray:
    """A message as a whole frame. Raises FormatError when it is too long for one."""
    buffer = bytearray(PREFIX_BYTES)
    _encoder.encode_into(message, buffer, PREFIX_BYTES)
    seal_frame(buffer)
    return buffer


def encode_result(result: CommandResult) -> WireResult:
    """A result, to be put into a `Results`."""
    kind = type(result).__name__
    assert kind in _result_decoders, f"{kind} is not in CommandResult"
    return WireResult(kind, Raw(_encoder.encode(result)))


def decode_from_worker(frame: memoryview) -> FromWorker:
    """A message to the core. Raises FormatError."""
    try:
        return _from_worker.decode(frame)
    except _UNDECODABLE as error:
        raise FormatError(f"a worker's message: {error}") from error


def decode_from_core(frame: memoryview) -> FromCore:
    """A message to a worker. Raises FormatError."""
    try:
        return _from_core.decode(frame)
    except _UNDECODABLE as error:
        raise FormatError(f"the core's message: {error}") from error


def decode_result(wire: WireResult) -> CommandResult:
    """The result of a command. Raises FormatError."""
    try:
        result: CommandResult = _result_decoders[wire.kind].decode(wire.value)
    except (KeyError, *_UNDECODABLE) as error:
        raise FormatError(f"a result of type {wire.kind}: {error}") from error
    return result


def pack_error(error: Rs3gwError) -> WireError:
    """An error to be sent; its cause stays here."""
    return WireError(type(error).__name__, list(error.args), dict(vars(error)))


def unpack_error(wire: WireError) -> Rs3gwError:
    """The error as it was raised; of the root class when its own is not of `base.errors`."""
    kind = getattr(errors, wire.name, None)
    if not (isinstance(kind, type) and issubclass(kind, Rs3gwError)):
        return Rs3gwError(f"{wire.name}: {', '.join(map(str, wire.args))}")
    error = kind.__new__(kind, *wire.args)
    for name, value in wire.fields.items():
        setattr(error, name, _as_it_was(value))
    return error


def _as_it_was(value: Any) -> Any:
    """msgpack has one kind of sequence: what was a list of pairs comes as a list of lists."""
    if isinstance(value, list):
        return [tuple(item) if isinstance(item, list) else item for item in value]
    return value
