"""boto3, the client most programs use, against a running node over http and TLS."""

import hashlib
import io
import os
import ssl
import urllib.error
import urllib.request
from typing import Any

import pytest
from botocore.exceptions import ClientError
from endpoints import Endpoint, s3_client

MIB = 1 << 20


@pytest.fixture
def s3(endpoint: Endpoint) -> Any:
    """A boto3 client of the endpoint's node."""
    return s3_client(endpoint.node)


def code(caught: pytest.ExceptionInfo[ClientError]) -> tuple[int, str]:
    """The status and the S3 code of an error."""
    answer = caught.value.response
    return answer["ResponseMetadata"]["HTTPStatusCode"], answer["Error"]["Code"]


def fetch(endpoint: Endpoint, url: str, **request: Any) -> tuple[int, bytes]:
    """Status and body of a URL, fetched without any SDK."""
    authority = endpoint.node.authority
    context = ssl.create_default_context(cafile=str(authority)) if authority else None
    try:
        with urllib.request.urlopen(
            urllib.request.Request(url, **request), context=context
        ) as answer:
            return answer.status, answer.read()
    except urllib.error.HTTPError as error:
        return error.code, error.read()


@pytest.mark.parametrize("size", [0, 1, 4096, 65_536, 65_537, 200_000, 5 * MIB + 3])
@pytest.mark.proves("PutObject", "GetObject", "HeadObject")
def test_a_body_of_any_size_comes_back(s3: Any, endpoint: Endpoint, size: int) -> None:
    """Bytes, length, MD5 ETag and metadata of an object come back as they went in."""
    body = os.urandom(size)
    put = s3.put_object(
        Bucket=endpoint.bucket,
        Key="k",
        Body=body,
        Metadata={"colour": "blue"},
        ContentType="text/x-test",
        CacheControl="no-store",
    )
    got = s3.get_object(Bucket=endpoint.bucket, Key="k", ChecksumMode="ENABLED")
    assert got["Body"].read() == body
    assert put["ETag"] == got["ETag"] == f'"{hashlib.md5(body).hexdigest()}"'
    head = s3.head_object(Bucket=endpoint.bucket, Key="k")
    assert (head["ContentLength"], head["Metadata"]) == (size, {"colour": "blue"})
    assert (head["ContentType"], head["CacheControl"]) == ("text/x-test", "no-store")


@pytest.mark.parametrize(
    "key",
    [
        "a",
        "a/b",
        "a//b",
        "/lead",
        "trail/",
        "..",
        "../x",
        "sp ace+plus%25",
        "ünï/çødé/日本",
        "q?x=1&y#z",
        "x" * 1024,
        "é" * 512,
        "\t\n",
        "<&>'\"",
    ],
)
def test_every_awkward_key_works(s3: Any, endpoint: Endpoint, key: str) -> None:
    """A legal key is stored, listed, read and deleted under just that name."""
    s3.put_object(Bucket=endpoint.bucket, Key=key, Body=key.encode())
    listed = s3.list_objects_v2(Bucket=endpoint.bucket)
    assert [each["Key"] for each in listed["Contents"]] == [key]
    assert s3.get_object(Bucket=endpoint.bucket, Key=key)["Body"].read() == key.encode()
    s3.delete_object(Bucket=endpoint.bucket, Key=key)
    assert "Contents" not in s3.list_objects_v2(Bucket=endpoint.bucket)


@pytest.mark.parametrize("algorithm", ["CRC32", "SHA1", "SHA256", "CRC32C", "CRC64NVME"])
def test_each_checksum_is_verified_stored_and_given_back(
    s3: Any, endpoint: Endpoint, algorithm: str
) -> None:
    """A checksum algorithm of S3 works on an object, and a wrong value stores nothing."""
    name = f"Checksum{algorithm}"
    put = s3.put_object(Bucket=endpoint.bucket, Key="k", Body=b"data", ChecksumAlgorithm=algorithm)
    head = s3.head_object(Bucket=endpoint.bucket, Key="k", ChecksumMode="ENABLED")
    assert head[name] == put[name]
    wrong = put[name][::-1] if not put[name].endswith("=") else "A" + put[name][1:]
    with pytest.raises(ClientError) as caught:
        s3.put_object(Bucket=endpoint.bucket, Key="wrong", Body=b"data", **{name: wrong})
    assert code(caught)[0] == 400
    assert s3.list_objects_v2(Bucket=endpoint.bucket)["KeyCount"] == 1


