"""PutObject, GetObject and HeadObject on the reference model."""

import hashlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from object_world import (
    OWNER,
    World,
    body_of,
    code_of,
    headers_of,
    make_world,
    refusal,
    refused_code,
)

from rs3gwd.base.commands import PutBucketDurability
from rs3gwd.base.errors import ApiError, DataCorrupt, MethodNotAllowed, NoSuchKey, VersionGone
from rs3gwd.base.ports import BodyReader
from rs3gwd.base.records import Durability, Versioning, VersionRecord
from rs3gwd.s3.dates import http_date
from rs3gwd.s3.delete import delete_object
from rs3gwd.s3.object_body import SMALL_BYTES_MAX
from rs3gwd.s3.object_reads import LOOKUPS_MAX, get_object, get_object_at_once, head_object
from rs3gwd.s3.objects import put_object
from rs3gwd.testing.bytes_body import BytesBody
from rs3gwd.testing.clock import TEST_EPOCH_MS
from rs3gwd.testing.memory_store import MemoryLookups, MemoryStore

HELLO_ETAG = '"5d41402abc4b2a76b9719d911017c592"'

pytestmark = pytest.mark.proves("PutObject", "GetObject", "HeadObject")


async def hello(**arguments: object) -> World:
    """A world with the object `key` of five bytes."""
    world = await make_world()
    await world.run(put_object, body=b"hello", **arguments)
    return world


async def test_what_is_put_is_got() -> None:
    """PutObject answers with the MD5 as ETag and the default checksum; GetObject gives it all."""
    world = await make_world()
    put = await world.run(put_object, body=b"hello", headers={"content-type": "text/plain"})
    assert put.status == 200
    assert headers_of(put) == {
        "etag": HELLO_ETAG,
        "x-amz-checksum-crc64nvme": "M3eFcAZSQlc=",
        "x-amz-checksum-type": "FULL_OBJECT",
        "x-rs3gw-durability": "strict",
    }
    got = await world.run(get_object, method="GET")
    assert got.status == 200
    assert await body_of(got) == b"hello"
    assert headers_of(got) == {
        "last-modified": http_date(TEST_EPOCH_MS),
        "etag": HELLO_ETAG,
        "accept-ranges": "bytes",
        "content-type": "text/plain",
    }


async def test_head_says_what_get_says_without_the_bytes() -> None:
    """The same status, headers and length, for the whole and for a range."""
    world = await hello()
    for headers in ({}, {"range": "bytes=1-2"}, {"x-amz-checksum-mode": "ENABLED"}):
        got = await world.run(get_object, method="GET", headers=headers)
        head = await world.run(head_object, method="HEAD", headers=headers)
        assert head.status == got.status
        assert head.headers == got.headers
        assert head.body == b""
        assert head.length_override == len(await body_of(got))


@pytest.mark.parametrize("size", [0, 1, SMALL_BYTES_MAX, SMALL_BYTES_MAX + 1, 3 * 1024 * 1024])
async def test_bodies_of_every_size_come_back(size: int) -> None:
    """Small ones at once, larger ones from a reader."""
    world = await make_world()
    data = hashlib.shake_128(b"x").digest(size)
    put = await world.run(put_object, body=data)
    assert headers_of(put)["etag"] == f'"{hashlib.md5(data).hexdigest()}"'
    call = await world.call(method="GET")
    at_once = get_object_at_once(call, world.store.lookups)
    assert (at_once is None) is (size > SMALL_BYTES_MAX)
    assert await body_of(at_once or await get_object(call)) == data
    assert await body_of(await get_object(call)) == data


@pytest.mark.parametrize("size", [100, SMALL_BYTES_MAX * 2])
async def test_a_range_is_a_206_with_its_bytes(size: int) -> None:
    """RFC 9110 section 15.3.7, from small and from streamed bodies."""
    world = await make_world()
    data = hashlib.shake_128(b"x").digest(size)
    await world.run(put_object, body=data)
    for value, part in (("bytes=1-3", slice(1, 4)), ("bytes=-7", slice(size - 7, size))):
        got = await world.run(get_object, method="GET", headers={"range": value})
        assert got.status == 206
        assert await body_of(got) == data[part]
        shown = headers_of(got)["content-range"]
        assert shown == f"bytes {part.start}-{part.stop - 1}/{size}"


