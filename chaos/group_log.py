"""The logs of the groups of a cluster, made from one seed, and a node that applies them.

What it is not: no replication; one node gets what the logs say, step by step. A step is some bytes
that are staged and then one batch of entries of several groups: objects whose bytes ride, were
staged before, or never come to this node, and deletes.
"""

from __future__ import annotations

import hashlib
import random
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

from msgspec import Struct

from rs3gwd.base.commands import AdoptBucket, AnyCommand, CreateBucket, DeleteObject, PutObject
from rs3gwd.base.ports import Threads
from rs3gwd.base.records import Attributes, BlobRef, BucketRecord, Versioning
from rs3gwd.engine.become_cluster import become_cluster
from rs3gwd.engine.blob_depot import BlobDepot
from rs3gwd.engine.group_blobs import StagedOwner
from rs3gwd.engine.group_entries import encode_body
from rs3gwd.engine.group_machine import GroupMachine, LogEntry
from rs3gwd.engine.group_rows import group_digest
from rs3gwd.engine.groups import GroupMarkRecord, group_of_key
from rs3gwd.engine.system import SystemClock, TrioThreads
from rs3gwd.testing.open_local import LocalNode, open_local

GROUPS = 3
BUCKET = "bucket"
BUCKET_ID = 32
MARK = GroupMarkRecord(1, 1, b"members")
KEYS = [*(b"key/%d" % number for number in range(9)), b"L" * 700, b"L" * 701]
RIDING_BYTES = [1, 900, 5000, 40_000]
STAGED_BYTES = [70_000, 300_000]


class StagedBytes(Struct, frozen=True):
    """Bytes that come before their command."""

    blob_id: bytes
    key: bytes
    data: bytes


class Step(Struct, frozen=True):
    """What comes to the node at once, and the mark of each group behind it."""

    staged: list[StagedBytes]
    entries: list[LogEntry]
    marks: list[int]


class LogMaker:
    """Makes the steps of one seed."""

    def __init__(self, seed: int) -> None:
        self._random = random.Random(seed)
        self._marks = [MARK.index] * (GROUPS + 1)
        self._numbers = [0] * (GROUPS + 1)

    def steps(self, count: int) -> list[Step]:
        """The first step makes sessions and the bucket, the others change objects."""
        return [self._first(), *(self._step(number) for number in range(1, count))]

    def _first(self) -> Step:
        entries = [self._enter(group, _envelope(0, group + 1, 0)) for group in range(GROUPS + 1)]
        entries.append(self._command(0, CreateBucket(BUCKET, "owner", 1, "r")))
        record = BucketRecord(BUCKET, BUCKET_ID, "owner", 1, "r", Versioning.ENABLED)
        adoption = AdoptBucket(record, 1, 1)
        entries += [self._command(group, adoption) for group in range(1, GROUPS + 1)]
        return Step([], entries, list(self._marks))

    def _step(self, number: int) -> Step:
        staged: list[StagedBytes] = []
        entries = [self._change(number, staged) for _ in range(self._random.randint(1, 8))]
        return Step(staged, entries, list(self._marks))

    def _change(self, number: int, staged: list[StagedBytes]) -> LogEntry:
        key = self._random.choice(KEYS)
        group = group_of_key(BUCKET_ID, key, GROUPS)
        nonce = self._random.randbytes(16)
        if self._random.random() < 0.2:
            return self._command(group, DeleteObject(BUCKET, key, None, number, nonce, "owner"))
        rides = self._random.random() < 0.7
        data = self._random.randbytes(self._random.choice(RIDING_BYTES if rides else STAGED_BYTES))
        blob = BlobRef(self._random.randbytes(16), len(data))
        if not rides and self._random.random() < 0.8:
            staged.append(StagedBytes(blob.blob_id, key, data))
        etag = hashlib.md5(data, usedforsecurity=False).hexdigest()
        attributes = Attributes("owner")
        put = PutObject(BUCKET, key, number, nonce, attributes, etag, len(data), blob)
        return self._command(group, put, data if rides else None)

    def _command(self, group: int, command: AnyCommand, data: bytes | None = None) -> LogEntry:
        self._numbers[group] += 1
        number = self._numbers[group]
        session = MARK.index + 1  # the entry that opened it
        acknowledged_to = max(0, number - 3)
        body = encode_body(command, data)
        return self._enter(group, _envelope(session, number, acknowledged_to) + body)

    def _enter(self, group: int, data: bytes) -> LogEntry:
        self._marks[group] += 1
        return LogEntry(group, self._marks[group], 1, data)


class LogNode:
    """A node that applies the steps."""

    def __init__(self, node: LocalNode, threads: Threads) -> None:
        self.node = node
        parts = node.engine.parts
        clock = SystemClock()
        self._parts = parts
        self._machine = GroupMachine(parts.environment, parts.pipeline, threads, clock)
        self._depot = BlobDepot(parts.stage_parts, parts.pipeline, clock)

    async def apply(self, step: Step) -> None:
        """Stages what the step brings, then applies its entries."""
        for one in step.staged:
            async with self._depot.stage(one.blob_id, size_bytes=len(one.data)) as stage:
                await stage.write(one.data)
                await self._depot.keep(await stage.finish(), StagedOwner(BUCKET, one.key))
        await self._machine.apply(step.entries)

    def marks(self) -> list[int]:
        """The mark of each group."""
        found = [self._machine.applied(group) for group in range(GROUPS + 1)]
        return [0 if mark is None else mark.index for mark in found]

    def digests(self) -> list[bytes]:
        """The digest of each group."""
        with self._parts.environment.read() as txn:
            return [group_digest(txn, group, GROUPS) for group in range(GROUPS + 1)]


@asynccontextmanager
async def open_log_node(path: str, *, threads: Threads | None = None) -> AsyncIterator[LogNode]:
    """Opens a node of a cluster in a directory, which it may make."""
    chosen = threads or TrioThreads(4)
    async with open_local(path, threads=chosen) as node:
        parts = node.engine.parts
        await become_cluster(parts.environment, parts.pipeline, GROUPS, MARK)
        yield LogNode(node, chosen)


def position_of(steps: Sequence[Step], marks: Sequence[int]) -> int | None:
    """How many steps the marks are behind, or None when they are between two."""
    states = [[MARK.index] * (GROUPS + 1), *(step.marks for step in steps)]
    return states.index(list(marks)) if list(marks) in states else None


def _envelope(session: int, number: int, acknowledged_to: int) -> bytes:
    numbers = (session, number, acknowledged_to)
    return b"\x01" + b"".join(value.to_bytes(8, "big") for value in numbers)
