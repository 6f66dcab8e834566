"""Advisories against other stores that are about deciding by policies, each as a test."""

import json

import pytest
from policy_world import OTHER, OWNER, ROOT, access, bucket, identity, session, statement, user

from rs3gwd.base.errors import ApiError
from rs3gwd.iam.policy.context import ANONYMOUS
from rs3gwd.iam.policy.document import PolicyKind
from rs3gwd.iam.policy.evaluate import Outcome, Policies, evaluate
from rs3gwd.iam.policy.reading import read_policy

BOB = user("bob")
ALL = identity(statement())


def outcome(asked: object, **policies: object) -> Outcome:
    """What is decided."""
    return evaluate(asked, Policies(**policies)).outcome  # type: ignore[arg-type]


def test_minio_cve_2023_25812_a_deny_of_the_governance_bypass_is_heeded() -> None:
    """It was ignored there; here it denies, whatever else allows, the root included."""
    action = "s3:BypassGovernanceRetention"
    shut = bucket(statement("Deny", Action=action, Resource="arn:aws:s3:::b/*"))
    for caller in (BOB, ROOT):
        asked = access(caller, action)
        assert outcome(asked, identity=(ALL,), resource=shut) is Outcome.DENIED


def test_minio_cve_2021_41137_a_deny_of_one_caller_holds_beside_an_allow_for_all() -> None:
    """Restrictions were bypassed there by permissions of another kind."""
    deny = statement("Deny", Principal={"AWS": BOB.arn}, Action="s3:GetObject", Resource="*")
    policy = bucket(statement(), deny)
    assert outcome(access(BOB), identity=(ALL,), resource=policy) is Outcome.DENIED
    assert outcome(access(ANONYMOUS), resource=policy) is Outcome.ALLOWED


def test_minio_cve_2025_62506_a_session_policy_is_not_passed_over() -> None:
    """A session has at most what its own policy allows, in the account and across accounts."""
    narrow = identity(statement(Action="s3:GetObject", Resource="arn:aws:s3:::b/mine/*"))
    reader = session("reader", "one")
    limited = {"identity": (ALL,), "session": (narrow,)}
    mine = access(reader, resource="arn:aws:s3:::b/mine/x")
    assert outcome(mine, **limited) is Outcome.ALLOWED
    assert outcome(access(reader), **limited) is Outcome.NOT_ALLOWED
    foreign = access(session("reader", "one", OTHER))
    open_to_other = bucket(statement(Principal={"AWS": OTHER}))
    assert outcome(foreign, resource=open_to_other, **limited) is Outcome.NOT_ALLOWED


def test_seaweedfs_cve_2026_72921_a_name_is_no_prefix_of_another() -> None:
    """`tenant1` gives nothing in `tenant1234`: neither as a folder, nor a bucket, nor a user."""
    folder = identity(statement(Resource="arn:aws:s3:::b/tenant1/*"))
    whole = identity(statement(Resource=["arn:aws:s3:::b", "arn:aws:s3:::b/*"]))
    own = identity(statement(Resource="arn:aws:s3:::b/${aws:username}/*"))
    for policy, resource in (
        (folder, "arn:aws:s3:::b/tenant1234/x"),
        (folder, "arn:aws:s3:::b/tenant1"),
        (whole, "arn:aws:s3:::b2/x"),
        (own, "arn:aws:s3:::b/bobby/x"),
    ):
        asked = access(BOB, resource=resource, keys={"aws:username": ["bob"]})
        assert outcome(asked, identity=(policy,)) is Outcome.NOT_ALLOWED


def test_minio_cve_2024_36107_who_may_not_read_learns_nothing_from_conditions() -> None:
    """A decision has no side but yes and no: tags that would match are no reason without a yes."""
    tagged = {"StringEquals": {"s3:ExistingObjectTag/secret": "1"}}
    policy = bucket(statement("Deny", Action="s3:GetObject", Resource="*", Condition=tagged))
    for tags in ({}, {"s3:ExistingObjectTag/secret": ["1"]}):
        assert not evaluate(
            access(user("x", OTHER), keys=tags), Policies(resource=policy)
        ).is_allowed


def test_parsers_that_differ_are_given_no_chance() -> None:
    """A name twice, other types, other cases: what two readers could read differently."""
    allow = '"Effect":"Allow","Action":"s3:*","Resource":"*"'
    for text in (
        f'{{"Statement":{{{allow},"Effect":"Deny"}}}}',
        f'{{"Statement":{{{allow}}},"Statement":[]}}',
        f'{{"Statement":{{{allow},"condition":{{}}}}}}',
        '{"Statement":{"Effect":"Allow","Action":{"s3:*":1},"Resource":"*"}}',
        '{"Statement":{"Effect":"Allow","Action":"s3:*","Resource":["*",null]}}',
        f'{{"Statement":{{{allow},"Condition":{{"Bool":{{"aws:a":"true","AWS:A":"true"}}}}}}}}',
    ):
        with pytest.raises(ApiError):
            read_policy(text, PolicyKind.IDENTITY, characters_max=6_144)


def test_a_bucket_policy_cannot_speak_of_another_bucket() -> None:
    """Resources of other buckets are refused when the policy is put."""
    fields = statement(Principal={"AWS": OWNER}, Action="s3:GetObject")
    for resource in ("arn:aws:s3:::other/*", "arn:aws:s3:::b2/*", "arn:aws:s3:::?/x/../../o/*"):
        text = json.dumps({"Statement": {**fields, "Resource": resource}})
        if resource.startswith("arn:aws:s3:::?"):
            # One character may be `b`; the dots are part of the key and lead nowhere.
            read_policy(text, PolicyKind.BUCKET, characters_max=20_480, bucket="b")
            continue
        with pytest.raises(ApiError) as refused:
            read_policy(text, PolicyKind.BUCKET, characters_max=20_480, bucket="b")
        assert refused.value.message == "Policy has invalid resource"
