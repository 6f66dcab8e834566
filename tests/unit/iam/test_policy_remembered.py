"""What is remembered of what policies permit is what they say, of every request."""

from __future__ import annotations

import json
import random
from collections import Counter
from typing import Any

from msgspec.structs import replace
from s3_world import ALICE, BOB, HOST, make_request

from rs3gwd.base.errors import ApiError
from rs3gwd.base.http import Request
from rs3gwd.base.identities import IdentityKind, IdentityRecord
from rs3gwd.iam.bucket_access import (
    ALL_BLOCKED,
    BucketAccess,
    Ownership,
    compile_bucket_policy,
)
from rs3gwd.iam.gate import Gate
from rs3gwd.iam.identities.arns import account_id_of
from rs3gwd.iam.identities.permissions import (
    Permissions,
    bare_permissions,
    caller_of_principal,
)
from rs3gwd.iam.policy import remembered
from rs3gwd.iam.policy.document import ROLE_INLINE_CHARACTERS_MAX, PolicyKind
from rs3gwd.iam.policy.reading import read_policy
from rs3gwd.iam.policy.statements import CompiledPolicy
from rs3gwd.iam.principal import Principal
from rs3gwd.iam.request_side import RequestSide

NOW_MS = 1_700_000_000_000

CONDITIONS: list[dict[str, Any]] = [
    {"NotIpAddress": {"aws:SourceIp": ["10.0.0.0/8", "::1/128"]}},
    {"StringLike": {"aws:UserAgent": ["evil*", "*scan*"]}},
    {"DateGreaterThan": {"aws:CurrentTime": "2023-11-14T22:13:22Z"}},
    {"NumericLessThan": {"aws:EpochTime": "1699999999"}},
    {"StringEquals": {"s3:x-amz-acl": ["public-read"]}},
    {"Null": {"s3:x-amz-storage-class": "true"}},
    {"StringNotEquals": {"s3:x-amz-storage-class": "STANDARD"}},
    {"NumericGreaterThan": {"s3:signatureAge": "2000"}},
    {"StringEquals": {"s3:authType": "REST-QUERY-STRING"}},
    {"StringLike": {"s3:prefix": "secret*"}},
    {"Bool": {"aws:SecureTransport": "false"}},
    {"StringEquals": {"s3:ExistingObjectTag/a": "b"}},
    {"StringNotLike": {"aws:Referer": "https://example.org/*"}},
    {"ArnLike": {"aws:PrincipalArn": "arn:aws:iam::*:root"}},
]
EMPTY = BucketAccess(
    name="bucket",
    owner_id=ALICE.canonical_id,
    ownership=Ownership.ENFORCED,
    block=ALL_BLOCKED,
    acl=[],
    policy=None,
    policy_is_public=False,
    requester_pays=False,
    tags=[],
)
USER = IdentityRecord(
    ALICE.canonical_id, IdentityKind.USER, "team", "/", "AIDATEAM", 0, tags=[("a", "b")]
)
PRINCIPALS = [
    Principal(ALICE, "AKIAALICE"),
    Principal(ALICE, "AKIATEAM", USER),
    Principal(BOB, "AKIABOB"),
    Principal(None),
]
ARN = f"arn:aws:iam::{account_id_of(ALICE.canonical_id)}:user/team"
WHO: list[Any] = [
    "*",
    "*",
    {"AWS": "arn:aws:iam::111122223333:root"},
    {"AWS": ARN},
    {"AWS": account_id_of(BOB.canonical_id)},
]
RESOURCES = ["*", "team/*", "team/a", "te?m/*", "${aws:username}/*", "${aws:Referer}/*"]


def statements_of(source: random.Random, principals: list[Any]) -> list[dict[str, Any]]:
    """A few statements; those of a bucket name principals."""
    statements = []
    for _ in range(source.randint(1, 4)):
        actions = source.choice(["s3:*", "s3:GetObject", "s3:Put*"])
        resource = f"arn:aws:s3:::bucket/{source.choice(RESOURCES)}"
        statement: dict[str, Any] = {
            "Effect": source.choice(["Deny", "Allow", "Allow"]),
            "Action": actions,
            source.choice(["Resource", "Resource", "NotResource"]): source.choice(
                [resource, [resource, "arn:aws:s3:::bucket/other"]]
            ),
        }
        if source.random() < 0.7:
            statement["Condition"] = source.choice(CONDITIONS)
        if principals:
            is_except = statement["Effect"] == "Deny" and source.random() < 0.3
            who = {"AWS": ARN} if is_except else source.choice(principals)
            statement["NotPrincipal" if is_except else "Principal"] = who
        statements.append(statement)
    return statements


def document_of(statements: list[dict[str, Any]]) -> bytes:
    """A document of statements."""
    return json.dumps({"Version": "2012-10-17", "Statement": statements}).encode()


def access_of(source: random.Random) -> BucketAccess:
    """A bucket of alice with a policy, nearly always."""
    if source.random() < 0.1:
        return replace(EMPTY)
    try:
        policy = compile_bucket_policy(document_of(statements_of(source, WHO)), "bucket")
    except ApiError:
        return access_of(source)  # A condition that its actions do not know.
    return replace(EMPTY, policy=policy)


