"""The S3 surface on three nodes in one process, each request through the next of them. No tests.

Under the `S3World` of a test lies then no memory store but a `ClusterThread`: whole nodes with
engines, groups and bytes, on directories that are removed at the end. Each node has a service of
its own, with caches of its own, as a daemon has.
"""

from __future__ import annotations

import copy
import itertools
import shutil
import tempfile
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import trio
from msgspec import structs

from rs3gwd.base.commands import PutAccessKey, PutAccount
from rs3gwd.base.http import Request, Response, StreamedBody
from rs3gwd.base.records import AccessKeyRecord, AccountRecord
from rs3gwd.engine.group_rows import RowDigest, group_rows
from rs3gwd.engine.tables import Table
from rs3gwd.s3.call import Services
from rs3gwd.s3.service import S3Service
from rs3gwd.testing.cluster_thread import ClusterThread
from rs3gwd.testing.cluster_world import GROUPS

ASKED_MAX = 4
"""How often a request is sent to nodes that say that they cannot answer now."""


class ThreeNodes:
    """As much of a store and a service as an `S3World` uses; `close` it at the end."""

    def __init__(self) -> None:
        self._path = tempfile.mkdtemp(prefix="three-nodes-")
        self._thread = ClusterThread(self._path)
        self._turns = itertools.count()
        self._services: list[S3Service] = []
        self.store = _Store(self)

    def close(self) -> None:
        """Ends the nodes and removes their directories."""
        self._thread.close()
        shutil.rmtree(self._path)

    def serve(self, services: Services) -> _Service:
        """A service on each node, with these settings; all of them as one."""
        self._services = [
            S3Service(
                structs.replace(
                    services,
                    store=node.cluster.store,
                    directory=node.cluster.directory,
                    sessions=node.cluster.store,
                    access=type(services.access)(),
                    permissions=type(services.permissions)(),
                )
            )
            for node in self._thread.world.nodes.values()
        ]
        return _Service(self)

    async def call(self, function: Callable[..., Any], *arguments: object) -> Any:
        """Runs an async function beside the nodes."""
        return await trio.to_thread.run_sync(self._thread.run, function, *arguments)

    async def handle(self, request: Request) -> Response:
        """What the next node answers, its body read whole."""
        service = self._services[next(self._turns) % len(self._services)]
        return await self.call(_answer, service, request)  # type: ignore[no-any-return]

    def submit(self, *commands: object) -> None:
        """Applies commands, blocking."""
        for command in commands:
            self._block(self.node_store.submit, command)

    @property
    def node_store(self) -> Any:
        """The store of the next node."""
        return self._thread.node.store

    def snapshot(self) -> bytes:
        """What the groups hold, once all nodes hold the same; who proposed what and when, which the
        upkeep of buckets changes without any request, left out."""
        self._block(self._thread.world.wait_equal)
        digest = RowDigest()
        with self._thread.node.engine.environment.read() as txn:
            for group in range(GROUPS + 1):
                for row in group_rows(txn, group, GROUPS):
                    if row.table is not Table.SESSIONS:
                        digest.update(row)
        return digest.finish()

    def _block(self, function: Callable[..., Any], *arguments: object) -> Any:
        """As `call`, from where nothing can be awaited, while the test's own event loop waits."""
        with ThreadPoolExecutor(1) as pool:
            return pool.submit(self._thread.run, function, *arguments).result()


class _Store:
    """The store of another node at each call, and the directory that a world puts accounts in."""

    def __init__(self, nodes: ThreeNodes) -> None:
        self._nodes = nodes
        self.directory = self

    def add_account(self, account: AccountRecord) -> None:
        """As `MemoryDirectory` has it."""
        self._nodes.submit(PutAccount(account))

    def add_access_key(self, key: AccessKeyRecord) -> None:
        """As `MemoryDirectory` has it."""
        self._nodes.submit(PutAccessKey(key))

    async def submit(self, command: object) -> Any:
        """Through the next node."""
        return await self._nodes.call(self._nodes.node_store.submit, command)

    async def list_versions(self, bucket: str) -> Any:
        """Through the next node."""
        return await self._nodes.call(self._nodes.node_store.list_versions, bucket)


class _Service:
    """`S3Service` as a world has it."""

    def __init__(self, nodes: ThreeNodes) -> None:
        self._nodes = nodes

    async def handle(self, request: Request) -> Response:
        """What the next node answers, or the one after it.

        The nodes elect twenty times as fast as real ones: where the machine stops for a tenth of a
        second they are without a leader, and ask clients to come again, as these do.
        """
        for _ in range(ASKED_MAX - 1):
            body = copy.deepcopy(request.body)
            response = await self._nodes.handle(structs.replace(request, body=body))
            if response.status != 503:
                return response
        return await self._nodes.handle(request)


async def _answer(service: S3Service, request: Request) -> Response:
    response = await service.handle(request)
    if isinstance(response.body, StreamedBody):
        pieces = []
        async with response.body.source as reader:
            while piece := await reader.read():
                pieces.append(bytes(piece))
        response.body = b"".join(pieces)
    return response
