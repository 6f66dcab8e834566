"""Malformed requests: bodies, reads and copies of objects."""

from malformed_case import Case

_CRC32 = "x-amz-checksum-crc32"


def _put(name: str, status: int, code: str, headers: dict[str, str]) -> Case:
    return Case(name, "PUT", "/bucket/new", status, code, headers, b"hello")


BODIES = [
    Case(
        "deletion without a checksum",
        "POST",
        "/bucket?delete",
        400,
        "InvalidRequest",
        body=b"<Delete><Object><Key>k</Key></Object></Delete>",
    ),
    _put("MD5 of another body", 400, "BadDigest", {"content-md5": "1B2M2Y8AsgTpgAmY7PhCfg=="}),
    _put("MD5 that is no base64", 400, "InvalidDigest", {"content-md5": "!"}),
    _put("MD5 of 15 bytes", 400, "InvalidDigest", {"content-md5": "AAAAAAAAAAAAAAAAAAAA"}),
    _put("MD5 in hex", 400, "InvalidDigest", {"content-md5": "5d41402abc4b2a76b9719d911017c592"}),
    _put("empty MD5", 400, "InvalidDigest", {"content-md5": ""}),
    _put("CRC32 of another body", 400, "BadDigest", {_CRC32: "AAAAAA=="}),
    _put("CRC32 that is no base64", 400, "InvalidRequest", {_CRC32: "****"}),
    _put("CRC32 of three bytes", 400, "InvalidRequest", {_CRC32: "AAAA"}),
    _put(
        "two checksums",
        400,
        "InvalidRequest",
        {_CRC32: "NhCmhg==", "x-amz-checksum-sha1": "qvTGHdzF6KLavt4PO0gs2a6pQ00="},
    ),
    _put("algorithm that is none", 400, "InvalidRequest", {"x-amz-sdk-checksum-algorithm": "MD4"}),
    _put("trailer that is none", 400, "InvalidRequest", {"x-amz-trailer": "x-amz-meta-a"}),
    _put(
        "storage class that is none",
        400,
        "InvalidStorageClass",
        {"x-amz-storage-class": "GOLD"},
    ),
    _put("ACL for everyone", 400, "AccessControlListNotSupported", {"x-amz-acl": "public-read"}),
    _put("ACL that is none", 400, "InvalidArgument", {"x-amz-acl": "mine"}),
    _put("grant", 400, "AccessControlListNotSupported", {"x-amz-grant-read": 'id="1"'}),
    _put(
        "unknown encryption",
        400,
        "InvalidEncryptionAlgorithmError",
        {"x-amz-server-side-encryption": "aes256"},
    ),
    _put("two layers", 501, "NotImplemented", {"x-amz-server-side-encryption": "aws:kms:dsse"}),
    _put(
        "encryption unheard of",
        501,
        "NotImplemented",
        {"x-amz-server-side-encryption-colour": "blue"},
    ),
    _put(
        "customer's encryption",
        400,
        "InvalidRequest",
        {"x-amz-server-side-encryption-customer-algorithm": "AES256"},
    ),
    _put("object lock", 400, "InvalidArgument", {"x-amz-object-lock-mode": "GOVERNANCE"}),
    _put("metadata of 2,049 bytes", 400, "MetadataTooLarge", {"x-amz-meta-a": "v" * 2048}),
    _put("11 tags", 400, "BadRequest", {"x-amz-tagging": "&".join(f"k{n}=v" for n in range(11))}),
    _put("tag without a key in a header", 400, "InvalidTag", {"x-amz-tagging": "=v"}),
    _put(
        "redirect to nowhere",
        400,
        "InvalidArgument",
        {"x-amz-website-redirect-location": "nowhere"},
    ),
    _put(
        "If-None-Match on what is not there and If-Match",
        404,
        "NoSuchKey",
        {"if-match": '"5d41402abc4b2a76b9719d911017c592"'},
    ),
    Case(
        "If-None-Match on what is there",
        "PUT",
        "/bucket/key",
        412,
        "PreconditionFailed",
        {"if-none-match": "*"},
        b"x",
    ),
    Case(
        "overwrite with If-Match of another",
        "PUT",
        "/bucket/key",
        412,
        "PreconditionFailed",
        {"if-match": '"d41d8cd98f00b204e9800998ecf8427e"'},
        b"x",
    ),
    Case(
        "body shorter than announced",
        "PUT",
        "/bucket/new",
        400,
        "IncompleteBody",
        body=b"hello",
        change=lambda _: {"content-length": "6"},
    ),
    Case(
        "more than 5 GiB",
        "PUT",
        "/bucket/new",
        400,
        "EntityTooLarge",
        body=b"hello",
        change=lambda _: {"content-length": str(5 * 1024**3 + 1)},
    ),
    Case(
        "body of another hash",
        "PUT",
        "/bucket/new",
        400,
        "XAmzContentSHA256Mismatch",
        body=b"other",
        sent=b"hello",
    ),
    Case(
        "no length",
        "PUT",
        "/bucket/new",
        411,
        "MissingContentLength",
        {},
        b"",
        change=lambda _: {"content-length": None},
    ),
]
"""Objects whose body is not what the head says."""


