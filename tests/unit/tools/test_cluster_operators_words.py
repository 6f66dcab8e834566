"""`rs3gwctl cluster ...` for people and scripts: words, exit statuses, and the signature."""

from __future__ import annotations

import json
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import botocore.auth
import pytest
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials
from click.testing import CliRunner, Result

from rs3gwd.admin.service import SERVICE
from rs3gwd.base.admin import AdminAnswer, ClusterTransfer
from rs3gwd.base.cluster_admin import (
    ClusterPicture,
    Finding,
    GroupPicture,
    Health,
    MemberPicture,
    NodePicture,
    Severity,
)
from tools.rs3gwctl import cluster_asking
from tools.rs3gwctl.cluster_amounts import as_ago, as_bytes, as_cell
from tools.rs3gwctl.main import main
from tools.rs3gwctl.remote import Endpoint, _signed, endpoint_of
from tools.rs3gwctl.session import SessionError

DOWN = Finding(Severity.WARNING, "node_down", "node 2", "It is dead.", "No further one may fail.")
KEYS = ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "AWS_CA_BUNDLE")


def picture(health: Health, *findings: Finding) -> ClusterPicture:
    """Two nodes and one group, of which the second node may be down."""
    up = health is Health.HEALTHY
    told = ("10.0.0.1:7", "10.0.0.1:9", "a", "1.0", 5 << 30, 20)
    return ClusterPicture(
        cluster="c",
        seen_by=1,
        at_ms=0,
        health=health,
        reads="go on",
        writes="go on",
        findings=list(findings),
        nodes=[
            NodePicture(1, "alive", True, *told, 0, 0.1, free_bytes=1 << 30, leads=1),
            NodePicture(2, "alive" if up else "dead", up, "", "", "", "", 0, 0, 90_000, None),
        ],
        groups=[
            GroupPicture(
                0,
                1,
                4,
                17,
                [MemberPicture(1, True, True, 17, 0), MemberPicture(2, True, up, 9, 8)],
                1 + up,
                2,
                up,
            )
        ],
    )


@pytest.fixture
def answers(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """What the daemon answers next, pictures and errors; the last one stays."""
    waiting: list[Any] = []

    def administer(data: Path, request: object) -> AdminAnswer:
        answer = waiting.pop(0) if len(waiting) > 1 else waiting[0]
        if isinstance(answer, Exception):
            raise answer
        return (
            AdminAnswer() if isinstance(request, ClusterTransfer) else AdminAnswer(cluster=answer)
        )

    monkeypatch.setattr(cluster_asking, "administer", administer)
    for name in KEYS:
        monkeypatch.delenv(name, raising=False)
    return waiting


def say(*words: str) -> Result:
    """Runs rs3gwctl in this process."""
    return CliRunner().invoke(main, words)


@pytest.mark.parametrize(
    ("health", "status"), [(Health.HEALTHY, 0), (Health.DEGRADED, 1), (Health.CRITICAL, 1)]
)
def test_the_exit_status_is_the_health(answers: list[Any], health: Health, status: int) -> None:
    """Of `health` and `status`, for people and programs; `nodes` and `groups` only show."""
    answers.append(picture(health))
    for words in (("health",), ("status",)):
        assert say("cluster", *words).exit_code == status
        assert say("--json", "cluster", *words).exit_code == status
    for words in (("nodes",), ("groups",)):
        assert say("cluster", *words).exit_code == 0


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (SessionError("nobody"), 2),
        (SessionError("NotACluster: x", code="NotACluster"), 2),
        (SessionError("AccessDenied: x", code="AccessDenied"), 2),
        (SessionError("NoSuchGroup: x", code="NoSuchGroup"), 1),
        (SessionError("NotHandedOver: x", code="NotHandedOver"), 1),
    ],
)
def test_a_refusal_is_told_from_silence(
    answers: list[Any], error: SessionError, status: int
) -> None:
    """1 for what the cluster says no to, 2 where it could not be asked."""
    answers.append(error)
    said = say("cluster", "transfer-leader", "0", "1")
    assert said.exit_code == status
    assert str(error) in said.output


