"""Conditional writes by 64 clients at once have one winner, and single keys are linearizable.

A real node, a connection to each client, and requests that leave at the same moment. Promise P2.
"""

from __future__ import annotations

import hashlib
import itertools
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import trio
import trio.testing

from rs3gwd.testing.http_client import Answer, HttpClient
from rs3gwd.testing.linearizability import RegisterOperation, violations
from rs3gwd.testing.node_process import NodeProcess

RACERS = 64
ROUNDS = 4
"""Each race is run so many times: one run may be decided by who connected first."""

Request = Callable[[HttpClient, int], Awaitable[Answer]]


@pytest.fixture(scope="module", params=["0", "2"], ids=["one-process", "two-workers"])
def node(
    tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest
) -> Iterator[NodeProcess]:
    """A node with the buckets `plain` and `versioned`, in one process and with workers."""
    data: Path = tmp_path_factory.mktemp("races") / "data"
    with NodeProcess(data, environ={"RS3GW_WORKERS": request.param}) as running:
        trio.run(_make_buckets, running.port)
        yield running


async def _make_buckets(port: int) -> None:
    async with HttpClient(port) as client:
        for bucket in (b"/plain", b"/versioned"):
            assert (await client.request("PUT", bucket)).status == 200
        status = b"<VersioningConfiguration><Status>Enabled</Status></VersioningConfiguration>"
        answer = await client.request("PUT", b"/versioned", [("versioning", "")], body=status)
        assert answer.status == 200


class Field:
    """The racers, connected and waiting."""

    def __init__(self, clients: list[HttpClient]) -> None:
        self.clients = clients

    @property
    def judge(self) -> HttpClient:
        """Whoever looks at the outcome."""
        return self.clients[0]

    async def race(self, request: Request) -> list[Answer]:
        """Every client sends `request(client, number)` at the same moment; gives the answers."""
        start = trio.Event()
        answers: dict[int, Answer] = {}

        async def run(number: int) -> None:
            await start.wait()
            answers[number] = await request(self.clients[number], number)

        async with trio.open_nursery() as nursery:
            for number in range(len(self.clients)):
                nursery.start_soon(run, number)
            await trio.testing.wait_all_tasks_blocked()
            start.set()
        return [answers[number] for number in range(len(self.clients))]

    async def etag(self, path: bytes) -> str:
        """The current ETag, with its quotes."""
        answer = await self.judge.request("GET", path)
        assert answer.status == 200
        return answer.headers["etag"]


@asynccontextmanager
async def field_of(node: NodeProcess) -> AsyncIterator[Field]:
    """All racers, each with an open connection."""
    clients = [HttpClient(node.port) for _ in range(RACERS)]
    try:
        async with trio.open_nursery() as nursery:
            for client in clients:
                nursery.start_soon(client.request, "GET", b"/plain")
        yield Field(clients)
    finally:
        for client in clients:
            await client.close()


def winner_of(answers: list[Answer], *, won: int, lost: set[int]) -> int:
    """The number of the one that won; everybody else was told why not."""
    statuses = Counter(answer.status for answer in answers)
    assert statuses[won] == 1, statuses
    assert set(statuses) <= lost | {won}, statuses
    return next(number for number, answer in enumerate(answers) if answer.status == won)


async def count_versions(client: HttpClient, key: bytes) -> int:
    """Versions and delete markers of a key in `versioned`."""
    query = [("versions", ""), ("prefix", key.decode())]
    body = (await client.request("GET", b"/versioned", query)).body
    return body.count(b"<VersionId>")


@pytest.mark.parametrize("bucket", [b"plain", b"versioned"])
async def test_one_of_64_creates_wins(node: NodeProcess, bucket: bytes) -> None:
    """PUT with If-None-Match: * to a free key: one 200, whose bytes are there; the rest get 412."""
    async with field_of(node) as field:
        for turn in range(ROUNDS):
            key = f"create-{turn}".encode()
            path = b"/" + bucket + b"/" + key

            async def put(client: HttpClient, number: int, path: bytes = path) -> Answer:
                return await client.request(
                    "PUT", path, headers={"If-None-Match": "*"}, body=f"racer {number}".encode()
                )

            winner = winner_of(await field.race(put), won=200, lost={409, 412})
            assert (await field.judge.request("GET", path)).body == f"racer {winner}".encode()
            if bucket == b"versioned":
                assert await count_versions(field.judge, key) == 1


