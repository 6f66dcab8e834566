"""Differential tests: botocore signs, we verify; then one thing is changed and we refuse."""

from datetime import UTC, datetime, timedelta
from urllib.parse import quote, urlsplit

import pytest
from botocore.auth import HmacV1QueryAuth, S3SigV4Auth, S3SigV4QueryAuth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials
from hypothesis import given, settings
from hypothesis import strategies as st
from iam_world import ALICE, AWS_KEY_ID, AWS_SECRET, check, make_request

from rs3gwd.base.errors import ApiError
from rs3gwd.base.http import Request
from rs3gwd.iam.canonical import canonical_header_value, canonical_query_pairs, canonical_uri

CREDENTIALS = Credentials(AWS_KEY_ID, AWS_SECRET)

keys = st.text(st.characters(exclude_categories=["Cs", "Cc"]), min_size=1, max_size=40)
names = st.text("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-._~", min_size=1)
values = st.text(st.characters(exclude_categories=["Cs", "Cc"]), max_size=20)
queries = st.dictionaries(names.map(lambda name: f"p{name}"), values, max_size=5)
metadata = st.dictionaries(
    st.text("abcdefghijklmnopqrstuvwxyz0123456789-", min_size=1).map(
        lambda name: f"x-amz-meta-{name}"
    ),
    st.text(st.characters(min_codepoint=33, max_codepoint=126), max_size=20),
    max_size=4,
)
methods = st.sampled_from(["GET", "PUT", "HEAD", "DELETE", "POST"])


def to_url(key: str, query: dict[str, str]) -> str:
    """The URL that a client sends, path style."""
    text = "&".join(
        f"{quote(name, safe='-._~')}={quote(value, safe='-._~')}" for name, value in query.items()
    )
    path = "/bucket/" + quote(key, safe="/-._~")
    return f"http://localhost:9000{path}" + (f"?{text}" if text else "")


def to_request(signed: AWSRequest) -> Request:
    """What the front makes of a request that botocore signed."""
    parts = urlsplit(signed.url)
    headers = {name.lower(): value.strip() for name, value in signed.headers.items()}
    headers.pop("host", None)
    return make_request(signed.method, parts.path, parts.query, headers, host=parts.netloc)


def now_ms() -> int:
    """botocore signs with the real clock, so these tests verify with it."""
    return int(datetime.now(UTC).timestamp() * 1000)


def flip(text: str, index: int) -> str:
    """`text` with one character changed to another unreserved one."""
    index %= len(text)
    return text[:index] + ("b" if text[index] != "b" else "c") + text[index + 1 :]


def rebuilt(request: Request, **changes: object) -> Request:
    """The request with some fields changed."""
    fields = {name: getattr(request, name) for name in request.__struct_fields__}
    return Request(**{**fields, **changes})  # type: ignore[arg-type]


def sign_header(method: str, key: str, query: dict[str, str], extra: dict[str, str]) -> Request:
    signed = AWSRequest(method=method, url=to_url(key, query), headers=dict(extra), data=b"body")
    S3SigV4Auth(CREDENTIALS, "s3", "us-east-1").add_auth(signed)
    return to_request(signed)


def presign(method: str, key: str, query: dict[str, str], extra: dict[str, str]) -> Request:
    signed = AWSRequest(method=method, url=to_url(key, query), headers=dict(extra))
    S3SigV4QueryAuth(CREDENTIALS, "s3", "us-east-1", expires=600).add_auth(signed)
    return to_request(signed)


@settings(max_examples=150, deadline=None)
@given(methods, keys, queries, metadata)
def test_what_botocore_signs_in_the_header_is_accepted(
    method: str, key: str, query: dict[str, str], extra: dict[str, str]
) -> None:
    """Any method, key, query and metadata signed by S3SigV4Auth verifies."""
    authenticated = check(sign_header(method, key, query, extra), now_ms=now_ms())
    assert authenticated.principal.account == ALICE


@settings(max_examples=150, deadline=None)
@given(methods, keys, queries, metadata)
def test_what_botocore_presigns_is_accepted(
    method: str, key: str, query: dict[str, str], extra: dict[str, str]
) -> None:
    """Any method, key, query and signed metadata presigned by S3SigV4QueryAuth verifies."""
    authenticated = check(presign(method, key, query, extra), now_ms=now_ms())
    assert authenticated.principal.account == ALICE


