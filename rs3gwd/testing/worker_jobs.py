"""What tests ask a worker to do: the jobs of `engine_worker`, each over the ports of its node."""

from __future__ import annotations

import hashlib
import os

import trio

from rs3gwd.base.commands import Conditions, CreateBucket, DeleteObject, PutObject
from rs3gwd.base.errors import NoSuchKey, PreconditionFailed
from rs3gwd.base.records import Attributes, Durability
from rs3gwd.testing.engine_worker import WorkerNode
from rs3gwd.testing.open_local import LocalNode

OWNER = "a" * 64
BUCKET = "bucket"
PIECE_BYTES = 64 << 10

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
    """The bytes of an object, or None where there is none."""
    try:
        version = await node.store.get_version(BUCKET, key, None)
    except NoSuchKey:
        return None
    data = await node.store.read_small(version)
    if data is not None:
        return data
    pieces = []
    async with node.store.open_body(version, 0, version.size_bytes) as body:
        while piece := await body.read():
            pieces.append(bytes(piece))
    return b"".join(pieces)