def test_what_is_wrong_is_said_in_words(answers: list[Any]) -> None:
    """The finding, what it means, the node in the table and the group without its quorum."""
    answers.append(picture(Health.DEGRADED, DOWN))
    said = say("cluster", "status").output
    assert "cluster c is degraded, as node 1 sees it at 1970-01-01 00:00:00 UTC" in said
    assert "warning: node 2: It is dead." in said
    assert "No further one may fail." in said
    assert "1 (0), 2 (down)" in said
    assert "1/2 NO QUORUM" in said
    assert "1.0 GiB" in said
    values = json.loads(say("--json", "cluster", "nodes").output)
    assert [each["heard_ms_ago"] for each in values] == [0, 90_000]


def test_watching_speaks_when_something_changes(
    answers: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not again for the same, and again after silence; Ctrl-C ends with the last state."""
    bad = picture(Health.DEGRADED, DOWN)
    answers += [picture(Health.HEALTHY), bad, bad, SessionError("nobody"), bad, bad]
    looks = iter(range(5))

    def sleep(seconds: float) -> None:
        if next(looks, None) is None:
            raise KeyboardInterrupt

    monkeypatch.setattr("tools.rs3gwctl.cluster_operators.time.sleep", sleep)
    said = say("--json", "cluster", "health", "--watch")
    lines = [json.loads(line) for line in said.output.splitlines()]
    assert [line.get("health", "silence") for line in lines] == [
        "healthy",
        "degraded",
        "silence",
        "degraded",
    ]
    assert said.exit_code == 1


def test_an_endpoint_is_for_what_can_be_asked_from_anywhere(
    answers: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Commands that work on this machine refuse it, and so do wrong addresses and keys."""
    answers.append(picture(Health.HEALTHY))
    remote = ("--endpoint", "http://127.0.0.1:9")
    assert "needs a key" in say(*remote, "cluster", "status").output
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIA")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    for words in (("account", "list"), ("cluster", "init"), ("cluster", "join"), ("status",)):
        said = say(*remote, *words)
        assert said.exit_code == 2
        assert "Error" in said.output
    assert say("--endpoint", "ftp://host", "cluster", "status").exit_code == 2


def test_the_key_is_taken_from_options_before_variables(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A token of the environment goes with the key of the environment alone."""
    for name in KEYS[:3]:
        monkeypatch.setenv(name, name.lower())
    own = endpoint_of("https://h:1/", access_key=None, secret_file=None, authority=None)
    assert (own.access_key, own.secret) == ("aws_access_key_id", "aws_secret_access_key")
    assert (own.url, own.token) == ("https://h:1", "aws_session_token")
    kept = tmp_path / "secret"
    kept.write_text("given\n")
    other = endpoint_of("https://h:1", access_key="A", secret_file=kept, authority=None)
    assert (other.access_key, other.secret, other.token) == ("A", "given", "")


@pytest.mark.parametrize("token", ["", "a token"])
def test_requests_are_signed_as_botocore_signs_them(
    monkeypatch: pytest.MonkeyPatch, token: str
) -> None:
    """The same headers give the same signature."""
    now_s = 1_800_000_000
    monkeypatch.setattr(
        botocore.auth, "get_current_datetime", lambda: datetime.fromtimestamp(now_s, UTC)
    )
    endpoint = Endpoint("http://h:1", "AKIA", "secret", token)
    signed = _signed(endpoint, "PUT", "/_rs3gwd/x", b"{}", now_s)
    request = AWSRequest("PUT", "http://h:1/_rs3gwd/x", headers={"host": "h:1"}, data=b"{}")
    credentials = Credentials("AKIA", "secret", token or None)
    botocore.auth.SigV4Auth(credentials, SERVICE, "us-east-1").add_auth(request)
    assert signed["authorization"] == request.headers["Authorization"]
    assert signed["x-amz-date"] == time.strftime("%Y%m%dT%H%M%SZ", time.gmtime(now_s))


def test_amounts_are_short() -> None:
    """Numbers, bytes and times as tables have them."""
    assert [as_cell(None), as_cell(0)] == ["-", "0"]
    assert [as_bytes(each) for each in (None, 0, 1023, 1 << 20, 1 << 60)] == [
        "-",
        "0 B",
        "1023 B",
        "1.0 MiB",
        "1024.0 PiB",
    ]
    assert [as_ago(each) for each in (None, 1500, 600_000)] == ["never", "1.5 s ago", "10 min ago"]
