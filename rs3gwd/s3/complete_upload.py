"""CompleteMultipartUpload: the parts become an object.

The document names the parts in order; the store compares them with what was uploaded, joins them
without copying a byte, and decides the conditions, all in one step. Repeating a request whose
answer was lost gives that answer again.

Checksum headers speak of the object here and not of the document.

Source: CompleteMultipartUpload in the Amazon S3 API Reference.
"""

from collections.abc import Mapping
from functools import partial

from msgspec import Struct

from rs3gwd.base.commands import CompletePart, CompleteUpload
from rs3gwd.base.errors import ApiError, NoSuchUpload
from rs3gwd.base.http import Response
from rs3gwd.base.limits import PART_NUMBER_MAX
from rs3gwd.base.records import (
    Checksum,
    ChecksumAlgorithm,
    ChecksumType,
    UploadRecord,
    VersionRecord,
)
from rs3gwd.s3.arguments import argument_error
from rs3gwd.s3.body import INLINE_BYTES_MAX, read_body
from rs3gwd.s3.call import Call
from rs3gwd.s3.checksums import (
    CHECKSUM_ELEMENTS,
    DEFAULT_ALGORITHM,
    checksum_in_headers,
    checksum_type_in,
)
from rs3gwd.s3.conditions import write_conditions
from rs3gwd.s3.encryption_headers import encryption_headers, refuse_wish
from rs3gwd.s3.etags import quote, unquote
from rs3gwd.s3.headers import refuse_unimplemented
from rs3gwd.s3.object_arguments import bucket_of, durability_header, written_version_headers
from rs3gwd.s3.object_encryption import upload_customer_key
from rs3gwd.s3.xml_read import Element, malformed, parse_xml
from rs3gwd.s3.xml_write import CONTENT_TYPE, document, element, key_text

DOCUMENT_BYTES_MAX = 4 * 1024 * 1024
"""Bytes of the document: 10,000 parts with ETag and SHA-256 are 2.1 MB, indented 2.6 MB."""

_ALGORITHMS_BY_ELEMENT = {name: algorithm for algorithm, name in CHECKSUM_ELEMENTS.items()}
_SIZE_DIGITS_MAX = 18


class NamedPart(Struct, frozen=True):
    """A Part element; `etag` without quotes."""

    number: int
    etag: str
    checksums: dict[ChecksumAlgorithm, str]


async def complete_multipart_upload(call: Call) -> Response:
    """Makes the object, or changes nothing.

    Raises ApiError: MalformedXML, InvalidArgument, InvalidRequest; what CompleteUpload raises.
    """
    headers = call.request.headers
    refuse_unimplemented(headers)
    conditions = write_conditions(headers)
    object_size = _object_size(headers)
    upload = await _find_upload(call)
    refuse_wish(headers)
    if upload is not None:
        upload_customer_key(call, upload, is_required=False)
    expected = _expected_checksum(headers, upload)
    body = await read_body(call, DOCUMENT_BYTES_MAX, with_checksum=False)
    if len(body) <= INLINE_BYTES_MAX:
        parts = parse_parts(body)
    else:
        parts = await call.services.threads.run(partial(parse_parts, body))
    version = await call.services.store.submit(
        CompleteUpload(
            bucket=call.bucket,
            key=call.key,
            upload_id=call.query["uploadId"],
            parts=[_to_complete_part(part, upload) for part in parts],
            now_ms=call.services.clock.now_ms(),
            nonce=call.services.random.token_bytes(16),
            checksum=expected,
            object_size=object_size,
            conditions=conditions,
        )
    )
    assert isinstance(version, VersionRecord)
    return _respond(call, version)


def parse_parts(body: bytes) -> list[NamedPart]:
    """The parts of a `<CompleteMultipartUpload>` document.

    Raises ApiError MalformedXML (no parts, over 10,000, an element missing), InvalidArgument (a
    number out of range), InvalidRequest (no document at all).
    """
    if not body:
        raise ApiError("InvalidRequest", "You must specify at least one part")
    root = parse_xml(body, "CompleteMultipartUpload", "CompletedMultipartUpload")
    root.require_children("Part")
    if not 1 <= len(root.children) <= PART_NUMBER_MAX:
        raise malformed()
    return [_parse_part(each) for each in root.children]


