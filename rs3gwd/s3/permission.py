"""The words in which handlers ask the gate: resources, and the object that a question is about."""

from rs3gwd.base.errors import MethodNotAllowed, NoSuchKey, NoSuchVersion
from rs3gwd.base.ports import Lookups
from rs3gwd.iam.acl import private_acl
from rs3gwd.iam.gate import ObjectFacts


def bucket_arn(bucket: str) -> str:
    """The ARN of a bucket, `*` for none."""
    return f"arn:aws:s3:::{bucket or '*'}"


def object_arn(bucket: str, key: bytes) -> str:
    """The ARN of an object; `key` was proved to be UTF-8."""
    return f"arn:aws:s3:::{bucket}/{key.decode()}"


def find_object(
    lookups: Lookups, bucket: str, key: bytes, version_id: str | None
) -> ObjectFacts | None:
    """What the gate must know of an object; None where there is no such object."""
    try:
        version = lookups.get_version(bucket, key, version_id)
    except (NoSuchKey, NoSuchVersion, MethodNotAllowed):
        return None
    attributes = version.attributes
    acl = private_acl(attributes.owner_id) if attributes.acl is None else attributes.acl
    return ObjectFacts(owner_id=attributes.owner_id, acl=acl, tags=attributes.tags)
