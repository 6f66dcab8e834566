"""From a request to a principal and a plan for its body."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from iam_world import (
    ALICE,
    AWS_KEY_ID,
    AWS_NOW_MS,
    EMPTY_SHA256,
    SETTINGS,
    FakeDirectory,
    check,
    make_request,
    presign,
    sign_header,
)

from rs3gwd.base.errors import ApiError
from rs3gwd.base.http import Request
from rs3gwd.iam.authenticate import authenticate
from rs3gwd.iam.payload import Authenticated, PayloadKind
from rs3gwd.iam.signers import Signers
from rs3gwd.iam.sigv4 import SigningKeyCache

STREAM = {"x-amz-decoded-content-length": "5"}
TRAILER = {**STREAM, "x-amz-trailer": "x-amz-checksum-crc32"}


def gets_in(request: Request) -> bool:
    """Whether a request is taken for an account's; a refusal must be an ApiError."""
    try:
        return check(request).principal.account is not None
    except ApiError:
        return False


def code_of(request: Request) -> str:
    """The code with which a request is refused."""
    with pytest.raises(ApiError) as caught:
        check(request)
    return caught.value.api_code


def test_a_request_without_credentials_is_anonymous() -> None:
    """No credentials at all: a principal without account, its body unsigned."""
    authenticated = check(make_request("PUT", "/b/k", "prefix=a", content_length=7))
    assert authenticated.principal.account is None
    assert authenticated.principal.canonical_id == ""
    assert authenticated.payload.kind is PayloadKind.UNSIGNED
    assert authenticated.payload.decoded_length == 7
    assert authenticated.payload.decoder is None


def test_a_header_signed_request_must_say_its_payload_hash() -> None:
    """Without x-amz-content-sha256 it is InvalidRequest, as at AWS."""
    request = sign_header()
    headers = {n: v for n, v in request.headers.items() if n != "x-amz-content-sha256"}
    with pytest.raises(ApiError, match="Missing required header for this request: x-amz-content"):
        check(make_request("GET", "/test.txt", "", headers))


@pytest.mark.parametrize(
    ("payload_hash", "headers", "kind"),
    [
        (EMPTY_SHA256, {}, PayloadKind.SIGNED),
        (EMPTY_SHA256.upper(), {}, PayloadKind.SIGNED),
        ("UNSIGNED-PAYLOAD", {}, PayloadKind.UNSIGNED),
        ("STREAMING-AWS4-HMAC-SHA256-PAYLOAD", STREAM, PayloadKind.STREAMING_SIGNED),
        (
            "STREAMING-AWS4-HMAC-SHA256-PAYLOAD-TRAILER",
            TRAILER,
            PayloadKind.STREAMING_SIGNED_TRAILER,
        ),
        (
            "STREAMING-UNSIGNED-PAYLOAD-TRAILER",
            TRAILER,
            PayloadKind.STREAMING_UNSIGNED_TRAILER,
        ),
    ],
)
def test_the_plan_follows_the_payload_hash(
    payload_hash: str, headers: dict[str, str], kind: PayloadKind
) -> None:
    """Each kind of x-amz-content-sha256 gives its plan; content-encoding need not be there."""
    request = sign_header("PUT", headers=headers, payload_hash=payload_hash, content_length=99)
    plan = check(request).payload
    assert plan.kind is kind
    assert plan.expected_sha256 == (EMPTY_SHA256 if kind is PayloadKind.SIGNED else None)
    assert (plan.decoder is not None) == bool(headers)
    assert plan.decoded_length == (5 if headers else 99)
    expected = ("x-amz-checksum-crc32",) if "x-amz-trailer" in headers else ()
    assert plan.trailer_names == expected


