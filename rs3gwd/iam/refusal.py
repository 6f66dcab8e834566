"""The refusals that more than one way of signing shares, as AWS words them.

Each function gives the ApiError to raise. None of them holds a secret: what is echoed is what the
caller sent, or what follows from it without the key.

Source: "List of error codes" in the Amazon S3 API Reference, and what S3 answers.
"""

from rs3gwd.base.errors import ApiError
from rs3gwd.iam.timestamps import format_extended


def signature_does_not_match(
    *,
    access_key_id: str,
    signature_provided: str,
    string_to_sign: bytes,
    canonical_request: bytes | None = None,
) -> ApiError:
    """SignatureDoesNotMatch with all that a client's author needs to find the difference."""
    fields = {
        "AWSAccessKeyId": access_key_id,
        "StringToSign": string_to_sign.decode("latin-1"),
        "SignatureProvided": signature_provided,
        "StringToSignBytes": string_to_sign.hex(" "),
    }
    if canonical_request is not None:
        fields["CanonicalRequest"] = canonical_request.decode("latin-1")
        fields["CanonicalRequestBytes"] = canonical_request.hex(" ")
    return ApiError(
        "SignatureDoesNotMatch",
        "The request signature we calculated does not match the signature you provided. "
        "Check your key and signing method.",
        fields=fields,
    )


def unknown_access_key(access_key_id: str) -> ApiError:
    """InvalidAccessKeyId: the key is unknown, inactive, or its account is gone."""
    return ApiError(
        "InvalidAccessKeyId",
        "The AWS Access Key Id you provided does not exist in our records.",
        fields={"AWSAccessKeyId": access_key_id},
    )


def request_has_expired(*, expires_ms: int, now_ms: int, expires_s: str | None = None) -> ApiError:
    """AccessDenied for a presigned request after its time; `expires_s` is X-Amz-Expires."""
    fields = {} if expires_s is None else {"X-Amz-Expires": expires_s}
    fields["Expires"] = format_extended(expires_ms)
    fields["ServerTime"] = format_extended(now_ms)
    return ApiError("AccessDenied", "Request has expired", fields=fields)


def mechanism_not_supported() -> ApiError:
    """InvalidRequest: signature version 2 where it is not allowed."""
    return ApiError(
        "InvalidRequest",
        "The authorization mechanism you have provided is not supported. "
        "Please use AWS4-HMAC-SHA256.",
    )


def token_invalid() -> ApiError:
    """InvalidToken: nobody here made the session token, it is of another key, or was revoked."""
    return ApiError("InvalidToken", "The provided token is malformed or otherwise invalid.")


def token_expired() -> ApiError:
    """ExpiredToken: the session's time is over."""
    return ApiError("ExpiredToken", "The provided token has expired.")


def given_more_than_once(name: str) -> ApiError:
    """InvalidArgument: a parameter or header of a signed request is there twice."""
    return ApiError(
        "InvalidArgument",
        "A parameter or authentication header of a signed request may be given only once.",
        fields={"ArgumentName": name},
    )


def too_many_mechanisms() -> ApiError:
    """InvalidArgument: credentials of two kinds in one request."""
    return ApiError(
        "InvalidArgument",
        "Only one auth mechanism allowed; only the X-Amz-Algorithm query parameter, Signature "
        "query string parameter or the Authorization header should be specified",
        fields={"ArgumentName": "Authorization"},
    )
