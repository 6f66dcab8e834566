"""The decision, layer by layer, and the examples of the AWS documentation."""

import pytest
from policy_world import (
    OTHER,
    OTHER_ROOT,
    OWNER,
    ROOT,
    access,
    bucket,
    identity,
    session,
    statement,
    user,
)

from rs3gwd.iam.policy.context import ANONYMOUS, Access, Caller, CallerKind
from rs3gwd.iam.policy.evaluate import Layer, Outcome, Policies, Reason, evaluate
from rs3gwd.iam.policy.statements import Strength

BOB, EVE, FOREIGN = user("bob"), user("eve"), user("zed", OTHER)
READER = session("reader", "one")
FEDERATED = Caller(
    kind=CallerKind.FEDERATED,
    account_id=OWNER,
    arn=f"arn:aws:sts::{OWNER}:federated-user/bob",
    issuer_arn=BOB.arn,
)
ALL = identity(statement())
NOTHING = identity(statement(Action="ec2:*"))
DENY_READ = identity(statement("Deny", Action="s3:GetObject"))


def decided(asked: Access, **policies: object) -> tuple[Outcome, Reason]:
    """Outcome and reason."""
    verdict = evaluate(asked, Policies(**policies))  # type: ignore[arg-type]
    return verdict.outcome, verdict.reason


def may(asked: Access, **policies: object) -> bool:
    """Whether it is allowed."""
    return decided(asked, **policies)[0] is Outcome.ALLOWED


def to(*arns: str, **more: object) -> dict[str, object]:
    """A statement that speaks of these principals."""
    return statement(Principal={"AWS": list(arns)}, **more)


def test_nothing_is_allowed_by_default_but_to_the_root_of_the_account() -> None:
    """The implicit deny, and its one exception."""
    assert decided(access(ROOT)) == (Outcome.ALLOWED, Reason.ROOT)
    assert decided(access(BOB)) == (Outcome.NOT_ALLOWED, Reason.NO_IDENTITY)
    assert decided(access(FOREIGN)) == (Outcome.NOT_ALLOWED, Reason.NO_RESOURCE)
    assert decided(access(OTHER_ROOT)) == (Outcome.NOT_ALLOWED, Reason.NO_RESOURCE)
    assert decided(access(ANONYMOUS)) == (Outcome.NOT_ALLOWED, Reason.ANONYMOUS)


@pytest.mark.parametrize("layer", ["identity", "boundary", "session", "resource"])
def test_a_denial_in_any_layer_wins(layer: str) -> None:
    """An explicit deny overrides everything that allows."""
    denial = {"resource": bucket(statement("Deny", Action="s3:GetObject"))}
    denial |= {"boundary": DENY_READ}
    policies: dict[str, object] = {
        "identity": (ALL,),
        "boundary": ALL,
        "session": (ALL,),
        "resource": bucket(statement()),
    }
    assert may(access(READER), **policies)
    if layer == "identity":
        policies["identity"] = (ALL, DENY_READ)
    elif layer == "session":
        policies["session"] = (ALL, DENY_READ)
    else:
        policies[layer] = denial[layer]
    assert decided(access(READER), **policies) == (Outcome.DENIED, Reason.STATEMENT)


def test_a_denial_binds_the_root_too_but_leaves_a_way_out() -> None:
    """The root of the owner can always replace a policy that shuts everybody out."""
    shut = bucket(statement("Deny"))
    assert decided(access(ROOT), resource=shut)[0] is Outcome.DENIED
    for action in ("s3:GetBucketPolicy", "s3:PutBucketPolicy", "s3:DeleteBucketPolicy"):
        asked = access(ROOT, action, "arn:aws:s3:::b")
        assert may(asked, resource=shut)
        other = access(BOB, action, "arn:aws:s3:::b")
        assert not may(other, resource=shut, identity=(ALL,))


def test_within_an_account_either_side_is_enough() -> None:
    """An identity policy, or a bucket policy that names the user."""
    assert decided(access(BOB), identity=(ALL,)) == (Outcome.ALLOWED, Reason.IDENTITY)
    named = bucket(to(BOB.arn))
    assert decided(access(BOB), resource=named) == (Outcome.ALLOWED, Reason.RESOURCE)
    assert not may(access(EVE), resource=named)


def test_naming_the_account_leaves_it_to_the_account() -> None:
    """A bucket policy for one's own account gives its users nothing of its own."""
    for principal in ({"AWS": OWNER}, {"CanonicalUser": ROOT.canonical_id}):
        policy = bucket(statement(Principal=principal))
        assert not may(access(BOB), resource=policy)
        assert may(access(BOB), resource=policy, identity=(ALL,))


