"""The commands that write, delete and tag objects, in the three states of versioning.

What becomes of the version that was current, and of the null version:

    bucket       PUT                                  DELETE without a version id
    unversioned  replaces the null version            removes the null version
    enabled      current goes to HISTORY              current goes to HISTORY, marker on top
    suspended    replaces the null version wherever   replaces the null version by a null marker;
                 it is; other current to HISTORY      other current to HISTORY

A delete with a version id removes just that version; when it was the current one, the next older
becomes current. `rs3gwd.engine.versions` states the invariants that each function keeps.

Source: Amazon S3 User Guide, "Adding objects to versioning-enabled buckets", "Adding objects to
versioning-suspended buckets", "Deleting objects from versioning-suspended buckets", "Deleting
object versions from a versioning-enabled bucket".
"""

from __future__ import annotations

from collections.abc import Callable

import msgspec

from rs3gwd.base.codec import make_sequenced_id
from rs3gwd.base.commands import (
    DeleteObject,
    DeleteResult,
    PutObject,
    PutObjectAcl,
    PutObjectTagging,
)
from rs3gwd.base.errors import MethodNotAllowed, NoSuchVersion
from rs3gwd.base.records import (
    NULL_VERSION_ID,
    Attributes,
    BucketRecord,
    Versioning,
    VersionKind,
    VersionRecord,
)
from rs3gwd.engine.apply_state import ApplyState
from rs3gwd.engine.conditions import check_conditions
from rs3gwd.engine.locks import check_unlocked, locked_attributes
from rs3gwd.engine.versions import KeyVersions


def put_object(state: ApplyState, command: PutObject) -> VersionRecord:
    """Writes a version and makes it current."""
    bucket = state.bucket(command.bucket)
    versions = KeyVersions(state.txn, bucket.bucket_id, command.key)
    live = versions.live()
    check_conditions(command.conditions, live)
    attributes = locked_attributes(bucket, command.attributes, command.now_ms)
    seq = state.next_seq()
    record = VersionRecord(
        kind=VersionKind.OBJECT,
        version_id=new_version_id(bucket, seq, command.nonce),
        seq=seq,
        last_modified_ms=command.now_ms,
        size_bytes=command.size_bytes,
        etag=command.etag,
        attributes=attributes,
        checksum=command.checksum,
        blob=command.blob,
    )
    install(state, bucket, versions, live, record)
    return record


def new_version_id(bucket: BucketRecord, seq: int, nonce: bytes) -> str:
    """The id of a version written to `bucket` now."""
    if bucket.versioning is Versioning.ENABLED:
        return make_sequenced_id(seq, nonce)
    return NULL_VERSION_ID


def install(
    state: ApplyState,
    bucket: BucketRecord,
    versions: KeyVersions,
    live: VersionRecord | None,
    record: VersionRecord,
) -> None:
    """Makes `record`, an object with a new seq, the current version in the place of `live`."""
    # Else an overwrite could free a version that is locked.
    assert bucket.versioning is Versioning.ENABLED or not bucket.object_lock
    _displace(state, bucket, versions, live)
    versions.put_live(record, state.next_tree_id)


def delete_object(state: ApplyState, command: DeleteObject) -> DeleteResult:
    """Deletes as S3 does; what is not there is no error unless a condition asks for it."""
    bucket = state.bucket(command.bucket)
    versions = KeyVersions(state.txn, bucket.bucket_id, command.key)
    live = versions.live()
    if command.version_id is not None:
        return _delete_version(state, command, versions, live)
    check_conditions(command.conditions, live)
    if bucket.versioning is Versioning.UNVERSIONED:
        if live is not None:
            versions.delete_live()
            state.free_version(live)
        return DeleteResult(version_id=None, delete_marker=False)
    return _put_delete_marker(state, command, bucket, versions, live)


def put_object_tagging(state: ApplyState, command: PutObjectTagging) -> VersionRecord:
    """Replaces the tags of a version; nothing else of it changes, its date neither."""

    def change(_: BucketRecord, attributes: Attributes) -> Attributes:
        return msgspec.structs.replace(attributes, tags=command.tags)

    return change_version(state, command.bucket, command.key, command.version_id, change)


