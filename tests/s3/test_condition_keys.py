"""Every condition key, asked of real requests: what a policy compares is what the request says.

Each case is a request of a user, a key, a value that the request has and one that it has not. A
permission holds by the one alone, and a denial too: by the user's own policy, and by the bucket's
where a bucket's policy may use the key.
"""

from __future__ import annotations

import base64
import hashlib
from typing import Any

import pytest
from msgspec import Struct, structs
from s3_world import ALICE, SECRET, Answer, S3World
from users import policy

from rs3gwd.base.commands import PutAccessKey, PutIdentity
from rs3gwd.base.identities import IdentityKind, IdentityRecord, InlinePolicy
from rs3gwd.base.new_buckets import NewBuckets
from rs3gwd.base.records import AccessKeyRecord
from rs3gwd.iam.identities.arns import account_id_of
from rs3gwd.iam.policy import request_keys
from rs3gwd.iam.policy.variables import normalize_key
from rs3gwd.testing.memory_keys import MemoryKeys

ACCOUNT = account_id_of(ALICE.canonical_id)
USER = f"arn:aws:iam::{ACCOUNT}:user/carol"
UNTIL = "2199-01-01T00:00:00Z"
AGE_MS = 60_000

LOCK = {
    "x-amz-object-lock-mode": "GOVERNANCE",
    "x-amz-object-lock-retain-until-date": UNTIL,
    "x-amz-object-lock-legal-hold": "ON",
    "x-amz-checksum-sha256": base64.b64encode(hashlib.sha256(b"1").digest()).decode(),
}
CUSTOMER = {
    "x-amz-server-side-encryption-customer-algorithm": "AES256",
    "x-amz-server-side-encryption-customer-key": base64.b64encode(b"k" * 32).decode(),
    "x-amz-server-side-encryption-customer-key-md5": base64.b64encode(
        hashlib.md5(b"k" * 32).digest()
    ).decode(),
}
KMS = {
    "x-amz-server-side-encryption": "aws:kms",
    "x-amz-server-side-encryption-aws-kms-key-id": "default",
}


class Case(Struct, frozen=True):
    """A request for `actions`, and a key with a value that it has and one that it has not.

    `also` is what it needs beside, whatever the policy says of the key. `in_bucket` is whether a
    bucket's policy may use the key for these actions.
    """

    key: str
    operator: str
    has: str
    has_not: str
    method: str = "GET"
    target: str = "/bucket/key"
    actions: tuple[str, ...] = ("s3:GetObject",)
    headers: dict[str, str] = {}
    body: bytes = b""
    also: tuple[str, ...] = ()
    peer: str = "127.0.0.1"
    secure: bool = False
    presigned: bool = False
    in_bucket: bool = True
    name: str = ""


LIST = {
    "target": "/bucket?list-type=2&prefix=home/&delimiter=/&max-keys=5",
    "actions": ("s3:ListBucket",),
}


def put(key: str, operator: str, has: str, has_not: str, **more: Any) -> Case:
    """A case of PutObject."""
    more = {"actions": ("s3:PutObject",), "body": b"1", "target": "/bucket/new", **more}
    return Case(key, operator, has, has_not, method="PUT", **more)


def put_by_header(header: str, has: str, has_not: str, **more: Any) -> Case:
    """A case of PutObject and one of its headers."""
    headers = more.pop("headers", {header: has})
    return put(f"s3:{header}", "StringEquals", has, has_not, headers=headers, **more)


def grant(header: str, target: str = "/bucket/new", action: str = "s3:PutObject") -> Case:
    """A case of a header that grants something."""
    grantee = f'id="{ALICE.canonical_id}"'
    further = ("s3:PutObjectAcl",) if action == "s3:PutObject" else ()
    body = b"" if target.endswith("?acl") else b"1"
    return put_by_header(
        header, grantee, 'id="x"', target=target, actions=(action,), also=further, body=body
    )


def lock(key: str, operator: str, has: str, has_not: str) -> Case:
    """A case of an upload that is locked; all its headers are sent."""
    also = ("s3:PutObjectRetention", "s3:PutObjectLegalHold")
    return put(
        key, operator, has, has_not, headers=LOCK, target="/locked/new", also=also, in_bucket=False
    )


