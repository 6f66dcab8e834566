"""Buckets themselves: list, make, look at, locate and remove.

CreateBucket is idempotent for the owner, as in us-east-1: rclone and others call it before every
upload. A bucket lives in the one region of this endpoint; naming another is an error, naming none
is not. The header `x-rs3gw-durability` is our own: it chooses what a 2xx on a write means
(strict, relaxed, ephemeral), and CreateBucket and HeadBucket show the class in it.

Sources: ListBuckets, CreateBucket, HeadBucket, GetBucketLocation and DeleteBucket in the Amazon S3
API Reference.
"""

import re

from rs3gwd.base.commands import CreateBucket, DeleteBucket
from rs3gwd.base.errors import ApiError, BucketAlreadyOwnedByYou, BucketNotEmpty
from rs3gwd.base.http import Response
from rs3gwd.base.limits import BUCKET_TAGS_MAX, LIST_KEYS_MAX
from rs3gwd.base.new_buckets import NewBuckets
from rs3gwd.base.records import BucketRecord, Durability
from rs3gwd.iam.acl import Subject, is_public, private_acl
from rs3gwd.iam.bucket_access import ALL_BLOCKED, Kind, Ownership, encode_acl, encode_block
from rs3gwd.s3.acl_document import acl_from_headers
from rs3gwd.s3.arguments import argument_error, integer_argument
from rs3gwd.s3.body import read_body
from rs3gwd.s3.call import Call
from rs3gwd.s3.continuation import TokenKind, make_token, read_token
from rs3gwd.s3.dates import iso_time
from rs3gwd.s3.lock_headers import wants_object_lock
from rs3gwd.s3.names import check_new_bucket_name
from rs3gwd.s3.object_arguments import bucket_of, durability_header, shows_versions
from rs3gwd.s3.owners import Owners
from rs3gwd.s3.tag_set import Tags, check_tags, read_tag_elements
from rs3gwd.s3.xml_read import CONFIGURATION_BYTES_MAX, Element, malformed, parse_xml
from rs3gwd.s3.xml_write import CONTENT_TYPE, document, element, escape, optional_element

BUCKETS_MAX = 10_000
"""Buckets in one answer; what AWS allows an account, and the most that max-buckets may say."""

DURABILITY_HEADER = "x-rs3gw-durability"
REGION_HEADER = "x-amz-bucket-region"
OWNERSHIP_HEADER = "x-amz-object-ownership"

_REGION = re.compile(r"[a-z]{2}(-[a-z]+)+-[0-9]{1,2}", re.ASCII)


async def list_buckets(call: Call) -> Response:
    """The caller's buckets by name. Raises ApiError InvalidArgument."""
    query = call.query
    limit = integer_argument(
        query, "max-buckets", default=BUCKETS_MAX, minimum=1, maximum=BUCKETS_MAX
    )
    prefix = query.get("prefix", "")
    token = query.get("continuation-token")
    after = read_token(TokenKind.BUCKETS, token).decode() if token is not None else ""
    buckets, next_after = await _collect(
        call, prefix=prefix, after=after, limit=limit, region=query.get("bucket-region")
    )
    with_region = any(
        name in query for name in ("max-buckets", "prefix", "bucket-region", "continuation-token")
    )
    owner_id = call.decision.principal.canonical_id
    inside = [
        Owners(call.services.directory).xml(owner_id),
        "<Buckets>",
        *(_bucket_xml(bucket, with_region=with_region) for bucket in buckets),
        "</Buckets>",
        optional_element("Prefix", prefix),
    ]
    if next_after is not None:
        inside.append(
            element("ContinuationToken", make_token(TokenKind.BUCKETS, next_after.encode()))
        )
    return Response(200, [CONTENT_TYPE], document("ListAllMyBucketsResult", inside))


async def create_bucket(call: Call) -> Response:
    """Makes a bucket. Raises ApiError for what its arguments may not be, BucketAlreadyExists,
    BucketAlreadyOwnedByYou (it is there with another durability class than the one asked for).
    """
    check_new_bucket_name(call.bucket)
    headers = call.request.headers
    durability = _durability(headers.get(DURABILITY_HEADER))
    documents = _first_documents(call)
    tags = _parse_configuration(
        await read_body(call, CONFIGURATION_BYTES_MAX), region=call.services.region
    )
    record = await call.services.store.submit(
        CreateBucket(
            name=call.bucket,
            owner_id=call.decision.principal.canonical_id,
            now_ms=call.services.clock.now_ms(),
            region=call.services.region,
            durability=durability or call.services.durability_default,
            tags=tags or None,
            object_lock=wants_object_lock(headers),
            configurations=documents,
        )
    )
    assert isinstance(record, BucketRecord)
    if durability is not None and record.durability is not durability:
        raise BucketAlreadyOwnedByYou
    return Response(200, [("Location", f"/{call.bucket}"), durability_header(record.durability)])


async def head_bucket(call: Call) -> Response:
    """That the bucket is there and the caller may list it."""
    record = bucket_of(call)
    return Response(
        200,
        [
            CONTENT_TYPE,
            (REGION_HEADER, record.region),
            ("x-amz-access-point-alias", "false"),
            durability_header(record.durability),
        ],
    )


