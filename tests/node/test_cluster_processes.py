"""Three daemons with certificates of their own: a client meets one store through any of them."""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import boto3
import pytest
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

from rs3gwd.testing.local_cluster import make_plan, start_node

READY_SECONDS_MAX = 60.0


class Daemons:
    """The processes of a cluster, by number."""

    def __init__(self, folder: Path) -> None:
        self.plan = make_plan(folder, 3)
        self.processes: dict[int, subprocess.Popen[bytes]] = {}

    def start(self, number: int) -> None:
        self.processes[number] = start_node(self.plan, self.plan["nodes"][number - 1])

    def client(self, number: int) -> Any:
        return boto3.client(
            "s3",
            endpoint_url="http://" + self.plan["nodes"][number - 1]["s3"],
            aws_access_key_id=self.plan["access_key"],
            aws_secret_access_key=self.plan["secret_key"],
            region_name="us-east-1",
            config=Config(s3={"addressing_style": "path"}, retries={"max_attempts": 0}),
        )

    def wait_ready(self, number: int) -> Any:
        client = self.client(number)
        deadline = time.monotonic() + READY_SECONDS_MAX
        while True:
            try:
                client.list_buckets()
            except (BotoCoreError, ClientError):
                assert time.monotonic() < deadline, f"node {number} does not serve"
                time.sleep(0.1)
            else:
                return client


@pytest.fixture
def daemons(tmp_path: Path) -> Iterator[Daemons]:
    made = Daemons(tmp_path / "cluster")
    for number in (1, 2, 3):
        made.start(number)
    yield made
    for process in made.processes.values():
        process.terminate()
    for process in made.processes.values():
        process.wait(timeout=30)


def test_three_daemons_are_one_store_and_one_may_be_killed(daemons: Daemons) -> None:
    """What one acknowledged all show, with a node killed and when it is back."""
    one, two, three = (daemons.wait_ready(number) for number in (1, 2, 3))
    one.create_bucket(Bucket="bucket")
    bodies = {f"key {size}": os.urandom(size) for size in (0, 1000, 70_000, 3_000_000)}
    for key, data in bodies.items():
        two.put_object(Bucket="bucket", Key=key, Body=data)
        assert three.get_object(Bucket="bucket", Key=key)["Body"].read() == data
    daemons.processes[2].kill()
    daemons.processes[2].wait()
    bodies["while two was away"] = os.urandom(1_000_000)
    one.put_object(Bucket="bucket", Key="while two was away", Body=bodies["while two was away"])
    with pytest.raises(ClientError, match="PreconditionFailed"):
        three.put_object(Bucket="bucket", Key="key 1000", Body=b"", IfNoneMatch="*")
    daemons.start(2)
    back = daemons.wait_ready(2)
    listed = back.list_objects_v2(Bucket="bucket")["Contents"]
    assert [entry["Key"] for entry in listed] == sorted(bodies)
    for key, data in bodies.items():
        assert back.get_object(Bucket="bucket", Key=key)["Body"].read() == data
