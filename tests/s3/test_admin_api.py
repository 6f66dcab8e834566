"""The admin API against everybody who asks: who is let in, and who is not."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials
from forging import Signer
from msgspec.structs import replace
from s3_world import ALICE, BOB, HOST, SECRET, S3World, make_request
from users import add_role, add_user, open_session

from rs3gwd.admin.operations import ADMIN_OPERATIONS, CLUSTER_ARN, PREFIX, Operation
from rs3gwd.admin.service import BODY_BYTES_MAX, SERVICE, AdminPorts, AdminService
from rs3gwd.base.cluster_admin import (
    ClusterPicture,
    Health,
    LayoutBusy,
    LayoutChange,
    LayoutPicture,
    LayoutPlan,
    LayoutRefused,
    NodeHoldsCopies,
    NoSuchGroup,
    NoSuchNode,
    NotHandedOver,
    NotRemoved,
    RoleWanted,
)
from rs3gwd.base.cluster_authority import AuthorityPicture, AuthorityRefused, Revoked
from rs3gwd.base.errors import Overloaded
from rs3gwd.base.http import Request, Response
from rs3gwd.iam.brake import Brake
from rs3gwd.iam.identities.permissions import PermissionCache
from rs3gwd.iam.sessions.session import SessionKind
from rs3gwd.iam.signers import Signers

PICTURE = ClusterPicture("c", 1, 7, Health.HEALTHY, "go on", "go on", [], [], [])
LAYOUT = LayoutPicture(4, [4], 3, 1, 1024, 7, False, [])
PLAN = LayoutPlan(5, 3, 1, 1024, 0, 7, 7, [])
DRAINED = LayoutChange([RoleWanted(3, capacity_bytes=0)])
BODIES = {
    "SetGroupLeader": b'{"node":2}',
    "RemoveNode": b'{"is_lost":true}',
    "PlanLayout": b'{"nodes":[{"node":3,"capacity_bytes":0}]}',
    "RotateAuthority": b'{"here":true,"without":[3]}',
    "RevokeCertificate": b'{"what":"node:3"}',
    "SetLayout": b'{"change":{"nodes":[{"node":3,"capacity_bytes":0}]},"version":5}',
}
ASKED: dict[str, object] = {
    "SetGroupLeader": (3, 2),
    "RemoveNode": (2, True),
    "GetLayout": "layout",
    "PlanLayout": DRAINED,
    "SetLayout": (DRAINED, 5),
    "RetreatLayout": "retreat",
    "GetAuthority": "authority",
    "RotateAuthority": (True, [3]),
    "RevokeCertificate": "node:3",
}
"""What a row asks of the cluster; the others ask for the picture."""
ALLOW = {"Effect": "Allow", "Action": "*", "Resource": "*"}
DENY = {"Effect": "Deny", "Action": "rs3gwd:*", "Resource": "*"}
AUTHORITY = AuthorityPicture("steady", 0, 0, [], 0, [], [], [])
OPERATOR = {"Effect": "Allow", "Action": "rs3gwd:*", "Resource": f"{CLUSTER_ARN}*"}
S3_ONLY = {"Effect": "Allow", "Action": "s3:*", "Resource": "*"}


class FakeAuthority:
    """An authority that notes what is asked of it; its key is elsewhere."""

    def __init__(self, asked: list[object]) -> None:
        self.asked = asked

    async def show(self) -> AuthorityPicture:
        """An empty one."""
        self.asked.append("authority")
        return AUTHORITY

    async def rotate(self, *, here: bool, without: list[int]) -> AuthorityPicture:
        """Notes it."""
        if 9 in without:
            raise AuthorityRefused("there is no node 9")
        self.asked.append((here, without))
        return AUTHORITY

    async def revoke(self, what: str) -> Revoked:
        """Notes it."""
        if what == "bad":
            raise AuthorityRefused("no certificate has it")
        self.asked.append(what)
        return Revoked([what])


class FakeCluster:
    """A cluster that notes what is asked of it; group 9 cannot be handed over, nodes 7 to 9 not be
    removed, and its layout goes on from version 4."""

    def __init__(self) -> None:
        self.asked: list[object] = []
        self.authority = FakeAuthority(self.asked)

    async def picture(self) -> ClusterPicture:
        """An empty one."""
        self.asked.append("picture")
        return PICTURE

    async def transfer_leader(self, group: int, node: int) -> None:
        """Notes it."""
        if group == 8:
            raise NoSuchGroup("there is no group 8")
        if group == 9:
            raise NotHandedOver("node 2 does not follow")
        self.asked.append((group, node))

    async def layout(self) -> LayoutPicture:
        """An empty one."""
        self.asked.append("layout")
        return LAYOUT

    async def plan_layout(self, change: LayoutChange) -> LayoutPlan:
        """An empty one."""
        if change.copies == 9:
            raise LayoutRefused("9 copies need 9 nodes")
        self.asked.append(change)
        return PLAN

    async def apply_layout(self, change: LayoutChange, version: int) -> None:
        """Notes it."""
        if version != 5:
            raise LayoutBusy("another version is the next")
        self.asked.append((change, version))

    async def retreat_layout(self) -> None:
        """Notes it."""
        self.asked.append("retreat")

    async def remove_node(self, node: int, *, is_lost: bool) -> None:
        """Notes it."""
        if node == 8 and not is_lost:
            raise NodeHoldsCopies("node 8 holds copies")
        if node == 7:
            raise NoSuchNode("there is no node 7")
        if node == 9:
            raise NotRemoved("the others could not go on without it")
        self.asked.append((node, is_lost))


def row_of(name: str) -> Operation:
    """The row of an operation."""
    return next(row for row in ADMIN_OPERATIONS if row.name == name)


class AdminWorld:
    """alice's account is the root account; bob has another."""

    def __init__(self, *, is_clustered: bool = True, brake: Brake | None = None) -> None:
        self.world = S3World()
        self.world.store.directory.add_account(replace(ALICE, is_root=True))
        self.cluster = FakeCluster()
        self.is_current = True
        signers = Signers(
            self.world.store.directory, self.world.secrets, brake or Brake(burst=1 << 40)
        )
        self.service = AdminService(
            AdminPorts(
                directory=self.world.store.directory,
                clock=self.world.clock,
                region="us-east-1",
                permissions=PermissionCache(),
                signers=signers,
                cluster=self.cluster if is_clustered else None,
                begin=self._begin,
            )
        )

    async def _begin(self) -> None:
        if not self.is_current:
            raise Overloaded("no majority")

    async def ask(self, request: Request) -> tuple[int, Any]:
        """The status and the values of an answer."""
        response = await self.service.handle(request)
        assert isinstance(response.body, bytes)
        return response.status, json.loads(response.body)

    def request(
        self,
        row: Operation,
        signer: Signer,
        *,
        service: str = SERVICE,
        group: str = "3",
        node: str = "2",
        body: bytes | None = None,
    ) -> Request:
        """A request for a row, signed; not for an empty key."""
        path = PREFIX + row.path.format(group=group, node=node)
        data = BODIES.get(row.name, b"") if body is None else body
        headers = {"host": HOST}
        if signer.access_key_id:
            aws = AWSRequest(row.method, f"http://{HOST}{path}", headers=headers, data=data)
            keys = Credentials(signer.access_key_id, signer.secret, signer.token or None)
            SigV4Auth(keys, service, "us-east-1").add_auth(aws)
            headers = {name.lower(): value for name, value in aws.headers.items()}
        return make_request(row.method, path, headers, data)


