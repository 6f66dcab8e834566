"""AWS Signature Version 2 in the query: what boto3 presigns for an endpoint that is not AWS's.

Version 2 signs with HMAC-SHA1 and covers less than version 4: the host and most of the query are
not signed. So it is accepted in presigned requests only, for the methods the operator allows (GET
and HEAD by default), and a request is refused when a parameter is there that is neither signed nor
known to be harmless: else a presigned GET of an object could be turned into another operation.

The signer moves x-amz-*, Content-Type and Content-MD5 headers into the query, so they are read
from there as well.

Source: "Signing and authenticating REST requests" in the Amazon S3 User Guide, section "Query
string request authentication alternative".
"""

import hmac
from base64 import b64encode

from rs3gwd.base.errors import ApiError
from rs3gwd.base.http import Request
from rs3gwd.iam.canonical import QueryPairs, decode_query_text
from rs3gwd.iam.principal import Principal
from rs3gwd.iam.refusal import (
    given_more_than_once,
    mechanism_not_supported,
    request_has_expired,
    signature_does_not_match,
)
from rs3gwd.iam.signers import Signers
from rs3gwd.iam.timestamps import MILLISECONDS_MAX

_TOKEN = "x-amz-security-token"

SIGNED_PARAMETERS = frozenset(
    {
        "accelerate",
        "acl",
        "analytics",
        "cors",
        "defaultObjectAcl",
        "delete",
        "inventory",
        "lifecycle",
        "location",
        "logging",
        "metrics",
        "notification",
        "object-lock",
        "partNumber",
        "policy",
        "replication",
        "requestPayment",
        "response-cache-control",
        "response-content-disposition",
        "response-content-encoding",
        "response-content-language",
        "response-content-type",
        "response-expires",
        "restore",
        "select",
        "select-type",
        "storageClass",
        "tagging",
        "torrent",
        "uploadId",
        "uploads",
        "versionId",
        "versioning",
        "versions",
        "website",
    }
)
"""The parameters inside the canonicalised resource: AWS's list with the later ones of botocore."""

_UNSIGNED_PARAMETERS = frozenset(
    {
        "AWSAccessKeyId",
        "Expires",
        "Signature",
        "content-md5",
        "content-type",
        "continuation-token",
        "delimiter",
        "encoding-type",
        "fetch-owner",
        "key-marker",
        "list-type",
        "marker",
        "max-keys",
        "max-parts",
        "max-uploads",
        "part-number-marker",
        "prefix",
        "start-after",
        "upload-id-marker",
        "version-id-marker",
        "x-id",
    }
)
"""Parameters that version 2 does not sign and that only shape a listing of what was signed for."""


def verify_query(
    request: Request,
    query: QueryPairs,
    *,
    signers: Signers,
    now_ms: int,
    allowed_methods: frozenset[str],
    virtual_host_domains: tuple[str, ...],
) -> Principal:
    """The signer of a presigned version 2 request.

    `query` are the canonical pairs; `virtual_host_domains` the domains below which a host names a
    bucket, in lower case. Raises ApiError: InvalidRequest (method not allowed), AccessDenied
    (incomplete, expired, unsigned parameters), InvalidArgument, InvalidToken, ExpiredToken,
    InvalidAccessKeyId, SignatureDoesNotMatch; and NotOpened.
    """
    if request.method not in allowed_methods:
        raise mechanism_not_supported()
    parameters = _read_parameters(query)
    _refuse_expired(parameters["Expires"], now_ms)
    text = _string_to_sign(request, parameters, virtual_host_domains)
    access_key_id, signature = parameters["AWSAccessKeyId"], parameters["Signature"]
    signer = signers.find(
        access_key_id, parameters.get(_TOKEN, request.headers.get(_TOKEN)), now_ms, request.peer
    )
    expected = b64encode(hmac.digest(signer.secret.encode(), text, "sha1"))
    matches = hmac.compare_digest(expected, signature.encode("latin-1"))
    if signer.principal is None:
        assert signer.refusal is not None
        raise signer.refusal
    if not matches:
        raise signature_does_not_match(
            access_key_id=access_key_id, signature_provided=signature, string_to_sign=text
        )
    return signer.principal


