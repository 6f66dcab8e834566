"""AWS Signature Version 4: verifies who signed a request, in its header or in its query.

Signer and server share a secret. The signer hashes the canonical request (`rs3gwd.iam.canonical`)
and signs date, scope and hash with a key derived from the secret for one day, region and service;
the server does the same and compares. So a right signature proves that the holder of the secret
meant this method, path, query, these headers and (through the payload hash) this body, at about
this time. What is not signed is not meant: `host` and all x-amz-* headers must be signed.

Order of the checks: form, scope, time, coverage of headers, then key and signature. An unknown
key costs the same work as a known one, with a secret that belongs to nobody, and is refused
whatever the comparison says.

Sources: "Authenticating Requests: Using the Authorization Header" and "Using Query Parameters" in
the Amazon S3 API Reference. This module knows no clock: `now_ms` is an argument.
"""

import hmac
from collections import OrderedDict
from collections.abc import Sequence
from hashlib import sha256

from msgspec import Struct

from rs3gwd.base.errors import ApiError
from rs3gwd.base.http import Request
from rs3gwd.iam.canonical import (
    QueryPairs,
    canonical_header_value,
    canonical_request,
    canonical_uri,
    join_query,
)
from rs3gwd.iam.principal import Principal
from rs3gwd.iam.refusal import (
    given_more_than_once,
    request_has_expired,
    signature_does_not_match,
)
from rs3gwd.iam.signers import Signers
from rs3gwd.iam.sigv4_claim import (
    ALGORITHM,
    MALFORMED_HEADER,
    MALFORMED_QUERY,
    Claim,
    Signer,
    authentication_parameters,
    date_required,
    read_header,
    read_lifetime,
    read_query,
)
from rs3gwd.iam.timestamps import format_extended, parse_basic

SKEW_MS_MAX = 15 * 60 * 1000
"""Milliseconds that a client's clock may be off, either way; AWS allows the same."""

_SINGLE_HEADERS = ("authorization", "host", "date", "x-amz-date", "x-amz-content-sha256")

_HASH_BLOCK_BYTES = 64
_INNER_PAD = bytes(byte ^ 0x36 for byte in range(256))
_OUTER_PAD = bytes(byte ^ 0x5C for byte in range(256))


class SigningKey:
    """A derived key that signs: HMAC-SHA256 (RFC 2104) with its two keyed hashes begun beforehand.

    A copy of a begun hash costs 0.1 us; OpenSSL's HMAC looks its algorithm up anew in each call,
    which makes one signature 1.8 us instead of 0.7.
    """

    __slots__ = ("_inner", "_outer", "key")

    def __init__(self, key: bytes) -> None:
        """`key` is the 32 bytes of `derive_signing_key`."""
        self.key = key
        block = key.ljust(_HASH_BLOCK_BYTES, b"\0")
        self._inner = sha256(block.translate(_INNER_PAD))
        self._outer = sha256(block.translate(_OUTER_PAD))

    def sign(self, text: bytes) -> str:
        """The signature in 64 lower-case hex digits."""
        inner, outer = self._inner.copy(), self._outer.copy()
        inner.update(text)
        outer.update(inner.digest())
        return outer.hexdigest()


class SigningKeyCache:
    """Signing keys by secret, date, region and service, the least recently used dropped first.

    Deriving one is four HMACs (about 8 us) and it lasts a day. Not thread-safe: one per event loop.
    """

    def __init__(self, *, entries_max: int = 4096) -> None:
        """`entries_max` bounds the memory, at about 1 KiB an entry; at least 1."""
        self._keys: OrderedDict[tuple[str, str, str, str], SigningKey] = OrderedDict()
        self._entries_max = entries_max

    def __len__(self) -> int:
        return len(self._keys)

    def get(self, secret: str, date: str, region: str, service: str = "s3") -> SigningKey:
        """The signing key for a service; `date` is `YYYYMMDD`."""
        wanted = (secret, date, region, service)
        key = self._keys.get(wanted)
        if key is not None:
            self._keys.move_to_end(wanted)
            return key
        key = SigningKey(derive_signing_key(secret, date=date, region=region, service=service))
        if len(self._keys) >= self._entries_max:
            self._keys.popitem(last=False)
        self._keys[wanted] = key
        return key


