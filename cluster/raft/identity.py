"""Which disk belongs to which node: an empty disk never comes back under an old name.

A node's votes and acknowledgements are on its disk. A node that starts with an empty disk under
its old id would vote a second time in a term, or for a candidate without what it acknowledged; two
such nodes lose committed data. So an identity is written to the disk once, when the node joins,
and a start without it, or with another's, is refused. A node whose disk is lost is removed and a
new id joins in its place. On the other side each node notes the token that a peer joined with.

The token is random, drawn by the driver when the disk is first set up: two disks that were given
the same id by mistake differ in it.
"""

from collections.abc import Iterable, Mapping
from typing import NamedTuple

from cluster.base.errors import IdentityError
from cluster.base.ids import NodeId


class NodeIdentity(NamedTuple):
    """What is written to a disk when its node joins, and never again."""

    cluster: str
    node: NodeId
    token: bytes


def check_disk(stored: NodeIdentity | None, *, cluster: str, node: NodeId, joining: bool) -> None:
    """Whether a node may start from this disk; `joining` is its first start under a fresh id.

    Raises IdentityError: with an empty disk unless joining, with anything on it when joining, and
    when the disk is another node's or another cluster's.
    """
    if stored is None:
        if not joining:
            raise IdentityError(
                f"the disk of node {node} is empty: remove it from the cluster and join anew"
            )
        return
    if joining:
        raise IdentityError(f"the disk belongs to node {stored.node} already")
    if (stored.cluster, stored.node) != (cluster, node):
        raise IdentityError(
            f"the disk belongs to node {stored.node} of cluster {stored.cluster}, "
            f"not to node {node} of cluster {cluster}"
        )


def check_peer(peer: NodeIdentity, known: Mapping[NodeId, bytes], *, cluster: str) -> None:
    """Whether a peer is who the cluster knows by its id; `known` holds the tokens of members.

    Raises IdentityError for another cluster, an unknown id, or an id with another token.
    """
    if peer.cluster != cluster:
        raise IdentityError(f"node {peer.node} is of cluster {peer.cluster}")
    token = known.get(peer.node)
    if token is None:
        raise IdentityError(f"node {peer.node} is not known here")
    if token != peer.token:
        raise IdentityError(f"node {peer.node} has come back on another disk")


def next_node_id(ever_used: Iterable[NodeId]) -> NodeId:
    """An id that no node ever had."""
    return max(ever_used, default=0) + 1
