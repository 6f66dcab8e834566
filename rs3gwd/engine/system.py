"""The real ports: the disk, clock, randomness and threads of the machine.

What it is not: it holds no policy. It retries nothing, translates no error and caches nothing; the
engine above decides what a failed call means. Only `rs3gwd.daemon` builds these; everything else
takes the ports of `rs3gwd.base.ports`, so that tests and simulations can put their own in place.

Sources: open(2), preadv2(2) (RWF_NOWAIT), fallocate(2), fdatasync(2), flock(2).
"""

from __future__ import annotations

import errno
import fcntl
import os
import secrets
import threading
import time
from collections.abc import Callable, Sequence
from types import TracebackType
from typing import Any, TypeVar

import outcome
import trio

from rs3gwd.base.ports import Buffer, DiskUsage

T = TypeVar("T")

IOV_MAX = 1024
"""Buffers that one pwritev takes on Linux (UIO_MAXIOV)."""

THREADS_MAX = 64
"""Threads at work at one moment: more only queue in the kernel, and each costs about 50 KiB."""

LINGER_SECONDS = 0.003
"""How long a thread of a large body waits for more: at 1 GB/s a MiB comes every millisecond, and
beginning anew costs 0.1 to 0.3 ms beside a busy event loop. No longer, since threads are shared."""

FILE_MODE = 0o600
"""The data directory holds the objects of all accounts: nobody but the daemon's user reads it."""


class SystemClock:
    """The clocks of the machine."""

    # The function itself: a method around it would cost more than it does.
    monotonic = staticmethod(time.monotonic)

    def now_ms(self) -> int:
        return time.time_ns() // 1_000_000


class SystemRandom:
    """The kernel's random numbers."""

    def token_bytes(self, count: int) -> bytes:
        return secrets.token_bytes(count)


class EventBell:
    """A bell over an eventfd.

    trio's own way to call the event loop writes to a socket, after which the kernel takes it that
    the writer is done, and runs the loop in its place: a thread that hashes lost 0.6 ms with each
    MiB while another core was idle. An eventfd makes no such guess.
    """

    def __init__(self) -> None:
        self._descriptor = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        # A descriptor that was closed may be another file's by the time a late thread rings.
        self._lock = threading.Lock()

    def ring(self) -> None:
        with self._lock:
            if self._descriptor >= 0:
                os.eventfd_write(self._descriptor, 1)

    async def wait(self) -> None:
        while True:
            await trio.lowlevel.wait_readable(self._descriptor)
            try:
                os.eventfd_read(self._descriptor)
            except BlockingIOError:
                continue
            return

    def close(self) -> None:
        with self._lock:
            descriptor, self._descriptor = self._descriptor, -1
        os.close(descriptor)


class TrioThreads:
    """Worker threads of trio, at most `threads_max` at once; further calls wait their turn."""

    linger_seconds = LINGER_SECONDS

    def __init__(self, threads_max: int = THREADS_MAX) -> None:
        self._limiter = trio.CapacityLimiter(threads_max)

    def bell(self) -> EventBell:
        return EventBell()

    async def run(self, function: Callable[[], T]) -> T:
        return await trio.to_thread.run_sync(function, limiter=self._limiter)

    def lasting(self, name: str) -> LastingThread:
        return LastingThread(name)


class LastingThread:
    """One thread that waits for work, takes one piece at a time and ends with the context.

    A hop to it and back costs 100 us beside 150 of `TrioThreads`, and 100 us less processor time:
    nothing is counted, named or given a context, and no limiter is asked.
    """

    linger_seconds = LINGER_SECONDS

    def __init__(self, name: str) -> None:
        self._turn = threading.Lock()  # free: there is work
        self._turn.acquire()
        self._function: Callable[[], Any] | None = None
        self._task: trio.lowlevel.Task | None = None
        self._thread = threading.Thread(target=self._work, name=name)

    def __enter__(self) -> LastingThread:
        self._token = trio.lowlevel.current_trio_token()
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        assert self._function is None, "the thread is at work"
        self._turn.release()
        self._thread.join()

    async def run(self, function: Callable[[], T]) -> T:
        await trio.lowlevel.checkpoint_if_cancelled()
        assert self._function is None, "the thread is at work"
        self._function = function
        self._task = trio.lowlevel.current_task()
        self._turn.release()
        result: T = await trio.lowlevel.wait_task_rescheduled(_finish_first)
        return result

    def bell(self) -> EventBell:
        return EventBell()

    def lasting(self, name: str) -> LastingThread:
        return LastingThread(name)

    def _work(self) -> None:
        while True:
            self._turn.acquire()
            function = self._function
            if function is None:
                return
            done = outcome.capture(function)
            self._token.run_sync_soon(self._end, done)

    def _end(self, done: outcome.Outcome[Any]) -> None:
        """On the event loop: hands the result to whoever waits."""
        task, self._task, self._function = self._task, None, None
        assert task is not None
        trio.lowlevel.reschedule(task, done)


