"""The ciphers of stored bytes: blocks of a body, each of which knows its place.

    stored block n = ciphertext (as long as the block) | tag (16)
    key            = derive_key(data key, "rs3gwd body 1 " + cipher, salt)
    nonce          = n (11 bytes, big-endian) | 1 for the last block, else 0
    AAD            = none: the place is in the nonce, the object and the salt are in the key

A block can so be opened only where it was sealed: another number, another body, another object or
another end is another nonce or another key. A key belongs to one body, whose blocks are numbered,
so no nonce is used twice with it. AEAD: NIST SP 800-38D and RFC 8439.

A body shorter than what was sealed lacks its last block; the engine's sizes say where that is, and
the block that stands there then does not open as the last one.

Invariant: nothing of a block is given out before its tag was checked.
"""

from enum import StrEnum

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM, ChaCha20Poly1305

from rs3gwd.base.encryption import SALT_BYTES
from rs3gwd.base.errors import DataCorrupt, FormatError
from rs3gwd.transform.material import check_key, derive_key

AnyAead = AESGCM | ChaCha20Poly1305


class Cipher(StrEnum):
    """The names under which records keep the cipher; `/1` is the format of the blocks."""

    AES_256_GCM = "AES-256-GCM/1"
    CHACHA20_POLY1305 = "ChaCha20-Poly1305/1"


_AEADS: dict[Cipher, type[AESGCM] | type[ChaCha20Poly1305]] = {
    Cipher.AES_256_GCM: AESGCM,
    Cipher.CHACHA20_POLY1305: ChaCha20Poly1305,
}


def cipher_named(name: str) -> Cipher:
    """The cipher of a record. Raises FormatError for one that this release does not know."""
    try:
        return Cipher(name)
    except ValueError as error:
        raise FormatError(f"bodies encrypted with {name!r} are not known here") from error


def make_aead(cipher: Cipher, key: bytes) -> AnyAead:
    """The AEAD of a key of 32 bytes."""
    return _AEADS[cipher](key)


class BodyCipher:
    """The port `BlockCipher`: the blocks of one body."""

    __slots__ = ("_aead",)

    def __init__(self, aead: AnyAead) -> None:
        self._aead = aead

    def seal(self, index: int, data: memoryview, out: memoryview, *, is_last: bool) -> None:
        """See the port."""
        self._aead.encrypt_into(_nonce(index, is_last=is_last), data, None, out)

    def open(self, index: int, data: memoryview, out: memoryview, *, is_last: bool) -> None:
        """Raises DataCorrupt: another block, another key, or changed bytes."""
        try:
            self._aead.decrypt_into(_nonce(index, is_last=is_last), data, None, out)
        except InvalidTag as error:
            raise DataCorrupt(f"block {index} is not the one that was stored") from error


class BodyKeys:
    """The port `DataKey`: makes the keys of the bodies of one object, and shows none."""

    __slots__ = ("_cipher", "_key")

    def __init__(self, key: bytes, cipher: Cipher) -> None:
        """Raises MasterKeyError for what is no key."""
        self._key = check_key(key, "a data key")
        self._cipher = cipher

    def cipher(self, salt: bytes) -> BodyCipher:
        """The cipher of the body with this salt of SALT_BYTES."""
        assert len(salt) == SALT_BYTES
        label = f"rs3gwd body 1 {self._cipher}".encode()
        return BodyCipher(make_aead(self._cipher, derive_key(self._key, label, salt)))


def _nonce(index: int, *, is_last: bool) -> bytes:
    return (index << 8 | is_last).to_bytes(12, "big")