Caller = Callable[[AdminWorld], Awaitable[Signer]]


async def root(world: AdminWorld) -> Signer:
    """The root account's own key."""
    return Signer.now(world.world.key_id(ALICE), SECRET)


async def operator(world: AdminWorld) -> Signer:
    """A user whose policy names these actions."""
    return Signer.now(await add_user(world.world, "carol", OPERATOR), SECRET)


async def session_of_operators(world: AdminWorld) -> Signer:
    """A session of a role whose policy does."""
    role = await add_role(world.world, "operators", OPERATOR)
    return await open_session(
        world.world, SessionKind.ROLE, holder=role.name, holder_id=role.unique_id, name="job"
    )


async def user_without_policy(world: AdminWorld) -> Signer:
    """A user whom nobody allowed anything."""
    return Signer.now(await add_user(world.world, "carol"), SECRET)


async def user_of_s3(world: AdminWorld) -> Signer:
    """A user who may do everything in S3."""
    return Signer.now(await add_user(world.world, "carol", S3_ONLY), SECRET)


async def user_denied(world: AdminWorld) -> Signer:
    """A user to whom it is allowed and denied."""
    return Signer.now(await add_user(world.world, "carol", ALLOW, DENY), SECRET)


async def other_account(world: AdminWorld) -> Signer:
    """The root of an account that is not the store's."""
    return Signer.now(world.world.key_id(BOB), SECRET)


async def anonymous(world: AdminWorld) -> Signer:
    """Nobody."""
    return Signer.now("", "")


LET_IN: list[Caller] = [root, operator, session_of_operators]
KEPT_OUT: list[Caller] = [
    user_without_policy,
    user_of_s3,
    user_denied,
    other_account,
    anonymous,
]
ROWS = pytest.mark.parametrize("row", ADMIN_OPERATIONS, ids=lambda row: row.name)


