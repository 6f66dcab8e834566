"""One page of memory that the core process writes and every worker reads.

What it is not: no lock, no queue, no data. It says how far the store has come, so that a worker
knows without asking when what it holds of the store is out of date: as a look at the station clock
saves asking the guard.

    slot  bytes   written by the core                             meaning
    0     0-7     after each LMDB commit, before anyone is told   count of the commits so far
    1     8-15    before a commit that changes configuration      id of that commit
    2     16-23   once                                            1: the disk takes no more writes

Why plain stores are enough. There is one writing process. A slot is 8 bytes at a multiple of 8, and
CPython moves an item of a memoryview of format Q with one 8-byte copy; x86-64 and arm64 make such
an aligned access whole, so a reader sees the old number or the new one and nothing between. The
order comes from elsewhere: whoever knows of an acknowledgement has it through a socket, from the
core through a worker and a client to another worker. Each hop puts the message into a queue under a
kernel lock and takes it out under the same lock, which orders the store before the message and the
message before the load on both machines. Whoever knows of no acknowledgement may see either number.

Why the first slot is a count and not LMDB's transaction id: a commit that changed nothing, since
all its commands were refused, leaves its id to the next one. Who took 19 for a sign of something
new would not see the second 19.

Why the configuration's slot holds a commit's id and is written before that commit: a reader that
begins a transaction and then reads the slot knows whether the snapshot it got has the change (its
own id is not less) or not yet; see `rs3gwd.engine.view`.
"""

from __future__ import annotations

import fcntl
import mmap
import os

_COMMIT = 0
_CONFIG = 1
_FAILED = 2

PAGE_BYTES = mmap.PAGESIZE

_SEAL_FUTURE_WRITE = 0x10
"""F_SEAL_FUTURE_WRITE of Linux 5.1, which Python's fcntl does not name: the core's own mapping
stays writable, and no other one can be made so, whoever has the descriptor."""

_SEALS = _SEAL_FUTURE_WRITE | fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_SEAL


class SharedState:
    """The page in this process; made by `create` (core) or `attach` (worker). `close` it."""

    def __init__(self, descriptor: int, *, writable: bool) -> None:
        access = mmap.ACCESS_WRITE if writable else mmap.ACCESS_READ
        self._map = mmap.mmap(descriptor, PAGE_BYTES, access=access)
        self._bytes = memoryview(self._map)
        self._slots = self._bytes.cast("Q")
        self._descriptor = descriptor

    @classmethod
    def create(cls) -> SharedState:
        """A new page, in a memory file that has no name. Raises OSError."""
        descriptor = os.memfd_create("rs3gw-shared", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
        try:
            os.ftruncate(descriptor, PAGE_BYTES)
            page = cls(descriptor, writable=True)
            fcntl.fcntl(descriptor, fcntl.F_ADD_SEALS, _SEALS)
        except BaseException:
            os.close(descriptor)
            raise
        return page

    @classmethod
    def attach(cls, descriptor: int) -> SharedState:
        """The page behind an inherited descriptor, which it owns from now on, to be read only."""
        return cls(descriptor, writable=False)

    @property
    def descriptor(self) -> int:
        """What a child process inherits (`pass_fds`) and gives to `attach`."""
        return self._descriptor

    @property
    def commit_count(self) -> int:
        """The commits that anyone may have been told of."""
        return self._slots[_COMMIT]

    @property
    def config_id(self) -> int:
        """LMDB's id of the last commit, finished or not, that changes buckets, accounts or keys."""
        return self._slots[_CONFIG]

    @property
    def failed(self) -> bool:
        """Whether the disk is out of use for writes, for the whole node."""
        return self._slots[_FAILED] != 0

    def publish_commit(self) -> None:
        """A commit is durable. To be called before anyone is told; by one thread at once."""
        self._slots[_COMMIT] += 1

    def announce_config(self, commit_id: int) -> None:
        """The commit that is about to be made changes configuration."""
        self._slots[_CONFIG] = commit_id

    def set_failed(self) -> None:
        """The disk takes no more writes until the node is started anew."""
        self._slots[_FAILED] = 1

    def close(self) -> None:
        """Unmaps the page and closes the descriptor."""
        self._slots.release()
        self._bytes.release()
        self._map.close()
        os.close(self._descriptor)
