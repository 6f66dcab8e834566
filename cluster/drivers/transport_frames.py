"""The frames that nodes exchange: bytes in, frames out. No socket, no time.

What it is not: it knows nothing of calls or streams, which `transport_link` makes of frames.
Every frame has a head of 20 bytes, in network order, and a body:

    offset  bytes  field
         0      1  version of the frame: 1
         1      1  kind
         2      2  flags, by kind
         4      4  length of the body, at most BODY_BYTES_MAX
         8      8  the call or stream it is about; 0 for the connection
        16      4  CRC-32 of the head's first 16 bytes and the body
        20      -  body

    kind         body
    HELLO     1  msgpack [version_min, version_max, cluster, from, to, token, lane,
                 stream window, connection window]; the answer names one version twice
    REFUSE    2  msgpack [code, text]: the connection is not wanted, and closes
    MESSAGE   3  1 byte length of the channel's name, name, payload
    CALL      4  4 bytes milliseconds left, 1 byte length of the method's name, name, payload
    REPLY     5  payload; with ERROR or NOT_RUN set, msgpack [code, text]
    CANCEL    6  empty: the caller of a call no longer waits
    OPEN      7  1 byte length of the method's name, name, header
    DATA      8  bytes of a stream; END set: the last of this side
    WINDOW    9  4 bytes: how many more bytes of DATA may come (0: on the connection)
    RESET    10  msgpack [code, text]: the stream is broken off
    PING     11  empty
    PONG     12  empty
    GOAWAY   13  empty: nothing new is taken on this connection

TLS has checked the bytes already; the CRC is there for bugs of ours. HELLO and REFUSE of version 1
are fixed for ever, the others change only with a version that both sides named. Reading: the head
is judged before its body is waited for, so that nobody can make us wait for 4 GiB. Any damage
costs the connection, never the process.
"""

from enum import IntEnum
from typing import Final, NamedTuple

import msgspec
from isal.isal_zlib import crc32

from cluster.base.errors import BadFrame
from cluster.base.ids import NodeId
from cluster.base.ports import Buffer, T

VERSION: Final = 1
"""The only version of frames there is yet."""

HEAD_BYTES: Final = 20
BODY_BYTES_MAX: Final = 16 * 1024 * 1024
"""Bound on a body: a message or call of 16 MiB less its name. Bulk goes in DATA, far smaller."""

ERROR: Final = 1
"""Flag of REPLY: the handler failed."""

NOT_RUN: Final = 2
"""Flag of REPLY: the call was surely not run."""

END: Final = 1
"""Flag of DATA: this side sends no more."""

_NAME_BYTES_MAX: Final = 255
_TEXT_CHARACTERS_MAX: Final = 1000
"""An error's text is for people; longer ones are cut."""

_FLAGS_KNOWN: Final = 3


class Kind(IntEnum):
    """What a frame is."""

    HELLO = 1
    REFUSE = 2
    MESSAGE = 3
    CALL = 4
    REPLY = 5
    CANCEL = 6
    OPEN = 7
    DATA = 8
    WINDOW = 9
    RESET = 10
    PING = 11
    PONG = 12
    GOAWAY = 13


_KINDS: Final = {int(kind): kind for kind in Kind}


class Frame(NamedTuple):
    """One frame; `number` is the call or stream."""

    kind: Kind
    flags: int
    number: int
    body: bytes


class Hello(msgspec.Struct, array_like=True, frozen=True):
    """Who speaks, whom it wants, and what it can. `lane` is what the connection is for."""

    version_min: int
    version_max: int
    cluster: str
    node: NodeId
    to: NodeId
    token: bytes
    lane: int
    stream_window: int
    connection_window: int


class Failure(msgspec.Struct, array_like=True, frozen=True):
    """An error on its way: the stable code and a text for people."""

    code: str
    text: str


def encode(kind: Kind, number: int, *parts: Buffer, flags: int = 0) -> bytes:
    """One frame as bytes; the body is the parts in order. Raises ValueError over the bound."""
    length = sum(map(len, parts))
    if length > BODY_BYTES_MAX:
        raise ValueError(f"a body of {length} bytes is over {BODY_BYTES_MAX}")
    head = b"".join(
        (
            bytes((VERSION, kind)),
            flags.to_bytes(2),
            length.to_bytes(4),
            number.to_bytes(8),
        )
    )
    crc = crc32(head)
    for part in parts:
        crc = crc32(part, crc)
    return b"".join((head, crc.to_bytes(4), *parts))


def encode_hello(hello: Hello) -> bytes:
    """The first frame of either side."""
    return encode(Kind.HELLO, 0, msgspec.msgpack.encode(hello))


def encode_failure(kind: Kind, number: int, code: str, text: str, *, flags: int = 0) -> bytes:
    """A REFUSE, RESET or failed REPLY."""
    failure = Failure(code, text[:_TEXT_CHARACTERS_MAX])
    return encode(kind, number, msgspec.msgpack.encode(failure), flags=flags)


def encode_message(channel: str, payload: bytes) -> bytes:
    """A message that nobody answers."""
    return encode(Kind.MESSAGE, 0, _name(channel), payload)


