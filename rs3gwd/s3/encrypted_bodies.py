"""The one place where bodies are encrypted and decrypted: in front of a stage, behind a reader.

    body -> proved -> EncryptingStage -> Stage          BodyReader -> DecryptingReader -> answer

Every way into the store goes through a stage (PUT, forms, parts, copies) and every way out through
a reader, and both are handed out here for an encrypted object; so no operation encrypts by itself,
and none can forget to. What the caller sent is proved (lengths, digests, checksums) before it is
encrypted, and what was stored is proved twice before it is given out, by the engine's checksums and
by each block's tag.

Blocks are encrypted and decrypted straight from one buffer into another, on the event loop, a few
at a time: ciphers run at several GB/s, and in a thread of its own each block would wait for the GIL
for as long as it takes to encrypt ten. A block that comes in pieces is put together in a buffer of
its own; the last block of a body is only known at its end, so one block is always held back.
Buffers are used again: fresh memory costs as much as the encryption.
"""

from __future__ import annotations

from collections import deque
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from functools import partial

import trio

from rs3gwd.base.encryption import BLOCK_BYTES, TAG_BYTES, BlockCipher
from rs3gwd.base.errors import DataCorrupt
from rs3gwd.base.memory import MemoryPool, SpareBuffers
from rs3gwd.base.ports import BodyReader, Buffer, Stage, StagedBlob, Threads
from rs3gwd.s3.encrypted_ranges import Run

STORED_BLOCK_BYTES = BLOCK_BYTES + TAG_BYTES

BUFFERS = 2
"""Encrypted buffers of one body: one being filled while the other is written."""

BUFFER_BYTES = 17 * STORED_BLOCK_BYTES
"""A slab of the belt (1 MiB) and the block held back."""

STEP_BYTES = 4 * BLOCK_BYTES
"""Bytes encrypted or decrypted before other tasks get their turn: 30 to 200 us, by the processor.
A hop to a thread costs 80 and more, since a thread that lets go of the GIL for each block has to
wait for it as often."""

OPENED_BYTES_MAX = STEP_BYTES + BLOCK_BYTES
"""What one step and a block held back can come to."""


@asynccontextmanager
async def encrypting(
    stage: Stage, cipher: BlockCipher, threads: Threads, memory: MemoryPool
) -> AsyncIterator[Stage]:
    """A stage that encrypts what is written to it and writes that to `stage`."""
    spare = memory.take_spare(BUFFERS * BUFFER_BYTES)
    encrypting_stage = EncryptingStage(stage, cipher, threads, is_lean=stage.is_lean or not spare)
    try:
        yield encrypting_stage
    finally:
        encrypting_stage.close()
        if spare:
            memory.give_back(BUFFERS * BUFFER_BYTES)


class EncryptingStage:
    """The port `Stage` in front of another one; made by `encrypting`."""

    def __init__(
        self, stage: Stage, cipher: BlockCipher, threads: Threads, *, is_lean: bool
    ) -> None:
        self.is_lean = is_lean
        self._stage = stage
        self._sealer = Sealer(cipher)
        self._buffers = _Buffers(threads)
        self._ended = False

    async def write(self, data: Buffer) -> None:
        """Appends. Raises DiskFull, DiskFailed, Overloaded."""
        view = memoryview(data)
        if not self._sealer.size_with(len(view)):
            self._sealer.keep(view)
            return
        out = await self._buffers.take(self._sealer.size_with(len(view)))
        try:
            count = await self._seal(view, out)
            await self._stage.write(memoryview(out)[:count])
        finally:
            self._buffers.give_back(out)

    async def write_behind(self, data: memoryview, done: Callable[[], None]) -> None:
        """As `write`; `done` is called as soon as the bytes are encrypted."""
        size = self._sealer.size_with(len(data))
        try:
            if not size:
                self._sealer.keep(data)
                return
            out = await self._buffers.take(size)
            count = await self._seal(data, out)
        finally:
            done()
        await self._stage.write_behind(
            memoryview(out)[:count], partial(self._buffers.give_back, out)
        )

    async def end(self) -> None:
        """No more bytes will come: encrypts the last block."""
        if self._ended:
            return
        self._ended = True
        last = self._sealer.finish()
        if last:
            await self._stage.write(last)
        await self._stage.end()

    async def finish(self) -> StagedBlob:
        """No more bytes will come; what was stored, which is more than what was written."""
        await self.end()
        return await self._stage.finish()

    def close(self) -> None:
        """Frees what the buffers hold."""
        self._buffers.close()

    async def _seal(self, data: memoryview, out: bytearray) -> int:
        target, count = memoryview(out), 0
        for start in range(0, len(data), STEP_BYTES):
            if start:
                await trio.lowlevel.checkpoint()
            count += self._sealer.seal(data[start : start + STEP_BYTES], target[count:])
        return count


