"""Requests become operations, buckets and keys."""

from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st
from s3_requests import plain_request

from rs3gwd.base.errors import ApiError
from rs3gwd.s3.operations import OPERATIONS, Level
from rs3gwd.s3.route import Route, Router

ROUTER = Router(domains=("s3.example.com", "eu.s3.example.com"))


def route(method: str, target: str, **options: object) -> Route:
    path, _, query = target.partition("?")
    return ROUTER.route(plain_request(method, path, query, **options))  # type: ignore[arg-type]


def refusal(method: str, target: str, **options: object) -> ApiError:
    with pytest.raises(ApiError) as caught:
        route(method, target, **options)
    return caught.value


def test_every_row_is_reached_by_its_own_request() -> None:
    """A request made of nothing but a row's method, level, query and header selects that row."""
    paths = {Level.SERVICE: "/", Level.BUCKET: "/bucket", Level.OBJECT: "/bucket/key"}
    for row in OPERATIONS:
        if row.alias_of:
            continue
        path = "/WriteGetObjectResponse" if row.header.endswith("route") else paths[row.level]
        query = "&".join(f"{name}=1" for name in row.query)
        headers = {row.header: "x"} if row.header else {}
        found = route(row.method, f"{path}?{query}", headers=headers)
        assert found.operation.name == row.name


@pytest.mark.parametrize(
    ("method", "target", "operation"),
    [
        ("GET", "/bucket/", "ListObjects"),
        ("GET", "/bucket?prefix=a&x-id=ListObjects", "ListObjects"),
        ("GET", "/bucket?list-type=2&prefix=a", "ListObjectsV2"),
        ("PUT", "/bucket/key?x-id=PutObject", "PutObject"),
        ("GET", "/bucket/key?versionId=null&partNumber=1", "GetObject"),
        ("HEAD", "/bucket?list-type=2", "HeadBucket"),
        ("POST", "/bucket/key?select&select-type=2", "SelectObjectContent"),
        ("GET", "/?prefix=a&max-buckets=2", "ListBuckets"),
        ("GET", "/?versions", "ListBuckets"),
        ("GET", "/bucket?analytics&id=x", "GetBucketAnalyticsConfiguration"),
        ("GET", "/bucket?analytics", "ListBucketAnalyticsConfigurations"),
    ],
)
def test_arguments_and_unknown_parameters_do_not_change_the_operation(
    method: str, target: str, operation: str
) -> None:
    """Only sub-resources choose."""
    assert route(method, target).operation.name == operation


@pytest.mark.parametrize(
    ("method", "target", "code"),
    [
        ("DELETE", "/bucket?versioning", "MethodNotAllowed"),
        ("DELETE", "/bucket/key?retention", "MethodNotAllowed"),
        ("HEAD", "/bucket/key?tagging", "MethodNotAllowed"),
        ("POST", "/bucket?tagging", "MethodNotAllowed"),
        ("PUT", "/bucket?uploads", "MethodNotAllowed"),
        ("GET", "/bucket?delete", "MethodNotAllowed"),
        ("PATCH", "/bucket/key", "MethodNotAllowed"),
        ("POST", "/bucket/key", "MethodNotAllowed"),
        ("HEAD", "/", "MethodNotAllowed"),
        ("PUT", "/", "MethodNotAllowed"),
        ("POST", "/bucket?uploads", "InvalidRequest"),
        ("GET", "/bucket/key?uploads", "InvalidRequest"),
        ("DELETE", "/bucket/key?lifecycle", "InvalidRequest"),
        ("PUT", "/bucket/key?uploadId=x", "MethodNotAllowed"),
        ("PUT", "/bucket/key?partNumber=1", "InvalidArgument"),
        ("GET", "/bucket?acl&policy", "InvalidArgument"),
    ],
)
def test_a_sub_resource_that_the_method_lacks_is_refused_and_never_overlooked(
    method: str, target: str, code: str
) -> None:
    """`DELETE /bucket?versioning` is not DeleteBucket."""
    assert refusal(method, target).api_code == code


def test_method_not_allowed_lists_the_methods_that_are() -> None:
    """RFC 9110 section 15.5.6: the Allow header."""
    error = refusal("POST", "/bucket?versioning")
    assert error.headers == [("Allow", "GET, PUT")]
    assert error.fields == {"Method": "POST", "ResourceType": "VERSIONING"}
    error = refusal("PUT", "/bucket/key?uploadId=x")
    assert error.headers == [("Allow", "DELETE, GET, POST")]
    assert error.fields == {"Method": "PUT", "ResourceType": "UPLOAD"}


