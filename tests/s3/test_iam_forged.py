"""Every action of the query API against every way of asking that must not work."""

from pathlib import Path
from urllib.parse import urlencode

import pytest
import trio
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials
from botocore.session import Session
from msgspec.structs import replace
from s3_world import ALICE, HOST, SECRET, Answer, S3World, make_request

from rs3gwd.base.commands import PutIdentity
from rs3gwd.base.http import Request
from rs3gwd.base.identities import IdentityKind, IdentityRecord
from rs3gwd.base.records import AccessKeyRecord, AccessKeyStatus
from rs3gwd.iam.query_api.errors import STATUSES
from rs3gwd.iam.query_api.operations import QUERY_OPERATIONS, Row
from rs3gwd.iam.query_api.unanswered import UNANSWERED
from rs3gwd.iam.query_api.xml import Service
from rs3gwd.testing.fake_issuer import FakeIssuer

USER_KEY = "AKIAUSERBOB000000000"
INACTIVE_KEY = "AKIAINACTIVE00000000"
FIELDS = {
    "UserName": "bob",
    "GroupName": "staff",
    "RoleName": "reader",
    "PolicyName": "p",
    "PolicyArn": "arn:aws:iam::aws:policy/AdministratorAccess",
    "PolicyDocument": "{}",
    "AssumeRolePolicyDocument": "{}",
    "PermissionsBoundary": "arn:aws:iam::aws:policy/AdministratorAccess",
    "AccessKeyId": USER_KEY,
    "Status": "Inactive",
    "VersionId": "v1",
    "RoleArn": "arn:aws:iam::111111111111:role/reader",
    "RoleSessionName": "bob",
    "Name": "bob",
    "WebIdentityToken": "a.b.c",
    "OpenIDConnectProviderArn": "arn:aws:iam::111111111111:oidc-provider/issuer.example.com",
    "Url": "https://issuer.example.com",
    "ClientID": "app",
}


@pytest.fixture(scope="module")
def world(file_ground: None) -> S3World:
    """Alice's account with bob, who has a key and no policy, and an inactive key."""
    world = S3World(web_documents=FakeIssuer())
    record = IdentityRecord(ALICE.canonical_id, IdentityKind.USER, "bob", "/", "AIDABOB", 1)
    trio.run(world.store.submit, PutIdentity(record, 0))
    for key_id, user, status in (
        (USER_KEY, "bob", AccessKeyStatus.ACTIVE),
        (INACTIVE_KEY, "", AccessKeyStatus.INACTIVE),
    ):
        key = AccessKeyRecord(key_id, SECRET, ALICE.canonical_id, 0, status, user)
        world.store.directory.add_access_key(key)
    return world


def signed(row: Row, *, key: str = "", secret: str = SECRET, scope: str = "") -> Request:
    """A request for an action with all its parameters, signed as alice or by a key."""
    fields = {"Action": row.name, "Version": row.service.version, **FIELDS}
    body = urlencode(fields).encode()
    headers = {"host": HOST, "content-type": "application/x-www-form-urlencoded; charset=utf-8"}
    aws = AWSRequest(method="POST", url=f"http://{HOST}/", headers=headers, data=body)
    credentials = Credentials(key or S3World.key_id(ALICE), secret)
    SigV4Auth(credentials, scope or row.service.scope, "us-east-1").add_auth(aws)
    given = {name.lower(): value for name, value in aws.headers.items()}
    return make_request("POST", "/", {**given, "content-length": str(len(body))}, body)


def send(world: S3World, request: Request) -> Answer:
    """What the service answers."""
    return trio.run(world.send, request)


def state_of(world: S3World) -> object:
    """All that may not change."""
    if world.nodes is not None:
        return world.snapshot()
    return world.snapshot(), dict(world.store.state.identities)


@pytest.mark.parametrize("row", QUERY_OPERATIONS, ids=lambda row: row.name)
def test_no_action_works_for_those_who_may_not(world: S3World, row: Row) -> None:
    """A forged signature, a wrong secret, a key that is off or unknown, a user without policy."""
    before = state_of(world)
    request = signed(row)
    forged = request.headers["authorization"]
    digit = "1" if forged[-1] == "0" else "0"
    headers = {**request.headers, "authorization": forged[:-1] + digit}
    refusals = {
        "forged": send(world, replace(request, headers=headers)),
        "wrong secret": send(world, signed(row, secret=SECRET + "x")),
        "inactive": send(world, signed(row, key=INACTIVE_KEY)),
        "unknown": send(world, signed(row, key="AKIANOBODY0000000000")),
    }
    codes = {name: (each.status, each.text("Error/Code")) for name, each in refusals.items()}
    assert codes == {
        "forged": (403, "SignatureDoesNotMatch"),
        "wrong secret": (403, "SignatureDoesNotMatch"),
        "inactive": (403, "InvalidClientTokenId"),
        "unknown": (403, "InvalidClientTokenId"),
    }
    by_user = send(world, signed(row, key=USER_KEY))
    if row.is_free:
        assert by_user.status == 200
    elif row.is_unsigned:
        assert (by_user.status, by_user.text("Error/Code")) == (400, "InvalidIdentityToken")
    else:
        assert (by_user.status, by_user.text("Error/Code")) == (403, "AccessDenied")
    assert before == state_of(world)


