"""One suite for the real disk and the one in memory; and what a power cut may leave."""

import errno
from pathlib import Path
from random import Random

import pytest

from rs3gwd.base.ports import Disk
from rs3gwd.engine.system import FileDisk
from rs3gwd.testing.faulty_disk import Call, Fault, FaultyDisk, MemoryDisk


@pytest.fixture(params=["file", "memory", "faulty"])
def disk(request: pytest.FixtureRequest, tmp_path: Path) -> Disk:
    """Each implementation of the port."""
    made: dict[str, Disk] = {
        "file": FileDisk(str(tmp_path)),
        "memory": MemoryDisk(),
        "faulty": FaultyDisk(MemoryDisk()),
    }
    return made[request.param]


def test_what_is_written_is_read(disk: Disk) -> None:
    """Several buffers lie one behind the other, and a read at the end is short."""
    disk.make_directory("d")
    descriptor = disk.open("d/f", create=True)
    disk.pwrite(descriptor, [b"ab", bytearray(b"cd"), memoryview(b"ef")], 3)
    assert disk.pread(descriptor, 100, 0) == b"\0\0\0abcdef"
    assert disk.pread(descriptor, 2, 4) == b"bc"
    assert disk.pread(descriptor, 2, 100) == b""
    disk.close(descriptor)
    assert disk.size("d/f") == 9


def test_more_buffers_than_one_call_takes_are_all_written(disk: Disk) -> None:
    """The bound of pwritev is not the caller's concern."""
    descriptor = disk.open("f", create=True)
    disk.pwrite(descriptor, [bytes([number % 256]) for number in range(3000)], 0)
    assert disk.pread(descriptor, 3000, 0) == bytes(number % 256 for number in range(3000))
    disk.close(descriptor)


def test_a_cached_read_gives_all_or_nothing(disk: Disk) -> None:
    """`pread_nowait` never gives a short count."""
    descriptor = disk.open("f", create=True)
    disk.pwrite(descriptor, [b"abcdef"], 0)
    target = bytearray(3)
    assert not disk.pread_nowait(descriptor, memoryview(target), 1) or target == b"bcd"
    assert not disk.pread_nowait(descriptor, memoryview(bytearray(7)), 0)
    disk.close(descriptor)


def test_names_are_made_once_and_missing_ones_refused(disk: Disk) -> None:
    """`create` wants a new name, everything else an old one."""
    disk.close(disk.open("f", create=True))
    with pytest.raises(FileExistsError):
        disk.open("f", create=True)
    with pytest.raises(FileNotFoundError):
        disk.open("g")
    with pytest.raises(FileNotFoundError):
        disk.unlink("g")
    with pytest.raises(FileNotFoundError):
        disk.size("g")
    disk.make_directory("d/e")
    disk.make_directory("d/e")
    disk.close(disk.open("d/e/x", create=True))
    disk.close(disk.open("d/e/a", create=True))
    assert disk.list("d/e") == ["a", "x"]
    disk.unlink("d/e/a")
    disk.sync_directory("d/e")
    assert disk.list("d/e") == ["x"]


def test_an_unlinked_file_is_readable_while_open(disk: Disk) -> None:
    """As POSIX has it."""
    descriptor = disk.open("f", create=True)
    disk.pwrite(descriptor, [b"abc"], 0)
    disk.unlink("f")
    assert disk.pread(descriptor, 3, 0) == b"abc"
    disk.close(descriptor)


def test_allocating_and_truncating_change_the_size_only(disk: Disk) -> None:
    """What was written stays, up to where it is cut."""
    descriptor = disk.open("f", create=True)
    disk.pwrite(descriptor, [b"abc"], 0)
    disk.allocate(descriptor, 3, 1000)
    assert disk.pread(descriptor, 5, 0) == b"abc\0\0"
    disk.truncate(descriptor, 2)
    disk.sync_data(descriptor)
    assert disk.size("f") == 2
    disk.close(descriptor)


def test_a_lock_is_held_by_one(disk: Disk) -> None:
    """The second taker is refused until the descriptor is closed."""
    descriptor = disk.lock("LOCK")
    with pytest.raises(BlockingIOError):
        disk.lock("LOCK")
    disk.close(descriptor)
    disk.close(disk.lock("LOCK"))


def test_usage_says_how_much_is_free(disk: Disk) -> None:
    """Free bytes are positive and no more than all."""
    usage = disk.usage()
    assert 0 < usage.free_bytes <= usage.total_bytes


def test_the_memory_disk_runs_full() -> None:
    """A write beyond the capacity is ENOSPC and changes nothing."""
    disk = MemoryDisk(capacity_bytes=10)
    descriptor = disk.open("f", create=True)
    disk.pwrite(descriptor, [b"12345678"], 0)
    with pytest.raises(OSError, match="no space") as caught:
        disk.pwrite(descriptor, [b"1234"], 8)
    assert caught.value.errno == errno.ENOSPC
    assert disk.size("f") == 8


def test_a_power_cut_keeps_what_was_synced() -> None:
    """Synced bytes under a synced name are there after every cut; unsynced ones are not always."""
    seen = set()
    for seed in range(50):
        disk = MemoryDisk()
        descriptor = disk.open("f", create=True)
        disk.pwrite(descriptor, [b"safe"], 0)
        disk.sync_data(descriptor)
        disk.sync_directory("")
        disk.pwrite(descriptor, [b"risk"], 4)
        after = disk.after_power_cut(Random(seed))
        assert after.read_file("f").startswith(b"safe")
        seen.add(after.read_file("f"))
    assert seen == {b"safe", b"saferisk"}


def test_a_power_cut_may_take_a_name_that_was_not_synced() -> None:
    """The file's own sync does not make its name durable."""
    found = set()
    for seed in range(50):
        disk = MemoryDisk()
        descriptor = disk.open("f", create=True)
        disk.pwrite(descriptor, [b"x"], 0)
        disk.sync_data(descriptor)
        found.add(tuple(disk.after_power_cut(Random(seed)).list("")))
    assert found == {(), ("f",)}


def test_a_faulty_disk_fails_the_chosen_calls_and_records_all() -> None:
    """Calls are counted per kind; a torn write leaves its beginning."""
    disk = FaultyDisk(MemoryDisk())
    descriptor = disk.open("f", create=True)
    disk.fail_once(1, operations=["pwrite"], fault=Fault(errno.EIO, torn_bytes=2))
    disk.pwrite(descriptor, [b"aaaa"], 0)
    with pytest.raises(OSError, match="injected"):
        disk.pwrite(descriptor, [b"bbbb"], 4)
    disk.pwrite(descriptor, [b"c"], 6)
    assert disk.pread(descriptor, 10, 0) == b"aaaabbc"
    assert disk.calls[1] == Call("pwrite", "f", 0, 4)