@pytest.mark.parametrize(
    ("path", "key"),
    [
        ("/bucket/a//b", b"a//b"),
        ("/bucket//", b"/"),
        ("/bucket/../x", b"../x"),
        ("/bucket/./.", b"./."),
        ("/bucket/a/", b"a/"),
        ("/bucket/a%2Fb", b"a/b"),
        ("/bucket/%2e%2e", b".."),
        ("/bucket/a+b", b"a+b"),
        ("/bucket/a%20b", b"a b"),
        ("/bucket/%00", b"\x00"),
        ("/bucket/caf%C3%A9", "café".encode()),
        ("/bucket/" + "a" * 1024, b"a" * 1024),
    ],
)
def test_a_key_is_taken_as_it_stands(path: str, key: bytes) -> None:
    """Percent-decoding is all that happens to it."""
    found = route("GET", path)
    assert (found.bucket, found.key) == ("bucket", key)


@pytest.mark.parametrize(
    ("target", "code"),
    [
        ("/bucket/%", "InvalidURI"),
        ("/bucket/%4", "InvalidURI"),
        ("/bucket/%zz", "InvalidURI"),
        ("/bucket/%ff", "InvalidURI"),
        ("/bucket/%ed%a0%80", "InvalidURI"),
        ("/bucket/%c0%af", "InvalidURI"),
        ("/bucket?prefix=%ff", "InvalidURI"),
        ("/bucket?%zz", "InvalidURI"),
        ("bucket/key", "InvalidURI"),
        ("/bucket/" + "a" * 1025, "KeyTooLongError"),
        ("/bucket/" + "%C3%A9" * 513, "KeyTooLongError"),
        ("//key", "InvalidBucketName"),
        ("/ab/key", "InvalidBucketName"),
        ("/buck%20et/key", "InvalidBucketName"),
        ("/b%C3%BCcket", "InvalidBucketName"),
        ("/bucket?" + "&".join(f"a{n}" for n in range(101)), "InvalidArgument"),
    ],
)
def test_a_target_that_names_nothing_is_refused(target: str, code: str) -> None:
    """Each with the code AWS has for it."""
    assert refusal("GET", target).api_code == code


@pytest.mark.parametrize(
    ("host", "path", "bucket", "key"),
    [
        ("bucket.s3.example.com", "/key", "bucket", b"key"),
        ("bucket.s3.example.com:9000", "/a/b", "bucket", b"a/b"),
        ("BUCKET.S3.Example.com", "/", "bucket", b""),
        ("a.b.s3.example.com", "/", "a.b", b""),
        ("bucket.eu.s3.example.com", "/key", "bucket", b"key"),
        ("s3.example.com", "/bucket/key", "bucket", b"key"),
        ("eu.s3.example.com", "/bucket/key", "bucket", b"key"),
        ("s3.example.com:80", "/bucket", "bucket", b""),
        ("xs3.example.com", "/bucket/key", "bucket", b"key"),
        ("127.0.0.1:9000", "/bucket/key", "bucket", b"key"),
        ("[::1]:9000", "/bucket/key", "bucket", b"key"),
        ("bucket.s3.example.com", "//", "bucket", b"/"),
        ("bucket.s3.example.com", "/WriteGetObjectResponse", "bucket", b"WriteGetObjectResponse"),
    ],
)
def test_a_bucket_is_named_by_path_or_by_host(
    host: str, path: str, bucket: str, key: bytes
) -> None:
    """The longest configured domain decides; the bare domain is path style."""
    found = route("GET", path, host=host)
    assert (found.bucket, found.key) == (bucket, key)


def test_the_first_of_a_repeated_parameter_counts() -> None:
    """And a blank may be written `+` in a query."""
    assert route("GET", "/bucket?prefix=a+b&prefix=c&&marker").query == {
        "prefix": "a b",
        "marker": "",
    }


def test_a_preflight_has_a_place_whatever_it_asks_for() -> None:
    """Bucket and key, by path or by host; a name that nothing can have is refused."""
    router = Router(domains=["s3.example"])
    assert router.place(plain_request("OPTIONS", "/bucket/a%20b")) == ("bucket", b"a b")
    assert router.place(plain_request("OPTIONS", "/key", host="bkt.s3.example")) == ("bkt", b"key")
    assert router.place(plain_request("OPTIONS", "/")) == ("", b"")
    with pytest.raises(ApiError, match="InvalidBucketName"):
        router.place(plain_request("OPTIONS", "/no/key"))


@given(key=st.text(min_size=1, max_size=256).filter(lambda k: len(k.encode()) <= 1024))
def test_every_legal_key_comes_through_a_url(key: str) -> None:
    """Quoted as any client may quote it."""
    assert route("PUT", f"/bucket/{quote(key, safe='/')}").key == key.encode()


@given(
    method=st.sampled_from(["GET", "PUT", "POST", "DELETE", "HEAD"]), target=st.text(max_size=80)
)
def test_no_target_does_anything_but_route_or_be_refused(method: str, target: str) -> None:
    """Whatever stands on the request line, there is a route or an ApiError."""
    path, _, query = target.partition("?")
    try:
        found = ROUTER.route(plain_request(method, "/" + path, query))
    except ApiError:
        return
    assert found.operation.method == method
