"""DeleteObject and DeleteObjects on the reference model."""

import pytest
from object_world import (
    World,
    headers_of,
    make_world,
    md5_base64,
    refused_code,
    xml_of,
)

from rs3gwd.base.commands import Conditions
from rs3gwd.base.errors import ApiError
from rs3gwd.base.records import Versioning
from rs3gwd.s3.dates import http_date, iso_time
from rs3gwd.s3.delete import delete_object, delete_objects, parse_delete
from rs3gwd.s3.objects import put_object
from rs3gwd.testing.clock import TEST_EPOCH_MS

HELLO_ETAG = '"5d41402abc4b2a76b9719d911017c592"'
DATE = http_date(TEST_EPOCH_MS)


async def hello(*keys: str) -> World:
    """A world with objects of five bytes."""
    world = await make_world()
    for key in keys or ("key",):
        await world.run(put_object, key, body=b"hello")
    return world


async def bulk(world: World, document: str, **headers: str) -> list[tuple[str, dict[str, str]]]:
    """The entries of a DeleteResult: their kind and their elements."""
    body = document.encode()
    all_headers = {"content-md5": md5_base64(body), **headers}
    response = await world.run(delete_objects, "", body=body, headers=all_headers, method="POST")
    assert response.status == 200
    root = xml_of(response.body)
    assert root.tag.endswith("DeleteResult")
    return [
        (
            entry.tag.rpartition("}")[2],
            {child.tag.rpartition("}")[2]: child.text or "" for child in entry},
        )
        for entry in root
    ]


@pytest.mark.proves("DeleteObject")
async def test_deleting_removes_and_is_no_error_when_there_is_nothing() -> None:
    """204 either way."""
    world = await hello()
    for _ in range(2):
        response = await world.run(delete_object, method="DELETE")
        assert response.status == 204
        assert headers_of(response) == {"x-rs3gw-durability": "strict"}
        assert await world.keys() == []


@pytest.mark.proves("DeleteObject")
async def test_deleting_in_a_versioned_bucket_makes_a_marker_that_can_be_deleted() -> None:
    """x-amz-delete-marker is true both times; deleting the marker brings the object back."""
    world = await hello()
    await world.set_versioning(Versioning.ENABLED)
    made = headers_of(await world.run(delete_object, method="DELETE"))
    assert made["x-amz-delete-marker"] == "true"
    assert await world.keys() == []
    gone = headers_of(await world.run(delete_object, query={"versionId": made["x-amz-version-id"]}))
    assert gone["x-amz-delete-marker"] == "true"
    assert gone["x-amz-version-id"] == made["x-amz-version-id"]
    assert await world.keys() == ["key"]
    last = headers_of(await world.run(delete_object, query={"versionId": "null"}))
    assert "x-amz-delete-marker" not in last
    assert last["x-amz-version-id"] == "null"


@pytest.mark.proves("DeleteObject")
@pytest.mark.parametrize(
    ("headers", "code"),
    [
        ({"if-match": HELLO_ETAG}, None),
        ({"if-match": "*"}, None),
        ({"x-amz-if-match-size": "5"}, None),
        ({"x-amz-if-match-last-modified-time": DATE}, None),
        ({"if-match": '"x"'}, "PreconditionFailed"),
        ({"x-amz-if-match-size": "6"}, "PreconditionFailed"),
        (
            {"x-amz-if-match-last-modified-time": http_date(TEST_EPOCH_MS + 1000)},
            "PreconditionFailed",
        ),
        ({"if-none-match": "*"}, "NotImplemented"),
    ],
)
async def test_a_conditional_delete_happens_when_its_condition_holds(
    headers: dict[str, str], code: str | None
) -> None:
    """ "How to perform conditional deletes"."""
    world = await hello()
    if code is None:
        await world.run(delete_object, headers=headers)
        assert await world.keys() == []
    else:
        assert await refused_code(world.run(delete_object, headers=headers)) == code
        assert await world.keys() == ["key"]


@pytest.mark.proves("DeleteObject")
async def test_a_conditional_delete_of_nothing_is_404() -> None:
    """If-Match: * asks that there is something."""
    world = await make_world()
    code = await refused_code(world.run(delete_object, headers={"if-match": "*"}))
    assert code == "NoSuchKey"


@pytest.mark.proves("DeleteObjects")
async def test_many_keys_are_deleted_at_once_and_each_is_answered() -> None:
    """In the order asked for, missing ones included, awkward keys unharmed."""
    world = await hello("a", "b/<&>", "c")
    found = await bulk(
        world,
        "<Delete><Object><Key>a</Key></Object><Object><Key>b/&lt;&amp;&gt;</Key></Object>"
        "<Object><Key>none</Key></Object></Delete>",
    )
    assert found == [
        ("Deleted", {"Key": "a"}),
        ("Deleted", {"Key": "b/<&>"}),
        ("Deleted", {"Key": "none"}),
    ]
    assert await world.keys() == ["c"]


