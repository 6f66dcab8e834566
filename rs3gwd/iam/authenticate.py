"""Who is asking: the one place where a request becomes a principal.

A request may carry credentials in its Authorization header (version 4), in its query (version 4,
or version 2 where settings allow it), or none: then it is anonymous, a principal like any other.
Two kinds at once are refused, never ranked: what one reader of a request takes for proof another
must not overlook.

Nothing is read from the body here; the plan says how it must be read. This module knows no clock.
"""

import re
from itertools import pairwise

from msgspec import Struct

from rs3gwd.base.errors import ApiError
from rs3gwd.base.http import Request
from rs3gwd.iam import sigv2, sigv4
from rs3gwd.iam.canonical import QueryPairs, canonical_query_pairs, decode_query_text
from rs3gwd.iam.payload import Authenticated
from rs3gwd.iam.payload_plan import plan_presigned, plan_signed, plan_unsigned
from rs3gwd.iam.principal import Principal
from rs3gwd.iam.refusal import (
    given_more_than_once,
    mechanism_not_supported,
    too_many_mechanisms,
)
from rs3gwd.iam.signers import Signers
from rs3gwd.iam.sigv4 import SigningKeyCache
from rs3gwd.iam.sigv4_claim import (
    PAYLOAD_HASH_PARAMETER,
    QUERY_PARAMETERS,
    TOKEN_HEADER,
    TOKEN_PARAMETER,
)

_VERSION_4_MARKS = frozenset(
    {"X-Amz-Algorithm", "X-Amz-Credential", "X-Amz-Signature", TOKEN_PARAMETER}
)
_VERSION_2_MARKS = frozenset({"AWSAccessKeyId", "Signature"})
_AUTHENTICATION_PARAMETERS = frozenset(
    (*QUERY_PARAMETERS, PAYLOAD_HASH_PARAMETER, TOKEN_PARAMETER, TOKEN_HEADER)
)
_VERSION_2_HEADERS = frozenset({"content-md5", "content-type"})
_EMPTY_CHECKSUMS = frozenset(
    {
        ("x-amz-checksum-crc32", "AAAAAA=="),
        ("x-amz-checksum-crc32c", "AAAAAA=="),
        ("x-amz-checksum-crc64nvme", "AAAAAAAAAAA="),
        ("x-amz-checksum-sha1", "2jmj7l5rSw0yVb/vlWAYkK/YBwk="),
        ("x-amz-checksum-sha256", "47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU="),
    }
)
_SDK_HINT = "x-amz-sdk-checksum-algorithm"
"""Checksums of no bytes, and the SDKs' note of which one they made. Presigners that see no body yet
(the AWS SDK for JavaScript since 3.729) sign the checksum of nothing; S3 takes no notice of
checksums in a query. Only these are passed over here: a checksum that somebody computed is held to.
See docs/decisions/0004."""

_NOT_IN_A_HEADER = re.compile(r"[\x00-\x08\x0a-\x1f\x7f]")
"""What RFC 9110 section 5.5 keeps out of a field: in a query it comes percent-encoded, and a line
break that is stored as metadata would be one in the answer to every reader."""

_ANONYMOUS = Principal(account=None)


class AuthenticationSettings(Struct, frozen=True):
    """What the operator decides about signatures.

    `region` is the one region requests must be signed for. `presigned_v2_methods` are the methods
    for which presigned version 2 requests are taken; empty turns them off. `virtual_host_domains`
    are the domains below which a host names a bucket, lower case, without a leading dot.
    """

    region: str
    presigned_v2_methods: frozenset[str] = frozenset({"GET", "HEAD"})
    virtual_host_domains: tuple[str, ...] = ()


