"""Byte ranges: RFC 9110 section 14 and what Amazon S3 makes of it."""

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rs3gwd.base.errors import ApiError
from rs3gwd.s3.ranges import ByteRange, content_range, parse_copy_source_range, parse_range

SATISFIABLE = [
    ("bytes=0-0", 10, (0, 1)),
    ("bytes=0-9", 10, (0, 10)),
    ("bytes=0-99", 10, (0, 10)),
    ("bytes=9-", 10, (9, 10)),
    ("bytes=2-4", 10, (2, 5)),
    ("bytes=-1", 10, (9, 10)),
    ("bytes=-10", 10, (0, 10)),
    ("bytes=-99", 10, (0, 10)),
    ("bytes=-99999999999999999999999999", 10, (0, 10)),
    ("bytes=3-99999999999999999999999999", 10, (3, 10)),
    ("BYTES=1-2", 10, (1, 3)),
    ("bytes= 1-2", 10, (1, 3)),
    ("bytes=0000000000000000000000001-2", 10, (1, 3)),
]
"""Sections 14.1.1, 14.1.2: units in any letter case; a last position may lie behind the end."""

UNSATISFIABLE = [
    ("bytes=10-", 10),
    ("bytes=10-20", 10),
    ("bytes=99999999999999999999999999-", 10),
    ("bytes=-0", 10),
    ("bytes=0-", 0),
    ("bytes=0-0", 0),
    ("bytes=-1", 0),
]
"""Section 14.1.2 and, for an empty object, that a 206 cannot name an empty range."""

IGNORED = [
    "",
    "bytes",
    "bytes=",
    "bytes=-",
    "bytes=a-b",
    "bytes=1",
    "bytes=2-1",
    "bytes=--1",
    "bytes=1-2-3",
    "bytes=0x1-2",
    "bytes=+1-2",
    "bytes=1.0-2",
    "bytes=\u0661-2",
    "items=0-1",
    "=0-1",
    "0-1",
    "bytes=0-1,3-4",
    "bytes=0-1,",
    "bytes=99-,0-1",
]
"""Section 14.2: what is malformed, of another unit, or (S3) several ranges counts as not there."""


@pytest.mark.parametrize(("value", "size", "expected"), SATISFIABLE)
def test_a_range_inside_selects_its_bytes(value: str, size: int, expected: tuple[int, int]) -> None:
    """Single, open and suffix ranges give half-open positions, cut at the end of the object."""
    assert parse_range(value, size) == ByteRange(*expected)


@pytest.mark.parametrize(("value", "size"), UNSATISFIABLE)
def test_a_range_of_nothing_is_416_with_the_size(value: str, size: int) -> None:
    """RFC 9110 section 15.5.17: 416 tells the current length in Content-Range."""
    with pytest.raises(ApiError) as caught:
        parse_range(value, size)
    assert caught.value.api_code == "InvalidRange"
    assert caught.value.fields == {"RangeRequested": value, "ActualObjectSize": str(size)}
    assert caught.value.headers == [("Content-Range", f"bytes */{size}")]


@pytest.mark.parametrize("value", IGNORED)
def test_a_header_that_is_no_single_range_is_ignored(value: str) -> None:
    """Such a request gets the whole object with 200."""
    assert parse_range(value, 10) is None


@given(
    first=st.integers(0, 30) | st.none(),
    last=st.integers(0, 30) | st.none(),
    size=st.integers(0, 20),
)
def test_ranges_agree_with_slices_of_a_byte_string(
    first: int | None, last: int | None, size: int
) -> None:
    """A second implementation: number every byte and keep those that the words of the RFC name."""
    value = f"bytes={'' if first is None else first}-{'' if last is None else last}"
    everything = range(size)
    if first is None:
        wanted = None if last is None else [i for i in everything if i >= size - last]
    elif last is None:
        wanted = [i for i in everything if i >= first]
    else:
        wanted = None if last < first else [i for i in everything if first <= i <= last]
    if wanted is None:
        assert parse_range(value, size) is None
    elif not wanted:
        with pytest.raises(ApiError):
            parse_range(value, size)
    else:
        found = parse_range(value, size)
        assert found is not None
        assert list(everything)[found.start : found.end] == wanted


@given(st.text(max_size=40), st.integers(0, 1000))
def test_no_text_makes_the_parser_fail(text: str, size: int) -> None:
    """Whatever stands in the header, the answer is a range inside the object, none, or 416."""
    found = None
    with contextlib.suppress(ApiError):
        found = parse_range(text, size)
    assert found is None or 0 <= found.start < found.end <= size


def test_content_range_counts_the_last_byte() -> None:
    """RFC 9110 section 14.4: positions are inclusive on the wire."""
    assert content_range(ByteRange(2, 5), 10) == "bytes 2-4/10"


@pytest.mark.parametrize(
    ("value", "expected"), [("bytes=0-9", (0, 10)), ("bytes=3-3", (3, 4)), (" bytes=0-0 ", (0, 1))]
)
def test_a_copy_range_inside_the_source_is_taken(value: str, expected: tuple[int, int]) -> None:
    """UploadPartCopy: x-amz-copy-source-range is bytes=first-last."""
    assert parse_copy_source_range(value, 10) == ByteRange(*expected)


@pytest.mark.parametrize(
    "value",
    ["bytes=0-10", "bytes=5-4", "bytes=0-", "bytes=-3", "0-3", "bytes=a-b", "bytes=0-1,3-4"],
)
def test_any_other_copy_range_is_refused(value: str) -> None:
    """UploadPartCopy takes no open, suffix or multiple range and none beyond the source."""
    with pytest.raises(ApiError) as caught:
        parse_copy_source_range(value, 10)
    assert caught.value.api_code == "InvalidArgument"
    assert caught.value.fields["ArgumentName"] == "x-amz-copy-source-range"
