"""The tags of object versions on the reference model."""

import pytest
from object_world import headers_of, make_world, refused_code, xml_of

from rs3gwd.base.records import Versioning
from rs3gwd.s3.object_reads import get_object
from rs3gwd.s3.object_tagging import (
    delete_object_tagging,
    get_object_tagging,
    put_object_tagging,
)
from rs3gwd.s3.objects import put_object

pytestmark = pytest.mark.proves("GetObjectTagging", "PutObjectTagging", "DeleteObjectTagging")


def tagging(*tags: tuple[str, str]) -> bytes:
    """A Tagging document."""
    inside = "".join(f"<Tag><Key>{key}</Key><Value>{value}</Value></Tag>" for key, value in tags)
    return f"<Tagging><TagSet>{inside}</TagSet></Tagging>".encode()


def tags_of(body: object) -> list[tuple[str, str]]:
    """The pairs of a Tagging document."""
    root = xml_of(body)
    return [(tag[0].text or "", tag[1].text or "") for tag in root[0]]


async def test_tags_are_set_replaced_and_removed() -> None:
    """An object without tags has an empty set."""
    world = await make_world()
    await world.run(put_object, body=b"x", headers={"x-amz-tagging": "a=1"})
    assert tags_of((await world.run(get_object_tagging)).body) == [("a", "1")]
    put = await world.run(put_object_tagging, body=tagging(("b", "2"), ("c", "")))
    assert put.status == 200
    assert tags_of((await world.run(get_object_tagging)).body) == [("b", "2"), ("c", "")]
    assert headers_of(await world.run(get_object))["x-amz-tagging-count"] == "2"
    removed = await world.run(delete_object_tagging)
    assert removed.status == 204
    assert tags_of((await world.run(get_object_tagging)).body) == []
    assert "x-amz-tagging-count" not in headers_of(await world.run(get_object))


async def test_tags_belong_to_one_version() -> None:
    """versionId chooses it, and the answer names it."""
    world = await make_world()
    await world.run(put_object, body=b"1")
    await world.set_versioning(Versioning.ENABLED)
    newer = headers_of(await world.run(put_object, body=b"2"))["x-amz-version-id"]
    await world.run(put_object_tagging, query={"versionId": "null"}, body=tagging(("a", "1")))
    current = await world.run(get_object_tagging)
    assert tags_of(current.body) == []
    assert headers_of(current)["x-amz-version-id"] == newer
    older = await world.run(get_object_tagging, query={"versionId": "null"})
    assert tags_of(older.body) == [("a", "1")]
    assert headers_of(older)["x-amz-version-id"] == "null"


@pytest.mark.parametrize(
    ("body", "code"),
    [
        (b"", "MissingRequestBodyError"),
        (b"<Tagging/>", "MalformedXML"),
        (b"<Tagging><TagSet><Tag><Key>a</Key></Tag></TagSet></Tagging>", "MalformedXML"),
        (tagging(("a", "1"), ("a", "2")), "InvalidTag"),
        (tagging(("", "1")), "InvalidTag"),
        (tagging(("k" * 129, "1")), "InvalidTag"),
        (tagging(("k", "v" * 257)), "InvalidTag"),
        (tagging(("k!", "v")), "InvalidTag"),
        (tagging(*((f"k{i}", "v") for i in range(11))), "BadRequest"),
    ],
)
async def test_tags_that_break_the_rules_change_nothing(body: bytes, code: str) -> None:
    """ "Categorizing your storage using tags"."""
    world = await make_world()
    await world.run(put_object, body=b"x", headers={"x-amz-tagging": "a=1"})
    assert await refused_code(world.run(put_object_tagging, body=body)) == code
    assert tags_of((await world.run(get_object_tagging)).body) == [("a", "1")]


async def test_what_is_not_there_has_no_tags() -> None:
    """404 for a missing key."""
    world = await make_world()
    for handler, body in (
        (get_object_tagging, None),
        (put_object_tagging, tagging(("a", "1"))),
        (delete_object_tagging, None),
    ):
        assert await refused_code(world.run(handler, "none", body=body)) == "NoSuchKey"
