"""The pieces of XML that the four listings share. Pure.

Cost: a page of 1,000 keys is formatted in about a millisecond, so nothing here is done per key that
can be done per page; the time of a key is written once per second that occurs.

Source: ListObjectsV2, ListObjects, ListObjectVersions and ListMultipartUploads in the Amazon S3 API
Reference.
"""

from rs3gwd.base.records import Checksum, ChecksumAlgorithm, ChecksumType, VersionRecord
from rs3gwd.s3.dates import iso_time
from rs3gwd.s3.list_arguments import ListArguments
from rs3gwd.s3.xml_write import element, escape


def head_xml(bucket: str, arguments: ListArguments, *, bucket_tag: str = "Name") -> str:
    """The elements that open each answer: bucket, prefix, delimiter, encoding type."""
    write_key = arguments.write_key
    delimiter = (
        f"<Delimiter>{write_key(arguments.delimiter)}</Delimiter>" if arguments.delimiter else ""
    )
    encoding = element("EncodingType", arguments.encoding_type) if arguments.encoding_type else ""
    return (
        f"{element(bucket_tag, bucket)}<Prefix>{write_key(arguments.prefix)}</Prefix>"
        f"{delimiter}{encoding}"
    )


def is_truncated_xml(is_truncated: bool) -> str:
    """`<IsTruncated>`."""
    return f"<IsTruncated>{'true' if is_truncated else 'false'}</IsTruncated>"


def common_prefix_xml(prefix: str) -> str:
    """`<CommonPrefixes>` for a prefix that is XML text already."""
    return f"<CommonPrefixes><Prefix>{prefix}</Prefix></CommonPrefixes>"


class EntryFormat:
    """Formats what many entries of one page have in common only once."""

    def __init__(self) -> None:
        self._times: dict[int, str] = {}
        self._checksums: dict[tuple[ChecksumAlgorithm, ChecksumType], str] = {}

    def time(self, time_ms: int) -> str:
        """The ISO form of a time."""
        second = time_ms // 1000
        text = self._times.get(second)
        if text is None:
            text = self._times[second] = iso_time(time_ms)
        return text

    def version_body(self, version: VersionRecord) -> str:
        """The elements from ETag to StorageClass that every kind of object entry has."""
        return (
            f"<ETag>&quot;{version.etag}&quot;</ETag>{self._checksum(version.checksum)}"
            f"<Size>{version.size_bytes}</Size>"
            f"<StorageClass>{escape(version.attributes.storage_class)}</StorageClass>"
        )

    def _checksum(self, checksum: Checksum | None) -> str:
        if checksum is None:
            return ""
        kind = (checksum.algorithm, checksum.type)
        text = self._checksums.get(kind)
        if text is None:
            text = self._checksums[kind] = checksum_kind_xml(*kind)
        return text


def checksum_kind_xml(algorithm: ChecksumAlgorithm, type_: ChecksumType | None) -> str:
    """`<ChecksumAlgorithm>` and `<ChecksumType>`."""
    type_xml = f"<ChecksumType>{type_}</ChecksumType>" if type_ else ""
    return f"<ChecksumAlgorithm>{algorithm}</ChecksumAlgorithm>{type_xml}"