CASES = [
    Case("aws:CurrentTime", "DateLessThan", UNTIL, "2001-01-01T00:00:00Z"),
    Case("aws:EpochTime", "NumericGreaterThan", "1000000000", "9000000000"),
    Case("aws:SourceIp", "IpAddress", "127.0.0.0/8", "10.0.0.0/8"),
    Case("aws:SourceIp", "IpAddress", "2001:db8::/32", "2001:db9::/32", peer="2001:db8::1"),
    Case("aws:SecureTransport", "Bool", "false", "true"),
    Case("aws:SecureTransport", "Bool", "true", "false", secure=True),
    Case("s3:TlsVersion", "NumericGreaterThanEquals", "1.2", "1.3", secure=True),
    Case("aws:UserAgent", "StringLike", "boto*", "curl*", headers={"user-agent": "boto/1"}),
    Case("aws:Referer", "StringLike", "http://a/*", "http://b/*", headers={"referer": "http://a/"}),
    Case("aws:PrincipalArn", "ArnEquals", USER, USER + "x"),
    Case("aws:PrincipalAccount", "StringEquals", ACCOUNT, "111122223333"),
    Case("aws:PrincipalType", "StringEquals", "User", "Account"),
    Case("aws:PrincipalIsAWSService", "Bool", "false", "true"),
    Case("aws:PrincipalTag/team", "StringEquals", "red", "blue"),
    Case("aws:userid", "StringEquals", "AIDACAROL", "AIDABOB"),
    Case("aws:username", "StringEquals", "carol", "bob"),
    Case("aws:RequestedRegion", "StringEquals", "us-east-1", "eu-west-1"),
    Case("aws:ResourceAccount", "StringEquals", ACCOUNT, "111122223333"),
    Case("s3:ResourceAccount", "StringEquals", ACCOUNT, "111122223333"),
    Case("aws:ResourceTag/team", "StringEquals", "red", "blue", **LIST),
    Case("s3:BucketTag/team", "StringEquals", "red", "blue", **LIST),
    Case("aws:TokenIssueTime", "Null", "true", "false"),
    Case("aws:MultiFactorAuthPresent", "Null", "true", "false"),
    Case("aws:FederatedProvider", "Null", "true", "false"),
    Case("aws:SourceIdentity", "Null", "true", "false"),
    Case("s3:authType", "StringEquals", "REST-HEADER", "REST-QUERY-STRING"),
    Case("s3:authType", "StringEquals", "REST-QUERY-STRING", "REST-HEADER", presigned=True),
    Case("s3:signatureversion", "StringEquals", "AWS4-HMAC-SHA256", "AWS"),
    Case("s3:signatureAge", "NumericLessThan", "600000", "30000"),
    Case("s3:signatureAge", "NumericLessThan", "600000", "30000", presigned=True),
    Case("s3:x-amz-content-sha256", "StringLike", "e3b0c442*", "UNSIGNED-PAYLOAD"),
    Case("s3:prefix", "StringEquals", "home/", "other/", **LIST),
    Case("s3:delimiter", "StringEquals", "/", "-", **LIST),
    Case("s3:max-keys", "NumericLessThanEquals", "5", "4", **LIST),
    Case(
        "s3:VersionId",
        "StringEquals",
        "{version}",
        "{version}0",
        target="/bucket/key?versionId={version}",
        actions=("s3:GetObjectVersion",),
    ),
    Case("s3:ExistingObjectTag/a", "StringEquals", "b", "B"),
    put(
        "s3:RequestObjectTag/c",
        "StringEquals",
        "d",
        "D",
        headers={"x-amz-tagging": "c=d"},
        also=("s3:PutObjectTagging",),
    ),
    put(
        "s3:RequestObjectTagKeys",
        "ForAnyValue:StringEquals",
        "c",
        "C",
        headers={"x-amz-tagging": "c=d&e=f"},
        also=("s3:PutObjectTagging",),
    ),
    put("s3:ObjectCreationOperation", "Bool", "true", "false"),
    put_by_header("x-amz-acl", "private", "public-read", also=("s3:PutObjectAcl",)),
    grant("x-amz-grant-full-control"),
    grant("x-amz-grant-read"),
    grant("x-amz-grant-read-acp"),
    grant("x-amz-grant-write-acp"),
    grant("x-amz-grant-write", "/bucket?acl", "s3:PutBucketAcl"),
    put_by_header(
        "x-amz-copy-source",
        "bucket/key",
        "bucket/other",
        also=("s3:GetObject", "s3:GetObjectTagging", "s3:PutObjectTagging"),
        body=b"",
    ),
    put_by_header(
        "x-amz-metadata-directive",
        "REPLACE",
        "COPY",
        headers={"x-amz-copy-source": "bucket/key", "x-amz-metadata-directive": "REPLACE"},
        also=("s3:GetObject", "s3:GetObjectTagging", "s3:PutObjectTagging"),
        body=b"",
    ),
    put_by_header("x-amz-storage-class", "STANDARD", "GLACIER"),
    put_by_header("x-amz-website-redirect-location", "/other", "/key"),
    put_by_header("x-amz-server-side-encryption", "aws:kms", "AES256", headers=KMS),
    put_by_header(
        "x-amz-server-side-encryption-aws-kms-key-id", "default", "others", headers=KMS
    ),
    put_by_header(
        "x-amz-server-side-encryption-customer-algorithm", "AES256", "AES128", headers=CUSTOMER
    ),
    put("s3:if-none-match", "StringEquals", "*", "x", headers={"if-none-match": "*"}),
    put("s3:if-match", "StringEquals", "{etag}", "x", headers={"if-match": "{etag}"},
        target="/bucket/key"),
    lock("s3:object-lock-mode", "StringEquals", "GOVERNANCE", "COMPLIANCE"),
    lock("s3:object-lock-retain-until-date", "DateEquals", UNTIL, "2198-01-01T00:00:00Z"),
    lock("s3:object-lock-remaining-retention-days", "NumericGreaterThan", "10000", "90000"),
    lock("s3:object-lock-legal-hold", "StringEquals", "ON", "OFF"),
    put(
        "s3:x-amz-object-ownership",
        "StringEquals",
        "BucketOwnerEnforced",
        "ObjectWriter",
        target="/bucket-of-carol",
        actions=("s3:CreateBucket",),
        also=("s3:PutBucketOwnershipControls",),
        headers={"x-amz-object-ownership": "BucketOwnerEnforced"},
        body=b"",
        in_bucket=False,
    ),
]  # fmt: skip


