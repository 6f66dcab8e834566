"""Plans and pictures of the layout, from a history and what the nodes say."""

from __future__ import annotations

from typing import Any

import pytest

from cluster.layout.errors import NotEnoughNodes, NotEnoughZones, TransitionUnderWay
from cluster.layout.layout import LayoutHistory, NodeRole, Plan, first_layout
from rs3gwd.base.cluster_admin import LayoutChange, LayoutRefused, NodeReport, RoleWanted
from rs3gwd.daemon.cluster_layout import ZONE_CHARACTERS_MAX, draw_layout, draw_plan, make_plan

TIB = 1 << 40
MEMBERS = (1, 2, 3, 4, 5)


def history(**fields: Any) -> LayoutHistory:
    """Three nodes of 1 TiB that hold everything, and a fourth that stands by."""
    roles = {node: NodeRole("a", TIB if node < 4 else 0) for node in (1, 2, 3, 4)}
    return first_layout(roles, replicas=3, zone_copies_max=3, partitions=16, **fields)


def told(node: int) -> NodeRole | None:
    """Node 5 has told nothing."""
    return None if node == 5 else NodeRole("told", 2 * TIB)


def planned(change: LayoutChange, *, before: LayoutHistory | None = None) -> Plan:
    """The plan of a change."""
    return make_plan(before or history(), change, members=MEMBERS, told=told)


def test_a_node_takes_part_with_what_it_tells_unless_something_is_said() -> None:
    """A capacity of 0 gives way to what is told; a zone stays as it is; both can be said."""
    roles = planned(LayoutChange(nodes=[RoleWanted(4)])).layout.roles
    assert roles[4] == NodeRole("a", 2 * TIB)
    roles = planned(LayoutChange(nodes=[RoleWanted(4, "b", 5)])).layout.roles
    assert roles[4] == NodeRole("b", 5)
    assert planned(LayoutChange(nodes=[RoleWanted(1, "c")])).layout.roles[1] == NodeRole("c", TIB)


def test_a_member_without_a_role_comes_in_with_what_it_tells() -> None:
    """One that has told nothing stays out."""
    before = first_layout({1: NodeRole("a", TIB)}, replicas=1, zone_copies_max=1, partitions=16)
    roles = planned(LayoutChange(), before=before).layout.roles
    assert set(roles) == {1, 2, 3, 4}
    assert roles[2] == NodeRole("told", 2 * TIB)


@pytest.mark.parametrize(
    ("wanted", "message"),
    [
        (RoleWanted(9), "there is no node 9; the members are 1, 2, 3, 4, 5"),
        (RoleWanted(5), "node 5 has not told its capacity"),
        (RoleWanted(4, "z" * (ZONE_CHARACTERS_MAX + 1)), "at most 64 characters"),
    ],
)
def test_a_role_that_cannot_be_is_refused(wanted: RoleWanted, message: str) -> None:
    """With what is wrong about it."""
    with pytest.raises(LayoutRefused, match=message):
        planned(LayoutChange(nodes=[wanted]))


def test_a_plan_that_cannot_be_is_refused() -> None:
    """Too few nodes or zones for the copies; or another change is under way."""
    with pytest.raises(NotEnoughNodes):
        planned(LayoutChange(nodes=[RoleWanted(1, None, 0)]))
    with pytest.raises(NotEnoughZones):
        planned(LayoutChange(zone_copies_max=1))
    changing = history().apply(planned(LayoutChange(nodes=[RoleWanted(4)])))
    with pytest.raises(TransitionUnderWay, match="version 2"):
        planned(LayoutChange(), before=changing)


def test_a_plan_shows_what_moves() -> None:
    """A fourth node of the same size takes a quarter of the copies from the others."""
    made = planned(LayoutChange(nodes=[RoleWanted(4, None, TIB)]))
    picture = draw_plan(history().current, made)
    assert (picture.version, picture.copies, picture.partitions) == (2, 3, 16)
    assert picture.copies_moved == 12
    assert [(n.partitions_before, n.partitions_after) for n in picture.nodes] == [
        *[(16, 12)] * 3,
        (0, 12),
    ]
    assert [(n.gains, n.loses) for n in picture.nodes] == [*[(0, 4)] * 3, (12, 0)]
    assert picture.usable_bytes > picture.usable_bytes_before


def test_a_picture_shows_whom_a_change_waits_for() -> None:
    """Who has not said that it obeys, or that it has all; and what it says it lacks."""
    changing = history().apply(planned(LayoutChange(nodes=[RoleWanted(4)])))
    changing = changing.acknowledge(1, 2)
    report = NodeReport(
        4,
        "v",
        [],
        *(0, 0, 0, 0),
        clock_proved=True,
        clock_held_back_ms=0,
        free_bytes=1,
        free_bytes_reserve=0,
        layout_compared=True,
        blobs_lacking=7,
        bytes_lacking=700,
    )
    picture = draw_layout(changing, [report])
    assert picture.is_changing
    assert picture.versions == [1, 2]
    assert [node.is_waited_for for node in picture.nodes] == [True] * 4
    assert (picture.nodes[0].obeys_version, picture.nodes[1].obeys_version) == (2, 0)
    assert (picture.nodes[3].is_compared, picture.nodes[3].blobs_lacking) == (True, 7)
    assert picture.nodes[0].blobs_lacking is None
    settled = draw_layout(history(), [])
    assert not settled.is_changing
    assert not any(node.is_waited_for for node in settled.nodes)


def test_there_is_a_picture_before_the_first_layout() -> None:
    """Of version 0, with nobody in it."""
    assert draw_layout(None, []).version == 0
