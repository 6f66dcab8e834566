"""The data keys of objects: made, sealed, and opened again. The port `ObjectKeys`.

Every object (and every upload) has a data key of its own, 32 random bytes, which stands sealed in
its record. What it is sealed with depends on the kind:

    SSE-S3    the key rs3gw/sse-s3 of the keyring, which nobody can name or disable
    SSE-KMS   the key that was asked for, aws/s3 where none was; with a bucket key, the key of the
              bucket that follows from it
    SSE-C     the key of the caller, which is forgotten at once

The context of each sealing is the object's identity: kind, cipher, bucket, key, the caller's
encryption context. A record that was put on another object opens nothing.

The data keys of the objects read last are kept opened, since opening one takes as long as
decrypting half a MiB. Whether the key above it is still there and enabled is looked up for each
request all the same. Keys of SSE-C are never kept.

Sources: "Protecting data with server-side encryption", "Reducing the cost of SSE-KMS with Amazon S3
Bucket Keys" in the Amazon S3 User Guide; "Key identifiers" in the AWS KMS Developer Guide.
"""

from __future__ import annotations

from uuid import UUID

from msgspec.structs import replace

from rs3gwd.base.encryption import DataKey, KeyWish
from rs3gwd.base.errors import ApiError, DataCorrupt, KeyringRefused
from rs3gwd.base.kms_keys import KmsKeyRecord
from rs3gwd.base.ports import Random
from rs3gwd.base.records import EncryptionKind, EncryptionRecord
from rs3gwd.transform.body_cipher import CIPHER_NAMES, BodyDataKey, algorithm_of
from rs3gwd.transform.keyring import Keyring, no_such_key
from rs3gwd.transform.sealed import (
    KEY_BYTES,
    Algorithm,
    Header,
    Wrapper,
    WrongKey,
    join_context,
    new_key,
    read_header,
    seal,
    unseal,
)

SSE_S3_KEY = "rs3gw/sse-s3"
DEFAULT_KEY = "aws/s3"
"""The name of the key of SSE-KMS where none is asked for, as AWS calls it."""

HIDDEN_PREFIX = "rs3gw/"
"""Keys of such names are the server's own: no request can name them."""

KMS_ACCOUNT = "000000000000"
"""The account in the ARNs of keys: they are the store's, and no account's."""


OPENED_MAX = 1024
"""Data keys that a process keeps opened, under 1 KiB each; beyond, the oldest makes room."""


