"""The nodes of a cluster as rows: the first disk keeps a number, and who was removed stays so."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from engine_metadata_scene import Scene

from rs3gwd.base.cluster_nodes import NodeRecord, NodeState
from rs3gwd.base.codec import decode_command, encode_command
from rs3gwd.base.commands import PutNode
from rs3gwd.base.errors import InvalidRequest
from rs3gwd.engine.apply import FUNCTIONS, INDEX_FUNCTIONS, SYSTEM_FUNCTIONS
from rs3gwd.engine.cluster_nodes import list_nodes, put_node
from rs3gwd.engine.environment import Environment
from rs3gwd.engine.tables import NODE_CODEC, u64


@pytest.fixture
def scene(tmp_path: Path) -> Iterator[Scene]:
    opened = Environment.open(str(tmp_path / "meta"))
    txn = opened.write()
    yield Scene(txn)
    txn.abort()
    opened.close()


def tell(scene: Scene, *nodes: NodeRecord) -> list[NodeRecord]:
    """Notes nodes, one after the other; the rows after that."""
    for node in nodes:
        put_node(scene.applier.state, PutNode(node))
    return list_nodes(scene.txn)


def test_a_node_keeps_what_it_does_not_say_again(scene: Scene) -> None:
    """An empty token or address changes nothing; another address takes the place of the last."""
    first = NodeRecord(2, b"disk", "10.0.0.2:1")
    assert tell(scene, first, NodeRecord(2)) == [first]
    moved = NodeRecord(2, b"disk", "10.0.0.9:1")
    assert tell(scene, moved, NodeRecord(11, b"x")) == [moved, NodeRecord(11, b"x")]


def test_a_number_belongs_to_the_first_disk(scene: Scene) -> None:
    """Another token is refused, and changes nothing; an unknown one is filled in once."""
    kept = tell(scene, NodeRecord(3), NodeRecord(3, b"disk"))
    with pytest.raises(InvalidRequest, match="another disk"):
        tell(scene, NodeRecord(3, b"other", "elsewhere:1"))
    assert list_nodes(scene.txn) == kept == [NodeRecord(3, b"disk")]


def test_a_removed_node_does_not_come_back(scene: Scene) -> None:
    """The state goes forward, and may be said again."""
    leaving, removed = (
        NodeRecord(2, state=NodeState.LEAVING),
        NodeRecord(2, state=NodeState.REMOVED),
    )
    tell(scene, NodeRecord(2, b"disk"), leaving, leaving)
    with pytest.raises(InvalidRequest, match="removed"):
        tell(scene, NodeRecord(2, b"disk"))
    tell(scene, removed, removed)
    with pytest.raises(InvalidRequest, match="removed"):
        tell(scene, leaving)
    assert tell(scene) == [NodeRecord(2, b"disk", "", NodeState.REMOVED)]


@pytest.mark.parametrize(
    "node",
    [
        NodeRecord(0),
        NodeRecord(-1),
        NodeRecord(1 << 63),
        NodeRecord(1, b"t" * 65),
        NodeRecord(1, address="a" * 301),
    ],
)
def test_what_is_out_of_bounds_is_refused(scene: Scene, node: NodeRecord) -> None:
    """No number below one, and no field of any length."""
    with pytest.raises(InvalidRequest):
        tell(scene, node)


def test_nodes_are_the_system_groups_and_read_for_ever() -> None:
    """The command is that group's alone; its bytes and the row's are those of the first release."""
    command = PutNode(NodeRecord(7, b"disk", "10.0.0.7:7946", NodeState.LEAVING))
    assert decode_command(encode_command(command)) == command
    assert PutNode in SYSTEM_FUNCTIONS
    assert PutNode not in INDEX_FUNCTIONS
    assert PutNode not in FUNCTIONS
    golden = bytes.fromhex("019407c4046469736bad31302e302e302e373a37393436a76c656176696e67a046fc60")
    assert NODE_CODEC.seal(u64(7), command.node) == golden
    assert NODE_CODEC.open(u64(7), golden) == command.node
