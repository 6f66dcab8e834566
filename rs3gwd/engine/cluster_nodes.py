"""The nodes of the cluster: the rows of NODES, read and changed.

In the system group alone. The first disk that says a number keeps it: a node whose disk was emptied
says another token, and is refused for ever. What it is not: members of groups are no part of it.
"""

from __future__ import annotations

from msgspec.structs import replace

from rs3gwd.base.cluster_nodes import (
    NODE_ADDRESS_CHARACTERS_MAX,
    NODE_TOKEN_BYTES_MAX,
    NodeRecord,
    NodeState,
)
from rs3gwd.base.commands import PutNode
from rs3gwd.base.errors import InvalidRequest
from rs3gwd.engine.apply_state import ApplyState
from rs3gwd.engine.environment import Transaction
from rs3gwd.engine.tables import NODE_CODEC, Table, u64

_ORDER = tuple(NodeState)


def list_nodes(txn: Transaction) -> list[NodeRecord]:
    """Every node that has told of itself or was removed, by number."""
    return [NODE_CODEC.open(key, value) for key, value in txn.cursor(Table.NODES)]


def put_node(state: ApplyState, command: PutNode) -> None:
    """Notes a node, or what is new of it; see the command."""
    node = command.node
    if not 0 < node.number < 1 << 63:
        raise InvalidRequest(f"{node.number} is no number of a node")
    if len(node.address) > NODE_ADDRESS_CHARACTERS_MAX or len(node.token) > NODE_TOKEN_BYTES_MAX:
        raise InvalidRequest("the address or the token of a node is too long")
    key = u64(node.number)
    value = state.txn.get(Table.NODES, key)
    if value is not None:
        known = NODE_CODEC.open(key, value)
        if _ORDER.index(node.state) < _ORDER.index(known.state):
            raise InvalidRequest(f"node {node.number} was removed from the cluster")
        if node.token and known.token and node.token != known.token:
            raise InvalidRequest(f"node {node.number} has come back on another disk")
        node = replace(node, token=node.token or known.token, address=node.address or known.address)
    state.txn.put(Table.NODES, key, NODE_CODEC.seal(key, node))
