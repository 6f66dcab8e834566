"""Which nodes of a cluster hold the bytes of a blob.

What it is not: it knows nobody's health, and changes no layout (`layout_changes`). Metadata is on
every node; bytes are on the nodes that the layout names, as far as this node knows it. A node that
is not named may hold a blob all the same (it was one of them before): readers ask the named ones
first, then all others, so that whose view lags finds the bytes too.

Before there is a layout, in the first second of a cluster, every node holds everything.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from cluster.layout.codec import decode
from cluster.layout.layout import LayoutHistory
from cluster.quorum.writing import ReplicaSets
from rs3gwd.engine.cluster_layout import LayoutRecord

COPIES_DEFAULT = 3
"""Nodes that hold a blob: two may be lost, and a write needs two."""


class Placement(Protocol):
    """The nodes of a blob."""

    @property
    def version(self) -> int:
        """The newest version of the layout that is obeyed here; 0 before the first."""
        ...

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


class LayoutPlacement:
    """What the layout says, as of the row that was taken last.

    `nodes` are all members at the moment. `is_founder`: this node was there before the first
    layout, and so holds everything until then; another one waits for what it is given.
    """

    def __init__(
        self, nodes: Callable[[], tuple[int, ...]], *, zone: str = "", is_founder: bool = True
    ) -> None:
        self._nodes = nodes
        self._zone = zone
        self._is_founder = is_founder
        self.history: LayoutHistory | None = None
        self.revision = 0

    def take(self, record: LayoutRecord) -> LayoutHistory:
        """Goes by a row from now on. Raises LayoutDamaged."""
        self.history = decode(record.history)
        self.revision = record.revision
        return self.history

    @property
    def version(self) -> int:
        """As the port says."""
        return 0 if self.history is None else self.history.current.version

    def write_sets(self, blob_id: bytes) -> ReplicaSets:
        """A majority of each set in force."""
        if self.history is None:
            nodes = self._nodes()
            return ((nodes, len(nodes) // 2 + 1),)
        return self.history.write_sets(self.history.partition_of(blob_id))

    def read_order(self, blob_id: bytes) -> tuple[int, ...]:
        """The newest set, then the one before."""
        if self.history is None:
            return self._nodes()
        return self.history.read_order(self.history.partition_of(blob_id), self._zone)

    def holds(self, blob_id: bytes, node: int) -> bool:
        """Whether a version in force names the node."""
        history = self.history
        if history is None:
            return self._is_founder
        partition = history.partition_of(blob_id)
        return any(node in layout.replicas_of(partition) for layout in history.versions)

    def holds_copies(self, node: int) -> bool:
        """Whether a version in force gives the node anything."""
        history = self.history
        if history is None:
            return self._is_founder
        return any(node in found for layout in history.versions for found in layout.sets)
