"""The pieces of XML that the four listings share. Pure.

Cost: a page of 1,000 keys is formatted in about a millisecond, so nothing here is done per key that
can be done per page; the time of a key is written once per second that occurs.

Source: ListObjectsV2, ListObjects, ListObjectVersions and ListMultipartUploads in the Amazon S3 API
Reference.
"""

from rs3gwd.base.records import Checksum, ChecksumAlgorithm, ChecksumType, VersionRecord
from rs3gwd.s3.dates import iso_time
from rs3gwd.s3.list_arguments import ListArguments
from rs3gwd.s3.xml_write import element

_TWO_DIGITS = tuple(f"{number:02}" for number in range(60))


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
        self._minutes: dict[int, str] = {}
        self._second = -1
        self._second_text = ""
        self._storage_classes: dict[str, str] = {}
        self._algorithm: ChecksumAlgorithm | None = None
        self._type: ChecksumType | None = None
        self._checksum_xml = ""

    def time(self, time_ms: int) -> str:
        """The ISO form of a time, as `rs3gwd.s3.dates.iso_time` writes it."""
        whole_second = time_ms // 1000
        if whole_second == self._second:
            return self._second_text
        minute, second = divmod(whole_second, 60)
        start = self._minutes.get(minute)
        if start is None:
            start = self._minutes[minute] = iso_time(time_ms)[:17]
        self._second = whole_second
        self._second_text = f"{start}{_TWO_DIGITS[second]}.000Z"
        return self._second_text

    def version_body(self, version: VersionRecord) -> str:
        """The elements from ETag to StorageClass that every kind of object entry has."""
        checksum = version.checksum
        checksum_xml = "" if checksum is None else self._checksum(checksum)
        name = version.attributes.storage_class
        storage_class = self._storage_classes.get(name)
        if storage_class is None:
            storage_class = self._storage_classes[name] = element("StorageClass", name)
        return (
            f"<ETag>&quot;{version.etag}&quot;</ETag>{checksum_xml}"
            f"<Size>{version.size_bytes}</Size>{storage_class}"
        )

    def _checksum(self, checksum: Checksum) -> str:
        # The last one is remembered, by identity: hashing a member of an enumeration is slow.
        if checksum.algorithm is not self._algorithm or checksum.type is not self._type:
            self._algorithm, self._type = checksum.algorithm, checksum.type
            self._checksum_xml = checksum_kind_xml(checksum.algorithm, checksum.type)
        return self._checksum_xml


def checksum_kind_xml(algorithm: str, type_: str | None) -> str:
    """`<ChecksumAlgorithm>` and `<ChecksumType>`."""
    type_xml = f"<ChecksumType>{type_}</ChecksumType>" if type_ else ""
    return f"<ChecksumAlgorithm>{algorithm}</ChecksumAlgorithm>{type_xml}"
