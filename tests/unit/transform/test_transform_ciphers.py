"""The blocks of a body, against the primitives themselves, and with every kind of damage."""

import hmac

import pytest
from cryptography.hazmat.primitives.ciphers.aead import AESGCM, ChaCha20Poly1305
from hypothesis import given, settings
from hypothesis import strategies as st

from rs3gwd.base.encryption import TAG_BYTES
from rs3gwd.base.errors import DataCorrupt, FormatError
from rs3gwd.transform.ciphers import BodyKeys, Cipher, cipher_named
from rs3gwd.transform.errors import MasterKeyError

KEY, SALT = bytes(range(1, 33)), bytes(range(16))
PRIMITIVES: dict[Cipher, type[AESGCM] | type[ChaCha20Poly1305]] = {
    Cipher.AES_256_GCM: AESGCM,
    Cipher.CHACHA20_POLY1305: ChaCha20Poly1305,
}
GOLDEN = {
    Cipher.AES_256_GCM: "799df246f1cfcd219c6349ead99b54fb89a2098c5f12aa364e95c045",
    Cipher.CHACHA20_POLY1305: "ec6635028bf90b6cd07fe86ab2d457c32200229773c38a5d156bc44f",
}
"""Block 3, not the last, of the body with SALT under KEY: what the first release stored."""

ciphers = pytest.mark.parametrize("cipher", Cipher)


def sealed(cipher: Cipher, data: bytes, index: int = 3, *, is_last: bool = False) -> bytes:
    """One stored block."""
    out = bytearray(len(data) + TAG_BYTES)
    keys = BodyKeys(KEY, cipher)
    keys.cipher(SALT).seal(index, memoryview(data), memoryview(out), is_last=is_last)
    return bytes(out)


def opened(
    cipher: Cipher,
    block: bytes,
    index: int = 3,
    *,
    is_last: bool = False,
    key: bytes = KEY,
    salt: bytes = SALT,
) -> bytes:
    """What a stored block holds."""
    out = bytearray(len(block) - TAG_BYTES)
    keys = BodyKeys(key, cipher)
    keys.cipher(salt).open(index, memoryview(block), memoryview(out), is_last=is_last)
    return bytes(out)


@ciphers
def test_the_format_of_blocks_is_that_of_the_first_release(cipher: Cipher) -> None:
    """What the first release stored is stored so still."""
    assert sealed(cipher, b"golden block").hex() == GOLDEN[cipher]


@ciphers
@given(data=st.binary(min_size=1, max_size=300), index=st.integers(0, 2**60), is_last=st.booleans())
@settings(max_examples=60, deadline=None)
def test_blocks_can_be_decrypted_with_plain_primitives(
    cipher: Cipher, data: bytes, index: int, is_last: bool
) -> None:
    """The byte table alone suffices to read what is stored."""
    label = b"rs3gwd body 1 " + cipher.value.encode() + b"\0"
    key = hmac.digest(KEY, label + SALT + b"\x01", "sha256")
    nonce = index.to_bytes(11, "big") + (b"\x01" if is_last else b"\x00")
    block = sealed(cipher, data, index, is_last=is_last)
    assert PRIMITIVES[cipher](key).decrypt(nonce, block, None) == data
    assert opened(cipher, block, index, is_last=is_last) == data


@ciphers
def test_every_flipped_bit_is_refused(cipher: Cipher) -> None:
    """No bit of a stored block can change, be it in the bytes or in the tag."""
    block = sealed(cipher, b"twenty-one bytes here")
    for bit in range(len(block) * 8):
        changed = bytearray(block)
        changed[bit // 8] ^= 1 << bit % 8
        with pytest.raises(DataCorrupt):
            opened(cipher, bytes(changed))


@ciphers
@pytest.mark.parametrize(
    "place",
    [
        {"index": 4},
        {"is_last": True},
        {"salt": SALT[::-1]},
        {"key": KEY[::-1]},
    ],
    ids=["another number", "another end", "another body", "another object"],
)
def test_a_block_opens_only_where_it_was_sealed(cipher: Cipher, place: dict[str, object]) -> None:
    """Blocks cannot be swapped, cut off, or moved between parts and objects."""
    with pytest.raises(DataCorrupt):
        opened(cipher, sealed(cipher, b"x"), **place)  # type: ignore[arg-type]


def test_one_cipher_does_not_open_what_the_other_sealed() -> None:
    """A record whose cipher was changed opens nothing."""
    with pytest.raises(DataCorrupt):
        opened(Cipher.CHACHA20_POLY1305, sealed(Cipher.AES_256_GCM, b"x"))


@pytest.mark.parametrize("key", [b"", bytes(32), b"k" * 31, b"k" * 33])
def test_what_is_no_key_is_refused(key: bytes) -> None:
    """Empty, short, long and all zeros are no keys."""
    with pytest.raises(MasterKeyError):
        BodyKeys(key, Cipher.AES_256_GCM)


def test_an_unknown_cipher_is_refused() -> None:
    """A record of a later release is not guessed at."""
    with pytest.raises(FormatError):
        cipher_named("AES-256-GCM/2")
