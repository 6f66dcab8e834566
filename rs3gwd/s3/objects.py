"""PutObject.

A PUT pumps its body into a stage, proves it, and submits one command that names the bytes;
conditions travel inside the command. Reads are in `object_reads`, deletes in `delete`, copies in
`copy`.

Source: PutObject in the Amazon S3 API Reference.
"""

from msgspec.structs import replace

from rs3gwd.base.commands import UNCONDITIONAL, Conditions, PutObject
from rs3gwd.base.errors import ApiError, NoSuchKey, PreconditionFailed
from rs3gwd.base.http import Response
from rs3gwd.base.ports import StagedBlob
from rs3gwd.base.records import VersionRecord
from rs3gwd.s3.acls import new_attributes
from rs3gwd.s3.body import plan_body, receive_body
from rs3gwd.s3.call import Call
from rs3gwd.s3.checksums import checksum_response_headers
from rs3gwd.s3.conditions import write_conditions
from rs3gwd.s3.encryption_headers import encryption_headers
from rs3gwd.s3.etags import quote
from rs3gwd.s3.headers import refuse_unimplemented
from rs3gwd.s3.object_arguments import (
    bucket_of,
    durability_header,
    has_digest,
    written_version_headers,
)
from rs3gwd.s3.object_encryption import etag_for, etag_is_md5, open_stage, seal_object


async def put_object(call: Call) -> Response:
    """PutObject: stores the body whole and proved, or nothing."""
    headers = call.request.headers
    bucket = bucket_of(call)
    refuse_unimplemented(headers)
    attributes = new_attributes(call, now_ms=call.services.clock.now_ms())
    if attributes.lock is not None:
        _require_digest(call)
    conditions = write_conditions(headers)
    sealing = await seal_object(call)
    record = sealing.record if sealing else None
    plan = plan_body(call, with_md5=etag_is_md5(record))
    await _refuse_early(call, conditions)
    async with open_stage(call, sealing, plan.size_bytes) as stage:
        body = await receive_body(call, plan, stage)
        staged = await stage.finish()
        command = PutObject(
            bucket=call.bucket,
            key=call.key,
            now_ms=call.services.clock.now_ms(),
            nonce=call.services.random.token_bytes(16),
            attributes=replace(attributes, encryption=record),
            etag=etag_for(call, sealing, body.md5_hex),
            size_bytes=body.size_bytes,
            blob=staged.ref,
            checksum=body.checksum,
            conditions=conditions,
        )
        version = await submit_version(call, command, staged)
    return Response(
        status=200,
        headers=[
            ("ETag", quote(version.etag)),
            *checksum_response_headers(body.checksum),
            *encryption_headers(record, with_context=True),
            durability_header(bucket.durability),
            *written_version_headers(version.version_id),
        ],
    )


def _require_digest(call: Call) -> None:
    """What cannot be deleted for years must be what was sent (PutObject in the API Reference)."""
    if not has_digest(call):
        raise ApiError(
            "InvalidRequest",
            "Content-MD5 OR x-amz-checksum- HTTP header is required for Put Object requests with "
            "Object Lock parameters",
        )


async def _refuse_early(call: Call, conditions: Conditions) -> None:
    """Refuses a condition that does not hold now, before 5 GiB are sent for nothing.

    What decides is still the command: another write may win while the body is under way.
    """
    if conditions is UNCONDITIONAL:
        return
    try:
        current = await call.services.store.get_version(call.bucket, call.key, None)
    except NoSuchKey:
        if conditions.if_match is not None:
            raise
        return
    if conditions.if_none_match is not None:
        raise PreconditionFailed("If-None-Match")
    if conditions.if_match not in ("*", current.etag):
        raise PreconditionFailed("If-Match")


async def submit_version(call: Call, command: PutObject, staged: StagedBlob) -> VersionRecord:
    """Submits a write of an object and gives the version made."""
    version = await call.services.store.submit(command, staged)
    assert isinstance(version, VersionRecord)
    return version
