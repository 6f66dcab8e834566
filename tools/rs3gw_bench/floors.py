"""What the machine itself does: the floors that every figure is compared to, in the same run."""

import hashlib
import mmap
import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import lmdb
from awscrt import checksums

MIB = 1 << 20
GROUP = 64
"""Appends in a group commit: as many as connections in the busiest workload."""


def speed_of(work: Callable[[], object], amount: float, *, seconds: float = 0.3) -> float:
    """`amount` per second: the best of the rounds that fit in `seconds`, at least three."""
    best, begun, rounds = float("inf"), time.perf_counter(), 0
    while rounds < 3 or time.perf_counter() - begun < seconds:
        start = time.perf_counter()
        work()
        best = min(best, time.perf_counter() - start)
        rounds += 1
    return amount / best


def hash_speeds() -> dict[str, float]:
    """Bytes per second of each hash and checksum that S3 asks for, one thread."""
    block = os.urandom(16 * MIB)
    works: dict[str, Callable[[], object]] = {
        "md5": lambda: _hash(hashlib.md5(usedforsecurity=False), block),
        "sha256": lambda: _hash(hashlib.sha256(), block),
        "crc32c": lambda: checksums.crc32c(block),
        "crc64nvme": lambda: checksums.crc64nvme(block),
    }
    return {f"{name}_bps": speed_of(work, len(block)) for name, work in works.items()}


def md5_speed() -> float:
    """MD5 in bytes per second, one thread: the floor of a PUT of a large body."""
    block = os.urandom(16 * MIB)
    return speed_of(lambda: _hash(hashlib.md5(usedforsecurity=False), block), len(block))


def _hash(state: Any, block: bytes) -> bytes:
    state.update(block)
    digest: bytes = state.digest()
    return digest


def copy_speed() -> float:
    """memcpy in bytes per second, between buffers larger than the caches."""
    source, target = mmap.mmap(-1, 64 * MIB), mmap.mmap(-1, 64 * MIB)
    source.write(os.urandom(64 * MIB))
    view = memoryview(target)

    def copy() -> None:
        view[:] = memoryview(source)

    return speed_of(copy, 64 * MIB)


def loopback_speed() -> float:
    """Bytes per second from one blocking thread to another over a loopback socket."""
    total = 256 * MIB
    with socket.create_server(("127.0.0.1", 0)) as server:
        sender = threading.Thread(target=_send, args=(server.getsockname()[1], total))
        sender.start()
        peer, _ = server.accept()
        buffer, received, start = bytearray(MIB), 0, time.perf_counter()
        with peer:
            while received < total:
                received += peer.recv_into(buffer)
        elapsed = time.perf_counter() - start
        sender.join()
    return total / elapsed


def _send(port: int, total: int) -> None:
    block = bytes(MIB)
    with socket.create_connection(("127.0.0.1", port)) as connection:
        for _ in range(total // MIB):
            connection.sendall(block)


def sync_seconds(folder: Path, *, appends: int = 1, rounds: int = 100) -> float:
    """Median seconds of `appends` of 4 KiB and one fdatasync, in a preallocated file."""
    path, times, block = folder / "floor.sync", [], bytes(4096)
    descriptor = os.open(path, os.O_CREAT | os.O_RDWR)
    try:
        os.posix_fallocate(descriptor, 0, rounds * appends * len(block))
        os.fsync(descriptor)
        for number in range(rounds):
            start = time.perf_counter()
            for append in range(appends):
                os.pwrite(descriptor, block, (number * appends + append) * len(block))
            os.fdatasync(descriptor)
            times.append(time.perf_counter() - start)
    finally:
        os.close(descriptor)
        path.unlink()
    return sorted(times)[len(times) // 2]


def disk_speed(folder: Path) -> float:
    """Bytes per second of 64 MiB written and synced to a new file."""
    path, block, total = folder / "floor.disk", os.urandom(MIB), 64 * MIB
    descriptor = os.open(path, os.O_CREAT | os.O_WRONLY)
    try:
        start = time.perf_counter()
        for _ in range(total // MIB):
            os.write(descriptor, block)
        os.fdatasync(descriptor)
        return total / (time.perf_counter() - start)
    finally:
        os.close(descriptor)
        path.unlink()


def commit_seconds(folder: Path) -> float:
    """Median seconds of one synced LMDB commit of one 300-byte row."""
    times = []
    with lmdb.open(str(folder / "floor.lmdb"), map_size=64 * MIB) as environment:
        for number in range(200):
            start = time.perf_counter()
            with environment.begin(write=True) as transaction:
                transaction.put(number.to_bytes(8, "big"), bytes(300))
            times.append(time.perf_counter() - start)
    return sorted(times)[len(times) // 2]


@contextmanager
def responder(prefix: Sequence[str], program: Path | None = None) -> Iterator[tuple[int, int]]:
    """Port and process id of a bare responder: ours on trio and httptools, or `program`."""
    command = [str(program)] if program else [sys.executable, "-m", "tools.rs3gw_bench.responder"]
    with subprocess.Popen([*prefix, *command], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            yield int(process.stdout.readline()), process.pid
        finally:
            process.kill()
