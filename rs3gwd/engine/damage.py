"""Taking versions and parts whose bytes are lost out of the metadata.

What it is not: it decides nothing. The recovery calls it for writes of relaxed buckets that a power
cut took, which is what such a bucket allows; `repair` calls it when its operator asks for it.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator

from msgspec import Struct

from rs3gwd.base.commands import DeleteObject
from rs3gwd.base.errors import DataCorrupt, FormatError, StoreError
from rs3gwd.base.records import VersionRecord
from rs3gwd.engine.apply import Applier
from rs3gwd.engine.apply_state import manifest_blob_ids, read_manifest
from rs3gwd.engine.blobs import UnsyncedRecord, find_blob
from rs3gwd.engine.environment import Transaction
from rs3gwd.engine.ownership import DamageReport, iterate_buckets, iterate_table, iterate_versions
from rs3gwd.engine.queries import get_version
from rs3gwd.engine.segments import Ledger
from rs3gwd.engine.tables import PART_CODEC, Table


class Owner(Struct, frozen=True):
    """A record that names a blob: a version, or (version_id None) the part in row `part_row`."""

    bucket: str
    key: bytes
    version_id: str | None
    part_row: bytes = b""

    def describe(self) -> str:
        """One line for people."""
        if self.version_id is None:
            seq, number = self.part_row[:8], self.part_row[8:]
            return f"part {int.from_bytes(number, 'big')} of upload {int.from_bytes(seq, 'big')}"
        shown = self.key.decode("utf-8", errors="backslashreplace")
        return f"version {self.version_id} of {self.bucket}/{shown}"


def owner_by_hint(txn: Transaction, blob_id: bytes, hint: UnsyncedRecord) -> Owner | None:
    """The owner of a blob if it is still where it was when the blob was written."""
    if hint.version_id is None:
        return None
    try:
        version = get_version(txn, hint.bucket, hint.key, hint.version_id)
    except StoreError:
        return None
    if version.blob is None or version.blob.blob_id != blob_id:
        return None
    return Owner(hint.bucket, hint.key, hint.version_id)


def find_owners(
    txn: Transaction, blob_ids: Collection[bytes], on_damage: DamageReport
) -> Iterator[tuple[bytes, Owner]]:
    """The owners of some blobs, by a walk over all metadata."""
    for bucket in iterate_buckets(txn, on_damage):
        for table in (Table.LIVE, Table.HISTORY):
            for key, version in iterate_versions(txn, table, bucket.bucket_id, on_damage):
                for blob_id in _blobs_of(txn, version, on_damage):
                    if blob_id in blob_ids:
                        yield blob_id, Owner(bucket.name, key, version.version_id)
    for row, part in iterate_table(txn, Table.PARTS, PART_CODEC, on_damage):
        if part.blob is not None and part.blob.blob_id in blob_ids:
            yield part.blob.blob_id, Owner("", b"", None, part_row=row)


def remove_owner(txn: Transaction, applier: Applier, owner: Owner, *, now_ms: int) -> list[bytes]:
    """Removes a version or part; gives the blobs that have no owner any more."""
    if owner.version_id is None:
        value = txn.get(Table.PARTS, owner.part_row)
        if value is None:
            return []
        part = PART_CODEC.open(owner.part_row, value)
        txn.delete(Table.PARTS, owner.part_row)
        return [part.blob.blob_id] if part.blob is not None else []
    command = DeleteObject(
        bucket=owner.bucket,
        key=owner.key,
        version_id=owner.version_id,
        now_ms=now_ms,
        nonce=bytes(16),
        owner_id="",
    )
    return applier.apply(command).freed


def drop_owner(
    txn: Transaction, applier: Applier, ledger: Ledger, owner: Owner, *, now_ms: int
) -> None:
    """As `remove_owner`; the blobs' bytes are dead from then on."""
    for blob_id in remove_owner(txn, applier, owner, now_ms=now_ms):
        record = find_blob(txn, blob_id)
        if record is not None:
            txn.delete(Table.BLOBS, blob_id)
            txn.delete(Table.UNSYNCED, blob_id)
            ledger.free(record.extents)


def _blobs_of(txn: Transaction, version: VersionRecord, on_damage: DamageReport) -> Iterator[bytes]:
    if version.blob is not None:
        yield version.blob.blob_id
    if version.manifest_id is not None:
        try:
            yield from manifest_blob_ids(read_manifest(txn, version.manifest_id))
        except (DataCorrupt, FormatError) as error:
            on_damage(error)
