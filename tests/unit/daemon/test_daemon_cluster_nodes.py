"""Who may talk to a node, and where the others are: by certificate, by disk, by record."""

from __future__ import annotations

from typing import Any

import pytest

from cluster.authority.certificates import PeerCertificate, disk_name
from cluster.base.errors import IdentityError
from cluster.raft.identity import NodeIdentity
from rs3gwd.base.cluster_nodes import NodeRecord, NodeState
from rs3gwd.daemon.cluster_nodes import ClusterNodes
from rs3gwd.engine.cluster_nodes import list_nodes

DISK, STARTED = b"d" * 16, b"s" * 16
RECORDS = [
    NodeRecord(2, DISK + STARTED, "10.0.0.2:7946"),
    NodeRecord(3, DISK + STARTED, "10.0.0.3:7946", NodeState.REMOVED),
    NodeRecord(4, b"", "", NodeState.LEAVING),
]


class Engine:
    """The rows of NODES, and no other."""

    def look_up(self, query: Any) -> list[NodeRecord] | None:
        return RECORDS if query is list_nodes else None


def nodes() -> ClusterNodes:
    """Node 1, which was told where 1 and 2 are."""
    seeds = {1: ("10.0.0.1", 7946), 2: ("10.9.9.9", 1)}
    return ClusterNodes(
        NodeIdentity("c", 1, b"own"),
        seeds=seeds,
        engine=Engine(),  # type: ignore[arg-type]
    )


def certificate(node: int, *, disk: bytes = DISK, cluster: str = "c") -> PeerCertificate:
    """A certificate that is bound to a disk."""
    return PeerCertificate(cluster, node, 7, 0, 1, disk_name(disk))


def test_a_member_and_one_that_is_new_are_let_in() -> None:
    """A record has the same disk; one that nobody knows yet has a certificate at least."""
    for number in (2, 4, 5):
        nodes().check(NodeIdentity("c", number, DISK + STARTED), certificate(number))


@pytest.mark.parametrize(
    ("peer", "proved", "reason"),
    [
        (NodeIdentity("c", 3, DISK + STARTED), certificate(3), "was removed"),
        (NodeIdentity("c", 2, DISK + b"again" * 3), certificate(2), "another disk"),
        (NodeIdentity("c", 5, b"x" * 32), certificate(5), "another disk"),
        (NodeIdentity("c", 2, DISK + STARTED), None, "not of cluster"),
        (NodeIdentity("e", 2, DISK + STARTED), certificate(2), "not of cluster"),
        (NodeIdentity("c", 2, DISK + STARTED), certificate(2, cluster="e"), "not of cluster"),
    ],
)
def test_others_are_refused(
    peer: NodeIdentity, proved: PeerCertificate | None, reason: str
) -> None:
    """Whoever was removed, started anew on an emptied disk, has another disk or no certificate."""
    with pytest.raises(IdentityError, match=reason):
        nodes().check(peer, proved)


def test_the_operator_s_address_comes_before_the_noted_one() -> None:
    """Both are tried; a node that was removed is looked for no more."""
    known = nodes()
    assert known.addresses(2) == [("10.9.9.9", 1), ("10.0.0.2", 7946)]
    assert known.address(3) == ("10.0.0.3", 7946)
    assert known.addresses(4) == []
    assert known.numbers() == (1, 2, 4)
    assert (known.disk_token(2), known.disk_token(9)) == (DISK, b"")
