"""Data keys of objects: three kinds, each bound to its object."""

from __future__ import annotations

import pytest
from keyring_world import MASTER, KeyWorld, make_world
from msgspec.structs import replace

from rs3gwd.base.encryption import SALT_BYTES, TAG_BYTES, DataKey, KeyWish
from rs3gwd.base.errors import ApiError, DataCorrupt, Rs3gwError
from rs3gwd.base.kms_keys import KmsKeyState
from rs3gwd.base.records import EncryptionKind, EncryptionRecord
from rs3gwd.transform import object_keys
from rs3gwd.transform.object_keys import KeyringObjectKeys
from rs3gwd.transform.sealed import Algorithm

S3, KMS, C = EncryptionKind.SSE_S3, EncryptionKind.SSE_KMS, EncryptionKind.SSE_C
CALLERS = bytes(range(100, 132))
kinds = pytest.mark.parametrize("kind", EncryptionKind)
bucket_keys = pytest.mark.parametrize("bucket_key", [False, True])


def wish_of(kind: EncryptionKind, **more: object) -> KeyWish:
    """A wish for the object `key` in `bucket`."""
    callers = CALLERS if kind is C else None
    wish = KeyWish(kind, "bucket", b"key", customer_key=callers)
    return replace(wish, **more)


def seal(key: DataKey) -> bytes:
    """One block of a body."""
    out = bytearray(4 + TAG_BYTES)
    key.cipher(bytes(SALT_BYTES)).seal(0, memoryview(b"data"), memoryview(out), is_last=True)
    return bytes(out)


def unseal(key: DataKey, block: bytes) -> bytes:
    """What the block of `seal` holds."""
    out = bytearray(4)
    key.cipher(bytes(SALT_BYTES)).open(0, memoryview(block), memoryview(out), is_last=True)
    return bytes(out)


async def open_at(
    objects: KeyringObjectKeys,
    record: EncryptionRecord,
    bucket: str = "bucket",
    key: bytes = b"key",
) -> DataKey:
    """The data key of a record that stands at an object."""
    callers = CALLERS if record.kind is C else None
    return await objects.open(record, bucket=bucket, key=key, customer_key=callers)


@kinds
@bucket_keys
@pytest.mark.parametrize("algorithm", Algorithm)
async def test_a_data_key_opens_again_in_another_process(
    kind: EncryptionKind, bucket_key: bool, algorithm: Algorithm
) -> None:
    """Record and master key suffice, whatever algorithm new objects are given by then."""
    world = await make_world(algorithm)
    record, made = await world.objects.create(wish_of(kind, bucket_key=bucket_key))
    assert record.kind is kind
    assert record.bucket_key == (bucket_key and kind is KMS)
    for later in Algorithm:
        keyring = world.restarted(MASTER, later)
        objects = KeyringObjectKeys(keyring, region="r", random=world.random)
        assert unseal(await open_at(objects, record), seal(made)) == b"data"


async def test_no_two_objects_have_the_same_key() -> None:
    """The same wish twice gives keys that have nothing in common."""
    world = await make_world()
    one, first = await world.objects.create(wish_of(S3))
    two, second = await world.objects.create(wish_of(S3))
    assert one.wrapped_key != two.wrapped_key
    assert seal(first) != seal(second)


@kinds
@bucket_keys
@pytest.mark.parametrize(
    ("bucket", "key"), [("other", b"key"), ("bucket", b"other"), ("bucketk", b"ey")]
)
async def test_a_record_opens_at_its_object_alone(
    kind: EncryptionKind, bucket_key: bool, bucket: str, key: bytes
) -> None:
    """A record that was moved to another object is refused, also once it was opened at its own."""
    world = await make_world()
    record, _ = await world.objects.create(wish_of(kind, bucket_key=bucket_key))
    await open_at(world.objects, record)
    with pytest.raises(ApiError if kind is C else DataCorrupt):
        await open_at(world.objects, record, bucket, key)


@kinds
@pytest.mark.parametrize(
    "change",
    [
        {"kind": S3},
        {"kind": KMS},
        {"kind": C},
        {"cipher": "CHACHA20-POLY1305/1"},
        {"cipher": "AES256-GCM/2"},
        {"context": '{"a":"c"}'},
        {"bucket_key": True},
        {"wrapped_key": b""},
    ],
    ids=str,
)
async def test_a_record_that_was_changed_does_not_open(
    kind: EncryptionKind, change: dict[str, object]
) -> None:
    """Kind, cipher, context and bucket key are part of what the data key is sealed for."""
    world = await make_world()
    record, made = await world.objects.create(wish_of(kind, context='{"a":"b"}'))
    await open_at(world.objects, record)
    changed = replace(record, **change)
    if changed == record:
        assert unseal(await open_at(world.objects, changed), seal(made)) == b"data"
        return
    with pytest.raises(Rs3gwError):
        await open_at(world.objects, changed)


