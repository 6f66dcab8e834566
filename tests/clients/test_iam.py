"""IAM through boto3 on a running node: users are made, and may at once what they are given."""

import json
import uuid
from typing import Any

import boto3
from endpoints import Endpoint, s3_client, use_every_node

from rs3gwd.testing.cluster_process import ClusterProcess
from rs3gwd.testing.node_process import ACCESS_KEY, REGION, SECRET_KEY


def client(endpoint: Endpoint, service: str, key: dict[str, str] | None = None) -> Any:
    """A client of the root account, or of a user's key."""
    made = boto3.client(
        service,
        endpoint_url=endpoint.node.url,
        region_name=REGION,
        aws_access_key_id=key["AccessKeyId"] if key else ACCESS_KEY,
        aws_secret_access_key=key["SecretAccessKey"] if key else SECRET_KEY,
        verify=str(endpoint.node.authority) if endpoint.node.authority else None,
    )
    if isinstance(endpoint.node, ClusterProcess):
        use_every_node(made)
    return made


def is_allowed(s3: Any, bucket: str, key: str) -> bool:
    """Whether a read works."""
    try:
        s3.get_object(Bucket=bucket, Key=key)
    except s3.exceptions.ClientError as error:
        if error.response["Error"]["Code"] != "AccessDenied":
            raise
        return False
    return True


def test_a_user_has_a_folder_of_their_own(endpoint: Endpoint) -> None:
    """From create-user to a read that works, and one that does not; then the key is turned off."""
    root = s3_client(endpoint.node)
    name = f"user-{uuid.uuid4().hex[:8]}"
    for folder in (name, "other"):
        root.put_object(Bucket=endpoint.bucket, Key=f"{folder}/x", Body=b"1")
    iam = client(endpoint, "iam")
    iam.create_user(UserName=name)
    key = iam.create_access_key(UserName=name)["AccessKey"]
    s3 = client(endpoint, "s3", key)
    assert not is_allowed(s3, endpoint.bucket, f"{name}/x")
    statement = {
        "Effect": "Allow",
        "Action": "s3:GetObject",
        "Resource": f"arn:aws:s3:::{endpoint.bucket}/${{aws:username}}/*",
    }
    document = json.dumps({"Version": "2012-10-17", "Statement": statement})
    iam.put_user_policy(UserName=name, PolicyName="own", PolicyDocument=document)
    assert is_allowed(s3, endpoint.bucket, f"{name}/x")
    assert not is_allowed(s3, endpoint.bucket, "other/x")
    arn = client(endpoint, "sts", key).get_caller_identity()["Arn"]
    assert arn == iam.get_user(UserName=name)["User"]["Arn"]
    iam.delete_user_policy(UserName=name, PolicyName="own")
    assert not is_allowed(s3, endpoint.bucket, f"{name}/x")
    iam.delete_access_key(UserName=name, AccessKeyId=key["AccessKeyId"])
    iam.delete_user(UserName=name)
