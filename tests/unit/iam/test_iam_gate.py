"""The one gate: what it decides from owners, policies, lists and switches."""

import json

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rs3gwd.base.errors import ApiError
from rs3gwd.base.http import Request
from rs3gwd.base.records import AccountRecord, Grant, GranteeKind, Permission
from rs3gwd.iam.acl import ALL_USERS, AUTHENTICATED_USERS, private_acl
from rs3gwd.iam.bucket_access import (
    ALL_BLOCKED,
    BucketAccess,
    Ownership,
    PublicAccessBlock,
    compile_bucket_policy,
)
from rs3gwd.iam.gate import Gate, ObjectFacts, is_by_list
from rs3gwd.iam.identities.arns import account_id_of
from rs3gwd.iam.policy.public import is_public_policy
from rs3gwd.iam.principal import Principal
from rs3gwd.iam.request_side import RequestSide
from rs3gwd.testing.bytes_body import BytesBody

ANN, BOB, CAT = (AccountRecord(letter * 64, letter, "", 1) for letter in "abc")
BUCKET, KEY = "arn:aws:s3:::bucket", "arn:aws:s3:::bucket/key"
READ_ALL = Grant(GranteeKind.GROUP, ALL_USERS, Permission.READ)
READ_KNOWN = Grant(GranteeKind.GROUP, AUTHENTICATED_USERS, Permission.READ)


def request(**headers: str) -> Request:
    """A request with these headers, from 192.0.2.7."""
    return Request(
        method="GET",
        raw_path="/bucket/key",
        raw_query="",
        headers={name.replace("_", "-"): value for name, value in headers.items()},
        repeated_headers=frozenset(),
        host="h",
        content_length=0,
        body=BytesBody.cut(b"", 1),
        peer="192.0.2.7",
        secure=False,
        request_id="0",
    )


def gate(
    account: AccountRecord | None, *, query: dict[str, str] | None = None, **headers: str
) -> Gate:
    """The gate of a request of this account."""
    side = RequestSide(request(**headers), query or {}, 1_700_000_000_000, "us-east-1")
    return Gate(Principal(account), side)


def bucket(
    *statements: dict[str, object],
    ownership: Ownership = Ownership.ENFORCED,
    acl: list[Grant] | None = None,
    block: PublicAccessBlock | None = None,
    requester_pays: bool = False,
) -> BucketAccess:
    """ANN's bucket with a policy of these statements."""
    policy = None
    if statements:
        text = json.dumps({"Version": "2012-10-17", "Statement": statements})
        policy = compile_bucket_policy(text.encode(), "bucket")
    return BucketAccess(
        name="bucket",
        owner_id=ANN.canonical_id,
        ownership=ownership,
        block=block or PublicAccessBlock(),
        acl=acl or private_acl(ANN.canonical_id),
        policy=policy,
        policy_is_public=policy is not None and is_public_policy(policy.document),
        requester_pays=requester_pays,
        tags=[("team", "red")],
    )


def statement(
    effect: str = "Allow",
    principal: object = "*",
    action: object = "s3:GetObject",
    resource: object = KEY,
    **more: object,
) -> dict[str, object]:
    """A statement of a bucket policy."""
    return {
        "Effect": effect,
        "Principal": principal,
        "Action": action,
        "Resource": resource,
        **more,
    }


def account(record: AccountRecord) -> dict[str, str]:
    """The principal that stands for an account."""
    return {"AWS": f"arn:aws:iam::{account_id_of(record.canonical_id)}:root"}


def may(
    who: AccountRecord | None,
    access: BucketAccess,
    action: str = "s3:GetObject",
    found: ObjectFacts | None = None,
    **headers: str,
) -> bool:
    """Whether the gate lets somebody through."""
    resource = KEY if "Object" in action else BUCKET
    try:
        decision = gate(who, **headers).require(action, resource, access, lambda: found)
    except ApiError:
        return False
    assert (decision.action, decision.resource) == (action, resource)
    assert decision.reason
    return True


@pytest.mark.parametrize("who", [BOB, None])
@pytest.mark.parametrize("action", ["s3:GetObject", "s3:ListBucket", "s3:DeleteBucket"])
def test_without_a_policy_only_the_owner_gets_in(who: AccountRecord | None, action: str) -> None:
    """Whether lists count or not, when the list is the private one."""
    for ownership in Ownership:
        access = bucket(ownership=ownership)
        assert may(ANN, access, action)
        assert not may(who, access, action)


def test_an_account_that_is_nobody_owns_nothing() -> None:
    """A bucket whose record lost its owner lets nobody in, anonymous callers neither."""
    access = msgspec.structs.replace(bucket(), owner_id="")
    for who in (ANN, None):
        assert not may(who, access)


def test_outside_buckets_accounts_list_and_make_them() -> None:
    """Anonymous callers may do nothing there, and accounts nothing else."""
    for action in ("s3:ListAllMyBuckets", "s3:CreateBucket"):
        assert gate(BOB).require_service(action, "*").principal.account == BOB
        with pytest.raises(ApiError):
            gate(None).require_service(action, "*")
    with pytest.raises(ApiError):
        gate(BOB).require_service("s3:GetObject", "*")


