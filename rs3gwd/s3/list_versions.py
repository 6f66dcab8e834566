"""ListObjectVersions: every version and delete marker of a bucket, by key, newest first.

Source: ListObjectVersions in the Amazon S3 API Reference.
"""

from rs3gwd.base.codec import sequence_of_id
from rs3gwd.base.http import Response
from rs3gwd.base.ports import VersionEntry, VersionPage
from rs3gwd.base.records import NULL_VERSION_ID, VersionKind, VersionRecord
from rs3gwd.s3.arguments import argument_error, key_argument
from rs3gwd.s3.call import Call
from rs3gwd.s3.list_arguments import ListArguments, list_arguments
from rs3gwd.s3.list_format import (
    EntryFormat,
    common_prefix_xml,
    head_xml,
    is_truncated_xml,
)
from rs3gwd.s3.owners import Owners
from rs3gwd.s3.xml_write import CONTENT_TYPE, document, element, escape


async def list_object_versions(call: Call) -> Response:
    """A page behind `key-marker` and `version-id-marker`. Raises ApiError InvalidArgument."""
    arguments = list_arguments(call.query)
    key_marker = key_argument(call.query, "key-marker")
    version_marker = _version_marker(call.query, key_marker)
    page = await call.services.store.list_versions(
        call.bucket,
        prefix=arguments.prefix,
        delimiter=arguments.delimiter,
        after_key=key_marker,
        after_version_id=version_marker,
        limit=arguments.limit,
    )
    inside = [
        head_xml(call.bucket, arguments),
        f"<KeyMarker>{arguments.write_key(key_marker)}</KeyMarker>",
        element("VersionIdMarker", version_marker or ""),
        f"<MaxKeys>{arguments.limit}</MaxKeys>",
        is_truncated_xml(page.next_key is not None),
    ]
    if page.next_key is not None:
        inside.append(f"<NextKeyMarker>{arguments.write_key(page.next_key)}</NextKeyMarker>")
        if page.next_version_id is not None:
            inside.append(element("NextVersionIdMarker", page.next_version_id))
    inside += _entries_xml(page, arguments, Owners(call.services.directory))
    return Response(200, [CONTENT_TYPE], document("ListVersionsResult", inside))


def _version_marker(query: dict[str, str], key_marker: bytes) -> str | None:
    """None where it is not given; an empty one counts as not given."""
    marker = query.get("version-id-marker")
    if not marker:
        return None
    if not key_marker:
        raise argument_error(
            "version-id-marker",
            marker,
            "A version-id marker cannot be specified without a key marker.",
        )
    if marker != NULL_VERSION_ID and sequence_of_id(marker) is None:
        raise argument_error("version-id-marker", marker, "Invalid version id specified")
    return marker


def _entries_xml(page: VersionPage, arguments: ListArguments, owners: Owners) -> list[str]:
    """Versions and delete markers in their order, then the common prefixes."""
    entry_format = EntryFormat()
    versions: list[str] = []
    prefixes: list[str] = []
    for entry in page.entries:
        key = arguments.write_key(entry.key)
        if entry.version is None:
            prefixes.append(common_prefix_xml(key))
        else:
            versions.append(_version_xml(entry, entry.version, key, owners, entry_format))
    return versions + prefixes


def _version_xml(
    entry: VersionEntry,
    version: VersionRecord,
    key: str,
    owners: Owners,
    entry_format: EntryFormat,
) -> str:
    is_marker = version.kind is VersionKind.DELETE_MARKER
    tag = "DeleteMarker" if is_marker else "Version"
    return (
        f"<{tag}><Key>{key}</Key><VersionId>{escape(version.version_id)}</VersionId>"
        f"<IsLatest>{'true' if entry.is_latest else 'false'}</IsLatest>"
        f"<LastModified>{entry_format.time(version.last_modified_ms)}</LastModified>"
        f"{'' if is_marker else entry_format.version_body(version)}"
        f"{owners.xml(version.attributes.owner_id)}</{tag}>"
    )
