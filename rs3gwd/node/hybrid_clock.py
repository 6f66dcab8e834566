"""The time of a node of a cluster: its own clock, held back where it runs ahead of a quorum's.

A retention ends when the clock says so, and the clock that is asked is that of the node which takes
the request. So one node whose clock was set ahead could end the retentions of the whole cluster.
Here every node asks every other for its time, every few seconds, and notes by how much that is
beside its own monotonic clock. With `q` the size of a majority, the q-th latest of all clocks is
one that a majority has reached; this node's time is never more than `AHEAD_MS_MAX` beyond it.
Between two questions the others' clocks are taken to run on as this machine's monotonic clock does,
so a jump of the own clock is held back at once, and so is a node that is cut off.

A clock that is behind is left as it is: it lengthens retentions and ends none. Before a majority
has answered the own clock counts; the daemon serves nobody until then.

What it is not: it orders nothing (the groups do), and measures no error below the bound. Source:
the bound on uncertainty of Spanner (section 3) and of hybrid logical clocks (Kulkarni et al. 2014).
"""

from __future__ import annotations

from collections.abc import Callable

import structlog
import trio

from cluster.base.errors import PeerError
from cluster.base.ports import Handlers, Peers
from rs3gwd.base.ports import Clock

METHOD = "clock.read"
READING_BYTES = 8

AHEAD_MS_MAX = 10_000
"""Milliseconds by which a node may be ahead of a majority. Synchronised clocks differ by a few."""

EVERY_SECONDS = 5.0
FIRST_SECONDS = 0.2
"""Until a majority has answered for the first time."""

TIMEOUT_SECONDS = 2.0


class HybridClock:
    """A `Clock`. `members` are the nodes of the cluster, this one (`node`) among them."""

    def __init__(
        self, clock: Clock, *, node: int, members: Callable[[], tuple[int, ...]], peers: Peers
    ) -> None:
        self._clock = clock
        self._node = node
        self._members = members
        self._peers = peers
        self._offsets: dict[int, int] = {}
        self._limit_ms: int | None = None
        self._is_held = False
        self._proved = trio.Event()
        self._log = structlog.get_logger()

    def register(self, handlers: Handlers) -> None:
        """Answers the other nodes; before the transport runs."""
        handlers.on_call(METHOD, self._answer)

    def now_ms(self) -> int:
        """Milliseconds since 1970-01-01 UTC, at most `AHEAD_MS_MAX` beyond a majority's clocks."""
        own = self._clock.now_ms()
        if self._limit_ms is None:
            return own
        return min(own, self._limit_ms + self._elapsed_ms())

    def monotonic(self) -> float:
        """As the own clock's."""
        return self._clock.monotonic()

    @property
    def is_proved(self) -> bool:
        """Whether a majority has said what time it is."""
        return self._limit_ms is not None

    @property
    def held_back_ms(self) -> int:
        """By how much the own clock is beyond the bound now; 0 for a clock that is not."""
        return max(0, self._clock.now_ms() - self.now_ms())

    async def wait_proved(self) -> None:
        """Until a majority has said what time it is; `run` must be active."""
        await self._proved.wait()

    async def run(self) -> None:
        """Asks the others until cancelled."""
        while True:
            await self.ask()
            await trio.sleep(EVERY_SECONDS if self.is_proved else FIRST_SECONDS)

    async def ask(self) -> None:
        """Asks each of the others once, at the same time."""
        members = self._members()
        async with trio.open_nursery() as nursery:
            for member in members:
                if member != self._node:
                    nursery.start_soon(self._ask_one, member)
        self._offsets = {node: at for node, at in self._offsets.items() if node in members}
        self._offsets[self._node] = self._clock.now_ms() - self._elapsed_ms()
        quorum = len(members) // 2 + 1
        if len(self._offsets) >= quorum:
            reached = sorted(self._offsets.values(), reverse=True)[quorum - 1]
            self._limit_ms = reached + AHEAD_MS_MAX
            self._proved.set()
            self._tell()

    async def _ask_one(self, member: int) -> None:
        try:
            reading = await self._peers.call(member, METHOD, b"", timeout_s=TIMEOUT_SECONDS)
        except PeerError:
            return  # what it said before still holds
        if len(reading) == READING_BYTES:
            # Read before it came here: beside the time of now it is a little early, never late.
            at_ms = int.from_bytes(reading, "big", signed=True)
            self._offsets[member] = at_ms - self._elapsed_ms()

    async def _answer(self, _: int, payload: bytes) -> bytes:
        return self._clock.now_ms().to_bytes(READING_BYTES, "big", signed=True)

    def _elapsed_ms(self) -> int:
        return int(self._clock.monotonic() * 1000)

    def _tell(self) -> None:
        ahead_ms = self._clock.now_ms() - self.now_ms()
        if (ahead_ms > 0) is self._is_held:
            return
        self._is_held = ahead_ms > 0
        if self._is_held:
            self._log.error("the clock is ahead of the cluster's and held back", ahead_ms=ahead_ms)
        else:
            self._log.info("the clock is as the cluster's again")