def name_of(case: Case) -> str:
    """What the test of a case is called."""
    more = "-presigned" if case.presigned else "-tls" if case.secure else ""
    return f"{case.key.replace('/', '-')}{more}{'-v6' if ':' in case.peer else ''}"


class Scene:
    """alice's `bucket` and `locked`, and a user who asks by one policy after the other."""

    def __init__(self, world: S3World, filled: dict[str, str]) -> None:
        self.world = world
        self._filled = filled
        self._revision = 0

    def fill(self, text: str) -> str:
        """A text of a case with what only the scene knows."""
        for name, value in self._filled.items():
            text = text.replace(f"{{{name}}}", value)
        return text

    async def give(self, *statements: dict[str, Any]) -> None:
        """From now on carol may what these statements say and nothing else."""
        user = IdentityRecord(
            ALICE.canonical_id,
            IdentityKind.USER,
            "carol",
            "/",
            "AIDACAROL",
            0,
            inline=[InlinePolicy("p", policy(*statements))] if statements else [],
            tags=[("team", "red")],
        )
        await self.world.store.submit(PutIdentity(user, self._revision))
        self._revision += 1

    async def ask(self, case: Case, *statements: dict[str, Any]) -> Answer:
        """The answer to the case's request by carol with these statements."""
        await self.give(*statements)
        return await self.world.send(self.request(case))

    def request(self, case: Case) -> Any:
        """The case's request, signed by carol."""
        key_id = self.world.key_id
        self.world.key_id = lambda account: KEY_ID  # type: ignore[method-assign]
        try:
            target = self.fill(case.target)
            headers = {name: self.fill(value) for name, value in case.headers.items()}
            made = (
                self.world.presigned(case.method, target)
                if case.presigned
                else self.world.request(case.method, target, headers=headers, body=case.body)
            )
        finally:
            self.world.key_id = key_id  # type: ignore[method-assign]
        version = "1.2" if case.secure else ""
        return structs.replace(made, peer=case.peer, secure=case.secure, tls_version=version)


KEY_ID = "AKIAUSERCAROL0000000"


