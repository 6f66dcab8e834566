"""What tests ask a worker to do: the jobs of `engine_worker`, each over the ports of its node."""

from __future__ import annotations

import errno
import hashlib
import os

import trio

from rs3gwd.base.commands import (
    AnyCommand,
    CommandResult,
    Conditions,
    CreateBucket,
    DeleteObject,
    PutObject,
)
from rs3gwd.base.errors import NoSuchKey, PreconditionFailed, VersionGone
from rs3gwd.base.records import AccessKeyRecord, Attributes, Durability
from rs3gwd.testing.engine_worker import WorkerNode
from rs3gwd.testing.open_local import LocalNode

OWNER = "a" * 64
BUCKET = "bucket"
PIECE_BYTES = 64 << 10
LOOKUPS_MAX = 50

Node = WorkerNode | LocalNode


async def create_bucket(node: Node, name: str = BUCKET) -> None:
    """Makes a bucket."""
    await node.store.submit(CreateBucket(name=name, owner_id=OWNER, now_ms=1, region="us-east-1"))


async def put(
    node: Node,
    key: bytes,
    data: bytes,
    durability: Durability = Durability.STRICT,
    conditions: Conditions | None = None,
) -> str:
    """Writes an object; gives its version's ETag. Raises as `ObjectStore.submit`."""
    async with node.store.stage(size_hint=len(data), durability=durability) as stage:
        for start in range(0, len(data), PIECE_BYTES):
            await stage.write(data[start : start + PIECE_BYTES])
        staged = await stage.finish()
        etag = hashlib.md5(data, usedforsecurity=False).hexdigest()
        command = PutObject(
            bucket=BUCKET,
            key=key,
            now_ms=1,
            nonce=os.urandom(16),
            attributes=Attributes(OWNER),
            etag=etag,
            size_bytes=len(data),
            blob=staged.ref,
            conditions=conditions or Conditions(),
        )
        await node.store.submit(command, staged)
    return etag


async def put_many(node: Node, prefix: bytes, size_bytes: int, count: int) -> None:
    """Writes `count` objects at once, each of its own bytes (`bytes_of`)."""
    async with trio.open_nursery() as nursery:
        for number in range(count):
            key = prefix + b"%d" % number
            nursery.start_soon(put, node, key, bytes_of(key, size_bytes))


def bytes_of(key: bytes, size_bytes: int) -> bytes:
    """The bytes that `put_many` writes under a key."""
    seed = hashlib.sha256(key).digest()
    return (seed * (size_bytes // len(seed) + 1))[:size_bytes]


async def put_if_absent(node: Node, key: bytes, data: bytes) -> bool:
    """Writes an object unless there is one; whether it did."""
    try:
        await put(node, key, data, conditions=Conditions(if_none_match="*"))
    except PreconditionFailed:
        return False
    return True


async def delete(node: Node, key: bytes) -> None:
    """Deletes the current version of a key."""
    await node.store.submit(
        DeleteObject(
            bucket=BUCKET,
            key=key,
            version_id=None,
            now_ms=1,
            nonce=os.urandom(16),
            owner_id=OWNER,
        )
    )


async def get(node: Node, key: bytes) -> bytes | None:
    """The bytes of an object, or None where there is none.

    A version that another write replaced between its look-up and its bytes is looked up again, as
    the S3 surface does.
    """
    for _ in range(LOOKUPS_MAX):
        try:
            return await _get_once(node, key)
        except NoSuchKey:
            return None
        except VersionGone:
            continue
    raise VersionGone(f"{key!r} was replaced {LOOKUPS_MAX} times")


async def _get_once(node: Node, key: bytes) -> bytes:
    version = await node.store.get_version(BUCKET, key, None)
    data = node.store.lookups_now().read_small(version)
    if data is not None:
        return data
    pieces = []
    async with node.store.open_body(version, 0, version.size_bytes) as body:
        while piece := await body.read():
            pieces.append(bytes(piece))
    return b"".join(pieces)


async def hold_body(node: WorkerNode, key: bytes) -> bytes:
    """Opens an object, reads it once `let_go` is called, and gives its bytes."""
    version = await node.store.get_version(BUCKET, key, None)
    go = node.held[key] = trio.Event()
    pieces = []
    async with node.store.open_body(version, 0, version.size_bytes) as body:
        node.holding.add(key)
        await go.wait()
        while piece := await body.read():
            pieces.append(bytes(piece))
    return b"".join(pieces)


async def is_held(node: WorkerNode, key: bytes) -> bool:
    """Whether `hold_body` has opened an object."""
    return key in node.holding


async def let_go(node: WorkerNode, key: bytes) -> None:
    """Lets `hold_body` read on."""
    node.held[key].set()


async def access_key(node: Node, access_key_id: str) -> AccessKeyRecord | None:
    """The access key as requests are checked against it."""
    return node.directory.access_key(access_key_id)


async def submit(node: Node, command: AnyCommand) -> CommandResult:
    """Commits a command that brings no bytes."""
    return await node.store.submit(command)


async def fail_disk(node: WorkerNode) -> None:
    """A write of this worker fails."""
    with node.engine.parts.health.writing("test"):
        raise OSError(errno.EIO, "input/output error")


async def disk_failure(node: Node) -> str | None:
    """Why this process takes no writes."""
    return node.engine.disk_failure


async def spin(node: WorkerNode, keys: list[bytes], rounds: int) -> int:
    """Reads keys again and again, each of which must be there whole; gives the bytes read."""
    size_bytes = 0
    for _ in range(rounds):
        for key in keys:
            data = await get(node, key)
            assert data is not None, f"{key!r} is gone"
            assert data == bytes_of(key, len(data)), f"{key!r} has other bytes"
            size_bytes += len(data)
    return size_bytes


async def put_abandoned(node: Node, key: bytes, size_bytes: int) -> None:
    """Receives a body and never commits it."""
    async with node.store.stage(size_hint=None, durability=Durability.STRICT) as stage:
        await stage.write(bytes_of(key, size_bytes))
        await stage.finish()


async def put_and_note(node: Node, prefix: bytes, size_bytes: int, count: int, notes: str) -> None:
    """Writes objects one after the other (`bytes_of`) and, whenever one is acknowledged, a line
    with its key to the file `notes`: what the kernel has outlives every process."""
    for number in range(count):
        key = prefix + b"-%d" % number
        await put(node, key, bytes_of(key, size_bytes))
        _note(notes, b"%s %d\n" % (key, size_bytes))


def _note(notes: str, line: bytes) -> None:
    with open(notes, "ab", buffering=0) as file:
        file.write(line)
