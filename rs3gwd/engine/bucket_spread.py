"""What the index groups of a cluster must still be told of buckets, as this node sees it.

What it is not: it proposes nothing. Whoever changed a bucket asks here what to send before it
acknowledges; the leader of the system group asks now and then for what a coordinator that died has
left undone. What is told may be out of date by then: the commands are fenced
(`rs3gwd.engine.apply_group_buckets`).
"""

from __future__ import annotations

from collections.abc import Iterator

from msgspec import Struct

from rs3gwd.base.commands import AdoptBucket, DropBucket, SealBucket
from rs3gwd.engine.apply_state import read_bucket
from rs3gwd.engine.environment import Transaction
from rs3gwd.engine.group_state import read_group_bucket
from rs3gwd.engine.groups import GROUP_STRIDE, SYSTEM_GROUP, read_counters
from rs3gwd.engine.tables import GROUP_BUCKET_CODEC, GroupBucketRecord, Table


class Untold(Struct, frozen=True):
    """A command that an index group needs."""

    group: int
    command: AdoptBucket | DropBucket


class Deletion(Struct, frozen=True):
    """A deletion that began and has not ended; `seal` is what every index group is asked."""

    name: str
    token: bytes
    seal: SealBucket


def newest_revision(txn: Transaction) -> int:
    """The `as_of` of what this node knows of the system group."""
    return read_counters(txn, SYSTEM_GROUP).seq * GROUP_STRIDE + SYSTEM_GROUP


def adoption_of(txn: Transaction, name: str) -> AdoptBucket | None:
    """What every index group must know of a bucket; None where it is not there or being deleted."""
    bucket = read_bucket(txn, name)
    row = _system_row(txn, name)
    if bucket is None or row.token:
        return None
    return AdoptBucket(bucket, row.revision, newest_revision(txn))


def deletion_of(txn: Transaction, name: str) -> Deletion | None:
    """The deletion of a bucket that is going on, or None."""
    bucket = read_bucket(txn, name)
    row = _system_row(txn, name)
    if bucket is None or not row.token:
        return None
    return Deletion(name, row.token, SealBucket(bucket, row.revision, newest_revision(txn)))


def unfinished_deletions(txn: Transaction) -> Iterator[Deletion]:
    """All deletions that are going on, by name."""
    for name, row in _rows_of(txn, SYSTEM_GROUP):
        deletion = deletion_of(txn, name) if row.token else None
        if deletion is not None:
            yield deletion


def untold(txn: Transaction, groups: int) -> Iterator[Untold]:
    """What the index groups lack, as far as this node has applied them; cost: all buckets."""
    as_of = newest_revision(txn)
    for key in txn.cursor(Table.BUCKETS).iternext(keys=True, values=False):
        wanted = adoption_of(txn, key.decode())
        for group in range(1, groups + 1) if wanted is not None else ():
            assert wanted is not None
            row = read_group_bucket(txn, group, wanted.bucket.name)
            if row is None or row.revision < wanted.revision:
                yield Untold(group, wanted)
    for group in range(1, groups + 1):
        for name, row in _rows_of(txn, group):
            assert row.bucket is not None, "an index group has the record"
            bucket = read_bucket(txn, name)
            if bucket is None:
                yield Untold(group, DropBucket(name, row.bucket.bucket_id, as_of))


def _system_row(txn: Transaction, name: str) -> GroupBucketRecord:
    return read_group_bucket(txn, SYSTEM_GROUP, name) or GroupBucketRecord(0)


def _rows_of(txn: Transaction, group: int) -> Iterator[tuple[str, GroupBucketRecord]]:
    prefix = bytes([group])
    cursor = txn.cursor(Table.GROUP_BUCKETS)
    found = cursor.set_range(prefix)
    while found and cursor.key().startswith(prefix):
        yield cursor.key()[1:].decode(), GROUP_BUCKET_CODEC.open(cursor.key(), cursor.value())
        found = cursor.next()
