"""The port `ObjectKeys` over a keyring: a data key for each object, wrapped for that object alone.

    kind      wrapped by                                   where nobody may use that key
    SSE_S3    the key `rs3gwd/objects`                     -
    SSE_KMS   the key that the wish names, or `aws/s3`     400 KMS.DisabledException
    SSE_C     the caller's key, which is never kept        403 AccessDenied for another one

The context of the wrapping is the kind, the cipher, the bucket, the object's key and the caller's
encryption context: a record that was moved to another object, or changed, does not open.

`bucket_key` is kept in the record and changes nothing: the master key is asked once for each
version of a key, whoever holds it, so there are no requests to save.
"""

from msgspec.structs import replace

from rs3gwd.base.encryption import DataKey, KeyWish
from rs3gwd.base.errors import ApiError, DataCorrupt
from rs3gwd.base.ports import Random
from rs3gwd.base.records import EncryptionKind, EncryptionRecord
from rs3gwd.transform.ciphers import BodyKeys, Cipher, cipher_named
from rs3gwd.transform.errors import MasterKeyError, ProviderUnavailable, WrongKey
from rs3gwd.transform.keyring import DEFAULT_KMS_KEY, OBJECTS_KEY, Keyring
from rs3gwd.transform.material import check_key, context_of, new_key
from rs3gwd.transform.wrapping import CALLERS_KEY, place_of, unwrap, wrap


class KeyringObjectKeys:
    """Data keys of objects; `cipher` is what new ones are encrypted with."""

    def __init__(self, keyring: Keyring, random: Random, cipher: Cipher) -> None:
        self._keyring = keyring
        self._random = random
        self._cipher = cipher

    async def create(self, wish: KeyWish) -> tuple[EncryptionRecord, DataKey]:
        """See the port."""
        record = EncryptionRecord(
            kind=wish.kind,
            cipher=self._cipher,
            wrapped_key=b"",
            context=wish.context,
            bucket_key=wish.bucket_key,
        )
        data_key = new_key(self._random)
        context = _context(record, wish.bucket, wish.key)
        arn = ""
        if wish.kind is EncryptionKind.SSE_C:
            callers = _callers_key(wish.customer_key)
            wrapped = wrap(callers, CALLERS_KEY, data_key, context, self._random)
        else:
            name = OBJECTS_KEY
            if wish.kind is EncryptionKind.SSE_KMS:
                key = self._keyring.find(wish.key_id or DEFAULT_KMS_KEY)
                name, arn = key.name, key.arn
            wrapped = await self._wrap(name, data_key, context)
        record = replace(record, wrapped_key=wrapped, key_id=arn)
        return record, BodyKeys(data_key, self._cipher)

    async def open(
        self,
        record: EncryptionRecord,
        *,
        bucket: str,
        key: bytes,
        customer_key: bytes | None = None,
    ) -> DataKey:
        """See the port. Raises DataCorrupt too: the record was changed or is another object's."""
        cipher = cipher_named(record.cipher)
        context = _context(record, bucket, key)
        is_callers = record.kind is EncryptionKind.SSE_C
        if is_callers != (place_of(record.wrapped_key) == CALLERS_KEY):
            raise DataCorrupt("a data key is not wrapped as its record says")
        if is_callers:
            try:
                data_key = unwrap(_callers_key(customer_key), record.wrapped_key, context)
            except WrongKey as error:
                raise ApiError("AccessDenied") from error
        else:
            data_key = await self._unwrap(record.wrapped_key, context)
        return BodyKeys(data_key, cipher)

    async def _wrap(self, name: str, data_key: bytes, context: bytes) -> bytes:
        try:
            return await self._keyring.wrap(name, data_key, context)
        except ProviderUnavailable as error:
            raise ApiError("ServiceUnavailable") from error

    async def _unwrap(self, wrapped: bytes, context: bytes) -> bytes:
        try:
            return await self._keyring.unwrap(wrapped, context)
        except ProviderUnavailable as error:
            raise ApiError("ServiceUnavailable") from error
        except WrongKey as error:
            raise DataCorrupt("the data key of an object does not open") from error


def _context(record: EncryptionRecord, bucket: str, key: bytes) -> bytes:
    return context_of(
        b"object",
        record.kind.encode(),
        record.cipher.encode(),
        bucket.encode(),
        key,
        record.context.encode(),
    )


def _callers_key(key: bytes | None) -> bytes:
    """Raises ApiError InvalidArgument for what is no key: none, short, or all zeros."""
    try:
        return check_key(key or b"", "the key of the request")
    except MasterKeyError as error:
        raise ApiError(
            "InvalidArgument", "The secret key was invalid for the specified algorithm."
        ) from error
