"""One client's bytes with a clock over them: a transport whose every wait ends.

A wait sets `deadline`, a number; the gateway's sweep looks at all of them twice a second and
interrupts the transports that are late. So a deadline costs an assignment, not a cancel scope.
Bytes in our hands while a client makes us wait are counted in `Front.buffered_bytes`.
"""

from collections.abc import Callable
from math import inf
from typing import TypeVar

import trio

from rs3gwd.base.ports import Buffer
from rs3gwd.gateway.front import Front
from rs3gwd.gateway.patience import Patience
from rs3gwd.gateway.transport import Transport

HEAD_RECEIVE_BYTES = 64 << 10
"""One read while a head is awaited; a small PUT arrives in it whole."""

T = TypeVar("T")

SENDS_IN_A_ROW_MAX = 8
"""Sends of a body's blocks that may succeed without a checkpoint."""


class Link:
    """The bytes of one connection.

    `idle` is true while the client owes us the rest of a head, or the first byte of one; `answered`
    once a request on it has had its answer.
    """

    __slots__ = ("_front", "_sends_in_a_row", "answered", "deadline", "idle", "transport")

    def __init__(self, transport: Transport, front: Front) -> None:
        self.transport = transport
        self.deadline = inf
        self.idle = False
        self.answered = False
        self._front = front
        self._sends_in_a_row = 0

    def sweep(self, now: float) -> None:
        """Ends a wait whose deadline is past."""
        if self.deadline <= now:
            self.transport.interrupt()

    def interrupt_idle(self) -> None:
        """Ends the wait for a head; requests that are under way go on."""
        if self.idle:
            self.transport.interrupt()

    async def receive_until(self, deadline: float) -> bytes:
        """The next bytes, whatever they are. Empty at the end. Raises Interrupted."""
        self.deadline = deadline
        self.idle = True
        try:
            return await self.transport.receive(HEAD_RECEIVE_BYTES)
        finally:
            self.deadline = inf
            self.idle = False

    async def receive_step(
        self, *, held_bytes: int, deadline: float, on_bytes: Callable[[bytes], T | None]
    ) -> T:
        """What `on_bytes` makes of the next bytes of a head; `held_bytes` of it are there.

        It is called with what arrives, empty at the end, and may set `deadline` anew where it goes
        on waiting by returning None. Raises Interrupted and what it raises.
        """
        self._front.buffered_bytes += held_bytes
        self.deadline = deadline
        self.idle = True
        try:
            return await self.transport.receive_step(HEAD_RECEIVE_BYTES, on_bytes)
        finally:
            self._front.buffered_bytes -= held_bytes
            self.deadline = inf
            self.idle = False

    async def receive_body(self, patience: Patience) -> bytes:
        """More of a body. Empty when the client has ended early. Raises Interrupted."""
        clock = self._front.clock
        self.deadline = patience.deadline_from(clock.monotonic())
        try:
            data = await self.transport.receive_soon(self._front.limits.receive_bytes)
        finally:
            self.deadline = inf
        patience.moved(clock.monotonic(), len(data))
        return data

    async def receive_body_into(self, patience: Patience, target: memoryview) -> int:
        """As `receive_body`, into `target`; 0 when the client has ended early."""
        clock = self._front.clock
        self.deadline = patience.deadline_from(clock.monotonic())
        try:
            count = await self.transport.receive_soon_into(target)
        finally:
            self.deadline = inf
        patience.moved(clock.monotonic(), count)
        return count

    async def send(
        self, head: bytes, body: Buffer, patience: Patience | None = None, *, sent: int = 0
    ) -> None:
        """Sends all of both behind the first `sent` bytes, which went out already.

        A checkpoint only when the client is slow or after some sends. Raises PeerGone, Interrupted.
        """
        sent = sent or self.transport.send_nowait(head, body)
        if sent < len(head) + len(body):
            self._sends_in_a_row = 0
            await self._send_rest(head, body, sent, patience or self.new_patience())
        elif patience is not None:
            self._sends_in_a_row += 1
            if self._sends_in_a_row >= SENDS_IN_A_ROW_MAX:
                self._sends_in_a_row = 0
                await trio.lowlevel.checkpoint()

    def new_patience(self) -> Patience:
        """A full bucket for one body in one direction."""
        limits = self._front.limits
        return Patience(
            seconds_max=limits.patience_seconds, bytes_per_second_min=limits.bytes_per_second_min
        )

    async def _send_rest(self, head: bytes, body: Buffer, sent: int, patience: Patience) -> None:
        held_bytes = len(head) + len(body) - sent
        self._front.buffered_bytes += held_bytes
        try:
            if sent < len(head):
                # Small enough to be glued to the head: one TLS record instead of two.
                glued = head + body[:1024] if len(body) <= 1024 else head
                sent = await self._send_view(memoryview(glued), sent, patience)
            await self._send_view(memoryview(body), sent - len(head), patience)
        finally:
            self.deadline = inf
            self._front.buffered_bytes -= held_bytes

    async def _send_view(self, view: memoryview, sent: int, patience: Patience) -> int:
        clock = self._front.clock
        while sent < len(view):
            self.deadline = patience.deadline_from(clock.monotonic())
            moved = await self.transport.send_some(view[sent:])
            patience.moved(clock.monotonic(), moved)
            sent += moved
        return sent
