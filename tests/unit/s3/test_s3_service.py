"""Who may ask for what, before any handler runs."""

import msgspec
import pytest
from s3_world import ALICE, BOB, S3World

from rs3gwd.base.records import AccessKeyStatus, BucketRecord
from rs3gwd.s3.operations import OPERATIONS, Level

PATHS = {Level.SERVICE: "/", Level.BUCKET: "/bucket", Level.OBJECT: "/bucket/key"}
UNDONE = [row for row in OPERATIONS if row.handler is None and not row.alias_of and row.in_model]


@pytest.fixture
async def world() -> S3World:
    """A store in which alice owns `bucket`."""
    made = S3World()
    assert (await made.call("PUT", "/bucket")).status == 200
    return made


def _target_of(operation: str) -> tuple[str, str, dict[str, str]]:
    row = next(row for row in UNDONE if row.name == operation)
    path = "/WriteGetObjectResponse" if row.header.endswith("route") else PATHS[row.level]
    query = "&".join(f"{name}=1" for name in row.query)
    return row.method, f"{path}?{query}", {row.header: "x"} if row.header else {}


@pytest.mark.parametrize("operation", [row.name for row in UNDONE])
async def test_an_operation_without_a_handler_is_not_implemented(
    world: S3World, operation: str
) -> None:
    """501 to the owner; to anyone else the answer is that they may not."""
    method, target, headers = _target_of(operation)
    answer = await world.call(method, target, headers=headers)
    assert answer.response.error_code == "NotImplemented"
    assert (answer.status, answer.response.operation) == (501, operation)
    anonymous = await world.call(method, target, headers=headers, by=None)
    assert (anonymous.status, anonymous.response.error_code) == (403, "AccessDenied")


@pytest.mark.parametrize(
    ("method", "target"),
    [
        ("GET", "/bucket"),
        ("HEAD", "/bucket"),
        ("DELETE", "/bucket"),
        ("GET", "/bucket?versioning"),
        ("PUT", "/bucket/key"),
        ("GET", "/bucket/key"),
        ("GET", "/bucket/missing"),
        ("DELETE", "/bucket/key"),
        ("POST", "/bucket?delete"),
    ],
)
async def test_only_the_owner_gets_in(world: S3World, method: str, target: str) -> None:
    """Neither another account nor an anonymous caller learns whether there is such an object."""
    for by in (BOB, None):
        answer = await world.call(method, target, by=by)
        assert (answer.status, answer.response.error_code) == (403, "AccessDenied")


async def test_the_body_of_a_refused_request_is_not_asked_for(world: S3World) -> None:
    """A client that waits for 100-continue keeps its bytes."""
    request = world.request("PUT", "/bucket/key", body=b"x" * 1000, by=BOB)
    assert (await world.send(request)).status == 403
    assert request.body.received == 0  # type: ignore[attr-defined]


async def test_a_missing_bucket_is_missing_for_everyone(world: S3World) -> None:
    """Names are shared by all accounts, so this tells nothing."""
    for by in (ALICE, BOB, None):
        answer = await world.call("GET", "/missing-bucket/key", by=by)
        assert (answer.status, answer.code) == (404, "NoSuchBucket")
        assert answer.text("BucketName") == "missing-bucket"


async def test_a_legacy_bucket_name_is_missing_and_not_invalid(world: S3World) -> None:
    """It was legal once, so the question is a fair one."""
    assert (await world.call("GET", "/My_Bucket")).code == "NoSuchBucket"


async def test_the_expected_owner_must_be_the_owner(world: S3World) -> None:
    """The caller names whom they believe to talk to; a mistake is 403 and changes nothing."""
    right = {"x-amz-expected-bucket-owner": ALICE.canonical_id}
    wrong = {"x-amz-expected-bucket-owner": BOB.canonical_id}
    assert (await world.call("HEAD", "/bucket", headers=right)).status == 200
    answer = await world.call("DELETE", "/bucket", headers=wrong)
    assert (answer.status, answer.code) == (403, "AccessDenied")
    assert (await world.call("HEAD", "/bucket")).status == 200


