"""What x-amz-content-sha256 says of the body, turned into a PayloadPlan.

The header is the signer's promise about the body: its SHA-256, nothing at all, or that it comes in
aws-chunked form. Which promises are possible depends on the signature: signed chunks need a seed
from an Authorization header, and a presigned request, whose body nobody knew at signing, is
UNSIGNED-PAYLOAD unless the signer put a hash into the signature.

Source: "Authenticating Requests: Using the Authorization Header", table of x-amz-content-sha256,
in the Amazon S3 API Reference.
"""

from rs3gwd.base.errors import ApiError
from rs3gwd.base.http import Request
from rs3gwd.iam.chunked import TRAILERS_MAX, AwsChunkedDecoder
from rs3gwd.iam.payload import PayloadKind, PayloadPlan
from rs3gwd.iam.sigv4 import SignedRequest

TRAILER_PREFIX = "x-amz-checksum-"
"""Trailing headers that S3 takes all begin so."""

_ASYMMETRIC_KINDS = (
    "STREAMING-AWS4-ECDSA-P256-SHA256-PAYLOAD",
    "STREAMING-AWS4-ECDSA-P256-SHA256-PAYLOAD-TRAILER",
)
_SIGNED_STREAMS = (PayloadKind.STREAMING_SIGNED, PayloadKind.STREAMING_SIGNED_TRAILER)
_STREAMS = {kind.value: kind for kind in (*_SIGNED_STREAMS, PayloadKind.STREAMING_UNSIGNED_TRAILER)}
_HEX_DIGITS = b"0123456789abcdefABCDEF"


def plan_signed(request: Request, signed: SignedRequest) -> PayloadPlan:
    """The plan for a header-signed request. Raises ApiError as `_plan` does."""
    return _plan(request, signed.payload_hash, seed=signed)


def plan_presigned(request: Request, payload_hash: str) -> PayloadPlan:
    """The plan for a presigned version 4 request; aws-chunked bodies are refused.

    A stream whose seed or form is not in the header would give the holder of a URL a second way
    to say how the body is read.
    """
    if payload_hash in _STREAMS:
        raise _invalid_hash(payload_hash)
    return _plan(request, payload_hash, seed=None)


def plan_unsigned(request: Request) -> PayloadPlan:
    """The plan where the header is a wish and no promise: anonymous and version 2 requests."""
    payload_hash = request.headers.get("x-amz-content-sha256", PayloadKind.UNSIGNED.value)
    return _plan(request, payload_hash, seed=None)


def _plan(request: Request, payload_hash: str, *, seed: SignedRequest | None) -> PayloadPlan:
    """Raises ApiError: InvalidArgument, InvalidRequest, MissingContentLength, NotImplemented."""
    if len(payload_hash) == 64 and not payload_hash.encode().translate(None, _HEX_DIGITS):
        _check_no_trailer(request)
        return PayloadPlan(
            kind=PayloadKind.SIGNED,
            expected_sha256=payload_hash.lower(),
            decoder=None,
            decoded_length=request.content_length,
        )
    if payload_hash == PayloadKind.UNSIGNED:
        _check_no_trailer(request)
        return PayloadPlan(
            kind=PayloadKind.UNSIGNED,
            expected_sha256=None,
            decoder=None,
            decoded_length=request.content_length,
        )
    if payload_hash in _ASYMMETRIC_KINDS:
        raise ApiError("NotImplemented", "Signature version 4A is not implemented.")
    kind = _STREAMS.get(payload_hash)
    if kind is None:
        raise _invalid_hash(payload_hash)
    return _plan_stream(request, kind, seed)


def _plan_stream(request: Request, kind: PayloadKind, seed: SignedRequest | None) -> PayloadPlan:
    """Content-Encoding need not name aws-chunked: not every client sends it."""
    if kind in _SIGNED_STREAMS and seed is None:
        raise ApiError(
            "InvalidRequest", f"{kind} needs a request signed in its Authorization header."
        )
    trailer_names: tuple[str, ...] | None = None
    if kind is PayloadKind.STREAMING_SIGNED:
        _check_no_trailer(request)
    else:
        trailer_names = _read_trailer_names(request)
        if not trailer_names and kind is PayloadKind.STREAMING_SIGNED_TRAILER:
            # S3 takes the unsigned kind without a trailer; here its signature would be missing.
            raise ApiError("MalformedTrailerError")
    decoded_length = _read_decoded_length(request)
    decoder = AwsChunkedDecoder(
        decoded_length=decoded_length,
        seed=seed if kind in _SIGNED_STREAMS else None,
        trailer_names=trailer_names,
    )
    return PayloadPlan(
        kind=kind,
        expected_sha256=None,
        decoder=decoder,
        decoded_length=decoded_length,
        trailer_names=trailer_names or (),
    )


def _read_decoded_length(request: Request) -> int:
    text = request.headers.get("x-amz-decoded-content-length")
    if text is None:
        raise ApiError(
            "MissingContentLength", "You must provide the x-amz-decoded-content-length HTTP header."
        )
    if not (text.isascii() and text.isdecimal()) or len(text) > 18:
        raise ApiError(
            "InvalidArgument",
            "The x-amz-decoded-content-length header is not a number of bytes.",
            fields={"ArgumentName": "x-amz-decoded-content-length", "ArgumentValue": text},
        )
    return int(text)


def _read_trailer_names(request: Request) -> tuple[str, ...]:
    """The names announced in x-amz-trailer, which may be none."""
    text = request.headers.get("x-amz-trailer", "")
    names = tuple(name.strip(" \t").lower() for name in text.split(",") if name.strip(" \t"))
    is_known = all(name.startswith(TRAILER_PREFIX) for name in names)
    if not is_known or len(names) >= TRAILERS_MAX or len(set(names)) < len(names):
        raise ApiError(
            "InvalidRequest", "The value specified in the x-amz-trailer header is not supported"
        )
    return names


def _check_no_trailer(request: Request) -> None:
    """A trailer that no decoder reads would be a checksum announced and never checked.

    The AWS SDK for Java 2.x, given a checksum, sends it as a header and announces it as a trailer
    all the same; then there is nothing left unchecked.
    """
    if "x-amz-trailer" not in request.headers:
        return
    if any(name not in request.headers for name in _read_trailer_names(request)):
        raise ApiError(
            "InvalidRequest",
            "x-amz-trailer needs an x-amz-content-sha256 that announces a trailer",
        )


def _invalid_hash(payload_hash: str) -> ApiError:
    return ApiError(
        "InvalidArgument",
        "x-amz-content-sha256 must be UNSIGNED-PAYLOAD, "
        "STREAMING-UNSIGNED-PAYLOAD-TRAILER, STREAMING-AWS4-HMAC-SHA256-PAYLOAD, "
        "STREAMING-AWS4-HMAC-SHA256-PAYLOAD-TRAILER or a valid sha256 value.",
        fields={"ArgumentName": "x-amz-content-sha256", "ArgumentValue": payload_hash},
    )
