"""What the operations on objects share of a call: bucket, version, part number; pure."""

from collections.abc import Mapping

from rs3gwd.base.codec import sequence_of_id
from rs3gwd.base.limits import PART_NUMBER_MAX
from rs3gwd.base.records import NULL_VERSION_ID, BucketRecord, Durability, Versioning
from rs3gwd.iam.bucket_access import BucketAccess
from rs3gwd.s3.arguments import argument_error
from rs3gwd.s3.call import Call

_NUMBER_DIGITS_MAX = 10


def bucket_of(call: Call) -> BucketRecord:
    """The bucket of a call at bucket or object level."""
    assert call.bucket_record is not None
    return call.bucket_record


def access_of(call: Call) -> BucketAccess:
    """What the bucket of a call says about who may use it."""
    assert call.access is not None
    return call.access


def shows_versions(bucket: BucketRecord) -> bool:
    """Whether answers name version ids: versioning is or once was enabled."""
    return bucket.versioning is not Versioning.UNVERSIONED


def version_headers(bucket: BucketRecord, version_id: str | None) -> list[tuple[str, str]]:
    """x-amz-version-id where the bucket shows versions."""
    if version_id is None or not shows_versions(bucket):
        return []
    return [("x-amz-version-id", version_id)]


def written_version_headers(version_id: str) -> list[tuple[str, str]]:
    """x-amz-version-id of a version just written; S3 does not name the null version to its writer.

    Source: PutObject in the API Reference, sample "Versioning suspended".
    """
    return [] if version_id == NULL_VERSION_ID else [("x-amz-version-id", version_id)]


def durability_header(durability: Durability) -> tuple[str, str]:
    """The class of durability that a 2xx on this write stands for."""
    return ("x-rs3gw-durability", durability.value)


def has_digest(call: Call) -> bool:
    """Whether the body comes with an MD5 or a checksum, in a header or announced as a trailer."""
    headers = call.request.headers
    return "content-md5" in headers or any(
        name.startswith("x-amz-checksum-") for name in (*headers, *call.payload.trailer_names)
    )


def requested_version(query: Mapping[str, str]) -> str | None:
    """The versionId of a query, None for the current version. Raises ApiError InvalidArgument."""
    version_id = query.get("versionId")
    return None if version_id is None else check_version_id(version_id)


def is_version_id(version_id: str) -> bool:
    """Whether a version can have this id."""
    return version_id == NULL_VERSION_ID or sequence_of_id(version_id) is not None


def check_version_id(version_id: str) -> str:
    """Gives it back. Raises ApiError InvalidArgument when no version can have this id."""
    if is_version_id(version_id):
        return version_id
    message = (
        "Invalid version id specified" if version_id else "Version id cannot be the empty string"
    )
    raise argument_error("versionId", version_id, message)


def part_number_in(query: Mapping[str, str]) -> int | None:
    """The partNumber of a query, 1 to 10,000. Raises ApiError InvalidArgument."""
    text = query.get("partNumber")
    if text is None:
        return None
    if text.isascii() and text.isdigit() and len(text) <= _NUMBER_DIGITS_MAX:
        number = int(text)
        if 1 <= number <= PART_NUMBER_MAX:
            return number
    raise argument_error(
        "partNumber",
        text,
        f"Part number must be an integer between 1 and {PART_NUMBER_MAX}, inclusive",
    )
