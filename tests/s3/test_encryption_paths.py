"""An encrypted object is encrypted whichever way it comes, and decrypted whichever way it goes."""

import hashlib
import json

import pytest
from forging import ROWS, Signer, Variant, sign_cell
from s3_world import ALICE, SECRET, S3World

from rs3gwd.base.http import Response
from rs3gwd.testing.memory_keys import MemoryKeys

RULE = (
    b"<ServerSideEncryptionConfiguration><Rule><ApplyServerSideEncryptionByDefault>"
    b"<SSEAlgorithm>AES256</SSEAlgorithm></ApplyServerSideEncryptionByDefault></Rule>"
    b"</ServerSideEncryptionConfiguration>"
)
PREFIX = "x-amz-server-side-encryption"
PUT = next(row for row in ROWS if row.name == "PutObject")
DATA = hashlib.shake_128(b"data").digest(100_000)


async def make_world() -> S3World:
    """alice's `bucket`, whose rule is AES256."""
    world = S3World(keys=MemoryKeys())
    assert (await world.call("PUT", "/bucket")).status == 200
    assert (await world.call("PUT", "/bucket?encryption", body=RULE)).status == 200
    return world


def stored(world: S3World) -> bytes:
    return b"".join(world.store.state.blobs.values())


@pytest.mark.parametrize(
    "variant", [variant for variant in Variant if variant is not Variant.QUERY_V2]
)
async def test_however_a_body_is_signed_it_is_stored_encrypted(variant: Variant) -> None:
    """Header, presigned, signed chunks, trailers: all end in the same stage."""
    world = await make_world()
    signer = Signer.now(world.key_id(ALICE), SECRET)
    cell = sign_cell(PUT, variant, signer, path="/bucket/key", query={})
    answer = await world.send(cell.request())
    assert (answer.status, answer.headers[PREFIX]) == (200, "AES256")
    assert b"<Broken/>" not in stored(world)
    read = await world.call("GET", "/bucket/key")
    assert (read.body, read.headers[PREFIX]) == (b"<Broken/>", "AES256")


@pytest.mark.parametrize("size", [1, 1000, 65_520, 65_536, 100_000])
async def test_nothing_is_answered_at_once_that_must_be_decrypted(size: int) -> None:
    """The short way of the gateway has no answer for it, and a plain one as before."""
    world = await make_world()
    await world.call("PUT", "/bucket/key", body=DATA[:size])
    at_once = world.service.begin(world.request("GET", "/bucket/key"))
    assert not isinstance(at_once, Response)
    response = await at_once
    assert not isinstance(response.body, bytes)
    async with response.body.source as reader:
        assert bytes(await reader.read()) == DATA[:size]
    assert (await world.call("DELETE", "/bucket?encryption")).status == 204
    await world.call("PUT", "/bucket/key", body=DATA[:1000])
    plain = world.service.begin(world.request("GET", "/bucket/key"))
    assert isinstance(plain, Response)
    assert plain.body == DATA[:1000]


async def test_conditions_and_presigned_reads_are_as_ever() -> None:
    """304 and 412 by the ETag, which for AES256 is the MD5; a presigned GET needs no key."""
    world = await make_world()
    await world.call("PUT", "/bucket/key", body=DATA)
    etag = f'"{hashlib.md5(DATA).hexdigest()}"'
    for header, status in (("if-none-match", 304), ("if-match", 200)):
        answer = await world.call("GET", "/bucket/key", headers={header: etag})
        assert answer.status == status
    refused = await world.call("PUT", "/bucket/key", body=b"x", headers={"if-none-match": "*"})
    assert refused.code == "PreconditionFailed"
    assert (await world.send(world.presigned("GET", "/bucket/key"))).body == DATA
    listed = await world.call("GET", "/bucket?list-type=2")
    assert (listed.text("Contents/Size"), listed.text("Contents/ETag")) == (str(len(DATA)), etag)


async def test_versions_are_encrypted_one_by_one() -> None:
    """Each by the rule of its time, and read by its id."""
    world = await make_world()
    status = b"<VersioningConfiguration><Status>Enabled</Status></VersioningConfiguration>"
    await world.call("PUT", "/bucket?versioning", body=status)
    sealed = (await world.call("PUT", "/bucket/key", body=b"first")).headers["x-amz-version-id"]
    await world.call("DELETE", "/bucket?encryption")
    plain = (await world.call("PUT", "/bucket/key", body=b"second")).headers["x-amz-version-id"]
    for version_id, body, shown in ((sealed, b"first", "AES256"), (plain, b"second", None)):
        answer = await world.call("GET", f"/bucket/key?versionId={version_id}")
        assert (answer.body, answer.headers.get(PREFIX)) == (body, shown)


POLICIES = {
    "needs AES256": (
        {"StringNotEquals": {f"s3:{PREFIX}": "AES256"}},
        {"AES256": 200, "aws:kms": 403, "": 403},
    ),
    "needs some": ({"Null": {f"s3:{PREFIX}": "true"}}, {"AES256": 200, "aws:kms": 200, "": 403}),
    "needs a key": (
        {"StringNotEqualsIfExists": {f"s3:{PREFIX}-aws-kms-key-id": "other"}},
        {"AES256": 403, "aws:kms": 403, "": 403},
    ),
    "no customer keys": (
        {"Null": {f"s3:{PREFIX}-customer-algorithm": "false"}},
        {"AES256": 200, "aws:kms": 200, "": 200},
    ),
}


@pytest.mark.parametrize("name", POLICIES)
async def test_a_policy_may_ask_for_encryption(name: str) -> None:
    """The conditions see the headers of the request, as in AWS, and not the rule of the bucket."""
    condition, answers = POLICIES[name]
    world = await make_world()
    policy = {
        "Version": "2012-10-17",
        "Statement": {
            "Effect": "Deny",
            "Principal": "*",
            "Action": "s3:PutObject",
            "Resource": "arn:aws:s3:::bucket/*",
            "Condition": condition,
        },
    }
    body = json.dumps(policy).encode()
    assert (await world.call("PUT", "/bucket?policy", body=body)).status == 204
    for algorithm, status in answers.items():
        headers = {PREFIX: algorithm} if algorithm else {}
        answer = await world.call("PUT", "/bucket/key", body=b"x", headers=headers)
        assert (answer.status, algorithm) == (status, algorithm)
    if name == "no customer keys":
        headers = {f"{PREFIX}-customer-algorithm": "AES256"}
        assert (await world.call("PUT", "/bucket/key", headers=headers)).status == 403


async def test_no_error_repeats_the_key_of_a_caller() -> None:
    """Whatever is wrong with it."""
    world = await make_world()
    secret = "c2VjcmV0IHNlY3JldCBzZWNyZXQgc2VjcmV0IDEyMzQ="
    for key in (secret, secret[:-4], f"{secret}?"):
        headers = {
            f"{PREFIX}-customer-algorithm": "AES256",
            f"{PREFIX}-customer-key": key,
            f"{PREFIX}-customer-key-md5": "AAAAAAAAAAAAAAAAAAAAAA==",
        }
        answer = await world.call("PUT", "/bucket/key", body=b"x", headers=headers)
        assert answer.status == 400
        assert secret[:20].encode() not in answer.body
