"""Multipart uploads: create, upload or copy a part, abort. Complete is in `complete_upload`.

Parts are bodies like any other, pumped and proved by `body`. An upload may name a checksum
algorithm; then every part must have that checksum (COMPOSITE: from its sender; FULL_OBJECT:
computed here when the sender gives none). An upload that names none keeps a CRC64NVME of every
part, from which the store makes the object's when it is completed; a checksum the sender gives all
the same is checked and shown back.

Sources: CreateMultipartUpload, UploadPart, UploadPartCopy and AbortMultipartUpload in the Amazon S3
API Reference; "Checking object integrity in Amazon S3" in the User Guide.
"""

from msgspec.structs import replace

from rs3gwd.base.commands import AbortUpload, CreateUpload, PutPart
from rs3gwd.base.errors import ApiError, VersionGone
from rs3gwd.base.http import Response
from rs3gwd.base.ports import StagedBlob
from rs3gwd.base.records import (
    Checksum,
    ChecksumAlgorithm,
    ChecksumType,
    PartRecord,
    UploadRecord,
)
from rs3gwd.s3.acls import new_attributes
from rs3gwd.s3.arguments import argument_error
from rs3gwd.s3.body import plan_body, receive_body
from rs3gwd.s3.call import Call
from rs3gwd.s3.checksums import (
    CHECKSUM_ELEMENTS,
    CHECKSUM_HEADERS,
    DEFAULT_ALGORITHM,
    GivenChecksum,
    algorithm_in,
    checksum_type_in,
    upload_checksum_type,
)
from rs3gwd.s3.copy_source import (
    Source,
    check_copy_size,
    copy_bytes,
    find_source,
    parse_copy_source,
    source_version_headers,
)
from rs3gwd.s3.dates import iso_time
from rs3gwd.s3.encryption_headers import encryption_headers
from rs3gwd.s3.etags import quote
from rs3gwd.s3.headers import refuse_unimplemented
from rs3gwd.s3.object_arguments import bucket_of, durability_header, part_number_in
from rs3gwd.s3.object_encryption import (
    Sealing,
    etag_for,
    etag_is_md5,
    open_stage,
    seal_object,
    seal_part,
)
from rs3gwd.s3.object_reads import LOOKUPS_MAX
from rs3gwd.s3.ranges import ByteRange, parse_copy_source_range
from rs3gwd.s3.xml_write import CONTENT_TYPE, document, element, key_text


async def create_multipart_upload(call: Call) -> Response:
    """Starts an upload; metadata, tags and checksum rules are fixed here."""
    headers = call.request.headers
    bucket = bucket_of(call)
    refuse_unimplemented(headers)
    algorithm = algorithm_in(headers, "x-amz-checksum-algorithm")
    kind = upload_checksum_type(algorithm, checksum_type_in(headers))
    now_ms = call.services.clock.now_ms()
    sealing = await seal_object(call)
    record = sealing.record if sealing else None
    attributes = replace(new_attributes(call, now_ms=now_ms), encryption=record)
    upload = await call.services.store.submit(
        CreateUpload(
            bucket=call.bucket,
            key=call.key,
            now_ms=now_ms,
            nonce=call.services.random.token_bytes(16),
            attributes=attributes,
            checksum_algorithm=algorithm,
            checksum_type=kind,
        )
    )
    assert isinstance(upload, UploadRecord)
    shown = [
        CONTENT_TYPE,
        *encryption_headers(record, with_context=True),
        durability_header(bucket.durability),
    ]
    if algorithm is not None and kind is not None:
        shown.append(("x-amz-checksum-algorithm", algorithm))
        shown.append(("x-amz-checksum-type", kind))
    inside = (
        f"{element('Bucket', call.bucket)}<Key>{key_text(call.key)}</Key>"
        f"{element('UploadId', upload.upload_id)}"
    )
    return Response(
        status=200, headers=shown, body=document("InitiateMultipartUploadResult", inside)
    )


async def upload_part(call: Call) -> Response:
    """Stores one part whole and proved, in the place of an earlier one of its number."""
    refuse_unimplemented(call.request.headers)
    number = _part_number(call)
    upload = await _upload(call)
    sealing = await seal_part(call, upload)
    record = upload.attributes.encryption
    plan = plan_body(
        call,
        stored_algorithm=upload.checksum_algorithm or DEFAULT_ALGORITHM,
        with_md5=etag_is_md5(record),
    )
    _check_part_checksum(upload, plan.given)
    async with open_stage(call, sealing, plan.size_bytes) as stage:
        body = await receive_body(call, plan, stage)
        part = await _submit_part(
            call,
            number,
            sealing,
            md5_hex=body.md5_hex,
            size_bytes=body.size_bytes,
            checksum=body.checksum,
            staged=await stage.finish(),
        )
    shown = body.given or body.checksum
    return Response(
        status=200,
        headers=[
            ("ETag", quote(part.etag)),
            (CHECKSUM_HEADERS[shown.algorithm], shown.value),
            *encryption_headers(record),
            durability_header(bucket_of(call).durability),
        ],
    )


