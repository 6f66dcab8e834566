"""rs3gwctl changes who holds the copies on a real cluster, and every byte is read at all stages."""

from __future__ import annotations

import json
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path
from random import Random
from typing import Any

import pytest
from cluster_commands import command, ctl, let_in, remotely
from cluster_site import Site
from node_clients import s3_of

from rs3gwd.base.cluster_admin import LayoutPicture, LayoutPlan

MOVED_SECONDS_MAX = 120.0
"""For some megabytes to move on a busy machine."""

SIZES = (0, 1, 5_000, 64 << 10, (64 << 10) + 1, 200_000, 1_500_000)
"""Bodies that ride in the log, and larger ones that lie where the layout says."""

pytestmark = [pytest.mark.long, pytest.mark.timeout(400)]


class Objects:
    """What was written, and whether it is read."""

    def __init__(self, site: Site) -> None:
        self._site = site
        self._random = Random(4)
        self._bodies: dict[str, bytes] = {}
        s3_of(site.nodes[1]).create_bucket(Bucket="bucket")

    def write(self, number: int, name: str) -> None:
        """Some more through a node."""
        client = s3_of(self._site.nodes[number])
        for size in SIZES:
            for turn in range(3):
                key = f"{name}-{size}-{turn}"
                self._bodies[key] = self._random.randbytes(size)
                client.put_object(Bucket="bucket", Key=key, Body=self._bodies[key])

    def require(self, *numbers: int) -> None:
        """Raises AssertionError unless each of the nodes gives every one, byte for byte."""
        for number in numbers:
            client = s3_of(self._site.nodes[number])
            listed = client.list_objects_v2(Bucket="bucket")["Contents"]
            assert {each["Key"] for each in listed} == set(self._bodies)
            for key, body in self._bodies.items():
                assert client.get_object(Bucket="bucket", Key=key)["Body"].read() == body, key


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    """Four machines, of which three are a cluster that serves."""
    made = Site(tmp_path, 4)
    ctl(made.nodes[1].data, "cluster", "init")
    for number in (2, 3):
        assert let_in(made.nodes[1].data, made.nodes[number].data) == number
    for number in (1, 2, 3):
        made.nodes[number].start(wait=False)
    for number in (1, 2, 3):
        made.nodes[number].wait_ready()
    made.wait_voters(1, {1, 2, 3})
    yield made
    for node in made.nodes.values():
        node.end_if_running()


def join_fourth(site: Site) -> None:
    """The fourth machine becomes a node; it holds nothing by that."""
    assert let_in(site.nodes[1].data, site.nodes[4].data) == 4
    site.nodes[4].start()
    site.wait_voters(1, {1, 2, 3, 4})
    wait_in_layout(site, 4)
    assert partitions(site, 1) == {1: 1024, 2: 1024, 3: 1024, 4: 0}


def wait_in_layout(site: Site, node: int) -> None:
    """Until it stands in the layout, which comes a second after it votes."""
    for _ in range(60):
        picture = asked(site, 1, "layout", "show")
        if node in {each["node"] for each in picture["nodes"]} and not picture["is_changing"]:
            return
    raise AssertionError(picture)


def asked(site: Site, number: int, *words: str, status: int = 0) -> Any:
    """What a command of `rs3gwctl cluster` answers on a machine, as values."""
    data = site.nodes[number].data
    said = ctl(data, "cluster", *words, status=status, seconds_max=MOVED_SECONDS_MAX)
    return json.loads(said)


def partitions(site: Site, number: int) -> dict[int, int]:
    """How many partitions each node holds, as one of them tells."""
    picture = asked(site, number, "layout", "show")
    assert set(picture) == set(LayoutPicture.__struct_fields__)
    assert not picture["is_changing"]
    return {each["node"]: each["partitions"] for each in picture["nodes"]}


def test_a_cluster_grows_drains_and_shrinks(site: Site) -> None:
    """A fourth node comes in by plan and apply, the third is drained and removed: at every stage
    each node gives every object, and new ones are taken. Over the socket and over the network."""
    objects = Objects(site)
    objects.write(1, "three")
    join_fourth(site)
    objects.require(4)

    planned = asked(site, 2, "layout", "plan", "--node", "4")
    assert set(planned) == set(LayoutPlan.__struct_fields__)
    assert planned["copies_moved"] == 768
    version = str(planned["version"])
    words = ("layout", "apply", "--node", "4", "--version", version, "--wait")
    assert asked(site, 2, *words) == {"version": planned["version"], "done": True}
    assert partitions(site, 3) == {1: 768, 2: 768, 3: 768, 4: 768}
    objects.require(1, 2, 3, 4)
    objects.write(4, "four")

    assert asked(site, 4, "drain", "3") == {"node": 3, "drained": True}
    said, _ = remotely(site.nodes[3].url, "cluster", "layout", "show")
    assert {each["node"]: each["partitions"] for each in json.loads(said)["nodes"]} == {
        **dict.fromkeys((1, 2, 4), 1024),
        3: 0,
    }
    objects.require(1, 2, 3, 4)
    objects.write(3, "drained")

    said, _ = remotely(site.nodes[1].url, "cluster", "remove", "3")
    assert json.loads(said) == {"removed": 3}
    site.nodes[3].stop()
    site.wait_voters(2, {1, 2, 4})
    assert partitions(site, 4) == {1: 1024, 2: 1024, 4: 1024}
    objects.write(2, "shrunk")
    objects.require(1, 2, 4)