def test_boundary_and_session_limit_identity_policies() -> None:
    """What they do not allow, an identity policy cannot give."""
    asked = access(READER)
    assert may(asked, identity=(ALL,), boundary=ALL, session=(NOTHING, ALL))
    assert decided(asked, identity=(ALL,), boundary=NOTHING)[1] is Reason.BOUNDARY
    assert decided(asked, identity=(ALL,), session=(NOTHING,))[1] is Reason.SESSION
    assert decided(asked, identity=(ALL,), session=())[1] is Reason.SESSION


def test_they_do_not_limit_what_a_bucket_gives_by_name() -> None:
    """A user or session that is named is not held back by an implicit deny; a role is."""
    narrow = {"boundary": NOTHING, "session": (NOTHING,)}
    assert may(access(BOB), resource=bucket(to(BOB.arn)), boundary=NOTHING)
    assert may(access(READER), resource=bucket(to(READER.arn)), **narrow)
    assert may(access(READER), resource=bucket(statement()), **narrow)
    by_role = bucket(to(READER.issuer_arn))
    assert decided(access(READER), resource=by_role) == (Outcome.ALLOWED, Reason.ROLE)
    assert decided(access(READER), resource=by_role, **narrow)[1] is Reason.BOUNDARY
    assert decided(access(READER), resource=by_role, session=(NOTHING,))[1] is Reason.SESSION


def test_a_federated_session_without_a_policy_may_nothing_of_its_own() -> None:
    """But what a bucket policy gives it by name, it has."""
    assert decided(access(FEDERATED), identity=(ALL,))[1] is Reason.SESSION
    assert may(access(FEDERATED), identity=(ALL,), session=(ALL,))
    assert may(access(FEDERATED), resource=bucket(to(FEDERATED.arn)))
    assert not may(access(FEDERATED), resource=bucket(to(BOB.arn)))


def test_across_accounts_both_sides_must_allow() -> None:
    """Bucket policy and identity policy; the other account's root needs the first alone."""
    for principal in (FOREIGN.arn, OTHER, "*"):
        policy = bucket(to(principal))
        assert decided(access(FOREIGN), resource=policy)[1] is Reason.NO_IDENTITY
        assert decided(access(FOREIGN), resource=policy, identity=(ALL,))[1] is Reason.BOTH
        assert not may(access(FOREIGN), resource=policy, identity=(ALL,), boundary=NOTHING)
    assert may(access(OTHER_ROOT), resource=bucket(to(OTHER)))
    assert not may(access(FOREIGN), identity=(ALL,))
    assert not may(access(FOREIGN), resource=bucket(to(f"arn:aws:iam::{OTHER}:user/z")))


def test_anonymous_callers_have_what_everybody_has() -> None:
    """And nothing that names anybody."""
    assert may(access(ANONYMOUS), resource=bucket(statement()))
    assert not may(access(ANONYMOUS), resource=bucket(to(OWNER)))
    assert not may(access(ANONYMOUS), resource=bucket(to(BOB.arn)), identity=(ALL,))


def test_a_restricted_public_policy_serves_the_owners_account_alone() -> None:
    """RestrictPublicBuckets shuts out other accounts and anonymous callers."""
    policy = bucket(statement())
    shut = {"resource": policy, "public_restricted": True}
    assert decided(access(ANONYMOUS), **shut)[1] is Reason.RESTRICTED
    assert decided(access(OTHER_ROOT), **shut)[1] is Reason.RESTRICTED
    assert may(access(BOB), **shut)
    assert may(access(Caller(kind=CallerKind.SERVICE, service="x.amazonaws.com")), **shut)


def test_an_access_control_list_permits_like_a_bucket_policy() -> None:
    """A group as everybody, an account as an account."""
    assert decided(access(ANONYMOUS), acl=Strength.DIRECT) == (Outcome.ALLOWED, Reason.ACL)
    assert decided(access(OTHER_ROOT), acl=Strength.ACCOUNT) == (Outcome.ALLOWED, Reason.ACL)
    assert not may(access(FOREIGN), acl=Strength.ACCOUNT)
    assert may(access(FOREIGN), acl=Strength.ACCOUNT, identity=(ALL,))
    assert not may(access(BOB), acl=Strength.ACCOUNT)
    shut = bucket(statement("Deny"))
    assert not may(access(ANONYMOUS), acl=Strength.DIRECT, resource=shut)


