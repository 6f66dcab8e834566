"""Whoever does not own a bucket learns nothing of what is in it: every answer is the same one."""

import pytest
from forging import ROWS
from msgspec import structs
from s3_world import ALICE, BOB, Answer, S3World

from rs3gwd.base.records import AccountRecord
from rs3gwd.s3.operations import Level, Operation

IN_BUCKETS = [row for row in ROWS if row.level is not Level.SERVICE and row.name != "CreateBucket"]
IN_OBJECTS = [row for row in IN_BUCKETS if row.level is Level.OBJECT]

PROBES: tuple[dict[str, str], ...] = (
    {},
    {"if-match": "*"},
    {"if-match": '"5d41402abc4b2a76b9719d911017c592"'},
    {"if-none-match": "*"},
    {"if-modified-since": "Thu, 01 Jan 1970 00:00:00 GMT"},
    {"range": "bytes=0-0"},
    {"range": "bytes=1000-"},
    {"x-amz-expected-bucket-owner": "a" * 64},
    {"x-amz-expected-bucket-owner": "c" * 64},
    {"content-md5": "not a digest"},
    {"x-amz-tagging": "%"},
    {"x-amz-storage-class": "NONSENSE"},
    {"x-amz-server-side-encryption": "AES256"},
)
"""Headers whose handling would tell what is there, if it came before permission."""


async def make_world() -> tuple[S3World, str, str]:
    """alice's versioned `bucket`: `key`, `deleted`, `multi` with an upload; bob's `bobs`."""
    world = S3World()
    await world.call("PUT", "/bobs", by=BOB)
    await world.call("PUT", "/bobs/key", body=b"bob", by=BOB)
    await world.call("PUT", "/bucket")
    status = b"<VersioningConfiguration><Status>Enabled</Status></VersioningConfiguration>"
    assert (await world.call("PUT", "/bucket?versioning", body=status)).status == 200
    version_id = (await world.call("PUT", "/bucket/key", body=b"hello")).headers["x-amz-version-id"]
    await world.call("PUT", "/bucket/deleted", body=b"hello")
    await world.call("DELETE", "/bucket/deleted")
    upload_id = (await world.call("POST", "/bucket/multi?uploads")).text("UploadId")
    return world, version_id, upload_id


def refusal_of(answer: Answer, key: str) -> tuple[int, dict[str, str], bytes]:
    """What a stranger sees, without the name they asked for themselves."""
    return answer.status, answer.headers, answer.body.replace(key.encode(), b"KEY")


def query_of(row: Operation, upload_id: str, version_id: str) -> str:
    values = {"uploadId": upload_id, "partNumber": "1", "list-type": "2"}
    parts = [f"{name}={values.get(name, '')}" for name in row.query]
    if version_id:
        parts.append(f"versionId={version_id}")
    return f"?{'&'.join(parts)}" if parts else ""


@pytest.mark.parametrize("stranger", [BOB, None], ids=["bob", "anonymous"])
@pytest.mark.parametrize("row", IN_OBJECTS, ids=lambda row: row.name)
async def test_existing_and_missing_keys_are_the_same_to_a_stranger(
    row: Operation, stranger: AccountRecord | None
) -> None:
    """AccessDenied with one status, the same headers and the same words, whatever is asked."""
    world, version_id, upload_id = await make_world()
    before = world.snapshot()
    seen = set()
    for probe in PROBES:
        for key in ("key", "deleted", "multi", "missing"):
            for version in ("", version_id, "null", "9" * 32):
                for upload in (upload_id, "no-such-upload"):
                    headers = dict(probe)
                    if row.header:
                        headers[row.header] = "bucket/key"
                    target = f"/bucket/{key}{query_of(row, upload, version)}"
                    answer = await world.call(
                        row.method, target, headers=headers, body=b"", by=stranger
                    )
                    assert (answer.status, answer.response.error_code) == (403, "AccessDenied"), (
                        target,
                        answer.body,
                    )
                    status, shown, body = refusal_of(answer, key)
                    seen.add((status, tuple(sorted(shown.items())), body))
    assert len(seen) == 1
    assert {name for name, _ in next(iter(seen))[1]} == {"content-type"}
    assert world.snapshot() == before


@pytest.mark.parametrize("stranger", [BOB, None], ids=["bob", "anonymous"])
async def test_no_operation_on_a_bucket_answers_a_stranger(stranger: AccountRecord | None) -> None:
    """Implemented or not: AccessDenied, and nothing but the region of the endpoint beside it."""
    world, _, upload_id = await make_world()
    before = world.snapshot()
    for row in IN_BUCKETS:
        if row.level is Level.BUCKET:
            target = f"/bucket{query_of(row, upload_id, '')}"
            answer = await world.call(row.method, target, by=stranger)
            assert (answer.status, answer.response.error_code) == (403, "AccessDenied"), row.name
            assert set(answer.headers) == {"content-type", "x-amz-bucket-region"}
    assert world.snapshot() == before


