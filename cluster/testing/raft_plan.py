"""What one seed means: how the group is set up and which faults befall it.

Everything is drawn from the seed before the run, so a plan can be printed. Small and hard: two to
five nodes, logs of a few entries between snapshots, elections every few dozen milliseconds. Such
groups find most (a five-node group hides most bugs of a three-node one).
"""

from dataclasses import dataclass, replace
from random import Random
from typing import Final

MS: Final = 1000
"""Simulated time is counted in microseconds."""

TICK_US: Final = 10 * MS

DRIFT: Final = 0.05
"""Clocks run this much fast or slow at most; the leases are told."""

FAULTS: Final = (
    "crash",
    "crash_before_sync",
    "crash_after_sync",
    "crash_after_send",
    "pause",
    "isolate",
    "one_way",
    "cut_link",
    "bridge",
    "chain",
    "swizzle",
    "slow_disk",
    "disk_error",
    "campaign",
    "transfer",
    "conf_change",
    "lossy",
    "stranded_leader",
    "rivals",
    "forgetful_followers",
    "handover_and_cut",
)
"""Kinds of fault; each is a method of `raft_nemesis.Nemesis`."""

PROFILES: Final = {
    "mixed": (),
    "elections": (
        "rivals",
        "rivals",
        "campaign",
        "crash",
        "crash_after_send",
        "stranded_leader",
        "one_way",
        "slow_disk",
    ),
    "reads": (
        "stranded_leader",
        "stranded_leader",
        "forgetful_followers",
        "handover_and_cut",
        "isolate",
        "pause",
        "crash",
    ),
    "members": (
        "conf_change",
        "conf_change",
        "conf_change",
        "stranded_leader",
        "isolate",
        "bridge",
        "campaign",
        "crash",
    ),
}
"""Faults that belong together; `mixed` draws its own. Each profile is after another kind of bug:
votes and terms, stale reads, changes of members."""

PROFILE_WEIGHTS: Final = (40, 25, 20, 15)


@dataclass(frozen=True, slots=True)
class Plan:
    """One run."""

    seed: int
    profile: str
    voters: int
    spares: int
    """Nodes outside the group at first, for changes of members."""
    duration_ms: int
    fault_gap_ms: int
    """Mean time between faults."""
    faults: tuple[str, ...]
    loss: float
    duplication: float
    delay_ms_max: int
    snapshot_every: int
    keep_entries: int
    """Entries kept before a snapshot, so that a lagging follower sometimes needs none."""
    clients: int
    pre_vote: bool
    check_quorum: bool
    lease_ms: int
    async_storage: bool
    inflight_max: int
    message_bytes_max: int
    election_ticks: int
    rot: bool
    """Whether one node's stored entries may rot while it is down."""
    follower_leases: bool = False
    uncommitted_bytes_max: int = 200


def make_plan(seed: int) -> Plan:
    """The plan of `seed`."""
    random = Random(seed)
    profile = random.choices(tuple(PROFILES), PROFILE_WEIGHTS)[0]
    faults = PROFILES[profile] or tuple(sorted(random.sample(FAULTS, random.randint(4, 9))))
    voters = random.choice((3, 3, 3, 3, 2, 4, 5))
    # Two nodes of which one has lost an entry that the other never synced cannot go on.
    rot = voters > 2 and profile in ("mixed", "elections") and random.random() < 0.25
    if rot:
        faults = (*(fault for fault in faults if fault != "conf_change"), "crash")
    hasty = profile == "elections"
    check_quorum = random.random() < (0.6 if hasty else 0.85)
    leases = check_quorum and random.random() < (0.2 if hasty else 0.5)
    plan = Plan(
        seed=seed,
        profile=profile,
        voters=voters,
        spares=random.choice((1, 2)) if "conf_change" in faults else 0,
        duration_ms=random.choice((300, 400, 600)),
        fault_gap_ms=random.choice((8, 12, 25) if hasty else (15, 25, 40)),
        faults=faults,
        loss=random.choice((0.0, 0.0, 0.02, 0.1)),
        duplication=random.choice((0.0, 0.02, 0.1)),
        delay_ms_max=random.choice((1, 3, 8)),
        snapshot_every=random.choice((3, 8, 1000)),
        keep_entries=random.choice((0, 0, 3)),
        clients=random.choice((2, 3)),
        pre_vote=random.random() < (0.3 if hasty else 0.6),
        check_quorum=check_quorum,
        # Longer than an election timeout on purpose: then the guards of followers are needed.
        lease_ms=random.choice((40, 120)) if leases else 0,
        async_storage=random.random() < 0.4,
        inflight_max=random.choice((1, 2, 4, 64)),
        message_bytes_max=random.choice((1, 1, 1 << 20) if hasty else (1, 40, 1 << 20)),
        election_ticks=random.choice((5, 6, 8)),
        rot=rot,
    )
    if not leases or random.random() < 0.3:
        return plan
    return replace(plan, follower_leases=True, faults=(*faults, "returned_rival"))