async def test_a_wrong_signature_is_refused_before_the_bucket_is_looked_up(world: S3World) -> None:
    """The answer is the same whether or not there is such a bucket."""
    for path in ("/bucket", "/missing-bucket"):
        request = world.request("GET", path)
        forged = request.headers["authorization"][:-4] + "0000"
        answer = await world.send(
            msgspec.structs.replace(request, headers={**request.headers, "authorization": forged})
        )
        assert (answer.status, answer.code) == (403, "SignatureDoesNotMatch")


async def test_an_inactive_key_opens_nothing(world: S3World) -> None:
    """It is known and refused like an unknown one."""
    key_id = world.key_id(ALICE)
    key = world.store.directory.access_key(key_id)
    assert key is not None
    world.store.directory.add_access_key(
        msgspec.structs.replace(key, status=AccessKeyStatus.INACTIVE)
    )
    assert (await world.call("GET", "/bucket")).code == "InvalidAccessKeyId"


async def test_a_presigned_request_is_the_signer_s(world: S3World) -> None:
    """The query carries the signature."""
    assert (await world.send(world.presigned("GET", "/bucket?list-type=2"))).status == 200


async def test_a_header_moved_into_a_presigned_query_counts_as_header(world: S3World) -> None:
    """An expected owner in the query is checked as if it stood in a header."""
    for owner, status in ((ALICE, 200), (BOB, 403)):
        target = f"/bucket?list-type=2&x-amz-expected-bucket-owner={owner.canonical_id}"
        assert (await world.send(world.presigned("GET", target))).status == status


async def test_a_response_is_labelled_for_log_and_metrics(world: S3World) -> None:
    """Operation, principal and error code, whether it went well or not."""
    good = (await world.call("GET", "/bucket")).response
    assert (good.operation, good.principal, good.error_code) == (
        "ListObjects",
        world.key_id(ALICE),
        "",
    )
    bad = (await world.call("GET", "/bucket?max-keys=x")).response
    assert (bad.operation, bad.principal, bad.error_code) == (
        "ListObjects",
        world.key_id(ALICE),
        "InvalidArgument",
    )
    unknown = (await world.call("PATCH", "/bucket", by=None)).response
    assert (unknown.operation, unknown.principal) == ("Unknown", "")


async def test_a_bug_passes_through_to_the_gateway(world: S3World) -> None:
    """What is no error of ours is not dressed up as one."""

    def broken(name: str) -> BucketRecord:
        raise ZeroDivisionError

    world.store.lookups.get_bucket = broken  # type: ignore[method-assign]
    with pytest.raises(ZeroDivisionError):
        await world.call("GET", "/bucket")


async def test_a_bucket_is_served_by_host_name() -> None:
    """Virtual-host style, signed for that host."""
    world = S3World(domains=("s3.example.com",))
    host = "bucket.s3.example.com"
    assert (await world.call("PUT", "/", host=host)).status == 200
    assert (await world.call("GET", "/?location", host=host)).status == 200
    assert (await world.call("HEAD", "/bucket")).status == 200


async def test_a_store_that_must_wait_before_it_reads_is_waited_for(world: S3World) -> None:
    """Permission, look-up and answer are those of a store that need not."""
    await world.call("PUT", "/bucket/key", body=b"hello")
    at_once = await world.call("GET", "/bucket/key")
    world.store.lookups_now = lambda: None  # type: ignore[method-assign]
    waited = await world.call("GET", "/bucket/key")
    assert (waited.status, waited.body, waited.headers) == (200, b"hello", at_once.headers)
    assert (await world.call("GET", "/bucket/key", by=BOB)).code == "AccessDenied"
    assert (await world.call("GET", "/bucket/none")).code == "NoSuchKey"
