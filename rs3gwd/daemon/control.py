"""The words between the core process and a worker, and the socket pair that carries them.

What it is not: no object data and no metadata go this way; those have a channel of their own
(`rs3gwd.engine.wire`). Here the core tells a worker what to be and when to go, and the worker tells
that it lives and what it has counted.

    core -> worker                          worker -> core
    Begin + descriptors   once, first       Ready       once, when it serves
    AskFigures            a scrape          Beat        every BEAT_SECONDS, with new figures
    Scraped               answers AskScrape Figures     answers AskFigures
    Drain                 go                AskScrape   somebody asked this worker for /metrics
                                            Stopped     after the drain, last

Frames and their bounds are those of the engine's channel (`rs3gwd.engine.frames`). The
descriptors of Begin come as SCM_RIGHTS with its first byte (unix(7)), so that nothing secret and
nothing long stands in arguments or environment, and a worker can be started before there is
anything to hand to it. Core and worker are of one installation; `version` guards against a worker
that was started over while the installation was being replaced.

Invariant: the end of the stream means that the other process is dead or has given this one up, for
nobody else has these descriptors.
"""

import array
import os
import socket
from collections import deque
from typing import Any, Generic, TypeVar

import msgspec
from msgspec import Struct

from rs3gwd.base.errors import FormatError
from rs3gwd.config import Config
from rs3gwd.engine.channel import Channel
from rs3gwd.engine.frames import FRAME_BYTES_MAX, PREFIX_BYTES, seal_frame
from rs3gwd.gateway.front import Statistics
from rs3gwd.observe.families import Family

VERSION = 1

DESCRIPTORS_MAX = 250
"""What one message can carry is 253 (SCM_MAX_FD, unix(7))."""

BEAT_SECONDS = 1.0
"""Between two signs of life. A busy worker's also carry the figures, so it is what a worker's
death can cost the counters; they are some 0.5 ms of work, too much for one that is idle."""

Sent = TypeVar("Sent", bound="Word")
Received = TypeVar("Received")


class Word(Struct, frozen=True, tag=True):
    """The base of all messages; the tag on the wire is the class name."""


class Begin(Word, frozen=True):
    """What a worker is to be.

    `number` names this process and is never used again, `place` is where among the workers it
    stands, `count` how many there are. `host_id`, `metrics_token` and the `secrets` to be masked
    in logs are the daemon's. The descriptors that come along: the engine's channel, the engine's
    shared page, the lock of the log, the lock of the store, and the listening sockets, as many as
    `secure` has items, each of which says whether that one speaks TLS.
    """

    version: int
    number: int
    place: int
    count: int
    config: Config
    host_id: str
    metrics_token: str | None
    secrets: tuple[str, ...]
    secure: tuple[bool, ...]


class Report(Struct, frozen=True):
    """What a worker has counted so far: its front, and its metric families."""

    front: Statistics
    families: list[Family]


class Ready(Word, frozen=True):
    """The worker accepts connections."""


class Beat(Word, frozen=True):
    """The worker's event loop turns; with what it has counted, where that is new."""

    report: Report | None


class AskFigures(Word, frozen=True):
    """The figures of this moment are wanted, for scrape number `turn`."""

    turn: int


class Figures(Word, frozen=True):
    """The figures that were asked for."""

    turn: int
    report: Report


class AskScrape(Word, frozen=True):
    """Somebody asked this worker for /metrics; `turn` is the worker's own count."""

    turn: int


class Scraped(Word, frozen=True):
    """The page of metrics that was asked for."""

    turn: int
    page: bytes


class Drain(Word, frozen=True):
    """Take no more connections, close idle ones after `idle_seconds`, let requests end within
    `grace_seconds`, and go."""

    grace_seconds: float
    idle_seconds: float


class Stopped(Word, frozen=True):
    """The drain is over; `connections_cut` had to be cut. The process ends now."""

    connections_cut: int
    report: Report


FromCore = Begin | AskFigures | Scraped | Drain
FromWorker = Ready | Beat | Figures | AskScrape | Stopped


class Control(Generic[Sent, Received]):
    """One end of the pair: sends messages of one direction, receives those of the other.

    `kind` is the type of what is received, FromCore or FromWorker. Belongs to an event loop;
    `run` must be active.
    """

    def __init__(self, pair_end: socket.socket, kind: Any) -> None:
        self._channel = Channel(pair_end)
        self._frames: deque[memoryview] = deque()
        self._decoder: msgspec.msgpack.Decoder[Received] = msgspec.msgpack.Decoder(kind)

    async def run(self) -> None:
        """Sends what the socket did not take at once; until cancelled."""
        await self._channel.run()

    def send(self, word: Sent) -> None:
        """Sends, or queues; does not block. Raises Overloaded when the other side does not read.

        What is sent to a process that is gone is lost; whoever receives learns of it.
        """
        self._channel.send_frame(_frame(word))

    async def receive(self) -> Received | None:
        """The next message, or None when the other process is gone; for one task at a time.

        Raises FormatError when the other side broke the protocol.
        """
        if not self._frames:
            self._frames.extend(await self._channel.receive())
        return _decode(self._decoder, self._frames.popleft()) if self._frames else None

    def close(self) -> None:
        """Closes this end."""
        self._channel.close()


def send_begin(pair_end: socket.socket, begin: Begin, descriptors: list[int]) -> None:
    """Sends the first message with its descriptors, which are copied and stay the caller's.

    A few KiB fit into the empty buffer of a new pair: it does not block. Raises OSError when the
    worker is gone already.
    """
    assert len(descriptors) <= DESCRIPTORS_MAX
    data = _frame(begin)
    rights = (socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", descriptors))
    sent = pair_end.sendmsg([data], [rights])
    pair_end.sendall(data[sent:])


def receive_begin(pair_end: socket.socket) -> tuple[Begin, list[int]] | None:
    """Waits, blocking, for the first message; gives it with its descriptors, which are the
    caller's from now on. None when the core has gone. Raises FormatError.
    """
    head, descriptors, _flags, _address = socket.recv_fds(pair_end, PREFIX_BYTES, DESCRIPTORS_MAX)
    for descriptor in descriptors:
        os.set_inheritable(descriptor, False)
    head += _receive_exactly(pair_end, PREFIX_BYTES - len(head)) if head else b""
    if len(head) < PREFIX_BYTES:
        return None
    length = int.from_bytes(head, "big")
    if length > FRAME_BYTES_MAX:
        raise FormatError(f"a frame of {length} bytes")
    payload = _receive_exactly(pair_end, length)
    if len(payload) < length:
        return None
    begin = _decode(msgspec.msgpack.Decoder(Begin), payload)
    if begin.version != VERSION:
        raise FormatError(f"the core speaks version {begin.version}, this worker {VERSION}")
    return begin, descriptors


def _frame(word: Word) -> bytearray:
    data = bytearray(PREFIX_BYTES)
    msgspec.msgpack.Encoder().encode_into(word, data, PREFIX_BYTES)
    seal_frame(data)
    return data


def _decode(decoder: msgspec.msgpack.Decoder[Received], payload: bytes | memoryview) -> Received:
    try:
        return decoder.decode(payload)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise FormatError(f"a message that is not understood: {error}") from error


def _receive_exactly(pair_end: socket.socket, length: int) -> bytes:
    received = bytearray()
    while len(received) < length and (data := pair_end.recv(length - len(received))):
        received += data
    return bytes(received)
