"""The admin socket without a node: what handlers and systems may do to it."""

import errno
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import trio

from rs3gwd.base.admin import (
    FRAME_BYTES_MAX,
    AdminAnswer,
    AnyAdminRequest,
    NodeStatus,
    decode_answer,
    encode_frame,
)
from rs3gwd.gateway.admin_server import AdminServer


class Handler:
    """Answers with `answer`, or raises `error` where there is one."""

    def __init__(self) -> None:
        self.answer = AdminAnswer()
        self.error: Exception | None = None
        self.failures: list[Exception] = []

    async def handle(self, request: AnyAdminRequest) -> AdminAnswer:
        assert request == NodeStatus()
        if self.error is not None:
            raise self.error
        return self.answer


@asynccontextmanager
async def serving(handler: Handler, path: Path) -> AsyncIterator[None]:
    """The socket at `path`, for as long as the context lasts."""
    server = AdminServer(str(path), handler.handle, on_failure=handler.failures.append)
    async with trio.open_nursery() as nursery:
        await nursery.start(server.serve)
        yield
        nursery.cancel_scope.cancel()


async def ask(path: Path) -> AdminAnswer:
    """What the socket answers to one request on a new connection."""
    stream = await trio.open_unix_socket(str(path))
    received = b""
    async with stream:
        await stream.send_all(encode_frame(NodeStatus()))
        await stream.send_eof()
        async for data in stream:
            received += data
    return decode_answer(received[4:])


async def test_an_answer_of_many_mebibytes_is_sent_whole(tmp_path: Path) -> None:
    """As a listing of twenty thousand accounts has."""
    handler = Handler()
    handler.answer = AdminAnswer(message="m" * (12 << 20))
    async with serving(handler, tmp_path / "s"):
        assert await ask(tmp_path / "s") == handler.answer


@pytest.mark.parametrize("error", [None, KeyError("defect"), OSError(errno.EIO, "disk")])
async def test_a_defect_costs_one_answer_and_is_reported(
    tmp_path: Path, error: Exception | None
) -> None:
    """An exception or an answer beyond every bound (None) leaves the socket serving."""
    handler = Handler()
    handler.error = error
    handler.answer = AdminAnswer(message="m" * (FRAME_BYTES_MAX + 1))
    async with serving(handler, tmp_path / "s"):
        assert (await ask(tmp_path / "s")).error == "InternalError"
        assert len(handler.failures) == 1
        handler.error, handler.answer = None, AdminAnswer(message="well")
        assert (await ask(tmp_path / "s")).message == "well"


async def test_an_accept_that_fails_is_tried_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, autojump_clock: trio.testing.MockClock
) -> None:
    """Want of descriptors (accept(2)) is waited out; a client that died in the queue is skipped."""
    handler = Handler()
    errors = [OSError(errno.EMFILE, "files"), OSError(errno.ECONNABORTED, "gone")]
    kind = type(trio.socket.socket())
    real = kind.accept

    async def failing(listener: object) -> object:
        if errors:
            raise errors.pop(0)
        return await real(listener)  # type: ignore[arg-type]

    monkeypatch.setattr(kind, "accept", failing)
    async with serving(handler, tmp_path / "s"):
        assert await ask(tmp_path / "s") == AdminAnswer()
    assert not errors