@pytest.mark.proves("CreateMultipartUpload", "UploadPart", "ListParts", "CompleteMultipartUpload")
def test_a_multipart_upload_makes_one_object(s3: Any, endpoint: Endpoint) -> None:
    """Parts become one object, readable whole, by range across parts and by part number."""
    where = {"Bucket": endpoint.bucket, "Key": "multi"}
    upload = {**where, "UploadId": s3.create_multipart_upload(**where)["UploadId"]}
    bodies = [os.urandom(5 * MIB), os.urandom(5 * MIB + 1), os.urandom(77)]
    parts = [
        {"PartNumber": n, "ETag": s3.upload_part(**upload, PartNumber=n, Body=body)["ETag"]}
        for n, body in zip((1, 2, 7), bodies, strict=True)
    ]
    listed = s3.list_parts(**upload)
    assert [each["Size"] for each in listed["Parts"]] == [len(body) for body in bodies]
    done = s3.complete_multipart_upload(**upload, MultipartUpload={"Parts": parts})
    digests = b"".join(hashlib.md5(body).digest() for body in bodies)
    assert done["ETag"] == f'"{hashlib.md5(digests).hexdigest()}-3"'
    whole = b"".join(bodies)
    assert s3.get_object(**where)["Body"].read() == whole
    across = s3.get_object(**where, Range=f"bytes={5 * MIB - 10}-{5 * MIB + 9}")
    assert across["Body"].read() == whole[5 * MIB - 10 : 5 * MIB + 10]
    second = s3.get_object(**where, PartNumber=2)
    assert (second["Body"].read(), second["PartsCount"]) == (bodies[1], 3)
    assert "Uploads" not in s3.list_multipart_uploads(Bucket=endpoint.bucket)


@pytest.mark.proves("AbortMultipartUpload", "ListMultipartUploads")
def test_an_aborted_upload_leaves_nothing(s3: Any, endpoint: Endpoint) -> None:
    """After an abort neither the upload nor an object is there."""
    where = {"Bucket": endpoint.bucket, "Key": "multi"}
    upload = {**where, "UploadId": s3.create_multipart_upload(**where)["UploadId"]}
    s3.upload_part(**upload, PartNumber=1, Body=b"x")
    assert len(s3.list_multipart_uploads(Bucket=endpoint.bucket)["Uploads"]) == 1
    s3.abort_multipart_upload(**upload)
    assert "Uploads" not in s3.list_multipart_uploads(Bucket=endpoint.bucket)
    with pytest.raises(ClientError) as caught:
        s3.upload_part(**upload, PartNumber=1, Body=b"x")
    assert code(caught) == (404, "NoSuchUpload")


def test_the_transfer_manager_uploads_downloads_and_copies(s3: Any, endpoint: Endpoint) -> None:
    """upload_fileobj, copy and download_fileobj choose multipart by themselves and agree."""
    body = os.urandom(20 * MIB + 5)
    s3.upload_fileobj(io.BytesIO(body), endpoint.bucket, "one")
    s3.copy({"Bucket": endpoint.bucket, "Key": "one"}, endpoint.bucket, "two")
    back = io.BytesIO()
    s3.download_fileobj(endpoint.bucket, "two", back)
    assert back.getvalue() == body


