"""A policy may ask for a version of TLS, and the one that the client really speaks is compared."""

import json
import ssl
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path

import boto3
import trustme
from botocore.config import Config

from rs3gwd.testing.node_process import ACCESS_KEY, REGION, SECRET_KEY, NodeProcess

Start = Callable[..., NodeProcess]


def test_a_client_of_an_older_version_is_denied(start_node: Start, tmp_path: Path) -> None:
    """A denial below 1.3 keeps clients of 1.2 out, and nobody else."""
    authority = trustme.CA()
    issued = authority.issue_cert("localhost", "127.0.0.1")
    certificate, key, trusted = (tmp_path / name for name in ("cert.pem", "key.pem", "ca.pem"))
    certificate.write_bytes(b"".join(blob.bytes() for blob in issued.cert_chain_pems))
    key.write_bytes(issued.private_key_pem.bytes())
    authority.cert_pem.write_to_path(str(trusted))
    node = start_node(certificate=certificate, key=key, authority=trusted)
    s3 = boto3.client(
        "s3",
        endpoint_url=node.url,
        region_name=REGION,
        aws_access_key_id=ACCESS_KEY,
        aws_secret_access_key=SECRET_KEY,
        verify=str(trusted),
        config=Config(s3={"addressing_style": "path"}),
    )
    s3.create_bucket(Bucket="bucket")
    s3.put_object(Bucket="bucket", Key="k", Body=b"1")
    statement = {
        "Effect": "Deny",
        "Principal": "*",
        "Action": "s3:*",
        "Resource": ["arn:aws:s3:::bucket/*"],
        "Condition": {"NumericLessThan": {"s3:TlsVersion": "1.3"}},
    }
    document = json.dumps({"Version": "2012-10-17", "Statement": [statement]})
    s3.put_bucket_policy(Bucket="bucket", Policy=document)
    url = s3.generate_presigned_url("get_object", Params={"Bucket": "bucket", "Key": "k"})

    def status(newest: ssl.TLSVersion) -> int:
        context = ssl.create_default_context(cafile=str(trusted))
        context.maximum_version = newest
        try:
            with urllib.request.urlopen(url, context=context) as answer:
                return int(answer.status)
        except urllib.error.HTTPError as error:
            return error.code

    assert status(ssl.TLSVersion.TLSv1_2) == 403
    assert status(ssl.TLSVersion.TLSv1_3) == 200
