"""Byte ranges; pure.

RFC 9110 section 14 with what Amazon S3 does in its place where they differ: "Amazon S3 doesn't
support retrieving multiple ranges of data per GET request" (GetObject), so a set of several
ranges is answered with the whole object and 200, as a Range header that cannot be understood is
(section 14.2 lets a server ignore the header). Ranges here are half-open.
"""

import re

from msgspec import Struct

from rs3gwd.base.errors import ApiError

_POSITION_DIGITS_MAX = 18
"""Digits of a position that are taken as they are; a longer one lies behind every object.
The bound keeps int() cheap on a hostile header: 10**18 is 20,000 times the largest object."""

_POSITION_BEYOND: int = 10**_POSITION_DIGITS_MAX

_ONE_RANGE = re.compile(r"([0-9]*)[ \t]*-[ \t]*([0-9]*)")
_COPY_RANGE = re.compile(r"bytes=([0-9]{1,18})-([0-9]{1,18})")


class ByteRange(Struct, frozen=True):
    """Bytes `start` to `end` (exclusive) of an object; never empty."""

    start: int
    end: int


def parse_range(value: str, size_bytes: int) -> ByteRange | None:
    """The range that a Range header asks of an object of `size_bytes`.

    None: the header is to be ignored (another unit, malformed, several ranges). Raises ApiError
    InvalidRange (416) for a well-formed range that selects nothing: it begins at or behind the
    end, is a suffix of no bytes, or the object is empty.
    """
    unit, equals, ranges = value.partition("=")
    if not equals or unit.strip().lower() != "bytes" or "," in ranges:
        return None
    match = _ONE_RANGE.fullmatch(ranges.strip())
    if match is None:
        return None
    first_text, last_text = match.groups()
    if first_text:
        start = _position(first_text)
        if last_text:
            last = _position(last_text)
            if last < start:
                return None
            end = min(last + 1, size_bytes)
        else:
            end = size_bytes
    elif last_text:
        start = max(0, size_bytes - _position(last_text))
        end = size_bytes
    else:
        return None
    if start >= end:
        raise unsatisfiable(value, size_bytes)
    return ByteRange(start=start, end=end)


def parse_copy_source_range(value: str, size_bytes: int) -> ByteRange:
    """The range of x-amz-copy-source-range; only `bytes=first-last` inside the source is legal.

    Raises ApiError InvalidArgument. Source: UploadPartCopy, "you must use the form
    bytes=first-last".
    """
    match = _COPY_RANGE.fullmatch(value.strip())
    if match is None:
        raise _invalid_copy_range(
            value,
            "The x-amz-copy-source-range value must be of the form bytes=first-last where first "
            "and last are the zero-based offsets of the first and last bytes to copy",
        )
    start, last = int(match[1]), int(match[2])
    if last < start or last >= size_bytes:
        raise _invalid_copy_range(
            value, f"Range specified is not valid for source object of size: {size_bytes}"
        )
    return ByteRange(start=start, end=last + 1)


def content_range(part: ByteRange, size_bytes: int) -> str:
    """The Content-Range value of a 206."""
    return f"bytes {part.start}-{part.end - 1}/{size_bytes}"


def unsatisfiable(value: str, size_bytes: int) -> ApiError:
    """The 416 for `value`; RFC 9110 section 15.5.17 wants the size in Content-Range."""
    return ApiError(
        "InvalidRange",
        "The requested range is not satisfiable",
        fields={"RangeRequested": value, "ActualObjectSize": str(size_bytes)},
        headers=[("Content-Range", f"bytes */{size_bytes}")],
    )


def _position(digits: str) -> int:
    significant = digits.lstrip("0")
    if len(significant) > _POSITION_DIGITS_MAX:
        return _POSITION_BEYOND
    return int(significant or "0")


def _invalid_copy_range(value: str, message: str) -> ApiError:
    return ApiError(
        "InvalidArgument",
        message,
        fields={"ArgumentName": "x-amz-copy-source-range", "ArgumentValue": value},
    )
