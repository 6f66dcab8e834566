"""boto3 with the AWS Common Runtime, which computes the checksums: multipart and single.

Its own transfer manager is left out: it takes no port from an endpoint (s3transfer puts it into the
host name and the look-up fails), so nobody can use it with a store that is not on 80 or 443.
"""

import os

import boto3
from boto3.s3.transfer import TransferConfig
from botocore.config import Config

bucket = os.environ["TEST_BUCKET"]
client = boto3.client(
    "s3",
    endpoint_url=os.environ["TEST_ENDPOINT"],
    aws_access_key_id=os.environ["TEST_ACCESS_KEY"],
    aws_secret_access_key=os.environ["TEST_SECRET_KEY"],
    region_name="us-east-1",
    verify=os.environ.get("TEST_CA"),
    config=Config(s3={"addressing_style": "path"}),
)
body = os.urandom(24 << 20)
path = os.environ["TEST_SCRATCH"] + "/crt.bin"
with open(path, "wb") as out:
    out.write(body)
transfer = TransferConfig(multipart_chunksize=6 << 20)
extra = {"ChecksumAlgorithm": "CRC64NVME"}
client.upload_file(path, bucket, "crt/large", Config=transfer, ExtraArgs=extra)
client.download_file(bucket, "crt/large", path + ".back", Config=transfer)
with open(path + ".back", "rb") as back:
    assert back.read() == body
for algorithm in ("CRC32", "CRC32C", "CRC64NVME", "SHA1", "SHA256"):
    client.put_object(
        Bucket=bucket, Key="crt/" + algorithm, Body=body[:1000], ChecksumAlgorithm=algorithm
    )
    head = client.head_object(Bucket=bucket, Key="crt/" + algorithm, ChecksumMode="ENABLED")
    assert head["Checksum" + algorithm], head
    got = client.get_object(Bucket=bucket, Key="crt/" + algorithm, ChecksumMode="ENABLED")
    assert got["Body"].read() == body[:1000]
print("ok")
