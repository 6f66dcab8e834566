"""One node: every part made, joined and supervised.

    FileDisk, clock, randomness, threads
        -> Engine -> LocalStore, LocalDirectory
        -> Front                         (S3, metrics and health on one port, here or in workers)
        -> Administration -> AdminServer (rs3gwctl, over a Unix socket)

Order of the start: worker processes begin to load, the engine opens and recovers, the
keyring is opened by the master key, the root account
is made sure of, the listeners bind, READY. Order of the end: the front drains, then the admin
socket closes, then the engine: nobody is told yes by a part whose ground is gone.
"""

import gc
import os
import sys
from collections.abc import Sequence

import structlog
import trio

from rs3gwd.base.admin import SOCKET_PATH
from rs3gwd.base.errors import DiskError, KeyringRefused
from rs3gwd.config import Config
from rs3gwd.daemon.bootstrap import (
    RootCredentials,
    ensure_metrics_token,
    ensure_root,
    wait_root,
    welcome,
)
from rs3gwd.daemon.cluster_admin import with_cluster
from rs3gwd.daemon.clustering import open_stores
from rs3gwd.daemon.figures import node_figures, register_blobs, register_engine, register_log
from rs3gwd.daemon.frontend import Ports, make_object_keys, url_of
from rs3gwd.daemon.fronts import Front, Ground, LocalFront, WorkerFront
from rs3gwd.daemon.gossiping import register_gossip
from rs3gwd.daemon.key_administering import KeyAdministration
from rs3gwd.daemon.keyrings import make_keyring
from rs3gwd.daemon.logs import Logs
from rs3gwd.daemon.memory import give_back_memory
from rs3gwd.daemon.opening import claim_store, data_root, open_engine
from rs3gwd.daemon.proving import when_current
from rs3gwd.daemon.rewrapping import Rewrapping
from rs3gwd.daemon.stores import Stores
from rs3gwd.daemon.watching import EngineWatcher
from rs3gwd.daemon.worker_process import WorkerProcess
from rs3gwd.engine.engine import Engine
from rs3gwd.engine.system import SystemClock, SystemRandom, TrioThreads
from rs3gwd.gateway.admin_server import AdminServer
from rs3gwd.iam.administration import Administration
from rs3gwd.iam.key_secrets import seal_plain_keys
from rs3gwd.observe.metrics import Metrics
from rs3gwd.observe.notify import Notifier, keep_watchdog
from rs3gwd.transform.keyring import Keyring


class Orders:
    """What the node is told from outside while it runs: signals, in the daemon."""

    def __init__(self) -> None:
        self.stop = trio.Event()
        self.reload = trio.Event()


