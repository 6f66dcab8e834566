"""boto3 and what guards a bucket: policies, lists, locks, CORS and browser forms."""

import json
import uuid
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from botocore.exceptions import ClientError
from endpoints import Endpoint, s3_client
from test_boto3 import code, fetch


@pytest.fixture
def s3(endpoint: Endpoint) -> Any:
    """A boto3 client of the endpoint's node."""
    return s3_client(endpoint.node)


def object_url(endpoint: Endpoint, key: str) -> str:
    """The URL of an object, without a signature."""
    return f"{endpoint.node.url}/{endpoint.bucket}/{key}"


@pytest.mark.proves("PutBucketPolicy", "GetBucketPolicy", "GetBucketPolicyStatus")
def test_a_policy_opens_a_bucket_and_its_end_closes_it(s3: Any, endpoint: Endpoint) -> None:
    """A new bucket blocks public policies; without the block everybody reads, until it is gone."""
    bucket = endpoint.bucket
    s3.put_object(Bucket=bucket, Key="k", Body=b"shown")
    statement = {
        "Effect": "Allow",
        "Principal": "*",
        "Action": "s3:GetObject",
        "Resource": f"arn:aws:s3:::{bucket}/*",
    }
    policy = json.dumps({"Version": "2012-10-17", "Statement": [statement]})
    with pytest.raises(ClientError) as refused:
        s3.put_bucket_policy(Bucket=bucket, Policy=policy)
    assert code(refused) == (403, "AccessDenied")
    s3.delete_public_access_block(Bucket=bucket)
    s3.put_bucket_policy(Bucket=bucket, Policy=policy)
    assert json.loads(s3.get_bucket_policy(Bucket=bucket)["Policy"]) == json.loads(policy)
    assert s3.get_bucket_policy_status(Bucket=bucket)["PolicyStatus"]["IsPublic"] is True
    assert fetch(endpoint, object_url(endpoint, "k")) == (200, b"shown")
    s3.delete_bucket_policy(Bucket=bucket)
    assert fetch(endpoint, object_url(endpoint, "k"))[0] == 403
    with pytest.raises(ClientError) as missing:
        s3.get_bucket_policy(Bucket=bucket)
    assert code(missing) == (404, "NoSuchBucketPolicy")


@pytest.mark.proves("PutObjectAcl", "GetObjectAcl", "PutBucketOwnershipControls")
def test_a_list_opens_an_object_where_lists_count(s3: Any, endpoint: Endpoint) -> None:
    """With ObjectWriter and no block a public-read object is read by anybody."""
    bucket = endpoint.bucket
    s3.put_object(Bucket=bucket, Key="k", Body=b"shown")
    with pytest.raises(ClientError) as refused:
        s3.put_object_acl(Bucket=bucket, Key="k", ACL="public-read")
    assert code(refused) == (400, "AccessControlListNotSupported")
    s3.put_bucket_ownership_controls(
        Bucket=bucket, OwnershipControls={"Rules": [{"ObjectOwnership": "ObjectWriter"}]}
    )
    s3.delete_public_access_block(Bucket=bucket)
    s3.put_object_acl(Bucket=bucket, Key="k", ACL="public-read")
    assert fetch(endpoint, object_url(endpoint, "k")) == (200, b"shown")
    grants = s3.get_object_acl(Bucket=bucket, Key="k")["Grants"]
    assert [grant["Permission"] for grant in grants] == ["FULL_CONTROL", "READ"]
    s3.put_object_acl(Bucket=bucket, Key="k", ACL="private")
    assert fetch(endpoint, object_url(endpoint, "k"))[0] == 403


@pytest.mark.proves("PutBucketAcl", "GetBucketAcl")
def test_the_list_of_a_bucket_is_read_back(s3: Any, endpoint: Endpoint) -> None:
    """Grants by canonical id; the owner is whom ListBuckets names."""
    bucket = endpoint.bucket
    owner = s3.list_buckets()["Owner"]["ID"]
    s3.put_bucket_ownership_controls(
        Bucket=bucket, OwnershipControls={"Rules": [{"ObjectOwnership": "BucketOwnerPreferred"}]}
    )
    s3.put_bucket_acl(Bucket=bucket, GrantRead=f'id="{owner}"')
    answer = s3.get_bucket_acl(Bucket=bucket)
    assert answer["Owner"]["ID"] == owner
    assert [(each["Grantee"]["ID"], each["Permission"]) for each in answer["Grants"]] == [
        (owner, "READ")
    ]


