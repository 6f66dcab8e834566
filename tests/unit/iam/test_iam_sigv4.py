"""Rules of signature version 4: form, scope, time, coverage of headers, keys."""

import pytest
from iam_world import (
    ALICE,
    AWS_KEY_ID,
    AWS_NOW_MS,
    AWS_SECRET,
    EMPTY_SHA256,
    INACTIVE_KEY_ID,
    ORPHAN_KEY_ID,
    check,
    make_request,
    presign,
    sign_header,
    signing_key,
)

from rs3gwd.base.errors import ApiError
from rs3gwd.base.http import Request
from rs3gwd.iam.signers import SECRET_OF_NOBODY
from rs3gwd.iam.sigv4 import SigningKeyCache, derive_signing_key

MINUTE_MS = 60_000


def refusal(request: Request, *, now_ms: int = AWS_NOW_MS) -> ApiError:
    """The error with which a request is refused."""
    with pytest.raises(ApiError) as caught:
        check(request, now_ms=now_ms)
    return caught.value


def with_headers(request: Request, **headers: str) -> Request:
    """The request with headers set after signing; `_` stands for `-`."""
    changed = {name.replace("_", "-"): value for name, value in headers.items()}
    return make_request(
        request.method, request.raw_path, request.raw_query, {**request.headers, **changed}
    )


def with_authorization(text: str) -> Request:
    """A request with this Authorization header and the other headers in order."""
    return make_request(
        "GET",
        "/test.txt",
        "",
        {
            "x-amz-date": "20130524T000000Z",
            "x-amz-content-sha256": EMPTY_SHA256,
            "authorization": text,
        },
    )


@pytest.mark.parametrize(
    ("offset_ms", "code"),
    [
        (15 * MINUTE_MS, None),
        (-15 * MINUTE_MS, None),
        (15 * MINUTE_MS + 1, "RequestTimeTooSkewed"),
        (-15 * MINUTE_MS - 1, "RequestTimeTooSkewed"),
    ],
)
def test_a_clock_may_be_off_by_fifteen_minutes_either_way(offset_ms: int, code: str | None) -> None:
    """Fifteen minutes are accepted, a millisecond more is RequestTimeTooSkewed."""
    request = sign_header()
    if code is None:
        assert check(request, now_ms=AWS_NOW_MS + offset_ms).principal.account == ALICE
        return
    error = refusal(request, now_ms=AWS_NOW_MS + offset_ms)
    assert error.api_code == code
    assert error.fields["RequestTime"] == "20130524T000000Z"
    assert error.fields["ServerTime"].startswith("2013-05-2")
    assert error.fields["MaxAllowedSkewMilliseconds"] == "900000"


@pytest.mark.parametrize(
    ("expires", "message"),
    [
        ("0", "at least 1"),
        ("-1", "non-negative"),
        ("604801", "less than a week"),
        ("99999999999999999999", "less than a week"),
        ("1e3", "a number"),
        ("٣", "a number"),
        ("1 ", "a number"),
    ],
)
def test_a_presigned_request_lives_one_second_to_a_week(expires: str, message: str) -> None:
    """X-Amz-Expires outside 1 to 604800 is AuthorizationQueryParametersError."""
    error = refusal(presign(expires=expires))
    assert error.api_code == "AuthorizationQueryParametersError"
    assert message in error.message


@pytest.mark.parametrize("expires", [1, 604_800])
def test_a_presigned_request_ends_exactly_when_it_says(expires: int) -> None:
    """It is good up to its last millisecond and expired one later, with AWS's fields."""
    request = presign(expires=str(expires))
    assert check(request, now_ms=AWS_NOW_MS + expires * 1000).principal.account == ALICE
    error = refusal(request, now_ms=AWS_NOW_MS + expires * 1000 + 1)
    assert (error.api_code, error.message) == ("AccessDenied", "Request has expired")
    assert error.fields["X-Amz-Expires"] == str(expires)
    assert {"Expires", "ServerTime"} <= error.fields.keys()


def test_a_presigned_request_from_the_future_is_not_yet_valid() -> None:
    """More than fifteen minutes ahead of our clock is AccessDenied."""
    assert check(presign(), now_ms=AWS_NOW_MS - 15 * MINUTE_MS).principal.account == ALICE
    error = refusal(presign(), now_ms=AWS_NOW_MS - 15 * MINUTE_MS - 1)
    assert (error.api_code, error.message) == ("AccessDenied", "Request is not yet valid")


