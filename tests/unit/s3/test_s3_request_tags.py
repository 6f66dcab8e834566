"""What a policy says about the tags of a request is kept, wherever the request has them."""

import json

import pytest
from s3_world import ALICE, BOB, Answer, S3World

from rs3gwd.iam.identities.arns import account_id_of

STARRED = {"StringEquals": {"s3:RequestObjectTag/class": "public"}}
ONLY_CLASS = {"ForAnyValue:StringNotEquals": {"s3:RequestObjectTagKeys": ["class"]}}


def tagging(*tags: tuple[str, str]) -> bytes:
    """A Tagging document."""
    inside = "".join(f"<Tag><Key>{key}</Key><Value>{value}</Value></Tag>" for key, value in tags)
    return f"<Tagging><TagSet>{inside}</TagSet></Tagging>".encode()


@pytest.fixture
async def world() -> S3World:
    """Bob may write and tag, if class=public; nobody, the root included, has other tags."""
    made = S3World()
    assert (await made.call("PUT", "/bucket")).status == 200
    assert (await made.call("PUT", "/bucket/key", body=b"x")).status == 200
    common = {"Resource": "arn:aws:s3:::bucket/*"}
    tag_actions = ["s3:PutObjectTagging", "s3:PutObjectVersionTagging"]
    allow = {
        "Effect": "Allow",
        "Principal": {"AWS": account_id_of(BOB.canonical_id)},
        "Action": ["s3:PutObject", *tag_actions],
        "Condition": STARRED,
    }
    deny = {"Effect": "Deny", "Principal": "*", "Action": tag_actions, "Condition": ONLY_CLASS}
    document = {"Version": "2012-10-17", "Statement": [allow | common, deny | common]}
    put = await made.call("PUT", "/bucket?policy", body=json.dumps(document).encode())
    assert put.status == 204
    return made


async def tags_of(world: S3World, key: str = "key") -> list[tuple[str, str]]:
    """The tags that an object has."""
    answer: Answer = await world.call("GET", f"/bucket/{key}?tagging")
    return list(zip(answer.texts(".//Tag/Key"), answer.texts(".//Tag/Value"), strict=True))


async def test_tags_in_a_body_are_allowed_and_denied(world: S3World) -> None:
    """A header that is not read says nothing; what is refused changes nothing."""
    target = "/bucket/key?tagging"
    good = tagging(("class", "public"))
    assert (await world.call("PUT", target, body=good, by=BOB)).status == 200
    spoof = {"x-amz-tagging": "class=public"}
    for body in (tagging(), tagging(("class", "secret")), tagging(("class", "public"), ("b", "1"))):
        refused = await world.call("PUT", target, body=body, headers=spoof, by=BOB)
        assert refused.code == "AccessDenied"
    assert (await world.call("PUT", target, body=good, by=None)).code == "AccessDenied"
    assert await tags_of(world) == [("class", "public")]


async def test_a_denial_of_tags_in_a_body_binds_the_root(world: S3World) -> None:
    """Also after a request that the denial said nothing to."""
    target = "/bucket/key?tagging"
    for _ in range(2):
        assert (await world.call("PUT", target, body=tagging(("class", "a")))).status == 200
        refused = await world.call("PUT", target, body=tagging(("b", "1")))
        assert refused.code == "AccessDenied"
    assert await tags_of(world) == [("class", "a")]


async def test_tags_of_a_version_are_decided_as_those_of_a_version(world: S3World) -> None:
    """The action is s3:PutObjectVersionTagging, with the tags of the body."""
    target = "/bucket/key?tagging&versionId=null"
    refused = await world.call("PUT", target, body=tagging(("class", "x")), by=BOB)
    assert refused.code == "AccessDenied"
    body = tagging(("class", "public"))
    assert (await world.call("PUT", target, body=body, by=BOB)).status == 200


@pytest.mark.parametrize(
    ("header", "code"),
    [
        ("class=public", ""),
        ("class=secret", "AccessDenied"),
        ("class=public&b=1", "AccessDenied"),
        ("", "AccessDenied"),
    ],
)
async def test_tags_in_a_header_are_allowed_and_denied(
    world: S3World, header: str, code: str
) -> None:
    """PutObject with x-amz-tagging needs the permission to tag too."""
    headers = {"x-amz-tagging": header}
    answer = await world.call("PUT", "/bucket/new", body=b"x", headers=headers, by=BOB)
    assert answer.code == code


@pytest.mark.parametrize(
    ("directive", "code"), [("REPLACE", ""), ("COPY", "AccessDenied"), ("", "AccessDenied")]
)
async def test_tags_that_a_copy_does_not_take_allow_nothing(
    world: S3World, directive: str, code: str
) -> None:
    """Without REPLACE the copy has the tags of its source, whatever the header says."""
    assert (await world.call("PUT", "/own", by=BOB)).status == 200
    assert (await world.call("PUT", "/own/source", body=b"x", by=BOB)).status == 200
    headers = {"x-amz-copy-source": "/own/source", "x-amz-tagging": "class=public"}
    if directive:
        headers["x-amz-tagging-directive"] = directive
    answer = await world.call("PUT", "/bucket/copy", headers=headers, by=BOB)
    assert answer.code == code


async def test_a_body_that_nobody_could_be_allowed_is_not_read(world: S3World) -> None:
    """In a bucket without a policy a stranger is refused whatever the body says."""
    assert (await world.call("PUT", "/closed", by=ALICE)).status == 200
    assert (await world.call("PUT", "/closed/key", body=b"x")).status == 200
    refused = await world.call("PUT", "/closed/key?tagging", body=b"no document", by=BOB)
    assert refused.code == "AccessDenied"
