"""The words in which handlers ask the gate: resources, and the object that a question is about."""

from rs3gwd.base.errors import ApiError, MethodNotAllowed, NoSuchKey, NoSuchVersion
from rs3gwd.base.http import Request
from rs3gwd.base.ports import Lookups
from rs3gwd.base.records import Grant, VersionRecord
from rs3gwd.iam.acl import private_acl
from rs3gwd.iam.bucket_access import BucketAccess
from rs3gwd.iam.gate import ObjectFacts
from rs3gwd.iam.identities.arns import account_id_of


def bucket_arn(bucket: str) -> str:
    """The ARN of a bucket, `*` for none."""
    return f"arn:aws:s3:::{bucket or '*'}"


def object_arn(bucket: str, key: bytes) -> str:
    """The ARN of an object; `key` was proved to be UTF-8."""
    return f"arn:aws:s3:::{bucket}/{key.decode()}"


def object_acl(version: VersionRecord) -> list[Grant]:
    """The list of a version; without one of its own it is private."""
    attributes = version.attributes
    return private_acl(attributes.owner_id) if attributes.acl is None else attributes.acl


def find_object(
    lookups: Lookups, bucket: str, key: bytes, version_id: str | None
) -> ObjectFacts | None:
    """What the gate must know of an object; None where there is no such object."""
    try:
        version = lookups.get_version(bucket, key, version_id)
    except (NoSuchKey, NoSuchVersion, MethodNotAllowed):
        return None
    attributes = version.attributes
    return ObjectFacts(owner_id=attributes.owner_id, acl=object_acl(version), tags=attributes.tags)


def check_expected_owner(request: Request, header: str, access: BucketAccess) -> None:
    """The caller may name the owner they expect, by canonical id or by account number.

    Raises ApiError AccessDenied. Source: "Verifying bucket ownership with bucket owner condition"
    in the Amazon S3 User Guide.
    """
    expected = request.headers.get(header)
    if expected is None:
        return
    if expected not in (access.owner_id, account_id_of(access.owner_id)):
        raise ApiError("AccessDenied")
