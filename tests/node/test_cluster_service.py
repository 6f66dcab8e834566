"""Three healthy nodes: what was acknowledged through one holds on all at the next request."""

from __future__ import annotations

import json
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import boto3
import msgspec
import pytest
import trio
from botocore.config import Config
from botocore.exceptions import ClientError

from rs3gwd.base.admin import (
    SOCKET_PATH,
    AccountCreate,
    AccountList,
    AdminAnswer,
    AdminRequest,
)
from rs3gwd.testing.cluster_process import ClusterProcess
from rs3gwd.testing.http_client import HttpClient
from rs3gwd.testing.node_process import ACCESS_KEY, REGION, SECRET_KEY, NodeProcess

ROUNDS = 100
RACERS = 64
PART = 5 * 1024 * 1024

pytestmark = pytest.mark.timeout(120)


def client(
    node: NodeProcess, service: str = "s3", access_key: str = ACCESS_KEY, secret: str = SECRET_KEY
) -> Any:
    """A client that tries once."""
    return boto3.client(
        service,
        endpoint_url=node.url,
        region_name=REGION,
        aws_access_key_id=access_key,
        aws_secret_access_key=secret,
        config=Config(retries={"total_max_attempts": 1}, s3={"addressing_style": "path"}),
    )


async def statuses(
    cluster: ClusterProcess, path: bytes, access_key: str, secret: str
) -> list[tuple[int, bool]]:
    """What each node answers at once to a GET by this key: the status, and whether it says that
    access is denied or the key is none."""
    found: list[tuple[int, bool]] = []

    async def ask(node: NodeProcess) -> None:
        async with HttpClient(node.port, access_key=access_key, secret_key=secret) as http:
            answer = await http.request("GET", path)
            codes = (b"<Code>AccessDenied</Code>", b"<Code>InvalidAccessKeyId</Code>")
            found.append((answer.status, any(code in answer.body for code in codes)))

    async with trio.open_nursery() as nursery:
        for node in cluster.nodes.values():
            nursery.start_soon(ask, node)
    return found


def make_user(cluster: ClusterProcess, name: str) -> tuple[str, str]:
    """A user whose policy lets them read everything; a key of theirs."""
    iam = client(cluster.nodes[1], "iam")
    iam.create_user(UserName=name)
    allow(iam, name)
    key = iam.create_access_key(UserName=name)["AccessKey"]
    return key["AccessKeyId"], key["SecretAccessKey"]


def allow(iam: Any, name: str) -> None:
    """Lets a user read everything."""
    statement = {"Effect": "Allow", "Action": "s3:GetObject", "Resource": "*"}
    document = json.dumps({"Version": "2012-10-17", "Statement": statement})
    iam.put_user_policy(UserName=name, PolicyName="reads", PolicyDocument=document)


ALLOWED, REFUSED = [(200, False)] * 3, [(403, True)] * 3


async def test_a_key_turned_off_through_one_node_is_refused_by_all_at_once(
    cluster: ClusterProcess,
) -> None:
    """A hundred times off and on, through each node by turns, asked of all three in between."""
    root = client(cluster.nodes[1])
    root.create_bucket(Bucket="revoked")
    root.put_object(Bucket="revoked", Key="k", Body=b"1")
    key = make_user(cluster, "rita")
    clients = [client(node, "iam") for node in cluster.nodes.values()]
    for number in range(ROUNDS):
        iam = clients[number % 3]
        target = {"UserName": "rita", "AccessKeyId": key[0]}
        await trio.to_thread.run_sync(lambda: iam.update_access_key(**target, Status="Inactive"))  # noqa: B023
        assert await statuses(cluster, b"/revoked/k", *key) == REFUSED, number
        await trio.to_thread.run_sync(lambda: iam.update_access_key(**target, Status="Active"))  # noqa: B023
        assert await statuses(cluster, b"/revoked/k", *key) == ALLOWED, number
    clients[0].delete_access_key(UserName="rita", AccessKeyId=key[0])
    assert await statuses(cluster, b"/revoked/k", *key) == REFUSED


