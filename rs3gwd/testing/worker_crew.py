"""A core in this process and workers in processes of their own, for tests of the two together.

LMDB can be opened once in a process, so workers are real ones (`engine_worker`), started, killed
and reaped here as the daemon does it.
"""

from __future__ import annotations

import itertools
import socket
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import msgspec
import trio

from rs3gwd.base.ports import Disk
from rs3gwd.engine.core_service import CoreService
from rs3gwd.engine.engine import EngineSettings
from rs3gwd.engine.wire import unpack_error
from rs3gwd.testing.engine_worker import Control, Job
from rs3gwd.testing.open_local import TEST_SETTINGS, LocalNode, open_local


class WorkerDied(Exception):
    """The worker ended before it answered."""


@dataclass
class _Call:
    done: trio.Event
    result: Any = None
    error: Exception | None = None


class Worker:
    """A worker process; made by `Crew.start`."""

    def __init__(self, number: int, process: trio.Process, control: Control) -> None:
        self.number = number
        self.process = process
        self.ended = trio.Event()
        self._control = control
        self._numbers = itertools.count()
        self._calls: dict[int, _Call] = {}
        self._ready = trio.Event()

    async def call(self, function: Job, *arguments: Any) -> Any:
        """Runs `function(node, *arguments)` in the worker; gives its result or raises its error.

        Raises WorkerDied.
        """
        number = next(self._numbers)
        call = self._calls[number] = _Call(trio.Event())
        if self.ended.is_set():
            raise WorkerDied
        try:
            await self._control.send((number, function, arguments))
        except trio.BrokenResourceError as error:
            raise WorkerDied from error
        await call.done.wait()
        if call.error is not None:
            raise call.error
        return call.result

    def kill(self) -> None:
        """SIGKILL: gone between two instructions."""
        self.process.kill()

    async def wait_ready(self) -> None:
        """Returns once the worker does jobs. Raises WorkerDied."""
        await self._ready.wait()
        if self.ended.is_set():
            raise WorkerDied

    async def stop(self) -> None:
        """Has the worker end in peace, and waits for it."""
        await self._control.close()
        await self.ended.wait()

    async def listen(self) -> None:
        """Takes answers until the worker ends."""
        try:
            while answers := await self._control.receive():
                for number, result, error in answers:
                    if number < 0:
                        self._ready.set()
                        continue
                    call = self._calls.pop(number)
                    call.result, call.error = result, error and unpack_error(error)
                    call.done.set()
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            pass  # killed, or stopped by us: the same as the end of the stream

    def finish(self) -> None:
        """The process is reaped."""
        self.ended.set()
        self._ready.set()
        calls, self._calls = self._calls, {}
        for call in calls.values():
            call.error = WorkerDied()
            call.done.set()


class Crew:
    """A core and its workers."""

    def __init__(self, path: str, node: LocalNode, nursery: trio.Nursery) -> None:
        self.node = node
        self.engine = node.engine
        self.service = CoreService(node.engine)
        self._path = path
        self._nursery = nursery
        self._numbers = itertools.count()

    async def start(self, count: int = 1) -> list[Worker]:
        """Starts so many workers and waits until they are ready."""
        workers = [await self._spawn() for _ in range(count)]
        for worker in workers:
            await worker.wait_ready()
        return workers

    async def _spawn(self) -> Worker:
        number = next(self._numbers)
        ours, theirs = socket.socketpair()
        control, their_control = socket.socketpair()
        descriptors = (theirs.fileno(), self.engine.shared.descriptor, their_control.fileno())
        settings = msgspec.json.encode(self.engine.parts.settings).decode()
        arguments = [sys.executable, "-m", "rs3gwd.testing.engine_worker", self._path, settings]
        process = await trio.lowlevel.open_process(
            [*arguments, *map(str, descriptors)],
            pass_fds=descriptors,
            stdin=subprocess.DEVNULL,
        )
        theirs.close()
        their_control.close()
        worker = Worker(number, process, Control(control))
        self._nursery.start_soon(self.service.serve, number, ours)
        self._nursery.start_soon(self._watch, worker)
        return worker

    async def _watch(self, worker: Worker) -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(worker.listen)
            try:
                await worker.process.wait()
            except trio.Cancelled:
                worker.kill()
                with trio.CancelScope(shield=True):  # bounded: a killed process ends
                    await worker.process.wait()
                raise
            finally:
                self.service.worker_gone(worker.number)
                worker.finish()
            nursery.cancel_scope.cancel()


@asynccontextmanager
async def open_crew(
    path: str, *, settings: EngineSettings = TEST_SETTINGS, disk: Disk | None = None
) -> AsyncIterator[Crew]:
    """A core over the data directory `path`; its workers are killed at the end."""
    async with open_local(path, settings=settings, disk=disk) as node:
        async with trio.open_nursery() as nursery:
            yield Crew(path, node, nursery)
            nursery.cancel_scope.cancel()
        assert node.engine.statistics().lanes_busy == 0, "a lane of a dead worker is missing"
