"""Preconditions of reads and writes: RFC 9110 section 13 and Amazon S3's tables."""

from email.utils import parsedate_to_datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rs3gwd.base.commands import UNCONDITIONAL, Conditions
from rs3gwd.base.errors import ApiError
from rs3gwd.s3.conditions import (
    Verdict,
    check_copy_source,
    copy_source_conditions,
    delete_conditions,
    evaluate,
    make_delete_conditions,
    range_applies,
    read_conditions,
    write_conditions,
)
from rs3gwd.s3.dates import http_date, iso_time

ETAG = "5d41402abc4b2a76b9719d911017c592"
MODIFIED_MS = 1_700_000_000_999
BEFORE = http_date(MODIFIED_MS - 10_000)
AT = http_date(MODIFIED_MS)
AFTER = http_date(MODIFIED_MS + 10_000)

PROCEED, NOT_MODIFIED, FAILED = Verdict.PROCEED, Verdict.NOT_MODIFIED, Verdict.FAILED

READS = [
    # RFC 9110 section 13.1.1, If-Match: strong comparison, lists, `*`.
    ({"if-match": f'"{ETAG}"'}, PROCEED),
    ({"if-match": ETAG}, PROCEED),
    ({"if-match": "*"}, PROCEED),
    ({"if-match": f'"x", "{ETAG}"'}, PROCEED),
    ({"if-match": '"x,y"'}, FAILED),
    ({"if-match": '"x"'}, FAILED),
    ({"if-match": ""}, FAILED),
    ({"if-match": f'W/"{ETAG}"'}, FAILED),
    # Section 13.1.2, If-None-Match: weak comparison.
    ({"if-none-match": f'"{ETAG}"'}, NOT_MODIFIED),
    ({"if-none-match": f'W/"{ETAG}"'}, NOT_MODIFIED),
    ({"if-none-match": "*"}, NOT_MODIFIED),
    ({"if-none-match": f'"x", W/"{ETAG}"'}, NOT_MODIFIED),
    ({"if-none-match": '"x"'}, PROCEED),
    # Section 13.1.3 and 13.1.4: whole seconds; what is no date is ignored.
    ({"if-modified-since": BEFORE}, PROCEED),
    ({"if-modified-since": AT}, NOT_MODIFIED),
    ({"if-modified-since": AFTER}, NOT_MODIFIED),
    ({"if-modified-since": "yesterday"}, PROCEED),
    ({"if-unmodified-since": BEFORE}, FAILED),
    ({"if-unmodified-since": AT}, PROCEED),
    ({"if-unmodified-since": AFTER}, PROCEED),
    ({"if-unmodified-since": "yesterday"}, PROCEED),
    # Section 13.2.2 and GetObject's table: an ETag condition silences the date beside it.
    ({"if-match": f'"{ETAG}"', "if-unmodified-since": BEFORE}, PROCEED),
    ({"if-match": '"x"', "if-unmodified-since": AFTER}, FAILED),
    ({"if-none-match": f'"{ETAG}"', "if-modified-since": BEFORE}, NOT_MODIFIED),
    ({"if-none-match": '"x"', "if-modified-since": AFTER}, PROCEED),
    # 412 is decided before 304.
    ({"if-match": '"x"', "if-none-match": f'"{ETAG}"'}, FAILED),
    ({"if-match": f'"{ETAG}"', "if-none-match": f'"{ETAG}"'}, NOT_MODIFIED),
    ({"if-unmodified-since": BEFORE, "if-none-match": f'"{ETAG}"'}, FAILED),
]


@pytest.mark.parametrize(("headers", "expected"), READS)
def test_reads_follow_the_precedence_of_rfc_9110(
    headers: dict[str, str], expected: Verdict
) -> None:
    """Section 13.2.2, which is also the table of GetObject."""
    conditions = read_conditions(headers)
    assert conditions is not None
    verdict, _ = evaluate(conditions, etag=ETAG, last_modified_ms=MODIFIED_MS)
    assert verdict is expected


@pytest.mark.parametrize(("headers", "expected"), READS)
def test_a_copy_source_fails_with_412_where_a_read_would_not_proceed(
    headers: dict[str, str], expected: Verdict
) -> None:
    """CopyObject: a false x-amz-copy-source-if-none-match is 412 and no 304."""
    renamed = {f"x-amz-copy-source-{name}": value for name, value in headers.items()}
    conditions = copy_source_conditions(renamed)
    if expected is PROCEED:
        check_copy_source(conditions, etag=ETAG, last_modified_ms=MODIFIED_MS)
        return
    with pytest.raises(ApiError) as caught:
        check_copy_source(conditions, etag=ETAG, last_modified_ms=MODIFIED_MS)
    assert caught.value.api_code == "PreconditionFailed"
    assert caught.value.fields["Condition"].lower() in renamed


def test_a_request_without_conditions_has_none() -> None:
    """The everyday read does no work for conditions."""
    assert read_conditions({"range": "bytes=0-1"}) is None
    assert copy_source_conditions({"if-match": '"x"'}) is None
    check_copy_source(None, etag=ETAG, last_modified_ms=0)


