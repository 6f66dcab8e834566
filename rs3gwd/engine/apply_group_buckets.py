"""How the groups of a cluster agree on buckets: adopting, sealing, dropping.

The system group decides and the index groups follow, as branches of a library follow the catalogue:
a book may be lent at a branch only once the card has come, and before a title is struck from the
catalogue every branch must have taken it off its shelves. What it is not: it sends nothing; whoever
coordinates proposes these commands, and repeats them freely.

    create, change   system: the command           each index group: AdoptBucket
    delete           system: BeginDeleteBucket     each index group: SealBucket
                     all sealed: FinishDeleteBucket                  DropBucket
                     one refused: CancelDeleteBucket                 AdoptBucket

Each change of a bucket in the system group gives it a new revision, a number that rises over all
buckets. What an index group knows of a bucket is (bucket id, revision), and only a greater one
replaces it, so commands may come late, twice and in any order. A bucket that is dropped leaves no
row: the group keeps the greatest `as_of` of its drops instead, and takes in an unknown bucket only
from a sender that had seen as much.

Invariant: from SealBucket until an AdoptBucket of a later revision the group has no key of the
bucket and takes none, and the system group changes no bucket between BeginDeleteBucket and its end;
so at FinishDeleteBucket, which follows seals of all groups, the bucket is empty.
"""

from __future__ import annotations

from rs3gwd.base.commands import (
    AdoptBucket,
    BeginDeleteBucket,
    CancelDeleteBucket,
    DropBucket,
    FinishDeleteBucket,
    SealBucket,
)
from rs3gwd.base.errors import BucketNotEmpty, InvalidRequest, OperationAborted, StaleCommand
from rs3gwd.base.records import BucketRecord
from rs3gwd.engine.apply_state import name_key
from rs3gwd.engine.apply_uploads import drop_all_uploads
from rs3gwd.engine.group_state import IndexState, SystemState, system_bucket
from rs3gwd.engine.tables import (
    GroupBucketRecord,
    Table,
    configuration_key,
    owner_key,
    unescape_key,
)
from rs3gwd.engine.tree import Tree


def adopt_bucket(state: IndexState, command: AdoptBucket) -> None:
    """Takes a bucket's record over, if it is newer."""
    _learn(state, command, is_sealed=False)


def seal_bucket(state: IndexState, command: SealBucket) -> None:
    """Closes a bucket without keys for writes."""
    bucket = command.bucket
    known = state.find_row(bucket.name)
    known_id = _bucket_id(known)
    if known is not None and (known_id, known.revision) > (bucket.bucket_id, command.revision):
        raise StaleCommand(f"bucket {bucket.name!r} is known in a later revision")
    if _has_key(state, bucket.bucket_id):
        raise BucketNotEmpty(f"bucket {bucket.name!r} is not empty")
    _learn(state, command, is_sealed=True)


def drop_bucket(state: IndexState, command: DropBucket) -> None:
    """Forgets a bucket, with its uploads."""
    known = state.find_row(command.name)
    if known is not None and _bucket_id(known) == command.bucket_id:
        _forget(state, command.name, command.bucket_id)
    state.note_dropped(command.as_of)


def begin_delete_bucket(state: SystemState, command: BeginDeleteBucket) -> int:
    """Bars changes of a bucket until its deletion is finished or cancelled."""
    if not command.token:
        raise InvalidRequest("a deletion is named by a token")
    _, row = system_bucket(state, command.name)
    if row.token == command.token:
        return row.revision
    if row.token:
        raise OperationAborted(f"bucket {command.name!r} is being deleted")
    return _put_revision(state, command.name, token=command.token)


def finish_delete_bucket(state: SystemState, command: FinishDeleteBucket) -> int:
    """Removes a bucket that every index group has sealed."""
    bucket = _deleted_by(state, command.name, command.token)
    for kind in bucket.configurations:
        state.txn.delete(Table.CONFIGURATIONS, configuration_key(bucket.bucket_id, kind))
    state.txn.delete(Table.BUCKET_OWNERS, owner_key(bucket.owner_id, bucket.name))
    state.delete_bucket(bucket.name)
    return state.next_seq()


def cancel_delete_bucket(state: SystemState, command: CancelDeleteBucket) -> int:
    """Lets a bucket be changed again."""
    _deleted_by(state, command.name, command.token)
    return _put_revision(state, command.name, token=b"")


def _learn(state: IndexState, command: AdoptBucket | SealBucket, *, is_sealed: bool) -> None:
    bucket = command.bucket
    name_key(bucket.name)
    known = state.find_row(bucket.name)
    if known is None:
        if command.as_of < state.counters.dropped_to:
            raise StaleCommand(f"buckets were dropped since {command.as_of}")
    else:
        known_id = _bucket_id(known)
        if (known_id, known.revision) >= (bucket.bucket_id, command.revision):
            return
        if known_id != bucket.bucket_id:
            _forget(state, bucket.name, known_id)
    state.put_row(bucket.name, GroupBucketRecord(command.revision, bucket, is_sealed=is_sealed))


def _forget(state: IndexState, name: str, bucket_id: int) -> None:
    if _has_key(state, bucket_id):
        raise BucketNotEmpty(f"bucket {name!r} was never sealed here")
    drop_all_uploads(state, bucket_id)
    state.delete_row(name)


def _has_key(state: IndexState, bucket_id: int) -> bool:
    """Whether the group has a version of the bucket. It reads past the keys of other groups, of
    which there are few before the first of its own unless somebody chose them so."""
    for table in (Table.LIVE, Table.HISTORY):
        cursor = Tree(state.txn, table, bucket_id).cursor()
        found = cursor.seek(b"")
        while found:
            key = cursor.key if table is Table.LIVE else unescape_key(cursor.key[:-8])
            if state.owns_key(bucket_id, key):
                return True
            found = cursor.next()
    return False


def _bucket_id(row: GroupBucketRecord | None) -> int:
    return 0 if row is None or row.bucket is None else row.bucket.bucket_id


def _put_revision(state: SystemState, name: str, *, token: bytes) -> int:
    revision = state.next_seq()
    state.put_row(name, GroupBucketRecord(revision, token=token))
    return revision


def _deleted_by(state: SystemState, name: str, token: bytes) -> BucketRecord:
    bucket, row = system_bucket(state, name)
    if not token or row.token != token:
        raise OperationAborted(f"bucket {name!r} is not being deleted by this deletion")
    return bucket
