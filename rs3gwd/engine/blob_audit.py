"""Which blobs this node should have and does not even miss: a walk over the metadata.

What it is not: it fetches nothing and reads no bytes of objects. A node learns by the commands
which blobs it lacks, and keeps that as MISSING rows. Where it cannot have learned it, because the
layout gave it a partition, or because too much was owed to it, it compares: every blob that some
record names, that it should keep and of which it has no row gets one.

The walk is done in short steps, so that it leaves room for requests, over one read transaction;
what it found is looked at once more in the transaction that writes: the record may be gone by then.
Pages that the store frees meanwhile cannot be used again, so that a walk is for when it is needed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from itertools import islice

from msgspec import Struct

from rs3gwd.base.errors import DataCorrupt, FormatError, StoreError
from rs3gwd.base.records import BlobRef, VersionRecord
from rs3gwd.engine.apply_state import read_manifest
from rs3gwd.engine.bodies import blob_pieces
from rs3gwd.engine.environment import Environment, Transaction
from rs3gwd.engine.group_blobs import MissingRecord, bind_blob, find_missing, has_blob
from rs3gwd.engine.ownership import DamageReport, iterate_buckets, iterate_table, iterate_versions
from rs3gwd.engine.queries import get_version
from rs3gwd.engine.tables import PART_CODEC, Table

Wants = Callable[[bytes], bool]

STEP_BLOBS = 1000
"""Blobs of one step: some 10 ms of a thread."""


class Lacking(Struct, frozen=True):
    """A blob that a record names and that has no row here: `part_row` is of a part that belongs to
    no version, otherwise bucket, key and version say where it was named."""

    blob: BlobRef
    bucket: str = ""
    key: bytes = b""
    version_id: str = ""
    part_row: bytes = b""


class LackingWalk:
    """A walk over every blob that a record names; `close` ends it, whether it is done or not."""

    def __init__(self, environment: Environment, wants: Wants, on_damage: DamageReport) -> None:
        self._wants = wants
        self._txn = environment.read()
        self._blobs = _named(self._txn, on_damage)

    def step(self) -> list[Lacking] | None:
        """Of the next blobs those that this node wants and has no row of; None at the end. In a
        thread."""
        some = list(islice(self._blobs, STEP_BLOBS))
        if not some:
            return None
        wanted = [each for each in some if self._wants(each.blob.blob_id)]
        return [each for each in wanted if not _is_known(self._txn, each.blob.blob_id)]

    def close(self) -> None:
        """Ends the transaction."""
        self._blobs = iter(())
        self._txn.abort()


def note_lacking(txn: Transaction, found: Sequence[Lacking]) -> int:
    """Binds or notes as missing what is still named and has no row; how many there were."""
    count = 0
    for each in found:
        if not _is_known(txn, each.blob.blob_id) and _is_named(txn, each):
            bind_blob(txn, each.blob, MissingRecord(each.blob.size_bytes))
            count += 1
    return count


def list_kept(txn: Transaction, *, after: bytes, limit: int) -> list[bytes]:
    """The ids of blobs that are kept here, behind an id, by id."""
    found: list[bytes] = []
    with txn.cursor(Table.BLOBS) as cursor:
        has_more = cursor.set_range(after + b"\0")
        while has_more and len(found) < limit:
            found.append(cursor.key())
            has_more = cursor.next()
    return found


def _is_known(txn: Transaction, blob_id: bytes) -> bool:
    try:
        return has_blob(txn, blob_id) or find_missing(txn, blob_id) is not None
    except (DataCorrupt, FormatError):
        return True  # a damaged row is for the check to find


def _named(txn: Transaction, on_damage: DamageReport) -> Iterator[Lacking]:
    for bucket in iterate_buckets(txn, on_damage):
        for table in (Table.LIVE, Table.HISTORY):
            versions = iterate_versions(txn, table, bucket.bucket_id, on_damage)
            for key, version in versions:
                for blob in _blobs_of(txn, version, on_damage):
                    yield Lacking(blob, bucket.name, key, version.version_id)
    for row, part in iterate_table(txn, Table.PARTS, PART_CODEC, on_damage):
        if part.blob is not None:
            yield Lacking(part.blob, part_row=row)


def _blobs_of(
    txn: Transaction, version: VersionRecord, on_damage: DamageReport
) -> Iterator[BlobRef]:
    try:
        end = _stored_bytes(txn, version)
        for piece in blob_pieces(txn, version, 0, end):
            yield piece.blob
    except (DataCorrupt, FormatError) as error:
        on_damage(error)


def _stored_bytes(txn: Transaction, version: VersionRecord) -> int:
    if version.blob is not None:
        return version.blob.size_bytes
    if version.manifest_id is None:
        return 0
    ends = read_manifest(txn, version.manifest_id).blob_end_offsets
    return int.from_bytes(ends[-8:], "big")


def _is_named(txn: Transaction, each: Lacking) -> bool:
    """Whether the record that named a blob still does."""
    if each.part_row:
        value = txn.get(Table.PARTS, each.part_row)
        return value is not None and PART_CODEC.open(each.part_row, value).blob == each.blob
    try:
        version = get_version(txn, each.bucket, each.key, each.version_id)
        if version.blob is not None:
            return version.blob == each.blob
        pieces = blob_pieces(txn, version, 0, _stored_bytes(txn, version))
    except StoreError:
        return False  # it is gone; another walk finds it elsewhere
    return any(piece.blob == each.blob for piece in pieces)