class KeyringObjectKeys:
    """The port `ObjectKeys` over a keyring; `region` stands in the ARNs of keys."""

    def __init__(self, keyring: Keyring, *, region: str, random: Random) -> None:
        self._keyring = keyring
        self._keys = keyring.keys
        self._region = region
        self._random = random
        self._opened: dict[tuple[bytes, bytes], BodyDataKey] = {}

    async def create(self, wish: KeyWish) -> tuple[EncryptionRecord, DataKey]:
        """See the port. Raises KeyringRefused and KeyProviderUnavailable too."""
        algorithm = self._keyring.algorithm
        record = EncryptionRecord(
            kind=wish.kind,
            cipher=CIPHER_NAMES[algorithm],
            wrapped_key=b"",
            context=wish.context,
            bucket_key=wish.bucket_key and wish.kind is EncryptionKind.SSE_KMS,
        )
        context = _context(record, wish.bucket, wish.key)
        data_key = new_key(self._random)
        key_id = ""
        if wish.kind is EncryptionKind.SSE_C:
            wrapped = self._wrap_with_customer_key(data_key, wish.customer_key, context)
        else:
            kms_key = self._key_for(wish)
            bucket = wish.bucket if record.bucket_key else None
            wrapped = await self._keyring.wrap(kms_key, data_key, context=context, bucket=bucket)
            if wish.kind is EncryptionKind.SSE_KMS:
                key_id = key_arn(self._region, kms_key)
        record = replace(record, wrapped_key=wrapped, key_id=key_id)
        return record, BodyDataKey(data_key, algorithm)

    async def open(
        self,
        record: EncryptionRecord,
        *,
        bucket: str,
        key: bytes,
        customer_key: bytes | None = None,
    ) -> DataKey:
        """See the port. Raises DataCorrupt, FormatError, KeyringRefused too."""
        algorithm = algorithm_of(record.cipher)
        context = _context(record, bucket, key)
        if record.kind is EncryptionKind.SSE_C:
            secret = _unwrap_with_customer_key(record.wrapped_key, customer_key, context)
            return _data_key(secret, algorithm)
        opened = self._opened.get((record.wrapped_key, context))
        if opened is not None:
            self._keyring.key_of(record.wrapped_key)
            return opened
        secret = await self._keyring.unwrap(record.wrapped_key, context=context, bucket=bucket)
        opened = _data_key(secret, algorithm)
        if len(self._opened) >= OPENED_MAX:
            del self._opened[next(iter(self._opened))]
        self._opened[record.wrapped_key, context] = opened
        return opened

    async def rewrap(
        self, record: EncryptionRecord, *, bucket: str, key: bytes
    ) -> EncryptionRecord | None:
        """The record with its data key under the newest version of the same key.

        None where it is so already, and for SSE-C. Raises as `open`.
        """
        if record.kind is EncryptionKind.SSE_C:
            return None
        header = read_header(record.wrapped_key)
        kms_key = self._keys.by_id(str(UUID(bytes=header.key_id)))
        if kms_key is not None and kms_key.versions[-1].number == header.key_version:
            return None
        context = _context(record, bucket, key)
        data_key = await self._keyring.unwrap(record.wrapped_key, context=context, bucket=bucket)
        assert kms_key is not None, "what is unwrapped has a key"
        below = bucket if header.wrapper is Wrapper.BUCKET_KEY else None
        wrapped = await self._keyring.wrap(kms_key, data_key, context=context, bucket=below)
        return replace(record, wrapped_key=wrapped)

    def _key_for(self, wish: KeyWish) -> KmsKeyRecord:
        if wish.kind is EncryptionKind.SSE_S3:
            found = self._keys.by_name(SSE_S3_KEY)
            if found is None:
                raise KeyringRefused("the keyring has not been made yet")
            return found
        found = self._find(wish.key_id) if wish.key_id else self._keys.by_name(DEFAULT_KEY)
        if found is None or found.name.startswith(HIDDEN_PREFIX):
            raise no_such_key(wish.key_id or f"alias/{DEFAULT_KEY}")
        return found

    def _find(self, wanted: str) -> KmsKeyRecord | None:
        """The key of an id, `alias/name`, the ARN of either, or a bare name."""
        if wanted.startswith("arn:"):
            fields = wanted.split(":", 5)
            if len(fields) != 6 or fields[2] != "kms":
                return None
            wanted = fields[5].removeprefix("key/")
        if wanted.startswith("alias/"):
            return self._keys.by_name(wanted.removeprefix("alias/"))
        return self._keys.by_id(wanted.lower()) or self._keys.by_name(wanted)

    def _wrap_with_customer_key(
        self, data_key: bytes, customer_key: bytes | None, context: bytes
    ) -> bytes:
        if customer_key is None or len(customer_key) != KEY_BYTES:
            raise ApiError("InvalidRequest", "SSE-C needs a key of 32 bytes")
        if not any(customer_key):
            raise ApiError("InvalidRequest", "A key of zeros is no key")
        header = Header(self._keyring.algorithm, Wrapper.CUSTOMER_KEY)
        return seal(customer_key, data_key, header=header, context=context, random=self._random)


def key_arn(region: str, record: KmsKeyRecord) -> str:
    """The ARN of a key."""
    return f"arn:aws:kms:{region}:{KMS_ACCOUNT}:key/{record.key_id}"


def _data_key(secret: bytes, algorithm: Algorithm) -> BodyDataKey:
    """Raises DataCorrupt: what was sealed is no key."""
    if len(secret) != KEY_BYTES or not any(secret):
        raise DataCorrupt("what was sealed is no data key")
    return BodyDataKey(secret, algorithm)


def _unwrap_with_customer_key(wrapped: bytes, customer_key: bytes | None, context: bytes) -> bytes:
    """Raises ApiError AccessDenied: no key or another one, which damage cannot be told from."""
    if read_header(wrapped).wrapper is not Wrapper.CUSTOMER_KEY:
        raise DataCorrupt("an object of SSE-C is not sealed with the key of a caller")
    if customer_key is None:
        raise ApiError("AccessDenied")
    try:
        return unseal(customer_key, wrapped, context=context)
    except WrongKey as error:
        raise ApiError("AccessDenied") from error


def _context(record: EncryptionRecord, bucket: str, key: bytes) -> bytes:
    return join_context(
        b"object",
        record.kind.encode(),
        record.cipher.encode(),
        bucket.encode(),
        key,
        record.context.encode(),
        bytes([record.bucket_key]),
    )
