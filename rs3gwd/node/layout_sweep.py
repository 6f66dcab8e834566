"""Freeing bodies that the layout gives to other nodes.

What it is not: it moves nothing. Small bodies ride in the log and so come to every node, and a
change of the layout takes partitions away: what is not this node's is dropped here, in walks over
all that it keeps.

    layout.have   [version 1, [blob id, ...]]  ->  [version 1, a bit for each, as bytes 0 and 1]

Invariant: the last copies are never dropped. A body goes only while one version of the layout is
in force, only after each node of its set has said that it keeps it durably, and only if no change
of the layout has been applied here since before they were asked. A node that said so drops it in
turn only by a later layout, and then asks too: and whoever has dropped it says no by then, since
the row and the body change in one order (`rs3gwd.engine.cluster_layout`).
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Final, Protocol

import msgspec
import structlog
import trio
from msgspec import Struct

from cluster.base.errors import PeerError
from cluster.base.ports import Handlers, Peers
from cluster.layout.layout import Layout, partition_of
from rs3gwd.base.errors import DiskError, Overloaded
from rs3gwd.base.ports import Threads
from rs3gwd.engine.blob_audit import list_kept
from rs3gwd.engine.cluster_layout import drop_blobs, which_kept
from rs3gwd.engine.engine import Engine
from rs3gwd.engine.environment import Transaction
from rs3gwd.engine.group_blobs import list_missing
from rs3gwd.engine.groups import SYSTEM_GROUP
from rs3gwd.node.blob_counts import BlobCounts
from rs3gwd.node.blob_errors import BlobStreamBroken
from rs3gwd.node.blob_frames import decode
from rs3gwd.node.layout_changes import LayoutChanges
from rs3gwd.node.placement import LayoutPlacement
from rs3gwd.node.proposing import Proposer

HAVE_METHOD: Final = "layout.have"
VERSION: Final = 1
BATCH_MAX: Final = 1000


class SweepSettings(Struct, frozen=True):
    """Seconds. A walk begins when the layout has changed, and `interval_s` after the one before, or
    `retry_s` after one that could not be ended; `pause_s` is between two batches of a walk."""

    look_s: float = 2.0
    interval_s: float = 3600.0
    retry_s: float = 30.0
    pause_s: float = 0.05
    call_timeout_s: float = 10.0


class HaveCall(Struct, array_like=True, frozen=True):
    """Which blobs a node is asked for."""

    version: int
    blob_ids: list[bytes]


class HaveAnswer(Struct, array_like=True, frozen=True):
    """Which of them it keeps: a byte 1 or 0 for each, in order."""

    version: int
    have: bytes


class _Rows(Protocol):
    """Lists ids of blobs behind one, by id."""

    def __call__(self, txn: Transaction, *, after: bytes, limit: int) -> list[bytes]: ...


_Agree = Callable[[Layout, list[bytes]], Awaitable[list[bytes]]]
"""Which of some blobs may be dropped here."""


class LayoutSweep:
    """Belongs to the event loop; `run` must be active."""

    def __init__(
        self,
        node: int,
        engine: Engine,
        peers: Peers,
        *,
        placement: LayoutPlacement,
        changes: LayoutChanges,
        proposer: Proposer,
        threads: Threads,
        counts: BlobCounts,
        settings: SweepSettings,
    ) -> None:
        self._node = node
        self._engine = engine
        self._peers = peers
        self._placement = placement
        self._changes = changes
        self._proposer = proposer
        self._threads = threads
        self._counts = counts
        self._settings = settings
        self._log = structlog.get_logger()

    def register(self, handlers: Handlers) -> None:
        """Before the transport runs."""
        handlers.on_call(HAVE_METHOD, self._on_have)

    async def run(self) -> None:
        """Sweeps until cancelled."""
        swept_version, due_s = 0, 0.0
        while True:
            await trio.sleep(self._settings.look_s)
            history = self._placement.history
            if history is None or len(history.versions) > 1:
                continue
            version = history.current.version
            if version == swept_version and trio.current_time() < due_s:
                continue
            pause_s = self._settings.retry_s
            try:
                if await self.sweep():
                    pause_s = self._settings.interval_s
            except (Overloaded, DiskError, PeerError) as error:
                self._log.info("what is not this node's is dropped later", reason=str(error))
            swept_version, due_s = version, trio.current_time() + pause_s

    async def sweep(self) -> bool:
        """One walk; False when it could not be ended: the layout is changing or has changed, or
        somebody lacks what it should have. Raises Overloaded, DiskError, PeerError."""
        layout = await self._settled()
        if layout is None:
            return False
        if all(self._node in found for found in layout.sets):
            return True
        is_whole = await self._walk(layout, _list_missing, self._unasked)
        return await self._walk(layout, list_kept, self._confirmed) and is_whole

    async def _walk(self, layout: Layout, rows: _Rows, agree: _Agree) -> bool:
        """Drops of some rows what `agree` lets go; whether that was all that is not this node's."""
        revision, after, is_whole = self._placement.revision, b"", True
        while True:
            listed = await self._threads.run(partial(self._list, rows, after))
            others = [each for each in listed if self._node not in _set_of(layout, each)]
            agreed = await agree(layout, others)
            is_whole = is_whole and len(agreed) == len(others)
            if agreed and not await self._drop(agreed, revision):
                return False
            if len(listed) < BATCH_MAX:
                return is_whole
            after = listed[-1]
            await trio.sleep(self._settings.pause_s)

    async def _settled(self) -> Layout | None:
        """The layout if one version alone is in force, as was proved, and this node goes by it."""
        await self._proposer.wait_current((SYSTEM_GROUP,))
        record, history = self._changes.record(), self._placement.history
        if record is None or history is None or record.revision != self._placement.revision:
            return None
        return history.current if len(history.versions) == 1 else None

    async def _confirmed(self, layout: Layout, blob_ids: list[bytes]) -> list[bytes]:
        """Those that every node of their set keeps."""
        asked: dict[int, list[bytes]] = defaultdict(list)
        for blob_id in blob_ids:
            for holder in _set_of(layout, blob_id):
                asked[holder].append(blob_id)
        agreed = set(blob_ids)
        for holder, wanted in asked.items():
            agreed -= set(wanted) - await self._ask(holder, wanted)
        return [blob_id for blob_id in blob_ids if blob_id in agreed]

    async def _ask(self, holder: int, blob_ids: list[bytes]) -> set[bytes]:
        call = msgspec.msgpack.encode(HaveCall(VERSION, blob_ids))
        timeout_s = self._settings.call_timeout_s
        said = await self._peers.call(holder, HAVE_METHOD, call, timeout_s=timeout_s)
        answer = decode(said, HaveAnswer)
        if answer.version != VERSION or len(answer.have) != len(blob_ids):
            raise BlobStreamBroken(f"node {holder} answers something else")
        pairs = zip(blob_ids, answer.have, strict=True)
        return {blob_id for blob_id, has in pairs if has == 1}

    async def _unasked(self, _: Layout, blob_ids: list[bytes]) -> list[bytes]:
        """All of them: what is missing here nobody can lose here."""
        return blob_ids

    async def _drop(self, blob_ids: list[bytes], revision: int) -> bool:
        """Whether they were dropped; not when the layout has changed."""
        count: int | None = await self._engine.parts.pipeline.change(
            lambda txn, ledger: drop_blobs(txn, ledger, blob_ids, revision)
        )
        self._counts.dropped += count or 0
        return count is not None

    def _list(self, rows: _Rows, after: bytes) -> list[bytes]:
        with self._engine.environment.read() as txn:
            return rows(txn, after=after, limit=BATCH_MAX)

    async def _on_have(self, _: int, payload: bytes) -> bytes:
        call = decode(payload, HaveCall)
        if call.version != VERSION or len(call.blob_ids) > BATCH_MAX:
            raise BlobStreamBroken(
                f"{len(call.blob_ids)} blobs asked for in version {call.version}"
            )
        have = self._engine.look_up(which_kept, call.blob_ids)
        return msgspec.msgpack.encode(HaveAnswer(VERSION, have))


def _list_missing(txn: Transaction, *, after: bytes, limit: int) -> list[bytes]:
    return [blob_id for blob_id, _ in list_missing(txn, after=after, limit=limit)]


def _set_of(layout: Layout, blob_id: bytes) -> tuple[int, ...]:
    return layout.replicas_of(partition_of(blob_id, len(layout.sets)))