@pytest.mark.parametrize(
    ("payload_hash", "headers", "code"),
    [
        ("", {}, "InvalidArgument"),
        ("0" * 63, {}, "InvalidArgument"),
        ("g" * 64, {}, "InvalidArgument"),
        ("unsigned-payload", {}, "InvalidArgument"),
        ("STREAMING-AWS4-HMAC-SHA256-PAYLOAD", {}, "MissingContentLength"),
        ("STREAMING-AWS4-HMAC-SHA256-PAYLOAD-TRAILER", STREAM, "MalformedTrailerError"),
        (
            "STREAMING-UNSIGNED-PAYLOAD-TRAILER",
            {**STREAM, "x-amz-trailer": "authorization"},
            "InvalidRequest",
        ),
        (
            "STREAMING-UNSIGNED-PAYLOAD-TRAILER",
            {**STREAM, "x-amz-trailer": "x-amz-checksum-crc32,x-amz-checksum-crc32"},
            "InvalidRequest",
        ),
        ("STREAMING-AWS4-HMAC-SHA256-PAYLOAD", TRAILER, "InvalidRequest"),
        ("UNSIGNED-PAYLOAD", TRAILER, "InvalidRequest"),
        (EMPTY_SHA256, TRAILER, "InvalidRequest"),
        (
            "STREAMING-AWS4-HMAC-SHA256-PAYLOAD",
            {"x-amz-decoded-content-length": "-1"},
            "InvalidArgument",
        ),
        (
            "STREAMING-AWS4-HMAC-SHA256-PAYLOAD",
            {"x-amz-decoded-content-length": "1_0"},
            "InvalidArgument",
        ),
        (
            "STREAMING-AWS4-HMAC-SHA256-PAYLOAD",
            {"x-amz-decoded-content-length": "9" * 40},
            "InvalidArgument",
        ),
        ("STREAMING-AWS4-ECDSA-P256-SHA256-PAYLOAD", STREAM, "NotImplemented"),
        ("STREAMING-AWS4-ECDSA-P256-SHA256-PAYLOAD-TRAILER", TRAILER, "NotImplemented"),
    ],
)
def test_a_payload_hash_that_cannot_be_is_refused(
    payload_hash: str, headers: dict[str, str], code: str
) -> None:
    """Unknown values and missing companions are refused though rightly signed."""
    assert code_of(sign_header("PUT", headers=headers, payload_hash=payload_hash)) == code


def test_an_unsigned_stream_may_come_without_a_trailer() -> None:
    """S3 takes it and computes a checksum of its own; one that was not announced is refused."""
    request = sign_header(
        "PUT", headers=STREAM, payload_hash="STREAMING-UNSIGNED-PAYLOAD-TRAILER", content_length=99
    )
    decoder = check(request).payload.decoder
    assert decoder is not None
    assert b"".join(decoder.feed(b"5\r\nhello\r\n0\r\n\r\n")) == b"hello"
    assert decoder.finish() == {}
    decoder = check(request).payload.decoder
    assert decoder is not None
    with pytest.raises(ApiError, match="MalformedTrailerError"):
        decoder.feed(b"5\r\nhello\r\n0\r\nx-amz-checksum-crc32:NhCmhg==\r\n\r\n")


@pytest.mark.parametrize("payload_hash", ["STREAMING-AWS4-HMAC-SHA256-PAYLOAD", EMPTY_SHA256])
def test_a_trailer_announced_beside_its_header_is_not_waited_for(payload_hash: str) -> None:
    """As the AWS SDK for Java 2.x sends a checksum that it was given: nothing stays unchecked."""
    headers = {**TRAILER, "x-amz-checksum-crc32": "NhCmhg=="}
    request = sign_header("PUT", headers=headers, payload_hash=payload_hash, content_length=99)
    assert check(request).payload.trailer_names == ()


