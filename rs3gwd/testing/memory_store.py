"""The reference model: the whole port `ObjectStore` over dicts and lists, in memory.

It is the executable specification of the store: each page is made by sorting everything and
cutting out what was asked for, so that one can see that it is right. Tests hold the engine against
it, and the S3 surface runs on it in tests that need no disk. What it is not: it is neither fast nor
durable, and never fails or is full by itself.

One command is applied at a time; a read sees every command submitted before it.
"""

from __future__ import annotations

import secrets
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import trio

from rs3gwd.base.codec import make_sequenced_id, sequence_of_id
from rs3gwd.base.commands import AnyCommand, CommandResult, PutObject, PutPart
from rs3gwd.base.errors import InvalidRequest, MethodNotAllowed, VersionGone
from rs3gwd.base.ports import (
    BodyReader,
    BucketPage,
    Buffer,
    ListEntry,
    ListPage,
    PartPage,
    Stage,
    StagedBlob,
    UploadEntry,
    UploadPage,
    VersionEntry,
    VersionPage,
)
from rs3gwd.base.records import (
    NULL_VERSION_ID,
    BlobRef,
    BucketRecord,
    Durability,
    ManifestRecord,
    UploadRecord,
    Versioning,
    VersionKind,
    VersionRecord,
)
from rs3gwd.testing.directory import MemoryDirectory
from rs3gwd.testing.memory_commands import apply_command
from rs3gwd.testing.memory_state import MemoryBucket, MemoryState

READ_BYTES_MAX = 1024 * 1024
"""The most that one `read` of a body gives, as the port says."""

SMALL_BYTES_MAX = 64 * 1024
"""The largest body that `read_small` gives."""


@dataclass
class MemoryStaged:
    """The bytes of one body; `ref` is None when there are none."""

    ref: BlobRef | None
    data: bytes
    submitted: bool = False


@dataclass
class MemoryStage:
    """Takes the bytes of one body."""

    size_hint: int | None
    pieces: list[bytes] = field(default_factory=list)
    staged: MemoryStaged | None = None
    is_lean: bool = False

    async def write(self, data: Buffer) -> None:
        """Appends a copy of `data`."""
        assert self.staged is None, "written after finish"
        self.pieces.append(bytes(data))
        await trio.lowlevel.checkpoint()

    async def write_behind(self, data: memoryview, done: Callable[[], None]) -> None:
        """Appends a copy of `data`, a little later."""
        await self.write(data)
        done()

    async def end(self) -> None:
        """There is nothing to begin."""

    async def finish(self) -> MemoryStaged:
        """Names the bytes."""
        assert self.staged is None, "finished twice"
        data = b"".join(self.pieces)
        assert self.size_hint in (None, len(data)), f"{len(data)} bytes, announced {self.size_hint}"
        ref = BlobRef(secrets.token_bytes(16), len(data)) if data else None
        self.staged = MemoryStaged(ref, data)
        await trio.lowlevel.checkpoint()
        return self.staged