async def test_a_policy_changed_through_one_node_decides_on_all_at_once(
    cluster: ClusterProcess,
) -> None:
    """A hundred times withdrawn and given, of the user and of the bucket by turns."""
    clients = [(client(node, "iam"), client(node)) for node in cluster.nodes.values()]
    root = clients[0][1]
    root.create_bucket(Bucket="decided")
    root.put_object(Bucket="decided", Key="k", Body=b"1")
    key = make_user(cluster, "paula")
    deny = {
        "Effect": "Deny",
        "Principal": "*",
        "Action": "s3:GetObject",
        "Resource": "arn:aws:s3:::decided/*",
        "Condition": {"StringLike": {"aws:PrincipalArn": "*user/paula"}},
    }
    document = json.dumps({"Version": "2012-10-17", "Statement": deny})
    for number in range(ROUNDS):
        iam, s3 = clients[number % 3]
        if number % 2:
            iam.delete_user_policy(UserName="paula", PolicyName="reads")
        else:
            s3.put_bucket_policy(Bucket="decided", Policy=document)
        assert await statuses(cluster, b"/decided/k", *key) == REFUSED, number
        if number % 2:
            allow(iam, "paula")
        else:
            s3.delete_bucket_policy(Bucket="decided")
        assert await statuses(cluster, b"/decided/k", *key) == ALLOWED, number


