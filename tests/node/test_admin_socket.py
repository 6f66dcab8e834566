"""The admin socket of a running node: who may use it, and what abuse of it costs."""

import os
import resource
import socket
import stat
import subprocess
import sys
from collections.abc import Callable
from random import Random

import msgspec
import pytest
from node_clients import s3_of

from rs3gwd.base.admin import (
    REQUEST_BYTES_MAX,
    SOCKET_PATH,
    AccountCreate,
    AccountDelete,
    AccountList,
    AdminAnswer,
    AnyAdminRequest,
    BucketSetDurability,
    KeyCreate,
    KeyDelete,
    KeySetStatus,
    NodeStatus,
    decode_answer,
)
from rs3gwd.base.records import AccessKeyStatus, Durability
from rs3gwd.gateway.admin_server import CONNECTIONS_MAX
from rs3gwd.testing.node_process import NodeProcess

Start = Callable[..., NodeProcess]

REQUESTS: tuple[AnyAdminRequest, ...] = (
    AccountCreate("eve", "eve@example.org"),
    AccountList(),
    AccountDelete("eve"),
    KeyCreate("eve"),
    KeyDelete("EVE"),
    KeySetStatus("EVE", AccessKeyStatus.INACTIVE),
    BucketSetDurability("bucket", Durability.RELAXED),
    NodeStatus(),
)


def connect(node: NodeProcess) -> socket.socket:
    """A connection to the admin socket."""
    connection = socket.socket(socket.AF_UNIX)
    connection.settimeout(30)
    connection.connect(str(node.data / SOCKET_PATH))
    return connection


def ask(node: NodeProcess, payload: bytes) -> AdminAnswer | None:
    """The answer to a frame with this payload; None where the node closed instead."""
    with connect(node) as connection, connection.makefile("rb") as stream:
        try:
            connection.sendall(len(payload).to_bytes(4, "big") + payload)
            head = stream.read(4)
            return decode_answer(stream.read(int.from_bytes(head, "big"))) if head else None
        except (ConnectionResetError, BrokenPipeError):
            return None


def status(node: NodeProcess) -> dict[str, bool | int | float | str]:
    """The figures of the node."""
    answer = ask(node, msgspec.msgpack.encode(NodeStatus()))
    assert answer is not None
    assert not answer.error
    return answer.figures


def test_only_the_daemons_user_can_reach_the_socket(start_node: Start) -> None:
    """Mode 0600 in a folder of mode 0700, whatever umask the daemon was started with."""
    previous = os.umask(0)
    try:
        node = start_node()
    finally:
        os.umask(previous)
    path = node.data / SOCKET_PATH
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    for entry in node.data.rglob("*"):
        assert not entry.stat().st_mode & 0o077, f"{entry} is open to others"


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")
def test_another_user_is_refused_even_where_the_mode_would_let_them_in(start_node: Start) -> None:
    """The kernel says who is at the other end; a stranger's connection is closed unanswered."""
    node = start_node()
    path = node.data / SOCKET_PATH
    path.chmod(0o777)
    for folder in (path.parent, *path.parent.parents):
        if folder.stat().st_uid == os.geteuid() and folder != folder.parent:
            folder.chmod(folder.stat().st_mode | 0o011)
    asking = (
        "import os, socket, sys\n"
        "os.setgid(65534); os.setuid(65534)\n"
        "c = socket.socket(socket.AF_UNIX); c.settimeout(30); c.connect(sys.argv[1])\n"
        "try:\n"
        "    c.sendall(bytes.fromhex(sys.argv[2])); print(len(c.recv(100)))\n"
        "except OSError:\n"
        "    print(0)\n"
    )
    payload = msgspec.msgpack.encode(AccountList())
    frame = len(payload).to_bytes(4, "big") + payload
    done = subprocess.run(
        [sys.executable, "-c", asking, path, frame.hex()],
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    assert done.stdout.strip() == "0"
    assert status(node)["state"] == "running"


def test_no_frame_ends_the_node(start_node: Start) -> None:
    """Garbage, broken UTF-8, half and oversized frames cost their own connection and no more."""
    node = start_node()
    with connect(node) as half:
        half.sendall(b"\0\0")
    with connect(node) as half:
        half.sendall(b"\0\0\0\x10abc")
    assert ask(node, b"\xff" * 100).error == "InvalidRequest"  # type: ignore[union-attr]
    broken = b"\x82\xa4type\xadAccountCreate\xacdisplay_name\xa3\xed\xa0\x80"
    assert ask(node, broken).error == "InvalidRequest"  # type: ignore[union-attr]
    assert ask(node, b"x" * (REQUEST_BYTES_MAX + 1)) is None
    for request in (
        KeyDelete("k" * 60_000),
        BucketSetDurability("b" * 60_000, Durability.STRICT),
        AccountCreate("x", email="\U0001f600" * 120 + "@example.org"),
    ):
        answer = ask(node, msgspec.msgpack.encode(request))
        assert answer is not None
        assert answer.error
    random = Random(7)
    for _ in range(400):
        ask(node, _mutate(random, msgspec.msgpack.encode(random.choice(REQUESTS))))
    assert status(node)["state"] == "running"
    assert "Traceback" not in node.tail(1000)


def _mutate(random: Random, payload: bytes) -> bytes:
    data = bytearray(payload)
    for _ in range(random.randint(1, 4)):
        place = random.randrange(len(data) + 1)
        match random.randrange(3):
            case 0:
                data[place : place + 1] = random.randbytes(1)
            case 1:
                data.insert(place, random.randrange(256))
            case _:
                del data[place : place + 1]
    return bytes(data)


def test_connections_beyond_the_bound_wait_for_their_turn(start_node: Start) -> None:
    """Silent clients fill the places; when one leaves, the next is served."""
    node = start_node()
    silent = [connect(node) for _ in range(CONNECTIONS_MAX)]
    payload = msgspec.msgpack.encode(NodeStatus())
    with connect(node) as waiting:
        waiting.sendall(len(payload).to_bytes(4, "big") + payload)
        silent.pop().close()
        assert len(waiting.recv(4, socket.MSG_WAITALL)) == 4
    for connection in silent:
        connection.close()
    assert status(node)["state"] == "running"


def test_want_of_descriptors_is_a_pause_and_not_the_end(start_node: Start) -> None:
    """With no descriptor left neither the port nor the socket ends the node, and both come back."""
    node = start_node()
    s3_of(node).create_bucket(Bucket="before")
    for pid in node.pids:
        limit = len(os.listdir(f"/proc/{pid}/fd")) + 8
        resource.prlimit(pid, resource.RLIMIT_NOFILE, (limit, limit))
    held = [socket.create_connection(("127.0.0.1", node.port)) for _ in range(32)]
    admins = [connect(node) for _ in range(4)]
    held[0].sendall(f"GET /health/live HTTP/1.1\r\nHost: {node.host}\r\n\r\n".encode())
    assert held[0].recv(12) == b"HTTP/1.1 200"
    for connection in (*held, *admins):
        connection.close()
    assert status(node)["state"] == "running"
    assert s3_of(node).list_buckets()["Buckets"][0]["Name"] == "before"
