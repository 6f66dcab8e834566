"""Performs operations on an `ObjectStore` and looks at what is there; the model is one such store.

What it is not: it judges nothing. It gives outcomes and views in which every id that the store
chose is replaced by the name that the operation gave, so that those of two stores can be compared.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterable, Mapping
from typing import cast

import trio

from rs3gwd.base import commands as c
from rs3gwd.base.errors import (
    MethodNotAllowed,
    NoSuchKey,
    PreconditionFailed,
    Rs3gwError,
)
from rs3gwd.base.ports import ListEntry, ObjectStore, Stage, StagedBlob
from rs3gwd.base.records import (
    NULL_VERSION_ID,
    Attributes,
    Checksum,
    ChecksumAlgorithm,
    PartRecord,
    UploadRecord,
    VersionKind,
    VersionRecord,
)
from rs3gwd.testing import scenario as s
from rs3gwd.testing.memory_multipart import checksum_of

UNKNOWN_ID = "0" * 32
"""Stands for a version or upload that was never made: an id in form, of nothing."""

ID_CHARACTERS = len(UNKNOWN_ID)

PIECE_BYTES = 70_001
"""Bodies are written in pieces of this size: no multiple of anything."""


class StoreTarget:
    """Operations on one store. `names` maps the ids that the store chose to the names given.

    An id that the engine made begins with the nonce of its operation, so that even what was never
    acknowledged has a name: `names_by_nonce` gives it.
    """

    def __init__(
        self,
        store: ObjectStore,
        *,
        names: dict[str, str] | None = None,
        names_by_nonce: Mapping[bytes, str] | None = None,
    ) -> None:
        self.store = store
        self.names = {} if names is None else names
        self._names_by_nonce = names_by_nonce or {}
        self._ids = {name: actual_id for actual_id, name in self.names.items()}

    def beside(self, store: ObjectStore) -> StoreTarget:
        """A target over another view of the same store, with the same names."""
        other = StoreTarget(store)
        other.names, other._ids = self.names, self._ids
        return other

    def learn(self, name: str, actual_id: str) -> None:
        """From now on `actual_id` is what the store calls `name`."""
        if actual_id != NULL_VERSION_ID:
            self._ids[name] = actual_id
            self.names[actual_id] = name

    def id_of(self, name: str | None) -> str | None:
        """What the store calls `name`; `null` is the same everywhere."""
        if name is None or name == NULL_VERSION_ID:
            return name
        return self._ids.get(name, UNKNOWN_ID)

    def name_of(self, actual_id: str) -> str:
        """The name of an id; an id that is not known is shown as it is."""
        known = self.names.get(actual_id)
        if known is None and len(actual_id) == ID_CHARACTERS:
            nonce = base64.b64decode(actual_id, altchars=b"._")[:16]
            known = self._names_by_nonce.get(nonce)
        return actual_id if known is None else known

    async def perform(self, operation: s.AnyOperation) -> s.Outcome:
        """Does it. A refusal is an outcome; every other failure passes through."""
        try:
            return await self._perform(operation)
        except Rs3gwError as error:
            return s.Outcome(error=self.describe(error))

    async def _perform(self, operation: s.AnyOperation) -> s.Outcome:
        match operation:
            case s.Put():
                return await self._put(operation)
            case s.AbandonedPut():
                return await self._abandon(operation)
            case s.Copy():
                return await self._copy(operation)
            case s.Part():
                return await self._part(operation)
            case s.Begin():
                upload = cast(UploadRecord, await self.store.submit(self._begin(operation)))
                self.learn(operation.name, upload.upload_id)
                return s.Outcome(made=operation.name)
            case s.Delete():
                return await self._delete(operation)
            case s.Complete():
                return await self._complete(operation)
            case s.Tag():
                command = c.PutObjectTagging(
                    operation.bucket,
                    operation.key,
                    self.id_of(operation.version),
                    operation.tags,
                )
                return self._made(cast(VersionRecord, await self.store.submit(command)), None)
            case s.Forget():
                count = await self.store.submit(
                    c.ForgetUploads(operation.before_ms, operation.limit)
                )
                return s.Outcome(count=cast(int, count))
            case _:
                await self.store.submit(self._simple_command(operation))
                return s.Outcome()

    def _simple_command(self, operation: s.AnyOperation) -> c.AnyCommand:
        match operation:
            case s.MakeBucket():
                return c.CreateBucket(
                    operation.bucket,
                    operation.owner_id,
                    operation.time_ms,
                    "us-east-1",
                    operation.durability,
                )
            case s.RemoveBucket():
                return c.DeleteBucket(operation.bucket)
            case s.SetVersioning():
                return c.PutBucketVersioning(operation.bucket, operation.versioning)
            case s.SetDurability():
                return c.PutBucketDurability(operation.bucket, operation.durability)
            case s.TagBucket():
                return c.PutBucketTagging(operation.bucket, operation.tags)
            case s.Abort():
                upload_id = self.id_of(operation.upload) or UNKNOWN_ID
                return c.AbortUpload(operation.bucket, operation.key, upload_id)
        raise AssertionError(f"{operation} is more than one command")

    async def _put(self, operation: s.Put) -> s.Outcome:
        bucket = await self.store.get_bucket(operation.bucket)
        data = operation.body.data
        async with self.store.stage(size_hint=len(data), durability=bucket.durability) as stage:
            staged = await _fill(stage, data)
            command = c.PutObject(
                bucket=operation.bucket,
                key=operation.key,
                now_ms=operation.time_ms,
                nonce=operation.nonce,
                attributes=Attributes(
                    owner_id="owner", tags=operation.tags, metadata=operation.metadata
                ),
                etag=operation.body.etag,
                size_bytes=len(data),
                blob=staged.ref,
                checksum=_checksum(operation.algorithm, data),
                conditions=operation.conditions,
            )
            made = cast(VersionRecord, await self.store.submit(command, staged))
        return self._made(made, operation.name)

    async def _abandon(self, operation: s.AbandonedPut) -> s.Outcome:
        bucket = await self.store.get_bucket(operation.bucket)
        async with self.store.stage(size_hint=None, durability=bucket.durability) as stage:
            await _fill(stage, operation.body.data)
        return s.Outcome()

    async def _copy(self, operation: s.Copy) -> s.Outcome:
        source = await self.store.get_version(
            operation.source_bucket, operation.source_key, self.id_of(operation.source_version)
        )
        bucket = await self.store.get_bucket(operation.bucket)
        data = await read_body(self.store, source)
        async with self.store.stage(size_hint=None, durability=bucket.durability) as stage:
            staged = await _fill(stage, data)
            command = c.PutObject(
                bucket=operation.bucket,
                key=operation.key,
                now_ms=operation.time_ms,
                nonce=operation.nonce,
                attributes=source.attributes,
                etag=hashlib.md5(data, usedforsecurity=False).hexdigest(),
                size_bytes=len(data),
                blob=staged.ref,
                conditions=operation.conditions,
            )
            made = cast(VersionRecord, await self.store.submit(command, staged))
        return self._made(made, operation.name)

    async def _delete(self, operation: s.Delete) -> s.Outcome:
        command = c.DeleteObject(
            bucket=operation.bucket,
            key=operation.key,
            version_id=self.id_of(operation.version),
            now_ms=operation.time_ms,
            nonce=operation.nonce,
            owner_id="owner",
            conditions=operation.conditions,
        )
        result = cast(c.DeleteResult, await self.store.submit(command))
        if result.version_id is None:
            return s.Outcome(delete_marker=result.delete_marker)
        if operation.version is None:
            self.learn(operation.name, result.version_id)
        return s.Outcome(made=self.name_of(result.version_id), delete_marker=result.delete_marker)

    def _begin(self, operation: s.Begin) -> c.CreateUpload:
        return c.CreateUpload(
            bucket=operation.bucket,
            key=operation.key,
            now_ms=operation.time_ms,
            nonce=operation.nonce,
            attributes=Attributes(owner_id="owner"),
            checksum_algorithm=operation.algorithm,
            checksum_type=operation.checksum_type,
        )

    async def _part(self, operation: s.Part) -> s.Outcome:
        bucket = await self.store.get_bucket(operation.bucket)
        data = operation.body.data
        async with self.store.stage(size_hint=len(data), durability=bucket.durability) as stage:
            staged = await _fill(stage, data)
            command = c.PutPart(
                bucket=operation.bucket,
                key=operation.key,
                upload_id=self.id_of(operation.upload) or UNKNOWN_ID,
                number=operation.number,
                now_ms=operation.time_ms,
                etag=operation.body.etag,
                size_bytes=len(data),
                blob=staged.ref,
                checksum=_checksum(operation.algorithm, data),
            )
            part = cast(PartRecord, await self.store.submit(command, staged))
        return s.Outcome(detail=_view_part(part))

    async def _complete(self, operation: s.Complete) -> s.Outcome:
        parts = []
        for claim in operation.parts:
            checksum = _checksum(operation.algorithm, claim.body.data)
            value = None if checksum is None else checksum.value
            parts.append(c.CompletePart(claim.number, claim.body.etag, value))
        command = c.CompleteUpload(
            bucket=operation.bucket,
            key=operation.key,
            upload_id=self.id_of(operation.upload) or UNKNOWN_ID,
            parts=parts,
            now_ms=operation.time_ms,
            nonce=operation.nonce,
            object_size=operation.object_size,
            conditions=operation.conditions,
        )
        made = cast(VersionRecord, await self.store.submit(command))
        # A repeat gives the version that the first Complete made, whatever the repeat is called.
        known = self.names.get(made.version_id)
        return self._made(made, None if known else operation.name)

    def _made(self, version: VersionRecord, name: str | None) -> s.Outcome:
        if name is not None:
            self.learn(name, version.version_id)
        detail = self.view_version(version, is_latest=False, digest=None)
        return s.Outcome(made=self.name_of(version.version_id), detail=detail)

    def describe(self, error: Rs3gwError) -> str:
        """An error in words that two stores share."""
        name = type(error).__name__
        match error:
            case PreconditionFailed():
                return f"{name} {error.condition}"
            case NoSuchKey() | MethodNotAllowed():
                marker = error.delete_marker_version_id
                shown = None if marker is None else self.name_of(marker)
                return f"{name} {shown} {error.last_modified_ms}"
        return name

    async def view(self, buckets: Iterable[str], *, prefix: bytes = b"") -> s.View:
        """All versions with their bytes and all uploads with their parts below a prefix.

        The plain listing and the look-ups by key must say the same (AssertionError).
        """
        versions: dict[str, dict[str, list[s.VersionView]]] = {}
        uploads: dict[str, dict[str, list[s.UploadView]]] = {}
        for bucket in buckets:
            versions[bucket] = await self._view_versions(bucket, prefix)
            uploads[bucket] = await self._view_uploads(bucket, prefix)
        return s.View(versions=versions, uploads=uploads)

    async def _view_versions(self, bucket: str, prefix: bytes) -> dict[str, list[s.VersionView]]:
        found: dict[str, list[s.VersionView]] = {}
        current: list[tuple[bytes, VersionRecord]] = []
        after_key, after_id = b"", None
        while True:
            page = await self.store.list_versions(
                bucket, prefix=prefix, after_key=after_key, after_version_id=after_id
            )
            for entry in page.entries:
                assert entry.version is not None, "a common prefix without a delimiter"
                is_object = entry.version.kind is VersionKind.OBJECT
                digest = None
                if is_object:
                    digest = s.digest_of(await read_body(self.store, entry.version))
                    if entry.is_latest:
                        current.append((entry.key, entry.version))
                found.setdefault(entry.key.decode("latin-1"), []).append(
                    self.view_version(entry.version, is_latest=entry.is_latest, digest=digest)
                )
            if page.next_key is None:
                break
            after_key, after_id = page.next_key, page.next_version_id
        await self._check_current(bucket, prefix, current)
        return found

    async def _check_current(
        self, bucket: str, prefix: bytes, current: list[tuple[bytes, VersionRecord]]
    ) -> None:
        listed: list[ListEntry] = []
        after: bytes | None = b""
        while after is not None:
            page = await self.store.list_objects(bucket, prefix=prefix, after=after)
            listed += page.entries
            after = page.next_after
        expected = [ListEntry.of(key, version) for key, version in current]
        assert listed == expected, f"listings of {bucket} differ: {listed} and {expected}"
        for key, version in current:
            assert await self.store.get_version(bucket, key, None) == version
            assert await self.store.get_version(bucket, key, version.version_id) == version

    async def _view_uploads(self, bucket: str, prefix: bytes) -> dict[str, list[s.UploadView]]:
        found: dict[str, list[s.UploadView]] = {}
        after_key, after_id = b"", None
        while True:
            page = await self.store.list_uploads(
                bucket, prefix=prefix, after_key=after_key, after_upload_id=after_id
            )
            for entry in page.entries:
                assert entry.upload is not None, "a common prefix without a delimiter"
                upload_id = entry.upload.upload_id
                parts = (await self.store.list_parts(bucket, entry.key, upload_id)).parts
                shown = s.UploadView(self.name_of(upload_id), [_view_part(part) for part in parts])
                found.setdefault(entry.key.decode("latin-1"), []).append(shown)
            if page.next_key is None:
                return found
            after_key, after_id = page.next_key, page.next_upload_id

    def view_version(
        self, version: VersionRecord, *, is_latest: bool, digest: str | None
    ) -> s.VersionView:
        """A version with names in the place of ids."""
        checksum = version.checksum
        return s.VersionView(
            name=self.name_of(version.version_id),
            delete_marker=version.kind is VersionKind.DELETE_MARKER,
            is_latest=is_latest,
            size_bytes=version.size_bytes,
            etag=version.etag,
            tags=list(version.attributes.tags),
            metadata=dict(version.attributes.metadata),
            checksum=(checksum.algorithm, checksum.value, checksum.type) if checksum else None,
            part_count=version.part_count,
            last_modified_ms=version.last_modified_ms,
            digest=digest,
        )


async def read_body(
    store: ObjectStore, version: VersionRecord, start: int = 0, end: int | None = None
) -> bytes:
    """The bytes of a version, or of a range of it."""
    pieces = []
    stop = version.size_bytes if end is None else end
    async with store.open_body(version, start, stop) as reader:
        while piece := await reader.read():
            pieces.append(bytes(piece))
    return b"".join(pieces)


async def _fill(stage: Stage, data: bytes) -> StagedBlob:
    for at in range(0, len(data), PIECE_BYTES):
        await stage.write(data[at : at + PIECE_BYTES])
    await trio.lowlevel.checkpoint()
    return await stage.finish()


def _checksum(algorithm: ChecksumAlgorithm | None, data: bytes) -> Checksum | None:
    if algorithm is None:
        return None
    return Checksum(algorithm, base64.b64encode(checksum_of(algorithm, data)).decode())


def _view_part(part: PartRecord) -> s.PartView:
    return s.PartView(
        part.number,
        part.size_bytes,
        part.etag,
        None if part.checksum is None else part.checksum.value,
        part.last_modified_ms,
    )
