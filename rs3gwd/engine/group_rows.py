"""The rows of one group of a cluster, found among those of all groups, and their digest.

A row is told by its table, its logical key and its sealed value. In a tree the logical key is the
root's id and the whole key, whatever nodes it lies in: the numbers of nodes are each node's own. So
two replicas at the same entry of a group's log have the same rows in the same order, and the same
digest. What it is not: marks, blobs, segments and tree nodes are no part of it.

Rows of an index group are found from the buckets that it knows, by the group of each key; the cost
is a walk over the keys of all groups. Memory: the bucket ids.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from typing import NamedTuple

from rs3gwd.base.records import BlobRef
from rs3gwd.engine.apply_state import EMPTY_BLOB_ID
from rs3gwd.engine.environment import Transaction
from rs3gwd.engine.groups import SYSTEM_GROUP, counters_key, group_of_key
from rs3gwd.engine.tables import (
    COMPLETED_CODEC,
    GROUP_BUCKET_CODEC,
    MANIFEST_CODEC,
    PART_CODEC,
    UPLOAD_PLACE_CODEC,
    VERSION_CODEC,
    Table,
    u64,
    unescape_key,
)
from rs3gwd.engine.tree import Tree

TREES = frozenset({Table.LIVE, Table.HISTORY, Table.NULLS, Table.UPLOADS})

SYSTEM_TABLES = (
    Table.BUCKETS,
    Table.BUCKET_OWNERS,
    Table.ACCOUNTS,
    Table.EMAILS,
    Table.ACCESS_KEYS,
    Table.ACCOUNT_KEYS,
    Table.CONFIGURATIONS,
    Table.IDENTITIES,
    Table.POLICIES,
    Table.KMS_KEYS,
    Table.KMS_NAMES,
    Table.NODES,
    Table.LAYOUT,
    Table.AUTHORITY,
)
"""The tables that are the system group's alone."""

LOCAL_TABLES = frozenset(
    {
        Table.META,
        Table.BLOBS,
        Table.SEGMENTS,
        Table.UNSYNCED,
        Table.STAGED,
        Table.MISSING,
        Table.HINTS,
    }
)
"""The tables that are this node's own; but the counters of groups are in META."""


class Row(NamedTuple):
    """A row of a group; `key` is the logical one, with the root's id in front in a tree."""

    table: Table
    key: bytes
    value: bytes


def group_digest(txn: Transaction, group: int, groups: int) -> bytes:
    """32 bytes that replicas of a group at the same entry have in common, and no others."""
    digest = RowDigest()
    for row in group_rows(txn, group, groups):
        digest.update(row)
    return digest.finish()


class RowDigest:
    """BLAKE2b-256 over rows, each part of a row behind its length."""

    def __init__(self) -> None:
        self._hash = hashlib.blake2b(digest_size=32, usedforsecurity=False)

    def update(self, row: Row) -> None:
        """Takes the next row."""
        name = row.table.stored_name
        self._hash.update(u64(len(name)) + name + u64(len(row.key)) + row.key)
        self._hash.update(u64(len(row.value)) + row.value)

    def finish(self) -> bytes:
        """The digest of the rows so far."""
        return self._hash.digest()


def group_rows(txn: Transaction, group: int, groups: int) -> Iterator[Row]:
    """The rows of a group, in an order of their own. Raises DataCorrupt, FormatError.

    The transaction must not write to the tables meanwhile.
    """
    counters = txn.get(Table.META, counters_key(group))
    if counters is not None:
        yield Row(Table.META, counters_key(group), counters)
    yield from _prefixed(txn, Table.SESSIONS, bytes([group]))
    if group == SYSTEM_GROUP:
        for table in SYSTEM_TABLES:
            yield from _prefixed(txn, table, b"")
    else:
        yield from _index_rows(txn, group, groups)
    yield from _prefixed(txn, Table.GROUP_BUCKETS, bytes([group]))


