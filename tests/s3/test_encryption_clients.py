"""Encryption through boto3: what its parameters ask for is done, and said in what it reads back."""

import hashlib
import json
from typing import Any

import pytest
from botocore.exceptions import ClientError
from iam_endpoint import IamEndpoint
from s3_world import S3World

from rs3gwd.base.limits import PART_BYTES_MIN
from rs3gwd.testing.memory_keys import MemoryKeys

DATA = hashlib.shake_128(b"data").digest(150_000)
PART = hashlib.shake_128(b"part").digest(PART_BYTES_MIN)
OWN = {"SSECustomerAlgorithm": "AES256", "SSECustomerKey": "1" * 32}
OTHER = {"SSECustomerAlgorithm": "AES256", "SSECustomerKey": "2" * 32}
KINDS: dict[str, dict[str, Any]] = {
    "none": {},
    "sse-s3": {"ServerSideEncryption": "AES256"},
    "sse-kms": {
        "ServerSideEncryption": "aws:kms",
        "SSEKMSKeyId": "my-key",
        "SSEKMSEncryptionContext": "eyJhIjoiYiJ9",
        "BucketKeyEnabled": True,
    },
    "sse-c": OWN,
}


@pytest.fixture
def keys() -> MemoryKeys:
    """Keys with one that is called `my-key`."""
    made = MemoryKeys()
    made.keys["my-key"] = b"k" * 32
    return made


@pytest.fixture
def s3(keys: MemoryKeys) -> Any:
    """A client with the bucket `bucket`."""
    world = S3World(keys=keys, takes_customer_keys_in_clear=True)
    client = IamEndpoint(world).client("s3")
    client.create_bucket(Bucket="bucket")
    return client


def refusal(call: Any, **arguments: Any) -> tuple[int, str]:
    """Status and code of the error of a call."""
    with pytest.raises(ClientError) as caught:
        call(Bucket="bucket", **arguments)
    response = caught.value.response
    return response["ResponseMetadata"]["HTTPStatusCode"], response["Error"]["Code"]


def to_read(kind: str) -> dict[str, Any]:
    return OWN if kind == "sse-c" else {}


def shown(answer: dict[str, Any]) -> dict[str, Any]:
    """What an answer says of the encryption, without the keys' MD5."""
    names = ("ServerSideEncryption", "SSEKMSKeyId", "BucketKeyEnabled", "SSECustomerAlgorithm")
    return {name: answer[name] for name in names if answer.get(name)}


@pytest.mark.parametrize("kind", KINDS)
def test_an_object_of_each_kind_is_read_back(s3: Any, kind: str) -> None:
    """Whole, in ranges, by HEAD; boto3 checks the checksum that it asks for."""
    wish, read = KINDS[kind], to_read(kind)
    put = s3.put_object(Bucket="bucket", Key="k", Body=DATA, **wish)
    expected = {name: value for name, value in wish.items() if name != "SSEKMSEncryptionContext"}
    expected.pop("SSECustomerKey", None)
    assert shown(put) == expected
    assert put.get("SSEKMSEncryptionContext") == wish.get("SSEKMSEncryptionContext")
    got = s3.get_object(Bucket="bucket", Key="k", ChecksumMode="ENABLED", **read)
    assert (got["Body"].read(), shown(got)) == (DATA, expected)
    head = s3.head_object(Bucket="bucket", Key="k", **read)
    assert shown(head) == expected
    for wanted, start, end in (("0-9", 0, 10), ("65530-65545", 65530, 65546), ("-5", -5, None)):
        part = s3.get_object(Bucket="bucket", Key="k", Range=f"bytes={wanted}", **read)
        assert part["Body"].read() == DATA[start:end]


@pytest.mark.parametrize("kind", KINDS)
def test_an_upload_in_parts_of_each_kind_is_read_back(s3: Any, kind: str) -> None:
    """Every answer on the way says how it is encrypted; a part is read by its number."""
    wish, again = KINDS[kind], to_read(kind)
    upload = s3.create_multipart_upload(Bucket="bucket", Key="k", **wish)
    where = {"Bucket": "bucket", "Key": "k", "UploadId": upload["UploadId"]}
    parts = []
    for number, body in ((1, PART), (2, DATA)):
        sent = s3.upload_part(**where, PartNumber=number, Body=body, **again)
        assert shown(sent) == shown(upload)
        parts.append({"PartNumber": number, "ETag": sent["ETag"]})
    listed = s3.list_parts(**where)["Parts"]
    assert [part["Size"] for part in listed] == [len(PART), len(DATA)]
    done = s3.complete_multipart_upload(**where, MultipartUpload={"Parts": parts})
    # Complete has no key of a caller, and AWS's answer says nothing of one.
    assert shown(done) == ({} if kind == "sse-c" else shown(upload))
    assert s3.get_object(Bucket="bucket", Key="k", **again)["Body"].read() == PART + DATA
    second = s3.get_object(Bucket="bucket", Key="k", PartNumber=2, **again)
    assert second["Body"].read() == DATA