@pytest.mark.parametrize("source", ["key", "deleted", "multi", "missing"])
@pytest.mark.parametrize(
    "condition",
    [
        {},
        {"x-amz-copy-source-if-match": '"5d41402abc4b2a76b9719d911017c592"'},
        {"x-amz-copy-source-if-none-match": "*"},
        {"x-amz-copy-source-if-modified-since": "Thu, 01 Jan 1970 00:00:00 GMT"},
        {"x-amz-copy-source-range": "bytes=0-1000"},
        {"x-amz-source-expected-bucket-owner": "a" * 64},
    ],
    ids=lambda condition: next(iter(condition), "bare").removeprefix("x-amz-"),
)
async def test_a_copy_cannot_read_or_probe_another_accounts_bucket(
    source: str, condition: dict[str, str]
) -> None:
    """bob may write to his bucket, and still not name alice's as the source."""
    world, version_id, _ = await make_world()
    upload_id = (await world.call("POST", "/bobs/part?uploads", by=BOB)).text("UploadId")
    before = world.snapshot()
    bodies = set()
    for spelling in (
        f"/bucket/{source}",
        f"bucket/{source}",
        f"bucket%2F{source}",
        f"%62ucket/{source}",
        f"bucket/{source}?versionId={version_id}",
        f"bucket/{source}?versionId=null",
    ):
        for target in ("/bobs/copy", f"/bobs/part?partNumber=1&uploadId={upload_id}"):
            headers = {"x-amz-copy-source": spelling, **condition}
            answer = await world.call("PUT", target, headers=headers, by=BOB)
            assert (answer.status, answer.code) == (403, "AccessDenied"), (spelling, answer.body)
            assert set(answer.headers) == {"content-type"}
            bodies.add(answer.body.replace(target.partition("?")[0].encode(), b""))
    assert len(bodies) == 1
    assert world.snapshot() == before


@pytest.mark.parametrize(
    ("source", "code"),
    [
        ("bobs/../bucket/key", "NoSuchKey"),
        ("bobs/..%2Fbucket/key", "NoSuchKey"),
        ("bobs/%2e%2e/bucket/key", "NoSuchKey"),
        ("bobs/..\\bucket\\key", "NoSuchKey"),
        ("bobs//key", "NoSuchKey"),
        ("bobs/key%00", "NoSuchKey"),
        ("bobs/key%0d%0ax: y", "NoSuchKey"),
        ("bobs/key%3FversionId=null", "NoSuchKey"),
        ("bobs/key?versionId=null&x=/bucket/key", "InvalidArgument"),
        ("bobs/key?versionId=../../bucket/key", "InvalidArgument"),
        ("bobs/key?acl", "InvalidArgument"),
        ("//bucket/key", "InvalidArgument"),
        ("../bucket/key", "InvalidArgument"),
        ("bobs%00/key", "InvalidArgument"),
        ("bobs\\../bucket/key", "InvalidArgument"),
        ("http://127.0.0.1:9000/bucket/key", "InvalidArgument"),
        ("arn:aws:s3:::bucket/key", "InvalidArgument"),
        ("BUCKET/key", "NoSuchBucket"),
        ("bobs/%ff", "InvalidArgument"),
        ("b%c3%bcbs/key", "InvalidArgument"),
        ("bobs", "InvalidArgument"),
        ("bobs/", "InvalidArgument"),
        ("/", "InvalidArgument"),
    ],
)
async def test_no_spelling_of_a_copy_source_leads_elsewhere(source: str, code: str) -> None:
    """A key is bytes and not a path: nothing is normalised, and what is odd is refused."""
    world, _, _ = await make_world()
    before = world.snapshot()
    headers = {"x-amz-copy-source": source}
    answer = await world.call("PUT", "/bobs/copy", headers=headers, by=BOB)
    assert answer.code == code, answer.body
    assert world.snapshot() == before


@pytest.mark.parametrize(
    ("key", "sent"),
    [
        ("..", ".."),
        ("../bucket/key", "../bucket/key"),
        ("../bucket/key", "%2e%2e/bucket/key"),
        ("../../bucket", "..%2F..%2fbucket"),
        ("..%5Cbucket", "..%5cbucket"),
        ("a%00", "a%00"),
        ("%0D%0A", "%0d%0a"),
    ],
)
async def test_a_path_of_dots_stays_in_its_bucket(key: str, sent: str) -> None:
    """alice's bucket is not reached through bob's, however the same signed path is spelled."""
    world, _, _ = await make_world()
    put = world.request("PUT", f"/bobs/{key}", body=b"bob", by=BOB)
    assert (await world.send(structs.replace(put, raw_path=f"/bobs/{sent}"))).status == 200
    assert (await world.call("GET", f"/bobs/{key}", by=BOB)).body == b"bob"
    assert (await world.call("GET", "/bucket/key")).body == b"hello"
    listed = await world.call("GET", "/bobs?encoding-type=url", by=BOB)
    assert len(listed.texts("Contents/Key")) == 2
    assert (await world.call("GET", f"/bobs/{key}", by=ALICE)).code == "AccessDenied"
