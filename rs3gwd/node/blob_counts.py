"""What happened to the bytes of a cluster, counted on this node since its start.

What it is not: no metric of its own; the daemon reads the counts at each scrape.
"""

from __future__ import annotations

from msgspec import Struct


class BlobCounts(Struct):
    """Shared by the parts of a node that move bytes. Belongs to the event loop."""

    remote_reads: int = 0
    """Ranges of blobs that other nodes were asked for."""
    hedges: int = 0
    """Second nodes asked because the first one took too long."""
    fall_backs: int = 0
    """Reads that went on with another node after a failure."""
    quorum_failures: int = 0
    """Bodies refused because too few replicas could keep them."""
    stragglers: int = 0
    """Replicas that missed a body which was acknowledged."""
    fetched: int = 0
    """Blobs fetched because this node lacked them."""
    dropped: int = 0
    """Blobs dropped here because the layout gives them to others, which have them."""
    repaired: int = 0
    """Damaged blobs of this node replaced by a replica's bytes."""
    repairs_dropped: int = 0
    """Suspected blobs that were not queued because too many were; scrubbing finds them again."""
    reclaimed: int = 0
    """Blobs freed that no command named."""
    scrubbed: int = 0
    """Blobs of this node read and checked in the background."""
    hints_queued: int = 0
    """Hints written for replicas that missed a body."""
    hints_delivered: int = 0
    """Hints that their node has taken over."""
    partitions_marked: int = 0
    """Partitions marked for a full comparison because the hints were at their bound."""
