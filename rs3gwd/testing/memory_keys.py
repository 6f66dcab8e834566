"""The port `ObjectKeys` over keys in a dict, for tests of what is above it: no keyring, no policy.

The ciphers are real (AES-256-GCM), since a test that takes ciphertext for plaintext must fail. What
it is not: its record of a key is no format, and it does not stretch keys for long bodies.
"""

from __future__ import annotations

import hashlib
import secrets

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from rs3gwd.base.encryption import BlockCipher, DataKey, KeyWish
from rs3gwd.base.errors import ApiError, DataCorrupt
from rs3gwd.base.records import EncryptionKind, EncryptionRecord

DEFAULT_KEY = "default"


class MemoryCipher:
    """Encrypts the blocks of one body."""

    def __init__(self, key: bytes) -> None:
        self._cipher = AESGCM(key)

    def seal(self, index: int, data: memoryview, out: memoryview, *, is_last: bool) -> None:
        """See the port."""
        self._cipher.encrypt_into(_nonce(index, is_last=is_last), data, None, out)

    def open(self, index: int, data: memoryview, out: memoryview, *, is_last: bool) -> None:
        """Raises DataCorrupt."""
        try:
            self._cipher.decrypt_into(_nonce(index, is_last=is_last), data, None, out)
        except InvalidTag as error:
            raise DataCorrupt(f"block {index} cannot be decrypted") from error


class MemoryDataKey:
    """A data key whose bytes a test may look at."""

    def __init__(self, key: bytes) -> None:
        self.key = key

    def cipher(self, salt: bytes) -> BlockCipher:
        """See the port."""
        return MemoryCipher(hashlib.sha256(self.key + salt).digest())


class MemoryKeys:
    """`keys` by id; one that maps to None is disabled. `asked` counts openings and creations."""

    def __init__(self) -> None:
        self.keys: dict[str, bytes | None] = {DEFAULT_KEY: secrets.token_bytes(32)}
        self.asked = 0

    async def create(self, wish: KeyWish) -> tuple[EncryptionRecord, DataKey]:
        """Raises ApiError KMS.NotFoundException, KMS.DisabledException."""
        self.asked += 1
        key_id = (wish.key_id or DEFAULT_KEY) if wish.kind is EncryptionKind.SSE_KMS else ""
        wrapping = wish.customer_key or self._key(key_id)
        data_key, nonce = secrets.token_bytes(32), secrets.token_bytes(12)
        identity = f"{wish.bucket}/".encode() + wish.key + wish.context.encode()
        record = EncryptionRecord(
            kind=wish.kind,
            cipher="test",
            wrapped_key=nonce + AESGCM(wrapping).encrypt(nonce, data_key, identity),
            key_id=key_id,
            context=wish.context,
            bucket_key=wish.bucket_key,
        )
        return record, MemoryDataKey(data_key)

    async def open(
        self,
        record: EncryptionRecord,
        *,
        bucket: str,
        key: bytes,
        customer_key: bytes | None = None,
    ) -> DataKey:
        """Raises ApiError as `create` does, AccessDenied."""
        self.asked += 1
        wrapping = customer_key or self._key(record.key_id)
        identity = f"{bucket}/".encode() + key + record.context.encode()
        nonce, sealed = record.wrapped_key[:12], record.wrapped_key[12:]
        try:
            return MemoryDataKey(AESGCM(wrapping).decrypt(nonce, sealed, identity))
        except InvalidTag as error:
            raise ApiError("AccessDenied") from error

    def _key(self, key_id: str) -> bytes:
        name = key_id or DEFAULT_KEY
        if name not in self.keys:
            raise ApiError("KMS.NotFoundException", f"Key '{name}' does not exist")
        key = self.keys[name]
        if key is None:
            raise ApiError("KMS.DisabledException", f"{name} is disabled.")
        return key


def _nonce(index: int, *, is_last: bool) -> bytes:
    return index.to_bytes(11, "big") + bytes([is_last])