@pytest.mark.proves(
    "PutBucketVersioning", "GetBucketVersioning", "ListObjectVersions", "DeleteObject"
)
def test_versions_are_kept_hidden_and_removed(s3: Any, endpoint: Endpoint) -> None:
    """Every version is kept, a delete adds a marker, and removing that brings back the last."""
    bucket = endpoint.bucket
    s3.put_object(Bucket=bucket, Key="k", Body=b"null")
    s3.put_bucket_versioning(Bucket=bucket, VersioningConfiguration={"Status": "Enabled"})
    assert s3.get_bucket_versioning(Bucket=bucket)["Status"] == "Enabled"
    ids = [s3.put_object(Bucket=bucket, Key="k", Body=body)["VersionId"] for body in (b"1", b"2")]
    marker = s3.delete_object(Bucket=bucket, Key="k")
    assert marker["DeleteMarker"] is True
    with pytest.raises(ClientError) as caught:
        s3.get_object(Bucket=bucket, Key="k")
    assert code(caught) == (404, "NoSuchKey")
    page = s3.list_object_versions(Bucket=bucket)
    assert [each["VersionId"] for each in page["Versions"]] == [ids[1], ids[0], "null"]
    assert page["DeleteMarkers"][0]["IsLatest"] is True
    s3.delete_object(Bucket=bucket, Key="k", VersionId=marker["VersionId"])
    assert s3.get_object(Bucket=bucket, Key="k")["Body"].read() == b"2"
    assert s3.get_object(Bucket=bucket, Key="k", VersionId="null")["Body"].read() == b"null"
    s3.put_bucket_versioning(Bucket=bucket, VersioningConfiguration={"Status": "Suspended"})
    s3.put_object(Bucket=bucket, Key="k", Body=b"new null")
    assert s3.get_object(Bucket=bucket, Key="k", VersionId="null")["Body"].read() == b"new null"
    assert len(s3.list_object_versions(Bucket=bucket)["Versions"]) == 3


def test_conditional_writes_have_one_winner(s3: Any, endpoint: Endpoint) -> None:
    """If-None-Match creates only, If-Match swaps only, and a loser changes nothing."""
    where = {"Bucket": endpoint.bucket, "Key": "k"}
    first = s3.put_object(**where, Body=b"1", IfNoneMatch="*")["ETag"]
    with pytest.raises(ClientError) as caught:
        s3.put_object(**where, Body=b"2", IfNoneMatch="*")
    assert code(caught) == (412, "PreconditionFailed")
    s3.put_object(**where, Body=b"3", IfMatch=first)
    with pytest.raises(ClientError) as caught:
        s3.put_object(**where, Body=b"4", IfMatch=first)
    assert code(caught) == (412, "PreconditionFailed")
    with pytest.raises(ClientError) as caught:
        s3.put_object(Bucket=endpoint.bucket, Key="missing", Body=b"5", IfMatch=first)
    assert code(caught) == (404, "NoSuchKey")
    assert s3.get_object(**where)["Body"].read() == b"3"


@pytest.mark.proves("ListObjectsV2", "ListObjects", "DeleteObjects")
def test_listings_page_roll_up_and_empty(s3: Any, endpoint: Endpoint) -> None:
    """Pages give each key once, a delimiter rolls up, and DeleteObjects empties the bucket."""
    keys = [f"{folder}/{n:03d}" for folder in ("a", "b", "c") for n in range(40)] + ["z"]
    for key in keys:
        s3.put_object(Bucket=endpoint.bucket, Key=key, Body=b"")
    for operation in ("list_objects", "list_objects_v2"):
        pages = s3.get_paginator(operation).paginate(
            Bucket=endpoint.bucket, PaginationConfig={"PageSize": 7}
        )
        assert [each["Key"] for page in pages for each in page.get("Contents", [])] == keys
    rolled = s3.list_objects_v2(Bucket=endpoint.bucket, Delimiter="/")
    assert [each["Prefix"] for each in rolled["CommonPrefixes"]] == ["a/", "b/", "c/"]
    assert [each["Key"] for each in rolled["Contents"]] == ["z"]
    gone = s3.delete_objects(
        Bucket=endpoint.bucket, Delete={"Objects": [{"Key": key} for key in [*keys, "never there"]]}
    )
    assert len(gone["Deleted"]) == len(keys) + 1
    assert s3.list_objects_v2(Bucket=endpoint.bucket)["KeyCount"] == 0


