"""The table of S3 error codes, and errors as responses."""

import ast
from pathlib import Path
from xml.etree import ElementTree

import pytest
from s3_requests import plain_request

import rs3gwd
from rs3gwd.base import errors as base_errors
from rs3gwd.base.errors import (
    ApiError,
    DataCorrupt,
    DiskFull,
    IdentityAlreadyExists,
    IdentityChanged,
    IdentityInUse,
    InvalidPart,
    MethodNotAllowed,
    NoSuchBucket,
    NoSuchIdentity,
    NoSuchKey,
    NoSuchVersion,
    Overloaded,
    PreconditionFailed,
    Rs3gwError,
)
from rs3gwd.base.http import RequestBodyError, RequestBodyTimeout
from rs3gwd.iam.query_api.errors import STATUSES
from rs3gwd.s3.errors import (
    ERROR_CODES,
    error_code,
    error_response,
    error_status,
    internal_error_response,
)

HTTP_STATUSES = {301, 304, 307, 400, 403, 404, 405, 409, 411, 412, 416, 500, 501, 503, 507}


QUERY_API = {"identities", "query_api", "sessions", "web_identity"}
"""Packages whose errors are answers of the query API, which has a table of its own."""

ELSEWHERE = {"blob_errors.py", "cluster_admin.py", "cluster_authority.py"}
"""What the nodes of a cluster tell each other alone, and what the admin API has a table of its own
for (`tests/unit/admin`)."""


def _codes_raised(*, by_query_api: bool = False) -> dict[str, str]:
    """Each code given to ApiError or set as a class's code in rs3gwd, with the file it is in."""
    found: dict[str, str] = {}
    root = Path(rs3gwd.__file__).parent
    # What goes wrong before there is a server, or on the admin socket, is no S3 answer.
    packages = ("base", "engine", "node", "iam", "s3")
    for path in sorted(path for name in packages for path in (root / name).rglob("*.py")):
        if (path.parent.name in QUERY_API) is not by_query_api or path.name in ELSEWHERE:
            continue
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call) and node.args:
                name = node.func.id if isinstance(node.func, ast.Name) else ""
                first = node.args[0]
                if name == "ApiError" and isinstance(first, ast.Constant):
                    found[first.value] = path.name
            if isinstance(node, ast.Assign) and isinstance(node.value, ast.Constant):
                names = [t.id for t in node.targets if isinstance(t, ast.Name)]
                if names == ["code"] and isinstance(node.value.value, str):
                    found[node.value.value] = path.name
    return found


def test_every_code_that_is_raised_is_in_the_table() -> None:
    """No error reaches a client as a 500 only because its row is missing."""
    raised = _codes_raised()
    assert len(raised) > 30
    missing = {code: file for code, file in raised.items() if code not in ERROR_CODES}
    assert missing == {}


def test_every_code_of_the_query_api_is_in_its_table() -> None:
    """Its own codes, and those of the store that only it meets."""
    raised = _codes_raised(by_query_api=True)
    assert len(raised) >= 8
    assert {code for code in raised if code not in STATUSES} == set()
    stored = (NoSuchIdentity, IdentityAlreadyExists, IdentityInUse, IdentityChanged, Overloaded)
    assert all(each.code in STATUSES for each in stored)


def test_every_error_class_has_a_row() -> None:
    """The classes of the base package and those of the HTTP values."""
    classes = [
        value
        for value in vars(base_errors).values()
        if isinstance(value, type) and issubclass(value, Rs3gwError)
    ]
    for each in [*classes, RequestBodyError, RequestBodyTimeout]:
        assert each.code in ERROR_CODES, each


def test_every_row_has_a_status_of_http_and_a_message() -> None:
    """And no code is written twice, which a dict would hide."""
    for code, row in ERROR_CODES.items():
        assert row.status in HTTP_STATUSES, code
        assert row.message, code


