"""A root key is replaced by another while clients use both, and nobody is refused who may."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import boto3
import pytest
import trio

from rs3gwd.testing.cluster_process import ClusterProcess
from rs3gwd.testing.http_client import HttpClient
from rs3gwd.testing.node_process import ACCESS_KEY, REGION, SECRET_KEY, NodeProcess

Start = Callable[..., NodeProcess | ClusterProcess]
Key = tuple[str, str]

CLIENTS = 4
"""With each key, on every port."""

SECONDS_MAX = 60.0


class Users:
    """Clients that write and read with one key, each on connections of its own, until cancelled."""

    def __init__(self, ports: list[int], key: Key) -> None:
        self.answers = 0
        self.refused: list[str] = []
        self._ports = ports
        self._key = key

    async def work(self, number: int) -> None:
        """One client: a new connection for every tenth pair of requests, so that all serve it."""
        port = self._ports[number % len(self._ports)]
        count = 0
        while True:
            async with self.client(port) as http:
                for _ in range(10):
                    path, body = b"/bucket/%s-%d" % (self._key[0].encode(), number), b"%d" % count
                    put = await http.request("PUT", path, body=body)
                    got = await http.request("GET", path)
                    if (put.status, got.status, got.body) != (200, 200, body):
                        self.refused.append(f"{put.status} {put.body!r} {got.status} {got.body!r}")
                    self.answers += 2
                    count += 1

    def client(self, port: int) -> HttpClient:
        """A client with the key."""
        return HttpClient(port, access_key=self._key[0], secret_key=self._key[1])

    async def wait_answers(self, more: int) -> None:
        """Until so many more requests were answered."""
        wanted = self.answers + more
        with trio.fail_after(SECONDS_MAX):
            while True:
                await trio.sleep(0.01)
                if self.answers >= wanted:
                    return

    async def codes(self, count: int) -> set[tuple[int, bytes]]:
        """What so many new connections to each port are answered, whichever process takes them."""
        found = set()
        for port in self._ports:
            for _ in range(count):
                async with self.client(port) as http:
                    answer = await http.request("GET", b"/bucket")
                    code = answer.body.partition(b"<Code>")[2].partition(b"</Code>")[0]
                    found.add((answer.status, code))
        return found


def iam_of(node: NodeProcess | ClusterProcess, key: Key) -> Any:
    """IAM for the root by one of its keys."""
    return boto3.client(
        "iam",
        endpoint_url=node.url,
        region_name=REGION,
        aws_access_key_id=key[0],
        aws_secret_access_key=key[1],
    )


@pytest.fixture(params=["workers", "three"])
def node(request: pytest.FixtureRequest, tmp_path: Any) -> Iterator[NodeProcess | ClusterProcess]:
    """A node with three processes on one port, and three nodes."""
    running: NodeProcess | ClusterProcess
    if request.param == "workers":
        running = NodeProcess(tmp_path / "data", environ={"RS3GW_WORKERS": "3"})
    else:
        running = ClusterProcess(tmp_path / "nodes")
    with running:
        yield running


async def test_a_root_key_is_replaced_under_load(node: NodeProcess | ClusterProcess) -> None:
    """New beside old, old switched off and on again, old removed: each key is let in by every
    process exactly as long as it is good, from the answer to the change on."""
    ports = [node.port]
    if isinstance(node, ClusterProcess):
        ports = [each.port for each in node.nodes.values()]
    old = Users(ports, (ACCESS_KEY, SECRET_KEY))
    async with old.client(ports[0]) as http:
        assert (await http.request("PUT", b"/bucket")).status == 200
    made = await trio.to_thread.run_sync(
        lambda: iam_of(node, (ACCESS_KEY, SECRET_KEY)).create_access_key()["AccessKey"]
    )
    key = made["AccessKeyId"], made["SecretAccessKey"]
    new = Users(ports, key)
    iam = iam_of(node, key)
    async with trio.open_nursery() as all_users:
        for number in range(CLIENTS * len(ports)):
            all_users.start_soon(new.work, number)
        async with trio.open_nursery() as old_users:
            for number in range(CLIENTS * len(ports)):
                old_users.start_soon(old.work, number)
            await old.wait_answers(100)
            await new.wait_answers(100)
            old_users.cancel_scope.cancel()
        for status, answer in (
            ("Inactive", {(403, b"InvalidAccessKeyId")}),
            ("Active", {(200, b"")}),
            ("Inactive", {(403, b"InvalidAccessKeyId")}),
        ):
            await trio.to_thread.run_sync(
                lambda status=status: iam.update_access_key(AccessKeyId=ACCESS_KEY, Status=status)
            )
            assert await old.codes(6) == answer, status
        await trio.to_thread.run_sync(lambda: iam.delete_access_key(AccessKeyId=ACCESS_KEY))
        assert await old.codes(6) == {(403, b"InvalidAccessKeyId")}
        await new.wait_answers(100)
        all_users.cancel_scope.cancel()
    assert old.refused == []
    assert new.refused == []
    left = await trio.to_thread.run_sync(lambda: iam.list_access_keys()["AccessKeyMetadata"])
    assert [each["AccessKeyId"] for each in left] == [key[0]]