def _parse_part(found: Element) -> NamedPart:
    texts = {child.name: child.text.strip() for child in found.children}
    number = texts.pop("PartNumber", "")
    etag = texts.pop("ETag", "")
    if not (number.isascii() and number.isdigit()) or not etag:
        raise malformed()
    if len(number) > len(str(PART_NUMBER_MAX)) or not 1 <= int(number) <= PART_NUMBER_MAX:
        raise argument_error(
            "partNumber",
            number,
            f"Part number must be an integer between 1 and {PART_NUMBER_MAX}, inclusive",
        )
    if not texts.keys() <= _ALGORITHMS_BY_ELEMENT.keys():
        raise malformed()
    checksums = {_ALGORITHMS_BY_ELEMENT[name]: value for name, value in texts.items()}
    return NamedPart(number=int(number), etag=unquote(etag), checksums=checksums)


def _to_complete_part(part: NamedPart, upload: UploadRecord | None) -> CompletePart:
    """The part as the store compares it.

    Of an upload without an algorithm the store keeps CRC64NVME; another checksum that the caller
    repeats was checked when the part was uploaded and says nothing of what is stored.
    """
    algorithm = DEFAULT_ALGORITHM
    if upload is not None and upload.checksum_algorithm is not None:
        algorithm = upload.checksum_algorithm
        if part.checksums and algorithm not in part.checksums:
            raise ApiError(
                "InvalidPart",
                f"Part {part.number} is named with another checksum than the upload's {algorithm}.",
            )
    return CompletePart(number=part.number, etag=part.etag, checksum=part.checksums.get(algorithm))


async def _find_upload(call: Call) -> UploadRecord | None:
    """The upload, or None when it is completed already (or never was: the store will say)."""
    try:
        return await call.services.store.get_upload(call.bucket, call.key, call.query["uploadId"])
    except NoSuchUpload:
        return None


def _expected_checksum(headers: Mapping[str, str], upload: UploadRecord | None) -> Checksum | None:
    """The checksum of the object that the caller computed. Raises ApiError InvalidRequest."""
    kind = ChecksumType.FULL_OBJECT
    if upload is not None and upload.checksum_type is not None:
        kind = upload.checksum_type
    wanted = checksum_type_in(headers)
    if upload is not None and wanted not in (None, kind):
        raise ApiError(
            "InvalidRequest",
            f"The upload was created using the {kind} checksum mode. The complete request must "
            "use the same checksum mode.",
        )
    return checksum_in_headers(headers, kind)


def _object_size(headers: Mapping[str, str]) -> int | None:
    text = headers.get("x-amz-mp-object-size")
    if text is None:
        return None
    if not (text.isascii() and text.isdigit() and len(text) <= _SIZE_DIGITS_MAX):
        raise ApiError("InvalidRequest", "Value for x-amz-mp-object-size header is invalid.")
    return int(text)


def _respond(call: Call, version: VersionRecord) -> Response:
    bucket = bucket_of(call)
    request = call.request
    scheme = "https" if request.secure else "http"
    checksum = ""
    if version.checksum is not None:
        name = CHECKSUM_ELEMENTS[version.checksum.algorithm]
        checksum = element(name, version.checksum.value) + element(
            "ChecksumType", version.checksum.type
        )
    inside = (
        f"{element('Location', f'{scheme}://{request.host}{request.raw_path}')}"
        f"{element('Bucket', call.bucket)}<Key>{key_text(call.key)}</Key>"
        f"{element('ETag', quote(version.etag))}{checksum}"
    )
    return Response(
        status=200,
        headers=[
            CONTENT_TYPE,
            *encryption_headers(version.attributes.encryption, with_customer=False),
            durability_header(bucket.durability),
            *written_version_headers(version.version_id),
        ],
        body=document("CompleteMultipartUploadResult", inside),
    )
