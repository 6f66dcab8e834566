"""A frontend process without a frontend: a `WorkerEngine` that does what a test asks for.

`python -m rs3gwd.testing.engine_worker DATA SETTINGS CHANNEL SHARED CONTROL`: EngineSettings as
JSON, and three descriptors that it inherits. Over the control socket come pickled jobs, a function
of an importable module and its arguments; each is run as a task and its result or Rs3gwError goes
back; any other exception ends the worker. It trusts its parent.
"""

from __future__ import annotations

import pickle
import socket
import sys
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

import msgspec
import trio

from rs3gwd.base.errors import Rs3gwError
from rs3gwd.engine.engine import EngineSettings
from rs3gwd.engine.frames import FrameSplitter, seal_frame
from rs3gwd.engine.shared_state import SharedState
from rs3gwd.engine.system import FileDisk, SystemClock, SystemRandom, TrioThreads
from rs3gwd.engine.wire import pack_error
from rs3gwd.engine.worker_engine import WorkerEngine
from rs3gwd.node.local import LocalDirectory, LocalStore

RECEIVE_BYTES = 64 << 10


@dataclass
class WorkerNode:
    """What a job gets: the worker's engine behind its ports, and what jobs leave each other."""

    engine: WorkerEngine
    store: LocalStore
    directory: LocalDirectory
    held: dict[bytes, trio.Event] = field(default_factory=dict)
    holding: set[bytes] = field(default_factory=set)


Job = Callable[..., Awaitable[Any]]


class Control:
    """Either end of the control socket: whole pickled values."""

    def __init__(self, stream: socket.socket) -> None:
        self._stream = trio.SocketStream(trio.socket.from_stdlib_socket(stream))
        self._splitter = FrameSplitter()
        self._sending = trio.Lock()

    async def send(self, value: Any) -> None:
        """Sends one value."""
        buffer = bytearray(4) + pickle.dumps(value)
        seal_frame(buffer)
        async with self._sending:
            await self._stream.send_all(buffer)

    async def receive(self) -> list[Any]:
        """The next values, at least one; none at the end."""
        while data := await self._stream.receive_some(RECEIVE_BYTES):
            frames = self._splitter.feed(bytes(data))
            if frames:
                return [pickle.loads(frame) for frame in frames]
        return []

    async def close(self) -> None:
        """Closes this end."""
        await self._stream.aclose()


async def work(
    path: str, settings: EngineSettings, channel: int, shared: int, control: int
) -> None:
    """Opens the engine and does jobs until the control socket or the core is closed."""
    engine = await WorkerEngine.open(
        path,
        channel=socket.socket(fileno=channel),
        shared=SharedState.attach(shared),
        disk=FileDisk(path),
        clock=SystemClock(),
        random=SystemRandom(),
        threads=TrioThreads(),
        settings=settings,
    )
    async with engine, trio.open_nursery() as nursery:
        await nursery.start(engine.run)
        node = WorkerNode(engine, LocalStore(engine), LocalDirectory(engine))
        await _serve(node, Control(socket.socket(fileno=control)))
        nursery.cancel_scope.cancel()


async def _serve(node: WorkerNode, control: Control) -> None:
    await control.send((-1, None, None))
    async with trio.open_nursery() as nursery:
        while jobs := await control.receive():
            for number, function, arguments in jobs:
                nursery.start_soon(_do, node, control, number, function, arguments)
        nursery.cancel_scope.cancel()


async def _do(
    node: WorkerNode, control: Control, number: int, function: Job, arguments: tuple[Any, ...]
) -> None:
    result, error = None, None
    try:
        result = await function(node, *arguments)
    except Rs3gwError as failure:
        error = pack_error(failure)
    await control.send((number, result, error))


if __name__ == "__main__":
    _path, _settings, _channel, _shared, _control = sys.argv[1:]
    trio.run(
        work,
        _path,
        msgspec.json.decode(_settings, type=EngineSettings),
        int(_channel),
        int(_shared),
        int(_control),
    )
