"""The four listings, on the reference store."""

from urllib.parse import quote, unquote

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from s3_world import ALICE, Answer, S3World, iso_of

from rs3gwd.base.commands import CreateUpload, DeleteObject, PutBucketVersioning, PutObject
from rs3gwd.base.records import (
    Attributes,
    Checksum,
    ChecksumAlgorithm,
    ChecksumType,
    UploadRecord,
    Versioning,
    VersionRecord,
)
from rs3gwd.s3.dates import iso_time
from rs3gwd.s3.list_format import EntryFormat

EMPTY_MD5 = "d41d8cd98f00b204e9800998ecf8427e"
CHECKSUM = Checksum(ChecksumAlgorithm.CRC32, "AAAAAA==")
KEYS = ["a", "a/b", "a/c/d", "b", "b//", "b//x", "c d", "z+&<é>"]
PAGES_MAX = 50


@pytest.fixture
async def world() -> S3World:
    """A store in which alice's `bucket` holds KEYS."""
    made = S3World()
    assert (await made.call("PUT", "/bucket")).status == 200
    for key in KEYS:
        await put(made, key.encode())
    return made


async def put(world: S3World, key: bytes, *, nonce: bytes = b"n" * 16) -> VersionRecord:
    """An empty object, straight into the store."""
    record = await world.store.submit(
        PutObject(
            bucket="bucket",
            key=key,
            now_ms=world.clock.now_ms(),
            nonce=nonce,
            attributes=Attributes(owner_id=ALICE.canonical_id),
            etag=EMPTY_MD5,
            size_bytes=0,
            blob=None,
            checksum=CHECKSUM,
        )
    )
    assert isinstance(record, VersionRecord)
    return record


async def get(world: S3World, query: str) -> Answer:
    """A listing that goes well."""
    answer = await world.call("GET", f"/bucket?{query}")
    assert answer.status == 200, answer.body
    return answer


@pytest.mark.proves("ListObjectsV2")
async def test_version_2_shows_an_object_as_it_is(world: S3World) -> None:
    """Key, time, quoted ETag, size, checksum, class; the owner only when asked for."""
    answer = await get(world, "list-type=2&prefix=b//x")
    entry = "Contents/"
    assert answer.texts("Contents/Key") == ["b//x"]
    assert answer.text(entry + "LastModified") == iso_of(world.clock.now_ms())
    assert answer.text(entry + "ETag") == f'"{EMPTY_MD5}"'
    assert answer.text(entry + "Size") == "0"
    assert answer.text(entry + "StorageClass") == "STANDARD"
    assert answer.text(entry + "ChecksumAlgorithm") == "CRC32"
    assert answer.text(entry + "ChecksumType") == "FULL_OBJECT"
    assert answer.xml.find("Contents/Owner") is None
    assert (answer.text("Name"), answer.text("Prefix")) == ("bucket", "b//x")
    assert (answer.text("KeyCount"), answer.text("MaxKeys")) == ("1", "1000")
    assert (answer.text("IsTruncated"), answer.xml.tag) == ("false", "ListBucketResult")
    answer = await get(world, "list-type=2&prefix=b//x&fetch-owner=true")
    assert answer.text("Contents/Owner/ID") == ALICE.canonical_id
    assert answer.text("Contents/Owner/DisplayName") == "alice"


@pytest.mark.proves("ListObjects")
async def test_version_1_shows_the_owner_and_no_token(world: S3World) -> None:
    """And has Marker in place of KeyCount."""
    answer = await get(world, "prefix=a&marker=a")
    assert answer.texts("Contents/Key") == ["a/b", "a/c/d"]
    assert answer.text("Contents/Owner/DisplayName") == "alice"
    assert answer.text("Marker") == "a"
    assert answer.xml.find("KeyCount") is None
    assert answer.xml.find("NextMarker") is None


@pytest.mark.proves("ListObjectsV2")
async def test_version_2_pages_hold_each_entry_once(world: S3World) -> None:
    """Whatever the size of a page, with and without a delimiter."""
    for delimiter, expected in (("", KEYS), ("/", ["a", "a/", "b", "b/", "c d", "z+&<é>"])):
        for size in (1, 2, 3, 1000):
            found: list[str] = []
            token = ""
            for _ in range(PAGES_MAX):
                query = f"list-type=2&max-keys={size}&delimiter={delimiter}{token}"
                answer = await get(world, query)
                page = answer.texts("Contents/Key") + answer.texts("CommonPrefixes/Prefix")
                assert len(page) == int(answer.text("KeyCount")) <= size
                found += sorted(page)
                if answer.text("IsTruncated") == "false":
                    assert answer.xml.find("NextContinuationToken") is None
                    break
                token = f"&continuation-token={answer.text('NextContinuationToken')}"
            assert found == expected


