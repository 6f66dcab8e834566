"""A forged signature is refused on every operation, in every way to sign, and nothing happens."""

from collections import Counter

import pytest
from forging import ROWS, Cell, Signer, Variant, forgeries, sign_cell, target_of
from s3_world import ALICE, SECRET, S3World

from rs3gwd.s3.operations import Level, Operation

CELLS_MIN = 10_000
"""What the project promises for one full run."""

_MARKS = {
    "SignatureDoesNotMatch",
    "AccessDenied",
    "InvalidAccessKeyId",
    "RequestTimeTooSkewed",
}
"""The errors of a forged request, status 403. What has no credentials left is anonymous and gets
the second one."""

_MALFORMED = {
    "AuthorizationHeaderMalformed",
    "AuthorizationQueryParametersError",
    "InvalidArgument",
    "InvalidRequest",
    "MissingContentLength",
    "MethodNotAllowed",
    "InvalidBucketName",
}
"""Status 400, 405 or 411: the request is refused for its form before or beside its signature."""


async def make_world() -> tuple[S3World, str]:
    """alice's `bucket` with `key` and an upload of it."""
    world = S3World(presigned_v2_methods=frozenset({"GET", "HEAD", "PUT", "DELETE", "POST"}))
    return world, await add_bucket(world, "bucket")


async def add_bucket(world: S3World, bucket: str) -> str:
    """One more bucket of alice's with `key`, and the id of an upload of it."""
    await world.call("PUT", f"/{bucket}")
    await world.call("PUT", f"/{bucket}/key", body=b"hello")
    return (await world.call("POST", f"/{bucket}/key?uploads")).text("UploadId")


def cell_of(
    world: S3World, upload_id: str, row: Operation, variant: Variant, bucket: str = "bucket"
) -> Cell:
    """The row signed by alice in one way."""
    signer = Signer.now(world.key_id(ALICE), SECRET)
    path, query = target_of(row, bucket=bucket, key="key", upload_id=upload_id)
    return sign_cell(row, variant, signer, path=path, query=query)


@pytest.mark.parametrize("variant", Variant)
async def test_the_unforged_requests_are_let_in(variant: Variant) -> None:
    """Else the refusals below would prove nothing: no row fails for its signature."""
    world, _ = await make_world()
    for number, row in enumerate(ROWS):
        # One of its own, since some of the rows change or remove it.
        bucket = f"bucket-{number}"
        upload_id = await add_bucket(world, bucket)
        answer = await world.send(cell_of(world, upload_id, row, variant, bucket).request())
        if variant is Variant.QUERY_V2 and answer.response.error_code == "AccessDenied":
            # Version 2 does not sign this row's parameter, so such a request is never let in.
            assert b"ParametersNotSigned" in answer.body or row.level is Level.SERVICE
            continue
        assert answer.response.error_code not in _MARKS, (row.name, answer.body)


@pytest.mark.parametrize("variant", Variant)
async def test_a_forged_request_is_refused_and_changes_nothing(variant: Variant) -> None:
    """403 on every row, or a refusal of its form; no body is read, no state is changed."""
    world, upload_id = await make_world()
    before = world.snapshot()
    seen: Counter[str] = Counter()
    for row in ROWS:
        cell = cell_of(world, upload_id, row, variant)
        for what, forged in forgeries(cell):
            request = forged.request()
            answer = await world.send(request)
            code = answer.response.error_code
            seen[code] += 1
            if answer.response.operation == "PostObject":
                continue  # It became a form, whose signature is in a body that nobody reads yet.
            assert code in _MARKS | _MALFORMED, (row.name, what, answer.status, answer.body)
            assert answer.status >= 400
            assert (answer.status == 403) == (code in _MARKS)
            if what.startswith("signature"):
                assert code in _MARKS, (row.name, what, code)
            assert not request.body.received, (row.name, what)  # type: ignore[attr-defined]
        assert world.snapshot() == before, row.name
    assert sum(seen[code] for code in _MARKS) > 0.5 * seen.total()


async def test_there_are_as_many_cells_as_promised() -> None:
    """Operations times ways to sign times forgeries."""
    world, upload_id = await make_world()
    count = sum(
        len(list(forgeries(cell_of(world, upload_id, row, variant))))
        for row in ROWS
        for variant in Variant
    )
    assert count >= CELLS_MIN


_READS_BODY = [
    row
    for row in ROWS
    if row.name
    in (
        *("PutObject", "UploadPart", "CreateBucket", "DeleteObjects", "PutBucketTagging"),
        *("PutBucketVersioning", "PutObjectTagging", "CompleteMultipartUpload"),
    )
]


@pytest.mark.parametrize("row", _READS_BODY, ids=lambda row: row.name)
@pytest.mark.parametrize("variant", [Variant.CHUNKS, Variant.SIGNED_TRAILER])
async def test_no_byte_of_a_signed_stream_can_be_changed(variant: Variant, row: Operation) -> None:
    """Signatures, data and trailer of an aws-chunked body: alter any, and nothing is stored."""
    world, upload_id = await make_world()
    before = world.snapshot()
    cell = cell_of(world, upload_id, row, variant)
    for place in range(len(cell.body)):
        body = bytearray(cell.body)
        body[place] ^= 1
        request = Cell(
            row, variant, cell.method, cell.path, cell.query, cell.headers, bytes(body)
        ).request()
        answer = await world.send(request)
        assert answer.status in (400, 403, 411), (row.name, place, answer.status, answer.body)
        assert world.snapshot() == before, (row.name, place)