class Sealer:
    """Cuts one body into blocks and encrypts them, but for the last one, which it holds back."""

    __slots__ = ("_cipher", "_held", "_held_bytes", "_index")

    def __init__(self, cipher: BlockCipher) -> None:
        self._cipher = cipher
        self._held = bytearray()
        self._held_bytes = 0
        self._index = 0

    def size_with(self, count: int) -> int:
        """The encrypted bytes that come out when so many more come in."""
        return _whole_blocks(self._held_bytes + count) * STORED_BLOCK_BYTES

    def keep(self, data: memoryview) -> None:
        """Takes bytes that complete no block that another one follows."""
        if not self._held:
            self._held = bytearray(BLOCK_BYTES)
        end = self._held_bytes + len(data)
        self._held[self._held_bytes : end] = data
        self._held_bytes = end

    def seal(self, data: memoryview, out: memoryview) -> int:
        """Encrypts into `out`, which has room for `size_with`; how many bytes."""
        filled = 0
        if self._held_bytes:
            take = min(BLOCK_BYTES - self._held_bytes, len(data))
            self.keep(data[:take])
            data = data[take:]
            if not data:
                return 0
            filled = self._seal_blocks(memoryview(self._held), out)
            self._held_bytes = 0
        whole = _whole_blocks(len(data)) * BLOCK_BYTES
        filled += self._seal_blocks(data[:whole], out[filled:])
        self.keep(data[whole:])
        return filled

    def finish(self) -> bytes:
        """The last block, encrypted; empty for a body without bytes."""
        if not self._held_bytes:
            return b""
        out = bytearray(self._held_bytes + TAG_BYTES)
        held = memoryview(self._held)[: self._held_bytes]
        self._cipher.seal(self._index, held, memoryview(out), is_last=True)
        return bytes(out)

    def _seal_blocks(self, data: memoryview, out: memoryview) -> int:
        for start in range(0, len(data), BLOCK_BYTES):
            block = data[start : start + BLOCK_BYTES]
            place = start // BLOCK_BYTES * STORED_BLOCK_BYTES
            target = out[place : place + STORED_BLOCK_BYTES]
            self._cipher.seal(self._index, block, target, is_last=False)
            self._index += 1
        return len(data) // BLOCK_BYTES * STORED_BLOCK_BYTES


class DecryptingReader:
    """The port `BodyReader` behind another one that gives the stored bytes of `runs`.

    `close` it at the end; what was read is not valid any more then.
    """

    def __init__(
        self,
        reader: BodyReader,
        runs: Sequence[Run],
        cipher_for: Callable[[bytes], BlockCipher],
        buffers: SpareBuffers,
    ) -> None:
        """`cipher_for` makes the cipher of a body from its salt."""
        self._reader = reader
        self._buffers = buffers
        self._out = buffers.take()
        self._opener = Opener(runs, cipher_for, self._out)
        self._stored = memoryview(b"")

    def close(self) -> None:
        """Gives the buffer back."""
        self._buffers.give_back(self._out)

    async def read(self) -> Buffer:
        """The next bytes, at most 1 MiB, valid until the next call; empty at the end.

        Raises DataCorrupt, also when a block is not what was stored.
        """
        while not self._opener.is_done:
            if not self._stored:
                self._stored = memoryview(await self._reader.read())
                if not self._stored:
                    raise DataCorrupt("an encrypted body ends before its last block")
            piece, self._stored = self._stored[:STEP_BYTES], self._stored[STEP_BYTES:]
            data = self._opener.open(piece)
            if data:
                return data
        return b""


