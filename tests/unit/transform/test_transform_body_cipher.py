"""The blocks of a body, against the primitives themselves, and with every kind of damage."""

from __future__ import annotations

import pytest
from cryptography.hazmat.primitives.ciphers.aead import AESGCM, ChaCha20Poly1305
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from hypothesis import given, settings
from hypothesis import strategies as st

from rs3gwd.base.encryption import TAG_BYTES
from rs3gwd.base.errors import DataCorrupt, FormatError
from rs3gwd.transform.body_cipher import CIPHER_NAMES, BodyDataKey, algorithm_of
from rs3gwd.transform.sealed import Algorithm

KEY, SALT = bytes(range(1, 33)), bytes(range(16))
PRIMITIVES: dict[Algorithm, type[AESGCM] | type[ChaCha20Poly1305]] = {
    Algorithm.AES_256_GCM: AESGCM,
    Algorithm.CHACHA20_POLY1305: ChaCha20Poly1305,
}
STORED_NUMBERS = {Algorithm.AES_256_GCM: 1, Algorithm.CHACHA20_POLY1305: 2}
STORED_NAMES = {
    Algorithm.AES_256_GCM: "AES256-GCM/1",
    Algorithm.CHACHA20_POLY1305: "CHACHA20-POLY1305/1",
}
GOLDEN = {
    Algorithm.AES_256_GCM: "d24243cc28ae022499dd3a8326c24fc348870eb78e5ea92cebae02ae",
    Algorithm.CHACHA20_POLY1305: "6e9985d755c5c03012875a25beee7a4ef8b154452d38f3b3677f29be",
}
"""Block 3, not the last, of the body with SALT under KEY: what the first release stored."""

algorithms = pytest.mark.parametrize("algorithm", Algorithm)


def sealed(algorithm: Algorithm, data: bytes, index: int = 3, *, is_last: bool = False) -> bytes:
    """One stored block."""
    out = bytearray(len(data) + TAG_BYTES)
    cipher = BodyDataKey(KEY, algorithm).cipher(SALT)
    cipher.seal(index, memoryview(data), memoryview(out), is_last=is_last)
    return bytes(out)


def opened(
    algorithm: Algorithm,
    block: bytes,
    index: int = 3,
    *,
    is_last: bool = False,
    key: bytes = KEY,
    salt: bytes = SALT,
) -> bytes:
    """What a stored block holds."""
    out = bytearray(len(block) - TAG_BYTES)
    cipher = BodyDataKey(key, algorithm).cipher(salt)
    cipher.open(index, memoryview(block), memoryview(out), is_last=is_last)
    return bytes(out)


@algorithms
def test_the_format_of_blocks_is_that_of_the_first_release(algorithm: Algorithm) -> None:
    """What the first release stored is stored so still, under the same number and name."""
    assert sealed(algorithm, b"golden block").hex() == GOLDEN[algorithm]
    assert opened(algorithm, bytes.fromhex(GOLDEN[algorithm])) == b"golden block"
    assert algorithm == STORED_NUMBERS[algorithm]
    assert CIPHER_NAMES[algorithm] == STORED_NAMES[algorithm]
    assert algorithm_of(STORED_NAMES[algorithm]) is algorithm


@algorithms
@given(data=st.binary(min_size=1, max_size=300), index=st.integers(0, 2**31), is_last=st.booleans())
@settings(max_examples=60, deadline=None)
def test_blocks_can_be_decrypted_with_plain_primitives(
    algorithm: Algorithm, data: bytes, index: int, is_last: bool
) -> None:
    """The byte table alone suffices to read what is stored."""
    info = b"rs3gwd body 1\0" + bytes([STORED_NUMBERS[algorithm]])
    key = HKDF(algorithm=SHA256(), length=32, salt=SALT, info=info).derive(KEY)
    nonce = index.to_bytes(11, "big") + (b"\x01" if is_last else b"\x00")
    block = sealed(algorithm, data, index, is_last=is_last)
    assert PRIMITIVES[algorithm](key).decrypt(nonce, block, None) == data
    assert opened(algorithm, block, index, is_last=is_last) == data


@algorithms
def test_every_flipped_bit_is_refused(algorithm: Algorithm) -> None:
    """No bit of a stored block can change, be it in the bytes or in the tag."""
    block = sealed(algorithm, b"twenty-one bytes here")
    for bit in range(len(block) * 8):
        changed = bytearray(block)
        changed[bit // 8] ^= 1 << bit % 8
        with pytest.raises(DataCorrupt):
            opened(algorithm, bytes(changed))


@algorithms
@pytest.mark.parametrize("length", range(TAG_BYTES, TAG_BYTES + 5))
def test_a_block_that_was_cut_is_refused(algorithm: Algorithm, length: int) -> None:
    """The beginning of a block is no block."""
    with pytest.raises(DataCorrupt):
        opened(algorithm, sealed(algorithm, b"seven77")[:length])


@algorithms
@pytest.mark.parametrize(
    "place",
    [{"index": 4}, {"is_last": True}, {"salt": SALT[::-1]}, {"key": KEY[::-1]}],
    ids=["another number", "another end", "another body", "another object"],
)
def test_a_block_opens_only_where_it_was_sealed(
    algorithm: Algorithm, place: dict[str, object]
) -> None:
    """Blocks cannot be swapped, cut off, or moved between parts and objects."""
    with pytest.raises(DataCorrupt):
        opened(algorithm, sealed(algorithm, b"x"), **place)  # type: ignore[arg-type]


def test_one_cipher_does_not_open_what_the_other_sealed() -> None:
    """A record whose cipher was changed opens nothing."""
    with pytest.raises(DataCorrupt):
        opened(Algorithm.CHACHA20_POLY1305, sealed(Algorithm.AES_256_GCM, b"x"))


def test_an_unknown_cipher_is_refused() -> None:
    """A record of a later release is not guessed at."""
    with pytest.raises(FormatError):
        algorithm_of("AES256-GCM/2")


def test_a_data_key_is_not_shown() -> None:
    """What is printed or logged of a data key has none of its bytes."""
    shown = repr(BodyDataKey(KEY, Algorithm.AES_256_GCM))
    assert KEY.hex() not in shown
    assert str(KEY) not in shown
