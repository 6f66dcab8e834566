"""The ciphers of bodies: a key per body, a nonce per block.

    key of the body   HKDF-SHA256(data key, salt of the body, "rs3gwd body 1" | 00 | a)
    nonce of a block  index, 11 bytes big-endian | 1 for the last block, else 0

`a` is the byte of the algorithm. A data key is used for one object (or upload) and a salt for one
body of it, so no nonce comes twice under one key. The index in the nonce keeps blocks from changing
places; the mark of the last one keeps a body from being cut short.

Sources: Hoang, Reyhanitabar, Rogaway and Vizar, "Online Authenticated-Encryption and its
Nonce-Reuse Misuse-Resistance" (2015), section 7 (STREAM); RFC 5869.
"""

from __future__ import annotations

from cryptography.exceptions import InvalidTag

from rs3gwd.base.encryption import BlockCipher
from rs3gwd.base.errors import DataCorrupt, FormatError
from rs3gwd.transform.sealed import Algorithm, derive_key

BLOCKS_MAX = 1 << 32
"""Blocks of one body: 256 TiB, while S3's greatest object has 50 TB."""

_PURPOSE = b"rs3gwd body 1\0"

CIPHER_NAMES = {
    Algorithm.AES_256_GCM: "AES256-GCM/1",
    Algorithm.CHACHA20_POLY1305: "CHACHA20-POLY1305/1",
}
"""What `EncryptionRecord.cipher` says: the algorithm and the format of the stored bytes."""

_ALGORITHMS = {name: algorithm for algorithm, name in CIPHER_NAMES.items()}


def algorithm_of(cipher: str) -> Algorithm:
    """The algorithm of a stored body. Raises FormatError: a cipher of a later release."""
    if cipher not in _ALGORITHMS:
        raise FormatError(f"an object is encrypted with {cipher!r}, which is not known")
    return _ALGORITHMS[cipher]


class BodyDataKey:
    """The port `DataKey`; shows its bytes to nobody. It remembers the cipher it made last."""

    __slots__ = ("_algorithm", "_key", "_last", "_last_salt")

    def __init__(self, key: bytes, algorithm: Algorithm) -> None:
        self._key = key
        self._algorithm = algorithm
        self._last: BodyCipher | None = None
        self._last_salt = b""

    def __repr__(self) -> str:
        return "BodyDataKey(hidden)"

    def cipher(self, salt: bytes) -> BlockCipher:
        """See the port."""
        if self._last is None or self._last_salt != salt:
            info = _PURPOSE + bytes([self._algorithm])
            key = derive_key(self._key, salt=salt, info=info)
            self._last, self._last_salt = BodyCipher(key, self._algorithm), salt
        return self._last


class BodyCipher:
    """The port `BlockCipher`."""

    __slots__ = ("_cipher",)

    def __init__(self, key: bytes, algorithm: Algorithm) -> None:
        self._cipher = algorithm.cipher(key)

    def seal(self, index: int, data: memoryview, out: memoryview, *, is_last: bool) -> None:
        """See the port."""
        self._cipher.encrypt_into(_nonce(index, is_last=is_last), data, None, out)

    def open(self, index: int, data: memoryview, out: memoryview, *, is_last: bool) -> None:
        """Raises DataCorrupt."""
        try:
            self._cipher.decrypt_into(_nonce(index, is_last=is_last), data, None, out)
        except InvalidTag as error:
            raise DataCorrupt(f"block {index} cannot be decrypted") from error


def _nonce(index: int, *, is_last: bool) -> bytes:
    assert 0 <= index < BLOCKS_MAX, "a body of this size cannot be"
    return index.to_bytes(11, "big") + bytes([is_last])
