"""pyarrow's S3FileSystem (aws-sdk-cpp) against a node: trailers with CRC-64/NVME, multipart."""

import os
from urllib.parse import urlsplit

import pyarrow as pa
import pyarrow.parquet as pq
from pyarrow.fs import FileSelector, S3FileSystem, S3LogLevel, initialize_s3

endpoint = urlsplit(os.environ["TEST_ENDPOINT"])
bucket = os.environ["TEST_BUCKET"]
initialize_s3(S3LogLevel.Off)
files = S3FileSystem(
    access_key=os.environ["TEST_ACCESS_KEY"],
    secret_key=os.environ["TEST_SECRET_KEY"],
    endpoint_override=endpoint.netloc,
    scheme=endpoint.scheme,
    region="us-east-1",
    **({"tls_ca_file_path": os.environ["TEST_CA"]} if os.environ.get("TEST_CA") else {}),
)
table = pa.table({"n": list(range(200_000)), "text": [f"row {n}" for n in range(200_000)]})
pq.write_table(table, f"{bucket}/pa/table.parquet", filesystem=files)
assert pq.read_table(f"{bucket}/pa/table.parquet", filesystem=files) == table
body = os.urandom(12 << 20)
with files.open_output_stream(f"{bucket}/pa/raw") as out:
    out.write(body)
with files.open_input_file(f"{bucket}/pa/raw") as source:
    assert source.read() == body
    assert source.read_at(10, 100) == body[100:110]
files.create_dir(f"{bucket}/pa/folder")
names = sorted(each.base_name for each in files.get_file_info(FileSelector(f"{bucket}/pa")))
assert names == ["folder", "raw", "table.parquet"], names
files.delete_dir(f"{bucket}/pa")
print("ok")
