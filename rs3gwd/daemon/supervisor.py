"""The core's care for its workers: started, watched, replaced, restarted one by one, sent home.

What it is not: it serves no request and commits nothing. Each worker has two sockets to this
process; the engine's is served by `CoreService`, the control one here (`rs3gwd.daemon.control`).

A *place* is one of `count` shares of the port: a listening socket for each address, which this
process made and keeps open, and the worker that accepts from them. While a place has no worker its
connections wait in the sockets' queues; so nobody is refused when one dies, and in a restart old
and new accept from the same queue until the old one leaves.

    started -> Begin -> Ready ----------------------> dead: reaped, replaced at once
                          | silent too long: SIGKILL    ^
                          | Drain -> Stopped -----------'  not replaced

Invariants: a worker number is never used twice; `worker_gone` is called once for each, after the
process was reaped; whatever ends this object ends every process it started.
"""

import socket
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from itertools import count as count_from
from typing import Protocol

import structlog
import trio
from msgspec import Struct

from rs3gwd.base.admin import WorkerView
from rs3gwd.base.errors import FormatError, Overloaded, Rs3gwError
from rs3gwd.config import Config
from rs3gwd.daemon.collecting import Collector
from rs3gwd.daemon.control import (
    VERSION,
    AskFigures,
    AskScrape,
    Beat,
    Begin,
    Control,
    Drain,
    Figures,
    FromCore,
    FromWorker,
    Ready,
    Scraped,
    Stopped,
    send_begin,
)
from rs3gwd.daemon.liveness import LOOK_SECONDS, BackOff
from rs3gwd.daemon.member import Member
from rs3gwd.daemon.worker_process import WorkerProcess
from rs3gwd.observe.families import Family

START_TRIES_MAX = 5
"""Workers in one place that may die young before the daemon has been ready; then it gives up. Once
it was ready it goes on trying for ever."""

LAST_WORDS_SECONDS_MAX = 5.0
"""How long what a dead worker had sent may take to be read; it is in this machine's memory."""

DRAIN_MARGIN_SECONDS = 5.0
"""What a worker may take beyond its grace time to end; then it is killed."""

IDLE_SECONDS = 5.0
"""In a restart, how long a client with an idle connection may bring one more request to the old
worker. Clients under load come within milliseconds; one that is silent for so long is closed."""


class WorkersFailed(Rs3gwError):
    """No worker could be started; its own last words are on standard error."""


class EngineService(Protocol):
    """The engine's side of the workers; see `rs3gwd.engine.core_service.CoreService`."""

    async def serve(self, worker_number: int, channel: socket.socket) -> None: ...

    def worker_gone(self, worker_number: int) -> None: ...


class Charge(Struct, frozen=True):
    """What workers are given, the same for all but for `shares`: the sockets of each place.

    The descriptors are the engine's shared page, the lock of the store and the lock of the log.
    """

    config: Config
    engine: EngineService
    host_id: str
    log_lock: int
    metrics_token: str | None
    secrets: tuple[str, ...]
    secure: bool
    shared_page: int
    shares: list[list[socket.socket]]
    store_lock: int


class _Place:
    """One share of the port. `successor` is the worker that is to take over in a restart."""

    def __init__(self, index: int) -> None:
        self.index = index
        self.current: Member | None = None
        self.successor: Member | None = None
        self.back_off = BackOff()
        self.restarts = 0


