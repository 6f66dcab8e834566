"""How a time in milliseconds is written in S3's XML and headers.

S3 shows the whole second everywhere: the Last-Modified header cannot say more (RFC 9110 section
5.6.7), and a listing that said more would disagree with it. Pure.
"""

from datetime import UTC, datetime

_DAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")


def iso8601(time_ms: int) -> str:
    """Such as `2009-10-12T17:50:30.000Z`; `time_ms` counts from 1970-01-01 UTC."""
    return f"{datetime.fromtimestamp(time_ms // 1000, UTC).isoformat()[:19]}.000Z"


def http_date(time_ms: int) -> str:
    """Such as `Mon, 12 Oct 2009 17:50:30 GMT` (IMF-fixdate)."""
    at = datetime.fromtimestamp(time_ms // 1000, UTC)
    return (
        f"{_DAYS[at.weekday()]}, {at.day:02d} {_MONTHS[at.month - 1]} {at.year:04d} "
        f"{at.hour:02d}:{at.minute:02d}:{at.second:02d} GMT"
    )
