"""The switches of a bucket's access: object ownership, Block Public Access, requester pays.

Sources: PutBucketOwnershipControls, PutPublicAccessBlock, PutBucketRequestPayment and their Get and
Delete counterparts in the Amazon S3 API Reference.
"""

from __future__ import annotations

from rs3gwd.base.errors import ApiError
from rs3gwd.base.http import Response
from rs3gwd.iam.acl import private_acl
from rs3gwd.iam.bucket_access import (
    Kind,
    Ownership,
    PublicAccessBlock,
    decode_block,
    encode_block,
)
from rs3gwd.s3.body import read_body
from rs3gwd.s3.bucket_configuration import put_document
from rs3gwd.s3.call import Call
from rs3gwd.s3.object_arguments import access_of, bucket_of
from rs3gwd.s3.xml_read import CONFIGURATION_BYTES_MAX, malformed, parse_xml
from rs3gwd.s3.xml_write import CONTENT_TYPE, document, element

_SWITCHES = {
    "BlockPublicAcls": "block_public_acls",
    "IgnorePublicAcls": "ignore_public_acls",
    "BlockPublicPolicy": "block_public_policy",
    "RestrictPublicBuckets": "restrict_public_buckets",
}
_FLAGS = {"true": True, "false": False}
_PAYERS = ("BucketOwner", "Requester")


async def get_bucket_ownership_controls(call: Call) -> Response:
    """Raises ApiError OwnershipControlsNotFoundError."""
    if Kind.OWNERSHIP not in bucket_of(call).configurations:
        raise ApiError("OwnershipControlsNotFoundError", fields={"BucketName": call.bucket})
    rule = f"<Rule>{element('ObjectOwnership', str(access_of(call).ownership))}</Rule>"
    return Response(200, [CONTENT_TYPE], document("OwnershipControls", rule))


async def put_bucket_ownership_controls(call: Call) -> Response:
    """Sets who owns what others write.

    Raises ApiError MalformedXML, InvalidBucketAclWithObjectOwnership (lists are to count no more
    while the bucket's list lets others in).
    """
    root = parse_xml(await read_body(call, CONFIGURATION_BYTES_MAX), "OwnershipControls")
    root.require_children("Rule")
    rules = root.find_all("Rule")
    if len(rules) != 1:
        raise malformed()
    rules[0].require_children("ObjectOwnership")
    ownership = parse_ownership(rules[0].text_of("ObjectOwnership"))
    access = access_of(call)
    if ownership is Ownership.ENFORCED and access.acl != private_acl(access.owner_id):
        raise ApiError("InvalidBucketAclWithObjectOwnership")
    await put_document(call, Kind.OWNERSHIP, ownership.encode())
    return Response(200, [])


async def delete_bucket_ownership_controls(call: Call) -> Response:
    """Back to object writers owning what they write; no error where there is nothing to remove."""
    await put_document(call, Kind.OWNERSHIP, None)
    return Response(204, [])


def parse_ownership(text: str | None) -> Ownership:
    """Raises ApiError MalformedXML for what is none."""
    try:
        return Ownership(text or "")
    except ValueError as error:
        raise malformed() from error


async def get_public_access_block(call: Call) -> Response:
    """Raises ApiError NoSuchPublicAccessBlockConfiguration."""
    found = await call.services.store.get_configuration(bucket_of(call), Kind.PUBLIC_ACCESS_BLOCK)
    if found is None:
        raise ApiError("NoSuchPublicAccessBlockConfiguration", fields={"BucketName": call.bucket})
    block = decode_block(found)
    inside = "".join(
        element(name, "true" if getattr(block, field) else "false")
        for name, field in _SWITCHES.items()
    )
    return Response(200, [CONTENT_TYPE], document("PublicAccessBlockConfiguration", inside))


async def put_public_access_block(call: Call) -> Response:
    """Sets all four switches; one that is not named is off. Raises ApiError MalformedXML."""
    body = await read_body(call, CONFIGURATION_BYTES_MAX)
    root = parse_xml(body, "PublicAccessBlockConfiguration")
    root.require_children(*_SWITCHES)
    switches = {}
    for child in root.children:
        flag = _FLAGS.get(child.text.strip().lower())
        if flag is None:
            raise malformed()
        switches[_SWITCHES[child.name]] = flag
    await put_document(call, Kind.PUBLIC_ACCESS_BLOCK, encode_block(PublicAccessBlock(**switches)))
    return Response(200, [])


async def delete_public_access_block(call: Call) -> Response:
    """All four off; no error where there is nothing to remove."""
    await put_document(call, Kind.PUBLIC_ACCESS_BLOCK, None)
    return Response(204, [])


async def get_bucket_request_payment(call: Call) -> Response:
    """Who pays."""
    payer = _PAYERS[access_of(call).requester_pays]
    return Response(
        200, [CONTENT_TYPE], document("RequestPaymentConfiguration", element("Payer", payer))
    )


async def put_bucket_request_payment(call: Call) -> Response:
    """Raises ApiError MalformedXML."""
    body = await read_body(call, CONFIGURATION_BYTES_MAX)
    root = parse_xml(body, "RequestPaymentConfiguration")
    root.require_children("Payer")
    payer = root.text_of("Payer")
    if payer not in _PAYERS:
        raise malformed()
    await put_document(call, Kind.REQUEST_PAYMENT, payer.encode() if payer == "Requester" else None)
    return Response(200, [])
