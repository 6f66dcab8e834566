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
from hashlib import sha256

from msgspec import Struct

from rs3gwd.base.errors import ApiError
from rs3gwd.base.http import Request
from rs3gwd.base.ports import Directory
from rs3gwd.base.records import AccessKeyStatus
from rs3gwd.iam.canonical import (
    QueryPairs,
    canonical_header_value,
    canonical_request,
    canonical_uri,
    decode_query_text,
    join_query,
)
from rs3gwd.iam.principal import Principal
from rs3gwd.iam.refusal import (
    request_has_expired,
    signature_does_not_match,
    signed_more_than_once,
    token_not_supported,
    unknown_access_key,
)
from rs3gwd.iam.timestamps import basic_of_http_date, format_extended, parse_basic

ALGORITHM = "AWS4-HMAC-SHA256"
"""The one algorithm verified here."""

ASYMMETRIC_ALGORITHM = "AWS4-ECDSA-P256-SHA256"
"""SigV4A, for multi-region access points: answered with NotImplemented."""

UNSIGNED_PAYLOAD = "UNSIGNED-PAYLOAD"

SKEW_MS_MAX = 15 * 60 * 1000
"""Milliseconds that a client's clock may be off, either way; AWS allows the same."""

EXPIRES_S_MAX = 604_800
"""Seconds that a presigned request may live: seven days, the life of a signing key at AWS."""

QUERY_PARAMETERS = (
    "X-Amz-Algorithm",
    "X-Amz-Credential",
    "X-Amz-Signature",
    "X-Amz-Date",
    "X-Amz-SignedHeaders",
    "X-Amz-Expires",
)
"""What a presigned request must carry, each once."""

PAYLOAD_HASH_PARAMETER = "X-Amz-Content-Sha256"
TOKEN_PARAMETER = "X-Amz-Security-Token"

_SINGLE_HEADERS = ("authorization", "host", "date", "x-amz-date", "x-amz-content-sha256")

_SECRET_OF_NOBODY = "no account has this secret; it keeps the work for unknown keys the same"

_MALFORMED = "AuthorizationHeaderMalformed"
_MALFORMED_QUERY = "AuthorizationQueryParametersError"


class SigningKeyCache:
    """Derived keys by secret, date and region, the least recently used dropped first.

    A key is four HMACs (about 8 us) and lasts a day. Not thread-safe: one per event loop.
    """

    def __init__(self, *, entries_max: int = 4096) -> None:
        """`entries_max` bounds the memory, at about 400 bytes an entry; at least 1."""
        self._keys: OrderedDict[tuple[str, str, str], bytes] = OrderedDict()
        self._entries_max = entries_max

    def __len__(self) -> int:
        return len(self._keys)

    def get(self, secret: str, date: str, region: str) -> bytes:
        """The signing key for service s3; `date` is `YYYYMMDD`."""
        wanted = (secret, date, region)
        key = self._keys.get(wanted)
        if key is not None:
            self._keys.move_to_end(wanted)
            return key
        key = derive_signing_key(secret, date=date, region=region, service="s3")
        if len(self._keys) >= self._entries_max:
            self._keys.popitem(last=False)
        self._keys[wanted] = key
        return key


class SignedRequest(Struct, frozen=True):
    """A verified signature: who, and what the signatures of aws-chunked chunks build on.

    `timestamp` is basic ISO 8601, `scope` is `date/region/s3/aws4_request`, `signature` the seed of
    the chain. `payload_hash` is what the signer put in the place of the body's hash, None when a
    header-signed request carries none.
    """

    principal: Principal
    signing_key: bytes
    timestamp: str
    scope: str
    signature: str
    payload_hash: str


class _Claim(Struct):
    """What a request says of its own signature; nothing in it is proved yet."""

    access_key_id: str
    date: str
    region: str
    scope: str
    timestamp: str
    signed_headers: str
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


def sign(signing_key: bytes, text: bytes) -> str:
    """The signature in 64 lower-case hex digits."""
    return hmac.digest(signing_key, text, "sha256").hex()


