"""The condition keys of real requests."""

from typing import Any

import pytest
from policy_world import OWNER, ROOT, session, user

from rs3gwd.iam.policy.actions import s3_keys
from rs3gwd.iam.policy.context import ANONYMOUS, Caller
from rs3gwd.iam.policy.request_keys import (
    RequestFacts,
    RequestKeys,
    SignatureFacts,
    needs_bucket_tags,
    needs_existing_tags,
    resource_tag_keys,
)
from rs3gwd.iam.policy.variables import normalize_key

NOW_MS = 1_704_067_200_000


def lookup(key: str, *, caller: Caller = ROOT, **facts: Any) -> tuple[str, ...] | None:
    """The values of one key of a request with these facts."""
    given: dict[str, Any] = {
        "headers": {},
        "query": {},
        "peer": "192.0.2.1",
        "is_secure": True,
        "now_ms": NOW_MS,
        "region": "us-east-1",
        "resource_account_id": OWNER,
    }
    return RequestKeys(RequestFacts(caller=caller, **{**given, **facts}))(normalize_key(key))


@pytest.mark.parametrize(
    ("key", "facts", "expected"),
    [
        ("aws:CurrentTime", {}, "2024-01-01T00:00:00Z"),
        ("aws:EpochTime", {}, "1704067200"),
        ("aws:SecureTransport", {}, "true"),
        ("aws:SecureTransport", {"is_secure": False}, "false"),
        ("aws:SourceIp", {"peer": "2001:db8::1"}, "2001:db8::1"),
        ("aws:UserAgent", {"headers": {"user-agent": "x/1"}}, "x/1"),
        ("aws:Referer", {"headers": {"referer": "http://e/"}}, "http://e/"),
        ("aws:Referer", {}, None),
        ("aws:PrincipalArn", {}, ROOT.arn),
        ("aws:PrincipalArn", {"caller": session("r", "one")}, f"arn:aws:iam::{OWNER}:role/r"),
        ("aws:PrincipalArn", {"caller": ANONYMOUS}, None),
        ("aws:PrincipalAccount", {}, OWNER),
        ("aws:PrincipalType", {"caller": ANONYMOUS}, "Anonymous"),
        ("aws:userid", {"caller": ANONYMOUS}, "anonymous"),
        ("aws:userid", {}, OWNER),
        ("aws:username", {"caller": user("bob")}, "bob"),
        ("aws:username", {}, None),
        ("aws:PrincipalTag/Team", {"caller": user("b", tags=(("team", "x"),))}, "x"),
        ("aws:PrincipalTag/Team", {}, None),
        ("aws:ResourceTag/team", {"bucket_tags": lambda: [("Team", "x")]}, "x"),
        ("aws:ResourceTag/team", {}, None),
        ("s3:ExistingObjectTag/Team", {"existing_tags": lambda: [("Team", "x")]}, "x"),
        ("s3:ExistingObjectTag/team", {"existing_tags": lambda: [("Team", "x")]}, None),
        ("s3:RequestObjectTag/a", {"headers": {"x-amz-tagging": "a=1%202&b="}}, "1 2"),
        ("s3:prefix", {"query": {"prefix": ""}}, ""),
        ("s3:prefix", {}, None),
        ("s3:delimiter", {"query": {"delimiter": "/"}}, "/"),
        ("s3:max-keys", {"query": {"max-keys": "5"}}, "5"),
        ("s3:VersionId", {"query": {"versionId": "v"}}, "v"),
        ("s3:x-amz-acl", {"headers": {"x-amz-acl": "private"}}, "private"),
        ("s3:x-amz-grant-read", {"headers": {"x-amz-grant-read": "id=1"}}, "id=1"),
        (
            "s3:object-lock-mode",
            {"headers": {"x-amz-object-lock-mode": "GOVERNANCE"}},
            "GOVERNANCE",
        ),
        (
            "s3:object-lock-remaining-retention-days",
            {"headers": {"x-amz-object-lock-retain-until-date": "2024-01-11T12:00:00Z"}},
            "10",
        ),
        ("s3:if-none-match", {"headers": {"if-none-match": "*"}}, "*"),
        ("s3:authType", {}, None),
        ("s3:authType", {"signature": SignatureFacts("AWS", "POST")}, "POST"),
        ("s3:signatureversion", {"signature": SignatureFacts("AWS", "POST")}, "AWS"),
        ("s3:signatureAge", {"signature": SignatureFacts("A", "P", NOW_MS - 1500)}, "1500"),
        ("s3:signatureAge", {"signature": SignatureFacts("A", "P", NOW_MS + 9)}, "0"),
        ("s3:ObjectCreationOperation", {"creates_object": True}, "true"),
        ("s3:ObjectCreationOperation", {}, None),
        ("s3:ResourceAccount", {}, OWNER),
        ("s3:TlsVersion", {"tls_version": "1.3"}, "1.3"),
        ("aws:Nonsense", {}, None),
        ("nonsense/x", {}, None),
    ],
)
def test_keys_have_the_values_of_the_request(
    key: str, facts: dict[str, Any], expected: str | None
) -> None:
    """One value, or none where the request has no such thing."""
    assert lookup(key, **facts) == (None if expected is None else (expected,))


