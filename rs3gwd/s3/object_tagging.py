"""The tags of an object version.

Tags may be changed without writing the object anew: no new version, the same ETag and date. The
rules for tags are in `tag_set`.
What a policy says about the tags of a request (s3:RequestObjectTag) can be asked only when the body
is read, so PutObjectTagging is decided here, before anything changes.

Source: GetObjectTagging, PutObjectTagging and DeleteObjectTagging in the Amazon S3 API Reference.
"""

from functools import partial

from rs3gwd.base.commands import PutObjectTagging
from rs3gwd.base.http import Response
from rs3gwd.base.limits import OBJECT_TAGS_MAX
from rs3gwd.base.records import VersionRecord
from rs3gwd.s3.body import read_body
from rs3gwd.s3.call import Call
from rs3gwd.s3.object_arguments import access_of, bucket_of, requested_version, version_headers
from rs3gwd.s3.permission import find_object, object_arn
from rs3gwd.s3.tag_set import Tags, parse_tagging, tag_set_xml
from rs3gwd.s3.xml_read import CONFIGURATION_BYTES_MAX
from rs3gwd.s3.xml_write import CONTENT_TYPE, document


async def get_object_tagging(call: Call) -> Response:
    """The tags of a version; an object without tags has an empty set."""
    version = await call.services.store.get_version(
        call.bucket, call.key, requested_version(call.query)
    )
    return Response(
        status=200,
        headers=[CONTENT_TYPE, *version_headers(bucket_of(call), version.version_id)],
        body=document("Tagging", tag_set_xml(version.attributes.tags)),
    )


async def put_object_tagging(call: Call) -> Response:
    """Puts the whole set in the place of the old one.

    Raises ApiError MalformedXML, InvalidTag, AccessDenied.
    """
    version_id = requested_version(call.query)
    body = await read_body(call, CONFIGURATION_BYTES_MAX)
    tags = parse_tagging(body, count_max=OBJECT_TAGS_MAX, subject="Object")
    lookups = await call.services.store.wait_lookups()
    call.gate.with_object_tags(tags).require(
        call.decision.action,
        object_arn(call.bucket, call.key),
        access_of(call),
        partial(find_object, lookups, call.bucket, call.key, call.query.get("versionId")),
    )
    return await _set_tags(call, version_id, tags, status=200)


async def delete_object_tagging(call: Call) -> Response:
    """Removes the whole set; no error where there is none."""
    return await _set_tags(call, requested_version(call.query), [], status=204)


async def _set_tags(call: Call, version_id: str | None, tags: Tags, *, status: int) -> Response:
    version = await call.services.store.submit(
        PutObjectTagging(bucket=call.bucket, key=call.key, version_id=version_id, tags=tags)
    )
    assert isinstance(version, VersionRecord)
    return Response(status=status, headers=version_headers(bucket_of(call), version.version_id))
