"""Snapshots of a group: its rows as a stream of chunks, and how a node takes them in.

A snapshot is what one read transaction shows of a group's rows. What it is not: it holds no bytes
of objects, which whoever takes it in keeps, if it has them, or fetches (MISSING), and no rows of
the node's own. Memory is bounded by a chunk on either side.

    chunk, at most 512 KiB of payload              stream: the payloads one behind the other
    u8   version, 1                                u32  length
    u8   1 = the last one                          ...  msgpack [table, key, value]
    u32  number, from 0
    u32  CRC-32C of the payload and what is before it
    ...  payload; of the last one: the digest of all rows (`group_rows`)

Taking it in replaces the group's rows in many small commits. From the first to the last the group
has no mark but a row `import` instead, so that neither a crash nor an error can make a part of a
state pass for the whole: the group is unknown here (`applied` is None) until it is taken in anew,
from the beginning. Blobs of rows that are removed become STAGED, and are bound again by the rows of
the snapshot that name them; the rest is reclaimed later.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator
from struct import Struct as Packed

import msgspec
from awscrt.checksums import crc32c

from rs3gwd.base.errors import DataCorrupt, FormatError
from rs3gwd.base.ports import Threads
from rs3gwd.engine.environment import Environment, Transaction
from rs3gwd.engine.group_blobs import MissingRecord, bind_blob, release_blob
from rs3gwd.engine.group_rows import (
    LOCAL_TABLES,
    Row,
    RowDigest,
    blobs_of_row,
    delete_row,
    group_rows,
    put_row,
)
from rs3gwd.engine.group_state import TreeIds
from rs3gwd.engine.groups import (
    GroupMarkRecord,
    counters_key,
    import_key,
    mark_key,
    put_mark,
    read_mark,
)
from rs3gwd.engine.pipeline import Pipeline
from rs3gwd.engine.segments import Ledger
from rs3gwd.engine.tables import Table

CHUNK_PAYLOAD_BYTES = 512 << 10
ROWS_PER_COMMIT = 250
"""Rows removed or written in one commit: with their trees and blobs some ten pages each at worst,
for which the environment has room (`environment.ROOM_BYTES_DEFAULT`)."""

BYTES_PER_COMMIT = 1 << 20
ROW_BYTES_MAX = 64 << 20
"""A row that claims to be longer is none: manifests, the longest, have about a MiB."""

_VERSION = 1
_HEAD = Packed(">BBI")
_LENGTH = Packed(">I")

_encoder = msgspec.msgpack.Encoder()
_row_decoder = msgspec.msgpack.Decoder(tuple[str, bytes, bytes])


def snapshot_chunks(txn: Transaction, group: int, groups: int) -> Iterator[bytes]:
    """The chunks of a group's snapshot. Raises DataCorrupt, FormatError."""
    payload = bytearray()
    digest = RowDigest()
    number = 0
    for row in group_rows(txn, group, groups):
        digest.update(row)
        packed = _encoder.encode((row.table.name, row.key, row.value))
        payload += _LENGTH.pack(len(packed)) + packed
        while len(payload) >= CHUNK_PAYLOAD_BYTES:
            yield _pack_chunk(number, bytes(payload[:CHUNK_PAYLOAD_BYTES]))
            del payload[:CHUNK_PAYLOAD_BYTES]
            number += 1
    if payload:
        yield _pack_chunk(number, bytes(payload))
        number += 1
    yield _pack_chunk(number, digest.finish(), is_last=True)


class SnapshotParser:
    """Chunks in, rows out. Raises DataCorrupt, FormatError for anything but whole, in order."""

    def __init__(self) -> None:
        self._buffer = bytearray()
        self._digest = RowDigest()
        self._number = 0
        self.is_whole = False

    def feed(self, chunk: bytes) -> Iterator[Row]:
        """The rows that end in this chunk, which must all be taken before the next one."""
        payload = self._open(chunk)
        if self.is_whole:
            if self._buffer or payload != self._digest.finish():
                raise DataCorrupt("a snapshot's rows are not those that were sent")
            return
        self._buffer += payload
        position = 0
        while position + _LENGTH.size <= len(self._buffer):
            (length,) = _LENGTH.unpack_from(self._buffer, position)
            if length > ROW_BYTES_MAX:
                raise DataCorrupt(f"a row of a snapshot with {length} bytes")
            end = position + _LENGTH.size + length
            if end > len(self._buffer):
                break
            row = _open_row(bytes(self._buffer[position + _LENGTH.size : end]))
            self._digest.update(row)
            yield row
            position = end
        del self._buffer[:position]

    def _open(self, chunk: bytes) -> bytes:
        if self.is_whole:
            raise DataCorrupt("a snapshot goes on behind its end")
        if len(chunk) < _HEAD.size + 4 or chunk[0] != _VERSION:
            raise FormatError("a chunk of a snapshot is of no version known here")
        head, payload = chunk[: _HEAD.size], chunk[_HEAD.size + 4 :]
        if crc32c(head + payload) != int.from_bytes(chunk[_HEAD.size : _HEAD.size + 4], "big"):
            raise DataCorrupt("a chunk of a snapshot does not match its checksum")
        _, is_last, number = _HEAD.unpack(head)
        if number != self._number:
            raise DataCorrupt(f"chunk {number} of a snapshot behind {self._number - 1}")
        self._number += 1
        self.is_whole = bool(is_last)
        return payload


