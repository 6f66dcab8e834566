"""A store whose objects are encrypted, for programs that use the port `ObjectStore` alone.

The crash and power cut programs put their load to the engine itself, below the S3 surface where
encryption belongs. Through this store their bodies are encrypted as the surface does it (the same
stage, ranges and reader), so that what a crash leaves is also what a crash leaves of encrypted
objects: other sizes, other manifests, and bytes that must be decrypted to be compared.

Bodies of a size that is known beforehand are encrypted, others are not, so that there are both.
What it is not: the key is known to everybody, and lies in no keyring.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from functools import partial

from msgspec.structs import replace

from rs3gwd.base.commands import AnyCommand, CommandResult, CreateUpload, PutObject, PutPart
from rs3gwd.base.encryption import SALT_BYTES, BlockCipher, stored_size
from rs3gwd.base.memory import SPARE_BUFFER_BYTES, MemoryPool, SpareBuffers
from rs3gwd.base.ports import BodyReader, Random, Stage, StagedBlob
from rs3gwd.base.records import Durability, EncryptionKind, EncryptionRecord, VersionRecord
from rs3gwd.engine.face import EngineFace
from rs3gwd.node.local import LocalStore
from rs3gwd.s3.encrypted_bodies import DecryptingReader, Opener, encrypting
from rs3gwd.s3.encrypted_ranges import plan_range
from rs3gwd.testing.memory_keys import MemoryDataKey
from rs3gwd.testing.threads import InlineThreads

KEY = MemoryDataKey(b"known to everybody, 32 bytes....")
MEMORY_BYTES_MAX = 64 << 20


class SealedStore(LocalStore):
    """The store over an engine; `salts` are those of bodies that are staged, by their stages."""

    def __init__(self, engine: EngineFace, random: Random) -> None:
        super().__init__(engine)
        self._random = random
        self._memory = MemoryPool(MEMORY_BYTES_MAX)
        self._salts: dict[bytes, bytes] = {}

    @asynccontextmanager
    async def stage(self, *, size_hint: int | None, durability: Durability) -> AsyncIterator[Stage]:
        """A stage that encrypts, where the size is known."""
        if not size_hint:
            async with super().stage(size_hint=size_hint, durability=durability) as plain:
                yield plain
            return
        salt = self._random.token_bytes(SALT_BYTES)
        async with (
            super().stage(size_hint=stored_size(size_hint), durability=durability) as inner,
            encrypting(inner, KEY.cipher(salt), InlineThreads(), self._memory) as sealing,
        ):
            yield _NotedStage(sealing, salt, self._salts)

    async def submit(self, command: AnyCommand, staged: StagedBlob | None = None) -> CommandResult:
        """Notes in the record how the body is encrypted."""
        salt = b""
        if staged is not None and staged.ref is not None:
            salt = self._salts.pop(staged.ref.blob_id, b"")
        if isinstance(command, PutObject):
            record = _record(salt) if salt else None
            attributes = replace(command.attributes, encryption=record)
            command = replace(command, attributes=attributes)
        elif isinstance(command, PutPart):
            # An empty part has no bytes to be encrypted, and a salt like the others.
            command = replace(command, salt=salt or bytes(SALT_BYTES))
        elif isinstance(command, CreateUpload):
            attributes = replace(command.attributes, encryption=_record(b""))
            command = replace(command, attributes=attributes)
        return await super().submit(command, staged)

    def open_body(
        self, version: VersionRecord, start: int, end: int
    ) -> AbstractAsyncContextManager[BodyReader]:
        """The half-open range `start` to `end` of the object."""
        record = version.attributes.encryption
        if record is None or start == end:
            return super().open_body(version, start, end)
        return self._open_sealed(version, record, start, end)

    def read_small(self, version: VersionRecord) -> bytes | None:
        """The bytes of the object where `Lookups.read_small` has all that is stored of it.

        Raises VersionGone, DataCorrupt.
        """
        stored = self.lookups_now().read_small(version)
        record = version.attributes.encryption
        if not stored or record is None:
            return stored
        planned = plan_range(version, None, 0, version.size_bytes)
        cipher_for = partial(_cipher, record.wrapped_key)
        opener = Opener(planned.runs, cipher_for, bytearray(SPARE_BUFFER_BYTES))
        return bytes(opener.open(memoryview(stored)))

    @asynccontextmanager
    async def _open_sealed(
        self, version: VersionRecord, record: EncryptionRecord, start: int, end: int
    ) -> AsyncIterator[BodyReader]:
        manifest = None
        cipher_for = partial(_cipher, record.wrapped_key)
        if version.manifest_id is not None:
            manifest = await self.get_manifest(version)
        planned = plan_range(version, manifest, start, end)
        async with super().open_body(version, planned.start, planned.end) as reader:
            yield DecryptingReader(reader, planned.runs, cipher_for, SpareBuffers())


class _NotedStage:
    """A stage whose salt is noted under the blob that it becomes."""

    def __init__(self, stage: Stage, salt: bytes, salts: dict[bytes, bytes]) -> None:
        self._stage = stage
        self._salt = salt
        self._salts = salts
        self.is_lean = stage.is_lean
        self.write = stage.write
        self.write_behind = stage.write_behind
        self.end = stage.end

    async def finish(self) -> StagedBlob:
        """Finishes the stage behind."""
        staged = await self._stage.finish()
        if staged.ref is not None:
            self._salts[staged.ref.blob_id] = self._salt
        return staged


def _record(salt: bytes) -> EncryptionRecord:
    return EncryptionRecord(EncryptionKind.SSE_S3, "test", salt)


def _cipher(own_salt: bytes, salt: bytes) -> BlockCipher:
    """The cipher of an object that is one body, whose record has the salt, or of a part."""
    return KEY.cipher(own_salt or salt)
