"""How access control lists are written: canned names, grant headers, and XML; pure but for names.

A request says a list in one of three ways, never in two at once. Grantees are accounts, by
canonical id or by email (which is looked up and stored as the id), or groups by URI.

Sources: "Access control list (ACL) overview" in the Amazon S3 User Guide; PutBucketAcl and
PutObjectAcl in the API Reference.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

from rs3gwd.base.errors import ApiError
from rs3gwd.base.ports import Directory
from rs3gwd.base.records import Grant, GranteeKind, Permission
from rs3gwd.iam.acl import (
    ALL_USERS,
    AUTHENTICATED_USERS,
    GROUPS,
    LOG_DELIVERY,
    Subject,
    private_acl,
)
from rs3gwd.s3.arguments import argument_error
from rs3gwd.s3.owners import Owners
from rs3gwd.s3.xml_read import Element, parse_xml
from rs3gwd.s3.xml_write import document, element

ACL_HEADER = "x-amz-acl"
GRANTS_MAX = 100
"""Grants in one list, AWS's bound."""

BUCKET_OWNER_FULL_CONTROL = "bucket-owner-full-control"

_EC2_BUNDLES = "6aa5a366c34c1cbe25dc49211496e913e0351eb0e8c37aa3477e40942ec6b97c"
"""The account that `aws-exec-read` lets read (User Guide, "Canned ACL")."""

GRANT_HEADERS = {
    "x-amz-grant-full-control": Permission.FULL_CONTROL,
    "x-amz-grant-read": Permission.READ,
    "x-amz-grant-write": Permission.WRITE,
    "x-amz-grant-read-acp": Permission.READ_ACP,
    "x-amz-grant-write-acp": Permission.WRITE_ACP,
}

_GROUP_GRANTS: dict[str, tuple[tuple[str, Permission], ...]] = {
    "private": (),
    "public-read": ((ALL_USERS, Permission.READ),),
    "public-read-write": ((ALL_USERS, Permission.READ), (ALL_USERS, Permission.WRITE)),
    "authenticated-read": ((AUTHENTICATED_USERS, Permission.READ),),
}

_XSI_TYPES = {
    "CanonicalUser": GranteeKind.ACCOUNT,
    "AmazonCustomerByEmail": GranteeKind.ACCOUNT,
    "Group": GranteeKind.GROUP,
}
_PAIR = re.compile(r'\s*(id|uri|emailAddress)\s*=\s*"?([^",]*)"?\s*', re.IGNORECASE)


def canned_acl(name: str, subject: Subject, *, owner_id: str, bucket_owner_id: str) -> list[Grant]:
    """The list that a canned name stands for. Raises ApiError InvalidArgument."""
    acl = private_acl(owner_id)
    if name in _GROUP_GRANTS:
        return acl + [
            Grant(GranteeKind.GROUP, group, permission) for group, permission in _GROUP_GRANTS[name]
        ]
    if name == "aws-exec-read":
        return [*acl, Grant(GranteeKind.ACCOUNT, _EC2_BUNDLES, Permission.READ)]
    if name == "log-delivery-write" and subject is Subject.BUCKET:
        rights = (Permission.WRITE, Permission.READ_ACP)
        return acl + [Grant(GranteeKind.GROUP, LOG_DELIVERY, right) for right in rights]
    if name in ("bucket-owner-read", BUCKET_OWNER_FULL_CONTROL) and subject is Subject.OBJECT:
        if owner_id == bucket_owner_id:
            return acl
        right = Permission.READ if name == "bucket-owner-read" else Permission.FULL_CONTROL
        return [*acl, Grant(GranteeKind.ACCOUNT, bucket_owner_id, right)]
    raise argument_error(ACL_HEADER, name)


def acl_from_headers(
    headers: Mapping[str, str],
    subject: Subject,
    *,
    owner_id: str,
    bucket_owner_id: str,
    directory: Directory,
) -> list[Grant] | None:
    """The list that headers ask for, None where they ask for none.

    Raises ApiError InvalidRequest (canned and granted at once), InvalidArgument,
    UnresolvableGrantByEmailAddress.
    """
    grants: list[Grant] = []
    named = False
    for name, permission in GRANT_HEADERS.items():
        value = headers.get(name)
        if value is not None:
            named = True
            grants += _grants_of_header(name, value, permission, directory)
    canned = headers.get(ACL_HEADER)
    if canned is None:
        return _bounded(grants) if named else None
    if named:
        raise ApiError(
            "InvalidRequest", "Specifying both Canned ACLs and Header Grants is not allowed"
        )
    return canned_acl(canned, subject, owner_id=owner_id, bucket_owner_id=bucket_owner_id)