def _read_parameters(query: QueryPairs) -> dict[str, str]:
    """All parameters decoded; refuses what is repeated, missing or neither signed nor harmless."""
    parameters: dict[str, str] = {}
    for encoded_name, encoded_value in query:
        name = decode_query_text(encoded_name)
        if name in parameters:
            raise given_more_than_once(name)
        parameters[name] = decode_query_text(encoded_value)
        _refuse_ambiguous(name, parameters[name])
    if not (parameters.get("AWSAccessKeyId") and parameters.get("Signature")) or (
        "Expires" not in parameters
    ):
        raise ApiError(
            "AccessDenied",
            "Query-string authentication requires the Signature, Expires and AWSAccessKeyId "
            "parameters",
        )
    unsigned = [
        name
        for name in parameters
        if name not in SIGNED_PARAMETERS
        and name not in _UNSIGNED_PARAMETERS
        and not name.startswith("x-amz-")
    ]
    if unsigned:
        raise ApiError(
            "AccessDenied",
            "There were query parameters present in the request which were not signed",
            fields={"ParametersNotSigned": ", ".join(unsigned)},
        )
    return parameters


def _refuse_ambiguous(name: str, value: str) -> None:
    """Values are signed decoded, so one that holds a separator could pass for two of them.

    An `&` in a file name is fine; one before the name of a signed parameter is not, nor is a line
    break anywhere.
    """
    if not value.isprintable() and any(character < " " for character in value):
        raise ApiError(
            "InvalidArgument", "The value holds a control character.", fields={"ArgumentName": name}
        )
    pieces = value.split("&")[1:]
    if any(piece.partition("=")[0] in SIGNED_PARAMETERS for piece in pieces):
        raise ApiError(
            "InvalidArgument",
            "The value holds the name of another signed parameter.",
            fields={"ArgumentName": name},
        )


def _refuse_expired(text: str, now_ms: int) -> None:
    """`text` is Expires, in seconds since 1970."""
    if not (text.isascii() and text.isdecimal()) or len(text) > 12:
        raise ApiError("AccessDenied", f"Invalid date (should be seconds since epoch): {text}")
    expires_ms = min(int(text) * 1000, MILLISECONDS_MAX)
    if now_ms > expires_ms:
        raise request_has_expired(expires_ms=expires_ms, now_ms=now_ms)


def _string_to_sign(
    request: Request, parameters: dict[str, str], virtual_host_domains: tuple[str, ...]
) -> bytes:
    """Method, two headers, expiry, x-amz-* headers and the resource, as latin-1."""
    headers = request.headers
    amz = {name: value for name, value in headers.items() if name.startswith("x-amz-")}
    for name, value in parameters.items():
        if name.startswith("x-amz-"):
            if name in amz:
                raise given_more_than_once(name)
            amz[name] = value
    lines = [
        request.method,
        parameters.get("content-md5", headers.get("content-md5", "")),
        parameters.get("content-type", headers.get("content-type", "")),
        parameters["Expires"],
        *(f"{name}:{amz[name]}" for name in sorted(amz)),
        _resource(request, parameters, virtual_host_domains),
    ]
    return "\n".join(lines).encode("latin-1")


def _resource(
    request: Request, parameters: dict[str, str], virtual_host_domains: tuple[str, ...]
) -> str:
    """The path as it was sent, behind the bucket named by the host, with the signed parameters.

    Values are signed decoded; a parameter without a value is signed with `=` if it was sent so.
    """
    host = request.host.rpartition(":")[0] if ":" in request.host else request.host
    path = request.raw_path or "/"
    for domain in virtual_host_domains:
        bucket = host.lower().removesuffix(f".{domain}")
        if len(bucket) < len(host):
            path = f"/{bucket}{path}"
            break
    bare = set(request.raw_query.split("&"))
    signed = [
        name if name in bare else f"{name}={parameters[name]}"
        for name in sorted(SIGNED_PARAMETERS.intersection(parameters))
    ]
    return f"{path}?{'&'.join(signed)}" if signed else path
