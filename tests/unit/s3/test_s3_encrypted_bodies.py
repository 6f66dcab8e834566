"""Encrypted bodies: every way of cutting them gives the same bytes, and any part of them."""

from collections.abc import Callable
from itertools import pairwise
from random import Random
from struct import pack

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rs3gwd.base.encryption import BLOCK_BYTES, TAG_BYTES, stored_size
from rs3gwd.base.errors import DataCorrupt
from rs3gwd.base.memory import SPARE_BUFFER_BYTES, MemoryPool, SpareBuffers
from rs3gwd.base.records import (
    Attributes,
    BlobRef,
    ManifestRecord,
    VersionKind,
    VersionRecord,
)
from rs3gwd.engine.system import TrioThreads
from rs3gwd.s3.encrypted_bodies import STEP_BYTES, DecryptingReader, Opener, Sealer, encrypting
from rs3gwd.s3.encrypted_ranges import SINGLE_SALT, Run, plan_range
from rs3gwd.testing.memory_keys import MemoryDataKey
from rs3gwd.testing.memory_store import MemoryBodyReader, MemoryStage

KEY = MemoryDataKey(b"k" * 32)
SIZES = [0, 1, BLOCK_BYTES - 1, BLOCK_BYTES, BLOCK_BYTES + 1, 3 * BLOCK_BYTES, 200_000]


def content(size: int) -> bytes:
    return Random(size).randbytes(size)


def seal(data: bytes, salt: bytes = SINGLE_SALT, cuts: list[int] | None = None) -> bytes:
    """The stored bytes of a body that comes in pieces."""
    sealer = Sealer(KEY.cipher(salt))
    stored = b""
    edges = sorted({0, len(data), *(cut for cut in cuts or [] if cut <= len(data))})
    for start, end in pairwise(edges):
        out = bytearray(sealer.size_with(end - start))
        count = sealer.seal(memoryview(data)[start:end], memoryview(out))
        assert count == len(out)
        stored += bytes(out)
    return stored + sealer.finish()


def version_of(size: int, stored: int, parts: int = 0) -> VersionRecord:
    return VersionRecord(
        VersionKind.OBJECT,
        "null",
        1,
        1,
        size,
        "e",
        Attributes("o"),
        blob=None if parts or not stored else BlobRef(bytes(16), stored),
        manifest_id=1 if parts else None,
        part_count=parts,
    )


def manifest_of(sizes: list[int]) -> ManifestRecord:
    count = len(sizes)
    ends = [sum(sizes[: index + 1]) for index in range(count)]
    stored = [sum(stored_size(size) for size in sizes[: index + 1]) for index in range(count)]
    return ManifestRecord(
        pack(f">{count}Q", *ends),
        bytes(16 * count),
        pack(f">{count}H", *range(1, count + 1)),
        stored_end_offsets=pack(f">{count}Q", *stored),
        salts=b"".join(bytes([index + 1]) * 16 for index in range(count)),
    )


def open_all(runs: list[Run], stored: bytes, piece: int) -> bytes:
    opener = Opener(runs, KEY.cipher, bytearray(SPARE_BUFFER_BYTES))
    data = b""
    for start in range(0, len(stored), piece):
        data += bytes(opener.open(memoryview(stored)[start : start + piece]))
    assert opener.is_done
    return data


@pytest.mark.parametrize("size", SIZES)
def test_the_stored_size_is_known_before(size: int) -> None:
    """A tag for each block, the last one included."""
    assert len(seal(content(size))) == stored_size(size)


@given(st.sampled_from(SIZES), st.lists(st.integers(1, 200_000), max_size=6))
def test_however_it_comes_the_same_is_stored(size: int, cuts: list[int]) -> None:
    """The blocks of a body do not depend on the pieces in which it came."""
    assert seal(content(size), cuts=cuts) == seal(content(size))


