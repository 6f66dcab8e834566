"""What a grant lets whom do."""

import pytest

from rs3gwd.base.records import Grant, GranteeKind, Permission
from rs3gwd.iam.acl import (
    ALL_USERS,
    AUTHENTICATED_USERS,
    LOG_DELIVERY,
    NEEDED,
    Subject,
    is_public,
    permits,
    private_acl,
)

OWNER, FRIEND = "a" * 64, "b" * 64


def group(uri: str, permission: Permission = Permission.READ) -> Grant:
    """A grant to a group."""
    return Grant(GranteeKind.GROUP, uri, permission)


@pytest.mark.parametrize("permission", Permission)
def test_full_control_gives_every_right_to_its_grantee_alone(permission: Permission) -> None:
    """The owner's grant of a private list; nobody else has any."""
    acl = private_acl(OWNER)
    assert permits(acl, permission, canonical_id=OWNER)
    assert not permits(acl, permission, canonical_id=FRIEND)
    assert not permits(acl, permission, canonical_id="")


def test_a_right_gives_just_itself() -> None:
    """READ does not write, WRITE does not read."""
    acl = [Grant(GranteeKind.ACCOUNT, FRIEND, Permission.READ)]
    assert permits(acl, Permission.READ, canonical_id=FRIEND)
    for other in set(Permission) - {Permission.READ}:
        assert not permits(acl, other, canonical_id=FRIEND)


def test_the_groups_are_everybody_and_everybody_with_an_account() -> None:
    """An anonymous caller is in the first only; log delivery is neither."""
    for uri, anonymous, friend in (
        (ALL_USERS, True, True),
        (AUTHENTICATED_USERS, False, True),
        (LOG_DELIVERY, False, False),
    ):
        assert permits([group(uri)], Permission.READ, canonical_id="") is anonymous
        assert permits([group(uri)], Permission.READ, canonical_id=FRIEND) is friend


def test_public_grants_can_be_overlooked() -> None:
    """As IgnorePublicAcls wants; grants to accounts stay."""
    acl = [group(ALL_USERS), Grant(GranteeKind.ACCOUNT, FRIEND, Permission.READ)]
    assert not permits(acl, Permission.READ, canonical_id="", ignore_public=True)
    assert permits(acl, Permission.READ, canonical_id=FRIEND, ignore_public=True)


def test_a_list_is_public_when_a_crowd_gets_anything() -> None:
    """Log delivery is no crowd, an account neither."""
    assert is_public([group(ALL_USERS, Permission.READ_ACP)])
    assert is_public([group(AUTHENTICATED_USERS)])
    assert not is_public([group(LOG_DELIVERY), *private_acl(OWNER)])


def test_an_empty_grantee_is_nobody() -> None:
    """A record that names no account must not let anonymous callers in."""
    acl = [Grant(GranteeKind.ACCOUNT, "", Permission.FULL_CONTROL)]
    assert not permits(acl, Permission.READ, canonical_id="")


def test_every_action_that_a_list_can_allow_is_known_once() -> None:
    """Each action has one list and one right; those without one are for policies alone."""
    assert NEEDED["s3:GetObject"] == (Subject.OBJECT, Permission.READ)
    assert NEEDED["s3:PutObject"] == (Subject.BUCKET, Permission.WRITE)
    assert NEEDED["s3:PutBucketAcl"] == (Subject.BUCKET, Permission.WRITE_ACP)
    assert "s3:DeleteObjectVersion" not in NEEDED
    assert "s3:PutBucketPolicy" not in NEEDED
