"""Disks for tests: one in memory that can lose its power, and a wrapper with faults on demand.

`MemoryDisk` is the port `Disk` in memory, with the difference that matters in a crash: what was
written is one thing, what was synced another. `after_power_cut` gives the disk as a legal file
system may leave it: every write since the file's last sync is kept, lost or torn on its own, and so
is every name since its directory's last sync. It is harsher than ext4, which orders more than it
promises, on purpose: code that needs the promise only must pass.

`FaultyDisk` wraps any disk: it records each call, and makes chosen calls fail, lie or wait.

What it is not: LMDB does not write through the port, so the metadata lies on a real file system.
"""

from __future__ import annotations

import errno
import threading
from collections.abc import Callable, Sequence
from random import Random
from typing import TypeVar

from msgspec import Struct

from rs3gwd.base.ports import Buffer, Disk, DiskUsage

T = TypeVar("T")

SECTOR_BYTES = 512
"""What a disk writes whole or not at all: a torn write is cut at a multiple of it."""


class _File:
    """The content of a file: as written, as synced, and the changes in between."""

    def __init__(self) -> None:
        self.data = bytearray()
        self.durable = bytearray()
        self.pending: list[tuple[int, bytes | None]] = []

    def write(self, offset: int, data: bytes) -> None:
        _overwrite(self.data, offset, data)
        self.pending.append((offset, data))

    def truncate(self, length: int) -> None:
        _cut(self.data, length)
        self.pending.append((length, None))

    def sync(self) -> None:
        for offset, data in self.pending:
            if data is None:
                _cut(self.durable, offset)
            else:
                _overwrite(self.durable, offset, data)
        self.pending.clear()

    def after_power_cut(self, random: Random) -> _File:
        survivor = _File()
        survivor.durable = bytearray(self.durable)
        for offset, data in self.pending:
            fate = random.randrange(3)
            if fate == 0:
                continue
            if data is None:
                _cut(survivor.durable, offset)
                continue
            if fate == 1:
                data = data[: random.randrange(len(data) + 1) // SECTOR_BYTES * SECTOR_BYTES]
            _overwrite(survivor.durable, offset, data)
        survivor.data = bytearray(survivor.durable)
        return survivor


class MemoryDisk:
    """The port `Disk` in memory. Safe to use from several threads."""

    def __init__(self, *, capacity_bytes: int = 1 << 40) -> None:
        self.capacity_bytes = capacity_bytes
        self._lock = threading.Lock()
        self._names: dict[str, _File] = {}
        self._durable_names: dict[str, _File] = {}
        self._open: dict[int, _File] = {}
        self._next_descriptor = 1000
        self._locked: dict[int, str] = {}

    def open(self, path: str, *, create: bool = False) -> int:
        with self._lock:
            if create:
                if path in self._names:
                    raise FileExistsError(errno.EEXIST, "exists", path)
                self._names[path] = _File()
            elif path not in self._names:
                raise FileNotFoundError(errno.ENOENT, "no such file", path)
            return self._descriptor(self._names[path])

    def close(self, descriptor: int) -> None:
        with self._lock:
            self._locked.pop(descriptor, None)
            if self._open.pop(descriptor, None) is None:
                raise OSError(errno.EBADF, "closed twice")

    def pread(self, descriptor: int, length: int, offset: int) -> bytes:
        with self._lock:
            return bytes(self._file(descriptor).data[offset : offset + length])

    def pread_nowait(self, descriptor: int, target: memoryview, offset: int) -> bool:
        data = self.pread(descriptor, len(target), offset)
        target[: len(data)] = data
        return len(data) == len(target)

    def pwrite(self, descriptor: int, buffers: Sequence[Buffer], offset: int) -> None:
        data = b"".join(buffers)
        with self._lock:
            file = self._file(descriptor)
            self._claim(offset + len(data) - len(file.data))
            file.write(offset, data)

    def allocate(self, descriptor: int, offset: int, length: int) -> None:
        with self._lock:
            file = self._file(descriptor)
            missing = offset + length - len(file.data)
            self._claim(missing)
            if missing > 0:
                file.write(len(file.data), bytes(missing))

    def truncate(self, descriptor: int, length: int) -> None:
        with self._lock:
            self._file(descriptor).truncate(length)

    def sync_data(self, descriptor: int) -> None:
        with self._lock:
            self._file(descriptor).sync()

    def sync_directory(self, path: str) -> None:
        with self._lock:
            for name in self._names.keys() | self._durable_names.keys():
                if name.rpartition("/")[0] != path:
                    continue
                if name in self._names:
                    self._durable_names[name] = self._names[name]
                else:
                    del self._durable_names[name]

    def unlink(self, path: str) -> None:
        with self._lock:
            if self._names.pop(path, None) is None:
                raise FileNotFoundError(errno.ENOENT, "no such file", path)

    def list(self, path: str) -> list[str]:
        with self._lock:
            start = f"{path}/" if path else ""
            inside = (name[len(start) :] for name in self._names if name.startswith(start))
            return sorted({name.partition("/")[0] for name in inside})

    def size(self, path: str) -> int:
        with self._lock:
            if path not in self._names:
                raise FileNotFoundError(errno.ENOENT, "no such file", path)
            return len(self._names[path].data)

    def make_directory(self, path: str) -> None:
        """Directories are where names are; there is nothing to make."""

    def usage(self) -> DiskUsage:
        with self._lock:
            return DiskUsage(self.capacity_bytes, max(self.capacity_bytes - self._used(), 0))

    def lock(self, path: str) -> int:
        with self._lock:
            if path in self._locked.values():
                raise BlockingIOError(errno.EAGAIN, "locked", path)
            descriptor = self._descriptor(self._names.setdefault(path, _File()))
            self._locked[descriptor] = path
            return descriptor

    @property
    def open_count(self) -> int:
        """Descriptors that are open: 0 after a clean close."""
        return len(self._open)

    def read_file(self, path: str) -> bytes:
        """The whole content of a file as written."""
        with self._lock:
            return bytes(self._names[path].data)

    def flip_bit(self, path: str, offset: int, bit: int = 0) -> None:
        """Turns one bit of a file over, as rot does."""
        with self._lock:
            self._names[path].data[offset] ^= 1 << bit

    def write_file(self, path: str, offset: int, data: bytes) -> None:
        """Writes into a file from outside, durably."""
        with self._lock:
            file = self._names.setdefault(path, _File())
            file.write(offset, data)
            file.sync()
            self._durable_names[path] = file

    def after_power_cut(self, random: Random) -> MemoryDisk:
        """The disk as a power cut at this moment may leave it; `random` chooses among the ways."""
        with self._lock:
            survivor = MemoryDisk(capacity_bytes=self.capacity_bytes)
            kept: dict[int, _File] = {}
            for name in sorted(self._names.keys() | self._durable_names.keys()):
                choices = {
                    id(file): file
                    for file in (self._names.get(name), self._durable_names.get(name))
                }
                file = random.choice(list(choices.values()))
                if file is not None:
                    if id(file) not in kept:
                        kept[id(file)] = file.after_power_cut(random)
                    survivor._names[name] = kept[id(file)]
            survivor._durable_names = dict(survivor._names)
            return survivor

    def _descriptor(self, file: _File) -> int:
        self._next_descriptor += 1
        self._open[self._next_descriptor] = file
        return self._next_descriptor

    def _file(self, descriptor: int) -> _File:
        file = self._open.get(descriptor)
        if file is None:
            raise OSError(errno.EBADF, "not open")
        return file

    def _used(self) -> int:
        return sum(len(file.data) for file in self._names.values())

    def _claim(self, size_bytes: int) -> None:
        if size_bytes > 0 and self._used() + size_bytes > self.capacity_bytes:
            raise OSError(errno.ENOSPC, "no space left")


class Call(Struct, frozen=True):
    """One call of the disk: the method, the path it concerns, and where in the file."""

    operation: str
    path: str
    offset: int = 0
    length: int = 0


class Fault(Struct, frozen=True):
    """What happens to a call instead: it raises `error_number`, after writing `torn_bytes` of it
    (a write), or does nothing and claims success (`lost`)."""

    error_number: int = errno.EIO
    torn_bytes: int = 0
    lost: bool = False


class FaultyDisk:
    """A disk that records every call and lets a test decide what becomes of it.

    `decide` is asked before each call and gives a Fault or None; it may block (a slow disk).
    `fired` counts the faults.
    """

    def __init__(self, inner: Disk, decide: Callable[[Call], Fault | None] | None = None) -> None:
        self.inner = inner
        self.decide = decide or _no_fault
        self.calls: list[Call] = []
        self.fired = 0
        self._paths: dict[int, str] = {}

    def fail_at(
        self, count: int, *, operations: Sequence[str] = (), fault: Fault | None = None
    ) -> None:
        """Makes the call number `count` (from 0) among `operations`, and all after it, fail."""
        fault = fault or Fault()
        seen = 0

        def decide(call: Call) -> Fault | None:
            nonlocal seen
            if operations and call.operation not in operations:
                return None
            seen += 1
            return fault if seen > count else None

        self.decide = decide

    def fail_once(
        self, count: int, *, operations: Sequence[str] = (), fault: Fault | None = None
    ) -> None:
        """Makes only the call number `count` (from 0) among `operations` fail."""
        fault = fault or Fault()
        seen = 0

        def decide(call: Call) -> Fault | None:
            nonlocal seen
            if operations and call.operation not in operations:
                return None
            seen += 1
            return fault if seen == count + 1 else None

        self.decide = decide

    def heal(self) -> None:
        """No more faults."""
        self.decide = _no_fault

    def open(self, path: str, *, create: bool = False) -> int:
        call = Call("create" if create else "open", path)
        descriptor = self._do(call, lambda: self.inner.open(path, create=create))
        self._paths[descriptor] = path
        return descriptor

    def close(self, descriptor: int) -> None:
        self._paths.pop(descriptor, None)
        self.inner.close(descriptor)

    def pread(self, descriptor: int, length: int, offset: int) -> bytes:
        call = Call("pread", self._path(descriptor), offset, length)
        return self._do(call, lambda: self.inner.pread(descriptor, length, offset))

    def pread_nowait(self, descriptor: int, target: memoryview, offset: int) -> bool:
        call = Call("pread_nowait", self._path(descriptor), offset, len(target))
        return self._do(call, lambda: self.inner.pread_nowait(descriptor, target, offset))

    def pwrite(self, descriptor: int, buffers: Sequence[Buffer], offset: int) -> None:
        data = b"".join(buffers)
        call = Call("pwrite", self._path(descriptor), offset, len(data))
        fault = self._note(call)
        if fault is None:
            self.inner.pwrite(descriptor, buffers, offset)
            return
        if fault.torn_bytes:
            self.inner.pwrite(descriptor, [data[: fault.torn_bytes]], offset)
        if not fault.lost:
            raise _error(fault, call)

    def allocate(self, descriptor: int, offset: int, length: int) -> None:
        call = Call("allocate", self._path(descriptor), offset, length)
        self._do(call, lambda: self.inner.allocate(descriptor, offset, length))

    def truncate(self, descriptor: int, length: int) -> None:
        call = Call("truncate", self._path(descriptor), length)
        self._do(call, lambda: self.inner.truncate(descriptor, length))

    def sync_data(self, descriptor: int) -> None:
        call = Call("sync_data", self._path(descriptor))
        fault = self._note(call)
        if fault is None:
            self.inner.sync_data(descriptor)
        elif not fault.lost:
            raise _error(fault, call)

    def sync_directory(self, path: str) -> None:
        self._do(Call("sync_directory", path), lambda: self.inner.sync_directory(path))

    def unlink(self, path: str) -> None:
        self._do(Call("unlink", path), lambda: self.inner.unlink(path))

    def list(self, path: str) -> list[str]:
        return self._do(Call("list", path), lambda: self.inner.list(path))

    def size(self, path: str) -> int:
        return self._do(Call("size", path), lambda: self.inner.size(path))

    def make_directory(self, path: str) -> None:
        self._do(Call("make_directory", path), lambda: self.inner.make_directory(path))

    def usage(self) -> DiskUsage:
        return self._do(Call("usage", ""), self.inner.usage)

    def lock(self, path: str) -> int:
        return self._do(Call("lock", path), lambda: self.inner.lock(path))

    def _path(self, descriptor: int) -> str:
        return self._paths.get(descriptor, "")

    def _note(self, call: Call) -> Fault | None:
        self.calls.append(call)
        fault = self.decide(call)
        self.fired += fault is not None
        return fault

    def _do(self, call: Call, function: Callable[[], T]) -> T:
        fault = self._note(call)
        if fault is not None:
            raise _error(fault, call)
        return function()


def _no_fault(_: Call) -> Fault | None:
    return None


def _error(fault: Fault, call: Call) -> OSError:
    return OSError(fault.error_number, f"injected into {call.operation}", call.path)


def _overwrite(data: bytearray, offset: int, new: bytes) -> None:
    if len(data) < offset:
        data.extend(bytes(offset - len(data)))
    data[offset : offset + len(new)] = new


def _cut(data: bytearray, length: int) -> None:
    if length < len(data):
        del data[length:]
    else:
        data.extend(bytes(length - len(data)))