def test_a_kms_key_made_through_one_node_is_used_through_the_others(
    cluster: ClusterProcess,
) -> None:
    """Made at one node's socket; written with it by the second, read by the third and the first."""
    one, two, three = cluster.nodes.values()
    client(one).create_bucket(Bucket="sealed")
    command = [sys.executable, "-m", "tools.rs3gwctl.main", "--json", "--data", str(one.data)]
    for name in ("photos", "videos"):
        done = subprocess.run(
            [*command, "kms", "key", "create", name],
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )
        assert done.returncode == 0, done.stderr
        for writer, reader in ((two, three), (three, one), (one, two)):
            for size in (10, 300_000):
                body = name.encode() * (size // 6)
                kind = {"ServerSideEncryption": "aws:kms", "SSEKMSKeyId": f"alias/{name}"}
                client(writer).put_object(Bucket="sealed", Key="k", Body=body, **kind)
                found = client(reader).get_object(Bucket="sealed", Key="k")
                assert found["Body"].read() == body
                assert found["ServerSideEncryption"] == "aws:kms"


def test_an_upload_begun_on_one_node_is_filled_completed_and_aborted_on_others(
    cluster: ClusterProcess,
) -> None:
    """Parts through the second and the third, listed by the first; completed on the second; an
    upload aborted on the third is unknown to the first."""
    one, two, three = (client(node) for node in cluster.nodes.values())
    one.create_bucket(Bucket="parts")
    upload = {"Bucket": "parts", "Key": "large"}
    upload["UploadId"] = one.create_multipart_upload(**upload)["UploadId"]
    bodies = {1: b"a" * PART, 2: b"b" * PART, 3: b"c" * 100}
    tags = {
        number: each.upload_part(**upload, PartNumber=number, Body=bodies[number])["ETag"]
        for number, each in ((2, three), (1, two), (3, three))
    }
    listed = one.list_parts(**upload)["Parts"]
    assert {part["PartNumber"]: part["ETag"] for part in listed} == tags
    named = [{"PartNumber": number, "ETag": tags[number]} for number in sorted(tags)]
    two.complete_multipart_upload(**upload, MultipartUpload={"Parts": named})
    for each in (one, two, three):
        assert each.get_object(Bucket="parts", Key="large")["Body"].read() == b"".join(
            bodies.values()
        )
        part = each.get_object(Bucket="parts", Key="large", PartNumber=2)
        assert part["Body"].read() == bodies[2]
        assert "Uploads" not in each.list_multipart_uploads(Bucket="parts")
    begun = two.create_multipart_upload(Bucket="parts", Key="given up")
    upload = {"Bucket": "parts", "Key": "given up", "UploadId": begun["UploadId"]}
    one.upload_part(**upload, PartNumber=1, Body=b"x" * 100_000)
    three.abort_multipart_upload(**upload)
    for each in (one, two, three):
        with pytest.raises(ClientError, match="NoSuchUpload"):
            each.upload_part(**upload, PartNumber=2, Body=b"y")


async def test_of_sixty_four_conditional_writers_over_all_nodes_one_wins(
    cluster: ClusterProcess,
) -> None:
    """If-None-Match on a new key, then If-Match on the winner's tag; everybody sees the winner."""
    root = client(cluster.nodes[2])
    root.create_bucket(Bucket="raced")
    for size in (10, 200_000):
        path = b"/raced/k%d" % size
        condition = {"if-none-match": "*"}
        for generation in range(3):
            answers = await race(cluster, path, condition, size, generation)
            winners = [body for status, body in answers if status == 200]
            assert len(winners) == 1, [status for status, _ in answers]
            assert {status for status, _ in answers} <= {200, 409, 412}
            for node in cluster.nodes.values():
                async with HttpClient(node.port) as http:
                    found = await http.request("GET", path)
                assert found.body == winners[0]
            condition = {"if-match": found.headers["etag"]}


async def race(
    cluster: ClusterProcess, path: bytes, condition: dict[str, str], size: int, generation: int
) -> list[tuple[int, bytes]]:
    """All at once, each through the next node: statuses with the bodies that were sent."""
    answers: list[tuple[int, bytes]] = []
    ports = [node.port for node in cluster.nodes.values()]

    async def write(number: int) -> None:
        body = (b"%d by %d " % (generation, number)).ljust(size, b".")
        async with HttpClient(ports[number % 3]) as http:
            answer = await http.request("PUT", path, headers=condition, body=body)
        answers.append((answer.status, body))

    async with trio.open_nursery() as nursery:
        for number in range(RACERS):
            nursery.start_soon(write, number)
    return answers


def test_a_listing_shows_every_key_acknowledged_before_it(cluster: ClusterProcess) -> None:
    """Three write through their nodes and each lists through the next one after every write."""
    nodes = [client(node) for node in cluster.nodes.values()]
    nodes[0].create_bucket(Bucket="listed")

    def work(number: int) -> None:
        written: set[str] = set()
        for count in range(40):
            key = f"{number}/{count:03d}"
            nodes[number].put_object(Bucket="listed", Key=key, Body=b"x")
            written.add(key)
            if count % 5 == 4:
                gone = f"{number}/{count - 2:03d}"
                nodes[number].delete_object(Bucket="listed", Key=gone)
                written.remove(gone)
            page = nodes[(number + 1) % 3].list_objects_v2(Bucket="listed", Prefix=f"{number}/")
            assert {entry["Key"] for entry in page["Contents"]} == written

    with ThreadPoolExecutor(3) as pool:
        for done in [pool.submit(work, number) for number in range(3)]:
            done.result()


async def test_what_rs3gwctl_changed_at_one_node_it_shows_at_the_others(
    cluster: ClusterProcess,
) -> None:
    """Accounts made at each node's socket by turns; at once the next one lists them and refuses
    their keys' ids a second time."""
    nodes = list(cluster.nodes.values())
    for number in range(15):
        key = f"AKIAMADETWICE{number:07d}"
        made = await admin(nodes[number % 3], AccountCreate(f"made{number}", access_key_id=key))
        assert made.error == ""
        asked = nodes[(number + 1) % 3]
        names = {each.display_name for each in (await admin(asked, AccountList())).accounts}
        assert names >= {f"made{each}" for each in range(number + 1)}
        again = await admin(asked, AccountCreate(f"again{number}", access_key_id=key))
        assert "exists already" in again.message


async def admin(node: NodeProcess, request: AdminRequest) -> AdminAnswer:
    """One frame to a node's socket, and the answer."""
    stream = await trio.open_unix_socket(str(node.data / SOCKET_PATH))
    async with stream:
        payload = msgspec.msgpack.encode(request)
        await stream.send_all(len(payload).to_bytes(4, "big") + payload)
        data = b""
        while len(data) < 4 or len(data) < 4 + int.from_bytes(data[:4], "big"):
            data += await stream.receive_some(65536)
    return msgspec.msgpack.decode(data[4:], type=AdminAnswer)
