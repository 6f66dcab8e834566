"""obstore (the Rust object_store crate, as Delta Lake and Polars use it) against a node."""

import os

import obstore
from obstore.exceptions import AlreadyExistsError
from obstore.store import S3Store

endpoint = os.environ["TEST_ENDPOINT"]
options = {"allow_http": True} if endpoint.startswith("http:") else {}
if options == {}:
    options = {"allow_invalid_certificates": True}
store = S3Store(
    os.environ["TEST_BUCKET"],
    endpoint=endpoint,
    access_key_id=os.environ["TEST_ACCESS_KEY"],
    secret_access_key=os.environ["TEST_SECRET_KEY"],
    region="us-east-1",
    client_options=options,
)
body = os.urandom(20 << 20)
obstore.put(store, "ob/large", body)
assert bytes(obstore.get(store, "ob/large").bytes()) == body
assert bytes(obstore.get_range(store, "ob/large", start=5, end=25)) == body[5:25]
obstore.put(store, "ob/created", b"one", mode="create")
try:
    obstore.put(store, "ob/created", b"two", mode="create")
except AlreadyExistsError:
    pass
else:
    raise AssertionError("mode=create wrote over an object")
obstore.copy(store, "ob/created", "ob/copied")
names = [each["path"] for page in obstore.list(store, "ob") for each in page]
assert sorted(names) == ["ob/copied", "ob/created", "ob/large"], names
obstore.delete(store, names)
assert [each for page in obstore.list(store, "ob") for each in page] == []
print("ok")