async def test_ranges_that_select_nothing_or_are_none() -> None:
    """416 beyond the end, on an empty object too; several ranges get everything."""
    world = await hello()
    beyond = await world.call(method="GET", headers={"range": "bytes=5-"})
    assert await refused_code(get_object(beyond)) == "InvalidRange"
    for ignored in ("bytes=0-1,3-4", "bytes=3-1", "lines=1-2"):
        got = await world.run(get_object, method="GET", headers={"range": ignored})
        assert got.status == 200
        assert await body_of(got) == b"hello"
    await world.run(put_object, "empty", body=b"")
    empty = await world.call("empty", method="GET", headers={"range": "bytes=0-"})
    assert await refused_code(get_object(empty)) == "InvalidRange"


async def test_if_range_chooses_between_the_range_and_everything() -> None:
    """RFC 9110 section 13.1.5."""
    world = await hello()
    for if_range, status in ((HELLO_ETAG, 206), ('"x"', 200)):
        headers = {"range": "bytes=0-0", "if-range": if_range}
        got = await world.run(get_object, method="GET", headers=headers)
        assert got.status == status


async def test_conditions_of_reads_are_304_and_412() -> None:
    """A 304 repeats ETag and Last-Modified, a 412 names the condition."""
    world = await hello(headers={"cache-control": "max-age=1"})
    for handler in (get_object, head_object):
        fresh = await world.call(headers={"if-none-match": HELLO_ETAG})
        error = await refusal(handler(fresh))
        assert isinstance(error, ApiError)
        assert code_of(error) == "NotModified"
        assert dict(error.headers) == {
            "Last-Modified": http_date(TEST_EPOCH_MS),
            "ETag": HELLO_ETAG,
            "Cache-Control": "max-age=1",
        }
        changed = await world.call(headers={"if-match": '"x"'})
        error = await refusal(handler(changed))
        assert isinstance(error, ApiError)
        assert (code_of(error), error.fields) == (
            "PreconditionFailed",
            {"Condition": "If-Match"},
        )


async def test_a_checksum_is_shown_when_asked_for_and_only_of_the_whole() -> None:
    """GetObject: x-amz-checksum-mode: ENABLED."""
    world = await hello()
    asked = {"x-amz-checksum-mode": "ENABLED"}
    whole = headers_of(await world.run(get_object, method="GET", headers=asked))
    assert whole["x-amz-checksum-crc64nvme"] == "M3eFcAZSQlc="
    assert whole["x-amz-checksum-type"] == "FULL_OBJECT"
    part = await world.run(get_object, method="GET", headers={**asked, "range": "bytes=0-1"})
    assert "x-amz-checksum-crc64nvme" not in headers_of(part)
    plain = await world.run(get_object, method="GET")
    assert "x-amz-checksum-crc64nvme" not in headers_of(plain)


async def test_the_checksum_of_the_caller_is_the_one_that_is_kept() -> None:
    """PutObject with x-amz-checksum-sha256 keeps that and no other."""
    world = await make_world()
    value = "LPJNul+wow4m6DsqxbninhsWHlwfp0JecwQzYpOLmCQ="
    put = await world.run(put_object, body=b"hello", headers={"x-amz-checksum-sha256": value})
    assert headers_of(put)["x-amz-checksum-sha256"] == value
    assert "x-amz-checksum-crc64nvme" not in headers_of(put)


async def test_conditional_puts_have_one_winner() -> None:
    """If-None-Match: * creates once; If-Match replaces only what was seen."""
    world = await make_world()
    once = {"if-none-match": "*"}
    await world.run(put_object, body=b"one", headers=once)
    call = await world.call(body=b"two", headers=once)
    assert await refused_code(put_object(call)) == "PreconditionFailed"
    seen = {"if-match": f'"{hashlib.md5(b"one").hexdigest()}"'}
    await world.run(put_object, body=b"two", headers=seen)
    call = await world.call(body=b"three", headers=seen)
    assert await refused_code(put_object(call)) == "PreconditionFailed"
    call = await world.call("other", body=b"three", headers=seen)
    assert await refused_code(put_object(call)) == "NoSuchKey"
    assert await body_of(await world.run(get_object, method="GET")) == b"two"


async def test_a_condition_that_fails_is_told_before_the_body_is_read() -> None:
    """So a client that waits for 100-continue does not send it."""
    world = await hello()
    for key, headers, code in (
        ("key", {"if-none-match": "*"}, "PreconditionFailed"),
        ("key", {"if-match": '"x"'}, "PreconditionFailed"),
        ("none", {"if-match": "*"}, "NoSuchKey"),
    ):
        call = await world.call(key, body=b"two", headers=headers)
        assert await refused_code(put_object(call)) == code
        assert isinstance(call.request.body, BytesBody)
        assert call.request.body.received == 0


