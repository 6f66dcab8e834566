"""The headers of server-side encryption: what a caller asks for, and what answers say; pure.

Three kinds of wish, by who holds the key (`rs3gwd.base.records.EncryptionKind`):

    x-amz-server-side-encryption: AES256     SSE-S3
    x-amz-server-side-encryption: aws:kms    SSE-KMS, with -aws-kms-key-id, -context and
                                             -bucket-key-enabled beside it
    x-amz-server-side-encryption-customer-*  SSE-C: -algorithm, -key and -key-MD5, all three

Two keys for one object are refused, as are a header that belongs to another kind, half a wish, and
SSE-C over a connection that anybody can read. A read that brings SSE-C headers brings the key; one
that brings any other header of encryption is refused, as in AWS.

The key of a caller is never part of an error, and `CustomerKey` does not show it.

Sources: "Using server-side encryption with customer-provided keys (SSE-C)", "Specifying server-side
encryption with AWS KMS (SSE-KMS)" in the Amazon S3 User Guide; PutObject and CopyObject in the API
Reference.
"""

import base64
import binascii
import hashlib
import hmac
from collections.abc import Mapping

import msgspec
from msgspec import Struct

from rs3gwd.base.errors import ApiError
from rs3gwd.base.records import EncryptionKind, EncryptionRecord
from rs3gwd.s3.arguments import argument_error

ENCRYPTION = "x-amz-server-side-encryption"
KEY_ID = f"{ENCRYPTION}-aws-kms-key-id"
CONTEXT = f"{ENCRYPTION}-context"
BUCKET_KEY = f"{ENCRYPTION}-bucket-key-enabled"
CUSTOMER = f"{ENCRYPTION}-customer-"
SOURCE_CUSTOMER = "x-amz-copy-source-server-side-encryption-customer-"

CUSTOMER_ALGORITHM = "AES256"
CUSTOMER_KEY_BYTES = 32

DSSE = "aws:kms:dsse"
"""Two layers of encryption with keys of the key management, which this store does not do."""

CONTEXT_BYTES_MAX = 8192
"""Bytes of an encryption context as JSON: the bound of AWS KMS ("Limits", EncryptionContext)."""

KEY_ID_CHARACTERS_MAX = 2048

_KMS_HEADERS = (KEY_ID, CONTEXT, BUCKET_KEY)
_CUSTOMER_HEADERS = {
    prefix: (f"{prefix}algorithm", f"{prefix}key", f"{prefix}key-md5")
    for prefix in (CUSTOMER, SOURCE_CUSTOMER)
}
_KNOWN = frozenset({ENCRYPTION, *_KMS_HEADERS}.union(*_CUSTOMER_HEADERS.values()))
_FLAGS = {"true": True, "false": False}

_context_decoder = msgspec.json.Decoder(dict[str, str])


class CustomerKey(Struct, frozen=True):
    """A key that a caller brought, 32 bytes, and its MD5 in base64."""

    key: bytes
    md5: str

    def __repr__(self) -> str:
        return f"CustomerKey({self.md5})"


class EncryptionWish(Struct, frozen=True):
    """How a caller, or the bucket, wants an object encrypted.

    For SSE_KMS `key_id` is an id, an ARN or an alias of a key, empty for the default one, `context`
    JSON or empty, and `bucket_key` None where nobody said. For SSE_C there is `customer_key`.
    """

    kind: EncryptionKind
    key_id: str = ""
    context: str = ""
    bucket_key: bool | None = None
    customer_key: CustomerKey | None = None


def wish_in(headers: Mapping[str, str], *, private: bool) -> EncryptionWish | None:
    """What the headers of a request that makes an object ask for; None for nothing.

    `private`: nobody can read the connection, or the operator says that it does not matter.

    Raises ApiError InvalidArgument, InvalidEncryptionAlgorithmError, InvalidRequest,
    NotImplemented.
    """
    customer_key = customer_key_in(headers, private=private)
    method = headers.get(ENCRYPTION)
    if method is None:
        for name in _KMS_HEADERS:
            # AWS takes this one alone: it then speaks of the bucket's default.
            if name in headers and name != BUCKET_KEY:
                raise _needs_kms(name, headers[name])
        if customer_key is None:
            return None
        return EncryptionWish(EncryptionKind.SSE_C, customer_key=customer_key)
    if customer_key is not None:
        raise argument_error(
            ENCRYPTION,
            method,
            "Server Side Encryption with Customer provided key is incompatible with the encryption "
            "method specified",
        )
    if method == DSSE:
        raise ApiError(
            "NotImplemented",
            "Dual-layer encryption (aws:kms:dsse) is not implemented",
            fields={"Header": ENCRYPTION},
        )
    if method == EncryptionKind.SSE_S3:
        for name in (KEY_ID, CONTEXT):
            if name in headers:
                raise _needs_kms(name, headers[name])
        return EncryptionWish(EncryptionKind.SSE_S3)
    if method == EncryptionKind.SSE_KMS:
        return EncryptionWish(
            EncryptionKind.SSE_KMS,
            key_id=_key_id(headers.get(KEY_ID, "")),
            context=_context(headers.get(CONTEXT)),
            bucket_key=bucket_key_in(headers),
        )
    raise ApiError(
        "InvalidEncryptionAlgorithmError",
        fields={"ArgumentName": ENCRYPTION, "ArgumentValue": method},
    )


