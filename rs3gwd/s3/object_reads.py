"""GetObject and HeadObject.

A GET looks a version up, checks the conditions of RFC 9110, selects the bytes and opens them; when
another write took the version away in between, all of it is done again, since the new version has
other headers.

Most of what is read is small and at hand. So each operation has two forms made of the same parts:
`..._at_once`, a plain function that gives no answer where one would have to wait, and the
other, which waits. The first is tried first; the second does not rely on it.

Sources: GetObject and HeadObject in the Amazon S3 API Reference; "Working with delete markers" in
the User Guide.
"""

from rs3gwd.base.errors import ApiError, VersionGone
from rs3gwd.base.http import Response
from rs3gwd.base.ports import Lookups
from rs3gwd.base.records import ManifestRecord, VersionRecord
from rs3gwd.s3.call import Call
from rs3gwd.s3.conditions import (
    ReadConditions,
    Verdict,
    evaluate,
    precondition_failed,
    read_conditions,
)
from rs3gwd.s3.encryption_headers import refuse_wish
from rs3gwd.s3.headers import apply_overrides, object_headers
from rs3gwd.s3.object_arguments import bucket_of, requested_version, shows_versions
from rs3gwd.s3.object_body import (
    Selection,
    needs_manifest,
    open_bytes,
    read_at_once,
    select_bytes,
)
from rs3gwd.s3.object_encryption import check_read, place_of

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
            headers, selection = _answer_head(call, version, await _manifest_for(call, version))
            body = await open_bytes(call, version, selection)
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
            manifest = await _manifest_for(call, version)
        except VersionGone:
            continue
        return _head_response(*_answer_head(call, version, manifest))
    raise ApiError("SlowDown")


def get_object_at_once(call: Call, lookups: Lookups) -> Response | None:
    """GetObject, where the bytes are few and at hand; else None."""
    version = lookups.get_version(call.bucket, call.key, requested_version(call.query))
    if needs_manifest(call.query, version):
        return None
    headers, selection = _answer_head(call, version, None)
    try:
        body = read_at_once(lookups, version, selection)
    except VersionGone:
        return None
    return None if body is None else Response(selection.status, headers, body)


def head_object_at_once(call: Call, lookups: Lookups) -> Response | None:
    """HeadObject; None where it asks for a part of many."""
    version = lookups.get_version(call.bucket, call.key, requested_version(call.query))
    if needs_manifest(call.query, version):
        return None
    return _head_response(*_answer_head(call, version, None))


def _head_response(headers: list[tuple[str, str]], selection: Selection) -> Response:
    length = selection.end - selection.start
    return Response(status=selection.status, headers=headers, length_override=length)


async def _manifest_for(call: Call, version: VersionRecord) -> ManifestRecord | None:
    """The parts of a version, where the answer is about one of them. Raises VersionGone."""
    if not needs_manifest(call.query, version):
        return None
    return await call.services.store.get_manifest(version)


def _answer_head(
    call: Call, version: VersionRecord, manifest: ManifestRecord | None
) -> tuple[list[tuple[str, str]], Selection]:
    """The headers of the answer and the bytes it is about. Raises ApiError for 304, 412 and 416."""
    request_headers = call.request.headers
    refuse_wish(request_headers)
    check_read(call, place_of(call), version)
    headers = object_headers(version, show_version=shows_versions(bucket_of(call)))
    conditions = read_conditions(request_headers)
    if conditions is not None:
        _check_conditions(conditions, version, headers)
    if call.query:
        anonymous = call.decision.principal.account is None
        headers = apply_overrides(headers, call.query, anonymous=anonymous)
    selection = select_bytes(call, version, manifest)
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
