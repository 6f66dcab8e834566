"""How a node starts for the first time, and how it ends."""

import json
import os
import socket
import stat
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from botocore.exceptions import ClientError
from node_clients import s3_of

from rs3gwd.testing.node_process import ACCESS_KEY, REGION, SECRET_KEY, NodeProcess
from tools.rs3gw_bench.signing import Target, sign

RANDOM_KEYS = {"RS3GW_ACCESS_KEY": "", "RS3GW_SECRET_KEY": ""}

Start = Callable[..., NodeProcess]


def test_the_first_start_makes_a_root_key_shows_it_once_and_keeps_it_private(
    start_node: Start,
) -> None:
    """Random keys are printed at the first start only, kept with mode 0600, and work."""
    node = start_node(environ=RANDOM_KEYS)
    kept = node.data / "root-credentials.json"
    assert stat.S_IMODE(kept.stat().st_mode) == 0o600
    credentials = json.loads(kept.read_text())
    key, secret = credentials["access_key_id"], credentials["secret_access_key"]
    shown = _log_once_it_says(node, f"export AWS_SECRET_ACCESS_KEY={secret}")
    assert f"aws --endpoint-url {node.url}" in shown
    assert s3_of(node, key, secret).list_buckets()["Owner"]["ID"] == credentials["canonical_id"]
    node.stop()
    node.start()
    assert s3_of(node, key, secret).list_buckets()["Buckets"] == []
    assert node.log.read_text().count(secret) == 1


def test_two_first_starts_have_different_keys(start_node: Start, tmp_path: Path) -> None:
    """There is no default credential."""
    keys = set()
    for name in ("one", "two"):
        node = start_node(data=tmp_path / name, environ=RANDOM_KEYS)
        keys.add((node.data / "root-credentials.json").read_text())
    assert len(keys) == 2


def test_a_second_daemon_on_the_same_data_is_refused(start_node: Start) -> None:
    """The data directory belongs to one daemon at a time, and the other says so and ends."""
    node = start_node()
    other = NodeProcess(node.data)
    other.log = node.log.with_name("other.log")
    other.start(wait=False)
    assert other.wait_exit() == 1
    assert "is in use" in other.tail()


def test_sigterm_lets_an_accepted_request_finish(start_node: Start) -> None:
    """A PUT whose head was received before SIGTERM is answered 200, and its object is there."""
    node = start_node()
    s3_of(node).create_bucket(Bucket="drain")
    body = os.urandom(3 << 20)
    request = sign(
        Target(node.url, ACCESS_KEY, SECRET_KEY, REGION, "drain"), "PUT", "/drain/k", None
    )
    lines = [f"PUT {request.target} HTTP/1.1", *(f"{k}: {v}" for k, v in request.headers.items())]
    with socket.create_connection(("127.0.0.1", node.port)) as connection:
        connection.sendall("\r\n".join([*lines, f"Content-Length: {len(body)}", "", ""]).encode())
        connection.sendall(body[: 1 << 20])
        stopping = threading.Thread(target=node.stop)
        stopping.start()
        wait_refused(node.port)
        connection.sendall(body[1 << 20 :])
        answer = connection.recv(65536)
    stopping.join()
    assert answer.startswith(b"HTTP/1.1 200 "), answer
    assert b"connection: close" in answer.lower()
    node.start()
    assert s3_of(node).get_object(Bucket="drain", Key="k")["Body"].read() == body


def wait_refused(port: int) -> None:
    """Returns once nobody listens on the port."""
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)):
                return
        time.sleep(0.01)
    raise AssertionError("the node goes on listening after SIGTERM")


def test_no_secret_is_ever_logged(start_node: Start) -> None:
    """At the most talkative level, neither secrets nor signatures reach the log."""
    node = start_node(environ={"RS3GW_LOG_LEVEL": "debug"})
    s3 = s3_of(node)
    s3.create_bucket(Bucket="logged")
    s3.put_object(Bucket="logged", Key="k", Body=b"x")
    url = s3.generate_presigned_url("get_object", Params={"Bucket": "logged", "Key": "k"})
    with socket.create_connection(("127.0.0.1", node.port)) as connection:
        target = url.removeprefix(node.url)
        connection.sendall(f"GET {target} HTTP/1.1\r\nHost: {node.host}\r\n\r\n".encode())
        assert connection.recv(100).startswith(b"HTTP/1.1 200 ")
    with pytest.raises(ClientError):
        s3_of(node, secret_key="some-other-secret-0123456789").list_buckets()
    node.stop()
    log = node.log.read_text()
    signature = url.partition("Signature=")[2].partition("&")[0]
    assert "logged" in log, "there is no access log to look at"
    for secret in (SECRET_KEY, "some-other-secret-0123456789", signature):
        assert secret not in log


def test_health_and_metrics_answer_on_the_same_port(start_node: Start) -> None:
    """The probes are open; metrics ask for the token that lies in the data directory."""
    node = start_node()
    assert ask(node, "/health/live")[0] == 200
    assert ask(node, "/health/ready")[0] == 200
    assert ask(node, "/metrics")[0] == 401
    token = (node.data / "metrics.token").read_text()
    s3_of(node).create_bucket(Bucket="counted")
    status, body = ask(node, "/metrics", f"Authorization: Bearer {token}\r\n")
    assert status == 200
    assert b'rs3gw_requests_total{operation="CreateBucket"' in body


def ask(node: NodeProcess, path: str, headers: str = "") -> tuple[int, bytes]:
    """Status and all bytes of the answer to a GET without any SDK."""
    with socket.create_connection(("127.0.0.1", node.port)) as connection:
        request = f"GET {path} HTTP/1.1\r\nHost: {node.host}\r\n{headers}Connection: close\r\n\r\n"
        connection.sendall(request.encode())
        received = b""
        while more := connection.recv(65536):
            received += more
    return int(received.split()[1]), received


def _log_once_it_says(node: NodeProcess, text: str) -> str:
    """The log with `text`, which is written a moment after the node answers that it is ready."""
    deadline = time.monotonic() + 10
    while text not in (log := node.log.read_text()):
        assert time.monotonic() < deadline, log
        time.sleep(0.01)
    return log
