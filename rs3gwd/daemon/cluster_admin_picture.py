"""From what the nodes say of themselves to one picture of the cluster. Pure.

Nodes contradict each other for moments: of a group the leader with the highest term is believed,
for it alone can have a majority; of a node what it says itself, and of one that said nothing what
gossip believes.
"""

from collections.abc import Sequence
from typing import Final

from msgspec.structs import replace

from cluster.base.ports import MemberView
from rs3gwd.base.cluster_admin import (
    ClusterPicture,
    GroupPicture,
    GroupReport,
    LayoutPicture,
    MemberPicture,
    NodePicture,
    NodeReport,
)
from rs3gwd.daemon.cluster_admin_findings import find_all, in_words, is_up, worst

UNKNOWN: Final = "unknown"
LEADER: Final = "leader"


def draw(
    reports: Sequence[NodeReport],
    believed: Sequence[MemberView],
    *,
    cluster: str,
    seen_by: int,
    at_ms: int,
    layout: LayoutPicture,
    copies_wanted: int,
    monotonic_s: float,
) -> ClusterPicture:
    """The cluster as node `seen_by` sees it: `reports` of all that answered, and what gossip
    believes. `monotonic_s` is the reading of the clock that gossip's times are of."""
    said = {report.node: report for report in reports}
    views = {view.node: view for view in believed}
    own = said[seen_by]
    numbers = {
        *(number for group in own.groups for number in (*group.voters, *group.learners)),
        *said,
    }
    nodes = [
        _node(number, said.get(number), views.get(number), monotonic_s)
        for number in sorted(numbers)
    ]
    up = {node.node for node in nodes if is_up(node)}
    groups = [
        _group(number, [each for report in reports for each in _of(report, number)], said, up)
        for number in sorted({group.group for report in reports for group in report.groups})
    ]
    reserves = {report.node: report.free_bytes_reserve for report in reports}
    findings = find_all(
        nodes, groups, layout=layout, copies_wanted=copies_wanted, reserves=reserves
    )
    reads, writes = in_words(groups, findings)
    return ClusterPicture(
        cluster=cluster,
        seen_by=seen_by,
        at_ms=at_ms,
        health=worst(findings),
        reads=reads,
        writes=writes,
        findings=findings,
        nodes=nodes,
        groups=groups,
    )


def _of(report: NodeReport, number: int) -> list[GroupReport]:
    return [group for group in report.groups if group.group == number]


def _node(
    number: int, report: NodeReport | None, view: MemberView | None, monotonic_s: float
) -> NodePicture:
    told = None if view is None else view.metadata
    heard_s = None if view is None else view.heard_s
    trip_s = None if view is None else view.round_trip_s
    picture = NodePicture(
        node=number,
        state=UNKNOWN if view is None else view.state.name.lower(),
        answered=report is not None,
        cluster_address="" if told is None else told.cluster_address,
        s3_address="" if told is None else told.s3_address,
        zone="" if told is None else told.zone,
        version="" if told is None else told.version,
        capacity_bytes=0 if told is None else told.capacity_bytes,
        load_percent=0 if told is None else told.load_percent,
        heard_ms_ago=None if heard_s is None else max(0, int((monotonic_s - heard_s) * 1000)),
        round_trip_ms=None if trip_s is None else round(trip_s * 1000, 3),
    )
    return picture if report is None else _with_report(picture, report)


def _with_report(picture: NodePicture, report: NodeReport) -> NodePicture:
    return replace(
        picture,
        version=report.version,
        heard_ms_ago=0,
        uptime_s=report.uptime_s,
        free_bytes=report.free_bytes,
        leads=sum(group.role == LEADER for group in report.groups),
        hints_waiting=report.hints_waiting,
        partitions_waiting=report.partitions_waiting,
        blobs_missing=report.blobs_missing,
        blobs_suspect=report.blobs_suspect,
        clock_proved=report.clock_proved,
        clock_held_back_ms=report.clock_held_back_ms,
        disk_failed=report.disk_failed,
    )


def _group(
    number: int, seen: Sequence[GroupReport], said: dict[int, NodeReport], up: set[int]
) -> GroupPicture:
    """`seen` is the group as each node that answered sees it, and is not empty."""
    leaders = [each for each in seen if each.role == LEADER]
    best = max(leaders or seen, key=lambda each: (each.term, each.commit_index))
    leader = best.leader if leaders or best.leader in up else 0
    applied = {
        node: each.applied_index for node, report in said.items() for each in _of(report, number)
    }
    members = [
        MemberPicture(
            node=node,
            is_voter=node in best.voters,
            is_up=node in up,
            applied_index=applied.get(node),
            lag_entries=best.lag.get(node),
        )
        for node in sorted({*best.voters, *best.learners})
    ]
    voters_up = sum(member.is_voter and member.is_up for member in members)
    quorum = len(best.voters) // 2 + 1
    return GroupPicture(
        group=number,
        leader=leader,
        term=best.term,
        commit_index=max(each.commit_index for each in seen),
        members=members,
        voters_up=voters_up,
        quorum=quorum,
        has_quorum=voters_up >= quorum and leader != 0,
    )