@pytest.mark.parametrize(
    ("scope", "part"),
    [
        ("20130524/us-east-1/ec2/aws4_request", 'incorrect service "ec2"'),
        ("20130524/us-east-1/s3/aws3_request", 'incorrect terminator "aws3_request"'),
        ("20130523/us-east-1/s3/aws4_request", "Invalid credential date"),
        ("20130524/us-east-1/s3", "mal-formed"),
        ("20130524/us/east/1/s3/aws4_request", "mal-formed"),
    ],
)
def test_the_scope_must_be_ours(scope: str, part: str) -> None:
    """Another service, terminator, date or form is refused, under the code of its place."""
    header, query = refusal(sign_header(scope=scope)), refusal(presign(scope=scope))
    assert header.api_code == "AuthorizationHeaderMalformed"
    assert query.api_code == "AuthorizationQueryParametersError"
    assert part in header.message
    assert part in query.message


def test_another_region_is_refused_with_the_right_one_named() -> None:
    """SDKs take the region to sign for from the Region field."""
    for request in (
        sign_header(scope="20130524/eu-west-1/s3/aws4_request"),
        presign(scope="20130524/eu-west-1/s3/aws4_request"),
    ):
        error = refusal(request)
        assert error.api_code.startswith("Authorization")
        assert error.fields == {"Region": "us-east-1"}
        assert "the region 'eu-west-1' is wrong; expecting 'us-east-1'" in error.message


@pytest.mark.parametrize("key_id", ["AKIANOBODY0000000000", INACTIVE_KEY_ID, ORPHAN_KEY_ID])
def test_a_key_that_is_not_in_use_is_unknown(key_id: str) -> None:
    """Unknown, inactive and orphaned keys are InvalidAccessKeyId, though rightly signed."""
    for request in (sign_header(key_id=key_id), presign(key_id=key_id)):
        error = refusal(request)
        assert error.api_code == "InvalidAccessKeyId"
        assert error.fields == {"AWSAccessKeyId": key_id}


def test_a_wrong_signature_is_explained_without_the_secret() -> None:
    """SignatureDoesNotMatch carries AWS's fields and nothing of the secret or the key."""
    request = with_headers(sign_header(), x_amz_content_sha256="0" * 64)
    error = refusal(request)
    assert error.api_code == "SignatureDoesNotMatch"
    assert error.fields["AWSAccessKeyId"] == AWS_KEY_ID
    assert error.fields["CanonicalRequest"].startswith("GET\n/test.txt\n\nhost:")
    text = error.fields["StringToSign"]
    assert text.startswith("AWS4-HMAC-SHA256\n20130524T000000Z\n")
    assert bytes.fromhex(error.fields["StringToSignBytes"]).decode() == text
    canonical = bytes.fromhex(error.fields["CanonicalRequestBytes"]).decode()
    assert canonical == error.fields["CanonicalRequest"]
    assert error.fields["SignatureProvided"] in request.headers["authorization"]
    everything = str(error) + str(error.fields)
    assert AWS_SECRET not in everything
    assert signing_key().hex() not in everything


def test_every_amz_header_must_be_signed() -> None:
    """An x-amz-* header outside the signature is refused by name, in header and query signing."""
    left_out = sign_header(headers={"x-amz-acl": "public-read"}, unsigned=("x-amz-acl",))
    added = with_headers(presign(), x_amz_copy_source="/other/secret")
    for request, name in ((left_out, "x-amz-acl"), (added, "x-amz-copy-source")):
        error = refusal(request)
        assert error.api_code == "AccessDenied"
        assert error.message == "There were headers present in the request which were not signed"
        assert error.fields == {"HeadersNotSigned": name}


def test_host_must_be_signed() -> None:
    """A signature that does not cover the host is refused."""
    error = refusal(sign_header(unsigned=("host",)))
    assert error.api_code == "AccessDenied"
    assert error.fields == {"HeadersNotSigned": "host"}


def test_a_signed_header_must_be_there() -> None:
    """SignedHeaders that names a header which was not sent is refused."""
    request = sign_header(headers={"x-amz-acl": "private"})
    headers = {name: value for name, value in request.headers.items() if name != "x-amz-acl"}
    error = refusal(make_request("GET", "/test.txt", "", headers))
    assert error.api_code == "AccessDenied"
    assert error.fields == {"HeadersNotPresent": "x-amz-acl"}


def test_unsigned_headers_outside_amz_are_of_no_matter() -> None:
    """What proxies and HTTP libraries add does not break a signature."""
    request = with_headers(sign_header(), user_agent="x", accept="*/*", range="bytes=0-1")
    assert check(request).principal.account == ALICE


def test_blanks_inside_a_signed_value_collapse() -> None:
    """Runs of blanks are one space in the canonical form; bytes of UTF-8 text are not blanks."""
    signed = sign_header(headers={"x-amz-meta-a": "one two \u0085\u00a0"})
    assert check(signed).principal.account == ALICE
    sent = with_headers(signed, x_amz_meta_a="one  \t two \u0085\u00a0")
    assert check(sent).principal.account == ALICE