async def get_bucket_location(call: Call) -> Response:
    """The region; empty for us-east-1, as in AWS."""
    region = bucket_of(call).region
    text = "" if region == "us-east-1" else escape(region)
    return Response(200, [CONTENT_TYPE], document("LocationConstraint", text))


async def delete_bucket(call: Call) -> Response:
    """Removes an empty bucket. Raises BucketNotEmpty."""
    try:
        await call.services.store.submit(DeleteBucket(name=call.bucket))
    except BucketNotEmpty as error:
        if not shows_versions(bucket_of(call)):
            raise
        # A listing of such a bucket may well be empty.
        raise ApiError(
            "BucketNotEmpty",
            "The bucket you tried to delete is not empty. You must delete all versions in the "
            "bucket.",
            fields={"BucketName": call.bucket},
        ) from error
    return Response(204, [])


async def _collect(
    call: Call, *, prefix: str, after: str, limit: int, region: str | None
) -> tuple[list[BucketRecord], str | None]:
    """Up to `limit` buckets of the caller, and the name to continue behind when there are more.

    The store's pages end, and each but the last moves on, so the loop does.
    """
    buckets: list[BucketRecord] = []
    owner_id = call.decision.principal.canonical_id
    while True:
        page = await call.services.store.list_buckets(
            owner_id=owner_id,
            prefix=prefix,
            after=after,
            limit=min(limit - len(buckets), LIST_KEYS_MAX),
        )
        buckets += [bucket for bucket in page.buckets if region in (None, bucket.region)]
        if page.next_after is None:
            return buckets, None
        if len(buckets) >= limit:
            return buckets, page.next_after
        after = page.next_after


def _bucket_xml(bucket: BucketRecord, *, with_region: bool) -> str:
    region = element("BucketRegion", bucket.region) if with_region else ""
    return (
        f"<Bucket>{element('Name', bucket.name)}"
        f"<CreationDate>{iso_time(bucket.created_ms)}</CreationDate>{region}</Bucket>"
    )


def _first_documents(call: Call) -> dict[str, bytes]:
    """What a new bucket says about who may use it: what the headers ask for, or the default.

    Raises ApiError InvalidArgument, InvalidBucketAclWithObjectOwnership, and as
    `rs3gwd.s3.acl_document` does.
    """
    headers, owner_id = call.request.headers, call.decision.principal.canonical_id
    is_classic = call.services.new_buckets is NewBuckets.CLASSIC
    text = headers.get(OWNERSHIP_HEADER)
    ownership = Ownership.WRITER if is_classic else Ownership.ENFORCED
    if text is not None:
        if text not in list(Ownership):
            raise argument_error(OWNERSHIP_HEADER, text)
        ownership = Ownership(text)
    acl = acl_from_headers(
        headers,
        Subject.BUCKET,
        owner_id=owner_id,
        bucket_owner_id=owner_id,
        directory=call.services.directory,
    )
    documents: dict[str, bytes] = {}
    if text is not None or not is_classic:
        documents[Kind.OWNERSHIP] = ownership.encode()
    if not is_classic:
        documents[Kind.PUBLIC_ACCESS_BLOCK] = encode_block(ALL_BLOCKED)
    if acl is not None and acl != private_acl(owner_id):
        if ownership is Ownership.ENFORCED:
            raise ApiError("InvalidBucketAclWithObjectOwnership")
        if not is_classic and is_public(acl):
            raise ApiError("AccessDenied")
        documents[Kind.ACL] = encode_acl(acl)
    return documents


def _durability(value: str | None) -> Durability | None:
    if value is None:
        return None
    try:
        return Durability(value.lower())
    except ValueError as error:
        raise argument_error(DURABILITY_HEADER, value) from error


def _parse_configuration(body: bytes, *, region: str) -> Tags:
    """The tags of a CreateBucketConfiguration, whose region must be ours; no body is none."""
    if not body.strip():
        return []
    root = parse_xml(body, "CreateBucketConfiguration")
    root.require_children("LocationConstraint", "Location", "Bucket", "Tags")
    if root.find("Location") is not None or root.find("Bucket") is not None:
        raise ApiError("NotImplemented", "Directory buckets are not implemented")
    _check_location(root, region)
    tag_set = root.find("Tags")
    if tag_set is None:
        return []
    tags = read_tag_elements(tag_set)
    check_tags(tags, count_max=BUCKET_TAGS_MAX, subject="Bucket")
    return tags


def _check_location(root: Element, region: str) -> None:
    """AWS refuses `us-east-1` by name in us-east-1; it says what is true, so it is taken here."""
    location = root.text_of("LocationConstraint")
    if location is None:
        return
    if root.find_all("LocationConstraint")[1:]:
        raise malformed()
    if location == "EU":
        location = "eu-west-1"
    if location in ("", region):
        return
    if _REGION.fullmatch(location):
        raise ApiError(
            "IllegalLocationConstraintException",
            f"The {location} location constraint is incompatible for the region specific endpoint"
            " this request was sent to.",
        )
    raise ApiError("InvalidLocationConstraint", fields={"LocationConstraint": location})
