"""What a worker process is: an engine that leans on the core's, a front, and talk with the core.

    control socket -> Begin -> WorkerEngine -> Gateway on the inherited sockets -> Ready
    Beat every second, Figures and pages of metrics when asked, Drain -> Stopped -> end

What it is not: it opens no store of its own, binds no address and obeys no signal.

Invariant: the end of either socket to the core ends this process. What it serves then cannot be
kept: a write cannot be committed, and the next core may already be recovering the store.
"""

import gc
import os
import socket
import sys

import structlog
import trio

from rs3gwd.base.errors import CoreGone, FormatError, Rs3gwError
from rs3gwd.daemon.control import (
    BEAT_SECONDS,
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
    Report,
    Scraped,
    Stopped,
    receive_begin,
)
from rs3gwd.daemon.figures import register_front, register_log, register_worker_engine
from rs3gwd.daemon.frontend import Pages, Ports, make_gateway
from rs3gwd.daemon.key_using import store_key_uses
from rs3gwd.daemon.keyrings import open_keyring
from rs3gwd.daemon.logs import Logs, open_logs
from rs3gwd.daemon.memory import give_back_memory
from rs3gwd.daemon.opening import data_root, engine_settings
from rs3gwd.daemon.process import CORE_GONE, leaves_of, prepare_process
from rs3gwd.daemon.stores import local_stores
from rs3gwd.daemon.watching import RequestWatcher
from rs3gwd.engine.shared_state import SharedState
from rs3gwd.engine.system import FileDisk, SystemClock, SystemRandom, TrioThreads
from rs3gwd.engine.worker_engine import WorkerEngine
from rs3gwd.gateway.listener import ListenAddress
from rs3gwd.iam.key_uses import KeyUses
from rs3gwd.observe.metrics import Metrics

SCRAPE_SECONDS_MAX = 10.0
"""How long a page of metrics may take to come from the core; Prometheus gives up then."""


class Inherited:
    """The descriptors that came with Begin, in its order."""

    def __init__(self, begin: Begin, descriptors: list[int]) -> None:
        if len(descriptors) != 4 + len(begin.secure):
            raise FormatError(f"{len(descriptors)} descriptors came along")
        self.channel = socket.socket(fileno=descriptors[0])
        self.shared_page = descriptors[1]
        self.log_lock = descriptors[2]
        # Nobody reads it: that it is open in this process is what keeps the store locked.
        self.store_lock = descriptors[3]
        self.addresses = []
        for descriptor, secure in zip(descriptors[4:], begin.secure, strict=True):
            bound = socket.socket(fileno=descriptor)
            host, port = bound.getsockname()[:2]
            self.addresses.append(ListenAddress(str(host), int(port), secure, bound))


def serve_worker(control: socket.socket) -> int:
    """Waits for the core to say what to be, and is that until the end; the exit status."""
    prepare_process()
    try:
        received = receive_begin(control)
        if received is None:
            return 0
        begin, descriptors = received
        inherited = Inherited(begin, descriptors)
    except FormatError as error:
        print(f"rs3gwd: worker: {error}", file=sys.stderr)
        return 1
    logs = open_logs(begin.config, SystemClock(), worker=begin.number, lock=inherited.log_lock)
    for secret in begin.secrets:
        logs.redactor.add_secret(secret)
    try:
        trio.run(Worker(begin, inherited, logs, control).run)
    except (Rs3gwError, OSError, ExceptionGroup) as error:
        causes = leaves_of(error)
        if not all(isinstance(cause, (Rs3gwError, OSError)) for cause in causes):
            raise
        for cause in causes:
            print(f"rs3gwd: worker {begin.number}: {cause}", file=sys.stderr)
        return CORE_GONE if any(isinstance(cause, CoreGone) for cause in causes) else 1
    finally:
        logs.writer.close()
    return 0


