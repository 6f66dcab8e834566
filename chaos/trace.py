"""What a process did to its files, as `trace_shim.c` recorded it.

What it is not: it does not say what may be left after a power cut (`chaos.disk_model` does).
"""

from __future__ import annotations

import os
import shutil
import struct
import subprocess
from collections.abc import Iterator, Sequence
from enum import StrEnum
from pathlib import Path
from typing import BinaryIO

from msgspec import Struct

SHIM_SOURCE = Path(__file__).with_name("trace_shim.c")

_HEAD = struct.Struct("<cBHiQI")
_FLAG_SYNCED = 1
_FLAG_DIRECTORY = 2


class Kind(StrEnum):
    """The kinds of records, by their letter in the log."""

    CREATE = "c"
    OPEN = "o"
    CLOSE = "x"
    WRITE = "w"
    TRUNCATE = "t"
    ALLOCATE = "a"
    SYNC_BEGIN = "s"
    SYNC_END = "S"
    UNLINK = "u"
    RENAME = "r"
    MAKE_DIRECTORY = "d"
    MAP_SYNC = "m"


class TraceEvent(Struct, frozen=True):
    """One record. `offset` is the new length for TRUNCATE and the new end for ALLOCATE.

    `data` holds the bytes of a WRITE and the new path of a RENAME. `is_synced` marks a WRITE
    through O_DSYNC, `is_directory` the sync of a directory. Paths are relative to the root.
    """

    kind: Kind
    path: str
    descriptor: int
    offset: int
    data: bytes
    is_synced: bool
    is_directory: bool


class NoCompiler(Exception):
    """There is no C compiler here, so nothing can be recorded, and no clock be wrong."""


def build_shim(directory: Path, source: Path = SHIM_SOURCE) -> Path:
    """Compiles a library to be preloaded into `directory` and gives its path. Raises NoCompiler."""
    compiler = shutil.which("gcc") or shutil.which("cc")
    if compiler is None:
        raise NoCompiler(f"{source.name} is to be compiled, and neither gcc nor cc is here")
    target = directory / source.with_suffix(".so").name
    command = [compiler, "-O2", "-Wall", "-shared", "-fPIC", "-o", str(target), str(source)]
    subprocess.run([*command, "-ldl", "-lpthread"], check=True)
    return target


class Failure(Struct, frozen=True):
    """Calls that fail: `count` of `kind` (SYNC_BEGIN or WRITE) on paths with `ending`, from `first`
    (0) on, with `error_number`."""

    kind: Kind
    first: int
    count: int
    error_number: int
    ending: str


def record(
    command: Sequence[str], *, root: Path, log: Path, shim: Path, failure: Failure | None = None
) -> None:
    """Runs a command and records into `log` what it does below `root`; some calls may fail.

    Raises CalledProcessError when the command fails, with what it wrote to standard error.
    """
    environment = dict(os.environ)
    environment["LD_PRELOAD"] = str(shim)
    environment["CHAOS_TRACE_ROOT"] = str(root.resolve())
    environment["CHAOS_TRACE_LOG"] = str(log)
    if failure is not None:
        environment["CHAOS_TRACE_FAIL"] = (
            f"{failure.kind.value} {failure.first} {failure.count} {failure.error_number} "
            f"{failure.ending}"
        )
    subprocess.run(command, env=environment, check=True, stderr=subprocess.PIPE)


def read_trace(log: Path) -> Iterator[TraceEvent]:
    """The records of a log, in order."""
    with log.open("rb") as file:
        yield from read_records(file)


def read_records(file: BinaryIO) -> Iterator[TraceEvent]:
    """The whole records from here on; the file is left at the first that is not whole, as the end
    of a log is while its process writes, or was killed while it wrote."""
    while True:
        start = file.tell()
        head = file.read(_HEAD.size)
        if len(head) == _HEAD.size:
            letter, flags, path_bytes, descriptor, offset, data_bytes = _HEAD.unpack(head)
            rest = file.read(path_bytes + data_bytes)
        if len(head) < _HEAD.size or len(rest) < path_bytes + data_bytes:
            file.seek(start)
            return
        yield TraceEvent(
            kind=Kind(letter.decode()),
            path=rest[:path_bytes].decode(),
            descriptor=descriptor,
            offset=offset,
            data=rest[path_bytes:],
            is_synced=bool(flags & _FLAG_SYNCED),
            is_directory=bool(flags & _FLAG_DIRECTORY),
        )
