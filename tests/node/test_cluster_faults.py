"""Three nodes of which some are dead, come late, or are restarted one after the other."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from hashlib import sha256
from itertools import count
from pathlib import Path
from xml.etree import ElementTree

import pytest
import trio

from rs3gwd.testing.cluster_process import ClusterProcess
from rs3gwd.testing.http_client import Answer, ConnectionLost, HttpClient
from rs3gwd.testing.node_process import NodeProcess

SERVES_SECONDS_MAX = 10.0
"""An election takes one or two; the machine of the test may be busy."""

ANSWER_SECONDS_MAX = 20.0
"""How long a node without a majority may take to say so: it waits for one for 5 to 10 seconds."""

PART = 5 * 1024 * 1024
LARGE = b"0123456789abcdef" * 20_000

pytestmark = pytest.mark.timeout(240)


async def ask(
    node: NodeProcess, method: str, path: bytes, *args: object, **named: object
) -> Answer:
    """One request on a connection of its own."""
    async with HttpClient(node.port) as http:
        return await http.request(method, path, *args, **named)  # type: ignore[arg-type]


async def until_served(node: NodeProcess, method: str, path: bytes, body: bytes = b"") -> Answer:
    """Asks until there is an answer other than 503. Raises TooSlowError."""
    with trio.fail_after(SERVES_SECONDS_MAX):
        while True:
            answer = await ask(node, method, path, body=body)
            if answer.status != 503:
                return answer
            await trio.sleep(0.05)


async def upload(node: NodeProcess, path: bytes, parts: list[bytes]) -> Answer:
    """An object in parts, all through one node."""
    begun = await ask(node, "POST", path, [("uploads", "")])
    upload_id = text_of(begun.body, "UploadId")
    listed = b""
    for number, body in enumerate(parts, 1):
        query = [("partNumber", str(number)), ("uploadId", upload_id)]
        put = await ask(node, "PUT", path, query, body=body)
        tag = put.headers["etag"].encode()
        listed += b"<Part><PartNumber>%d</PartNumber><ETag>%s</ETag></Part>" % (number, tag)
    document = b"<CompleteMultipartUpload>%s</CompleteMultipartUpload>" % listed
    return await ask(node, "POST", path, [("uploadId", upload_id)], body=document)


def text_of(document: bytes, name: str) -> str:
    """The text of the first element of this name."""
    return next(
        element.text or ""
        for element in ElementTree.fromstring(document).iter()
        if element.tag.rpartition("}")[2] == name
    )


async def keys_on(node: NodeProcess, bucket: bytes = b"/bucket") -> list[str]:
    """What a listing through this node shows; a bucket of up to a thousand keys."""
    answer = await ask(node, "GET", bucket, [("list-type", "2")])
    assert answer.status == 200, answer.body
    return [
        element.text or ""
        for element in ElementTree.fromstring(answer.body).iter()
        if element.tag.rpartition("}")[2] == "Key"
    ]


@pytest.mark.parametrize(
    "order",
    [
        (3, 2, 1),
        pytest.param((3, 1, 2), marks=pytest.mark.long),
        pytest.param((2, 3, 1), marks=pytest.mark.long),
    ],
)
async def test_nodes_start_in_any_order(tmp_path: Path, order: tuple[int, ...]) -> None:
    """One alone is not ready; two serve where the founder is among them; the third joins in."""
    cluster = ClusterProcess(tmp_path / "nodes")
    try:
        waiting = []
        for place, number in enumerate(order):
            node = cluster.nodes[number]
            node.start(wait=False)
            waiting.append(node)
            if place == 0:
                with pytest.raises(AssertionError, match="did not become ready"):
                    await trio.to_thread.run_sync(node.wait_ready, 1.0)
            elif 1 in order[: place + 1]:
                for each in waiting:
                    await trio.to_thread.run_sync(each.wait_ready)
                waiting.clear()
                assert (await until_served(node, "PUT", b"/bucket")).status in (200, 409)
        assert (await ask(cluster.nodes[3], "PUT", b"/bucket/k", body=LARGE)).status == 200
        for node in cluster.nodes.values():
            assert (await ask(node, "GET", b"/bucket/k")).body == LARGE
    finally:
        cluster.stop()


@pytest.mark.parametrize(
    "victim", [1, pytest.param(2, marks=pytest.mark.long), pytest.param(3, marks=pytest.mark.long)]
)
async def test_with_one_of_three_dead_the_others_go_on(
    own_cluster: ClusterProcess, victim: int
) -> None:
    """SIGKILL; then everything through both others, and the third has it all when it is back."""
    cluster = own_cluster
    dead = cluster.nodes[victim]
    others = [node for number, node in cluster.nodes.items() if number != victim]
    assert (await ask(dead, "PUT", b"/bucket")).status == 200
    for size in (0, 100, len(LARGE)):
        assert (await ask(dead, "PUT", b"/bucket/old%d" % size, body=LARGE[:size])).status == 200
    dead.kill()
    bodies = {f"old{size}": LARGE[:size] for size in (0, 100, len(LARGE))}
    for number, node in enumerate(others):
        for size in (0, 100, len(LARGE)):
            key = f"new{number}-{size}"
            bodies[key] = key.encode() + LARGE[:size]
            path = b"/bucket/" + key.encode()
            assert (await until_served(node, "PUT", path, bodies[key])).status == 200
        bodies[f"parts{number}"] = b"p" * PART + b"q" * 100
        path = b"/bucket/parts%d" % number
        assert (await upload(node, path, [b"p" * PART, b"q" * 100])).status == 200
        assert (await until_served(node, "DELETE", b"/bucket/old%d" % (100 * number))).status == 204
        del bodies[f"old{100 * number}"]
        assert (await until_served(node, "PUT", b"/made-by-%d" % number)).status == 200
    for node in others:
        await assert_holds(node, bodies)
    await trio.to_thread.run_sync(dead.start)
    await assert_holds(dead, bodies)
    assert (await ask(dead, "PUT", b"/bucket/back", body=b"back")).status == 200
    for node in others:
        assert (await ask(node, "GET", b"/bucket/back")).body == b"back"


async def assert_holds(node: NodeProcess, bodies: dict[str, bytes]) -> None:
    """The node lists these keys and gives these bodies, and nothing else."""
    assert await keys_on(node) == sorted(bodies)
    for key, body in bodies.items():
        answer = await ask(node, "GET", b"/bucket/" + key.encode())
        assert (answer.status, answer.body == body) == (200, True), key


async def test_with_two_of_three_dead_nothing_wrong_is_said(own_cluster: ClusterProcess) -> None:
    """The one that is left answers 503 in bounded time to reads and writes, and to reads as long as
    its lease of a group lasts with what is so; with one of the others back all goes on, and what
    was refused as not done has not happened."""
    cluster = own_cluster
    left, back, gone = cluster.nodes.values()
    assert (await ask(left, "PUT", b"/bucket")).status == 200
    assert (await ask(left, "PUT", b"/bucket/k", body=b"first")).status == 200
    gone.kill()
    assert (await until_served(back, "PUT", b"/bucket/k", b"second")).status == 200
    back.kill()
    reads = [
        ("GET", b"/bucket/k", [], b"second"),
        ("HEAD", b"/bucket/k", [], b""),
        ("GET", b"/bucket", [("list-type", "2")], b"<Key>k</Key>"),
        ("GET", b"/", [], b"<Name>bucket</Name>"),
    ]
    writes = [
        ("PUT", b"/bucket/small", [], b"x"),
        ("PUT", b"/bucket/large", [], LARGE),
        ("DELETE", b"/bucket/k", [], b""),
        ("PUT", b"/another", [], b""),
        ("POST", b"/bucket/up", [("uploads", "")], b""),
    ]
    unsure: set[str] = set()

    async def refused(method: str, path: bytes, query: list[tuple[str, str]], body: bytes) -> None:
        if await assert_refused(left, method, path, query, body) == "ServiceUnavailable":
            unsure.add(f"{method} {path.decode()}")

    async with trio.open_nursery() as nursery:
        for method, path, query, shown in reads:
            nursery.start_soon(until_refused, left, method, path, query, shown)
        for method, path, query, body in writes:
            nursery.start_soon(refused, method, path, query, body)
    await trio.to_thread.run_sync(back.start)
    for node in (left, back):
        answer = await until_served(node, "GET", b"/bucket/k")
        gone_since = answer.status == 404
        assert answer.body == b"second" or (gone_since and "DELETE /bucket/k" in unsure)
        made = set(await keys_on(node)) - {"k"}
        assert {f"PUT /bucket/{key}" for key in made} <= unsure


async def until_refused(
    node: NodeProcess, method: str, path: bytes, query: list[tuple[str, str]], shown: bytes
) -> None:
    """Reads until it is refused; before that each answer has what is `shown` in it."""
    with trio.fail_after(ANSWER_SECONDS_MAX):
        while (answer := await ask(node, method, path, query)).status == 200:
            assert shown in answer.body
    await assert_refused(node, method, path, query, b"")


async def assert_refused(
    node: NodeProcess, method: str, path: bytes, query: list[tuple[str, str]], body: bytes
) -> str:
    """The node says in time that it cannot serve this; returns the code: `SlowDown`, it has not
    happened, or `ServiceUnavailable`, it may yet; empty for an answer without a body."""
    with trio.fail_after(ANSWER_SECONDS_MAX):
        answer = await ask(node, method, path, query, body=body)
    assert answer.status == 503
    if method == "HEAD":
        return ""
    answered = text_of(answer.body, "Code")
    assert answered in {"SlowDown", "ServiceUnavailable"}
    return answered


class Load:
    """Clients that write, read and list through the endpoint; each request has a connection of its
    own, so that one is cut only when a node took it and did not answer."""

    def __init__(self, cluster: ClusterProcess) -> None:
        self.acknowledged: dict[bytes, bytes] = {}
        self.answers = 0
        self.refused = 0
        self.cut: list[str] = []
        self.wrong: list[str] = []
        self._cluster = cluster

    async def work(self, number: int) -> None:
        """One client, until cancelled."""
        for turn in count():
            key = b"/bucket/%d-%d" % (number, turn)
            body = sha256(key).digest() * (5000 if turn % 5 == 0 else 10)
            put = await self._ask("PUT", key, body)
            if put is not None and put.status == 200:
                self.acknowledged[key] = body
                got = await self._ask("GET", key)
                if got is not None and got.status == 200 and got.body != body:
                    self.wrong.append(f"GET {key!r}: other bytes")

    async def _ask(self, method: str, path: bytes, body: bytes = b"") -> Answer | None:
        async with HttpClient(self._cluster.port) as http:
            try:
                answer = await http.request(method, path, body=body)
            except ConnectionLost as error:
                self.cut.append(str(error))
                return None
        if answer.status == 503:
            self.refused += 1
            await trio.sleep(0.02)
        elif answer.status != 200:
            self.wrong.append(f"{method} {path!r}: {answer.status} {answer.body!r}")
        self.answers += answer.status == 200
        return answer


@asynccontextmanager
async def loaded(cluster: ClusterProcess, clients: int) -> AsyncIterator[Load]:
    """Clients at work until the block ends."""
    load = Load(cluster)
    async with trio.open_nursery() as nursery:
        for number in range(clients):
            nursery.start_soon(load.work, number)
        yield load
        nursery.cancel_scope.cancel()


async def until_answers(load: Load, more: int) -> None:
    """Returns after so many more requests that went well. Raises TooSlowError."""
    wanted = load.answers + more
    with trio.fail_after(60):
        while load.answers < wanted:  # noqa: ASYNC110 the clients know nothing of who waits
            await trio.sleep(0.01)


async def test_a_rolling_restart_loses_no_write_and_cuts_no_request(
    own_cluster: ClusterProcess,
) -> None:
    """Each node is stopped and started under load: every request that a node took is answered, and
    what was acknowledged is on all of them in the end."""
    cluster = own_cluster
    assert (await ask(cluster.nodes[1], "PUT", b"/bucket")).status == 200
    async with loaded(cluster, 6) as load:
        await until_answers(load, 100)
        for node in cluster.nodes.values():
            assert await trio.to_thread.run_sync(node.stop) == 0
            await until_answers(load, 50)
            await trio.to_thread.run_sync(node.start)
            await until_answers(load, 100)
    assert load.cut == []
    assert load.wrong == []
    for node in cluster.nodes.values():
        async with HttpClient(node.port) as http:
            for path, body in load.acknowledged.items():
                assert (await http.request("GET", path)).body == body, path
