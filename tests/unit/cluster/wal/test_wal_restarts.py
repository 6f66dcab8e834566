"""What a restart may build on, and what a reader sees while another thread writes."""

from __future__ import annotations

import sys
import threading
from collections.abc import Iterator
from random import Random

import pytest

from cluster.base.errors import Compacted, WalDamaged
from cluster.drivers.groups_log import LogWrite
from cluster.raft.identity import NodeIdentity
from cluster.raft.messages import Entry, EntryKind, HardState
from cluster.testing.crash_disk import CrashDisk
from cluster.testing.host_world import SimRandom
from cluster.wal.wal import Wal, WalFailed, WalSettings

SALTS = SimRandom(Random(9))
SMALL = WalSettings(segment_bytes=8192, zeros_bytes=2048, cache_bytes=4096, segments_max=3)


class Killed(Exception):
    """The process ends here; what it wrote stays in the page cache."""


@pytest.fixture
def quick_switches() -> Iterator[None]:
    """Threads take turns as often as they can."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(before)


def entry(index: int, data: bytes = b"x" * 100) -> Entry:
    """An entry of term 1."""
    return Entry(1, index, EntryKind.NORMAL, data)


def _write_on(wal: Wal, group: int, first: int) -> None:
    for index in range(first, first + 400):
        state = HardState(index, 2, 0)
        wal.write([LogWrite(group, (entry(index, bytes(700)),), state, cut=index - 2)])


@pytest.mark.parametrize("call", ["sync", "create", "sync_directory"])
def test_what_a_restart_shows_outlives_a_power_cut(call: str) -> None:
    """500 processes killed between a write and its sync, opened again from the page cache, and then
    without power: what the restart showed is still there, since it may be acknowledged by then."""
    for seed in range(500):
        disk = CrashDisk()
        wal = Wal.open(disk, "wal", SMALL, random=SALTS)
        index = 1

        def kill(name: str) -> None:
            if name == call:
                raise Killed

        for index in range(1, 2 + seed % 9):
            wal.write([LogWrite(0, (entry(index),), HardState(index, 1, 0))])
        disk._before_call = kill
        with pytest.raises(Killed):
            _write_on(wal, 0, index + 1)
        disk._before_call = None
        again = Wal.open(disk, "wal", SMALL, random=SALTS).group(0)
        shown = again.last_index(), again.hard_state()
        after = Wal.open(disk.crash(Random(seed)), "wal", SMALL, random=SALTS)
        assert after.lost() == ()
        assert (after.group(0).last_index(), after.group(0).hard_state()) == shown


def test_a_disk_with_a_name_and_no_log_is_refused() -> None:
    """A node whose segments are gone has forgotten its votes: it does not start as if it were
    new."""
    disk = CrashDisk()
    wal = Wal.open(disk, "wal", SMALL, random=SALTS)
    wal.set_identity(NodeIdentity("c", 1, b"token"))
    wal.write([LogWrite(0, (entry(1),), HardState(5, 2, 0))])
    wal.close()
    for name in disk.list("wal"):
        if name.endswith(".wal"):
            disk.unlink(f"wal/{name}")
    with pytest.raises(WalDamaged, match="its log is gone"):
        Wal.open(disk, "wal", SMALL, random=SALTS)


def test_reads_are_right_while_another_thread_writes(quick_switches: None) -> None:
    """1,500 batches that append, cut and fill segments, while a thread reads: each read is right or
    says that the entries were cut."""
    disk = CrashDisk()
    wal = Wal.open(disk, "wal", SMALL, random=SALTS)
    wal.write([LogWrite(0, tuple(entry(index) for index in range(1, 40)))])
    log, done, reading = wal.group(0), threading.Event(), threading.Event()
    faults: list[BaseException] = []

    def read() -> None:
        while not done.is_set():
            low, last = log.first_index(), log.last_index()
            reading.set()
            try:
                found = log.entries(low, last + 1, 1 << 30)
                assert [each.index for each in found] == list(range(low, last + 1))
                assert log.term(last) == 1
            except Compacted:
                continue
            except (AssertionError, LookupError, WalDamaged) as fault:
                faults.append(fault)
                return

    reader = threading.Thread(target=read)
    reader.start()
    reading.wait()
    try:
        for index in range(40, 1540):
            wal.write([LogWrite(0, (entry(index),), cut=index - 30)])
    finally:
        done.set()
        reader.join()
    assert faults == []


def test_rot_met_while_writing_ends_the_log_and_is_told_by_the_next() -> None:
    """An old entry that must be written anew has rotted: the log takes nothing more, and the next
    start reports it, with all that was acknowledged of the other groups."""
    disk = CrashDisk()
    wal = Wal.open(disk, "wal", SMALL, random=SALTS)
    wal.write([LogWrite(0, (entry(1, b"slow" * 30),))])
    wal.write([LogWrite(1, tuple(entry(index, bytes(700)) for index in range(1, 8)), cut=6)])
    (name,) = disk.list("wal")
    disk.flip(f"wal/{name}", 8 * bytes(disk._files[f"wal/{name}"].data).index(b"slow"))
    with pytest.raises(WalDamaged, match="rotted"):
        _write_on(wal, 1, 8)
    last = wal.group(1).last_index()
    with pytest.raises(WalFailed):
        wal.write([LogWrite(1, (entry(last + 1),))])
    wal.close()
    again = Wal.open(disk, "wal", SMALL, random=SALTS)
    assert [(lost.group, lost.index) for lost in again.lost()] == [(0, 1)]
    assert again.group(1).last_index() == last


def test_no_batch_goes_beyond_its_segment() -> None:
    """Also where entries written anew have taken the room that was made for it."""
    disk = CrashDisk()
    wal = Wal.open(disk, "wal", SMALL, random=SALTS)
    wal.write([LogWrite(0, tuple(entry(index, bytes(900)) for index in range(1, 7)))])
    for index in range(1, 200):
        wal.write([LogWrite(1, (entry(index, bytes(3000)),), cut=max(0, index - 3))])
        assert wal._offset <= wal._room


def test_a_part_larger_than_the_cache_is_read_at_the_start() -> None:
    """A log whose every part is larger than what may stay in memory opens and reads back."""
    disk = CrashDisk()
    wal = Wal.open(disk, "wal", SMALL, random=SALTS)
    wal.write([LogWrite(0, (entry(1, bytes(20_000)),))])
    wal.close()
    again = Wal.open(disk, "wal", SMALL, random=SALTS)
    assert again.group(0).entries(1, 2, 1 << 30) == (entry(1, bytes(20_000)),)