class MemoryBodyReader:
    """Gives out bytes in pieces of at most 1 MiB."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._at = 0

    async def read(self) -> Buffer:
        """The next bytes; empty at the end."""
        await trio.lowlevel.checkpoint()
        piece = self._data[self._at : self._at + READ_BYTES_MAX]
        self._at += len(piece)
        return piece


class MemoryLookups:
    """The port `Lookups` over the state of a `MemoryStore`."""

    def __init__(self, state: MemoryState) -> None:
        self._state = state

    def get_bucket(self, name: str) -> BucketRecord:
        """Raises NoSuchBucket."""
        return self._state.bucket(name).record

    def get_configuration(self, bucket: BucketRecord, kind: str) -> bytes | None:
        """See the port."""
        found = self._state.buckets.get(bucket.name)
        if found is None or found.record.bucket_id != bucket.bucket_id:
            return None
        return found.documents.get(kind)

    def get_version(self, bucket: str, key: bytes, version_id: str | None) -> VersionRecord:
        """Raises NoSuchBucket, NoSuchKey, NoSuchVersion, MethodNotAllowed."""
        version = self._state.bucket(bucket).get(key, version_id)
        if version.kind is VersionKind.DELETE_MARKER:
            raise MethodNotAllowed(
                "The specified method is not allowed against this resource.",
                delete_marker_version_id=version.version_id,
                last_modified_ms=version.last_modified_ms,
            )
        return version

    def read_small(self, version: VersionRecord) -> bytes | None:
        """The body of a version with one small blob. Raises VersionGone."""
        if version.blob is None or version.blob.size_bytes > SMALL_BYTES_MAX:
            return None
        return _body(self._state, version)


class MemoryStore:
    """The port `ObjectStore` in memory; `directory` is the port `Directory` over the same state."""

    def __init__(self) -> None:
        self.state = MemoryState()
        self.directory = MemoryDirectory(self.state)
        self.lookups = MemoryLookups(self.state)

    def lookups_now(self) -> MemoryLookups | None:
        """The state as it is."""
        return self.lookups

    async def wait_lookups(self) -> MemoryLookups:
        """The state as it is."""
        await trio.lowlevel.checkpoint()
        return self.lookups

    async def get_bucket(self, name: str) -> BucketRecord:
        """Raises NoSuchBucket."""
        await trio.lowlevel.checkpoint()
        return self.lookups.get_bucket(name)

    async def get_configuration(self, bucket: BucketRecord, kind: str) -> bytes | None:
        """See the port."""
        await trio.lowlevel.checkpoint()
        return self.lookups.get_configuration(bucket, kind)

    async def list_buckets(
        self, *, owner_id: str, prefix: str = "", after: str = "", limit: int = 1000
    ) -> BucketPage:
        """The buckets of one owner by name."""
        await trio.lowlevel.checkpoint()
        found = [
            bucket.record
            for name, bucket in sorted(self.state.buckets.items())
            if bucket.record.owner_id == owner_id and name.startswith(prefix) and name > after
        ]
        more = 0 < limit < len(found)
        return BucketPage(found[:limit], found[limit - 1].name if more else None)

    async def get_version(self, bucket: str, key: bytes, version_id: str | None) -> VersionRecord:
        """Raises NoSuchBucket, NoSuchKey, NoSuchVersion, MethodNotAllowed."""
        await trio.lowlevel.checkpoint()
        return self.lookups.get_version(bucket, key, version_id)

    async def get_manifest(self, version: VersionRecord) -> ManifestRecord:
        """Raises VersionGone."""
        await trio.lowlevel.checkpoint()
        assert version.manifest_id is not None, "only a version of parts has a manifest"
        if version.manifest_id not in self.state.manifests:
            raise VersionGone("the manifest is gone")
        return self.state.manifests[version.manifest_id]

    async def list_objects(
        self,
        bucket: str,
        *,
        prefix: bytes = b"",
        delimiter: bytes = b"",
        after: bytes = b"",
        limit: int = 1000,
    ) -> ListPage:
        """Current versions and common prefixes, by name, behind `after`. Raises NoSuchBucket."""
        await trio.lowlevel.checkpoint()
        held = self.state.bucket(bucket)
        found: dict[bytes, ListEntry] = {}
        for key in held.versions:
            version = held.current(key)
            if version is None or not key.startswith(prefix):
                continue
            group = common_prefix(key, prefix, delimiter)
            name = key if group is None else group
            if name > after:
                found[name] = ListEntry(name) if group is not None else ListEntry.of(key, version)
        entries = [found[name] for name in sorted(found)]
        more = 0 < limit < len(entries)
        return ListPage(entries[:limit], entries[limit - 1].key if more else None)

    async def list_versions(
        self,
        bucket: str,
        *,
        prefix: bytes = b"",
        delimiter: bytes = b"",
        after_key: bytes = b"",
        after_version_id: str | None = None,
        limit: int = 1000,
    ) -> VersionPage:
        """Versions, delete markers and common prefixes, behind the markers.

        Raises NoSuchBucket, InvalidRequest (the marker cannot be a version id).
        """
        await trio.lowlevel.checkpoint()
        held = self.state.bucket(bucket)
        if limit <= 0:
            return VersionPage([], None, None)
        behind_seq = 0
        single = after_key.startswith(prefix) and not common_prefix(after_key, prefix, delimiter)
        if after_version_id is not None and single:
            behind_seq = _seq_of_version(held, after_key, after_version_id)
        entries: list[VersionEntry] = []
        for key in sorted(held.versions):
            if not key.startswith(prefix):
                continue
            group = common_prefix(key, prefix, delimiter)
            if group is not None:
                if group > after_key and VersionEntry(group, None) not in entries:
                    entries.append(VersionEntry(group, None))
                continue
            for place, version in enumerate(held.versions[key]):
                if key > after_key or (key == after_key and version.seq < behind_seq):
                    entries.append(VersionEntry(key, version, is_latest=place == 0))
        if len(entries) <= limit:
            return VersionPage(entries, None, None)
        last = entries[limit - 1]
        return VersionPage(entries[:limit], last.key, _version_marker(held, last.version))

    async def list_uploads(
        self,
        bucket: str,
        *,
        prefix: bytes = b"",
        delimiter: bytes = b"",
        after_key: bytes = b"",
        after_upload_id: str | None = None,
        limit: int = 1000,
    ) -> UploadPage:
        """Unfinished uploads and common prefixes, oldest first for one key.

        Raises NoSuchBucket, InvalidRequest (the marker cannot be an upload id).
        """
        await trio.lowlevel.checkpoint()
        held = self.state.bucket(bucket)
        if limit <= 0:
            return UploadPage([], None, None)
        behind_seq: int | None = None
        single = after_key.startswith(prefix) and not common_prefix(after_key, prefix, delimiter)
        if after_upload_id is not None and single:
            behind_seq = sequence_of_id(after_upload_id)
            if behind_seq is None:
                raise InvalidRequest("The upload id marker is not valid.")
        entries: list[UploadEntry] = []
        for upload in sorted(held.uploads.values(), key=lambda u: (u.key, u.record.seq)):
            key, record = upload.key, upload.record
            if not key.startswith(prefix) or record.completed is not None:
                continue
            group = common_prefix(key, prefix, delimiter)
            if group is not None:
                if group > after_key and UploadEntry(group, None) not in entries:
                    entries.append(UploadEntry(group, None))
            elif key > after_key or (
                key == after_key and behind_seq is not None and record.seq > behind_seq
            ):
                entries.append(UploadEntry(key, record))
        if len(entries) <= limit:
            return UploadPage(entries, None, None)
        last = entries[limit - 1]
        marker = None if last.upload is None else last.upload.upload_id
        return UploadPage(entries[:limit], last.key, marker)

    async def get_upload(self, bucket: str, key: bytes, upload_id: str) -> UploadRecord:
        """Raises NoSuchBucket, NoSuchUpload."""
        await trio.lowlevel.checkpoint()
        return self.state.bucket(bucket).unfinished(key, upload_id).record

    async def list_parts(
        self, bucket: str, key: bytes, upload_id: str, *, after_number: int = 0, limit: int = 1000
    ) -> PartPage:
        """Raises NoSuchBucket, NoSuchUpload."""
        await trio.lowlevel.checkpoint()
        upload = self.state.bucket(bucket).unfinished(key, upload_id)
        parts = [upload.parts[number] for number in sorted(upload.parts) if number > after_number]
        more = 0 < limit < len(parts)
        return PartPage(upload.record, parts[:limit], parts[limit - 1].number if more else None)

    @asynccontextmanager
    async def stage(self, *, size_hint: int | None, durability: Durability) -> AsyncIterator[Stage]:
        """A place for one body; all durability classes are alike in memory."""
        await trio.lowlevel.checkpoint()
        yield MemoryStage(size_hint)

    async def submit(self, command: AnyCommand, staged: StagedBlob | None = None) -> CommandResult:
        """Applies one command and takes over the bytes that its `blob` names."""
        await trio.lowlevel.checkpoint()
        named = command.blob if isinstance(command, PutObject | PutPart) else None
        if staged is None:
            assert named is None, "the command names a blob that was not staged"
            return apply_command(self.state, command)
        assert isinstance(staged, MemoryStaged), "staged in another store"
        assert not staged.submitted, "submitted twice"
        assert named == staged.ref, "the command names another blob than the one staged"
        result = apply_command(self.state, command)
        staged.submitted = True
        if staged.ref is not None:
            self.state.blobs[staged.ref.blob_id] = staged.data
        return result

    @asynccontextmanager
    async def open_body(
        self, version: VersionRecord, start: int, end: int
    ) -> AsyncIterator[BodyReader]:
        """The bytes from `start` to `end`. Raises VersionGone."""
        await trio.lowlevel.checkpoint()
        data = _body(self.state, version)
        assert 0 <= start <= end <= len(data), "a range outside the stored bytes"
        yield MemoryBodyReader(data[start:end])


def _body(state: MemoryState, version: VersionRecord) -> bytes:
    try:
        return state.body(version)
    except KeyError as error:
        raise VersionGone("the version was replaced or deleted") from error


def common_prefix(key: bytes, prefix: bytes, delimiter: bytes) -> bytes | None:
    """`key` up to and with the first delimiter behind `prefix`; None where there is none."""
    before, found, _ = key[len(prefix) :].partition(delimiter) if delimiter else (b"", b"", b"")
    return prefix + before + found if found else None


def _seq_of_version(bucket: MemoryBucket, key: bytes, version_id: str) -> int:
    """The seq behind which a page goes on; 0, before which nothing is, skips the whole key."""
    if version_id == NULL_VERSION_ID:
        null = bucket.find(key, NULL_VERSION_ID)
        return 0 if null is None else null.seq
    seq = sequence_of_id(version_id)
    if seq is None:
        raise InvalidRequest("The version id marker is not valid.")
    return seq


def _version_marker(bucket: MemoryBucket, last: VersionRecord | None) -> str | None:
    """What continues behind `last`: `null` may be written anew meanwhile, so its seq does."""
    if last is None:
        return None
    if last.version_id != NULL_VERSION_ID or bucket.record.versioning is Versioning.UNVERSIONED:
        return last.version_id
    return make_sequenced_id(last.seq, bytes(16))