def naive_verdict(headers: dict[str, str], etag: str, modified_s: int) -> Verdict:
    """RFC 9110 section 13.2.2 as its five numbered steps stand there."""

    def date(name: str) -> float:
        return parsedate_to_datetime(headers[name]).timestamp()

    def names(name: str) -> list[str]:
        return [part.strip() for part in headers[name].split(",")]

    if "if-match" in headers and not ({"*", f'"{etag}"'} & set(names("if-match"))):
        return FAILED
    if (
        "if-match" not in headers
        and "if-unmodified-since" in headers
        and not modified_s <= date("if-unmodified-since")
    ):
        return FAILED
    if "if-none-match" in headers:
        matching = {"*", f'"{etag}"', f'W/"{etag}"'} & set(names("if-none-match"))
        return NOT_MODIFIED if matching else PROCEED
    if "if-modified-since" in headers and not modified_s > date("if-modified-since"):
        return NOT_MODIFIED
    return PROCEED


TAG_LISTS = st.sampled_from(['"a"', '"b"', '"a", "b"', "*", 'W/"a"', 'W/"b", "a"'])
DATES = st.integers(0, 5).map(lambda seconds: http_date(seconds * 1000))


@given(
    headers=st.fixed_dictionaries(
        {},
        optional={
            "if-match": TAG_LISTS,
            "if-none-match": TAG_LISTS,
            "if-modified-since": DATES,
            "if-unmodified-since": DATES,
        },
    ),
    modified_ms=st.integers(0, 5999),
)
def test_every_combination_agrees_with_the_steps_of_the_rfc(
    headers: dict[str, str], modified_ms: int
) -> None:
    """All sets of the four headers, against a second implementation."""
    expected = naive_verdict(headers, "a", modified_ms // 1000)
    conditions = read_conditions(headers)
    if conditions is None:
        assert expected is PROCEED
        assert not headers
    else:
        assert evaluate(conditions, etag="a", last_modified_ms=modified_ms)[0] is expected


@pytest.mark.parametrize(
    ("if_range", "expected"),
    [
        (None, True),
        (f'"{ETAG}"', True),
        ('"x"', False),
        (f'W/"{ETAG}"', False),
        ("*", False),
        (AT, True),
        (BEFORE, False),
        (AFTER, False),
        ("garbage", False),
    ],
)
def test_if_range_needs_exactly_this_version(if_range: str | None, expected: bool) -> None:
    """RFC 9110 section 13.1.5: strong comparison, and a date only when it is Last-Modified."""
    assert range_applies(if_range, etag=ETAG, last_modified_ms=MODIFIED_MS) is expected


@pytest.mark.parametrize(
    ("headers", "expected"),
    [
        ({}, UNCONDITIONAL),
        ({"if-none-match": "*"}, Conditions(if_none_match="*")),
        ({"if-match": f'"{ETAG}"'}, Conditions(if_match=ETAG)),
        ({"if-match": ETAG}, Conditions(if_match=ETAG)),
        ({"if-match": "*"}, Conditions(if_match="*")),
        ({"if-match": f'W/"{ETAG}"'}, Conditions(if_match=f"W/{ETAG}")),
    ],
)
def test_write_conditions_become_part_of_the_command(
    headers: dict[str, str], expected: Conditions
) -> None:
    """PutObject: create only, or replace only what was seen; a weak tag can match nothing."""
    assert write_conditions(headers) == expected


@pytest.mark.parametrize(
    "headers",
    [
        {"if-none-match": f'"{ETAG}"'},
        {"if-none-match": "*", "if-match": f'"{ETAG}"'},
        {"if-match": '"a", "b"'},
        {"if-modified-since": AT},
        {"if-unmodified-since": AT},
    ],
)
def test_a_write_condition_that_s3_does_not_take_is_not_implemented(
    headers: dict[str, str],
) -> None:
    """Ignoring it would do what the caller wanted to prevent."""
    with pytest.raises(ApiError) as caught:
        write_conditions(headers)
    assert caught.value.api_code == "NotImplemented"
    assert caught.value.fields["Header"].lower() in headers


def test_delete_conditions_come_from_three_headers() -> None:
    """DeleteObject: If-Match, x-amz-if-match-last-modified-time, x-amz-if-match-size."""
    assert delete_conditions({}) == UNCONDITIONAL
    assert delete_conditions(
        {
            "if-match": f'"{ETAG}"',
            "x-amz-if-match-last-modified-time": AT,
            "x-amz-if-match-size": "5",
        }
    ) == Conditions(if_match=ETAG, if_match_last_modified_s=MODIFIED_MS // 1000, if_match_size=5)


def test_the_time_of_a_delete_may_be_iso() -> None:
    """DeleteObjects: LastModifiedTime as a listing shows it."""
    made = make_delete_conditions(etag=None, last_modified=iso_time(MODIFIED_MS), size=None)
    assert made.if_match_last_modified_s == MODIFIED_MS // 1000


@pytest.mark.parametrize(
    ("headers", "code"),
    [
        ({"x-amz-if-match-size": "-1"}, "InvalidArgument"),
        ({"x-amz-if-match-size": "x"}, "InvalidArgument"),
        ({"x-amz-if-match-size": "9" * 30}, "InvalidArgument"),
        ({"x-amz-if-match-last-modified-time": "soon"}, "InvalidArgument"),
        ({"if-match": '"a", "b"'}, "NotImplemented"),
        ({"if-none-match": "*"}, "NotImplemented"),
        ({"if-unmodified-since": AT}, "NotImplemented"),
    ],
)
def test_a_delete_condition_that_cannot_be_kept_is_refused(
    headers: dict[str, str], code: str
) -> None:
    """A deletion never goes on with a condition that was not understood."""
    with pytest.raises(ApiError) as caught:
        delete_conditions(headers)
    assert caught.value.api_code == code