@pytest.mark.proves("PutObjectRetention", "PutObjectLegalHold", "PutObjectLockConfiguration")
def test_a_locked_version_outlives_every_attempt(s3: Any, endpoint: Endpoint) -> None:
    """COMPLIANCE stays, GOVERNANCE yields to the bypass, a hold to nobody until it is lifted."""
    bucket = f"locked-{uuid.uuid4().hex[:12]}"
    s3.create_bucket(Bucket=bucket, ObjectLockEnabledForBucket=True)
    s3.put_object_lock_configuration(
        Bucket=bucket,
        ObjectLockConfiguration={
            "ObjectLockEnabled": "Enabled",
            "Rule": {"DefaultRetention": {"Mode": "GOVERNANCE", "Days": 1}},
        },
    )
    version = s3.put_object(Bucket=bucket, Key="k", Body=b"kept")["VersionId"]
    head = s3.head_object(Bucket=bucket, Key="k")
    assert head["ObjectLockMode"] == "GOVERNANCE"
    with pytest.raises(ClientError) as refused:
        s3.delete_object(Bucket=bucket, Key="k", VersionId=version)
    assert code(refused) == (403, "AccessDenied")
    until = datetime.now(UTC) + timedelta(days=2)
    s3.put_object_retention(
        Bucket=bucket,
        Key="k",
        Retention={"Mode": "COMPLIANCE", "RetainUntilDate": until},
        BypassGovernanceRetention=True,
    )
    s3.put_object_legal_hold(Bucket=bucket, Key="k", LegalHold={"Status": "ON"})
    for bypass in (False, True):
        with pytest.raises(ClientError) as refused:
            s3.delete_object(
                Bucket=bucket, Key="k", VersionId=version, BypassGovernanceRetention=bypass
            )
        assert code(refused) == (403, "AccessDenied")
    kept = s3.get_object(Bucket=bucket, Key="k", VersionId=version)
    assert kept["Body"].read() == b"kept"
    assert s3.get_object_legal_hold(Bucket=bucket, Key="k")["LegalHold"]["Status"] == "ON"


@pytest.mark.proves("PutBucketCors", "GetBucketCors", "DeleteBucketCors")
def test_a_preflight_is_answered_by_the_rules_of_the_bucket(s3: Any, endpoint: Endpoint) -> None:
    """Allowed after PutBucketCors, forbidden after DeleteBucketCors."""
    rule = {
        "AllowedMethods": ["PUT"],
        "AllowedOrigins": ["https://*.example"],
        "AllowedHeaders": ["*"],
        "MaxAgeSeconds": 60,
    }
    s3.put_bucket_cors(Bucket=endpoint.bucket, CORSConfiguration={"CORSRules": [rule]})
    assert s3.get_bucket_cors(Bucket=endpoint.bucket)["CORSRules"] == [rule]
    asked = {"Origin": "https://app.example", "Access-Control-Request-Method": "PUT"}
    url = object_url(endpoint, "k")
    assert fetch(endpoint, url, method="OPTIONS", headers=asked)[0] == 200
    s3.delete_bucket_cors(Bucket=endpoint.bucket)
    assert fetch(endpoint, url, method="OPTIONS", headers=asked)[0] == 403


@pytest.mark.proves("PostObject")
def test_a_form_made_by_boto3_uploads(endpoint: Endpoint) -> None:
    """generate_presigned_post, sent as a browser would send it; too long a file is refused."""
    s3 = s3_client(endpoint.node, signature_version="s3v4")
    post = s3.generate_presigned_post(
        Bucket=endpoint.bucket,
        Key="form/${filename}",
        Fields={"Content-Type": "text/plain", "success_action_status": "201"},
        Conditions=[
            {"Content-Type": "text/plain"},
            {"success_action_status": "201"},
            ["content-length-range", 1, 10],
        ],
    )
    for body, status in ((b"0123456789", 201), (b"0123456789a", 400)):
        boundary = uuid.uuid4().hex
        parts = [
            f'--{boundary}\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n{value}\r\n'
            for name, value in post["fields"].items()
        ]
        head = f'Content-Disposition: form-data; name="file"; filename="{status}.txt"'
        form = "".join(parts).encode() + f"--{boundary}\r\n{head}\r\n\r\n".encode()
        form += body + f"\r\n--{boundary}--\r\n".encode()
        headers = {"Content-Type": f"multipart/form-data; boundary={boundary}"}
        answer = fetch(endpoint, post["url"], method="POST", data=form, headers=headers)
        assert answer[0] == status, answer[1]
    got = s3.get_object(Bucket=endpoint.bucket, Key="form/201.txt")
    assert (got["Body"].read(), got["ContentType"]) == (b"0123456789", "text/plain")
    keys = [each["Key"] for each in s3.list_objects_v2(Bucket=endpoint.bucket)["Contents"]]
    assert keys == ["form/201.txt"]