class SignedRequest(Struct, frozen=True):
    """A verified signature: who, and what the signatures of aws-chunked chunks build on.

    `timestamp` is basic ISO 8601, `scope` is `date/region/s3/aws4_request`, `signature` the seed of
    the chain. `payload_hash` is what the signer put in the place of the body's hash.
    """

    principal: Principal
    signing_key: SigningKey
    timestamp: str
    scope: str
    signature: str
    payload_hash: str


def derive_signing_key(secret: str, *, date: str, region: str, service: str) -> bytes:
    """The key that signs for one day, region and service: four HMACs in a chain."""
    key = hmac.digest(f"AWS4{secret}".encode(), date.encode(), "sha256")
    key = hmac.digest(key, region.encode(), "sha256")
    key = hmac.digest(key, service.encode(), "sha256")
    return hmac.digest(key, b"aws4_request", "sha256")


def string_to_sign(*, timestamp: str, scope: str, request: bytes) -> bytes:
    """What is signed for a canonical request."""
    return f"{ALGORITHM}\n{timestamp}\n{scope}\n{sha256(request).hexdigest()}".encode("latin-1")


def verify_header(
    request: Request,
    query: QueryPairs,
    *,
    signers: Signers,
    now_ms: int,
    region: str,
    signing_keys: SigningKeyCache,
    service: str = "s3",
    payload_hash: str | None = None,
) -> SignedRequest:
    """Verifies an Authorization header that begins with AWS4-.

    `query` are the canonical pairs of the request, `region` and `service` the ones that are
    accepted. `payload_hash` is the SHA-256 of the body, where the service's requests do not say it.
    Raises NotOpened, and ApiError: AuthorizationHeaderMalformed, InvalidArgument, InvalidRequest,
    InvalidToken, ExpiredToken, AccessDenied, RequestTimeTooSkewed, InvalidAccessKeyId,
    SignatureDoesNotMatch, NotImplemented.
    """
    headers = request.headers
    if request.repeated_headers:
        _refuse_repeated_headers(request)
    claim = read_header(headers, region=region, service=service, payload_hash=payload_hash)
    request_ms = parse_basic(claim.timestamp)
    if request_ms is None:
        raise date_required()
    if not -SKEW_MS_MAX <= now_ms - request_ms <= SKEW_MS_MAX:
        raise ApiError(
            "RequestTimeTooSkewed",
            "The difference between the request time and the current time is too large.",
            fields={
                "RequestTime": claim.timestamp,
                "ServerTime": format_extended(now_ms),
                "MaxAllowedSkewMilliseconds": str(SKEW_MS_MAX),
            },
        )
    return _verify(request, query, claim, now_ms=now_ms, signers=signers, signing_keys=signing_keys)


def verify_query(
    request: Request,
    query: QueryPairs,
    *,
    signers: Signers,
    now_ms: int,
    region: str,
    signing_keys: SigningKeyCache,
) -> SignedRequest:
    """Verifies a presigned request; arguments as for `verify_header`.

    Raises NotOpened, and ApiError: AuthorizationQueryParametersError, InvalidArgument,
    InvalidToken, ExpiredToken, AccessDenied (expired, not yet valid, unsigned headers),
    InvalidAccessKeyId, SignatureDoesNotMatch, NotImplemented.
    """
    if request.repeated_headers:
        _refuse_repeated_headers(request)
    parameters = authentication_parameters(query)
    claim = read_query(parameters, request.headers, region=region)
    request_ms = parse_basic(claim.timestamp)
    if request_ms is None:
        raise ApiError(
            MALFORMED_QUERY,
            "X-Amz-Date must be in the ISO8601 Long Format \"yyyyMMdd'T'HHmmss'Z'\"",
        )
    lifetime_s = read_lifetime(parameters["X-Amz-Expires"])
    if now_ms < request_ms - SKEW_MS_MAX:
        raise ApiError(
            "AccessDenied",
            "Request is not yet valid",
            fields={"ServerTime": format_extended(now_ms)},
        )
    expires_ms = request_ms + lifetime_s * 1000
    if now_ms > expires_ms:
        raise request_has_expired(
            expires_ms=expires_ms, now_ms=now_ms, expires_s=parameters["X-Amz-Expires"]
        )
    unsigned_query = [pair for pair in query if pair[0] != "X-Amz-Signature"]
    return _verify(
        request, unsigned_query, claim, now_ms=now_ms, signers=signers, signing_keys=signing_keys
    )


