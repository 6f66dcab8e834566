"""How the host of the groups is set up. Times end in `_s` (seconds) or count ticks."""

from dataclasses import dataclass
from enum import Enum


class Leaders(Enum):
    """Where the leaders of the groups belong."""

    SPREAD = "spread"
    """Evenly on all voters: who falls takes a part of the groups along for a moment."""
    TOGETHER = "together"
    """All on one node: batches are as large as can be, and a write costs all nodes least."""
    ANYWHERE = "anywhere"
    """Where they were elected."""


@dataclass(frozen=True, slots=True, kw_only=True)
class GroupSettings:
    """Settings of one host; the defaults suit a local network and disks that sync in 10 ms.

    A dead leader is missed after 0.7 to 1.4 s: an election by chance at the same time as another
    costs once more that, so that nearly all are over within 2 s.
    """

    tick_s: float = 0.05
    election_ticks: int = 14
    """A follower stands for election after [n, 2n) ticks without its leader."""
    heartbeat_ticks: int = 3
    lease_s: float = 0.5
    """How long a confirmed round of heartbeats lets a leader answer reads alone; below the
    election timeout. 0: never."""
    clock_drift_ratio_max: float = 0.01
    follower_leases: bool = True
    """Followers read alone, too, and writes wait for those who do; not without `lease_s`."""
    lease_round_trip_s_max: float = 0.02
    """A follower whose answers take longer reads by asking, so that no write waits for it."""

    groups_max: int = 64
    """Group numbers are below it; a peer's message for another is dropped."""
    message_bytes_max: int = 512 * 1024
    """Entries in one message of Raft."""
    frame_bytes_max: int = 1024 * 1024
    """A frame is sent when it is about so large; one message may overshoot it."""
    proposal_bytes_max: int = 1024 * 1024
    """A larger proposal is refused for good."""
    inflight_max: int = 64
    inflight_bytes_max: int = 16 * 1024 * 1024
    uncommitted_bytes_max: int = 64 * 1024 * 1024
    applying_bytes_max: int = 4 * 1024 * 1024
    reads_pending_max: int = 4096

    proposals_max: int = 4096
    """Proposals of this node that wait at one time."""
    proposals_bytes_max: int = 64 * 1024 * 1024
    proposals_of_others_max: int = 16384
    """Proposals of other nodes that wait here for their result."""
    session_window: int = 512
    """Numbers of one session without a result; below `Sessions.results_max`."""
    retry_s: float = 0.5
    """A proposal of which nothing was heard is sent again; nothing is done twice by that."""
    refused_pause_s: float = 0.02
    """Before a proposal that a leader refused for the moment is sent again."""

    readers_max: int = 16384
    read_exchange_s: float = 0.7
    """How long one exchange about reads may take before it is tried anew."""
    read_pause_s: float = 0.02
    """Before a read whose leader could not be asked is tried again."""

    log_entries_max: int = 20_000
    """Applied entries of a group in the log before it is cut."""
    log_bytes_max: int = 64 * 1024 * 1024
    log_entries_kept: int = 2_000
    """Applied entries that stay behind a cut, for followers that are a little slow."""
    log_bytes_kept: int = 16 * 1024 * 1024

    snapshots_out_max: int = 2
    snapshots_in_max: int = 2
    snapshot_window: int = 8
    """Chunks sent ahead of their acknowledgement, kept for a stream that breaks."""
    snapshot_chunk_bytes_max: int = 4 * 1024 * 1024
    """A receiver refuses a larger chunk."""
    snapshot_idle_s: float = 30.0
    """A stream is broken when nothing was heard for so long."""
    snapshot_alive_s: float = 5.0
    """A receiver that is busy says so as often."""
    snapshot_resumes_max: int = 5
    snapshot_resume_pause_s: float = 0.5
    snapshot_bytes_per_s: int = 64 * 1024 * 1024
    """Of one stream, so that it leaves room for requests."""

    voters_max: int = 5
    """Learners that have caught up are made voters up to this number."""
    promote_entries_max: int = 200
    """A learner so close behind has caught up."""
    care_interval_s: float = 2.0
    """How often leaders look for learners to promote and for leadership to give away."""
    leaders: Leaders = Leaders.SPREAD
    """Which voters lead the groups, as long as all are well."""
    pace_interval_s: float = 0.0
    """How often the others are asked how long an answer takes, so that a node whose messages are
    late gives away what it leads; 0: never."""
    change_timeout_s: float = 10.0

    def __post_init__(self) -> None:
        if self.lease_s >= self.tick_s * self.election_ticks:
            raise ValueError("lease_s must be below the election timeout")
        if self.log_entries_kept >= self.log_entries_max:
            raise ValueError("log_entries_kept must be below log_entries_max")
        if self.log_bytes_kept >= self.log_bytes_max:
            raise ValueError("log_bytes_kept must be below log_bytes_max")
