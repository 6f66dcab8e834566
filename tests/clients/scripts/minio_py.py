"""minio-py against a node."""

import io
import os
import ssl
from urllib.parse import urlsplit

import urllib3
from minio import Minio
from minio.commonconfig import CopySource
from minio.deleteobjects import DeleteObject

endpoint = urlsplit(os.environ["TEST_ENDPOINT"])
bucket = os.environ["TEST_BUCKET"]
authority = os.environ.get("TEST_CA")
pool = urllib3.PoolManager(
    ssl_context=ssl.create_default_context(cafile=authority) if authority else None
)
client = Minio(
    endpoint.netloc,
    access_key=os.environ["TEST_ACCESS_KEY"],
    secret_key=os.environ["TEST_SECRET_KEY"],
    secure=endpoint.scheme == "https",
    region="us-east-1",
    http_client=pool,
)
for name, size in (("mp/empty", 0), ("mp/small", 300_000), ("mp/large", 16 << 20)):
    body = os.urandom(size)
    client.put_object(bucket, name, io.BytesIO(body), size, part_size=5 << 20)
    answer = client.get_object(bucket, name)
    assert answer.read() == body, name
    answer.close()
    assert client.stat_object(bucket, name).size == size
client.put_object(bucket, "mp/stream", io.BytesIO(b"x" * (6 << 20)), -1, part_size=5 << 20)
client.copy_object(bucket, "mp/copy", CopySource(bucket, "mp/large"))
names = [each.object_name for each in client.list_objects(bucket, "mp/", recursive=True)]
assert names == ["mp/copy", "mp/empty", "mp/large", "mp/small", "mp/stream"], names
assert not list(client.remove_objects(bucket, [DeleteObject(name) for name in names]))
assert not list(client.list_objects(bucket, "mp/", recursive=True))
print("ok")