def test_the_date_header_stands_in_for_x_amz_date() -> None:
    """Without x-amz-date the Date header is used, in HTTP's form or in basic ISO 8601."""
    for date in ("Fri, 24 May 2013 00:00:00 GMT", "20130524T000000Z"):
        request = sign_header(headers={"date": date}, unsigned=("x-amz-date",))
        headers = {name: value for name, value in request.headers.items() if name != "x-amz-date"}
        assert check(make_request("GET", "/test.txt", "", headers)).principal.account == ALICE


@pytest.mark.parametrize(
    "headers",
    [{}, {"date": "yesterday"}, {"x-amz-date": "2013-05-24"}, {"x-amz-date": "20130532T000000Z"}],
)
def test_a_request_without_a_readable_date_is_refused(headers: dict[str, str]) -> None:
    """No date, or one that is none, is AccessDenied or does not match the scope."""
    request = sign_header()
    kept = {name: value for name, value in request.headers.items() if name != "x-amz-date"}
    error = refusal(make_request("GET", "/test.txt", "", {**kept, **headers}))
    assert error.api_code in ("AccessDenied", "AuthorizationHeaderMalformed")


GOOD = "Credential=AKIAIOSFODNN7EXAMPLE/20130524/us-east-1/s3/aws4_request"


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("AWS4-HMAC-SHA256", "AuthorizationHeaderMalformed"),
        ("AWS4-HMAC-SHA256 ", "AuthorizationHeaderMalformed"),
        (f"AWS4-HMAC-SHA256 {GOOD}", "AuthorizationHeaderMalformed"),
        (f"AWS4-HMAC-SHA256 {GOOD},SignedHeaders=host", "AuthorizationHeaderMalformed"),
        (f"AWS4-HMAC-SHA256 {GOOD},SignedHeaders=,Signature=a", "AuthorizationHeaderMalformed"),
        (f"AWS4-HMAC-SHA256 {GOOD},SignedHeaders=host,Sig=a", "AuthorizationHeaderMalformed"),
        (
            f"AWS4-HMAC-SHA256 {GOOD},SignedHeaders=host,Signature=a,More=b",
            "AuthorizationHeaderMalformed",
        ),
        (
            f"AWS4-HMAC-SHA256 {GOOD},SignedHeaders=x-amz-date;host,Signature=a",
            "AuthorizationHeaderMalformed",
        ),
        (
            f"AWS4-HMAC-SHA256 {GOOD},SignedHeaders=host;host,Signature=a",
            "AuthorizationHeaderMalformed",
        ),
        (f"AWS4-HMAC-SHA256 {GOOD},SignedHeaders=Host,Signature=a", "AccessDenied"),
        (f"AWS4-HMAC-SHA256 {GOOD},{GOOD},Signature=a", "InvalidArgument"),
        (f"AWS4-HMAC-SHA512 {GOOD},SignedHeaders=host,Signature=a", "AuthorizationHeaderMalformed"),
        (f"AWS4-ECDSA-P256-SHA256 {GOOD},SignedHeaders=host,Signature=a", "NotImplemented"),
        (
            f"AWS4-HMAC-SHA256 {GOOD},"
            "SignedHeaders=host;x-amz-content-sha256;x-amz-date,Signature=\xe9",
            "SignatureDoesNotMatch",
        ),
        (
            "AWS4-HMAC-SHA256 Credential=/20130524/us-east-1/s3/aws4_request,"
            "SignedHeaders=host,Signature=a",
            "AuthorizationHeaderMalformed",
        ),
        ("AWS AKIAIOSFODNN7EXAMPLE:c2lnbmF0dXJl", "InvalidRequest"),
        ("Bearer eyJhbGciOi", "InvalidArgument"),
        ("", "InvalidArgument"),
    ],
)
def test_a_malformed_authorization_header_is_refused(text: str, code: str) -> None:
    """Each malformed header gets its error, and the header is never echoed."""
    error = refusal(with_authorization(text))
    assert error.api_code == code
    assert "eyJhbGciOi" not in str(error) + str(error.fields)


@pytest.mark.parametrize(
    "missing",
    [
        "X-Amz-Credential",
        "X-Amz-Signature",
        "X-Amz-Date",
        "X-Amz-SignedHeaders",
        "X-Amz-Expires",
        "X-Amz-Algorithm",
    ],
)
def test_a_presigned_request_needs_all_six_parameters(missing: str) -> None:
    """Any one missing is AuthorizationQueryParametersError."""
    parts = [each for each in presign().raw_query.split("&") if not each.startswith(f"{missing}=")]
    error = refusal(make_request("GET", "/test.txt", "&".join(parts)))
    assert error.api_code == "AuthorizationQueryParametersError"


