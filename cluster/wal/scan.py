"""Reads a segment: whole batches, then the end of what was written, torn or not.

The one hard question is whether a batch that is not whole was ever acknowledged. One that was torn
by a crash was not, and is cut as if it had never been; one that rotted may have been, and cutting
it could lose what a quorum relied on (Alagappan et al., FAST 2018). What tells them apart is what
comes behind: a batch is begun only when the one before is on stable storage, so any trace of a
later one shows that this one was whole once. Only the very last batch cannot be told, as nowhere.

What it is not: it reads no file and keeps no state of groups.
"""

from __future__ import annotations

from collections.abc import Iterator

from msgspec import Struct

from cluster.base.errors import WalDamaged
from cluster.raft.messages import Entry
from cluster.wal.records import (
    ALIGNMENT,
    FRAME_MAGIC,
    SEGMENT_HEADER_BYTES,
    BatchHead,
    Frame,
    FrameKind,
    SegmentHeader,
    decode_frame,
    decode_head,
    decode_part,
)


class FoundPart(Struct, frozen=True):
    """Where a group's entries lie in a segment; `entries` is None where they have rotted."""

    offset: int
    entries: tuple[Entry, ...] | None


class FoundBatch(Struct, frozen=True):
    """A batch that was written whole once. `rotten` counts its frames that are not whole now."""

    sequence: int
    head: BatchHead
    parts: list[FoundPart]
    end: int
    rotten: int


class SegmentScan:
    """The bytes of one segment. `next_sequence` is what the segment behind it begins with, None
    where this is the last one."""

    def __init__(self, data: bytes, header: SegmentHeader, *, next_sequence: int | None) -> None:
        self._data = memoryview(data)
        self._bytes = data
        self._segment = header.segment
        self._seed = header.seed
        self._next_sequence = next_sequence
        self.end = SEGMENT_HEADER_BYTES
        """Where the last whole batch ends."""

    def batches(self, sequence: int) -> Iterator[FoundBatch]:
        """Every batch from `sequence` on, in order; ends at a torn one.

        Raises WalDamaged when a batch that was durable cannot be understood any more.
        """
        while True:
            batch = self._read(self.end, sequence)
            if batch is not None and (not batch.rotten or self._was_durable(sequence, batch.end)):
                yield batch
                self.end = batch.end
                sequence += 1
                continue
            if self._was_durable(sequence, self.end):
                raise WalDamaged(
                    f"batch {sequence} in segment {self._segment} at {self.end} has rotted, "
                    "and both its heads with it"
                )
            return

    def _read(self, start: int, sequence: int) -> FoundBatch | None:
        """The batch that begins at `start`, from whichever of its heads is whole."""
        first = self._frame(start, FrameKind.HEAD, sequence)
        if first is not None:
            head, at = decode_head(first.payload), first.end
        else:
            tail = next(self._frames_behind(start, FrameKind.TAIL, sequence, start=start), None)
            if tail is None:
                return None
            head = decode_head(tail.payload)
            # Both heads are of one length.
            at = start + (tail.end - tail.offset)
        parts: list[FoundPart] = []
        rotten = 0 if first is not None else 1
        for change in head.changes:
            if not change.part_bytes:
                continue
            frame = self._frame(at, FrameKind.PART, sequence)
            rotten += frame is None
            entries = None if frame is None else decode_part(frame.payload).entries
            parts.append(FoundPart(at, entries))
            at += change.part_bytes
        last = self._frame(at, FrameKind.TAIL, sequence)
        if last is None:
            rotten += 1
            assert first is not None, "a batch was read from one of its heads"
            at += first.end - start
        else:
            at = last.end
        return FoundBatch(sequence, head, parts, at, rotten)

    def _frame(self, offset: int, kind: FrameKind, sequence: int) -> Frame | None:
        frame = decode_frame(self._data, offset, seed=self._seed)
        if frame is None or frame.kind is not kind or frame.sequence != sequence:
            return None
        return frame

    def _frames_behind(
        self, offset: int, kind: FrameKind, sequence: int, *, start: int
    ) -> Iterator[Frame]:
        for frame in self.frames(offset):
            if (frame.kind, frame.sequence) == (kind, sequence) and decode_head(
                frame.payload
            ).start == start:
                yield frame

    def _was_durable(self, sequence: int, behind: int) -> bool:
        """Whether anything shows that a batch was on stable storage once."""
        if self._next_sequence is not None:
            return self._next_sequence > sequence
        return any(frame.sequence > sequence for frame in self.frames(behind))

    def frames(self, offset: int = 0) -> Iterator[Frame]:
        """Every whole frame from `offset` on, wherever it lies."""
        at = self._bytes.find(FRAME_MAGIC, offset)
        while at >= 0:
            if at % ALIGNMENT == 0:
                frame = decode_frame(self._data, at, seed=self._seed)
                if frame is not None:
                    yield frame
            at = self._bytes.find(FRAME_MAGIC, at + 1)
