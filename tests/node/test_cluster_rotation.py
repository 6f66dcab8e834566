"""A real cluster is given another authority while it serves, and revoked nodes are cut off."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Event, Thread
from typing import Any

import boto3
import pytest
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError
from cluster_commands import ctl, invitation
from cluster_site import Site

from cluster.authority.certificates import NodeKey, to_der
from cluster.drivers.authority import AuthorityFolder
from rs3gwd.engine.system import SystemClock, SystemRandom
from rs3gwd.testing.node_process import ACCESS_KEY, REGION, SECRET_KEY, NodeProcess

BUCKET = "written"
SECONDS_MAX = 90.0
DAY_MS = 86_400_000

pytestmark = [pytest.mark.long, pytest.mark.timeout(400)]


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    """Three nodes made by init, invite and join, which are up and belong to every group."""
    made = Site(tmp_path, 3)
    made.make_nodes()
    made.start()
    made.wait_voters(1, {1, 2, 3})
    wait_for(lambda: {1, 2, 3} <= {each["node"] for each in listed(made.nodes[1])})
    yield made
    for node in made.nodes.values():
        node.end_if_running()


def wait_for(holds: Callable[[], bool], seconds_max: float = SECONDS_MAX) -> None:
    """Returns once it holds. Raises AssertionError."""
    deadline = time.monotonic() + seconds_max
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.2)


def shown(node: NodeProcess) -> dict[str, Any]:
    """The authority as a node has it."""
    found: dict[str, Any] = json.loads(ctl(node.data, "cluster", "authority", "show"))
    return found


def listed(node: NodeProcess) -> list[dict[str, Any]]:
    """The certificates as a node has them."""
    found: list[dict[str, Any]] = json.loads(ctl(node.data, "cluster", "authority", "list"))
    return found


def root_of(node: NodeProcess) -> list[str]:
    """The names of the roots on a node's disk."""
    return [each.hex() for each in AuthorityFolder(node.data / "cluster").read_roots()]


def client_of(node: NodeProcess, attempts: int) -> Any:
    return boto3.client(
        "s3",
        endpoint_url=node.url,
        aws_access_key_id=ACCESS_KEY,
        aws_secret_access_key=SECRET_KEY,
        region_name=REGION,
        config=Config(
            s3={"addressing_style": "path"},
            retries={"total_max_attempts": attempts, "mode": "standard"},
        ),
    )


class Writer:
    """Writes objects through one node, as fast as it answers, and notes what was acknowledged."""

    def __init__(self, node: NodeProcess, *, attempts: int) -> None:
        self.written: dict[str, bytes] = {}
        self.refused: list[str] = []
        self._client = client_of(node, attempts)
        self._name = node.data.name
        self._stop = Event()
        self._thread = Thread(target=self._write)

    def _write(self) -> None:
        number = 0
        while not self._stop.is_set():
            key, body = f"{self._name}/{number}", bytes([number % 256]) * (64 << number % 12)
            try:
                self._client.put_object(Bucket=BUCKET, Key=key, Body=body)
            except (BotoCoreError, ClientError) as error:
                self.refused.append(f"{key}: {error}")
            else:
                self.written[key] = body
            number += 1

    @contextmanager
    def running(self) -> Iterator[None]:
        self._thread.start()
        try:
            yield
        finally:
            self._stop.set()
            self._thread.join()


def assert_all_there(node: NodeProcess, *writers: Writer) -> None:
    """Everything that was acknowledged is read as it was written."""
    client = client_of(node, 5)
    for writer in writers:
        for key, body in writer.written.items():
            assert client.get_object(Bucket=BUCKET, Key=key)["Body"].read() == body


def test_the_authority_is_replaced_without_one_refused_write(site: Site) -> None:
    """Writers without retries see nothing of it; every node ends with the new root alone, nobody
    is let in by an old certificate, and the key is where it was asked for."""
    one, _, three = site.nodes.values()
    client_of(one, 5).create_bucket(Bucket=BUCKET)
    writers = [Writer(node, attempts=1) for node in site.nodes.values()]
    before = root_of(one)
    with writers[0].running(), writers[1].running(), writers[2].running():
        said = ctl(three.data, "cluster", "authority", "rotate", status=1)
        assert "--here" in said
        done = json.loads(ctl(one.data, "cluster", "authority", "rotate", seconds_max=120))
        counts = [len(writer.written) for writer in writers]
        wait_for(lambda: all(len(w.written) > n for w, n in zip(writers, counts, strict=True)))
    assert (done["phase"], done["change"], done["keeper"]) == ("steady", 1, 1)
    assert [writer.refused for writer in writers] == [[], [], []]
    assert all(len(writer.written) > 10 for writer in writers)
    assert root_of(one) != before
    assert len({tuple(root_of(node)) for node in site.nodes.values()}) == 1
    assert len(root_of(one)) == 1
    new = done["roots"][0]["name"]
    assert {each["node"] for each in listed(three) if each["authority"] == new} == {1, 2, 3}
    assert all(each["is_trusted"] == (each["authority"] == new) for each in listed(three))
    assert_all_there(three, *writers)
    with invitation(one.data, "--node", "2"):
        pass