class Opener:
    """Decrypts the blocks of some runs into `out`, however the stored bytes are cut.

    `held_bytes` of them belong to a block that is not complete yet.
    """

    __slots__ = (
        "_block_bytes", "_cipher", "_cipher_for", "_end", "_held", "_index", "_out", "_place",
        "_run", "_runs", "_skip", "_take", "held_bytes", "is_done",
    )  # fmt: skip

    def __init__(
        self, runs: Sequence[Run], cipher_for: Callable[[bytes], BlockCipher], out: bytearray
    ) -> None:
        """`out` is a spare buffer, of SPARE_BUFFER_BYTES."""
        assert len(out) >= OPENED_BYTES_MAX + STORED_BLOCK_BYTES
        self._cipher_for = cipher_for
        self._out = memoryview(out)
        self._held = self._out[OPENED_BYTES_MAX:]
        self.held_bytes = 0
        self.is_done = False
        """Whether all blocks were decrypted."""
        self._runs = iter(runs)
        self._skip = runs[0].skip
        self._take = sum(run.take for run in runs)
        self._begin_run(next(self._runs))

    def open(self, stored: memoryview) -> memoryview:
        """What the next stored bytes, at most STEP_BYTES, complete. Raises DataCorrupt.

        The bytes given out are valid until the next call.
        """
        assert len(stored) <= STEP_BYTES
        filled = at = 0
        while at < len(stored) and not self.is_done:
            wanted = self._block_bytes
            missing = wanted - self.held_bytes
            piece = stored[at : at + missing]
            at += len(piece)
            if len(piece) < wanted:
                self._held[self.held_bytes : self.held_bytes + len(piece)] = piece
                if len(piece) < missing:
                    self.held_bytes += len(piece)
                    break
                piece = self._held[:wanted]
                self.held_bytes = 0
            filled += self._open_block(piece, filled)
        skip = min(self._skip, filled)
        self._skip -= skip
        given = self._out[skip : min(filled, skip + self._take)]
        self._take -= len(given)
        return given

    def _open_block(self, block: memoryview, filled: int) -> int:
        size = len(block) - TAG_BYTES
        self._place += size
        is_last = self._place == self._run.body_bytes
        self._cipher.open(self._index, block, self._out[filled : filled + size], is_last=is_last)
        self._index += 1
        if self._place < self._end:
            self._block_bytes = min(BLOCK_BYTES, self._run.body_bytes - self._place) + TAG_BYTES
            return size
        run = next(self._runs, None)
        if run is None:
            self.is_done = True
        else:
            self._begin_run(run)
        return size

    def _begin_run(self, run: Run) -> None:
        self._run = run
        self._cipher = self._cipher_for(run.salt)
        self._index = run.first_block
        self._place = run.start
        self._end = run.end
        self._block_bytes = min(BLOCK_BYTES, run.body_bytes - run.start) + TAG_BYTES


class _Buffers:
    """The encrypted buffers of one body. Belongs to the event loop but for `give_back`."""

    def __init__(self, threads: Threads) -> None:
        self._bell = threads.bell()
        # A deque, since its append and pop are safe in any thread.
        self._free: deque[bytearray] = deque()
        self._left_to_make = BUFFERS
        self._is_waiting = False

    async def take(self, size_bytes: int) -> bytearray:
        """A buffer of at least so many bytes."""
        if not self._free and self._left_to_make:
            self._left_to_make -= 1
            return bytearray(size_bytes)
        while not self._free:
            await self._wait()
        buffer = self._free.pop()
        return buffer if len(buffer) >= size_bytes else bytearray(size_bytes)

    def give_back(self, buffer: bytearray) -> None:
        """In any thread: a buffer was written."""
        self._free.append(buffer)
        if self._is_waiting:
            self._bell.ring()

    def close(self) -> None:
        """Nobody waits any more."""
        self._bell.close()

    async def _wait(self) -> None:
        self._is_waiting = True
        try:
            # A look first: what was given back before the flag was up has rung no bell.
            if not self._free:
                await self._bell.wait()
        finally:
            self._is_waiting = False


def _whole_blocks(size_bytes: int) -> int:
    """The blocks in so many bytes that another byte follows."""
    return max(size_bytes - 1, 0) // BLOCK_BYTES
