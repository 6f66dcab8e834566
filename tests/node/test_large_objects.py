"""A large body is never held whole: memory is bounded by a constant, whatever the size."""

import hashlib
import os
import socket
from collections.abc import Callable
from pathlib import Path

import pytest
from node_clients import s3_of

from rs3gwd.testing.node_process import ACCESS_KEY, REGION, SECRET_KEY, NodeProcess
from tools.rs3gw_bench.signing import SignedRequest, Target, sign

MIB = 1 << 20
BLOCK = 64 * MIB
BLOCKS = 80
"""80 blocks of 64 MiB are 5 GiB, the most that one PUT may carry."""

DATA_LIMIT = 384 * MIB
"""RLIMIT_DATA of the node: heap, stacks and private mappings, but not LMDB's shared map."""

PEAK_RESIDENT_MAX = 256 * MIB


def peak_resident_bytes(pid: int) -> int:
    """The most memory a process ever had resident, the file pages it maps included (proc(5))."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) * 1024
    raise AssertionError("no VmHWM in status")


def head_of(request: SignedRequest, length: int) -> bytes:
    """The request's head as bytes."""
    lines = [f"{request.method} {request.target} HTTP/1.1"]
    lines += [f"{name}: {value}" for name, value in request.headers.items()]
    return "\r\n".join([*lines, f"Content-Length: {length}", "", ""]).encode()


def receive_head(connection: socket.socket) -> tuple[bytes, bytes]:
    """The head of the answer, and what came behind it."""
    received = b""
    while b"\r\n\r\n" not in received:
        more = connection.recv(65536)
        assert more, f"the node closed the connection: {received!r}"
        received += more
    head, _, rest = received.partition(b"\r\n\r\n")
    return head, rest


@pytest.mark.timeout(300)
def test_five_gib_go_up_and_come_down_within_a_memory_limit(
    start_node: Callable[..., NodeProcess], tmp_path: Path
) -> None:
    """A PUT and a GET of 5 GiB work in a node that may not allocate a tenth of that."""
    free = os.statvfs(tmp_path)
    if free.f_bavail * free.f_frsize < 7 << 30:
        pytest.skip("needs 7 GiB of free disk")
    node = start_node(prefix=("prlimit", f"--data={DATA_LIMIT}"))
    s3_of(node).create_bucket(Bucket="large")
    target = Target(node.url, ACCESS_KEY, SECRET_KEY, REGION, "large")
    block = os.urandom(BLOCK)
    sent, came = hashlib.md5(usedforsecurity=False), hashlib.md5(usedforsecurity=False)
    with socket.create_connection(("127.0.0.1", node.port)) as connection:
        connection.sendall(head_of(sign(target, "PUT", "/large/object", None), BLOCKS * BLOCK))
        for number in range(BLOCKS):
            piece = number.to_bytes(8, "big") + block[8:]
            connection.sendall(piece)
            sent.update(piece)
        head, _ = receive_head(connection)
    assert head.startswith(b"HTTP/1.1 200 "), head
    assert f'"{sent.hexdigest()}"'.encode() in head
    with socket.create_connection(("127.0.0.1", node.port)) as connection:
        connection.sendall(head_of(sign(target, "GET", "/large/object", b""), 0))
        head, rest = receive_head(connection)
        assert head.startswith(b"HTTP/1.1 200 "), head
        came.update(rest)
        received, buffer = len(rest), bytearray(4 * MIB)
        while received < BLOCKS * BLOCK:
            count = connection.recv_into(buffer)
            assert count, "the answer ends early"
            came.update(memoryview(buffer)[:count])
            received += count
    assert came.digest() == sent.digest()
    assert peak_resident_bytes(node.pid) < PEAK_RESIDENT_MAX
