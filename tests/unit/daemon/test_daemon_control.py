"""What core and worker say to each other arrives whole, in order, or not at all."""

import os
import socket
from collections.abc import Iterator

import msgspec
import pytest
import trio

from rs3gwd.base.errors import FormatError
from rs3gwd.config import Config
from rs3gwd.daemon.control import (
    VERSION,
    AskFigures,
    Beat,
    Begin,
    Control,
    Drain,
    Figures,
    FromCore,
    FromWorker,
    Ready,
    Report,
    Scraped,
    Stopped,
    receive_begin,
    send_begin,
)
from rs3gwd.engine.frames import FRAME_BYTES_MAX
from rs3gwd.gateway.front import Statistics
from rs3gwd.observe.metrics import Metrics

REPORT = Report(
    Statistics(*([1] * 3), False, *([2] * 8)),
    Metrics(is_first=False).families(),
)


@pytest.fixture
def pair() -> Iterator[tuple[socket.socket, socket.socket]]:
    """The ends of core and worker."""
    core, worker = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
    yield core, worker
    core.close()
    worker.close()


def begin(**changes: object) -> Begin:
    """A charge."""
    usual = Begin(
        version=VERSION,
        number=7,
        place=1,
        count=2,
        config=Config(secret_key="not-to-be-seen", bind_addr=("[::1]:0", ":9000")),
        host_id="h",
        metrics_token=None,
        secrets=("s",),
        secure=(False, True),
    )
    return msgspec.structs.replace(usual, **changes)


def test_the_charge_comes_with_its_descriptors(pair: tuple[socket.socket, socket.socket]) -> None:
    """What the core sent is what the worker gets, and the descriptors mean the same files."""
    reading, writing = os.pipe()
    send_begin(pair[0], begin(), [writing])
    received = receive_begin(pair[1])
    assert received is not None
    assert received[0] == begin()
    (inherited,) = received[1]
    assert inherited != writing
    os.write(inherited, b"x")
    assert os.read(reading, 1) == b"x"
    assert not os.get_inheritable(inherited)
    for descriptor in (reading, writing, inherited):
        os.close(descriptor)


def test_a_core_that_goes_before_the_charge_leaves_nothing(
    pair: tuple[socket.socket, socket.socket],
) -> None:
    """The worker learns it, be it at the beginning, in the length or in the message."""
    pair[0].sendall(b"\x00\x00")
    pair[0].close()
    assert receive_begin(pair[1]) is None


@pytest.mark.parametrize(
    "sent", [b"\xff\xff\xff\xff", b"\x00\x00\x00\x03abc", b"\x00\x00\x00\x01\x80"]
)
def test_noise_in_place_of_a_charge_is_refused(
    pair: tuple[socket.socket, socket.socket], sent: bytes
) -> None:
    """A length without bounds or bytes that mean nothing are no charge."""
    pair[0].sendall(sent)
    with pytest.raises(FormatError):
        receive_begin(pair[1])


def test_a_charge_of_another_version_is_refused(
    pair: tuple[socket.socket, socket.socket],
) -> None:
    """A worker of another installation does not guess."""
    send_begin(pair[0], begin(version=VERSION + 1), [])
    with pytest.raises(FormatError, match=f"version {VERSION + 1}"):
        receive_begin(pair[1])


async def test_words_go_both_ways_in_their_order(
    pair: tuple[socket.socket, socket.socket],
) -> None:
    """Each kind of message arrives equal to what was sent, also one longer than the buffers."""
    to_worker: list[FromCore] = [
        AskFigures(3),
        Scraped(4, os.urandom(4 << 20)),
        Drain(30.0, 5.0),
    ]
    to_core: list[FromWorker] = [
        Ready(),
        Beat(None),
        Beat(REPORT),
        Figures(3, REPORT),
        Stopped(2, REPORT),
    ]
    core = Control[FromCore, FromWorker](pair[0], FromWorker)
    worker = Control[FromWorker, FromCore](pair[1], FromCore)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(core.run)
        nursery.start_soon(worker.run)
        for word in to_worker:
            core.send(word)
        for answer in to_core:
            worker.send(answer)
        assert [await worker.receive() for _ in to_worker] == to_worker
        assert [await core.receive() for _ in to_core] == to_core
        worker.close()
        assert await core.receive() is None
        nursery.cancel_scope.cancel()
    core.close()


async def test_a_word_that_is_not_understood_ends_the_talk(
    pair: tuple[socket.socket, socket.socket],
) -> None:
    """What a worker may not say is a broken protocol to the core, and so is a length too long."""
    core = Control[FromCore, FromWorker](pair[0], FromWorker)
    stray = msgspec.msgpack.encode(Drain(1.0, 1.0))
    pair[1].sendall(len(stray).to_bytes(4, "big") + stray)
    with pytest.raises(FormatError, match="not understood"):
        await core.receive()
    pair[1].sendall((FRAME_BYTES_MAX + 1).to_bytes(4, "big"))
    with pytest.raises(FormatError):
        await core.receive()
    core.close()
