"""Writes the file of requests that the load generator sends; its format is in load/requests.h.

Bodies lie in one pool, and a request names a span of it, as what it sends or as what must come
back. So two thousand different bodies cost no more memory than one, and the generator notices an
answer that belongs to another key.
"""

import random
import struct
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from tools.rs3gw_bench.signing import SignedRequest

HEADER = struct.Struct("<4sIQIIQQ")
RECORD = struct.Struct("<QIHBBQQQQ")
MAGIC, VERSION = b"R3LD", 1
KINDS_MAX, KIND_BYTES = 8, 16
FLAG_HEAD, FLAG_COMPARE, FLAG_LENGTH = 1, 2, 4

POOL_SEED = 4


@dataclass(frozen=True)
class Span:
    """`count` bytes of the pool from `offset` on."""

    offset: int
    count: int


class Pool:
    """Bytes that do not repeat, and the bodies cut from them."""

    def __init__(self, size_bytes: int) -> None:
        self.data = bytearray(random.Random(POOL_SEED).randbytes(size_bytes))
        self._random_bytes = size_bytes

    def body(self, number: int, size_bytes: int) -> Span:
        """The body of key `number`: another span for each of some thousands of numbers."""
        room = self._random_bytes - size_bytes
        # 61 is prime to every room in use, so that neighbours differ from their first byte on.
        return Span(number * 61 % (room + 1), size_bytes)

    def keep(self, data: bytes) -> Span:
        """Adds bytes that were made for one request."""
        span = Span(len(self.data), len(data))
        self.data += data
        return span

    def bytes_of(self, span: Span) -> bytes:
        """The bytes themselves."""
        return bytes(self.data[span.offset : span.offset + span.count])


class RequestFile:
    """Requests in the order in which they are to be sent; `kinds` are measured apart."""

    def __init__(self, pool: Pool, kinds: Sequence[str] = ("all",)) -> None:
        assert 1 <= len(kinds) <= KINDS_MAX
        self.pool = pool
        self.kinds = tuple(kinds)
        self._heads: list[bytes] = []
        self._records: list[bytes] = []
        self._heads_bytes = 0

    def __len__(self) -> int:
        """How many requests there are."""
        return len(self._records)

    def add(
        self,
        request: SignedRequest,
        *,
        status: int = 200,
        kind: int = 0,
        body: Span | None = None,
        expected: Span | None = None,
        length: int | None = None,
    ) -> None:
        """Adds a request with its `body`; it must be answered with `status`.

        What comes must be the bytes `expected`, or, where only `length` is given, as many bytes
        (for HEAD: announced by Content-Length).
        """
        is_head = request.method == "HEAD"
        flags = FLAG_HEAD if is_head else 0
        if expected is not None:
            flags |= FLAG_COMPARE | FLAG_LENGTH
        elif length is not None:
            flags |= FLAG_LENGTH
        sends = body or Span(0, 0)
        awaits = expected or Span(0, length or 0)
        head = request.head(None if body is None else body.count)
        spans = (sends.offset, sends.count, awaits.offset, awaits.count)
        self._records.append(RECORD.pack(self._heads_bytes, len(head), status, kind, flags, *spans))
        self._heads.append(head)
        self._heads_bytes += len(head)

    def write(self, file: BinaryIO) -> None:
        """Writes header, records, heads and pool."""
        counts = (len(self._records), len(self.kinds), 0, self._heads_bytes, len(self.pool.data))
        file.write(HEADER.pack(MAGIC, VERSION, *counts))
        names = [kind.encode().ljust(KIND_BYTES, b"\0") for kind in self.kinds]
        file.write(b"".join(names).ljust(KINDS_MAX * KIND_BYTES, b"\0"))
        for part in (*self._records, *self._heads):
            file.write(part)
        file.write(self.pool.data)

    def save(self, path: Path) -> Path:
        """Writes it to `path`, which is returned."""
        with path.open("wb") as file:
            self.write(file)
        return path