@pytest.mark.parametrize("source", KINDS)
@pytest.mark.parametrize("target", KINDS)
def test_a_copy_between_all_kinds(s3: Any, source: str, target: str) -> None:
    """With the source's key where it has one."""
    s3.put_object(Bucket="bucket", Key="from", Body=DATA, **KINDS[source])
    from_key = {f"CopySource{name}": value for name, value in to_read(source).items()}
    wish = OTHER if target == "sse-c" else KINDS[target]
    s3.copy_object(Bucket="bucket", Key="to", CopySource="bucket/from", **from_key, **wish)
    read = OTHER if target == "sse-c" else {}
    assert s3.get_object(Bucket="bucket", Key="to", **read)["Body"].read() == DATA


def test_the_wrong_key_and_none_are_told_apart(s3: Any) -> None:
    """403 and 400, for reads, and 400 for a key that nobody wants."""
    s3.put_object(Bucket="bucket", Key="k", Body=DATA, **OWN)
    assert refusal(s3.get_object, Key="k") == (400, "InvalidRequest")
    assert refusal(s3.get_object, Key="k", **OTHER) == (403, "AccessDenied")
    assert refusal(s3.head_object, Key="k")[0] == 400
    assert refusal(s3.head_object, Key="k", **OTHER)[0] == 403
    s3.put_object(Bucket="bucket", Key="k", Body=DATA)
    assert refusal(s3.get_object, Key="k", **OWN) == (400, "InvalidRequest")


def test_keys_that_are_missing_or_disabled(s3: Any, keys: MemoryKeys) -> None:
    """By AWS's names; the bytes are never given out instead."""
    wish = {"ServerSideEncryption": "aws:kms", "SSEKMSKeyId": "nowhere"}
    assert refusal(s3.put_object, Key="k", Body=b"", **wish) == (400, "KMS.NotFoundException")
    s3.put_object(Bucket="bucket", Key="k", Body=DATA, **KINDS["sse-kms"])
    keys.keys["my-key"] = None
    assert refusal(s3.get_object, Key="k") == (400, "KMS.DisabledException")
    wish = {"ServerSideEncryption": "aws:kms:dsse"}
    assert refusal(s3.put_object, Key="k", Body=b"", **wish) == (501, "NotImplemented")


@pytest.mark.proves("PutBucketEncryption", "GetBucketEncryption", "DeleteBucketEncryption")
def test_the_rule_of_a_bucket(s3: Any) -> None:
    """boto3 reads back what it put, and objects are encrypted by it."""
    rule = {
        "ApplyServerSideEncryptionByDefault": {
            "SSEAlgorithm": "aws:kms",
            "KMSMasterKeyID": "my-key",
        },
        "BucketKeyEnabled": True,
        "BlockedEncryptionTypes": {"EncryptionType": ["SSE-C"]},
    }
    wanted = {"Rules": [rule]}
    s3.put_bucket_encryption(Bucket="bucket", ServerSideEncryptionConfiguration=wanted)
    found = s3.get_bucket_encryption(Bucket="bucket")["ServerSideEncryptionConfiguration"]
    assert found == wanted
    put = s3.put_object(Bucket="bucket", Key="k", Body=DATA)
    assert shown(put) == {
        "ServerSideEncryption": "aws:kms",
        "SSEKMSKeyId": "my-key",
        "BucketKeyEnabled": True,
    }
    assert refusal(s3.put_object, Key="c", Body=b"", **OWN) == (403, "AccessDenied")
    s3.delete_bucket_encryption(Bucket="bucket")
    code = "ServerSideEncryptionConfigurationNotFoundError"
    assert refusal(s3.get_bucket_encryption) == (404, code)
    assert shown(s3.put_object(Bucket="bucket", Key="k", Body=DATA)) == {}


def test_versions_keep_the_encryption_of_their_time(s3: Any) -> None:
    """Each is read by its id, with the key that it was written with."""
    versioning = {"Status": "Enabled"}
    s3.put_bucket_versioning(Bucket="bucket", VersioningConfiguration=versioning)
    made = {
        kind: s3.put_object(Bucket="bucket", Key="k", Body=kind.encode(), **wish)["VersionId"]
        for kind, wish in KINDS.items()
    }
    for kind, version_id in made.items():
        got = s3.get_object(Bucket="bucket", Key="k", VersionId=version_id, **to_read(kind))
        assert got["Body"].read() == kind.encode()


def test_a_policy_may_demand_a_kind(s3: Any) -> None:
    """AWS's own example: no PutObject without SSE-KMS."""
    statement = {
        "Effect": "Deny",
        "Principal": "*",
        "Action": "s3:PutObject",
        "Resource": "arn:aws:s3:::bucket/*",
        "Condition": {"StringNotEquals": {"s3:x-amz-server-side-encryption": "aws:kms"}},
    }
    policy = json.dumps({"Version": "2012-10-17", "Statement": [statement]})
    s3.put_bucket_policy(Bucket="bucket", Policy=policy)
    assert refusal(s3.put_object, Key="k", Body=b"") == (403, "AccessDenied")
    s3.put_object(Bucket="bucket", Key="k", Body=b"", **KINDS["sse-kms"])
