"""DuckDB's httpfs extension against a node."""

import os
from urllib.parse import urlsplit

import duckdb
from duckdb_extensions import import_extension

endpoint = urlsplit(os.environ["TEST_ENDPOINT"])
bucket = os.environ["TEST_BUCKET"]
import_extension("httpfs")
db = duckdb.connect()
db.execute("LOAD httpfs")
if os.environ.get("TEST_CA"):
    db.execute(f"SET ca_cert_file = '{os.environ['TEST_CA']}'")
db.execute(
    f"""CREATE SECRET (TYPE s3, KEY_ID '{os.environ["TEST_ACCESS_KEY"]}',
    SECRET '{os.environ["TEST_SECRET_KEY"]}', ENDPOINT '{endpoint.netloc}', URL_STYLE 'path',
    USE_SSL {"true" if endpoint.scheme == "https" else "false"}, REGION 'us-east-1')"""
)
for number in range(2):
    db.execute(
        f"COPY (SELECT range AS n, 'row ' || range AS t FROM range(200000)) "
        f"TO 's3://{bucket}/duck/{number}.parquet' (FORMAT parquet)"
    )
total = db.execute(f"SELECT count(*), sum(n) FROM 's3://{bucket}/duck/*.parquet'").fetchone()
assert total == (400_000, 2 * sum(range(200_000))), total
print("ok")
