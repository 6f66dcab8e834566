"""Single look-ups: the reads of the port `ObjectStore` that touch a row or a few.

Synchronous functions over one read transaction, each a few microseconds. What it is not: the
pages of listings are in `rs3gwd.engine.listings`, accounts and keys in `rs3gwd.engine.accounts`.
Every function raises DataCorrupt and FormatError beside what it names.
"""

from __future__ import annotations

from rs3gwd.base.errors import (
    DataCorrupt,
    MethodNotAllowed,
    NoSuchBucket,
    NoSuchUpload,
    NoSuchVersion,
    VersionGone,
)
from rs3gwd.base.ports import BucketPage, PartPage
from rs3gwd.base.records import (
    BucketRecord,
    ManifestRecord,
    PartRecord,
    UploadRecord,
    VersionKind,
    VersionRecord,
)
from rs3gwd.engine import uploads
from rs3gwd.engine.accounts import iterate_owned
from rs3gwd.engine.apply_state import read_bucket
from rs3gwd.engine.environment import Transaction
from rs3gwd.engine.tables import (
    CONFIGURATION_CODEC,
    MANIFEST_CODEC,
    VERSION_CODEC,
    Table,
    configuration_key,
    u64,
)
from rs3gwd.engine.tree import CHUNK_BYTES
from rs3gwd.engine.versions import KeyVersions


def get_bucket(txn: Transaction, name: str) -> BucketRecord:
    """Raises NoSuchBucket."""
    record = read_bucket(txn, name)
    if record is None:
        raise NoSuchBucket("The specified bucket does not exist")
    return record


def get_configuration(txn: Transaction, bucket: BucketRecord, kind: str) -> bytes | None:
    """The document of this kind that the bucket has now, or None."""
    if kind not in bucket.configurations:
        return None
    key = configuration_key(bucket.bucket_id, kind)
    value = txn.get(Table.CONFIGURATIONS, key)
    return None if value is None else CONFIGURATION_CODEC.open(key, value).document


def get_version(txn: Transaction, bucket: str, key: bytes, version_id: str | None) -> VersionRecord:
    """The current version, or the one named (`null` for the null version).

    Raises NoSuchBucket; NoSuchKey (nothing current; names the marker that hides the key);
    NoSuchVersion; MethodNotAllowed (the version named is a delete marker).
    """
    bucket_id = get_bucket(txn, bucket).bucket_id
    if version_id is not None:
        return _get_named_version(KeyVersions(txn, bucket_id, key), version_id)
    if len(key) <= CHUNK_BYTES:
        row = u64(bucket_id) + key
        value = txn.get(Table.LIVE, row)
        if value is not None:
            return VERSION_CODEC.open(row, value)
        raise KeyVersions(txn, bucket_id, key).missing_key()
    versions = KeyVersions(txn, bucket_id, key)
    record = versions.live()
    if record is None:
        raise versions.missing_key()
    return record


def get_manifest(txn: Transaction, version: VersionRecord) -> ManifestRecord:
    """The parts of a version whose `manifest_id` is not None.

    Raises VersionGone: the version was found in an earlier transaction and has been replaced or
    deleted since (no manifest id is used twice); look the version up again.
    """
    assert version.manifest_id is not None, "only a version of parts has a manifest"
    key = u64(version.manifest_id)
    value = txn.get(Table.MANIFESTS, key)
    if value is None:
        raise VersionGone(f"manifest {version.manifest_id} is gone")
    return MANIFEST_CODEC.open(key, value)


def get_upload(txn: Transaction, bucket: str, key: bytes, upload_id: str) -> UploadRecord:
    """An upload that is not completed. Raises NoSuchBucket, NoSuchUpload."""
    bucket_id = get_bucket(txn, bucket).bucket_id
    record = uploads.find_upload(txn, bucket_id, key, upload_id)
    if record is None:
        raise NoSuchUpload(
            "The specified upload does not exist. The upload ID may be invalid, or the upload "
            "may have been aborted or completed."
        )
    return record


def list_parts(
    txn: Transaction,
    bucket: str,
    key: bytes,
    upload_id: str,
    *,
    after_number: int = 0,
    limit: int = 1000,
) -> PartPage:
    """The parts of an upload behind `after_number`. Raises NoSuchBucket, NoSuchUpload."""
    upload = get_upload(txn, bucket, key, upload_id)
    parts: list[PartRecord] = []
    if limit > 0:
        for part in uploads.iterate_parts(txn, upload.seq, after_number=after_number):
            if len(parts) == limit:
                return PartPage(upload=upload, parts=parts, next_number=parts[-1].number)
            parts.append(part)
    return PartPage(upload=upload, parts=parts, next_number=None)


def list_buckets(
    txn: Transaction, *, owner_id: str, prefix: str = "", after: str = "", limit: int = 1000
) -> BucketPage:
    """The buckets of one owner whose names begin with `prefix` and come behind `after`."""
    buckets: list[BucketRecord] = []
    if limit <= 0:
        return BucketPage(buckets=buckets, next_after=None)
    start = max(prefix, after)
    for name in iterate_owned(txn, Table.BUCKET_OWNERS, owner_id, start=start):
        if not name.startswith(prefix):
            break
        if name == after:
            continue
        if len(buckets) == limit:
            return BucketPage(buckets=buckets, next_after=buckets[-1].name)
        record = read_bucket(txn, name)
        if record is None:
            raise DataCorrupt(f"bucket {name!r} of {owner_id} is missing")
        buckets.append(record)
    return BucketPage(buckets=buckets, next_after=None)


def _get_named_version(versions: KeyVersions, version_id: str) -> VersionRecord:
    record = versions.find(version_id)
    if record is None:
        raise NoSuchVersion("The specified version does not exist.")
    if record.kind is VersionKind.DELETE_MARKER:
        raise MethodNotAllowed(
            "The specified method is not allowed against this resource.",
            delete_marker_version_id=record.version_id,
            last_modified_ms=record.last_modified_ms,
        )
    return record
