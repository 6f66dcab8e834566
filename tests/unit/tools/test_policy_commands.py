"""`rs3gwctl policy`: questions asked of files."""

import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from tools.rs3gwctl.main import main

BOB = "arn:aws:iam::111111111111:user/bob"
OWN_FOLDER = {
    "Version": "2012-10-17",
    "Statement": [
        {
            "Sid": "own",
            "Effect": "Allow",
            "Action": "s3:GetObject",
            "Resource": "arn:aws:s3:::b/${aws:username}/*",
        }
    ],
}
PUBLIC = {
    "Version": "2012-10-17",
    "Statement": [
        {
            "Effect": "Allow",
            "Principal": "*",
            "Action": "s3:GetObject",
            "Resource": "arn:aws:s3:::b/*",
            "Condition": {"IpAddress": {"aws:SourceIp": "10.0.0.0/8"}},
        }
    ],
}


@pytest.fixture
def run(tmp_path: Path) -> Any:
    """Runs `rs3gwctl`; a dict among the arguments becomes a file, given by its path."""

    def run_command(*arguments: Any) -> Result:
        texts = []
        for index, argument in enumerate(arguments):
            if isinstance(argument, dict):
                path = tmp_path / f"{index}.json"
                path.write_text(json.dumps(argument))
                argument = str(path)
            texts.append(argument)
        return CliRunner().invoke(main, texts)

    return run_command


def asking(resource: str, *more: Any) -> list[Any]:
    """The arguments for reading an object."""
    return ["--action", "s3:GetObject", "--resource", f"arn:aws:s3:::b/{resource}", *more]


def test_simulate_says_yes_or_no_by_its_exit_status(run: Any) -> None:
    """0 for yes, 1 for no, and the statement that decided."""
    options = ("--principal", BOB, "--identity-policy", OWN_FOLDER)
    yes = run("policy", "simulate", *asking("bob/x", *options))
    assert yes.exit_code == 0, yes.output
    assert yes.output.startswith("allowed: ")
    assert "by own of the identity policy" in yes.output
    no = run("policy", "simulate", *asking("eve/x", *options))
    assert no.exit_code == 1
    assert no.output.startswith("not allowed: ")


def test_condition_keys_are_given_by_option(run: Any) -> None:
    """An anonymous caller from an address."""
    options = ("--owner", "111111111111", "--bucket-policy", PUBLIC, "--context")
    near = run("policy", "simulate", *asking("k", *options, "aws:SourceIp=10.1.1.1"))
    assert near.exit_code == 0, near.output
    far = run("policy", "simulate", *asking("k", *options, "aws:SourceIp=192.0.2.1"))
    assert far.exit_code == 1


def test_explain_shows_the_obstacle_and_the_change(run: Any) -> None:
    """What the request has, and what to add."""
    result = run(
        "policy", "explain", *asking("eve/x", "--principal", BOB, "--identity-policy", OWN_FOLDER)
    )
    assert result.exit_code == 1
    assert "resource: Resource is arn:aws:s3:::b/${aws:username}/*" in result.output
    assert "-> own of the identity policy" in result.output


def test_sessions_and_boundaries_have_their_say(run: Any) -> None:
    """A session is asked with the role's policies, its own and the boundary."""
    session = "arn:aws:sts::111111111111:assumed-role/reader/one"
    everything = {"Statement": {"Effect": "Allow", "Action": "s3:*", "Resource": "*"}}
    nothing = {"Statement": {"Effect": "Allow", "Action": "ec2:*", "Resource": "*"}}
    options = ("--principal", session, "--identity-policy", everything)
    assert run("policy", "simulate", *asking("k", *options)).exit_code == 0
    for limit in ("--boundary", "--session-policy"):
        assert run("policy", "simulate", *asking("k", *options, limit, nothing)).exit_code == 1


def test_json_is_for_programs(run: Any) -> None:
    """All three commands print it."""
    options = ("--principal", BOB, "--identity-policy", OWN_FOLDER)
    verdict = json.loads(run("--json", "policy", "simulate", *asking("bob/x", *options)).output)
    assert verdict["outcome"] == "allowed"
    explained = json.loads(run("--json", "policy", "explain", *asking("bob/x", *options)).output)
    assert explained["statements"][0]["obstacles"] == []
    findings = json.loads(run("--json", "policy", "lint", PUBLIC, "--bucket", "b").output)
    assert findings == []


def test_lint_fails_for_errors_and_refuses_what_the_server_refuses(run: Any) -> None:
    """Findings as a table; a malformed document with the server's words."""
    bad = {"Statement": {"Effect": "Allow", "Action": "s3:GetObjet", "Resource": "*"}}
    result = run("policy", "lint", bad)
    assert result.exit_code == 1
    assert "did you mean s3:GetObject?" in result.output
    assert run("policy", "lint", OWN_FOLDER).output == "nothing found\n"
    refused = run("policy", "lint", PUBLIC, "--bucket", "other")
    assert refused.exit_code == 2
    assert "Policy has invalid resource" in refused.output


@pytest.mark.parametrize(
    "arguments",
    [
        ["--action", "s3:GetObject", "--resource", "b/k"],
        asking("k", "--principal", "bob"),
        asking("k", "--principal", "arn:aws:iam::111111111111:role/reader"),
        asking("k", "--context", "aws:SourceIp"),
    ],
)
def test_questions_that_make_no_sense_are_refused(run: Any, arguments: list[str]) -> None:
    """A resource that is no ARN, a caller that cannot ask, a key without a value."""
    result = run("policy", "simulate", *arguments)
    assert result.exit_code == 2
    assert result.output.startswith("Error: ")
