"""A full disk: writes are refused with a clear code, reads and deletes go on, nothing is half."""

import os
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError
from node_clients import s3_of

from rs3gwd.testing.node_process import NodeProcess

MIB = 1 << 20

SMALL_DISK = {
    "RS3GW_FREE_BYTES_RESERVE": "16 MiB",
    "RS3GW_SEGMENT_BYTES": "8 MiB",
    "RS3GW_SEGMENT_PREALLOCATE_BYTES": "1 MiB",
    "RS3GW_COMPACTION_INTERVAL": "1",
}


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 96 MiB of its own."""
    if os.geteuid() != 0:
        pytest.skip("mounting a small file system needs root")
    mount = tmp_path / "disk"
    mount.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=96m", "tmpfs", str(mount)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        pytest.skip(f"this machine does not let tests mount: {done.stderr.strip()}")
    yield mount
    subprocess.run(["umount", str(mount)], check=True)


def fill(put: Callable[[str, bytes], object], size: int) -> tuple[dict[str, bytes], ClientError]:
    """Writes objects of `size` until one is refused; what was acknowledged, and the refusal."""
    stored: dict[str, bytes] = {}
    for number in range(4000):
        body = os.urandom(size)
        try:
            put(f"k{size}-{number:04d}", body)
        except ClientError as error:
            return stored, error
        stored[f"k{size}-{number:04d}"] = body
    raise AssertionError("the disk never became full")


def test_a_full_disk_refuses_writes_and_nothing_else(
    small_disk: Path, start_node: Callable[..., NodeProcess]
) -> None:
    """Writes end in 507, all that was acknowledged reads back, and deletes make room."""
    node = start_node(data=small_disk / "data", environ=SMALL_DISK)
    s3 = s3_of(node)
    s3.create_bucket(Bucket="full")

    def put(key: str, body: bytes) -> None:
        s3.put_object(Bucket="full", Key=key, Body=body)

    stored: dict[str, bytes] = {}
    for size in (3 * MIB, 30_000):
        acknowledged, refusal = fill(put, size)
        stored.update(acknowledged)
        status = refusal.response["ResponseMetadata"]["HTTPStatusCode"]
        assert (status, refusal.response["Error"]["Code"]) == (507, "InsufficientStorage")
    listed = [
        each["Key"]
        for page in s3.get_paginator("list_objects_v2").paginate(Bucket="full")
        for each in page.get("Contents", [])
    ]
    assert listed == sorted(stored)
    for key, body in stored.items():
        assert s3.get_object(Bucket="full", Key=key)["Body"].read() == body
    for key in stored:
        s3.delete_object(Bucket="full", Key=key)
    assert s3.list_objects_v2(Bucket="full")["KeyCount"] == 0
    node.stop()
    node.start()
    wait_until_writable(s3)
    assert s3.get_object(Bucket="full", Key="again")["Body"].read() == b"room"


def wait_until_writable(s3: Any) -> None:
    """Returns once a write is taken again: compaction needs a moment to give the space back."""
    refusals = []
    for _ in range(200):
        try:
            s3.put_object(Bucket="full", Key="again", Body=b"room")
        except ClientError as error:
            refusals.append(error.response["Error"]["Code"])
        else:
            assert set(refusals) <= {"InsufficientStorage"}
            return
    raise AssertionError(f"deleting everything made no room: {refusals[-1]}")
