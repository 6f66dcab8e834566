"""The CORS configuration of a bucket, preflights, and the headers that browsers want on answers.

A preflight carries no signature: a browser sends none. It learns whether a rule allows its request,
and nothing else of the bucket.

Sources: GetBucketCors, PutBucketCors and DeleteBucketCors in the Amazon S3 API Reference;
"Testing CORS" and "Troubleshooting CORS" in the User Guide.
"""

from __future__ import annotations

import msgspec

from rs3gwd.base.errors import ApiError
from rs3gwd.base.http import Request, Response
from rs3gwd.base.ports import ObjectStore
from rs3gwd.base.records import BucketRecord
from rs3gwd.s3.body import read_body
from rs3gwd.s3.bucket_configuration import put_document
from rs3gwd.s3.call import Call
from rs3gwd.s3.cors import (
    METHODS,
    CorsConfiguration,
    cors_xml,
    find_rule,
    parse_cors,
    requested_headers,
    response_headers,
)
from rs3gwd.s3.object_arguments import bucket_of
from rs3gwd.s3.xml_read import CONFIGURATION_BYTES_MAX
from rs3gwd.s3.xml_write import CONTENT_TYPE

KIND = "cors"

_NOT_ALLOWED = (
    "CORSResponse: This CORS request is not allowed. This is usually because the evalution of "
    "Origin, request method / Access-Control-Request-Method or Access-Control-Request-Headers are "
    "not whitelisted by the resource's CORS spec."
)

_decoder = msgspec.json.Decoder(CorsConfiguration)


async def get_bucket_cors(call: Call) -> Response:
    """Raises ApiError NoSuchCORSConfiguration."""
    configuration = await read_cors(call.services.store, bucket_of(call))
    if configuration is None:
        raise ApiError("NoSuchCORSConfiguration", fields={"BucketName": call.bucket})
    return Response(200, [CONTENT_TYPE], cors_xml(configuration))


async def put_bucket_cors(call: Call) -> Response:
    """Puts the rules in the place of the old ones. Raises ApiError MalformedXML, InvalidRequest."""
    configuration = parse_cors(await read_body(call, CONFIGURATION_BYTES_MAX))
    await put_document(call, KIND, msgspec.json.encode(configuration))
    return Response(200, [])


async def delete_bucket_cors(call: Call) -> Response:
    """No error where there is nothing to remove."""
    await put_document(call, KIND, None)
    return Response(204, [])


async def read_cors(store: ObjectStore, bucket: BucketRecord) -> CorsConfiguration | None:
    """The rules of a bucket, or None."""
    if KIND not in bucket.configurations:
        return None
    found = await store.get_configuration(bucket, KIND)
    return None if found is None else _decoder.decode(found)


async def answer_preflight(
    store: ObjectStore, request: Request, *, bucket: str, key: bytes
) -> Response:
    """Whether the request that a browser means to send is allowed.

    Raises ApiError BadRequest (no origin or no method), AccessForbidden; NoSuchBucket.
    """
    origin = request.headers.get("origin")
    method = request.headers.get("access-control-request-method")
    if not origin:
        raise ApiError("BadRequest", "Insufficient information. Origin request header needed.")
    if method not in METHODS:
        raise ApiError("BadRequest", f"Invalid Access-Control-Request-Method: {method or 'null'}")
    fields = {"Method": method, "ResourceType": "OBJECT" if key else "BUCKET"}
    configuration = await read_cors(store, await store.get_bucket(bucket)) if bucket else None
    if configuration is None:
        raise ApiError("AccessForbidden", fields=fields)
    headers = requested_headers(request.headers.get("access-control-request-headers"))
    rule = find_rule(configuration.rules, origin=origin, method=method, headers=headers)
    if rule is None:
        raise ApiError("AccessForbidden", _NOT_ALLOWED, fields=fields)
    return Response(200, response_headers(rule, origin=origin, headers=headers))


async def cross_origin_headers(
    store: ObjectStore, request: Request, bucket: BucketRecord
) -> list[tuple[str, str]]:
    """What to add to the answer to a request with an Origin; nothing where no rule allows it."""
    configuration = await read_cors(store, bucket)
    if configuration is None:
        return []
    origin = request.headers["origin"]
    rule = find_rule(configuration.rules, origin=origin, method=request.method)
    return [] if rule is None else response_headers(rule, origin=origin)