class Node:
    """A node that is not opened yet; `run` serves until it is told to stop.

    `processes` are its workers, started and waiting for their charge; none for a node that is one
    process.
    """

    def __init__(
        self,
        config: Config,
        *,
        logs: Logs,
        notifier: Notifier,
        processes: Sequence[WorkerProcess] = (),
    ) -> None:
        self._config = config
        self._processes = processes
        self._notifier = notifier
        self._logs = logs
        self._ports = Ports(SystemClock(), SystemRandom(), TrioThreads())
        self._metrics = Metrics()
        self._engine_watcher = EngineWatcher()
        self._log = structlog.get_logger()
        self._serves = False

    async def run(self, orders: Orders) -> None:
        """Opens the store, serves until `orders.stop`, drains, and closes the store.

        Raises Rs3gwError (the store cannot be opened, no worker be started) and OSError (an
        address cannot be bound).
        """
        front = self._make_front()
        try:
            store_lock = await claim_store(self._config, self._ports.threads)
            try:
                await self._run(front, store_lock, orders)
            finally:
                os.close(store_lock)
        finally:
            front.close()

    def _make_front(self) -> Front:
        if not self._processes:
            return LocalFront(self._config, self._logs, self._metrics, self._ports)
        return WorkerFront(self._config, self._logs, self._metrics, self._processes)

    async def _run(self, front: Front, store_lock: int, orders: Orders) -> None:
        engine = await open_engine(
            self._config,
            clock=self._ports.clock,
            random=self._ports.random,
            threads=self._ports.threads,
            observer=self._engine_watcher,
        )
        try:
            async with trio.open_nursery() as nursery:
                await nursery.start(engine.run)
                nursery.start_soon(self._give_up_opening, orders, nursery.cancel_scope)
                async with open_stores(self._config, engine, self._ports) as stores:
                    await self._serve(front, engine, stores, store_lock, orders)
                nursery.cancel_scope.cancel()
        finally:
            # Before the store is closed nobody may be left who writes to it.
            front.close()
            await engine.close()

    async def _give_up_opening(self, orders: Orders, opening: trio.CancelScope) -> None:
        """A node of a cluster may wait for the others for ever, and must end when it is told to."""
        await orders.stop.wait()
        if not self._serves:
            self._log.info("stopped before it served")
            opening.cancel()

    async def _serve(
        self, front: Front, engine: Engine, stores: Stores, store_lock: int, orders: Orders
    ) -> None:
        config = self._config
        if not stores.is_founder:
            await wait_root(stores.directory)
        keyring, management = await make_keyring(config, engine, self._ports, stores.store)
        credentials = None
        if stores.is_founder:
            credentials = await ensure_root(
                stores.store,
                stores.directory,
                config,
                clock=self._ports.clock,
                random=self._ports.random,
                secrets=keyring,
            )
            await self._seal_secrets(stores, keyring)
        register_engine(self._metrics, engine, self._engine_watcher)
        if stores.blobs is not None:
            register_blobs(self._metrics, stores.blobs)
        if stores.gossip is not None:
            register_gossip(self._metrics, stores.gossip)
        register_log(self._metrics, self._logs.writer)
        ground = Ground(
            engine=engine,
            host_id=self._ports.random.token_bytes(12).hex(),
            metrics_token=ensure_metrics_token(config) if config.metrics_enabled else None,
            keyring=keyring,
            secrets=_secrets(config, credentials),
            store_lock=store_lock,
            stores=stores,
        )
        for secret in ground.secrets:
            self._logs.redactor.add_secret(secret)
        async with trio.open_nursery() as nursery:
            rewrapping = Rewrapping(stores, make_object_keys(config, keyring, self._ports))
            keys = KeyAdministration(keyring, management, rewrapping, region=config.region)
            nursery.start_soon(rewrapping.run)
            await nursery.start(self._make_admin(front, engine, stores, keys, keyring).serve)
            place = await nursery.start(front.serve, ground)
            nursery.start_soon(keep_watchdog, self._notifier, front.is_healthy)
            nursery.start_soon(give_back_memory, self._ports.threads)
            nursery.start_soon(self._reload_on_order, front, orders)
            url = url_of(config, place)
            if credentials is not None:
                sys.stdout.write(welcome(url, credentials, config, os.environ))
                sys.stdout.flush()
            # What lives now lives to the end: no collection need look at it again.
            gc.freeze()
            self._log.info("ready", url=url, data=str(data_root(config)))
            self._serves = True
            self._notifier.ready()
            await orders.stop.wait()
            self._notifier.stopping()
            cut = await self._drain(front, stores)
            self._log.info("stopped", connections_cut=cut)
            nursery.cancel_scope.cancel()

    async def _drain(self, front: Front, stores: Stores) -> int:
        """Ends the serving, and meanwhile the leading; how many connections were cut."""
        async with trio.open_nursery() as nursery:
            if stores.hand_over is not None:
                nursery.start_soon(stores.hand_over)
            return await front.drain(self._config.shutdown_grace_secs)

    async def _seal_secrets(self, stores: Stores, keyring: Keyring) -> None:
        """No secret stays as it is in the store; on a full disk it has to, until the next start."""
        try:
            count = await seal_plain_keys(stores.store, stores.directory, keyring)
        except (DiskError, KeyringRefused) as error:
            self._log.error("secrets of access keys are not wrapped yet", reason=str(error))
        else:
            if count:
                self._log.info("secrets of access keys wrapped", keys=count)

    def _make_admin(
        self,
        front: Front,
        engine: Engine,
        stores: Stores,
        keys: KeyAdministration,
        keyring: Keyring,
    ) -> AdminServer:
        administration = Administration(
            store=stores.store,
            directory=stores.directory,
            clock=self._ports.clock,
            random=self._ports.random,
            figures=lambda: node_figures(engine, front.figures()),
            secrets=keyring,
        )
        return AdminServer(
            str(data_root(self._config) / SOCKET_PATH),
            front.administer(
                with_cluster(
                    stores.cluster, when_current(stores, keys.before(administration.handle))
                )
            ),
            on_failure=lambda error: self._log.error("admin request failed", exc_info=error),
        )

    async def _reload_on_order(self, front: Front, orders: Orders) -> None:
        while True:
            await orders.reload.wait()
            orders.reload = trio.Event()
            try:
                front.reload()
            except OSError as error:
                self._log.error("certificate and key stay as they were", reason=str(error))
            else:
                self._log.info("reloaded")


def _secrets(config: Config, credentials: RootCredentials | None) -> tuple[str, ...]:
    """What is to be masked in logs."""
    made = (credentials.secret_access_key,) if credentials else ()
    return (*made, config.master_key) if config.master_key else made
