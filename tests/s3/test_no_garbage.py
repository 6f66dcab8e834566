"""However a request ends, what was in memory of its body is free at once.

A reference cycle through an error (error, trace, frames, body) keeps the bytes until a full run of
the garbage collector, which may be hours away. Here the collector is off and only looks: what it
would have had to free must hold next to no bytes.
"""

import gc
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path

import msgspec
import pytest
import trio
from forging import ROWS, Cell, Signer, Variant, encode_query, sign_cell, target_of
from s3_world import ALICE, SECRET, S3World
from test_malformed_wire import bytes_of, listening

from rs3gwd.engine.system import TrioThreads
from rs3gwd.s3.service import S3Service
from rs3gwd.testing.open_local import open_local

pytestmark = pytest.mark.long
"""The collector belongs to the whole process and threads end when they end: on a loaded machine,
beside other tests, this cannot be held to a number."""

BODY_BYTES = 1_000_000
HELD_BYTES_MAX = 10_000
"""Heads, keys and the like; a piece of a body would be more."""


@asynccontextmanager
async def engine_world(path: Path) -> AsyncIterator[S3World]:
    """alice's world on a real engine."""
    world = S3World()
    async with open_local(str(path)) as node:
        services = msgspec.structs.replace(
            world.service._services, store=node.store, threads=TrioThreads()
        )
        world.service = S3Service(services)
        assert (await world.call("PUT", "/bucket")).status == 200
        assert (await world.call("PUT", "/bucket/key", body=b"x" * 200_000)).status == 200
        yield world


@contextmanager
def only_looking() -> Iterator[list[int]]:
    """Turns the collector off; the list gets the bytes that cycles held."""
    held: list[int] = []
    gc.collect()
    gc.disable()
    gc.set_debug(gc.DEBUG_SAVEALL)
    try:
        yield held
        gc.collect()
        found = {
            id(each): len(each)
            for container in gc.garbage
            for each in gc.get_referents(container)
            if isinstance(each, bytes | bytearray)
        }
        held.append(sum(found.values()))
    finally:
        gc.set_debug(0)
        gc.garbage.clear()
        gc.enable()


def signed_head(world: S3World, row_name: str, variant: Variant, **headers: str) -> bytes:
    """The head of a request whose body of BODY_BYTES is still to come."""
    row = next(row for row in ROWS if row.name == row_name)
    signer = Signer.now(world.key_id(ALICE), SECRET)
    path, query = target_of(row, bucket="bucket", key="key", upload_id="u" * 32)
    cell: Cell = sign_cell(row, variant, signer, path=path, query=query)
    fields = {**cell.headers, **headers, "content-length": str(BODY_BYTES)}
    target = cell.path + (f"?{encode_query(cell.query)}" if cell.query else "")
    lines = [f"{cell.method} {target} HTTP/1.1", *(f"{n}: {v}" for n, v in fields.items())]
    return "\r\n".join([*lines, "", ""]).encode()


async def talk(address: tuple[str, int], sent: bytes, *, to_the_end: bool) -> None:
    """Sends, and then closes at once or when the answer is here."""
    stream = await trio.open_tcp_stream(*address)
    async with stream:
        await stream.send_all(sent)
        if to_the_end:
            with trio.fail_after(20):
                assert await stream.receive_some(4096)


async def quiet() -> None:
    """Returns when the server has nothing more to do."""
    with trio.fail_after(20):
        await trio.testing.wait_all_tasks_blocked(0.05)


@pytest.mark.parametrize("part", [0, 1000, 300_000, BODY_BYTES])
@pytest.mark.parametrize(
    ("row", "variant"),
    [
        ("PutObject", Variant.HEADER),
        ("PutObject", Variant.CHUNKS),
        ("PutObject", Variant.UNSIGNED_TRAILER),
        ("CreateBucket", Variant.HEADER),
        ("PutBucketTagging", Variant.HEADER),
        ("CompleteMultipartUpload", Variant.HEADER),
    ],
)
async def test_a_broken_off_upload_leaves_no_bytes(
    tmp_path: Path, row: str, variant: Variant, part: int
) -> None:
    """The client goes away before, in the middle of and behind its body, which is wrong."""
    async with engine_world(tmp_path) as world, listening(world) as address:
        head = signed_head(world, row, variant)
        await talk(address, head + b"y" * part, to_the_end=False)
        await quiet()
        with only_looking() as held:
            await talk(address, head + b"y" * part, to_the_end=part == BODY_BYTES)
            await quiet()
        assert held[0] <= HELD_BYTES_MAX


@pytest.mark.parametrize("size", [20_000, 500_000])
@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"if-none-match": "*"},
        {"if-match": '"00000000000000000000000000000000"'},
        {"content-md5": "1B2M2Y8AsgTpgAmY7PhCfg=="},
        {"x-amz-checksum-crc32": "AAAAAA=="},
        {"x-amz-storage-class": "NONSENSE"},
    ],
    ids=lambda headers: next(iter(headers), "good"),
)
async def test_an_upload_that_is_answered_leaves_no_bytes(
    tmp_path: Path, headers: dict[str, str], size: int
) -> None:
    """Good or refused, at once, at its end or in the commit."""
    async with engine_world(tmp_path) as world, listening(world) as address:
        body = b"z" * size
        wire = bytes_of(world.request("PUT", "/bucket/key", headers=headers, body=body), body)
        await talk(address, wire, to_the_end=True)
        await quiet()
        with only_looking() as held:
            await talk(address, wire, to_the_end=True)
            await quiet()
        assert held[0] <= HELD_BYTES_MAX


async def test_a_broken_off_download_leaves_no_bytes(tmp_path: Path) -> None:
    """Whole objects and ranges."""
    async with engine_world(tmp_path) as world, listening(world) as address:
        for headers in ({}, {"range": "bytes=100000-"}):
            wire = bytes_of(world.request("GET", "/bucket/key", headers=headers), b"")
            await talk(address, wire, to_the_end=False)
            await quiet()
            with only_looking() as held:
                await talk(address, wire, to_the_end=False)
                await quiet()
            assert held[0] <= HELD_BYTES_MAX