async def test_one_of_64_swaps_wins(node: NodeProcess) -> None:
    """PUT with If-Match of the current ETag: one 200, the rest get 412."""
    async with field_of(node) as field:
        path = b"/plain/swap"
        assert (await field.judge.request("PUT", path, body=b"start")).status == 200
        for turn in range(ROUNDS):
            etag = await field.etag(path)

            async def put(
                client: HttpClient, number: int, etag: str = etag, turn: int = turn
            ) -> Answer:
                body = f"turn {turn}, racer {number}".encode()
                return await client.request("PUT", path, headers={"If-Match": etag}, body=body)

            winner = winner_of(await field.race(put), won=200, lost={409, 412})
            found = (await field.judge.request("GET", path)).body
            assert found == f"turn {turn}, racer {winner}".encode()


@pytest.mark.parametrize("bucket", [b"plain", b"versioned"])
async def test_one_of_64_deletes_wins(node: NodeProcess, bucket: bytes) -> None:
    """DELETE with If-Match: one 204 and one delete marker; the rest find no key or another."""
    async with field_of(node) as field:
        for turn in range(ROUNDS):
            key = f"delete-{turn}".encode()
            path = b"/" + bucket + b"/" + key
            assert (await field.judge.request("PUT", path, body=b"here")).status == 200
            etag = await field.etag(path)

            async def delete(
                client: HttpClient, number: int, path: bytes = path, etag: str = etag
            ) -> Answer:
                return await client.request("DELETE", path, headers={"If-Match": etag})

            winner_of(await field.race(delete), won=204, lost={404, 409, 412})
            assert (await field.judge.request("GET", path)).status == 404
            if bucket == b"versioned":
                assert await count_versions(field.judge, key) == 2


async def test_one_of_64_copies_wins(node: NodeProcess) -> None:
    """COPY with If-None-Match: * on its target: one 200, the rest get 412."""
    async with field_of(node) as field:
        for number in range(RACERS):
            source = f"/plain/source-{number}".encode()
            body = f"source {number}".encode()
            assert (await field.judge.request("PUT", source, body=body)).status == 200
        for turn in range(ROUNDS):
            path = f"/plain/copied-{turn}".encode()

            async def copy(client: HttpClient, number: int, path: bytes = path) -> Answer:
                headers = {
                    "x-amz-copy-source": f"/plain/source-{number}",
                    "If-None-Match": "*",
                }
                return await client.request("PUT", path, headers=headers)

            winner = winner_of(await field.race(copy), won=200, lost={409, 412})
            assert (await field.judge.request("GET", path)).body == f"source {winner}".encode()


async def test_one_of_64_completes_wins(node: NodeProcess) -> None:
    """64 uploads of one key completed with If-None-Match: *: one 200, the rest get 412."""
    async with field_of(node) as field:
        path = b"/versioned/completed"
        uploads = [await begin_upload(client, path) for client in field.clients]
        for number, (client, upload) in enumerate(zip(field.clients, uploads, strict=True)):
            await send_part(client, path, upload, f"upload {number}".encode())

        async def complete(client: HttpClient, number: int) -> Answer:
            body = f"upload {number}".encode()
            return await complete_upload(
                client, path, uploads[number], body, headers={"If-None-Match": "*"}
            )

        winner = winner_of(await field.race(complete), won=200, lost={409, 412})
        assert (await field.judge.request("GET", path)).body == f"upload {winner}".encode()
        assert await count_versions(field.judge, b"completed") == 1


async def test_64_retries_of_one_complete_make_one_version(node: NodeProcess) -> None:
    """Completing one upload 64 times at once: all get the same answer, one version is made."""
    async with field_of(node) as field:
        path = b"/versioned/retried"
        upload = await begin_upload(field.judge, path)
        await send_part(field.judge, path, upload, b"once")

        async def complete(client: HttpClient, number: int) -> Answer:
            return await complete_upload(client, path, upload, b"once", headers={})

        answers = await field.race(complete)
        assert {answer.status for answer in answers} == {200}
        assert len({answer.headers["x-amz-version-id"] for answer in answers}) == 1
        assert await count_versions(field.judge, b"retried") == 1


