"""Access control lists as canned names, headers and XML."""

import pytest

from rs3gwd.base.errors import ApiError
from rs3gwd.base.records import AccountRecord, Grant, GranteeKind, Permission
from rs3gwd.iam.acl import ALL_USERS, AUTHENTICATED_USERS, LOG_DELIVERY, Subject
from rs3gwd.s3.acl_document import acl_from_headers, acl_xml, canned_acl, parse_acl
from rs3gwd.testing.directory import MemoryDirectory

ANN, BOB = "a" * 64, "b" * 64
DIRECTORY = MemoryDirectory(
    accounts=[
        AccountRecord(ANN, "ann", "ann@example.com", 1),
        AccountRecord(BOB, "bob & co", "Bob@example.com", 1),
    ]
)
XSI = 'xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance"'
BOB_READS = Grant(GranteeKind.ACCOUNT, BOB, Permission.READ)


def from_headers(headers: dict[str, str], subject: Subject = Subject.OBJECT) -> list[Grant] | None:
    """The list that headers of ANN ask for."""
    return acl_from_headers(
        headers, subject, owner_id=ANN, bucket_owner_id=ANN, directory=DIRECTORY
    )


def policy(*grants: str, owner: str = ANN) -> bytes:
    """An AccessControlPolicy document."""
    return (
        f"<AccessControlPolicy><Owner><ID>{owner}</ID></Owner>"
        f"<AccessControlList>{''.join(grants)}</AccessControlList></AccessControlPolicy>"
    ).encode()


def grant(kind: str, inside: str, permission: str = "READ") -> str:
    """A Grant element."""
    return (
        f'<Grant><Grantee {XSI} xsi:type="{kind}">{inside}</Grantee>'
        f"<Permission>{permission}</Permission></Grant>"
    )


@pytest.mark.parametrize(
    ("name", "subject", "extra"),
    [
        ("private", Subject.OBJECT, []),
        ("public-read", Subject.BUCKET, [(ALL_USERS, "READ")]),
        ("public-read-write", Subject.BUCKET, [(ALL_USERS, "READ"), (ALL_USERS, "WRITE")]),
        ("authenticated-read", Subject.OBJECT, [(AUTHENTICATED_USERS, "READ")]),
        (
            "log-delivery-write",
            Subject.BUCKET,
            [(LOG_DELIVERY, "WRITE"), (LOG_DELIVERY, "READ_ACP")],
        ),
        ("bucket-owner-read", Subject.OBJECT, [(BOB, "READ")]),
        ("bucket-owner-full-control", Subject.OBJECT, [(BOB, "FULL_CONTROL")]),
    ],
)
def test_a_canned_name_stands_for_its_grants(
    name: str, subject: Subject, extra: list[tuple[str, str]]
) -> None:
    """The owner has all rights, and beside that the crowd or the bucket's owner has some."""
    found = canned_acl(name, subject, owner_id=ANN, bucket_owner_id=BOB)
    assert found[0] == Grant(GranteeKind.ACCOUNT, ANN, Permission.FULL_CONTROL)
    assert [(each.grantee, str(each.permission)) for each in found[1:]] == extra


@pytest.mark.parametrize(
    ("name", "subject"),
    [
        ("log-delivery-write", Subject.OBJECT),
        ("bucket-owner-read", Subject.BUCKET),
        ("none", Subject.BUCKET),
    ],
)
def test_a_canned_name_that_does_not_fit_is_refused(name: str, subject: Subject) -> None:
    """InvalidArgument names the header."""
    with pytest.raises(ApiError) as refused:
        canned_acl(name, subject, owner_id=ANN, bucket_owner_id=ANN)
    assert refused.value.fields["ArgumentName"] == "x-amz-acl"


def test_grant_headers_name_ids_emails_and_groups() -> None:
    """Several in one header; an email is stored as the account's id."""
    headers = {
        "x-amz-grant-read": f'id="{ANN}", emailAddress="bob@EXAMPLE.com"',
        "x-amz-grant-write": f"uri={ALL_USERS}",
    }
    assert from_headers(headers, Subject.BUCKET) == [
        Grant(GranteeKind.ACCOUNT, ANN, Permission.READ),
        BOB_READS,
        Grant(GranteeKind.GROUP, ALL_USERS, Permission.WRITE),
    ]
    assert from_headers({"content-type": "x"}) is None


@pytest.mark.parametrize(
    ("headers", "code"),
    [
        ({"x-amz-grant-read": f"id={'c' * 64}"}, "InvalidArgument"),
        ({"x-amz-grant-read": "emailAddress=no@one.example"}, "UnresolvableGrantByEmailAddress"),
        ({"x-amz-grant-read": "uri=http://other.example/group"}, "InvalidArgument"),
        ({"x-amz-grant-read": "somebody"}, "InvalidArgument"),
        ({"x-amz-grant-read": f"id={ANN}", "x-amz-acl": "private"}, "InvalidRequest"),
        ({"x-amz-acl": "public"}, "InvalidArgument"),
    ],
)
def test_headers_that_name_nobody_are_refused(headers: dict[str, str], code: str) -> None:
    """Each with S3's code."""
    with pytest.raises(ApiError) as refused:
        from_headers(headers)
    assert refused.value.api_code == code


def test_a_document_says_what_was_read_from_it() -> None:
    """Accounts with their names, groups with their addresses."""
    body = policy(
        grant("CanonicalUser", f"<ID>{BOB}</ID><DisplayName>any</DisplayName>"),
        grant("Group", f"<URI>{ALL_USERS}</URI>", "WRITE_ACP"),
        grant(
            "AmazonCustomerByEmail", "<EmailAddress>ann@example.com</EmailAddress>", "FULL_CONTROL"
        ),
    )
    acl = parse_acl(body, owner_id=ANN, directory=DIRECTORY)
    assert acl == [
        BOB_READS,
        Grant(GranteeKind.GROUP, ALL_USERS, Permission.WRITE_ACP),
        Grant(GranteeKind.ACCOUNT, ANN, Permission.FULL_CONTROL),
    ]
    shown = acl_xml(acl, owner_id=ANN, directory=DIRECTORY)
    assert b"<DisplayName>bob &amp; co</DisplayName>" in shown
    assert parse_acl(shown, owner_id=ANN, directory=DIRECTORY) == acl


@pytest.mark.parametrize(
    ("body", "code"),
    [
        (b"<AccessControlPolicy/>", "MalformedACLError"),
        (b"nonsense", "MalformedACLError"),
        (policy(grant("CanonicalUser", f"<ID>{BOB}</ID>", "read")), "MalformedACLError"),
        (policy(grant("Group", f"<ID>{BOB}</ID>")), "MalformedACLError"),
        (policy(grant("Robot", f"<ID>{BOB}</ID>")), "MalformedACLError"),
        (policy(*[grant("CanonicalUser", f"<ID>{BOB}</ID>")] * 101), "MalformedACLError"),
        (policy(grant("CanonicalUser", f"<ID>{'c' * 64}</ID>")), "InvalidArgument"),
        (policy(owner=BOB), "AccessDenied"),
    ],
)
def test_a_wrong_document_is_refused(body: bytes, code: str) -> None:
    """Its shape, its grantees, and an owner who is another."""
    with pytest.raises(ApiError) as refused:
        parse_acl(body, owner_id=ANN, directory=DIRECTORY)
    assert refused.value.api_code == code
