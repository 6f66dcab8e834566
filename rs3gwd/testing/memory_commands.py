"""What each command does, written for the reader: the executable specification of `apply`.

Each function reads like the page of the AWS documentation it is made from, and takes as long as it
takes. What it is not: it is not the engine's apply, and shares nothing with it but the records and
the making of ids; a test runs both and compares.

Every function checks first and changes afterwards, so that an error leaves the state as it was.

Source: Amazon S3 API Reference and the User Guide's chapters on versioning, multipart uploads and
conditional requests.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec

from rs3gwd.base import commands as c
from rs3gwd.base.codec import make_sequenced_id
from rs3gwd.base.errors import (
    AccountAlreadyExists,
    BucketAlreadyExists,
    BucketNotEmpty,
    InvalidBucketState,
    InvalidRequest,
    NoSuchAccount,
    NoSuchIdentity,
    NoSuchKey,
    NoSuchUpload,
    ObjectLocked,
    PreconditionFailed,
)
from rs3gwd.base.identities import IdentityKind
from rs3gwd.base.limits import PART_NUMBER_MAX
from rs3gwd.base.records import (
    NULL_VERSION_ID,
    AccessKeyRecord,
    AccountRecord,
    Attributes,
    BucketRecord,
    ChecksumAlgorithm,
    ChecksumType,
    PartRecord,
    UploadRecord,
    Versioning,
    VersionKind,
    VersionRecord,
)
from rs3gwd.testing.memory_identities import (
    delete_identities_of,
    delete_identity,
    delete_managed_policy,
    note_key_uses,
    put_identity,
    put_managed_policy,
    rename_identity,
    seal_access_key,
)
from rs3gwd.testing.memory_kms import put_kms_key, put_object_data_key
from rs3gwd.testing.memory_locks import (
    may_go,
    put_bucket_lock,
    put_object_legal_hold,
    put_object_retention,
    require_lock,
    with_bucket_retention,
)
from rs3gwd.testing.memory_multipart import (
    manifest_of,
    multipart_etag,
    named_parts,
    object_checksum,
)
from rs3gwd.testing.memory_state import (
    MemoryBucket,
    MemoryState,
    MemoryUpload,
    bucket_object,
    change_attributes,
    change_bucket,
)

CHECKSUM_TYPES = {
    ChecksumAlgorithm.CRC32: (ChecksumType.COMPOSITE, ChecksumType.FULL_OBJECT),
    ChecksumAlgorithm.CRC32C: (ChecksumType.COMPOSITE, ChecksumType.FULL_OBJECT),
    ChecksumAlgorithm.CRC64NVME: (ChecksumType.FULL_OBJECT,),
    ChecksumAlgorithm.SHA1: (ChecksumType.COMPOSITE,),
    ChecksumAlgorithm.SHA256: (ChecksumType.COMPOSITE,),
}
"""The checksum types an upload may have, the default first (User Guide, "Checking object
integrity")."""

NAME_BYTES_MAX = 255


def apply_command(state: MemoryState, command: c.AnyCommand) -> c.CommandResult:
    """Changes the state as the command says and gives its result, or raises a StoreError."""
    return COMMANDS[type(command)](state, command)


def check_conditions(conditions: c.Conditions, current: VersionRecord | None) -> None:
    """Raises NoSuchKey (nothing there to match), PreconditionFailed."""
    if current is None:
        if conditions.if_match is not None:
            raise NoSuchKey("The specified key does not exist.")
        return
    if conditions.if_match is not None and conditions.if_match not in ("*", current.etag):
        raise PreconditionFailed("If-Match")
    wanted_s = conditions.if_match_last_modified_s
    if wanted_s is not None and wanted_s != current.last_modified_ms // 1000:
        raise PreconditionFailed("x-amz-if-match-last-modified-time")
    if conditions.if_match_size is not None and conditions.if_match_size != current.size_bytes:
        raise PreconditionFailed("x-amz-if-match-size")
    if conditions.if_none_match is not None and conditions.if_none_match in ("*", current.etag):
        raise PreconditionFailed("If-None-Match")


def create_bucket(state: MemoryState, command: c.CreateBucket) -> BucketRecord:
    """Makes a bucket; a repeat by its owner gives it again, as in us-east-1."""
    existing = state.buckets.get(command.name)
    if existing is not None:
        if existing.record.owner_id != command.owner_id:
            raise BucketAlreadyExists("The requested bucket name is not available.")
        return existing.record
    _check_name(command.name)
    _check_name(command.owner_id)
    bucket_id = state.next_id()
    stamps = {kind: state.next_seq() for kind in command.configurations}
    record = BucketRecord(
        name=command.name,
        bucket_id=bucket_id,
        owner_id=command.owner_id,
        created_ms=command.now_ms,
        region=command.region,
        versioning=Versioning.ENABLED if command.object_lock else Versioning.UNVERSIONED,
        durability=command.durability,
        tags=command.tags,
        configurations=stamps,
        object_lock=command.object_lock,
    )
    state.buckets[command.name] = MemoryBucket(record, documents=dict(command.configurations))
    return record


def delete_bucket(state: MemoryState, command: c.DeleteBucket) -> None:
    """Removes a bucket that holds no version and no delete marker."""
    bucket = state.bucket(command.name)
    if bucket.versions:
        raise BucketNotEmpty("The bucket you tried to delete is not empty")
    for upload in bucket.uploads.values():
        for part in upload.parts.values():
            state.free_part(part)
    del state.buckets[command.name]


def put_bucket_versioning(state: MemoryState, command: c.PutBucketVersioning) -> BucketRecord:
    """Versioning can be enabled and suspended, never taken away."""
    if command.versioning is Versioning.UNVERSIONED:
        raise InvalidRequest("versioning can be enabled or suspended, not removed")
    locked = state.bucket(command.name).record.object_lock
    if locked and command.versioning is Versioning.SUSPENDED:
        raise InvalidBucketState("a bucket with Object Lock stays versioned")
    return change_bucket(state, command.name, versioning=command.versioning)


def put_bucket_tagging(state: MemoryState, command: c.PutBucketTagging) -> BucketRecord:
    """Sets the tags, or removes them."""
    return change_bucket(state, command.name, tags=command.tags)


def put_bucket_durability(state: MemoryState, command: c.PutBucketDurability) -> BucketRecord:
    """Sets the class of later writes."""
    return change_bucket(state, command.name, durability=command.durability)


def put_bucket_configuration(state: MemoryState, command: c.PutBucketConfiguration) -> BucketRecord:
    """Sets a document under a new stamp, or removes it."""
    bucket = state.bucket(command.name)
    stamps = dict(bucket.record.configurations)
    stamps.pop(command.kind, None)
    bucket.documents.pop(command.kind, None)
    if command.document is not None:
        stamps[command.kind] = state.next_seq()
        bucket.documents[command.kind] = command.document
    return change_bucket(state, command.name, configurations=stamps)


def put_object(state: MemoryState, command: c.PutObject) -> VersionRecord:
    """Puts a new version in front."""
    bucket = state.bucket(command.bucket)
    check_conditions(command.conditions, bucket.current(command.key))
    attributes = with_bucket_retention(bucket.record, command.attributes, command.now_ms)
    seq = state.next_seq()
    record = VersionRecord(
        kind=VersionKind.OBJECT,
        version_id=_new_version_id(bucket, seq, command.nonce),
        seq=seq,
        last_modified_ms=command.now_ms,
        size_bytes=command.size_bytes,
        etag=command.etag,
        attributes=attributes,
        checksum=command.checksum,
        blob=command.blob,
    )
    _write(state, bucket, command.key, record)
    return record


def delete_object(state: MemoryState, command: c.DeleteObject) -> c.DeleteResult:
    """Removes the version named; or the object, or hides it behind a delete marker."""
    bucket = state.bucket(command.bucket)
    if command.version_id is not None:
        return _delete_version(state, bucket, command, command.version_id)
    current = bucket.current(command.key)
    check_conditions(command.conditions, current)
    if bucket.record.versioning is Versioning.UNVERSIONED:
        if current is not None:
            bucket.remove(command.key, current)
            state.free(current)
        return c.DeleteResult(version_id=None, delete_marker=False)
    seq = state.next_seq()
    marker = VersionRecord(
        kind=VersionKind.DELETE_MARKER,
        version_id=_new_version_id(bucket, seq, command.nonce),
        seq=seq,
        last_modified_ms=command.now_ms,
        size_bytes=0,
        etag="",
        attributes=Attributes(owner_id=command.owner_id),
    )
    _write(state, bucket, command.key, marker)
    return c.DeleteResult(version_id=marker.version_id, delete_marker=True)


def put_object_tagging(state: MemoryState, command: c.PutObjectTagging) -> VersionRecord:
    """Replaces the tags of a version where it stands."""
    version = bucket_object(state.bucket(command.bucket), command.key, command.version_id)
    return change_attributes(state.bucket(command.bucket), command.key, version, tags=command.tags)


def put_object_acl(state: MemoryState, command: c.PutObjectAcl) -> VersionRecord:
    """Replaces the access control list of a version where it stands."""
    version = bucket_object(state.bucket(command.bucket), command.key, command.version_id)
    return change_attributes(state.bucket(command.bucket), command.key, version, acl=command.acl)


def create_upload(state: MemoryState, command: c.CreateUpload) -> UploadRecord:
    """Starts an upload."""
    bucket = state.bucket(command.bucket)
    if command.attributes.lock is not None:
        require_lock(bucket.record)
    algorithm, type_ = command.checksum_algorithm, command.checksum_type
    if algorithm is None:
        if type_ is not None:
            raise InvalidRequest("a checksum type needs a checksum algorithm")
    elif type_ is None:
        type_ = CHECKSUM_TYPES[algorithm][0]
    elif type_ not in CHECKSUM_TYPES[algorithm]:
        raise InvalidRequest("this checksum type cannot be used with this algorithm")
    seq = state.next_seq()
    record = UploadRecord(
        upload_id=make_sequenced_id(seq, command.nonce),
        seq=seq,
        initiated_ms=command.now_ms,
        attributes=command.attributes,
        checksum_algorithm=algorithm,
        checksum_type=type_,
    )
    bucket.uploads[record.upload_id] = MemoryUpload(command.key, record)
    return record


def put_part(state: MemoryState, command: c.PutPart) -> PartRecord:
    """Stores a part in the place of an earlier one of its number."""
    upload = state.bucket(command.bucket).unfinished(command.key, command.upload_id)
    if not 1 <= command.number <= PART_NUMBER_MAX:
        raise InvalidRequest("part numbers go from 1 to 10,000")
    wanted = upload.record.checksum_algorithm
    given = None if command.checksum is None else command.checksum.algorithm
    if wanted is not None and wanted is not given:
        raise InvalidRequest("Checksum Type mismatch occurred")
    if command.number in upload.parts:
        state.free_part(upload.parts[command.number])
    record = PartRecord(
        number=command.number,
        size_bytes=command.size_bytes,
        etag=command.etag,
        last_modified_ms=command.now_ms,
        blob=command.blob,
        checksum=command.checksum,
        salt=command.salt,
    )
    upload.parts[command.number] = record
    return record


def complete_upload(state: MemoryState, command: c.CompleteUpload) -> VersionRecord:
    """Makes the object; a repeat with the same parts gives the same answer."""
    bucket = state.bucket(command.bucket)
    known = bucket.uploads.get(command.upload_id)
    if known is not None and known.key == command.key and known.record.completed is not None:
        return _repeated(known.record.completed, command)
    upload = bucket.unfinished(command.key, command.upload_id)
    parts = named_parts(upload, command)
    checksum = object_checksum(state, upload, parts, command.checksum)
    check_conditions(command.conditions, bucket.current(command.key))
    attributes = with_bucket_retention(bucket.record, upload.record.attributes, command.now_ms)
    seq = state.next_seq()
    manifest_id = state.next_id()
    state.manifests[manifest_id] = manifest_of(parts, checksum)
    record = VersionRecord(
        kind=VersionKind.OBJECT,
        version_id=_new_version_id(bucket, seq, command.nonce),
        seq=seq,
        last_modified_ms=command.now_ms,
        size_bytes=sum(part.size_bytes for part in parts),
        etag=multipart_etag([part.etag for part in parts]),
        attributes=attributes,
        checksum=checksum,
        manifest_id=manifest_id,
        part_count=len(parts),
    )
    _write(state, bucket, command.key, record)
    for number, part in upload.parts.items():
        if number not in {used.number for used in parts}:
            state.free_part(part)
    upload.parts = {}
    upload.record = msgspec.structs.replace(upload.record, completed=record)
    return record


def abort_upload(state: MemoryState, command: c.AbortUpload) -> None:
    """Drops an unfinished upload and its parts."""
    bucket = state.bucket(command.bucket)
    upload = bucket.unfinished(command.key, command.upload_id)
    for part in upload.parts.values():
        state.free_part(part)
    del bucket.uploads[command.upload_id]


def forget_uploads(state: MemoryState, command: c.ForgetUploads) -> int:
    """Drops the oldest uploads, finished or not, from before a time."""
    old = [
        (upload.time_ms, upload.record.seq, bucket, upload)
        for bucket in state.buckets.values()
        for upload in bucket.uploads.values()
        if upload.time_ms < command.before_ms
    ]
    old.sort(key=lambda row: row[:2])
    for _, _, bucket, upload in old[: command.limit]:
        for part in upload.parts.values():
            state.free_part(part)
        del bucket.uploads[upload.record.upload_id]
    return len(old[: command.limit])


def put_account(state: MemoryState, command: c.PutAccount) -> AccountRecord:
    """Makes an account with an id and an email of its own."""
    account = command.account
    _check_name(account.canonical_id)
    if account.canonical_id in state.accounts:
        raise AccountAlreadyExists("the canonical id is taken")
    if account.email:
        _check_name(account.email)
        if account.email.lower() in {other.email.lower() for other in state.accounts.values()}:
            raise AccountAlreadyExists("the email is taken")
    state.accounts[account.canonical_id] = account
    return account


def delete_account(state: MemoryState, command: c.DeleteAccount) -> None:
    """Removes an account that owns nothing, and its keys."""
    if command.canonical_id not in state.accounts:
        raise NoSuchAccount("no such account")
    if command.canonical_id in {bucket.record.owner_id for bucket in state.buckets.values()}:
        raise BucketNotEmpty("the account still owns buckets")
    for key in list(state.access_keys.values()):
        if key.canonical_id == command.canonical_id:
            del state.access_keys[key.access_key_id]
    delete_identities_of(state, command.canonical_id)
    del state.accounts[command.canonical_id]


def put_access_key(state: MemoryState, command: c.PutAccessKey) -> AccessKeyRecord:
    """Adds a key with an id of its own."""
    record = command.access_key
    if record.canonical_id not in state.accounts:
        raise NoSuchAccount("no such account")
    place = (record.canonical_id, IdentityKind.USER, record.user_name.lower())
    if record.user_name and place not in state.identities:
        raise NoSuchIdentity("no such user")
    _check_name(record.access_key_id)
    if record.access_key_id in state.access_keys:
        raise AccountAlreadyExists("the access key is taken")
    state.access_keys[record.access_key_id] = record
    return record


def set_access_key_status(state: MemoryState, command: c.SetAccessKeyStatus) -> AccessKeyRecord:
    """Activates or deactivates a key."""
    if command.access_key_id not in state.access_keys:
        raise NoSuchAccount("no such access key")
    record = state.access_keys[command.access_key_id]
    changed = msgspec.structs.replace(record, status=command.status)
    state.access_keys[command.access_key_id] = changed
    return changed


def delete_access_key(state: MemoryState, command: c.DeleteAccessKey) -> None:
    """Removes a key."""
    if command.access_key_id not in state.access_keys:
        raise NoSuchAccount("no such access key")
    del state.access_keys[command.access_key_id]


def _new_version_id(bucket: MemoryBucket, seq: int, nonce: bytes) -> str:
    if bucket.record.versioning is Versioning.ENABLED:
        return make_sequenced_id(seq, nonce)
    return NULL_VERSION_ID


def _write(state: MemoryState, bucket: MemoryBucket, key: bytes, version: VersionRecord) -> None:
    """Puts a version in front; there is at most one null version, so it replaces an earlier one."""
    if version.version_id == NULL_VERSION_ID:
        earlier = bucket.find(key, NULL_VERSION_ID)
        if earlier is not None:
            bucket.remove(key, earlier)
            state.free(earlier)
    bucket.add(key, version)


def _delete_version(
    state: MemoryState, bucket: MemoryBucket, command: c.DeleteObject, version_id: str
) -> c.DeleteResult:
    version = bucket.find(command.key, version_id)
    is_marker = version is not None and version.kind is VersionKind.DELETE_MARKER
    check_conditions(command.conditions, None if is_marker else version)
    if version is not None:
        if not may_go(version.attributes.lock, command.now_ms, bypass=command.bypass_governance):
            raise ObjectLocked("Access Denied because object protected by object lock.")
        bucket.remove(command.key, version)
        state.free(version)
    return c.DeleteResult(version_id=version_id, delete_marker=is_marker)


def _repeated(result: VersionRecord, command: c.CompleteUpload) -> VersionRecord:
    """The parts are the same when they make the same ETag."""
    try:
        etag = multipart_etag([part.etag for part in command.parts])
    except ValueError as error:
        raise NoSuchUpload("The specified upload does not exist.") from error
    if etag != result.etag:
        raise NoSuchUpload("The specified upload does not exist.")
    return result


def _check_name(name: str) -> None:
    if not 0 < len(name.encode()) <= NAME_BYTES_MAX:
        raise InvalidRequest(f"a name must have 1 to {NAME_BYTES_MAX} bytes")


COMMANDS: dict[type[c.Command], Callable[[MemoryState, Any], c.CommandResult]] = {
    c.CreateBucket: create_bucket,
    c.DeleteBucket: delete_bucket,
    c.PutBucketVersioning: put_bucket_versioning,
    c.PutBucketTagging: put_bucket_tagging,
    c.PutBucketDurability: put_bucket_durability,
    c.PutBucketConfiguration: put_bucket_configuration,
    c.PutBucketLock: put_bucket_lock,
    c.PutObject: put_object,
    c.DeleteObject: delete_object,
    c.PutObjectTagging: put_object_tagging,
    c.PutObjectAcl: put_object_acl,
    c.PutObjectRetention: put_object_retention,
    c.PutObjectLegalHold: put_object_legal_hold,
    c.CreateUpload: create_upload,
    c.PutPart: put_part,
    c.CompleteUpload: complete_upload,
    c.AbortUpload: abort_upload,
    c.ForgetUploads: forget_uploads,
    c.PutAccount: put_account,
    c.DeleteAccount: delete_account,
    c.PutAccessKey: put_access_key,
    c.SetAccessKeyStatus: set_access_key_status,
    c.DeleteAccessKey: delete_access_key,
    c.SealAccessKey: seal_access_key,
    c.NoteKeyUses: note_key_uses,
    c.PutIdentity: put_identity,
    c.RenameIdentity: rename_identity,
    c.DeleteIdentity: delete_identity,
    c.PutManagedPolicy: put_managed_policy,
    c.DeleteManagedPolicy: delete_managed_policy,
    c.PutKmsKey: put_kms_key,
    c.PutObjectDataKey: put_object_data_key,
}
"""The function of every command."""
