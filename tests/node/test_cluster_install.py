"""Three daemons, made nodes by `rs3gwctl cluster init | invite | join` alone, are one store."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from cluster_commands import ctl, let_in
from node_clients import s3_of

from rs3gwd.testing.local_cluster import free_ports
from rs3gwd.testing.node_process import NodeProcess

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
    node.stop()
    for entry in node.data.iterdir():
        if entry.name != "cluster":
            shutil.rmtree(entry) if entry.is_dir() else entry.unlink()
    node.start(wait=False)
    assert node.wait_exit() == 1
    assert "node 3 has started before, and its disk is empty now" in node.tail()
    assert s3_of(site.nodes[1]).create_bucket(Bucket="bucket")
