"""The headers of an object: what a caller says when writing it, and how it comes back; pure.

System headers are stored as given (Content-Encoding without `aws-chunked`, which describes the
transfer). User metadata is every `x-amz-meta-` header; names and values together are bounded by
2 KB. HTTP header values are latin-1 here. AWS decodes values by RFC 2047 before storing and encodes
those that are not US-ASCII by RFC 2047 before returning; its documentation shows that raw UTF-8
bytes are taken for latin-1, and so they are here. A decoded value with control characters is
returned encoded too, so that no value can end a header line.

What is accepted is done: a header that asks for appends is refused, never ignored. The headers of
encryption are read in `encryption_headers`.

Sources: "Working with object metadata" in the Amazon S3 User Guide; PutObject, CopyObject and
GetObject in the API Reference.
"""

import base64
from collections.abc import Mapping
from email.errors import HeaderParseError
from email.header import decode_header
from urllib.parse import parse_qsl

from rs3gwd.base.errors import ApiError
from rs3gwd.base.limits import OBJECT_TAGS_MAX, USER_METADATA_BYTES_MAX
from rs3gwd.base.records import Attributes, VersionRecord
from rs3gwd.s3.dates import http_date
from rs3gwd.s3.encryption_headers import encryption_headers
from rs3gwd.s3.etags import quote
from rs3gwd.s3.lock_headers import lock_from, lock_headers
from rs3gwd.s3.tag_set import Tags, check_tags

DEFAULT_CONTENT_TYPE = "binary/octet-stream"
"""What S3 says of an object whose writer said nothing."""

METADATA_PREFIX = "x-amz-meta-"

WEBSITE_REDIRECT = "x-amz-website-redirect-location"

_WIRE_NAMES = {
    "content-type": "Content-Type",
    "cache-control": "Cache-Control",
    "content-disposition": "Content-Disposition",
    "content-encoding": "Content-Encoding",
    "content-language": "Content-Language",
    "expires": "Expires",
    WEBSITE_REDIRECT: WEBSITE_REDIRECT,
}
"""The system headers that are stored, by lower-case name, as they go on the wire."""

_OVERRIDES = {
    "response-content-type": "content-type",
    "response-cache-control": "cache-control",
    "response-content-disposition": "content-disposition",
    "response-content-encoding": "content-encoding",
    "response-content-language": "content-language",
    "response-expires": "expires",
}

STORAGE_CLASSES = frozenset(
    {
        "STANDARD",
        "REDUCED_REDUNDANCY",
        "STANDARD_IA",
        "ONEZONE_IA",
        "INTELLIGENT_TIERING",
        "GLACIER",
        "GLACIER_IR",
        "DEEP_ARCHIVE",
    }
)
"""The classes of general purpose buckets. The name is kept and shown; all are stored alike."""

_CHARSETS = frozenset({"utf-8", "us-ascii", "iso-8859-1"})
"""What an encoded word may be written in. Python knows a hundred codecs more, some of which
(`unicode_escape`, `utf-7`) give text that no record can hold."""

_UNIMPLEMENTED_PREFIXES = (
    "x-amz-write-offset-bytes",
    "x-amz-object-annotation-directive",
)


def refuse_unimplemented(headers: Mapping[str, str]) -> None:
    """Raises ApiError NotImplemented for a header that asks for appends or annotations."""
    for name in headers:
        if not name.startswith("x-amz-"):
            continue
        if name.startswith(_UNIMPLEMENTED_PREFIXES):
            raise ApiError(
                "NotImplemented",
                "A header you provided implies functionality that is not implemented",
                fields={"Header": name, "additionalMessage": headers[name]},
            )


def attributes_from(headers: Mapping[str, str], owner_id: str, *, now_ms: int) -> Attributes:
    """What the headers of PutObject, CreateMultipartUpload or a replacing CopyObject say.

    `now_ms` is the time that a retention must lie behind.

    Raises ApiError: InvalidStorageClass, MetadataTooLarge, InvalidTag, BadRequest (too many tags),
    InvalidArgument.
    """
    system: dict[str, str] = {}
    metadata: dict[str, str] = {}
    for name, value in headers.items():
        if name in _WIRE_NAMES:
            system[name] = value
        elif name.startswith(METADATA_PREFIX):
            metadata[name.removeprefix(METADATA_PREFIX)] = _decode_metadata(value)
    if system.get("content-type") == "":
        # No media type is empty (RFC 9110 section 8.3.1), and no client could use one.
        del system["content-type"]
    if "content-encoding" in system:
        _strip_aws_chunked(system)
    if WEBSITE_REDIRECT in system:
        _check_redirect(system[WEBSITE_REDIRECT])
    _check_metadata_size(metadata)
    return Attributes(
        owner_id=owner_id,
        headers=system,
        metadata=metadata,
        tags=tags_from(headers),
        storage_class=storage_class_from(headers),
        lock=lock_from(headers, now_ms=now_ms),
    )


def storage_class_from(headers: Mapping[str, str]) -> str:
    """x-amz-storage-class, STANDARD where there is none. Raises ApiError InvalidStorageClass."""
    value = headers.get("x-amz-storage-class", "STANDARD")
    if value not in STORAGE_CLASSES:
        raise ApiError("InvalidStorageClass", fields={"StorageClassRequested": value})
    return value


