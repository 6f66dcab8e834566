"""The tags of a bucket.

Sources: GetBucketTagging, PutBucketTagging and DeleteBucketTagging in the Amazon S3 API Reference.
"""

from rs3gwd.base.commands import PutBucketTagging
from rs3gwd.base.errors import ApiError
from rs3gwd.base.http import Response
from rs3gwd.base.limits import BUCKET_TAGS_MAX
from rs3gwd.s3.body import read_body
from rs3gwd.s3.call import Call
from rs3gwd.s3.object_arguments import bucket_of
from rs3gwd.s3.tag_set import parse_tagging, tag_set_xml
from rs3gwd.s3.xml_read import CONFIGURATION_BYTES_MAX
from rs3gwd.s3.xml_write import CONTENT_TYPE, document


async def get_bucket_tagging(call: Call) -> Response:
    """Raises ApiError NoSuchTagSet where none was ever set or it was removed."""
    tags = bucket_of(call).tags
    if tags is None:
        raise ApiError("NoSuchTagSet", fields={"BucketName": call.bucket})
    return Response(200, [CONTENT_TYPE], document("Tagging", tag_set_xml(tags)))


async def put_bucket_tagging(call: Call) -> Response:
    """Puts the whole set in the place of the old one. Raises ApiError MalformedXML, InvalidTag."""
    body = await read_body(call, CONFIGURATION_BYTES_MAX)
    tags = parse_tagging(body, count_max=BUCKET_TAGS_MAX, subject="Bucket")
    await call.services.store.submit(PutBucketTagging(name=call.bucket, tags=tags))
    return Response(204, [])


async def delete_bucket_tagging(call: Call) -> Response:
    """No error where there is nothing to remove."""
    await call.services.store.submit(PutBucketTagging(name=call.bucket, tags=None))
    return Response(204, [])
