"""Bodies whose stored bytes are more than the object's, as those of encrypted objects are."""

from pathlib import Path
from struct import unpack

import pytest
from engine_world import World, body

from rs3gwd.base.commands import CompletePart, CompleteUpload, CreateUpload, PutObject, PutPart
from rs3gwd.base.errors import InvalidPart
from rs3gwd.base.limits import PART_BYTES_MIN
from rs3gwd.base.ports import StagedBlob
from rs3gwd.base.records import (
    Attributes,
    Durability,
    EncryptionKind,
    EncryptionRecord,
    UploadRecord,
    VersionRecord,
)
from rs3gwd.engine.queries import get_manifest
from rs3gwd.testing.faulty_disk import MemoryDisk

SEALED = Attributes("owner", encryption=EncryptionRecord(EncryptionKind.SSE_S3, "cipher", b"key"))


async def put_part(
    world: World, upload: UploadRecord, number: int, data: bytes, salt: bytes
) -> CompletePart:
    """Stores a part in 16 bytes more than it has."""
    async with world.engine.stage(size_hint=None, durability=Durability.STRICT) as stage:
        if data:
            await stage.write(data + bytes(16))
        staged: StagedBlob = await stage.finish()
        etag = f"{number:032x}"
        command = PutPart(
            "b", b"k", upload.upload_id, number, 1, etag, len(data), staged.ref, salt=salt
        )
        await world.engine.submit(command, staged)
    return CompletePart(number, etag)


async def start_upload(world: World) -> UploadRecord:
    upload = await world.engine.submit(CreateUpload("b", b"k", 1, b"u" * 16, SEALED))
    assert isinstance(upload, UploadRecord)
    return upload


async def test_one_piece_is_read_by_what_is_stored(tmp_path: Path) -> None:
    """The object has its own size, the range that is opened is one of the stored bytes."""
    world = World(tmp_path, MemoryDisk())
    async with world.running() as engine:
        await world.make_bucket()
        stored = body(70_000)
        async with engine.stage(size_hint=70_000, durability=Durability.STRICT) as stage:
            await stage.write(stored)
            staged = await stage.finish()
            command = PutObject("b", b"k", 1, b"n" * 16, SEALED, "e", 69_968, staged.ref)
            version = await engine.submit(command, staged)
        assert isinstance(version, VersionRecord)
        assert version == world.find(b"k")
        assert version.size_bytes == 69_968
        assert await world.read(version, 0, 70_000) == stored
        assert await world.read(version, 65_536, 70_000) == stored[65_536:]
        assert world.check().is_clean


async def test_parts_are_read_by_what_is_stored(tmp_path: Path) -> None:
    """A range of the stored bytes goes over parts, an empty one among them."""
    world = World(tmp_path, MemoryDisk())
    async with world.running() as engine:
        await world.make_bucket()
        upload = await start_upload(world)
        parts = [body(PART_BYTES_MIN, 1), body(PART_BYTES_MIN, 2), b""]
        done = [
            await put_part(world, upload, number, data, bytes([number]) * 16)
            for number, data in enumerate(parts, 1)
        ]
        command = CompleteUpload("b", b"k", upload.upload_id, done, 2, b"c" * 16)
        version = await engine.submit(command)
        assert isinstance(version, VersionRecord)
        assert version.size_bytes == 2 * PART_BYTES_MIN
        assert version.attributes.encryption == SEALED.encryption
        with engine.environment.read() as txn:
            manifest = get_manifest(txn, version)
        first, second = PART_BYTES_MIN + 16, 2 * PART_BYTES_MIN + 32
        assert unpack(">3Q", manifest.blob_end_offsets) == (first, second, second)
        assert unpack(">3Q", manifest.end_offsets)[-1] == version.size_bytes
        assert manifest.salts == b"\1" * 16 + b"\2" * 16 + b"\3" * 16
        stored = parts[0] + bytes(16) + parts[1] + bytes(16)
        assert await world.read(version, 0, second) == stored
        assert await world.read(version, first - 20, first + 5) == stored[first - 20 : first + 5]
        assert world.check().is_clean


async def test_parts_are_all_encrypted_or_none(tmp_path: Path) -> None:
    """An object of which only some parts have a salt is refused."""
    world = World(tmp_path, MemoryDisk())
    async with world.running() as engine:
        await world.make_bucket()
        upload = await start_upload(world)
        done = [
            await put_part(world, upload, 1, body(PART_BYTES_MIN), b""),
            await put_part(world, upload, 2, b"x", bytes(16)),
        ]
        command = CompleteUpload("b", b"k", upload.upload_id, done, 2, b"c" * 16)
        with pytest.raises(InvalidPart):
            await engine.submit(command)