def _get(name: str, status: int, code: str, headers: dict[str, str]) -> Case:
    return Case(name, "GET", "/bucket/key", status, code, headers)


READS = [
    _get("range behind the end", 416, "InvalidRange", {"range": "bytes=5-"}),
    _get("range far behind the end", 416, "InvalidRange", {"range": "bytes=100-200"}),
    _get("suffix of nothing", 416, "InvalidRange", {"range": "bytes=-0"}),
    _get("If-Match of another", 412, "PreconditionFailed", {"if-match": '"x"'}),
    _get(
        "If-Unmodified-Since long ago",
        412,
        "PreconditionFailed",
        {"if-unmodified-since": "Mon, 12 Oct 2009 17:50:30 GMT"},
    ),
    Case("part behind the last", "GET", "/bucket/key?partNumber=2", 416, "InvalidPartNumber"),
    Case(
        "range and part",
        "GET",
        "/bucket/key?partNumber=1",
        400,
        "InvalidRequest",
        {"range": "bytes=0-1"},
    ),
    Case("attributes of nothing", "GET", "/bucket/key?attributes", 400, "InvalidRequest"),
    Case(
        "attributes that are none",
        "GET",
        "/bucket/key?attributes",
        400,
        "InvalidArgument",
        {"x-amz-object-attributes": "ETag,Colour"},
    ),
]
"""Ranges, conditions and overrides of reads."""


def _copy(name: str, status: int, code: str, headers: dict[str, str]) -> Case:
    return Case(name, "PUT", "/bucket/new", status, code, headers)


_SOURCE = "x-amz-copy-source"
COPIES = [
    _copy("copy of nothing", 400, "InvalidArgument", {_SOURCE: ""}),
    _copy("copy of a slash", 400, "InvalidArgument", {_SOURCE: "/"}),
    _copy("copy of a bucket", 400, "InvalidArgument", {_SOURCE: "/bucket"}),
    _copy("copy of a bucket and a slash", 400, "InvalidArgument", {_SOURCE: "/bucket/"}),
    _copy("copy of no version", 400, "InvalidArgument", {_SOURCE: "/bucket/key?versionId="}),
    _copy(
        "copy of a version that cannot be",
        400,
        "InvalidArgument",
        {_SOURCE: "/bucket/key?versionId=x"},
    ),
    _copy("copy of another account's", 403, "AccessDenied", {_SOURCE: "/bobs-bucket/key"}),
    _copy(
        "directive that is none",
        400,
        "InvalidArgument",
        {_SOURCE: "/bucket/key", "x-amz-metadata-directive": "MERGE"},
    ),
    _copy(
        "tagging directive that is none",
        400,
        "InvalidArgument",
        {_SOURCE: "/bucket/key", "x-amz-tagging-directive": "MERGE"},
    ),
    _copy(
        "source that does not match",
        412,
        "PreconditionFailed",
        {_SOURCE: "/bucket/key", "x-amz-copy-source-if-match": '"x"'},
    ),
    _copy(
        "source of another owner",
        403,
        "AccessDenied",
        {_SOURCE: "/bucket/key", "x-amz-source-expected-bucket-owner": "b" * 64},
    ),
    Case("copy onto itself", "PUT", "/bucket/key", 400, "InvalidRequest", {_SOURCE: "/bucket/key"}),
    Case(
        "part copied with a range behind the end",
        "PUT",
        "/bucket/part-key?uploadId={upload}&partNumber=1",
        400,
        "InvalidArgument",
        {_SOURCE: "/bucket/key", "x-amz-copy-source-range": "bytes=0-99"},
    ),
    Case(
        "part copied with half a range",
        "PUT",
        "/bucket/part-key?uploadId={upload}&partNumber=1",
        400,
        "InvalidArgument",
        {_SOURCE: "/bucket/key", "x-amz-copy-source-range": "bytes=1-"},
    ),
]
"""Sources of copies."""
