"""Where this node keeps the bytes of each blob, and the accounts of its segments, as LMDB rows.

What it is not: it reads no segment file. A blob is immutable bytes with exactly one owner (a
version, a part or a manifest); the owner names it by its id alone, so that the metadata is the
same on every replica, and these tables, which are the node's own, say where the bytes lie.

    BLOBS     blob id (16)     -> BlobRecord
    SEGMENTS  segment id (u64) -> SegmentRecord
    UNSYNCED  blob id (16)     -> UnsyncedRecord
    META      `store`          -> StoreRecord

A blob id is 6 bytes of milliseconds, 2 of the node and 8 random ones: ids made later are greater,
so that inserts go to the right edge of the B+ tree, where pages are full and in the cache.
"""

from __future__ import annotations

from collections.abc import Sequence
from enum import IntEnum

from msgspec import Struct

from rs3gwd.base.codec import RecordCodec
from rs3gwd.base.errors import BlobNotHere, DataCorrupt, VersionGone
from rs3gwd.base.ports import Clock, Random
from rs3gwd.engine.environment import Transaction
from rs3gwd.engine.groups import is_cluster
from rs3gwd.engine.segment_format import SEGMENT_HEADER_BYTES, footprint
from rs3gwd.engine.tables import Table, u64

BLOB_ID_BYTES = 16
META_STORE_KEY = b"store"


class Extent(Struct, array_like=True, frozen=True):
    """A stretch of a blob: the record at `offset` of a segment, with `payload_bytes` in it.

    `checksum` is the CRC-32C of the payload when it is one block of 64 KiB or less, else of the
    block table behind it.
    """

    segment_id: int
    offset: int
    payload_bytes: int
    checksum: int

    @property
    def footprint(self) -> int:
        """The bytes that the record takes in its segment."""
        return footprint(self.payload_bytes)

    @property
    def end(self) -> int:
        """The offset behind the record."""
        return self.offset + footprint(self.payload_bytes)


class BlobRecord(Struct, array_like=True, frozen=True):
    """A blob's size and where its bytes are: in `extents`, in order, or all of them in `inline`.

    The checksum of the row covers what is inline. Version 1 of the row knew extents only.
    """

    size_bytes: int
    extents: list[Extent]
    inline: bytes = b""

    @property
    def kept_bytes(self) -> int:
        """The bytes that the row holds or names."""
        return len(self.inline) + sum_payload(self.extents)


class SegmentState(IntEnum):
    """ACTIVE may grow; SEALED never changes; DROPPED is about to be unlinked, nothing is in it."""

    ACTIVE = 0
    SEALED = 1
    DROPPED = 2


class SegmentRecord(Struct, array_like=True, frozen=True):
    """The account of one segment, in bytes.

    Everything before `committed_end` belongs to a record that was acknowledged, or is dead; what
    lies behind it was never acknowledged and is written over. Before `synced_end` all is on stable
    storage. `live_bytes` are the footprints of the extents that BLOBS names; `committed_end` =
    header + live + dead.
    """

    state: SegmentState
    created_ms: int
    committed_end: int = SEGMENT_HEADER_BYTES
    synced_end: int = SEGMENT_HEADER_BYTES
    live_bytes: int = 0
    dead_bytes: int = 0


class UnsyncedRecord(Struct, array_like=True, frozen=True):
    """A blob of a relaxed or ephemeral bucket that was acknowledged before it was synced.

    `bucket`, `key` and `version_id` are where its owner was when it was written (`version_id` None
    for a part): a hint for the recovery, which looks further when it no longer holds.
    """

    bucket: str
    key: bytes
    version_id: str | None = None


class StoreRecord(Struct, array_like=True, frozen=True):
    """META row `store`: `store_id` is 16 random bytes that every segment header repeats."""

    store_id: bytes
    created_ms: int


BLOB_CODEC = RecordCodec(BlobRecord, name="blob", version=2)
SEGMENT_CODEC = RecordCodec(SegmentRecord, name="segment")
UNSYNCED_CODEC = RecordCodec(UnsyncedRecord, name="unsynced blob")
STORE_CODEC = RecordCodec(StoreRecord, name="store")


