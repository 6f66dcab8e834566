"""An engine in a thread of its own, for tests that are not async: Hypothesis calls plain functions.

The engine's tasks live in one `trio.run` from opening to closing; the test hands coroutines over
and waits for them. A call costs about 0.2 ms, an opening of the engine several.
"""

from __future__ import annotations

import queue
import threading
from collections.abc import Awaitable, Callable
from typing import TypeVar

import trio

from rs3gwd.engine.engine import EngineSettings
from rs3gwd.testing.open_local import TEST_SETTINGS, LocalNode, open_local

T = TypeVar("T")

ANSWER_SECONDS_MAX = 60.0
"""The engine opens and closes in milliseconds; a hanging one fails the test after this."""


class StoreThread:
    """Opens the engine over `path`; `node` is the open one. `close` it at the end."""

    def __init__(self, path: str, *, settings: EngineSettings = TEST_SETTINGS) -> None:
        self._path = path
        self._settings = settings
        self._answers: queue.Queue[LocalNode | BaseException | None] = queue.Queue()
        self._token: trio.lowlevel.TrioToken | None = None
        self._cycle = trio.Event()
        self._stopping = False
        self._thread = threading.Thread(target=self._main, daemon=True)
        self._thread.start()
        self.node = self._next()

    def run(self, function: Callable[..., Awaitable[T]], *arguments: object) -> T:
        """Runs an async function beside the engine and gives its result."""
        return trio.from_thread.run(function, *arguments, trio_token=self._token)

    def restart(self) -> None:
        """Closes the engine and opens it again over what it left."""
        trio.from_thread.run_sync(self._cycle.set, trio_token=self._token)
        self.node = self._next()

    def close(self) -> None:
        """Closes the engine and ends the thread."""
        self._stopping = True
        trio.from_thread.run_sync(self._cycle.set, trio_token=self._token)
        self._thread.join(ANSWER_SECONDS_MAX)
        assert not self._thread.is_alive(), "the engine does not close"

    def _next(self) -> LocalNode:
        answer = self._answers.get(timeout=ANSWER_SECONDS_MAX)
        if isinstance(answer, BaseException):
            raise answer
        assert answer is not None
        return answer

    def _main(self) -> None:
        try:
            trio.run(self._serve)
        except BaseException as error:  # noqa: BLE001  # carried to the test's thread
            self._answers.put(error)

    async def _serve(self) -> None:
        self._token = trio.lowlevel.current_trio_token()
        while not self._stopping:
            self._cycle = trio.Event()
            async with open_local(self._path, settings=self._settings) as node:
                self._answers.put(node)
                await self._cycle.wait()