def verify_header(
    request: Request,
    query: QueryPairs,
    *,
    directory: Directory,
    now_ms: int,
    region: str,
    signing_keys: SigningKeyCache,
) -> SignedRequest:
    """Verifies an Authorization header that begins with AWS4-.

    `query` are the canonical pairs of the request, `region` the one region that is accepted.
    Raises ApiError: AuthorizationHeaderMalformed, InvalidArgument, InvalidRequest, InvalidToken,
    AccessDenied, RequestTimeTooSkewed, InvalidAccessKeyId, SignatureDoesNotMatch, NotImplemented.
    """
    headers = request.headers
    if request.repeated_headers:
        _refuse_repeated_headers(request)
    claim = _read_header(headers["authorization"], headers, region)
    if "x-amz-security-token" in headers:
        raise token_not_supported()
    request_ms = parse_basic(claim.timestamp)
    if request_ms is None:
        raise _date_required()
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
    return _verify(request, query, claim, directory=directory, signing_keys=signing_keys)


def verify_query(
    request: Request,
    query: QueryPairs,
    *,
    directory: Directory,
    now_ms: int,
    region: str,
    signing_keys: SigningKeyCache,
) -> SignedRequest:
    """Verifies a presigned request; arguments as for `verify_header`.

    Raises ApiError: AuthorizationQueryParametersError, InvalidArgument, InvalidToken, AccessDenied
    (expired, not yet valid, unsigned headers), InvalidAccessKeyId, SignatureDoesNotMatch,
    NotImplemented.
    """
    if request.repeated_headers:
        _refuse_repeated_headers(request)
    parameters = _authentication_parameters(query)
    claim = _read_query(parameters, request.headers, region)
    request_ms = parse_basic(claim.timestamp)
    if request_ms is None:
        raise ApiError(
            _MALFORMED_QUERY,
            "X-Amz-Date must be in the ISO8601 Long Format \"yyyyMMdd'T'HHmmss'Z'\"",
        )
    lifetime_s = _read_lifetime(parameters["X-Amz-Expires"])
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
    return _verify(request, unsigned_query, claim, directory=directory, signing_keys=signing_keys)


def _verify(
    request: Request,
    query: QueryPairs,
    claim: _Claim,
    *,
    directory: Directory,
    signing_keys: SigningKeyCache,
) -> SignedRequest:
    """The heart: coverage of headers, canonical request, signature."""
    canonical = canonical_request(
        method=request.method,
        uri=canonical_uri(request.raw_path),
        query=join_query(query),
        headers=_signed_header_block(request, claim),
        signed_headers=claim.signed_headers,
        payload_hash=claim.payload_hash,
    )
    text = string_to_sign(timestamp=claim.timestamp, scope=claim.scope, request=canonical)
    record = directory.access_key(claim.access_key_id)
    account = None
    if record is not None and record.status is AccessKeyStatus.ACTIVE:
        account = directory.account(record.canonical_id)
    secret = _SECRET_OF_NOBODY if record is None or account is None else record.secret
    signing_key = signing_keys.get(secret, claim.date, claim.region)
    matches = hmac.compare_digest(
        sign(signing_key, text).encode(), claim.signature.encode("latin-1")
    )
    if account is None:
        raise unknown_access_key(claim.access_key_id)
    if not matches:
        raise signature_does_not_match(
            access_key_id=claim.access_key_id,
            signature_provided=claim.signature,
            string_to_sign=text,
            canonical_request=canonical,
        )
    return SignedRequest(
        principal=Principal(account=account, access_key_id=claim.access_key_id),
        signing_key=signing_key,
        timestamp=claim.timestamp,
        scope=claim.scope,
        signature=claim.signature,
        payload_hash=claim.payload_hash,
    )


