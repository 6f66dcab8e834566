"""Wrapped keys and secrets: small bytes sealed by a key-encryption key, for one context.

    offset  bytes  field
    0       1      version of this format, 1
    1       1      algorithm: 1 AES-256-GCM
    2       16     id of the key-encryption key (UUID); zeros where the caller brings the key
    18      4      version of the key, big-endian; 0 where the caller brings it
    22      32     salt, random
    54      n      ciphertext
    54+n    16     tag

    key   = derive_key(key-encryption key, "rs3gwd wrap 1", salt)
    nonce = zeros: the derived key seals once
    AAD   = the first 22 bytes | context

A random nonce of 96 bits would bound a key to 2^32 wrappings (NIST SP 800-38D, section 8.3), which
are three and a half days of small writes; with 256 bits of salt there is no bound to reach.

What it is not: it does not know where a key comes from (`rs3gwd.transform.keyring` does).
"""

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from msgspec import Struct

from rs3gwd.base.errors import FormatError
from rs3gwd.base.ports import Random
from rs3gwd.transform.errors import WrongKey
from rs3gwd.transform.material import check_key, derive_key

FORMAT_VERSION = 1
ALGORITHM_AES_256_GCM = 1
SALT_BYTES = 32
KEY_ID_BYTES = 16

_HEAD_BYTES = 2 + KEY_ID_BYTES + 4
_LABEL = b"rs3gwd wrap 1"
_NONCE = bytes(12)
_TAG_BYTES = 16


class KeyPlace(Struct, frozen=True):
    """Which version of which key wrapped something; `key_id` is 16 bytes."""

    key_id: bytes
    number: int


CALLERS_KEY = KeyPlace(bytes(KEY_ID_BYTES), 0)
"""The place of a key that the caller brings."""


def wrap(key: bytes, place: KeyPlace, secret: bytes, context: bytes, random: Random) -> bytes:
    """The secret, sealed by the key that is at `place`. Raises MasterKeyError: it is no key."""
    head = bytes([FORMAT_VERSION, ALGORITHM_AES_256_GCM]) + place.key_id
    head += place.number.to_bytes(4, "big")
    salt = random.token_bytes(SALT_BYTES)
    sealed = _aead(key, salt).encrypt(_NONCE, secret, head + context)
    return head + salt + sealed


def place_of(wrapped: bytes) -> KeyPlace:
    """The key that opens it. Raises FormatError."""
    if len(wrapped) < _HEAD_BYTES + SALT_BYTES + _TAG_BYTES:
        raise FormatError(f"a wrapped key of {len(wrapped)} bytes")
    if wrapped[:2] != bytes([FORMAT_VERSION, ALGORITHM_AES_256_GCM]):
        raise FormatError(f"a wrapped key of format {wrapped[0]}, algorithm {wrapped[1]}")
    number = int.from_bytes(wrapped[2 + KEY_ID_BYTES : _HEAD_BYTES], "big")
    return KeyPlace(wrapped[2 : 2 + KEY_ID_BYTES], number)


def unwrap(key: bytes, wrapped: bytes, context: bytes) -> bytes:
    """The secret. Raises WrongKey (key, context or bytes are others), FormatError."""
    place_of(wrapped)
    head, salt = wrapped[:_HEAD_BYTES], wrapped[_HEAD_BYTES : _HEAD_BYTES + SALT_BYTES]
    try:
        return _aead(key, salt).decrypt(_NONCE, wrapped[_HEAD_BYTES + SALT_BYTES :], head + context)
    except InvalidTag as error:
        raise WrongKey("what was wrapped does not open with this key and context") from error


def _aead(key: bytes, salt: bytes) -> AESGCM:
    return AESGCM(derive_key(check_key(key, "a key-encryption key"), _LABEL, salt))
