"""Hinted hand-off: what other nodes missed, until they know it; and what this one is told.

What it is not: no bytes go through here. A replica that missed a body learns of it by the command,
which reaches every node, and fetches it (`blob_upkeep`); that is what nothing can be lost by. A
hint makes it quick, and covers what a command cannot say: a replica that another node found without
a blob which it should have. It is a row on this node's disk (`rs3gwd.engine.hints`), bounded, with
marks on whole partitions beyond the bound (`cluster.quorum.hints`), and is handed over when the
other node is there:

    blob.hints   [version 1, [blob id, ...], [partition, ...]]  ->  [version 1, is settled]

The node that is told proves itself current, looks at each blob, and hurries the fetching of what it
misses. Partitions it notes as its own to compare (`rs3gwd.engine.blob_audit`), and then says that
all is settled.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import msgspec
import structlog
import trio
from msgspec import Struct

from cluster.base.errors import PeerError
from cluster.base.ports import Handlers, Peers
from cluster.layout.layout import PARTITIONS, partition_of
from cluster.quorum.hints import Admission, HintBook
from rs3gwd.base.errors import DataCorrupt, DiskError, FormatError, Overloaded
from rs3gwd.base.ports import Clock, Threads
from rs3gwd.base.records import BlobRef
from rs3gwd.engine import blob_audit, hints
from rs3gwd.engine.engine import Engine
from rs3gwd.engine.environment import Transaction
from rs3gwd.engine.group_blobs import find_missing
from rs3gwd.engine.hints import Owed
from rs3gwd.engine.segments import Ledger
from rs3gwd.node.blob_counts import BlobCounts
from rs3gwd.node.blob_errors import BlobRefused, BlobStreamBroken
from rs3gwd.node.blob_frames import decode
from rs3gwd.node.placement import Placement
from rs3gwd.node.proposing import Proposer

HINTS_METHOD = "blob.hints"
VERSION = 1
BATCH_MAX = 1000
RECENT_MAX = 4096
STEP_PAUSE_S = 0.01
"""Between two steps of a comparison: about half of a thread is enough for it."""


class HintSettings(Struct, frozen=True):
    """`hints_max` bounds the hints for all nodes, of which one may have half."""

    hints_max: int = 100_000
    interval_s: float = 1.0
    call_timeout_s: float = 10.0


class HintCall(Struct, array_like=True, frozen=True):
    """What a node is told: blobs by id, and partitions."""

    version: int
    blob_ids: list[bytes]
    partitions: list[int]


class HintAnswer(Struct, array_like=True, frozen=True):
    """Whether the node has taken all of it over."""

    version: int
    is_settled: bool


class BlobHints:
    """What this node owes, and what it is told. Belongs to the event loop."""

    def __init__(
        self,
        engine: Engine,
        peers: Peers,
        proposer: Proposer,
        placement: Placement,
        *,
        node: int,
        is_alive: Callable[[int], bool],
        nodes: Callable[[], tuple[int, ...]],
        clock: Clock,
        threads: Threads,
        counts: BlobCounts,
        settings: HintSettings,
    ) -> None:
        self._engine = engine
        self._peers = peers
        self._proposer = proposer
        self._placement = placement
        self._node = node
        self._is_alive = is_alive
        self._nodes = nodes
        self._clock = clock
        self._threads = threads
        self._counts = counts
        self._settings = settings
        self._book = HintBook(
            per_node_max=max(1, settings.hints_max // 2), total_max=settings.hints_max
        )
        self._recent: dict[tuple[int, bytes], None] = {}
        self._unwritten: list[tuple[int, bytes]] = []
        self._unwritten_marks: set[tuple[int, int]] = set()
        self._silent: set[int] = set()
        self._compared_next: set[int] = set()
        """Partitions of which this node lacks something and does not know why."""
        self._hurry: Callable[[bytes], None] = lambda _: None
        self._log = structlog.get_logger()

    def register(self, handlers: Handlers, hurry: Callable[[bytes], None]) -> None:
        """Before the transport runs; `hurry` is told of missing blobs that can be had now."""
        self._hurry = hurry
        handlers.on_call(HINTS_METHOD, self._on_hints)

    @property
    def waiting(self) -> int:
        """Hints on this node's disk."""
        return self._book.stored

    @property
    def marked(self) -> int:
        """Partitions that are marked for other nodes."""
        return self._book.marked

    # What is owed.

    def owe(self, node: int, blob: BlobRef) -> None:
        """A node may lack a blob. Written soon; until then a kill of this node forgets it."""
        name = node, blob.blob_id
        if name in self._recent:
            return
        self._recent[name] = None
        if len(self._recent) > RECENT_MAX:
            del self._recent[next(iter(self._recent))]
        partition = partition_of(blob.blob_id)
        admission = self._book.offer(node, partition)
        if admission is Admission.STORE:
            self._counts.hints_queued += 1
            self._unwritten.append(name)
        elif admission is Admission.MARK:
            self._counts.partitions_marked += 1
            self._unwritten_marks.add((node, partition))

    def lacks(self, blob_id: bytes) -> None:
        """A reader of this node met a blob that is not here: where it should be, it is fetched."""
        if not self._placement.holds(blob_id, self._node):
            return
        if self._engine.look_up(find_missing, blob_id) is not None:
            self._hurry(blob_id)
        else:
            self._compared_next.add(partition_of(blob_id))

    async def load(self) -> None:
        """What the disk has, before anything else."""
        for node, owed in (await self._threads.run(self._count)).items():
            self._book.load(node, stored=owed.blobs, marks=frozenset(owed.partitions))

    async def run(self) -> None:
        """Writes, hands over and compares until cancelled."""
        while True:
            await trio.sleep(self._settings.interval_s)
            try:
                await self.write()
                await self.hand_over()
                if self._compared_next:
                    await self.compare_later(sorted(self._compared_next))
                    self._compared_next.clear()
                await self.compare()
            except (Overloaded, DiskError) as error:
                self._log.info("hints are looked after later", reason=str(error))

    async def write(self) -> None:
        """Brings new hints to the disk. Raises Overloaded, DiskFull, DiskFailed."""
        if not self._unwritten and not self._unwritten_marks:
            return
        blob_ids, marks = self._unwritten, self._unwritten_marks
        self._unwritten, self._unwritten_marks = [], set()
        try:
            repeated = await self._engine.parts.pipeline.change(
                partial(_write, blob_ids, marks, self._clock.now_ms())
            )
        except BaseException:
            self._unwritten[:0] = blob_ids
            self._unwritten_marks |= marks
            raise
        for node, count in repeated.items():
            self._book.repeated(node, count)

    async def hand_over(self) -> None:
        """One round: to every node that is there and due. Raises as `write`."""
        members = self._nodes()
        self._look_who_is_back(members)
        due = self._book.due(trio.current_time())
        for node in due:
            if node not in members:
                await self._forget(node)
        async with trio.open_nursery() as nursery:
            for node in due:
                if node in members and self._is_alive(node):
                    nursery.start_soon(self._tell, node)

    def _look_who_is_back(self, members: tuple[int, ...]) -> None:
        """What was tried in vain while a node was silent is due at once when it is there again."""
        silent = {node for node in members if not self._is_alive(node)}
        for node in self._silent - silent:
            self._book.came_back(node)
        self._silent = silent

    async def _tell(self, node: int) -> None:
        self._book.begin(node)
        blob_ids = self._engine.look_up(hints.list_blob_hints, node, limit=BATCH_MAX)
        marks = self._engine.look_up(hints.list_partition_hints, node)
        call = HintCall(VERSION, blob_ids, marks)
        try:
            answer = await self._peers.call(
                node,
                HINTS_METHOD,
                msgspec.msgpack.encode(call),
                timeout_s=self._settings.call_timeout_s,
            )
            is_settled = decode(answer, HintAnswer).is_settled
        except (PeerError, BlobStreamBroken) as error:
            self._log.debug("hints are not delivered", node=node, reason=str(error))
            is_settled = False
        if is_settled:
            is_settled = await self._remove_settled(node, blob_ids, frozenset(marks))
        if not is_settled:
            self._book.waiting(node, trio.current_time())

    async def _remove_settled(
        self, node: int, blob_ids: list[bytes], marks: frozenset[int]
    ) -> bool:
        """What a node has taken over goes off the disk, then out of the book; whether it did."""
        gone = self._book.removable(node, marks)
        try:
            await self._remove(node, blob_ids, gone)
        except (Overloaded, DiskError) as error:
            self._log.info("hints cannot be removed", node=node, reason=str(error))
            return False
        self._book.settled(node, stored=len(blob_ids), marks=gone)
        for blob_id in blob_ids:
            self._recent.pop((node, blob_id), None)
        self._counts.hints_delivered += len(blob_ids)
        return True

    async def _remove(self, node: int, blob_ids: list[bytes], marks: frozenset[int]) -> None:
        await self._engine.parts.pipeline.change(
            lambda txn, _: hints.remove_hints(txn, node, blob_ids, marks)
        )

    async def _forget(self, node: int) -> None:
        """A node is no member any more: nothing is owed to it."""
        while blob_ids := self._engine.look_up(hints.list_blob_hints, node, limit=BATCH_MAX):
            await self._remove(node, blob_ids, frozenset())
        marks = self._engine.look_up(hints.list_partition_hints, node)
        await self._remove(node, [], frozenset(marks))
        self._book.forget(node)

    def _count(self) -> dict[int, Owed]:
        with self._engine.environment.read() as txn:
            return hints.count_hints(txn)

    # What this node is told.

    async def _on_hints(self, _: int, payload: bytes) -> bytes:
        call = decode(payload, HintCall)
        if call.version != VERSION or len(call.blob_ids) > BATCH_MAX:
            raise BlobStreamBroken(f"{len(call.blob_ids)} hints of version {call.version}")
        if any(not 0 <= partition < PARTITIONS for partition in call.partitions):
            raise BlobStreamBroken("a partition that there is not")
        try:
            if call.blob_ids:
                await self._proposer.wait_current(self._proposer.all_groups)
            if call.partitions:
                await self.compare_later(call.partitions)
        except (Overloaded, DiskError) as error:
            raise BlobRefused(str(error)) from error
        for blob_id in call.blob_ids:
            if self._engine.look_up(find_missing, blob_id) is not None:
                self._hurry(blob_id)
        return msgspec.msgpack.encode(HintAnswer(VERSION, True))

    async def compare_later(self, partitions: list[int]) -> None:
        """This node is to find the blobs of partitions that it should have and lacks; survives a
        restart. Raises Overloaded, DiskFull, DiskFailed."""
        now_ms = self._clock.now_ms()
        await self._engine.parts.pipeline.change(
            lambda txn, _: hints.put_own_partitions(txn, partitions, now_ms=now_ms)
        )

    async def compare(self) -> int:
        """One round over the partitions that are to be compared; how many blobs are missing now
        that were not known to be. Raises Overloaded, DiskError."""
        marks = self._engine.look_up(hints.list_own_partitions)
        if not marks:
            return 0
        await self._proposer.wait_current(self._proposer.all_groups)
        walk = blob_audit.LackingWalk(
            self._engine.environment, partial(self._is_ours, frozenset(marks)), self._report
        )
        pipeline = self._engine.parts.pipeline
        count = 0
        try:
            while (found := await self._threads.run(walk.step)) is not None:
                if found:
                    count += await pipeline.change(partial(_note, found))
                await trio.sleep(STEP_PAUSE_S)
        finally:
            walk.close()
        await pipeline.change(partial(_compared, marks))
        self._log.info("compared partitions", partitions=len(marks), missing=count)
        return count

    def _is_ours(self, partitions: frozenset[int], blob_id: bytes) -> bool:
        in_question = partition_of(blob_id) in partitions
        return in_question and self._placement.holds(blob_id, self._node)

    def _report(self, error: DataCorrupt | FormatError) -> None:
        self._log.warning("a damaged row was passed over", reason=str(error))


def _write(
    blob_ids: list[tuple[int, bytes]],
    marks: set[tuple[int, int]],
    now_ms: int,
    txn: Transaction,
    _: Ledger,
) -> dict[int, int]:
    hints.put_partition_hints(txn, marks, now_ms=now_ms)
    return dict(hints.put_blob_hints(txn, blob_ids, now_ms=now_ms))


def _note(found: list[blob_audit.Lacking], txn: Transaction, _: Ledger) -> int:
    return blob_audit.note_lacking(txn, found)


def _compared(marks: dict[int, bytes], txn: Transaction, _: Ledger) -> None:
    for partition, mark in marks.items():
        hints.remove_own_partition(txn, partition, mark)
