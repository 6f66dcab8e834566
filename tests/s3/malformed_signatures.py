"""Malformed requests: credentials, signatures and times."""

from malformed_case import Case, Change
from s3_world import BOB

OWN_HEX = "a" * 64


def _credential(headers: dict[str, str], **fields: str) -> dict[str, str]:
    """The Authorization header with one of its three fields replaced."""
    value = headers["authorization"]
    for name, new in fields.items():
        start = value.index(f"{name}=")
        end = value.find(",", start)
        tail = value[end:] if end >= 0 else ""
        value = f"{value[:start]}{name}={new}{tail}"
    return {"authorization": value}


def _redated(headers: dict[str, str], date: str) -> dict[str, str]:
    day = headers["x-amz-date"][:8]
    return {
        "x-amz-date": date,
        "authorization": headers["authorization"].replace(day, date[:8]),
    }


_GET = ("GET", "/bucket/key")


def _get(name: str, status: int, code: str, change: Change) -> Case:
    return Case(name, *_GET, status, code, change=change)


_MALFORMED = "AuthorizationHeaderMalformed"
SIGNATURES = [
    Case("anonymous GET", *_GET, 403, "AccessDenied", by=None),
    Case("anonymous list of buckets", "GET", "/", 403, "AccessDenied", by=None),
    Case("anonymous PUT", "PUT", "/bucket/key", 403, "AccessDenied", by=None),
    Case("another account's bucket", *_GET, 403, "AccessDenied", by=BOB),
    Case("making another's bucket", "PUT", "/bucket", 409, "BucketAlreadyExists", by=BOB),
    Case(
        "wrong expected owner",
        *_GET,
        403,
        "AccessDenied",
        headers={"x-amz-expected-bucket-owner": "b" * 64},
    ),
    _get(
        "signature of zeros",
        403,
        "SignatureDoesNotMatch",
        lambda h: _credential(h, Signature="0" * 64),
    ),
    _get(
        "signature cut short",
        403,
        "SignatureDoesNotMatch",
        lambda h: _credential(h, Signature="0" * 63),
    ),
    _get(
        "signature that is no hex",
        403,
        "SignatureDoesNotMatch",
        lambda h: _credential(h, Signature="z" * 64),
    ),
    _get("empty signature", 400, _MALFORMED, lambda h: _credential(h, Signature="")),
    _get(
        "unknown key",
        403,
        "InvalidAccessKeyId",
        lambda h: {"authorization": h["authorization"].replace("AKIATEST", "AKIANONE")},
    ),
    _get("scope without slashes", 400, _MALFORMED, lambda h: _credential(h, Credential="AKIA")),
    _get(
        "scope of another region",
        400,
        _MALFORMED,
        lambda h: {"authorization": h["authorization"].replace("us-east-1", "eu-west-9")},
    ),
    _get(
        "scope of another service",
        400,
        _MALFORMED,
        lambda h: {"authorization": h["authorization"].replace("/s3/", "/ec2/")},
    ),
    _get(
        "scope with another end",
        400,
        _MALFORMED,
        lambda h: {"authorization": h["authorization"].replace("aws4_request", "aws5")},
    ),
    _get(
        "scope of another day",
        400,
        _MALFORMED,
        lambda h: {"authorization": h["authorization"].replace(h["x-amz-date"][:8], "20010101")},
    ),
    _get("no signed headers", 400, _MALFORMED, lambda h: _credential(h, SignedHeaders="")),
    _get(
        "authorization of nothing",
        400,
        _MALFORMED,
        lambda _: {"authorization": "AWS4-HMAC-SHA256"},
    ),
    _get(
        "authorization of junk",
        400,
        _MALFORMED,
        lambda _: {"authorization": "AWS4-HMAC-SHA256 a=b, c"},
    ),
    _get("basic authorization", 400, "InvalidArgument", lambda _: {"authorization": "Basic YTpi"}),
    _get(
        "bearer authorization",
        400,
        "InvalidArgument",
        lambda _: {"authorization": "Bearer token"},
    ),
    _get(
        "authorization of version 2",
        400,
        "InvalidRequest",
        lambda _: {"authorization": "AWS AKIA:c2ln"},
    ),
    _get("no date", 403, "AccessDenied", lambda _: {"x-amz-date": None}),
    _get(
        "date without a time",
        403,
        "AccessDenied",
        lambda h: {"x-amz-date": h["x-amz-date"][:8] + "Tnoon"},
    ),
    _get("date of another day", 400, _MALFORMED, lambda _: {"x-amz-date": "yesterday"}),
    _get(
        "date of long ago",
        403,
        "RequestTimeTooSkewed",
        lambda h: {**_redated(h, "20200101T000000Z")},
    ),
    _get(
        "date of far ahead",
        403,
        "RequestTimeTooSkewed",
        lambda h: {**_redated(h, "20990101T000000Z")},
    ),
    _get("unsigned x-amz header", 403, "AccessDenied", lambda _: {"x-amz-meta-added": "later"}),
    _get("changed host", 403, "SignatureDoesNotMatch", lambda _: {"host": "elsewhere:9000"}),
    _get(
        "no payload hash",
        400,
        "InvalidRequest",
        lambda _: {"x-amz-content-sha256": None},
    ),
    _get(
        "payload hash that is none",
        403,
        "SignatureDoesNotMatch",
        lambda _: {"x-amz-content-sha256": "hash"},
    ),
    _get(
        "payload hash of another body",
        403,
        "SignatureDoesNotMatch",
        lambda _: {"x-amz-content-sha256": OWN_HEX},
    ),
    Case(
        "two kinds of credentials",
        *_GET,
        400,
        "InvalidArgument",
        change=lambda _: {"authorization": "AWS4-HMAC-SHA256 x"},
        presigned=True,
    ),
    Case(
        "presigned and changed",
        *_GET,
        403,
        "SignatureDoesNotMatch",
        presigned=True,
        query_tail="&partNumber=1",
    ),
    Case(
        "presigned for eight days",
        "GET",
        "/bucket/key?X-Amz-Expires=691200",
        400,
        "AuthorizationQueryParametersError",
        by=None,
        query_tail="&X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Credential=a/20240101/us-east-1/s3"
        "/aws4_request&X-Amz-Date=20240101T000000Z&X-Amz-SignedHeaders=host"
        "&X-Amz-Signature=" + "0" * 64,
    ),
    Case(
        "presigned without a signature",
        "GET",
        "/bucket/key?X-Amz-Algorithm=AWS4-HMAC-SHA256",
        400,
        "AuthorizationQueryParametersError",
        by=None,
    ),
    Case(
        "presigned with another algorithm",
        "GET",
        "/bucket/key?X-Amz-Algorithm=AWS9",
        400,
        "AuthorizationQueryParametersError",
        by=None,
    ),
    Case(
        "presigned of version 2 for PUT",
        "PUT",
        "/bucket/key?AWSAccessKeyId=a&Expires=1&Signature=b",
        400,
        "InvalidRequest",
        by=None,
    ),
]
"""Credentials, signatures and times."""