def test_an_authentication_parameter_may_not_be_there_twice() -> None:
    """A repeated X-Amz-* parameter or signed header is InvalidArgument."""
    request = presign()
    doubled = make_request("GET", "/test.txt", f"{request.raw_query}&X-Amz-Expires=1")
    assert refusal(doubled).api_code == "InvalidArgument"
    signed = sign_header()
    for name in ("authorization", "x-amz-date", "x-amz-content-sha256"):
        repeated = make_request("GET", "/test.txt", "", dict(signed.headers), repeated=(name,))
        error = refusal(repeated)
        assert (error.api_code, error.fields) == ("InvalidArgument", {"ArgumentName": name})


def test_a_signed_request_has_each_parameter_once() -> None:
    """Equal names could be put in another order without breaking the signature: InvalidArgument."""
    query = [("prefix", "a"), ("prefix", "b")]
    error = refusal(sign_header(query=query))
    assert (error.api_code, error.fields) == ("InvalidArgument", {"ArgumentName": "prefix"})
    doubled = make_request("GET", "/test.txt", f"{presign().raw_query}&a=1&a=2")
    assert refusal(doubled).api_code == "InvalidArgument"
    assert check(sign_header(query=query[:1])).principal.account == ALICE


@pytest.mark.parametrize("date", ["20130524", "20130524T000061Z", "2013-05-24T00:00:00Z", "x"])
def test_a_presigned_date_must_be_basic_iso_8601(date: str) -> None:
    """Another form of X-Amz-Date is AuthorizationQueryParametersError."""
    request = presign(timestamp=date, scope=f"{date[:8]}/us-east-1/s3/aws4_request")
    assert refusal(request).api_code == "AuthorizationQueryParametersError"


def test_credentials_in_header_and_query_are_refused() -> None:
    """Two mechanisms in one request are InvalidArgument, though both are right."""
    query = presign().raw_query
    signed = sign_header()
    error = refusal(make_request("GET", "/test.txt", query, dict(signed.headers)))
    assert error.api_code == "InvalidArgument"
    assert error.message.startswith("Only one auth mechanism allowed")
    both = refusal(make_request("GET", "/test.txt", f"{query}&AWSAccessKeyId=a&Signature=b"))
    assert both.message.startswith("Only one auth mechanism allowed")
    hidden = query.replace("X-Amz-Algorithm", "X%2DAmz%2DAlgorithm")
    assert refusal(make_request("GET", "/test.txt", hidden, dict(signed.headers))).message == (
        error.message
    )


def test_tokens_that_nobody_made_are_refused() -> None:
    """A token that is none, in header or query, is InvalidToken."""
    for request in (
        sign_header(headers={"x-amz-security-token": "t"}),
        presign(extra={"X-Amz-Security-Token": "t"}),
        presign(headers={"x-amz-security-token": "t"}),
    ):
        assert refusal(request).api_code == "InvalidToken"


def test_escapes_of_a_path_do_not_matter_but_its_segments_do() -> None:
    """The path is compared decoded, and `//`, `/./` and `/../` are kept as they are."""
    request = sign_header(path="/a//./../b c")
    assert check(request).principal.account == ALICE
    escaped = make_request("GET", "/%61//%2e/../b%20c", "", dict(request.headers))
    assert check(escaped).principal.account == ALICE
    for path in ("/a/./../b%20c", "/b%20c", "/a//../b%20c"):
        other = make_request("GET", path, "", dict(request.headers))
        assert refusal(other).api_code == "SignatureDoesNotMatch"


def test_the_cache_of_signing_keys_is_bounded_and_right() -> None:
    """It gives the derived key, drops the least recently used and never grows past its bound."""
    cache = SigningKeyCache(entries_max=2)
    for date in ("20130524", "20130525", "20130524", "20130526"):
        expected = derive_signing_key(AWS_SECRET, date=date, region="us-east-1", service="s3")
        assert cache.get(AWS_SECRET, date, "us-east-1").key == expected
        assert len(cache) <= 2
    assert cache.get("another secret", "20130524", "us-east-1").key != signing_key()
    assert cache.get(AWS_SECRET, "20130524", "us-east-1").key == signing_key()


def test_the_secret_for_unknown_keys_opens_nothing() -> None:
    """Even a request signed with the stand-in secret is refused as an unknown key."""
    cache = SigningKeyCache()
    cache.get(SECRET_OF_NOBODY, "20130524", "us-east-1")
    request = sign_header(key_id="AKIANOBODY0000000000")
    assert refusal(request).api_code == "InvalidAccessKeyId"