def test_not_principal_with_deny_spares_who_is_named_at_every_level() -> None:
    """AWS: name the account too, or its users are denied; a boundary is never spared."""
    only_user = bucket(statement("Deny", NotPrincipal={"AWS": BOB.arn}))
    both = bucket(statement("Deny", NotPrincipal={"AWS": [BOB.arn, OWNER]}))
    assert not may(access(BOB), identity=(ALL,), resource=only_user)
    assert may(access(BOB), identity=(ALL,), resource=both)
    assert not may(access(EVE), identity=(ALL,), resource=both)
    assert not may(access(BOB), identity=(ALL,), resource=both, boundary=ALL)
    assert not may(access(ANONYMOUS), resource=both, acl=Strength.DIRECT)
    role = [READER.arn, READER.issuer_arn, OWNER]
    for index in range(3):
        some = role[:index] + role[index + 1 :]
        policy = bucket(statement("Deny", NotPrincipal={"AWS": some}))
        assert not may(access(READER), identity=(ALL,), resource=policy)
    policy = bucket(statement("Deny", NotPrincipal={"AWS": role}))
    assert may(access(READER), identity=(ALL,), resource=policy)


def test_not_principal_with_allow_leaves_out_who_is_named_at_any_level() -> None:
    """Whoever is named, or whose account or role is, gets nothing by it."""
    for named in (BOB.arn, OWNER):
        policy = bucket(statement(NotPrincipal={"AWS": named}))
        assert not may(access(BOB), resource=policy)
        assert may(access(ANONYMOUS), resource=policy)


def test_not_action_and_not_resource_speak_of_the_rest() -> None:
    """Allow with NotAction is not a denial of those; Deny with NotResource spares those."""
    not_delete = identity(statement(NotAction="s3:Delete*"))
    assert may(access(BOB), identity=(not_delete,))
    assert not may(access(BOB, "s3:DeleteObject"), identity=(not_delete,))
    assert may(access(BOB, "s3:DeleteObject"), identity=(not_delete, ALL))
    only_b = identity(statement("Deny", NotResource=["arn:aws:s3:::b", "arn:aws:s3:::b/*"]))
    assert may(access(BOB), identity=(ALL, only_b))
    assert not may(access(BOB, resource="arn:aws:s3:::c/k"), identity=(ALL, only_b))


def test_an_unresolved_variable_in_a_resource_never_permits() -> None:
    """Neither by Resource nor by NotResource; a Deny takes it as not excepted."""
    own = "arn:aws:s3:::b/${aws:username}/*"
    asked = access(READER, resource="arn:aws:s3:::b/bob/x")
    assert not may(asked, identity=(identity(statement(Resource=own)),))
    assert not may(asked, identity=(identity(statement(NotResource=own)),))
    assert not may(asked, identity=(ALL, identity(statement("Deny", NotResource=own))))
    named = access(BOB, resource="arn:aws:s3:::b/bob/x", keys={"aws:username": ["bob"]})
    assert may(named, identity=(ALL, identity(statement("Deny", NotResource=own))))


def test_the_verdict_names_the_statements_that_decided() -> None:
    """Layer, policy and Sid, or its number."""
    policy = identity(statement(Action="s3:PutObject"), statement(Sid="read"))
    found = evaluate(access(BOB), Policies(identity=(policy,), boundary=ALL)).deciding
    assert [(each.layer, each.statement, each.index) for each in found] == [
        (Layer.IDENTITY, "read", 1),
        (Layer.BOUNDARY, "statement 1", 0),
    ]


def test_actions_compare_without_case_and_resources_with() -> None:
    """`S3:getobject` names the action; `arn:aws:s3:::B` is another bucket."""
    policy = identity(statement(Action="S3:getOBJECT", Resource="arn:aws:s3:::b/Key"))
    assert may(access(BOB, resource="arn:aws:s3:::b/Key"), identity=(policy,))
    assert not may(access(BOB, resource="arn:aws:s3:::b/key"), identity=(policy,))


# Examples of the AWS documentation.


def test_example_home_folders_for_each_user() -> None:
    """IAM User Guide: "Allows IAM users to access their own home directory in Amazon S3"."""
    policy = identity(
        statement(
            Action="s3:ListBucket",
            Resource="arn:aws:s3:::b",
            Condition={"StringLike": {"s3:prefix": ["", "home/", "home/${aws:username}/*"]}},
        ),
        statement(
            Action="s3:*",
            Resource=[
                "arn:aws:s3:::b/home/${aws:username}",
                "arn:aws:s3:::b/home/${aws:username}/*",
            ],
        ),
    )
    keys = {"aws:username": ["bob"]}

    def lists(prefix: str) -> bool:
        asked = access(BOB, "s3:ListBucket", "arn:aws:s3:::b", keys={**keys, "s3:prefix": [prefix]})
        return may(asked, identity=(policy,))

    assert lists("")
    assert lists("home/")
    assert lists("home/bob/x")
    assert not lists("home/eve/")
    assert not lists("home/bobby/")
    assert may(access(BOB, resource="arn:aws:s3:::b/home/bob/x", keys=keys), identity=(policy,))
    eve = access(BOB, resource="arn:aws:s3:::b/home/eve/x", keys=keys)
    assert not may(eve, identity=(policy,))


