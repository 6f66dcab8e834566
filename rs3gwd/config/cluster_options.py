"""The options of a node of a cluster: a part of the one table, `rs3gwd.config.settings`.

What it is not: a table of its own; `Config` has these fields like its others, and the head of
`settings` says how one is added.
"""

from enum import StrEnum
from typing import Annotated

from msgspec import Struct

from rs3gwd.config.option import Spec, Topic

ADDRESS = r"(\[[0-9a-fA-F:.]+\]|[A-Za-z0-9.-]*):[0-9]{1,5}"
"""The form of host:port; the host may be empty."""


class ClusterLeaders(StrEnum):
    """Where the leaders of the groups belong."""

    TOGETHER = "together"
    SPREAD = "spread"


class ClusterOptions(Struct, frozen=True, kw_only=True):
    """What concerns the cluster; a base of `Config`."""

    cluster_enabled: Annotated[
        bool,
        Spec(
            Topic.CLUSTER,
            "RS3GW_CLUSTER_ENABLED",
            "Whether this node is one of a cluster. Its certificate is then in the folder cluster "
            "under storage_root, and it runs without workers.",
            key="cluster.enabled",
        ),
    ] = False
    cluster_seed_nodes: Annotated[
        tuple[str, ...],
        Spec(
            Topic.CLUSTER,
            "RS3GW_CLUSTER_SEED_NODES",
            "The nodes that the cluster begins with, this one among them, the same on each: number "
            "and the address where the others reach it, at which it listens.",
            pattern=r"[1-9][0-9]{0,17}@" + ADDRESS,
            shape="number@host:port",
            key="cluster.seed_nodes",
        ),
    ] = ()
    cluster_groups: Annotated[
        int,
        Spec(
            Topic.CLUSTER,
            "RS3GW_CLUSTER_GROUPS",
            "Parts that the index of objects is divided into, each with a leader of its own; fixed "
            "when the cluster is made.",
            unit="groups",
            least=1,
            most=15,
            key="cluster.groups",
        ),
    ] = 8
    cluster_leaders: Annotated[
        ClusterLeaders,
        Spec(
            Topic.CLUSTER,
            "RS3GW_CLUSTER_LEADERS",
            "Where the leaders of the groups belong while all nodes are well. together: on one "
            "node, which costs all nodes least for a write. spread: evenly on all, so that the "
            "fall of any node stops a part of the groups for a moment instead of, rarely, all; "
            "the same on each node.",
            key="cluster.leaders",
        ),
    ] = ClusterLeaders.TOGETHER
    replication_factor: Annotated[
        int,
        Spec(
            Topic.CLUSTER,
            "RS3GW_REPLICATION_FACTOR",
            "Nodes that keep the bytes of an object, or all while there are fewer; a majority of "
            "them has synced a write before it is acknowledged. Read when nodes come: afterwards "
            "`rs3gwctl cluster layout apply --copies` changes it.",
            unit="nodes",
            least=1,
            most=7,
            key="cluster.replication_factor",
        ),
    ] = 3
    cluster_hedge_percent: Annotated[
        int,
        Spec(
            Topic.CLUSTER,
            "RS3GW_CLUSTER_HEDGE_PERCENT",
            "Share of the reads from other nodes that may be asked of a second one, because the "
            "first takes longer than it nearly always does; 0 never.",
            unit="percent",
            least=0,
            most=50,
            key="cluster.hedge_percent",
        ),
    ] = 10
    cluster_hints_max: Annotated[
        int,
        Spec(
            Topic.CLUSTER,
            "RS3GW_CLUSTER_HINTS_MAX",
            "Bodies that this node remembers for other nodes which missed them; beyond it those "
            "nodes compare whole partitions.",
            unit="hints",
            least=0,
            most=10_000_000,
            key="cluster.hints_max",
        ),
    ] = 100_000
    cluster_scrub_bytes_per_second: Annotated[
        int,
        Spec(
            Topic.CLUSTER,
            "RS3GW_CLUSTER_SCRUB_BYTES_PER_SECOND",
            "Rate at which a node of a cluster reads and checks what it keeps, to find damage and "
            "replace it from another node before anybody reads it; 0 never.",
            unit="bytes per second",
            least=0,
            most=10_000_000_000,
            key="cluster.scrub_bytes_per_second",
        ),
    ] = 8_388_608
    cluster_probe_interval_ms: Annotated[
        int,
        Spec(
            Topic.CLUSTER,
            "RS3GW_CLUSTER_PROBE_INTERVAL_MS",
            "Each node probes another one so often, over UDP at its address in "
            "cluster.seed_nodes; a dead one is known after 6 to 30 intervals. Reads try living "
            "nodes first; nothing else depends on it.",
            unit="ms",
            least=100,
            most=10_000,
            key="cluster.probe_interval_ms",
        ),
    ] = 500
    cluster_zone: Annotated[
        str,
        Spec(
            Topic.CLUSTER,
            "RS3GW_CLUSTER_ZONE",
            "What this node has in common with those that fail together with it, such as a rack or "
            "a data centre; told to the other nodes.",
            pattern=r"[A-Za-z0-9._-]{0,64}",
            shape="letters, digits, dot, dash, underscore",
            key="cluster.zone",
        ),
    ] = ""
