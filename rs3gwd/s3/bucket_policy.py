"""The policy of a bucket, kept as it was written.

A policy is checked when it is put: what cannot mean what it says is refused. One that would let
the public in is refused where the bucket blocks such policies.

Sources: GetBucketPolicy, PutBucketPolicy, DeleteBucketPolicy and GetBucketPolicyStatus in the
Amazon S3 API Reference; "Blocking public access to your Amazon S3 storage" in the User Guide.
"""

from __future__ import annotations

from rs3gwd.base.errors import ApiError
from rs3gwd.base.http import Response
from rs3gwd.iam.bucket_access import Kind, compile_bucket_policy
from rs3gwd.iam.policy.document import DOCUMENT_BYTES_MAX
from rs3gwd.iam.policy.public import is_public_policy
from rs3gwd.s3.body import read_body
from rs3gwd.s3.bucket_configuration import put_document
from rs3gwd.s3.call import Call
from rs3gwd.s3.object_arguments import access_of, bucket_of
from rs3gwd.s3.xml_write import CONTENT_TYPE, document, element

_JSON = ("Content-Type", "application/json")


async def get_bucket_policy(call: Call) -> Response:
    """Byte for byte what was put. Raises ApiError NoSuchBucketPolicy."""
    found = await call.services.store.get_configuration(bucket_of(call), Kind.POLICY)
    if found is None:
        raise _no_policy(call)
    return Response(200, [_JSON], found)


async def put_bucket_policy(call: Call) -> Response:
    """Raises ApiError MalformedPolicy, AccessDenied (public policies are blocked)."""
    text = await read_body(call, DOCUMENT_BYTES_MAX)
    policy = compile_bucket_policy(text, call.bucket)
    if access_of(call).block.block_public_policy and is_public_policy(policy.document):
        raise ApiError("AccessDenied")
    await put_document(call, Kind.POLICY, text)
    return Response(204, [])


async def delete_bucket_policy(call: Call) -> Response:
    """No error where there is nothing to remove."""
    await put_document(call, Kind.POLICY, None)
    return Response(204, [])


async def get_bucket_policy_status(call: Call) -> Response:
    """Whether the policy lets the public in. Raises ApiError NoSuchBucketPolicy."""
    access = access_of(call)
    if access.policy is None:
        raise _no_policy(call)
    flag = "true" if access.policy_is_public else "false"
    return Response(200, [CONTENT_TYPE], document("PolicyStatus", element("IsPublic", flag)))


def _no_policy(call: Call) -> ApiError:
    return ApiError("NoSuchBucketPolicy", fields={"BucketName": call.bucket})
