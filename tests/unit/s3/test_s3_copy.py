"""CopyObject on the reference model."""

import hashlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from object_world import (
    STRANGER,
    World,
    body_of,
    headers_of,
    make_world,
    refused_code,
    text_in,
    xml_of,
)

from rs3gwd.base.errors import ApiError, VersionGone
from rs3gwd.base.limits import PUT_BYTES_MAX
from rs3gwd.base.ports import BodyReader
from rs3gwd.base.records import Versioning, VersionRecord
from rs3gwd.engine.system import TrioThreads
from rs3gwd.s3.copy import copy_object
from rs3gwd.s3.copy_source import SourceName, check_copy_size, parse_copy_source
from rs3gwd.s3.dates import iso_time
from rs3gwd.s3.delete import delete_object
from rs3gwd.s3.object_reads import LOOKUPS_MAX, get_object
from rs3gwd.s3.object_tagging import get_object_tagging
from rs3gwd.s3.objects import put_object
from rs3gwd.testing.clock import TEST_EPOCH_MS
from rs3gwd.testing.memory_store import MemoryStore

pytestmark = pytest.mark.proves("CopyObject")

HELLO_ETAG = '"5d41402abc4b2a76b9719d911017c592"'
SOURCE = {"x-amz-copy-source": "bucket/source"}
VERSION_ID = "a" * 32


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("bucket/key", SourceName("bucket", b"key", None)),
        ("/bucket/key", SourceName("bucket", b"key", None)),
        ("bucket/a/b//c", SourceName("bucket", b"a/b//c", None)),
        ("bucket%2Fkey", SourceName("bucket", b"key", None)),
        ("bucket/a%20b%2Bc", SourceName("bucket", b"a b+c", None)),
        ("bucket/a+b", SourceName("bucket", b"a b", None)),
        ("bucket/%C3%A4", SourceName("bucket", "ä".encode(), None)),
        ("bucket/Ã¤", SourceName("bucket", "ä".encode(), None)),
        ("bucket/a%3Fb", SourceName("bucket", b"a?b", None)),
        (f"bucket/key?versionId={VERSION_ID}", SourceName("bucket", b"key", VERSION_ID)),
        ("bucket/key?versionId=null", SourceName("bucket", b"key", "null")),
    ],
)
def test_a_source_is_a_bucket_a_key_and_maybe_a_version(value: str, expected: SourceName) -> None:
    """CopyObject: URL-encoded, with or without a slash in front."""
    assert parse_copy_source(value) == expected


@pytest.mark.parametrize(
    ("value", "code"),
    [
        ("", "InvalidArgument"),
        ("bucket", "InvalidArgument"),
        ("bucket/", "InvalidArgument"),
        ("/", "InvalidArgument"),
        ("bucket/key?versionId=", "InvalidArgument"),
        ("bucket/key?versionId=x", "InvalidArgument"),
        ("bucket/key?other=x", "InvalidArgument"),
        ("bucket/key?versionId", "InvalidArgument"),
        ("bucket/%FF", "InvalidArgument"),
        ("b%C3%A4/key", "InvalidArgument"),
        ("b?/key", "InvalidArgument"),
        ("b!/key", "InvalidArgument"),
        ("bucket/" + "k" * 1025, "KeyTooLongError"),
    ],
)
def test_a_source_that_names_nothing_is_refused(value: str, code: str) -> None:
    """What is wrong with x-amz-copy-source is never told as if it were the destination."""
    with pytest.raises(ApiError) as caught:
        parse_copy_source(value)
    assert caught.value.api_code == code


async def with_source(**headers: str) -> World:
    """A world with the object `source` of five bytes."""
    world = await make_world()
    all_headers = {name.replace("_", "-"): value for name, value in headers.items()}
    await world.run(put_object, "source", body=b"hello", headers=all_headers)
    return world


async def test_a_copy_has_the_bytes_metadata_and_tags_of_its_source() -> None:
    """COPY is the default of both directives."""
    world = await with_source(
        content_type="text/plain", x_amz_meta_a="1", x_amz_tagging="t=1", cache_control="no-cache"
    )
    copied = await world.run(copy_object, "copy", headers=SOURCE)
    assert copied.status == 200
    root = xml_of(copied.body)
    assert root.tag.endswith("CopyObjectResult")
    assert text_in(root, "ETag") == HELLO_ETAG
    assert text_in(root, "LastModified") == iso_time(TEST_EPOCH_MS)
    assert text_in(root, "ChecksumCRC64NVME") == "M3eFcAZSQlc="
    assert text_in(root, "ChecksumType") == "FULL_OBJECT"
    got = await world.run(get_object, "copy")
    assert await body_of(got) == b"hello"
    shown = headers_of(got)
    assert shown["content-type"] == "text/plain"
    assert shown["cache-control"] == "no-cache"
    assert shown["x-amz-meta-a"] == "1"
    assert shown["x-amz-tagging-count"] == "1"