def test_example_secure_transport_only() -> None:
    """S3 User Guide: "Restrict access to only HTTPS requests"."""
    policy = bucket(statement("Deny", Condition={"Bool": {"aws:SecureTransport": "false"}}))
    plain = access(ROOT, keys={"aws:SecureTransport": ["false"]})
    tls = access(ROOT, keys={"aws:SecureTransport": ["true"]})
    assert not may(plain, resource=policy)
    assert may(tls, resource=policy)


def test_example_addresses_of_both_versions() -> None:
    """S3 User Guide: "Managing access based on specific IP addresses", IPv4 and IPv6 mixed."""
    policy = bucket(
        statement(
            Condition={
                "IpAddress": {"aws:SourceIp": ["192.0.2.0/24", "2001:DB8:1234:5678::/64"]},
                "NotIpAddress": {
                    "aws:SourceIp": ["192.0.2.188/32", "2001:db8:1234:5678:abcd::/80"]
                },
            }
        )
    )

    def from_address(address: str) -> bool:
        return may(access(ANONYMOUS, keys={"aws:SourceIp": [address]}), resource=policy)

    assert from_address("192.0.2.1")
    assert not from_address("192.0.2.188")
    assert from_address("2001:db8:1234:5678::1")
    assert not from_address("2001:db8:1234:5678:abcd::1")
    assert not from_address("203.0.113.1")


def test_example_bucket_owner_full_control() -> None:
    """S3 User Guide: "Cross-account permissions to upload objects while ensuring full control"."""
    policy = bucket(
        to(
            OTHER,
            Action="s3:PutObject",
            Resource="arn:aws:s3:::b/*",
            Condition={"StringEquals": {"s3:x-amz-acl": "bucket-owner-full-control"}},
        )
    )
    full = access(OTHER_ROOT, "s3:PutObject", keys={"s3:x-amz-acl": ["bucket-owner-full-control"]})
    assert may(full, resource=policy)
    assert not may(access(OTHER_ROOT, "s3:PutObject"), resource=policy)


def test_example_encryption_is_demanded_by_a_missing_key() -> None:
    """S3 User Guide: deny uploads without encryption; a missing key makes StringNotEquals true."""
    key = "s3:x-amz-server-side-encryption"
    policy = bucket(
        statement(
            "Deny",
            Action="s3:PutObject",
            Resource="arn:aws:s3:::b/*",
            Condition={"StringNotEquals": {key: "aws:kms"}},
        )
    )
    assert not may(access(ROOT, "s3:PutObject"), resource=policy)
    assert not may(access(ROOT, "s3:PutObject", keys={key: ["AES256"]}), resource=policy)
    assert may(access(ROOT, "s3:PutObject", keys={key: ["aws:kms"]}), resource=policy)


def test_example_object_tags() -> None:
    """S3 User Guide, "Tagging and access control policies": existing tags, and tags to be set."""
    read = bucket(
        statement(
            Action="s3:GetObject",
            Resource="arn:aws:s3:::b/*",
            Condition={"StringEquals": {"s3:ExistingObjectTag/environment": "production"}},
        )
    )
    key = "s3:ExistingObjectTag/environment"
    assert may(access(ANONYMOUS, keys={key: ["production"]}), resource=read)
    assert not may(access(ANONYMOUS, keys={key: ["test"]}), resource=read)
    assert not may(access(ANONYMOUS), resource=read)
    write = bucket(
        to(
            OTHER,
            Action="s3:PutObjectTagging",
            Resource="arn:aws:s3:::b/*",
            Condition={
                "ForAllValues:StringLike": {"s3:RequestObjectTagKeys": ["Owner", "Created*"]}
            },
        )
    )
    asked = "s3:PutObjectTagging"
    keys = "s3:RequestObjectTagKeys"
    good = access(OTHER_ROOT, asked, keys={keys: ["Owner", "CreatedAt"]})
    assert may(good, resource=write)
    bad = access(OTHER_ROOT, asked, keys={keys: ["Owner", "Secret"]})
    assert not may(bad, resource=write)


def test_example_boundary_of_zhang() -> None:
    """IAM User Guide, "Permissions boundaries": what it does not name is denied implicitly."""
    boundary = identity(statement(Action=["s3:*", "cloudwatch:*"]))
    permissions = identity(statement(Action=["iam:CreateUser", "s3:GetObject"]))
    policies = {"identity": (permissions,), "boundary": boundary}
    assert may(access(BOB), **policies)
    create = access(BOB, "iam:CreateUser", f"arn:aws:iam::{OWNER}:user/x")
    assert decided(create, **policies)[1] is Reason.BOUNDARY
