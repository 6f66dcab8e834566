"""rs3gwctl shows a real cluster, moves its leaders, and says in words what is wrong with it."""

from __future__ import annotations

import json
import socket
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import boto3
import pytest
from botocore.config import Config
from cluster_commands import command, ctl, remotely

from rs3gwd.base.cluster_admin import ClusterHealth, ClusterPicture, GroupPicture, NodePicture
from rs3gwd.testing.cluster_process import ClusterProcess
from rs3gwd.testing.node_process import ACCESS_KEY, REGION, SECRET_KEY, NodeProcess

HEALTHY_SECONDS_MAX = 30.0
"""For leaders, clocks and gossip to settle on a busy machine."""

pytestmark = pytest.mark.timeout(240)


def wait_until(
    node: NodeProcess, what: str, holds: Callable[[Any], bool], *, status: int = 0
) -> Any:
    """What a command shows once it `holds`. Raises AssertionError with what it shows instead."""
    deadline = time.monotonic() + HEALTHY_SECONDS_MAX
    while not holds(found := show(node, what, status=status)):
        assert time.monotonic() < deadline, found
        time.sleep(0.2)
    return found


def leaders_of(groups: Any) -> set[int]:
    """The nodes that lead one of the groups that are shown, 0 for a group without leader."""
    return {each["leader"] for each in groups}


def show(node: NodeProcess, what: str, *, status: int = 0) -> Any:
    """What a command of `rs3gwctl cluster` shows of a node, as values."""
    return json.loads(ctl(node.data, "cluster", what, status=status))


def in_words(node: NodeProcess, *arguments: str) -> tuple[int, str]:
    """The same as people see it, with its exit status."""
    words = [each for each in command(node.data, "cluster", *arguments) if each != "--json"]
    done = subprocess.run(words, capture_output=True, text=True, timeout=60, check=False)
    return done.returncode, done.stdout + done.stderr


def wrong_in(picture: Any) -> list[str]:
    """The codes of what is wrong, a disk with little room left out: it is the machine's."""
    return [each["code"] for each in picture["findings"] if each["code"] != "disk_scarce"]


def health_of(node: NodeProcess) -> tuple[Any, int]:
    """What `cluster health` says, and its status, which is 0 for a healthy cluster alone."""
    words = command(node.data, "cluster", "health")
    done = subprocess.run(words, capture_output=True, text=True, timeout=60, check=False)
    health = json.loads(done.stdout)
    assert done.returncode == (0 if health["health"] == "healthy" else 1)
    return health, done.returncode


def wait_healthy(node: NodeProcess) -> int:
    """Until nothing is wrong but perhaps with the machine's disk; the status of commands then.

    Raises AssertionError with what is wrong.
    """
    deadline = time.monotonic() + HEALTHY_SECONDS_MAX
    while True:
        health, status = health_of(node)
        if not wrong_in(health):
            return status
        assert time.monotonic() < deadline, health
        time.sleep(0.2)


def test_every_node_shows_the_same_healthy_cluster(cluster: ClusterProcess) -> None:
    """Nodes with zone, version and addresses; groups with a leader, three voters and no lag."""
    one, two, three = cluster.nodes.values()
    healthy = wait_healthy(one)
    for node in (one, two, three):
        picture = show(node, "status", status=healthy)
        assert set(picture) == set(ClusterPicture.__struct_fields__)
        assert wrong_in(picture) == []
        assert (picture["health"] == "healthy") == (healthy == 0)
        assert [each["node"] for each in picture["nodes"]] == [1, 2, 3]
        for each in picture["nodes"]:
            assert set(each) == set(NodePicture.__struct_fields__)
            assert (each["state"], each["answered"], each["blobs_missing"]) == ("alive", True, 0)
            assert each["capacity_bytes"] > each["free_bytes"] > 0
            assert each["clock_proved"]
        assert [each["group"] for each in picture["groups"]] == list(range(9))
        for each in picture["groups"]:
            assert set(each) == set(GroupPicture.__struct_fields__)
            assert each["leader"] in (1, 2, 3)
            assert (each["voters_up"], each["quorum"], each["has_quorum"]) == (3, 2, True)
        assert sum(each["leads"] for each in picture["nodes"]) == 9
    assert set(show(one, "health", status=healthy)) == set(ClusterHealth.__struct_fields__)
    status, said = in_words(two, "status")
    assert status == healthy
    assert f"is {picture['health']}, as node 2 sees it" in said
    assert "GROUP" in said
    assert "writes  go on" in said


