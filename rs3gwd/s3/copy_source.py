"""The source of CopyObject and UploadPartCopy: naming it, being allowed to read it, reading it.

x-amz-copy-source is `bucket/key`, URL-encoded, with or without a slash in front and with
`?versionId=` behind. As in AWS a `+` stands for a blank, which is what URLEncoder of the Java SDK
writes. The caller must be allowed to read the source as if by GetObject; the destination was
authorised before. Bytes stream from the reader, which has verified them, to the stage; what is
known of them already (the MD5 of a body that was one piece, its checksum) is carried along, and
only what is not is computed.

Source: CopyObject and UploadPartCopy in the Amazon S3 API Reference.
"""

from functools import partial
from urllib.parse import unquote_to_bytes

from msgspec import Struct

from rs3gwd.base.errors import ApiError, MethodNotAllowed, NoSuchBucket, NoSuchKey, NoSuchVersion
from rs3gwd.base.limits import KEY_BYTES_MAX, PUT_BYTES_MAX
from rs3gwd.base.ports import Buffer, Lookups, Stage
from rs3gwd.base.records import (
    BucketRecord,
    Checksum,
    ChecksumAlgorithm,
    ChecksumType,
    VersionRecord,
)
from rs3gwd.iam.bucket_access import BucketAccess
from rs3gwd.s3.arguments import argument_error
from rs3gwd.s3.body import INLINE_BYTES_MAX
from rs3gwd.s3.call import Call
from rs3gwd.s3.conditions import check_copy_source, copy_source_conditions
from rs3gwd.s3.hashing import BodyDigests
from rs3gwd.s3.names import is_bucket_name
from rs3gwd.s3.object_arguments import check_version_id, shows_versions
from rs3gwd.s3.object_encryption import (
    Place,
    check_read,
    etag_is_md5,
    open_object,
    source_place,
)
from rs3gwd.s3.permission import (
    bucket_arn,
    check_expected_owner,
    find_object,
    object_arn,
)
from rs3gwd.s3.ranges import ByteRange
from rs3gwd.s3.together import Job, run_together

_HEADER = "x-amz-copy-source"


class SourceName(Struct, frozen=True):
    """What x-amz-copy-source names."""

    bucket: str
    key: bytes
    version_id: str | None


class Source(Struct, frozen=True):
    """A version that the caller may read and whose conditions hold."""

    name: SourceName
    bucket: BucketRecord
    version: VersionRecord


class CopiedBytes(Struct, frozen=True):
    """What is known of bytes that were copied."""

    size_bytes: int
    md5_hex: str
    checksum: Checksum


def parse_copy_source(value: str) -> SourceName:
    """Raises ApiError InvalidArgument, KeyTooLongError."""
    path, _, suffix = value.partition("?")
    version_id = None
    if suffix:
        name, equals, version_id = suffix.partition("=")
        if name != "versionId" or not equals:
            raise _invalid_source(value, "object key")
        check_version_id(version_id)
    decoded = unquote_to_bytes(path.replace("+", " ").encode("latin-1", "replace"))
    bucket, _, key = decoded.removeprefix(b"/").partition(b"/")
    try:
        bucket_name = bucket.decode()
        key.decode()
    except UnicodeDecodeError as error:
        raise _invalid_source(value, "encoding") from error
    if not is_bucket_name(bucket_name):
        raise _invalid_source(value, "bucket name")
    if not key:
        raise _invalid_source(value, "object key")
    if len(key) > KEY_BYTES_MAX:
        raise ApiError("KeyTooLongError")
    return SourceName(bucket=bucket_name, key=key, version_id=version_id)


async def find_source(call: Call, name: SourceName) -> Source:
    """Looks the source up for the caller.

    Raises ApiError, about the source and not the destination: AccessDenied, NoSuchBucket,
    NoSuchKey, NoSuchVersion, InvalidRequest (a delete marker by id), PreconditionFailed.
    """
    store = call.services.store
    try:
        bucket = await store.get_bucket(name.bucket)
    except NoSuchBucket as error:
        raise ApiError("NoSuchBucket", fields={"BucketName": name.bucket}) from error
    access = _authorize(call, name, bucket, await store.wait_lookups())
    try:
        version = await store.get_version(name.bucket, name.key, name.version_id)
    except NoSuchKey as error:
        _require_listing(call, access)
        raise ApiError("NoSuchKey", fields={"Key": name.key.decode()}) from error
    except NoSuchVersion as error:
        _require_listing(call, access)
        fields = {"Key": name.key.decode(), "VersionId": name.version_id or ""}
        raise ApiError("NoSuchVersion", fields=fields) from error
    except MethodNotAllowed as error:
        raise ApiError(
            "InvalidRequest",
            "The source of a copy request may not specifically refer to a delete marker by "
            "version id.",
        ) from error
    check_copy_source(
        copy_source_conditions(call.request.headers),
        etag=version.etag,
        last_modified_ms=version.last_modified_ms,
    )
    source = Source(name=name, bucket=bucket, version=version)
    check_read(call, place_of_source(source), version)
    return source


