"""Three daemons, made nodes by `rs3gwctl cluster init | invite | join` alone, are one store."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from cluster_commands import ctl, let_in
from cluster_site import MASTER_KEY, Site
from node_clients import s3_of

from rs3gwd.testing.node_process import NodeProcess


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
    assert "--copies 2" in ctl(one.data, "cluster", "remove", "3", status=1)
    ctl(one.data, "cluster", "remove", "3", "--copies", "2")
    site.wait_voters(2, {1, 2})
    site.nodes[3].stop()
    s3_of(site.nodes[2]).put_object(Bucket="bucket", Key="after", Body=b"y")
    assert s3_of(one).get_object(Bucket="bucket", Key="large")["Body"].read() == b"large" * 100_000
    site.nodes[3].start(wait=False)
    with pytest.raises(AssertionError):
        site.nodes[3].wait_ready(8.0)
    assert {1, 2} == {each["node"] for group in site.groups(2) for each in group["members"]}


@pytest.mark.long
def test_when_the_first_node_is_lost_another_lets_nodes_in(site: Site, tmp_path: Path) -> None:
    """With a sealed copy of the authority: a node that is new takes the place of the lost one."""
    passphrase, sealed = tmp_path / "passphrase", tmp_path / "sealed"
    passphrase.write_text("only the two of us know\n")
    with_it = ("--passphrase-file", str(passphrase))
    site.make_nodes()
    ctl(site.nodes[1].data, "cluster", "authority", "export", str(sealed), *with_it)
    site.start()
    site.wait_voters(2, {1, 2, 3})
    site.nodes[1].end_if_running()
    ctl(site.nodes[2].data, "cluster", "remove", "1", "--lost")
    ctl(site.nodes[2].data, "cluster", "authority", "import", str(sealed), *with_it)
    shutil.rmtree(site.nodes[1].data)
    assert let_in(site.nodes[2].data, site.nodes[1].data) == 4
