"""The table of the admin API: one row per operation, and the only place that lists them.

A row says how a request is recognised, which permission it needs on what, and which handler does
it. A handler is given an `AdminCall`, which has a Decision that only the gate makes, so that none
can be reached without one. `docs/operate/admin-api.md` is written from the table.
"""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable
from typing import Annotated, Any, Final

import msgspec
from msgspec import Meta, Struct

from rs3gwd.base.cluster_admin import (
    ClusterAdmin,
    ClusterHealth,
    ClusterPicture,
    GroupPicture,
    NodePicture,
    NoSuchGroup,
    health_of,
)
from rs3gwd.base.errors import ApiError
from rs3gwd.iam.principal import Decision

SEGMENT: Final = "_rs3gwd"
"""The first segment of the path: no bucket can have this name, for it has an underscore."""

PREFIX: Final = f"/{SEGMENT}/admin/v1/"

CLUSTER_ARN: Final = "arn:aws:rs3gwd:::cluster"
"""What policies name; below it stand the groups, as `.../group/3`."""

_NUMBER: Final = re.compile("0|[1-9][0-9]{0,5}")


class AdminCall(Struct, frozen=True):
    """One call that is permitted. `places` are the parts of the path that a row leaves open."""

    decision: Decision
    cluster: ClusterAdmin
    places: dict[str, str]
    body: bytes


class NodeList(Struct, frozen=True):
    """The nodes."""

    nodes: Annotated[list[NodePicture], Meta(description="its nodes, by number")]


class GroupList(Struct, frozen=True):
    """The groups."""

    groups: Annotated[list[GroupPicture], Meta(description="its groups, by number")]


class LeaderWanted(Struct, frozen=True, forbid_unknown_fields=True):
    """Who is to lead a group."""

    node: Annotated[int, Meta(description="number of the node that is to lead", ge=1)]


class LeaderSet(Struct, frozen=True):
    """Who leads a group now."""

    group: Annotated[int, Meta(description="number of the group")]
    leader: Annotated[int, Meta(description="number of the node that leads it now")]


async def get_cluster(call: AdminCall) -> ClusterPicture:
    """The whole picture."""
    return await call.cluster.picture()


async def get_health(call: AdminCall) -> ClusterHealth:
    """What is wrong."""
    return health_of(await call.cluster.picture())


async def list_nodes(call: AdminCall) -> NodeList:
    """The nodes of the picture."""
    return NodeList((await call.cluster.picture()).nodes)


async def list_groups(call: AdminCall) -> GroupList:
    """The groups of the picture."""
    return GroupList((await call.cluster.picture()).groups)


async def set_leader(call: AdminCall) -> LeaderSet:
    """Moves a leadership. Raises ApiError MalformedJSON, NoSuchGroup, NotAVoter, NotHandedOver."""
    text = call.places["group"]
    # Written as policies name it: `03` would pass by a Deny of `group/3`.
    if _NUMBER.fullmatch(text) is None:
        raise NoSuchGroup("a group has a number")
    try:
        wanted = msgspec.json.decode(call.body, type=LeaderWanted)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise ApiError("MalformedJSON", str(error)) from error
    await call.cluster.transfer_leader(int(text), wanted.node)
    return LeaderSet(group=int(text), leader=wanted.node)


class Operation(Struct, frozen=True):
    """A row. `path` follows the prefix, `{name}` is a place; `resource` is what the permission is
    asked on, with the same places; `wanted` is the type of the body, None where there is none.
    `refusals` are the codes of errors of its own."""

    name: str
    method: str
    path: str
    handler: Callable[[AdminCall], Awaitable[Any]]
    answer: type[Struct]
    text: str
    resource: str = CLUSTER_ARN
    wanted: type[Struct] | None = None
    refusals: tuple[str, ...] = ()

    @property
    def action(self) -> str:
        """The name of the permission in policies."""
        return f"rs3gwd:{self.name}"


ADMIN_OPERATIONS: Final = (
    Operation(
        "GetCluster", "GET", "cluster", get_cluster, ClusterPicture, "Everything about the cluster."
    ),
    Operation(
        "GetClusterHealth",
        "GET",
        "cluster/health",
        get_health,
        ClusterHealth,
        "What is wrong and what that means, for monitors.",
    ),
    Operation("ListNodes", "GET", "cluster/nodes", list_nodes, NodeList, "The nodes."),
    Operation("ListGroups", "GET", "cluster/groups", list_groups, GroupList, "The groups."),
    Operation(
        "SetGroupLeader",
        "PUT",
        "cluster/groups/{group}/leader",
        set_leader,
        LeaderSet,
        "Has a node lead a group; answers once it does.",
        resource=CLUSTER_ARN + "/group/{group}",
        wanted=LeaderWanted,
        refusals=("MalformedJSON", "NoSuchGroup", "NotAVoter", "NotHandedOver"),
    ),
)
