"""CopyObject: a new object with the bytes of another.

What is copied beside the bytes is the caller's choice: metadata and tags come from the source
(COPY, the default) or from the request (REPLACE). Storage class and website redirect always come
from the request. Copying an object onto itself without changing anything is refused, as in AWS.

The answer comes when the copy is durable. AWS may send 200 before and an error inside of it; here
a status is final.

Source: CopyObject in the Amazon S3 API Reference.
"""

from enum import StrEnum

from msgspec import Struct, structs

from rs3gwd.base.commands import UNCONDITIONAL, Conditions, PutObject
from rs3gwd.base.errors import ApiError, VersionGone
from rs3gwd.base.http import Response
from rs3gwd.base.records import Attributes, ChecksumAlgorithm, VersionRecord
from rs3gwd.s3.acls import new_attributes, possession_of
from rs3gwd.s3.arguments import argument_error
from rs3gwd.s3.call import Call
from rs3gwd.s3.checksums import CHECKSUM_ELEMENTS, DEFAULT_ALGORITHM, algorithm_in
from rs3gwd.s3.conditions import write_conditions
from rs3gwd.s3.copy_source import (
    Source,
    SourceName,
    check_copy_size,
    copy_bytes,
    find_source,
    parse_copy_source,
    source_version_headers,
)
from rs3gwd.s3.dates import iso_time
from rs3gwd.s3.encryption_headers import ENCRYPTION, SOURCE_CUSTOMER, encryption_headers
from rs3gwd.s3.etags import quote
from rs3gwd.s3.headers import (
    WEBSITE_REDIRECT,
    attributes_from,
    refuse_unimplemented,
    storage_class_from,
)
from rs3gwd.s3.lock_headers import lock_from
from rs3gwd.s3.object_arguments import bucket_of, durability_header, written_version_headers
from rs3gwd.s3.object_encryption import etag_for, etag_is_md5, open_stage, seal_object
from rs3gwd.s3.object_reads import LOOKUPS_MAX
from rs3gwd.s3.objects import submit_version
from rs3gwd.s3.xml_write import CONTENT_TYPE, document, element


class Directive(StrEnum):
    """Where metadata or tags of a copy come from."""

    COPY = "COPY"
    REPLACE = "REPLACE"


class CopyPlan(Struct, frozen=True):
    """What a CopyObject asks for, before its source is known; `algorithm` None: the source's."""

    name: SourceName
    metadata: Directive
    tagging: Directive
    algorithm: ChecksumAlgorithm | None
    conditions: Conditions = UNCONDITIONAL


async def copy_object(call: Call) -> Response:
    """Copies an object of at most 5 GiB, or nothing."""
    headers = call.request.headers
    refuse_unimplemented(headers)
    plan = CopyPlan(
        name=parse_copy_source(headers["x-amz-copy-source"]),
        metadata=_directive(call, "x-amz-metadata-directive"),
        tagging=_directive(call, "x-amz-tagging-directive"),
        algorithm=algorithm_in(headers, "x-amz-checksum-algorithm"),
        conditions=write_conditions(headers),
    )
    _refuse_copy_onto_itself(call, plan)
    for _ in range(LOOKUPS_MAX):
        source = await find_source(call, plan.name)
        check_copy_size(source.version.size_bytes)
        try:
            version = await _copy(call, plan, source)
        except VersionGone:
            continue
        return _respond(call, source, version)
    raise ApiError("SlowDown")