async def test_one_of_all_kinds_of_creates_wins(node: NodeProcess) -> None:
    """PUT, COPY and Complete race for one free key: exactly one of them all gets it."""
    async with field_of(node) as field:
        assert (await field.judge.request("PUT", b"/plain/from", body=b"copied")).status == 200
        path = b"/versioned/mixed"
        uploads = [await begin_upload(client, path) for client in field.clients[::3]]
        for client, upload in zip(field.clients[::3], uploads, strict=True):
            await send_part(client, path, upload, b"part")
        condition = {"If-None-Match": "*"}

        async def create(client: HttpClient, number: int) -> Answer:
            if number % 3 == 0:
                upload = uploads[number // 3]
                return await complete_upload(client, path, upload, b"part", headers=condition)
            if number % 3 == 1:
                headers = {"x-amz-copy-source": "/plain/from", **condition}
                return await client.request("PUT", path, headers=headers)
            return await client.request("PUT", path, headers=condition, body=b"put")

        winner_of(await field.race(create), won=200, lost={409, 412})
        assert await count_versions(field.judge, b"mixed") == 1


async def test_a_counter_loses_no_increment(node: NodeProcess) -> None:
    """Read, add one, swap, try again on 412: the counter ends at the number of swaps that won."""
    path = b"/plain/counter"
    async with field_of(node) as field:
        assert (await field.judge.request("PUT", path, body=b"0")).status == 200
        won = Counter[int]()

        async def add(client: HttpClient, number: int) -> Answer:
            answer = await client.request("GET", path)
            for _ in range(6):
                headers = {"If-Match": answer.headers["etag"]}
                body = str(int(answer.body) + 1).encode()
                swap = await client.request("PUT", path, headers=headers, body=body)
                won[swap.status] += 1
                answer = await client.request("GET", path)
            return answer

        await field.race(add)
        assert set(won) <= {200, 409, 412}
        assert won[200] > 1
        assert int((await field.judge.request("GET", path)).body) == won[200]


async def test_a_key_is_a_linearizable_register(node: NodeProcess) -> None:
    """Writers of different values and readers at once: some order explains what each saw."""
    path = b"/plain/register"
    history: list[RegisterOperation] = []
    values = itertools.count()
    async with field_of(node) as field:
        assert (await field.judge.request("PUT", path, body=b"first")).status == 200
        history.append(RegisterOperation(True, "first", -1.0, 0.0))

        async def use(client: HttpClient, number: int) -> Answer:
            answer = Answer(0, {}, b"")
            for _ in range(12):
                start = trio.current_time()
                if number % 4 == 0:
                    value = f"value {next(values)}"
                    answer = await client.request("PUT", path, body=value.encode())
                else:
                    answer = await client.request("GET", path)
                    value = answer.body.decode()
                assert answer.status == 200
                history.append(
                    RegisterOperation(number % 4 == 0, value, start, trio.current_time())
                )
            return answer

        await field.race(use)
    assert len(history) == 1 + 12 * RACERS
    assert violations(history) == []


async def begin_upload(client: HttpClient, path: bytes) -> str:
    """Starts an upload and gives its id."""
    body = (await client.request("POST", path, [("uploads", "")])).body.decode()
    return body.partition("<UploadId>")[2].partition("</UploadId>")[0]


async def send_part(client: HttpClient, path: bytes, upload: str, body: bytes) -> None:
    """Sends part 1."""
    query = [("partNumber", "1"), ("uploadId", upload)]
    assert (await client.request("PUT", path, query, body=body)).status == 200


async def complete_upload(
    client: HttpClient, path: bytes, upload: str, body: bytes, *, headers: dict[str, str]
) -> Answer:
    """Completes an upload whose only part is `body`."""
    etag = hashlib.md5(body, usedforsecurity=False).hexdigest()
    part = f'<Part><PartNumber>1</PartNumber><ETag>"{etag}"</ETag></Part>'
    document = f"<CompleteMultipartUpload>{part}</CompleteMultipartUpload>".encode()
    return await client.request(
        "POST", path, [("uploadId", upload)], headers=headers, body=document
    )
