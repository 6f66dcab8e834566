"""Which stored bytes hold a range of an encrypted object; pure.

An object is encrypted in bodies: one, or one per part, each in blocks that are decrypted alone
(`rs3gwd.transform`). So a range of the object needs the blocks that it touches, and these lie one
behind the other in the stored bytes, from the first block of the first body to the last of the
last:

    object  |..........x=====|=========|===x......|     x===x is wanted
    stored  |...[  |    |   ][         ][   |]...|      the blocks that are read

Sizes are told twice, by the object and by its blobs. Where they do not belong together the object
is damaged, which is found before a byte is read.
"""

from bisect import bisect_right
from collections.abc import Sequence
from struct import unpack

from msgspec import Struct

from rs3gwd.base.encryption import BLOCK_BYTES, SALT_BYTES, stored_size
from rs3gwd.base.errors import DataCorrupt
from rs3gwd.base.records import ManifestRecord, VersionRecord

SINGLE_SALT = bytes(SALT_BYTES)
"""The salt of an object that is one body: its data key is used for nothing else."""


class Run(Struct, frozen=True):
    """Blocks of one body: from `first_block` those that hold `take` bytes behind the first `skip`.

    `body_bytes` is the size of the body before it was encrypted, so that the last block is known.
    """

    salt: bytes
    body_bytes: int
    first_block: int
    skip: int
    take: int

    @property
    def start(self) -> int:
        """Where in the body its first block begins, before it was encrypted."""
        return self.first_block * BLOCK_BYTES

    @property
    def end(self) -> int:
        """Where its last block ends."""
        wanted = self.start + self.skip + self.take
        return min(-(-wanted // BLOCK_BYTES) * BLOCK_BYTES, self.body_bytes)

    @property
    def stored_bytes(self) -> int:
        """How many stored bytes its blocks are."""
        return stored_size(self.end) - stored_size(self.start)


class EncryptedRange(Struct, frozen=True):
    """The half-open range `start` to `end` of the stored bytes, and what is in it."""

    start: int
    end: int
    runs: Sequence[Run]


def plan_range(
    version: VersionRecord, manifest: ManifestRecord | None, start: int, end: int
) -> EncryptedRange:
    """Where the half-open, not empty range `start` to `end` of an encrypted object lies.

    `manifest` is that of an object of parts. Raises DataCorrupt.
    """
    if manifest is None:
        stored = version.blob.size_bytes if version.blob else 0
        salts, ends, stored_ends = SINGLE_SALT, [version.size_bytes], [stored]
    else:
        count = len(manifest.numbers) // 2
        salts = manifest.salts
        ends = list(unpack(f">{count}Q", manifest.end_offsets))
        stored_ends = list(unpack(f">{count}Q", manifest.blob_end_offsets))
        if len(salts) != SALT_BYTES * count:
            raise DataCorrupt(f"version {version.version_id}: parts without a salt")
    return _plan(version, salts, ends, stored_ends, start, end)


def _plan(
    version: VersionRecord,
    salts: bytes,
    ends: Sequence[int],
    stored_ends: Sequence[int],
    start: int,
    end: int,
) -> EncryptedRange:
    runs: list[Run] = []
    stored_start = stored_end = 0
    for index in range(bisect_right(ends, start), len(ends)):
        body_start = ends[index - 1] if index else 0
        if body_start >= end:
            break
        body_bytes = ends[index] - body_start
        base = stored_ends[index - 1] if index else 0
        if stored_ends[index] - base != stored_size(body_bytes):
            raise DataCorrupt(
                f"version {version.version_id}: {stored_ends[index] - base} bytes are stored of "
                f"{body_bytes}"
            )
        if not body_bytes:
            continue
        first = max(start - body_start, 0)
        first_block = first // BLOCK_BYTES
        run = Run(
            salt=salts[SALT_BYTES * index : SALT_BYTES * (index + 1)],
            body_bytes=body_bytes,
            first_block=first_block,
            skip=first - first_block * BLOCK_BYTES,
            take=min(end - body_start, body_bytes) - first,
        )
        if not runs:
            stored_start = base + stored_size(run.start)
        stored_end = base + stored_size(run.end)
        runs.append(run)
    return EncryptedRange(stored_start, stored_end, runs)