@kinds
async def test_every_flipped_bit_of_a_wrapped_data_key_is_refused(kind: EncryptionKind) -> None:
    """No changed record leads to a key, and so none to bytes."""
    world = await make_world()
    record, _ = await world.objects.create(wish_of(kind))
    await open_at(world.objects, record)
    for bit in range(len(record.wrapped_key) * 8):
        changed = bytearray(record.wrapped_key)
        changed[bit // 8] ^= 1 << bit % 8
        with pytest.raises(Rs3gwError):
            await open_at(world.objects, replace(record, wrapped_key=bytes(changed)))


async def test_another_callers_key_is_403() -> None:
    """SSE-C with a key that is not the object's, or none, is AccessDenied; none is kept."""
    world = await make_world()
    record, _ = await world.objects.create(wish_of(C))
    assert CALLERS not in record.wrapped_key
    await open_at(world.objects, record)
    for other in (CALLERS[::-1], None):
        with pytest.raises(ApiError, match="AccessDenied"):
            await world.objects.open(record, bucket="bucket", key=b"key", customer_key=other)


@pytest.mark.parametrize("key", [None, b"", bytes(32), b"c" * 31])
async def test_what_a_caller_brings_must_be_a_key(key: bytes | None) -> None:
    """None, short ones and zeros are refused before anything is encrypted."""
    world = await make_world()
    with pytest.raises(ApiError, match="Invalid"):
        await world.objects.create(wish_of(C, customer_key=key))


async def test_sse_kms_takes_the_named_key_and_shows_its_arn() -> None:
    """By name, alias, id and ARN, or aws/s3 by default; SSE-S3 shows none."""
    world = await make_world()
    mine, default = (world.management.find(name).key_id for name in ("mine", "aws/s3"))
    arn = "arn:aws:kms:r:000000000000:"
    for named in ("mine", "alias/mine", mine, f"{arn}key/{mine}", f"{arn}alias/mine"):
        record, _ = await world.objects.create(wish_of(KMS, key_id=named))
        assert record.key_id == f"{arn}key/{mine}"
    assert (await world.objects.create(wish_of(KMS)))[0].key_id == f"{arn}key/{default}"
    assert (await world.objects.create(wish_of(S3)))[0].key_id == ""


@pytest.mark.parametrize("name", ["rs3gw/sse-s3", "rs3gw/secrets"])
async def test_the_servers_own_keys_cannot_be_named(name: str) -> None:
    """Not by name, alias, id or ARN: who may use SSE-KMS may not use these."""
    world = await make_world()
    key_id = world.management.find(name).key_id
    for named in (name, f"alias/{name}", key_id, f"arn:aws:kms:r:000000000000:key/{key_id}"):
        with pytest.raises(ApiError, match=r"KMS\.NotFoundException"):
            await world.objects.create(wish_of(KMS, key_id=named))


@pytest.mark.parametrize("named", ["nobodys", "alias/", "arn:aws:kms", "arn:aws:s3:::mine"])
async def test_what_names_no_key_is_not_found(named: str) -> None:
    """KMS.NotFoundException, and no other key in its place."""
    world = await make_world()
    with pytest.raises(ApiError, match=r"KMS\.NotFoundException"):
        await world.objects.create(wish_of(KMS, key_id=named))


async def test_a_disabled_key_keeps_its_objects_closed() -> None:
    """Reads and writes are KMS.DisabledException until the key is enabled again."""
    world = await make_world()
    record, made = await world.objects.create(wish_of(KMS, key_id="mine"))
    await open_at(world.objects, record)
    await world.management.set_state("mine", KmsKeyState.DISABLED)
    with pytest.raises(ApiError, match=r"KMS\.DisabledException"):
        await open_at(world.objects, record)
    with pytest.raises(ApiError, match=r"KMS\.DisabledException"):
        await world.objects.create(wish_of(KMS, key_id="mine"))
    await world.management.set_state("mine", KmsKeyState.ENABLED)
    assert unseal(await open_at(world.objects, record), seal(made)) == b"data"


async def test_objects_of_before_a_rotation_stay_readable() -> None:
    """No object is touched by a rotation, with a bucket key or without."""
    world: KeyWorld = await make_world()
    made = [
        await world.objects.create(wish_of(kind, bucket_key=bucket_key))
        for kind in (S3, KMS)
        for bucket_key in (False, True)
    ]
    for name in ("rs3gw/sse-s3", "aws/s3"):
        await world.management.rotate(name)
    for record, key in made:
        assert unseal(await open_at(world.objects, record), seal(key)) == b"data"


async def test_the_keys_kept_opened_have_a_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    """The oldest makes room, and opens again when it is asked for."""
    monkeypatch.setattr(object_keys, "OPENED_MAX", 2)
    world = await make_world()
    records = [await world.objects.create(wish_of(S3)) for _ in range(4)]
    for record, made in records + records[:1]:
        assert unseal(await open_at(world.objects, record), seal(made)) == b"data"
        assert len(world.objects._opened) <= 2
