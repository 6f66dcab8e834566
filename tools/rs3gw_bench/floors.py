"""What the machine itself does: the floors that every figure is compared to, in the same run."""

import hashlib
import mmap
import os
import socket
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import lmdb

MIB = 1 << 20


def speed_of(work: Callable[[], object], amount: float, *, seconds: float = 0.6) -> float:
    """`amount` per second: the best of the rounds that fit in `seconds`, at least three."""
    best, begun, rounds = float("inf"), time.perf_counter(), 0
    while rounds < 3 or time.perf_counter() - begun < seconds:
        start = time.perf_counter()
        work()
        best = min(best, time.perf_counter() - start)
        rounds += 1
    return amount / best


def md5_speed() -> float:
    """MD5 in bytes per second, one thread."""
    return _hash_speed(lambda: hashlib.md5(usedforsecurity=False))


def sha256_speed() -> float:
    """SHA-256 in bytes per second, one thread."""
    return _hash_speed(hashlib.sha256)


def _hash_speed(make: Callable[[], Any]) -> float:
    block = os.urandom(16 * MIB)
    return speed_of(lambda: make().update(block), len(block))


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


def sync_seconds(folder: Path) -> float:
    """Median seconds of a 4 KiB append and fdatasync to a preallocated file."""
    path, times = folder / "floor.sync", []
    descriptor = os.open(path, os.O_CREAT | os.O_RDWR)
    try:
        os.posix_fallocate(descriptor, 0, 4 * MIB)
        os.fsync(descriptor)
        for number in range(200):
            start = time.perf_counter()
            os.pwrite(descriptor, bytes(4096), number * 4096)
            os.fdatasync(descriptor)
            times.append(time.perf_counter() - start)
    finally:
        os.close(descriptor)
        path.unlink()
    return sorted(times)[len(times) // 2]


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