@pytest.mark.proves("ListObjects")
async def test_version_1_pages_hold_each_entry_once(world: S3World) -> None:
    """NextMarker comes with a delimiter only; else the last key is the marker."""
    for delimiter, expected in (("", KEYS), ("/", ["a", "a/", "b", "b/", "c d", "z+&<é>"])):
        for size in (1, 2, 3, 1000):
            found: list[str] = []
            marker = ""
            for _ in range(PAGES_MAX):
                query = f"max-keys={size}&delimiter={delimiter}&marker={quote(marker)}"
                answer = await get(world, query)
                page = answer.texts("Contents/Key") + answer.texts("CommonPrefixes/Prefix")
                found += sorted(page)
                if answer.text("IsTruncated") == "false":
                    break
                assert (answer.xml.find("NextMarker") is not None) == bool(delimiter)
                marker = answer.text("NextMarker") if delimiter else page[-1]
            assert found == expected


async def test_a_token_wins_over_start_after(world: S3World) -> None:
    """`start-after` is for the first page; both are repeated in the answer."""
    first = await get(world, "list-type=2&max-keys=1&start-after=a")
    assert first.texts("Contents/Key") == ["a/b"]
    assert first.text("StartAfter") == "a"
    token = first.text("NextContinuationToken")
    second = await get(world, f"list-type=2&start-after=z&max-keys=1&continuation-token={token}")
    assert second.texts("Contents/Key") == ["a/c/d"]
    assert second.text("ContinuationToken") == token


async def test_a_delimiter_may_have_several_characters(world: S3World) -> None:
    """It is looked for behind the prefix."""
    answer = await get(world, "list-type=2&prefix=b&delimiter=//")
    assert answer.texts("Contents/Key") == ["b"]
    assert answer.texts("CommonPrefixes/Prefix") == ["b//"]
    assert answer.text("Delimiter") == "//"
    answer = await get(world, "list-type=2&prefix=b//&delimiter=//")
    assert answer.texts("Contents/Key") == ["b//", "b//x"]


async def test_max_keys_zero_is_an_empty_page_that_is_not_truncated(world: S3World) -> None:
    """And more than 1,000 is taken as 1,000."""
    for query in ("list-type=2&", "", "versions&"):
        answer = await get(world, f"{query}max-keys=0")
        assert answer.text("IsTruncated") == "false"
        assert answer.text("MaxKeys") == "0"
        assert answer.texts("Contents/Key") == answer.texts("Version/Key") == []
        assert (await get(world, f"{query}max-keys=5000")).text("MaxKeys") == "1000"


@pytest.mark.proves("ListObjects", "ListObjectsV2", "ListObjectVersions")
async def test_encoding_type_url_escapes_every_name(world: S3World) -> None:
    """Keys, prefixes, delimiter and markers; the slash stays."""
    answer = await get(world, "list-type=2&encoding-type=url&start-after=b+z")
    assert answer.text("EncodingType") == "url"
    assert answer.texts("Contents/Key") == ["b//", "b//x", "c%20d", "z%2B%26%3C%C3%A9%3E"]
    assert answer.text("StartAfter") == "b%20z"
    answer = await get(world, "encoding-type=url&marker=c&delimiter=%26&prefix=z%2B")
    assert answer.texts("CommonPrefixes/Prefix") == ["z%2B%26"]
    assert (answer.text("Delimiter"), answer.text("Prefix")) == ("%26", "z%2B")
    answer = await get(world, "versions&encoding-type=url&key-marker=c%20c&max-keys=1")
    assert answer.texts("Version/Key") == ["c%20d"]
    assert (answer.text("KeyMarker"), answer.text("NextKeyMarker")) == ("c%20c", "c%20d")


AWKWARD = st.text(
    alphabet=st.sampled_from(list("ab/&<>\"'\r\n\t +%é\x7f\x00\x01\U0001f600")), min_size=1
).filter(lambda key: len(key.encode()) <= 1024)


