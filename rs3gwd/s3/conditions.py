"""Preconditions: whether a read may go on, and what a write must find; pure.

Reads follow RFC 9110 section 13.2.2: If-Match, else If-Unmodified-Since, decide on 412; then
If-None-Match, else If-Modified-Since, on 304; then If-Range on the range. That precedence is the
table AWS gives for GetObject (If-Match true and If-Unmodified-Since false: 200; If-None-Match
false and If-Modified-Since true: 304). A date that is no HTTP date is ignored (section 13.1.3). The
source of a copy has the same conditions under other names, and always fails with 412.

Writes are not decided here: the condition travels inside the command and is decided in the
apply, so that of many racing writers exactly one wins. AWS knows two forms: `If-None-Match: *`
(create only) and `If-Match: <etag>` (replace only what I saw); whatever else a header would mean
is refused with NotImplemented and never silently dropped.

Sources: RFC 9110 section 13; "Add preconditions to S3 operations with conditional requests" in the
Amazon S3 User Guide; GetObject, CopyObject, PutObject and DeleteObject in the API Reference.
"""

from collections.abc import Mapping
from enum import Enum

from msgspec import Struct

from rs3gwd.base.commands import UNCONDITIONAL, Conditions
from rs3gwd.base.errors import ApiError
from rs3gwd.s3.dates import parse_http_date, parse_time
from rs3gwd.s3.etags import EntityTags, parse_entity_tags

_READ_NAMES = ("if-match", "if-none-match", "if-unmodified-since", "if-modified-since")
_COPY_SOURCE_PREFIX = "x-amz-copy-source-"
_SIZE_DIGITS_MAX = 18


class Verdict(Enum):
    """What the conditions of a read say."""

    PROCEED = "proceed"
    NOT_MODIFIED = "not modified"
    FAILED = "precondition failed"


class ReadConditions(Struct, frozen=True):
    """The conditions of a GET, HEAD or copy source; None where one is absent or to be ignored.

    Times are seconds since 1970.
    """

    if_match: EntityTags | None = None
    if_none_match: EntityTags | None = None
    if_unmodified_since_s: int | None = None
    if_modified_since_s: int | None = None


def read_conditions(headers: Mapping[str, str]) -> ReadConditions | None:
    """The conditions of GetObject or HeadObject; None when there are none."""
    return _parse(headers, "")


def copy_source_conditions(headers: Mapping[str, str]) -> ReadConditions | None:
    """The conditions on the source of CopyObject or UploadPartCopy; None when there are none."""
    return _parse(headers, _COPY_SOURCE_PREFIX)


def evaluate(
    conditions: ReadConditions, *, etag: str, last_modified_ms: int
) -> tuple[Verdict, str]:
    """The verdict on a representation, and the header that decided it (empty for PROCEED).

    RFC 9110 section 13.2.2. `etag` is ours: strong, without quotes. HTTP dates have whole seconds,
    so the time is compared as the Last-Modified header shows it.
    """
    modified_s = last_modified_ms // 1000
    if conditions.if_match is not None:
        if not conditions.if_match.matches_strongly(etag):
            return Verdict.FAILED, "If-Match"
    elif (
        conditions.if_unmodified_since_s is not None
        and modified_s > conditions.if_unmodified_since_s
    ):
        return Verdict.FAILED, "If-Unmodified-Since"
    if conditions.if_none_match is not None:
        if conditions.if_none_match.matches_weakly(etag):
            return Verdict.NOT_MODIFIED, "If-None-Match"
    elif (
        conditions.if_modified_since_s is not None and modified_s <= conditions.if_modified_since_s
    ):
        return Verdict.NOT_MODIFIED, "If-Modified-Since"
    return Verdict.PROCEED, ""


def check_copy_source(
    conditions: ReadConditions | None, *, etag: str, last_modified_ms: int
) -> None:
    """Raises ApiError PreconditionFailed when the source of a copy fails its conditions."""
    if conditions is None:
        return
    verdict, name = evaluate(conditions, etag=etag, last_modified_ms=last_modified_ms)
    if verdict is not Verdict.PROCEED:
        raise precondition_failed(_COPY_SOURCE_PREFIX + name)


