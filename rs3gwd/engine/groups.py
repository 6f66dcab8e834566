"""The groups of a cluster: which one a command belongs to, and the rows that each keeps of itself.

A cluster's metadata is several replicated state machines in one set of tables: the system group,
number 0, with buckets, configurations, accounts and identities, and 1 to 15 index groups with the
objects and uploads, each key in one of them. What it is not: it replicates nothing and applies
nothing; `rs3gwd.engine.group_state` is what a group's commands see.

A key's group is 1 + (BLAKE2b-64 of the bucket id as u64 and the key, big-endian) mod the number of
index groups, which is fixed when the cluster is made. Keys of all groups lie in the same trees, so
listings and look-ups are those of a single node.

Numbers that rows are named by must be unique on the node and the same on all replicas: a group
gives out `count * 16 + group`, and begins above all that the store had used before.

    META                    record
    cluster                 ClusterRecord: the store is one of a cluster
    group NN counters       GroupCountersRecord, replicated
    group NN mark           GroupMarkRecord: how far the group has been applied here
    group NN import         GroupMarkRecord: a snapshot is being taken in, the rows are not whole
    tree                    TreeIdsRecord: this node's numbers of tree nodes
"""

from __future__ import annotations

import hashlib

from msgspec import Struct

from rs3gwd.base import commands
from rs3gwd.base.codec import RecordCodec
from rs3gwd.base.commands import AnyCommand
from rs3gwd.engine.environment import Transaction
from rs3gwd.engine.tables import Table, u64

SYSTEM_GROUP = 0
GROUPS_DEFAULT = 8
GROUPS_MAX = 15
"""Index groups of a cluster: the system group and they fit the stride of the numbers."""

GROUP_STRIDE = 16

TREE_ID_MIN = 1 << 63
"""Numbers of tree nodes in a cluster have the top bit, so that no replicated number meets them."""


class ClusterRecord(Struct, array_like=True, frozen=True):
    """META row `cluster`: how many index groups there are, and the first count of every group."""

    groups: int
    first_count: int


class GroupCountersRecord(Struct, array_like=True, frozen=True):
    """The last counts given out, the open sessions, and the `as_of` of the last bucket dropped."""

    seq: int
    node_id: int
    session_count: int = 0
    dropped_to: int = 0


class GroupMarkRecord(Struct, array_like=True, frozen=True):
    """The last entry applied and the members since then, as the cluster encodes them."""

    index: int
    term: int
    members: bytes


class TreeIdsRecord(Struct, array_like=True, frozen=True):
    """The last tree node's number, without the top bit."""

    last: int = 0


CLUSTER_CODEC = RecordCodec(ClusterRecord, name="cluster")
GROUP_COUNTERS_CODEC = RecordCodec(GroupCountersRecord, name="counters of a group")
GROUP_MARK_CODEC = RecordCodec(GroupMarkRecord, name="mark of a group")
TREE_IDS_CODEC = RecordCodec(TreeIdsRecord, name="tree ids")

META_CLUSTER_KEY = b"cluster"
META_TREE_KEY = b"tree"


def group_of_key(bucket_id: int, key: bytes, groups: int) -> int:
    """The index group of a key, 1 to `groups`."""
    digest = hashlib.blake2b(u64(bucket_id) + key, digest_size=8, usedforsecurity=False).digest()
    return 1 + int.from_bytes(digest, "big") % groups


def group_of(command: AnyCommand, groups: int, *, bucket_id: int | None = None) -> int | None:
    """The group that a command must be proposed to, or None: to each index group.

    `bucket_id` is that of the bucket whose key the command names, where it names one. If another
    bucket has the name by the time of the apply, the group answers StaleCommand.
    """
    match command:
        case (
            commands.ForgetUploads()
            | commands.AdoptBucket()
            | commands.SealBucket()
            | commands.DropBucket()
        ):
            return None
    key = getattr(command, "key", None)
    if key is None:
        return SYSTEM_GROUP
    assert bucket_id is not None, "a key's group follows from its bucket's id"
    return group_of_key(bucket_id, key, groups)


def is_cluster(txn: Transaction) -> bool:
    """Whether the store is one of a cluster, and takes commands through groups alone."""
    return txn.get(Table.META, META_CLUSTER_KEY) is not None


def read_cluster(txn: Transaction) -> ClusterRecord | None:
    """What is fixed for a cluster; None on a single node."""
    value = txn.get(Table.META, META_CLUSTER_KEY)
    return None if value is None else CLUSTER_CODEC.open(META_CLUSTER_KEY, value)


def put_cluster(txn: Transaction, record: ClusterRecord) -> None:
    """Makes the store one of a cluster."""
    txn.put(Table.META, META_CLUSTER_KEY, CLUSTER_CODEC.seal(META_CLUSTER_KEY, record))


def counters_key(group: int) -> bytes:
    """META: the key of a group's counters."""
    return b"group %02d counters" % group


def mark_key(group: int) -> bytes:
    """META: the key of a group's mark."""
    return b"group %02d mark" % group


def import_key(group: int) -> bytes:
    """META: the key of the row that says that a snapshot is being taken in."""
    return b"group %02d import" % group


def read_counters(txn: Transaction, group: int) -> GroupCountersRecord:
    """A group's counters; where it has none yet, those that every group begins with."""
    key = counters_key(group)
    value = txn.get(Table.META, key)
    if value is not None:
        return GROUP_COUNTERS_CODEC.open(key, value)
    cluster = read_cluster(txn)
    first = 0 if cluster is None else cluster.first_count
    return GroupCountersRecord(seq=first, node_id=first)


def put_counters(txn: Transaction, group: int, record: GroupCountersRecord) -> None:
    """Writes a group's counters."""
    key = counters_key(group)
    txn.put(Table.META, key, GROUP_COUNTERS_CODEC.seal(key, record))


def read_mark(txn: Transaction, key: bytes) -> GroupMarkRecord | None:
    """The mark in META row `key`, or None."""
    value = txn.get(Table.META, key)
    return None if value is None else GROUP_MARK_CODEC.open(key, value)


def put_mark(txn: Transaction, key: bytes, record: GroupMarkRecord) -> None:
    """Writes a mark."""
    txn.put(Table.META, key, GROUP_MARK_CODEC.seal(key, record))