def _index_rows(txn: Transaction, group: int, groups: int) -> Iterator[Row]:
    def owns(bucket_id: int, key: bytes) -> bool:
        return group_of_key(bucket_id, key, groups) == group

    for bucket_id in sorted(_bucket_ids(txn, group)):
        for table in (Table.LIVE, Table.HISTORY, Table.NULLS, Table.UPLOADS):
            yield from _tree_rows(txn, table, bucket_id, owns)
        for row in _prefixed(txn, Table.COMPLETED, u64(bucket_id)):
            if owns(bucket_id, COMPLETED_CODEC.open(row.key, row.value).key):
                yield row
    for row in _prefixed(txn, Table.UPLOAD_TIMES, b""):
        place = UPLOAD_PLACE_CODEC.open(row.key, row.value)
        if owns(place.bucket_id, place.key):
            yield row


def _tree_rows(
    txn: Transaction, table: Table, bucket_id: int, owns: Callable[[int, bytes], bool]
) -> Iterator[Row]:
    """The group's rows of a tree, each followed by the rows that hang on it."""
    cursor = Tree(txn, table, bucket_id).cursor()
    found = cursor.seek(b"")
    while found:
        key = cursor.key
        if table in (Table.HISTORY, Table.UPLOADS):
            key = unescape_key(key[:-8])
        if owns(bucket_id, key):
            row = Row(table, cursor.row_key, cursor.value)
            yield row
            yield from _dependent_rows(txn, row)
        found = cursor.next()


def _dependent_rows(txn: Transaction, row: Row) -> Iterator[Row]:
    if row.table is Table.UPLOADS:
        yield from _prefixed(txn, Table.PARTS, row.key[-8:])
    if row.table not in (Table.LIVE, Table.HISTORY):
        return
    manifest_id = VERSION_CODEC.open(row.key, row.value).manifest_id
    if manifest_id is not None:
        key = u64(manifest_id)
        value = txn.get(Table.MANIFESTS, key)
        if value is not None:
            yield Row(Table.MANIFESTS, key, value)


def _prefixed(txn: Transaction, table: Table, prefix: bytes) -> Iterator[Row]:
    with txn.cursor(table) as cursor:
        found = cursor.set_range(prefix)
        while found and cursor.key().startswith(prefix):
            yield Row(table, cursor.key(), cursor.value())
            found = cursor.next()


def _bucket_ids(txn: Transaction, group: int) -> set[int]:
    rows = _prefixed(txn, Table.GROUP_BUCKETS, bytes([group]))
    records = (GROUP_BUCKET_CODEC.open(row.key, row.value).bucket for row in rows)
    return {record.bucket_id for record in records if record is not None}


def blobs_of_row(row: Row) -> list[BlobRef]:
    """The blobs that a row owns. Raises DataCorrupt, FormatError."""
    if row.table in (Table.LIVE, Table.HISTORY):
        blob = VERSION_CODEC.open(row.key, row.value).blob
        return [] if blob is None else [blob]
    if row.table is Table.PARTS:
        blob = PART_CODEC.open(row.key, row.value).blob
        return [] if blob is None else [blob]
    if row.table is not Table.MANIFESTS:
        return []
    manifest = MANIFEST_CODEC.open(row.key, row.value)
    blobs = []
    start = 0
    for place in range(len(manifest.blob_ids) // 16):
        end = int.from_bytes(manifest.blob_end_offsets[8 * place : 8 * place + 8], "big")
        blob_id = manifest.blob_ids[16 * place : 16 * place + 16]
        if blob_id != EMPTY_BLOB_ID:
            blobs.append(BlobRef(blob_id, end - start))
        start = end
    return blobs


def put_row(txn: Transaction, row: Row, allocate: Callable[[], int]) -> None:
    """Writes a row of a group; `allocate` gives the numbers of tree nodes."""
    if row.table in TREES:
        root = int.from_bytes(row.key[:8], "big")
        Tree(txn, row.table, root).put(row.key[8:], row.value, allocate)
    else:
        txn.put(row.table, row.key, row.value)


def delete_row(txn: Transaction, row: Row) -> None:
    """Removes a row of a group."""
    if row.table in TREES:
        Tree(txn, row.table, int.from_bytes(row.key[:8], "big")).delete(row.key[8:])
    else:
        txn.delete(row.table, row.key)
