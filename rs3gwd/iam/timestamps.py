"""The three ways in which dates are written in signed requests, to and from milliseconds.

Basic ISO 8601 (`20130524T000000Z`, x-amz-date), IMF-fixdate (`Fri, 24 May 2013 00:00:00 GMT`, the
Date header, RFC 9110 section 5.6.7) and extended ISO 8601 (`2013-05-24T00:00:00Z`, in the fields of
error answers). Nothing here reads a clock.
"""

from datetime import UTC, datetime
from functools import lru_cache

MILLISECONDS_MAX = 253_402_300_799_000
"""9999-12-31T23:59:59Z: the last instant that four digits of year can say."""

INSTANTS_KEPT = 1024
"""Texts whose instant is kept, 100 bytes each: all requests signed in one second carry the same."""

_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
_ZONES = ("GMT", "UTC", "+0000")


@lru_cache(INSTANTS_KEPT)
def parse_basic(text: str) -> int | None:
    """Milliseconds of `YYYYMMDDTHHMMSSZ`, or None when `text` is not exactly that."""
    if len(text) != 16 or text[8] != "T" or text[15] != "Z":
        return None
    if not (text[:8].isdecimal() and text[9:15].isdecimal() and text.isascii()):
        return None
    try:
        return int(datetime.fromisoformat(text).timestamp()) * 1000
    except ValueError:
        return None


def basic_of_http_date(text: str) -> str | None:
    """The basic form of an IMF-fixdate, or None when `text` is not one.

    The weekday's name is not compared with the date, as no reader of HTTP dates does.
    """
    words = text.split(" ")
    if len(words) != 6 or words[2] not in _MONTHS or words[5] not in _ZONES or not text.isascii():
        return None
    day, year, clock = words[1], words[3], words[4].split(":")
    numbers = [day, year, *clock]
    if [len(number) for number in numbers] != [2, 4, 2, 2, 2]:
        return None
    if not all(number.isdecimal() for number in numbers):
        return None
    basic = f"{year}{_MONTHS.index(words[2]) + 1:02}{day}T{''.join(clock)}Z"
    return basic if parse_basic(basic) is not None else None


def format_extended(instant_ms: int) -> str:
    """`YYYY-MM-DDTHH:MM:SSZ` of an instant, cut to whole seconds and to the years 1970 to 9999."""
    seconds = min(max(instant_ms, 0), MILLISECONDS_MAX) // 1000
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
