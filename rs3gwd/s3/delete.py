"""DeleteObject and DeleteObjects.

Deleting what is not there is a success, as in S3; with a condition it is not. DeleteObjects submits
its deletions all at once, so that they share group commits, and answers each on its own: one that
fails says so in the answer and spoils no other.

Sources: DeleteObject and DeleteObjects in the Amazon S3 API Reference; "How to perform conditional
deletes" in the User Guide.
"""

from functools import partial

from msgspec import Struct

from rs3gwd.base.commands import UNCONDITIONAL, Conditions, DeleteObject, DeleteResult
from rs3gwd.base.errors import ApiError, NoSuchVersion, Rs3gwError
from rs3gwd.base.http import Response
from rs3gwd.base.limits import KEY_BYTES_MAX, LIST_KEYS_MAX
from rs3gwd.s3.body import read_body
from rs3gwd.s3.call import Call
from rs3gwd.s3.conditions import delete_conditions, make_delete_conditions
from rs3gwd.s3.errors import error_code, error_message
from rs3gwd.s3.object_arguments import (
    access_of,
    bucket_of,
    durability_header,
    has_digest,
    is_version_id,
    requested_version,
    shows_versions,
)
from rs3gwd.s3.object_lock import bypasses_governance
from rs3gwd.s3.permission import object_arn
from rs3gwd.s3.together import run_together
from rs3gwd.s3.xml_read import Element, malformed, parse_xml
from rs3gwd.s3.xml_write import CONTENT_TYPE, document, element, optional_element

DELETE_DOCUMENT_BYTES_MAX = 2 * 1024 * 1024
"""Bytes of a DeleteObjects document: 1,000 keys of 1,024 bytes, escaped, with their conditions."""


_ACTION, _VERSION_ACTION = "s3:DeleteObject", "s3:DeleteObjectVersion"


class Deletion(Struct, frozen=True):
    """One Object element: what to delete, or why that cannot even be tried (`refusal`)."""

    key_text: str
    version_id: str | None
    conditions: Conditions = UNCONDITIONAL
    refusal: Rs3gwError | None = None


async def delete_object(call: Call) -> Response:
    """DeleteObject: 204 whether or not there was anything."""
    bucket = bucket_of(call)
    result = await _submit(
        call,
        call.key,
        version_id=requested_version(call.query),
        conditions=delete_conditions(call.request.headers),
    )
    headers = [durability_header(bucket.durability)]
    if result.delete_marker:
        headers.append(("x-amz-delete-marker", "true"))
    if result.version_id is not None and shows_versions(bucket):
        headers.append(("x-amz-version-id", result.version_id))
    return Response(status=204, headers=headers)


async def delete_objects(call: Call) -> Response:
    """DeleteObjects: up to 1,000 keys, each answered on its own.

    Raises ApiError: InvalidRequest (no digest of the body), MalformedXML.
    """
    _require_digest(call)
    body = await read_body(call, DELETE_DOCUMENT_BYTES_MAX)
    deletions, is_quiet = parse_delete(body)
    answers: list[str] = [""] * len(deletions)
    await run_together(
        [
            partial(_delete_one, call, deletion, answers, index, is_quiet=is_quiet)
            for index, deletion in enumerate(deletions)
        ]
    )
    return Response(
        status=200,
        headers=[CONTENT_TYPE, durability_header(bucket_of(call).durability)],
        body=document("DeleteResult", answers),
    )


def parse_delete(body: bytes) -> tuple[list[Deletion], bool]:
    """The deletions of a `<Delete>` document and its Quiet flag.

    An element whose key, version or condition is wrong becomes a refusal of its own. Raises
    ApiError MalformedXML for another document, no key, or more than 1,000.
    """
    root = parse_xml(body, "Delete")
    root.require_children("Object", "Quiet")
    quiet = (root.text_of("Quiet") or "false").strip().lower()
    objects = root.find_all("Object")
    if quiet not in ("true", "false") or not 1 <= len(objects) <= LIST_KEYS_MAX:
        raise malformed()
    return [_parse_object(each) for each in objects], quiet == "true"


def _parse_object(found: Element) -> Deletion:
    found.require_children("Key", "VersionId", "ETag", "LastModifiedTime", "Size")
    key = found.text_of("Key")
    if not key:
        raise malformed()
    version_id = found.text_of("VersionId") or None
    try:
        if len(key.encode()) > KEY_BYTES_MAX:
            raise ApiError("KeyTooLongError")
        if version_id is not None and not is_version_id(version_id):
            # Not the InvalidArgument of DeleteObject: so S3 answers here.
            raise NoSuchVersion
        conditions = make_delete_conditions(
            etag=found.text_of("ETag"),
            last_modified=found.text_of("LastModifiedTime"),
            size=found.text_of("Size"),
        )
    except (ApiError, NoSuchVersion) as refusal:
        return Deletion(key, version_id, refusal=refusal)
    return Deletion(key, version_id, conditions)


async def _delete_one(
    call: Call, deletion: Deletion, answers: list[str], index: int, *, is_quiet: bool
) -> None:
    """Does one deletion and writes its part of the answer; an error is part of the answer."""
    try:
        if deletion.refusal is not None:
            raise deletion.refusal
        key = deletion.key_text.encode()
        action = _ACTION if deletion.version_id is None else _VERSION_ACTION
        call.gate.require(action, object_arn(call.bucket, key), access_of(call))
        result = await _submit(
            call,
            key,
            version_id=deletion.version_id,
            conditions=deletion.conditions,
        )
    except Rs3gwError as error:
        answers[index] = _error_xml(deletion, error)
    else:
        answers[index] = "" if is_quiet else _deleted_xml(deletion, result)


async def _submit(
    call: Call, key: bytes, *, version_id: str | None, conditions: Conditions
) -> DeleteResult:
    services = call.services
    command = DeleteObject(
        bucket=call.bucket,
        key=key,
        version_id=version_id,
        now_ms=services.clock.now_ms(),
        nonce=services.random.token_bytes(16),
        owner_id=bucket_of(call).owner_id,
        conditions=conditions,
        bypass_governance=bypasses_governance(call, key),
    )
    result = await services.store.submit(command)
    assert isinstance(result, DeleteResult)
    return result


def _deleted_xml(deletion: Deletion, result: DeleteResult) -> str:
    """`<Deleted>`; DeleteMarkerVersionId names the marker that was made or removed."""
    marker = ""
    if result.delete_marker:
        marker = element("DeleteMarker", "true") + optional_element(
            "DeleteMarkerVersionId", result.version_id
        )
    return (
        f"<Deleted>{element('Key', deletion.key_text)}"
        f"{optional_element('VersionId', deletion.version_id)}{marker}</Deleted>"
    )


def _error_xml(deletion: Deletion, error: Rs3gwError) -> str:
    return (
        f"<Error>{element('Key', deletion.key_text)}"
        f"{optional_element('VersionId', deletion.version_id)}"
        f"{element('Code', error_code(error))}{element('Message', error_message(error))}</Error>"
    )


def _require_digest(call: Call) -> None:
    """A list of deletions that was altered on its way would delete the wrong keys."""
    if not has_digest(call):
        raise ApiError(
            "InvalidRequest",
            "Missing required header for this request: Content-MD5 OR x-amz-checksum-*",
        )