def put_object_acl(state: ApplyState, command: PutObjectAcl) -> VersionRecord:
    """Replaces the access control list of a version; its date does not change."""

    def change(_: BucketRecord, attributes: Attributes) -> Attributes:
        return msgspec.structs.replace(attributes, acl=command.acl)

    return change_version(state, command.bucket, command.key, command.version_id, change)


def change_version(
    state: ApplyState,
    bucket_name: str,
    key: bytes,
    version_id: str | None,
    change: Callable[[BucketRecord, Attributes], Attributes],
) -> VersionRecord:
    """Gives a version, the current one for None, the attributes that `change` makes of its own.

    Raises NoSuchBucket, NoSuchKey, NoSuchVersion, MethodNotAllowed (a delete marker), and what
    `change` raises.
    """
    bucket = state.bucket(bucket_name)
    versions = KeyVersions(state.txn, bucket.bucket_id, key)
    live = versions.live()
    target = live if version_id is None else versions.find(version_id)
    if target is None:
        if version_id is None:
            raise versions.missing_key()
        raise NoSuchVersion("The specified version does not exist.")
    if target.kind is VersionKind.DELETE_MARKER:
        raise MethodNotAllowed(
            "The specified method is not allowed against this resource.",
            delete_marker_version_id=target.version_id,
            last_modified_ms=target.last_modified_ms,
        )
    record = msgspec.structs.replace(target, attributes=change(bucket, target.attributes))
    if live is not None and live.seq == target.seq:
        versions.put_live(record, state.next_tree_id)
    else:
        versions.put_history(record, state.next_tree_id)
    return record


def _displace(
    state: ApplyState, bucket: BucketRecord, versions: KeyVersions, live: VersionRecord | None
) -> None:
    """Makes room for a new version: frees the null version that it replaces, or keeps `live`.

    The caller then overwrites or removes the LIVE row.
    """
    replaces_null = bucket.versioning is not Versioning.ENABLED
    if live is not None:
        if replaces_null and live.version_id == NULL_VERSION_ID:
            state.free_version(live)
            return
        versions.put_history(live, state.next_tree_id)
    if bucket.versioning is Versioning.SUSPENDED:
        replaced = versions.null_in_history()
        if replaced is not None:
            versions.delete_history(replaced)
            state.free_version(replaced)


def _put_delete_marker(
    state: ApplyState,
    command: DeleteObject,
    bucket: BucketRecord,
    versions: KeyVersions,
    live: VersionRecord | None,
) -> DeleteResult:
    _displace(state, bucket, versions, live)
    if live is not None:
        versions.delete_live()
    seq = state.next_seq()
    marker = VersionRecord(
        kind=VersionKind.DELETE_MARKER,
        version_id=new_version_id(bucket, seq, command.nonce),
        seq=seq,
        last_modified_ms=command.now_ms,
        size_bytes=0,
        etag="",
        attributes=Attributes(owner_id=command.owner_id),
    )
    versions.put_history(marker, state.next_tree_id)
    return DeleteResult(version_id=marker.version_id, delete_marker=True)


def _delete_version(
    state: ApplyState,
    command: DeleteObject,
    versions: KeyVersions,
    live: VersionRecord | None,
) -> DeleteResult:
    version_id = command.version_id or ""
    target = versions.find(version_id)
    is_marker = target is not None and target.kind is VersionKind.DELETE_MARKER
    check_conditions(command.conditions, None if is_marker else target)
    if target is None:
        return DeleteResult(version_id=version_id, delete_marker=False)
    check_unlocked(
        target.attributes.lock, now_ms=command.now_ms, bypass_governance=command.bypass_governance
    )
    if live is not None and live.seq == target.seq:
        versions.delete_live()
        versions.promote(state.next_tree_id)
    else:
        versions.delete_history(target)
        if live is None:
            versions.promote(state.next_tree_id)
    state.free_version(target)
    return DeleteResult(version_id=version_id, delete_marker=is_marker)
