"""What the commands of one group of a cluster see of the store, within one write transaction.

A group may read only rows of its own, or its replicas differ: other groups are elsewhere in their
logs. So an index group knows buckets by rows of its own (GROUP_BUCKETS, put there by AdoptBucket)
and never looks into BUCKETS. What it is not: no command function; those are the single node's,
given this state in the place of `ApplyState`.

The numbers of tree nodes are the node's own: a node that one group made may hold long keys of
another. They are shared by the states of one transaction (`TreeIds`).
"""

from __future__ import annotations

import msgspec

from rs3gwd.base.errors import NoSuchBucket, OperationAborted
from rs3gwd.base.records import BucketRecord
from rs3gwd.engine.apply_state import ApplyState
from rs3gwd.engine.environment import Transaction
from rs3gwd.engine.groups import (
    GROUP_STRIDE,
    META_TREE_KEY,
    TREE_ID_MIN,
    TREE_IDS_CODEC,
    TreeIdsRecord,
    group_of_key,
    put_counters,
    read_counters,
)
from rs3gwd.engine.tables import GROUP_BUCKET_CODEC, GroupBucketRecord, Table


class TreeIds:
    """Gives out the numbers of tree nodes within one write transaction."""

    def __init__(self, txn: Transaction) -> None:
        self._txn = txn
        value = txn.get(Table.META, META_TREE_KEY)
        record = TreeIdsRecord() if value is None else TREE_IDS_CODEC.open(META_TREE_KEY, value)
        self._stored = self.last = record.last

    def next(self) -> int:
        """A number that no node of a tree ever had here."""
        self.last += 1
        return TREE_ID_MIN | self.last

    def finish(self) -> None:
        """Writes the last number, if it has moved."""
        if self.last != self._stored:
            sealed = TREE_IDS_CODEC.seal(META_TREE_KEY, TreeIdsRecord(self.last))
            self._txn.put(Table.META, META_TREE_KEY, sealed)
            self._stored = self.last


class GroupState(ApplyState):
    """The state of one group; `counters` may be replaced until `finish`."""

    def __init__(self, txn: Transaction, group: int, groups: int, tree_ids: TreeIds) -> None:
        self.group = group
        self.groups = groups
        self._tree_ids = tree_ids
        self._rows: dict[str, GroupBucketRecord] = {}
        super().__init__(txn)

    def _load(self) -> None:
        self.counters = self._stored_counters = read_counters(self.txn, self.group)
        self._seq, self._node_id = self.counters.seq, self.counters.node_id

    def next_seq(self) -> int:
        self._seq += 1
        return self._seq * GROUP_STRIDE + self.group

    def next_node_id(self) -> int:
        self._node_id += 1
        return self._node_id * GROUP_STRIDE + self.group

    def next_tree_id(self) -> int:
        return self._tree_ids.next()

    def finish(self) -> None:
        """Writes the group's counters, if they have moved."""
        counters = msgspec.structs.replace(self.counters, seq=self._seq, node_id=self._node_id)
        if counters != self._stored_counters:
            put_counters(self.txn, self.group, counters)
            self.counters = self._stored_counters = counters

    def find_row(self, name: str) -> GroupBucketRecord | None:
        """The bucket as the group knows it, as the commands so far have left it."""
        row = self._rows.get(name)
        if row is None:
            row = read_group_bucket(self.txn, self.group, name)
            if row is not None:
                self._rows[name] = row
        return row

    def put_row(self, name: str, row: GroupBucketRecord) -> None:
        """Writes a bucket as the group knows it."""
        key = group_bucket_key(self.group, name)
        self.txn.put(Table.GROUP_BUCKETS, key, GROUP_BUCKET_CODEC.seal(key, row))
        self._rows[name] = row

    def delete_row(self, name: str) -> None:
        """The group knows the bucket no more."""
        self.txn.delete(Table.GROUP_BUCKETS, group_bucket_key(self.group, name))
        self._rows.pop(name, None)


class SystemState(GroupState):
    """The system group's: every change of a bucket gives it a new revision."""

    def bucket(self, name: str) -> BucketRecord:
        """For a command that changes it. Raises NoSuchBucket, OperationAborted (being deleted)."""
        record = super().bucket(name)
        row = self.find_row(name)
        if row is not None and row.token:
            raise OperationAborted(f"bucket {name!r} is being deleted")
        return record

    def put_bucket(self, record: BucketRecord) -> None:
        super().put_bucket(record)
        self.put_row(record.name, GroupBucketRecord(self.next_seq()))

    def delete_bucket(self, name: str) -> None:
        super().delete_bucket(name)
        self.delete_row(name)


class IndexState(GroupState):
    """An index group's: buckets are those that it has adopted and not sealed."""

    def find_bucket(self, name: str) -> BucketRecord | None:
        row = self.find_row(name)
        return None if row is None or row.is_sealed else row.bucket

    def put_bucket(self, record: BucketRecord) -> None:
        raise AssertionError("no command of an index group changes a bucket's record")

    def delete_bucket(self, name: str) -> None:
        raise AssertionError("an index group drops rows of its own alone")

    def owns_key(self, bucket_id: int, key: bytes) -> bool:
        return group_of_key(bucket_id, key, self.groups) == self.group

    def note_dropped(self, as_of: int) -> None:
        """A bucket was forgotten: what was known before `as_of` may speak of it."""
        dropped_to = max(self.counters.dropped_to, as_of)
        self.counters = msgspec.structs.replace(self.counters, dropped_to=dropped_to)


def system_bucket(state: SystemState, name: str) -> tuple[BucketRecord, GroupBucketRecord]:
    """A bucket, being deleted or not, and its revision. Raises NoSuchBucket."""
    record = state.find_bucket(name)
    if record is None:
        raise NoSuchBucket(f"no bucket {name!r}")
    return record, state.find_row(name) or GroupBucketRecord(0)


def group_bucket_key(group: int, name: str) -> bytes:
    """GROUP_BUCKETS: the key of a bucket as a group knows it."""
    return bytes([group]) + name.encode()


def read_group_bucket(txn: Transaction, group: int, name: str) -> GroupBucketRecord | None:
    """A bucket as a group knows it, or None."""
    key = group_bucket_key(group, name)
    value = txn.get(Table.GROUP_BUCKETS, key)
    return None if value is None else GROUP_BUCKET_CODEC.open(key, value)