@ROWS
@pytest.mark.parametrize("caller", LET_IN, ids=lambda caller: caller.__name__)
async def test_whoever_administers_the_store_is_let_in(row: Operation, caller: Caller) -> None:
    """The handler is called, and its answer has the fields of its type."""
    world = AdminWorld()
    status, answer = await world.ask(world.request(row, await caller(world)))
    assert status == 200, answer
    assert set(answer) == set(row.answer.__struct_fields__)
    assert world.cluster.asked == [ASKED.get(row.name, "picture")]


@ROWS
@pytest.mark.parametrize("caller", KEPT_OUT, ids=lambda caller: caller.__name__)
async def test_everybody_else_is_kept_out(row: Operation, caller: Caller) -> None:
    """403, and the cluster is not even asked."""
    world = AdminWorld()
    status, answer = await world.ask(world.request(row, await caller(world)))
    assert (status, answer["error"]["code"]) == (403, "AccessDenied")
    assert world.cluster.asked == []


@ROWS
async def test_a_signature_that_is_not_right_lets_nobody_in(row: Operation) -> None:
    """A wrong secret, an unknown key, one for S3, another path, method or body, an old one."""
    world = AdminWorld()
    signer = await root(world)
    right = world.request(row, signer)
    forged = {
        "wrong secret": world.request(row, replace(signer, secret="wrong")),
        "unknown key": world.request(row, replace(signer, access_key_id="AKIANOBODY")),
        "for s3": world.request(row, signer, service="s3"),
        "other path": replace(right, raw_path=right.raw_path + "/"),
        "other method": replace(right, method="GET" if row.method == "PUT" else "PUT"),
        "other query": replace(right, raw_query="a=b"),
        "other body": replace(right, body=world.request(row, signer, body=b'{"node":1}').body),
    }
    for name, request in forged.items():
        status, answer = await world.ask(request)
        assert status in (400, 403), name
        code = answer["error"]["code"]
        assert code in (
            "SignatureDoesNotMatch",
            "InvalidAccessKeyId",
            "AuthorizationHeaderMalformed",
        ), name
    world.world.clock.advance(3_600_000)
    assert (await world.ask(world.request(row, signer)))[0] == 403
    assert world.cluster.asked == []


async def test_a_deny_of_one_group_holds_however_its_number_is_written() -> None:
    """A number has one spelling, the one that policies name."""
    deny = {"Effect": "Deny", "Action": "*", "Resource": f"{CLUSTER_ARN}/group/3"}
    world = AdminWorld()
    signer = Signer.now(await add_user(world.world, "carol", OPERATOR, deny), SECRET)
    row = row_of("SetGroupLeader")
    statuses = {}
    for group in ("3", "03", "%33", "+3", "3.0", "4", "", "9999999"):
        statuses[group], _ = await world.ask(world.request(row, signer, group=group))
    assert statuses.pop("4") == 200
    assert statuses.pop("3") == 403
    assert set(statuses.values()) <= {403, 404}
    assert world.cluster.asked == [(4, 2)]


async def test_a_deny_of_one_node_holds_however_its_number_is_written() -> None:
    """Whoever may remove nodes but not node 3 finds no other name for it."""
    deny = {"Effect": "Deny", "Action": "rs3gwd:RemoveNode", "Resource": f"{CLUSTER_ARN}/node/3"}
    world = AdminWorld()
    signer = Signer.now(await add_user(world.world, "carol", OPERATOR, deny), SECRET)
    row = row_of("RemoveNode")
    statuses = {}
    for node in ("3", "03", "%33", "+3", "3.0", "0", "4", "", "9999999"):
        statuses[node], _ = await world.ask(world.request(row, signer, node=node))
    assert statuses.pop("4") == 200
    assert statuses.pop("3") == 403
    assert set(statuses.values()) <= {400, 403}
    assert world.cluster.asked == [(4, True)]


async def test_without_a_body_a_node_is_not_lost() -> None:
    """What is dangerous must be said."""
    world = AdminWorld()
    row, signer = row_of("RemoveNode"), await root(world)
    assert await world.ask(world.request(row, signer, body=b"")) == (200, {"removed": 2})
    assert await world.ask(world.request(row, signer, body=b"{}")) == (200, {"removed": 2})
    assert world.cluster.asked == [(2, False), (2, False)]


HUGE = b"x" * (BODY_BYTES_MAX + 1)


