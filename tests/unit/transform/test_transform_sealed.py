"""Sealed keys and secrets: the format, and everything that must not open."""

from __future__ import annotations

import pytest
from cryptography.hazmat.primitives.ciphers.aead import AESGCM, ChaCha20Poly1305
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from rs3gwd.base.errors import DataCorrupt, FormatError, KeyringRefused
from rs3gwd.testing.random import SeededRandom
from rs3gwd.transform.master_key import LocalMasterKey, parse_master_key
from rs3gwd.transform.sealed import (
    Algorithm,
    Header,
    Wrapper,
    WrongKey,
    check_key,
    join_context,
    new_key,
    read_header,
    seal,
    unseal,
)

KEY, KEY_ID = bytes(range(1, 33)), bytes(range(16))
PRIMITIVES: dict[Algorithm, type[AESGCM] | type[ChaCha20Poly1305]] = {
    Algorithm.AES_256_GCM: AESGCM,
    Algorithm.CHACHA20_POLY1305: ChaCha20Poly1305,
}
GOLDEN = (
    "010101000102030405060708090a0b0c0d0e0f00000007f5b165224a58b791df6af1d8303e61cdc4"
    "bb86c3d1c42710427a0d8d819022bb48669309daee2b888eb82ced401e"
)
"""`secret` for `context` under KEY, version 7 of KEY_ID, with the salt of seed 1."""

NO_KEYS = [b"", bytes(32), b"k" * 31, b"k" * 33]


class NoRandom:
    """A source of randomness that has failed."""

    def token_bytes(self, count: int) -> bytes:
        """Zeros."""
        return bytes(count)


def sealed(
    algorithm: Algorithm = Algorithm.AES_256_GCM,
    *,
    seed: int = 1,
    wrapper: Wrapper = Wrapper.KEY,
) -> bytes:
    """The secret, sealed."""
    header = Header(algorithm, wrapper, KEY_ID, 7)
    return seal(KEY, b"secret", header=header, context=b"context", random=SeededRandom(seed))


def test_the_format_of_sealed_keys_is_that_of_the_first_release() -> None:
    """What the first release sealed is sealed so still, and opens."""
    assert sealed().hex() == GOLDEN
    golden = bytes.fromhex(GOLDEN)
    assert unseal(KEY, golden, context=b"context") == b"secret"
    assert read_header(golden) == Header(Algorithm.AES_256_GCM, Wrapper.KEY, KEY_ID, 7)


@pytest.mark.parametrize("algorithm", Algorithm)
def test_what_is_sealed_can_be_opened_with_plain_primitives(algorithm: Algorithm) -> None:
    """The byte table alone suffices."""
    bytes_sealed = sealed(algorithm)
    head, body = bytes_sealed[:47], bytes_sealed[47:]
    assert head[:23] == b"\x01" + bytes([algorithm]) + b"\x01" + KEY_ID + b"\0\0\0\x07"
    info = b"rs3gwd sealed 1\0" + bytes([algorithm])
    key = HKDF(algorithm=SHA256(), length=32, salt=head[23:], info=info).derive(KEY)
    assert PRIMITIVES[algorithm](key).decrypt(bytes(12), body, head + b"context") == b"secret"


@pytest.mark.parametrize("algorithm", Algorithm)
def test_every_flipped_bit_of_what_is_sealed_is_refused(algorithm: Algorithm) -> None:
    """Header, salt, ciphertext and tag are all authenticated."""
    whole = sealed(algorithm)
    for bit in range(len(whole) * 8):
        changed = bytearray(whole)
        changed[bit // 8] ^= 1 << bit % 8
        with pytest.raises((WrongKey, FormatError)):
            unseal(KEY, bytes(changed), context=b"context")


def test_no_beginning_of_what_is_sealed_opens() -> None:
    """Cut at any byte, it is refused."""
    whole = sealed()
    for length in range(len(whole)):
        with pytest.raises((WrongKey, DataCorrupt)):
            unseal(KEY, whole[:length], context=b"context")


def test_another_key_or_context_does_not_open() -> None:
    """Which of them it was is not told."""
    with pytest.raises(WrongKey) as by_key:
        unseal(KEY[::-1], sealed(), context=b"context")
    with pytest.raises(WrongKey) as by_context:
        unseal(KEY, sealed(), context=b"contexts")
    assert str(by_key.value) == str(by_context.value)


def test_two_sealings_of_one_secret_have_nothing_in_common() -> None:
    """Each has a salt, and so a key, of its own: no nonce is used twice with one."""
    one, two = sealed(seed=1), sealed(seed=2)
    assert one[23:47] != two[23:47]
    assert one[47:] != two[47:]


def test_contexts_cannot_run_into_each_other() -> None:
    """Bucket `a`, key `bc` is another context than bucket `ab`, key `c`."""
    assert join_context(b"a", b"bc") != join_context(b"ab", b"c")
    assert join_context(b"a") != join_context(b"a", b"")


@pytest.mark.parametrize("key", NO_KEYS)
def test_a_key_is_never_empty_short_or_zeros(key: bytes) -> None:
    """What is no key is refused wherever one is used."""
    header = Header(Algorithm.AES_256_GCM, Wrapper.KEY)
    random = SeededRandom(1)
    with pytest.raises(KeyringRefused):
        check_key(key)
    with pytest.raises(KeyringRefused):
        seal(key, b"secret", header=header, context=b"", random=random)
    with pytest.raises(KeyringRefused):
        LocalMasterKey(key, provider="test", random=random)


def test_randomness_that_failed_makes_no_key() -> None:
    """rs3gw took zeros for a key; here that is an error."""
    with pytest.raises(KeyringRefused):
        new_key(NoRandom())


@pytest.mark.parametrize(
    "text", ["", "  \n", "zz", "00" * 32, "AA==", "0" * 63, "ab cd", "ü" * 44, "g" * 64]
)
def test_text_that_is_no_master_key_is_refused_without_being_shown(text: str) -> None:
    """The message names the place and nothing of what stood there, nor does its cause."""
    with pytest.raises(KeyringRefused) as caught:
        parse_master_key(text, source="the file")
    assert "the file" in str(caught.value)
    assert not text.strip() or text.strip() not in str(caught.value)
    assert caught.value.__cause__ is None


def test_a_master_key_may_be_hex_or_base64() -> None:
    """Both spellings, with a line's end behind."""
    assert parse_master_key(KEY.hex() + "\n", source="it") == KEY
    text = "AQIDBAUGBwgJCgsMDQ4PEBESExQVFhcYGRobHB0eHyA=\n"
    assert parse_master_key(text, source="it") == KEY


def test_a_master_key_is_not_shown() -> None:
    """Neither its bytes nor its text are in what is printed; its id does not lead back to it."""
    master = LocalMasterKey(KEY, provider="test", random=SeededRandom(1))
    assert KEY.hex() not in repr(master)
    assert master.id not in KEY
