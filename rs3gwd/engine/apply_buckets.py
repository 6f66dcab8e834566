"""The commands that make, change and remove buckets. Each checks everything, then writes.

Source: Amazon S3 API Reference, CreateBucket (us-east-1 answers 200 to the owner's repeat),
DeleteBucket, PutBucketVersioning, PutBucketTagging.
"""

from __future__ import annotations

import msgspec

from rs3gwd.base.commands import (
    CreateBucket,
    DeleteBucket,
    PutBucketConfiguration,
    PutBucketDurability,
    PutBucketTagging,
    PutBucketVersioning,
)
from rs3gwd.base.errors import (
    BucketAlreadyExists,
    BucketNotEmpty,
    InvalidBucketState,
    InvalidRequest,
)
from rs3gwd.base.records import BucketRecord, ConfigurationRecord, Versioning
from rs3gwd.engine.apply_state import ApplyState, name_key
from rs3gwd.engine.apply_uploads import drop_all_uploads
from rs3gwd.engine.tables import (
    CONFIGURATION_CODEC,
    INDEX_CODEC,
    IndexRecord,
    Table,
    configuration_key,
    owner_key,
)
from rs3gwd.engine.tree import Tree

KIND_CHARACTERS_MAX = 200


def create_bucket(state: ApplyState, command: CreateBucket) -> BucketRecord:
    """Makes a bucket, or gives back the one that the same account has."""
    existing = state.find_bucket(command.name)
    if existing is not None:
        if existing.owner_id == command.owner_id:
            return existing
        raise BucketAlreadyExists(f"bucket {command.name!r} has another owner")
    name_key(command.name)
    name_key(command.owner_id)
    for kind in command.configurations:
        _check_kind(kind)
    bucket_id = state.next_node_id()
    stamps = {
        kind: _put_document(state, bucket_id, kind, document, command.now_ms)
        for kind, document in command.configurations.items()
    }
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
    state.put_bucket(record)
    index = owner_key(record.owner_id, record.name)
    state.txn.put(Table.BUCKET_OWNERS, index, INDEX_CODEC.seal(index, IndexRecord()))
    return record


def delete_bucket(state: ApplyState, command: DeleteBucket) -> None:
    """Removes a bucket without versions or delete markers; its uploads go with it."""
    bucket = state.bucket(command.name)
    for table in (Table.LIVE, Table.HISTORY):
        if not Tree(state.txn, table, bucket.bucket_id).is_empty():
            raise BucketNotEmpty(f"bucket {command.name!r} is not empty")
    drop_all_uploads(state, bucket.bucket_id)
    for kind in bucket.configurations:
        state.txn.delete(Table.CONFIGURATIONS, configuration_key(bucket.bucket_id, kind))
    state.txn.delete(Table.BUCKET_OWNERS, owner_key(bucket.owner_id, bucket.name))
    state.delete_bucket(bucket.name)


def put_bucket_versioning(state: ApplyState, command: PutBucketVersioning) -> BucketRecord:
    """Enables or suspends versioning; there is no way back to a bucket that never had it."""
    if command.versioning is Versioning.UNVERSIONED:
        raise InvalidRequest("versioning can be enabled or suspended, not removed")
    bucket = state.bucket(command.name)
    if bucket.object_lock and command.versioning is not Versioning.ENABLED:
        raise InvalidBucketState(
            "An Object Lock configuration is present on this bucket, so the versioning state "
            "cannot be changed."
        )
    return _replace(state, bucket, versioning=command.versioning)


def put_bucket_tagging(state: ApplyState, command: PutBucketTagging) -> BucketRecord:
    """Sets or removes the tag set."""
    return _replace(state, state.bucket(command.name), tags=command.tags)


def put_bucket_durability(state: ApplyState, command: PutBucketDurability) -> BucketRecord:
    """Sets the class of later writes."""
    return _replace(state, state.bucket(command.name), durability=command.durability)


def put_bucket_configuration(state: ApplyState, command: PutBucketConfiguration) -> BucketRecord:
    """Sets or removes a document; each has a stamp of its own, and so has what replaces it."""
    _check_kind(command.kind)
    bucket = state.bucket(command.name)
    stamps = {kind: stamp for kind, stamp in bucket.configurations.items() if kind != command.kind}
    if command.document is not None:
        stamps[command.kind] = _put_document(
            state, bucket.bucket_id, command.kind, command.document, command.now_ms
        )
    else:
        state.txn.delete(Table.CONFIGURATIONS, configuration_key(bucket.bucket_id, command.kind))
    return _replace(state, bucket, configurations=stamps)


def _check_kind(kind: str) -> None:
    if not (kind.isascii() and 0 < len(kind) <= KIND_CHARACTERS_MAX and "\0" not in kind):
        raise InvalidRequest(f"no kind of configuration can be called {kind!r}")


def _put_document(
    state: ApplyState, bucket_id: int, kind: str, document: bytes, now_ms: int
) -> int:
    """Writes a document; its stamp."""
    stamp = state.next_seq()
    key = configuration_key(bucket_id, kind)
    record = ConfigurationRecord(document=document, stamp=stamp, changed_ms=now_ms)
    state.txn.put(Table.CONFIGURATIONS, key, CONFIGURATION_CODEC.seal(key, record))
    return stamp


def _replace(state: ApplyState, bucket: BucketRecord, **changes: object) -> BucketRecord:
    record = msgspec.structs.replace(bucket, **changes)
    state.put_bucket(record)
    return record