@settings(max_examples=25, suppress_health_check=[HealthCheck.too_slow], deadline=None)
@given(keys=st.sets(AWKWARD, max_size=12), size=st.integers(1, 5))
async def test_every_key_comes_back_through_url_encoding(keys: set[str], size: int) -> None:
    """Any characters, in byte order, page by page."""
    world = S3World()
    await world.call("PUT", "/bucket")
    for key in keys:
        await put(world, key.encode())
    found: list[str] = []
    token = ""
    for _ in range(PAGES_MAX):
        answer = await get(world, f"list-type=2&encoding-type=url&max-keys={size}{token}")
        found += [unquote(key) for key in answer.texts("Contents/Key")]
        if answer.text("IsTruncated") == "false":
            break
        token = f"&continuation-token={answer.text('NextContinuationToken')}"
    assert found == sorted(keys, key=str.encode)


async def test_without_encoding_type_a_control_character_is_a_reference(world: S3World) -> None:
    """As S3 writes it, although XML 1.0 cannot hold it."""
    await put(world, b"control\x01\r")
    answer = await get(world, "list-type=2&prefix=control")
    assert b"<Key>control&#x1;&#13;</Key>" in answer.body


async def _make_versions(world: S3World) -> list[tuple[str, str, bool, bool]]:
    """Three versions of `v`, a delete marker above them, one version of `w`, newest first."""
    await world.store.submit(PutBucketVersioning(name="bucket", versioning=Versioning.ENABLED))
    expected: list[tuple[str, str, bool, bool]] = []
    for number in range(3):
        record = await put(world, b"v", nonce=bytes([number]) * 16)
        expected.insert(0, ("v", record.version_id, False, False))
    result = await world.store.submit(
        DeleteObject(
            bucket="bucket",
            key=b"v",
            version_id=None,
            now_ms=world.clock.now_ms(),
            nonce=b"d" * 16,
            owner_id=ALICE.canonical_id,
        )
    )
    expected.insert(0, ("v", result.version_id, True, True))  # type: ignore[union-attr]
    record = await put(world, b"w", nonce=b"w" * 16)
    return [*expected, ("w", record.version_id, True, False)]


def _versions_in(answer: Answer) -> list[tuple[str, str, bool, bool]]:
    return [
        (
            element.findtext("Key") or "",
            element.findtext("VersionId") or "",
            element.findtext("IsLatest") == "true",
            element.tag == "DeleteMarker",
        )
        for element in answer.xml
        if element.tag in ("Version", "DeleteMarker")
    ]


@pytest.mark.proves("ListObjectVersions")
async def test_versions_come_newest_first_with_their_markers(world: S3World) -> None:
    """In pages of any size, each exactly once; a delete marker has neither ETag nor size."""
    expected = await _make_versions(world)
    for size in (1, 2, 3, 1000):
        found: list[tuple[str, str, bool, bool]] = []
        markers = "&prefix=v"
        found_w: list[tuple[str, str, bool, bool]] = []
        for _ in range(PAGES_MAX):
            answer = await get(world, f"versions&max-keys={size}{markers}")
            found += _versions_in(answer)
            if answer.text("IsTruncated") == "false":
                break
            markers = (
                f"&prefix=v&key-marker={quote(answer.text('NextKeyMarker'))}"
                f"&version-id-marker={answer.text('NextVersionIdMarker')}"
            )
        found_w += _versions_in(await get(world, "versions&key-marker=v"))
        assert found == expected[:4]
        assert expected[4] in found_w
        assert all(key != "v" for key, *_ in found_w)
    answer = await get(world, "versions&prefix=v")
    marker = answer.xml.find("DeleteMarker")
    assert marker is not None
    assert (marker.find("ETag"), marker.find("Size")) == (None, None)
    assert marker.findtext("Owner/DisplayName") == "alice"
    version = answer.xml.find("Version")
    assert version is not None
    assert version.findtext("ETag") == f'"{EMPTY_MD5}"'
    assert version.findtext("Owner/ID") == ALICE.canonical_id


async def test_an_unversioned_object_is_listed_as_the_null_version(world: S3World) -> None:
    """Its id is `null`, and it is the latest."""
    answer = await get(world, "versions&prefix=a&delimiter=/")
    assert _versions_in(answer) == [("a", "null", True, False)]
    assert answer.texts("CommonPrefixes/Prefix") == ["a/"]


async def _start_upload(world: S3World, key: bytes, nonce: bytes) -> UploadRecord:
    record = await world.store.submit(
        CreateUpload(
            bucket="bucket",
            key=key,
            now_ms=world.clock.now_ms(),
            nonce=nonce,
            attributes=Attributes(owner_id=ALICE.canonical_id),
            checksum_algorithm=ChecksumAlgorithm.CRC64NVME,
            checksum_type=ChecksumType.FULL_OBJECT,
        )
    )
    assert isinstance(record, UploadRecord)
    return record


