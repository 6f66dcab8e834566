"""One body to one other node, while it comes in.

What it is not: it decides nothing about the whole write; it tells its `LaneWatcher` what became of
the node, and is told how long it may take (`rs3gwd.node.blob_fanout`).

Memory: at most WINDOW_BYTES that the node has not taken; all lanes of a body hold the same bytes.
"""

from __future__ import annotations

from collections import deque
from typing import Protocol

import trio

from cluster.base.errors import ClusterError
from cluster.base.ports import Peers, PeerStream
from rs3gwd.base.errors import Overloaded
from rs3gwd.engine.group_blobs import StagedOwner
from rs3gwd.node.blob_frames import (
    KEPT,
    LENGTH,
    PUT_METHOD,
    PUT_TAIL,
    FrameStream,
    PutHead,
    encode,
)

WINDOW_BYTES = 4 << 20
RUN_BYTES_MAX = 1 << 20
"""What is sent in one frame at most, if it came in pieces."""


class LaneWatcher(Protocol):
    """Whoever decides about the write. Called on the event loop; must not raise."""

    def on_lane_opened(self, node: int) -> None: ...

    def on_lane_done(self, node: int, failure: Exception | None) -> None: ...

    def on_lane_slow(self, node: int) -> bool:
        """Whether a node that takes no bytes is left behind."""
        ...


class ReplicaLane:
    """One body to one other node. It never raises: `failure` says why the node does not have it."""

    def __init__(
        self, peers: Peers, to: int, head: PutHead, watcher: LaneWatcher, *, idle_s: float
    ) -> None:
        self.to = to
        self.failure: Exception | None = None
        self._peers = peers
        self._head = head
        self._watcher = watcher
        self._idle_s = idle_s
        self._scope = trio.CancelScope()
        self._queue: deque[bytes] = deque()
        self._held_bytes = 0
        self._tail: bytes | None = None
        self._owner: bytes | None = None
        self._work = trio.Event()
        self._room = trio.Event()
        self._is_done = False

    async def write(self, data: bytes, *, stall_s: float) -> None:
        """Takes bytes; waits while the node is too far behind, as long as it is needed."""
        if self._is_done:
            return
        self._queue.append(data)
        self._held_bytes += len(data)
        self._work.set()
        stalls_max = max(1, int(self._idle_s / stall_s))
        for stalls in range(stalls_max):
            if await self._wait_room(stall_s):
                return
            if self._watcher.on_lane_slow(self.to) or stalls + 1 == stalls_max:
                self.give_up(Overloaded(f"node {self.to} takes nothing"))
                return

    async def _wait_room(self, stall_s: float) -> bool:
        """Until there is room, or the lane is done; False when nothing moves for a while."""
        with trio.move_on_after(stall_s) as patience:
            while self._held_bytes > WINDOW_BYTES and not self._is_done:
                self._room = trio.Event()
                await self._room.wait()
                patience.deadline = trio.current_time() + stall_s
        return not patience.cancelled_caught

    def end(self, *, size_bytes: int, check: int) -> None:
        """No more bytes will come."""
        self._tail = LENGTH.pack(0) + PUT_TAIL.pack(size_bytes, check)
        self._work.set()

    def keep(self, owner: StagedOwner) -> None:
        """The node is to keep the body for this command, and to say so."""
        if self._owner is None:
            encoded = encode(owner)
            self._owner = LENGTH.pack(len(encoded)) + encoded
            self._work.set()

    def set_deadline(self, deadline_s: float) -> None:
        """When the node has failed unless it has kept the body."""
        self._scope.deadline = deadline_s

    def leave(self) -> None:
        """Nobody needs the body: unless the node was told to keep it, it is to forget it."""
        if self._owner is None:
            self._scope.cancel()

    def give_up(self, reason: Exception) -> None:
        """The node is not waited for any more."""
        self.failure = self.failure or reason
        self._scope.cancel()

    async def run(self) -> None:
        """Sends until the node has kept the body; a task of its own."""
        is_kept = False
        try:
            with self._scope:
                header = encode(self._head)
                async with self._peers.open(self.to, PUT_METHOD, header) as stream:
                    self._watcher.on_lane_opened(self.to)
                    await self._send(stream)
                    answers = FrameStream(stream, idle_s=self._idle_s)
                    is_kept = await answers.exactly(len(KEPT)) == KEPT
        except ClusterError as error:
            self.failure = error
        finally:
            if is_kept:
                self.failure = None
            elif self.failure is None:
                self.failure = Overloaded(f"node {self.to} did not answer in time")
            self._is_done = True
            self._queue.clear()
            self._room.set()
            self._watcher.on_lane_done(self.to, self.failure)

    async def _send(self, stream: PeerStream) -> None:
        while True:
            while self._queue:
                run = self._take_run()
                size_bytes = sum(map(len, run))
                await stream.send(b"".join((LENGTH.pack(size_bytes), *run)))
                self._held_bytes -= size_bytes
                self._room.set()
            if self._tail is not None:
                tail, self._tail = self._tail, None
                await stream.send(tail)
            if self._owner is not None:
                await stream.send(self._owner)
                await stream.end()
                return
            self._work = trio.Event()
            await self._work.wait()

    def _take_run(self) -> list[bytes]:
        """What goes into the next frame: one piece, or several small ones."""
        run = [self._queue.popleft()]
        size = len(run[0])
        while self._queue and size + len(self._queue[0]) <= RUN_BYTES_MAX:
            run.append(self._queue.popleft())
            size += len(run[-1])
        return run