@settings(max_examples=300, deadline=None)
@given(
    st.sampled_from([sign_header, presign]),
    keys,
    queries,
    metadata,
    st.sampled_from(["method", "path", "query", "host", "header"]),
    st.integers(0, 10_000),
)
def test_one_changed_byte_is_refused(
    signer: object,
    key: str,
    query: dict[str, str],
    extra: dict[str, str],
    where: str,
    index: int,
) -> None:
    """A change to the method, path, query, host or a signed header is refused with an ApiError."""
    assert callable(signer)
    request = signer("PUT", key, query, extra)
    changed = request
    if where == "method":
        changed = rebuilt(request, method="POST")
    elif where == "path":
        changed = rebuilt(request, raw_path=flip(request.raw_path, index))
        if canonical_uri(changed.raw_path) == canonical_uri(request.raw_path):
            return
    elif where == "query":
        if not request.raw_query:
            return
        changed = rebuilt(request, raw_query=flip(request.raw_query, index))
        if canonical_query_pairs(changed.raw_query) == canonical_query_pairs(request.raw_query):
            return
    elif where == "host":
        changed = rebuilt(request, host=flip(request.host, index))
    else:
        signed = sorted(
            name for name, value in request.headers.items() if name.startswith("x-amz-") and value
        )
        if "authorization" in request.headers:
            signed.append("authorization")
        if not signed:
            return
        name = signed[index % len(signed)]
        value = flip(request.headers[name], index)
        if canonical_header_value(value) == request.headers[name]:
            return
        changed = rebuilt(request, headers={**request.headers, name: value})
    with pytest.raises(ApiError):
        check(changed, now_ms=now_ms())


V2_QUERIES = st.dictionaries(
    st.sampled_from(
        [
            "versionId",
            "partNumber",
            "uploadId",
            "response-content-type",
            "response-content-disposition",
            "prefix",
            "max-keys",
        ]
    ),
    st.text(
        st.characters(exclude_categories=["Cs", "Cc", "Zl", "Zp", "Zs"]), min_size=1, max_size=20
    ),
    max_size=4,
)


@settings(max_examples=150, deadline=None)
@given(st.sampled_from(["GET", "HEAD"]), keys, V2_QUERIES, metadata)
def test_what_botocore_presigns_with_version_2_is_accepted(
    method: str, key: str, query: dict[str, str], extra: dict[str, str]
) -> None:
    """GET and HEAD presigned by HmacV1QueryAuth verify, with overrides and hoisted headers."""
    request = presign_v2(method, key, query, extra)
    authenticated = check(request, now_ms=now_ms())
    assert authenticated.principal.account == ALICE
    assert authenticated.query_headers == extra


@settings(max_examples=150, deadline=None)
@given(
    keys,
    V2_QUERIES,
    st.sampled_from(["method", "path", "signed", "signature"]),
    st.integers(0, 999),
)
def test_one_changed_byte_of_version_2_is_refused(
    key: str, query: dict[str, str], where: str, index: int
) -> None:
    """A change to the method, path, a signed parameter, the expiry or the signature is refused."""
    query = {**query, "versionId": "abc"}
    request = presign_v2("GET", key, query, {})
    if where == "method":
        changed = rebuilt(request, method="HEAD")
    elif where == "path":
        changed = rebuilt(request, raw_path=flip(request.raw_path, index))
    elif where == "signed":
        changed = rebuilt(
            request, raw_query=request.raw_query.replace("versionId=a", "versionId=b")
        )
    else:
        head, _, tail = request.raw_query.partition("Signature=")
        changed = rebuilt(request, raw_query=f"{head}Signature={flip(tail, index % 20)}")
        if canonical_query_pairs(changed.raw_query) == canonical_query_pairs(request.raw_query):
            return
    with pytest.raises(ApiError):
        check(changed, now_ms=now_ms())


def presign_v2(method: str, key: str, query: dict[str, str], extra: dict[str, str]) -> Request:
    signed = AWSRequest(method=method, url=to_url(key, query), headers=dict(extra))
    HmacV1QueryAuth(CREDENTIALS, expires=600).add_auth(signed)
    request = to_request(signed)
    return rebuilt(request, headers={"host": request.host})


def test_a_presigned_request_of_botocore_ends_with_its_time() -> None:
    """The same URL is accepted now and refused eleven minutes later."""
    for request in (presign("GET", "k", {}, {}), presign_v2("GET", "k", {}, {})):
        later = datetime.now(UTC) + timedelta(minutes=11)
        check(request, now_ms=now_ms())
        with pytest.raises(ApiError, match="Request has expired"):
            check(request, now_ms=int(later.timestamp() * 1000))