def _finish_first(_: object) -> trio.lowlevel.Abort:
    return trio.lowlevel.Abort.FAILED


class FileDisk:
    """The files under one directory of the machine."""

    def __init__(self, root: str) -> None:
        self._root = os.path.abspath(root)

    @property
    def root(self) -> str:
        """The absolute path of the directory."""
        return self._root

    def open(self, path: str, *, create: bool = False) -> int:
        flags = os.O_RDWR | os.O_CLOEXEC
        if create:
            flags |= os.O_CREAT | os.O_EXCL
        return os.open(self._resolve(path), flags, FILE_MODE)

    def close(self, descriptor: int) -> None:
        os.close(descriptor)

    def pread(self, descriptor: int, length: int, offset: int) -> bytes:
        data = os.pread(descriptor, length, offset)
        if len(data) == length or not data:
            return data
        pieces = [data]
        done = len(data)
        while done < length:
            data = os.pread(descriptor, length - done, offset + done)
            if not data:
                break
            pieces.append(data)
            done += len(data)
        return b"".join(pieces)

    def pread_nowait(self, descriptor: int, target: memoryview, offset: int) -> bool:
        try:
            count = os.preadv(descriptor, [target], offset, os.RWF_NOWAIT)
        except BlockingIOError:
            return False
        except OSError as error:
            if error.errno == errno.EOPNOTSUPP:  # e.g. tmpfs before Linux 6.6, overlay on some
                return False
            raise
        # A short count is the end of the file or the end of what is cached: the caller reads anew.
        return count == len(target)

    def pwrite(self, descriptor: int, buffers: Sequence[Buffer], offset: int) -> None:
        for first in range(0, len(buffers), IOV_MAX):
            group = buffers[first : first + IOV_MAX]
            wanted = sum(len(buffer) for buffer in group)
            count = os.pwritev(descriptor, group, offset)
            if count < wanted:
                self._pwrite_rest(descriptor, b"".join(group)[count:], offset + count)
            offset += wanted

    def _pwrite_rest(self, descriptor: int, rest: bytes, offset: int) -> None:
        """A short count is no error in itself; the next call says what was in the way."""
        while rest:
            count = os.pwrite(descriptor, rest, offset)
            if count == 0:
                raise OSError(errno.EIO, "pwrite wrote nothing")
            rest = rest[count:]
            offset += count

    def allocate(self, descriptor: int, offset: int, length: int) -> None:
        try:
            os.posix_fallocate(descriptor, offset, length)
        except OSError as error:
            # A file system without fallocate: the write itself will find out if there is room.
            if error.errno not in (errno.EOPNOTSUPP, errno.EINVAL):
                raise

    def truncate(self, descriptor: int, length: int) -> None:
        os.ftruncate(descriptor, length)

    def sync_data(self, descriptor: int) -> None:
        os.fdatasync(descriptor)

    def sync_directory(self, path: str) -> None:
        descriptor = os.open(self._resolve(path), os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)

    def unlink(self, path: str) -> None:
        os.unlink(self._resolve(path))

    def list(self, path: str) -> list[str]:
        return sorted(os.listdir(self._resolve(path)))

    def size(self, path: str) -> int:
        return os.stat(self._resolve(path)).st_size

    def make_directory(self, path: str) -> None:
        os.makedirs(self._resolve(path), mode=0o700, exist_ok=True)

    def usage(self) -> DiskUsage:
        status = os.statvfs(self._root)
        return DiskUsage(
            total_bytes=status.f_blocks * status.f_frsize,
            free_bytes=status.f_bavail * status.f_frsize,
        )

    def lock(self, path: str) -> int:
        descriptor = os.open(self._resolve(path), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, FILE_MODE)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            os.close(descriptor)
            raise
        return descriptor

    def _resolve(self, path: str) -> str:
        return f"{self._root}/{path}" if path else self._root