def test_an_anonymous_body_may_be_aws_chunked_but_not_signed() -> None:
    """The unsigned trailer form is decoded for anonymous callers; signed chunks need a seed."""
    headers = {**TRAILER, "x-amz-content-sha256": "STREAMING-UNSIGNED-PAYLOAD-TRAILER"}
    plan = check(make_request("PUT", "/b/k", "", headers)).payload
    assert plan.decoder is not None
    out = plan.decoder.feed(b"5\r\nhello\r\n0\r\nx-amz-checksum-crc32:NhCmhg==\r\n\r\n")
    assert b"".join(out) == b"hello"
    assert plan.decoder.finish() == {"x-amz-checksum-crc32": "NhCmhg=="}
    signed = {**STREAM, "x-amz-content-sha256": "STREAMING-AWS4-HMAC-SHA256-PAYLOAD"}
    assert code_of(make_request("PUT", "/b/k", "", signed)) == "InvalidRequest"


def test_an_anonymous_hash_is_still_a_promise() -> None:
    """A hash sent by an anonymous caller is part of the plan."""
    request = make_request("PUT", "/b/k", "", {"x-amz-content-sha256": "0" * 64})
    assert check(request).payload.expected_sha256 == "0" * 64


def test_a_presigned_body_is_unsigned_unless_its_hash_was_signed() -> None:
    """UNSIGNED-PAYLOAD by default and by parameter (the JavaScript SDK); a signed hash binds."""
    assert check(presign("PUT")).payload.kind is PayloadKind.UNSIGNED
    named = presign("PUT", extra={"X-Amz-Content-Sha256": "UNSIGNED-PAYLOAD"})
    assert check(named).payload.kind is PayloadKind.UNSIGNED
    assert check(named).query_headers == {}
    in_header = presign("PUT", headers={"x-amz-content-sha256": "UNSIGNED-PAYLOAD"})
    assert check(in_header).payload.kind is PayloadKind.UNSIGNED
    digest = "ab" * 32
    for request in (
        presign("PUT", extra={"X-Amz-Content-Sha256": digest}, payload_hash=digest),
        presign("PUT", headers={"x-amz-content-sha256": digest}, payload_hash=digest),
    ):
        plan = check(request).payload
        assert (plan.kind, plan.expected_sha256) == (PayloadKind.SIGNED, digest)


@pytest.mark.parametrize(
    "kind", ["STREAMING-UNSIGNED-PAYLOAD-TRAILER", "STREAMING-AWS4-HMAC-SHA256-PAYLOAD"]
)
def test_a_presigned_request_cannot_ask_for_a_stream(kind: str) -> None:
    """Query credentials with a streaming kind are refused, signed in or added later."""
    headers = {**TRAILER, "x-amz-content-sha256": kind}
    assert code_of(presign("PUT", headers=headers, payload_hash=kind)) == "InvalidArgument"
    bare = presign("PUT")
    added = make_request("PUT", "/test.txt", bare.raw_query, headers)
    assert code_of(added) == "AccessDenied"


def test_headers_moved_into_the_query_are_given_back() -> None:
    """x-amz-* parameters of a presigned request are its headers, by lower-case name."""
    request = presign("PUT", extra={"x-amz-meta-Colour": "blå & gul", "X-Amz-Acl": "private"})
    headers = check(request).query_headers
    assert headers["x-amz-acl"] == "private"
    assert headers["x-amz-meta-colour"].encode("latin-1").decode() == "blå & gul"
    twice = presign("PUT", extra={"x-amz-acl": "private", "X-Amz-Acl": "public-read"})
    assert code_of(twice) == "InvalidArgument"
    clash = presign("PUT", headers={"x-amz-acl": "b"}, extra={"x-amz-acl": "a"})
    assert code_of(clash) == "InvalidArgument"


@pytest.mark.parametrize("value", ["/a\r\nSet-Cookie: a=b", "\n", "/\0", "\x7f"])
def test_a_header_moved_into_the_query_is_held_to_what_a_header_can_be(value: str) -> None:
    """Else a presigned upload could store a line break that every later answer would hold."""
    request = presign("PUT", extra={"x-amz-website-redirect-location": value})
    assert code_of(request) == "InvalidArgument"
    assert check(presign("PUT", extra={"x-amz-meta-a": "a\tb"})).query_headers


