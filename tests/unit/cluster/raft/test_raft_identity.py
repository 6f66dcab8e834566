"""An empty disk never comes back under an old name."""

import pytest

from cluster.base.errors import IdentityError
from cluster.raft.identity import NodeIdentity, check_disk, check_peer, next_node_id

_MINE = NodeIdentity("c", 3, b"token")


def test_a_node_starts_from_its_own_disk_or_joins_with_an_empty_one():
    """The two regular starts."""
    check_disk(_MINE, cluster="c", node=3, joining=False)
    check_disk(None, cluster="c", node=4, joining=True)


@pytest.mark.parametrize(
    ("stored", "cluster", "node", "joining"),
    [
        (None, "c", 3, False),
        (_MINE, "c", 3, True),
        (_MINE, "c", 4, False),
        (_MINE, "d", 3, False),
    ],
)
def test_every_other_start_is_refused(stored, cluster, node, joining):
    """Empty under an old id, used for a fresh one, another node's, another cluster's."""
    with pytest.raises(IdentityError):
        check_disk(stored, cluster=cluster, node=node, joining=joining)


@pytest.mark.parametrize(
    "peer",
    [
        NodeIdentity("d", 3, b"token"),
        NodeIdentity("c", 9, b"token"),
        NodeIdentity("c", 3, b"other"),
    ],
)
def test_a_peer_on_another_disk_is_refused(peer):
    """Another cluster, an unknown id, a known id with another token."""
    check_peer(_MINE, {3: b"token"}, cluster="c")
    with pytest.raises(IdentityError):
        check_peer(peer, {3: b"token"}, cluster="c")


def test_an_id_is_never_given_twice():
    """The next id is above every one that ever was."""
    assert next_node_id([]) == 1
    assert next_node_id([1, 5, 2]) == 6