def test_a_leader_is_moved_and_what_cannot_be_is_refused(cluster: ClusterProcess) -> None:
    """From a node that leads neither before nor after, for a while: leaders even out again. 1 for a
    refusal, 2 for a wrong word."""
    one = cluster.nodes[1]
    wait_healthy(one)
    before = show(one, "groups")[1]
    leader = before["leader"]
    target, asked = (node for node in cluster.nodes if node != leader)
    moved = ctl(cluster.nodes[asked].data, "cluster", "transfer-leader", "1", str(target))
    assert json.loads(moved) == {"group": 1, "leader": target}
    assert show(cluster.nodes[target], "groups")[1]["term"] > before["term"]
    assert "NoSuchGroup" in ctl(one.data, "cluster", "transfer-leader", "77", "1", status=1)
    assert "NotAVoter" in ctl(one.data, "cluster", "transfer-leader", "1", "9", status=1)
    ctl(one.data, "cluster", "transfer-leader", "1", "no", status=2)


def test_the_same_is_asked_over_the_network(cluster: ClusterProcess) -> None:
    """Signed with the root account's key, through any node; a wrong secret, commands that work on a
    data directory, and an address where nobody is end with 2."""
    healthy = wait_healthy(cluster.nodes[1])
    for node in cluster.nodes.values():
        said, _ = remotely(node.url, "cluster", "health", status=healthy)
        assert wrong_in(json.loads(said)) == []
    said, _ = remotely(cluster.nodes[2].url, "cluster", "transfer-leader", "1", "2")
    assert json.loads(said) == {"group": 1, "leader": 2}
    url = cluster.nodes[1].url
    _, why = remotely(url, "cluster", "transfer-leader", "77", "1", status=1)
    assert "NoSuchGroup" in why
    _, why = remotely(url, "cluster", "status", secret="wrong", status=2)
    assert "SignatureDoesNotMatch" in why
    for words in (("account", "list"), ("cluster", "init")):
        remotely(url, *words, status=2)
    remotely("http://127.0.0.1:1", "cluster", "health", status=2)


def test_where_no_cluster_runs_the_status_is_2(tmp_path: Path) -> None:
    """No store, a single node's daemon, and its store without a daemon."""
    assert "holds no rs3gwd store" in ctl(tmp_path / "none", "cluster", "health", status=2)
    node = NodeProcess(tmp_path / "data")
    node.start()
    try:
        assert "NotACluster" in ctl(node.data, "cluster", "status", status=2)
        assert "NotACluster" in remotely(node.url, "cluster", "status", status=2)[1]
    finally:
        node.stop()
    assert "NotACluster" in ctl(node.data, "cluster", "nodes", status=2)


def begin_put(node: NodeProcess, size: int) -> socket.socket:
    """An upload of so many bytes through a node, of which the head and one byte are sent."""
    client = boto3.client(
        "s3",
        endpoint_url=node.url,
        region_name=REGION,
        aws_access_key_id=ACCESS_KEY,
        aws_secret_access_key=SECRET_KEY,
        config=Config(signature_version="s3v4", s3={"addressing_style": "path"}),
    )
    client.create_bucket(Bucket="bucket")
    url = client.generate_presigned_url("put_object", {"Bucket": "bucket", "Key": "k"})
    target = url.removeprefix(node.url)
    connection = socket.create_connection(("127.0.0.1", node.port), timeout=60)
    head = f"PUT {target} HTTP/1.1\r\nHost: {node.host}\r\nContent-Length: {size}\r\n\r\n"
    connection.sendall(head.encode() + b"x")
    return connection


def test_a_node_hands_over_what_it_leads_while_it_drains(own_cluster: ClusterProcess) -> None:
    """SIGTERM in the middle of an upload: others lead every group while the node still runs, and
    the upload ends well. Then health says that a node was stopped and what that means; without a
    second one it says that nothing goes on."""
    wait_healthy(own_cluster.nodes[1])
    leaders = wait_until(own_cluster.nodes[1], "groups", lambda each: len(leaders_of(each)) == 1)
    number = min(leaders_of(leaders))
    stopped = own_cluster.nodes[number]
    stays, last = (own_cluster.nodes[each] for each in (1, 2, 3) if each != number)
    with begin_put(stopped, 70_000) as upload:
        stopped.ask_to_stop()
        wait_until(stays, "groups", lambda each: leaders_of(each) <= {1, 2, 3} - {number})
        assert show(stays, "nodes")[number - 1]["answered"]
        upload.sendall(b"x" * 69_999)
        assert upload.recv(12) == b"HTTP/1.1 200"
    assert stopped.wait_exit() == 0
    picture = show(stays, "status", status=1)
    assert picture["health"] == "degraded"
    assert wrong_in(picture) == ["node_down"]
    status, said = in_words(stays, "health")
    assert status == 1
    assert f"warning: node {number}: It was stopped." in said
    assert "no further node may fail" in said
    last.kill()
    found = wait_until(stays, "health", lambda each: "no_majority" in wrong_in(each), status=1)
    assert found["health"] == "critical"
    assert found["writes"].startswith("refused (503)")