def own_of(source: random.Random, principal: Principal) -> Permissions:
    """What the caller's account says: a user's policies, at times a boundary or a session's."""
    if principal.account is None:
        return bare_permissions(principal)
    caller = caller_of_principal(principal)
    if principal.user is None:
        return Permissions(caller)

    def some() -> CompiledPolicy:
        text = document_of(statements_of(source, []))
        characters = ROLE_INLINE_CHARACTERS_MAX
        return CompiledPolicy(
            "own", read_policy(text, PolicyKind.IDENTITY, characters_max=characters)
        )

    return Permissions(
        caller,
        tuple(some() for _ in range(source.randint(0, 2))),
        some() if source.random() < 0.3 else None,
        (some(),) if source.random() < 0.3 else None,
    )


def request_of(source: random.Random) -> tuple[Request, dict[str, str], int]:
    """A request out of few possibilities, so that many agree; its query and its time."""
    headers = {"host": HOST, "authorization": "AWS4-HMAC-SHA256 Credential=x"}
    if source.random() < 0.2:
        del headers["authorization"]
    query = {"X-Amz-Signature": "x"} if "authorization" not in headers else {}
    for name, values in (
        ("user-agent", ["boto", "evil", "a scanner"]),
        ("x-amz-acl", ["private", "public-read"]),
        ("x-amz-storage-class", ["STANDARD", "GLACIER"]),
        ("referer", ["https://example.org/a", "https://else.org/"]),
        ("x-amz-date", ["20231114T221320Z", "20231114T221318Z"]),
    ):
        if source.random() < 0.5:
            headers[name] = source.choice(values)
    if source.random() < 0.3:
        query["prefix"] = source.choice(["secret/", "open/"])
    request = make_request("GET", "/bucket/key", headers, b"")
    request = replace(
        request, peer=source.choice(["10.1.2.3", "192.0.2.1"]), secure=source.random() < 0.5
    )
    return request, query, NOW_MS + source.choice([0, 999, 1000, 2500, 3000])


def answer(
    access: BucketAccess,
    own: Permissions,
    principal: Principal,
    asked: tuple[Request, dict[str, str], int],
    *,
    action: str,
    key: str,
) -> str:
    """Why the caller may, or AccessDenied."""
    request, query, now_ms = asked
    gate = Gate(principal, RequestSide(request, query, now_ms, "us-east-1"), own)
    try:
        return gate.require(action, f"arn:aws:s3:::bucket/{key}", access).reason
    except ApiError as error:
        return error.api_code


def kept(access: BucketAccess) -> int:
    """How many permissions a bucket remembers."""
    return sum(len(found.known) for _, found in access.memory._found.values())


def test_what_is_remembered_is_what_would_be_decided() -> None:
    """400 buckets with policies, of four callers with policies of their own, and 40,000 requests
    that often agree in their facts: the answer is always that of a gate that remembers nothing."""
    source = random.Random(5)
    seen: Counter[str] = Counter()
    asked_again = 0
    for _ in range(400):
        access = access_of(source)
        callers = [(each, own_of(source, each)) for each in PRINCIPALS]
        for _ in range(100):
            asked = request_of(source)
            principal, own = source.choice(callers)
            action = source.choice(["s3:GetObject", "s3:PutObject"])
            key = source.choice(["team/a", "team/b", "other", "root/x"])
            fresh = replace(access)
            expected = answer(fresh, own, principal, asked, action=action, key=key)
            before = kept(access)
            found = answer(access, own, principal, asked, action=action, key=key)
            assert found == expected, (access.policy, own, asked, action, key)
            seen[expected] += 1
            asked_again += found != "AccessDenied" and kept(access) == before
    assert len(seen) > 3
    assert asked_again > 3000


def test_a_change_of_what_a_caller_may_ends_what_is_remembered() -> None:
    """Other permissions are another owner of memories, whatever was kept before."""
    source = random.Random(5)
    access = replace(EMPTY)
    principal = PRINCIPALS[1]
    asked = request_of(source)
    may, may_not = (
        Permissions(caller_of_principal(principal), (policy,))
        for policy in (
            CompiledPolicy("own", read_policy(text, PolicyKind.IDENTITY, characters_max=10_000))
            for text in (
                document_of([{"Effect": effect, "Action": "s3:*", "Resource": "*"}])
                for effect in ("Allow", "Deny")
            )
        )
    )
    for own, expected in ((may, "identity"), (may, "identity"), (may_not, "AccessDenied")):
        found = answer(access, own, principal, asked, action="s3:GetObject", key="a")
        assert expected in found
    assert kept(access) == 1


def test_what_is_remembered_is_bounded() -> None:
    """Clients who send ever new agents, and ever new callers, fill nothing for ever."""
    source = random.Random(5)
    access = replace(EMPTY)
    own = Permissions(caller_of_principal(PRINCIPALS[1]))
    gate = Gate(PRINCIPALS[1], RequestSide(*request_of(source), "us-east-1"), own)
    found = gate._begin("s3:GetObject", access)
    assert access.memory.of("s3:GetObject", own) is found
    found.remember(None, "why")
    assert not found.known
    for number in range(3 * remembered.REMEMBERED_MAX):
        found.remember(("agent", number), "why")
        assert found.known["agent", number] == "why"
        assert len(found.known) <= remembered.REMEMBERED_MAX
    for number in range(2 * remembered.CALLERS_MAX):
        access.memory.begin(f"s3:{number}", own, found)
        assert len(access.memory._found) <= remembered.CALLERS_MAX