@pytest.mark.parametrize("version", ["s3", "s3v4"])
def test_presigned_urls_work_until_altered(endpoint: Endpoint, version: str) -> None:
    """A presigned GET of both signature versions works; with one character changed it does not."""
    s3 = s3_client(endpoint.node, signature_version=version)
    s3_client(endpoint.node).put_object(Bucket=endpoint.bucket, Key="a b", Body=b"hello")
    where = {"Bucket": endpoint.bucket, "Key": "a b", "ResponseContentType": "text/x-other"}
    url = s3.generate_presigned_url("get_object", Params=where, ExpiresIn=60)
    assert fetch(endpoint, url) == (200, b"hello")
    status, body = fetch(endpoint, url.replace("x-other", "x-othes"))
    assert status == 403
    assert b"<Code>SignatureDoesNotMatch</Code>" in body


def test_a_presigned_put_stores(endpoint: Endpoint) -> None:
    """A presigned SigV4 PUT stores the body of whoever holds the URL."""
    s3 = s3_client(endpoint.node, signature_version="s3v4")
    url = s3.generate_presigned_url("put_object", Params={"Bucket": endpoint.bucket, "Key": "k"})
    assert fetch(endpoint, url, data=b"hello", method="PUT", headers={"Content-Type": ""})[0] == 200
    assert s3.get_object(Bucket=endpoint.bucket, Key="k")["Body"].read() == b"hello"


@pytest.mark.proves("CopyObject", "UploadPartCopy")
def test_copies_keep_or_replace_metadata(s3: Any, endpoint: Endpoint) -> None:
    """CopyObject carries metadata unless told to replace it; UploadPartCopy takes ranges."""
    bucket, body = endpoint.bucket, os.urandom(6 * MIB)
    s3.put_object(Bucket=bucket, Key="from", Body=body, Metadata={"a": "1"}, Tagging="t=1")
    source = {"Bucket": bucket, "Key": "from"}
    s3.copy_object(Bucket=bucket, Key="kept", CopySource=source)
    assert s3.head_object(Bucket=bucket, Key="kept")["Metadata"] == {"a": "1"}
    assert s3.get_object_tagging(Bucket=bucket, Key="kept")["TagSet"] == [
        {"Key": "t", "Value": "1"}
    ]
    s3.copy_object(
        Bucket=bucket,
        Key="from",
        CopySource=source,
        Metadata={"b": "2"},
        MetadataDirective="REPLACE",
    )
    assert s3.head_object(Bucket=bucket, Key="from")["Metadata"] == {"b": "2"}
    where = {"Bucket": bucket, "Key": "parts"}
    upload = {**where, "UploadId": s3.create_multipart_upload(**where)["UploadId"]}
    etags = []
    for number, extent in ((1, f"0-{5 * MIB - 1}"), (2, f"{5 * MIB}-{6 * MIB - 1}")):
        copied = s3.upload_part_copy(
            **upload, PartNumber=number, CopySource=source, CopySourceRange=f"bytes={extent}"
        )
        etags.append({"PartNumber": number, "ETag": copied["CopyPartResult"]["ETag"]})
    s3.complete_multipart_upload(**upload, MultipartUpload={"Parts": etags})
    assert s3.get_object(**where)["Body"].read() == body


