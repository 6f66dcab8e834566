"""What a request says of its own version 4 signature, before any of it is believed.

An Authorization header or the X-Amz-* parameters of a presigned request become one Claim, whose
form and scope are checked here: one algorithm, service `s3`, the one region, the date of the
request. Keys, clocks and hashes are `rs3gwd.iam.sigv4`'s.

Source: "Authenticating Requests: Using the Authorization Header" and "Using Query Parameters" in
the Amazon S3 API Reference; the words of the refusals are those of S3.
"""

from functools import lru_cache
from itertools import pairwise

from msgspec import Struct

from rs3gwd.base.errors import ApiError
from rs3gwd.iam.canonical import QueryPairs, decode_query_text
from rs3gwd.iam.refusal import given_more_than_once
from rs3gwd.iam.timestamps import basic_of_http_date

ALGORITHM = "AWS4-HMAC-SHA256"
"""The one algorithm verified here."""

ASYMMETRIC_ALGORITHM = "AWS4-ECDSA-P256-SHA256"
"""SigV4A, for multi-region access points: answered with NotImplemented."""

UNSIGNED_PAYLOAD = "UNSIGNED-PAYLOAD"

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
TOKEN_HEADER = "x-amz-security-token"

SIGNERS_KEPT = 1024
"""Signers whose reading is kept, at about 1 KiB each: one for each key, day and set of headers."""

_SIGNATURE_MARK = "Signature="

MALFORMED_HEADER = "AuthorizationHeaderMalformed"
MALFORMED_QUERY = "AuthorizationQueryParametersError"


class Signer(Struct, frozen=True):
    """What a client repeats in every request of a day: its key and scope, and what it signs.

    `scope` is `date/region/s3/aws4_request`. `header_names` are those of `signed_headers`,
    `header_set` the same as a set, `are_ascending` says whether they are in order and each is there
    once, `signs_host` whether `host` is among them.
    """

    access_key_id: str
    date: str
    region: str
    service: str
    scope: str
    signed_headers: str
    header_names: tuple[str, ...]
    header_set: frozenset[str]
    are_ascending: bool
    signs_host: bool


class Claim(Struct, frozen=True):
    """What a request says of its own signature; nothing in it is proved yet.

    `token` is that of a session, None where the request brings none.
    """

    signer: Signer
    timestamp: str
    signature: str
    payload_hash: str
    token: str | None = None


def read_header(
    headers: dict[str, str], *, region: str, service: str = "s3", payload_hash: str | None = None
) -> Claim:
    """Takes an Authorization header apart: `algorithm Credential=, SignedHeaders=, Signature=`.

    `headers` has `authorization`. `payload_hash` is for a service whose requests do not say it in
    x-amz-content-sha256. Raises ApiError: AuthorizationHeaderMalformed, InvalidArgument,
    InvalidRequest, AccessDenied (no date), NotImplemented.
    """
    text = headers["authorization"]
    start = text.find(_SIGNATURE_MARK) + len(_SIGNATURE_MARK)
    end = text.find(",", start)
    signature = text[start:] if end < 0 else text[start:end]
    # Behind its mark the signature is left out, so that the rest is the same in every request.
    signer = _read_signer(text[:start] if end < 0 else text[:start] + text[end:], region, service)
    if not signature:
        raise _incomplete_header()
    if payload_hash is None:
        payload_hash = headers.get("x-amz-content-sha256")
    if payload_hash is None:
        raise ApiError(
            "InvalidRequest", "Missing required header for this request: x-amz-content-sha256"
        )
    timestamp = _header_timestamp(headers)
    _check_date(signer, timestamp, MALFORMED_HEADER)
    return Claim(signer, timestamp, signature, payload_hash, headers.get(TOKEN_HEADER))


@lru_cache(SIGNERS_KEPT)
def _read_signer(authorization: str, region: str, service: str) -> Signer:
    """Takes an Authorization header without the value of its signature apart."""
    algorithm, _, rest = authorization.partition(" ")
    if algorithm == ASYMMETRIC_ALGORITHM:
        raise ApiError("NotImplemented", "Signature version 4A is not implemented.")
    if algorithm != ALGORITHM:
        raise ApiError(
            MALFORMED_HEADER, f"The authorization header is malformed; {algorithm} is unknown."
        )
    parts: dict[str, str] = {}
    for part in rest.split(",", 4):
        name, _, value = part.strip(" ").partition("=")
        if name in parts:
            raise given_more_than_once(name)
        parts[name] = value
    credential, signed_headers = parts.get("Credential"), parts.get("SignedHeaders")
    if len(parts) != 3 or "Signature" not in parts or not (credential and signed_headers):
        raise _incomplete_header()
    return _make_signer(
        credential,
        signed_headers=signed_headers,
        region=region,
        service=service,
        code=MALFORMED_HEADER,
    )