def parse_acl(body: bytes, *, owner_id: str, directory: Directory) -> list[Grant]:
    """The grants of an AccessControlPolicy document, whose owner must be `owner_id`.

    Raises ApiError MalformedACLError, InvalidArgument, UnresolvableGrantByEmailAddress,
    AccessDenied (another owner).
    """
    try:
        root = parse_xml(body, "AccessControlPolicy")
    except ApiError as error:
        raise _malformed() from error
    owner, listed = root.find("Owner"), root.find("AccessControlList")
    if owner is None or listed is None or len(root.children) != 2:
        raise _malformed()
    if owner.text_of("ID") != owner_id:
        raise ApiError("AccessDenied")
    return _bounded([_parse_grant(child, directory) for child in listed.children])


def acl_xml(acl: Iterable[Grant], *, owner_id: str, directory: Directory) -> bytes:
    """The AccessControlPolicy document of a list."""
    owners = Owners(directory)
    grants = "".join(_grant_xml(grant, directory) for grant in acl)
    return document(
        "AccessControlPolicy",
        f"{owners.xml(owner_id)}<AccessControlList>{grants}</AccessControlList>",
    )


def _grants_of_header(
    name: str, value: str, permission: Permission, directory: Directory
) -> list[Grant]:
    grants = []
    for part in value.split(","):
        match = _PAIR.fullmatch(part)
        if match is None:
            raise argument_error(name, value, "Argument format not recognized")
        kind, grantee = match.group(1).lower(), match.group(2)
        if kind == "uri":
            grants.append(_group_grant(grantee, permission))
        elif kind == "id":
            grants.append(_account_grant(grantee, permission, directory))
        else:
            grants.append(_email_grant(grantee, permission, directory))
    return grants


def _parse_grant(found: Element, directory: Directory) -> Grant:
    grantee, right = found.find("Grantee"), found.text_of("Permission")
    if found.name != "Grant" or grantee is None or right is None:
        raise _malformed()
    if right not in Permission.__members__:
        raise _malformed()
    permission = Permission[right]
    uri, email, account = (grantee.text_of(name) for name in ("URI", "EmailAddress", "ID"))
    if grantee.type not in _XSI_TYPES:
        raise _malformed()
    if grantee.type == "Group" and uri is not None:
        return _group_grant(uri, permission)
    if grantee.type == "AmazonCustomerByEmail" and email is not None:
        return _email_grant(email, permission, directory)
    if grantee.type == "CanonicalUser" and account is not None:
        return _account_grant(account, permission, directory)
    raise _malformed()


def _group_grant(uri: str, permission: Permission) -> Grant:
    if uri not in GROUPS:
        raise argument_error("uri", uri, "Invalid group uri")
    return Grant(GranteeKind.GROUP, uri, permission)


def _account_grant(canonical_id: str, permission: Permission, directory: Directory) -> Grant:
    if directory.account(canonical_id) is None:
        raise argument_error("CanonicalUser/ID", canonical_id, "Invalid id")
    return Grant(GranteeKind.ACCOUNT, canonical_id, permission)


def _email_grant(email: str, permission: Permission, directory: Directory) -> Grant:
    account = directory.account_by_email(email)
    if account is None:
        raise ApiError("UnresolvableGrantByEmailAddress", fields={"EmailAddress": email})
    return Grant(GranteeKind.ACCOUNT, account.canonical_id, permission)


def _bounded(grants: list[Grant]) -> list[Grant]:
    """Raises ApiError MalformedACLError for a list that is too long."""
    if len(grants) > GRANTS_MAX:
        raise _malformed()
    return grants


def _grant_xml(grant: Grant, directory: Directory) -> str:
    schema = 'xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance"'
    inside = element("URI", grant.grantee)
    if grant.kind is GranteeKind.ACCOUNT:
        account = directory.account(grant.grantee)
        inside = element("ID", grant.grantee)
        if account is not None:
            inside += element("DisplayName", account.display_name)
    return (
        f'<Grant><Grantee {schema} xsi:type="{grant.kind}">{inside}</Grantee>'
        f"{element('Permission', str(grant.permission))}</Grant>"
    )


def _malformed() -> ApiError:
    return ApiError("MalformedACLError")
