"""The reference model itself: the rules of versioning that are easy to get wrong, case by case.

Source: Amazon S3 User Guide, "How S3 Versioning works", "Working with delete markers", "Adding
objects to versioning-suspended buckets", "Deleting objects from versioning-suspended buckets".
"""

from __future__ import annotations

import hashlib
from typing import TypeVar, cast

import pytest

from rs3gwd.base import errors
from rs3gwd.base.commands import (
    AnyCommand,
    CompletePart,
    CompleteUpload,
    Conditions,
    CreateBucket,
    CreateUpload,
    DeleteBucket,
    DeleteObject,
    DeleteResult,
    ForgetUploads,
    PutBucketVersioning,
    PutObject,
    PutObjectTagging,
    PutPart,
)
from rs3gwd.base.limits import PART_BYTES_MIN
from rs3gwd.base.ports import Directory, ObjectStore
from rs3gwd.base.records import (
    Attributes,
    Checksum,
    ChecksumAlgorithm,
    ChecksumType,
    Durability,
    PartRecord,
    UploadRecord,
    Versioning,
    VersionRecord,
)
from rs3gwd.testing.memory_store import MemoryStore
from rs3gwd.testing.random import SeededRandom

R = TypeVar("R")
OWNER = Attributes(owner_id="owner")
ENABLED, SUSPENDED = Versioning.ENABLED, Versioning.SUSPENDED


class World:
    """A model with one bucket `b` and short words for what the tests do to it."""

    def __init__(self) -> None:
        self.store = MemoryStore()
        self.random = SeededRandom(1)
        self.now_ms = 1_000

    async def make(self, versioning: Versioning | None = None) -> None:
        await self.run(CreateBucket("b", "owner", 1, "us-east-1"))
        if versioning is not None:
            await self.set(versioning)

    async def run(self, command: AnyCommand) -> object:
        return await self.store.submit(command)

    async def set(self, versioning: Versioning) -> None:
        await self.run(PutBucketVersioning("b", versioning))

    async def put(self, key: bytes, data: bytes, conditions: Conditions | None = None) -> str:
        self.now_ms += 1000
        async with self.store.stage(size_hint=None, durability=Durability.STRICT) as stage:
            await stage.write(data)
            staged = await stage.finish()
            command = PutObject(
                bucket="b",
                key=key,
                now_ms=self.now_ms,
                nonce=self.random.token_bytes(16),
                attributes=OWNER,
                etag=hashlib.md5(data, usedforsecurity=False).hexdigest(),
                size_bytes=len(data),
                blob=staged.ref,
                conditions=conditions or Conditions(),
            )
            return cast(VersionRecord, await self.store.submit(command, staged)).version_id

    async def delete(
        self, key: bytes, version_id: str | None = None, conditions: Conditions | None = None
    ) -> DeleteResult:
        self.now_ms += 1000
        command = DeleteObject(
            bucket="b",
            key=key,
            version_id=version_id,
            now_ms=self.now_ms,
            nonce=self.random.token_bytes(16),
            owner_id="owner",
            conditions=conditions or Conditions(),
        )
        return cast(DeleteResult, await self.run(command))

    async def get(self, key: bytes, version_id: str | None = None) -> bytes:
        version = await self.store.get_version("b", key, version_id)
        async with self.store.open_body(version, 0, version.size_bytes) as reader:
            return bytes(await reader.read())

    async def ids(self, key: bytes) -> list[str]:
        """The version ids of a key, newest first, `+` behind a delete marker."""
        page = await self.store.list_versions("b", prefix=key)
        assert [entry.is_latest for entry in page.entries] == [
            place == 0 for place in range(len(page.entries))
        ]
        return [
            entry.version.version_id + ("+" if entry.version.kind else "")
            for entry in page.entries
            if entry.version is not None
        ]

    async def upload(self, key: bytes, bodies: list[bytes], **fields: object) -> UploadRecord:
        command = CreateUpload(
            "b",
            key,
            self.now_ms,
            self.random.token_bytes(16),
            OWNER,
            **fields,  # type: ignore[arg-type]
        )
        upload = cast(UploadRecord, await self.run(command))
        for number, body in enumerate(bodies, 1):
            await self.part(key, upload.upload_id, number, body)
        return upload

    async def part(
        self,
        key: bytes,
        upload_id: str,
        number: int,
        body: bytes,
        checksum: Checksum | None = None,
    ) -> PartRecord:
        async with self.store.stage(size_hint=len(body), durability=Durability.STRICT) as stage:
            await stage.write(body)
            staged = await stage.finish()
            etag = hashlib.md5(body, usedforsecurity=False).hexdigest()
            command = PutPart(
                "b",
                key,
                upload_id,
                number,
                self.now_ms,
                etag,
                len(body),
                staged.ref,
                checksum,
            )
            return cast(PartRecord, await self.store.submit(command, staged))

    async def complete(
        self, key: bytes, upload_id: str, bodies: list[bytes], **fields: object
    ) -> VersionRecord:
        parts = [
            CompletePart(number, hashlib.md5(body, usedforsecurity=False).hexdigest())
            for number, body in enumerate(bodies, 1)
        ]
        command = CompleteUpload(
            "b",
            key,
            upload_id,
            parts,
            self.now_ms,
            self.random.token_bytes(16),
            **fields,  # type: ignore[arg-type]
        )
        return cast(VersionRecord, await self.run(command))


