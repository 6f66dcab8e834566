"""Buckets: made, listed, looked at, tagged, versioned and removed."""

import pytest
from s3_world import ALICE, BOB, S3World, iso_of

from rs3gwd.base.records import Durability, Versioning


@pytest.fixture
async def world() -> S3World:
    """A store in which alice owns `bucket`."""
    made = S3World()
    assert (await made.call("PUT", "/bucket")).status == 200
    return made


def _configuration(inside: str) -> bytes:
    return (
        '<CreateBucketConfiguration xmlns="http://s3.amazonaws.com/doc/2006-03-01/">'
        f"{inside}</CreateBucketConfiguration>"
    ).encode()


@pytest.mark.proves("CreateBucket")
async def test_a_bucket_is_made_for_its_owner(world: S3World) -> None:
    """Strict durability and this region, when nothing else is said."""
    answer = await world.call("PUT", "/fresh")
    assert (answer.status, answer.body) == (200, b"")
    assert answer.headers["location"] == "/fresh"
    assert answer.headers["x-rs3gw-durability"] == "strict"
    record = await world.store.get_bucket("fresh")
    assert (record.owner_id, record.region) == (ALICE.canonical_id, "us-east-1")
    assert record.created_ms == world.clock.now_ms()
    assert record.durability is Durability.STRICT


@pytest.mark.proves("CreateBucket")
async def test_making_a_bucket_again_is_a_success_for_its_owner_alone(world: S3World) -> None:
    """As in us-east-1: rclone does so before every upload."""
    before = await world.store.get_bucket("bucket")
    world.clock.advance(5000)
    assert (await world.call("PUT", "/bucket")).status == 200
    assert await world.store.get_bucket("bucket") == before
    answer = await world.call("PUT", "/bucket", by=BOB)
    assert (answer.status, answer.code) == (409, "BucketAlreadyExists")


@pytest.mark.parametrize("durability", list(Durability))
async def test_a_bucket_is_made_with_the_durability_asked_for(
    world: S3World, durability: Durability
) -> None:
    """HeadBucket shows it, and making the bucket again with another class is refused."""
    headers = {"x-rs3gw-durability": durability.value}
    answer = await world.call("PUT", "/fresh", headers=headers)
    assert answer.headers["x-rs3gw-durability"] == durability.value
    assert (await world.call("PUT", "/fresh", headers=headers)).status == 200
    assert (await world.call("HEAD", "/fresh")).headers["x-rs3gw-durability"] == durability.value
    other = "relaxed" if durability is not Durability.RELAXED else "strict"
    answer = await world.call("PUT", "/fresh", headers={"x-rs3gw-durability": other})
    assert (answer.status, answer.code) == (409, "BucketAlreadyOwnedByYou")


@pytest.mark.parametrize(
    ("region", "location", "code"),
    [
        ("us-east-1", None, ""),
        ("us-east-1", "", ""),
        ("us-east-1", "us-east-1", ""),
        ("eu-west-1", "eu-west-1", ""),
        ("eu-west-1", "EU", ""),
        ("eu-west-1", None, ""),
        ("us-east-1", "EU", "IllegalLocationConstraintException"),
        ("us-east-1", "eu-west-1", "IllegalLocationConstraintException"),
        ("eu-west-1", "us-gov-west-1", "IllegalLocationConstraintException"),
        ("us-east-1", "nowhere", "InvalidLocationConstraint"),
    ],
)
async def test_a_bucket_lives_in_the_region_of_the_endpoint(
    region: str, location: str | None, code: str
) -> None:
    """Naming it, or none, is right; naming another is an error."""
    world = S3World(region=region)
    inside = "" if location is None else f"<LocationConstraint>{location}</LocationConstraint>"
    answer = await world.call("PUT", "/fresh", body=_configuration(inside))
    assert answer.code == code
    if not code:
        assert (await world.store.get_bucket("fresh")).region == region


@pytest.mark.parametrize(
    ("headers", "code"),
    [
        ({"x-amz-acl": "private"}, ""),
        ({"x-amz-acl": "public-read"}, "InvalidBucketAclWithObjectOwnership"),
        ({"x-amz-acl": "world"}, "InvalidArgument"),
        ({"x-amz-grant-read": 'id="x"'}, "InvalidArgument"),
        ({"x-amz-object-ownership": "BucketOwnerEnforced"}, ""),
        ({"x-amz-object-ownership": "ObjectWriter"}, ""),
        ({"x-amz-object-ownership": "Nobody"}, "InvalidArgument"),
        ({"x-amz-bucket-object-lock-enabled": "false"}, ""),
        ({"x-amz-bucket-object-lock-enabled": "True"}, ""),
        ({"x-amz-bucket-object-lock-enabled": "maybe"}, "InvalidArgument"),
        ({"x-rs3gw-durability": "eternal"}, "InvalidArgument"),
    ],
)
async def test_a_header_is_obeyed_or_refused_and_never_overlooked(
    world: S3World, headers: dict[str, str], code: str
) -> None:
    """A bucket that would be less than was asked for is not made."""
    answer = await world.call("PUT", "/fresh", headers=headers)
    assert answer.code == code
    assert (await world.call("HEAD", "/fresh")).status == (404 if code else 200)


