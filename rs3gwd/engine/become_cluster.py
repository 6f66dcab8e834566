"""A single node's store becomes one of a cluster, without a row of an object being touched.

Keys of all groups lie in the trees of a single node, so all that is missing is what the groups keep
of themselves: their buckets, their counters, above all numbers that the store has used, and their
marks. The buckets are written first, in small commits; the last one writes the rest, and until then
the store is a single node's, whatever was interrupted. What it is not: it makes no log and knows no
members; the caller gives the mark that the logs of all groups begin behind.

Nothing else may be written meanwhile.
"""

from __future__ import annotations

from functools import partial

from rs3gwd.base.records import BucketRecord
from rs3gwd.engine.apply_state import read_bucket
from rs3gwd.engine.environment import Environment, Transaction
from rs3gwd.engine.group_state import group_bucket_key
from rs3gwd.engine.groups import (
    GROUP_STRIDE,
    GROUPS_MAX,
    SYSTEM_GROUP,
    ClusterRecord,
    GroupCountersRecord,
    GroupMarkRecord,
    is_cluster,
    mark_key,
    put_cluster,
    put_counters,
    put_mark,
)
from rs3gwd.engine.pipeline import Pipeline
from rs3gwd.engine.segments import Ledger
from rs3gwd.engine.tables import (
    COUNTERS_CODEC,
    GROUP_BUCKET_CODEC,
    META_COUNTERS_KEY,
    CountersRecord,
    GroupBucketRecord,
    Table,
)

BUCKETS_PER_COMMIT = 100


async def become_cluster(
    environment: Environment, pipeline: Pipeline, groups: int, mark: GroupMarkRecord | None
) -> None:
    """Makes the store one of a cluster with `groups` index groups; nothing when it is one already.

    `mark` is where the logs of all groups begin; None for a node that joins and gets its groups by
    snapshots, whose store must be empty. Raises DiskFull, DiskFailed.
    """
    assert 1 <= groups <= GROUPS_MAX
    with environment.read() as txn:
        if is_cluster(txn):
            return
        names = [key.decode() for key in txn.cursor(Table.BUCKETS).iternext(values=False)]
        assert mark is not None or not names, "a node with buckets has nothing to join with"
    await pipeline.change(_forget_buckets)
    for start in range(0, len(names), BUCKETS_PER_COMMIT):
        part = names[start : start + BUCKETS_PER_COMMIT]
        await pipeline.change(partial(_put_buckets, part, groups))
    await pipeline.change(partial(_finish, groups, mark))


def _forget_buckets(txn: Transaction, _: Ledger) -> None:
    """What an interrupted conversion has left may be out of date."""
    txn.delete_prefix(Table.GROUP_BUCKETS, b"")


def _put_buckets(names: list[str], groups: int, txn: Transaction, _: Ledger) -> None:
    revision = first_count(txn) * GROUP_STRIDE
    for name in names:
        bucket = read_bucket(txn, name)
        assert bucket is not None, "nothing else is written meanwhile"
        _put_bucket(txn, SYSTEM_GROUP, name, revision, None)
        for group in range(1, groups + 1):
            _put_bucket(txn, group, name, revision, bucket)


def _put_bucket(
    txn: Transaction, group: int, name: str, revision: int, bucket: BucketRecord | None
) -> None:
    key = group_bucket_key(group, name)
    sealed = GROUP_BUCKET_CODEC.seal(key, GroupBucketRecord(revision, bucket))
    txn.put(Table.GROUP_BUCKETS, key, sealed)


def _finish(groups: int, mark: GroupMarkRecord | None, txn: Transaction, _: Ledger) -> None:
    count = first_count(txn)
    put_cluster(txn, ClusterRecord(groups, count))
    if mark is None:
        return
    for group in range(groups + 1):
        put_counters(txn, group, GroupCountersRecord(seq=count, node_id=count))
        put_mark(txn, mark_key(group), mark)


def first_count(txn: Transaction) -> int:
    """The count that every group begins with: its numbers are above all that were used."""
    value = txn.get(Table.META, META_COUNTERS_KEY)
    used = CountersRecord() if value is None else COUNTERS_CODEC.open(META_COUNTERS_KEY, value)
    return max(used.seq, used.node_id) // GROUP_STRIDE + 1