@pytest.mark.parametrize(
    ("error", "code", "status"),
    [
        (NoSuchBucket(), "NoSuchBucket", 404),
        (NoSuchKey(), "NoSuchKey", 404),
        (NoSuchVersion(), "NoSuchVersion", 404),
        (PreconditionFailed("If-Match"), "PreconditionFailed", 412),
        (DiskFull(), "InsufficientStorage", 507),
        (Overloaded(), "SlowDown", 503),
        (DataCorrupt("segment 3 offset 9"), "InternalError", 500),
        (ApiError("InvalidRange"), "InvalidRange", 416),
        (RequestBodyTimeout(), "RequestTimeout", 400),
    ],
)
def test_an_error_has_its_code_and_status(error: Rs3gwError, code: str, status: int) -> None:
    """In the status line, in the document, and on the label for metrics."""
    response = error_response(
        error, plain_request("GET", "/b/k"), bucket="b", key=b"k", host_id="node-1"
    )
    assert (response.status, response.error_code) == (status, code)
    assert isinstance(response.body, bytes)
    root = ElementTree.fromstring(response.body)
    assert (root.tag, root.findtext("Code")) == ("Error", code)
    assert root.findtext("Resource") == "/b/k"
    assert root.findtext("RequestId") == "0123456789ABCDEF"
    assert root.findtext("HostId") == "node-1"
    assert root.findtext("Message")


def test_a_disk_error_does_not_show_its_own_text() -> None:
    """File names and offsets are for the log."""
    response = error_response(DataCorrupt("segment 3 offset 9"), plain_request())
    assert isinstance(response.body, bytes)
    assert b"segment" not in response.body


def test_the_store_explains_what_is_wrong_with_a_part() -> None:
    """Where the caller is at fault and the error knows more than the table."""
    response = error_response(InvalidPart("part 7 is missing"), plain_request())
    assert isinstance(response.body, bytes)
    assert ElementTree.fromstring(response.body).findtext("Message") == "part 7 is missing"


def test_fields_of_the_error_are_elements_and_are_escaped() -> None:
    """ArgumentValue repeats what the caller sent."""
    error = ApiError("InvalidArgument", "no", fields={"ArgumentValue": "<&\r\n"})
    response = error_response(error, plain_request())
    assert isinstance(response.body, bytes)
    assert ElementTree.fromstring(response.body).findtext("ArgumentValue") == "<&\r\n"


def test_the_answer_to_head_has_no_body() -> None:
    """RFC 9110 section 9.3.2; the status says it all."""
    response = error_response(NoSuchKey(), plain_request("HEAD", "/b/k"), bucket="b", key=b"k")
    assert (response.status, response.body, response.error_code) == (404, b"", "NoSuchKey")


def test_not_modified_has_neither_body_nor_content_type() -> None:
    """RFC 9110 section 15.4.5; the validators come as headers of the error."""
    error = ApiError("NotModified", headers=[("ETag", '"abc"')])
    response = error_response(error, plain_request())
    assert (response.status, response.body, response.headers) == (304, b"", [("ETag", '"abc"')])


def test_a_delete_marker_shows_in_the_headers_of_no_such_key() -> None:
    """The caller learns which marker hides the key."""
    error = NoSuchKey(delete_marker_version_id="v1")
    headers = error_response(error, plain_request()).headers
    assert ("x-amz-delete-marker", "true") in headers
    assert ("x-amz-version-id", "v1") in headers


def test_a_delete_marker_asked_for_by_id_allows_delete_alone() -> None:
    """405 with Allow and Last-Modified, as AWS answers."""
    error = MethodNotAllowed(delete_marker_version_id="v1", last_modified_ms=1_255_369_830_000)
    response = error_response(error, plain_request())
    assert response.status == 405
    assert ("Allow", "DELETE") in response.headers
    assert ("Last-Modified", "Mon, 12 Oct 2009 17:50:30 GMT") in response.headers


def test_a_bucket_error_names_bucket_and_region() -> None:
    """Clients find the region to sign for in the header."""
    response = error_response(
        NoSuchBucket(), plain_request("GET", "/b"), bucket="b", region="eu-west-1"
    )
    assert ("x-amz-bucket-region", "eu-west-1") in response.headers
    assert isinstance(response.body, bytes)
    assert ElementTree.fromstring(response.body).findtext("BucketName") == "b"


def test_a_body_that_broke_off_closes_the_connection() -> None:
    """What follows on it is not the next request."""
    assert error_response(RequestBodyError(), plain_request()).close
    assert not error_response(NoSuchBucket(), plain_request()).close


def test_an_unexpected_failure_is_an_internal_error_with_a_request_id() -> None:
    """And with nothing else about it."""
    response = internal_error_response(plain_request())
    assert (response.status, response.error_code) == (500, "InternalError")


def test_a_code_that_has_no_row_is_a_bug_of_ours() -> None:
    """500, never a 200."""
    assert error_status("NoSuchCode") == 500
    assert error_code(ApiError("NoSuchCode")) == "NoSuchCode"
