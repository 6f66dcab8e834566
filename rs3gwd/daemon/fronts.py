"""The two ways in which a node meets its clients: in its own process, or through workers.

`Node` opens the store, keeps the admin socket and says when it is ready; it does not know which of
the two it has.
"""

import socket
from collections.abc import Sequence
from typing import Protocol

import msgspec
import trio
from msgspec import Struct

from rs3gwd.config import Config
from rs3gwd.daemon.administering import AdminHandler, with_workers
from rs3gwd.daemon.figures import register_front, register_workers
from rs3gwd.daemon.frontend import Pages, Ports, make_gateway, tls_context
from rs3gwd.daemon.key_using import store_key_uses
from rs3gwd.daemon.logs import Logs
from rs3gwd.daemon.settings import address_of
from rs3gwd.daemon.stores import Stores
from rs3gwd.daemon.supervisor import Charge, Supervisor
from rs3gwd.daemon.watching import RequestWatcher
from rs3gwd.daemon.worker_process import WorkerProcess, worker_command
from rs3gwd.engine.core_service import CoreService
from rs3gwd.engine.engine import Engine
from rs3gwd.gateway.gateway import Gateway
from rs3gwd.gateway.listener import bind_shared
from rs3gwd.iam.key_uses import KeyUses
from rs3gwd.observe.metrics import Metrics
from rs3gwd.transform.keyring import Keyring


class Ground(Struct, frozen=True):
    """What a front stands on. `secrets` are to be masked in logs; `store_lock` is the descriptor
    that keeps the next daemon off this store as long as any process has it."""

    engine: Engine
    host_id: str
    keyring: Keyring
    metrics_token: str | None
    secrets: tuple[str, ...]
    store_lock: int
    stores: Stores


class Front(Protocol):
    """The network front of a node."""

    async def serve(self, ground: Ground, *, task_status: trio.TaskStatus[tuple[str, int]]) -> None:
        """Serves until cancelled; started, with the first address, once every client is served.

        Raises OSError when an address cannot be bound or the certificate not be read.
        """
        ...

    def administer(self, handle: AdminHandler) -> AdminHandler:
        """The handler of admin requests, over the one that knows the store."""
        ...

    def figures(self) -> dict[str, int]:
        """The counters of the front, for `rs3gwctl status`."""
        ...

    def is_healthy(self) -> bool:
        """Whether every client is served."""
        ...

    def reload(self) -> None:
        """Takes certificate and key as they are now (SIGHUP). Raises OSError, leaving the old."""
        ...

    async def drain(self, grace_seconds: float) -> int:
        """Ends the serving; how many connections were cut."""
        ...

    def close(self) -> None:
        """Leaves nothing behind, after `serve` has ended."""
        ...


class LocalFront:
    """The front in this process (workers = 0)."""

    def __init__(self, config: Config, logs: Logs, metrics: Metrics, ports: Ports) -> None:
        self._config = config
        self._metrics = metrics
        self._ports = ports
        self._watcher = RequestWatcher(metrics, logs.access_log)
        self._gateway: Gateway | None = None

    async def serve(self, ground: Ground, *, task_status: trio.TaskStatus[tuple[str, int]]) -> None:
        config = self._config
        secure = bool(config.tls_cert_path)
        uses = KeyUses(config.region)
        self._gateway = gateway = make_gateway(
            config,
            ground.engine,
            addresses=[address_of(text, secure=secure) for text in config.bind_addr],
            host_id=ground.host_id,
            keyring=ground.keyring,
            observer=self._watcher,
            pages=Pages(self._render, ground.metrics_token),
            ports=self._ports,
            stores=ground.stores,
            uses=uses,
        )
        register_front(self._metrics, gateway, self._watcher)
        async with trio.open_nursery() as nursery:
            await nursery.start(gateway.serve)
            nursery.start_soon(store_key_uses, uses, ground.stores.store)
            task_status.started(gateway.addresses[0])

    def administer(self, handle: AdminHandler) -> AdminHandler:
        return handle

    def figures(self) -> dict[str, int]:
        return msgspec.structs.asdict(self._served.statistics())

    def is_healthy(self) -> bool:
        return True

    def reload(self) -> None:
        context = self._served.tls_context
        if context is not None:
            # A context of its own finds out whether they can be read and belong together.
            tls_context(self._config)
            context.load_cert_chain(self._config.tls_cert_path, self._config.tls_key_path)

    async def drain(self, grace_seconds: float) -> int:
        return await self._served.drain(grace_seconds)

    def close(self) -> None:
        """Nothing: whoever cancels `serve` closes the listeners."""

    @property
    def _served(self) -> Gateway:
        assert self._gateway is not None, "the front does not serve yet"
        return self._gateway

    async def _render(self) -> bytes:
        return self._metrics.render()


class WorkerFront:
    """The front in processes of its own."""

    def __init__(
        self, config: Config, logs: Logs, metrics: Metrics, processes: Sequence[WorkerProcess]
    ) -> None:
        assert logs.lock is not None, "the processes write to one descriptor"
        self._config = config
        self._count = len(processes)
        self._log_lock = logs.lock
        self._supervisor = Supervisor(
            worker_command(),
            count=len(processes),
            own=metrics.families,
            patience_seconds=float(config.worker_patience_secs),
        )
        self._supervisor.hire(processes)
        register_workers(metrics, self._supervisor)

    async def serve(self, ground: Ground, *, task_status: trio.TaskStatus[tuple[str, int]]) -> None:
        tls_context(self._config)
        shares = await self._bind()
        charge = Charge(
            config=self._config,
            engine=CoreService(ground.engine),
            host_id=ground.host_id,
            log_lock=self._log_lock,
            metrics_token=ground.metrics_token,
            secrets=ground.secrets,
            secure=bool(self._config.tls_cert_path),
            shared_page=ground.engine.shared.descriptor,
            shares=shares,
            store_lock=ground.store_lock,
        )
        host, port = shares[0][0].getsockname()[:2]
        async with trio.open_nursery() as nursery:
            await nursery.start(self._supervisor.serve, charge)
            task_status.started((str(host), int(port)))

    def administer(self, handle: AdminHandler) -> AdminHandler:
        return with_workers(self._supervisor, handle)

    def figures(self) -> dict[str, int]:
        return {"workers": self._supervisor.ready_count, **self._supervisor.collector.front()}

    def is_healthy(self) -> bool:
        return self._supervisor.is_healthy()

    def reload(self) -> None:
        # A certificate that cannot be read is found here, before any worker is sent home.
        tls_context(self._config)
        self._supervisor.restart()

    async def drain(self, grace_seconds: float) -> int:
        return await self._supervisor.drain(grace_seconds)

    def close(self) -> None:
        self._supervisor.close()

    async def _bind(self) -> list[list[socket.socket]]:
        """The listening sockets of each place, one for every address."""
        shares: list[list[socket.socket]] = [[] for _ in range(self._count)]
        try:
            for text in self._config.bind_addr:
                address = address_of(text, secure=bool(self._config.tls_cert_path))
                for share, bound in zip(
                    shares, await bind_shared(address, sharers=self._count), strict=True
                ):
                    share += bound
        except OSError:
            for share in shares:
                for each in share:
                    each.close()
            raise
        return shares