@pytest.fixture
def world() -> World:
    """A fresh model."""
    return World()


def test_the_model_is_an_object_store_and_has_a_directory() -> None:
    """The model has every method of the ports, with their types (mypy reads this)."""
    store = MemoryStore()
    port: ObjectStore = store
    directory: Directory = store.directory
    assert port is store
    assert directory.accounts() == []


async def test_unversioned_writes_replace_and_deletes_remove(world: World) -> None:
    """A bucket that never had versioning keeps one version, `null`, and no delete markers."""
    await world.make()
    assert [await world.put(b"k", b"1"), await world.put(b"k", b"2")] == ["null", "null"]
    assert await world.ids(b"k") == ["null"]
    assert await world.get(b"k") == b"2"
    assert await world.delete(b"k") == DeleteResult(None, delete_marker=False)
    assert await world.ids(b"k") == []
    assert world.store.state.blobs == {}


async def test_enabling_keeps_the_null_version_below_new_ones(world: World) -> None:
    """What was there before versioning was enabled stays as the version `null`."""
    await world.make()
    await world.put(b"k", b"old")
    await world.set(ENABLED)
    new = await world.put(b"k", b"new")
    assert await world.ids(b"k") == [new, "null"]
    assert (await world.get(b"k"), await world.get(b"k", "null")) == (b"new", b"old")


async def test_suspended_put_replaces_the_null_version_wherever_it_lies(world: World) -> None:
    """With versioning suspended a PUT takes out an older `null` and leaves named versions."""
    await world.make()
    await world.put(b"k", b"0")
    await world.set(ENABLED)
    named = await world.put(b"k", b"1")
    await world.set(SUSPENDED)
    assert await world.put(b"k", b"2") == "null"
    assert await world.ids(b"k") == ["null", named]
    assert await world.get(b"k", "null") == b"2"
    assert len(world.store.state.blobs) == 2


async def test_suspended_delete_puts_a_null_marker_in_the_place_of_null(world: World) -> None:
    """With versioning suspended a DELETE removes the null version and leaves a null marker."""
    await world.make()
    await world.put(b"k", b"0")
    await world.set(ENABLED)
    named = await world.put(b"k", b"1")
    await world.set(SUSPENDED)
    assert await world.delete(b"k") == DeleteResult("null", delete_marker=True)
    assert await world.ids(b"k") == ["null+", named]
    assert await world.delete(b"k") == DeleteResult("null", delete_marker=True)
    assert await world.ids(b"k") == ["null+", named]
    with pytest.raises(errors.NoSuchKey) as caught:
        await world.get(b"k")
    assert caught.value.delete_marker_version_id == "null"
    with pytest.raises(errors.MethodNotAllowed):
        await world.get(b"k", "null")


async def test_suspended_put_replaces_a_null_marker(world: World) -> None:
    """A null delete marker is the null version, so the next suspended PUT takes its place."""
    await world.make(SUSPENDED)
    await world.delete(b"k")
    assert await world.ids(b"k") == ["null+"]
    await world.put(b"k", b"1")
    assert await world.ids(b"k") == ["null"]


async def test_enabled_delete_adds_a_marker_each_time(world: World) -> None:
    """With versioning enabled each DELETE adds a marker, of a key that is not there too."""
    await world.make(ENABLED)
    first = await world.delete(b"k")
    second = await world.delete(b"k")
    assert await world.ids(b"k") == [f"{second.version_id}+", f"{first.version_id}+"]
    assert (await world.store.list_objects("b")).entries == []


