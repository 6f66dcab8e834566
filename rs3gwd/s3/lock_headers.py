"""The headers of Object Lock: what a write asks for and what a read is told; pure.

Sources: PutObject, CreateBucket and HeadObject in the Amazon S3 API Reference.
"""

from collections.abc import Mapping

from rs3gwd.base.errors import ApiError
from rs3gwd.base.records import LockMode, ObjectLock, Retention
from rs3gwd.s3.arguments import argument_error
from rs3gwd.s3.dates import iso_time, parse_time

LOCK_ENABLED_HEADER = "x-amz-bucket-object-lock-enabled"
MODE_HEADER = "x-amz-object-lock-mode"
UNTIL_HEADER = "x-amz-object-lock-retain-until-date"
HOLD_HEADER = "x-amz-object-lock-legal-hold"

HOLDS = {"ON": True, "OFF": False}


def wants_object_lock(headers: Mapping[str, str]) -> bool:
    """Whether CreateBucket is to make a bucket whose versions can be locked.

    Raises ApiError InvalidArgument.
    """
    value = headers.get(LOCK_ENABLED_HEADER)
    if value is None:
        return False
    if value.lower() not in ("true", "false"):
        raise argument_error(LOCK_ENABLED_HEADER, value, "The value must be true or false.")
    return value.lower() == "true"


def lock_from(headers: Mapping[str, str], *, now_ms: int) -> ObjectLock | None:
    """The lock that the headers of a write ask for, None for none.

    Raises ApiError InvalidArgument (a mode without a date or the other way round, an unknown mode
    or status, a date that is over).
    """
    mode, until, hold = (headers.get(name) for name in (MODE_HEADER, UNTIL_HEADER, HOLD_HEADER))
    if mode is None and until is None and hold is None:
        return None
    if (mode is None) != (until is None):
        raise ApiError("InvalidArgument", f"{UNTIL_HEADER} and {MODE_HEADER} must both be supplied")
    retention = None
    if mode is not None:
        if mode not in LockMode.__members__:
            raise argument_error(MODE_HEADER, mode, "Unknown wormMode directive.")
        retention = retention_until(LockMode[mode], until or "", now_ms=now_ms)
    if hold is not None and hold not in HOLDS:
        raise argument_error(HOLD_HEADER, hold, "Legal Hold must be either of 'ON' or 'OFF'")
    return ObjectLock(retention, None if hold is None else HOLDS[hold])


def lock_headers(lock: ObjectLock) -> list[tuple[str, str]]:
    """What GetObject and HeadObject say of the lock of a version."""
    shown = []
    if lock.retention is not None:
        shown.append((MODE_HEADER, str(lock.retention.mode)))
        shown.append((UNTIL_HEADER, iso_time(lock.retention.until_ms)))
    if lock.legal_hold is not None:
        shown.append((HOLD_HEADER, "ON" if lock.legal_hold else "OFF"))
    return shown


def retention_until(mode: LockMode, until: str, *, now_ms: int) -> Retention:
    """A retention up to a date written in ISO 8601. Raises ApiError InvalidArgument."""
    until_s = parse_time(until)
    if until_s is None:
        raise argument_error(
            UNTIL_HEADER, until, "The retain until date must be provided in ISO 8601 format"
        )
    if until_s * 1000 <= now_ms:
        raise argument_error(UNTIL_HEADER, until, "The retain until date must be in the future!")
    return Retention(mode, until_s * 1000)