def check_copy_size(size_bytes: int) -> None:
    """Raises ApiError InvalidRequest above 5 GiB, where a multipart copy is the way."""
    if size_bytes > PUT_BYTES_MAX:
        raise ApiError(
            "InvalidRequest",
            "The specified copy source is larger than the maximum allowable size for a copy "
            f"source: {PUT_BYTES_MAX}",
        )


async def copy_bytes(
    call: Call,
    source: Source,
    part: ByteRange | None,
    *,
    algorithm: ChecksumAlgorithm,
    stage: Stage,
    with_md5: bool = True,
) -> CopiedBytes:
    """Streams a range of a version (None: all of it) into a stage, at most 1 MiB at a time.

    `with_md5`: the MD5 is wanted; else `md5_hex` is empty. Raises VersionGone when the source was
    replaced before it could be opened, and what reader and stage raise.
    """
    version = source.version
    start, end = (part.start, part.end) if part else (0, version.size_bytes)
    is_whole = end - start == version.size_bytes
    known_md5 = _known_md5(version) if is_whole else None
    known_checksum = version.checksum if is_whole and _is_of(version, algorithm) else None
    takes_md5 = with_md5 and known_md5 is None
    digests = BodyDigests([] if known_checksum else [algorithm], with_md5=takes_md5)
    if start < end:
        async with await open_object(call, place_of_source(source), version, start, end) as reader:
            while len(data := await reader.read()):
                await _pass_on(call, data, digests, stage)
    md5_hex = digests.md5.hex() if takes_md5 else known_md5 or ""
    return CopiedBytes(
        size_bytes=end - start,
        md5_hex=md5_hex if with_md5 else "",
        checksum=known_checksum or Checksum(algorithm, digests.checksum(algorithm)),
    )


def place_of_source(source: Source) -> Place:
    """The source as an object whose key the headers for sources bring."""
    return source_place(source.name.bucket, source.name.key)


def _known_md5(version: VersionRecord) -> str | None:
    """The MD5 of the bytes of a version, where its ETag is that."""
    is_md5 = version.manifest_id is None and etag_is_md5(version.attributes.encryption)
    return version.etag if is_md5 else None


def source_version_headers(source: Source) -> list[tuple[str, str]]:
    """x-amz-copy-source-version-id where the source's bucket shows versions."""
    if not shows_versions(source.bucket):
        return []
    return [("x-amz-copy-source-version-id", source.version.version_id)]


async def _pass_on(call: Call, data: Buffer, digests: BodyDigests, stage: Stage) -> None:
    lanes = digests.lanes()
    if len(data) <= INLINE_BYTES_MAX or not lanes:
        digests.update(data)
        await stage.write(data)
        return
    threads = call.services.threads
    jobs: list[Job] = [partial(threads.run, partial(lane, data)) for lane in lanes]
    jobs.append(partial(stage.write, data))
    await run_together(jobs)


def _is_of(version: VersionRecord, algorithm: ChecksumAlgorithm) -> bool:
    checksum = version.checksum
    return (
        checksum is not None
        and checksum.algorithm is algorithm
        and checksum.type is ChecksumType.FULL_OBJECT
    )


def _authorize(
    call: Call, name: SourceName, bucket: BucketRecord, lookups: Lookups
) -> BucketAccess:
    """That the caller may read the source; what its bucket says about that."""
    access = call.services.access.of(bucket, lookups.get_configuration)
    check_expected_owner(call.request, "x-amz-source-expected-bucket-owner", access)
    call.gate.require(
        "s3:GetObject" if name.version_id is None else "s3:GetObjectVersion",
        object_arn(name.bucket, name.key),
        access,
        partial(find_object, lookups, name.bucket, name.key, name.version_id),
    )
    return access


def _require_listing(call: Call, access: BucketAccess) -> None:
    """Only who may list a bucket learns what is missing in it. Raises ApiError AccessDenied."""
    call.gate.require("s3:ListBucket", bucket_arn(access.name), access)


def _invalid_source(value: str, what: str) -> ApiError:
    return argument_error(_HEADER, value, f"Invalid copy source {what}")
