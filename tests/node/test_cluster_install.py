"""Three daemons, made nodes by `rs3gwctl cluster init | invite | join` alone, are one store."""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from cluster_commands import ctl, let_in
from node_clients import s3_of

from rs3gwd.testing.local_cluster import free_ports
from rs3gwd.testing.node_process import NodeProcess

JOINED_SECONDS_MAX = 60.0
MASTER_KEY = "5d" * 31 + "01"


class Site:
    """Some machines, each with a folder and an address where the others reach it."""

    def __init__(self, folder: Path, count: int) -> None:
        self.ports = free_ports(count)
        self.nodes = {
            number: NodeProcess(folder / f"machine{number}", environ=self._settings(count))
            for number in range(1, count + 1)
        }

    def _settings(self, count: int) -> dict[str, str]:
        seeds = [f"{n}@127.0.0.1:{port}" for n, port in enumerate(self.ports, start=1)]
        return {
            "RS3GW_CLUSTER_ENABLED": "true",
            "RS3GW_CLUSTER_SEED_NODES": ",".join(seeds),
            "RS3GW_MASTER_KEY_SOURCE": "environment",
            "RS3GW_MASTER_KEY": MASTER_KEY,
        }

    def groups(self, number: int) -> list[dict[str, Any]]:
        """The groups as a node sees them."""
        found: list[dict[str, Any]] = json.loads(ctl(self.nodes[number].data, "cluster", "groups"))
        return found

    def wait_voters(self, number: int, voters: set[int]) -> None:
        """Returns once these and nobody else belong to every group, and vote."""
        deadline = time.monotonic() + JOINED_SECONDS_MAX
        while True:
            groups = self.groups(number)
            found = [
                {each["node"]: each["is_voter"] for each in group["members"]} for group in groups
            ]
            if all(members == dict.fromkeys(voters, True) for members in found):
                return
            assert time.monotonic() < deadline, groups
            time.sleep(0.2)

    def make_nodes(self) -> None:
        """Gives each machine its certificate."""
        ctl(self.nodes[1].data, "cluster", "init")
        for number, node in self.nodes.items():
            if number > 1:
                assert let_in(self.nodes[1].data, node.data) == number

    def start(self) -> None:
        """Starts all daemons; returns once each is ready."""
        for node in self.nodes.values():
            node.start(wait=False)
        for node in self.nodes.values():
            node.wait_ready()


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    made = Site(tmp_path, 3)
    yield made
    for node in made.nodes.values():
        node.end_if_running()


def test_nodes_made_by_the_commands_serve_one_store(site: Site) -> None:
    """What is written through one is read and listed through each, large or small; restarts too."""
    site.make_nodes()
    site.start()
    clients = {number: s3_of(node) for number, node in site.nodes.items()}
    clients[1].create_bucket(Bucket="bucket")
    for number, client in clients.items():
        client.put_object(Bucket="bucket", Key=f"small{number}", Body=b"%d" % number)
        client.put_object(Bucket="bucket", Key=f"large{number}", Body=b"%d" % number * 300_000)
    for client in clients.values():
        listed = client.list_objects_v2(Bucket="bucket")["Contents"]
        assert len(listed) == 6
        for number in clients:
            got = client.get_object(Bucket="bucket", Key=f"large{number}")["Body"].read()
            assert got == b"%d" % number * 300_000
    for node in site.nodes.values():
        node.stop()
    site.start()
    assert s3_of(site.nodes[3]).get_object(Bucket="bucket", Key="small1")["Body"].read() == b"1"


def test_an_empty_disk_does_not_come_back_under_its_number(site: Site) -> None:
    """A node whose log is gone refuses to start: it would vote and acknowledge a second time."""
    site.make_nodes()
    node = site.nodes[3]
    site.start()
    site.wait_voters(1, {1, 2, 3})
    node.stop()
    for entry in node.data.iterdir():
        if entry.name != "cluster":
            shutil.rmtree(entry) if entry.is_dir() else entry.unlink()
    node.start(wait=False)
    assert node.wait_exit() == 1
    assert "node 3 has started before, and its disk is empty now" in node.tail()
    assert s3_of(site.nodes[1]).create_bucket(Bucket="bucket")


@pytest.mark.long
def test_a_single_node_with_data_grows_into_a_cluster_and_shrinks(site: Site) -> None:
    """Its objects stay where they are; two more join while it serves, get copies, and serve without
    it; a node that is removed is refused, and none is whose loss would stop the others."""
    one = site.nodes[1]
    alone = NodeProcess(
        one.data, environ={"RS3GW_MASTER_KEY_SOURCE": "environment", "RS3GW_MASTER_KEY": MASTER_KEY}
    )
    with alone:
        client = s3_of(alone)
        client.create_bucket(Bucket="bucket")
        client.put_object(Bucket="bucket", Key="small", Body=b"here before")
        client.put_object(Bucket="bucket", Key="large", Body=b"large" * 100_000)
    ctl(one.data, "cluster", "init")
    one.start()
    for number in (2, 3):
        assert let_in(one.data, site.nodes[number].data) == number
        s3_of(one).put_object(Bucket="bucket", Key=f"while {number} comes", Body=b"x")
        site.nodes[number].start()
        site.wait_voters(1, set(range(1, number + 1)))
    three = s3_of(site.nodes[3])
    assert three.get_object(Bucket="bucket", Key="small")["Body"].read() == b"here before"
    site.nodes[2].stop()
    ctl(one.data, "cluster", "remove", "1", status=1)
    ctl(one.data, "cluster", "remove", "9", status=1)
    assert "seem alive" in ctl(one.data, "cluster", "remove", "3", status=1)
    site.nodes[2].start()
    site.wait_voters(1, {1, 2, 3})
    ctl(one.data, "cluster", "remove", "3")
    site.wait_voters(2, {1, 2})
    site.nodes[3].stop()
    s3_of(site.nodes[2]).put_object(Bucket="bucket", Key="after", Body=b"y")
    assert s3_of(one).get_object(Bucket="bucket", Key="large")["Body"].read() == b"large" * 100_000
    site.nodes[3].start(wait=False)
    with pytest.raises(AssertionError):
        site.nodes[3].wait_ready(8.0)
    assert {1, 2} == {each["node"] for group in site.groups(2) for each in group["members"]}
