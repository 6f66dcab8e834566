"""PutObject, GetObject and HeadObject.

A GET looks a version up, checks the conditions of RFC 9110, selects the bytes and opens them; when
another write took the version away in between, all of it is done again, since the new version has
other headers. A PUT pumps its body into a stage, proves it, and submits one command that names the
bytes; conditions travel inside the command. Deletes are in `delete`, copies in `copy`.

Sources: PutObject, GetObject, HeadObject in the Amazon S3 API Reference; "Working with delete
markers" in the User Guide.
"""

from rs3gwd.base.commands import UNCONDITIONAL, Conditions, PutObject
from rs3gwd.base.errors import ApiError, NoSuchKey, PreconditionFailed, VersionGone
from rs3gwd.base.http import Response
from rs3gwd.base.ports import StagedBlob
from rs3gwd.base.records import VersionRecord
from rs3gwd.s3.body import plan_body, receive_body
from rs3gwd.s3.call import Call
from rs3gwd.s3.checksums import checksum_response_headers
from rs3gwd.s3.conditions import (
    ReadConditions,
    Verdict,
    evaluate,
    precondition_failed,
    read_conditions,
    write_conditions,
)
from rs3gwd.s3.etags import quote
from rs3gwd.s3.headers import (
    apply_overrides,
    attributes_from,
    object_headers,
    refuse_customer_key,
    refuse_unimplemented,
)
from rs3gwd.s3.object_arguments import (
    bucket_of,
    durability_header,
    has_digest,
    requested_version,
    shows_versions,
    written_version_headers,
)
from rs3gwd.s3.object_body import Selection, open_bytes, select_bytes

LOOKUPS_MAX = 10
"""Look-ups of one GET. Each further one means that another write won the race in between; ten in a
row is a key under siege, and 503 tells the client to come back."""

_NOT_MODIFIED_HEADERS = frozenset(
    {"ETag", "Last-Modified", "Cache-Control", "Expires", "x-amz-version-id"}
)
"""What a 304 repeats of a 200 (RFC 9110 section 15.4.5)."""


async def get_object(call: Call) -> Response:
    """GetObject: 200, 206 or, by its conditions, 304 and 412."""
    version_id = requested_version(call.query)
    store = call.services.store
    for _ in range(LOOKUPS_MAX):
        version = await store.get_version(call.bucket, call.key, version_id)
        try:
            headers, selection = await _answer_head(call, version)
            body = await open_bytes(store, version, selection)
        except VersionGone:
            continue
        return Response(status=selection.status, headers=headers, body=body)
    raise ApiError("SlowDown")


async def head_object(call: Call) -> Response:
    """HeadObject: what GetObject would answer, without the bytes."""
    version_id = requested_version(call.query)
    for _ in range(LOOKUPS_MAX):
        version = await call.services.store.get_version(call.bucket, call.key, version_id)
        try:
            headers, selection = await _answer_head(call, version)
        except VersionGone:
            continue
        return Response(
            status=selection.status,
            headers=headers,
            length_override=selection.end - selection.start,
        )
    raise ApiError("SlowDown")


async def put_object(call: Call) -> Response:
    """PutObject: stores the body whole and proved, or nothing."""
    headers = call.request.headers
    bucket = bucket_of(call)
    refuse_unimplemented(headers)
    attributes = attributes_from(headers, bucket.owner_id, now_ms=call.services.clock.now_ms())
    if attributes.lock is not None:
        _require_digest(call)
    conditions = write_conditions(headers)
    plan = plan_body(call)
    await _refuse_early(call, conditions)
    store = call.services.store
    async with store.stage(size_hint=plan.size_bytes, durability=bucket.durability) as stage:
        body = await receive_body(call, plan, stage)
        staged = await stage.finish()
        command = PutObject(
            bucket=call.bucket,
            key=call.key,
            now_ms=call.services.clock.now_ms(),
            nonce=call.services.random.token_bytes(16),
            attributes=attributes,
            etag=body.md5_hex,
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


async def _answer_head(
    call: Call, version: VersionRecord
) -> tuple[list[tuple[str, str]], Selection]:
    """The headers of the answer and the bytes it is about. Raises ApiError for 304, 412 and 416."""
    refuse_customer_key(call.request.headers)
    headers = object_headers(version, show_version=shows_versions(bucket_of(call)))
    conditions = read_conditions(call.request.headers)
    if conditions is not None:
        _check_conditions(conditions, version, headers)
    if call.query:
        anonymous = call.decision.principal.account is None
        headers = apply_overrides(headers, call.query, anonymous=anonymous)
    selection = await select_bytes(call, version)
    headers += selection.headers
    return headers, selection


def _check_conditions(
    conditions: ReadConditions, version: VersionRecord, headers: list[tuple[str, str]]
) -> None:
    verdict, name = evaluate(
        conditions, etag=version.etag, last_modified_ms=version.last_modified_ms
    )
    if verdict is Verdict.FAILED:
        raise precondition_failed(name)
    if verdict is Verdict.NOT_MODIFIED:
        kept = [(name, value) for name, value in headers if name in _NOT_MODIFIED_HEADERS]
        raise ApiError("NotModified", headers=kept)