@pytest.fixture
async def scene() -> Scene:
    """Everything that the cases ask for; signatures are a minute old."""
    world = S3World(
        new_buckets=NewBuckets.CLASSIC, keys=MemoryKeys(), takes_customer_keys_in_clear=True
    )
    assert (await world.call("PUT", "/bucket")).status == 200
    enabled = b"<VersioningConfiguration><Status>Enabled</Status></VersioningConfiguration>"
    assert (await world.call("PUT", "/bucket?versioning", body=enabled)).status == 200
    tags = b"<Tagging><TagSet><Tag><Key>team</Key><Value>red</Value></Tag></TagSet></Tagging>"
    md5 = base64.b64encode(hashlib.md5(tags).digest()).decode()
    answer = await world.call("PUT", "/bucket?tagging", body=tags, headers={"content-md5": md5})
    assert answer.status == 204
    stored = await world.call("PUT", "/bucket/key", body=b"hello", headers={"x-amz-tagging": "a=b"})
    locked = {"x-amz-bucket-object-lock-enabled": "true"}
    assert (await world.call("PUT", "/locked", headers=locked)).status == 200
    world.clock.advance(AGE_MS)
    filled = {"version": stored.headers["x-amz-version-id"], "etag": stored.headers["etag"]}
    made = Scene(world, filled)
    await made.give()
    key = AccessKeyRecord(KEY_ID, SECRET, ALICE.canonical_id, 0, user_name="carol")
    await world.store.submit(PutAccessKey(key))
    return made


def statement(effect: str, *actions: str, **more: Any) -> dict[str, Any]:
    """A statement about everything."""
    return {"Effect": effect, "Action": list(actions), "Resource": "*", **more}


@pytest.mark.parametrize("case", CASES, ids=name_of)
async def test_a_policy_compares_what_the_request_says(scene: Scene, case: Case) -> None:
    """The value it has permits and denies; another one does neither."""
    everything = statement("Allow", "s3:*")
    also = [statement("Allow", *case.also)] if case.also else []
    denied = await scene.ask(case, *also)
    assert (denied.status, denied.code) == (403, "AccessDenied")
    for value, is_met in ((case.has_not, False), (case.has, True)):
        condition = {case.operator: {case.key: scene.fill(value)}}
        deny = statement("Deny", *case.actions, Condition=condition)
        answer = await scene.ask(case, everything, deny)
        assert (answer.code == "AccessDenied") is is_met, (value, answer.body)
        if not is_met:
            assert answer.status < 300, answer.body
            if case.key in ("s3:if-none-match", "s3:x-amz-object-ownership"):
                await remove(scene, case)
            elif case.key == "s3:if-match":
                scene._filled["etag"] = answer.headers["etag"]
        condition = {case.operator: {case.key: scene.fill(value)}}
        answer = await scene.ask(
            case, *also, statement("Allow", *case.actions, Condition=condition)
        )
        assert (answer.code != "AccessDenied") is is_met, (value, answer.body)
        if is_met:
            assert answer.status < 300, answer.body


async def remove(scene: Scene, case: Case) -> None:
    """What a case can make once."""
    assert (await scene.world.call("DELETE", case.target)).status == 204


@pytest.mark.parametrize("case", [case for case in CASES if case.in_bucket], ids=name_of)
async def test_a_bucket_policy_compares_it_too(scene: Scene, case: Case) -> None:
    """It permits carol, whom nothing else permits anything, by the value that the request has."""
    also = [statement("Allow", *case.also)] if case.also else []
    for value, is_met in ((case.has_not, False), (case.has, True)):
        written = {
            "Effect": "Allow",
            "Principal": {"AWS": USER},
            "Action": list(case.actions),
            "Resource": ["arn:aws:s3:::bucket"]
            if case.target.startswith("/bucket?")
            else ["arn:aws:s3:::bucket/*"],
            "Condition": {case.operator: {case.key: scene.fill(value)}},
        }
        await scene.ask(case, *also)
        put = await scene.world.call("PUT", "/bucket?policy", body=policy(written))
        assert put.status == 204, put.body
        answer = await scene.ask(case, *also)
        assert (answer.code != "AccessDenied") is is_met, (value, answer.body)


def test_no_key_is_left_out() -> None:
    """Every key that requests have is in a case, one for each header."""
    asked = {normalize_key(case.key) for case in CASES}
    known = set(request_keys._ROWS) | set(request_keys.HEADER_OF_KEY)
    assert known - asked == set()
    heads = {key.partition("/")[0] for key in asked if "/" in key}
    assert heads == set(request_keys._TAG_ROWS)