async def upload_part_copy(call: Call) -> Response:
    """Makes a part of (a range of) an existing object."""
    headers = call.request.headers
    refuse_unimplemented(headers)
    number = _part_number(call)
    name = parse_copy_source(headers["x-amz-copy-source"])
    upload = await _upload(call)
    for _ in range(LOOKUPS_MAX):
        source = await find_source(call, name)
        part = _copied_range(call, source)
        try:
            record = await _copy_part(call, number, upload, source, part)
        except VersionGone:
            continue
        return _respond_copied(call, upload, source, record)
    raise ApiError("SlowDown")


async def abort_multipart_upload(call: Call) -> Response:
    """Drops an upload and its parts."""
    if "x-amz-if-match-initiated-time" in call.request.headers:
        raise ApiError("NotImplemented", fields={"Header": "x-amz-if-match-initiated-time"})
    await call.services.store.submit(
        AbortUpload(bucket=call.bucket, key=call.key, upload_id=call.query["uploadId"])
    )
    return Response(status=204, headers=[durability_header(bucket_of(call).durability)])


async def _copy_part(
    call: Call, number: int, upload: UploadRecord, source: Source, part: ByteRange | None
) -> PartRecord:
    """Raises VersionGone when the source was replaced before it could be opened."""
    size = part.end - part.start if part else source.version.size_bytes
    check_copy_size(size)
    algorithm = upload.checksum_algorithm or DEFAULT_ALGORITHM
    sealing = await seal_part(call, upload)
    with_md5 = etag_is_md5(upload.attributes.encryption)
    async with open_stage(call, sealing, size) as stage:
        copied = await copy_bytes(
            call, source, part, algorithm=algorithm, stage=stage, with_md5=with_md5
        )
        return await _submit_part(
            call,
            number,
            sealing,
            md5_hex=copied.md5_hex,
            size_bytes=copied.size_bytes,
            checksum=copied.checksum,
            staged=await stage.finish(),
        )


async def _submit_part(
    call: Call,
    number: int,
    sealing: Sealing | None,
    *,
    md5_hex: str,
    size_bytes: int,
    checksum: Checksum,
    staged: StagedBlob,
) -> PartRecord:
    command = PutPart(
        bucket=call.bucket,
        key=call.key,
        upload_id=call.query["uploadId"],
        number=number,
        now_ms=call.services.clock.now_ms(),
        etag=etag_for(call, sealing, md5_hex),
        size_bytes=size_bytes,
        blob=staged.ref,
        checksum=checksum,
        salt=sealing.salt if sealing else b"",
    )
    part = await call.services.store.submit(command, staged)
    assert isinstance(part, PartRecord)
    return part


async def _upload(call: Call) -> UploadRecord:
    """The upload of the call, looked up before its body is read. Raises NoSuchUpload."""
    return await call.services.store.get_upload(call.bucket, call.key, call.query["uploadId"])


def _part_number(call: Call) -> int:
    number = part_number_in(call.query)
    if number is None:
        raise argument_error("partNumber", "", "This operation needs the parameter partNumber")
    return number


def _check_part_checksum(upload: UploadRecord, given: GivenChecksum | None) -> None:
    """Raises ApiError InvalidRequest, in AWS's words, for a checksum that is not the upload's."""
    expected = upload.checksum_algorithm
    if expected is None:
        return
    actual = given.algorithm if given else None
    may_be_absent = upload.checksum_type is ChecksumType.FULL_OBJECT
    if actual is expected or (actual is None and may_be_absent):
        return
    raise ApiError(
        "InvalidRequest",
        f"Checksum Type mismatch occurred, expected checksum Type: {_lower(expected)}, "
        f"actual checksum Type: {_lower(actual)}",
    )


def _lower(algorithm: ChecksumAlgorithm | None) -> str:
    return "null" if algorithm is None else algorithm.lower()


def _copied_range(call: Call, source: Source) -> ByteRange | None:
    value = call.request.headers.get("x-amz-copy-source-range")
    return None if value is None else parse_copy_source_range(value, source.version.size_bytes)


def _respond_copied(call: Call, upload: UploadRecord, source: Source, part: PartRecord) -> Response:
    checksum = ""
    if part.checksum is not None and upload.checksum_algorithm is not None:
        checksum = element(CHECKSUM_ELEMENTS[part.checksum.algorithm], part.checksum.value)
    inside = (
        f"{element('LastModified', iso_time(part.last_modified_ms))}"
        f"{element('ETag', quote(part.etag))}{checksum}"
    )
    return Response(
        status=200,
        headers=[
            CONTENT_TYPE,
            *encryption_headers(upload.attributes.encryption),
            durability_header(bucket_of(call).durability),
            *source_version_headers(source),
        ],
        body=document("CopyPartResult", inside),
    )
