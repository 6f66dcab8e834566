"""What a user may is the same on every worker as soon as the change was acknowledged."""

from pathlib import Path
from typing import Any

import boto3
from botocore.config import Config
from botocore.exceptions import ClientError

from rs3gwd.testing.node_process import ACCESS_KEY, REGION, SECRET_KEY, NodeProcess

READ_ONLY = "arn:aws:iam::aws:policy/AmazonS3ReadOnlyAccess"


def client(node: NodeProcess, service: str, key: str = ACCESS_KEY, secret: str = SECRET_KEY) -> Any:
    """A client with a connection of its own, which any worker may get."""
    return boto3.client(
        service,
        endpoint_url=node.url,
        region_name=REGION,
        aws_access_key_id=key,
        aws_secret_access_key=secret,
        config=Config(retries={"max_attempts": 1}, s3={"addressing_style": "path"}),
    )


def test_a_change_of_policies_and_keys_holds_on_every_worker(tmp_path: Path) -> None:
    """Attached and detached through one worker, asked of all; then the key is removed."""
    with NodeProcess(tmp_path / "data", environ={"RS3GW_WORKERS": "2"}) as node:
        root = client(node, "s3")
        root.create_bucket(Bucket="bucket")
        root.put_object(Bucket="bucket", Key="k", Body=b"1")
        iam = client(node, "iam")
        iam.create_user(UserName="bob")
        key = iam.create_access_key(UserName="bob")["AccessKey"]

        def answers() -> set[str]:
            found = set()
            for _ in range(6):
                bob = client(node, "s3", key["AccessKeyId"], key["SecretAccessKey"])
                try:
                    found.add(bob.get_object(Bucket="bucket", Key="k")["Body"].read().decode())
                except ClientError as error:
                    found.add(error.response["Error"]["Code"])
            return found

        for _ in range(3):
            assert answers() == {"AccessDenied"}
            client(node, "iam").attach_user_policy(UserName="bob", PolicyArn=READ_ONLY)
            assert answers() == {"1"}
            client(node, "iam").detach_user_policy(UserName="bob", PolicyArn=READ_ONLY)
        client(node, "iam").delete_access_key(UserName="bob", AccessKeyId=key["AccessKeyId"])
        assert answers() == {"InvalidAccessKeyId"}
