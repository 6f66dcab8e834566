"""ListParts: what of an upload is there, by part number, in pages.

Checksums are shown for an upload that names an algorithm; those kept of their own accord are not.

Source: ListParts in the Amazon S3 API Reference.
"""

from rs3gwd.base.http import Response
from rs3gwd.base.limits import LIST_KEYS_MAX
from rs3gwd.base.records import PartRecord, UploadRecord
from rs3gwd.s3.arguments import integer_argument
from rs3gwd.s3.call import Call
from rs3gwd.s3.checksums import CHECKSUM_ELEMENTS
from rs3gwd.s3.dates import iso_time
from rs3gwd.s3.etags import quote
from rs3gwd.s3.object_encryption import upload_customer_key
from rs3gwd.s3.owners import Owners
from rs3gwd.s3.xml_write import CONTENT_TYPE, document, element, key_text


async def list_parts(call: Call) -> Response:
    """A page of at most 1,000 parts. Raises ApiError InvalidArgument; NoSuchUpload."""
    limit = min(integer_argument(call.query, "max-parts", default=LIST_KEYS_MAX), LIST_KEYS_MAX)
    marker = integer_argument(call.query, "part-number-marker", default=0)
    page = await call.services.store.list_parts(
        call.bucket, call.key, call.query["uploadId"], after_number=marker, limit=limit
    )
    upload = page.upload
    upload_customer_key(call, upload, is_required=False)
    owners = Owners(call.services.directory)
    is_truncated = page.next_number is not None
    next_marker = page.parts[-1].number if page.parts else marker
    inside = (
        f"{element('Bucket', call.bucket)}<Key>{key_text(call.key)}</Key>"
        f"{element('UploadId', upload.upload_id)}"
        f"{owners.xml(upload.attributes.owner_id, 'Initiator')}"
        f"{owners.xml(upload.attributes.owner_id)}"
        f"{element('StorageClass', upload.attributes.storage_class)}"
        f"{element('PartNumberMarker', marker)}{element('NextPartNumberMarker', next_marker)}"
        f"{element('MaxParts', limit)}{element('IsTruncated', str(is_truncated).lower())}"
        f"{_checksum_rules_xml(upload)}"
        f"{''.join(_part_xml(upload, part) for part in page.parts)}"
    )
    return Response(status=200, headers=[CONTENT_TYPE], body=document("ListPartsResult", inside))


def _checksum_rules_xml(upload: UploadRecord) -> str:
    if upload.checksum_algorithm is None or upload.checksum_type is None:
        return ""
    return element("ChecksumAlgorithm", upload.checksum_algorithm) + element(
        "ChecksumType", upload.checksum_type
    )


def _part_xml(upload: UploadRecord, part: PartRecord) -> str:
    checksum = ""
    if part.checksum is not None and upload.checksum_algorithm is not None:
        checksum = element(CHECKSUM_ELEMENTS[part.checksum.algorithm], part.checksum.value)
    return (
        f"<Part>{element('PartNumber', part.number)}"
        f"{element('LastModified', iso_time(part.last_modified_ms))}"
        f"{element('ETag', quote(part.etag))}{element('Size', part.size_bytes)}{checksum}</Part>"
    )