def test_a_checksum_of_nothing_in_the_query_is_passed_over() -> None:
    """The AWS SDK for JavaScript presigns the checksum of a body that it does not have yet."""
    hint = {"x-amz-sdk-checksum-algorithm": "CRC32"}
    empty = presign("PUT", extra={"x-amz-checksum-crc32": "AAAAAA==", **hint})
    assert check(empty).query_headers == {}
    real = presign("PUT", extra={"x-amz-checksum-crc32": "HYZs4w==", **hint})
    assert check(real).query_headers == {"x-amz-checksum-crc32": "HYZs4w=="}


WORDS = st.one_of(
    st.text(st.characters(max_codepoint=255, exclude_characters="\r\n\0"), max_size=60),
    st.sampled_from(
        [
            "AWS4-HMAC-SHA256 Credential=AKIAIOSFODNN7EXAMPLE/20130524/us-east-1/s3/aws4_request"
            ", SignedHeaders=host;x-amz-date, Signature=00",
            "20130524T000000Z",
            "STREAMING-UNSIGNED-PAYLOAD-TRAILER",
            "STREAMING-AWS4-HMAC-SHA256-PAYLOAD",
            "Fri, 24 May 2013 00:00:00 GMT",
            "x-amz-checksum-crc32",
            EMPTY_SHA256,
            "7",
        ]
    ),
)
HEADERS = st.dictionaries(
    st.sampled_from(
        [
            "authorization",
            "date",
            "x-amz-date",
            "x-amz-content-sha256",
            "x-amz-decoded-content-length",
            "x-amz-trailer",
            "x-amz-security-token",
            "x-amz-acl",
            "content-type",
        ]
    ),
    WORDS,
)
VISIBLE = st.text(st.characters(min_codepoint=33, max_codepoint=126), max_size=60)
PARAMETERS = st.lists(
    st.tuples(
        st.sampled_from(
            [
                "X-Amz-Algorithm",
                "X-Amz-Credential",
                "X-Amz-Date",
                "X-Amz-Expires",
                "X-Amz-SignedHeaders",
                "X-Amz-Signature",
                "X-Amz-Content-Sha256",
                "AWSAccessKeyId",
                "Signature",
                "Expires",
                "response-content-type",
                "x-amz-acl",
                "%zz",
            ]
        ),
        st.one_of(
            VISIBLE,
            st.sampled_from(
                [
                    "AWS4-HMAC-SHA256",
                    "AKIAIOSFODNN7EXAMPLE/20130524/us-east-1/s3/aws4_request",
                    "20130524T000000Z",
                    "600",
                    "host",
                    AWS_KEY_ID,
                    "1369353700",
                    "%ff%00",
                ]
            ),
        ),
    ),
    max_size=9,
)


@settings(max_examples=500, deadline=None)
@given(st.sampled_from(["GET", "PUT"]), VISIBLE, PARAMETERS, HEADERS)
def test_no_request_gets_in_or_breaks_out_by_chance(
    method: str, path: str, parameters: list[tuple[str, str]], headers: dict[str, str]
) -> None:
    """Whatever is sent without a key, the answer is anonymous or an ApiError."""
    query = "&".join(f"{name}={value}" for name, value in parameters)
    assert not gets_in(make_request(method, f"/{path}", query, headers))


@settings(max_examples=300, deadline=None)
@given(VISIBLE)
def test_any_raw_query_is_taken_or_refused(raw_query: str) -> None:
    """No query string, however odd, raises anything but ApiError."""
    assert not gets_in(make_request("GET", "/b", raw_query))


def test_authentication_is_the_same_with_a_warm_cache() -> None:
    """The second request with the same key takes the derived key from the cache."""
    cache = SigningKeyCache()
    results: list[Authenticated] = []
    for _ in range(2):
        results.append(
            authenticate(
                sign_header(),
                signers=Signers(FakeDirectory()),
                now_ms=AWS_NOW_MS,
                settings=SETTINGS,
                signing_keys=cache,
            )
        )
    assert results[0] == results[1]
    assert results[0].principal.account == ALICE
    assert len(cache) == 1
