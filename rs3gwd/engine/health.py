"""The state of the disk: whether it may be written, and whether there is room.

Two facts rule every write.

A failed write or sync is final. After a failed fdatasync the kernel marks the dirty pages clean,
so a second try reports success for bytes that are gone (Rebello et al., "Can Applications Recover
from fsync Failures?", ATC 2020). The first such error latches the disk: no more writes until an
operator looked at it and started the daemon anew. Reads go on.

A full disk must still be able to delete. New bodies are refused while free space is below a
reserve; deletes and other small commits may use it. Should the file system reach zero all the
same (other programs fill it too), a ballast file is given up, so that the commit of a delete, which
needs fresh pages since LMDB copies on write, finds room.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rs3gwd.base.errors import DiskFailed, DiskFull
from rs3gwd.base.ports import Clock, Disk, Threads
from rs3gwd.engine.environment import translate_error
from rs3gwd.engine.events import EngineEvent, EventKind, Observer

BALLAST_PATH = "BALLAST"

USAGE_AGE_MAX_S = 0.1
"""How old a figure of free space may be before it is read again: at 2 GB/s 200 MB may be written
meanwhile, which is why admitted bytes are counted against the old figure until then."""

AMPLE_BYTES = 8 << 30
AMPLE_AGE_MAX_S = 2.0
"""With this much to spare an older figure will do: at 2 GB/s half of it is gone by then. It saves
a lone writer the thread hop of reading it."""


class DiskHealth:
    """The latch. Shared by everything that writes; safe to use from any thread.

    `on_failure` is called once with the reason, from any thread: it tells the other processes.
    `failed_elsewhere` says whether one of them has told this one.
    """

    def __init__(
        self,
        observer: Observer,
        *,
        on_failure: Callable[[str], None] = lambda _: None,
        failed_elsewhere: Callable[[], bool] = lambda: False,
    ) -> None:
        self._observer = observer
        self._on_failure = on_failure
        self._failed_elsewhere = failed_elsewhere
        self._failure: str | None = None

    @property
    def failure(self) -> str | None:
        """What failed, or None while the disk may be written."""
        if self._failure is None and self._failed_elsewhere():
            return "a write or sync failed in another process of this node"
        return self._failure

    def check(self) -> None:
        """Raises DiskFailed once the disk is latched."""
        failure = self.failure
        if failure is not None:
            raise DiskFailed(failure)

    def latch(self, reason: str) -> None:
        """Takes the disk out of use for writes; the first reason is kept."""
        if self._failure is None:
            self._failure = reason
            self._on_failure(reason)
            self._observer.on_event(EngineEvent(EventKind.DISK_FAILED, reason))

    @contextmanager
    def writing(self, what: str) -> Iterator[None]:
        """Runs writes: an OSError becomes DiskFull, or latches and becomes DiskFailed."""
        self.check()
        try:
            yield
        except OSError as error:
            raise self.translate(error, what) from error

    @contextmanager
    def syncing(self, what: str) -> Iterator[None]:
        """Runs syncs: every OSError latches, even a full disk: pages may have been dropped."""
        self.check()
        try:
            yield
        except OSError as error:
            self.latch(f"{what}: {error}")
            raise DiskFailed(f"{what}: {error}") from error

    def translate(self, error: OSError, what: str) -> Exception:
        """The error of ours for a failed write; latches unless it is only a full disk."""
        translated = translate_error(error)
        if isinstance(translated, DiskFull):
            return DiskFull(f"{what}: {error}")
        self.latch(f"{what}: {error}")
        return DiskFailed(f"{what}: {error}")


class SpaceGuard:
    """Keeps a reserve of free space, and the ballast file behind it.

    `admit` belongs to the event loop; the other methods block and are called in threads.
    """

    def __init__(
        self,
        disk: Disk,
        clock: Clock,
        threads: Threads,
        observer: Observer,
        *,
        reserve_bytes: int,
        ballast_bytes: int,
    ) -> None:
        self._disk = disk
        self._clock = clock
        self._threads = threads
        self._observer = observer
        self._reserve_bytes = reserve_bytes
        self._ballast_bytes = ballast_bytes
        self._free_bytes = 0
        self._admitted_bytes = 0
        self._read_at = float("-inf")
        self._has_ballast = False

    @property
    def free_bytes(self) -> int:
        """The free space when it was last read."""
        return self._free_bytes

    @property
    def has_ballast(self) -> bool:
        """Whether the ballast file is in place."""
        return self._has_ballast

    async def admit(self, size_bytes: int) -> None:
        """Lets a body of about `size_bytes` in. Raises DiskFull when it would use the reserve."""
        if self.admit_nowait(size_bytes):
            return
        await self._threads.run(self.refresh)
        if not self.admit_nowait(size_bytes):
            raise DiskFull(f"{self._free_bytes} bytes free, reserve {self._reserve_bytes}")

    def admit_nowait(self, size_bytes: int) -> bool:
        """As `admit`, but False where the figure is old or there is no room."""
        spare = self._free_bytes - self._admitted_bytes - self._reserve_bytes - size_bytes
        age_max = AMPLE_AGE_MAX_S if spare > AMPLE_BYTES else USAGE_AGE_MAX_S
        if spare < 0 or self._clock.monotonic() - self._read_at > age_max:
            return False
        self._admitted_bytes += size_bytes
        return True

    async def admit_compaction(self, size_bytes: int) -> None:
        """Lets compaction copy `size_bytes`: it may use the reserve, since it makes room.

        Raises DiskFull when even half the reserve would not be left.
        """
        await self._threads.run(self.refresh)
        if self._free_bytes - size_bytes < self._reserve_bytes // 2:
            raise DiskFull(f"{self._free_bytes} bytes free, compaction needs {size_bytes}")

    def refresh(self) -> None:
        """Reads how much is free. Raises DiskFailed."""
        try:
            free_bytes = self._disk.usage().free_bytes
        except OSError as error:
            raise DiskFailed(f"free space: {error}") from error
        self._free_bytes = free_bytes
        self._admitted_bytes = 0
        self._read_at = self._clock.monotonic()

    def refresh_when_old(self) -> None:
        """As `refresh`, where the figure is half as old as it may be; for threads that pass by."""
        if self._clock.monotonic() - self._read_at > USAGE_AGE_MAX_S / 2:
            self.refresh()

    def allows(self, size_bytes: int) -> bool:
        """Whether allocating `size_bytes` ahead of need would leave the reserve whole."""
        return self._free_bytes - size_bytes >= self._reserve_bytes

    def restore_ballast(self) -> None:
        """Makes the ballast file where it is missing and there is room to spare for it."""
        if self._has_ballast or not self.allows(2 * self._ballast_bytes):
            return
        try:
            self._make_ballast()
        except OSError as error:
            if not isinstance(translate_error(error), DiskFull):
                raise
            self.drop_ballast()

    def _make_ballast(self) -> None:
        exists = BALLAST_PATH in self._disk.list("")
        descriptor = self._disk.open(BALLAST_PATH, create=not exists)
        self._has_ballast = True
        try:
            self._disk.allocate(descriptor, 0, self._ballast_bytes)
        finally:
            self._disk.close(descriptor)

    def drop_ballast(self) -> bool:
        """Gives the ballast's room back to the file system; says if there was any."""
        if not self._has_ballast:
            return False
        self._has_ballast = False
        try:
            self._disk.unlink(BALLAST_PATH)
        except FileNotFoundError:
            return False
        self._observer.on_event(
            EngineEvent(EventKind.BALLAST_DROPPED, f"{self._ballast_bytes} bytes given back")
        )
        return True
