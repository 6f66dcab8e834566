"""What a user may is the same on every worker as soon as the change was acknowledged."""

import json
import ssl
import time
from pathlib import Path
from typing import Any

import boto3
import trustme
from botocore import UNSIGNED
from botocore.config import Config
from botocore.exceptions import ClientError

from rs3gwd.testing.fake_issuer import IssuerServer
from rs3gwd.testing.node_process import ACCESS_KEY, REGION, SECRET_KEY, NodeProcess

READ_ONLY = "arn:aws:iam::aws:policy/AmazonS3ReadOnlyAccess"


def client(
    node: NodeProcess,
    service: str,
    key: str = ACCESS_KEY,
    secret: str = SECRET_KEY,
    token: str | None = None,
) -> Any:
    """A client with a connection of its own, which any worker may get."""
    return boto3.client(
        service,
        endpoint_url=node.url,
        region_name=REGION,
        aws_access_key_id=key,
        aws_secret_access_key=secret,
        aws_session_token=token,
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


def test_a_web_identity_gets_a_session_that_every_worker_knows(tmp_path: Path) -> None:
    """From a provider that is asked over HTTPS; the session ends with the role, everywhere."""
    authority = trustme.CA()
    authority.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert("localhost").configure_cert(context)
    environ = {"RS3GW_WORKERS": "2", "RS3GW_OIDC_CA_FILE": str(tmp_path / "ca.pem")}
    with IssuerServer(context) as server, NodeProcess(tmp_path / "data", environ=environ) as node:
        client(node, "s3").create_bucket(Bucket="bucket")
        client(node, "s3").put_object(Bucket="bucket", Key="k", Body=b"1")
        iam = client(node, "iam")
        provider = iam.create_open_id_connect_provider(Url=server.issuer.url, ClientIDList=["app"])[
            "OpenIDConnectProviderArn"
        ]
        statement = {
            "Effect": "Allow",
            "Principal": {"Federated": provider},
            "Action": "sts:AssumeRoleWithWebIdentity",
        }
        trust = json.dumps({"Version": "2012-10-17", "Statement": [statement]})
        role = iam.create_role(RoleName="web", AssumeRolePolicyDocument=trust)["Role"]["Arn"]
        iam.attach_role_policy(RoleName="web", PolicyArn=READ_ONLY)
        now = int(time.time())
        claims = {"iss": server.issuer.url, "sub": "a", "aud": "app", "iat": now, "exp": now + 600}
        sts = boto3.client(
            "sts",
            endpoint_url=node.url,
            region_name=REGION,
            config=Config(signature_version=UNSIGNED, retries={"max_attempts": 1}),
        )
        made = sts.assume_role_with_web_identity(
            RoleArn=role, RoleSessionName="job", WebIdentityToken=server.issuer.token(claims)
        )["Credentials"]
        credentials = (made["AccessKeyId"], made["SecretAccessKey"], made["SessionToken"])

        def answers() -> set[str]:
            found = set()
            for _ in range(6):
                web = client(node, "s3", *credentials)
                try:
                    found.add(web.get_object(Bucket="bucket", Key="k")["Body"].read().decode())
                except ClientError as error:
                    found.add(error.response["Error"]["Code"])
            return found

        assert answers() == {"1"}
        client(node, "iam").detach_role_policy(RoleName="web", PolicyArn=READ_ONLY)
        assert answers() == {"AccessDenied"}
        client(node, "iam").delete_role(RoleName="web")
        assert answers() == {"InvalidToken"}
