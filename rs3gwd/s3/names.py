"""What a bucket or an object may be called, and how names come out of a URL.

This is not the router: it takes a piece of a target and gives a name, or an S3 error. Pure.

A key is any UTF-8 text of 1 to 1,024 bytes. Nothing in it is normalised: `//`, `.`, `..` and a
trailing `/` are ordinary bytes, `+` is a plus sign in a path and a blank in a query.

A bucket made here follows the rules of today. One that is merely asked for may have a name that
was legal in us-east-1 before 2018 (3 to 255 of letters, digits, `.`, `-`, `_`): it cannot exist
here, and the answer to that is NoSuchBucket, as in AWS.

Sources: "General purpose bucket naming rules" and "Naming Amazon S3 objects" in the Amazon S3 User
Guide; RFC 3986 section 2.1 for percent-encoding.
"""

import re
from urllib.parse import unquote_to_bytes

from rs3gwd.base.errors import ApiError
from rs3gwd.base.limits import KEY_BYTES_MAX

QUERY_PARAMETERS_MAX = 100
"""Parameters in one query. The richest presigned GetObject has under 30."""

_BUCKET_NAME = re.compile(r"[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]", re.ASCII)
_LEGACY_BUCKET_NAME = re.compile(r"[A-Za-z0-9._-]{3,255}", re.ASCII)
_IP_ADDRESS = re.compile(r"\d+\.\d+\.\d+\.\d+", re.ASCII)
_BAD_PERCENT = re.compile(r"%(?![0-9A-Fa-f]{2})")
_RESERVED_PREFIXES = ("xn--", "sthree-", "amzn-s3-demo-")
_RESERVED_SUFFIXES = ("-s3alias", "--ol-s3", ".mrap", "--x-s3", "--table-s3")


def is_new_bucket_name(name: str) -> bool:
    """Whether a bucket of this name may be made."""
    return (
        _BUCKET_NAME.fullmatch(name) is not None
        and ".." not in name
        and _IP_ADDRESS.fullmatch(name) is None
        and not name.startswith(_RESERVED_PREFIXES)
        and not name.endswith(_RESERVED_SUFFIXES)
    )


def check_new_bucket_name(name: str) -> None:
    """Raises ApiError InvalidBucketName for a name that CreateBucket refuses."""
    if not is_new_bucket_name(name):
        raise ApiError("InvalidBucketName", fields={"BucketName": name})


def is_bucket_name(name: str) -> bool:
    """Whether a bucket was ever allowed to have this name."""
    return _LEGACY_BUCKET_NAME.fullmatch(name) is not None


def check_bucket_name(name: str) -> None:
    """Raises ApiError InvalidBucketName for a name that no bucket was ever allowed to have."""
    if not is_bucket_name(name):
        raise ApiError("InvalidBucketName", fields={"BucketName": name})


def decode_path_part(raw: str) -> bytes:
    """Percent-decodes a piece of a path (ASCII) to UTF-8. Raises ApiError InvalidURI."""
    if "%" not in raw:
        return _to_ascii(raw)
    if _BAD_PERCENT.search(raw):
        raise ApiError("InvalidURI", fields={"URI": raw})
    decoded = unquote_to_bytes(raw)
    try:
        decoded.decode()
    except UnicodeDecodeError as error:
        raise ApiError("InvalidURI", fields={"URI": raw}) from error
    return decoded


def decode_key(raw: str) -> bytes:
    """The object key in a path, without the `/` in front of it.

    Raises ApiError InvalidURI (percent-encoding or UTF-8), KeyTooLongError (over 1,024 bytes).
    """
    key = decode_path_part(raw)
    if len(key) > KEY_BYTES_MAX:
        raise ApiError(
            "KeyTooLongError", fields={"Size": str(len(key)), "MaxSizeAllowed": str(KEY_BYTES_MAX)}
        )
    return key


def parse_query(raw_query: str) -> dict[str, str]:
    """The parameters of a query by decoded name; the first of a repeated one wins.

    A name without `=` has the value "". Raises ApiError InvalidURI (percent-encoding, UTF-8),
    InvalidArgument (over QUERY_PARAMETERS_MAX of them).
    """
    if not raw_query:
        return {}
    parts = raw_query.split("&")
    if len(parts) > QUERY_PARAMETERS_MAX:
        raise ApiError("InvalidArgument", "Too many query parameters.")
    query: dict[str, str] = {}
    for part in parts:
        if part:
            name, _, value = part.partition("=")
            query.setdefault(_decode_query_part(name), _decode_query_part(value))
    return query


def _decode_query_part(raw: str) -> str:
    if "+" in raw:
        raw = raw.replace("+", " ")
    return decode_path_part(raw).decode() if "%" in raw else raw


def _to_ascii(raw: str) -> bytes:
    try:
        return raw.encode("ascii")
    except UnicodeEncodeError as error:
        raise ApiError("InvalidURI", fields={"URI": raw}) from error
