"""Dates: RFC 9110 section 5.6.7 and the ISO form of S3's XML."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rs3gwd.s3.dates import http_date, iso_time, parse_http_date, parse_time

RFC_EXAMPLE_S = 784111777


@pytest.mark.parametrize(
    "text",
    [
        "Sun, 06 Nov 1994 08:49:37 GMT",
        "Sunday, 06-Nov-94 08:49:37 GMT",
        "Sun Nov  6 08:49:37 1994",
    ],
)
def test_the_three_forms_of_the_rfc_are_understood(text: str) -> None:
    """The examples of RFC 9110 section 5.6.7 are the same moment."""
    assert parse_http_date(text) == RFC_EXAMPLE_S


@pytest.mark.parametrize(
    "text",
    [
        "",
        "Sun, 06 Nov 1994 08:49:37",
        "Sun, 06 Nov 1994 08:49:37 +0000",
        "Sun, 31 Feb 1994 08:49:37 GMT",
        "Sun, 06 Foo 1994 08:49:37 GMT",
        "Sun, 06 Nov 1994 24:00:00 GMT",
        "Sun, 06 Nov 0000 08:49:37 GMT",
        " Sun, 06 Nov 1994 08:49:37 GMT",
        "1994-11-06T08:49:37Z",
    ],
)
def test_anything_else_is_no_http_date(text: str) -> None:
    """Such a condition is ignored, so the parser must not guess."""
    assert parse_http_date(text) is None


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("1994-11-06T08:49:37Z", RFC_EXAMPLE_S),
        ("1994-11-06T08:49:37.000Z", RFC_EXAMPLE_S),
        ("Sun, 06 Nov 1994 08:49:37 GMT", RFC_EXAMPLE_S),
        ("1994-13-06T08:49:37Z", None),
        ("1994-00-06T08:49:37Z", None),
        ("1994-11-06", None),
    ],
)
def test_the_time_of_a_delete_may_be_iso_or_http(text: str, expected: int | None) -> None:
    """SDKs write it as an HTTP date, tools as ISO 8601."""
    assert parse_time(text) == expected


@given(st.integers(0, 253_402_300_799_999))
def test_what_is_written_is_read_back_to_the_second(time_ms: int) -> None:
    """Both forms cut to whole seconds and agree with each other."""
    assert parse_http_date(http_date(time_ms)) == time_ms // 1000
    assert parse_time(iso_time(time_ms)) == time_ms // 1000


@given(st.text(max_size=40))
def test_no_text_makes_the_parser_fail(text: str) -> None:
    """A hostile header is no date, and no exception."""
    assert parse_time(text) is None or isinstance(parse_time(text), int)
