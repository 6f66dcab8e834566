"""A store of a cluster on a disk in memory, and commands for its groups: no tests in here."""

from __future__ import annotations

import hashlib
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from pathlib import Path

from engine_world import World

from rs3gwd.base.commands import AnyCommand, CreateBucket, PutObject
from rs3gwd.base.records import Attributes, BlobRef
from rs3gwd.engine.become_cluster import become_cluster
from rs3gwd.engine.blob_depot import BlobDepot
from rs3gwd.engine.bucket_spread import adoption_of
from rs3gwd.engine.group_entries import Outcome, encode_body, unpack_result
from rs3gwd.engine.group_machine import GroupMachine, LogEntry, WantsBlob
from rs3gwd.engine.group_rows import group_digest
from rs3gwd.engine.groups import GroupMarkRecord, group_of_key
from rs3gwd.engine.system import SystemClock, TrioThreads
from rs3gwd.testing.faulty_disk import MemoryDisk

GROUPS = 3
MARK = GroupMarkRecord(1, 1, b"members")


class Replica:
    """One node: an engine, its machine, and how far each group's log has come."""

    def __init__(self, path: Path, *, wants: WantsBlob = lambda _: True) -> None:
        self.world = World(path, MemoryDisk())
        self._wants = wants
        self.index: dict[int, int] = {}
        self.sessions: dict[int, tuple[int, int]] = {}
        self.machine: GroupMachine
        self.depot: BlobDepot

    @asynccontextmanager
    async def running(
        self, *, mark: GroupMarkRecord | None = MARK, groups: int = GROUPS
    ) -> AsyncIterator[Replica]:
        async with self.world.running() as engine:
            parts = engine.parts
            await become_cluster(parts.environment, parts.pipeline, groups, mark)
            clock = SystemClock()
            self.machine = GroupMachine(
                parts.environment, parts.pipeline, TrioThreads(2), clock, wants=self._wants
            )
            self.depot = BlobDepot(parts.stage_parts, parts.pipeline, clock)
            for group in range(groups + 1):
                found = self.machine.applied(group)
                self.index[group] = 0 if found is None else found.index
            yield self

    def entry(self, group: int, data: bytes, members: bytes | None = None) -> LogEntry:
        """The next entry of a group's log."""
        self.index[group] += 1
        return LogEntry(group, self.index[group], 1, data, members)

    async def propose(self, group: int, command: AnyCommand, data: bytes | None = None) -> object:
        """Applies a command in a session of this replica; its result, or raises its error."""
        if group not in self.sessions:
            (answer,) = await self.machine.apply([self.entry(group, envelope(0, 7, 0))])
            self.sessions[group] = int.from_bytes(answer[2:], "big"), 0
        session, number = self.sessions[group]
        self.sessions[group] = session, number + 1
        made = envelope(session, number + 1, number, encode_body(command, data))
        (answer,) = await self.machine.apply([self.entry(group, made)])
        assert answer[1] == Outcome.APPLIED
        return unpack_result(answer[2:])

    async def make_bucket(self, name: str = "b") -> int:
        """A bucket that every group knows; its id."""
        await self.propose(0, CreateBucket(name, "owner", 1, "r"))
        with self.world.engine.environment.read() as txn:
            adoption = adoption_of(txn, name)
        assert adoption is not None
        for group in range(1, GROUPS + 1):
            await self.propose(group, adoption)
        return adoption.bucket.bucket_id

    async def put(
        self, bucket_id: int, key: bytes, data: bytes, *, rides: bool = True, bucket: str = "b"
    ) -> object:
        """Writes an object whose bytes ride in the entry, or do not come with it."""
        command = put_command(key, data, bucket=bucket)
        group = group_of_key(bucket_id, key, GROUPS)
        return await self.propose(group, command, data if rides else None)

    def digests(self) -> list[bytes]:
        """The digest of each group."""
        with self.world.engine.environment.read() as txn:
            return [group_digest(txn, group, GROUPS) for group in range(GROUPS + 1)]


def put_command(key: bytes, data: bytes, *, bucket: str = "b") -> PutObject:
    """A PutObject of these bytes; the blob's id follows from them and the key."""
    ref = BlobRef(blob_id_of(key, data), len(data)) if data else None
    etag = hashlib.md5(data).hexdigest()
    return PutObject(bucket, key, 1, b"n" * 16, Attributes("owner"), etag, len(data), ref)


def blob_id_of(key: bytes, data: bytes) -> bytes:
    """An id of 16 bytes."""
    return hashlib.blake2b(key + b"\0" + data, digest_size=16).digest()


def envelope(session: int, number: int, acknowledged_to: int, body: bytes = b"") -> bytes:
    """The data of an entry, written out by hand."""
    numbers = (session, number, acknowledged_to)
    return b"\x01" + b"".join(value.to_bytes(8, "big") for value in numbers) + body


async def replay(replica: Replica, entries: Iterable[LogEntry], batch: int) -> list[bytes]:
    """Applies entries in batches of this size."""
    answers: list[bytes] = []
    waiting = list(entries)
    for start in range(0, len(waiting), batch):
        answers += await replica.machine.apply(waiting[start : start + batch])
    return answers
