"""What operators are told of a cluster, from what its nodes say of themselves."""

from __future__ import annotations

from typing import Any

import pytest
from msgspec.structs import replace

from cluster.base.ports import MemberState, MemberView, NodeMetadata
from cluster.layout.keeping import fit
from cluster.layout.layout import LayoutHistory, NodeRole, first_layout
from rs3gwd.base.cluster_admin import (
    ClusterPicture,
    GroupReport,
    Health,
    NodeReport,
    Severity,
)
from rs3gwd.daemon.cluster_admin_findings import LAG_ENTRIES_MAX
from rs3gwd.daemon.cluster_admin_picture import draw
from rs3gwd.daemon.cluster_layout import draw_layout

GIB = 1 << 30
NODES = (1, 2, 3)
TIB = 1 << 40
SETTLED = first_layout(
    {node: NodeRole("zone", TIB) for node in NODES}, replicas=3, zone_copies_max=3
)


def group(number: int, node: int, *, leader: int = 1, **fields: Any) -> GroupReport:
    """A group of three as one of them sees it, all up to date."""
    whole = GroupReport(
        group=number,
        role="leader" if node == leader else "follower",
        leader=leader,
        term=5,
        commit_index=100,
        applied_index=100,
        voters=list(NODES),
        lag=dict.fromkeys(NODES, 0) if node == leader else {},
    )
    return replace(whole, **fields)


def report(
    node: int, *, groups: int = 3, own: list[GroupReport] | None = None, **fields: Any
) -> NodeReport:
    """A node to which nothing is wrong; `own` are its groups, if not so many led in turn."""
    whole = NodeReport(
        node=node,
        version="1.0",
        groups=own or [group(number, node, leader=number % 3 + 1) for number in range(groups)],
        hints_waiting=0,
        partitions_waiting=0,
        blobs_missing=0,
        blobs_suspect=0,
        clock_proved=True,
        clock_held_back_ms=0,
        free_bytes=50 * GIB,
        free_bytes_reserve=GIB,
    )
    return replace(whole, **fields)


def view(node: int, state: MemberState = MemberState.ALIVE, **metadata: Any) -> MemberView:
    """What gossip believes of a node."""
    told = NodeMetadata(f"10.0.0.{node}:7", f"10.0.0.{node}:9", "", "zone", "1.0", 100 * GIB, 20)
    return MemberView(node, state, 1, told._replace(**metadata), 0.001, 90.0)


def look(
    reports: list[NodeReport],
    views: list[MemberView] | None = None,
    *,
    history: LayoutHistory = SETTLED,
    copies_wanted: int = 3,
) -> ClusterPicture:
    """The picture that the first of those who report has at 100 s."""
    return draw(
        reports,
        [view(node) for node in NODES] if views is None else views,
        cluster="c",
        seen_by=reports[0].node,
        at_ms=7,
        layout=draw_layout(history, reports),
        copies_wanted=copies_wanted,
        monotonic_s=100.0,
    )


def codes(picture: ClusterPicture) -> list[tuple[str, str]]:
    """The findings by subject and code."""
    return [(finding.subject, finding.code) for finding in picture.findings]


def test_a_cluster_without_a_fault_is_healthy() -> None:
    """Nothing is found; each node and group is as its nodes say."""
    picture = look([report(node) for node in NODES])
    assert (picture.health, picture.findings) == (Health.HEALTHY, [])
    assert (picture.reads, picture.writes) == ("go on", "go on")
    assert [(each.group, each.leader, each.voters_up) for each in picture.groups] == [
        (0, 1, 3),
        (1, 2, 3),
        (2, 3, 3),
    ]
    two = picture.nodes[1]
    assert (two.node, two.state, two.leads, two.zone, two.free_bytes) == (
        2,
        "alive",
        1,
        "zone",
        50 * GIB,
    )
    assert [member.lag_entries for member in picture.groups[0].members] == [0, 0, 0]


def of_two(*nodes: int) -> list[NodeReport]:
    """Reports of nodes that have two groups, led by the first two of the cluster."""
    return [
        report(node, own=[group(0, node, leader=1), group(1, node, leader=2)]) for node in nodes
    ]


def test_a_dead_node_degrades_the_cluster_and_it_is_said_what_that_means() -> None:
    """Two of three go on, and no further one may fail; what only it knew is not invented."""
    picture = look(of_two(1, 2), [view(1), view(2), view(3, MemberState.DEAD)])
    assert picture.health is Health.DEGRADED
    assert codes(picture) == [("node 3", "node_down")]
    assert "10 s ago" in picture.findings[0].what
    assert "no further node may fail" in picture.findings[0].meaning
    assert (picture.reads, picture.writes) == ("go on", "go on")
    three = picture.nodes[2]
    assert (three.answered, three.free_bytes, three.leads) == (False, None, None)
    assert picture.groups[0].members[2].applied_index is None


def test_without_a_majority_reads_and_writes_are_refused() -> None:
    """The one of three that is left says so of each group, and does not believe in old leaders."""
    views = [view(1), view(2, MemberState.DEAD), view(3, MemberState.LEFT)]
    picture = look(of_two(1), views)
    assert picture.health is Health.CRITICAL
    assert codes(picture) == [
        ("group 0", "no_majority"),
        ("group 1", "no_majority"),
        ("node 2", "node_down"),
        ("node 3", "node_down"),
    ]
    assert picture.reads.startswith("refused (503)")
    assert picture.writes.startswith("refused (503)")
    assert [each.leader for each in picture.groups] == [1, 0]


