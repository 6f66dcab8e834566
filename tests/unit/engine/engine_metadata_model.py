"""The smallest honest model of the metadata: lists in dicts, sorted and filtered on each question.

It knows no rows, trees or places: the versions of a key are a list, newest first, and every answer
is computed from all of it.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from rs3gwd.base.commands import Conditions
from rs3gwd.base.records import Versioning, VersionKind, VersionRecord


@dataclass
class ModelUpload:
    """An unfinished upload; `parts` maps a number to (etag, size, blob id)."""

    key: bytes
    upload_id: str
    seq: int
    parts: dict[int, tuple[str, int, bytes]] = field(default_factory=dict)


@dataclass
class ModelBucket:
    """A bucket; each key's versions are newest first and never an empty list."""

    owner_id: str
    versioning: Versioning = Versioning.UNVERSIONED
    versions: dict[bytes, list[VersionRecord]] = field(default_factory=dict)
    uploads: dict[str, ModelUpload] = field(default_factory=dict)

    def current(self, key: bytes) -> VersionRecord | None:
        """The current version, unless it is a delete marker."""
        versions = self.versions.get(key)
        if not versions or versions[0].kind is VersionKind.DELETE_MARKER:
            return None
        return versions[0]

    def find(self, key: bytes, version_id: str) -> VersionRecord | None:
        """The version with this id."""
        for version in self.versions.get(key, []):
            if version.version_id == version_id:
                return version
        return None

    def remove(self, key: bytes, version_id: str) -> VersionRecord | None:
        """Takes a version away and gives it back."""
        found = self.find(key, version_id)
        if found is not None:
            self.versions[key].remove(found)
            if not self.versions[key]:
                del self.versions[key]
        return found

    def add(self, key: bytes, version: VersionRecord) -> VersionRecord | None:
        """Puts a version on top; gives back the null version that it replaces."""
        replaced = None
        if self.versioning is not Versioning.ENABLED:
            replaced = self.remove(key, "null")
        self.versions.setdefault(key, []).insert(0, version)
        return replaced

    def list_objects(
        self, prefix: bytes, delimiter: bytes, after: bytes
    ) -> list[tuple[bytes, VersionRecord | None]]:
        """All entries of a listing behind `after`: (key, version) or (common prefix, None)."""
        entries: dict[bytes, VersionRecord | None] = {}
        for key in sorted(self.versions):
            version = self.current(key)
            if version is not None and key.startswith(prefix):
                group = group_of(key, prefix, delimiter)
                entries[key if group is None else group] = version if group is None else None
        return [entry for entry in sorted(entries.items()) if is_behind(*entry, after)]

    def list_versions(
        self, prefix: bytes, delimiter: bytes
    ) -> list[tuple[bytes, VersionRecord | None, bool]]:
        """All entries of a version listing: (key, version, is latest) or (prefix, None, False)."""
        entries: list[tuple[bytes, VersionRecord | None, bool]] = []
        for key in sorted(self.versions):
            if not key.startswith(prefix):
                continue
            group = group_of(key, prefix, delimiter)
            if group is None:
                newest = self.versions[key][0]
                entries += [(key, version, version is newest) for version in self.versions[key]]
            elif not entries or entries[-1][0] != group:
                entries.append((group, None, False))
        return entries

    def list_uploads(self, prefix: bytes, delimiter: bytes) -> list[tuple[bytes, str | None]]:
        """All entries of an upload listing: (key, upload id) or (common prefix, None)."""
        entries: list[tuple[bytes, str | None]] = []
        for upload in sorted(self.uploads.values(), key=lambda one: (one.key, one.seq)):
            if not upload.key.startswith(prefix):
                continue
            group = group_of(upload.key, prefix, delimiter)
            if group is None:
                entries.append((upload.key, upload.upload_id))
            elif not entries or entries[-1] != (group, None):
                entries.append((group, None))
        return entries


def group_of(key: bytes, prefix: bytes, delimiter: bytes) -> bytes | None:
    """The common prefix that a listing shows in the place of `key`."""
    head, found, _ = key[len(prefix) :].partition(delimiter) if delimiter else (b"", b"", b"")
    return prefix + head + found if found else None


def is_behind(shown: bytes, version: VersionRecord | None, after: bytes) -> bool:
    """Whether an entry comes behind `after`; a common prefix that `after` lies in does not."""
    if version is None and after.startswith(shown):
        return False
    return shown > after


def passes(conditions: Conditions, current: VersionRecord | None) -> str | None:
    """None when the conditions hold, else the error code."""
    if current is None:
        return None if conditions.if_match is None else "NoSuchKey"
    if conditions.if_match is not None and conditions.if_match not in ("*", current.etag):
        return "PreconditionFailed"
    if conditions.if_none_match is not None and conditions.if_none_match in ("*", current.etag):
        return "PreconditionFailed"
    return None