@pytest.mark.proves("ListMultipartUploads")
async def test_uploads_are_listed_with_all_their_markers(world: S3World) -> None:
    """By key, then by time, each exactly once in pages of any size."""
    expected = []
    for number, key in enumerate(["m", "n/1", "n/1", "n/2", "o"]):
        record = await _start_upload(world, key.encode(), bytes([number]) * 16)
        world.clock.advance(1000)
        expected.append((key, record.upload_id))
    for size in (1, 2, 3, 1000):
        found: list[tuple[str, str]] = []
        markers = ""
        for _ in range(PAGES_MAX):
            answer = await get(world, f"uploads&max-uploads={size}{markers}")
            keys, ids = answer.texts("Upload/Key"), answer.texts("Upload/UploadId")
            found += zip(keys, ids, strict=True)
            if answer.text("IsTruncated") == "false":
                break
            markers = (
                f"&key-marker={quote(answer.text('NextKeyMarker'))}"
                f"&upload-id-marker={answer.text('NextUploadIdMarker')}"
            )
        assert found == expected


@pytest.mark.proves("ListMultipartUploads")
async def test_an_upload_is_shown_with_who_began_it_and_how(world: S3World) -> None:
    """Initiator, owner, class, time and checksum; prefixes roll up."""
    began_ms = world.clock.now_ms()
    await _start_upload(world, b"n/1", b"1" * 16)
    answer = await get(world, "uploads&prefix=n&delimiter=/&encoding-type=url")
    assert answer.texts("CommonPrefixes/Prefix") == ["n/"]
    answer = await get(world, "uploads&prefix=n/")
    assert (answer.text("Bucket"), answer.text("MaxUploads")) == ("bucket", "1000")
    assert answer.text("Upload/Initiator/DisplayName") == "alice"
    assert answer.text("Upload/Owner/ID") == ALICE.canonical_id
    assert answer.text("Upload/Initiated") == iso_of(began_ms)
    assert answer.text("Upload/ChecksumAlgorithm") == "CRC64NVME"
    assert answer.text("Upload/ChecksumType") == "FULL_OBJECT"


async def test_a_listing_of_a_missing_bucket_is_an_error(world: S3World) -> None:
    """For each of the four."""
    for query in ("", "list-type=2", "versions", "uploads"):
        answer = await world.call("GET", f"/missing-bucket?{query}")
        assert (answer.status, answer.code) == (404, "NoSuchBucket")


@pytest.mark.parametrize(
    "query",
    [
        "max-keys=-1",
        "max-keys=x",
        "max-keys=1.5",
        "max-keys=99999999999",
        "max-keys=2147483648",
        "max-keys=%D9%A1",
        "encoding-type=base64",
        "encoding-type=",
        "list-type=1",
        "list-type=",
        "list-type=2&continuation-token=",
        "list-type=2&continuation-token=junk",
        "list-type=2&fetch-owner=maybe",
        "versions&version-id-marker=null",
        "versions&key-marker=a&version-id-marker=junk",
        "uploads&max-uploads=x",
        "uploads&key-marker=a&upload-id-marker=junk",
    ],
)
async def test_an_argument_that_is_none_is_named_in_the_error(world: S3World, query: str) -> None:
    """InvalidArgument with ArgumentName and ArgumentValue."""
    answer = await world.call("GET", f"/bucket?{query}")
    assert (answer.status, answer.code) == (400, "InvalidArgument")
    name, _, value = query.rpartition("&")[2].partition("=")
    if "version-id-marker" not in query:
        assert answer.text("ArgumentName") == name
        assert answer.text("ArgumentValue") == unquote(value)


@pytest.mark.parametrize("name", ["prefix", "delimiter", "start-after"])
async def test_a_name_longer_than_a_key_is_refused(world: S3World, name: str) -> None:
    """No key could match it."""
    answer = await world.call("GET", f"/bucket?list-type=2&{name}={'a' * 1025}")
    assert (answer.status, answer.code) == (400, "KeyTooLongError")


@given(time_ms=st.integers(0, 4_102_444_800_000))
def test_a_time_in_a_listing_is_written_as_everywhere_else(time_ms: int) -> None:
    """The listing has a faster way of its own to the same text."""
    entry_format = EntryFormat()
    assert entry_format.time(time_ms) == entry_format.time(time_ms) == iso_time(time_ms)