def test_a_group_without_a_leader_stops_its_own_keys_alone() -> None:
    """The others go on, and it is said how many do not."""
    groups = {
        node: [
            group(0, node),
            group(1, node),
            group(2, node, leader=0, role="candidate", lag={}),
        ]
        for node in NODES
    }
    picture = look([report(node, own=groups[node]) for node in NODES])
    assert codes(picture) == [("group 2", "no_leader")]
    assert picture.writes == "refused (503) for the keys of 1 of 2 groups"
    assert picture.reads.endswith("and listings")


def test_the_leader_of_the_highest_term_is_believed() -> None:
    """One that was cut off and has not noticed yet does not count."""
    old = report(1, own=[group(0, 1, leader=1, term=4)])
    new = report(2, own=[group(0, 2, leader=2, term=6, commit_index=200)])
    picture = look([old, new, report(3, own=[group(0, 3, leader=2, term=6)])])
    found = picture.groups[0]
    assert (found.leader, found.term, found.commit_index) == (2, 6, 200)


def test_a_node_that_does_not_answer_is_told_from_one_that_is_down() -> None:
    """Gossip holds it alive: it counts for the majority, and a warning says that it is silent."""
    picture = look(of_two(1, 2))
    assert codes(picture) == [("node 3", "node_silent")]
    assert [each.voters_up for each in picture.groups] == [3, 3]


def test_more_nodes_down_than_a_body_can_do_without() -> None:
    """Five nodes, three copies, two down: the groups go on, and some bodies are refused."""
    five = list(range(1, 6))
    up = [report(node, own=[group(0, node, voters=five, lag={})]) for node in five[:3]]
    views = [view(node) for node in five[:3]]
    picture = look(up, views)
    assert picture.groups[0].has_quorum
    assert codes(picture)[0] == ("2 nodes", "bodies_refused")
    assert "unknown" in {node.state for node in picture.nodes}
    assert picture.writes == "go on; some bodies over 64 KiB are refused (503)"


@pytest.mark.parametrize(
    ("fields", "code", "severity"),
    [
        ({"blobs_missing": 3}, "bodies_missing", Severity.WARNING),
        ({"blobs_suspect": 1}, "bodies_suspect", Severity.WARNING),
        ({"partitions_waiting": 2}, "partitions_waiting", Severity.WARNING),
        ({"hints_waiting": 9}, "hints_waiting", Severity.NOTICE),
        ({"clock_proved": False}, "clock_unproved", Severity.WARNING),
        ({"clock_held_back_ms": 5000}, "clock_ahead", Severity.WARNING),
        ({"disk_failed": "EIO"}, "disk_failed", Severity.CRITICAL),
        ({"free_bytes": GIB}, "disk_full", Severity.CRITICAL),
        ({"free_bytes": 2 * GIB}, "disk_scarce", Severity.WARNING),
    ],
)
def test_what_a_node_says_of_itself_is_found(
    fields: dict[str, Any], code: str, severity: Severity
) -> None:
    """One thing is wrong with one node; a notice alone leaves the cluster healthy."""
    picture = look([report(1), report(2, **fields), report(3)])
    assert codes(picture) == [("node 2", code)]
    assert picture.findings[0].severity is severity
    expected = {Severity.NOTICE: Health.HEALTHY, Severity.WARNING: Health.DEGRADED}
    assert picture.health is expected.get(severity, Health.CRITICAL)


def test_a_member_far_behind_and_two_releases_are_found() -> None:
    """The first degrades, the second does not; a lag within bounds is none."""
    lags = {1: 0, 2: LAG_ENTRIES_MAX + 1, 3: LAG_ENTRIES_MAX}
    picture = look(
        [
            report(1, own=[group(0, 1, lag=lags)]),
            report(2, own=[group(0, 2)], version="1.1"),
            report(3, own=[group(0, 3)]),
        ]
    )
    assert codes(picture) == [("group 0", "member_behind"), ("the cluster", "versions_differ")]
    assert "Node 2" in picture.findings[0].what


def test_a_change_of_the_layout_is_told_and_whoever_holds_it_up() -> None:
    """A notice while bodies move; a warning when a node that is down is waited for."""
    changing = SETTLED.apply(fit(SETTLED.current, {1: NodeRole("zone", 2 * TIB)}))
    for node in (1, 2):
        changing = changing.acknowledge(node, 2)
    reports = [report(node) for node in NODES]
    picture = look(reports, history=changing)
    assert codes(picture) == [("the layout", "layout_changing")]
    assert "waits for: 1, 2, 3." in picture.findings[0].what
    assert picture.health is Health.HEALTHY
    picture = look(
        reports[:2],
        [view(1), view(2), view(3, MemberState.DEAD)],
        history=changing,
    )
    assert ("the layout", "layout_held_up") in codes(picture)
    held = next(each for each in picture.findings if each.code == "layout_held_up")
    assert held.what == "Version 2 waits for nodes that are down: 3."


def test_fewer_copies_than_wanted_are_told() -> None:
    """A notice, as long as there are nodes for more."""
    two = first_layout({n: NodeRole("", TIB) for n in NODES}, replicas=2, zone_copies_max=2)
    reports = [report(node) for node in NODES]
    picture = look(reports, history=two)
    assert codes(picture) == [("the layout", "copies_few")]
    assert "--copies 3" in picture.findings[0].meaning
    assert codes(look(reports, history=two, copies_wanted=2)) == []
