"""What operators see of a cluster and may ask of it: the words of `rs3gwctl cluster` and of the
admin API, and the port by which surfaces reach them.

Three layers: a `NodeReport` is what one node says of itself, and travels between nodes; a
`ClusterPicture` is what one node makes of all reports and of what it believes of those that sent
none; `Finding` says in words what is wrong and what that means. The descriptions of the fields are
the reference in `docs/operate/admin-api.md`, which is generated from them.

Invariant: fields are only ever added, with a default, so that nodes of two releases understand
each other's reports.
"""

from enum import StrEnum
from typing import Annotated, Protocol

from msgspec import Meta, Struct

from rs3gwd.base.cluster_authority import AuthorityControl
from rs3gwd.base.errors import Fault, Rs3gwError, StoreError

TRANSFER_SECONDS_MAX = 10.0
"""How long a leadership may take to change hands; it takes some milliseconds."""


CAPACITY_BYTES_MAX = 1 << 60
"""Of one node, an exbibyte: far beyond any machine, and its sums still fit every number here."""


def _note(text: str) -> Meta:
    return Meta(description=text)


class NotACluster(StoreError):
    """The node is a single one, or this process of it knows nothing of the cluster."""

    code = "NotACluster"


class NoSuchGroup(StoreError):
    """There is no group of this number."""

    code = "NoSuchGroup"


class NotAVoter(StoreError):
    """The node has no vote in the group, so it cannot lead it."""

    code = "NotAVoter"


class NotHandedOver(Rs3gwError):
    """The node did not come to lead the group in time; who leads it is in the picture."""

    code = "NotHandedOver"
    retryable = True
    fault = Fault.PEER


class LayoutRefused(StoreError):
    """The layout cannot be as asked for; the message says what to add or to change."""

    code = "LayoutRefused"


class LayoutBusy(StoreError):
    """Nodes still move to the newest version, or it is another one than the plan was made for."""

    code = "LayoutBusy"
    retryable = True


class NodeHoldsCopies(StoreError):
    """The node is up and holds copies: drain it first, or say that it is lost."""

    code = "NodeHoldsCopies"


class NoSuchNode(StoreError):
    """There is no node of this number, and there never was; the message names the nearest."""

    code = "NoSuchNode"


class NotRemoved(Rs3gwError):
    """The node cannot be taken out, or is a part of the way; the message says why."""

    code = "NotRemoved"
    retryable = True
    fault = Fault.PEER


class Severity(StrEnum):
    """How bad a finding is."""

    NOTICE = "notice"
    WARNING = "warning"
    CRITICAL = "critical"


class Health(StrEnum):
    """The cluster as a whole: the worst of its findings, notices aside."""

    HEALTHY = "healthy"
    DEGRADED = "degraded"
    CRITICAL = "critical"


class GroupReport(Struct, frozen=True):
    """One group as one node sees it; `lag` is in entries by node, of a leader alone."""

    group: int
    role: str
    leader: int
    term: int
    commit_index: int
    applied_index: int
    voters: list[int]
    learners: list[int] = []
    lag: dict[int, int] = {}


class NodeReport(Struct, frozen=True):
    """What a node says of itself."""

    node: int
    version: str
    groups: list[GroupReport]
    hints_waiting: int
    partitions_waiting: int
    blobs_missing: int
    blobs_suspect: int
    clock_proved: bool
    clock_held_back_ms: int
    free_bytes: int
    free_bytes_reserve: int
    disk_failed: str = ""
    uptime_s: int = 0
    layout_compared: bool = False
    blobs_lacking: int = 0
    bytes_lacking: int = 0


class MemberPicture(Struct, frozen=True):
    """A member of a group."""

    node: Annotated[int, _note("number of the node")]
    is_voter: Annotated[bool, _note("whether it votes; others only follow")]
    is_up: Annotated[bool, _note("whether it is believed to run, or has just answered")]
    applied_index: Annotated[
        int | None, _note("how far its state machine is, an index of the log; null: did not say")
    ]
    lag_entries: Annotated[
        int | None, _note("entries of the leader's log that it lacks; null: the leader did not say")
    ]


class GroupPicture(Struct, frozen=True):
    """A Raft group: 0 is the system group (accounts, policies, buckets), the others hold keys."""

    group: Annotated[int, _note("number of the group")]
    leader: Annotated[int, _note("number of the node that leads it; 0: nobody known")]
    term: Annotated[int, _note("term of that leader")]
    commit_index: Annotated[int, _note("what a majority has on disk, an index of the log")]
    members: Annotated[list[MemberPicture], _note("its members, by number")]
    voters_up: Annotated[int, _note("how many of its voters are up")]
    quorum: Annotated[int, _note("how many voters it needs")]
    has_quorum: Annotated[bool, _note("whether `voters_up` reaches `quorum` and there is a leader")]


