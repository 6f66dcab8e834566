"""rs3gwctl against a running node and against a stopped one."""

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import boto3
import pytest
from botocore.exceptions import ClientError
from node_clients import s3_of

from rs3gwd.daemon.bootstrap import CREDENTIALS_FILE
from rs3gwd.testing.node_process import REGION, SECRET_KEY, NodeProcess

Start = Callable[..., NodeProcess]

IMPORTED_ID = "79a59df900b949e55d96a1e698fbacedfd6e09d98eacf8f8d5218e7cd47ef2be"
"""The canonical id of the examples in the Amazon S3 API Reference."""


def ctl(data: Path, *arguments: str | Path, status: int = 0) -> str:
    """Runs rs3gwctl on a data directory and gives what it printed."""
    done = subprocess.run(
        [sys.executable, "-m", "tools.rs3gwctl.main", "--data", data, *arguments],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == status, f"{arguments}: {done.returncode}\n{done.stdout}{done.stderr}"
    return done.stdout + done.stderr


def make_account(data: Path, *arguments: str | Path) -> dict[str, Any]:
    """Makes an account and gives what --json tells of it."""
    told: dict[str, Any] = json.loads(ctl(data, "--json", "account", "create", *arguments))
    return told


@pytest.mark.parametrize("running", [True, False])
def test_an_account_made_by_the_command_can_be_used(start_node: Start, running: bool) -> None:
    """A new account works at once, whether the daemon was running when it was made or not."""
    node = start_node()
    if not running:
        node.stop()
    told = make_account(node.data, "alice", "--email", "alice@example.org")
    if not running:
        node.start()
    s3 = s3_of(node, told["keys"][0]["access_key_id"], told["keys"][0]["secret"])
    s3.create_bucket(Bucket="of-alice")
    owner = s3.list_buckets()["Owner"]
    assert owner["ID"] == told["accounts"][0]["canonical_id"]
    assert "alice" in ctl(node.data, "account", "list")


def test_keys_ids_and_names_of_another_store_can_be_imported(
    start_node: Start, tmp_path: Path
) -> None:
    """Given keys, id and name are what clients then see, so their settings stay as they are."""
    node, secret = start_node(), tmp_path / "secret"
    secret.write_text("wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY\n")
    make_account(
        node.data,
        "mtd@example.com",
        "--canonical-id",
        IMPORTED_ID,
        "--access-key",
        "AKIAIOSFODNN7EXAMPLE",
        "--secret-key-file",
        secret,
    )
    s3 = s3_of(node, "AKIAIOSFODNN7EXAMPLE", "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY")
    assert s3.list_buckets()["Owner"]["ID"] == IMPORTED_ID
    s3.create_bucket(Bucket="imported")
    s3.put_object(Bucket="imported", Key="k", Body=b"")
    entry = s3.list_objects_v2(Bucket="imported", FetchOwner=True)["Contents"][0]
    assert entry["Owner"] == {"ID": IMPORTED_ID, "DisplayName": "mtd@example.com"}


def test_only_the_owner_of_a_bucket_has_access(start_node: Start) -> None:
    """Another account neither reads, lists, writes nor takes the name of a bucket."""
    node = start_node()
    s3_of(node).create_bucket(Bucket="of-root")
    s3_of(node).put_object(Bucket="of-root", Key="k", Body=b"")
    key = make_account(node.data, "mallory")["keys"][0]
    other = s3_of(node, key["access_key_id"], key["secret"])
    attempts: list[tuple[Callable[..., Any], dict[str, Any], str]] = [
        (other.get_object, {"Bucket": "of-root", "Key": "k"}, "AccessDenied"),
        (other.get_object, {"Bucket": "of-root", "Key": "missing"}, "AccessDenied"),
        (other.put_object, {"Bucket": "of-root", "Key": "k", "IfNoneMatch": "*"}, "AccessDenied"),
        (other.list_objects_v2, {"Bucket": "of-root"}, "AccessDenied"),
        (other.delete_bucket, {"Bucket": "of-root"}, "AccessDenied"),
        (other.create_bucket, {"Bucket": "of-root"}, "BucketAlreadyExists"),
    ]
    for operation, arguments, code in attempts:
        with pytest.raises(ClientError) as caught:
            operation(**arguments)
        assert caught.value.response["Error"]["Code"] == code
    assert other.list_buckets()["Buckets"] == []


def test_a_disabled_key_is_refused_from_the_next_request_on(start_node: Start) -> None:
    """Disabling, enabling and deleting a key hold at once, without a restart."""
    node = start_node()
    key = make_account(node.data, "bob")["keys"][0]
    s3 = s3_of(node, key["access_key_id"], key["secret"])
    s3.list_buckets()
    ctl(node.data, "account", "key", "disable", key["access_key_id"])
    with pytest.raises(ClientError) as caught:
        s3.list_buckets()
    assert caught.value.response["Error"]["Code"] == "InvalidAccessKeyId"
    ctl(node.data, "account", "key", "enable", key["access_key_id"])
    s3.list_buckets()
    ctl(node.data, "account", "key", "delete", key["access_key_id"])
    with pytest.raises(ClientError):
        s3.list_buckets()


def test_a_bad_import_names_what_is_wrong_and_makes_nothing(start_node: Start) -> None:
    """A canonical id that is none is refused with a reason, and the account does not exist."""
    node = start_node()
    said = ctl(node.data, "account", "create", "eve", "--canonical-id", "xyz", status=1)
    assert "64" in said
    assert "eve" not in ctl(node.data, "account", "list")


def test_the_durability_class_of_a_bucket_can_be_changed(start_node: Start) -> None:
    """A bucket's class is strict unless chosen, changes by command, and each write says it."""
    node = start_node()
    s3 = s3_of(node)
    s3.create_bucket(Bucket="classy")

    def reached() -> str:
        answer = s3.put_object(Bucket="classy", Key="k", Body=b"x")
        header: str = answer["ResponseMetadata"]["HTTPHeaders"]["x-rs3gw-durability"]
        return header

    assert reached() == "strict"
    ctl(node.data, "bucket", "durability", "classy", "relaxed")
    assert reached() == "relaxed"


def test_check_finds_a_sound_store_sound_and_a_flipped_bit(start_node: Start) -> None:
    """`check` works on a running and on a stopped node, and exits with 1 when damage is found."""
    node = start_node()
    s3 = s3_of(node)
    s3.create_bucket(Bucket="checked")
    for number in range(20):
        s3.put_object(Bucket="checked", Key=f"k{number}", Body=b"b" * 10_000 * (number + 1))
    ctl(node.data, "check")
    node.stop()
    ctl(node.data, "check")
    segment = max((node.data / "segments").iterdir(), key=lambda path: path.stat().st_mtime)
    content = bytearray(segment.read_bytes())
    content[content.index(b"b" * 5000) + 77] ^= 1
    segment.write_bytes(content)
    said = ctl(node.data, "check", status=1)
    assert "checksum" in said.lower()


def test_status_shows_the_figures_of_a_running_node(start_node: Start) -> None:
    """As a table and as JSON."""
    node = start_node()
    s3_of(node).create_bucket(Bucket="counted")
    figures = json.loads(ctl(node.data, "--json", "status"))
    assert (figures["state"], figures["draining"]) == ("running", False)
    assert figures["requests_total"] >= 1
    assert "requests_in_flight" in ctl(node.data, "status")


def client_of(node: NodeProcess, service: str, key_id: str, secret: str) -> Any:
    """A client of boto3 with a key."""
    return boto3.client(
        service,
        endpoint_url=node.url,
        region_name=REGION,
        aws_access_key_id=key_id,
        aws_secret_access_key=secret,
    )


def holds(data: Path, secret: str) -> list[str]:
    """The names of the files under `data` that hold a secret, but for the one that shows it."""
    return [
        path.name
        for path in data.rglob("*")
        if path.is_file() and path.name != CREDENTIALS_FILE and secret.encode() in path.read_bytes()
    ]


def test_no_secret_lies_in_the_store_as_it_is(start_node: Start) -> None:
    """Of the root, of an account and of a user: wrapped, and good after a restart."""
    node = start_node()
    team = make_account(node.data, "team")["keys"][0]
    iam = client_of(node, "iam", team["access_key_id"], team["secret"])
    iam.create_user(UserName="bob")
    key = iam.create_access_key(UserName="bob")["AccessKey"]
    node.stop()
    for secret in (SECRET_KEY, team["secret"], key["SecretAccessKey"]):
        assert holds(node.data, secret) == []
    node.start()
    sts = client_of(node, "sts", key["AccessKeyId"], key["SecretAccessKey"])
    assert sts.get_caller_identity()["Arn"].endswith(":user/bob")


def test_secrets_of_an_older_store_are_wrapped_at_the_start(start_node: Start) -> None:
    """One that was made while no daemon ran, and so no keyring was open."""
    node = start_node()
    node.stop()
    team = make_account(node.data, "team")["keys"][0]
    assert holds(node.data, team["secret"]) != []
    node.start()
    assert "secrets of access keys wrapped" in node.tail()
    s3 = client_of(node, "s3", team["access_key_id"], team["secret"])
    assert s3.list_buckets()["Buckets"] == []
