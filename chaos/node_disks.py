"""The disk of one node of a run: it can be full, fail, and lose what was not synced.

Two libraries stand between the daemon and its disk. `disk_shim.c` lets calls fail whenever it is
told so, and counts them. `trace_shim.c` records what was done; when the power is cut, that is,
behind a SIGKILL, `chaos.disk_model` says what a disk may have kept of it, and the node's folder is
made to be just that. The record is folded into the model while the node runs and its place on the
disk given back, so a run may take a night.

What it is not: a start takes what is in the folder for durable. So writes that were not synced
before a SIGKILL without a power cut cannot be lost by a cut that comes later.
"""

from __future__ import annotations

import ctypes
import mmap
import os
import random
import shutil
import struct
import sys
import threading
from collections.abc import Mapping
from enum import IntEnum
from pathlib import Path

from msgspec import Struct

from chaos.disk_model import CHOICES, DiskModel
from chaos.trace import build_shim, read_records

DISK_SOURCE = Path(__file__).with_name("disk_shim.c")
_CONTROL = struct.Struct("=4q")
_BLOCK_BYTES = 4096
_KEEP_SIZE, _PUNCH_HOLE = 1, 2

_libc = ctypes.CDLL(None)


class DiskState(IntEnum):
    """What the disk does, as `disk_shim.c` has it."""

    WELL = 0
    NO_GROWTH = 1
    """Files cannot grow; what is allocated can be written."""
    NO_ROOM = 2
    """Nothing can be written, as on a full file system that copies on write."""
    NO_WRITES = 3
    """Writes and syncs fail with EIO."""
    NO_SYNCS = 4
    """Syncs fail with EIO."""


class Denials(Struct, frozen=True):
    """How many calls failed so far, and how often free space was said to be none."""

    writes: int
    syncs: int
    told_full: int


class Loss(Struct, frozen=True):
    """What a power cut found and did: `pending` writes were not durable; the contents of `changed`
    files are others since, `gone` files went."""

    choice: str
    pending: int
    changed: int
    gone: int


class Shims(Struct, frozen=True):
    """The two libraries."""

    disk: Path
    trace: Path


def build_shims(folder: Path) -> Shims:
    """Compiles them into `folder`. Raises NoCompiler."""
    return Shims(build_shim(folder, DISK_SOURCE), build_shim(folder))


class NodeDisk:
    """The disk of the node whose data is in `folder`.

    `forget` is the control: syncs of files with this ending are taken for calls that were never
    made, from the second life on: a file whose very head is gone would be found too easily. The
    files beside the folder belong to it: `.disk` tells the library, `.trace` is the record. Its
    methods block, and may be called from any thread.
    """

    def __init__(self, folder: Path, shims: Shims, *, forget: str | None = None) -> None:
        self._folder = folder
        self._shims = shims
        self._forget = forget
        self._trace = folder.with_suffix(".trace")
        self._model = DiskModel()
        self._folded_bytes = 0
        self._lock = threading.Lock()
        path = folder.with_suffix(".disk")
        path.write_bytes(bytes(_CONTROL.size))
        with path.open("r+b") as file:
            self._control = mmap.mmap(file.fileno(), _CONTROL.size)
        self._control_path = path

    def begin_life(self) -> dict[str, str]:
        """To be called before each start of the node; gives what its environment needs."""
        with self._lock:
            left = read_folder(self._folder)
            ending = self._forget
            if ending is not None and not any(name.endswith(ending) for name in left):
                ending = None
            self._model = DiskModel(ignore_data_syncs=ending)
            self._model.load(left)
            self._trace.write_bytes(b"")
            self._folded_bytes = 0
        return {
            "CHAOS_DISK": str(self._control_path),
            "CHAOS_DISK_ROOT": str(self._folder),
            "CHAOS_TRACE_ROOT": str(self._folder),
            "CHAOS_TRACE_LOG": str(self._trace),
        }

    @property
    def libraries(self) -> list[Path]:
        """What is to be preloaded, in this order."""
        return [self._shims.disk, self._shims.trace]

    def set(self, state: DiskState) -> None:
        """From now on the disk does this, also over a restart."""
        self._control[0:8] = int(state).to_bytes(8, sys.byteorder)

    def denials(self) -> Denials:
        """The counts so far."""
        _, writes, syncs, told_full = _CONTROL.unpack(self._control[:])
        return Denials(writes, syncs, told_full)

    def fold(self) -> None:
        """Takes what was recorded meanwhile into the model, and gives its place back."""
        with self._lock:
            self._fold()

    def _fold(self) -> None:
        with self._trace.open("r+b") as file:
            file.seek(self._folded_bytes)
            for event in read_records(file):
                self._model.apply(event)
            start, self._folded_bytes = self._folded_bytes, file.tell()
            _punch(file.fileno(), start, self._folded_bytes)

    def lose_power(self, source: random.Random) -> Loss:
        """Leaves of the folder what a power cut may leave; the node was killed before."""
        with self._lock:
            self._fold()
            choice = source.choice(CHOICES)
            changed, gone = restore(self._folder, self._model.after_cut(choice, source))
            return Loss(choice.title, self._model.pending_count, changed, gone)


def read_folder(folder: Path) -> dict[str, bytes | None]:
    """All files and directories below `folder` by their path; None for a directory."""
    found: dict[str, bytes | None] = {}
    for path in sorted(folder.rglob("*")):
        name = str(path.relative_to(folder))
        if path.is_dir():
            found[name] = None
        elif path.is_file():
            found[name] = path.read_bytes()
    return found


def restore(folder: Path, left: Mapping[str, bytes | None]) -> tuple[int, int]:
    """Makes the folder hold exactly this; how many files it changed, and how many it took away.

    Sockets are left alone: they are nothing that a disk keeps, and the daemon makes them anew.
    """
    present = read_folder(folder)
    gone = [name for name in present if name not in left]
    for name in gone:
        if present[name] is None:
            shutil.rmtree(folder / name)
        else:
            (folder / name).unlink(missing_ok=True)  # it may have gone with its directory
    changed = 0
    for name, content in left.items():
        if content is None:
            (folder / name).mkdir(mode=0o700, exist_ok=True)
        elif present.get(name) != content:
            changed += 1
            _write(folder / name, content)
    return changed, len(gone)


def _write(path: Path, content: bytes) -> None:
    """Without its blocks of zeros, of which files that were allocated ahead are full."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    try:
        os.ftruncate(descriptor, len(content))
        zeros = bytes(_BLOCK_BYTES)
        for start in range(0, len(content), _BLOCK_BYTES):
            block = content[start : start + _BLOCK_BYTES]
            if block != zeros[: len(block)]:
                os.pwrite(descriptor, block, start)
    finally:
        os.close(descriptor)


def _punch(descriptor: int, start: int, end: int) -> None:
    """Gives back the blocks that lie wholly between two places of a file, which keeps its size."""
    start, end = -(-start // _BLOCK_BYTES) * _BLOCK_BYTES, end // _BLOCK_BYTES * _BLOCK_BYTES
    if start < end:
        # A file system that cannot has the place taken until the run is over: no reason to end it.
        _libc.fallocate(
            descriptor, _KEEP_SIZE | _PUNCH_HOLE, ctypes.c_int64(start), ctypes.c_int64(end - start)
        )