def test_a_node_takes_the_place_of_one_that_is_lost(site: Site) -> None:
    """Killed for ever; the others go on, and the new one gets what it had."""
    objects = Objects(site)
    objects.write(1, "three")
    join_fourth(site)
    said = ctl(site.nodes[1].data, "cluster", "replace", "2", "4", "--lost", status=1)
    assert "node 2 answers" in said
    site.nodes[2].kill()
    objects.write(3, "without")
    assert "node 2 does not answer" in ctl(
        site.nodes[1].data, "cluster", "replace", "2", "4", status=1
    )
    assert asked(site, 1, "replace", "2", "4", "--lost") == {"removed": 2, "by": 4}
    assert partitions(site, 3) == {1: 1024, 3: 1024, 4: 1024}
    objects.require(1, 3, 4)
    site.nodes[1].stop()
    objects.require(3, 4)


def test_a_node_takes_the_place_of_one_that_is_up(site: Site) -> None:
    """Over the network, through the node that comes in."""
    objects = Objects(site)
    objects.write(1, "three")
    join_fourth(site)
    said, _ = remotely(site.nodes[4].url, "cluster", "replace", "3", "4")
    assert json.loads(said) == {"removed": 3, "by": 4}
    site.nodes[3].stop()
    assert partitions(site, 4) == {1: 1024, 2: 1024, 4: 1024}
    objects.write(2, "replaced")
    objects.require(1, 2, 4)


def test_a_change_that_waits_for_a_dead_node_is_taken_back(site: Site) -> None:
    """It is shown for whom it waits, Ctrl-C ends the waiting alone, writes go on, and the way back
    is open to whoever asks another node."""
    objects = Objects(site)
    join_fourth(site)
    site.nodes[3].kill()
    data = site.nodes[1].data
    words = command(data, "cluster", "layout", "apply", "--node", "4", "--yes", "--wait")
    words.remove("--json")
    with subprocess.Popen(words, stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as one:
        assert one.stderr is not None
        while "node 3 yet to go by version" not in (line := one.stderr.readline()):
            assert line, "the command has ended"
        one.send_signal(signal.SIGINT)
        _, said = one.communicate(timeout=30)
    assert one.returncode == 1
    assert "the change goes on without this command; to look: rs3gwctl cluster layout" in said
    picture = asked(site, 2, "layout", "show")
    assert picture["is_changing"]
    assert 3 in [each["node"] for each in picture["nodes"] if each["is_waited_for"]]
    assert "LayoutBusy" in ctl(data, "cluster", "drain", "2", status=1)
    objects.write(4, "between")
    assert asked(site, 2, "layout", "retreat") == {"retreated": True}
    assert partitions(site, 4) == {1: 1024, 2: 1024, 3: 1024, 4: 0}
    objects.require(1, 2, 4)
    site.nodes[3].start()
    objects.require(3)


def test_what_the_cluster_refuses_is_said(site: Site) -> None:
    """The same words over the socket and over the network: unknown nodes, too many copies, itself,
    too few nodes left, nothing to go back from."""
    one = site.nodes[1]
    for words, said in (
        (("layout", "plan", "--node", "9"), "LayoutRefused: "),
        (("layout", "plan", "--copies", "4"), "LayoutRefused: "),
        (("layout", "retreat"), "LayoutRefused: "),
        (("layout", "apply", "--copies", "2", "--version", "99"), "LayoutBusy: "),
        (("drain", "3"), "fewer copies: --copies 2"),
        (("drain", "9"), "node 9 is not in the layout"),
        (("remove", "1"), "NotRemoved: "),
        (("remove", "9"), "NoSuchNode: there is no node 9; the nearest are 1, 2, 3"),
        (("replace", "3", "9"), "let it join first"),
    ):
        assert said in ctl(one.data, "cluster", *words, status=1)
        assert said in remotely(one.url, "cluster", *words, status=1)[1]
    assert partitions(site, 2) == {1: 1024, 2: 1024, 3: 1024}