async def test_a_write_that_wins_meanwhile_is_seen_by_the_command() -> None:
    """The look before the body is a courtesy; the apply decides."""
    world = await make_world()

    class SlowBody:
        """Another client creates the key while this body is under way."""

        def __init__(self) -> None:
            self.pieces = [b"two"]

        async def receive(self) -> bytes:
            if self.pieces:
                await world.run(put_object, body=b"one")
                return self.pieces.pop()
            return b""

    late = await world.call(body=SlowBody(), headers={"if-none-match": "*", "content-length": "3"})
    assert await refused_code(put_object(late)) == "PreconditionFailed"
    assert await body_of(await world.run(get_object, method="GET")) == b"one"


async def test_versions_are_named_once_versioning_was_enabled() -> None:
    """x-amz-version-id: none before, the id while enabled, `null` for readers once suspended."""
    world = await hello()
    assert "x-amz-version-id" not in headers_of(await world.run(get_object, method="GET"))
    await world.set_versioning(Versioning.ENABLED)
    assert headers_of(await world.run(get_object, method="GET"))["x-amz-version-id"] == "null"
    put = headers_of(await world.run(put_object, body=b"two"))
    version_id = put["x-amz-version-id"]
    assert version_id != "null"
    for wanted, body in ((version_id, b"two"), ("null", b"hello")):
        got = await world.run(get_object, method="GET", query={"versionId": wanted})
        assert headers_of(got)["x-amz-version-id"] == wanted
        assert await body_of(got) == body
    await world.set_versioning(Versioning.SUSPENDED)
    # PutObject, sample response "Versioning suspended": the writer is told no id.
    assert "x-amz-version-id" not in headers_of(await world.run(put_object, body=b"3"))
    assert headers_of(await world.run(get_object, method="GET"))["x-amz-version-id"] == "null"


async def test_delete_markers_are_404_by_key_and_405_by_id() -> None:
    """ "Working with delete markers": the store's errors carry what the answer needs."""
    world = await hello()
    await world.set_versioning(Versioning.ENABLED)
    deleted = headers_of(await world.run(delete_object, method="DELETE"))
    marker = deleted["x-amz-version-id"]
    for handler in (get_object, head_object):
        error = await refusal(world.run(handler))
        assert isinstance(error, NoSuchKey)
        assert error.delete_marker_version_id == marker
        error = await refusal(world.run(handler, query={"versionId": marker}))
        assert isinstance(error, MethodNotAllowed)
        assert error.delete_marker_version_id == marker
        assert error.last_modified_ms == TEST_EPOCH_MS


@pytest.mark.parametrize(
    ("version_id", "code"),
    [("", "InvalidArgument"), ("x", "InvalidArgument"), ("a" * 32, "NoSuchVersion")],
)
async def test_version_ids_that_name_nothing(version_id: str, code: str) -> None:
    """What cannot be an id is InvalidArgument, what could be one is NoSuchVersion."""
    world = await hello()
    assert await refused_code(world.run(get_object, query={"versionId": version_id})) == code


async def test_a_body_of_one_piece_is_its_part_number_one() -> None:
    """GetObject with partNumber on an object that was not uploaded in parts."""
    world = await hello()
    got = await world.run(get_object, method="GET", query={"partNumber": "1"})
    assert got.status == 206
    assert headers_of(got)["content-range"] == "bytes 0-4/5"
    assert "x-amz-mp-parts-count" not in headers_of(got)
    assert await refused_code(world.run(get_object, query={"partNumber": "2"})) == (
        "InvalidPartNumber"
    )
    for wrong in ("0", "10001", "x", "", "-1", "1" * 11):
        code = await refused_code(world.run(get_object, query={"partNumber": wrong}))
        assert code == "InvalidArgument"
    both = world.run(get_object, query={"partNumber": "1"}, headers={"range": "bytes=0-1"})
    assert await refused_code(both) == "InvalidRequest"
    await world.run(put_object, "empty", body=b"")
    empty = await world.run(get_object, "empty", method="GET", query={"partNumber": "1"})
    assert empty.status == 200


async def test_overrides_reach_the_answer_of_their_owner_only() -> None:
    """response-content-type for a signed request; not for an anonymous one."""
    world = await hello()
    query = {"response-content-type": "a/b"}
    got = await world.run(get_object, method="GET", query=query)
    assert headers_of(got)["content-type"] == "a/b"
    anonymous = world.run(get_object, method="GET", query=query, account=None)
    assert await refused_code(anonymous) == "InvalidRequest"


