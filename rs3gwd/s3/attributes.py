"""GetObjectAttributes: what is known of an object, without its bytes.

The caller names what it wants; elements that do not apply are left out. The parts of a multipart
object are listed, in pages, only where they have checksums; without, only their number is told, as
in AWS. A composite checksum is shown here without its `-<parts>`.

Source: GetObjectAttributes in the Amazon S3 API Reference.
"""

from rs3gwd.base.errors import ApiError, VersionGone
from rs3gwd.base.http import Response
from rs3gwd.base.limits import LIST_KEYS_MAX
from rs3gwd.base.records import Checksum, VersionRecord
from rs3gwd.s3.arguments import argument_error, integer_argument
from rs3gwd.s3.call import Call
from rs3gwd.s3.checksums import CHECKSUM_ELEMENTS
from rs3gwd.s3.dates import http_date
from rs3gwd.s3.encryption_headers import refuse_wish
from rs3gwd.s3.object_arguments import bucket_of, requested_version, version_headers
from rs3gwd.s3.object_body import part_sizes
from rs3gwd.s3.object_encryption import check_read, place_of
from rs3gwd.s3.object_reads import LOOKUPS_MAX
from rs3gwd.s3.xml_write import CONTENT_TYPE, document, element

ATTRIBUTES = ("ETag", "Checksum", "ObjectParts", "StorageClass", "ObjectSize")
"""The attributes there are, in the order of the answer."""


async def get_object_attributes(call: Call) -> Response:
    """Raises ApiError: InvalidRequest when no attribute is named, InvalidArgument for one that does
    not exist.
    """
    wanted = _wanted_attributes(call.request.headers.get("x-amz-object-attributes"))
    refuse_wish(call.request.headers)
    version_id = requested_version(call.query)
    for _ in range(LOOKUPS_MAX):
        version = await call.services.store.get_version(call.bucket, call.key, version_id)
        check_read(call, place_of(call), version)
        try:
            parts = await _parts_xml(call, version) if "ObjectParts" in wanted else ""
        except VersionGone:
            continue
        return Response(
            status=200,
            headers=[
                CONTENT_TYPE,
                ("Last-Modified", http_date(version.last_modified_ms)),
                *version_headers(bucket_of(call), version.version_id),
            ],
            body=document("GetObjectAttributesResponse", _attributes_xml(version, wanted, parts)),
        )
    raise ApiError("SlowDown")


def _attributes_xml(version: VersionRecord, wanted: set[str], parts: str) -> str:
    checksum = version.checksum
    texts = {
        "ETag": element("ETag", version.etag),
        "Checksum": _checksum_xml(checksum) if checksum else "",
        "ObjectParts": parts,
        "StorageClass": element("StorageClass", version.attributes.storage_class),
        "ObjectSize": element("ObjectSize", version.size_bytes),
    }
    return "".join(texts[name] for name in ATTRIBUTES if name in wanted)


def _checksum_xml(checksum: Checksum) -> str:
    # A dash is no base64 digit, so what stands behind one is the number of parts.
    value = checksum.value.partition("-")[0]
    inside = element(CHECKSUM_ELEMENTS[checksum.algorithm], value)
    return f"<Checksum>{inside}{element('ChecksumType', checksum.type)}</Checksum>"


async def _parts_xml(call: Call, version: VersionRecord) -> str:
    """`<ObjectParts>`, or nothing for an object that was not uploaded in parts."""
    headers = call.request.headers
    limit = min(integer_argument(headers, "x-amz-max-parts", default=LIST_KEYS_MAX), LIST_KEYS_MAX)
    marker = integer_argument(headers, "x-amz-part-number-marker", default=0)
    if version.manifest_id is None:
        return ""
    count = element("PartsCount", version.part_count)
    manifest = await call.services.store.get_manifest(version)
    if not manifest.checksums or version.checksum is None:
        return f"<ObjectParts>{count}</ObjectParts>"
    name = CHECKSUM_ELEMENTS[version.checksum.algorithm]
    rest = [
        (number, size, checksum)
        for (number, size), checksum in zip(part_sizes(manifest), manifest.checksums, strict=True)
        if number > marker
    ]
    page = rest[:limit]
    is_truncated = bool(limit) and len(rest) > limit
    next_marker = page[-1][0] if page else marker
    listed = "".join(
        f"<Part>{element(name, checksum)}{element('PartNumber', number)}"
        f"{element('Size', size)}</Part>"
        for number, size, checksum in page
    )
    return (
        f"<ObjectParts>{element('IsTruncated', str(is_truncated).lower())}"
        f"{element('MaxParts', limit)}{element('NextPartNumberMarker', next_marker)}"
        f"{element('PartNumberMarker', marker)}{listed}{count}</ObjectParts>"
    )


def _wanted_attributes(header: str | None) -> set[str]:
    wanted = {name.strip() for name in (header or "").split(",") if name.strip()}
    if header is None or not wanted:
        raise ApiError(
            "InvalidRequest",
            "The x-amz-object-attributes header specifying the attributes to be retrieved is "
            "either missing or empty",
        )
    if not wanted.issubset(ATTRIBUTES):
        raise argument_error("x-amz-object-attributes", header, "Invalid attribute name specified.")
    return wanted
