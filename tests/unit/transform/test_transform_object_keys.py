"""Data keys of objects: three kinds, each bound to its object."""

import pytest
from keyring_world import make_keyring
from msgspec.structs import replace

from rs3gwd.base.encryption import SALT_BYTES, TAG_BYTES, DataKey, KeyWish
from rs3gwd.base.errors import ApiError, DataCorrupt, Rs3gwError
from rs3gwd.base.kms import KeyState
from rs3gwd.base.records import EncryptionKind, EncryptionRecord
from rs3gwd.testing.random import SeededRandom
from rs3gwd.transform.ciphers import Cipher
from rs3gwd.transform.object_keys import KeyringObjectKeys

S3, KMS, C = EncryptionKind.SSE_S3, EncryptionKind.SSE_KMS, EncryptionKind.SSE_C
CALLERS = b"c" * 32
kinds = pytest.mark.parametrize("kind", EncryptionKind)


def wish_of(kind: EncryptionKind, **more: object) -> KeyWish:
    """A wish for an object `key` in `bucket`."""
    callers = CALLERS if kind is C else None
    wish = KeyWish(kind, "bucket", b"key", customer_key=callers)
    return replace(wish, **more)


def seal(key: DataKey) -> bytes:
    """One block of a body."""
    out = bytearray(4 + TAG_BYTES)
    key.cipher(bytes(SALT_BYTES)).seal(0, memoryview(b"data"), memoryview(out), is_last=True)
    return bytes(out)


async def open_again(
    keys: KeyringObjectKeys, record: EncryptionRecord, bucket: str = "bucket", key: bytes = b"key"
) -> DataKey:
    """The data key of a record that stands at an object."""
    callers = CALLERS if record.kind is C else None
    return await keys.open(record, bucket=bucket, key=key, customer_key=callers)


@kinds
@pytest.mark.parametrize("cipher", Cipher)
async def test_a_data_key_opens_again(kind: EncryptionKind, cipher: Cipher) -> None:
    """What was sealed when the object was made can be opened from its record."""
    keyring, _ = await make_keyring()
    keys = KeyringObjectKeys(keyring, SeededRandom(3), cipher)
    record, made = await keys.create(wish_of(kind))
    assert (record.kind, record.cipher) == (kind, cipher)
    out = bytearray(4)
    again = (await open_again(keys, record)).cipher(bytes(SALT_BYTES))
    again.open(0, memoryview(seal(made)), memoryview(out), is_last=True)
    assert out == b"data"


async def test_no_two_objects_have_the_same_key() -> None:
    """The same wish twice gives keys that have nothing in common."""
    keyring, _ = await make_keyring()
    keys = KeyringObjectKeys(keyring, SeededRandom(3), Cipher.AES_256_GCM)
    (one, first), (two, second) = [await keys.create(wish_of(S3)) for _ in range(2)]
    assert one.wrapped_key != two.wrapped_key
    assert seal(first) != seal(second)


@kinds
@pytest.mark.parametrize(("bucket", "key"), [("other", b"key"), ("bucket", b"other")])
async def test_a_record_opens_at_its_object_alone(
    kind: EncryptionKind, bucket: str, key: bytes
) -> None:
    """A record that was moved to another object is refused."""
    keyring, _ = await make_keyring()
    keys = KeyringObjectKeys(keyring, SeededRandom(3), Cipher.AES_256_GCM)
    record, _ = await keys.create(wish_of(kind))
    with pytest.raises(ApiError if kind is C else DataCorrupt):
        await open_again(keys, record, bucket, key)


@kinds
@pytest.mark.parametrize(
    "change",
    [
        {"kind": S3},
        {"kind": KMS},
        {"kind": C},
        {"cipher": Cipher.CHACHA20_POLY1305},
        {"context": '{"a":"c"}'},
    ],
    ids=str,
)
async def test_a_record_that_was_changed_does_not_open(
    kind: EncryptionKind, change: dict[str, object]
) -> None:
    """Kind, cipher and context are part of what the key is wrapped for."""
    keyring, _ = await make_keyring()
    keys = KeyringObjectKeys(keyring, SeededRandom(3), Cipher.AES_256_GCM)
    record, _ = await keys.create(wish_of(kind, context='{"a":"b"}'))
    changed = replace(record, **change)
    if changed == record:
        assert await open_again(keys, changed)
        return
    with pytest.raises(Rs3gwError):
        await open_again(keys, changed)


async def test_another_callers_key_is_403() -> None:
    """SSE-C with a key that is not the object's is AccessDenied; the key is never kept."""
    keyring, _ = await make_keyring()
    keys = KeyringObjectKeys(keyring, SeededRandom(3), Cipher.AES_256_GCM)
    record, _ = await keys.create(wish_of(C))
    assert CALLERS not in record.wrapped_key
    with pytest.raises(ApiError, match="AccessDenied"):
        await keys.open(record, bucket="bucket", key=b"key", customer_key=b"d" * 32)


@pytest.mark.parametrize("key", [None, b"", bytes(32), b"c" * 31])
async def test_what_a_caller_brings_must_be_a_key(key: bytes | None) -> None:
    """None, short ones and zeros are refused, at the making and at the opening."""
    keyring, _ = await make_keyring()
    keys = KeyringObjectKeys(keyring, SeededRandom(3), Cipher.AES_256_GCM)
    record, _ = await keys.create(wish_of(C))
    with pytest.raises(ApiError, match="InvalidArgument"):
        await keys.create(wish_of(C, customer_key=key))
    with pytest.raises(ApiError, match="InvalidArgument"):
        await keys.open(record, bucket="bucket", key=b"key", customer_key=key)


async def test_sse_kms_takes_the_named_key_and_shows_its_arn() -> None:
    """By alias or by default; SSE-S3 shows none."""
    keyring, records = await make_keyring()
    keys = KeyringObjectKeys(keyring, SeededRandom(3), Cipher.AES_256_GCM)
    for wish, arn in (
        (wish_of(KMS, key_id="alias/mine"), records.by_name["mine"].arn),
        (wish_of(KMS), records.by_name["aws/s3"].arn),
        (wish_of(S3), ""),
    ):
        assert (await keys.create(wish))[0].key_id == arn


async def test_a_disabled_key_keeps_its_objects_closed() -> None:
    """Reads and writes are KMS.DisabledException until the key is enabled again."""
    keyring, records = await make_keyring()
    keys = KeyringObjectKeys(keyring, SeededRandom(3), Cipher.AES_256_GCM)
    record, _ = await keys.create(wish_of(KMS, key_id="mine"))
    records.set_state("mine", KeyState.DISABLED)
    with pytest.raises(ApiError, match=r"KMS\.DisabledException"):
        await open_again(keys, record)
    with pytest.raises(ApiError, match=r"KMS\.DisabledException"):
        await keys.create(wish_of(KMS, key_id="mine"))
    with pytest.raises(ApiError, match=r"KMS\.NotFoundException"):
        await keys.create(wish_of(KMS, key_id="nobodys"))
