"""Small secrets, sealed: the one format in which a key is kept under another key.

    offset  bytes
    0       1      version of the format, 1
    1       1      algorithm: 1 AES-256-GCM, 2 ChaCha20-Poly1305
    2       1      what it is sealed with (`Wrapper`)
    3       16     id of the key that it is sealed with, zeros where that has none
    19      4      version of that key, big-endian
    23      24     salt, random
    47      n      the secret, encrypted
    47+n    16     tag

Each sealing has a key of its own, HKDF-SHA256 over the sealing key and the salt, and is the only
thing ever encrypted with it, so the nonce is zero. Random nonces of 12 bytes under one key would
end after 2^32 objects; 24 bytes of salt do not.

The tag covers all that stands before the secret, and a context that is not stored: what the secret
is for. A sealed key that strayed to another object, bucket or purpose cannot be opened.

Sources: RFC 5869 (HKDF); NIST SP 800-38D section 8.3 (the bound on nonces); RFC 8439
(ChaCha20-Poly1305).
"""

from __future__ import annotations

import hmac
from enum import IntEnum
from struct import Struct as Layout

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM, ChaCha20Poly1305
from msgspec import Struct

from rs3gwd.base.errors import DataCorrupt, FormatError, KeyringRefused
from rs3gwd.base.ports import Random

KEY_BYTES = 32
SALT_BYTES = 24
NONCE_BYTES = 12
NO_KEY_ID = bytes(16)

FORMAT_VERSION = 1

_HEADER = Layout(">BBB16sI24s")
_TAG_BYTES = 16
_NONCE = bytes(NONCE_BYTES)
_PURPOSE = b"rs3gwd sealed 1\0"


class Algorithm(IntEnum):
    """An authenticated cipher; the number is the one that is stored."""

    AES_256_GCM = 1
    CHACHA20_POLY1305 = 2

    def cipher(self, key: bytes) -> AESGCM | ChaCha20Poly1305:
        """The cipher with a key of KEY_BYTES."""
        return AESGCM(key) if self is Algorithm.AES_256_GCM else ChaCha20Poly1305(key)


class Wrapper(IntEnum):
    """What a secret is sealed with."""

    KEY = 1
    BUCKET_KEY = 2
    CUSTOMER_KEY = 3
    MASTER_KEY = 4


class Header(Struct, frozen=True):
    """What a sealed secret says of itself. `key_id` is 16 bytes, `key_version` 0 for none."""

    algorithm: Algorithm
    wrapper: Wrapper
    key_id: bytes = NO_KEY_ID
    key_version: int = 0


class WrongKey(Exception):
    """The secret cannot be opened: another key, another context, or damage. None tells which."""


def new_key(random: Random) -> bytes:
    """32 random bytes. Raises KeyringRefused when the source of randomness gives none."""
    key = random.token_bytes(KEY_BYTES)
    check_key(key)
    return key


def check_key(key: bytes) -> None:
    """That bytes can be a key at all. Raises KeyringRefused: a wrong length, zeros."""
    if len(key) != KEY_BYTES:
        raise KeyringRefused(f"a key has {KEY_BYTES} bytes, not {len(key)}")
    if not any(key):
        raise KeyringRefused("a key of zeros is no key")


def derive_key(key: bytes, *, salt: bytes, info: bytes) -> bytes:
    """HKDF-SHA256 with an output of one block, 32 bytes (RFC 5869 section 2)."""
    extracted = hmac.digest(salt, key, "sha256")
    return hmac.digest(extracted, info + b"\1", "sha256")


def join_context(*fields: bytes) -> bytes:
    """Fields as one context: each behind its length, so that no two lists are alike."""
    return b"".join(len(field).to_bytes(4, "big") + field for field in fields)


def seal(key: bytes, secret: bytes, *, header: Header, context: bytes, random: Random) -> bytes:
    """The sealed form of `secret` under `key`. Raises KeyringRefused: no key at all."""
    check_key(key)
    salt = random.token_bytes(SALT_BYTES)
    head = _HEADER.pack(
        FORMAT_VERSION, header.algorithm, header.wrapper, header.key_id, header.key_version, salt
    )
    cipher = header.algorithm.cipher(_single_key(key, salt, header.algorithm))
    return head + cipher.encrypt(_NONCE, secret, head + context)


def read_header(sealed: bytes) -> Header:
    """What a sealed secret says of itself, which nothing has proved yet.

    Raises FormatError (of a later release), DataCorrupt (too short).
    """
    if len(sealed) < _HEADER.size + _TAG_BYTES:
        raise DataCorrupt(f"a sealed key of {len(sealed)} bytes is too short")
    version, algorithm, wrapper, key_id, key_version, _ = _HEADER.unpack_from(sealed)
    if version != FORMAT_VERSION:
        raise FormatError(f"a sealed key of version {version}, known is {FORMAT_VERSION}")
    try:
        return Header(Algorithm(algorithm), Wrapper(wrapper), key_id, key_version)
    except ValueError as error:
        raise FormatError(f"a sealed key: {error}") from error


def unseal(key: bytes, sealed: bytes, *, context: bytes) -> bytes:
    """The secret. Raises WrongKey, FormatError, DataCorrupt."""
    header = read_header(sealed)
    head, body = sealed[: _HEADER.size], sealed[_HEADER.size :]
    cipher = header.algorithm.cipher(_single_key(key, head[-SALT_BYTES:], header.algorithm))
    try:
        return cipher.decrypt(_NONCE, body, head + context)
    except InvalidTag as error:
        raise WrongKey("the tag does not match") from error


def _single_key(key: bytes, salt: bytes, algorithm: Algorithm) -> bytes:
    return derive_key(key, salt=salt, info=_PURPOSE + bytes([algorithm]))
