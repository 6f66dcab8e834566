"""One node: every part made, joined and supervised.

    FileDisk, clock, randomness, threads
        -> Engine -> LocalStore, LocalDirectory
        -> S3Service -> Gateway          (S3, metrics and health on one port)
        -> Administration -> AdminServer (rs3gwctl, over a Unix socket)

Order of the start: the engine opens and recovers, the root account is made sure of, the listeners
bind, READY. Order of the end: the gateway drains, then the admin socket closes, then the engine:
nobody is told yes by a part whose ground is gone.
"""

import gc
import os
import ssl
import sys
from typing import Any

import structlog
import trio

from rs3gwd.base.admin import SOCKET_PATH
from rs3gwd.config import Config
from rs3gwd.daemon.bootstrap import ensure_metrics_token, ensure_root, welcome
from rs3gwd.daemon.figures import node_figures, register_metrics
from rs3gwd.daemon.logs import Logs
from rs3gwd.daemon.memory import give_back_memory
from rs3gwd.daemon.opening import data_root, open_engine
from rs3gwd.daemon.settings import address_of, gateway_limits, presigned_v2_methods
from rs3gwd.daemon.watching import EngineWatcher, RequestWatcher
from rs3gwd.engine.engine import Engine
from rs3gwd.engine.system import SystemClock, SystemRandom, TrioThreads
from rs3gwd.gateway.admin_server import AdminServer
from rs3gwd.gateway.asgi_app import Readiness, make_pages
from rs3gwd.gateway.gateway import Gateway
from rs3gwd.iam.administration import Administration
from rs3gwd.node.local import LocalDirectory, LocalStore
from rs3gwd.observe.metrics import Metrics
from rs3gwd.observe.notify import Notifier, keep_watchdog
from rs3gwd.s3.call import Services
from rs3gwd.s3.service import S3Service


class Node:
    """A node that is opened and not yet serving; `run` serves until `stop` is set."""

    def __init__(self, config: Config, *, logs: Logs, notifier: Notifier) -> None:
        self._config = config
        self._notifier = notifier
        self._logs = logs
        self._clock = SystemClock()
        self._random = SystemRandom()
        self._threads = TrioThreads()
        self._metrics = Metrics()
        self._engine_watcher = EngineWatcher()
        self._request_watcher = RequestWatcher(self._metrics, logs.access_log)
        self._log = structlog.get_logger()

    async def run(self, stop: trio.Event) -> None:
        """Opens the store, serves until `stop` is set, drains, and closes the store.

        Raises Rs3gwError (the store cannot be opened) and OSError (an address cannot be bound).
        """
        engine = await open_engine(
            self._config,
            clock=self._clock,
            random=self._random,
            threads=self._threads,
            observer=self._engine_watcher,
        )
        try:
            async with trio.open_nursery() as nursery:
                await nursery.start(engine.run)
                await self._serve(engine, stop)
                nursery.cancel_scope.cancel()
        finally:
            await engine.close()

    async def _serve(self, engine: Engine, stop: trio.Event) -> None:
        store, directory = LocalStore(engine), LocalDirectory(engine)
        credentials = await ensure_root(
            store, directory, self._config, clock=self._clock, random=self._random
        )
        gateway = self._make_gateway(engine, store, directory)
        register_metrics(
            self._metrics,
            engine,
            gateway,
            self._engine_watcher,
            self._request_watcher,
            self._logs.writer,
        )
        admin = AdminServer(
            str(data_root(self._config) / SOCKET_PATH),
            Administration(
                store=store,
                directory=directory,
                clock=self._clock,
                random=self._random,
                figures=lambda: node_figures(engine, gateway),
            ).handle,
            on_failure=lambda error: self._request_watcher.on_failure(None, error),
        )
        async with trio.open_nursery() as nursery:
            await nursery.start(admin.serve)
            await nursery.start(gateway.serve)
            nursery.start_soon(keep_watchdog, self._notifier)
            nursery.start_soon(give_back_memory, self._threads)
            url = self._url(gateway)
            if credentials is not None:
                self._logs.redactor.add_secret(credentials.secret_access_key)
                sys.stdout.write(welcome(url, credentials, self._config, os.environ))
                sys.stdout.flush()
            # What lives now lives to the end: no collection need look at it again.
            gc.freeze()
            self._log.info("ready", url=url, data=str(data_root(self._config)))
            self._notifier.ready()
            await stop.wait()
            self._notifier.stopping()
            cut = await gateway.drain(self._config.shutdown_grace_secs)
            self._log.info("stopped", connections_cut=cut)
            nursery.cancel_scope.cancel()

    def _make_gateway(
        self, engine: Engine, store: LocalStore, directory: LocalDirectory
    ) -> Gateway:
        config = self._config
        host_id = self._random.token_bytes(12).hex()
        service = S3Service(
            Services(
                store=store,
                directory=directory,
                clock=self._clock,
                random=self._random,
                threads=self._threads,
                region=config.region,
                virtual_host_domains=config.virtual_host_domains,
                presigned_v2_methods=presigned_v2_methods(config.presigned_v2),
                durability_default=config.durability_default,
                host_id=host_id,
                memory=engine.memory,
            )
        )
        pages: Any = make_pages(
            render_metrics=self._metrics.render,
            metrics_token=ensure_metrics_token(config) if config.metrics_enabled else None,
            readiness=lambda: _readiness(engine),
        )
        # Quart's ASGI types are narrower than ASGI's.
        return Gateway(
            handler=service.handle,
            pages=pages,
            addresses=[
                address_of(text, secure=bool(config.tls_cert_path)) for text in config.bind_addr
            ],
            observer=self._request_watcher,
            clock=self._clock,
            random=self._random,
            host_id=host_id,
            limits=gateway_limits(config),
            tls_context=_tls_context(config),
        )

    def _url(self, gateway: Gateway) -> str:
        host, port = gateway.addresses[0]
        scheme = "https" if self._config.tls_cert_path else "http"
        return f"{scheme}://{f'[{host}]' if ':' in host else host}:{port}"


def _readiness(engine: Engine) -> Readiness:
    failure = engine.statistics().disk_failed
    return Readiness(ready=failure is None, checks={"disk": failure or "ok"})


def _tls_context(config: Config) -> ssl.SSLContext | None:
    if not config.tls_cert_path:
        return None
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.load_cert_chain(config.tls_cert_path, config.tls_key_path)
    return context
