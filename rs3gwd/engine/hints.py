"""What this node owes to others, and has still to compare itself: rows of the table HINTS.

What it is not: it decides nothing (`cluster.quorum.hints`) and sends nothing. Everything here is
this node's own and never replicated.

    key                                      what it says
    node (8) | 01 | blob id (16)             the node may lack this blob
    node (8) | 02 | partition (2)            the node may lack some blobs of this partition
    0 (8)    | 03 | partition (2)            this node is to compare this partition itself

Node ids begin at 1, so that 0 is this node. The key says all; the value, a HintRecord, is for
people.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from itertools import islice

from msgspec import Struct

from rs3gwd.base.codec import RecordCodec
from rs3gwd.engine.environment import Transaction
from rs3gwd.engine.tables import Table, u64

BLOB_HINT = 1
PARTITION_HINT = 2
OWN_PARTITION = 3


class HintRecord(Struct, array_like=True, frozen=True):
    """HINTS: since when, in milliseconds since 1970."""

    noted_ms: int


HINT_CODEC = RecordCodec(HintRecord, name="hint")


class Owed(Struct):
    """What is owed to one node: how many blobs, and which partitions."""

    blobs: int = 0
    partitions: set[int] = set()


def put_blob_hints(
    txn: Transaction, hints: Iterable[tuple[int, bytes]], *, now_ms: int
) -> Counter[int]:
    """Notes that nodes may lack blobs; how many of the hints were there before, by node."""
    repeated: Counter[int] = Counter()
    for node, blob_id in hints:
        key = _key(node, BLOB_HINT) + blob_id
        if txn.get(Table.HINTS, key) is not None:
            repeated[node] += 1
        _put(txn, key, HintRecord(now_ms))
    return repeated


def put_partition_hints(txn: Transaction, hints: Iterable[tuple[int, int]], *, now_ms: int) -> None:
    """Notes that nodes may lack blobs of partitions."""
    for node, partition in hints:
        _put(txn, _key(node, PARTITION_HINT) + _u16(partition), HintRecord(now_ms))


def put_own_partitions(txn: Transaction, partitions: Iterable[int], *, now_ms: int) -> None:
    """Notes that this node is to compare partitions."""
    for partition in partitions:
        _put(txn, _key(0, OWN_PARTITION) + _u16(partition), HintRecord(now_ms))


def list_blob_hints(txn: Transaction, node: int, *, limit: int) -> list[bytes]:
    """The ids of the first blobs that a node may lack."""
    return [key[9:] for key in islice(_keys(txn, _key(node, BLOB_HINT)), limit)]


def list_partition_hints(txn: Transaction, node: int) -> list[int]:
    """The partitions of which a node may lack blobs."""
    return [int.from_bytes(key[9:], "big") for key in _keys(txn, _key(node, PARTITION_HINT))]


def list_own_partitions(txn: Transaction) -> dict[int, bytes]:
    """The partitions that this node is to compare, each with its mark."""
    keys = list(_keys(txn, _key(0, OWN_PARTITION)))
    return {int.from_bytes(key[9:], "big"): txn.get(Table.HINTS, key) or b"" for key in keys}


def remove_hints(
    txn: Transaction, node: int, blob_ids: Iterable[bytes], partitions: Iterable[int]
) -> None:
    """What a node has taken over."""
    for blob_id in blob_ids:
        txn.delete(Table.HINTS, _key(node, BLOB_HINT) + blob_id)
    for partition in partitions:
        txn.delete(Table.HINTS, _key(node, PARTITION_HINT) + _u16(partition))


def remove_own_partition(txn: Transaction, partition: int, mark: bytes) -> None:
    """This node has compared a partition; a mark that was made since then stays."""
    key = _key(0, OWN_PARTITION) + _u16(partition)
    if txn.get(Table.HINTS, key) == mark:
        txn.delete(Table.HINTS, key)


def count_hints(txn: Transaction) -> dict[int, Owed]:
    """What is owed to whom, by a walk over all rows."""
    owed: dict[int, Owed] = {}
    for key in txn.cursor(Table.HINTS).iternext(keys=True, values=False):
        node, kind = int.from_bytes(key[:8], "big"), key[8]
        if kind == BLOB_HINT:
            owed.setdefault(node, Owed()).blobs += 1
        elif kind == PARTITION_HINT:
            owed.setdefault(node, Owed()).partitions.add(int.from_bytes(key[9:], "big"))
    return owed


def _keys(txn: Transaction, prefix: bytes) -> Iterator[bytes]:
    with txn.cursor(Table.HINTS) as cursor:
        found = cursor.set_range(prefix)
        while found and cursor.key().startswith(prefix):
            yield cursor.key()
            found = cursor.next()


def _put(txn: Transaction, key: bytes, record: HintRecord) -> None:
    txn.put(Table.HINTS, key, HINT_CODEC.seal(key, record))


def _key(node: int, kind: int) -> bytes:
    return u64(node) + bytes([kind])


def _u16(number: int) -> bytes:
    return number.to_bytes(2, "big")
