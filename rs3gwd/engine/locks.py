"""The rules of Object Lock: when a version may go, and how its protection may change.

What it is not: it reads and writes no row. The apply asks these functions before it removes or
changes a version, so no path to a deletion goes round them: every path is a command.

A version is protected while its legal hold is on or its retention lies in the future of the
command's time. GOVERNANCE yields to a caller whom the gate let bypass it; COMPLIANCE yields to
nobody, the root account included. Protection can always be made stronger.

Source: Amazon S3 User Guide, "Locking objects with Object Lock", "Object Lock considerations".
"""

from __future__ import annotations

import msgspec

from rs3gwd.base.errors import InvalidRequest, ObjectLocked
from rs3gwd.base.records import (
    Attributes,
    BucketRecord,
    DefaultRetention,
    LockMode,
    ObjectLock,
    Retention,
)

DAY_MS = 24 * 3600 * 1000
YEAR_DAYS = 365

_LOCKED = "Access Denied because object protected by object lock."


def check_unlocked(lock: ObjectLock | None, *, now_ms: int, bypass_governance: bool) -> None:
    """Raises ObjectLocked when a version must stay."""
    if lock is None:
        return
    if lock.legal_hold:
        raise ObjectLocked(_LOCKED)
    if not _may_weaken(lock.retention, now_ms=now_ms, bypass_governance=bypass_governance):
        raise ObjectLocked(_LOCKED)


def check_retention_change(
    old: Retention | None, new: Retention | None, *, now_ms: int, bypass_governance: bool
) -> None:
    """Raises ObjectLocked when `new` would protect a version less than `old` does."""
    if old is None or new is None or new.mode is not old.mode:
        extends = False
    else:
        extends = new.until_ms >= old.until_ms
    if not extends and not _may_weaken(old, now_ms=now_ms, bypass_governance=bypass_governance):
        raise ObjectLocked(_LOCKED)


def require_lock(bucket: BucketRecord) -> None:
    """Raises InvalidRequest when versions of this bucket cannot be locked."""
    if not bucket.object_lock:
        raise InvalidRequest("Bucket is missing Object Lock Configuration")


def locked_attributes(bucket: BucketRecord, attributes: Attributes, now_ms: int) -> Attributes:
    """What a new version has: its own lock, and the bucket's retention where it brings none.

    Raises InvalidRequest when it brings a lock and the bucket has none.
    """
    lock = attributes.lock
    if lock is not None:
        require_lock(bucket)
    default = bucket.default_retention
    if default is None or (lock is not None and lock.retention is not None):
        return attributes
    legal_hold = None if lock is None else lock.legal_hold
    given = ObjectLock(default_until(default, now_ms), legal_hold=legal_hold)
    return msgspec.structs.replace(attributes, lock=given)


def default_until(default: DefaultRetention, now_ms: int) -> Retention:
    """The retention of a version that is written now."""
    days = (default.days or 0) + (default.years or 0) * YEAR_DAYS
    return Retention(default.mode, now_ms + days * DAY_MS)


def _may_weaken(retention: Retention | None, *, now_ms: int, bypass_governance: bool) -> bool:
    if retention is None or retention.until_ms <= now_ms:
        return True
    return bypass_governance and retention.mode is LockMode.GOVERNANCE
