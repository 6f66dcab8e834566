"""What is wrong in a cluster, in words: from the nodes and the groups to findings. Pure.

What it is not: it measures nothing and repairs nothing. Each finding says what is so and what that
means for whoever reads and writes; whether anything is wrong at all is `health`, the worst of them,
notices aside.

A group needs a majority of its voters; without one it takes no write and proves no read. The bytes
of a body larger than what fits into a command are kept on `copies` nodes and need a majority of
those. So a cluster can have all its groups and still refuse some bodies, when more nodes are down
than a body can do without.
"""

from collections.abc import Iterator, Sequence
from typing import Final

from rs3gwd.base.cluster_admin import (
    Finding,
    GroupPicture,
    Health,
    LayoutPicture,
    NodePicture,
    Severity,
)

LAG_ENTRIES_MAX: Final = 2000
"""A follower further behind may have to be sent everything: so many entries stay in the log."""

SCARCE_SHARE: Final = 0.1
"""Of a file system: with less free there is too little room to compact in."""

_ORDER: Final = (Severity.CRITICAL, Severity.WARNING, Severity.NOTICE)


def find_all(
    nodes: Sequence[NodePicture],
    groups: Sequence[GroupPicture],
    *,
    layout: LayoutPicture,
    copies_wanted: int,
    reserves: dict[int, int],
) -> list[Finding]:
    """Everything that is not as it should be, the worst first.

    `copies_wanted` is what the node is set to; `reserves` are the bytes that each node keeps free.
    """
    found = [
        *_of_nodes(nodes, groups, layout.copies),
        *_of_layout(layout, {node.node for node in nodes if is_up(node)}),
        *_of_copies(layout, min(copies_wanted, len(nodes))),
        *_of_groups(groups),
        *(finding for node in nodes for finding in _of_node(node, reserves.get(node.node, 0))),
        *_of_versions(nodes),
    ]
    return sorted(found, key=lambda finding: _ORDER.index(finding.severity))


def worst(findings: Sequence[Finding]) -> Health:
    """How the cluster is as a whole."""
    severities = {finding.severity for finding in findings}
    if Severity.CRITICAL in severities:
        return Health.CRITICAL
    return Health.DEGRADED if Severity.WARNING in severities else Health.HEALTHY


def in_words(groups: Sequence[GroupPicture], findings: Sequence[Finding]) -> tuple[str, str]:
    """What reads do, and what writes do."""
    lost = [group.group for group in groups if not group.has_quorum]
    if 0 in lost or (groups and len(lost) == len(groups)):
        return "refused (503): no majority", "refused (503): no majority"
    if lost:
        part = f"refused (503) for the keys of {len(lost)} of {len(groups) - 1} groups"
        return f"{part}, and listings", part
    writes = "go on"
    if any(finding.code == "bodies_refused" for finding in findings):
        writes = "go on; some bodies over 64 KiB are refused (503)"
    return "go on", writes


def is_up(node: NodePicture) -> bool:
    """Whether a node counts as there: it answered, or gossip holds it for alive."""
    return node.answered or node.state == "alive"


