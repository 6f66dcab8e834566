"""Who signed a browser form: the one place where its fields become a principal.

The signature covers the policy as it stands in the form, and the policy covers the other fields
(`rs3gwd.iam.post_policy`). A form without policy and signature is anonymous. The older form of
signature (HMAC-SHA1) is taken where the settings take presigned version 2 requests of POST.

Source: "Authenticating requests in browser-based uploads using POST (AWS Signature Version 4)" in
the Amazon S3 API Reference; "Browser-based uploads using POST (AWS signature version 2)" in the
User Guide.
"""

from __future__ import annotations

import hmac
from base64 import b64encode
from collections.abc import Mapping

from rs3gwd.base.errors import ApiError
from rs3gwd.iam.principal import Principal
from rs3gwd.iam.refusal import (
    mechanism_not_supported,
    signature_does_not_match,
    too_many_mechanisms,
)
from rs3gwd.iam.signers import Signer, Signers
from rs3gwd.iam.sigv4 import SigningKeyCache
from rs3gwd.iam.sigv4_claim import ALGORITHM, TOKEN_HEADER

VERSION_4_FIELDS = ("x-amz-algorithm", "x-amz-credential", "x-amz-date", "x-amz-signature")
VERSION_2_FIELDS = ("awsaccesskeyid", "signature")


def authenticate_form(
    fields: Mapping[str, str],
    *,
    signers: Signers,
    now_ms: int,
    peer: str,
    region: str,
    signing_keys: SigningKeyCache,
    takes_version_2: bool,
) -> Principal:
    """The principal behind a form. `fields` by lower-case name; `policy` is still in base64.

    Raises NotOpened, and ApiError: InvalidArgument (a field missing or malformed), InvalidToken,
    ExpiredToken, InvalidAccessKeyId, SignatureDoesNotMatch, InvalidRequest (a mechanism that is not
    taken), AccessDenied (a policy or token without a signature).
    """
    is_version_4 = any(name in fields for name in VERSION_4_FIELDS)
    is_version_2 = any(name in fields for name in VERSION_2_FIELDS)
    if is_version_4 and is_version_2:
        raise too_many_mechanisms()
    if is_version_4 or is_version_2:
        access_key_id = fields.get("awsaccesskeyid", "")
        if is_version_4:
            access_key_id = fields.get("x-amz-credential", "").partition("/")[0]
        elif not takes_version_2:
            raise mechanism_not_supported()
        signer = signers.find(access_key_id, fields.get(TOKEN_HEADER), now_ms, peer)
        if is_version_4:
            return _verify_4(fields, signer, region, signing_keys)
        return _verify_2(fields, signer)
    if "policy" in fields or TOKEN_HEADER in fields:
        raise ApiError("AccessDenied", "A policy needs a signature")
    return Principal(account=None)


def _verify_4(
    fields: Mapping[str, str], signer: Signer, region: str, signing_keys: SigningKeyCache
) -> Principal:
    _require(fields, (*VERSION_4_FIELDS, "policy"))
    if fields["x-amz-algorithm"] != ALGORITHM:
        raise _wrong("X-Amz-Algorithm", f"must be {ALGORITHM}")
    parts = fields["x-amz-credential"].split("/")
    if len(parts) != 5 or parts[2:] != [region, "s3", "aws4_request"]:
        raise _wrong("X-Amz-Credential", f"must be of the region {region} and the service s3")
    access_key_id, date = parts[0], parts[1]
    if not fields["x-amz-date"].startswith(f"{date}T"):
        raise _wrong("X-Amz-Date", "must be of the date in X-Amz-Credential")
    text = fields["policy"].encode()
    expected = signing_keys.get(signer.secret, date, region).sign(text)
    return _proved(signer, access_key_id, expected, fields["x-amz-signature"], text)


def _verify_2(fields: Mapping[str, str], signer: Signer) -> Principal:
    _require(fields, (*VERSION_2_FIELDS, "policy"))
    access_key_id = fields["awsaccesskeyid"]
    text = fields["policy"].encode()
    expected = b64encode(hmac.digest(signer.secret.encode(), text, "sha1")).decode()
    return _proved(signer, access_key_id, expected, fields["signature"], text)


def _proved(
    signer: Signer, access_key_id: str, expected: str, given: str, text: bytes
) -> Principal:
    # Text that is not ASCII cannot be compared in constant time, and cannot be a signature.
    matches = given.isascii() and hmac.compare_digest(expected, given)
    if signer.principal is None:
        assert signer.refusal is not None
        raise signer.refusal
    if not matches:
        raise signature_does_not_match(
            access_key_id=access_key_id, signature_provided=given, string_to_sign=text
        )
    return signer.principal


def _require(fields: Mapping[str, str], names: tuple[str, ...]) -> None:
    for name in names:
        if not fields.get(name):
            raise _wrong(name, "is missing")


def _wrong(name: str, what: str) -> ApiError:
    return ApiError(
        "InvalidArgument",
        f"Bucket POST must contain a field named '{name}', which {what}. If it is specified, "
        "please check the order of the fields.",
        fields={"ArgumentName": name},
    )
