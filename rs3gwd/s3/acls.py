"""Access control lists of buckets and objects, and who owns what is written.

Where the bucket's owner owns everything (BucketOwnerEnforced) lists are switched off: they are read
as what holds anyway, and a write that asks for another one is refused. The list of a new object
comes with the write; in headers it may be a canned name or grants.

Sources: GetBucketAcl, PutBucketAcl, GetObjectAcl and PutObjectAcl in the Amazon S3 API Reference;
"Controlling ownership of objects and disabling ACLs for your bucket" in the User Guide.
"""

from __future__ import annotations

from msgspec import Struct
from msgspec.structs import replace

from rs3gwd.base.commands import PutObjectAcl
from rs3gwd.base.errors import ApiError
from rs3gwd.base.http import Response
from rs3gwd.base.records import Attributes, Grant
from rs3gwd.iam.acl import Subject, is_public, private_acl
from rs3gwd.iam.bucket_access import BucketAccess, Kind, Ownership, encode_acl
from rs3gwd.s3.acl_document import (
    ACL_HEADER,
    BUCKET_OWNER_FULL_CONTROL,
    GRANT_HEADERS,
    acl_from_headers,
    acl_xml,
    canned_acl,
    parse_acl,
)
from rs3gwd.s3.body import read_body
from rs3gwd.s3.bucket_configuration import put_document
from rs3gwd.s3.call import Call
from rs3gwd.s3.headers import attributes_from
from rs3gwd.s3.object_arguments import access_of, bucket_of, requested_version, version_headers
from rs3gwd.s3.permission import object_acl
from rs3gwd.s3.xml_read import CONFIGURATION_BYTES_MAX
from rs3gwd.s3.xml_write import CONTENT_TYPE

ANONYMOUS_OWNER_ID = "65a011a29cdf8ec533ec3d1ccaae921c"
"""The canonical id that AWS gives to what anonymous callers write (User Guide, "ACL overview")."""

_LISTS_THAT_HOLD = ("private", BUCKET_OWNER_FULL_CONTROL)


class Possession(Struct, frozen=True):
    """Who owns a new object and what its list is; None for the private one."""

    owner_id: str
    acl: list[Grant] | None


async def get_bucket_acl(call: Call) -> Response:
    """The list of the bucket."""
    access = access_of(call)
    acl = access.acl if access.lists_count else private_acl(access.owner_id)
    return Response(
        200,
        [CONTENT_TYPE],
        acl_xml(acl, owner_id=access.owner_id, directory=call.services.directory),
    )


async def put_bucket_acl(call: Call) -> Response:
    """Puts a list in the place of the bucket's.

    Raises ApiError AccessControlListNotSupported, AccessDenied (public lists are blocked), and as
    `rs3gwd.s3.acl_document` does.
    """
    access = access_of(call)
    acl = await _requested(call, Subject.BUCKET, owner_id=access.owner_id)
    _check_allowed(access, acl, owner_id=access.owner_id)
    if access.lists_count:
        await put_document(call, Kind.ACL, encode_acl(acl))
    return Response(200, [])


async def get_object_acl(call: Call) -> Response:
    """The list of a version."""
    version = await call.services.store.get_version(
        call.bucket, call.key, requested_version(call.query)
    )
    access = access_of(call)
    owner_id = version.attributes.owner_id if access.lists_count else access.owner_id
    acl = object_acl(version) if access.lists_count else private_acl(owner_id)
    return Response(
        200,
        [CONTENT_TYPE, *version_headers(bucket_of(call), version.version_id)],
        acl_xml(acl, owner_id=owner_id, directory=call.services.directory),
    )


async def put_object_acl(call: Call) -> Response:
    """Puts a list in the place of a version's. Raises as PutBucketAcl."""
    version_id = requested_version(call.query)
    store, access = call.services.store, access_of(call)
    version = await store.get_version(call.bucket, call.key, version_id)
    owner_id = version.attributes.owner_id if access.lists_count else access.owner_id
    acl = await _requested(call, Subject.OBJECT, owner_id=owner_id)
    _check_allowed(access, acl, owner_id=owner_id)
    if access.lists_count:
        await store.submit(
            PutObjectAcl(bucket=call.bucket, key=call.key, version_id=version.version_id, acl=acl)
        )
    return Response(200, version_headers(bucket_of(call), version.version_id))


def possession_of(call: Call) -> Possession:
    """Who owns what this call writes, and its list.

    Raises ApiError AccessControlListNotSupported, AccessDenied (public lists are blocked), and as
    `rs3gwd.s3.acl_document` does.
    """
    headers, access = call.request.headers, access_of(call)
    writer_id = call.decision.principal.canonical_id or ANONYMOUS_OWNER_ID
    canned = headers.get(ACL_HEADER)
    if not access.lists_count:
        if canned not in (None, *_LISTS_THAT_HOLD):
            canned_acl(canned or "", Subject.OBJECT, owner_id=writer_id, bucket_owner_id=writer_id)
            raise ApiError("AccessControlListNotSupported")
        if any(name in headers for name in GRANT_HEADERS):
            raise ApiError("AccessControlListNotSupported")
        return Possession(access.owner_id, None)
    gives_away = access.ownership is Ownership.PREFERRED and canned == BUCKET_OWNER_FULL_CONTROL
    owner_id = access.owner_id if gives_away else writer_id
    acl = acl_from_headers(
        headers,
        Subject.OBJECT,
        owner_id=owner_id,
        bucket_owner_id=access.owner_id,
        directory=call.services.directory,
    )
    if acl is not None:
        _check_allowed(access, acl, owner_id=owner_id)
    return Possession(owner_id, acl)


def new_attributes(call: Call, *, now_ms: int) -> Attributes:
    """What the headers of a write say of the new object, its owner and its list included.

    Raises as `possession_of` and `rs3gwd.s3.headers.attributes_from`.
    """
    possession = possession_of(call)
    attributes = attributes_from(call.request.headers, possession.owner_id, now_ms=now_ms)
    return attributes if possession.acl is None else replace(attributes, acl=possession.acl)


async def _requested(call: Call, subject: Subject, *, owner_id: str) -> list[Grant]:
    """The list that a Put asks for, in headers or in its document."""
    headers = call.request.headers
    directory = call.services.directory
    acl = acl_from_headers(
        headers,
        subject,
        owner_id=owner_id,
        bucket_owner_id=access_of(call).owner_id,
        directory=directory,
    )
    body = await read_body(call, CONFIGURATION_BYTES_MAX)
    if acl is not None:
        if body:
            raise ApiError("UnexpectedContent")
        return acl
    if not body:
        raise ApiError("MissingSecurityHeader", fields={"MissingHeaderName": ACL_HEADER})
    return parse_acl(body, owner_id=owner_id, directory=directory)


def _check_allowed(access: BucketAccess, acl: list[Grant], *, owner_id: str) -> None:
    """Raises ApiError for a list that this bucket does not take."""
    if not access.lists_count:
        if acl != private_acl(owner_id):
            raise ApiError("AccessControlListNotSupported")
        return
    if access.block.block_public_acls and is_public(acl):
        raise ApiError("AccessDenied")
