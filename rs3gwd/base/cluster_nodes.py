"""The nodes of a cluster as the cluster itself knows them: one record for each number ever given.

What it is not: who is a member of a group says the group; a record says where a node is reached,
which disk is its, and that it was removed. Numbers are never given again, so that a record of a
removed node stays for ever and its certificate is refused as long as it would last.
"""

from enum import StrEnum
from typing import Final

from msgspec import Struct

NODE_ADDRESS_CHARACTERS_MAX: Final = 300
"""A host name has at most 253; the port and the colon come on top."""

NODE_TOKEN_BYTES_MAX: Final = 64


class NodeState(StrEnum):
    """Where a node is on its way; it goes forward alone."""

    MEMBER = "member"
    """It belongs to the cluster, or is about to be added to its groups."""
    LEAVING = "leaving"
    """It is taken out of the groups, and not added again."""
    REMOVED = "removed"
    """Nobody talks to it any more."""


class NodeRecord(Struct, array_like=True, frozen=True):
    """A node. `token` is that of its disk, empty where it has never told it; `address` is
    host:port of where the other nodes reach it, empty where it has never said."""

    number: int
    token: bytes = b""
    address: str = ""
    state: NodeState = NodeState.MEMBER
