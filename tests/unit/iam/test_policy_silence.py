"""What is remembered of a policy's silence says what the policy says, of every request."""

from __future__ import annotations

import json
import random
from typing import Any

from msgspec.structs import replace
from s3_world import ALICE, HOST, make_request

from rs3gwd.base.errors import ApiError
from rs3gwd.base.http import Request
from rs3gwd.iam.bucket_access import (
    ALL_BLOCKED,
    BucketAccess,
    Ownership,
    compile_bucket_policy,
)
from rs3gwd.iam.gate import Gate
from rs3gwd.iam.identities.arns import account_id_of
from rs3gwd.iam.policy import silence
from rs3gwd.iam.policy.context import root_caller
from rs3gwd.iam.policy.silence import Silences
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
ROOT = Principal(ALICE, "AKIAALICE")
RESOURCES = ["*", "team/*", "team/a", "te?m/*", "${aws:username}/*"]


def access_of(source: random.Random) -> BucketAccess:
    """A bucket of alice with a few denials."""
    statements = [
        {
            "Effect": "Deny",
            "Principal": source.choice(["*", {"AWS": "arn:aws:iam::111122223333:root"}]),
            "Action": source.choice(["s3:*", "s3:GetObject", "s3:Put*"]),
            "Resource": f"arn:aws:s3:::bucket/{source.choice(RESOURCES)}",
            "Condition": source.choice(CONDITIONS),
        }
        for _ in range(source.randint(1, 4))
    ]
    document = json.dumps({"Version": "2012-10-17", "Statement": statements}).encode()
    try:
        policy = compile_bucket_policy(document, "bucket")
    except ApiError:
        return access_of(source)  # A condition that its actions do not know.
    return replace(EMPTY, policy=policy, silences=Silences(policy))


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
    access: BucketAccess, asked: tuple[Request, dict[str, str], int], action: str, key: str
) -> str:
    """Why root may, or AccessDenied."""
    request, query, now_ms = asked
    gate = Gate(ROOT, RequestSide(request, query, now_ms, "us-east-1"))
    try:
        return gate.require(action, f"arn:aws:s3:::bucket/{key}", access).reason
    except ApiError as error:
        return error.api_code


def test_what_is_remembered_is_what_would_be_decided() -> None:
    """400 policies and 40,000 requests that often agree in their facts: the answer is always that
    of a gate that remembers nothing."""
    source = random.Random(5)
    seen, covered = set(), 0
    for _ in range(400):
        access = access_of(source)
        assert access.policy is not None
        for _ in range(100):
            asked = request_of(source)
            action = source.choice(["s3:GetObject", "s3:PutObject"])
            key = source.choice(["team/a", "team/b", "other", "root/x"])
            fresh = replace(access, silences=Silences(access.policy))
            expected = answer(fresh, asked, action, key)
            assert (answer(access, asked, action, key) == "AccessDenied") is (
                expected == "AccessDenied"
            ), (access.policy.document, asked, action, key)
            seen.add(expected)
            covered += answer(access, asked, action, key) == "owns the bucket"
    assert "AccessDenied" in seen
    assert covered > 5000


def test_what_is_remembered_is_bounded() -> None:
    """Clients who send ever new agents fill nothing for ever."""
    source = random.Random(5)
    access = access_of(source)
    assert access.silences is not None
    caller = root_caller(account_id_of(ALICE.canonical_id), ALICE.canonical_id)
    found = access.silences.of("s3:GetObject", caller)
    assert not found.covers(None)
    for number in range(3 * silence.REMEMBERED_MAX):
        found.remember(("agent", number))
        assert found.covers(("agent", number))
        assert found._known is not None
        assert len(found._known) <= silence.REMEMBERED_MAX
