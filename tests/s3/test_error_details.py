"""What an error says beside its code: which key, version, upload or part it is about.

Programs read these elements (boto3 gives them in `response["Error"]`) and people search for them.
Source: "Error responses" in the Amazon S3 API Reference, and what S3 answers.
"""

import hashlib

import pytest
from s3_world import Answer, S3World

PART_BYTES_MIN = 5 * 1024 * 1024


async def make_world() -> S3World:
    """alice's versioned `bucket` with `key`."""
    world = S3World()
    assert (await world.call("PUT", "/bucket")).status == 200
    body = b"<VersioningConfiguration><Status>Enabled</Status></VersioningConfiguration>"
    assert (await world.call("PUT", "/bucket?versioning", body=body)).status == 200
    assert (await world.call("PUT", "/bucket/key", body=b"hello")).status == 200
    return world


async def start_upload(world: S3World) -> str:
    """The id of a new upload of `parts`."""
    return (await world.call("POST", "/bucket/parts?uploads")).text("UploadId")


async def put_part(world: S3World, upload_id: str, number: int, body: bytes) -> str:
    """Uploads a part and gives its ETag."""
    target = f"/bucket/parts?partNumber={number}&uploadId={upload_id}"
    return (await world.call("PUT", target, body=body)).headers["etag"]


async def complete(world: S3World, upload_id: str, parts: list[tuple[int, str]]) -> Answer:
    """CompleteMultipartUpload with these parts."""
    inside = "".join(
        f"<Part><PartNumber>{number}</PartNumber><ETag>{etag}</ETag></Part>"
        for number, etag in parts
    )
    body = f"<CompleteMultipartUpload>{inside}</CompleteMultipartUpload>".encode()
    return await world.call("POST", f"/bucket/parts?uploadId={upload_id}", body=body)


async def other_version(world: S3World) -> str:
    """An id that a version could have and none of `key` has."""
    answer = await world.call("PUT", "/bucket/other", body=b"x")
    return answer.headers["x-amz-version-id"]


async def test_a_missing_version_is_named_with_its_key() -> None:
    """NoSuchVersion: Key and VersionId, of the source where it is a copy that misses it."""
    world = await make_world()
    version_id = await other_version(world)
    read = await world.call("GET", f"/bucket/key?versionId={version_id}")
    source = {"x-amz-copy-source": f"/bucket/key?versionId={version_id}"}
    copied = await world.call("PUT", "/bucket/target", headers=source)
    for answer in (read, copied):
        assert (answer.status, answer.code) == (404, "NoSuchVersion")
        assert (answer.text("Key"), answer.text("VersionId")) == ("key", version_id)


@pytest.mark.parametrize(
    ("method", "target"),
    [
        ("PUT", "/bucket/parts?partNumber=1&uploadId=no%2Fsuch"),
        ("GET", "/bucket/parts?uploadId=no%2Fsuch"),
        ("DELETE", "/bucket/parts?uploadId=no%2Fsuch"),
    ],
)
async def test_a_missing_upload_is_named(method: str, target: str) -> None:
    """NoSuchUpload: UploadId as it was asked for."""
    world = await make_world()
    answer = await world.call(method, target)
    assert (answer.status, answer.code) == (404, "NoSuchUpload")
    assert answer.text("UploadId") == "no/such"


async def test_the_part_that_is_not_there_is_named() -> None:
    """InvalidPart: UploadId, PartNumber and ETag as the caller named them."""
    world = await make_world()
    upload_id = await start_upload(world)
    etag = await put_part(world, upload_id, 1, b"one")
    wrong = hashlib.md5(b"another").hexdigest()
    for number, named in ((7, etag.strip('"')), (1, wrong)):
        answer = await complete(world, upload_id, [(number, named)])
        assert (answer.status, answer.code) == (400, "InvalidPart")
        found = [answer.text(name) for name in ("UploadId", "PartNumber", "ETag")]
        assert found == [upload_id, str(number), named]


async def test_the_part_that_is_too_small_is_named() -> None:
    """EntityTooSmall: PartNumber, ProposedSize and MinSizeAllowed."""
    world = await make_world()
    upload_id = await start_upload(world)
    parts = [(number, await put_part(world, upload_id, number, b"tiny")) for number in (3, 4)]
    answer = await complete(world, upload_id, parts)
    assert (answer.status, answer.code) == (400, "EntityTooSmall")
    found = [answer.text(name) for name in ("PartNumber", "ProposedSize", "MinSizeAllowed")]
    assert found == ["3", "4", str(PART_BYTES_MIN)]


@pytest.mark.parametrize(("method", "query"), [("GET", ""), ("HEAD", ""), ("GET", "?attributes")])
async def test_a_key_for_what_is_not_encrypted_is_refused(method: str, query: str) -> None:
    """A read with x-amz-server-side-encryption-customer-* never looks as if it had decrypted."""
    world = await make_world()
    headers = {
        "x-amz-server-side-encryption-customer-algorithm": "AES256",
        "x-amz-object-attributes": "ETag",
    }
    answer = await world.call(method, f"/bucket/key{query}", headers=headers)
    assert (answer.status, answer.response.error_code) == (400, "InvalidRequest")