@pytest.mark.proves("DeleteObjects")
async def test_quiet_tells_errors_only() -> None:
    """Quiet mode."""
    world = await hello("a", "b")
    found = await bulk(
        world,
        "<Delete><Quiet>true</Quiet><Object><Key>a</Key></Object>"
        "<Object><Key>b</Key><VersionId>x</VersionId></Object></Delete>",
    )
    assert [(kind, entry["Key"], entry["Code"]) for kind, entry in found] == [
        ("Error", "b", "NoSuchVersion")
    ]
    assert await world.keys() == ["b"]


@pytest.mark.proves("DeleteObjects")
async def test_each_key_has_its_own_conditions_and_its_own_error() -> None:
    """ETag, LastModifiedTime and Size per object; one failure spoils no other."""
    world = await hello("a", "b", "c", "d")
    found = await bulk(
        world,
        f"<Delete><Object><Key>a</Key><ETag>{HELLO_ETAG}</ETag><Size>5</Size>"
        f"<LastModifiedTime>{DATE}</LastModifiedTime></Object>"
        "<Object><Key>b</Key><ETag>x</ETag></Object>"
        "<Object><Key>c</Key><Size>6</Size></Object>"
        f"<Object><Key>d</Key><LastModifiedTime>{iso_time(0)}</LastModifiedTime></Object>"
        "<Object><Key>e</Key><ETag>*</ETag></Object>"
        f"<Object><Key>{'k' * 1025}</Key></Object></Delete>",
    )
    assert [(kind, entry.get("Code")) for kind, entry in found] == [
        ("Deleted", None),
        ("Error", "PreconditionFailed"),
        ("Error", "PreconditionFailed"),
        ("Error", "PreconditionFailed"),
        ("Error", "NoSuchKey"),
        ("Error", "KeyTooLongError"),
    ]
    assert all(entry["Message"] for kind, entry in found if kind == "Error")
    assert await world.keys() == ["b", "c", "d"]


@pytest.mark.proves("DeleteObjects")
async def test_markers_are_named_when_made_and_when_deleted() -> None:
    """DeleteMarker and DeleteMarkerVersionId."""
    world = await hello("a")
    await world.set_versioning(Versioning.ENABLED)
    [(_, made)] = await bulk(world, "<Delete><Object><Key>a</Key></Object></Delete>")
    assert made["DeleteMarker"] == "true"
    marker = made["DeleteMarkerVersionId"]
    [(_, gone)] = await bulk(
        world,
        f"<Delete><Object><Key>a</Key><VersionId>{marker}</VersionId></Object></Delete>",
    )
    assert gone == {
        "Key": "a",
        "VersionId": marker,
        "DeleteMarker": "true",
        "DeleteMarkerVersionId": marker,
    }
    [(_, last)] = await bulk(
        world, "<Delete><Object><Key>a</Key><VersionId>null</VersionId></Object></Delete>"
    )
    assert last == {"Key": "a", "VersionId": "null"}


@pytest.mark.proves("DeleteObjects")
async def test_a_list_of_deletions_needs_a_digest() -> None:
    """Content-MD5 or a checksum; an altered list deletes nothing."""
    world = await hello("a")
    body = b"<Delete><Object><Key>a</Key></Object></Delete>"
    bare = await world.call("", body=body)
    assert await refused_code(delete_objects(bare)) == "InvalidRequest"
    altered = await world.call("", body=body, headers={"content-md5": md5_base64(b"other")})
    assert await refused_code(delete_objects(altered)) == "BadDigest"
    assert await world.keys() == ["a"]
    checksum = {"x-amz-checksum-crc32": "lAJ9XA=="}
    wrong = await world.call("", body=body, headers=checksum)
    assert await refused_code(delete_objects(wrong)) == "BadDigest"


@pytest.mark.parametrize(
    "document",
    [
        "<Delete/>",
        "<Delete><Quiet>true</Quiet></Delete>",
        "<Delete><Object/></Delete>",
        "<Delete><Object><Key></Key></Object></Delete>",
        "<Delete><Object><VersionId>null</VersionId></Object></Delete>",
        "<Delete><Object><Key>a</Key><Colour>b</Colour></Object></Delete>",
        "<Delete><Quiet>maybe</Quiet><Object><Key>a</Key></Object></Delete>",
        "<Remove><Object><Key>a</Key></Object></Remove>",
        "<Delete>" + "<Object><Key>a</Key></Object>" * 1001 + "</Delete>",
    ],
)
def test_documents_that_s3_does_not_take_are_malformed(document: str) -> None:
    """No key, over 1,000 keys, unknown elements."""
    with pytest.raises(ApiError) as caught:
        parse_delete(document.encode())
    assert caught.value.api_code == "MalformedXML"


def test_a_document_of_a_thousand_keys_is_read_with_its_conditions() -> None:
    """The greatest that S3 takes."""
    inside = "".join(f"<Object><Key>{i}</Key><Size>{i}</Size></Object>" for i in range(1000))
    deletions, is_quiet = parse_delete(f"<Delete>{inside}</Delete>".encode())
    assert not is_quiet
    assert len(deletions) == 1000
    assert deletions[999].conditions == Conditions(if_match_size=999)


async def test_an_empty_answer_is_a_document_all_the_same() -> None:
    """Quiet and without errors."""
    world = await hello("a")
    assert (
        await bulk(world, "<Delete><Quiet>TRUE</Quiet><Object><Key>a</Key></Object></Delete>") == []
    )