class Worker:
    """One worker, from its charge to its end."""

    def __init__(
        self, begin: Begin, inherited: Inherited, logs: Logs, control: socket.socket
    ) -> None:
        self._begin = begin
        self._inherited = inherited
        self._logs = logs
        self._pair_end = control
        self._ports = Ports(SystemClock(), SystemRandom(), TrioThreads())
        self._metrics = Metrics(is_first=False)
        self._watcher = RequestWatcher(self._metrics, logs.access_log)
        self._log = structlog.get_logger()

    async def run(self) -> None:
        """Serves until the core says Drain. Raises CoreGone and as `WorkerEngine.open`."""
        begin, inherited = self._begin, self._inherited
        self._talk: Control[FromWorker, FromCore] = Control(self._pair_end, FromCore)
        root = str(data_root(begin.config))
        engine = await WorkerEngine.open(
            root,
            channel=inherited.channel,
            shared=SharedState.attach(inherited.shared_page),
            disk=FileDisk(root),
            clock=self._ports.clock,
            random=self._ports.random,
            threads=self._ports.threads,
            settings=engine_settings(begin.config, sharers=begin.count),
        )
        try:
            async with trio.open_nursery() as nursery:
                await nursery.start(engine.run)
                await self._serve(engine)
                nursery.cancel_scope.cancel()
        finally:
            await engine.close()
            self._talk.close()

    async def _serve(self, engine: WorkerEngine) -> None:
        begin = self._begin
        self._scrapes = Scrapes(self._talk)
        keyring = await open_keyring(begin.config, engine, self._ports)
        stores = local_stores(engine)
        uses = KeyUses(begin.config.region)
        self._gateway = make_gateway(
            begin.config,
            engine,
            addresses=self._inherited.addresses,
            host_id=begin.host_id,
            keyring=keyring,
            observer=self._watcher,
            pages=Pages(self._scrapes.scrape, begin.metrics_token),
            ports=self._ports,
            stores=stores,
            uses=uses,
            sharers=begin.count,
        )
        register_front(self._metrics, self._gateway, self._watcher)
        register_worker_engine(self._metrics, engine)
        register_log(self._metrics, self._logs.writer)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._talk.run)
            await nursery.start(self._gateway.serve)
            # What lives now lives to the end: no collection need look at it again.
            gc.freeze()
            self._talk.send(Ready())
            nursery.start_soon(self._beat)
            nursery.start_soon(store_key_uses, uses, stores.store)
            nursery.start_soon(give_back_memory, self._ports.threads)
            self._log.info("worker ready", pid=os.getpid())
            await self._listen(nursery)
            nursery.cancel_scope.cancel()

    async def _listen(self, nursery: trio.Nursery) -> None:
        """Does what the core says, until the drain that it orders is over."""
        drained = trio.Event()
        nursery.start_soon(self._obey, nursery, drained)
        await drained.wait()

    async def _obey(self, nursery: trio.Nursery, drained: trio.Event) -> None:
        while True:
            match await self._talk.receive():
                case AskFigures(turn):
                    self._talk.send(Figures(turn, self._report()))
                case Scraped(turn, page):
                    self._scrapes.deliver(turn, page)
                case Drain(grace_seconds, idle_seconds):
                    nursery.start_soon(self._drain, grace_seconds, idle_seconds, drained)
                case Begin():
                    raise FormatError("a second Begin")
                case None:
                    # At once: the next core may be waiting for this process to be gone.
                    os._exit(CORE_GONE)

    async def _drain(self, grace_seconds: float, idle_seconds: float, drained: trio.Event) -> None:
        cut = await self._gateway.drain(grace_seconds, idle_seconds=idle_seconds)
        self._log.info("worker stopped", connections_cut=cut)
        self._talk.send(Stopped(cut, self._report()))
        drained.set()

    async def _beat(self) -> None:
        told = None
        while True:
            now = self._gateway.statistics()
            self._talk.send(Beat(self._report() if now != told else None))
            told = now
            await trio.sleep(BEAT_SECONDS)

    def _report(self) -> Report:
        return Report(self._gateway.statistics(), self._metrics.families())


class Scrapes:
    """Asks the core for pages of metrics, one at a time."""

    def __init__(self, talk: Control[FromWorker, FromCore]) -> None:
        self._talk = talk
        self._turn = 0
        self._page = b""
        self._arrived = trio.Event()
        self._asking = trio.Lock()

    async def scrape(self) -> bytes:
        """The figures of the whole node. Raises trio.TooSlowError when the core does not answer."""
        with trio.fail_after(SCRAPE_SECONDS_MAX):
            async with self._asking:
                self._turn += 1
                self._arrived = trio.Event()
                self._talk.send(AskScrape(self._turn))
                await self._arrived.wait()
                return self._page

    def deliver(self, turn: int, page: bytes) -> None:
        """A page came; one that nobody waits for any more is dropped."""
        if turn == self._turn:
            self._page = page
            self._arrived.set()