async def test_deleting_a_marker_brings_the_object_back(world: World) -> None:
    """Removing the newest delete marker by its id makes the next older version current."""
    await world.make(ENABLED)
    kept = await world.put(b"k", b"1")
    marker = await world.delete(b"k")
    assert await world.delete(b"k", marker.version_id) == marker
    assert await world.ids(b"k") == [kept]
    assert await world.get(b"k") == b"1"


async def test_deleting_the_current_version_may_uncover_a_marker(world: World) -> None:
    """When the current version goes and a marker is next, the key has no current version."""
    await world.make(ENABLED)
    old = await world.put(b"k", b"1")
    marker = await world.delete(b"k")
    new = await world.put(b"k", b"2")
    await world.delete(b"k", new)
    assert await world.ids(b"k") == [f"{marker.version_id}+", old]
    with pytest.raises(errors.NoSuchKey):
        await world.get(b"k")


async def test_deleting_a_missing_version_is_no_error(world: World) -> None:
    """DELETE of a version id that is not there changes nothing and succeeds."""
    await world.make(ENABLED)
    kept = await world.put(b"k", b"1")
    assert await world.delete(b"k", "null") == DeleteResult("null", delete_marker=False)
    assert await world.ids(b"k") == [kept]


async def test_deleting_a_version_works_in_a_suspended_bucket(world: World) -> None:
    """A named version can be removed whatever the state of versioning."""
    await world.make(ENABLED)
    named = await world.put(b"k", b"1")
    await world.set(SUSPENDED)
    await world.put(b"k", b"2")
    await world.delete(b"k", named)
    assert await world.ids(b"k") == ["null"]


async def test_a_bucket_of_markers_is_not_empty(world: World) -> None:
    """DeleteBucket is refused while a delete marker is left; unfinished uploads do not count."""
    await world.make(ENABLED)
    marker = await world.delete(b"k")
    with pytest.raises(errors.BucketNotEmpty):
        await world.run(DeleteBucket("b"))
    await world.delete(b"k", marker.version_id)
    await world.upload(b"k", [b"part"])
    await world.run(DeleteBucket("b"))
    assert world.store.state.blobs == {}


async def test_conditions_see_a_delete_marker_as_nothing(world: World) -> None:
    """If-None-Match: * succeeds over a delete marker, If-Match finds no key there."""
    await world.make(ENABLED)
    await world.put(b"k", b"1")
    with pytest.raises(errors.PreconditionFailed):
        await world.put(b"k", b"2", Conditions(if_none_match="*"))
    await world.delete(b"k")
    with pytest.raises(errors.NoSuchKey):
        await world.put(b"k", b"2", Conditions(if_match="*"))
    await world.put(b"k", b"2", Conditions(if_none_match="*"))
    assert await world.get(b"k") == b"2"


async def test_a_refused_write_changes_nothing(world: World) -> None:
    """After PreconditionFailed the state is the same and the bytes offered are not kept."""
    await world.make()
    await world.put(b"k", b"1")
    seq = world.store.state.last_seq
    with pytest.raises(errors.PreconditionFailed):
        await world.put(b"k", b"2", Conditions(if_match="0" * 32))
    assert (world.store.state.last_seq, len(world.store.state.blobs)) == (seq, 1)


async def test_tags_of_an_old_version_change_in_place(world: World) -> None:
    """Tagging a noncurrent version moves neither it nor its date."""
    await world.make(ENABLED)
    old = await world.put(b"k", b"1")
    new = await world.put(b"k", b"2")
    before = await world.store.get_version("b", b"k", old)
    await world.run(PutObjectTagging("b", b"k", old, [("a", "b")]))
    after = await world.store.get_version("b", b"k", old)
    assert await world.ids(b"k") == [new, old]
    assert (after.attributes.tags, after.last_modified_ms) == (
        [("a", "b")],
        before.last_modified_ms,
    )


async def test_pages_of_versions_hold_all_of_them_once(world: World) -> None:
    """Walking with any page size gives each version once, the null version included."""
    await world.make()
    await world.put(b"a", b"0")
    await world.set(ENABLED)
    for data in (b"1", b"2"):
        await world.put(b"a", data)
        await world.put(b"a/b", data)
    await world.delete(b"a")
    whole = (await world.store.list_versions("b")).entries
    assert len(whole) == 6
    for limit in (1, 2, 5):
        seen = []
        page = await world.store.list_versions("b", limit=limit)
        seen += page.entries
        while page.next_key is not None:
            page = await world.store.list_versions(
                "b", after_key=page.next_key, after_version_id=page.next_version_id, limit=limit
            )
            seen += page.entries
        assert seen == whole


