"""Wrapped keys and secrets, named keys, their versions and states, and the master key."""

import hmac

import pytest
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from keyring_world import MASTER, make_keyring

from rs3gwd.base.errors import ApiError, DataCorrupt, FormatError
from rs3gwd.base.kms import KeyState
from rs3gwd.testing.random import SeededRandom
from rs3gwd.transform.errors import MasterKeyError, WrongKey
from rs3gwd.transform.keyring import OBJECTS_KEY, Keyring
from rs3gwd.transform.master import LocalMaster, parse_master_key
from rs3gwd.transform.material import check_key, context_of, new_key
from rs3gwd.transform.wrapping import KeyPlace, place_of, unwrap, wrap

KEY = bytes(range(1, 33))
PLACE = KeyPlace(bytes(range(16)), 7)
GOLDEN = (
    "0101000102030405060708090a0b0c0d0e0f00000007f5b165224a58b791df6af1d8303e61cdc4bb"
    "86c3d1c427103c344c4189eb2f1e6bf53e4834790c7ec0ba7e431640a1217488a224a262"
)
"""`secret` wrapped for `context`, by KEY at PLACE with the salt of seed 1."""


class NoRandom:
    """A source of randomness that has failed."""

    def token_bytes(self, count: int) -> bytes:
        """Zeros."""
        return bytes(count)


def test_the_format_of_wrapped_keys_is_that_of_the_first_release() -> None:
    """What the first release wrapped is wrapped so still, and opens."""
    assert wrap(KEY, PLACE, b"secret", b"context", SeededRandom(1)).hex() == GOLDEN
    assert unwrap(KEY, bytes.fromhex(GOLDEN), b"context") == b"secret"
    assert place_of(bytes.fromhex(GOLDEN)) == PLACE


def test_what_is_wrapped_can_be_opened_with_plain_primitives() -> None:
    """The byte table alone suffices."""
    wrapped = wrap(KEY, PLACE, b"secret", b"context", SeededRandom(2))
    key = hmac.digest(KEY, b"rs3gwd wrap 1\0" + wrapped[22:54] + b"\x01", "sha256")
    aad = b"\x01\x01" + PLACE.key_id + b"\0\0\0\x07" + b"context"
    assert AESGCM(key).decrypt(bytes(12), wrapped[54:], aad) == b"secret"