async def _copy(call: Call, plan: CopyPlan, source: Source) -> VersionRecord:
    """Raises VersionGone when the source was replaced before it could be opened."""
    services = call.services
    origin = source.version
    # Without a wish the source's algorithm is kept; a composite checksum becomes one of all bytes.
    kept = origin.checksum.algorithm if origin.checksum else DEFAULT_ALGORITHM
    attributes = _attributes(call, plan, origin.attributes)
    sealing = await seal_object(call)
    record = sealing.record if sealing else None
    async with open_stage(call, sealing, origin.size_bytes) as stage:
        copied = await copy_bytes(
            call,
            source,
            None,
            algorithm=plan.algorithm or kept,
            stage=stage,
            with_md5=etag_is_md5(record),
        )
        staged = await stage.finish()
        command = PutObject(
            bucket=call.bucket,
            key=call.key,
            now_ms=services.clock.now_ms(),
            nonce=services.random.token_bytes(16),
            attributes=structs.replace(attributes, encryption=record),
            etag=etag_for(call, sealing, copied.md5_hex),
            size_bytes=copied.size_bytes,
            blob=staged.ref,
            checksum=copied.checksum,
            conditions=plan.conditions,
        )
        return await submit_version(call, command, staged)


def _respond(call: Call, source: Source, version: VersionRecord) -> Response:
    bucket = bucket_of(call)
    checksum = ""
    if version.checksum is not None:
        name = CHECKSUM_ELEMENTS[version.checksum.algorithm]
        checksum = element("ChecksumType", version.checksum.type) + element(
            name, version.checksum.value
        )
    inside = (
        f"{element('LastModified', iso_time(version.last_modified_ms))}"
        f"{element('ETag', quote(version.etag))}{checksum}"
    )
    return Response(
        status=200,
        headers=[
            CONTENT_TYPE,
            *encryption_headers(version.attributes.encryption, with_context=True),
            durability_header(bucket.durability),
            *written_version_headers(version.version_id),
            *source_version_headers(source),
        ],
        body=document("CopyObjectResult", inside),
    )


def _attributes(call: Call, plan: CopyPlan, origin: Attributes) -> Attributes:
    headers = call.request.headers
    now_ms = call.services.clock.now_ms()
    if plan.metadata is Directive.REPLACE:
        given = new_attributes(call, now_ms=now_ms)
        tags = given.tags if plan.tagging is Directive.REPLACE else origin.tags
        return structs.replace(given, tags=tags)
    # Only what the request may set beside a copied set is read from it.
    possession = possession_of(call)
    given = attributes_from(
        {name: headers[name] for name in ("x-amz-tagging", WEBSITE_REDIRECT) if name in headers},
        possession.owner_id,
        now_ms=now_ms,
    )
    system = {name: value for name, value in origin.headers.items() if name != WEBSITE_REDIRECT}
    return Attributes(
        owner_id=possession.owner_id,
        headers=system | given.headers,
        metadata=origin.metadata,
        tags=given.tags if plan.tagging is Directive.REPLACE else origin.tags,
        storage_class=storage_class_from(headers),
        # A list and a lock belong to one version and are never copied.
        acl=possession.acl,
        lock=lock_from(headers, now_ms=now_ms),
    )


def _refuse_copy_onto_itself(call: Call, plan: CopyPlan) -> None:
    """A copy of an older version onto the key is a change: it brings that version back."""
    headers = call.request.headers
    changes = (
        (plan.name.bucket, plan.name.key) != (call.bucket, call.key)
        or plan.name.version_id is not None
        or Directive.REPLACE in (plan.metadata, plan.tagging)
        or plan.algorithm is not None
        or "x-amz-storage-class" in headers
        or WEBSITE_REDIRECT in headers
        or any(name.startswith((ENCRYPTION, SOURCE_CUSTOMER)) for name in headers)
    )
    if not changes:
        raise ApiError(
            "InvalidRequest",
            "This copy request is illegal because it is trying to copy an object to itself without "
            "changing the object's metadata, storage class, website redirect location or "
            "encryption attributes.",
        )


def _directive(call: Call, name: str) -> Directive:
    value = call.request.headers.get(name, Directive.COPY)
    try:
        return Directive(value.upper())
    except ValueError as error:
        raise argument_error(name, value, "Unknown directive.") from error