def range_applies(if_range: str | None, *, etag: str, last_modified_ms: int) -> bool:
    """Whether a Range header is to be honoured, by its If-Range (RFC 9110 section 13.1.5).

    An entity tag is compared strongly; a date must be exactly Last-Modified. Anything else does
    not match, and the whole object is the answer.
    """
    if if_range is None:
        return True
    date_s = parse_http_date(if_range)
    if date_s is not None:
        return date_s == last_modified_ms // 1000
    tags = parse_entity_tags(if_range)
    return not tags.any and tags.matches_strongly(etag)


def write_conditions(headers: Mapping[str, str]) -> Conditions:
    """The conditions of PutObject, CopyObject's destination or CompleteMultipartUpload.

    Raises ApiError NotImplemented for conditions that AWS does not take on a write.
    """
    for name in ("if-modified-since", "if-unmodified-since"):
        if name in headers:
            raise _not_implemented(name, headers[name])
    if_match = headers.get("if-match")
    if_none_match = headers.get("if-none-match")
    if if_none_match is not None:
        if if_match is not None or if_none_match.strip() != "*":
            raise _not_implemented("If-None-Match", if_none_match)
        return Conditions(if_none_match="*")
    if if_match is not None:
        return Conditions(if_match=_one_tag(if_match))
    return UNCONDITIONAL


def delete_conditions(headers: Mapping[str, str]) -> Conditions:
    """The conditions of DeleteObject. Raises ApiError NotImplemented, InvalidArgument."""
    for name in ("if-none-match", "if-modified-since", "if-unmodified-since"):
        if name in headers:
            raise _not_implemented(name, headers[name])
    return make_delete_conditions(
        etag=headers.get("if-match"),
        last_modified=headers.get("x-amz-if-match-last-modified-time"),
        size=headers.get("x-amz-if-match-size"),
    )


def make_delete_conditions(
    *, etag: str | None, last_modified: str | None, size: str | None
) -> Conditions:
    """The conditions of one deletion, from headers or from an Object element of DeleteObjects.

    Raises ApiError InvalidArgument for a time or size that is none, NotImplemented for several
    entity tags.
    """
    if etag is None and last_modified is None and size is None:
        return UNCONDITIONAL
    return Conditions(
        if_match=None if etag is None else _one_tag(etag),
        if_match_last_modified_s=None if last_modified is None else _time(last_modified),
        if_match_size=None if size is None else _size(size),
    )


def precondition_failed(name: str) -> ApiError:
    """The 412; `name` is the header that failed."""
    return ApiError("PreconditionFailed", fields={"Condition": name})


def _parse(headers: Mapping[str, str], prefix: str) -> ReadConditions | None:
    names = [prefix + name for name in _READ_NAMES] if prefix else _READ_NAMES
    match, none_match, unmodified, modified = map(headers.get, names)
    if match is None and none_match is None and unmodified is None and modified is None:
        return None
    return ReadConditions(
        if_match=None if match is None else parse_entity_tags(match),
        if_none_match=None if none_match is None else parse_entity_tags(none_match),
        if_unmodified_since_s=None if unmodified is None else parse_http_date(unmodified),
        if_modified_since_s=None if modified is None else parse_http_date(modified),
    )


def _one_tag(value: str) -> str:
    """The one entity tag of a write condition, without quotes, or `*`.

    A weak tag is kept with its `W/`, which is no tag of ours: strong comparison never matches it.
    """
    tags = parse_entity_tags(value)
    if tags.any:
        return "*"
    if len(tags.strong) == 1 and not tags.weak:
        return tags.strong[0]
    if len(tags.weak) == 1 and not tags.strong:
        return f"W/{tags.weak[0]}"
    raise _not_implemented("If-Match", value)


def _time(value: str) -> int:
    seconds = parse_time(value)
    if seconds is None:
        raise ApiError(
            "InvalidArgument",
            fields={"ArgumentName": "LastModifiedTime", "ArgumentValue": value},
        )
    return seconds


def _size(value: str) -> int:
    digits = value.strip()
    if not (digits.isascii() and digits.isdigit() and len(digits) <= _SIZE_DIGITS_MAX):
        raise ApiError("InvalidArgument", fields={"ArgumentName": "Size", "ArgumentValue": value})
    return int(digits)


def _not_implemented(name: str, value: str) -> ApiError:
    return ApiError(
        "NotImplemented",
        "A header you provided implies functionality that is not implemented",
        fields={
            "Header": name,
            "additionalMessage": f"We don't accept the provided value: {value}",
        },
    )