def encode_call(number: int, method: str, payload: bytes, *, left_ms: int) -> bytes:
    """A call; its answer is of no use when `left_ms` milliseconds have gone."""
    left = min(left_ms, 0xFFFFFFFF).to_bytes(4)
    return encode(Kind.CALL, number, left, _name(method), payload)


def encode_reply(number: int, payload: bytes) -> bytes:
    """The answer to a call; one that no frame can hold is the handler's failure."""
    if len(payload) > BODY_BYTES_MAX:
        text = f"an answer of {len(payload)} bytes is over {BODY_BYTES_MAX}"
        return encode_failure(Kind.REPLY, number, "reply_too_large", text, flags=ERROR)
    return encode(Kind.REPLY, number, payload)


def encode_open(number: int, method: str, header: bytes) -> bytes:
    """The beginning of a stream."""
    return encode(Kind.OPEN, number, _name(method), header)


def encode_window(number: int, count: int) -> bytes:
    """Leave for `count` more bytes."""
    return encode(Kind.WINDOW, number, count.to_bytes(4))


def decode_hello(frame: Frame) -> Hello:
    """What a HELLO says. Raises BadFrame for anything else."""
    if frame.kind is not Kind.HELLO:
        raise BadFrame(f"a connection begins with a hello, not with {frame.kind.name}")
    return _decode(frame.body, Hello)


def decode_failure(frame: Frame) -> Failure:
    """What went wrong there. Raises BadFrame."""
    return _decode(frame.body, Failure)


def decode_named(body: bytes, start: int = 0) -> tuple[str, bytes]:
    """A name and what follows it, from `start` on. Raises BadFrame."""
    if len(body) <= start or len(body) < start + 1 + body[start]:
        raise BadFrame("a name is cut off")
    end = start + 1 + body[start]
    try:
        return body[start + 1 : end].decode("ascii"), body[end:]
    except UnicodeDecodeError as error:
        raise BadFrame("a name is not ASCII") from error


def decode_call(body: bytes) -> tuple[int, str, bytes]:
    """Milliseconds left, method and payload of a CALL. Raises BadFrame."""
    name, payload = decode_named(body, 4)
    return int.from_bytes(body[:4]), name, payload


def decode_window(body: bytes) -> int:
    """The bytes allowed by a WINDOW. Raises BadFrame."""
    if len(body) != 4:
        raise BadFrame("a window is four bytes")
    return int.from_bytes(body)


class FrameReader:
    """Cuts a byte stream into frames. Holds at most one body and what came behind it."""

    def __init__(self, *, body_bytes_max: int = BODY_BYTES_MAX) -> None:
        self._max = body_bytes_max
        self._buffer = bytearray()

    @property
    def held(self) -> int:
        """Bytes of a frame that is not whole yet."""
        return len(self._buffer)

    def widen(self) -> None:
        """From here on a body may be as long as any: the peer has shown who it is."""
        self._max = BODY_BYTES_MAX

    def feed(self, data: Buffer) -> list[Frame]:
        """The frames that are whole now. Raises BadFrame; the connection is then worthless."""
        self._buffer += data
        frames: list[Frame] = []
        position = 0
        with memoryview(self._buffer) as view:
            while len(view) - position >= HEAD_BYTES:
                end = position + HEAD_BYTES + self._check_head(view, position)
                if end > len(view):
                    break
                frames.append(_cut(view, position, end))
                position = end
        del self._buffer[:position]
        return frames

    def _check_head(self, view: memoryview, position: int) -> int:
        """The length of the body, of a head that makes sense."""
        if view[position] != VERSION:
            raise BadFrame(f"frames of version {view[position]} are not known here")
        if view[position + 1] not in _KINDS:
            raise BadFrame(f"frames of kind {view[position + 1]} are not known here")
        if int.from_bytes(view[position + 2 : position + 4]) > _FLAGS_KNOWN:
            raise BadFrame("a flag that is not known here")
        length = int.from_bytes(view[position + 4 : position + 8])
        if length > self._max:
            raise BadFrame(f"a body of {length} bytes is over {self._max}")
        return length


def _cut(view: memoryview, start: int, end: int) -> Frame:
    head = view[start : start + 16]
    body = bytes(view[start + HEAD_BYTES : end])
    if crc32(body, crc32(head)) != int.from_bytes(view[start + 16 : start + HEAD_BYTES]):
        raise BadFrame("the checksum of a frame does not fit")
    flags = int.from_bytes(head[2:4])
    return Frame(_KINDS[head[1]], flags, int.from_bytes(head[8:16]), body)


def _name(name: str) -> bytes:
    data = name.encode("ascii")
    if len(data) > _NAME_BYTES_MAX:
        raise ValueError(f"the name {name!r} is over {_NAME_BYTES_MAX} bytes")
    return bytes((len(data),)) + data


def _decode(body: bytes, kind: type[T]) -> T:
    try:
        return msgspec.msgpack.decode(body, type=kind)
    except msgspec.DecodeError as error:
        raise BadFrame(f"a {kind.__name__} that cannot be read: {error}") from error