class NodePicture(Struct, frozen=True):
    """A node of the cluster. What only the node itself knows is null where it did not answer."""

    node: Annotated[int, _note("number of the node")]
    state: Annotated[
        str,
        _note(
            "what gossip believes: `alive`, `suspect`, `dead`, `left` (stopped on purpose), or "
            "`unknown` (never heard of)"
        ),
    ]
    answered: Annotated[bool, _note("whether it answered just now")]
    cluster_address: Annotated[str, _note("host:port where other nodes reach it")]
    s3_address: Annotated[str, _note("host:port where it listens for clients")]
    zone: Annotated[str, _note("its `cluster.zone`")]
    version: Annotated[str, _note("the release that it runs")]
    capacity_bytes: Annotated[int, _note("size of the file system of its data; 0: not told yet")]
    load_percent: Annotated[
        int, _note("load average per core, in steps of 20; 100 is one per core")
    ]
    heard_ms_ago: Annotated[
        int | None, _note("milliseconds since it last showed that it runs; null: never")
    ]
    round_trip_ms: Annotated[float | None, _note("smoothed round trip to it; null: not measured")]
    uptime_s: Annotated[int | None, _note("seconds since it began to serve")] = None
    free_bytes: Annotated[int | None, _note("bytes free on that file system")] = None
    leads: Annotated[int | None, _note("how many groups it leads, as it says itself")] = None
    hints_waiting: Annotated[
        int | None, _note("bodies that other nodes missed and that it has yet to tell them of")
    ] = None
    partitions_waiting: Annotated[
        int | None, _note("partitions that others must compare, because hints were too many")
    ] = None
    blobs_missing: Annotated[
        int | None,
        _note("bodies that it should have and has yet to fetch, beyond the first seconds"),
    ] = None
    blobs_suspect: Annotated[
        int | None, _note("bodies of it that may be damaged and are being checked or replaced")
    ] = None
    clock_proved: Annotated[bool | None, _note("whether a majority has told it the time")] = None
    clock_held_back_ms: Annotated[
        int | None, _note("milliseconds by which its clock is too far ahead and is held back")
    ] = None
    disk_failed: Annotated[
        str | None, _note("why its disk takes no more writes; empty: it does")
    ] = None


class Finding(Struct, frozen=True):
    """Something that is not as it should be."""

    severity: Annotated[Severity, _note("`notice`, `warning` (degraded) or `critical`")]
    code: Annotated[str, _note("what kind of finding; stays the same over releases")]
    subject: Annotated[str, _note("what it is about, as `node 2` or `group 3`")]
    what: Annotated[str, _note("what is wrong, in words")]
    meaning: Annotated[str, _note("what it means for reads, writes and copies, in words")]


class ClusterPicture(Struct, frozen=True):
    """A cluster as one of its nodes sees it at one moment."""

    cluster: Annotated[str, _note("name of the cluster")]
    seen_by: Annotated[int, _note("number of the node that answers")]
    at_ms: Annotated[int, _note("when, in milliseconds since 1970-01-01 UTC")]
    health: Annotated[Health, _note("`healthy`, `degraded` or `critical`")]
    reads: Annotated[str, _note("what reads do, in words")]
    writes: Annotated[str, _note("what writes do, in words")]
    findings: Annotated[list[Finding], _note("what is not as it should be, the worst first")]
    nodes: Annotated[list[NodePicture], _note("its nodes, by number")]
    groups: Annotated[list[GroupPicture], _note("its groups, by number")]


class ClusterHealth(Struct, frozen=True):
    """The part of the picture that a monitor needs."""

    cluster: Annotated[str, _note("name of the cluster")]
    seen_by: Annotated[int, _note("number of the node that answers")]
    health: Annotated[Health, _note("`healthy`, `degraded` or `critical`")]
    reads: Annotated[str, _note("what reads do, in words")]
    writes: Annotated[str, _note("what writes do, in words")]
    findings: Annotated[list[Finding], _note("what is not as it should be, the worst first")]


class RoleWanted(Struct, frozen=True, forbid_unknown_fields=True):
    """What a node is to bring to the layout."""

    node: Annotated[int, Meta(description="number of the node", ge=1)]
    zone: Annotated[str | None, _note("its failure zone; null: as it has it, or as it tells")] = (
        None
    )
    capacity_bytes: Annotated[
        Annotated[int, Meta(ge=0, le=CAPACITY_BYTES_MAX)] | None,
        _note(
            "bytes it takes, relative to the others; 0: it holds no copies; "
            "null: as it has it, or where that is 0 as it tells"
        ),
    ] = None


class LayoutChange(Struct, frozen=True, forbid_unknown_fields=True):
    """What is to change. Members that the layout does not know yet come in with what they tell,
    unless `nodes` says otherwise."""

    nodes: Annotated[list[RoleWanted], _note("nodes whose role changes")] = []
    copies: Annotated[
        Annotated[int, Meta(ge=1, le=9)] | None, _note("copies of each body; null: as many as now")
    ] = None
    zone_copies_max: Annotated[
        Annotated[int, Meta(ge=1, le=9)] | None,
        _note("most copies in one zone; null: as few as the zones allow"),
    ] = None


