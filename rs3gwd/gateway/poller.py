"""Watches the sockets of connections that wait for a request, and answers at once what it can.

Picture: a counter with one clerk. Whoever comes with a question that can be answered on the spot
is served there and then; only who needs something fetched is shown to a desk of their own. The
desks are the connections' tasks. Waking one for each request, and asking the kernel anew to watch
its socket, cost more than most requests do: 18 of 110 us (docs/performance.md).

How: one epoll descriptor watches all these sockets, edge-triggered, so that a socket is registered
once and not once for each wait. trio watches that descriptor. When it is readable, one task takes
up to TURN_SOCKETS of its events and makes four rounds: it receives from all, then has each answer
or wake its task, then sends the answers, then has them logged. System calls and Python push each
other out of the caches and branch predictors of a core, so they come apart; and a client on the
same machine is woken once for many answers, where the call that wakes it is the dearest of a
request.

Invariants: a turn awaits nothing; what is queued is sent before the next turn takes anything;
what is called back raises nothing; who stops watching a socket gets no call for it any more.

Source: epoll(7), "Edge-triggered" and its questions and answers.
"""

import select
from typing import Protocol

import trio

TURN_SOCKETS = 64
"""Requests answered before other tasks get their turn, about 3 ms; trio would run as many tasks as
are ready. Turns of 16 cost a request a seventh more processor time, of 4 a third."""

TURN_BYTES = 256 << 10
"""Bytes of answers that wait for the end of a turn; beyond it they are sent at once."""

_END = select.EPOLLRDHUP | select.EPOLLHUP | select.EPOLLERR
_EDGES = select.EPOLLIN | select.EPOLLRDHUP | select.EPOLLET


class Waiting(Protocol):
    """A socket that is watched, as the poller sees it. Neither call may raise."""

    def receive_ready(self, *, has_ended: bool) -> bytes | None:
        """Receives what has arrived, empty at the end; None where nobody waits for it.

        `has_ended` says that the end is there too, of which the kernel tells no second time.
        """
        ...

    def take_ready(self, data: bytes) -> None:
        """Has somebody make something of what `receive_ready` gave."""
        ...


class Sender(Protocol):
    """A connection that has queued an answer, as the poller sees it."""

    def send_queued(self) -> None:
        """Sends the answer for which it is queued; must not raise."""
        ...

    def finish_queued(self) -> None:
        """Counts and logs what `send_queued` sent; must not raise."""
        ...


class Poller:
    """The sockets that are watched and the answers that are queued; used by one trio thread."""

    def __init__(self) -> None:
        """Takes a descriptor; `close` gives it back. Raises OSError when there is none."""
        self._epoll = select.epoll()
        self._waiting: dict[int, Waiting] = {}
        self._queued: list[Sender] = []
        self._queued_bytes = 0
        self._in_turn = False
        self._late = trio.lowlevel.ParkingLot()

    def watch(self, descriptor: int, waiting: Waiting) -> None:
        """Calls `waiting` whenever bytes arrive, and if some have already. Raises OSError."""
        self._epoll.register(descriptor, _EDGES)
        self._waiting[descriptor] = waiting

    def look_again(self, descriptor: int) -> None:
        """Calls in the next turn if there are bytes now."""
        self._epoll.modify(descriptor, _EDGES)

    def forget(self, descriptor: int) -> None:
        """Watches it no longer; before it is closed."""
        del self._waiting[descriptor]
        self._epoll.unregister(descriptor)

    def queue(self, sender: Sender, size_bytes: int) -> None:
        """Has an answer of so many bytes sent at the end of this turn, or, where it comes from a
        task, once all tasks have run that are ready now: those whose writes were committed
        together answer together."""
        self._queued.append(sender)
        if not self._in_turn:
            self._late.unpark()
        self._queued_bytes += size_bytes
        if self._queued_bytes > TURN_BYTES:
            self._flush()

    async def run(self) -> None:
        """Serves until it is cancelled."""
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._send_late)
            await self._take_turns()

    async def _send_late(self) -> None:
        while True:
            await self._late.park()
            self._flush()

    async def _take_turns(self) -> None:
        descriptor = self._epoll.fileno()
        while True:
            await trio.lowlevel.wait_readable(descriptor)
            self._turn()

    def close(self) -> None:
        """Ends the watching of all."""
        self._epoll.close()

    def _turn(self) -> None:
        self._flush()
        self._in_turn = True
        arrived = []
        for ready, events in self._epoll.poll(0, TURN_SOCKETS):
            waiting = self._waiting.get(ready)
            if waiting is not None:
                data = waiting.receive_ready(has_ended=bool(events & _END))
                if data is not None:
                    arrived.append((waiting, data))
        for waiting, data in arrived:
            waiting.take_ready(data)
        self._in_turn = False
        self._flush()

    def _flush(self) -> None:
        queued, self._queued = self._queued, []
        self._queued_bytes = 0
        for sender in queued:
            sender.send_queued()
        for sender in queued:
            sender.finish_queued()