def test_the_body_is_signed(world: S3World) -> None:
    """A form that was changed on the way is refused, whatever it asks for."""
    request = signed(QUERY_OPERATIONS[0])
    other = signed(QUERY_OPERATIONS[1])
    assert (
        send(world, replace(request, body=other.body)).text("Error/Code") == "SignatureDoesNotMatch"
    )


def test_a_signature_for_one_service_is_none_for_another(world: S3World) -> None:
    """Neither S3's for IAM, nor IAM's for STS, nor IAM's for a request of S3."""
    row = QUERY_OPERATIONS[0]
    assert send(world, signed(row, scope="s3")).status >= 400
    assert send(world, signed(row, scope="sts")).text("Error/Code") == "InvalidAction"
    for_iam = signed(row)
    answer = send(world, replace(for_iam, method="GET"))
    assert answer.status >= 400
    assert b"ListAllMyBucketsResult" not in answer.body


def test_bodies_are_bounded_and_forms_read_strictly(world: S3World) -> None:
    """Too long, a parameter twice, not UTF-8: refused before anything is done."""
    request = signed(QUERY_OPERATIONS[0])
    assert send(world, replace(request, content_length=1 << 20)).status == 413
    for body in (b"Action=ListUsers&Action=GetUser", b"Action=%ff", b"", b"Action=Nonsense"):
        headers = {"host": HOST}
        aws = AWSRequest(method="POST", url=f"http://{HOST}/", headers=headers, data=body)
        SigV4Auth(Credentials(world.key_id(ALICE), SECRET), "iam", "us-east-1").add_auth(aws)
        given = {name.lower(): value for name, value in aws.headers.items()}
        answer = send(world, make_request("POST", "/", given, body))
        assert answer.status == 400
        assert answer.text("Error/Code") in ("ValidationError", "MissingAction", "InvalidAction")


def test_what_is_missing_says_so(world: S3World) -> None:
    """501 NotImplemented for an action of AWS's without a row, signed or not; 400 for none."""
    row = QUERY_OPERATIONS[0]
    for service in Service:
        for name in sorted(UNANSWERED[service]):
            missing = Row(name, row.target, row.handler, service)
            answer = send(world, signed(missing))
            assert (answer.status, answer.text("Error/Code")) == (501, "NotImplemented"), name
            assert answer.text("Error/Message") == f"{name} is not implemented"
    headers = {"host": HOST, "content-type": "application/x-www-form-urlencoded"}
    for name, status in (("AssumeRoleWithSAML", 501), ("AssumeRoot", 403), ("Nonsense", 403)):
        body = f"Action={name}&Version=2011-06-15".encode()
        assert send(world, make_request("POST", "/", headers, body)).status == status


def test_every_row_is_an_action_of_the_model() -> None:
    """botocore knows each, and those that are known to be missing are all others; the version of
    the API is the one that it sends."""
    session = Session()
    for service in Service:
        model = session.get_service_model(service.scope)
        assert model.api_version == service.version
        rows = {row.name for row in QUERY_OPERATIONS if row.service is service}
        assert rows.isdisjoint(UNANSWERED[service])
        assert rows | UNANSWERED[service] == set(model.operation_names)
    assert len({(row.service, row.name) for row in QUERY_OPERATIONS}) == len(QUERY_OPERATIONS)


def test_statuses_are_those_of_the_model() -> None:
    """Where botocore's model of IAM knows an error, its status is ours."""
    model = Session().get_service_model("iam")
    shapes = [model.shape_for(name) for name in model.shape_names]
    known = {
        shape.error_code: shape.metadata["error"]["httpStatusCode"]
        for shape in shapes
        if shape.metadata.get("error", {}).get("httpStatusCode")
    }
    shared = set(known) & set(STATUSES)
    assert len(shared) >= 6
    assert {code: STATUSES[code] for code in shared} == {code: known[code] for code in shared}


def test_every_action_is_documented() -> None:
    """The page for operators names each, or that of users which groups and roles have too."""
    page = (Path(__file__).resolve().parents[2] / "docs" / "operate" / "identities.md").read_text()
    names = [row.name for row in QUERY_OPERATIONS]
    assert len(names) > 60
    of_users = {name: name.replace("Group", "User").replace("Role", "User") for name in names}
    assert [
        name for name in names if f"`{name}`" not in page and f"`{of_users[name]}`" not in page
    ] == []