def authenticate(
    request: Request,
    *,
    signers: Signers,
    now_ms: int,
    settings: AuthenticationSettings,
    signing_keys: SigningKeyCache,
) -> Authenticated:
    """The principal behind a request and the plan for its body.

    `now_ms` is milliseconds since 1970. Raises ApiError with the codes of AWS (see
    `rs3gwd.iam.sigv4`, `rs3gwd.iam.sigv2` and `rs3gwd.iam.payload_plan`), and NotOpened; no other
    exception leaves it for any request that keeps to the contract of `Request`.
    """
    authorization = request.headers.get("authorization")
    query: QueryPairs = []
    is_v4_query = is_v2_query = False
    if request.raw_query:
        query = canonical_query_pairs(request.raw_query)
        names = {name for name, _ in query}
        is_v4_query = not names.isdisjoint(_VERSION_4_MARKS)
        is_v2_query = not names.isdisjoint(_VERSION_2_MARKS)
        if (authorization is not None) + is_v4_query + is_v2_query > 1:
            raise too_many_mechanisms()
        if len(names) < len(query) and (authorization is not None or is_v4_query):
            raise _repeated_parameter(query)
    if authorization is not None:
        if not authorization.startswith("AWS4-"):
            raise _unsupported_authorization(authorization)
        signed = sigv4.verify_header(
            request,
            query,
            signers=signers,
            now_ms=now_ms,
            region=settings.region,
            signing_keys=signing_keys,
        )
        return Authenticated(principal=signed.principal, payload=plan_signed(request, signed))
    if is_v4_query:
        signed = sigv4.verify_query(
            request,
            query,
            signers=signers,
            now_ms=now_ms,
            region=settings.region,
            signing_keys=signing_keys,
        )
        plan = plan_presigned(request, signed.payload_hash)
        return Authenticated(
            principal=signed.principal, payload=plan, query_headers=_query_headers(request, query)
        )
    if is_v2_query:
        principal = sigv2.verify_query(
            request,
            query,
            signers=signers,
            now_ms=now_ms,
            allowed_methods=settings.presigned_v2_methods,
            virtual_host_domains=settings.virtual_host_domains,
        )
        return Authenticated(
            principal=principal,
            payload=plan_unsigned(request),
            query_headers=_query_headers(request, query, _VERSION_2_HEADERS),
        )
    if TOKEN_HEADER in request.headers:
        raise ApiError("AccessDenied", "A session token needs a signature")
    return Authenticated(principal=_ANONYMOUS, payload=plan_unsigned(request))


def _repeated_parameter(query: QueryPairs) -> ApiError:
    """Order is not signed between equal names, so their first value could be chosen by others."""
    repeated = next(one[0] for one, next_one in pairwise(query) if one[0] == next_one[0])
    return given_more_than_once(repeated)


def _unsupported_authorization(authorization: str) -> ApiError:
    """The value is not echoed: it may hold somebody's token for another service."""
    if authorization.startswith("AWS "):
        return mechanism_not_supported()
    return ApiError(
        "InvalidArgument",
        "Unsupported Authorization Type",
        fields={"ArgumentName": "Authorization"},
    )


def _query_headers(
    request: Request, query: QueryPairs, others: frozenset[str] = frozenset()
) -> dict[str, str]:
    """The headers that the signer moved into the query, x-amz-* and `others`, in lower case."""
    found: dict[str, str] = {}
    for name, value in query:
        lower = name.lower()
        if (
            not (lower.startswith("x-amz-") or lower in others)
            or name in _AUTHENTICATION_PARAMETERS
        ):
            continue
        decoded = decode_query_text(value)
        if lower == _SDK_HINT or (lower, decoded) in _EMPTY_CHECKSUMS:
            continue
        if _NOT_IN_A_HEADER.search(decoded):
            raise ApiError(
                "InvalidArgument",
                "A header moved into the query cannot hold control characters.",
                fields={"ArgumentName": name},
            )
        if lower in found or request.headers.get(lower, decoded) != decoded:
            raise ApiError(
                "InvalidArgument",
                "A header moved into the query may be given only once.",
                fields={"ArgumentName": name},
            )
        found[lower] = decoded
    return found