def tags_from(headers: Mapping[str, str]) -> Tags:
    """The tags of x-amz-tagging, written as a URL query.

    Raises ApiError: InvalidArgument (encoding, a name twice), InvalidTag, BadRequest (over 10).
    """
    value = headers.get("x-amz-tagging")
    if not value:
        return []
    try:
        tags = parse_qsl(
            value,
            keep_blank_values=True,
            encoding="utf-8",
            errors="strict",
            max_num_fields=10 * OBJECT_TAGS_MAX,
        )
    except ValueError as error:
        raise _malformed_tagging(value) from error
    if len({key for key, _ in tags}) < len(tags):
        raise _malformed_tagging(value)
    check_tags(tags, count_max=OBJECT_TAGS_MAX, subject="Object")
    return tags


def object_headers(version: VersionRecord, *, show_version: bool) -> list[tuple[str, str]]:
    """The headers of GetObject and HeadObject that only depend on the version.

    `show_version`: versioning of the bucket was enabled at some time.
    """
    attributes = version.attributes
    stored = attributes.headers
    headers = [
        ("Last-Modified", http_date(version.last_modified_ms)),
        ("ETag", quote(version.etag)),
        ("Accept-Ranges", "bytes"),
        ("Content-Type", stored.get("content-type", DEFAULT_CONTENT_TYPE)),
    ]
    for name, value in stored.items():
        if name != "content-type":
            headers.append((_WIRE_NAMES[name], value))
    for name, value in attributes.metadata.items():
        headers.append((METADATA_PREFIX + name, encode_metadata(value)))
    if attributes.tags:
        headers.append(("x-amz-tagging-count", str(len(attributes.tags))))
    if attributes.storage_class != "STANDARD":
        headers.append(("x-amz-storage-class", attributes.storage_class))
    if attributes.lock is not None:
        headers += lock_headers(attributes.lock)
    if attributes.encryption is not None:
        headers += encryption_headers(attributes.encryption)
    if show_version:
        headers.append(("x-amz-version-id", version.version_id))
    return headers


def apply_overrides(
    headers: list[tuple[str, str]], query: Mapping[str, str], *, anonymous: bool
) -> list[tuple[str, str]]:
    """`headers` with the response-* parameters of the query in the place of what was stored.

    Raises ApiError: InvalidRequest for an anonymous request, InvalidArgument for a value that
    cannot stand in a header.
    """
    overrides = {
        _WIRE_NAMES[_OVERRIDES[name]]: _header_safe(name, value)
        for name, value in query.items()
        if name in _OVERRIDES
    }
    if not overrides:
        return headers
    if anonymous:
        raise ApiError(
            "InvalidRequest",
            "Request specific response headers cannot be used for anonymous GET requests.",
        )
    kept = [(name, value) for name, value in headers if name not in overrides]
    return kept + list(overrides.items())


def encode_metadata(value: str) -> str:
    """A metadata value as it goes on the wire: as it is, or an RFC 2047 encoded word."""
    if value.isascii() and value.isprintable():
        return value
    encoded = base64.b64encode(value.encode("utf-8", "surrogatepass")).decode("ascii")
    return f"=?UTF-8?B?{encoded}?="


def _malformed_tagging(value: str) -> ApiError:
    return ApiError(
        "InvalidArgument",
        "The header 'x-amz-tagging' shall be encoded as UTF-8 then URLEncoded URL query "
        "parameters without tag name duplicates.",
        fields={"ArgumentName": "x-amz-tagging", "ArgumentValue": value},
    )


def _decode_metadata(value: str) -> str:
    """Decodes RFC 2047 encoded words; text that only looks like one stays as it is."""
    if "=?" not in value:
        return value
    try:
        parts = decode_header(value)
        if any(charset is not None and charset not in _CHARSETS for _, charset in parts):
            return value
        return "".join(
            part if isinstance(part, str) else part.decode(charset or "latin-1")
            for part, charset in parts
        )
    except (HeaderParseError, ValueError):
        return value


def _check_metadata_size(metadata: dict[str, str]) -> None:
    if not metadata:
        return
    size = sum(
        len(name) + len(value.encode("utf-8", "surrogatepass")) for name, value in metadata.items()
    )
    if size > USER_METADATA_BYTES_MAX:
        raise ApiError(
            "MetadataTooLarge",
            fields={"Size": str(size), "MaxSizeAllowed": str(USER_METADATA_BYTES_MAX)},
        )


def _strip_aws_chunked(system: dict[str, str]) -> None:
    codings = [coding.strip() for coding in system["content-encoding"].split(",")]
    kept = [coding for coding in codings if coding and coding.lower() != "aws-chunked"]
    if kept:
        system["content-encoding"] = ",".join(kept)
    else:
        del system["content-encoding"]


def _check_redirect(value: str) -> None:
    if not value.startswith(("/", "http://", "https://")):
        raise ApiError(
            "InvalidArgument",
            "The website redirect location must have a prefix of 'http://' or 'https://' or '/'.",
            fields={"ArgumentName": WEBSITE_REDIRECT, "ArgumentValue": value},
        )


def _header_safe(name: str, value: str) -> str:
    """A decoded query value as latin-1 text of a header: its UTF-8 bytes, no control characters."""
    if any(character < " " or character == "\x7f" for character in value):
        raise ApiError(
            "InvalidArgument",
            "A response header cannot hold control characters.",
            fields={"ArgumentName": name},
        )
    return value.encode("utf-8", "surrogatepass").decode("latin-1")