def customer_key_in(
    headers: Mapping[str, str], *, private: bool, prefix: str = CUSTOMER
) -> CustomerKey | None:
    """The key that a request brings, for its object or (`prefix`) for the source of a copy.

    Raises ApiError InvalidArgument, InvalidRequest (the connection is not private).
    """
    of_algorithm, of_key, of_md5 = _CUSTOMER_HEADERS[prefix]
    algorithm, text, md5 = headers.get(of_algorithm), headers.get(of_key), headers.get(of_md5)
    if algorithm is None and text is None and md5 is None:
        return None
    if not private:
        raise ApiError(
            "InvalidRequest",
            "Requests specifying Server Side Encryption with Customer provided keys must be made "
            "over a secure connection.",
        )
    start = "Requests specifying Server Side Encryption with Customer provided keys must provide "
    if algorithm != CUSTOMER_ALGORITHM:
        what = "a valid" if algorithm else "the"
        raise argument_error(
            f"{prefix}algorithm", algorithm or "", f"{start}{what} encryption algorithm."
        )
    if not text:
        raise ApiError("InvalidArgument", f"{start}an appropriate secret key.")
    if not md5:
        raise ApiError("InvalidArgument", f"{start}the client calculated MD5 of the secret key.")
    return CustomerKey(_customer_key(text, md5), md5)


def bucket_key_in(headers: Mapping[str, str]) -> bool | None:
    """What a request says of bucket keys. Raises ApiError InvalidArgument."""
    text = headers.get(BUCKET_KEY)
    if text is None:
        return None
    flag = _FLAGS.get(text.lower())
    if flag is None:
        raise argument_error(BUCKET_KEY, text, "The value must be true or false.")
    return flag


def refuse_wish(headers: Mapping[str, str]) -> None:
    """For requests that encrypt nothing anew: reads, and parts, whose upload says how.

    Raises ApiError InvalidArgument.
    """
    for name in (ENCRYPTION, *_KMS_HEADERS):
        if name in headers:
            raise argument_error(
                name, headers[name], f"{name} header is not supported for this operation."
            )


def refuse_unknown(headers: Mapping[str, str]) -> None:
    """Raises ApiError NotImplemented for a header of encryption that nobody here knows."""
    for name in headers:
        if name.startswith((ENCRYPTION, SOURCE_CUSTOMER)) and name not in _KNOWN:
            raise ApiError(
                "NotImplemented",
                "A header you provided implies functionality that is not implemented",
                fields={"Header": name},
            )


def encryption_headers(
    record: EncryptionRecord | None, *, with_context: bool = False, with_customer: bool = True
) -> list[tuple[str, str]]:
    """What an answer says of how an object is encrypted; `with_context` to who just wrote it,
    `with_customer` to who brought a key of their own.
    """
    if record is None:
        return []
    if record.kind is EncryptionKind.SSE_C:
        if not with_customer:
            return []
        return [
            (f"{CUSTOMER}algorithm", CUSTOMER_ALGORITHM),
            (f"{CUSTOMER}key-MD5", record.customer_key_md5),
        ]
    shown = [(ENCRYPTION, record.kind.value)]
    if record.kind is EncryptionKind.SSE_KMS:
        shown.append((KEY_ID, record.key_id))
        if with_context and record.context:
            shown.append((CONTEXT, base64.b64encode(record.context.encode()).decode("ascii")))
        if record.bucket_key:
            shown.append((BUCKET_KEY, "true"))
    return shown


def _customer_key(text: str, md5: str) -> bytes:
    """Raises ApiError InvalidArgument; the texts are secret, so no error repeats them."""
    try:
        key = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        # The cause would show the text.
        key = b""
    if len(key) != CUSTOMER_KEY_BYTES:
        raise ApiError("InvalidArgument", "The secret key was invalid for the specified algorithm.")
    digest = hashlib.md5(key, usedforsecurity=False).digest()
    if not hmac.compare_digest(base64.b64encode(digest), md5.encode("latin-1", "replace")):
        raise ApiError(
            "InvalidArgument",
            "The calculated MD5 hash of the key did not match the hash that was provided.",
        )
    return key


def _key_id(text: str) -> str:
    if len(text) > KEY_ID_CHARACTERS_MAX or not text.isascii():
        raise argument_error(KEY_ID, text[:KEY_ID_CHARACTERS_MAX], "Invalid KMS key id.")
    return text


def _context(text: str | None) -> str:
    """The JSON inside a context header, as it was given. Raises ApiError InvalidArgument."""
    if text is None:
        return ""
    message = (
        "The header 'x-amz-server-side-encryption-context' shall be Base64-encoded UTF-8 string "
        "holding JSON which represents a string-string map"
    )
    try:
        data = base64.b64decode(text, validate=True)
        _context_decoder.decode(data)
    except (binascii.Error, ValueError, msgspec.DecodeError) as error:
        raise argument_error(CONTEXT, text, message) from error
    if len(data) > CONTEXT_BYTES_MAX:
        raise argument_error(CONTEXT, text[:CONTEXT_BYTES_MAX], message)
    return data.decode()


def _needs_kms(name: str, value: str) -> ApiError:
    return argument_error(
        name,
        value,
        "Server Side Encryption with AWS KMS managed key requires HTTP header "
        "x-amz-server-side-encryption : aws:kms",
    )
