"""Access control lists: what a grant lets whom do; pure.

A list belongs to a bucket or to an object version, and grants. It never denies: whoever no grant
names is as before. Two groups stand for crowds: everybody, and everybody with an account.

Which list speaks for an action, and what it must grant, is the table of the User Guide: READ of a
bucket lists it, READ of an object reads it, WRITE of a bucket makes and removes what is in it, the
ACP rights read and write the list itself.

What it is not: it does not know whether lists count in a bucket (`bucket_access` does), nor how
they are written (`rs3gwd.s3.acl_document`).

Source: "Access control list (ACL) overview" and "Blocking public access to your Amazon S3 storage"
in the Amazon S3 User Guide.
"""

from __future__ import annotations

from collections.abc import Iterable
from enum import StrEnum

from rs3gwd.base.records import Grant, GranteeKind, Permission

ALL_USERS = "http://acs.amazonaws.com/groups/global/AllUsers"
AUTHENTICATED_USERS = "http://acs.amazonaws.com/groups/global/AuthenticatedUsers"
LOG_DELIVERY = "http://acs.amazonaws.com/groups/s3/LogDelivery"
GROUPS = frozenset({ALL_USERS, AUTHENTICATED_USERS, LOG_DELIVERY})

PUBLIC_GROUPS = frozenset({ALL_USERS, AUTHENTICATED_USERS})
"""The groups that make a list public, as Block Public Access means it."""


class Subject(StrEnum):
    """Whose list speaks for an action."""

    BUCKET = "bucket"
    OBJECT = "object"


_BUCKET_ACTIONS = {
    Permission.READ: ("ListBucket", "ListBucketVersions", "ListBucketMultipartUploads"),
    Permission.WRITE: ("PutObject", "DeleteObject", "AbortMultipartUpload"),
    Permission.READ_ACP: ("GetBucketAcl",),
    Permission.WRITE_ACP: ("PutBucketAcl",),
}
_OBJECT_ACTIONS = {
    Permission.READ: ("GetObject", "GetObjectVersion"),
    Permission.READ_ACP: ("GetObjectAcl", "GetObjectVersionAcl"),
    Permission.WRITE_ACP: ("PutObjectAcl", "PutObjectVersionAcl"),
}

NEEDED: dict[str, tuple[Subject, Permission]] = {
    f"s3:{name}": (subject, permission)
    for subject, actions in ((Subject.BUCKET, _BUCKET_ACTIONS), (Subject.OBJECT, _OBJECT_ACTIONS))
    for permission, names in actions.items()
    for name in names
}
"""The list and the right that allow an action; an action that is missing no list allows."""


def private_acl(owner_id: str) -> list[Grant]:
    """The list that everything has at first."""
    return [Grant(GranteeKind.ACCOUNT, owner_id, Permission.FULL_CONTROL)]


def permits(
    acl: Iterable[Grant], permission: Permission, *, canonical_id: str, ignore_public: bool = False
) -> bool:
    """Whether a list gives `permission` to the account `canonical_id`, empty for an anonymous one.

    `ignore_public` overlooks what it gives to crowds.
    """
    for grant in acl:
        if grant.permission not in (permission, Permission.FULL_CONTROL):
            continue
        if grant.kind is GranteeKind.ACCOUNT:
            if canonical_id and grant.grantee == canonical_id:
                return True
        elif not ignore_public:
            if grant.grantee == ALL_USERS:
                return True
            if grant.grantee == AUTHENTICATED_USERS and canonical_id:
                return True
    return False


def is_public(acl: Iterable[Grant]) -> bool:
    """Whether a list gives anything to a crowd."""
    return any(grant.kind is GranteeKind.GROUP and grant.grantee in PUBLIC_GROUPS for grant in acl)
