"""How far a leader believes each member's log to have come, and what it may send next.

Three states (etcd-io/raft, `tracker`):

* PROBE: where the member's log parts from ours is not known; one message, then silence until an
  answer or the next heartbeat answer.
* REPLICATE: it is known; entries are sent ahead of their acknowledgement, `next_index` running in
  front of `match`, as long as the window of messages and bytes in flight has room. When it is full
  an empty message per heartbeat keeps the stream from stalling should all in flight be lost.
* SNAPSHOT: the entries it needs are compacted; nothing is sent until it reports.

Invariants: 0 <= match < next_index; sent_commit < next_index; window sums equal its contents.
"""

from collections import deque
from enum import IntEnum
from typing import NamedTuple


class ProgressState(IntEnum):
    """How the leader treats a member; see the module's head."""

    PROBE = 0
    REPLICATE = 1
    SNAPSHOT = 2


class LeaseAsked(NamedTuple):
    """What a follower's answer said of its clock: `own_ms` on its own, `heard_ms` on the leader's
    when it came; see `follower_leases`."""

    own_ms: int
    heard_ms: int
    round: int


class Inflights:
    """The window of messages sent and not yet acknowledged: bounded in count and in bytes."""

    __slots__ = ("_bytes_max", "_count_max", "_sent", "bytes")

    def __init__(self, count_max: int, bytes_max: int) -> None:
        self._count_max = count_max
        self._bytes_max = bytes_max
        self._sent: deque[tuple[int, int]] = deque()
        self.bytes = 0

    def __len__(self) -> int:
        return len(self._sent)

    @property
    def is_full(self) -> bool:
        """Whether no entries may be sent. One message may overshoot the bound in bytes."""
        return len(self._sent) >= self._count_max or (
            self._bytes_max > 0 and self.bytes >= self._bytes_max
        )

    def add(self, last_index: int, size_bytes: int) -> None:
        """A message whose last entry is `last_index` was sent; indices only rise."""
        assert not self.is_full, "sent beyond the window"
        self._sent.append((last_index, size_bytes))
        self.bytes += size_bytes

    def free_to(self, index: int) -> None:
        """Everything up to `index` has arrived."""
        sent = self._sent
        while sent and sent[0][0] <= index:
            self.bytes -= sent.popleft()[1]

    def clear(self) -> None:
        """Forget what was sent."""
        self._sent.clear()
        self.bytes = 0

    def copy(self) -> "Inflights":
        """An independent copy."""
        twin = Inflights(self._count_max, self._bytes_max)
        twin._sent = deque(self._sent)
        twin.bytes = self.bytes
        return twin


class Progress:
    """One member as its leader sees it. `match` is proved, `next_index` is hoped for."""

    __slots__ = (
        "acked_round",
        "acked_sent_ms",
        "flow_paused",
        "inflights",
        "is_learner",
        "lease_asked",
        "match",
        "next_index",
        "pending_snapshot",
        "recent_active",
        "sent_commit",
        "state",
    )

    def __init__(
        self, *, next_index: int, inflight_max: int, inflight_bytes_max: int, is_learner: bool
    ) -> None:
        self.match = 0
        self.next_index = next_index
        self.sent_commit = 0
        """The highest commit index that what was sent may teach the member."""
        self.state = ProgressState.PROBE
        self.pending_snapshot = 0
        self.recent_active = False
        self.flow_paused = False
        self.inflights = Inflights(inflight_max, inflight_bytes_max)
        self.is_learner = is_learner
        self.acked_round = 0
        """The latest round of heartbeats that it has answered in this term."""
        self.acked_sent_ms: int | None = None
        """When that round was sent, on the leader's clock; it follows us at least since then."""
        self.lease_asked: LeaseAsked | None = None
        """What its last answer said of its clock, if it may have a lease by it."""

    def copy(self) -> "Progress":
        """An independent copy."""
        twin = Progress.__new__(Progress)
        twin.match = self.match
        twin.next_index = self.next_index
        twin.sent_commit = self.sent_commit
        twin.state = self.state
        twin.pending_snapshot = self.pending_snapshot
        twin.recent_active = self.recent_active
        twin.flow_paused = self.flow_paused
        twin.inflights = self.inflights.copy()
        twin.is_learner = self.is_learner
        twin.acked_round = self.acked_round
        twin.acked_sent_ms = self.acked_sent_ms
        twin.lease_asked = self.lease_asked
        return twin

    def become_probe(self) -> None:
        """Look for the place where the logs part; after a snapshot, right behind it."""
        if self.state is ProgressState.SNAPSHOT:
            behind = self.pending_snapshot + 1
            self._reset(ProgressState.PROBE)
            self.next_index = max(self.match + 1, behind)
        else:
            self._reset(ProgressState.PROBE)
            self.next_index = self.match + 1
        self.sent_commit = min(self.sent_commit, self.next_index - 1)

    def become_replicate(self) -> None:
        """Stream from `match` on."""
        self._reset(ProgressState.REPLICATE)
        self.next_index = self.match + 1
        self.sent_commit = min(self.sent_commit, self.match)

    def become_snapshot(self, index: int) -> None:
        """Wait for the snapshot at `index`."""
        self._reset(ProgressState.SNAPSHOT)
        self.pending_snapshot = index
        self.next_index = index + 1
        self.sent_commit = index

    def _reset(self, state: ProgressState) -> None:
        self.flow_paused = False
        self.pending_snapshot = 0
        self.state = state
        self.inflights.clear()

    def sent_entries(self, count: int, size_bytes: int) -> None:
        """A message with `count` entries was sent."""
        if self.state is ProgressState.REPLICATE:
            if count:
                self.next_index += count
                self.inflights.add(self.next_index - 1, size_bytes)
            self.flow_paused = self.inflights.is_full
        elif count:
            self.flow_paused = True

    def sent_commit_index(self, commit: int) -> None:
        """A message with this commit index was sent."""
        self.sent_commit = commit

    def can_raise_commit(self, commit: int) -> bool:
        """Whether sending `commit` can teach the member anything."""
        return commit > self.sent_commit and self.sent_commit < self.next_index - 1

    def acknowledged(self, index: int) -> bool:
        """The member has everything up to `index`. Returns whether that is news."""
        if index <= self.match:
            return False
        self.match = index
        self.next_index = max(self.next_index, index + 1)
        self.flow_paused = False
        return True

    def refused(self, index: int, hint: int) -> bool:
        """The member refused what follows `index`. Returns whether the refusal is not stale."""
        if self.state is ProgressState.REPLICATE:
            if index <= self.match:
                return False
            self.next_index = self.match + 1
            self.sent_commit = min(self.sent_commit, self.next_index - 1)
            return True
        if self.next_index - 1 != index:
            return False
        self.next_index = max(min(index, hint + 1), self.match + 1)
        self.sent_commit = min(self.sent_commit, self.next_index - 1)
        self.flow_paused = False
        return True

    def lost(self, hint: int) -> None:
        """The member no longer has what follows `hint`, though it acknowledged it once."""
        self.match = min(self.match, hint)
        self._reset(ProgressState.PROBE)
        self.next_index = self.match + 1
        self.sent_commit = min(self.sent_commit, self.match)

    @property
    def is_paused(self) -> bool:
        """Whether nothing may be sent now."""
        return self.state is ProgressState.SNAPSHOT or self.flow_paused
