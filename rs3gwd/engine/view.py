"""The state of the last commit, as the look-ups of the event loop see it.

A request makes five look-ups, and beginning and ending a read transaction costs more than most of
them. What they would see changes only when a batch is committed, so one transaction serves them all
until then: as one newspaper lies on the table of a reading room until the next one comes.

The core counts each commit on a shared page before anyone is told of it
(`rs3gwd.engine.shared_state`). A view looks at it at every use and begins anew when it has moved,
so a look-up that begins after an acknowledgement sees what was acknowledged, in every process.

Decoded rows of configuration (buckets, accounts, keys) are kept from one view to the next, under
the id of the commit that changed configuration last. A view may use them if its own snapshot is not
older than that commit; if it is, the change is being committed at this moment and the view keeps
rows for itself alone. So what is kept is never older or newer than the snapshot it is used with.
Nothing here depends on time.

Pages of an old state are pinned from the commit until the next use or `drop`. The core drops its
view with each commit, a worker a moment after each use: an idle process holds nothing up.
"""

from __future__ import annotations

from typing import Any

import trio

from rs3gwd.engine.environment import Environment, Transaction
from rs3gwd.engine.shared_state import SharedState


class View:
    """A read transaction that is begun when needed and kept. Belongs to the event loop."""

    __slots__ = ("_begun", "_commit_count", "_environment", "_kept", "_kept_id", "_shared", "_txn")

    def __init__(self, environment: Environment, shared: SharedState) -> None:
        self._environment = environment
        self._shared = shared
        self._txn: Transaction | None = None
        self._begun = trio.Event()
        self._commit_count = -1
        self._kept: dict[Any, Any] = {}
        self._kept_id = -1

    def transaction(self) -> Transaction:
        """The transaction, for a piece of work that ends before the next await.

        Raises Overloaded. An error of LMDB may leave it unusable: `drop` it then.
        """
        txn = self._txn
        if txn is None or self._commit_count != self._shared.commit_count:
            txn = self._begin()
        return txn

    async def wait_begun(self) -> None:
        """Until there is a transaction that may be dropped."""
        if self._txn is None:
            self._begun = trio.Event()
            await self._begun.wait()

    def drop(self) -> None:
        """The next look-up begins anew."""
        txn, self._txn = self._txn, None
        if txn is not None:
            txn.abort()

    def _begin(self) -> Transaction:
        self.drop()
        shared = self._shared
        # Before it begins: a commit that comes in between is then met once too often, never missed.
        self._commit_count = shared.commit_count
        self._begun.set()
        txn = self._txn = self._environment.read()
        # After it began: every change that the snapshot has was announced by now.
        config_id = shared.config_id
        if txn.transaction_id >= config_id:
            if config_id != self._kept_id:
                self._kept = {}
                self._kept_id = config_id
            txn.kept = self._kept
        return txn