class BlobIds:
    """Makes blob ids. `node` is 0 to 65,535 and tells the nodes of a cluster apart."""

    def __init__(self, clock: Clock, random: Random, *, node: int = 0) -> None:
        self._clock = clock
        self._random = random
        self._node = node.to_bytes(2, "big")

    def make(self) -> bytes:
        """A new id of 16 bytes, unique for ever."""
        moment = self._clock.now_ms() & 0xFFFFFFFFFFFF
        return moment.to_bytes(6, "big") + self._node + self._random.token_bytes(8)


def find_blob(txn: Transaction, blob_id: bytes) -> BlobRecord | None:
    """The row of a blob, or None. Raises DataCorrupt, FormatError."""
    value = txn.get(Table.BLOBS, blob_id)
    return None if value is None else BLOB_CODEC.open(blob_id, value)


def get_blob(txn: Transaction, blob_id: bytes) -> BlobRecord:
    """The row of a blob. Raises DataCorrupt, VersionGone when there is none (any more); in a
    cluster BlobNotHere, for others may have it."""
    record = find_blob(txn, blob_id)
    if record is None:
        if is_cluster(txn):
            raise BlobNotHere(f"blob {blob_id.hex()} is not kept here", blob_id=blob_id)
        raise VersionGone(f"blob {blob_id.hex()} is not kept any more")
    return record


def put_blob(txn: Transaction, blob_id: bytes, record: BlobRecord) -> None:
    """Writes the row of a blob."""
    txn.put(Table.BLOBS, blob_id, BLOB_CODEC.seal(blob_id, record))


def get_segment(txn: Transaction, segment_id: int) -> SegmentRecord | None:
    """The row of a segment, or None. Raises DataCorrupt."""
    key = u64(segment_id)
    value = txn.get(Table.SEGMENTS, key)
    return None if value is None else SEGMENT_CODEC.open(key, value)


def put_segment(txn: Transaction, segment_id: int, record: SegmentRecord) -> None:
    """Writes the row of a segment."""
    key = u64(segment_id)
    txn.put(Table.SEGMENTS, key, SEGMENT_CODEC.seal(key, record))


def delete_segment(txn: Transaction, segment_id: int) -> None:
    """Removes the row of a segment."""
    txn.delete(Table.SEGMENTS, u64(segment_id))


def all_segments(txn: Transaction) -> dict[int, SegmentRecord]:
    """All rows of SEGMENTS by id: one per 256 MiB of data. Raises DataCorrupt."""
    found: dict[int, SegmentRecord] = {}
    with txn.cursor(Table.SEGMENTS) as cursor:
        for key, value in cursor:
            found[int.from_bytes(key, "big")] = SEGMENT_CODEC.open(key, value)
    return found


def put_unsynced(txn: Transaction, blob_id: bytes, record: UnsyncedRecord) -> None:
    """Remembers that a blob was acknowledged before it was synced."""
    txn.put(Table.UNSYNCED, blob_id, UNSYNCED_CODEC.seal(blob_id, record))


def all_unsynced(txn: Transaction, *, limit: int) -> dict[bytes, UnsyncedRecord]:
    """Up to `limit` rows of UNSYNCED by blob id. Raises DataCorrupt."""
    found: dict[bytes, UnsyncedRecord] = {}
    with txn.cursor(Table.UNSYNCED) as cursor:
        for key, value in cursor:
            if len(found) == limit:
                break
            found[key] = UNSYNCED_CODEC.open(key, value)
    return found


def get_store(txn: Transaction) -> StoreRecord | None:
    """The identity of the store, or None in a new one. Raises DataCorrupt."""
    value = txn.get(Table.META, META_STORE_KEY)
    return None if value is None else STORE_CODEC.open(META_STORE_KEY, value)


def put_store(txn: Transaction, record: StoreRecord) -> None:
    """Writes the identity of the store, once."""
    txn.put(Table.META, META_STORE_KEY, STORE_CODEC.seal(META_STORE_KEY, record))


def check_sizes(blob_id: bytes, record: BlobRecord, *, size_bytes: int) -> None:
    """Raises DataCorrupt when a blob is not as long as its owner says or its row keeps of it."""
    kept_bytes = record.kept_bytes
    if not kept_bytes == record.size_bytes == size_bytes:
        raise DataCorrupt(
            f"blob {blob_id.hex()}: {size_bytes} bytes wanted, "
            f"{record.size_bytes} recorded, {kept_bytes} kept"
        )


def sum_payload(extents: Sequence[Extent]) -> int:
    """The payload bytes of some extents together."""
    return sum(extent.payload_bytes for extent in extents)
