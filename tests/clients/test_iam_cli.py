"""`aws iam` and `aws sts` as people type them: users, groups, roles, policies, keys, sessions."""

import json
import uuid
from collections.abc import Callable
from typing import Any

import pytest
from endpoints import Endpoint
from test_client_programs import CLIENTS, needs

Run = Callable[..., str]
Environ = dict[str, str]


class Cli:
    """The AWS CLI against an endpoint."""

    def __init__(self, endpoint: Endpoint, run: Run) -> None:
        self._aws = needs(CLIENTS / "aws")
        self._endpoint = endpoint
        self._run = run

    def __call__(self, *words: str, by: Environ | None = None) -> Any:
        """What a command prints, as JSON; a command that fails fails the test."""
        base = (self._aws, "--endpoint-url", self._endpoint.node.url, "--output", "json")
        printed = self._run(*base, *words, **(by or {}))
        return json.loads(printed) if printed.strip() else None

    def refusal(self, *words: str, by: Environ | None = None) -> str:
        """What a command that must fail says."""
        with pytest.raises(AssertionError) as caught:
            self(*words, by=by)
        return str(caught.value)


def environ_of(made: dict[str, Any]) -> Environ:
    """An access key or a session's credentials as the CLI reads them."""
    return {
        "AWS_ACCESS_KEY_ID": made["AccessKeyId"],
        "AWS_SECRET_ACCESS_KEY": made["SecretAccessKey"],
        "AWS_SESSION_TOKEN": made.get("SessionToken", ""),
    }


def document(*statements: dict[str, Any]) -> str:
    """A policy document."""
    return json.dumps({"Version": "2012-10-17", "Statement": list(statements)})


@pytest.mark.timeout(300)
def test_aws_cli_manages_users_and_sessions(endpoint: Endpoint, run: Run) -> None:
    """A user is made, allowed and given a key; a role is assumed, bounded and revoked."""
    aws = Cli(endpoint, run)
    name = f"cli-{uuid.uuid4().hex[:8]}"
    aws("s3api", "put-object", "--bucket", endpoint.bucket, "--key", "k")
    read = ("s3api", "head-object", "--bucket", endpoint.bucket, "--key", "k")
    user = aws("iam", "create-user", "--user-name", name, "--tags", "Key=team,Value=red")["User"]
    by = environ_of(aws("iam", "create-access-key", "--user-name", name)["AccessKey"])
    assert aws("sts", "get-caller-identity", by=by)["Arn"] == user["Arn"]
    assert "403" in aws.refusal(*read, by=by)
    allow = {"Effect": "Allow", "Action": ["s3:GetObject", "sts:AssumeRole"], "Resource": "*"}
    made = aws("iam", "create-policy", "--policy-name", name, "--policy-document", document(allow))[
        "Policy"
    ]
    aws("iam", "create-group", "--group-name", name)
    aws("iam", "attach-group-policy", "--group-name", name, "--policy-arn", made["Arn"])
    aws("iam", "add-user-to-group", "--group-name", name, "--user-name", name)
    aws(*read, by=by)
    session = environ_of(aws("sts", "get-session-token", by=by)["Credentials"])
    aws(*read, by=session)
    trust = {"Effect": "Allow", "Principal": {"AWS": user["Arn"]}, "Action": "sts:AssumeRole"}
    role = aws(
        "iam", "create-role", "--role-name", name, "--assume-role-policy-document", document(trust)
    )["Role"]
    put = {"Effect": "Allow", "Action": "s3:*", "Resource": "*"}
    inline = ("--role-name", name, "--policy-name", "p")
    aws("iam", "put-role-policy", *inline, "--policy-document", document(put))
    assume = ("sts", "assume-role", "--role-arn", role["Arn"], "--role-session-name", "job")
    worker = environ_of(aws(*assume, by=by)["Credentials"])
    aws(*read, by=worker)
    arn = aws("sts", "get-caller-identity", by=worker)["Arn"]
    assert arn.endswith(f":assumed-role/{name}/job")
    bounded = aws(*assume, "--policy", document({**put, "Action": "s3:PutObject"}), by=by)
    assert "403" in aws.refusal(*read, by=environ_of(bounded["Credentials"]))
    aws("iam", "delete-role-policy", *inline)
    assert "403" in aws.refusal(*read, by=worker)
    aws("iam", "delete-role", "--role-name", name)
    assert "400" in aws.refusal(*read, by=worker)
    key = by["AWS_ACCESS_KEY_ID"]
    status = ("--user-name", name, "--access-key-id", key)
    aws("iam", "update-access-key", *status, "--status", "Inactive")
    for over in (by, session):
        assert "(40" in aws.refusal(*read, by=over)
    aws("iam", "delete-access-key", *status)
    aws("iam", "remove-user-from-group", "--group-name", name, "--user-name", name)
    aws("iam", "detach-group-policy", "--group-name", name, "--policy-arn", made["Arn"])
    aws("iam", "delete-group", "--group-name", name)
    aws("iam", "delete-policy", "--policy-arn", made["Arn"])
    aws("iam", "delete-user", "--user-name", name)
    assert "NoSuchEntity" in aws.refusal("iam", "get-user", "--user-name", name)
