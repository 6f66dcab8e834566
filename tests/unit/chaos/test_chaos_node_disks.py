"""The disk of a node that can be full, fail, and forget what was not synced."""

from __future__ import annotations

import errno
import os
import random
import subprocess
import sys
from pathlib import Path

import pytest

from chaos.nemeses import BITES, DISK_FAULTS, FAULTS, SCENARIOS, toothless
from chaos.node_disks import Denials, DiskState, NodeDisk, build_shims, read_folder, restore
from chaos.trace import NoCompiler

SYNCED = """
import os
descriptor = os.open(ROOT + "/file", os.O_RDWR | os.O_CREAT)
os.pwrite(descriptor, b"kept" * 1000, 0)
os.fdatasync(descriptor)
directory = os.open(ROOT, os.O_RDONLY | os.O_DIRECTORY)
os.fsync(directory)
os.pwrite(descriptor, b"lost" * 1000, 0)
os.kill(os.getpid(), 9)
"""

DENIED = """
import os, sys
def failure(call, *arguments):
    try:
        call(*arguments)
    except OSError as error:
        return error.errno
    return 0
descriptor = os.open(ROOT + "/file", os.O_RDWR)
elsewhere = os.open(ROOT + "-beside", os.O_RDWR | os.O_CREAT)
print(
    failure(os.pwrite, descriptor, b"inside", 0),
    failure(os.writev, descriptor, [b"in", b"side"]),
    failure(os.pwrite, descriptor, b"behind", 8192),
    failure(os.posix_fallocate, descriptor, 0, 1 << 20),
    failure(os.fdatasync, descriptor),
    failure(os.pwrite, elsewhere, b"elsewhere", 0),
    failure(os.fdatasync, elsewhere),
    os.statvfs(ROOT).f_bavail == 0,
    os.pread(descriptor, 4, 0) != b"",
)
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """The folder of a node."""
    path = tmp_path / "node1"
    path.mkdir()
    return path


@pytest.fixture
def disk(tmp_path: Path, folder: Path) -> NodeDisk:
    """Its disk; skipped where there is no compiler."""
    try:
        return NodeDisk(folder, build_shims(tmp_path))
    except NoCompiler as error:
        pytest.skip(str(error))


def run(disk: NodeDisk, folder: Path, program: str) -> str:
    """Runs a program as the life of a node; what it said."""
    libraries = ":".join(map(str, disk.libraries))
    environ = {**os.environ, **disk.begin_life(), "LD_PRELOAD": libraries}
    command = [sys.executable, "-c", f"ROOT = {str(folder)!r}\n{program}"]
    done = subprocess.run(command, env=environ, capture_output=True, text=True, check=False)
    assert done.returncode in (0, -9), done.stderr
    return done.stdout.strip()


@pytest.mark.parametrize(
    ("state", "said", "denials"),
    [
        (DiskState.WELL, (0, 0, 0, 0, 0, 0, 0, False, True), Denials(0, 0, 0)),
        (
            DiskState.NO_GROWTH,
            (0, 0, errno.ENOSPC, errno.ENOSPC, 0, 0, 0, True, True),
            Denials(2, 0, 1),
        ),
        (
            DiskState.NO_ROOM,
            (*[errno.ENOSPC] * 4, 0, 0, 0, True, True),
            Denials(4, 0, 1),
        ),
        (
            DiskState.NO_WRITES,
            (*[errno.EIO] * 5, 0, 0, False, True),
            Denials(4, 1, 0),
        ),
        (DiskState.NO_SYNCS, (0, 0, 0, 0, errno.EIO, 0, 0, False, True), Denials(0, 1, 0)),
    ],
)
def test_a_disk_fails_as_it_is_told(
    disk: NodeDisk, folder: Path, state: DiskState, said: tuple[object, ...], denials: Denials
) -> None:
    """Below the folder and nowhere else, by the right error, counted; reads go on."""
    (folder / "file").write_bytes(bytes(4096))
    disk.set(state)
    assert run(disk, folder, DENIED) == " ".join(map(str, said))
    assert disk.denials() == denials


def test_a_power_cut_loses_what_was_not_synced_and_nothing_else(
    disk: NodeDisk, folder: Path
) -> None:
    """Of the write behind the sync any part may be there, and over some cuts not all of it."""
    kept, lost = b"kept" * 1000, b"lost" * 1000
    left = set()
    for seed in range(12):
        run(disk, folder, SYNCED)
        assert (folder / "file").read_bytes() == lost
        loss = disk.lose_power(random.Random(seed))
        assert loss.pending == 1
        content = (folder / "file").read_bytes()
        assert loss.changed == (content != lost)
        assert all(piece in (b"kept", b"lost") for piece in _fours(content))
        left.add(content)
    assert {kept, lost} < left


def test_a_node_that_skips_its_syncs_is_caught(tmp_path: Path, folder: Path) -> None:
    """The control: a forgotten sync takes what it should have kept with it."""
    try:
        disk = NodeDisk(folder, build_shims(tmp_path), forget="file")
    except NoCompiler as error:
        pytest.skip(str(error))
    run(disk, folder, SYNCED)
    disk.lose_power(random.Random(0))
    before = (folder / "file").read_bytes()
    found = set()
    for seed in range(12):
        (folder / "file").write_bytes(before)
        run(disk, folder, SYNCED.replace("kept", "next"))
        disk.lose_power(random.Random(seed))
        found.add((folder / "file").read_bytes())
    assert before in found


def test_what_was_folded_is_not_lost(disk: NodeDisk, folder: Path) -> None:
    """A record taken into the model before the cut counts as one that is read at it."""
    run(disk, folder, SYNCED)
    disk.fold()
    disk.fold()
    assert disk.lose_power(random.Random(0)).pending == 1


def test_a_folder_is_made_what_it_is_told_to_be(folder: Path) -> None:
    """Files change in place and keep who may read them, further ones go, missing ones come."""
    (folder / "a").write_bytes(b"old")
    (folder / "a").chmod(0o640)
    (folder / "gone").mkdir()
    (folder / "gone" / "b").write_bytes(b"too")
    content = bytes(4096) + b"x" + bytes(9000)
    left = {"a": b"new", "fresh": None, "fresh/c": content}
    assert restore(folder, left) == (2, 2)
    assert read_folder(folder) == left
    assert (folder / "a").stat().st_mode & 0o777 == 0o640
    assert restore(folder, left) == (0, 0)


def test_a_fault_that_did_nothing_all_run_long_is_named() -> None:
    """Faults that cannot miss are left out, and so are those that never came."""
    bites = {
        "full-disk": {"told full": 7, "PUT 507": 3, "GET 200": 0},
        "power-cut": {"writes not synced": 1},
        "no-room": {"calls denied": 0},
        "kill": {},
    }
    assert toothless(bites) == ["full-disk: no GET 200", "no-room: no calls denied"]
    ended = {"no-room": {"calls denied": 3, "daemon ended": 2}}
    assert toothless(ended) == ["no-room: daemon ended 2 times"]


def test_every_fault_of_disks_counts_and_is_part_of_everything() -> None:
    """And each has a scenario of its name."""
    assert set(DISK_FAULTS) <= set(BITES) <= set(FAULTS)
    assert set(DISK_FAULTS) <= set(FAULTS) & set(SCENARIOS["everything"]) & set(SCENARIOS)


def _fours(content: bytes) -> list[bytes]:
    return [content[start : start + 4] for start in range(0, len(content), 4)]