def _of_nodes(
    nodes: Sequence[NodePicture], groups: Sequence[GroupPicture], copies: int
) -> Iterator[Finding]:
    down = [node for node in nodes if not is_up(node)]
    for node in down:
        yield Finding(
            Severity.WARNING,
            "node_down",
            f"node {node.node}",
            _how_down(node),
            f"Bodies that it keeps have a copy fewer. {_spare(groups)}",
        )
    for node in nodes:
        if is_up(node) and not node.answered:
            yield Finding(
                Severity.WARNING,
                "node_silent",
                f"node {node.node}",
                "It is held alive but did not answer in time.",
                "It is overloaded or badly connected; what it says of itself is missing here.",
            )
    if copies and len(down) > copies - (copies // 2 + 1) and len(nodes) > copies:
        yield Finding(
            Severity.CRITICAL,
            "bodies_refused",
            f"{len(down)} nodes",
            f"More nodes are down than a body of {copies} copies can do without.",
            "Bodies over 64 KiB whose nodes are among them are refused with 503, and some may "
            "not be readable until one is back.",
        )


def _how_down(node: NodePicture) -> str:
    if node.state == "unknown":
        return "It was never heard of."
    told = {
        "suspect": "It does not answer, and is suspected.",
        "dead": "It is dead or cut off.",
        "left": "It was stopped.",
    }[node.state]
    if node.heard_ms_ago is None:
        return told
    return f"{told} It was last heard {node.heard_ms_ago / 1000:.0f} s ago."


def _spare(groups: Sequence[GroupPicture]) -> str:
    """What the groups can still bear."""
    if not groups or any(not group.has_quorum for group in groups):
        return "Some groups have no majority."
    spare = min(group.voters_up - group.quorum for group in groups)
    if spare == 0:
        return "Reads and writes go on, but no further node may fail."
    return f"Reads and writes go on, and would with {spare} more down."


def _of_groups(groups: Sequence[GroupPicture]) -> Iterator[Finding]:
    for group in groups:
        what = "accounts, policies and buckets" if group.group == 0 else "its keys"
        subject = f"group {group.group}"
        if group.voters_up < group.quorum:
            yield Finding(
                Severity.CRITICAL,
                "no_majority",
                subject,
                f"{group.voters_up} of {_voters(group)} voters are up, of {group.quorum} needed.",
                f"Writes and reads of {what} are refused with 503 until more are back."
                + (" So is every other request." if group.group == 0 else " So are listings."),
            )
        elif not group.leader:
            yield Finding(
                Severity.CRITICAL,
                "no_leader",
                subject,
                "Nobody is known to lead it.",
                f"Requests for {what} wait; an election takes about a second.",
            )
        for member in group.members:
            lag = member.lag_entries
            if member.is_up and lag is not None and lag > LAG_ENTRIES_MAX:
                yield Finding(
                    Severity.WARNING,
                    "member_behind",
                    subject,
                    f"Node {member.node} lacks {lag} entries of its log.",
                    "It catches up by itself; until then it does not count should another fail.",
                )


def _voters(group: GroupPicture) -> int:
    return sum(member.is_voter for member in group.members)


def _of_node(node: NodePicture, reserve: int) -> Iterator[Finding]:
    """What a node that answered says of itself."""
    if not node.answered:
        return
    subject = f"node {node.node}"
    if node.disk_failed:
        yield Finding(
            Severity.CRITICAL,
            "disk_failed",
            subject,
            f"Its disk takes no more writes: {node.disk_failed}",
            "It must be started anew, or be replaced; bodies it keeps have a copy fewer.",
        )
    free = node.free_bytes or 0
    if free <= reserve:
        yield Finding(
            Severity.CRITICAL,
            "disk_full",
            subject,
            f"{free} bytes are free, and {reserve} are to be left.",
            "It takes no new bodies; deletes go on.",
        )
    elif free < node.capacity_bytes * SCARCE_SHARE:
        yield Finding(
            Severity.WARNING,
            "disk_scarce",
            subject,
            f"{free} of {node.capacity_bytes} bytes are free.",
            "Delete, add a node, or give it a larger disk.",
        )
    yield from _of_bytes(node, subject)
    yield from _of_clock(node, subject)


def _of_bytes(node: NodePicture, subject: str) -> Iterator[Finding]:
    if node.blobs_missing:
        yield Finding(
            Severity.WARNING,
            "bodies_missing",
            subject,
            f"It has yet to fetch {node.blobs_missing} bodies.",
            "They have a copy fewer, and are read from other nodes. Stop no other node until it is "
            "done.",
        )
    if node.partitions_waiting:
        yield Finding(
            Severity.WARNING,
            "partitions_waiting",
            subject,
            f"Other nodes have yet to compare {node.partitions_waiting} partitions, since they "
            "missed more than this one could remember.",
            "Bodies in them may have a copy fewer. Stop no other node until it is done.",
        )
    if node.blobs_suspect:
        yield Finding(
            Severity.WARNING,
            "bodies_suspect",
            subject,
            f"{node.blobs_suspect} of its bodies may be damaged, and are being replaced.",
            "Reads of them come from the other copies. Look at its disk.",
        )
    if node.hints_waiting:
        yield Finding(
            Severity.NOTICE,
            "hints_waiting",
            subject,
            f"It has yet to tell other nodes of {node.hints_waiting} bodies that they missed.",
            "They fetch them then.",
        )


def _of_clock(node: NodePicture, subject: str) -> Iterator[Finding]:
    if node.clock_proved is False:
        yield Finding(
            Severity.WARNING,
            "clock_unproved",
            subject,
            "No majority has told it the time yet.",
            "Retentions are judged by its own clock.",
        )
    if node.clock_held_back_ms:
        yield Finding(
            Severity.WARNING,
            "clock_ahead",
            subject,
            f"Its clock is {node.clock_held_back_ms} ms further ahead than allowed, and held back.",
            "No retention ends early by it. Synchronise its clock.",
        )


def _of_layout(layout: LayoutPicture, up: set[int]) -> Iterator[Finding]:
    if not layout.is_changing:
        return
    waited = [node.node for node in layout.nodes if node.is_waited_for]
    down = [node for node in waited if node not in up]
    names = ", ".join(map(str, down or waited)) or "nobody any more"
    yield Finding(
        Severity.WARNING if down else Severity.NOTICE,
        "layout_held_up" if down else "layout_changing",
        "the layout",
        f"Version {layout.version} waits for nodes that are down: {names}."
        if down
        else f"Bodies move to version {layout.version}; it waits for: {names}.",
        "Until it is done a body over 64 KiB needs a majority of its nodes in both versions.",
    )


def _of_copies(layout: LayoutPicture, wanted: int) -> Iterator[Finding]:
    if layout.version and layout.copies < wanted and not layout.is_changing:
        yield Finding(
            Severity.NOTICE,
            "copies_few",
            "the layout",
            f"Each body has {layout.copies} copies; there are nodes for {wanted}, which "
            "`cluster.replication_factor` asks for.",
            "A node was lost or drained, or an operator wanted it so; "
            f"`rs3gwctl cluster layout apply --copies {wanted}` makes more.",
        )


def _of_versions(nodes: Sequence[NodePicture]) -> Iterator[Finding]:
    versions = sorted({node.version for node in nodes if node.answered})
    if len(versions) > 1:
        yield Finding(
            Severity.NOTICE,
            "versions_differ",
            "the cluster",
            f"Nodes run {', '.join(versions)}.",
            "An update is under way; finish it before the next.",
        )