def _verify(
    request: Request,
    query: QueryPairs,
    claim: Claim,
    *,
    now_ms: int,
    signers: Signers,
    signing_keys: SigningKeyCache,
) -> SignedRequest:
    """The heart: coverage of headers, canonical request, signature."""
    signer = claim.signer
    canonical = canonical_request(
        method=request.method,
        uri=canonical_uri(request.raw_path),
        query=join_query(query) if query else "",
        headers=_signed_header_block(request, signer),
        signed_headers=signer.signed_headers,
        payload_hash=claim.payload_hash,
    )
    text = string_to_sign(timestamp=claim.timestamp, scope=signer.scope, request=canonical)
    found = signers.find(signer.access_key_id, claim.token, now_ms, request.peer)
    signing_key = signing_keys.get(found.secret, signer.date, signer.region, signer.service)
    # Text that is not ASCII cannot be compared in constant time, and cannot be hex digits.
    matches = claim.signature.isascii() and hmac.compare_digest(
        signing_key.sign(text), claim.signature
    )
    if found.principal is None:
        assert found.refusal is not None
        raise found.refusal
    if not matches:
        raise signature_does_not_match(
            access_key_id=signer.access_key_id,
            signature_provided=claim.signature,
            string_to_sign=text,
            canonical_request=canonical,
        )
    return SignedRequest(
        principal=found.principal,
        signing_key=signing_key,
        timestamp=claim.timestamp,
        scope=signer.scope,
        signature=claim.signature,
        payload_hash=claim.payload_hash,
    )


def _signed_header_block(request: Request, signer: Signer) -> str:
    """The canonical lines of the signed headers; refuses what must be signed and is not."""
    headers = request.headers
    names = signer.header_names
    # AWS asks for ascending order, which also means that no name is there twice.
    if not signer.are_ascending:
        raise _not_covered(names, headers)
    block = ""
    for name in names:
        value = request.host if name == "host" else headers.get(name)
        if value is None:
            raise _not_covered(names, headers)
        if " " in value or not value.isprintable():
            value = canonical_header_value(value)
        block += f"{name}:{value}\n"
    unsigned = [name for name in headers.keys() - signer.header_set if name.startswith("x-amz-")]
    if unsigned or not signer.signs_host:
        raise _headers_not_signed([*([] if signer.signs_host else ["host"]), *sorted(unsigned)])
    return block


def _not_covered(names: Sequence[str], headers: dict[str, str]) -> ApiError:
    """SignedHeaders names a header that was not sent, or is not sorted, or repeats a name."""
    missing = [name for name in names if name != "host" and name not in headers]
    if missing:
        return ApiError(
            "AccessDenied",
            "There were signed headers that are not present in the request",
            fields={"HeadersNotPresent": ", ".join(missing)},
        )
    return ApiError(
        MALFORMED_HEADER,
        "The authorization header is malformed; SignedHeaders must be lower case, in "
        "alphabetical order and without repeats.",
    )


def _headers_not_signed(names: list[str]) -> ApiError:
    return ApiError(
        "AccessDenied",
        "There were headers present in the request which were not signed",
        fields={"HeadersNotSigned": ", ".join(names)},
    )


def _refuse_repeated_headers(request: Request) -> None:
    for name in _SINGLE_HEADERS:
        if name in request.repeated_headers:
            raise given_more_than_once(name)
