"""Dates as S3 writes and reads them; pure.

IMF-fixdate in headers, ISO 8601 with `.000Z` in XML. S3 shows the whole second everywhere: the
Last-Modified header cannot say more (RFC 9110 section 5.6.7), and a listing that said more would
disagree with it. A recipient of an HTTP date must also understand two obsolete forms (RFC 850,
asctime); the time of a conditional delete comes in one of them or as ISO 8601.
"""

import re
from calendar import timegm
from datetime import UTC, datetime
from functools import lru_cache

_DAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
_TWO_DIGITS = tuple(f"{number:02}" for number in range(60))
_MONTH_NUMBERS = {name: index for index, name in enumerate(_MONTHS, start=1)}

DATES_KEPT = 4096
"""Seconds whose text is kept, 100 bytes each: what is read together was often written together."""

_IMF_FIXDATE = re.compile(
    r"[A-Z][a-z]{2}, ([0-9]{2}) ([A-Z][a-z]{2}) ([0-9]{4}) ([0-9]{2}):([0-9]{2}):([0-9]{2}) GMT"
)
_RFC850 = re.compile(
    r"[A-Z][a-z]{5,8}, ([0-9]{2})-([A-Z][a-z]{2})-([0-9]{2}) ([0-9]{2}):([0-9]{2}):([0-9]{2}) GMT"
)
_ASCTIME = re.compile(
    r"[A-Z][a-z]{2} ([A-Z][a-z]{2}) ([ 0-9][0-9]) ([0-9]{2}):([0-9]{2}):([0-9]{2}) ([0-9]{4})"
)
_ISO = re.compile(
    r"([0-9]{4})-([0-9]{2})-([0-9]{2})T([0-9]{2}):([0-9]{2}):([0-9]{2})(?:\.[0-9]{1,9})?Z"
)


def iso_time(time_ms: int) -> str:
    """Such as `2009-10-12T17:50:30.000Z`; `time_ms` counts from 1970-01-01 UTC."""
    return f"{datetime.fromtimestamp(time_ms // 1000, UTC).isoformat()[:19]}.000Z"


def http_date(time_ms: int) -> str:
    """Such as `Mon, 12 Oct 2009 17:50:30 GMT` (IMF-fixdate)."""
    return _http_date_of_second(time_ms // 1000)


@lru_cache(DATES_KEPT)
def _http_date_of_second(time_s: int) -> str:
    at = datetime.fromtimestamp(time_s, UTC)
    # From tables: format specifications would double the cost, and every GET pays it.
    return (
        f"{_DAYS[at.weekday()]}, {_TWO_DIGITS[at.day]} {_MONTHS[at.month - 1]} {at.year:04} "
        f"{_TWO_DIGITS[at.hour]}:{_TWO_DIGITS[at.minute]}:{_TWO_DIGITS[at.second]} GMT"
    )


def parse_http_date(value: str) -> int | None:
    """Seconds since 1970 of any of the three forms of RFC 9110 section 5.6.7, or None."""
    if match := _IMF_FIXDATE.fullmatch(value):
        day, month, year, *clock = match.groups()
        return _seconds(int(year), month, int(day), clock)
    if match := _RFC850.fullmatch(value):
        day, month, short_year, *clock = match.groups()
        # RFC 9110: a two-digit year that seems to lie more than 50 years ahead means the past;
        # RFC 850 dates were written from 1970 on, so the window is fixed instead of moving.
        year_number = int(short_year)
        century = 1900 if year_number >= 70 else 2000
        return _seconds(century + year_number, month, int(day), clock)
    if match := _ASCTIME.fullmatch(value):
        month, day, *clock, year = match.groups()
        return _seconds(int(year), month, int(day), clock)
    return None


def parse_time(value: str) -> int | None:
    """Seconds since 1970 of an HTTP date or of an ISO 8601 time in UTC, or None."""
    match = _ISO.fullmatch(value)
    if match is None:
        return parse_http_date(value)
    year, month, day, *clock = match.groups()
    month_number = int(month)
    if not 1 <= month_number <= 12:
        return None
    return _seconds(int(year), _MONTHS[month_number - 1], int(day), clock)


def _seconds(year: int, month: str, day: int, clock: list[str]) -> int | None:
    """Seconds since 1970, or None where the calendar has no such moment (a leap second is one)."""
    hour, minute, second = (int(part) for part in clock)
    month_number = _MONTH_NUMBERS.get(month)
    if month_number is None or hour > 23 or minute > 59 or second > 60:
        return None
    try:
        datetime(year, month_number, day, tzinfo=UTC)
    except ValueError:
        return None
    return timegm((year, month_number, day, hour, minute, second))
