"""A disk in memory that loses power: what was synced stays, of the rest a random legal part.

Between two syncs of a file each written block of 512 bytes may be there or not, whatever the order
of the writes; a name made or removed since the last sync of its directory may be there or not.
"""

from __future__ import annotations

import errno
from collections.abc import Callable, Sequence
from random import Random

from cluster.base.ports import Buffer

BLOCK_BYTES = 512


class _File:
    """A file: what is read, what is durable, and the blocks that differ."""

    def __init__(self) -> None:
        self.data = bytearray()
        self.durable = bytearray()
        self.dirty: set[int] = set()


class CrashDisk:
    """Implements `cluster.base.ports.Disk`. `before_call` sees the name of every call that changes
    anything and may raise; `calls` counts them."""

    def __init__(self, before_call: Callable[[str], None] | None = None) -> None:
        self._files: dict[str, _File] = {}
        self._durable_names: dict[str, _File] = {}
        self._open: dict[int, _File] = {}
        self._next = 3
        self._before_call = before_call
        self.calls = 0
        self.directories: set[str] = set()

    def _note(self, name: str) -> None:
        self.calls += 1
        if self._before_call is not None:
            self._before_call(name)

    def crash(self, random: Random) -> CrashDisk:
        """The disk that the next start finds, with nothing of what was not synced for certain."""
        after = CrashDisk()
        after.directories = set(self.directories)
        names = dict(self._durable_names)
        for name in self._files.keys() | names.keys():
            if self._files.get(name) is not names.get(name) and random.random() < 0.5:
                if name in self._files:
                    names[name] = self._files[name]
                else:
                    del names[name]
        for name, file in names.items():
            kept = _File()
            kept.data = _torn(file, random)
            kept.durable = bytearray(kept.data)
            after._files[name] = after._durable_names[name] = kept
        return after

    def flip(self, path: str, bit: int) -> None:
        """Flips one bit of a file, durably."""
        file = self._files[path]
        for data in (file.data, file.durable):
            data[bit // 8] ^= 1 << bit % 8

    def copy(self) -> CrashDisk:
        """An independent disk with the same durable contents and names."""
        twin = CrashDisk()
        twin.directories = set(self.directories)
        for name, file in self._files.items():
            kept = _File()
            kept.data = bytearray(file.data)
            kept.durable = bytearray(file.data)
            twin._files[name] = twin._durable_names[name] = kept
        return twin

    # The port.

    def open(self, path: str, *, create: bool = False) -> int:
        """As `Disk.open`."""
        if create:
            self._note("create")
            if path in self._files:
                raise FileExistsError(errno.EEXIST, path)
            self._files[path] = _File()
        elif path not in self._files:
            raise FileNotFoundError(errno.ENOENT, path)
        self._next += 1
        self._open[self._next] = self._files[path]
        return self._next

    def close(self, descriptor: int) -> None:
        """As `Disk.close`."""
        del self._open[descriptor]

    def pread(self, descriptor: int, length: int, offset: int) -> bytes:
        """As `Disk.pread`."""
        return bytes(self._open[descriptor].data[offset : offset + length])

    def pwrite(self, descriptor: int, buffers: Sequence[Buffer], offset: int) -> None:
        """As `Disk.pwrite`."""
        self._note("write")
        file = self._open[descriptor]
        data = b"".join(buffers)
        end = offset + len(data)
        if end > len(file.data):
            file.data.extend(bytes(end - len(file.data)))
        file.data[offset:end] = data
        if data:
            file.dirty |= set(range(offset // BLOCK_BYTES, (end - 1) // BLOCK_BYTES + 1))

    def allocate(self, descriptor: int, offset: int, length: int) -> None:
        """As `Disk.allocate`."""
        self._note("allocate")
        file = self._open[descriptor]
        if offset + length > len(file.data):
            file.data.extend(bytes(offset + length - len(file.data)))

    def truncate(self, descriptor: int, length: int) -> None:
        """As `Disk.truncate`."""
        self._note("truncate")
        del self._open[descriptor].data[length:]

    def sync_data(self, descriptor: int) -> None:
        """As `Disk.sync_data`."""
        self._note("sync")
        file = self._open[descriptor]
        file.durable = bytearray(file.data)
        file.dirty.clear()

    def sync_directory(self, path: str) -> None:
        """As `Disk.sync_directory`."""
        self._note("sync_directory")
        prefix = f"{path}/"
        for name in list(self._files.keys() | self._durable_names.keys()):
            if not name.startswith(prefix):
                continue
            if name in self._files:
                self._durable_names[name] = self._files[name]
            else:
                del self._durable_names[name]

    def unlink(self, path: str) -> None:
        """As `Disk.unlink`."""
        self._note("unlink")
        del self._files[path]

    def list(self, path: str) -> list[str]:
        """As `Disk.list`."""
        prefix = f"{path}/"
        return sorted(name.removeprefix(prefix) for name in self._files if name.startswith(prefix))

    def size(self, path: str) -> int:
        """As `Disk.size`."""
        return len(self._files[path].data)

    def make_directory(self, path: str) -> None:
        """As `Disk.make_directory`; a directory that was made is there after a crash."""
        self.directories.add(path)


def _torn(file: _File, random: Random) -> bytearray:
    data = bytearray(len(file.data))
    data[: len(file.durable)] = file.durable[: len(data)]
    for block in sorted(file.dirty):
        if random.random() < 0.5:
            start = block * BLOCK_BYTES
            piece = file.data[start : start + BLOCK_BYTES]
            data[start : start + len(piece)] = piece
    return data