async def test_a_listing_rolls_up_common_prefixes(world: World) -> None:
    """`a` stands beside `a/`, an empty segment is a prefix, and a page continues behind one."""
    await world.make()
    for key in (b"a", b"a//x", b"a/b", b"a/b/c", b"b"):
        await world.put(key, key)
    page = await world.store.list_objects("b", delimiter=b"/")
    assert [(entry.key, entry.traits is None) for entry in page.entries] == [
        (b"a", False),
        (b"a/", True),
        (b"b", False),
    ]
    inside = await world.store.list_objects("b", prefix=b"a/", delimiter=b"/", limit=2)
    assert [entry.key for entry in inside.entries] == [b"a//", b"a/b"]
    rest = await world.store.list_objects(
        "b", prefix=b"a/", delimiter=b"/", after=inside.next_after or b""
    )
    assert [entry.key for entry in rest.entries] == [b"a/b/"]
    behind = await world.store.list_objects("b", delimiter=b"/", after=b"a/b")
    assert [entry.key for entry in behind.entries] == [b"b"]


async def test_completing_twice_gives_the_same_answer(world: World) -> None:
    """A repeated Complete answers as the first did; with other parts there is no such upload."""
    await world.make(ENABLED)
    bodies = [bytes(PART_BYTES_MIN), b"end"]
    upload = await world.upload(b"k", bodies)
    first = await world.complete(b"k", upload.upload_id, bodies)
    assert first.etag.endswith("-2")
    assert await world.complete(b"k", upload.upload_id, bodies) == first
    assert await world.ids(b"k") == [first.version_id]
    with pytest.raises(errors.NoSuchUpload):
        await world.complete(b"k", upload.upload_id, bodies[:1])


async def test_parts_left_out_and_small_parts_are_handled(world: World) -> None:
    """A small part may only be the last; parts that Complete does not name are dropped."""
    await world.make()
    bodies = [b"small", b"end"]
    upload = await world.upload(b"k", bodies)
    with pytest.raises(errors.EntityTooSmall):
        await world.complete(b"k", upload.upload_id, bodies)
    await world.complete(b"k", upload.upload_id, bodies[:1])
    assert await world.get(b"k") == b"small"
    assert len(world.store.state.blobs) == 1


async def test_a_composite_checksum_is_one_of_checksums(world: World) -> None:
    """SHA-256 over parts: the digest of the digests, with the number of parts behind it."""
    await world.make()
    upload = await world.upload(b"k", [], checksum_algorithm=ChecksumAlgorithm.SHA256)
    assert upload.checksum_type is ChecksumType.COMPOSITE
    digest = "ungWv48Bz+pBQUDeXa4iI7ADYaOWF3qctBD/YfIAFa0="  # SHA-256 of b"abc"
    checksum = Checksum(ChecksumAlgorithm.SHA256, digest)
    part = await world.part(b"k", upload.upload_id, 1, b"abc", checksum)
    command = CompleteUpload(
        "b", b"k", upload.upload_id, [CompletePart(1, part.etag, digest)], 1, bytes(16)
    )
    done = cast(VersionRecord, await world.run(command))
    assert done.checksum == Checksum(
        ChecksumAlgorithm.SHA256,
        "T4tCwi3TcptRm6b2jS2nzFstYG0F2u1a1RKMwD5sY1g=-1",
        ChecksumType.COMPOSITE,
    )


async def test_forgetting_drops_old_uploads_and_kept_results(world: World) -> None:
    """The sweep takes the oldest first, bounded, finished or not."""
    await world.make()
    done = await world.upload(b"k", [b"x"])
    world.now_ms = 5_000
    await world.complete(b"k", done.upload_id, [b"x"])
    world.now_ms = 2_000
    await world.upload(b"k", [b"y"])
    world.now_ms = 9_000
    kept = await world.upload(b"k", [b"z"])
    assert await world.run(ForgetUploads(before_ms=9_000, limit=1)) == 1
    assert [await world.run(ForgetUploads(before_ms=9_000)) for _ in range(2)] == [1, 0]
    with pytest.raises(errors.NoSuchUpload):
        await world.complete(b"k", done.upload_id, [b"x"])
    page = await world.store.list_uploads("b")
    assert [entry.upload for entry in page.entries] == [kept]
    assert len(world.store.state.blobs) == 2
