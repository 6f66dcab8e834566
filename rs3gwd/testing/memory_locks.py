"""Object Lock in the reference model, written as the User Guide says it.

Source: Amazon S3 User Guide, "Locking objects with Object Lock"; PutObjectRetention,
PutObjectLegalHold and PutObjectLockConfiguration in the API Reference.
"""

from __future__ import annotations

from datetime import timedelta

import msgspec

from rs3gwd.base import commands as c
from rs3gwd.base.errors import InvalidBucketState, InvalidRequest, ObjectLocked
from rs3gwd.base.records import (
    Attributes,
    BucketRecord,
    LockMode,
    ObjectLock,
    Retention,
    Versioning,
    VersionRecord,
)
from rs3gwd.testing.memory_state import (
    MemoryState,
    bucket_object,
    change_attributes,
    change_bucket,
)


def may_go(lock: ObjectLock | None, now_ms: int, *, bypass: bool) -> bool:
    """Whether a version may be deleted now."""
    if lock is None:
        return True
    return not lock.legal_hold and _is_weak(lock.retention, now_ms, bypass=bypass)


def require_lock(bucket: BucketRecord) -> None:
    """Raises InvalidRequest for a bucket without Object Lock."""
    if not bucket.object_lock:
        raise InvalidRequest("Bucket is missing Object Lock Configuration")


def with_bucket_retention(bucket: BucketRecord, attributes: Attributes, now_ms: int) -> Attributes:
    """The attributes of a new version."""
    lock = attributes.lock
    if lock is not None:
        require_lock(bucket)
    default = bucket.default_retention
    if default is None:
        return attributes
    if lock is not None and lock.retention is not None:
        return attributes
    period = timedelta(days=(default.days or 0) + 365 * (default.years or 0))
    retention = Retention(default.mode, now_ms + int(period.total_seconds()) * 1000)
    held = None if lock is None else lock.legal_hold
    return msgspec.structs.replace(attributes, lock=ObjectLock(retention, held))


def put_bucket_lock(state: MemoryState, command: c.PutBucketLock) -> BucketRecord:
    """Only a versioned bucket can lock."""
    if state.bucket(command.name).record.versioning is not Versioning.ENABLED:
        raise InvalidBucketState("versioning must be enabled")
    return change_bucket(
        state, command.name, object_lock=True, default_retention=command.default_retention
    )


def put_object_retention(state: MemoryState, command: c.PutObjectRetention) -> VersionRecord:
    """Longer in the same mode is always right; anything else only where nothing protects."""
    bucket = state.bucket(command.bucket)
    version = bucket_object(bucket, command.key, command.version_id)
    require_lock(bucket.record)
    lock = version.attributes.lock or ObjectLock()
    old, new = lock.retention, command.retention
    extends = (
        old is not None
        and new is not None
        and old.mode is new.mode
        and new.until_ms >= old.until_ms
    )
    if not extends and not _is_weak(old, command.now_ms, bypass=command.bypass_governance):
        raise ObjectLocked("Access Denied because object protected by object lock.")
    changed = ObjectLock(new, lock.legal_hold)
    return change_attributes(
        bucket, command.key, version, lock=changed if changed != ObjectLock() else None
    )


def put_object_legal_hold(state: MemoryState, command: c.PutObjectLegalHold) -> VersionRecord:
    """On and off, at any time."""
    bucket = state.bucket(command.bucket)
    version = bucket_object(bucket, command.key, command.version_id)
    require_lock(bucket.record)
    lock = version.attributes.lock or ObjectLock()
    changed = ObjectLock(lock.retention, command.legal_hold)
    return change_attributes(
        bucket, command.key, version, lock=changed if changed != ObjectLock() else None
    )


def _is_weak(retention: Retention | None, now_ms: int, *, bypass: bool) -> bool:
    if retention is None or now_ms >= retention.until_ms:
        return True
    return bypass and retention.mode is LockMode.GOVERNANCE