async def test_an_empty_content_type_is_none() -> None:
    """The object gets the default, and no answer has an empty header."""
    world = await make_world()
    await world.call("PUT", "/bucket/typeless", body=b"x", headers={"content-type": ""})
    answer = await world.call("GET", "/bucket/typeless")
    assert answer.headers["content-type"] == "binary/octet-stream"


async def test_a_delete_by_size_or_time_passes_where_nothing_is() -> None:
    """DeleteObject: "or if the object doesn't exist, the operation returns a 204"."""
    world = await make_world()
    wrong = {"x-amz-if-match-size": "4"}
    assert (await world.call("DELETE", "/bucket/key", headers=wrong)).status == 412
    old = {"x-amz-if-match-last-modified-time": "2001-01-01T00:00:00Z"}
    assert (await world.call("DELETE", "/bucket/key", headers=old)).status == 412
    for headers in (wrong, old):
        assert (await world.call("DELETE", "/bucket/nothing", headers=headers)).status == 204
    any_etag = {"if-match": "*"}
    assert (await world.call("DELETE", "/bucket/nothing", headers=any_etag)).status == 404


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("", "Invalid copy source bucket name"),
        ("b!/key", "Invalid copy source bucket name"),
        ("bucket", "Invalid copy source object key"),
        ("bucket/", "Invalid copy source object key"),
        ("bucket/%FF", "Invalid copy source encoding"),
    ],
)
async def test_a_copy_source_is_told_what_is_wrong_with_it(source: str, message: str) -> None:
    """InvalidArgument names the header and repeats it, for copies of objects and of parts."""
    world = await make_world()
    upload_id = await start_upload(world)
    for target in ("/bucket/new", f"/bucket/parts?partNumber=1&uploadId={upload_id}"):
        answer = await world.call("PUT", target, headers={"x-amz-copy-source": source})
        assert (answer.status, answer.code) == (400, "InvalidArgument")
        found = [answer.text(name) for name in ("Message", "ArgumentName", "ArgumentValue")]
        assert found == [message, "x-amz-copy-source", source]


async def test_a_part_of_no_upload_is_told_so() -> None:
    """It must not become a whole object, nor a missing one."""
    world = await make_world()
    answer = await world.call("PUT", "/bucket/key?partNumber=1", body=b"x")
    assert (answer.status, answer.code) == (400, "InvalidArgument")
    assert answer.text("Message") == "This operation does not accept partNumber without uploadId"
    assert answer.text("ArgumentName") == "partNumber"


@pytest.mark.parametrize(("key", "is_taken"), [("a b", True), ("a\u00a0b", True), ("a\tb", False)])
async def test_a_tag_may_hold_blanks_but_no_tab(key: str, is_taken: bool) -> None:
    """ "letters, whitespace, and numbers": whitespace is Unicode's separators, no controls."""
    world = await make_world()
    tag = f"<Tag><Key>{key}</Key><Value>v</Value></Tag>"
    body = f"<Tagging><TagSet>{tag}</TagSet></Tagging>".encode()
    answer = await world.call("PUT", "/bucket/key?tagging", body=body)
    assert (answer.status == 200) is is_taken
    if not is_taken:
        assert (answer.code, answer.text("TagKey")) == ("InvalidTag", key)


async def set_versioning(world: S3World, status: str) -> None:
    """Enables or suspends versioning of `bucket`."""
    body = f"<VersioningConfiguration><Status>{status}</Status></VersioningConfiguration>"
    assert (await world.call("PUT", "/bucket?versioning", body=body.encode())).status == 200


async def test_a_writer_to_a_suspended_bucket_is_told_no_version() -> None:
    """PutObject, CopyObject and Complete alike; readers, listings and deletes say `null`."""
    world = await make_world()
    enabled = await world.call("PUT", "/bucket/a", body=b"x")
    assert enabled.headers["x-amz-version-id"] != "null"
    await set_versioning(world, "Suspended")
    upload_id = await start_upload(world)
    etag = await put_part(world, upload_id, 1, b"one")
    source = {"x-amz-copy-source": "/bucket/a"}
    for answer in (
        await world.call("PUT", "/bucket/a", body=b"y"),
        await world.call("PUT", "/bucket/b", headers=source),
        await complete(world, upload_id, [(1, etag)]),
    ):
        assert answer.status == 200
        assert "x-amz-version-id" not in answer.headers
    for key in ("a", "b", "parts"):
        assert (await world.call("HEAD", f"/bucket/{key}")).headers["x-amz-version-id"] == "null"
        gone = await world.call("DELETE", f"/bucket/{key}")
        assert gone.headers["x-amz-version-id"] == "null"
        assert gone.headers["x-amz-delete-marker"] == "true"


async def test_a_bucket_that_only_looks_empty_says_why_it_is_not() -> None:
    """BucketNotEmpty speaks of versions where versioning was ever enabled."""
    world = await make_world()
    await world.call("DELETE", "/bucket/key")
    assert (await world.call("GET", "/bucket?list-type=2")).text("KeyCount") == "0"
    answer = await world.call("DELETE", "/bucket")
    assert (answer.status, answer.code) == (409, "BucketNotEmpty")
    assert answer.text("Message").endswith("You must delete all versions in the bucket.")
    assert answer.text("BucketName") == "bucket"
    await world.call("PUT", "/plain")
    await world.call("PUT", "/plain/key", body=b"x")
    answer = await world.call("DELETE", "/plain")
    assert answer.text("Message") == "The bucket you tried to delete is not empty"
