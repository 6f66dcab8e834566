"""Names of nodes inside consensus: positive integers, given once and never given again.

A node id belongs to one disk for ever. A node that lost its disk comes back under a new id (it
has forgotten its votes: `cluster.raft.identity`). Zero is no node, so that "no leader" and "no
vote" need no second type on the wire.
"""

from typing import Final

NodeId = int
"""1 to 2**63 - 1."""

NO_NODE: Final = 0
"""Nobody: no leader known, no vote cast."""

APPEND_THREAD: Final = -1
"""Where writes to the log go when storage works beside the core (`Options.async_storage`)."""

APPLY_THREAD: Final = -2
"""Where committed entries go when storage works beside the core."""


def is_local(node: NodeId) -> bool:
    """Whether a message to `node` is for this node's own storage and never for the network."""
    return node < 0
