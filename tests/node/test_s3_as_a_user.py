"""What a user of AWS takes for granted, asked of a running node, and of three, through boto3 alone.

The same for the whole file: every test has a bucket of its own and none stops the node.
"""

import itertools
import json
import socket
import subprocess
import sys
import urllib.request
import uuid
from collections.abc import Iterator
from typing import Any

import boto3
import pytest
from botocore.config import Config
from botocore.exceptions import ClientError
from node_clients import s3_of

from rs3gwd.testing.cluster_process import ClusterProcess
from rs3gwd.testing.node_process import ACCESS_KEY, REGION, SECRET_KEY, NodeProcess

DOMAIN = "s3.rs3gw.localhost"
KEYS = ["a", "a/", "a/b", "a/b/c", "a//d", "b+", "c d", "dü", "dü/x", "g/1", "g/2", "h::1", "z"]
PREFIXES = ["", "a", "a/", "a/b", "dü", "h:", "zz"]
DELIMITERS = ["", "/", "::", "b"]


@pytest.fixture(scope="module", params=[NodeProcess, ClusterProcess], ids=["one", "three"])
def node(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[NodeProcess | ClusterProcess]:
    """A node that serves buckets below DOMAIN too, and three nodes that do."""
    data = tmp_path_factory.mktemp("user") / "data"
    with request.param(data, environ={"RS3GW_VIRTUAL_HOST_DOMAINS": DOMAIN}) as running:
        yield running


@pytest.fixture
def s3(node: NodeProcess) -> Any:
    """A boto3 client of the root account."""
    return s3_of(node)


@pytest.fixture
def bucket(s3: Any) -> str:
    """A new bucket."""
    name = f"user-{uuid.uuid4().hex[:12]}"
    s3.create_bucket(Bucket=name)
    return name


@pytest.fixture
def local_names(monkeypatch: pytest.MonkeyPatch) -> None:
    """Names below DOMAIN lead to this machine, as a DNS wildcard record would."""
    real = socket.getaddrinfo

    def resolve(host: Any, *arguments: Any, **options: Any) -> Any:
        here = isinstance(host, str) and host.endswith(DOMAIN)
        return real("127.0.0.1" if here else host, *arguments, **options)

    monkeypatch.setattr(socket, "getaddrinfo", resolve)


def client(url: str, *, region: str = REGION, **config: Any) -> Any:
    """A boto3 client with settings of its own."""
    return boto3.client(
        "s3",
        endpoint_url=url,
        aws_access_key_id=ACCESS_KEY,
        aws_secret_access_key=SECRET_KEY,
        region_name=region,
        config=Config(**config),
    )


def refused(call: Any, **arguments: Any) -> tuple[int, str]:
    """The status and code with which a call fails."""
    with pytest.raises(ClientError) as caught:
        call(**arguments)
    answer = caught.value.response
    return answer["ResponseMetadata"]["HTTPStatusCode"], answer["Error"]["Code"]


@pytest.mark.parametrize("signature", ["s3v4", "s3"])
@pytest.mark.parametrize("bucket_name", ["virtual", "dots.in.it"])
def test_the_host_may_name_the_bucket(
    node: NodeProcess, local_names: None, signature: str, bucket_name: str
) -> None:
    """Writing, listing, copying, parts and presigned links, all with addressing_style=virtual."""
    virtual = client(f"http://{DOMAIN}:{node.port}", s3={"addressing_style": "virtual"})
    name = f"{bucket_name}-{signature}"
    virtual.create_bucket(Bucket=name)
    key = "a b/ü+%?"
    virtual.put_object(Bucket=name, Key=key, Body=b"body")
    virtual.copy_object(Bucket=name, Key="copy", CopySource={"Bucket": name, "Key": key})
    upload = virtual.create_multipart_upload(Bucket=name, Key="parts")["UploadId"]
    part = virtual.upload_part(Bucket=name, Key="parts", UploadId=upload, PartNumber=1, Body=b"p")
    done = virtual.complete_multipart_upload(
        Bucket=name,
        Key="parts",
        UploadId=upload,
        MultipartUpload={"Parts": [{"PartNumber": 1, "ETag": part["ETag"]}]},
    )
    assert done["Location"] == f"http://{name}.{DOMAIN}:{node.port}/parts"
    listed = [each["Key"] for each in virtual.list_objects_v2(Bucket=name)["Contents"]]
    assert listed == [key, "copy", "parts"]
    signer = client(
        f"http://{DOMAIN}:{node.port}",
        s3={"addressing_style": "virtual"},
        signature_version=signature,
    )
    link = signer.generate_presigned_url("get_object", Params={"Bucket": name, "Key": key})
    assert link.startswith(f"http://{name}.{DOMAIN}:{node.port}/a%20b/")
    with urllib.request.urlopen(link) as answer:
        assert answer.read() == b"body"


def test_a_client_of_another_region_learns_the_right_one(node: NodeProcess, bucket: str) -> None:
    """The SDK signs for its own region first, is told the bucket's, and the user sees nothing."""
    stranger = client(node.url, region="eu-west-1", s3={"addressing_style": "path"})
    assert stranger.head_bucket(Bucket=bucket)["BucketRegion"] == REGION
    stranger.put_object(Bucket=bucket, Key="k", Body=b"body")
    assert stranger.get_object(Bucket=bucket, Key="k")["Body"].read() == b"body"
    assert stranger.head_object(Bucket=bucket, Key="k")["ContentLength"] == 4
    assert refused(stranger.list_buckets) == (400, "AuthorizationHeaderMalformed")
    constraint = {"LocationConstraint": "eu-west-1"}
    code = refused(
        stranger.create_bucket, Bucket=f"{bucket}-eu", CreateBucketConfiguration=constraint
    )
    assert code == (400, "IllegalLocationConstraintException")


def grouped(entries: list[tuple[str, Any]], prefix: str, delimiter: str) -> list[Any]:
    """What a listing of these entries (key and the rest) must hold, by the documentation."""
    found: list[Any] = []
    for key, rest in entries:
        if not key.startswith(prefix):
            continue
        head, cut, _ = key[len(prefix) :].partition(delimiter) if delimiter else (key, "", "")
        entry = (prefix + head + cut, "prefix") if cut else (key, rest)
        if entry not in found:
            found.append(entry)
    return found


def listed_pages(call: Any, names: dict[str, str], lists: tuple[str, ...], **first: Any) -> Any:
    """All entries of a listing, page by page; `names` maps answer elements to arguments."""
    more: dict[str, Any] = {}
    entries: list[Any] = []
    for _ in range(1000):
        page = call(**first, **more)
        found = [each for kind in lists for each in page.get(kind, [])]
        prefixes = [each["Prefix"] for each in page.get("CommonPrefixes", [])]
        entries += found
        entries += [{"Key": prefix, "VersionId": "prefix"} for prefix in prefixes]
        if not page["IsTruncated"]:
            return entries
        more = {theirs: page[ours] for ours, theirs in names.items() if page.get(ours)}
    raise AssertionError("the listing has no end")


@pytest.mark.proves("ListObjectVersions")
def test_pages_of_versions_hold_what_a_whole_listing_does(s3: Any, bucket: str) -> None:
    """Any prefix, delimiter and page size: every version, marker and common prefix just once."""
    s3.put_bucket_versioning(Bucket=bucket, VersioningConfiguration={"Status": "Enabled"})
    history: dict[str, list[str]] = {key: [] for key in KEYS}
    for turn, key in enumerate(KEYS * 3):
        if turn % 4 == 3:
            made = s3.delete_object(Bucket=bucket, Key=key)
        else:
            made = s3.put_object(Bucket=bucket, Key=key, Body=b"")
        history[key].insert(0, made["VersionId"])
    ordered = sorted(history, key=str.encode)
    entries = [(key, version_id) for key in ordered for version_id in history[key]]
    names = {"NextKeyMarker": "KeyMarker", "NextVersionIdMarker": "VersionIdMarker"}
    for prefix, delimiter, size in itertools.product(PREFIXES, DELIMITERS, (1, 3, 1000)):
        found = listed_pages(
            s3.list_object_versions,
            names,
            ("Versions", "DeleteMarkers"),
            Bucket=bucket,
            Prefix=prefix,
            Delimiter=delimiter,
            MaxKeys=size,
        )
        shown = [(each["Key"], each["VersionId"]) for each in found]
        assert sorted(shown) == sorted(grouped(entries, prefix, delimiter))
        newest = [(each["Key"], each["VersionId"]) for each in found if each.get("IsLatest")]
        assert all(history[key][0] == version_id for key, version_id in newest)


@pytest.mark.proves("ListObjects", "ListObjectsV2")
def test_pages_of_objects_hold_what_a_whole_listing_does(s3: Any, bucket: str) -> None:
    """Both versions of the listing, any prefix, delimiter and page size."""
    for key in KEYS:
        s3.put_object(Bucket=bucket, Key=key, Body=b"")
    entries = [(key, None) for key in sorted(KEYS, key=str.encode)]
    ways = [
        (s3.list_objects, {"NextMarker": "Marker"}),
        (s3.list_objects_v2, {"NextContinuationToken": "ContinuationToken"}),
    ]
    for prefix, delimiter, size, (call, names) in itertools.product(
        PREFIXES, DELIMITERS[1:], (1, 2, 1000), ways
    ):
        found = listed_pages(
            call,
            names,
            ("Contents",),
            Bucket=bucket,
            Prefix=prefix,
            Delimiter=delimiter,
            MaxKeys=size,
        )
        shown = sorted((each["Key"], each.get("VersionId") or "") for each in found)
        wanted = grouped(entries, prefix, delimiter)
        assert shown == sorted((key, rest or "") for key, rest in wanted)


@pytest.mark.proves("ListMultipartUploads")
def test_pages_of_uploads_hold_what_a_whole_listing_does(s3: Any, bucket: str) -> None:
    """Several uploads of one key among them."""
    entries = []
    for key in sorted(KEYS * 2, key=str.encode):
        upload = s3.create_multipart_upload(Bucket=bucket, Key=key)["UploadId"]
        entries.append((key, upload))
    names = {"NextKeyMarker": "KeyMarker", "NextUploadIdMarker": "UploadIdMarker"}
    for prefix, delimiter, size in itertools.product(PREFIXES, DELIMITERS, (1, 3, 1000)):
        found = listed_pages(
            s3.list_multipart_uploads,
            names,
            ("Uploads",),
            Bucket=bucket,
            Prefix=prefix,
            Delimiter=delimiter,
            MaxUploads=size,
        )
        shown = [(each["Key"], each.get("UploadId", "prefix")) for each in found]
        assert sorted(shown) == sorted(grouped(entries, prefix, delimiter))


def test_objects_deleted_page_by_page_are_all_seen(s3: Any, bucket: str) -> None:
    """The usual way to empty a bucket: a page that is gone does not shift the next."""
    for number in range(20):
        s3.put_object(Bucket=bucket, Key=f"k{number:02}", Body=b"")
    seen = []
    for page in s3.get_paginator("list_objects_v2").paginate(
        Bucket=bucket, PaginationConfig={"PageSize": 3}
    ):
        keys = [{"Key": each["Key"]} for each in page["Contents"]]
        seen += keys
        s3.delete_objects(Bucket=bucket, Delete={"Objects": keys})
    assert seen == [{"Key": f"k{number:02}"} for number in range(20)]
    s3.create_multipart_upload(Bucket=bucket, Key="unfinished")
    s3.delete_bucket(Bucket=bucket)
    assert refused(s3.head_bucket, Bucket=bucket) == (404, "404")


@pytest.mark.proves("DeleteBucket")
def test_a_bucket_of_delete_markers_is_not_empty(node: NodeProcess, s3: Any, bucket: str) -> None:
    """boto3's `object_versions.delete()` empties it, after which it can go."""
    s3.put_bucket_versioning(Bucket=bucket, VersioningConfiguration={"Status": "Enabled"})
    s3.delete_object(Bucket=bucket, Key="never was")
    assert refused(s3.delete_bucket, Bucket=bucket) == (409, "BucketNotEmpty")
    resource = boto3.resource(
        "s3",
        endpoint_url=node.url,
        aws_access_key_id=ACCESS_KEY,
        aws_secret_access_key=SECRET_KEY,
        region_name=REGION,
    )
    resource.Bucket(bucket).object_versions.delete()
    s3.delete_bucket(Bucket=bucket)


def test_another_account_sees_and_changes_nothing(node: NodeProcess, s3: Any, bucket: str) -> None:
    """It is told that the name is taken, and of everything else AccessDenied."""
    s3.put_object(Bucket=bucket, Key="k", Body=b"mine")
    upload = s3.create_multipart_upload(Bucket=bucket, Key="m")["UploadId"]
    command = [sys.executable, "-m", "tools.rs3gwctl.main", "--data", str(node.data), "--json"]
    made = subprocess.run(
        [*command, "account", "create", "stranger"], capture_output=True, check=True, timeout=60
    )
    key = json.loads(made.stdout)["keys"][0]
    other = s3_of(node, key["access_key_id"], key["secret"])
    own = f"{bucket}-other"
    other.create_bucket(Bucket=own)
    assert refused(other.create_bucket, Bucket=bucket) == (409, "BucketAlreadyExists")
    assert refused(other.head_bucket, Bucket=bucket) == (403, "403")
    at_key = {"Bucket": bucket, "Key": "k"}
    source = {"Bucket": own, "Key": "c", "CopySource": at_key}
    part = {"Bucket": bucket, "Key": "m", "UploadId": upload, "PartNumber": 1, "Body": b"x"}
    for call, arguments in [
        (other.list_objects_v2, {"Bucket": bucket}),
        (other.get_object, at_key),
        (other.get_object, {"Bucket": bucket, "Key": "not there"}),
        (other.put_object, {**at_key, "Body": b"theirs"}),
        (other.delete_object, at_key),
        (other.delete_bucket, {"Bucket": bucket}),
        (other.delete_objects, {"Bucket": bucket, "Delete": {"Objects": [{"Key": "k"}]}}),
        (other.copy_object, source),
        (other.upload_part, part),
        (other.get_bucket_location, {"Bucket": bucket}),
    ]:
        assert refused(call, **arguments) == (403, "AccessDenied"), call
    assert [each["Name"] for each in other.list_buckets()["Buckets"]] == [own]
    assert s3.get_object(**at_key)["Body"].read() == b"mine"


@pytest.mark.proves("CompleteMultipartUpload")
def test_the_engine_names_the_part_that_is_wrong(s3: Any, bucket: str) -> None:
    """boto3 shows the elements of InvalidPart and EntityTooSmall beside the code."""
    upload = s3.create_multipart_upload(Bucket=bucket, Key="m")["UploadId"]
    where = {"Bucket": bucket, "Key": "m", "UploadId": upload}
    parts = [
        {
            "PartNumber": number,
            "ETag": s3.upload_part(**where, PartNumber=number, Body=b"x")["ETag"],
        }
        for number in (2, 3)
    ]
    with pytest.raises(ClientError) as caught:
        s3.complete_multipart_upload(**where, MultipartUpload={"Parts": parts})
    error = caught.value.response["Error"]
    assert (error["Code"], error["PartNumber"], error["ProposedSize"]) == (
        "EntityTooSmall",
        "2",
        "1",
    )
    missing = [{"PartNumber": 9, "ETag": parts[0]["ETag"]}]
    with pytest.raises(ClientError) as caught:
        s3.complete_multipart_upload(**where, MultipartUpload={"Parts": missing})
    error = caught.value.response["Error"]
    assert (error["Code"], error["PartNumber"], error["UploadId"]) == ("InvalidPart", "9", upload)
