"""The commands that make, change and remove buckets. Each checks everything, then writes.

Source: Amazon S3 API Reference, CreateBucket (us-east-1 answers 200 to the owner's repeat),
DeleteBucket, PutBucketVersioning, PutBucketTagging.
"""

from __future__ import annotations

import msgspec

from rs3gwd.base.commands import (
    CreateBucket,
    DeleteBucket,
    PutBucketDurability,
    PutBucketTagging,
    PutBucketVersioning,
)
from rs3gwd.base.errors import BucketAlreadyExists, BucketNotEmpty, InvalidRequest
from rs3gwd.base.records import BucketRecord, Versioning
from rs3gwd.engine.apply_state import ApplyState, name_key
from rs3gwd.engine.apply_uploads import drop_all_uploads
from rs3gwd.engine.tables import INDEX_CODEC, IndexRecord, Table, owner_key
from rs3gwd.engine.tree import Tree


def create_bucket(state: ApplyState, command: CreateBucket) -> BucketRecord:
    """Makes a bucket, or gives back the one that the same account has."""
    existing = state.find_bucket(command.name)
    if existing is not None:
        if existing.owner_id == command.owner_id:
            return existing
        raise BucketAlreadyExists(f"bucket {command.name!r} has another owner")
    name_key(command.name)
    name_key(command.owner_id)
    record = BucketRecord(
        name=command.name,
        bucket_id=state.next_node_id(),
        owner_id=command.owner_id,
        created_ms=command.now_ms,
        region=command.region,
        durability=command.durability,
        tags=command.tags,
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
    state.txn.delete(Table.BUCKET_OWNERS, owner_key(bucket.owner_id, bucket.name))
    state.delete_bucket(bucket.name)


def put_bucket_versioning(state: ApplyState, command: PutBucketVersioning) -> BucketRecord:
    """Enables or suspends versioning; there is no way back to a bucket that never had it."""
    if command.versioning is Versioning.UNVERSIONED:
        raise InvalidRequest("versioning can be enabled or suspended, not removed")
    bucket = state.bucket(command.name)
    return _replace(state, bucket, versioning=command.versioning)


def put_bucket_tagging(state: ApplyState, command: PutBucketTagging) -> BucketRecord:
    """Sets or removes the tag set."""
    return _replace(state, state.bucket(command.name), tags=command.tags)


def put_bucket_durability(state: ApplyState, command: PutBucketDurability) -> BucketRecord:
    """Sets the class of later writes."""
    return _replace(state, state.bucket(command.name), durability=command.durability)


def _replace(state: ApplyState, bucket: BucketRecord, **changes: object) -> BucketRecord:
    record = msgspec.structs.replace(bucket, **changes)
    state.put_bucket(record)
    return record
