"""Polars' cloud reader and writer against a node."""

import os

import polars as pl

endpoint = os.environ["TEST_ENDPOINT"]
bucket = os.environ["TEST_BUCKET"]
options = {
    "aws_endpoint_url": endpoint,
    "aws_access_key_id": os.environ["TEST_ACCESS_KEY"],
    "aws_secret_access_key": os.environ["TEST_SECRET_KEY"],
    "aws_region": "us-east-1",
    **({"aws_allow_http": "true"} if endpoint.startswith("http:") else {}),
    **({"allow_invalid_certificates": "true"} if endpoint.startswith("https:") else {}),
}
frame = pl.DataFrame({"n": range(100_000), "text": [f"row {n}" for n in range(100_000)]})
for number in range(3):
    frame.write_parquet(f"s3://{bucket}/pl/{number}.parquet", storage_options=options)
found = pl.scan_parquet(f"s3://{bucket}/pl/*.parquet", storage_options=options)
assert found.select(pl.len()).collect().item() == 300_000
assert found.filter(pl.col("n") == 7).select("text").collect()["text"].to_list() == ["row 7"] * 3
print("ok")
