"""The latch and the reserve: when the disk may be written."""

import errno

import pytest

from rs3gwd.base.errors import DiskFailed, DiskFull
from rs3gwd.engine.events import EventKind, SilentObserver
from rs3gwd.engine.health import AMPLE_BYTES, DiskHealth, SpaceGuard
from rs3gwd.engine.system import TrioThreads
from rs3gwd.testing.faulty_disk import MemoryDisk


class ManualClock:
    """A clock that a test moves."""

    def __init__(self) -> None:
        self.seconds = 0.0

    def now_ms(self) -> int:
        return int(self.seconds * 1000)

    def monotonic(self) -> float:
        return self.seconds


def _fail(number: int) -> None:
    raise OSError(number, "injected")


def test_a_failed_write_latches_for_ever() -> None:
    """The first reason is kept, and every later write is refused with it."""
    health = DiskHealth(SilentObserver())
    with pytest.raises(DiskFailed), health.writing("first"):
        _fail(errno.EIO)
    with pytest.raises(DiskFailed, match="first"), health.writing("second"):
        raise AssertionError("the block must not run")
    with pytest.raises(DiskFailed, match="first"):
        health.check()


def test_a_full_disk_does_not_latch_a_write() -> None:
    """ENOSPC and a quota are DiskFull, and the next write may try."""
    health = DiskHealth(SilentObserver())
    for number in (errno.ENOSPC, errno.EDQUOT):
        with pytest.raises(DiskFull), health.writing("write"):
            _fail(number)
    health.check()


def test_any_failed_sync_latches() -> None:
    """Even ENOSPC: the pages may have been dropped."""
    health = DiskHealth(SilentObserver())
    with pytest.raises(DiskFailed), health.syncing("sync"):
        _fail(errno.ENOSPC)
    assert health.failure is not None


def _guard(disk: MemoryDisk, clock: ManualClock, **sizes: int) -> SpaceGuard:
    sizes = {"reserve_bytes": 1000, "ballast_bytes": 100, **sizes}
    return SpaceGuard(disk, clock, TrioThreads(2), SilentObserver(), **sizes)


async def test_the_reserve_is_kept_from_bodies() -> None:
    """What was admitted since the figure was read counts as used."""
    guard = _guard(MemoryDisk(capacity_bytes=5000), ManualClock())
    await guard.admit(3000)
    assert guard.admit_nowait(1000)
    assert not guard.admit_nowait(1)


async def test_a_refusal_looks_at_the_disk_first() -> None:
    """Room that came back is found at once; an old figure is not believed."""
    disk, clock = MemoryDisk(capacity_bytes=5000), ManualClock()
    guard = _guard(disk, clock)
    disk.write_file("f", 0, bytes(4500))
    with pytest.raises(DiskFull):
        await guard.admit(100)
    disk.unlink("f")
    await guard.admit(100)
    clock.seconds += 0.2
    assert not guard.admit_nowait(100)


async def test_an_older_figure_will_do_where_there_is_ample_room() -> None:
    """It saves the look, for two seconds."""
    clock = ManualClock()
    guard = _guard(MemoryDisk(capacity_bytes=4 * AMPLE_BYTES), clock)
    await guard.admit(1)
    clock.seconds += 1.9
    assert guard.admit_nowait(1)
    clock.seconds += 0.2
    assert not guard.admit_nowait(1)


async def test_compaction_may_use_half_the_reserve() -> None:
    """It makes room; but a last rest stays for the deletes."""
    guard = _guard(MemoryDisk(capacity_bytes=1200), ManualClock())
    await guard.admit_compaction(600)
    with pytest.raises(DiskFull):
        await guard.admit_compaction(800)


def test_the_ballast_is_made_once_given_up_once_and_made_again() -> None:
    """Only where there is room to spare for it."""
    disk = MemoryDisk(capacity_bytes=1300)
    guard = _guard(disk, ManualClock())
    guard.refresh()
    guard.restore_ballast()
    assert disk.size("BALLAST") == 100
    assert guard.drop_ballast()
    assert not guard.drop_ballast()
    assert disk.list("") == []
    disk.write_file("f", 0, bytes(200))
    guard.refresh()
    guard.restore_ballast()
    assert disk.list("") == ["f"]


def test_a_latch_is_told_once() -> None:
    """One event, however many writes fail after it."""
    kinds: list[EventKind] = []

    class Watcher:
        def on_event(self, event: object) -> None:
            kinds.append(event.kind)  # type: ignore[attr-defined]

    health = DiskHealth(Watcher())
    health.latch("a")
    health.latch("b")
    assert kinds == [EventKind.DISK_FAILED]
    assert health.failure == "a"