class LayoutNode(Struct, frozen=True):
    """A node in the layout. What only the node itself knows is null where it did not answer."""

    node: Annotated[int, _note("number of the node")]
    zone: Annotated[str, _note("its failure zone in the newest version")]
    capacity_bytes: Annotated[int, _note("its capacity there; 0: it holds no copies")]
    partitions: Annotated[int, _note("copies of partitions that the newest version gives it")]
    partitions_before: Annotated[int, _note("... that the version before it gave it")]
    obeys_version: Annotated[int, _note("the newest version that it has said it writes by")]
    synced_version: Annotated[int, _note("the newest version of which it has said it has all")]
    is_waited_for: Annotated[bool, _note("whether the change waits for it")]
    is_compared: Annotated[
        bool | None, _note("whether it knows by now which bodies it lacks for the change")
    ] = None
    blobs_lacking: Annotated[int | None, _note("bodies that it has yet to fetch")] = None
    bytes_lacking: Annotated[int | None, _note("their bytes")] = None


class LayoutPicture(Struct, frozen=True):
    """Which nodes hold the copies, and how far a change of it is."""

    version: Annotated[int, _note("number of the newest version; 0: there is none yet")]
    versions: Annotated[list[int], _note("the versions in force: two while a change is under way")]
    copies: Annotated[int, _note("copies of each body")]
    zone_copies_max: Annotated[int, _note("most copies of a body in one zone")]
    partitions: Annotated[int, _note("how many partitions there are")]
    usable_bytes: Annotated[int, _note("what can be stored, each body counted once")]
    is_changing: Annotated[bool, _note("whether nodes still move to the newest version")]
    nodes: Annotated[list[LayoutNode], _note("the nodes of the versions in force, by number")]


class LayoutPlanNode(Struct, frozen=True):
    """What a plan does to one node."""

    node: Annotated[int, _note("number of the node")]
    zone: Annotated[str, _note("its failure zone")]
    capacity_bytes: Annotated[int, _note("its capacity; 0: it holds no copies")]
    partitions_before: Annotated[int, _note("copies of partitions that it holds now")]
    partitions_after: Annotated[int, _note("... that it would hold")]
    gains: Annotated[int, _note("copies that would be fetched to it")]
    loses: Annotated[int, _note("copies that it would drop once the others have them")]


class LayoutPlan(Struct, frozen=True):
    """What a change would do; nothing is done yet."""

    version: Annotated[int, _note("the number that the new version would have")]
    copies: Annotated[int, _note("copies of each body")]
    zone_copies_max: Annotated[int, _note("most copies of a body in one zone")]
    partitions: Annotated[int, _note("how many partitions there are")]
    copies_moved: Annotated[int, _note("copies of partitions that would be fetched, in all")]
    usable_bytes_before: Annotated[int, _note("what can be stored now, each body counted once")]
    usable_bytes: Annotated[int, _note("what could be stored then")]
    nodes: Annotated[list[LayoutPlanNode], _note("the nodes before and after, by number")]


class ClusterAdmin(Protocol):
    """The cluster as operators have it, from one of its nodes."""

    @property
    def authority(self) -> AuthorityControl:
        """What lets nodes in."""
        ...

    async def picture(self) -> ClusterPicture:
        """The cluster now; asks every node, and takes about two seconds where one is silent."""
        ...

    async def transfer_leader(self, group: int, node: int) -> None:
        """Has `node` lead `group`; returns once it does, as far as this node hears.

        Raises NoSuchGroup, NotAVoter, NotHandedOver.
        """
        ...

    async def layout(self) -> LayoutPicture:
        """Who holds the copies; asks every node, as `picture`."""
        ...

    async def plan_layout(self, change: LayoutChange) -> LayoutPlan:
        """What a change would do. Raises LayoutRefused, LayoutBusy (one is under way)."""
        ...

    async def apply_layout(self, change: LayoutChange, version: int) -> None:
        """Has the cluster move to the layout that was planned as `version`; returns once that is
        agreed, not when it is done.

        Raises LayoutRefused, LayoutBusy, Overloaded, OutcomeUnknown.
        """
        ...

    async def retreat_layout(self) -> None:
        """Goes back from a change under way: the former sets are in force again at once.

        Raises LayoutRefused (no change is under way), Overloaded, OutcomeUnknown.
        """
        ...

    async def remove_node(self, node: int, *, is_lost: bool) -> None:
        """Takes a node out of every group and out of the cluster, for ever; may be said again.

        Raises NodeHoldsCopies (unless `is_lost`: it never returns, and its copies are made anew
        from those of the others), NoSuchNode, NotRemoved.
        """
        ...


def health_of(picture: ClusterPicture) -> ClusterHealth:
    """What a monitor needs of a picture."""
    return ClusterHealth(
        cluster=picture.cluster,
        seen_by=picture.seen_by,
        health=picture.health,
        reads=picture.reads,
        writes=picture.writes,
        findings=picture.findings,
    )
