"""s3fs (fsspec; pandas, Dask) against a node."""

import os

import s3fs

bucket = os.environ["TEST_BUCKET"]
files = s3fs.S3FileSystem(
    endpoint_url=os.environ["TEST_ENDPOINT"],
    key=os.environ["TEST_ACCESS_KEY"],
    secret=os.environ["TEST_SECRET_KEY"],
    client_kwargs={"verify": os.environ["TEST_CA"]} if os.environ.get("TEST_CA") else {},
)
small, large = os.urandom(1000), os.urandom(60 << 20)
files.pipe(f"{bucket}/fs/small", small)
with files.open(f"{bucket}/fs/large", "wb") as out:
    out.write(large)
assert files.cat(f"{bucket}/fs/small") == small
with files.open(f"{bucket}/fs/large", "rb") as source:
    source.seek(50 << 20)
    assert source.read(100) == large[50 << 20 : (50 << 20) + 100]
assert files.cat(f"{bucket}/fs/large") == large
files.copy(f"{bucket}/fs/large", f"{bucket}/fs/copy")
assert sorted(files.ls(f"{bucket}/fs", detail=False)) == [
    f"{bucket}/fs/{name}" for name in ("copy", "large", "small")
]
files.rm(f"{bucket}/fs", recursive=True)
assert not files.exists(f"{bucket}/fs/small")
print("ok")
