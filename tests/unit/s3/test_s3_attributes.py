"""GetObjectAttributes on the reference model."""

import hashlib

import pytest
from object_world import World, headers_of, make_world, refused_code, text_in, xml_of
from upload_world import BIG, SMALL, Upload, part, value_of

from rs3gwd.base.records import Versioning
from rs3gwd.s3.attributes import get_object_attributes
from rs3gwd.s3.dates import http_date
from rs3gwd.s3.delete import delete_object
from rs3gwd.s3.objects import put_object
from rs3gwd.testing.clock import TEST_EPOCH_MS

pytestmark = pytest.mark.proves("GetObjectAttributes")

ALL = "ETag,Checksum,ObjectParts,StorageClass,ObjectSize"


async def attributes(world: World, names: str = ALL, **headers: str) -> object:
    """The root of the answer."""
    all_headers = {"x-amz-object-attributes": names}
    all_headers |= {name.replace("_", "-"): value for name, value in headers.items()}
    return xml_of((await world.run(get_object_attributes, headers=all_headers)).body)


async def composite() -> World:
    """A world with an object of two parts with SHA-256."""
    world = await make_world()
    upload = await Upload.start(world, x_amz_checksum_algorithm="SHA256")
    for number, data in ((1, BIG), (4, SMALL)):
        await upload.put(number, data, x_amz_checksum_sha256=value_of("SHA256", data))
    await upload.complete(
        *(part(n, d, SHA256=value_of("SHA256", d)) for n, d in ((1, BIG), (4, SMALL)))
    )
    return world


async def test_a_plain_object_shows_all_but_parts() -> None:
    """The ETag stands without quotes; Last-Modified is a header."""
    world = await make_world()
    await world.run(put_object, body=b"hello", headers={"x-amz-storage-class": "GLACIER"})
    response = await world.run(get_object_attributes, headers={"x-amz-object-attributes": ALL})
    assert headers_of(response)["last-modified"] == http_date(TEST_EPOCH_MS)
    root = xml_of(response.body)
    assert root.tag.endswith("GetObjectAttributesResponse")
    assert text_in(root, "ETag") == "5d41402abc4b2a76b9719d911017c592"
    assert text_in(root, "Checksum/ChecksumCRC64NVME") == "M3eFcAZSQlc="
    assert text_in(root, "Checksum/ChecksumType") == "FULL_OBJECT"
    assert text_in(root, "StorageClass") == "GLACIER"
    assert text_in(root, "ObjectSize") == "5"
    assert text_in(root, "ObjectParts") is None


async def test_only_what_is_named_is_shown() -> None:
    """Blanks around the names are no part of them."""
    world = await make_world()
    await world.run(put_object, body=b"hello")
    root = await attributes(world, " ObjectSize , ETag")
    assert [child.tag.rpartition("}")[2] for child in root] == ["ETag", "ObjectSize"]


async def test_parts_with_checksums_are_listed_in_pages() -> None:
    """x-amz-max-parts and x-amz-part-number-marker; the composite value has no number behind."""
    world = await composite()
    root = await attributes(world)
    digests = b"".join(hashlib.sha256(data).digest() for data in (BIG, SMALL))
    shown = text_in(root, "Checksum/ChecksumSHA256")
    assert shown is not None
    assert "-" not in shown
    assert shown == value_of("SHA256", digests)
    assert text_in(root, "Checksum/ChecksumType") == "COMPOSITE"
    assert text_in(root, "ObjectParts/PartsCount") == "2"
    assert text_in(root, "ObjectParts/IsTruncated") == "false"
    assert text_in(root, "ObjectParts/Part/PartNumber") == "1"
    assert text_in(root, "ObjectParts/Part/Size") == str(len(BIG))
    first = await attributes(world, x_amz_max_parts="1")
    assert text_in(first, "ObjectParts/IsTruncated") == "true"
    assert text_in(first, "ObjectParts/NextPartNumberMarker") == "1"
    assert text_in(first, "ObjectParts/MaxParts") == "1"
    rest = await attributes(world, x_amz_max_parts="1", x_amz_part_number_marker="1")
    assert text_in(rest, "ObjectParts/IsTruncated") == "false"
    assert text_in(rest, "ObjectParts/PartNumberMarker") == "1"
    assert text_in(rest, "ObjectParts/Part/PartNumber") == "4"
    assert text_in(rest, "ObjectParts/Part/ChecksumSHA256") == value_of("SHA256", SMALL)


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        (None, "InvalidRequest"),
        ("", "InvalidRequest"),
        (" , ", "InvalidRequest"),
        ("ETag,Colour", "InvalidArgument"),
        ("etag", "InvalidArgument"),
    ],
)
async def test_the_attributes_must_be_named_rightly(names: str | None, expected: str) -> None:
    """No name is InvalidRequest, an unknown one InvalidArgument."""
    world = await make_world()
    await world.run(put_object, body=b"hello")
    headers = {} if names is None else {"x-amz-object-attributes": names}
    code = await refused_code(world.run(get_object_attributes, headers=headers))
    assert code == expected


async def test_pages_need_numbers() -> None:
    """x-amz-max-parts that is none is InvalidArgument."""
    world = await composite()
    assert await refused_code(attributes(world, x_amz_max_parts="many")) == "InvalidArgument"
    assert await refused_code(attributes(world, x_amz_part_number_marker="-1")) == (
        "InvalidArgument"
    )


async def test_versions_are_chosen_and_named() -> None:
    """versionId; a delete marker is 405, a missing key 404."""
    world = await make_world()
    await world.set_versioning(Versioning.ENABLED)
    first = headers_of(await world.run(put_object, body=b"1"))["x-amz-version-id"]
    await world.run(put_object, body=b"22")
    response = await world.run(
        get_object_attributes,
        headers={"x-amz-object-attributes": "ObjectSize"},
        query={"versionId": first},
    )
    assert headers_of(response)["x-amz-version-id"] == first
    assert text_in(xml_of(response.body), "ObjectSize") == "1"
    await world.run(delete_object)
    assert await refused_code(attributes(world)) == "NoSuchKey"