@pytest.mark.proves("CreateBucket")
async def test_a_bucket_is_made_with_tags(world: S3World) -> None:
    """The newer form of the configuration document."""
    body = _configuration("<Tags><Tag><Key>team</Key><Value>a b</Value></Tag></Tags>")
    assert (await world.call("PUT", "/fresh", body=body)).status == 200
    answer = await world.call("GET", "/fresh?tagging")
    assert answer.texts("TagSet/Tag/Value") == ["a b"]


@pytest.mark.proves("HeadBucket")
async def test_head_bucket_says_where_the_bucket_is(world: S3World) -> None:
    """Region and durability in headers, no body; a missing one is 404 without a body."""
    answer = await world.call("HEAD", "/bucket")
    assert (answer.status, answer.body) == (200, b"")
    assert answer.headers["x-amz-bucket-region"] == "us-east-1"
    assert answer.headers["x-rs3gw-durability"] == "strict"
    answer = await world.call("HEAD", "/missing-bucket")
    assert (answer.status, answer.body) == (404, b"")


@pytest.mark.proves("GetBucketLocation")
async def test_the_location_of_us_east_1_is_empty() -> None:
    """And that of any other region is its name."""
    for region, text in (("us-east-1", ""), ("eu-central-1", "eu-central-1")):
        world = S3World(region=region)
        await world.call("PUT", "/bucket")
        answer = await world.call("GET", "/bucket?location")
        assert (answer.xml.tag, answer.xml.text or "") == ("LocationConstraint", text)


@pytest.mark.proves("DeleteBucket")
async def test_an_empty_bucket_is_removed(world: S3World) -> None:
    """204, and then it is not there."""
    answer = await world.call("DELETE", "/bucket")
    assert (answer.status, answer.body) == (204, b"")
    answer = await world.call("DELETE", "/bucket")
    assert (answer.status, answer.code) == (404, "NoSuchBucket")


@pytest.mark.proves("DeleteBucket")
async def test_a_bucket_with_an_object_is_not_removed(world: S3World) -> None:
    """409, and the object stays."""
    assert (await world.call("PUT", "/bucket/key", body=b"x")).status == 200
    answer = await world.call("DELETE", "/bucket")
    assert (answer.status, answer.code) == (409, "BucketNotEmpty")
    assert (await world.call("GET", "/bucket/key")).body == b"x"


@pytest.mark.proves("ListBuckets")
async def test_an_account_lists_its_own_buckets(world: S3World) -> None:
    """By name, with owner and time; another account's are not among them."""
    await world.call("PUT", "/another")
    await world.call("PUT", "/bobs-own", by=BOB)
    answer = await world.call("GET", "/")
    assert answer.texts("Buckets/Bucket/Name") == ["another", "bucket"]
    assert answer.text("Owner/ID") == ALICE.canonical_id
    assert answer.text("Owner/DisplayName") == "alice"
    assert answer.text("Buckets/Bucket/CreationDate") == iso_of(world.clock.now_ms())
    assert answer.xml.find("ContinuationToken") is None
    bobs = await world.call("GET", "/", by=BOB)
    assert bobs.texts("Buckets/Bucket/Name") == ["bobs-own"]
    assert bobs.text("Owner/DisplayName") == "bob & co"


@pytest.mark.proves("ListBuckets")
async def test_buckets_are_listed_in_pages(world: S3World) -> None:
    """Every bucket once, in order, whatever the size of the page."""
    names = ["bucket", *(f"page-{number:02}" for number in range(7))]
    for name in names:
        await world.call("PUT", f"/{name}")
    for size in (1, 2, 3, 7, 8, 100):
        found: list[str] = []
        target = f"/?max-buckets={size}"
        for _ in range(len(names) + 1):
            answer = await world.call("GET", target)
            found += answer.texts("Buckets/Bucket/Name")
            token = answer.text("ContinuationToken")
            if not token:
                break
            target = f"/?max-buckets={size}&continuation-token={token}"
        assert found == names


@pytest.mark.proves("ListBuckets")
async def test_buckets_are_listed_by_prefix_and_region(world: S3World) -> None:
    """With any argument the region is shown."""
    await world.call("PUT", "/beta")
    answer = await world.call("GET", "/?prefix=bu")
    assert answer.texts("Buckets/Bucket/Name") == ["bucket"]
    assert answer.text("Prefix") == "bu"
    assert answer.text("Buckets/Bucket/BucketRegion") == "us-east-1"
    answer = await world.call("GET", "/?bucket-region=us-east-1")
    assert answer.texts("Buckets/Bucket/Name") == ["beta", "bucket"]
    answer = await world.call("GET", "/?bucket-region=eu-west-1")
    assert answer.texts("Buckets/Bucket/Name") == []


