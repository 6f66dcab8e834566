"""One group as its host keeps it: the core, and who on this node waits for what.

A group is `held` while the state machine cannot take its entries: a snapshot is being installed,
or an installation broke off and left nothing whole (`hollow`). A held group answers heartbeats and
gives votes, for its log is what it was, but takes no entries, does not stand for election and
applies nothing. It is `frozen` for the moment in which its core is replaced.
"""

from collections import deque
from collections.abc import Callable
from heapq import heapify, heappop, heappush
from typing import NamedTuple

import trio

from cluster.base.errors import ProposalRefused
from cluster.base.ids import NodeId
from cluster.raft.messages import Message, MessageType
from cluster.raft.node import RaftNode
from cluster.raft.progress import ProgressState

CommandKey = tuple[int, int]
"""Session and number of a command; of an opening, 0 and its random number."""


class Offer(NamedTuple):
    """A proposal that waits for the next batch; `refused` is told when the core takes it not."""

    data: bytes
    refused: Callable[[ProposalRefused], None]


class Group:
    """One group on this node."""

    def __init__(self, number: int, node: RaftNode, applied: int) -> None:
        self.number = number
        self.node = node
        self.applied = applied
        """What the state machine has on disk and shows."""
        self.shown_until_ms = 0
        """Up to that reading of the clock this node shows all of the group and may say so; only as
        long as nothing happens to the core."""
        self.held = False
        self.hollow = False
        self.frozen = False
        self.installing = False
        self.writing = 0
        """Writes handed to the log and not answered."""
        self.applying = 0
        """Batches handed to the state machine and not answered."""
        self.changed = trio.Event()
        """Set and replaced when leader, term or members change."""
        self.written = trio.Event()
        """Set and replaced when a write or an application is done."""
        self.others: dict[CommandKey, NodeId] = {}
        """Proposals of other nodes in this leader's log, and who waits for them."""
        self.offers: list[Offer] = []
        """Proposals for this leader's core, which takes those of a batch together."""
        self.offered_to = 0
        """The last index of the batch of offers that went into the log last."""
        self.pinned: dict[bytes, int] = {}
        """Snapshots under way and their indexes, behind which the log must go on."""
        self.log_marks: deque[tuple[int, int]] = deque()
        """(index, bytes) of each applied batch that is still in the log."""
        self.log_bytes = 0
        self._acknowledged: dict[NodeId, tuple[int, int]] = {}
        """Term and index of the last acknowledgement to each node."""
        self._readers: list[tuple[int, int, trio.Event]] = []
        self._order = 0

    @property
    def leads(self) -> bool:
        """Whether this node leads the group, as far as it knows."""
        return self.node.leader == self.node.options.node and not self.held

    def can_wait(self, message: Message) -> bool:
        """Whether a message may go with the next that goes to its node, or at the next tick: it
        says how far the log is committed to a member that is sent its entries anyway, or repeats
        an acknowledgement."""
        if message.type is MessageType.APP:
            known = self.node.progress.get(message.to)
            return (
                not message.entries
                and known is not None
                and known.state is ProgressState.REPLICATE
                and not known.is_paused
            )
        if message.type is not MessageType.APP_RESP or message.reject:
            return False
        said = (message.term, message.index)
        if self._acknowledged.get(message.to) == said:
            return True
        self._acknowledged[message.to] = said
        return False

    def note_change(self) -> None:
        """Wake whoever waits for another leader, term or set of members."""
        self.changed.set()
        self.changed = trio.Event()

    def note_written(self) -> None:
        """Wake whoever waits for this group's writes to be done."""
        self.written.set()
        self.written = trio.Event()

    def note_applied(self, index: int) -> None:
        """The state machine shows everything up to `index`."""
        self.applied = index
        while self._readers and self._readers[0][0] <= index:
            heappop(self._readers)[2].set()

    async def wait_applied(self, index: int) -> None:
        """Returns once the state machine shows everything up to `index`."""
        if self.applied >= index:
            return
        self._order += 1
        event = trio.Event()
        entry = (index, self._order, event)
        heappush(self._readers, entry)
        try:
            await event.wait()
        finally:
            if not event.is_set():
                self._readers.remove(entry)
                heapify(self._readers)

    def log_grew(self, index: int, size_bytes: int) -> None:
        """A batch of `size_bytes` that ends with `index` was applied."""
        self.log_marks.append((index, size_bytes))
        self.log_bytes += size_bytes

    def cut_before(self, *, entries_kept: int, bytes_kept: int) -> int:
        """Forget the marks behind which `entries_kept` and `bytes_kept` bound the log; returns
        the last index that may go, 0 for none."""
        last = min([self.applied - entries_kept, *self.pinned.values()])
        cut = 0
        while self.log_marks:
            index, size_bytes = self.log_marks[0]
            over_bytes = self.log_bytes - size_bytes >= bytes_kept and not self.pinned
            if index > last and not over_bytes:
                break
            if index >= self.applied:
                break
            self.log_marks.popleft()
            self.log_bytes -= size_bytes
            cut = index
        return cut
