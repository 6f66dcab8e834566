"""Three nodes in a thread of their own, for tests that are not async; as `StoreThread` is for one.

It runs in real time, since a clock that jumps would run away while the test thinks; elections and
heartbeats are twenty times as fast as in a real cluster.
"""

from __future__ import annotations

import queue
import threading
from collections.abc import Awaitable, Callable
from typing import TypeVar

import msgspec
import trio

from cluster.drivers.groups_settings import GroupSettings
from rs3gwd.testing.cluster_world import SETTINGS, ClusterWorld, WorldNode, cluster_world
from rs3gwd.testing.store_thread import ANSWER_SECONDS_MAX

T = TypeVar("T")

FAST = msgspec.structs.replace(
    SETTINGS,
    host=GroupSettings(
        tick_s=0.005,
        lease_s=0.05,
        retry_s=0.1,
        read_pause_s=0.002,
        refused_pause_s=0.002,
        proposal_bytes_max=4 << 20,
    ),
)


class ClusterThread:
    """Opens a cluster over `path`. `close` it at the end."""

    def __init__(self, path: str) -> None:
        self._path = path
        self._answers: queue.Queue[ClusterWorld | BaseException] = queue.Queue()
        self._token: trio.lowlevel.TrioToken | None = None
        self._end = trio.Event()
        self._turn = 0
        self._thread = threading.Thread(target=self._main, daemon=True)
        self._thread.start()
        answer = self._answers.get(timeout=ANSWER_SECONDS_MAX)
        if isinstance(answer, BaseException):
            raise answer
        self.world = answer

    @property
    def node(self) -> WorldNode:
        """The nodes, one after the other."""
        self._turn += 1
        return self.world.nodes[1 + self._turn % len(self.world.nodes)]

    def run(self, function: Callable[..., Awaitable[T]], *arguments: object) -> T:
        """Runs an async function beside the nodes and gives its result.

        When a node has ended by an error that is raised.
        """
        try:
            return trio.from_thread.run(function, *arguments, trio_token=self._token)
        except (trio.Cancelled, trio.RunFinishedError) as ended:
            self._thread.join(ANSWER_SECONDS_MAX)
            failure = self._answers.get_nowait()
            assert isinstance(failure, BaseException)
            raise failure from ended

    def restart(self) -> None:
        """One of the nodes falls and comes back."""
        self.run(self._restart, self.node)

    async def _restart(self, node: WorldNode) -> None:
        await node.fall()
        await self.world.restart(node.number)

    def close(self) -> None:
        """Ends the nodes and the thread."""
        trio.from_thread.run_sync(self._end.set, trio_token=self._token)
        self._thread.join(ANSWER_SECONDS_MAX)
        assert not self._thread.is_alive(), "the cluster does not end"

    def _main(self) -> None:
        try:
            trio.run(self._serve)
        except BaseException as error:  # noqa: BLE001  # carried to the test's thread
            self._answers.put(error)

    async def _serve(self) -> None:
        self._token = trio.lowlevel.current_trio_token()
        async with cluster_world(self._path, settings=FAST, delay_s=(0.0, 0.0001)) as world:
            self._answers.put(world)
            await self._end.wait()
