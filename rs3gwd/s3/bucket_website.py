"""The website of a bucket: how it is configured, and how anonymous readers are answered.

A website adds no permission. Each document is read by the same operation as any object, through the
same gate, by nobody: what the bucket's policy or list does not give to everybody is refused here
too, the error document included.

Source: GetBucketWebsite, PutBucketWebsite and DeleteBucketWebsite in the Amazon S3 API Reference;
"Setting permissions for website access" in the User Guide.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from urllib.parse import quote

import msgspec

from rs3gwd.base.errors import ApiError, NoSuchBucket
from rs3gwd.base.http import Request, Response
from rs3gwd.base.ports import ObjectStore
from rs3gwd.base.records import BucketRecord
from rs3gwd.s3.body import read_body
from rs3gwd.s3.bucket_configuration import put_document
from rs3gwd.s3.call import Call
from rs3gwd.s3.names import check_bucket_name, decode_key
from rs3gwd.s3.object_arguments import bucket_of
from rs3gwd.s3.website import (
    WebsiteConfiguration,
    error_page,
    parse_website,
    website_xml,
)
from rs3gwd.s3.xml_read import CONFIGURATION_BYTES_MAX
from rs3gwd.s3.xml_write import CONTENT_TYPE

KIND = "website"
OPERATION = "Website"

_MESSAGES = {
    "AccessDenied": "Access Denied",
    "NoSuchKey": "The specified key does not exist.",
    "NoSuchBucket": "The specified bucket does not exist",
    "NoSuchWebsiteConfiguration": "The specified bucket does not have a website configuration",
    "MethodNotAllowed": "The specified method is not allowed against this resource.",
}
_PASSED_ON = ("range", "if-match", "if-none-match", "if-modified-since", "if-unmodified-since")
"""The headers that a reader of a website has a say with. Nothing that would sign a request or ask
for anything of S3 is among them."""

_decoder = msgspec.json.Decoder(WebsiteConfiguration)

Read = Callable[[Request], Awaitable[Response]]
"""Answers a request for one object, whoever it is from."""


async def get_bucket_website(call: Call) -> Response:
    """Raises ApiError NoSuchWebsiteConfiguration."""
    configuration = await read_website(call.services.store, bucket_of(call))
    if configuration is None:
        raise ApiError("NoSuchWebsiteConfiguration", fields={"BucketName": call.bucket})
    return Response(200, [CONTENT_TYPE], website_xml(configuration))


async def put_bucket_website(call: Call) -> Response:
    """Raises ApiError MalformedXML, InvalidArgument, KeyTooLongError, NotImplemented."""
    configuration = parse_website(await read_body(call, CONFIGURATION_BYTES_MAX))
    await put_document(call, KIND, msgspec.json.encode(configuration))
    return Response(200, [])


async def delete_bucket_website(call: Call) -> Response:
    """No error where there is nothing to remove."""
    await put_document(call, KIND, None)
    return Response(204, [])


async def read_website(store: ObjectStore, bucket: BucketRecord) -> WebsiteConfiguration | None:
    """The configuration of a bucket's website, or None."""
    if KIND not in bucket.configurations:
        return None
    found = await store.get_configuration(bucket, KIND)
    return None if found is None else _decoder.decode(found)


async def answer_website(request: Request, bucket: str, store: ObjectStore, read: Read) -> Response:
    """The answer of the website of `bucket` to a browser."""
    response = await _answer(request, bucket, store, read)
    response.operation = OPERATION
    return response


async def _answer(request: Request, bucket: str, store: ObjectStore, read: Read) -> Response:
    if request.method not in ("GET", "HEAD"):
        return _page(request, 405, "MethodNotAllowed")
    try:
        check_bucket_name(bucket)
        configuration = await read_website(store, await store.get_bucket(bucket))
    except (ApiError, NoSuchBucket):
        return _page(request, 404, "NoSuchBucket")
    if configuration is None:
        return _page(request, 404, "NoSuchWebsiteConfiguration")
    path = request.raw_path[1:]
    if not path or path.endswith("/"):
        path += quote(configuration.index_suffix)
    try:
        decode_key(path)
    except ApiError as error:
        return _page(request, 400, error.api_code)
    response = await read(_as_nobody(request, bucket, path))
    if response.status < 400 or not response.error_code:
        return response
    if await _is_folder(request, bucket, configuration, read):
        return Response(302, [("Location", f"{request.raw_path}/")])
    code = response.error_code
    if configuration.error_key and response.status in (403, 404):
        page = await read(_as_nobody(request, bucket, quote(configuration.error_key)))
        if page.status == 200:
            page.status, page.error_code = response.status, code
            return page
    return _page(request, response.status, code)


async def _is_folder(
    request: Request, bucket: str, configuration: WebsiteConfiguration, read: Read
) -> bool:
    """Whether the path has an index document that everybody may read."""
    path = request.raw_path[1:]
    if not path or path.endswith("/") or path.startswith("/"):
        # A path that begins with two slashes would lead the browser to another host.
        return False
    index = f"{path}/{quote(configuration.index_suffix)}"
    found = await read(msgspec.structs.replace(_as_nobody(request, bucket, index), method="HEAD"))
    return found.status == 200


def _as_nobody(request: Request, bucket: str, raw_key: str) -> Request:
    """The same reader's request for an object by its path, with no signature and no parameters."""
    headers = {name: request.headers[name] for name in _PASSED_ON if name in request.headers}
    return msgspec.structs.replace(
        request,
        raw_path=f"/{bucket}/{raw_key}",
        raw_query="",
        headers=headers,
        repeated_headers=frozenset(),
        host="",
    )


def _page(request: Request, status: int, code: str) -> Response:
    message = _MESSAGES.get(code, "The request cannot be answered.")
    return error_page(status, code, message, request.request_id)
