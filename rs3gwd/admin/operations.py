"""The table of the admin API: one row per operation, and the only place that lists them.

A row says how a request is recognised, which permission it needs on what, and which handler does
it. A handler is given an `AdminCall`, which has a Decision that only the gate makes, so that none
can be reached without one. `docs/operate/admin-api.md` is written from the table.
"""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable
from typing import Annotated, Any, Final, TypeVar

import msgspec
from msgspec import Meta, Struct

from rs3gwd.base.cluster_admin import (
    ClusterAdmin,
    ClusterHealth,
    ClusterPicture,
    GroupPicture,
    LayoutChange,
    LayoutPicture,
    LayoutPlan,
    NodePicture,
    NoSuchGroup,
    health_of,
)
from rs3gwd.base.cluster_authority import AuthorityPicture, Revoked
from rs3gwd.base.errors import ApiError
from rs3gwd.iam.principal import Decision

SEGMENT: Final = "_rs3gwd"
"""The first segment of the path: no bucket can have this name, for it has an underscore."""

PREFIX: Final = f"/{SEGMENT}/admin/v1/"

CLUSTER_ARN: Final = "arn:aws:rs3gwd:::cluster"
"""What policies name; below it stand groups and nodes, as `.../group/3` and `.../node/2`."""

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


class LayoutWanted(Struct, frozen=True, forbid_unknown_fields=True):
    """A change of the layout that was planned."""

    change: Annotated[LayoutChange, Meta(description="the change, as it was planned")]
    version: Annotated[int, Meta(description="the `version` of its plan", ge=1)]


class LayoutSet(Struct, frozen=True):
    """The layout that nodes move to from now on; [GetLayout](#getlayout) says how far they are."""

    version: Annotated[int, Meta(description="number of the newest version")]


class LayoutRetreated(Struct, frozen=True):
    """A change was taken back."""

    retreated: Annotated[bool, Meta(description="true: the former sets are in force again")] = True


class RemovalWanted(Struct, frozen=True, forbid_unknown_fields=True):
    """How a node is removed."""

    is_lost: Annotated[
        bool,
        Meta(
            description="true: it never returns, and its copies are made anew from those of the "
            "others; false, which is meant where there is no body: only if it holds no copies"
        ),
    ] = False


class NodeRemoved(Struct, frozen=True):
    """A node that is of the cluster no more."""

    removed: Annotated[int, Meta(description="number of the node")]


class RotationWanted(Struct, frozen=True, forbid_unknown_fields=True):
    """How the authority is changed."""

    here: Annotated[
        bool,
        Meta(
            description="true: the new key is made on the node that is asked, whoever has the "
            "present one, and in the place of a change whose key was lost"
        ),
    ] = False
    without: Annotated[
        list[int], Meta(description="nodes that are not waited for, and may have to join again")
    ] = []


class RevocationWanted(Struct, frozen=True, forbid_unknown_fields=True):
    """What is revoked."""

    what: Annotated[
        str,
        Meta(
            description="a serial number in hex, or `node:NUMBER` for all of a node",
            max_length=64,
        ),
    ]


Wanted = TypeVar(
    "Wanted",
    LeaderWanted,
    LayoutChange,
    LayoutWanted,
    RemovalWanted,
    RotationWanted,
    RevocationWanted,
)


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
    wanted = _decode(call.body, LeaderWanted)
    await call.cluster.transfer_leader(int(text), wanted.node)
    return LeaderSet(group=int(text), leader=wanted.node)


async def get_layout(call: AdminCall) -> LayoutPicture:
    """The layout and how far a change of it is."""
    return await call.cluster.layout()


async def plan_layout(call: AdminCall) -> LayoutPlan:
    """A plan, which changes nothing. Raises ApiError MalformedJSON, LayoutRefused, LayoutBusy."""
    return await call.cluster.plan_layout(_decode(call.body, LayoutChange))


async def set_layout(call: AdminCall) -> LayoutSet:
    """Begins a change. Raises ApiError MalformedJSON, LayoutRefused, LayoutBusy."""
    wanted = _decode(call.body, LayoutWanted)
    await call.cluster.apply_layout(wanted.change, wanted.version)
    return LayoutSet(wanted.version)


