"""What `rs3gwctl --endpoint` sends is what the admin API takes."""

from __future__ import annotations

from typing import Any, get_args

import msgspec
import pytest
from msgspec import Struct

from rs3gwd.admin.operations import (
    PREFIX,
    LayoutRetreated,
    LayoutSet,
    LayoutWanted,
    LeaderSet,
    LeaderWanted,
    NodeRemoved,
    RemovalWanted,
    RevocationWanted,
    RotationWanted,
)
from rs3gwd.admin.service import find_operation
from rs3gwd.base.admin import (
    AdminAnswer,
    ClusterAuthorityRevoke,
    ClusterAuthorityRotate,
    ClusterAuthorityShow,
    ClusterLayoutApply,
    ClusterLayoutPlan,
    ClusterLayoutRetreat,
    ClusterLayoutShow,
    ClusterPictureShow,
    ClusterRemove,
    ClusterTransfer,
)
from rs3gwd.base.cluster_admin import (
    ClusterPicture,
    Health,
    LayoutChange,
    LayoutPicture,
    LayoutPlan,
    RoleWanted,
)
from rs3gwd.base.cluster_authority import AuthorityPicture, Revoked
from tools.rs3gwctl import remote
from tools.rs3gwctl.remote import ClusterRequest, Endpoint, ask_remote
from tools.rs3gwctl.session import SessionError

PICTURE = ClusterPicture("c", 1, 7, Health.HEALTHY, "go on", "go on", [], [], [])
LAYOUT = LayoutPicture(4, [4], 3, 1, 1024, 7, False, [])
AUTHORITY = AuthorityPicture("steady", 1, 2, [], 0, [], [], [])
PLAN = LayoutPlan(5, 3, 1, 1024, 0, 7, 7, [])
CHANGE = LayoutChange([RoleWanted(3, "b", 0), RoleWanted(4)], 2, 1)
ENDPOINT = Endpoint("http://h:1", "AKIA", "secret")

Case = tuple[ClusterRequest, str, Struct | None, Struct, AdminAnswer]

CASES: list[Case] = [
    (ClusterPictureShow(), "GetCluster", None, PICTURE, AdminAnswer(cluster=PICTURE)),
    (ClusterTransfer(3, 2), "SetGroupLeader", LeaderWanted(2), LeaderSet(3, 2), AdminAnswer()),
    (ClusterLayoutShow(), "GetLayout", None, LAYOUT, AdminAnswer(layout=LAYOUT)),
    (ClusterLayoutPlan(CHANGE), "PlanLayout", CHANGE, PLAN, AdminAnswer(layout_plan=PLAN)),
    (
        ClusterLayoutApply(CHANGE, 5),
        "SetLayout",
        LayoutWanted(CHANGE, 5),
        LayoutSet(5),
        AdminAnswer(),
    ),
    (
        ClusterAuthorityShow(),
        "GetAuthority",
        None,
        AUTHORITY,
        AdminAnswer(authority=AUTHORITY),
    ),
    (
        ClusterAuthorityRotate(True, [3]),
        "RotateAuthority",
        RotationWanted(True, [3]),
        AUTHORITY,
        AdminAnswer(authority=AUTHORITY),
    ),
    (
        ClusterAuthorityRevoke("node:3"),
        "RevokeCertificate",
        RevocationWanted("node:3"),
        Revoked(["a1"]),
        AdminAnswer(revoked=Revoked(["a1"])),
    ),
    (ClusterLayoutRetreat(), "RetreatLayout", None, LayoutRetreated(), AdminAnswer()),
    (ClusterRemove(3), "RemoveNode", RemovalWanted(False), NodeRemoved(3), AdminAnswer()),
    (ClusterRemove(3, True), "RemoveNode", RemovalWanted(True), NodeRemoved(3), AdminAnswer()),
]
"""A request, the operation that it goes to, the body there, and both answers."""


@pytest.mark.parametrize(("request_", "name", "wanted", "answer", "result"), CASES)
def test_every_request_goes_to_its_operation(
    monkeypatch: pytest.MonkeyPatch,
    request_: ClusterRequest,
    name: str,
    wanted: Struct | None,
    answer: Struct,
    result: AdminAnswer,
) -> None:
    """With the body that the row wants, and the answer comes back as over the socket."""
    sent: list[Any] = []

    def send(endpoint: Endpoint, method: str, path: str, body: bytes) -> bytes:
        row, places = find_operation(method, PREFIX + path)
        kind = row.wanted
        sent.append((row.name, places, msgspec.json.decode(body, type=kind) if body else None))
        assert isinstance(answer, row.answer)
        return msgspec.json.encode(answer)

    monkeypatch.setattr(remote, "_send", send)
    assert ask_remote(ENDPOINT, request_) == result
    places = {
        "SetGroupLeader": {"group": "3"},
        "RemoveNode": {"node": "3"},
    }.get(name, {})
    assert sent == [(name, places, wanted)]


def test_nothing_that_can_be_asked_is_left_out() -> None:
    """The cases are all requests of the type."""
    assert {type(case[0]) for case in CASES} == set(get_args(ClusterRequest))


@pytest.mark.parametrize("said", [b"", b"<html>", b"\xff", b"[]", b'{"version":5}'])
def test_what_is_no_answer_is_said(monkeypatch: pytest.MonkeyPatch, said: bytes) -> None:
    """Something else listens there."""
    monkeypatch.setattr(remote, "_send", lambda *_: said)
    with pytest.raises(SessionError, match="not an answer of rs3gwd"):
        ask_remote(ENDPOINT, ClusterLayoutShow())
