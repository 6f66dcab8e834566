"""A disk that takes not one more write: nothing ends, nothing is lost, and room heals it."""

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError
from node_clients import s3_of

from chaos.node_disks import DiskState, NodeDisk, build_shims
from chaos.trace import NoCompiler
from rs3gwd.testing.node_process import NodeProcess

REFUSED = {"InsufficientStorage", "SlowDown", "ServiceUnavailable"}
ROUNDS = 200
"""Requests until there must have been an answer; each waits for the node's own bounds."""


@pytest.fixture
def disk(tmp_path: Path) -> NodeDisk:
    """The disk of the node whose data is in `tmp_path / "data"`."""
    data = tmp_path / "data"
    data.mkdir()
    try:
        return NodeDisk(data, build_shims(tmp_path))
    except NoCompiler as error:
        pytest.skip(str(error))


@pytest.fixture
def node(disk: NodeDisk, start_node: Callable[..., NodeProcess]) -> Iterator[NodeProcess]:
    """A lone node over that disk."""
    environ = {**disk.begin_life(), "LD_PRELOAD": ":".join(map(str, disk.libraries))}
    yield start_node(environ=environ)
    disk.set(DiskState.WELL)


def refusal_of(call: Callable[..., Any], **arguments: Any) -> tuple[int, str]:
    """Status and code with which a request is refused."""
    with pytest.raises(ClientError) as caught:
        call(**arguments)
    answer = caught.value.response
    return answer["ResponseMetadata"]["HTTPStatusCode"], answer["Error"]["Code"]


def put_when_there_is_room(s3: Any, key: str, body: bytes) -> None:
    """Asks until a write is taken; every refusal before says that there is no room."""
    codes = []
    for _ in range(ROUNDS):
        try:
            s3.put_object(Bucket="room", Key=key, Body=body)
        except ClientError as error:
            codes.append(error.response["Error"]["Code"])
            assert codes[-1] in REFUSED
        else:
            return
    raise AssertionError(f"there is room, and writes are refused: {codes[-1]}")


def test_a_lone_node_without_room_for_any_write_stays_up_and_heals(
    disk: NodeDisk, node: NodeProcess
) -> None:
    """Writes and deletes are refused as a full disk refuses them, reads go on, and once there is
    room the same process writes again; what was acknowledged is there, also after a kill."""
    s3 = s3_of(node)
    s3.create_bucket(Bucket="room")
    stored = {f"k{size}": os.urandom(size) for size in (10, 5_000, 300_000)}
    for key, body in stored.items():
        s3.put_object(Bucket="room", Key=key, Body=body)
    pid = node.pid
    for turn in range(3):
        disk.set(DiskState.NO_ROOM)
        for size in (10, 5_000, 300_000):
            refused = refusal_of(s3.put_object, Bucket="room", Key=f"n{size}", Body=bytes(size))
            assert refused == (507, "InsufficientStorage")
        assert refusal_of(s3.delete_object, Bucket="room", Key="k10") == (
            507,
            "InsufficientStorage",
        )
        assert refusal_of(s3.create_bucket, Bucket="other") == (507, "InsufficientStorage")
        for key, body in stored.items():
            assert s3.get_object(Bucket="room", Key=key)["Body"].read() == body
        listed = s3.list_objects_v2(Bucket="room")["Contents"]
        assert [each["Key"] for each in listed] == sorted(stored)
        disk.set(DiskState.WELL)
        body = os.urandom(20_000)
        put_when_there_is_room(s3, f"t{turn}", body)
        stored[f"t{turn}"] = body
        assert node.pid == pid
        assert disk.denials().writes > 0
    node.kill()
    node.start()
    for key, body in stored.items():
        assert s3.get_object(Bucket="room", Key=key)["Body"].read() == body