class SnapshotReader:
    """The chunks of one snapshot, made in threads; holds a read transaction until `close`.

    Pages that the store frees meanwhile cannot be used again: do not keep it longer than needed.
    """

    def __init__(self, environment: Environment, threads: Threads, group: int, groups: int) -> None:
        self._threads = threads
        self._txn = environment.read()
        self.mark = read_mark(self._txn, mark_key(group))
        self._chunks = snapshot_chunks(self._txn, group, groups)

    def __aiter__(self) -> SnapshotReader:
        return self

    async def __anext__(self) -> bytes:
        chunk = await self._threads.run(lambda: next(self._chunks, None))
        if chunk is None:
            raise StopAsyncIteration
        return chunk

    def close(self) -> None:
        """Ends the transaction."""
        self._chunks = iter(())
        self._txn.abort()


class SnapshotInstaller:
    """Takes one snapshot in; nothing of the group may be applied meanwhile."""

    def __init__(
        self,
        environment: Environment,
        pipeline: Pipeline,
        threads: Threads,
        *,
        group: int,
        groups: int,
        now_ms: int,
        wants: Callable[[bytes], bool],
    ) -> None:
        self._environment = environment
        self._pipeline = pipeline
        self._threads = threads
        self._group = group
        self._groups = groups
        self._now_ms = now_ms
        self._wants = wants

    async def install(self, mark: GroupMarkRecord, chunks: AsyncIterator[bytes]) -> None:
        """Replaces the group's rows. Raises DataCorrupt, FormatError, DiskFailed, DiskFull, and
        what `chunks` raises; then the group has no mark."""
        await self._change(lambda txn, _: self._begin(txn, mark))
        await self._remove_rows()
        parser = SnapshotParser()
        rows: list[Row] = []
        async for chunk in chunks:
            rows.extend(parser.feed(chunk))
            if len(rows) >= ROWS_PER_COMMIT or sum(len(r.value) for r in rows) > BYTES_PER_COMMIT:
                await self._import(rows)
                rows = []
        if not parser.is_whole:
            raise DataCorrupt("a snapshot ends before its end")
        await self._import(rows)
        await self._change(lambda txn, _: self._finish(txn, mark))

    def _begin(self, txn: Transaction, mark: GroupMarkRecord) -> None:
        put_mark(txn, import_key(self._group), mark)
        txn.delete(Table.META, mark_key(self._group))

    def _finish(self, txn: Transaction, mark: GroupMarkRecord) -> None:
        txn.delete(Table.META, import_key(self._group))
        put_mark(txn, mark_key(self._group), mark)

    async def _remove_rows(self) -> None:
        with self._environment.read() as txn:
            found = group_rows(txn, self._group, self._groups)
            while rows := await self._threads.run(lambda: _take(found)):
                await self._change(lambda txn, ledger, rows=rows: self._remove(txn, ledger, rows))

    def _remove(self, txn: Transaction, ledger: Ledger, rows: list[Row]) -> None:
        for row in rows:
            for blob in blobs_of_row(row):
                release_blob(txn, ledger, blob.blob_id, keep_ms=self._now_ms)
            delete_row(txn, row)

    async def _import(self, rows: list[Row]) -> None:
        for start in range(0, len(rows), ROWS_PER_COMMIT):
            part = rows[start : start + ROWS_PER_COMMIT]
            await self._change(lambda txn, _, part=part: self._put(txn, part))

    def _put(self, txn: Transaction, rows: list[Row]) -> None:
        tree_ids = TreeIds(txn)
        for row in rows:
            if row.table in LOCAL_TABLES and row.key != counters_key(self._group):
                raise DataCorrupt(f"a snapshot has a row of {row.table.name}")
            put_row(txn, row, tree_ids.next)
            for blob in blobs_of_row(row):
                wanted = self._wants(blob.blob_id)
                bind_blob(txn, blob, MissingRecord(blob.size_bytes) if wanted else None)
        tree_ids.finish()

    async def _change(self, change: Callable[..., None]) -> None:
        await self._pipeline.change(change, configures=True)


def _take(rows: Iterator[Row]) -> list[Row]:
    taken: list[Row] = []
    size_bytes = 0
    for row in rows:
        taken.append(row)
        size_bytes += len(row.value)
        if len(taken) >= ROWS_PER_COMMIT or size_bytes > BYTES_PER_COMMIT:
            break
    return taken


def _pack_chunk(number: int, payload: bytes, *, is_last: bool = False) -> bytes:
    head = _HEAD.pack(_VERSION, is_last, number)
    checksum: int = crc32c(head + payload)
    return head + checksum.to_bytes(4, "big") + payload


def _open_row(packed: bytes) -> Row:
    try:
        name, key, value = _row_decoder.decode(packed)
        return Row(Table[name], key, value)
    except (msgspec.DecodeError, UnicodeDecodeError, KeyError) as error:
        raise FormatError(f"a row of a snapshot: {error}") from error