def test_a_copy_source_can_be_written_with_and_without_its_slash() -> None:
    """It is decoded and without the version; policies of AWS's examples have either form."""
    headers = {"x-amz-copy-source": "/b/a%20b?versionId=1"}
    assert lookup("s3:x-amz-copy-source", headers=headers) == ("b/a b", "/b/a b")
    assert lookup("s3:x-amz-copy-source") is None


def test_tag_names_come_as_several_values() -> None:
    """ForAllValues and ForAnyValue are about them."""
    headers = {"x-amz-tagging": "a=1&b=2"}
    assert lookup("s3:RequestObjectTagKeys", headers=headers) == ("a", "b")
    assert lookup("s3:RequestObjectTagKeys") is None


def test_tags_of_a_body_take_the_place_of_the_header() -> None:
    """What a handler read wins over what the head of the request says."""
    headers = {"x-amz-tagging": "Team=y"}
    tags = [("Team", "x"), ("b", "")]
    name = "s3:RequestObjectTag/Team"
    assert lookup(name, headers=headers, object_tags=tags) == ("x",)
    assert lookup("s3:RequestObjectTagKeys", headers=headers, object_tags=tags) == ("Team", "b")
    assert lookup(name, headers=headers, object_tags=[]) is None
    assert resource_tag_keys([("Team", "x")]) == {
        "aws:requesttag/team": ("x",),
        "aws:tagkeys": ("Team",),
    }
    facts = RequestFacts(ROOT, {}, {}, "", True, NOW_MS, "", "")
    assert RequestKeys(facts, {"aws:tokenissuetime": ("x",)})("aws:tokenissuetime") == ("x",)


def test_each_key_is_worked_out_once() -> None:
    """The tags of an object are fetched for the first question alone."""
    calls = []

    def fetch() -> list[tuple[str, str]]:
        calls.append(1)
        return [("a", "1")]

    facts = RequestFacts(ROOT, {}, {}, "", True, NOW_MS, "", "", existing_tags=fetch)
    keys = RequestKeys(facts)
    assert keys("s3:existingobjecttag/a") == keys("s3:existingobjecttag/a") == ("1",)
    assert len(calls) == 1


def test_whoever_authorises_knows_beforehand_which_tags_are_asked_for() -> None:
    """Tags cost a look-up, so they are fetched for policies that use them."""
    assert needs_existing_tags(frozenset({"s3:existingobjecttag/a"}))
    assert needs_bucket_tags(frozenset({"aws:resourcetag/a"}))
    assert not needs_existing_tags(frozenset({"s3:prefix"}))
    assert not needs_bucket_tags(frozenset({"s3:prefix"}))


def test_every_key_of_s3_that_this_store_can_have_is_answered() -> None:
    """What is missing belongs to access points, grants, jobs, replication and inventory."""
    everything = {
        "headers": dict.fromkeys(
            [key.removeprefix("s3:") for key in s3_keys()]
            + [f"x-amz-{key.removeprefix('s3:')}" for key in s3_keys()],
            "2030-01-01",
        ),
        "query": {"prefix": "a", "delimiter": "b", "max-keys": "1", "versionId": "v"},
        "signature": SignatureFacts("AWS", "POST", NOW_MS),
        "tls_version": "1.3",
        "creates_object": True,
    }
    everything["headers"]["x-amz-tagging"] = "a=1"
    tags = {"existing_tags": lambda: [("a", "1")], "bucket_tags": lambda: [("a", "1")]}
    unanswered = {
        key
        for key in s3_keys()
        if lookup(key + "a" * key.endswith("/"), **everything, **tags) is None
    }
    elsewhere = ("accessgrant", "accesspoint", "dataaccesspoint", "existingjob", "requestjob")
    elsewhere += ("jobsuspended", "isreplication", "destinationregion", "inventory")
    left = {key for key in unanswered if not key.removeprefix("s3:").startswith(elsewhere)}
    assert left == {"s3:locationconstraint"}
