"""Which nodes of a cluster hold the bytes of a blob.

What it is not: it knows nobody's health. Metadata is on every node; bytes are on the nodes that a
placement names, the same on every node that asks at the same time. A node that is not named may
hold a blob all the same (it was one of them before): readers ask the named ones first.

`HashedPlacement` is highest random weight hashing (Thaler and Ravishankar, "Using Name-Based
Mappings to Increase Hit Rates", 1998): each node's weight for a blob is a hash of both, and the
heaviest nodes hold it. So a node that comes or goes moves only its own share.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from typing import Protocol

from cluster.quorum.writing import ReplicaSets

COPIES_DEFAULT = 3
"""Nodes that hold a blob: two may be lost, and a write needs two."""


class Placement(Protocol):
    """The nodes of a blob."""

    def write_sets(self, blob_id: bytes) -> ReplicaSets:
        """The sets of nodes that a write must reach, each with the syncs it needs; two sets while
        the layout changes."""
        ...

    def read_order(self, blob_id: bytes) -> tuple[int, ...]:
        """The nodes to ask for the bytes, the first choice first; at least one."""
        ...

    def holds(self, blob_id: bytes, node: int) -> bool:
        """Whether the node is to keep the blob."""
        ...


class HashedPlacement:
    """The `copies` heaviest of the nodes that `nodes` gives at the moment."""

    def __init__(
        self, nodes: Callable[[], tuple[int, ...]], *, copies: int = COPIES_DEFAULT
    ) -> None:
        assert copies >= 1
        self._nodes = nodes
        self._copies = copies

    def write_sets(self, blob_id: bytes) -> ReplicaSets:
        """One set, of which a majority must have synced."""
        nodes = self.read_order(blob_id)
        return ((nodes, write_quorum(len(nodes))),)

    def holds(self, blob_id: bytes, node: int) -> bool:
        """Whether the node is among the heaviest."""
        return node in self.read_order(blob_id)

    def read_order(self, blob_id: bytes) -> tuple[int, ...]:
        """The nodes of a blob, heaviest first."""
        return tuple(sorted(self._nodes(), key=lambda node: _weight(node, blob_id), reverse=True))[
            : self._copies
        ]


def write_quorum(replicas: int) -> int:
    """How many of the replicas must have synced a blob before a command may name it."""
    return replicas // 2 + 1


def _weight(node: int, blob_id: bytes) -> bytes:
    return hashlib.blake2b(
        node.to_bytes(8, "big") + blob_id, digest_size=8, usedforsecurity=False
    ).digest()