async def test_replace_takes_everything_from_the_request() -> None:
    """x-amz-metadata-directive and x-amz-tagging-directive are independent."""
    world = await with_source(content_type="text/plain", x_amz_meta_a="1", x_amz_tagging="t=1")
    replaced = {
        **SOURCE,
        "x-amz-metadata-directive": "REPLACE",
        "x-amz-meta-b": "2",
        "x-amz-tagging": "u=2",
    }
    await world.run(copy_object, "copy", headers=replaced)
    shown = headers_of(await world.run(get_object, "copy"))
    assert shown["content-type"] == "binary/octet-stream"
    assert shown["x-amz-meta-b"] == "2"
    assert "x-amz-meta-a" not in shown
    tags = xml_of((await world.run(get_object_tagging, "copy")).body)
    assert tags[0][0][0].text == "t"
    retagged = {**SOURCE, "x-amz-tagging-directive": "REPLACE", "x-amz-tagging": "u=2"}
    await world.run(copy_object, "copy", headers=retagged)
    tags = xml_of((await world.run(get_object_tagging, "copy")).body)
    assert tags[0][0][0].text == "u"
    assert headers_of(await world.run(get_object, "copy"))["x-amz-meta-a"] == "1"


async def test_storage_class_and_redirect_come_from_the_request_alone() -> None:
    """CopyObject: neither is copied."""
    world = await with_source(
        x_amz_storage_class="GLACIER_IR", x_amz_website_redirect_location="/a"
    )
    await world.run(copy_object, "copy", headers=SOURCE)
    shown = headers_of(await world.run(get_object, "copy"))
    assert "x-amz-storage-class" not in shown
    assert "x-amz-website-redirect-location" not in shown
    both = {
        **SOURCE,
        "x-amz-storage-class": "STANDARD_IA",
        "x-amz-website-redirect-location": "/b",
    }
    await world.run(copy_object, "copy", headers=both)
    shown = headers_of(await world.run(get_object, "copy"))
    assert shown["x-amz-storage-class"] == "STANDARD_IA"
    assert shown["x-amz-website-redirect-location"] == "/b"


async def test_a_copy_onto_itself_must_change_something() -> None:
    """InvalidRequest without, done with a directive, a storage class or another version."""
    world = await with_source()
    assert await refused_code(world.run(copy_object, "source", headers=SOURCE)) == "InvalidRequest"
    for change in (
        {"x-amz-metadata-directive": "REPLACE"},
        {"x-amz-tagging-directive": "REPLACE"},
        {"x-amz-storage-class": "STANDARD_IA"},
        {"x-amz-checksum-algorithm": "SHA256"},
    ):
        assert (await world.run(copy_object, "source", headers={**SOURCE, **change})).status == 200
    assert await body_of(await world.run(get_object, "source")) == b"hello"


async def test_an_older_version_can_be_brought_back() -> None:
    """Copying a version onto its own key; the answer names both versions."""
    world = await with_source()
    await world.set_versioning(Versioning.ENABLED)
    await world.run(put_object, "source", body=b"newer")
    headers = {"x-amz-copy-source": "bucket/source?versionId=null"}
    shown = headers_of(await world.run(copy_object, "source", headers=headers))
    assert shown["x-amz-copy-source-version-id"] == "null"
    assert shown["x-amz-version-id"] != "null"
    assert await body_of(await world.run(get_object, "source")) == b"hello"


@pytest.mark.parametrize(
    ("condition", "code"),
    [
        ({"x-amz-copy-source-if-match": HELLO_ETAG}, None),
        ({"x-amz-copy-source-if-match": '"x"'}, "PreconditionFailed"),
        ({"x-amz-copy-source-if-none-match": HELLO_ETAG}, "PreconditionFailed"),
        ({"if-none-match": "*"}, None),
        ({"if-match": HELLO_ETAG}, "NoSuchKey"),
        ({"if-none-match": HELLO_ETAG}, "NotImplemented"),
        ({"x-amz-metadata-directive": "MERGE"}, "InvalidArgument"),
        ({"x-amz-checksum-algorithm": "CRC99"}, "InvalidRequest"),
        ({"x-amz-server-side-encryption": "AES256"}, "NotImplemented"),
        ({"x-amz-source-expected-bucket-owner": STRANGER.canonical_id}, "AccessDenied"),
    ],
)
async def test_conditions_of_source_and_destination(
    condition: dict[str, str], code: str | None
) -> None:
    """The source's fail with 412, the destination's are decided by the store."""
    world = await with_source()
    call = world.run(copy_object, "copy", headers={**SOURCE, **condition})
    if code is None:
        assert (await call).status == 200
    else:
        assert await refused_code(call) == code
        assert await world.keys() == ["source"]