async def retreat_layout(call: AdminCall) -> LayoutRetreated:
    """Takes a change back. Raises LayoutRefused."""
    await call.cluster.retreat_layout()
    return LayoutRetreated()


async def remove_node(call: AdminCall) -> NodeRemoved:
    """Takes a node out. Raises ApiError MalformedJSON, InvalidArgument, NodeHoldsCopies,
    NoSuchNode, NotRemoved."""
    text = call.places["node"]
    if _NUMBER.fullmatch(text) is None or text == "0":
        raise ApiError("InvalidArgument", "a node has a number from 1 on")
    wanted = _decode(call.body, RemovalWanted) if call.body else RemovalWanted()
    await call.cluster.remove_node(int(text), is_lost=wanted.is_lost)
    return NodeRemoved(int(text))


async def get_authority(call: AdminCall) -> AuthorityPicture:
    """Roots, certificates, and how far a change is. Raises AuthorityRefused."""
    return await call.cluster.authority.show()


async def rotate_authority(call: AdminCall) -> AuthorityPicture:
    """Begins a change or goes on with it. Raises ApiError MalformedJSON, AuthorityRefused."""
    wanted = _decode(call.body, RotationWanted) if call.body else RotationWanted()
    return await call.cluster.authority.rotate(here=wanted.here, without=wanted.without)


async def revoke_certificate(call: AdminCall) -> Revoked:
    """Revokes certificates. Raises ApiError MalformedJSON, AuthorityRefused."""
    return await call.cluster.authority.revoke(_decode(call.body, RevocationWanted).what)


def _decode(body: bytes, kind: type[Wanted]) -> Wanted:
    try:
        return msgspec.json.decode(body, type=kind)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise ApiError("MalformedJSON", str(error)) from error


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
    Operation(
        "RemoveNode",
        "DELETE",
        "cluster/nodes/{node}",
        remove_node,
        NodeRemoved,
        "Takes a node out of the cluster for ever; may be said again.",
        resource=CLUSTER_ARN + "/node/{node}",
        wanted=RemovalWanted,
        refusals=(
            "InvalidArgument",
            "MalformedJSON",
            "NodeHoldsCopies",
            "NoSuchNode",
            "NotRemoved",
        ),
    ),
    Operation(
        "GetLayout",
        "GET",
        "cluster/layout",
        get_layout,
        LayoutPicture,
        "Which nodes hold the copies, and how far a change of that is.",
    ),
    Operation(
        "PlanLayout",
        "POST",
        "cluster/layout/plan",
        plan_layout,
        LayoutPlan,
        "What a change of the layout would do; changes nothing.",
        wanted=LayoutChange,
        refusals=("LayoutBusy", "LayoutRefused", "MalformedJSON"),
    ),
    Operation(
        "SetLayout",
        "PUT",
        "cluster/layout",
        set_layout,
        LayoutSet,
        "Begins a change of the layout; answers once it is agreed, not when it is done.",
        wanted=LayoutWanted,
        refusals=("LayoutBusy", "LayoutRefused", "MalformedJSON"),
    ),
    Operation(
        "RetreatLayout",
        "DELETE",
        "cluster/layout/change",
        retreat_layout,
        LayoutRetreated,
        "Goes back from the change of the layout that is under way.",
        refusals=("LayoutRefused",),
    ),
    Operation(
        "GetAuthority",
        "GET",
        "cluster/authority",
        get_authority,
        AuthorityPicture,
        "The authority's roots and certificates, and how far a change of it is.",
        refusals=("AuthorityRefused",),
    ),
    Operation(
        "RotateAuthority",
        "POST",
        "cluster/authority/rotation",
        rotate_authority,
        AuthorityPicture,
        "Begins a change to a new authority, or goes on with the one under way; answers once that "
        "is agreed, not when it is done.",
        wanted=RotationWanted,
        refusals=("AuthorityRefused", "MalformedJSON"),
    ),
    Operation(
        "RevokeCertificate",
        "POST",
        "cluster/authority/revocations",
        revoke_certificate,
        Revoked,
        "Revokes certificates of nodes: they are refused, and their connections closed.",
        wanted=RevocationWanted,
        refusals=("AuthorityRefused", "MalformedJSON"),
    ),
)
