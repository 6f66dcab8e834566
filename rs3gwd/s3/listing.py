"""ListObjects and ListObjectsV2: the current objects of a bucket, by key.

Both walk `ObjectStore.list_objects`; they differ in how a page is continued. Version 1 continues
behind a key that the client names, and says NextMarker only where a delimiter was given (else the
last key is the marker). Version 2 has an opaque token, and `start-after` for the first page.

Source: ListObjects and ListObjectsV2 in the Amazon S3 API Reference.
"""

from rs3gwd.base.http import Response
from rs3gwd.base.ports import ListPage, ListTraits
from rs3gwd.s3.arguments import argument_error, flag_argument, key_argument
from rs3gwd.s3.call import Call
from rs3gwd.s3.continuation import TokenKind, make_token, read_token
from rs3gwd.s3.list_arguments import ListArguments, list_arguments
from rs3gwd.s3.list_format import (
    EntryFormat,
    checksum_kind_xml,
    common_prefix_xml,
    head_xml,
    is_truncated_xml,
)
from rs3gwd.s3.owners import Owners
from rs3gwd.s3.xml_write import CONTENT_TYPE, document, element

_ROOT = "ListBucketResult"


async def list_objects(call: Call) -> Response:
    """A page behind `marker`. Raises ApiError InvalidArgument, KeyTooLongError."""
    arguments = list_arguments(call.query)
    marker = key_argument(call.query, "marker")
    page = await _list(call, arguments, marker)
    write_key = arguments.write_key
    inside = [
        head_xml(call.bucket, arguments),
        f"<Marker>{write_key(marker)}</Marker><MaxKeys>{arguments.limit}</MaxKeys>",
        is_truncated_xml(page.next_after is not None),
    ]
    if page.next_after is not None and arguments.delimiter:
        inside.append(f"<NextMarker>{write_key(page.next_after)}</NextMarker>")
    inside += _entries_xml(page, arguments, Owners(call.services.directory))
    return _response(call, inside)


async def list_objects_v2(call: Call) -> Response:
    """A page behind `continuation-token` or `start-after`. Raises ApiError InvalidArgument,
    KeyTooLongError.
    """
    query = call.query
    if query["list-type"] != "2":
        raise argument_error("list-type", query["list-type"])
    arguments = list_arguments(query)
    start_after = key_argument(query, "start-after")
    token = query.get("continuation-token")
    after = start_after if token is None else read_token(TokenKind.OBJECTS, token)
    owners = Owners(call.services.directory) if flag_argument(query, "fetch-owner") else None
    page = await _list(call, arguments, after)
    inside = [
        head_xml(call.bucket, arguments),
        f"<KeyCount>{len(page.entries)}</KeyCount><MaxKeys>{arguments.limit}</MaxKeys>",
        is_truncated_xml(page.next_after is not None),
    ]
    if start_after:
        inside.append(f"<StartAfter>{arguments.write_key(start_after)}</StartAfter>")
    if token is not None:
        inside.append(element("ContinuationToken", token))
    if page.next_after is not None:
        next_token = make_token(TokenKind.OBJECTS, page.next_after)
        inside.append(element("NextContinuationToken", next_token))
    inside += _entries_xml(page, arguments, owners)
    return _response(call, inside)


async def _list(call: Call, arguments: ListArguments, after: bytes) -> ListPage:
    return await call.services.store.list_objects(
        call.bucket,
        prefix=arguments.prefix,
        delimiter=arguments.delimiter,
        after=after,
        limit=arguments.limit,
    )


def _entries_xml(page: ListPage, arguments: ListArguments, owners: Owners | None) -> list[str]:
    """The objects and then the common prefixes of a page, as AWS orders them."""
    keys = arguments.write_keys([entry.key for entry in page.entries])
    time = EntryFormat().time
    contents: list[str] = []
    prefixes: list[str] = []
    known: dict[int, tuple[str, str]] = {}
    for key, entry in zip(keys, page.entries, strict=True):
        traits = entry.traits
        if traits is None:
            prefixes.append(common_prefix_xml(key))
            continue
        # By identity: the page keeps its traits, and equal ones in a row are one object.
        around = known.get(id(traits))
        if around is None:
            around = known[id(traits)] = _traits_xml(traits, owners)
        contents.append(
            f"<Contents><Key>{key}</Key><LastModified>{time(entry.last_modified_ms)}"
            f"</LastModified><ETag>&quot;{entry.etag}&quot;</ETag>{around[0]}"
            f"<Size>{entry.size_bytes}</Size>{around[1]}"
        )
    return contents + prefixes


def _traits_xml(traits: ListTraits, owners: Owners | None) -> tuple[str, str]:
    """The elements before and behind the size of an object."""
    checksum = (
        checksum_kind_xml(traits.checksum_algorithm, traits.checksum_type)
        if traits.checksum_algorithm
        else ""
    )
    owner = owners.xml(traits.owner_id) if owners else ""
    return checksum, f"{element('StorageClass', traits.storage_class)}{owner}</Contents>"


def _response(call: Call, inside: list[str]) -> Response:
    return Response(
        200,
        [CONTENT_TYPE, ("x-amz-bucket-region", call.services.region)],
        document(_ROOT, inside),
    )