def _signed_header_block(request: Request, claim: _Claim) -> str:
    """The canonical lines of the signed headers; refuses what must be signed and is not."""
    headers = request.headers
    names = claim.signed_headers.split(";")
    lines = []
    previous = ""
    for name in names:
        # Ascending also means that no name is there twice; AWS asks for this order.
        value = request.host if name == "host" else headers.get(name)
        if name <= previous or value is None:
            raise _not_covered(names, headers)
        previous = name
        lines.append(f"{name}:{canonical_header_value(value)}\n")
    unsigned = [name for name in headers if name[:6] == "x-amz-" and name not in names]
    if unsigned or "host" not in names:
        raise _headers_not_signed(unsigned if "host" in names else ["host", *unsigned])
    return "".join(lines)


def _not_covered(names: list[str], headers: dict[str, str]) -> ApiError:
    """SignedHeaders names a header that was not sent, or is not sorted, or repeats a name."""
    missing = [name for name in names if name != "host" and name not in headers]
    if missing:
        return ApiError(
            "AccessDenied",
            "There were signed headers that are not present in the request",
            fields={"HeadersNotPresent": ", ".join(missing)},
        )
    return ApiError(
        _MALFORMED,
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
            raise signed_more_than_once(name)


def _read_header(authorization: str, headers: dict[str, str], region: str) -> _Claim:
    """Takes an Authorization header apart: `algorithm Credential=, SignedHeaders=, Signature=`."""
    algorithm, _, rest = authorization.partition(" ")
    if algorithm == ASYMMETRIC_ALGORITHM:
        raise ApiError("NotImplemented", "Signature version 4A is not implemented.")
    if algorithm != ALGORITHM:
        raise ApiError(
            _MALFORMED, f"The authorization header is malformed; {algorithm} is unknown."
        )
    parts: dict[str, str] = {}
    for part in rest.split(",", 4):
        name, _, value = part.strip(" ").partition("=")
        if name in parts:
            raise signed_more_than_once(name)
        parts[name] = value
    if len(parts) != 3:
        raise _incomplete_header()
    try:
        credential, signed_headers = parts["Credential"], parts["SignedHeaders"]
        signature = parts["Signature"]
    except KeyError:
        raise _incomplete_header() from None
    if not (credential and signed_headers and signature):
        raise _incomplete_header()
    payload_hash = headers.get("x-amz-content-sha256")
    if payload_hash is None:
        raise ApiError(
            "InvalidRequest", "Missing required header for this request: x-amz-content-sha256"
        )
    return _make_claim(
        credential,
        timestamp=_header_timestamp(headers),
        signed_headers=signed_headers,
        signature=signature,
        payload_hash=payload_hash,
        region=region,
        code=_MALFORMED,
    )


def _incomplete_header() -> ApiError:
    return ApiError(
        _MALFORMED,
        "The authorization header is malformed; the authorization header requires three "
        "components: Credential, SignedHeaders, and Signature.",
    )


def _header_timestamp(headers: dict[str, str]) -> str:
    """x-amz-date, else Date in basic form."""
    timestamp = headers.get("x-amz-date")
    if timestamp is not None:
        return timestamp
    date = headers.get("date")
    if date is None:
        raise _date_required()
    return basic_of_http_date(date) or date


def _date_required() -> ApiError:
    return ApiError("AccessDenied", "AWS authentication requires a valid Date or x-amz-date header")


def _authentication_parameters(query: QueryPairs) -> dict[str, str]:
    """The decoded values of the X-Amz-* parameters that this version knows, each given once."""
    found: dict[str, str] = {}
    for name, value in query:
        if name in QUERY_PARAMETERS or name in (PAYLOAD_HASH_PARAMETER, TOKEN_PARAMETER):
            if name in found:
                raise signed_more_than_once(name)
            found[name] = decode_query_text(value)
    if any(not found.get(name) for name in QUERY_PARAMETERS):
        raise ApiError(
            _MALFORMED_QUERY,
            "Query-string authentication version 4 requires the X-Amz-Algorithm, "
            "X-Amz-Credential, X-Amz-Signature, X-Amz-Date, X-Amz-SignedHeaders, and "
            "X-Amz-Expires parameters.",
        )
    return found


def _read_query(parameters: dict[str, str], headers: dict[str, str], region: str) -> _Claim:
    """Takes the parameters of a presigned request apart.

    The payload hash is the parameter's (the JavaScript SDK sends one), else the header's, which
    botocore and the CRT sign when it is set, else UNSIGNED-PAYLOAD.
    """
    algorithm = parameters["X-Amz-Algorithm"]
    if algorithm == ASYMMETRIC_ALGORITHM:
        raise ApiError("NotImplemented", "Signature version 4A is not implemented.")
    if algorithm != ALGORITHM:
        raise ApiError(_MALFORMED_QUERY, 'X-Amz-Algorithm only supports "AWS4-HMAC-SHA256"')
    if TOKEN_PARAMETER in parameters or "x-amz-security-token" in headers:
        raise token_not_supported()
    payload_hash = parameters.get(PAYLOAD_HASH_PARAMETER)
    if payload_hash is None:
        payload_hash = headers.get("x-amz-content-sha256", UNSIGNED_PAYLOAD)
    elif headers.get("x-amz-content-sha256", payload_hash) != payload_hash:
        raise signed_more_than_once(PAYLOAD_HASH_PARAMETER)
    return _make_claim(
        parameters["X-Amz-Credential"],
        timestamp=parameters["X-Amz-Date"],
        signed_headers=parameters["X-Amz-SignedHeaders"],
        signature=parameters["X-Amz-Signature"],
        payload_hash=payload_hash,
        region=region,
        code=_MALFORMED_QUERY,
    )


def _make_claim(
    credential: str,
    *,
    timestamp: str,
    signed_headers: str,
    signature: str,
    payload_hash: str,
    region: str,
    code: str,
) -> _Claim:
    """Checks the scope inside `credential`; `code` is the error of the place it came from."""
    access_key_id, _, scope = credential.partition("/")
    parts = scope.split("/")
    if len(parts) != 4 or not access_key_id:
        raise _credential_error(
            code,
            "the Credential is mal-formed; expecting "
            '"<YOUR-AKID>/YYYYMMDD/REGION/SERVICE/aws4_request".',
        )
    date, named_region, service, terminator = parts
    if terminator != "aws4_request":
        raise _credential_error(
            code, f'incorrect terminator "{terminator}". This endpoint uses "aws4_request".'
        )
    if service != "s3":
        raise _credential_error(
            code, f'incorrect service "{service}". This endpoint belongs to "s3".'
        )
    if named_region != region:
        raise _credential_error(
            code, f"the region '{named_region}' is wrong; expecting '{region}'", region=region
        )
    if date != timestamp[:8]:
        raise _credential_error(
            code,
            f'Invalid credential date "{date}". This date is not the same as X-Amz-Date: '
            f'"{timestamp[:8]}".',
        )
    return _Claim(
        access_key_id=access_key_id,
        date=date,
        region=named_region,
        scope=scope,
        timestamp=timestamp,
        signed_headers=signed_headers,
        signature=signature,
        payload_hash=payload_hash,
    )


def _credential_error(code: str, detail: str, *, region: str | None = None) -> ApiError:
    """SDKs read the Region field to find the region they should have signed for."""
    lead = "The authorization header is malformed"
    if code == _MALFORMED_QUERY:
        lead = "Error parsing the X-Amz-Credential parameter"
    fields = {} if region is None else {"Region": region}
    return ApiError(code, f"{lead}; {detail}", fields=fields)


def _read_lifetime(text: str) -> int:
    """X-Amz-Expires in seconds, 1 to EXPIRES_S_MAX."""
    if text[:1] == "-" and text[1:].isdecimal():
        raise ApiError(_MALFORMED_QUERY, "X-Amz-Expires must be non-negative")
    if not text.isdecimal():
        raise ApiError(_MALFORMED_QUERY, "X-Amz-Expires should be a number")
    if len(text) > 6 or int(text) > EXPIRES_S_MAX:
        raise ApiError(
            _MALFORMED_QUERY,
            "X-Amz-Expires must be less than a week (in seconds); that is, the given "
            "X-Amz-Expires must be less than 604800 seconds",
        )
    if int(text) == 0:
        raise ApiError(_MALFORMED_QUERY, "X-Amz-Expires must be at least 1 second")
    return int(text)