def _incomplete_header() -> ApiError:
    return ApiError(
        MALFORMED_HEADER,
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
        raise date_required()
    return basic_of_http_date(date) or date


def date_required() -> ApiError:
    """AccessDenied: neither x-amz-date nor Date can be read."""
    return ApiError("AccessDenied", "AWS authentication requires a valid Date or x-amz-date header")


def authentication_parameters(query: QueryPairs) -> dict[str, str]:
    """The decoded values of the X-Amz-* parameters that this version knows, each given once."""
    found: dict[str, str] = {}
    for name, value in query:
        if name in QUERY_PARAMETERS or name in (PAYLOAD_HASH_PARAMETER, TOKEN_PARAMETER):
            if name in found:
                raise given_more_than_once(name)
            found[name] = decode_query_text(value)
    if any(not found.get(name) for name in QUERY_PARAMETERS):
        raise ApiError(
            MALFORMED_QUERY,
            "Query-string authentication version 4 requires the X-Amz-Algorithm, "
            "X-Amz-Credential, X-Amz-Signature, X-Amz-Date, X-Amz-SignedHeaders, and "
            "X-Amz-Expires parameters.",
        )
    return found


def read_query(parameters: dict[str, str], headers: dict[str, str], *, region: str) -> Claim:
    """Takes the parameters of a presigned request apart.

    The payload hash is the parameter's (the JavaScript SDK sends one), else the header's, which
    botocore and the CRT sign when it is set, else UNSIGNED-PAYLOAD. Raises ApiError:
    AuthorizationQueryParametersError, InvalidArgument, NotImplemented.
    """
    algorithm = parameters["X-Amz-Algorithm"]
    if algorithm == ASYMMETRIC_ALGORITHM:
        raise ApiError("NotImplemented", "Signature version 4A is not implemented.")
    if algorithm != ALGORITHM:
        raise ApiError(MALFORMED_QUERY, 'X-Amz-Algorithm only supports "AWS4-HMAC-SHA256"')
    if TOKEN_HEADER in headers and TOKEN_PARAMETER in parameters:
        raise given_more_than_once(TOKEN_PARAMETER)
    payload_hash = parameters.get(PAYLOAD_HASH_PARAMETER)
    if payload_hash is None:
        payload_hash = headers.get("x-amz-content-sha256", UNSIGNED_PAYLOAD)
    elif headers.get("x-amz-content-sha256", payload_hash) != payload_hash:
        raise given_more_than_once(PAYLOAD_HASH_PARAMETER)
    signer = _make_signer(
        parameters["X-Amz-Credential"],
        signed_headers=parameters["X-Amz-SignedHeaders"],
        region=region,
        service="s3",
        code=MALFORMED_QUERY,
    )
    timestamp = parameters["X-Amz-Date"]
    _check_date(signer, timestamp, MALFORMED_QUERY)
    signature, token = (
        parameters["X-Amz-Signature"],
        parameters.get(TOKEN_PARAMETER, headers.get(TOKEN_HEADER)),
    )
    return Claim(signer, timestamp, signature, payload_hash, token)


def _make_signer(
    credential: str, *, signed_headers: str, region: str, service: str, code: str
) -> Signer:
    """Checks the scope inside `credential`; `code` is the error of the place it came from."""
    access_key_id, _, scope = credential.partition("/")
    parts = scope.split("/")
    if len(parts) != 4 or not access_key_id:
        raise _credential_error(
            code,
            "the Credential is mal-formed; expecting "
            '"<YOUR-AKID>/YYYYMMDD/REGION/SERVICE/aws4_request".',
        )
    date, named_region, named_service, terminator = parts
    if terminator != "aws4_request":
        raise _credential_error(
            code, f'incorrect terminator "{terminator}". This endpoint uses "aws4_request".'
        )
    if named_service != service:
        raise _credential_error(
            code, f'incorrect service "{named_service}". This endpoint belongs to "{service}".'
        )
    if named_region != region:
        raise _credential_error(
            code, f"the region '{named_region}' is wrong; expecting '{region}'", region=region
        )
    names = tuple(signed_headers.split(";"))
    return Signer(
        access_key_id=access_key_id,
        date=date,
        region=named_region,
        service=service,
        scope=scope,
        signed_headers=signed_headers,
        header_names=names,
        header_set=frozenset(names),
        signs_host="host" in names,
        # An empty name comes before all others and is never a header's.
        are_ascending=all(before < name for before, name in pairwise(("", *names))),
    )


def _check_date(signer: Signer, timestamp: str, code: str) -> None:
    """The scope must be of the day of the request."""
    if signer.date != timestamp[:8]:
        raise _credential_error(
            code,
            f'Invalid credential date "{signer.date}". This date is not the same as X-Amz-Date: '
            f'"{timestamp[:8]}".',
        )


def _credential_error(code: str, detail: str, *, region: str | None = None) -> ApiError:
    """SDKs read the Region field to find the region they should have signed for."""
    lead = "The authorization header is malformed"
    if code == MALFORMED_QUERY:
        lead = "Error parsing the X-Amz-Credential parameter"
    fields = {} if region is None else {"Region": region}
    return ApiError(code, f"{lead}; {detail}", fields=fields)


def read_lifetime(text: str) -> int:
    """X-Amz-Expires in seconds, 1 to EXPIRES_S_MAX."""
    if text[:1] == "-" and text[1:].isdecimal():
        raise ApiError(MALFORMED_QUERY, "X-Amz-Expires must be non-negative")
    if not text.isdecimal():
        raise ApiError(MALFORMED_QUERY, "X-Amz-Expires should be a number")
    if len(text) > 6 or int(text) > EXPIRES_S_MAX:
        raise ApiError(
            MALFORMED_QUERY,
            "X-Amz-Expires must be less than a week (in seconds); that is, the given "
            "X-Amz-Expires must be less than 604800 seconds",
        )
    if int(text) == 0:
        raise ApiError(MALFORMED_QUERY, "X-Amz-Expires must be at least 1 second")
    return int(text)