async def test_only_what_one_may_read_can_be_copied() -> None:
    """The source's bucket must be the caller's own."""
    world = await with_source()
    await world.make_bucket("theirs", owner=STRANGER)
    await world.run(put_object, "secret", bucket="theirs", body=b"x", account=STRANGER)
    stolen = {"x-amz-copy-source": "theirs/secret"}
    assert await refused_code(world.run(copy_object, "copy", headers=stolen)) == "AccessDenied"
    guessed = {"x-amz-copy-source": "theirs/no-such-key"}
    assert await refused_code(world.run(copy_object, "copy", headers=guessed)) == "AccessDenied"


async def test_sources_that_are_not_there() -> None:
    """404 for bucket, key and version; a delete marker by id is InvalidRequest."""
    world = await with_source()
    await world.set_versioning(Versioning.ENABLED)
    marker = headers_of(await world.run(delete_object, "gone"))["x-amz-version-id"]
    for source, code in (
        ("nobucket/key", "NoSuchBucket"),
        ("bucket/none", "NoSuchKey"),
        ("bucket/gone", "NoSuchKey"),
        (f"bucket/source?versionId={VERSION_ID}", "NoSuchVersion"),
        (f"bucket/gone?versionId={marker}", "InvalidRequest"),
    ):
        headers = {"x-amz-copy-source": source}
        assert await refused_code(world.run(copy_object, "copy", headers=headers)) == code, source


async def test_a_wish_for_another_checksum_is_computed() -> None:
    """x-amz-checksum-algorithm; without it the source's algorithm is kept."""
    world = await with_source()
    wish = {**SOURCE, "x-amz-checksum-algorithm": "SHA256"}
    root = xml_of((await world.run(copy_object, "copy", headers=wish)).body)
    assert text_in(root, "ChecksumSHA256") == "LPJNul+wow4m6DsqxbninhsWHlwfp0JecwQzYpOLmCQ="
    again = {"x-amz-copy-source": "bucket/copy"}
    root = xml_of((await world.run(copy_object, "copy2", headers=again)).body)
    assert text_in(root, "ChecksumSHA256") == "LPJNul+wow4m6DsqxbninhsWHlwfp0JecwQzYpOLmCQ="


@pytest.mark.parametrize("size", [0, 1, 40_000, 3 * 1024 * 1024 + 1])
async def test_sizes_of_every_kind_are_copied_with_the_right_digests(size: int) -> None:
    """With real threads, and a checksum that must be computed on the way."""
    world = await make_world(TrioThreads())
    data = hashlib.shake_128(b"x").digest(size)
    await world.run(put_object, "source", body=data)
    wish = {**SOURCE, "x-amz-checksum-algorithm": "SHA1"}
    root = xml_of((await world.run(copy_object, "copy", headers=wish)).body)
    assert text_in(root, "ETag") == f'"{hashlib.md5(data).hexdigest()}"'
    version = await world.store.get_version("bucket", b"copy", None)
    assert version.size_bytes == size
    assert await body_of(await world.run(get_object, "copy")) == data


def test_more_than_five_gibibytes_need_a_multipart_copy() -> None:
    """CopyObject: InvalidRequest above 5 GiB."""
    check_copy_size(PUT_BYTES_MAX)
    with pytest.raises(ApiError) as caught:
        check_copy_size(PUT_BYTES_MAX + 1)
    assert caught.value.api_code == "InvalidRequest"


@pytest.mark.parametrize(("races", "code"), [(LOOKUPS_MAX - 1, None), (LOOKUPS_MAX, "SlowDown")])
async def test_a_source_that_is_replaced_meanwhile_is_looked_up_again(
    races: int, code: str | None
) -> None:
    """A bounded number of times; nothing staged is left behind."""

    class RacingStore(MemoryStore):
        left = races

        @asynccontextmanager
        async def open_body(
            self, version: VersionRecord, start: int, end: int
        ) -> AsyncIterator[BodyReader]:
            if self.left:
                self.left -= 1
                raise VersionGone("replaced")
            async with super().open_body(version, start, end) as reader:
                yield reader

    world = await make_world(store=RacingStore())
    await world.run(put_object, "source", body=b"hello")
    call = world.run(copy_object, "copy", headers=SOURCE)
    if code is None:
        assert (await call).status == 200
    else:
        assert await refused_code(call) == code
        assert await world.keys() == ["source"]
