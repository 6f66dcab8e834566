"""The commands of Object Lock. The rules are in `locks`; each command checks, then writes.

Source: Amazon S3 API Reference, PutObjectLockConfiguration, PutObjectRetention, PutObjectLegalHold.
"""

from __future__ import annotations

import msgspec

from rs3gwd.base.commands import PutBucketLock, PutObjectLegalHold, PutObjectRetention
from rs3gwd.base.errors import InvalidBucketState
from rs3gwd.base.records import (
    Attributes,
    BucketRecord,
    ObjectLock,
    Versioning,
    VersionRecord,
)
from rs3gwd.engine.apply_objects import change_version
from rs3gwd.engine.apply_state import ApplyState
from rs3gwd.engine.locks import check_retention_change, require_lock


def put_bucket_lock(state: ApplyState, command: PutBucketLock) -> BucketRecord:
    """Lets versions be locked from now on; those that are there get no retention by it."""
    bucket = state.bucket(command.name)
    if bucket.versioning is not Versioning.ENABLED:
        raise InvalidBucketState(
            "Versioning must be 'Enabled' on the bucket to apply a Object Lock configuration"
        )
    record = msgspec.structs.replace(
        bucket, object_lock=True, default_retention=command.default_retention
    )
    state.put_bucket(record)
    return record


def put_object_retention(state: ApplyState, command: PutObjectRetention) -> VersionRecord:
    """Sets, extends or, where the rules let it, weakens the retention of a version."""

    def change(bucket: BucketRecord, attributes: Attributes) -> Attributes:
        require_lock(bucket)
        lock = attributes.lock or ObjectLock()
        check_retention_change(
            lock.retention,
            command.retention,
            now_ms=command.now_ms,
            bypass_governance=command.bypass_governance,
        )
        return _with_lock(attributes, ObjectLock(command.retention, lock.legal_hold))

    return change_version(state, command.bucket, command.key, command.version_id, change)


def put_object_legal_hold(state: ApplyState, command: PutObjectLegalHold) -> VersionRecord:
    """Sets or lifts a hold; whoever may do the one may do the other."""

    def change(bucket: BucketRecord, attributes: Attributes) -> Attributes:
        require_lock(bucket)
        lock = attributes.lock or ObjectLock()
        return _with_lock(attributes, ObjectLock(lock.retention, command.legal_hold))

    return change_version(state, command.bucket, command.key, command.version_id, change)


def _with_lock(attributes: Attributes, lock: ObjectLock) -> Attributes:
    return msgspec.structs.replace(attributes, lock=None if lock == ObjectLock() else lock)