async def test_more_than_one_page_of_the_store_is_listed_at_once() -> None:
    """The store gives 1,000 at a time; without max-buckets all come in one answer."""
    world = S3World()
    names = [f"bucket-{number:04}" for number in range(1003)]
    for name in names:
        await world.call("PUT", f"/{name}")
    answer = await world.call("GET", "/")
    assert answer.texts("Buckets/Bucket/Name") == names


async def test_nobody_has_no_buckets(world: S3World) -> None:
    """An anonymous caller may neither list nor make any."""
    for method, target in (("GET", "/"), ("PUT", "/fresh")):
        answer = await world.call(method, target, by=None)
        assert (answer.status, answer.code) == (403, "AccessDenied")


@pytest.mark.proves("GetBucketVersioning", "PutBucketVersioning")
async def test_versioning_is_off_then_enabled_then_suspended(world: S3World) -> None:
    """A bucket where it was never set has no Status."""
    answer = await world.call("GET", "/bucket?versioning")
    assert (answer.xml.tag, list(answer.xml)) == ("VersioningConfiguration", [])
    for state in ("Enabled", "Suspended"):
        body = f"<VersioningConfiguration><Status>{state}</Status></VersioningConfiguration>"
        assert (await world.call("PUT", "/bucket?versioning", body=body.encode())).status == 200
        assert (await world.call("GET", "/bucket?versioning")).text("Status") == state
        assert (await world.store.get_bucket("bucket")).versioning is Versioning(state)


@pytest.mark.proves("PutBucketVersioning")
@pytest.mark.parametrize(
    ("inside", "code"),
    [
        ("", "IllegalVersioningConfigurationException"),
        ("<Status>On</Status>", "MalformedXML"),
        ("<Status>enabled</Status>", "MalformedXML"),
        ("<State>Enabled</State>", "MalformedXML"),
        ("<Status>Enabled</Status><MfaDelete>Enabled</MfaDelete>", "NotImplemented"),
        ("<Status>Enabled</Status><MfaDelete>Maybe</MfaDelete>", "MalformedXML"),
    ],
)
async def test_a_versioning_that_cannot_be_is_refused(
    world: S3World, inside: str, code: str
) -> None:
    """And the bucket stays as it was."""
    body = f"<VersioningConfiguration>{inside}</VersioningConfiguration>".encode()
    assert (await world.call("PUT", "/bucket?versioning", body=body)).code == code
    assert (await world.store.get_bucket("bucket")).versioning is Versioning.UNVERSIONED


@pytest.mark.parametrize(
    ("method", "target", "body"),
    [
        ("DELETE", "/bucket/key?versionId=null", b""),
        ("DELETE", "/bucket/key", b""),
        ("PUT", "/bucket?versioning", b"<VersioningConfiguration/>"),
    ],
)
async def test_a_second_factor_is_not_taken_unproved(
    world: S3World, method: str, target: str, body: bytes
) -> None:
    """x-amz-mfa answers 501 to who may, 403 to who may not, and nothing is deleted."""
    assert (await world.call("PUT", "/bucket/key", body=b"x")).status == 200
    headers = {"x-amz-mfa": "arn:aws:iam::123456789012:mfa/x 123456"}
    answer = await world.call(method, target, body=body, headers=headers)
    assert (answer.status, answer.code) == (501, "NotImplemented")
    assert (await world.call(method, target, body=body, headers=headers, by=None)).status == 403
    assert (await world.call("GET", "/bucket/key")).body == b"x"


@pytest.mark.proves("GetBucketTagging", "PutBucketTagging", "DeleteBucketTagging")
async def test_tags_are_put_read_and_removed(world: S3World) -> None:
    """A new set takes the place of the old one; where there is none, there is no TagSet."""
    answer = await world.call("GET", "/bucket?tagging")
    assert (answer.status, answer.code) == (404, "NoSuchTagSet")
    for tags in ([("a", "1"), ("b", "")], [("c & d".replace("&", "+"), "ü")]):
        inside = "".join(f"<Tag><Key>{k}</Key><Value>{v}</Value></Tag>" for k, v in tags)
        body = f"<Tagging><TagSet>{inside}</TagSet></Tagging>".encode()
        assert (await world.call("PUT", "/bucket?tagging", body=body)).status == 204
        answer = await world.call("GET", "/bucket?tagging")
        keys, values = answer.texts("TagSet/Tag/Key"), answer.texts("TagSet/Tag/Value")
        assert list(zip(keys, values, strict=True)) == tags
    assert (await world.call("DELETE", "/bucket?tagging")).status == 204
    assert (await world.call("GET", "/bucket?tagging")).code == "NoSuchTagSet"
    assert (await world.call("DELETE", "/bucket?tagging")).status == 204


async def test_a_bucket_may_have_fifty_tags(world: S3World) -> None:
    """And not one more."""
    for count, status in ((50, 204), (51, 400)):
        inside = "".join(f"<Tag><Key>k{n}</Key><Value/></Tag>" for n in range(count))
        body = f"<Tagging><TagSet>{inside}</TagSet></Tagging>".encode()
        assert (await world.call("PUT", "/bucket?tagging", body=body)).status == status
