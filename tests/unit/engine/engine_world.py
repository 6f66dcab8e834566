"""A small engine on a disk in memory, for the tests of the data half: no tests in here."""

import hashlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from random import Random

import trio

from rs3gwd.base.commands import (
    CompletePart,
    CompleteUpload,
    CreateBucket,
    CreateUpload,
    DeleteObject,
    PutObject,
    PutPart,
)
from rs3gwd.base.records import Attributes, Durability, UploadRecord, VersionRecord
from rs3gwd.engine import queries
from rs3gwd.engine.check import CheckReport, check
from rs3gwd.engine.engine import Engine, EngineSettings
from rs3gwd.engine.events import EngineEvent, EventKind
from rs3gwd.engine.system import SystemClock, SystemRandom, TrioThreads
from rs3gwd.testing.faulty_disk import FaultyDisk, MemoryDisk

SETTINGS = {
    "segment_bytes": 1 << 20,
    "allocate_bytes": 1 << 16,
    "small_bytes_max": 4096,
    "inline_bytes_max": 0,
    "free_bytes_reserve": 1 << 16,
    "ballast_bytes": 1 << 14,
    "map_bytes": 1 << 26,
    "compaction_bytes_per_s": 1 << 40,
}


class Events:
    """Keeps the events of an engine."""

    def __init__(self) -> None:
        self.all: list[EngineEvent] = []

    def on_event(self, event: EngineEvent) -> None:
        self.all.append(event)

    def kinds(self) -> list[EventKind]:
        return [event.kind for event in self.all]


class World:
    """An engine, its disk and its data directory."""

    def __init__(self, path: Path, disk: MemoryDisk, **settings: object) -> None:
        self.path = path
        self.memory = disk
        self.disk = FaultyDisk(disk)
        self.events = Events()
        self.settings = EngineSettings(**{**SETTINGS, **settings})  # type: ignore[arg-type]
        self.engine: Engine

    @asynccontextmanager
    async def running(self) -> AsyncIterator[Engine]:
        """Opens and runs the engine, and closes it at the end."""
        self.engine = await Engine.open(
            str(self.path),
            disk=self.disk,
            clock=SystemClock(),
            random=SystemRandom(),
            threads=TrioThreads(8),
            settings=self.settings,
            observer=self.events,
        )
        async with trio.open_nursery() as nursery:
            try:
                await nursery.start(self.engine.run)
                yield self.engine
            finally:
                nursery.cancel_scope.cancel()
                await_close = self.engine.close
        await await_close()

    async def make_bucket(self, durability: Durability = Durability.STRICT) -> None:
        await self.engine.submit(CreateBucket("b", "owner", 1, "r", durability))

    async def put(
        self,
        key: bytes,
        data: bytes,
        *,
        durability: Durability = Durability.STRICT,
        hint: bool = True,
        chunk: int = 1 << 16,
    ) -> VersionRecord:
        size_hint = len(data) if hint else None
        async with self.engine.stage(size_hint=size_hint, durability=durability) as stage:
            for start in range(0, len(data), chunk):
                await stage.write(data[start : start + chunk])
            staged = await stage.finish()
            result = await self.engine.submit(put_command(key, data, staged.ref), staged)
        assert isinstance(result, VersionRecord)
        return result

    async def put_part(self, upload: UploadRecord, number: int, data: bytes) -> str:
        """Uploads one part of the object `key`; gives its ETag."""
        etag = hashlib.md5(data).hexdigest()
        async with self.engine.stage(size_hint=len(data), durability=Durability.STRICT) as stage:
            await stage.write(data)
            staged = await stage.finish()
            command = PutPart(
                "b", b"multi", upload.upload_id, number, 1, etag, len(data), staged.ref
            )
            await self.engine.submit(command, staged)
        return etag

    async def put_multipart(self, parts: list[bytes]) -> VersionRecord:
        """Makes the object `multi` of parts; all but the last must have 5 MiB."""
        upload = await self.engine.submit(
            CreateUpload("b", b"multi", 1, b"u" * 16, Attributes("owner"))
        )
        assert isinstance(upload, UploadRecord)
        done = [
            CompletePart(number, await self.put_part(upload, number, data))
            for number, data in enumerate(parts, 1)
        ]
        command = CompleteUpload("b", b"multi", upload.upload_id, done, 2, b"c" * 16)
        result = await self.engine.submit(command)
        assert isinstance(result, VersionRecord)
        return result

    async def delete(self, key: bytes) -> None:
        await self.engine.submit(DeleteObject("b", key, None, 2, b"d" * 16, "owner"))

    def find(self, key: bytes) -> VersionRecord:
        with self.engine.environment.read() as txn:
            return queries.get_version(txn, "b", key, None)

    async def read(self, version: VersionRecord, start: int = 0, end: int | None = None) -> bytes:
        end = version.size_bytes if end is None else end
        pieces = []
        async with self.engine.open_body(version, start, end) as reader:
            while piece := await reader.read():
                pieces.append(bytes(piece))
        return b"".join(pieces)

    async def get(self, key: bytes) -> bytes:
        return await self.read(self.find(key))

    def check(self, *, read_data: bool = True) -> CheckReport:
        return check(self.engine.environment, self.disk, read_data=read_data)

    def segment_files(self) -> list[str]:
        return [f"segments/{name}" for name in self.memory.list("segments")]


def put_command(key: bytes, data: bytes, ref: object) -> PutObject:
    return PutObject(
        "b",
        key,
        1,
        b"n" * 16,
        Attributes("owner"),
        hashlib.md5(data).hexdigest(),
        len(data),
        ref,  # type: ignore[arg-type]
    )


def body(size: int, seed: int = 0) -> bytes:
    """Bytes that look like nothing else: a shifted or repeated block would show."""
    return Random(size * 1000 + seed).randbytes(size)