class Supervisor:
    """Runs `count` workers made by `command`; `own` gives the core's own metric families.

    Belongs to the thread in which it is made. `hire` takes processes that were started already,
    `serve` gives all their charge, `close` ends what is left.
    """

    def __init__(
        self,
        command: Sequence[str],
        *,
        count: int,
        own: Callable[[], Sequence[Family]],
        patience_seconds: float,
    ) -> None:
        self.collector = Collector(self._ask, own)
        self.ends: Counter[str] = Counter()
        self.restart_failure = ""
        self._command = command
        self._patience_seconds = patience_seconds
        self._places = [_Place(index) for index in range(count)]
        self._members: dict[int, Member] = {}
        self._numbers = count_from(1)
        self._scraping: dict[int, int] = {}
        self._charge: Charge | None = None
        self._all_ready = trio.Event()
        self._is_rolling = False
        self._is_stopping = False
        self._log = structlog.get_logger()

    def hire(self, processes: Sequence[WorkerProcess]) -> None:
        """Takes the first processes, one for each place, which load their program meanwhile."""
        for place, process in zip(self._places, processes, strict=True):
            place.current = self._admit(place, process)

    async def serve(
        self, charge: Charge, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED
    ) -> None:
        """Keeps a worker in every place, until cancelled; started once all are ready.

        Raises WorkersFailed when that never comes to be.
        """
        self._charge = charge
        async with trio.open_nursery() as nursery:
            self._nursery = nursery
            for member in list(self._members.values()):
                nursery.start_soon(self._attend, member)
            nursery.start_soon(self._look)
            await self._all_ready.wait()
            task_status.started()

    async def drain(self, grace_seconds: float) -> int:
        """Ends all workers: each lets its requests end within `grace_seconds`.

        Returns how many connections were cut. No connection is accepted any more.
        """
        self._is_stopping = True
        self._close_shares()
        members = list(self._members.values())
        for member in members:
            if member.is_leaving:
                continue  # in the middle of a restart: it has its order
            if member.ready.is_set():
                self._dismiss(member, grace_seconds, idle_seconds=0.0)
            else:
                member.kill("stopped")
        with trio.move_on_after(grace_seconds + DRAIN_MARGIN_SECONDS):
            for member in members:
                await member.ended.wait()
        for member in members:
            if not member.ended.is_set():
                member.kill("hung")
                await member.ended.wait()
        return sum(member.connections_cut or 0 for member in members)

    def restart(self) -> bool:
        """Begins to replace the workers one by one; False while they are started, replaced or sent
        home already.

        The new one is ready before the old one leaves. When a new one cannot be started the old
        ones stay, and `restart_failure` says why.
        """
        if self._is_rolling or self._is_stopping or not self._all_ready.is_set():
            return False
        self._is_rolling = True
        self.restart_failure = ""
        self._nursery.start_soon(self._roll)
        return True

    @property
    def is_rolling(self) -> bool:
        """Whether a restart is under way."""
        return self._is_rolling

    @property
    def ready_count(self) -> int:
        """Places whose worker serves."""
        return sum(
            place.current is not None and place.current.ready.is_set() for place in self._places
        )

    def is_healthy(self) -> bool:
        """Whether every place has a worker that serves."""
        return self.ready_count == len(self._places)

    def views(self) -> list[WorkerView]:
        """The workers, by place, those that leave included."""
        views = []
        for member in sorted(self._members.values(), key=lambda each: (each.place, each.number)):
            front = self.collector.front_of(member.number)
            views.append(
                WorkerView(
                    place=member.place,
                    number=member.number,
                    pid=member.process.pid,
                    state=member.state,
                    uptime_seconds=int(member.lived_seconds),
                    requests=front.requests_total if front else 0,
                    connections=front.connections if front else 0,
                    restarts=self._places[member.place].restarts,
                )
            )
        return views

    def close(self) -> None:
        """Kills and reaps what is left, and closes the listening sockets; after `serve` ended."""
        for member in self._members.values():
            member.kill("stopped")
            member.process.reap()
            member.process.control.close()
        self._members.clear()
        self._close_shares()

    def _close_shares(self) -> None:
        for share in self._charge.shares if self._charge else ():
            for bound in share:
                bound.close()

    @property
    def _given(self) -> Charge:
        assert self._charge is not None, "nothing to give yet"
        return self._charge

    # The life of one worker

    def _start(self, place: _Place) -> Member:
        """A new process for a place. Raises OSError."""
        return self._admit(place, WorkerProcess(self._command))

    def _admit(self, place: _Place, process: WorkerProcess) -> Member:
        member = Member(
            next(self._numbers), place.index, process, patience_seconds=self._patience_seconds
        )
        self._members[member.number] = member
        return member

    async def _attend(self, member: Member) -> None:
        """One worker, from Begin until nothing of it is left."""
        channel = self._begin(member)
        control = member.control
        assert control is not None
        async with trio.open_nursery() as sending:
            sending.start_soon(control.run)
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._listen, member, control)
                nursery.start_soon(self._given.engine.serve, member.number, channel)
                await trio.lowlevel.wait_readable(member.process.descriptor)
                member.process.reap()
                self._given.engine.worker_gone(member.number)
                self._succeed(member)
                # Both end by themselves when they have read what the worker had sent.
                nursery.cancel_scope.deadline = trio.current_time() + LAST_WORDS_SECONDS_MAX
            sending.cancel_scope.cancel()
        control.close()
        front = self.collector.front_of(member.number)
        if member.connections_cut is None:
            member.connections_cut = front.connections if front else 0
        self.collector.end(member.number)
        del self._members[member.number]
        member.ended.set()

    def _begin(self, member: Member) -> socket.socket:
        """Gives a worker its charge; returns the core's end of the engine's channel.

        A worker that is dead already is found so by whoever waits for it.
        """
        charge = self._given
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
        share = charge.shares[member.place]
        begin = Begin(
            version=VERSION,
            number=member.number,
            place=member.place,
            count=len(self._places),
            config=charge.config,
            host_id=charge.host_id,
            metrics_token=charge.metrics_token,
            secrets=charge.secrets,
            secure=(charge.secure,) * len(share),
        )
        fixed = [theirs.fileno(), charge.shared_page, charge.log_lock, charge.store_lock]
        try:
            send_begin(member.process.control, begin, [*fixed, *(each.fileno() for each in share)])
        except OSError as error:
            self._log.warning("worker takes no charge", worker=member.number, reason=str(error))
            member.kill("died")
        finally:
            theirs.close()
        member.control = Control[FromCore, FromWorker](member.process.control, FromWorker)
        return ours

    async def _listen(self, member: Member, control: Control[FromCore, FromWorker]) -> None:
        try:
            while (word := await control.receive()) is not None:
                member.silence.heard()
                self._hear(member, word)
        except FormatError as error:
            self._log.error("worker breaks the protocol", worker=member.number, reason=str(error))
            member.kill("broken")

    def _hear(self, member: Member, word: FromWorker) -> None:
        match word:
            case Ready():
                member.silence.ready()
                member.ready.set()
                if self.is_healthy():
                    self._all_ready.set()
            case Beat(report):
                if report is not None:
                    self.collector.report(member.number, report)
            case Figures():
                self.collector.answer(member.number, word.turn, word.report)
            case AskScrape():
                is_busy = member.number in self._scraping
                self._scraping[member.number] = word.turn
                if not is_busy:
                    self._nursery.start_soon(self._scrape_for, member)
            case Stopped():
                member.connections_cut = word.connections_cut
                self.collector.report(member.number, word.report)

    async def _scrape_for(self, member: Member) -> None:
        """Answers the last question of a worker; one that it gave up may have come before."""
        answered = 0
        while (turn := self._scraping[member.number]) != answered:
            self._send(member, Scraped(turn, await self.collector.scrape()))
            answered = turn
        del self._scraping[member.number]

    def _succeed(self, member: Member) -> None:
        """A worker is dead: sees to it that its place has another one, where it should."""
        place = self._places[member.place]
        self.ends[member.reason] += 1
        write = self._log.info if member.is_leaving else self._log.error
        write(
            "worker ended",
            worker=member.number,
            pid=member.process.pid,
            reason=member.reason,
            end=member.process.end,
            lived_seconds=round(member.lived_seconds, 1),
        )
        if place.successor is member:
            place.successor = None
        elif place.current is member:
            place.current, place.successor = place.successor, None
        if place.current is not None or self._is_stopping:
            return
        delay = place.back_off.delay_after(member.lived_seconds)
        if place.back_off.failures >= START_TRIES_MAX and not self._all_ready.is_set():
            raise WorkersFailed(f"no worker could be started; the last one: {member.process.end}")
        self._nursery.start_soon(self._replace, place, delay)

    async def _replace(self, place: _Place, delay_seconds: float) -> None:
        while True:
            await trio.sleep(delay_seconds)
            if place.current or place.successor or self._is_stopping:
                return
            try:
                place.current = self._start(place)
            except OSError as error:
                self._log.error("worker not started", place=place.index, reason=str(error))
                delay_seconds = max(LOOK_SECONDS, place.back_off.delay_after(0.0))
                continue
            place.restarts += 1
            self._nursery.start_soon(self._attend, place.current)
            return

    async def _look(self) -> None:
        """Finds those that hang."""
        last = trio.current_time()
        while True:
            await trio.sleep(LOOK_SECONDS)
            now = trio.current_time()
            for member in list(self._members.values()):
                if member.silence.is_too_long(now - last) and member.reason != "hung":
                    self._log.error("worker hangs", worker=member.number, pid=member.process.pid)
                    member.kill("hung")
            last = now

    # A restart of all

    async def _roll(self) -> None:
        self._log.info("workers restart")
        try:
            for place in self._places:
                self.restart_failure = await self._renew(place)
                if self.restart_failure:
                    self._log.error("workers not restarted", reason=self.restart_failure)
                    return
            self._log.info("workers restarted")
        finally:
            self._is_rolling = False

    async def _renew(self, place: _Place) -> str:
        """A new worker in the place of the one there; why that was not possible, or nothing."""
        if self._is_stopping:
            return "the daemon stops"
        try:
            new = place.successor = self._start(place)
        except OSError as error:
            return str(error)
        self._nursery.start_soon(self._attend, new)
        await _wait_first(new.ready.wait, new.ended.wait)
        if new.ended.is_set():
            return f"the new worker ended with {new.process.end}"
        if self._is_stopping:
            return "the daemon stops"
        place.restarts += 1
        old = place.current
        if old is not None and old is not new:
            place.current, place.successor = new, None
            await self._send_home(old)
        return ""

    async def _send_home(self, member: Member) -> None:
        grace_seconds = float(self._given.config.shutdown_grace_secs)
        self._dismiss(member, grace_seconds, idle_seconds=IDLE_SECONDS)
        with trio.move_on_after(grace_seconds + DRAIN_MARGIN_SECONDS):
            await member.ended.wait()
        if not member.ended.is_set():
            member.kill("hung")
            await member.ended.wait()

    def _dismiss(self, member: Member, grace_seconds: float, *, idle_seconds: float) -> None:
        member.is_leaving = True
        member.reason = "stopped" if self._is_stopping else "restart"
        self._send(member, Drain(grace_seconds, idle_seconds))

    # Words to workers

    def _ask(self, word: AskFigures) -> list[int]:
        """Sends a question to all who can answer; their numbers."""
        asked = [member for member in self._members.values() if member.ready.is_set()]
        for member in asked:
            self._send(member, word)
        return [member.number for member in asked]

    def _send(self, member: Member, word: FromCore) -> None:
        try:
            member.send(word)
        except Overloaded:
            # It has not read for megabytes; the look at silent ones would find it, later.
            member.kill("hung")


async def _wait_first(*waits: Callable[[], Awaitable[None]]) -> None:
    """Returns when the first of them does."""
    async with trio.open_nursery() as nursery:

        async def wait(one: Callable[[], Awaitable[None]]) -> None:
            await one()
            nursery.cancel_scope.cancel()

        for each in waits:
            nursery.start_soon(wait, each)