def test_a_node_that_is_killed_meanwhile_is_waited_for(site: Site) -> None:
    """SIGKILL under load in the midst: the old root stays until the node is back and has done its
    part; then the change ends by itself, and nothing that was acknowledged is lost."""
    one, two, three = site.nodes.values()
    client_of(one, 5).create_bucket(Bucket=BUCKET)
    writers = [Writer(node, attempts=8) for node in (one, three)]
    with writers[0].running(), writers[1].running():
        ctl(one.data, "cluster", "authority", "rotate", "--no-wait")
        two.kill()
        wait_for(lambda: shown(one)["waited_for"] == [2])
        time.sleep(5)  # as long as the others would take for all the rest
        assert len(shown(one)["roots"]) == 2
        two.start()
        wait_for(lambda: shown(one)["phase"] == "steady")
    assert [writer.refused for writer in writers] == [[], []]
    assert len({tuple(root_of(node)) for node in site.nodes.values()}) == 1
    assert_all_there(two, *writers)


def test_a_node_that_is_left_behind_joins_again(site: Site) -> None:
    """The change ends without it; its log says what to do, and by a token it is back as itself."""
    one, _, three = site.nodes.values()
    three.kill()
    rotate = ("cluster", "authority", "rotate", "--without", "3")
    done = json.loads(ctl(one.data, *rotate, seconds_max=120))
    assert (done["phase"], done["left_behind"]) == ("steady", [3])
    three.start(wait=False)
    wait_for(lambda: "join --again" in three.tail(200))
    refused = ctl(three.data, "cluster", "join", "--again", "--token", "-", stdin="x", status=1)
    assert "stop the daemon" in refused
    three.kill()
    join_again(one, three, 3)
    three.start()
    wait_for(lambda: 3 in {each["node"] for each in listed(one) if each["is_trusted"]})
    client_of(three, 5).create_bucket(Bucket=BUCKET)


def join_again(keeper: NodeProcess, node: NodeProcess, number: int) -> None:
    """A token for a node that is known, and a new certificate with it."""
    with invitation(keeper.data, "--node", str(number)) as (process, token):
        told = json.loads(ctl(node.data, "cluster", "join", "--again", "--token", "-", stdin=token))
        assert json.loads(process.communicate(timeout=30)[0]) == told
        assert told["node"] == number


def answers(asked: NodeProcess, number: int) -> bool:
    """Whether a node answers another's question."""
    nodes = json.loads(ctl(asked.data, "cluster", "nodes"))
    return any(each["node"] == number and each["answered"] for each in nodes)


def test_a_revoked_node_is_cut_off_and_stays_out(site: Site) -> None:
    """Its connections are closed while it runs; neither its restart nor theirs lets it in again.
    With a new certificate it is back; when it is removed, that one is revoked, too."""
    one, two, three = site.nodes.values()
    assert answers(one, 3)
    assert answers(two, 3)
    assert "itself" in ctl(three.data, "cluster", "authority", "revoke", "3", status=1)
    revoked = json.loads(ctl(one.data, "cluster", "authority", "revoke", "3"))["revoked"]
    assert len(revoked) == 1
    wait_for(lambda: not answers(one, 3) and not answers(two, 3), 15)
    with pytest.raises((BotoCoreError, ClientError)):
        client_of(three, 1).create_bucket(Bucket="not-without-a-majority")
    client_of(one, 5).create_bucket(Bucket=BUCKET)
    three.kill()
    three.start(wait=False)
    two.stop()
    two.start()
    wait_for(lambda: "was revoked" in three.tail(200))
    assert not answers(one, 3)
    assert not answers(two, 3)
    three.kill()
    join_again(one, three, 3)
    three.start()
    wait_for(lambda: answers(one, 3) and answers(two, 3))
    states = {each["serial"]: each["is_trusted"] for each in listed(two) if each["node"] == 3}
    assert [states.pop(serial) for serial in revoked] == [False]
    assert list(states.values()) == [True]
    three.stop()
    ctl(one.data, "cluster", "remove", "3", "--lost")
    wait_for(lambda: not any(each["is_trusted"] for each in listed(two) if each["node"] == 3))


def test_certificates_are_renewed_before_they_expire(tmp_path: Path) -> None:
    """A daemon whose certificate is 61 of its 90 days old has another one soon."""
    site = Site(tmp_path, 3)
    site.make_nodes()
    authority = AuthorityFolder(site.nodes[1].data / "cluster").read_authority()
    old = {number: make_older(node, authority) for number, node in site.nodes.items()}
    try:
        site.start()
        for number, node in site.nodes.items():
            folder = AuthorityFolder(node.data / "cluster")
            wait_for(lambda f=folder, n=number: f.read_node().serial != old[n])  # type: ignore[misc]
            now_ms = SystemClock().now_ms()
            assert folder.read_node().not_after_ms > now_ms + 89 * DAY_MS
            wait_for(lambda n=number, f=folder: noted(site, n, f.read_node().serial))  # type: ignore[misc]
    finally:
        for node in site.nodes.values():
            node.end_if_running()


def noted(site: Site, number: int, serial: int) -> bool:
    """Whether the cluster has a certificate in its list."""
    return any(
        each["serial"] == f"{serial:x}" and each["node"] == number for each in listed(site.nodes[1])
    )


def make_older(node: NodeProcess, authority: Any) -> int:
    """Gives a node that has not started a certificate of 61 days ago; its serial number."""
    folder, key = AuthorityFolder(node.data / "cluster"), NodeKey.create()
    mine = folder.read_node()
    certificate = authority.issue(
        key.request(),
        cluster=mine.cluster,
        node=mine.node,
        now_ms=SystemClock().now_ms() - 61 * DAY_MS,
        random=SystemRandom(),
        disk=folder.read_first_start().token,
    )
    folder.write_node(key, to_der(certificate), folder.read_roots())
    return int(certificate.serial_number)