async def test_the_durability_reached_is_told() -> None:
    """P1: the class of the bucket is in a header of every write."""
    world = await make_world()
    await world.store.submit(PutBucketDurability("bucket", Durability.EPHEMERAL))
    put = await world.run(put_object, body=b"x")
    assert headers_of(put)["x-rs3gw-durability"] == "ephemeral"


async def test_objects_belong_to_the_owner_of_the_bucket() -> None:
    """Object Ownership: bucket owner enforced."""
    world = await hello()
    version = await world.store.get_version("bucket", b"key", None)
    assert version.attributes.owner_id == OWNER.canonical_id


async def test_folder_like_keys_may_have_bytes() -> None:
    """`a`, `a/` and `a/b` are three objects."""
    world = await make_world()
    for key in ("a", "a/", "a/b"):
        await world.run(put_object, key, body=key.encode())
    for key in ("a", "a/", "a/b"):
        assert await body_of(await world.run(get_object, key, method="GET")) == key.encode()


class RacingStore(MemoryStore):
    """A store in which another writer takes the version away `races` times before it is opened."""

    def __init__(self, races: int) -> None:
        super().__init__()
        self.races = races
        self.open_bodies = 0

    @asynccontextmanager
    async def open_body(
        self, version: VersionRecord, start: int, end: int
    ) -> AsyncIterator[BodyReader]:
        """Raises VersionGone as often as it was told."""
        if self.races:
            self.races -= 1
            raise VersionGone("replaced")
        self.open_bodies += 1
        async with super().open_body(version, start, end) as reader:
            yield reader
        self.open_bodies -= 1


async def racing(races: int) -> World:
    """A world with a large object whose reads lose `races` races."""
    world = await make_world(store=RacingStore(races))
    await world.run(put_object, body=b"x" * (SMALL_BYTES_MAX + 1))
    return world


async def test_a_version_that_is_replaced_meanwhile_is_looked_up_again() -> None:
    """The reader never sees the race."""
    world = await racing(LOOKUPS_MAX - 1)
    assert len(await body_of(await world.run(get_object, method="GET"))) == SMALL_BYTES_MAX + 1


async def test_losing_every_race_is_answered_with_come_back_later() -> None:
    """The loop is bounded."""
    world = await racing(LOOKUPS_MAX)
    assert await refused_code(world.run(get_object, method="GET")) == "SlowDown"


async def test_a_body_that_was_opened_is_closed_when_it_was_sent() -> None:
    """The front leaves the context; then the store may reclaim the bytes."""
    world = await racing(0)
    got = await world.run(get_object, method="GET")
    assert isinstance(world.store, RacingStore)
    assert world.store.open_bodies == 1
    await body_of(got)
    assert world.store.open_bodies == 0


async def test_corrupt_bytes_are_an_error_before_the_head_is_sent() -> None:
    """What the store refuses to give out is never a 200."""

    class CorruptLookups(MemoryLookups):
        def read_small(self, version: VersionRecord) -> bytes | None:
            raise DataCorrupt("block 0")

    class CorruptStore(MemoryStore):
        @asynccontextmanager
        async def open_body(
            self, version: VersionRecord, start: int, end: int
        ) -> AsyncIterator[BodyReader]:
            raise DataCorrupt("block 0")
            yield

    world = await make_world(store=CorruptStore())
    await world.run(put_object, body=b"hello")
    call = await world.call(method="GET")
    with pytest.raises(DataCorrupt):
        get_object_at_once(call, CorruptLookups(world.store.state))
    with pytest.raises(DataCorrupt):
        await get_object(call)


async def test_a_small_body_is_given_at_once() -> None:
    """A plain GET or a range of it waits for nothing; a large body is left to whoever waits."""
    world = await hello()
    lookups = world.store.lookups
    whole = get_object_at_once(await world.call(method="GET"), lookups)
    assert whole is not None
    assert whole.body == b"hello"
    part = get_object_at_once(
        await world.call(method="GET", headers={"range": "bytes=1-2"}), lookups
    )
    assert part is not None
    assert part.body == b"el"
    await world.run(put_object, "large", body=b"x" * (SMALL_BYTES_MAX + 1))
    assert get_object_at_once(await world.call("large", method="GET"), lookups) is None


async def test_a_version_that_is_gone_is_left_to_whoever_looks_again() -> None:
    """A race that is lost between look-up and read is no answer."""

    class LateLookups(MemoryLookups):
        def read_small(self, version: VersionRecord) -> bytes | None:
            raise VersionGone("replaced")

    world = await hello()
    assert (
        get_object_at_once(await world.call(method="GET"), LateLookups(world.store.state)) is None
    )
