"""ListMultipartUploads: the unfinished uploads of a bucket, by key and then by time.

Source: ListMultipartUploads in the Amazon S3 API Reference.
"""

from rs3gwd.base.codec import sequence_of_id
from rs3gwd.base.http import Response
from rs3gwd.base.ports import UploadPage
from rs3gwd.base.records import UploadRecord
from rs3gwd.s3.arguments import argument_error, key_argument
from rs3gwd.s3.call import Call
from rs3gwd.s3.list_arguments import ListArguments, list_arguments
from rs3gwd.s3.list_format import (
    EntryFormat,
    checksum_kind_xml,
    common_prefix_xml,
    head_xml,
    is_truncated_xml,
)
from rs3gwd.s3.owners import Owners
from rs3gwd.s3.xml_write import CONTENT_TYPE, document, element, escape


async def list_multipart_uploads(call: Call) -> Response:
    """A page behind `key-marker` and `upload-id-marker`. Raises ApiError InvalidArgument."""
    arguments = list_arguments(call.query, limit_name="max-uploads")
    key_marker = key_argument(call.query, "key-marker")
    upload_marker = _upload_marker(call.query, key_marker)
    page = await call.services.store.list_uploads(
        call.bucket,
        prefix=arguments.prefix,
        delimiter=arguments.delimiter,
        after_key=key_marker,
        after_upload_id=upload_marker,
        limit=arguments.limit,
    )
    write_key = arguments.write_key
    inside = [
        head_xml(call.bucket, arguments, bucket_tag="Bucket"),
        f"<KeyMarker>{write_key(key_marker)}</KeyMarker>",
        element("UploadIdMarker", upload_marker or ""),
        f"<MaxUploads>{arguments.limit}</MaxUploads>",
        is_truncated_xml(page.next_key is not None),
    ]
    if page.next_key is not None:
        inside.append(f"<NextKeyMarker>{write_key(page.next_key)}</NextKeyMarker>")
        inside.append(element("NextUploadIdMarker", page.next_upload_id or ""))
    inside += _entries_xml(page, arguments, Owners(call.services.directory))
    return Response(200, [CONTENT_TYPE], document("ListMultipartUploadsResult", inside))


def _upload_marker(query: dict[str, str], key_marker: bytes) -> str | None:
    """Ignored without a key marker, as AWS says."""
    marker = query.get("upload-id-marker")
    if not marker or not key_marker:
        return None
    if sequence_of_id(marker) is None:
        raise argument_error("upload-id-marker", marker, "Invalid uploadId marker")
    return marker


def _entries_xml(page: UploadPage, arguments: ListArguments, owners: Owners) -> list[str]:
    entry_format = EntryFormat()
    uploads: list[str] = []
    prefixes: list[str] = []
    for entry in page.entries:
        key = arguments.write_key(entry.key)
        if entry.upload is None:
            prefixes.append(common_prefix_xml(key))
        else:
            uploads.append(_upload_xml(entry.upload, key, owners, entry_format))
    return uploads + prefixes


def _upload_xml(upload: UploadRecord, key: str, owners: Owners, entry_format: EntryFormat) -> str:
    owner_id = upload.attributes.owner_id
    checksum = (
        checksum_kind_xml(upload.checksum_algorithm, upload.checksum_type)
        if upload.checksum_algorithm
        else ""
    )
    return (
        f"<Upload><Key>{key}</Key><UploadId>{escape(upload.upload_id)}</UploadId>"
        f"{owners.xml(owner_id, 'Initiator')}{owners.xml(owner_id)}"
        f"<StorageClass>{escape(upload.attributes.storage_class)}</StorageClass>"
        f"<Initiated>{entry_format.time(upload.initiated_ms)}</Initiated>{checksum}</Upload>"
    )