@given(
    st.lists(st.sampled_from(SIZES), min_size=1, max_size=4).filter(lambda sizes: sum(sizes) > 0),
    st.floats(0, 1),
    st.floats(0, 1),
    st.sampled_from([1000, BLOCK_BYTES, BLOCK_BYTES + TAG_BYTES, STEP_BYTES]),
)
def test_any_range_of_parts_is_decrypted_from_the_blocks_it_touches(
    sizes: list[int], one: float, two: float, piece: int
) -> None:
    """Over empty parts and uneven ones; no block is read that the range does not touch."""
    total = sum(sizes)
    start = min(int(min(one, two) * total), total - 1)
    end = max(int(max(one, two) * total), start + 1)
    manifest = manifest_of(sizes)
    bodies = [content(size) for size in sizes]
    stored = b"".join(seal(body, bytes([at + 1]) * 16) for at, body in enumerate(bodies))
    version = version_of(total, len(stored), len(sizes))
    planned = plan_range(version, manifest, start, end)
    wanted = b"".join(bodies)[start:end]
    assert open_all(list(planned.runs), stored[planned.start : planned.end], piece) == wanted
    touched = end - start + 2 * BLOCK_BYTES * len(planned.runs)
    assert planned.end - planned.start <= stored_size(touched)


def test_sizes_that_do_not_belong_together_are_damage() -> None:
    """Told before a byte is read: of one body and of parts."""
    with pytest.raises(DataCorrupt):
        plan_range(version_of(100, 100), None, 0, 100)
    with pytest.raises(DataCorrupt):
        plan_range(version_of(100, 0), None, 0, 100)
    manifest = manifest_of([100, 100])
    plain = ManifestRecord(manifest.end_offsets, manifest.blob_ids, manifest.numbers)
    with pytest.raises(DataCorrupt):
        plan_range(version_of(200, 200, 2), plain, 0, 100)


def _flip(stored: bytes) -> bytes:
    return stored[:500] + bytes([stored[500] ^ 1]) + stored[501:]


def _swap(stored: bytes) -> bytes:
    size = BLOCK_BYTES + TAG_BYTES
    return stored[size : 2 * size] + stored[:size] + stored[2 * size :]


@pytest.mark.parametrize("damage", [_flip, _swap])
def test_damaged_and_swapped_blocks_are_never_given_out(damage: Callable[[bytes], bytes]) -> None:
    """Each block is proved to be this block of this body."""
    data = content(3 * BLOCK_BYTES)
    planned = plan_range(version_of(len(data), stored_size(len(data))), None, 0, len(data))
    with pytest.raises(DataCorrupt):
        open_all(list(planned.runs), damage(seal(data)), 1 << 20)


def test_a_body_that_was_cut_off_is_not_the_whole() -> None:
    """The last block says that it is the last, so that a shorter body is not taken for whole."""
    stored = seal(content(2 * BLOCK_BYTES))[: BLOCK_BYTES + TAG_BYTES]
    planned = plan_range(version_of(BLOCK_BYTES, len(stored)), None, 0, BLOCK_BYTES)
    with pytest.raises(DataCorrupt):
        open_all(list(planned.runs), stored, 1 << 20)


@pytest.mark.parametrize("size", [*SIZES, 5_000_000])
async def test_a_stage_and_a_reader_undo_each_other(size: int) -> None:
    """In real threads, with writes of all kinds; a reader gives at most 1 MiB at a time."""
    threads = TrioThreads(4)
    data = content(size)
    inner = MemoryStage(stored_size(size))
    pool = MemoryPool(64 << 20)
    done: list[int] = []
    async with encrypting(inner, KEY.cipher(SINGLE_SALT), threads, pool) as stage:
        for start in range(0, size, 700_001):
            piece = bytearray(data[start : start + 700_001])
            if start % 2:
                await stage.write(piece)
            else:
                await stage.write_behind(memoryview(piece), lambda: done.append(1))
                piece[:] = bytes(len(piece))
        await stage.end()
        staged = await stage.finish()
        assert pool.bytes_held > 0
    assert pool.bytes_held == 0
    stored = b"".join(inner.pieces)
    assert stored == seal(data)
    assert (staged.ref is None) == (size == 0)
    if not size:
        return
    planned = plan_range(version_of(size, len(stored)), None, 0, size)
    reader = DecryptingReader(MemoryBodyReader(stored), planned.runs, KEY.cipher, SpareBuffers())
    found = []
    while piece_read := await reader.read():
        assert len(piece_read) <= 1 << 20
        found.append(bytes(piece_read))
    assert b"".join(found) == data


async def test_stored_bytes_that_end_early_are_damage() -> None:
    """A reader that gives less than was asked for gives no short body."""
    data = content(100_000)
    planned = plan_range(version_of(100_000, stored_size(100_000)), None, 0, 100_000)
    source = MemoryBodyReader(seal(data)[:90_000])
    reader = DecryptingReader(source, planned.runs, KEY.cipher, SpareBuffers())
    assert await reader.read()
    with pytest.raises(DataCorrupt):
        await reader.read()
