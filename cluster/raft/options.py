"""How one Raft node is set up. Times are ticks of the driver where not said otherwise."""

from collections.abc import Callable
from dataclasses import dataclass
from math import ceil
from typing import Final

from cluster.base.ids import NO_NODE, NodeId

UNLIMITED: Final = 2**63
"""No bound that anything reaches."""

LEASE_MARGIN_MS: Final = 2
"""Readings of the clock are whole milliseconds; two of them may be rounded against each other."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """Settings of a node; the defaults suit a driver that ticks every 100 ms."""

    node: NodeId
    draw: Callable[[int], int]
    """The only chance in the core: `draw(n)` gives a whole number of [0, n), from a seed."""
    election_ticks: int = 10
    """A follower stands for election after [n, 2n) ticks without its leader."""
    heartbeat_ticks: int = 1
    message_bytes_max: int = 1024 * 1024
    """Entries in one message; a single larger entry still goes."""
    applying_bytes_max: int = 4 * 1024 * 1024
    """Committed entries in the hands of the state machine; a single larger one still goes."""
    inflight_max: int = 256
    """Messages to one member sent ahead of their acknowledgement."""
    inflight_bytes_max: int = 0
    """The same in bytes; 0 is no bound. One message may overshoot it."""
    uncommitted_bytes_max: int = 64 * 1024 * 1024
    """Data in the leader's uncommitted tail; a proposal beyond it is refused (LogFull)."""
    reads_pending_max: int = 4096
    """Reads that wait for their confirmation; a read beyond it is refused."""
    check_quorum: bool = True
    """A leader that does not hear a quorum steps down; followers of a live leader do not vote."""
    pre_vote: bool = True
    """Ask before raising the term, so that a node cut off does not disturb when it returns."""
    lease_ms: int = 0
    """How long a confirmed round of heartbeats lets the leader read alone; 0: never.

    Counted from the SENDING of the round. It must be well below the election timeout.
    """
    follower_leases: bool = False
    """Followers may read alone, and nothing commits without those who do (`follower_leases`)."""
    lease_round_trip_ms_max: int = 20
    """A follower gets a lease only by an answer that took no longer: all writes wait for it."""
    clock_drift_ratio_max: float = 0.01
    """How far any clock's rate may be from true while leases are used."""
    async_storage: bool = False
    """Storage works beside the core; see `messages.Ready`."""
    forward_proposals: bool = True
    """A follower passes proposals on to its leader instead of refusing them."""
    check_conf_changes: bool = True
    """Refuse changes of members that do not fit the configuration in force. Only for replays of
    recorded histories is this ever switched off."""
    step_down_on_removal: bool = True
    applied: int = 0
    """What the state machine has applied already when the node starts."""
    now_ms: int = 0
    """The driver's clock when the node starts."""

    def __post_init__(self) -> None:
        if self.node <= NO_NODE:
            raise ValueError("a node id is positive")
        if not 0 < self.heartbeat_ticks < self.election_ticks:
            raise ValueError("election_ticks must be above heartbeat_ticks, and both positive")
        if self.inflight_max < 1:
            raise ValueError("inflight_max must be at least 1")
        if self.lease_ms and not self.check_quorum:
            raise ValueError("leases need check_quorum: it is what keeps followers from voting")
        if self.follower_leases and not self.lease_ms:
            raise ValueError("leases of followers are cut from the leader's: lease_ms must be set")
        if not 0 <= self.clock_drift_ratio_max < 1:
            raise ValueError("clock_drift_ratio_max is a share of 1")

    @property
    def guard_ms(self) -> int:
        """How long after a leader's last word a node helps nobody else to win; 0 without leases.

        The leader's clock may be slow and ours fast by the drift: our count must then still be
        the longer one.
        """
        if not self.lease_ms:
            return 0
        drift = self.clock_drift_ratio_max
        return ceil(self.lease_ms * (1 + drift) / (1 - drift)) + LEASE_MARGIN_MS
