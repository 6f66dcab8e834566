"""rs3gwctl for users, groups, roles and policies, on a running node and on a stopped one."""

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import boto3
import pytest
from botocore.exceptions import ClientError

from rs3gwd.testing.node_process import REGION, NodeProcess

Start = Callable[..., NodeProcess]

READ_ONLY = "arn:aws:iam::aws:policy/AmazonS3ReadOnlyAccess"
LISTS = {
    "Version": "2012-10-17",
    "Statement": [{"Effect": "Allow", "Action": "s3:ListAllMyBuckets", "Resource": "*"}],
}


def ctl(data: Path, *arguments: str | Path, status: int = 0) -> str:
    """Runs rs3gwctl and gives what it printed."""
    done = subprocess.run(
        [sys.executable, "-m", "tools.rs3gwctl.main", "--data", data, *arguments],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == status, f"{arguments}: {done.returncode}\n{done.stdout}{done.stderr}"
    return done.stdout + done.stderr


def told(data: Path, *arguments: str | Path) -> Any:
    """What it prints for programs."""
    return json.loads(ctl(data, "--json", *arguments))


def lists_buckets(node: NodeProcess, key: dict[str, str]) -> str:
    """The error code of ListBuckets with a key, or `ok`."""
    s3 = boto3.client(
        "s3",
        endpoint_url=node.url,
        region_name=REGION,
        aws_access_key_id=key["AccessKeyId"],
        aws_secret_access_key=key["SecretAccessKey"],
    )
    try:
        s3.list_buckets()
    except ClientError as error:
        return str(error.response["Error"]["Code"])
    return "ok"


@pytest.mark.parametrize("running", [True, False])
def test_a_user_is_made_allowed_and_removed(
    start_node: Start, tmp_path: Path, running: bool
) -> None:
    """The whole life of one, whether the daemon runs or not; each change holds at once."""
    node = start_node()
    data = node.data
    document = tmp_path / "lists.json"
    document.write_text(json.dumps(LISTS))
    if not running:
        node.stop()
    assert told(data, "user", "create", "bob")["UserName"] == "bob"
    key = told(data, "user", "key", "create", "bob")
    ctl(data, "user", "put-policy", "bob", "lists", document)
    shown = told(data, "user", "show-policy", "bob", "lists")
    assert json.loads(shown["PolicyDocument"]) == LISTS
    if not running:
        node.start()
    assert lists_buckets(node, key) == "ok"
    ctl(data, "user", "delete-policy", "bob", "lists")
    assert lists_buckets(node, key) == "AccessDenied"
    ctl(data, "user", "attach", "bob", READ_ONLY)
    assert lists_buckets(node, key) == "ok"
    assert told(data, "user", "show", "bob")["AttachedPolicies"] == [READ_ONLY]
    ctl(data, "user", "key", "disable", "bob", key["AccessKeyId"])
    assert lists_buckets(node, key) == "InvalidAccessKeyId"
    ctl(data, "user", "key", "enable", "bob", key["AccessKeyId"])
    assert lists_buckets(node, key) == "ok"
    assert "DeleteConflict" in ctl(data, "user", "delete", "bob", status=1)
    ctl(data, "user", "detach", "bob", READ_ONLY)
    ctl(data, "user", "key", "delete", "bob", key["AccessKeyId"])
    ctl(data, "user", "delete", "bob")
    assert told(data, "user", "list") == []


def test_groups_roles_and_managed_policies(start_node: Start, tmp_path: Path) -> None:
    """What a user has by a group; a role with its trust; a policy that several have."""
    node = start_node()
    data = node.data
    document = tmp_path / "lists.json"
    document.write_text(json.dumps(LISTS))
    arn = told(data, "managed-policy", "create", "lists", document)["Arn"]
    ctl(data, "user", "create", "bob")
    key = told(data, "user", "key", "create", "bob")
    ctl(data, "group", "create", "staff")
    ctl(data, "group", "attach", "staff", arn)
    assert lists_buckets(node, key) == "AccessDenied"
    ctl(data, "group", "add", "staff", "bob")
    assert lists_buckets(node, key) == "ok"
    ctl(data, "user", "rename", "bob", "rob")
    assert told(data, "group", "show", "staff")["Users"] == ["rob"]
    ctl(data, "group", "remove", "staff", "rob")
    assert lists_buckets(node, key) == "AccessDenied"
    statement = {"Effect": "Allow", "Principal": {"AWS": "*"}, "Action": "sts:AssumeRole"}
    trust = tmp_path / "trust.json"
    trust.write_text(json.dumps({"Version": "2012-10-17", "Statement": [statement]}))
    assert told(data, "role", "create", "reader", trust)["RoleName"] == "reader"
    assert [each["RoleName"] for each in told(data, "role", "list")] == ["reader"]
    ctl(data, "role", "action", "TagRole", "RoleName=reader", "Tags.member.1.Key=team")
    assert told(data, "role", "show", "reader")["Tags"] == [{"Key": "team", "Value": ""}]
    names = [each["PolicyName"] for each in told(data, "managed-policy", "list")]
    assert {"lists", "AdministratorAccess"} <= set(names)
    ctl(data, "group", "detach", "staff", arn)
    ctl(data, "managed-policy", "delete", arn)


def test_people_get_tables_and_errors_that_help(start_node: Start, tmp_path: Path) -> None:
    """A secret is shown once; a wrong name, document or action says what is wrong."""
    data = start_node().data
    ctl(data, "user", "create", "bob")
    secret = told(data, "user", "key", "create", "bob")["SecretAccessKey"]
    listed = ctl(data, "user", "list")
    assert listed.split()[0] == "NAME"
    assert "user/bob" in listed
    keys = ctl(data, "user", "key", "list", "bob")
    assert "Active" in keys
    assert secret not in keys + ctl(data, "user", "show", "bob")
    broken = tmp_path / "broken.json"
    broken.write_text("{}")
    for arguments, code in (
        (("user", "show", "nobody"), "NoSuchEntity"),
        (("user", "create", "a b"), "ValidationError"),
        (("user", "create", "bob"), "EntityAlreadyExists"),
        (("user", "put-policy", "bob", "p", broken), "MalformedPolicyDocument"),
        (("user", "list", "--account", "nobody"), "NoSuchAccount"),
        (("user", "action", "CreateUsr"), "did you mean CreateUser?"),
    ):
        assert code in ctl(data, *arguments, status=1), arguments