@pytest.mark.proves(
    "PutObjectTagging",
    "GetObjectTagging",
    "DeleteObjectTagging",
    "PutBucketTagging",
    "GetBucketTagging",
    "DeleteBucketTagging",
)
def test_tags_of_objects_and_buckets(s3: Any, endpoint: Endpoint) -> None:
    """Tag sets are stored, given back and removed."""
    where = {"Bucket": endpoint.bucket, "Key": "k"}
    tags = [{"Key": "a", "Value": "1"}, {"Key": "b", "Value": ""}]
    s3.put_object(**where, Body=b"x")
    s3.put_object_tagging(**where, Tagging={"TagSet": tags})
    assert s3.get_object_tagging(**where)["TagSet"] == tags
    s3.delete_object_tagging(**where)
    assert s3.get_object_tagging(**where)["TagSet"] == []
    s3.put_bucket_tagging(Bucket=endpoint.bucket, Tagging={"TagSet": tags})
    assert s3.get_bucket_tagging(Bucket=endpoint.bucket)["TagSet"] == tags
    s3.delete_bucket_tagging(Bucket=endpoint.bucket)
    with pytest.raises(ClientError) as caught:
        s3.get_bucket_tagging(Bucket=endpoint.bucket)
    assert code(caught) == (404, "NoSuchTagSet")


@pytest.mark.proves("GetObjectAttributes")
def test_object_attributes(s3: Any, endpoint: Endpoint) -> None:
    """GetObjectAttributes tells size, ETag and checksum."""
    s3.put_object(Bucket=endpoint.bucket, Key="k", Body=b"data", ChecksumAlgorithm="SHA256")
    told = s3.get_object_attributes(
        Bucket=endpoint.bucket, Key="k", ObjectAttributes=["ETag", "ObjectSize", "Checksum"]
    )
    assert told["ObjectSize"] == 4
    assert told["ETag"] == hashlib.md5(b"data").hexdigest()
    assert "ChecksumSHA256" in told["Checksum"]


@pytest.mark.proves(
    "CreateBucket", "HeadBucket", "ListBuckets", "DeleteBucket", "GetBucketLocation"
)
def test_buckets_are_made_listed_and_removed(s3: Any, endpoint: Endpoint) -> None:
    """A bucket is made once and again by its owner, listed, and removed only when empty."""
    bucket = endpoint.bucket
    s3.create_bucket(Bucket=bucket)
    assert bucket in [each["Name"] for each in s3.list_buckets()["Buckets"]]
    assert s3.head_bucket(Bucket=bucket)["BucketRegion"] == "us-east-1"
    assert s3.get_bucket_location(Bucket=bucket)["LocationConstraint"] is None
    s3.put_object(Bucket=bucket, Key="k", Body=b"")
    with pytest.raises(ClientError) as caught:
        s3.delete_bucket(Bucket=bucket)
    assert code(caught) == (409, "BucketNotEmpty")
    s3.delete_object(Bucket=bucket, Key="k")
    s3.delete_bucket(Bucket=bucket)
    with pytest.raises(ClientError) as caught:
        s3.list_objects_v2(Bucket=bucket)
    assert code(caught) == (404, "NoSuchBucket")


def test_what_is_missing_answers_501(s3: Any, endpoint: Endpoint) -> None:
    """An operation that is not done says so, instead of pretending."""
    with pytest.raises(ClientError) as caught:
        s3.get_bucket_intelligent_tiering_configuration(Bucket=endpoint.bucket, Id="x")
    assert code(caught) == (501, "NotImplemented")


def test_a_wrong_secret_is_refused(endpoint: Endpoint) -> None:
    """A signature made with another secret is refused with AWS's code."""
    s3 = s3_client(endpoint.node)
    s3._request_signer._credentials.secret_key = "wrong"
    with pytest.raises(ClientError) as caught:
        s3.list_buckets()
    assert code(caught) == (403, "SignatureDoesNotMatch")


def test_an_anonymous_request_is_denied(endpoint: Endpoint) -> None:
    """Without a signature only the owner's absence is seen: AccessDenied."""
    status, body = fetch(endpoint, f"{endpoint.node.url}/{endpoint.bucket}/k")
    assert (status, b"<Code>AccessDenied</Code>" in body) == (403, True)