def test_every_flipped_bit_of_what_is_wrapped_is_refused() -> None:
    """Head, salt, ciphertext and tag are all authenticated."""
    wrapped = wrap(KEY, PLACE, b"secret", b"context", SeededRandom(1))
    for bit in range(len(wrapped) * 8):
        changed = bytearray(wrapped)
        changed[bit // 8] ^= 1 << bit % 8
        with pytest.raises((WrongKey, FormatError)):
            unwrap(KEY, bytes(changed), b"context")


@pytest.mark.parametrize("length", range(70))
def test_what_is_cut_short_is_refused(length: int) -> None:
    """No prefix of a wrapped key opens."""
    wrapped = wrap(KEY, PLACE, b"secret", b"context", SeededRandom(1))
    with pytest.raises((WrongKey, FormatError)):
        unwrap(KEY, wrapped[:length], b"context")


def test_two_wrappings_of_one_secret_have_nothing_in_common() -> None:
    """Each wrapping has a salt, and so a key, of its own: no nonce is used twice."""
    random = SeededRandom(1)
    one, two = (wrap(KEY, PLACE, b"secret", b"", random) for _ in range(2))
    assert one[22:54] != two[22:54]
    assert one[54:] != two[54:]


def test_contexts_cannot_run_into_each_other() -> None:
    """Bucket `a`, key `bc` is another context than bucket `ab`, key `c`."""
    assert context_of(b"a", b"bc") != context_of(b"ab", b"c")


@pytest.mark.parametrize("key", [b"", bytes(32), b"k" * 31])
def test_a_key_is_never_empty_short_or_zeros(key: bytes) -> None:
    """What is no key is refused wherever one is used or made."""
    with pytest.raises(MasterKeyError):
        check_key(key, "it")
    with pytest.raises(MasterKeyError):
        wrap(key, PLACE, b"secret", b"", SeededRandom(1))
    with pytest.raises(MasterKeyError):
        LocalMaster(key, SeededRandom(1))


def test_randomness_that_failed_makes_no_key() -> None:
    """rs3gw took zeros for a key; here that is an error."""
    with pytest.raises(MasterKeyError):
        new_key(NoRandom())


async def test_a_secret_opens_for_its_context_alone() -> None:
    """Nobody's secret can be put in another's place."""
    keyring, _ = await make_keyring()
    wrapped = await keyring.wrap_secret(b"secret", b"access-key A")
    assert b"secret" not in wrapped
    assert await keyring.unwrap_secret(wrapped, b"access-key A") == b"secret"
    with pytest.raises(DataCorrupt):
        await keyring.unwrap_secret(wrapped, b"access-key B")


async def test_a_wrapped_data_key_is_no_secret() -> None:
    """What was wrapped for another purpose does not open as a secret."""
    keyring, _ = await make_keyring()
    wrapped = await keyring.wrap(OBJECTS_KEY, b"k" * 32, context_of(b"object"))
    with pytest.raises(DataCorrupt):
        await keyring.unwrap_secret(wrapped, b"")


async def test_what_an_older_version_wrapped_opens_and_moves_to_the_newest() -> None:
    """Rotation takes nothing away; rewrapping leaves the secret as it is."""
    keyring, records = await make_keyring()
    old = await keyring.wrap("mine", b"data key", b"context")
    await records.rotate(keyring, "mine")
    assert await keyring.unwrap(old, b"context") == b"data key"
    new = await keyring.rewrap(old, b"context")
    assert (place_of(old).number, place_of(new).number) == (1, 2)
    assert await keyring.unwrap(new, b"context") == b"data key"
    assert await keyring.rewrap(new, b"context") == new


async def test_a_disabled_key_neither_wraps_nor_unwraps() -> None:
    """Disabling holds at once, also for keys that are open already."""
    keyring, records = await make_keyring()
    wrapped = await keyring.wrap("mine", b"data key", b"")
    records.set_state("mine", KeyState.DISABLED)
    with pytest.raises(ApiError, match=r"KMS\.DisabledException"):
        await keyring.unwrap(wrapped, b"")
    with pytest.raises(ApiError, match=r"KMS\.DisabledException"):
        await keyring.wrap("mine", b"data key", b"")
    records.set_state("mine", KeyState.ENABLED)
    assert await keyring.unwrap(wrapped, b"") == b"data key"


async def test_a_key_is_found_by_all_its_names() -> None:
    """Id, ARN, alias, ARN of the alias and plain name are one key."""
    keyring, records = await make_keyring()
    mine = records.by_name["mine"]
    for named in (
        "mine",
        "alias/mine",
        mine.key_id,
        mine.arn,
        "arn:aws:kms:r:1:alias/mine",
    ):
        assert keyring.find(named) is mine


@pytest.mark.parametrize(
    "named", ["", "other", "rs3gwd/objects", "alias/rs3gwd/objects", "key/mine", "arn:aws:kms:"]
)
async def test_what_is_no_key_for_clients_is_not_found(named: str) -> None:
    """The node's own keys cannot be named either, by name or id."""
    keyring, records = await make_keyring()
    for each in (named, records.by_name[OBJECTS_KEY].key_id):
        with pytest.raises(ApiError, match=r"KMS\.NotFoundException"):
            keyring.find(each)


async def test_another_master_key_is_a_clear_error() -> None:
    """The start says which master key is wanted, and opens nothing."""
    _, records = await make_keyring()
    random = SeededRandom(5)
    other = Keyring(records, LocalMaster(MASTER[::-1], random), random)
    with pytest.raises(MasterKeyError, match="was sealed by master key local:"):
        await other.load()


async def test_versions_of_keys_cannot_be_exchanged() -> None:
    """A sealed version that stands in another key's record is refused."""
    _, records = await make_keyring()
    records.by_name["mine"].versions[0] = records.by_name[OBJECTS_KEY].versions[0]
    random = SeededRandom(5)
    with pytest.raises(MasterKeyError, match="opens as version 1 of mine"):
        await Keyring(records, LocalMaster(MASTER, random), random).load()


@pytest.mark.parametrize("text", ["", "  \n", "zz", "00" * 32, "AA==", "0" * 63, "ab cd"])
def test_text_that_is_no_master_key_is_refused_without_being_shown(text: str) -> None:
    """The message names the place, not what stood there."""
    with pytest.raises(MasterKeyError) as caught:
        parse_master_key(text, "the file")
    assert "the file" in str(caught.value)
    assert not text.strip() or text.strip() not in str(caught.value)


def test_a_master_key_may_be_hex_or_base64() -> None:
    """Both spellings, with a line's end behind."""
    assert parse_master_key(KEY.hex() + "\n", "it") == KEY
    assert parse_master_key("AQIDBAUGBwgJCgsMDQ4PEBESExQVFhcYGRobHB0eHyA=", "it") == KEY
