"""The state of the reference model: what exists, as plain dicts and lists.

What it is not: it has no rules (`rs3gwd.testing.memory_commands`) and no pages
(`rs3gwd.testing.memory_store`). The versions of a key are one list, newest first; the current
version is the first of them, unless that is a delete marker. That is all there is to S3's
versioning, and every shape the engine stores it in must look like this from outside.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import msgspec

from rs3gwd.base.errors import (
    MethodNotAllowed,
    NoSuchBucket,
    NoSuchKey,
    NoSuchUpload,
    NoSuchVersion,
)
from rs3gwd.base.identities import IdentityKind, IdentityRecord, PolicyRecord
from rs3gwd.base.kms_keys import KmsKeyRecord
from rs3gwd.base.records import (
    AccessKeyRecord,
    AccountRecord,
    BucketRecord,
    ManifestRecord,
    PartRecord,
    UploadRecord,
    VersionKind,
    VersionRecord,
)


@dataclass
class MemoryUpload:
    """An upload and its parts by number; a completed one has none and keeps its result."""

    key: bytes
    record: UploadRecord
    parts: dict[int, PartRecord] = field(default_factory=dict)

    @property
    def time_ms(self) -> int:
        """When it began or, for a completed one, when it was completed."""
        done = self.record.completed
        return self.record.initiated_ms if done is None else done.last_modified_ms


@dataclass
class MemoryBucket:
    """A bucket: `versions` newest first by key, and no key without versions."""

    record: BucketRecord
    versions: dict[bytes, list[VersionRecord]] = field(default_factory=dict)
    documents: dict[str, bytes] = field(default_factory=dict)
    uploads: dict[str, MemoryUpload] = field(default_factory=dict)

    def current(self, key: bytes) -> VersionRecord | None:
        """The current version; None when there is nothing or a delete marker."""
        versions = self.versions.get(key, [])
        if not versions or versions[0].kind is VersionKind.DELETE_MARKER:
            return None
        return versions[0]

    def find(self, key: bytes, version_id: str) -> VersionRecord | None:
        """The version with this id, an object or a delete marker."""
        for version in self.versions.get(key, []):
            if version.version_id == version_id:
                return version
        return None

    def add(self, key: bytes, version: VersionRecord) -> None:
        """Puts a version in front of all others."""
        self.versions.setdefault(key, []).insert(0, version)

    def remove(self, key: bytes, version: VersionRecord) -> None:
        """Takes a version out."""
        self.versions[key].remove(version)
        if not self.versions[key]:
            del self.versions[key]

    def get(self, key: bytes, version_id: str | None) -> VersionRecord:
        """The current version or the one named, a delete marker too in the second case.

        Raises NoSuchKey, NoSuchVersion.
        """
        if version_id is not None:
            named = self.find(key, version_id)
            if named is None:
                raise NoSuchVersion("The specified version does not exist.")
            return named
        current = self.current(key)
        if current is not None:
            return current
        hidden_by = self.versions.get(key, [None])[0]
        if hidden_by is None:
            raise NoSuchKey("The specified key does not exist.")
        raise NoSuchKey(
            "The specified key does not exist.",
            delete_marker_version_id=hidden_by.version_id,
            last_modified_ms=hidden_by.last_modified_ms,
        )

    def unfinished(self, key: bytes, upload_id: str) -> MemoryUpload:
        """An upload of `key` that is not completed. Raises NoSuchUpload."""
        upload = self.uploads.get(upload_id)
        if upload is None or upload.key != key or upload.record.completed is not None:
            raise NoSuchUpload("The specified upload does not exist.")
        return upload


@dataclass
class MemoryState:
    """Everything: buckets by name, accounts by canonical id, keys by id, bytes by blob id."""

    buckets: dict[str, MemoryBucket] = field(default_factory=dict)
    accounts: dict[str, AccountRecord] = field(default_factory=dict)
    access_keys: dict[str, AccessKeyRecord] = field(default_factory=dict)
    identities: dict[tuple[str, IdentityKind, str], IdentityRecord] = field(default_factory=dict)
    policies: dict[tuple[str, str], PolicyRecord] = field(default_factory=dict)
    kms_keys: dict[str, KmsKeyRecord] = field(default_factory=dict)
    manifests: dict[int, ManifestRecord] = field(default_factory=dict)
    blobs: dict[bytes, bytes] = field(default_factory=dict)
    last_seq: int = 0
    last_id: int = 0

    def bucket(self, name: str) -> MemoryBucket:
        """Raises NoSuchBucket."""
        if name not in self.buckets:
            raise NoSuchBucket("The specified bucket does not exist")
        return self.buckets[name]

    def next_seq(self) -> int:
        """The next number in the order of writes."""
        self.last_seq += 1
        return self.last_seq

    def next_id(self) -> int:
        """The next number of a bucket or a manifest."""
        self.last_id += 1
        return self.last_id

    def body(self, version: VersionRecord) -> bytes:
        """The bytes of a version. Raises KeyError when they are gone."""
        if version.blob is not None:
            return self.blobs[version.blob.blob_id]
        if version.manifest_id is None:
            return b""
        packed = self.manifests[version.manifest_id].blob_ids
        ids = [packed[at : at + 16] for at in range(0, len(packed), 16)]
        return b"".join(self.blobs[blob_id] for blob_id in ids if any(blob_id))

    def free(self, version: VersionRecord) -> None:
        """Forgets the bytes of a version that is gone."""
        if version.blob is not None:
            del self.blobs[version.blob.blob_id]
        if version.manifest_id is not None:
            packed = self.manifests.pop(version.manifest_id).blob_ids
            for at in range(0, len(packed), 16):
                if any(packed[at : at + 16]):
                    del self.blobs[packed[at : at + 16]]

    def free_part(self, part: PartRecord) -> None:
        """Forgets the bytes of a part that is gone."""
        if part.blob is not None:
            del self.blobs[part.blob.blob_id]


def bucket_object(bucket: MemoryBucket, key: bytes, version_id: str | None) -> VersionRecord:
    """The object that a key or a version id names. Raises MethodNotAllowed for a delete marker."""
    version = bucket.get(key, version_id)
    if version.kind is VersionKind.DELETE_MARKER:
        raise MethodNotAllowed(
            "The specified method is not allowed against this resource.",
            delete_marker_version_id=version.version_id,
            last_modified_ms=version.last_modified_ms,
        )
    return version


def change_attributes(
    bucket: MemoryBucket, key: bytes, version: VersionRecord, **changes: object
) -> VersionRecord:
    """Changes attributes of a version where it stands; the version as it is then."""
    attributes = msgspec.structs.replace(version.attributes, **changes)
    changed = msgspec.structs.replace(version, attributes=attributes)
    versions = bucket.versions[key]
    versions[versions.index(version)] = changed
    return changed


def change_bucket(state: MemoryState, name: str, **changes: object) -> BucketRecord:
    """Changes fields of a bucket's record; the record as it is then."""
    bucket = state.bucket(name)
    bucket.record = msgspec.structs.replace(bucket.record, **changes)
    return bucket.record
