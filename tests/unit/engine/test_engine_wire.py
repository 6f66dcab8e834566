"""What worker and core say to each other comes out as it went in."""

import inspect
from typing import Any, get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import Raw

from rs3gwd.base import errors
from rs3gwd.base.codec import decode_command, encode_command
from rs3gwd.base.commands import CommandResult, DeleteBucket, DeleteResult, PutObject
from rs3gwd.base.errors import FormatError, Rs3gwError
from rs3gwd.base.records import Attributes, BlobRef, Durability, VersionKind, VersionRecord
from rs3gwd.engine import wire
from rs3gwd.engine.blobs import Extent
from rs3gwd.engine.frames import PREFIX_BYTES

ERRORS = [
    kind for _, kind in inspect.getmembers(errors, inspect.isclass) if issubclass(kind, Rs3gwError)
]

VALUES: dict[str, Any] = {
    "blob_id": b"i" * 16,
    "message": "what went wrong",
    "condition": "If-Match",
    "api_code": "InvalidTag",
    "delete_marker_version_id": "3/L4kqtJlcpXroDTDmJ+rmSpXd3dIbrHY",
    "last_modified_ms": 1_700_000_000_000,
    "number": 7,
    "etag": "d41d8cd98f00b204e9800998ecf8427e",
    "size_bytes": 5,
    "fields": {"ArgumentName": "partNumber"},
    "headers": [("x-amz-delete-marker", "true"), ("retry-after", "1")],
}
"""A value for every parameter that an error takes."""


def example(kind: type[Rs3gwError]) -> Rs3gwError:
    """An error of a class with all its fields filled."""
    parameters = inspect.signature(kind.__init__).parameters.values()
    positional: list[Any] = []
    named: dict[str, Any] = {}
    for parameter in list(parameters)[1:]:
        if parameter.kind is parameter.KEYWORD_ONLY:
            named[parameter.name] = VALUES[parameter.name]
        elif parameter.kind is parameter.POSITIONAL_OR_KEYWORD:
            positional.append(VALUES[parameter.name])
    return kind(*positional, **named) if positional or named else kind(VALUES["message"])


def payload_of(message: wire.Message) -> memoryview:
    """A message as the other side gets it."""
    return memoryview(bytes(wire.encode_message(message)))[PREFIX_BYTES:]


def over_the_wire(error: Rs3gwError) -> Rs3gwError:
    """An error as it comes out of a message."""
    frame = payload_of(wire.LaneRefused(1, wire.pack_error(error)))
    message = wire.decode_from_core(frame)
    assert isinstance(message, wire.LaneRefused)
    return wire.unpack_error(message.error)


@pytest.mark.parametrize("kind", ERRORS, ids=lambda kind: kind.__name__)
def test_every_error_crosses_as_itself(kind: type[Rs3gwError]) -> None:
    """The same class, the same text and the same fields, for every class of the tree."""
    sent = example(kind)
    got = over_the_wire(sent)
    assert type(got) is kind
    assert got.args == sent.args
    assert str(got) == str(sent)
    assert vars(got) == vars(sent)


def test_an_error_without_fields_crosses_too() -> None:
    """Optional fields stay what they are when they are not given."""
    got = over_the_wire(errors.NoSuchKey())
    assert isinstance(got, errors.NoSuchKey)
    assert got.delete_marker_version_id is None


def test_an_error_of_an_unknown_class_is_an_error_of_the_root() -> None:
    """Neither a name of something else nor an unknown one can be made to be called."""
    for name in ("StrEnum", "Fault", "NoSuchThing", "__builtins__"):
        got = wire.unpack_error(wire.WireError(name, ["text"], {}))
        assert type(got) is Rs3gwError
        assert str(got) == f"{name}: text"


def test_every_type_of_result_crosses() -> None:
    """Each type that a command may give has a decoder."""
    version = VersionRecord(VersionKind.OBJECT, "null", 5, 1, 3, "e" * 32, Attributes("a" * 64))
    results: list[CommandResult] = [None, 5, version, DeleteResult("null", delete_marker=True)]
    message = wire.Results(7, [wire.encode_result(result) for result in results])
    got = wire.decode_from_core(payload_of(message))
    assert isinstance(got, wire.Results)
    assert got.batch == 7
    outcomes = [item for item in got.outcomes if isinstance(item, wire.WireResult)]
    assert [wire.decode_result(item) for item in outcomes] == results
    kinds = {kind.__name__ for kind in get_args(CommandResult)}
    assert {item.kind for item in outcomes} <= kinds


def test_a_result_of_an_unknown_type_is_refused() -> None:
    """A core that says what a worker cannot know is broken."""
    result = wire.encode_result(None)
    with pytest.raises(FormatError):
        wire.decode_result(wire.WireResult("Mystery", result.value))
    with pytest.raises(FormatError):
        wire.decode_result(wire.WireResult("VersionRecord", result.value))


@given(data=st.binary(max_size=3000), synced=st.booleans())
def test_an_entry_crosses_with_its_body(data: bytes, synced: bool) -> None:
    """The command, the body and the places come out as they went in."""
    command = PutObject(
        bucket="bucket",
        key=b"\xc3\xa4",
        now_ms=1,
        nonce=bytes(16),
        attributes=Attributes("a" * 64, metadata={"color": "red"}),
        etag="e" * 32,
        size_bytes=len(data),
        blob=BlobRef(b"b" * 16, len(data)),
    )
    entry = wire.WireEntry(
        Raw(encode_command(command)),
        Durability.RELAXED,
        wire.WireBody(17, b"table", memoryview(data)),
        [Extent(1, 64, 5, 9)],
        synced,
    )
    message = wire.decode_from_worker(payload_of(wire.Submit(3, [entry])))
    assert isinstance(message, wire.Submit)
    (got,) = message.entries
    assert decode_command(got.command) == command
    assert got.body is not None
    assert bytes(got.body.data) == data
    assert (got.durability, got.extents, got.synced) == (entry.durability, entry.extents, synced)


@given(frame=st.binary(max_size=200))
def test_noise_is_refused_and_breaks_nothing(frame: bytes) -> None:
    """Whatever is no message raises FormatError and no other error."""
    for decode in (wire.decode_from_core, wire.decode_from_worker):
        try:
            message = decode(memoryview(frame))
        except FormatError:
            continue
        assert isinstance(message, wire.Message)


@given(cut=st.integers(0, 60), flip=st.integers(0, 60))
def test_damaged_messages_are_refused_or_are_messages(cut: int, flip: int) -> None:
    """A cut or changed message raises FormatError or decodes: nothing else happens."""
    entry = wire.WireEntry(Raw(encode_command(DeleteBucket("b"))))
    whole = bytes(payload_of(wire.Submit(3, [entry])))
    damaged = bytearray(whole[: len(whole) - cut % len(whole)])
    damaged[flip % len(damaged)] ^= 0x41
    try:
        message = wire.decode_from_worker(memoryview(bytes(damaged)))
        if isinstance(message, wire.Submit):
            for got in message.entries:
                decode_command(got.command)
    except FormatError:
        return
    assert isinstance(message, wire.Message)