@pytest.mark.parametrize(
    ("name", "options", "status", "code"),
    [
        ("SetGroupLeader", {"body": b""}, 400, "MalformedJSON"),
        ("SetGroupLeader", {"body": b"\xff"}, 400, "MalformedJSON"),
        ("SetGroupLeader", {"body": b'{"node":0}'}, 400, "MalformedJSON"),
        ("SetGroupLeader", {"body": b'{"node":2,"more":1}'}, 400, "MalformedJSON"),
        ("SetGroupLeader", {"body": HUGE}, 413, "RequestEntityTooLarge"),
        ("SetGroupLeader", {"group": "8"}, 404, "NoSuchGroup"),
        ("SetGroupLeader", {"group": "9"}, 503, "NotHandedOver"),
        ("SetGroupLeader", {"group": "x"}, 404, "NoSuchGroup"),
        ("PlanLayout", {"body": b""}, 400, "MalformedJSON"),
        ("PlanLayout", {"body": b'{"copies":0}'}, 400, "MalformedJSON"),
        ("PlanLayout", {"body": b'{"copies":9}'}, 409, "LayoutRefused"),
        ("PlanLayout", {"body": b'{"zone_copies_max":-1}'}, 400, "MalformedJSON"),
        ("PlanLayout", {"body": b'{"nodes":[{"node":0}]}'}, 400, "MalformedJSON"),
        (
            "PlanLayout",
            {"body": b'{"nodes":[{"node":1,"capacity_bytes":-1}]}'},
            400,
            "MalformedJSON",
        ),
        (
            "PlanLayout",
            {"body": b'{"nodes":[{"node":1,"capacity_bytes":' + b"9" * 30 + b"}]}"},
            400,
            "MalformedJSON",
        ),
        ("PlanLayout", {"body": b'{"nodes":[{"node":1,"capacty":1}]}'}, 400, "MalformedJSON"),
        ("SetLayout", {"body": b'{"change":{}}'}, 400, "MalformedJSON"),
        ("SetLayout", {"body": b'{"change":{},"version":4}'}, 409, "LayoutBusy"),
        ("RotateAuthority", {"body": b'{"without":[9]}'}, 409, "AuthorityRefused"),
        ("RotateAuthority", {"body": b'{"here":1}'}, 400, "MalformedJSON"),
        ("RevokeCertificate", {"body": b'{"what":"bad"}'}, 409, "AuthorityRefused"),
        ("RevokeCertificate", {"body": b""}, 400, "MalformedJSON"),
        ("RemoveNode", {"node": "x"}, 400, "InvalidArgument"),
        ("RemoveNode", {"node": "8", "body": b""}, 409, "NodeHoldsCopies"),
        ("RemoveNode", {"node": "7"}, 404, "NoSuchNode"),
        ("RemoveNode", {"node": "9"}, 503, "NotRemoved"),
        ("RemoveNode", {"body": b'{"is_lost":1}'}, 400, "MalformedJSON"),
    ],
)
async def test_what_cannot_be_done_is_said(
    name: str, options: dict[str, Any], status: int, code: str
) -> None:
    """Each refusal has its status and code."""
    world = AdminWorld()
    request = world.request(row_of(name), await root(world), **options)
    answered, answer = await world.ask(request)
    assert (answered, answer["error"]["code"]) == (status, code)
    assert answer["error"]["request_id"] == request.request_id
    assert world.cluster.asked == []


async def test_what_is_not_there_is_said() -> None:
    """No operation at the path, another method, no cluster, no majority."""
    world = AdminWorld()
    row, signer = ADMIN_OPERATIONS[0], await root(world)
    odd = Operation("Odd", "GET", "cluster/odd", row.handler, row.answer, "")
    assert (await world.ask(world.request(odd, signer)))[0] == 404
    other = Operation("Other", "DELETE", "cluster", row.handler, row.answer, "")
    assert (await world.ask(world.request(other, signer)))[0] == 405
    world.is_current = False
    status, answer = await world.ask(world.request(row, signer))
    assert (status, answer["error"]["code"]) == (503, "SlowDown")
    alone = AdminWorld(is_clustered=False)
    status, answer = await alone.ask(alone.request(row, await root(alone)))
    assert (status, answer["error"]["code"]) == (409, "NotACluster")


async def test_guessing_is_slowed() -> None:
    """The brake of the surface counts these signatures, too."""
    world = AdminWorld(brake=Brake(burst=2, per_second=1))
    row = ADMIN_OPERATIONS[0]
    guess = replace(await root(world), secret="guess")
    statuses = [(await world.ask(world.request(row, guess)))[0] for _ in range(3)]
    assert statuses == [403, 403, 503]


async def test_only_its_own_paths_are_taken() -> None:
    """Everything else, and all paths of a host that names a bucket, is left to S3."""
    world = AdminWorld()
    left = Response(200, [])
    begin = world.service.before(lambda request: left, lambda request: request.host == "b.d")
    request = world.request(ADMIN_OPERATIONS[0], await root(world))
    assert begin(replace(request, raw_path="/bucket/_rs3gwd/admin/v1/cluster")) is left
    assert begin(replace(request, raw_path="/_rs3gwd/admin/v2/cluster")) is left
    assert begin(replace(request, host="b.d")) is left
    taken = begin(request)
    assert not isinstance(taken, Response)
    assert (await taken).operation == "GetCluster"