def test_a_policy_lets_in_whom_it_names() -> None:
    """Another account by its number or by its canonical id, and just to what it says."""
    for principal in (account(BOB), {"CanonicalUser": BOB.canonical_id}):
        access = bucket(statement(principal=principal))
        assert may(BOB, access)
        assert not may(CAT, access)
        assert not may(None, access)
        assert not may(BOB, access, "s3:PutObject")


def test_a_denial_holds_for_the_owner_but_never_for_the_policy_itself() -> None:
    """Else a policy could lock everybody out for ever."""
    access = bucket(statement("Deny", "*", "s3:*", [BUCKET, KEY]))
    assert not may(ANN, access)
    assert may(ANN, access, "s3:DeleteBucketPolicy")
    assert may(ANN, access, "s3:PutBucketPolicy")


def test_a_public_policy_is_overruled_by_restrict_public_buckets() -> None:
    """Only the owner's account stays."""
    access = bucket(statement())
    assert may(None, access)
    blocked = msgspec.structs.replace(access, block=ALL_BLOCKED)
    assert not may(None, blocked)
    assert not may(BOB, blocked)
    assert may(ANN, blocked)


def test_lists_let_in_where_they_count() -> None:
    """The bucket's list for the bucket, the object's for the object."""
    listed = bucket(ownership=Ownership.WRITER, acl=[*private_acl(ANN.canonical_id), READ_ALL])
    assert may(None, listed, "s3:ListBucket")
    assert not may(None, listed, "s3:GetObject", ObjectFacts(ANN.canonical_id, [], []))
    assert may(None, listed, "s3:GetObject", ObjectFacts(ANN.canonical_id, [READ_ALL], []))
    known = ObjectFacts(ANN.canonical_id, [READ_KNOWN], [])
    assert may(BOB, listed, found=known)
    assert not may(None, listed, found=known)
    off = msgspec.structs.replace(listed, ownership=Ownership.ENFORCED)
    assert not may(None, off, "s3:ListBucket")
    ignored = msgspec.structs.replace(listed, block=ALL_BLOCKED)
    assert not may(None, ignored, "s3:ListBucket")


def test_an_object_of_another_account_is_that_accounts() -> None:
    """The bucket's owner and its policy say nothing about it; its list does."""
    access = bucket(statement(), ownership=Ownership.WRITER)
    bobs = ObjectFacts(BOB.canonical_id, private_acl(BOB.canonical_id), [])
    assert may(BOB, access, found=bobs)
    assert not may(ANN, access, found=bobs)
    assert not may(None, access, found=bobs)
    shared = ObjectFacts(
        BOB.canonical_id,
        [Grant(GranteeKind.ACCOUNT, ANN.canonical_id, Permission.READ)],
        [],
    )
    assert may(ANN, access, found=shared)
    # But the owner may always remove what lies in the bucket.
    assert may(ANN, access, "s3:DeleteObject", found=bobs)


def test_what_a_list_alone_gave_is_told_apart() -> None:
    """Headers that need permissions of their own need none then."""
    access = bucket(
        ownership=Ownership.WRITER, acl=[Grant(GranteeKind.GROUP, ALL_USERS, Permission.WRITE)]
    )
    assert is_by_list(gate(None).require("s3:PutObject", KEY, access))
    assert not is_by_list(gate(ANN).require("s3:PutObject", KEY, access))


def test_a_requester_pays_bucket_wants_to_hear_it() -> None:
    """From everybody but the owner; anonymous callers cannot pay."""
    access = bucket(statement(), requester_pays=True)
    assert may(ANN, access)
    assert not may(BOB, access)
    assert may(BOB, access, x_amz_request_payer="requester")
    assert not may(None, access, x_amz_request_payer="requester")


def test_conditions_see_the_request_and_what_it_is_about() -> None:
    """Address, tags of the object, tags of the bucket."""
    red = ObjectFacts(ANN.canonical_id, [], [("colour", "red")])
    by_address = bucket(
        statement(Condition={"IpAddress": {"aws:SourceIp": "192.0.2.0/24"}}),
        statement("Deny", Condition={"StringEquals": {"s3:ExistingObjectTag/colour": "red"}}),
    )
    assert may(BOB, by_address)
    assert not may(BOB, by_address, found=red)
    elsewhere = bucket(statement(Condition={"IpAddress": {"aws:SourceIp": "198.51.100.0/24"}}))
    assert not may(BOB, elsewhere)
    tagged = bucket(statement(Condition={"StringEquals": {"aws:ResourceTag/team": "red"}}))
    assert may(BOB, tagged)


def test_many_things_are_asked_for_one_by_one() -> None:
    """The question for all of them is let through where any could be permitted."""
    access = bucket(statement(action="s3:DeleteObject"))
    assert gate(BOB).require_each("s3:DeleteObject", BUCKET, access).reason
    with pytest.raises(ApiError):
        gate(BOB).require_each("s3:DeleteObject", BUCKET, bucket())
    assert gate(ANN).require_each("s3:DeleteObject", BUCKET, bucket()).reason


@given(st.text("0123456789abcdef", min_size=64, max_size=64))
def test_an_account_number_has_twelve_digits(canonical_id: str) -> None:
    """And is the same each time."""
    number = account_id_of(canonical_id)
    assert len(number) == 12
    assert number.isdigit()
    assert number == account_id_of(canonical_id)
